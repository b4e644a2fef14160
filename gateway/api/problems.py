"""A problem as every dialect draws it: RFC 9457 fields, a stable code, and what else a client can use."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Problem:
    """`code` never changes its meaning; `detail` is a sentence for a person; `extra` are members beside them."""

    status: int
    code: str
    title: str
    detail: str
    extra: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
