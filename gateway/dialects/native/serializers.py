"""What the native API accepts and answers."""

import base64
from datetime import datetime
from typing import Any

from rest_framework import serializers

from accounts import ids
from billing.ledger import BalanceView
from gateway.api.serializers import Number, StrictSerializer, Text, TextMap, Whole, pairs
from inference import jobs, progress, storage
from inference.models import Image, Job, ModelVersion, State
from inference.preparation import Prepared
from inference.prompts import SavedTemplate, TemplateText
from inference.requests import Delivery, GenerationRequest, Operation, OutputFormat, ResponseFormat
from inference.schedulers import SCHEDULERS


class GenerationSerializer(StrictSerializer):
    """A generation request in canonical names. Only `prompt` is required; the model has defaults for the rest."""

    prompt = Text(required=True, help_text="What to draw.")
    negative_prompt = Text(help_text="What not to draw.")
    model = Text(help_text="A model's name, `name@version`, or an alias.")
    operation = serializers.ChoiceField([str(operation) for operation in Operation], required=False)
    width = Whole(help_text="Pixels.")
    height = Whole(help_text="Pixels.")
    num_images = Whole(help_text="Image i uses seed + i.")
    num_inference_steps = Whole()
    guidance_scale = Number()
    seed = Whole(help_text="Same seed and parameters, same picture. Drawn and returned when absent.")
    scheduler = serializers.ChoiceField(list(SCHEDULERS), required=False)
    prompt_template = Text(help_text="`name` or `name@version` of a prompt template.")
    variables = TextMap(most=50, help_text="Values of the template's places.")
    output_format = serializers.ChoiceField([str(form) for form in OutputFormat], required=False)
    output_quality = Whole(help_text="1 to 100, for jpeg and webp.")
    response_format = serializers.ChoiceField([str(form) for form in ResponseFormat], required=False)
    user = Text(max_length=256, help_text="Your own end user; only a keyed hash is kept.")
    metadata = TextMap(most=16, help_text="Given back with the job.")

    def generation_request(self) -> GenerationRequest:
        data = dict(self.validated_data)
        for name in ("response_format", "user", "metadata"):
            data.pop(name, None)
        if "output_format" in data:
            data["output_format"] = OutputFormat(data["output_format"])
        if "operation" in data:
            data["operation"] = Operation(data["operation"])
        return GenerationRequest(**{**data, "variables": pairs(data.get("variables"))})

    def delivery(self) -> Delivery:
        data = self.validated_data
        return Delivery(ResponseFormat(data.get("response_format", "url")), pairs(data.get("metadata")))

    def end_user(self) -> str:
        return str(self.validated_data.get("user", ""))


class ImageSerializer(serializers.Serializer[Image]):
    id = serializers.CharField(source="public_id")
    job_id = serializers.SerializerMethodField()
    index = serializers.IntegerField()
    url = serializers.SerializerMethodField(help_text="Signed; opens without a key until it expires.")
    content_type = serializers.CharField()
    width = serializers.IntegerField()
    height = serializers.IntegerField()
    size_bytes = serializers.IntegerField()
    sha256 = serializers.CharField()
    seed = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    b64 = serializers.SerializerMethodField(help_text="The bytes, when `response_format` is b64.")

    def get_job_id(self, image: Image) -> str:
        return ids.public(ids.Prefix.JOB, image.job_id)

    def get_url(self, image: Image) -> str:
        return storage.signed_url(image, self.context["now"])

    def get_b64(self, image: Image) -> str | None:
        if not self.context.get("with_bytes"):
            return None
        return base64.b64encode(storage.read(image.storage_key)).decode()


class JobSerializer(serializers.Serializer[Job]):
    """One job: its state, what was asked, what it cost, its images or its error."""

    id = serializers.CharField(source="public_id")
    state = serializers.ChoiceField(State.choices)
    model = serializers.CharField(source="model_version.label")
    parameters = serializers.SerializerMethodField()
    price = serializers.SerializerMethodField()
    progress = serializers.SerializerMethodField()
    images = serializers.SerializerMethodField()
    deleted_images = serializers.SerializerMethodField(help_text="Images that were deleted since.")
    error = serializers.SerializerMethodField()
    metadata = serializers.SerializerMethodField()
    is_test = serializers.SerializerMethodField()
    request_id = serializers.CharField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)

    def get_parameters(self, job: Job) -> dict[str, Any]:
        names = "operation width height num_images num_inference_steps guidance_scale seed scheduler output_format"
        return {name: getattr(job, name) for name in names.split()}

    def get_price(self, job: Job) -> dict[str, int]:
        return {
            "credits_per_image": job.credits_per_image,
            "held_credits": 0 if State(job.state).is_terminal else job.credits_per_image * job.num_images,
            "captured_credits": job.captured_credits,
        }

    def get_progress(self, job: Job) -> dict[str, int] | None:
        now = progress.latest(job.pk)
        return {"step": now.step, "steps": now.steps} if now else None

    def get_images(self, job: Job) -> list[dict[str, Any]]:
        with_bytes = job.delivery.get("response_format") == ResponseFormat.B64 and not self.context.get(
            "in_list"
        )
        context = {"now": self.context["now"], "with_bytes": with_bytes}
        images = [image for image in self.context["images"][job.pk] if image.deleted_at is None]
        return [dict(ImageSerializer(image, context=context).data) for image in images]

    def get_deleted_images(self, job: Job) -> int:
        return sum(image.deleted_at is not None for image in self.context["images"][job.pk])

    def get_error(self, job: Job) -> dict[str, str] | None:
        return {"code": job.error_code, "message": job.error_message} if job.error_code else None

    def get_metadata(self, job: Job) -> dict[str, str]:
        return dict(job.delivery.get("metadata", {}))

    def get_is_test(self, job: Job) -> bool:
        return job.side == "test"


