"""Which image models exist: names clients use, and pinned versions with what they can do."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from accounts import ids


class ImageModel(models.Model):
    """What a client names. Its current version serves requests that name no version."""

    slug = models.SlugField(primary_key=True, max_length=80)
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.slug


class ModelAlias(models.Model):
    """Another name for a model, such as the one that existing client code sends."""

    alias = models.CharField(primary_key=True, max_length=120)
    model = models.ForeignKey(ImageModel, on_delete=models.CASCADE, related_name="aliases")


class ModelVersion(models.Model):
    """A fixed set of weights with its limits and defaults. Weights and backend never change once published."""

    class SizePolicy(models.TextChoices):
        EXACT = "exact"  # a size outside the limits is refused
        NEAREST = "nearest"  # the nearest listed size is drawn; the answer says which

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    model = models.ForeignKey(ImageModel, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    is_current = models.BooleanField(default=True)
    backend = models.CharField(max_length=20)  # a key of settings.ENGINES
    source = models.CharField(max_length=500, blank=True)  # a folder or a hub id
    revision = models.CharField(max_length=80, blank=True)  # the pinned commit of a hub id
    engine_options = models.JSONField(default=dict, blank=True)
    operations = models.JSONField(default=list)
    size_policy = models.CharField(max_length=7, choices=SizePolicy.choices, default=SizePolicy.EXACT)
    sizes = models.JSONField(default=list)  # [[width, height], ...]; the first is the default
    size_multiple = models.PositiveIntegerField(default=8)
    min_side = models.PositiveIntegerField(default=64)
    max_side = models.PositiveIntegerField(default=2048)
    schedulers = models.JSONField(default=list)  # names of schedulers.SCHEDULERS; the first is the default
    default_steps = models.PositiveIntegerField(default=20)
    max_steps = models.PositiveIntegerField(default=100)
    default_guidance_scale = models.FloatField(default=7.0)
    max_guidance_scale = models.FloatField(default=20.0)
    max_images = models.PositiveIntegerField(default=10)
    max_prompt_characters = models.PositiveIntegerField(default=4000)
    run_limit_seconds = models.PositiveIntegerField(default=120)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["model", "number"], name="model_version_number_once"),
            models.UniqueConstraint(
                fields=["model"], condition=Q(is_current=True), name="model_version_one_current"
            ),
        ]

    @property
    def label(self) -> str:
        """Name of this version in answers, logs and prices, for example `atelier-scenes@1`."""
        return f"{self.model_id}@{self.number}"

    @property
    def sku(self) -> str:
        return self.label
