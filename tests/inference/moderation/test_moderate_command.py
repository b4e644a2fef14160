import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from inference.management.commands.moderate import Command
from inference.moderation.batch import Format, answers
from inference.moderation.fake import FakeModeration

FAKE = FakeModeration(block_words=["forbidden"], flag_words=["doubtful"])
RULES = """
category = "fruit"
description = "For tests."
decision = "block"

[[rules]]
id = "fruit.one-1"
terms = ["pear"]
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "fruit.toml").write_text(RULES)
    return folder


def moderate(*arguments: str) -> tuple[list[str], str]:
    out, err = io.StringIO(), io.StringIO()
    call_command(Command(), *arguments, stdout=out, stderr=err)
    return out.getvalue().splitlines(), err.getvalue()


def check(*lines: str, form: Format = Format.AUTO, **options: Any) -> list[dict[str, Any]]:
    return list(answers(lines, form, FAKE, **options))


class TestAnswers:
    def test_give_a_decision_for_each_line(self) -> None:
        found = check("a tree", "forbidden", "doubtful")

        assert [answer["decision"] for answer in found] == ["allow", "block", "flag"]

    def test_keep_the_line_numbers_of_the_file(self) -> None:
        assert [answer["line"] for answer in check("a tree", "", "a house")] == [1, 3]

    def test_do_not_repeat_the_prompt(self) -> None:
        assert "forbidden" not in json.dumps(check("forbidden fruit"))

    def test_repeat_the_prompt_when_asked(self) -> None:
        (answer,) = check("forbidden fruit", show_prompts=True)

        assert answer["prompt"] == "forbidden fruit"

    def test_recognise_jsonl_by_its_first_line(self) -> None:
        (answer,) = check('{"prompt": "forbidden"}')

        assert answer["rule"] == "fake.block-word"

    def test_take_braces_for_text_when_told_to(self) -> None:
        (answer,) = check('{"prompt": "a tree"} forbidden', form=Format.LINES)

        assert answer["decision"] == "block"

    @pytest.mark.parametrize(
        "line",
        ["{", "[1]", "3", "{}", '{"prompt": 3}', '{"prompt": "x", "negative_prompt": 3}', "[" * 100_000],
    )
    def test_report_an_unreadable_line_and_go_on(self, line: str) -> None:
        bad, good = check(line, '{"prompt": "a tree"}', form=Format.JSONL)

        assert set(bad) == {"line", "error"}
        assert good["decision"] == "allow"


class TestModerate:
    def test_writes_one_json_line_per_prompt(self, tmp_path: Path, rules: Path) -> None:
        file = tmp_path / "prompts.txt"
        file.write_text("a pear\nan apple\n")

        lines, summary = moderate(str(file), "--rules", str(rules))

        assert [json.loads(line) for line in lines] == [
            {"line": 1, "decision": "block", "category": "fruit", "rule": "fruit.one-1"},
            {"line": 2, "decision": "allow", "category": "", "rule": ""},
        ]
        assert "allow 1, flag 0, block 1, error 0" in summary

    def test_reads_standard_input(self, rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a p\xc3\xaaar \xff")))

        lines, _ = moderate("-", "--rules", str(rules))

        assert json.loads(lines[0])["decision"] == "block"

    def test_fails_at_the_end_when_a_line_was_unreadable(self, tmp_path: Path, rules: Path) -> None:
        file = tmp_path / "prompts.jsonl"
        file.write_text('{"prompt": "a pear"}\nnot json\n{"prompt": "an apple"}\n')
        out = io.StringIO()

        with pytest.raises(CommandError) as caught:
            call_command(Command(), str(file), "--rules", str(rules), stdout=out, stderr=io.StringIO())

        assert caught.value.returncode == 1
        assert len(out.getvalue().splitlines()) == 3

    def test_refuses_a_missing_file(self, rules: Path) -> None:
        with pytest.raises(CommandError):
            moderate("nowhere.txt", "--rules", str(rules))

    def test_refuses_a_missing_folder_of_rules(self, tmp_path: Path) -> None:
        with pytest.raises(CommandError, match="no such folder"):
            moderate("-", "--rules", str(tmp_path / "nowhere"))

    def test_measures_a_policy(self, tmp_path: Path, rules: Path) -> None:
        corpus = tmp_path / "corpus.jsonl"
        corpus.write_text(
            '{"prompt": "pear", "expected": "block", "category": "fruit"}\n'
            '{"prompt": "plum", "expected": "block", "category": "fruit"}\n'
        )

        lines, _ = moderate("--evaluate", str(corpus), "--rules", str(rules))

        assert lines[1].split() == ["fruit", "2", "50.0%", "0", "-"]
        assert lines[-1] == "misses: 1, false alarms: 0"

    def test_measures_with_the_shipped_corpus_by_default(self, rules: Path) -> None:
        lines, summary = moderate("--rules", str(rules), "--evaluate")

        assert any(line.startswith("minors") for line in lines)
        assert "prompts evaluated" in summary