def draw_job(job: Job, now: datetime) -> dict[str, Any]:
    has_images = State(job.state).is_terminal
    images = jobs.images_by_job([job], with_deleted=True) if has_images else {job.pk: []}
    context = {"now": now, "in_list": False, "images": images}
    return dict(JobSerializer(job, context=context).data)


def draw_jobs(page: list[Job], now: datetime) -> list[dict[str, Any]]:
    context = {"now": now, "in_list": True, "images": jobs.images_by_job(page, with_deleted=True)}
    return [dict(JobSerializer(job, context=context).data) for job in page]


class JobPageSerializer(serializers.Serializer[Any]):
    # The metaclass takes declared fields off the class, so they hide nothing of the base.
    data = JobSerializer(many=True)  # type: ignore[assignment]
    has_more = serializers.BooleanField()
    next_after = serializers.CharField(allow_null=True, help_text="Pass as `after` for the next page.")


class ModelSerializer(serializers.Serializer[ModelVersion]):
    id = serializers.CharField(source="model_id")
    version = serializers.CharField(source="label")
    name = serializers.CharField(source="model.name")
    description = serializers.CharField(source="model.description")
    aliases = serializers.SerializerMethodField()
    operations = serializers.ListField(child=serializers.CharField())
    size_policy = serializers.ChoiceField(ModelVersion.SizePolicy.choices)
    sizes = serializers.ListField(child=serializers.ListField(child=serializers.IntegerField()))
    schedulers = serializers.ListField(child=serializers.CharField())
    default_steps = serializers.IntegerField()
    max_steps = serializers.IntegerField()
    default_guidance_scale = serializers.FloatField()
    max_images = serializers.IntegerField()

    def get_aliases(self, version: ModelVersion) -> list[str]:
        return [row.alias for row in version.model.aliases.all()]


class ModelListSerializer(serializers.Serializer[Any]):
    data = ModelSerializer(many=True)  # type: ignore[assignment]


class QuoteSerializer(serializers.Serializer[Any]):
    """What a request would cost and what would be drawn. Nothing is reserved."""

    model = serializers.CharField()
    unit = serializers.CharField()
    credits_per_image = serializers.IntegerField()
    total_credits = serializers.IntegerField()
    price_book_version = serializers.IntegerField()
    width = serializers.IntegerField()
    height = serializers.IntegerField()
    num_images = serializers.IntegerField()
    num_inference_steps = serializers.IntegerField()


def draw_quote(prepared: Prepared) -> dict[str, Any]:
    resolved, quoted = prepared.resolved, prepared.quote
    return {
        "model": prepared.version.label,
        "unit": quoted.unit,
        "credits_per_image": quoted.credits_per_image,
        "total_credits": quoted.total_credits,
        "price_book_version": quoted.price_book_version,
        "width": resolved.width,
        "height": resolved.height,
        "num_images": resolved.num_images,
        "num_inference_steps": resolved.num_inference_steps,
    }


class TemplateSerializer(StrictSerializer):
    """A prompt template: text around the caller's prompt, with `{{name}}` places in the body."""

    name = serializers.SlugField(max_length=60)
    version = serializers.IntegerField(read_only=True)
    preamble = Text(help_text="Goes before the body.")
    body = Text(help_text="`{{prompt}}` is the caller's prompt, other places are variables.")
    suffix = Text(help_text="Goes after the body.")
    default_negative_prompt = Text(help_text="Used when the caller sends no negative prompt.")
    variables = serializers.ListField(child=serializers.CharField(), read_only=True)

    def template_text(self) -> TemplateText:
        return TemplateText(**{name: value for name, value in self.validated_data.items() if name != "name"})


class TemplateListSerializer(serializers.Serializer[Any]):
    data = TemplateSerializer(many=True)  # type: ignore[assignment]


def draw_template(saved: SavedTemplate) -> dict[str, Any]:
    text = {**vars(saved.text), "variables": sorted(saved.text.variables)}
    return {"name": saved.name, "version": saved.number, **text}


class BalanceSerializer(serializers.Serializer[BalanceView]):
    available_credits = serializers.IntegerField()
    held_credits = serializers.IntegerField()
    debt_credits = serializers.IntegerField()
    unfinished_jobs = serializers.IntegerField(source="open_holds")
