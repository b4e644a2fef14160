from PIL import Image

from inference.moderation.base import Decision
from inference.moderation.fake import FakeModeration

PICTURE = Image.new("RGB", (8, 8))


class TestFakeModeration:
    def test_allows_everything_unless_told_otherwise(self) -> None:
        fake = FakeModeration()

        assert fake.check_prompt("anything").decision is Decision.ALLOW
        assert fake.check_image(PICTURE).decision is Decision.ALLOW

    def test_blocks_its_words_in_any_case(self) -> None:
        fake = FakeModeration(block_words=["forbidden"])

        assert fake.check_prompt("a Forbidden thing").is_blocked

    def test_flags_its_words(self) -> None:
        fake = FakeModeration(flag_words=["doubtful"])

        assert fake.check_prompt("a doubtful thing").is_flagged

    def test_prefers_block_to_flag(self) -> None:
        fake = FakeModeration(block_words=["forbidden"], flag_words=["doubtful"])

        assert fake.check_prompt("doubtful forbidden").is_blocked

    def test_does_not_look_inside_words(self) -> None:
        fake = FakeModeration(block_words=["art"])

        assert fake.check_prompt("a party").decision is Decision.ALLOW

    def test_does_not_judge_the_negative_prompt(self) -> None:
        fake = FakeModeration(block_words=["forbidden"])

        assert fake.check_prompt("a tree", "forbidden").decision is Decision.ALLOW

    def test_refuses_pictures_by_their_index(self) -> None:
        fake = FakeModeration(refuse_image_indexes=[1])

        decisions = [fake.check_image(PICTURE, index).decision for index in range(3)]

        assert decisions == [Decision.ALLOW, Decision.BLOCK, Decision.ALLOW]

    def test_names_itself_in_the_verdict(self) -> None:
        verdict = FakeModeration(block_words=["forbidden"]).check_prompt("forbidden")

        assert (verdict.category, verdict.rule, verdict.backend) == ("fake", "fake.block-word", "fake")
