"""What passes between a worker and `jobs`: the claim it gets, the result it brings."""

from collections.abc import Sequence
from dataclasses import dataclass

from inference.models import Job, State
from inference.requests import ResolvedRequest

CANCELED = "Canceled by the caller."


@dataclass(frozen=True)
class Claim:
    """A worker's right to end one attempt of a job."""

    job: Job
    attempt: int
    request: ResolvedRequest


@dataclass(frozen=True)
class StoredPicture:
    """A picture whose bytes are in the storage already."""

    index: int
    storage_key: str
    sha256: str
    size_bytes: int
    content_type: str


@dataclass(frozen=True)
class Timings:
    """Milliseconds of the parts of an attempt."""

    generate_ms: int = 0
    gpu_ms: int = 0
    store_ms: int = 0


@dataclass(frozen=True)
class Result:
    """What an attempt made. A canceled one delivers the pictures that were finished by then."""

    pictures: Sequence[StoredPicture]
    timings: Timings = Timings()
    drawn_images: int = 0  # how many the engine's time was spent on, delivered or not
    is_flagged: bool = False
    is_canceled: bool = False

    @property
    def ending(self) -> dict[str, str]:
        """The state this ends in, with the reason when it is not success."""
        if self.is_canceled:
            return {"state": State.CANCELED, "error_code": "canceled", "error_message": CANCELED}
        if not self.pictures:
            message = "All pictures were refused by moderation."
            return {"state": State.BLOCKED, "error_code": "pictures_blocked", "error_message": message}
        return {"state": State.SUCCEEDED}
