"""OpenAI's `POST /images/generations` body and `ImagesResponse`.

FIELDS says of every vendor field whether we honour it, ignore it because it cannot change the picture here, or
refuse it. Our own fields come flat in the body, as the client's `extra_body` sends them.
"""

import base64
import re
from enum import StrEnum
from typing import Any

from django.conf import settings
from rest_framework import serializers

from gateway.api.serializers import Number, StrictSerializer, Text, TextMap, Truth, Whole, pairs
from inference import jobs, storage
from inference.models import Job
from inference.requests import Delivery, GenerationRequest, InvalidRequest, OutputFormat, ResponseFormat


class Treatment(StrEnum):
    HONOURED = "honoured"
    IGNORED = "ignored: it cannot change the picture"
    REFUSED = "refused"


FIELDS = {
    "prompt": Treatment.HONOURED,
    "model": Treatment.HONOURED,
    "n": Treatment.HONOURED,
    "size": Treatment.HONOURED,
    "output_format": Treatment.HONOURED,
    "output_compression": Treatment.HONOURED,
    "response_format": Treatment.HONOURED,
    "user": Treatment.HONOURED,
    "safety_identifier": Treatment.HONOURED,
    "quality": Treatment.IGNORED,  # steps decide; every model has one quality
    "style": Treatment.IGNORED,
    "moderation": Treatment.IGNORED,  # our policy applies to all
    "background": Treatment.REFUSED,  # unless it asks for what we draw anyway: an opaque one
    "stream": Treatment.REFUSED,  # unless false
    "partial_images": Treatment.REFUSED,  # unless 0
    "complexity": Treatment.REFUSED,
    "frame_count": Treatment.REFUSED,
    "frame_duration_ms": Treatment.REFUSED,
    "svg": Treatment.REFUSED,
}
SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
# Retired names whose users expect an address, as upstream answered them.
URL_BY_DEFAULT = ("dall-e-2", "dall-e-3")


class GenerationSerializer(StrictSerializer):
    prompt = Text(required=True)
    model = Text()
    n = Whole()
    size = Text()
    quality = Text()
    # The metaclass takes declared fields off the class, so they hide nothing of the base.
    style = Text()  # type: ignore[assignment]
    moderation = Text()
    background = serializers.ChoiceField(["auto", "opaque"], required=False)
    output_format = serializers.ChoiceField([str(form) for form in OutputFormat], required=False)
    output_compression = Whole()
    response_format = serializers.ChoiceField(["url", "b64_json"], required=False)
    stream = Truth()
    partial_images = Whole()
    user = Text(max_length=256)
    safety_identifier = Text(max_length=256)
    # Ours
    negative_prompt = Text()
    seed = Whole()
    num_inference_steps = Whole()
    guidance_scale = Number()
    scheduler = Text()
    prompt_template = Text()
    variables = TextMap(most=50)
    metadata = TextMap(most=16)

    def validate_stream(self, value: bool) -> bool:
        if value:
            raise serializers.ValidationError("Streaming is not available yet; leave it out.")
        return value

    def validate_partial_images(self, value: int) -> int:
        if value:
            raise serializers.ValidationError("Partial images are not available yet; leave it out.")
        return value

    def generation_request(self) -> GenerationRequest:
        data = self.validated_data
        width, height = _sides(data.get("size", "auto"))
        return GenerationRequest(
            prompt=data["prompt"],
            negative_prompt=data.get("negative_prompt", ""),
            model=data.get("model", ""),
            width=width,
            height=height,
            num_images=data.get("n", 1),
            num_inference_steps=data.get("num_inference_steps"),
            guidance_scale=data.get("guidance_scale"),
            seed=data.get("seed"),
            scheduler=data.get("scheduler"),
            prompt_template=data.get("prompt_template"),
            variables=pairs(data.get("variables")),
            output_format=OutputFormat(data.get("output_format", "png")),
            # The vendor's default of 100 is for its own encoder; 0 has no meaning for ours.
            output_quality=data.get("output_compression", 95) or 1,
        )

    def delivery(self) -> Delivery:
        data = self.validated_data
        default = "url" if data.get("model") in URL_BY_DEFAULT else "b64_json"
        is_url = data.get("response_format", default) == "url"
        return Delivery(ResponseFormat.URL if is_url else ResponseFormat.B64, pairs(data.get("metadata")))

    def end_user(self) -> str:
        data = self.validated_data
        return str(data.get("safety_identifier") or data.get("user", ""))


def _sides(size: str) -> tuple[int | None, int | None]:
    if size == "auto":
        return None, None
    match = SIZE.fullmatch(size)
    if match is None:
        raise InvalidRequest("size", "must be 'auto' or look like '1024x1024'.")
    return int(match[1]), int(match[2])


def draw_images(job: Job, now: Any) -> dict[str, Any]:
    """An ImagesResponse; `seed` and `job_id` are ours, and the client keeps them."""
    return {
        "created": int((job.finished_at or now).timestamp()),
        "data": [_datum(job, image, now) for image in jobs.images_of(job)],
        "background": "opaque",
        "output_format": job.output_format,
        "size": f"{job.width}x{job.height}",
        "seed": job.seed,
        "model": job.model_version.label,
        "job_id": job.public_id,
        "credits": job.captured_credits,
    }


def _datum(job: Job, image: Any, now: Any) -> dict[str, Any]:
    if job.delivery["response_format"] == ResponseFormat.URL:
        return {"url": storage.signed_url(image, now), "seed": image.seed}
    return {"b64_json": base64.b64encode(storage.read(image.storage_key)).decode(), "seed": image.seed}


def draw_model(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": settings.MODEL_OWNER}
