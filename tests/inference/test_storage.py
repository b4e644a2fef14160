import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from accounts import ids
from accounts.models import Workspace
from inference import storage
from inference.models import Image, Job, ModelVersion
from inference.storage import StorageFailed
from tests import factories
from tests.inference import stubborn_storage

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = "workspace/job_1/1-0.png"


def image(content_type: str = "image/png") -> Image:
    return Image(content_type=content_type)


def address_of(one: Image, now: datetime = NOW) -> tuple[str, str, str]:
    """Public id, end and signature of a fresh address."""
    parts = urlsplit(storage.signed_url(one, now))
    query = parse_qs(parts.query)
    return Path(parts.path).stem, query["expires"][0], query["signature"][0]


class TestKeyOf:
    @pytest.fixture
    def job(self, workspace: Workspace, model: ModelVersion) -> Job:
        return factories.job(workspace)

    def test_names_workspace_job_attempt_and_place(self, job: Job) -> None:
        key = storage.key_of(job, 2, 0, "png")

        assert key == f"{job.workspace_id}/{job.public_id}/2-0.png"

    def test_differs_by_attempt_and_place(self, job: Job) -> None:
        keys = {storage.key_of(job, attempt, index, "png") for attempt in (1, 2) for index in (0, 1)}

        assert len(keys) == 4


class TestSave:
    def test_keeps_the_bytes(self) -> None:
        storage.save(KEY, b"a picture")

        assert storage.read(KEY) == b"a picture"

    def test_gives_their_hash(self) -> None:
        assert storage.save(KEY, b"a picture") == hashlib.sha256(b"a picture").hexdigest()

    def test_replaces_what_a_dead_worker_left(self, tmp_path: Path) -> None:
        storage.save(KEY, b"half a pic")

        storage.save(KEY, b"a picture")

        assert storage.read(KEY) == b"a picture"
        assert [file.name for file in tmp_path.rglob("*.png")] == ["1-0.png"]

    def test_says_when_the_storage_refuses(self, tmp_path: Path) -> None:
        (tmp_path / "images").write_text("no folder")

        with pytest.raises(StorageFailed):
            storage.save(KEY, b"a picture")


class TestRead:
    def test_says_when_the_bytes_are_gone(self) -> None:
        with pytest.raises(StorageFailed):
            storage.read(KEY)


class TestDiscard:
    def test_deletes_the_bytes(self) -> None:
        storage.save(KEY, b"a picture")

        storage.discard(KEY)

        with pytest.raises(StorageFailed):
            storage.read(KEY)

    def test_is_content_when_there_are_none(self) -> None:
        storage.discard(KEY)

        with pytest.raises(StorageFailed):
            storage.read(KEY)

    def test_is_silent_when_the_storage_refuses(self, tmp_path: Path) -> None:
        (tmp_path / "images").write_text("no folder")

        storage.discard(KEY)

        assert (tmp_path / "images").read_text() == "no folder"


class TestErase:
    def test_deletes_the_bytes(self, tmp_path: Path) -> None:
        storage.save(KEY, b"a picture")

        storage.erase(KEY)

        assert list(tmp_path.rglob("*.png")) == []

    def test_is_content_when_they_are_gone_already(self) -> None:
        storage.erase(KEY)

    def test_says_when_the_bytes_may_be_there_still(self, settings: Any) -> None:
        storage.save(KEY, b"a picture")
        stubborn_storage.keep(settings, KEY)

        with pytest.raises(StorageFailed, match="Permission denied"):
            storage.erase(KEY)

    def test_says_so_whatever_the_storage_raised(self, settings: Any) -> None:
        stubborn_storage.use(settings, stubborn_storage.UnreachableStorage)

        with pytest.raises(StorageFailed, match="Unreachable"):
            storage.erase(KEY)


class TestEraseFolder:
    def test_deletes_everything_below_and_nothing_beside(self, tmp_path: Path) -> None:
        for key in (KEY, "workspace/job_1/2-0.png", "workspace/job_1/more/1.png", "workspace/job_10/1-0.png"):
            storage.save(key, b"a picture")

        storage.erase_folder("workspace/job_1")

        folder = tmp_path / "images" / "workspace"
        assert [str(path.relative_to(folder)) for path in sorted(folder.rglob("*"))] == [
            "job_10",
            "job_10/1-0.png",
        ]

    def test_is_content_when_there_is_none(self) -> None:
        storage.erase_folder("workspace/job_1")

    def test_says_when_something_may_be_there_still(self, settings: Any) -> None:
        storage.save(KEY, b"a picture")
        stubborn_storage.keep(settings, KEY)

        with pytest.raises(StorageFailed):
            storage.erase_folder("workspace/job_1")

    def test_says_when_the_storage_cannot_be_listed(self, settings: Any) -> None:
        stubborn_storage.use(settings, stubborn_storage.UnreachableStorage)

        with pytest.raises(StorageFailed):
            storage.erase_folder("workspace/job_1")


class TestSignedUrl:
    @pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
    def test_names_the_picture_with_its_format(self, settings: Any, name: str) -> None:
        settings.PUBLIC_URL = "https://atelier.example"
        one = image(f"image/{name}")

        url = storage.signed_url(one, NOW)

        assert url.startswith(f"https://atelier.example/files/{one.public_id}.{name}?expires=")

    def test_holds_until_its_end(self, settings: Any) -> None:
        settings.FILE_URL_SECONDS = 60
        address = address_of(image())

        answers = [storage.is_signed(*address, NOW + timedelta(seconds=late)) for late in (0, 59, 60, 61)]

        assert answers == [True, True, False, False]

    def test_is_for_one_picture(self) -> None:
        _, expires, signature = address_of(image())

        assert not storage.is_signed(image().public_id, expires, signature, NOW)

    def test_cannot_be_prolonged(self) -> None:
        public_id, expires, signature = address_of(image())

        assert not storage.is_signed(public_id, str(int(expires) + 1), signature, NOW)

    def test_depends_on_the_secret(self, settings: Any) -> None:
        address = address_of(image())

        settings.SECRET_KEY = "another"

        assert not storage.is_signed(*address, NOW)

    @pytest.mark.parametrize("expires", ["", "soon", "1e9", "-1", "9" * 5_000])
    @pytest.mark.parametrize("signature", ["", "é", "0" * 64])
    def test_refuses_an_address_that_was_made_up(self, expires: str, signature: str) -> None:
        assert not storage.is_signed(image().public_id, expires, signature, NOW)

    @pytest.mark.parametrize("public_id", ["", "img_", "job_" + "0" * 26, "img_" + "z" * 26, "../secret"])
    def test_refuses_an_id_of_no_picture(self, public_id: str) -> None:
        _, expires, signature = address_of(image())

        assert not storage.is_signed(public_id, expires, signature, NOW)

    def test_does_not_hold_for_a_job_of_the_same_number(self) -> None:
        one = image()
        _, expires, signature = address_of(one)

        assert not storage.is_signed(ids.public(ids.Prefix.JOB, one.pk), expires, signature, NOW)
