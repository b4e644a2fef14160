from pathlib import Path

import pytest

from inference.moderation.base import Decision
from inference.moderation.blocklist import Blocklist
from inference.moderation.evaluate import BadCorpus, Evaluation, evaluate, load_corpus, table
from inference.moderation.fake import FakeModeration

CORPUS = load_corpus()


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    result = evaluate(Blocklist(), CORPUS)
    print(f"\n{table(result)}")
    return result


class TestCorpus:
    def test_is_large_enough(self) -> None:
        assert len(CORPUS) >= 360

    def test_is_mostly_harmless(self) -> None:
        assert sum(entry.expected is Decision.ALLOW for entry in CORPUS) >= 200

    def test_holds_near_misses_for_every_category(self) -> None:
        near = [entry for entry in CORPUS if entry.expected is Decision.ALLOW and entry.category != "plain"]
        unwanted = {entry.category for entry in CORPUS if entry.expected is not Decision.ALLOW}

        assert len(near) >= 80
        assert {entry.category for entry in near} == unwanted

    def test_repeats_no_prompt(self) -> None:
        assert len({(entry.prompt, entry.negative_prompt) for entry in CORPUS}) == len(CORPUS)

    def test_covers_every_category_of_the_rules(self) -> None:
        assert {rule.category for rule in Blocklist().rules} <= {entry.category for entry in CORPUS}


class TestShippedPolicy:
    def test_catches_nine_of_ten(self, evaluation: Evaluation) -> None:
        assert evaluation.total.recall >= 0.90

    def test_catches_most_of_each_category(self, evaluation: Evaluation) -> None:
        assert {score.category for score in evaluation.scores if score.recall < 0.85} == set()

    def test_catches_every_prompt_about_minors(self, evaluation: Evaluation) -> None:
        (minors,) = [score for score in evaluation.scores if score.category == "minors"]

        assert minors.recall == 1.0

    def test_disturbs_few_harmless_prompts(self, evaluation: Evaluation) -> None:
        assert evaluation.total.false_alarm_rate <= 0.03


class TestEvaluate:
    def test_counts_misses_and_false_alarms(self, tmp_path: Path) -> None:
        path = tmp_path / "corpus.jsonl"
        path.write_text(
            '{"prompt": "bad thing", "expected": "block", "category": "x"}\n'
            '{"prompt": "worse", "expected": "block", "category": "x"}\n\n'
            '{"prompt": "bad weather", "expected": "allow", "category": "x"}\n'
        )

        result = evaluate(FakeModeration(block_words=["bad"]), load_corpus(path))

        assert (result.total.recall, result.total.false_alarm_rate) == (0.5, 1.0)
        assert [mistake.labelled.line for mistake in result.misses] == [2]
        assert [mistake.labelled.line for mistake in result.false_alarms] == [4]

    def test_takes_a_flag_for_a_miss_where_a_block_is_expected(self, tmp_path: Path) -> None:
        path = tmp_path / "corpus.jsonl"
        path.write_text('{"prompt": "bad", "expected": "block", "category": "x"}')

        result = evaluate(FakeModeration(flag_words=["bad"]), load_corpus(path))

        assert result.total.caught == 0

    @pytest.mark.parametrize(
        "line", ["nonsense", "[]", '{"prompt": "x"}', '{"prompt": "x", "expected": "no"}']
    )
    def test_refuses_an_unreadable_corpus(self, tmp_path: Path, line: str) -> None:
        path = tmp_path / "corpus.jsonl"
        path.write_text(line)

        with pytest.raises(BadCorpus, match="line 1"):
            load_corpus(path)
