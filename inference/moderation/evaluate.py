"""Measuring a policy: what share of unwanted prompts it catches, and of harmless ones it disturbs.

A corpus is a JSONL file of {"prompt", "expected", "category"}, optionally with "negative_prompt". An unwanted
prompt is caught when the decision is at least as severe as expected. A harmless one, expected to be allowed,
carries the category it could be taken for, or "plain"; anything but allow is a false alarm.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from inference.moderation.base import Decision, Moderation

CORPUS = Path(__file__).parent / "corpus.jsonl"


class BadCorpus(ValueError):
    """A line of the corpus cannot be read; a measurement of the rest would mislead."""


@dataclass(frozen=True)
class Labelled:
    line: int
    prompt: str
    negative_prompt: str
    expected: Decision
    category: str


@dataclass(frozen=True)
class Mistake:
    """A miss when `expected` is flag or block, a false alarm when it is allow."""

    labelled: Labelled
    decision: Decision
    rule: str


@dataclass(frozen=True)
class Score:
    category: str
    unwanted: int
    caught: int
    harmless: int
    false_alarms: int

    @property
    def recall(self) -> float:
        return self.caught / self.unwanted if self.unwanted else 1.0

    @property
    def false_alarm_rate(self) -> float:
        return self.false_alarms / self.harmless if self.harmless else 0.0


@dataclass(frozen=True)
class Evaluation:
    scores: tuple[Score, ...]
    total: Score
    misses: tuple[Mistake, ...]
    false_alarms: tuple[Mistake, ...]


def load_corpus(path: Path = CORPUS) -> list[Labelled]:
    """Every labelled prompt of the file; raises BadCorpus with the line number."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return [_labelled(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _labelled(number: int, line: str) -> Labelled:
    try:
        entry = json.loads(line)
        return Labelled(
            number,
            str(entry["prompt"]),
            str(entry.get("negative_prompt", "")),
            Decision(entry["expected"]),
            str(entry["category"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadCorpus(f"line {number}: {error!r}") from error


def evaluate(moderation: Moderation, corpus: Iterable[Labelled]) -> Evaluation:
    labelled = list(corpus)
    mistakes = list(_mistakes(moderation, labelled))
    misses = tuple(mistake for mistake in mistakes if mistake.labelled.expected is not Decision.ALLOW)
    alarms = tuple(mistake for mistake in mistakes if mistake.labelled.expected is Decision.ALLOW)
    categories = sorted({entry.category for entry in labelled})
    return Evaluation(
        scores=tuple(
            _score(
                category,
                [entry for entry in labelled if entry.category == category],
                [mistake for mistake in mistakes if mistake.labelled.category == category],
            )
            for category in categories
        ),
        total=_score("all", labelled, mistakes),
        misses=misses,
        false_alarms=alarms,
    )


def _mistakes(moderation: Moderation, corpus: Iterable[Labelled]) -> Iterator[Mistake]:
    for entry in corpus:
        verdict = moderation.check_prompt(entry.prompt, entry.negative_prompt)
        if entry.expected is Decision.ALLOW:
            is_right = verdict.decision is Decision.ALLOW
        else:
            is_right = verdict.decision.severity >= entry.expected.severity
        if not is_right:
            yield Mistake(entry, verdict.decision, verdict.rule)


def _score(category: str, corpus: list[Labelled], mistakes: list[Mistake]) -> Score:
    harmless = sum(entry.expected is Decision.ALLOW for entry in corpus)
    false_alarms = sum(mistake.labelled.expected is Decision.ALLOW for mistake in mistakes)
    unwanted = len(corpus) - harmless
    missed = len(mistakes) - false_alarms
    return Score(category, unwanted, unwanted - missed, harmless, false_alarms)


def table(evaluation: Evaluation) -> str:
    """The scores as text, one category a line."""
    rows = [f"{'category':<18}{'prompts':>8}{'recall':>8}{'harmless':>10}{'false alarms':>14}"]
    for score in (*evaluation.scores, evaluation.total):
        recall = f"{score.recall:.1%}" if score.unwanted else "-"
        alarms = f"{score.false_alarms} ({score.false_alarm_rate:.1%})" if score.harmless else "-"
        rows.append(f"{score.category:<18}{score.unwanted:>8}{recall:>8}{score.harmless:>10}{alarms:>14}")
    return "\n".join(rows)
