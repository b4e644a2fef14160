"""The catalogue: which models exist, and what a version makes of a request's sizes, steps and defaults."""

import math
import re
import secrets
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction

from accounts.lookups import Lookup, Topic
from inference.models import ImageModel, ModelAlias, ModelVersion
from inference.requests import (
    MAX_SEED,
    GenerationRequest,
    InvalidRequest,
    Operation,
    ResolvedRequest,
    check_range,
)
from inference.schedulers import SCHEDULERS

REFERENCE = re.compile(r"(?P<name>[A-Za-z0-9._:/-]{1,120})(?:@(?P<number>[0-9]{1,6}))?")


class ModelNotFound(Exception):
    """No model or alias has this name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"There is no model named {name!r}.")


class InvalidModel(ValueError):
    """The model to register lacks something that every request needs."""


@dataclass(frozen=True)
class NewModel:
    """A model to register. `fields` are columns of ModelVersion; `sizes` and `schedulers` are required."""

    slug: str
    name: str
    description: str
    backend: str
    fields: dict[str, Any]
    aliases: tuple[str, ...] = ()


def register(new: NewModel) -> ModelVersion:
    """Create the model and its next version; the same fields again give the current version back.

    Raises InvalidModel when a request could not be drawn by it.
    """
    _check(new)
    with transaction.atomic():
        model, _ = ImageModel.objects.update_or_create(
            slug=new.slug, defaults={"name": new.name, "description": new.description}
        )
        for alias in new.aliases:
            ModelAlias.objects.update_or_create(alias=alias, defaults={"model": model})
        current = ModelVersion.objects.filter(model=model, is_current=True).first()
        fields = {"operations": [str(Operation.TEXT_TO_IMAGE)], "backend": new.backend, **new.fields}
        if current and all(getattr(current, name) == value for name, value in fields.items()):
            return current
        number = (current.number if current else 0) + 1
        ModelVersion.objects.filter(model=model).update(is_current=False)
        return ModelVersion.objects.create(model=model, number=number, **fields)


def _check(new: NewModel) -> None:
    sizes, known = new.fields.get("sizes"), new.fields.get("schedulers")
    if not sizes or any(len(size) != 2 or min(size) < 1 for size in sizes):
        raise InvalidModel("`sizes` must list at least one [width, height]; the first is the default.")
    if not known or any(name not in SCHEDULERS for name in known):
        raise InvalidModel(
            f"`schedulers` must list at least one of {', '.join(SCHEDULERS)}; the first is the default."
        )
    if new.backend not in settings.ENGINES:
        raise InvalidModel(f"`backend` must be one of {', '.join(settings.ENGINES)}.")


def available() -> list[ModelVersion]:
    """Current versions of all models, by name."""
    return list(_all())


def _load_all() -> list[ModelVersion]:
    rows = ModelVersion.objects.filter(is_current=True).select_related("model")
    return list(rows.prefetch_related("model__aliases").order_by("model_id"))


def resolve(name: str) -> ModelVersion:
    """The version behind `slug`, `slug@number`, an alias, or "" for the default; raises ModelNotFound.

    The row is shared between requests: do not change it.
    """
    return _version(name or settings.DEFAULT_MODEL)


def skus_of(name: str) -> list[str]:
    """What a model was or is sold as: each version, or the one that is named; raises ModelNotFound."""
    version = resolve(name)
    named = [version] if "@" in name else ModelVersion.objects.filter(model_id=version.model_id)
    return [one.sku for one in named]


def _load_version(name: str) -> ModelVersion:
    match = REFERENCE.fullmatch(name)
    if match is None:
        raise ModelNotFound(name)
    slug, number = match["name"], match["number"]
    aliased = ModelAlias.objects.filter(alias=slug).values_list("model_id", flat=True).first()
    rows = ModelVersion.objects.filter(model_id=aliased or slug).select_related("model")
    rows = rows.filter(number=int(number)) if number else rows.filter(is_current=True)
    version = rows.first()
    if version is None:
        raise ModelNotFound(name)
    return version


_all = Lookup(Topic.CATALOG, _load_all)
_version = Lookup(Topic.CATALOG, _load_version)


def fill_in(
    version: ModelVersion, request: GenerationRequest, prompt: str, negative_prompt: str
) -> ResolvedRequest:
    """Apply the version's defaults and limits; raises InvalidRequest with the field's name."""
    if request.operation not in version.operations:
        raise InvalidRequest("operation", f"{version.label} does not do {request.operation}.")
    check_range("num_images", request.num_images, 1, version.max_images)
    check_range("num_inference_steps", request.num_inference_steps, 1, version.max_steps)
    check_range("guidance_scale", request.guidance_scale, 0, version.max_guidance_scale)
    most = version.max_prompt_characters
    for field, text in (("prompt", prompt), ("negative_prompt", negative_prompt)):
        if len(text) > most:
            raise InvalidRequest(field, f"has {len(text)} characters; {version.label} takes at most {most}.")
    width, height = _size(version, request.width, request.height)
    return ResolvedRequest(
        prompt=prompt,
        negative_prompt=negative_prompt,
        operation=request.operation,
        width=width,
        height=height,
        num_images=request.num_images,
        num_inference_steps=request.num_inference_steps or version.default_steps,
        guidance_scale=(
            version.default_guidance_scale if request.guidance_scale is None else request.guidance_scale
        ),
        seed=secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed,
        scheduler=_scheduler(version, request.scheduler),
    )


def _scheduler(version: ModelVersion, asked: str | None) -> str:
    if asked is None:
        return str(version.schedulers[0])
    if asked not in version.schedulers:
        raise InvalidRequest("scheduler", f"must be one of {', '.join(version.schedulers)}.")
    return asked


def _size(version: ModelVersion, width: int | None, height: int | None) -> tuple[int, int]:
    sizes = [(int(w), int(h)) for w, h in version.sizes]
    if width is None and height is None:
        return sizes[0]
    given = {field: side for field, side in (("width", width), ("height", height)) if side is not None}
    # One side alone asks for a square.
    size = (width or height or 0, height or width or 0)
    if version.size_policy == ModelVersion.SizePolicy.NEAREST:
        return min(sizes, key=lambda listed: _distance(listed, size))
    for field, side in given.items():
        check_range(field, side, version.min_side, version.max_side)
        if side % version.size_multiple:
            raise InvalidRequest(field, f"must be a multiple of {version.size_multiple}, not {side}.")
    return size


def _distance(one: tuple[int, int], other: tuple[int, int]) -> tuple[float, float]:
    """How unlike two sizes are: first in shape, then in area, both as ratios."""
    shape = abs(math.log(one[0] / one[1]) - math.log(other[0] / other[1]))
    area = abs(math.log(one[0] * one[1]) - math.log(other[0] * other[1]))
    return round(shape, 2), area


def evaluations_per_image(request: ResolvedRequest) -> int:
    return SCHEDULERS[request.scheduler].evaluations(request.num_inference_steps)
