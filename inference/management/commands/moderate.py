"""manage.py moderate: check prompts from a file, or measure a policy, without making an image."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from inference import moderation
from inference.moderation.base import Moderation
from inference.moderation.batch import Format, answers
from inference.moderation.blocklist import Blocklist
from inference.moderation.evaluate import CORPUS, BadCorpus, evaluate, load_corpus, table
from inference.moderation.policy import BadPolicy


class Command(BaseCommand):
    help = "Check prompts and write one JSON line per prompt; or measure the policy with --evaluate."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", nargs="?", default="-", help="prompts, one a line or JSONL; - is stdin")
        parser.add_argument("--format", choices=list(Format), type=Format, default=Format.AUTO)
        parser.add_argument("--show-prompts", action="store_true", help="write the prompt text as well")
        parser.add_argument("--rules", type=Path, metavar="DIR", help="try another folder of rules")
        parser.add_argument(
            "--evaluate",
            nargs="?",
            type=Path,
            const=CORPUS,
            metavar="CORPUS",
            help="measure recall and false alarms; the shipped corpus if none is named",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            backend = _backend(options["rules"])
            if options["evaluate"]:
                self._evaluate(backend, options["evaluate"], options["show_prompts"])
            else:
                self._check(backend, options["file"], options["format"], options["show_prompts"])
        except (BadPolicy, BadCorpus, OSError) as error:
            raise CommandError(str(error)) from error

    def _check(self, backend: Moderation, file: str, form: Format, show_prompts: bool) -> None:
        counts: Counter[str] = Counter()
        for answer in answers(_lines(file), form, backend, show_prompts):
            self.stdout.write(json.dumps(answer))
            counts[answer.get("decision", "error")] += 1
        names = ("allow", "flag", "block", "error")
        self.stderr.write(", ".join(f"{name} {counts[name]}" for name in names))
        if counts["error"]:
            raise CommandError(f"{counts['error']} lines could not be read")

    def _evaluate(self, backend: Moderation, corpus: Path, show_prompts: bool) -> None:
        evaluation = evaluate(backend, load_corpus(corpus))
        self.stdout.write(table(evaluation))
        self.stdout.write(f"misses: {len(evaluation.misses)}, false alarms: {len(evaluation.false_alarms)}")
        if show_prompts:
            for mistake in (*evaluation.misses, *evaluation.false_alarms):
                entry = mistake.labelled
                self.stdout.write(f"{entry.line}: {entry.expected} -> {mistake.decision}: {entry.prompt}")
        self.stderr.write(f"{evaluation.total.unwanted + evaluation.total.harmless} prompts evaluated")


def _backend(rules: Path | None) -> Moderation:
    if rules is None:
        return moderation.get_backend()
    if not rules.is_dir():
        raise BadPolicy(f"no such folder: {rules}")
    return Blocklist(rules_dir=rules)


def _lines(file: str) -> list[str]:
    """Split at line feeds only: a prompt may hold the other line breaks that Unicode knows."""
    content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    return content.decode(errors="replace").split("\n")
