"""Judging prompts and pictures: what may be made, what is only marked, what is refused.

Start reading at `base.py`, then `blocklist.py`: it finds with `normalise.py` the terms of the rules that
`policy.py` reads from `rules/*.toml`. `fake.py` is for tests and demos. `corpus.jsonl` and `evaluate.py`
measure a policy, `mutations.py` makes the disguises it must see through, and `batch.py` checks a file.
This package imports no other part of the product.

Callers must treat an exception from a backend as a refusal: a checker that is down lets nothing out.
"""

from functools import cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from inference.moderation.base import Decision, Moderation, Verdict

__all__ = ["Decision", "Moderation", "Verdict", "get_backend"]


@cache
def get_backend() -> Moderation:
    """The backend named in settings, made once a process: reading the rules takes far longer than a check."""
    chosen: dict[str, Any] = settings.ATELIER_MODERATION
    backend = import_string(chosen["BACKEND"])(**chosen.get("OPTIONS", {}))
    if not isinstance(backend, Moderation):
        raise TypeError(f"{chosen['BACKEND']} is not a Moderation")
    return backend


def _forget_backend(*, setting: str, **_: Any) -> None:
    """Tests that override the setting must not meet the backend of the test before."""
    if setting == "ATELIER_MODERATION":
        get_backend.cache_clear()


setting_changed.connect(_forget_backend)
