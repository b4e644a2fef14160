import hashlib
import json
from io import StringIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from django.core.management import CommandError, call_command

from accounts import audit, ids
from accounts.models import AuditEvent, Workspace
from gateway import workspace_archive, workspace_export
from gateway.workspace_export import PARTS
from inference import image_deletion, jobs, storage
from inference.models import Job, ModelVersion
from tests import factories


@pytest.fixture
def job(workspace: Workspace, model: ModelVersion) -> Job:
    """A finished job with two pictures."""
    return factories.run(factories.job(workspace, num_images=2))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "export.zip"


def rows(archive: ZipFile, part: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in archive.read(f"{part}.jsonl").splitlines()]


class TestArchive:
    def test_holds_every_part_the_pictures_and_a_description(
        self, workspace: Workspace, job: Job, target: Path
    ) -> None:
        workspace_archive.write(workspace.pk, target)

        with ZipFile(target) as archive:
            names = set(archive.namelist())
        pictures = {f"images/{image.public_id}.png" for image in jobs.images_of(job)}
        tables = {f"{part.name}.jsonl" for part in PARTS}
        assert names == {"README.txt", "manifest.json"} | pictures | tables

    def test_names_every_file_with_its_hash_in_the_manifest(
        self, workspace: Workspace, job: Job, target: Path
    ) -> None:
        workspace_archive.write(workspace.pk, target)

        with ZipFile(target) as archive:
            manifest = json.loads(archive.read("manifest.json"))
            told = {one["name"]: one for one in manifest["files"]}
            assert set(told) == set(archive.namelist()) - {"manifest.json"}
            for name, one in told.items():
                content = archive.read(name)
                assert (one["bytes"], one["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
                assert one.get("rows", 0) == (content.count(b"\n") if name.endswith(".jsonl") else 0)
        assert manifest["workspace"] == ids.public(ids.Prefix.WORKSPACE, workspace.pk)
        assert (manifest["format"], manifest["missing_images"]) == (1, [])

    def test_holds_the_pictures_as_they_were_delivered(
        self, workspace: Workspace, job: Job, target: Path
    ) -> None:
        workspace_archive.write(workspace.pk, target)

        with ZipFile(target) as archive:
            for row in rows(archive, "images"):
                assert hashlib.sha256(archive.read(row["file"])).hexdigest() == row["sha256"]

    def test_leaves_out_the_bytes_of_deleted_pictures(
        self, workspace: Workspace, job: Job, target: Path
    ) -> None:
        first, second = jobs.images_of(job)
        image_deletion.delete(factories.caller(workspace), first.pk)

        workspace_archive.write(workspace.pk, target)

        with ZipFile(target) as archive:
            assert [row["file"] for row in rows(archive, "images")] == [
                None,
                f"images/{second.public_id}.png",
            ]

    def test_holds_every_row_of_a_long_table(
        self, workspace: Workspace, job: Job, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(workspace_export, "CHUNK", 2)
        made = [job, *(factories.job(workspace) for _ in range(4))]

        workspace_archive.write(workspace.pk, target)

        with ZipFile(target) as archive:
            assert [row["id"] for row in rows(archive, "jobs")] == [one.public_id for one in made]

    def test_is_for_its_owner_alone(self, workspace: Workspace, target: Path) -> None:
        workspace_archive.write(workspace.pk, target)

        assert target.stat().st_mode & 0o777 == 0o600
        assert list(target.parent.glob("export*")) == [target]

    def test_replaces_nothing(self, workspace: Workspace, target: Path) -> None:
        target.write_text("something else")

        with pytest.raises(FileExistsError):
            workspace_archive.write(workspace.pk, target)

        assert target.read_text() == "something else"

    def test_does_not_appear_half_written(
        self, workspace: Workspace, job: Job, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(workspace_export, "CHUNK", 0)  # a fault of ours in the middle

        with pytest.raises(IndexError):
            workspace_archive.write(workspace.pk, target)

        assert list(target.parent.glob("export*")) == []

    def test_is_written_down(self, workspace: Workspace, target: Path) -> None:
        workspace_archive.write(workspace.pk, target)

        event = AuditEvent.objects.for_workspace(workspace).get(action=audit.Event.WORKSPACE_EXPORTED)
        assert (event.actor, event.data) == ("system", {"form": "zip"})


class TestCommand:
    def test_tells_what_it_wrote(self, workspace: Workspace, job: Job, target: Path) -> None:
        out = StringIO()

        call_command(
            "export_workspace", ids.public(ids.Prefix.WORKSPACE, workspace.pk), str(target), stdout=out
        )

        assert target.exists()
        assert f"{target}: " in out.getvalue()
        assert f" rows, {len(PARTS) + 3} files" in out.getvalue()

    def test_names_pictures_that_could_not_be_read_and_keeps_the_rest(
        self, workspace: Workspace, job: Job, target: Path
    ) -> None:
        first, second = jobs.images_of(job)
        storage.discard(first.storage_key)

        with pytest.raises(CommandError, match=first.public_id):
            call_command("export_workspace", ids.public(ids.Prefix.WORKSPACE, workspace.pk), str(target))

        with ZipFile(target) as archive:
            assert [row["file"] for row in rows(archive, "images")] == [
                None,
                f"images/{second.public_id}.png",
            ]
            assert json.loads(archive.read("manifest.json"))["missing_images"] == [first.public_id]

    @pytest.mark.parametrize("name", ["x", "ws_", "job_" + "0" * 26])
    def test_refuses_what_is_no_id_of_a_workspace(self, db: None, target: Path, name: str) -> None:
        with pytest.raises(CommandError, match="must be a workspace's id"):
            call_command("export_workspace", name, str(target))

    def test_refuses_a_workspace_that_is_not_there(self, db: None, target: Path) -> None:
        with pytest.raises(CommandError, match="There is no such workspace"):
            call_command("export_workspace", "ws_" + "0" * 26, str(target))

    def test_refuses_a_folder_that_is_none(self, workspace: Workspace, tmp_path: Path) -> None:
        with pytest.raises(CommandError, match="cannot be written"):
            call_command(
                "export_workspace",
                ids.public(ids.Prefix.WORKSPACE, workspace.pk),
                str(tmp_path / "none" / "x.zip"),
            )
