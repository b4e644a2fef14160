"""The canonical request: what every dialect is translated into, and all that an engine needs to know.

Field names are those of diffusers' pipelines. Everything here is frozen and hashable.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from accounts.audit import Origin
from accounts.models import ApiKey, Membership, Side
from accounts.roles import Role
from inference.models import JobClass

if TYPE_CHECKING:
    import PIL.Image


class Operation(StrEnum):
    TEXT_TO_IMAGE = "text-to-image"


class OutputFormat(StrEnum):
    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"

    @property
    def content_type(self) -> str:
        return f"image/{self}"


class ResponseFormat(StrEnum):
    URL = "url"
    B64 = "b64"


MAX_SEED = 2**32 - 1
MAX_PROMPT_CHARACTERS = 32_000


class InvalidRequest(Exception):
    """A parameter is wrong; `field` is its canonical name."""

    def __init__(self, field: str, message: str) -> None:
        self.field, self.message = field, message
        super().__init__(f"{field}: {message}")


def check_text(field: str, text: str) -> None:
    """Refuse text that a database or a tokenizer cannot hold, or that is absurdly long."""
    if len(text) > MAX_PROMPT_CHARACTERS:
        raise InvalidRequest(
            field, f"has {len(text)} characters; at most {MAX_PROMPT_CHARACTERS} are possible."
        )
    if "\x00" in text:
        raise InvalidRequest(field, "contains a NUL character.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(
            field, "contains half of a surrogate pair, which is not valid Unicode."
        ) from None


def check_range(field: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise InvalidRequest(field, f"must be between {_written(low)} and {_written(high)}.")


def _written(bound: float) -> str:
    """A whole bound with all its digits."""
    return str(int(bound)) if float(bound).is_integer() else f"{bound:g}"


@dataclass(frozen=True)
class GenerationRequest:
    """What is drawn. None means: the model's default. Image i of the request uses seed + i.

    Raises InvalidRequest for what no model could draw; a model's own limits are checked by the catalogue.
    """

    prompt: str
    negative_prompt: str = ""
    model: str = ""
    operation: Operation = Operation.TEXT_TO_IMAGE
    width: int | None = None
    height: int | None = None
    num_images: int = 1
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    seed: int | None = None
    scheduler: str | None = None
    prompt_template: str | None = None
    variables: tuple[tuple[str, str], ...] = ()
    output_format: OutputFormat = OutputFormat.PNG
    output_quality: int = 90

    def __post_init__(self) -> None:
        check_text("prompt", self.prompt)
        check_text("negative_prompt", self.negative_prompt)
        for name, value in self.variables:
            check_text("variables", name)
            check_text("variables", value)
        check_range("num_images", self.num_images, 1, 100)
        check_range("num_inference_steps", self.num_inference_steps, 1, 1000)
        check_range("width", self.width, 1, 16_384)
        check_range("height", self.height, 1, 16_384)
        check_range("guidance_scale", self.guidance_scale, 0, 100)
        check_range("seed", self.seed, 0, MAX_SEED)
        check_range("output_quality", self.output_quality, 1, 100)


@dataclass(frozen=True)
class ResolvedRequest:
    """The same with every default filled in: what the engine draws and the price is for."""

    prompt: str
    negative_prompt: str
    operation: Operation
    width: int
    height: int
    num_images: int
    num_inference_steps: int
    guidance_scale: float
    seed: int
    scheduler: str

    def seed_of(self, index: int) -> int:
        return (self.seed + index) % (MAX_SEED + 1)


@dataclass(frozen=True)
class GeneratedImage:
    """One finished picture of an engine: RGB, of the size that was asked for, not yet checked or encoded."""

    index: int
    seed: int
    picture: PIL.Image.Image
    gpu_ms: int


@dataclass(frozen=True)
class Delivery:
    """How the result reaches the caller; changes nothing about the picture."""

    response_format: ResponseFormat = ResponseFormat.URL
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Caller:
    """Who asks: the tenant and side, the member or service key, through which dialect."""

    workspace_id: uuid.UUID
    side: Side
    api_key: ApiKey | None
    membership: Membership | None
    dialect: str
    request_id: str
    end_user: str = ""
    job_class: JobClass = JobClass.INTERACTIVE

    @property
    def role(self) -> Role:
        """A service key acts for the workspace itself, so it may do what an admin may."""
        return Role(self.membership.role) if self.membership else Role.ADMIN

    @property
    def origin(self) -> Origin:
        actor = f"key:{self.api_key.prefix}" if self.api_key else "system"
        if self.api_key is None and self.membership is not None:
            actor = f"user:{self.membership.user_id}"
        return Origin(actor, self.request_id)
