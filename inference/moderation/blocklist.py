"""Moderation by the written rules of `policy.py`: finds their terms in a prompt and decides."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from inference.moderation.base import Decision, Moderation, Verdict
from inference.moderation.normalise import Reading, Vocabulary, read
from inference.moderation.policy import RULES_DIR, Rule, Term, load_rules, policy_version

Span = tuple[int, int]
Found = dict[Term, list[Span]]


class Blocklist(Moderation):
    """Rules from `rules_dir`, by default the shipped ones, and an operator's own from `extra_rules_dir`."""

    def __init__(self, rules_dir: str | Path = RULES_DIR, extra_rules_dir: str | Path | None = None) -> None:
        folders = [Path(rules_dir), *([Path(extra_rules_dir)] if extra_rules_dir else [])]
        self.rules = load_rules(folders)
        self.name = f"blocklist/{policy_version(folders)}"
        terms = frozenset().union(*(rule.terms for rule in self.rules))
        self._phrases = _phrases_by_first_word(terms)
        self._vocabulary = Vocabulary.of(
            word for phrases in self._phrases.values() for words, _ in phrases for word in words
        )

    def check_prompt(self, prompt: str, negative_prompt: str = "") -> Verdict:
        found, negative = self._find(prompt), self._find(negative_prompt)
        for rule in self.rules:
            if _matches(rule, found, negative):
                return Verdict(rule.decision, rule.category, rule.id, self.name)
        return Verdict(Decision.ALLOW, backend=self.name)

    def _find(self, text: str) -> Found:
        readings_at: dict[int, list[Reading]] = defaultdict(list)
        for reading in read(text, self._vocabulary):
            readings_at[reading.start].append(reading)
        found: Found = defaultdict(list)
        for start, readings in readings_at.items():
            for reading in readings:
                for words, term in self._phrases.get(reading.word, ()):
                    for end in _ends(words[1:], reading.end, readings_at):
                        found[term].append((start, end))
        return found


def _ends(words: tuple[str, ...], place: int, readings_at: Mapping[int, list[Reading]]) -> set[int]:
    """Every place after the rest of a phrase; one word may have readings of several lengths."""
    places = {place}
    for word in words:
        places = {
            reading.end for start in places for reading in readings_at.get(start, ()) if reading.word == word
        }
    return places


def _matches(rule: Rule, found: Found, negative: Found) -> bool:
    if rule.negative and not rule.negative & negative.keys():
        return False
    if not all(group & found.keys() for group in rule.groups):
        return False
    excused = {
        place for term in rule.exceptions & found.keys() for span in found[term] for place in range(*span)
    }
    hits = [
        sorted(
            (start, end)
            for term in group & found.keys()
            for start, end in found[term]
            if start not in excused and end - 1 not in excused
        )
        for group in rule.groups
    ]
    return all(hits) and (rule.within is None or _are_near(hits, rule.within))


def _are_near(hits: list[list[Span]], within: int) -> bool:
    """Whether one hit of each group stand together with at most `within` other pieces between them.

    Pieces of the terms themselves do not count, as a term spelled out has as many as it has letters. One pass
    over the hits in order; comparing each with each would take minutes for a prompt that repeats them.
    """
    last: dict[int, Span] = {}
    for start, end, group in sorted((*span, group) for group, spans in enumerate(hits) for span in spans):
        last[group] = (start, end)
        if len(last) == len(hits):
            spans = last.values()
            extent = max(span[1] for span in spans) - min(span[0] for span in spans)
            if extent - sum(span[1] - span[0] for span in spans) <= within:
                return True
    return False


def _phrases_by_first_word(terms: Iterable[Term]) -> dict[str, list[tuple[tuple[str, ...], Term]]]:
    """Each term as its words and also written as one: "pipe bomb", "pipebomb"; both with an optional "s"."""
    phrases: dict[str, list[tuple[tuple[str, ...], Term]]] = defaultdict(list)
    for term in terms:
        words = tuple(term.split())
        for form in {words, ("".join(words),)}:
            for variant in (form, (*form[:-1], form[-1] + "s")):
                phrases[variant[0]].append((variant, term))
    return dict(phrases)
