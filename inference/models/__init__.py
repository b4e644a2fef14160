"""Tables of inference, by subject; import them from here."""

from inference.models.catalog import ImageModel, ModelAlias, ModelVersion
from inference.models.jobs import (
    UNFINISHED,
    IdempotencyRecord,
    Image,
    Job,
    JobClass,
    JobContent,
    QuotaUse,
    State,
)
from inference.models.prompts import PromptTemplate, PromptTemplateVersion

__all__ = [
    "UNFINISHED",
    "IdempotencyRecord",
    "Image",
    "ImageModel",
    "Job",
    "JobClass",
    "JobContent",
    "ModelAlias",
    "ModelVersion",
    "PromptTemplate",
    "PromptTemplateVersion",
    "QuotaUse",
    "State",
]
