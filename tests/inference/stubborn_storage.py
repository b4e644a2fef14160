"""A storage that does not let go of some files, as a store without the permission to delete."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.files.storage import FileSystemStorage

from accounts.models import Workspace


class StubbornStorage(FileSystemStorage):
    def __init__(self, location: str, keeps: Iterable[str] = ()) -> None:
        super().__init__(location=location)
        self.keeps = tuple(keeps)

    def delete(self, name: str) -> None:
        if any(kept in name for kept in self.keeps):
            raise PermissionError(13, "Permission denied")
        super().delete(name)


class UnreachableStorage(FileSystemStorage):
    """Raises what the libraries of object stores raise: nothing that is an OSError."""

    class Unreachable(Exception):
        pass

    def delete(self, name: str) -> None:
        raise self.Unreachable

    def listdir(self, path: str) -> Any:
        raise self.Unreachable


def keep(settings: Any, *names: str) -> None:
    """From now on the storage does not delete files whose names contain one of these; no names: it does again."""
    options = {"location": settings.STORAGES["images"]["OPTIONS"]["location"]}
    use(settings, StubbornStorage, {**options, "keeps": names})


def use(settings: Any, backend: type[FileSystemStorage], options: dict[str, Any] | None = None) -> None:
    path = f"{backend.__module__}.{backend.__qualname__}"
    images = {**settings.STORAGES["images"], "BACKEND": path}
    settings.STORAGES = {**settings.STORAGES, "images": {**images, "OPTIONS": options or images["OPTIONS"]}}


def files_of(settings: Any, workspace: Workspace) -> list[str]:
    """Names of everything that is stored of a workspace, folders included."""
    folder = Path(settings.STORAGES["images"]["OPTIONS"]["location"]) / str(workspace.pk)
    return sorted(str(path.relative_to(folder)) for path in [folder, *folder.rglob("*")] if path.exists())
