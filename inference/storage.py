"""Where pictures live: save, read, delete, and signed addresses that expire.

Bytes go to the Django storage named "images" (a local folder, or S3 by settings). A picture's key holds the job and
the attempt, so two attempts never write the same object. Our address of a picture is signed, carries its own end
time, and needs no key; once the picture row is deleted it opens nothing any more.
"""

import contextlib
import hashlib
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.utils.crypto import constant_time_compare, salted_hmac

from accounts import ids
from inference.models import Image, Job

if TYPE_CHECKING:
    from django.core.files.storage import Storage

SALT = "atelier.inference.storage.address"


class StorageFailed(Exception):
    """The storage refused to keep or give the bytes: full disk, no permission, no connection."""


def _storage() -> "Storage":
    return storages["images"]


def folder_of_workspace(workspace_id: uuid.UUID) -> str:
    return str(workspace_id)


def folder_of(job: Job) -> str:
    """Everything that attempts at the job ever stored lies below."""
    return f"{folder_of_workspace(job.workspace_id)}/{job.public_id}"


def key_of(job: Job, attempt: int, index: int, extension: str) -> str:
    return f"{folder_of(job)}/{attempt}-{index}.{extension}"


def save(key: str, content: bytes) -> str:
    """Keep the bytes under the key and return their SHA-256; raises StorageFailed and leaves nothing behind."""
    discard(key)  # Django would choose another name beside a leftover
    try:
        _storage().save(key, ContentFile(content))
    except OSError as error:
        discard(key)
        raise StorageFailed(f"The picture could not be stored: {error.strerror or error}.") from error
    return hashlib.sha256(content).hexdigest()


def read(key: str) -> bytes:
    """The stored bytes; raises StorageFailed when they are gone or out of reach."""
    try:
        with _storage().open(key) as file:
            return bytes(file.read())
    except OSError as error:
        raise StorageFailed(f"The picture could not be read: {error.strerror or error}.") from error


def discard(key: str) -> None:
    """Delete the bytes if they are there; a failure leaves them behind as an orphan, never an error for a caller."""
    try:
        _storage().delete(key)
    except OSError:
        return


def erase(key: str) -> None:
    """Delete the bytes for good; that they are gone already is as good. Raises StorageFailed if they may be there."""
    with _telling():
        _storage().delete(key)


def erase_folder(folder: str) -> None:
    """Delete everything below the folder, also what lost attempts left there; raises StorageFailed."""
    with _telling():
        _erase_below(folder)


def _erase_below(folder: str) -> None:
    try:
        folders, files = _storage().listdir(folder)
    except FileNotFoundError:  # object stores list nothing instead
        return
    for name in files:
        _storage().delete(f"{folder}/{name}")
    for name in folders:
        _erase_below(f"{folder}/{name}")
    _storage().delete(folder)  # where a folder is a thing of its own


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # object stores raise what they like, and any of it may have left the bytes
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise StorageFailed(f"The picture could not be deleted: {reason}.") from error


def _signature(image_id: uuid.UUID, expires: int) -> str:
    return salted_hmac(SALT, f"{image_id.hex}:{expires}", algorithm="sha256").hexdigest()


def signed_url(image: Image, now: datetime) -> str:
    """Address that anyone may open until it expires; minted anew for every answer, never stored."""
    expires = int((now + timedelta(seconds=settings.FILE_URL_SECONDS)).timestamp())
    name = f"{image.public_id}.{image.content_type.removeprefix('image/')}"
    signature = _signature(image.pk, expires)
    return f"{settings.PUBLIC_URL}/files/{name}?expires={expires}&signature={signature}"


def is_signed(public_id: str, expires: str, signature: str, now: datetime) -> bool:
    """Whether an address was minted by us and still holds."""
    try:
        image_id = ids.parse(ids.Prefix.IMAGE, public_id)
        end = int(expires)
    except ValueError:
        return False
    return constant_time_compare(signature, _signature(image_id, end)) and now.timestamp() < end
