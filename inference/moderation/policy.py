"""Rules of the blocklist as people write them: a folder of TOML files, one per category.

A rule file:

    category = "illicit"
    description = "What the category is for."
    rank = 5              # of several matching rules with one decision, the lowest rank is reported
    decision = "block"    # for rules that do not say their own

    [[rules]]
    id = "illicit.weapon-1"                        # stable: it stands in logs and verdicts
    all_of = [["how to", "diagram"], ["@bombs"]]   # one term of each group; `terms = [...]` is one group
    within = 8            # at most so many other words between the terms; left out: anywhere in the prompt
    except_ = ["bath bomb"]                        # what these words cover does not count for this rule
    negative_of = ["clothes"]                      # and one of these in the negative prompt

"@bombs" stands for the list `bombs` in `groups.toml`. "{minor_age}" in a term stands for each age below 18,
as a number and as a word. A final "s" is optional. Terms are folded like prompts, so accents and case do not
matter. An exception excuses only the words it shares with a term: "blood orange" may stand beside blood, and
a word like "museum" elsewhere in the prompt excuses nothing.
"""

import hashlib
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.moderation.base import Decision
from inference.moderation.normalise import fold, pieces_of

RULES_DIR = Path(__file__).parent / "rules"
GROUPS_FILE = "groups.toml"

FILE_KEYS = {"category", "description", "rank", "decision", "rules"}
RULE_KEYS = {"id", "terms", "all_of", "within", "except_", "negative_of", "decision"}

# fmt: off
NUMBER_WORDS = [
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
]
# fmt: on
MINOR_AGES = [*map(str, range(1, 18)), *NUMBER_WORDS]

Term = str  # the folded words of a phrase, joined by single spaces
Group = frozenset[Term]
Lists = dict[str, list[str]]


class BadPolicy(ValueError):
    """A rule file does not say what a rule needs; nothing is checked until it does."""


@dataclass(frozen=True)
class Rule:
    id: str
    category: str
    rank: int
    decision: Decision
    groups: tuple[Group, ...]
    examples: tuple[str, ...]  # the first term of each group as written; tests disguise them
    exceptions: Group = frozenset()
    negative: Group = frozenset()
    negative_example: str = ""
    within: int | None = None

    @property
    def terms(self) -> Group:
        return frozenset().union(*self.groups, self.exceptions, self.negative)


def load_rules(folders: list[Path]) -> tuple[Rule, ...]:
    """All rules, most severe decision first; raises BadPolicy."""
    lists = _shared_lists(folders)
    rules = [rule for folder in folders for rule in _rules_in(folder, lists)]
    if not rules:
        raise BadPolicy("no rules found")
    doubled = {rule.id for rule in rules if sum(other.id == rule.id for other in rules) > 1}
    if doubled:
        raise BadPolicy(f"rule id used twice: {', '.join(sorted(doubled))}")
    return tuple(sorted(rules, key=lambda rule: (-rule.decision.severity, rule.rank, rule.id)))


def policy_version(folders: list[Path]) -> str:
    """Changes with any byte of the rules, so that a verdict in a log can be traced to the rules behind it."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:8]


def _shared_lists(folders: list[Path]) -> Lists:
    """The lists of all folders. One named in two folders grows, so an operator can add to a shipped list."""
    lists: Lists = defaultdict(list)
    for folder in folders:
        if (folder / GROUPS_FILE).exists():
            for name, terms in _parse(folder / GROUPS_FILE).items():
                lists[name].extend(terms)
    return dict(lists)


def _rules_in(folder: Path, lists: Lists) -> Iterator[Rule]:
    for path in sorted(folder.glob("*.toml")):
        if path.name != GROUPS_FILE:
            yield from _rules_of(path, lists)


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadPolicy(f"{path.name}: {error}") from error


def _rules_of(path: Path, lists: Lists) -> Iterator[Rule]:
    content = _parse(path)
    try:
        _refuse_unknown(content, FILE_KEYS)
        for entry in content["rules"]:
            yield _rule(entry, content, lists)
    except (KeyError, TypeError, ValueError) as error:
        raise BadPolicy(f"{path.name}: {error!r}") from error


def _rule(entry: dict[str, Any], content: dict[str, Any], lists: Lists) -> Rule:
    _refuse_unknown(entry, RULE_KEYS)
    if ("terms" in entry) == ("all_of" in entry):
        raise BadPolicy(f"{entry['id']}: give either terms or all_of")
    written = [_expand(group, lists) for group in entry.get("all_of", [entry.get("terms", [])])]
    negative = _expand(entry.get("negative_of", []), lists)
    compiled = tuple(_group(terms) for terms in written)
    if not compiled or not all(compiled):
        raise BadPolicy(f"{entry['id']}: a group without terms")
    return Rule(
        id=str(entry["id"]),
        category=str(content["category"]),
        rank=int(content.get("rank", 100)),
        decision=Decision(entry.get("decision", content["decision"])),
        groups=compiled,
        examples=tuple(terms[0] for terms in written),
        exceptions=_group(_expand(entry.get("except_", []), lists)),
        negative=_group(negative),
        negative_example=negative[0] if negative else "",
        within=entry.get("within"),
    )


def _refuse_unknown(table: dict[str, Any], known: set[str]) -> None:
    """A misspelled key would silently weaken a rule."""
    if unknown := table.keys() - known:
        raise BadPolicy(f"unknown keys: {', '.join(sorted(unknown))}")


def _expand(written: list[str], lists: Lists) -> list[str]:
    terms: list[str] = []
    for term in written:
        if term.startswith("@"):
            terms.extend(_expand(lists[term[1:]], lists))
        elif "{minor_age}" in term:
            terms.extend(term.replace("{minor_age}", age) for age in MINOR_AGES)
        else:
            terms.append(term)
    return terms


def _group(written: list[str]) -> Group:
    terms = {" ".join(piece.text for piece in pieces_of(fold(term))) for term in written}
    if "" in terms:
        raise BadPolicy("a term without letters")
    return frozenset(terms)
