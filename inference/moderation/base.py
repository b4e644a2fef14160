"""What every way of judging has in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum

from PIL import Image


class Decision(StrEnum):
    ALLOW = "allow"
    FLAG = "flag"  # made and delivered, but marked for a person to look at
    BLOCK = "block"  # never made, or made and never stored

    @property
    def severity(self) -> int:
        return list(Decision).index(self)


@dataclass(frozen=True)
class Verdict:
    """The answer to one check. Carries no prompt text, so it may be logged and shown."""

    decision: Decision
    category: str = ""
    rule: str = ""
    backend: str = ""

    @property
    def is_blocked(self) -> bool:
        return self.decision is Decision.BLOCK

    @property
    def is_flagged(self) -> bool:
        return self.decision is Decision.FLAG


class Moderation(ABC):
    """One way of judging. Made once per process and shared by its threads: keep no state of a call."""

    @abstractmethod
    def check_prompt(self, prompt: str, negative_prompt: str = "") -> Verdict:
        """Judge the text exactly as it will be drawn: after templates were filled in.

        The negative prompt says what must not appear, and a careful user names bad things there to avoid
        them. A term in it is therefore never a reason by itself. It counts only together with the prompt,
        and only for rules that say so: a person in the prompt and "clothes" in the negative prompt asks for
        nudity. This holds while guidance points away from the negative prompt, so a request must not turn it
        round with a negative guidance scale.
        """

    def check_image(self, image: Image.Image, index: int = 0) -> Verdict:
        """Judge one finished picture, before it is stored; `index` is its place in the job, from 0.

        A backend that reads only text allows every picture.
        """
        return Verdict(Decision.ALLOW)
