"""Prompt templates: versioned text around the caller's words.

A template's body holds `{{name}}` places; `{{prompt}}` is the caller's prompt, the others come from `variables`,
a flat dict of strings. Filling in is plain replacement in one pass, so a value that looks like a place stays text.
"""

import re
import uuid
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Max

from accounts import audit, ids, tenancy
from accounts.audit import Origin
from inference.models import PromptTemplate, PromptTemplateVersion
from inference.requests import MAX_PROMPT_CHARACTERS, GenerationRequest, InvalidRequest, check_text

PLACE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]{0,39})\s*\}\}")
NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")
REFERENCE = re.compile(r"(?P<name>[A-Za-z0-9_-]{1,60})(?:@(?P<number>[0-9]{1,6}))?")
PROMPT_PLACE = "prompt"
MAX_TEMPLATE_CHARACTERS = 8_000
MAX_VARIABLES = 50


class TemplateNotFound(Exception):
    """The workspace has no prompt template, or no such version, of this name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"There is no prompt template {name!r}.")


@dataclass(frozen=True)
class RenderedPrompt:
    """The words that are moderated and drawn."""

    prompt: str
    negative_prompt: str


@dataclass(frozen=True)
class TemplateText:
    preamble: str = ""
    body: str = "{{prompt}}"
    suffix: str = ""
    default_negative_prompt: str = ""

    def __post_init__(self) -> None:
        for field in ("preamble", "body", "suffix", "default_negative_prompt"):
            check_text(field, getattr(self, field))
            if len(getattr(self, field)) > MAX_TEMPLATE_CHARACTERS:
                raise InvalidRequest(field, f"may have at most {MAX_TEMPLATE_CHARACTERS} characters.")
        if len(self.variables) > MAX_VARIABLES:
            raise InvalidRequest("body", f"may have at most {MAX_VARIABLES} variables.")

    @property
    def variables(self) -> frozenset[str]:
        """Names of the places that the caller must fill, besides the prompt."""
        return frozenset(PLACE.findall(self.body)) - {PROMPT_PLACE}


def save(
    workspace_id: uuid.UUID, name: str, text: TemplateText, origin: Origin = audit.SYSTEM
) -> PromptTemplateVersion:
    """Make the template's next version; earlier ones stay as they are. Raises InvalidRequest for a bad name."""
    if not NAME.fullmatch(name):
        raise InvalidRequest("name", "must have 1 to 60 letters, digits, hyphens or underscores.")
    with transaction.atomic():
        rows = PromptTemplate.objects.across_workspaces()
        rows.get_or_create(workspace_id=workspace_id, name=name)
        # Two people who save at once get two numbers.
        template = rows.select_for_update().get(workspace_id=workspace_id, name=name)
        versions = PromptTemplateVersion.objects.for_workspace(workspace_id).filter(template=template)
        number = (versions.aggregate(last=Max("number"))["last"] or 0) + 1
        version = PromptTemplateVersion.objects.create(
            workspace_id=workspace_id,
            template=template,
            number=number,
            preamble=text.preamble,
            body=text.body,
            suffix=text.suffix,
            default_negative_prompt=text.default_negative_prompt,
        )
        target = ids.public(ids.Prefix.TEMPLATE, template.pk)
        audit.record(audit.Event.TEMPLATE_SAVED, workspace_id, target, origin, number=number)
    return version


@dataclass(frozen=True)
class SavedTemplate:
    """The latest version of a template."""

    name: str
    number: int
    text: TemplateText


def latest(workspace_id: uuid.UUID) -> list[SavedTemplate]:
    """The workspace's templates by name."""
    versions = PromptTemplateVersion.objects.for_workspace(workspace_id).select_related("template")
    newest = {row.template.name: row for row in versions.order_by("template__name", "number")}
    return [SavedTemplate(name, row.number, _text(row)) for name, row in newest.items()]


def _text(row: PromptTemplateVersion) -> TemplateText:
    return TemplateText(row.preamble, row.body, row.suffix, row.default_negative_prompt)


def find(workspace_id: uuid.UUID, reference: str) -> TemplateText:
    """Text of `name` (latest version) or `name@number`; raises TemplateNotFound."""
    match = REFERENCE.fullmatch(reference)
    if match is None:
        raise TemplateNotFound(reference)
    number = match["number"]
    versions = PromptTemplateVersion.objects.for_workspace(workspace_id).filter(template__name=match["name"])
    row = (versions.filter(number=int(number)) if number else versions.order_by("-number")).first()
    if row is None:
        raise TemplateNotFound(reference)
    return _text(row)


def render(workspace_id: uuid.UUID, request: GenerationRequest) -> RenderedPrompt:
    """The request's words inside its template; raises TemplateNotFound or InvalidRequest."""
    if request.prompt_template is None:
        if request.variables:
            raise InvalidRequest("variables", "need a prompt_template to fill in.")
        rendered = RenderedPrompt(request.prompt, request.negative_prompt)
    else:
        with tenancy.reading(workspace_id):
            text = find(workspace_id, request.prompt_template)
        rendered = fill_in(text, request)
    if not rendered.prompt.strip():
        raise InvalidRequest("prompt", "is empty; say what to draw.")
    if len(rendered.prompt) > MAX_PROMPT_CHARACTERS:
        raise InvalidRequest("prompt", f"is longer than {MAX_PROMPT_CHARACTERS} characters once filled in.")
    return rendered


def fill_in(text: TemplateText, request: GenerationRequest) -> RenderedPrompt:
    values = dict(request.variables)
    if unknown := sorted(values.keys() - text.variables):
        raise InvalidRequest("variables", f"{', '.join(unknown)}: the prompt template has no such variable.")
    if missing := sorted(text.variables - values.keys()):
        raise InvalidRequest("variables", f"{', '.join(missing)}: the prompt template needs a value.")
    values[PROMPT_PLACE] = request.prompt
    body = PLACE.sub(lambda place: values[place[1]], text.body)
    parts = (text.preamble.strip(), body.strip(), text.suffix.strip())
    return RenderedPrompt(
        prompt=" ".join(part for part in parts if part),
        negative_prompt=request.negative_prompt or text.default_negative_prompt,
    )
