"""Prompt templates of a workspace and their fixed editions."""

from django.db import models
from django.db.models.functions import Now

from accounts import ids
from accounts.tenancy import WorkspaceOwned


class PromptTemplate(WorkspaceOwned):
    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    name = models.SlugField(max_length=60)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "name"], name="template_name_once")]


class PromptTemplateVersion(WorkspaceOwned):
    """Text around the caller's prompt. Never changed: saving a template makes the next number."""

    template = models.ForeignKey(PromptTemplate, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    preamble = models.TextField(blank=True)
    body = models.TextField(default="{{prompt}}")
    suffix = models.TextField(blank=True)
    default_negative_prompt = models.TextField(blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["template", "number"], name="template_version_once")]
