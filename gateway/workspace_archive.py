"""A workspace's export as a ZIP file: rows as JSON Lines, pictures as they are, a manifest with hashes of all."""

import hashlib
import json
import os
import shutil
import tempfile
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

from accounts import ids
from gateway import workspace_export
from gateway.workspace_export import FORMAT, IMAGES, PARTS, Chunk, Part
from inference import storage
from inference.models import Image
from inference.storage import StorageFailed

README = """Export of a workspace
=====================

manifest.json       what is in this archive: every file with its size, its SHA-256 and, for tables, its rows
*.jsonl             one table each: UTF-8, one JSON object per line, oldest row first
images/             the pictures that were not deleted; `file` in images.jsonl names them

Times are ISO 8601 with their offset. Credits are whole numbers; 10,000 of them are worth one US dollar.
Ids such as job_... are those of the API, and the same in all tables.
`prompt` and `negative_prompt` of a job are null when they are not kept any more.
End users and prompts are otherwise shown as keyed hashes, as they are stored.
API keys are shown without what would let anyone check or guess them.
Work may go on while an export is written; what was made meanwhile may be in one table and not yet in another.
"""


@dataclass
class Written:
    """What went into the archive so far."""

    files: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # pictures that the storage did not give

    @property
    def rows(self) -> int:
        return sum(one.get("rows", 0) for one in self.files)


def write(workspace_id: uuid.UUID, target: Path) -> Written:
    """Write the archive; it appears under its name when it is complete. Raises FileExistsError, replaces nothing."""
    if target.exists():
        raise FileExistsError(f"{target} exists already.")
    begun = workspace_export.begin(workspace_id, "zip")
    # A temporary file can be read by its owner only, and so can the archive.
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f"{target.name}.") as file:
        with ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            written = _fill(archive, workspace_id, begun)
        file.flush()
        os.link(file.name, target)  # as a rename that replaces nothing
    return written


def _fill(archive: ZipFile, workspace_id: uuid.UUID, begun: datetime) -> Written:
    written = Written()
    _add(archive, written, "README.txt", README.encode())
    for part in PARTS:
        _add_part(archive, written, part, workspace_id)
    about = {
        "format": FORMAT,
        "workspace": ids.public(ids.Prefix.WORKSPACE, workspace_id),
        "exported_at": begun.isoformat(),
        "missing_images": written.missing,
        "files": written.files,
    }
    archive.writestr("manifest.json", json.dumps(about, indent=1))
    return written


def _add_part(archive: ZipFile, written: Written, part: Part, workspace_id: uuid.UUID) -> None:
    """Rows wait in a temporary file, because a ZIP takes one member at a time, and pictures are members too."""
    digest, rows = hashlib.sha256(), 0
    with tempfile.TemporaryFile() as waiting:
        for chunk in _chunks(part, workspace_id):
            for row, line in zip(chunk.rows, chunk.lines, strict=True):
                more = {"file": _add_picture(archive, written, row)} if part is IMAGES else {}
                text = workspace_export.dump(line | more)
                digest.update(text)
                waiting.write(text)
                rows += 1
        size = waiting.tell()
        waiting.seek(0)
        _copy(waiting, archive, f"{part.name}.jsonl")
    about = {"name": f"{part.name}.jsonl", "rows": rows, "bytes": size, "sha256": digest.hexdigest()}
    written.files.append(about)


def _copy(source: IO[bytes], archive: ZipFile, name: str) -> None:
    with archive.open(name, "w", force_zip64=True) as member:
        shutil.copyfileobj(source, member)


def _chunks(part: Part, workspace_id: uuid.UUID) -> Iterator[Chunk]:
    yield (chunk := workspace_export.read(part, workspace_id))
    while chunk.after is not None:
        yield (chunk := workspace_export.read(part, workspace_id, chunk.after))


def _add_picture(archive: ZipFile, written: Written, image: Image) -> str | None:
    if image.deleted_at is not None:
        return None
    name = f"images/{image.public_id}.{image.content_type.removeprefix('image/')}"
    try:
        _add(archive, written, name, storage.read(image.storage_key), zipfile.ZIP_STORED)
    except StorageFailed:
        written.missing.append(image.public_id)
        return None
    return name


def _add(
    archive: ZipFile, written: Written, name: str, content: bytes, method: int = zipfile.ZIP_DEFLATED
) -> None:
    archive.writestr(name, content, method)
    digest = hashlib.sha256(content).hexdigest()
    written.files.append({"name": name, "bytes": len(content), "sha256": digest})
