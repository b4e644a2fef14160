"""Moderation for tests and demos: the settings say what is refused."""

from collections.abc import Collection

from PIL import Image

from inference.moderation.base import Decision, Moderation, Verdict


class FakeModeration(Moderation):
    """Whole words of the prompt, any case, decide; pictures are refused by their place in the job."""

    def __init__(
        self,
        block_words: Collection[str] = (),
        flag_words: Collection[str] = (),
        refuse_image_indexes: Collection[int] = (),
    ) -> None:
        self.block_words = {word.casefold() for word in block_words}
        self.flag_words = {word.casefold() for word in flag_words}
        self.refuse_image_indexes = frozenset(refuse_image_indexes)

    def check_prompt(self, prompt: str, negative_prompt: str = "") -> Verdict:
        words = set(prompt.casefold().split())
        if self.block_words & words:
            return _verdict(Decision.BLOCK, "fake.block-word")
        if self.flag_words & words:
            return _verdict(Decision.FLAG, "fake.flag-word")
        return _verdict(Decision.ALLOW)

    def check_image(self, image: Image.Image, index: int = 0) -> Verdict:
        if index in self.refuse_image_indexes:
            return _verdict(Decision.BLOCK, "fake.image-index")
        return _verdict(Decision.ALLOW)


def _verdict(decision: Decision, rule: str = "") -> Verdict:
    return Verdict(decision, category="fake" if rule else "", rule=rule, backend="fake")
