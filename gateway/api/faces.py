"""Which dialect an address belongs to, so that errors made far from its views still have its shape."""

from collections.abc import Callable
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponseBase

from gateway.api.problems import Problem


@dataclass(frozen=True)
class Face:
    """One way in. `draw_problem` turns a problem into this face's error answer."""

    name: str
    prefix: str
    draw_problem: Callable[[Problem, HttpRequest], HttpResponseBase]


_faces: list[Face] = []


def register(face: Face) -> None:
    """Called once by each dialect's `urls` module; a longer prefix is found before a shorter one."""
    _faces[:] = sorted(
        [*(other for other in _faces if other.name != face.name), face], key=lambda f: -len(f.prefix)
    )


def find(path: str) -> Face | None:
    """The API face of a path; None for pages."""
    return next((face for face in _faces if f"{path}/".startswith(face.prefix)), None)


def of(request: HttpRequest) -> Face:
    """The face of a request; a path outside all faces is answered like the native API."""
    return find(request.path_info) or next(face for face in _faces if face.name == "native")
