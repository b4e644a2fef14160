"""Checking many prompts from a file: the reading and answering behind `manage.py moderate`."""

import json
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, NamedTuple

from inference.moderation.base import Moderation


class Format(StrEnum):
    LINES = "lines"
    JSONL = "jsonl"
    AUTO = "auto"


class UnreadableLine(ValueError):
    """A line that is not {"prompt": text, "negative_prompt"?: text}."""


class Prompt(NamedTuple):
    text: str
    negative: str = ""


def answers(
    lines: Iterable[str], form: Format, moderation: Moderation, show_prompts: bool = False
) -> Iterator[dict[str, Any]]:
    """One answer per line that is not blank: a decision, or `error` for an unreadable one."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if form is Format.AUTO:
            # The first line decides for all: a single prompt may begin with a brace by chance.
            form = Format.JSONL if line.lstrip().startswith("{") else Format.LINES
        yield {"line": number, **_answer(line, form, moderation, show_prompts)}


def _answer(line: str, form: Format, moderation: Moderation, show_prompts: bool) -> dict[str, Any]:
    try:
        prompt = _parse(line) if form is Format.JSONL else Prompt(line.strip())
    except UnreadableLine as error:
        return {"error": str(error)}
    verdict = moderation.check_prompt(prompt.text, prompt.negative)
    answer = {"decision": verdict.decision.value, "category": verdict.category, "rule": verdict.rule}
    return {**answer, "prompt": prompt.text} if show_prompts else answer


def _parse(line: str) -> Prompt:
    """Messages name the fault and never quote the line, as answers may be kept where prompts may not."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        raise UnreadableLine("not JSON") from None
    if not isinstance(entry, dict) or not isinstance(entry.get("prompt"), str):
        raise UnreadableLine("no text under 'prompt'")
    negative = entry.get("negative_prompt") or ""
    if not isinstance(negative, str):
        raise UnreadableLine("'negative_prompt' is not text")
    return Prompt(entry["prompt"], negative)
