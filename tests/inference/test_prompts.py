from typing import Any

import pytest

from accounts.audit import Event, Origin
from accounts.models import AuditEvent, Workspace
from inference import prompts
from inference.models import PromptTemplateVersion
from inference.prompts import (
    MAX_TEMPLATE_CHARACTERS,
    MAX_VARIABLES,
    RenderedPrompt,
    TemplateNotFound,
    TemplateText,
)
from inference.requests import MAX_PROMPT_CHARACTERS, GenerationRequest, InvalidRequest

PAYLOADS = [
    "{0.__class__}",
    "{prompt}",
    "{{7*7}}",
    "{{ prompt.__class__ }}",
    "{% debug %}",
    "%(prompt)s",
    "$prompt ${prompt}",
    r"\1 \g<0> \\",
]


def request(prompt: str = "a boat", template: str | None = "poster", **fields: Any) -> GenerationRequest:
    return GenerationRequest(prompt, prompt_template=template, **fields)


def places(count: int) -> str:
    return " ".join(f"{{{{v{number}}}}}" for number in range(count))


def render(workspace: Workspace, text: TemplateText, prompt: str = "a boat", **fields: Any) -> RenderedPrompt:
    prompts.save(workspace.pk, "poster", text)
    return prompts.render(workspace.pk, request(prompt, **fields))


class TestTemplateText:
    @pytest.mark.parametrize("field", ["preamble", "body", "suffix", "default_negative_prompt"])
    def test_accepts_a_part_at_its_limit(self, field: str) -> None:
        longest = "a" * MAX_TEMPLATE_CHARACTERS

        assert getattr(TemplateText(**{field: longest}), field) == longest

    @pytest.mark.parametrize("field", ["preamble", "body", "suffix", "default_negative_prompt"])
    @pytest.mark.parametrize("text", ["a" * (MAX_TEMPLATE_CHARACTERS + 1), "a\x00", "\ud83d"])
    def test_refuses_a_part_that_is_too_long_or_no_text(self, field: str, text: str) -> None:
        with pytest.raises(InvalidRequest) as refused:
            TemplateText(**{field: text})

        assert refused.value.field == field

    def test_names_the_places_to_fill_besides_the_prompt(self) -> None:
        text = TemplateText(body="{{prompt}} in {{style}} by {{ artist }}, {{style}}")

        assert text.variables == {"style", "artist"}

    @pytest.mark.parametrize("body", ["{{}}", "{style}", "{{7*7}}", "{{a b}}", "{{" + "a" * 41 + "}}"])
    def test_sees_no_place_in_other_braces(self, body: str) -> None:
        assert TemplateText(body=body).variables == frozenset()

    def test_takes_as_many_variables_as_allowed(self) -> None:
        assert len(TemplateText(body=places(MAX_VARIABLES)).variables) == MAX_VARIABLES

    def test_refuses_one_more(self) -> None:
        with pytest.raises(InvalidRequest) as refused:
            TemplateText(body=places(MAX_VARIABLES + 1))

        assert refused.value.field == "body"


class TestSave:
    def test_numbers_the_versions(self, workspace: Workspace) -> None:
        saved = [prompts.save(workspace.pk, "poster", TemplateText(preamble=text)) for text in "abc"]

        assert [version.number for version in saved] == [1, 2, 3]

    def test_leaves_earlier_versions_as_they_were(self, workspace: Workspace) -> None:
        first = prompts.save(workspace.pk, "poster", TemplateText(preamble="old"))

        prompts.save(workspace.pk, "poster", TemplateText(preamble="new"))

        kept = PromptTemplateVersion.objects.for_workspace(workspace).get(pk=first.pk)
        assert kept.preamble == "old"

    def test_numbers_each_template_by_itself(self, workspace: Workspace) -> None:
        prompts.save(workspace.pk, "poster", TemplateText())

        assert prompts.save(workspace.pk, "postcard", TemplateText()).number == 1

    def test_is_audited_without_the_text(self, workspace: Workspace) -> None:
        prompts.save(workspace.pk, "poster", TemplateText(preamble="secret"), Origin("user:1", "req_1"))

        event = AuditEvent.objects.for_workspace(workspace).get(action=Event.TEMPLATE_SAVED)
        assert (event.actor, event.data) == ("user:1", {"number": 1})


class TestFind:
    @pytest.fixture
    def saved(self, workspace: Workspace) -> Workspace:
        for text in ("first", "second"):
            prompts.save(workspace.pk, "poster", TemplateText(preamble=text))
        return workspace

    @pytest.mark.parametrize(
        "reference, preamble", [("poster", "second"), ("poster@1", "first"), ("poster@2", "second")]
    )
    def test_gives_the_latest_or_the_named_version(
        self, saved: Workspace, reference: str, preamble: str
    ) -> None:
        assert prompts.find(saved.pk, reference).preamble == preamble

    @pytest.mark.parametrize("reference", ["", "postcard", "poster@0", "poster@3", "poster@x", "poster@1@1"])
    def test_refuses_a_reference_to_nothing(self, saved: Workspace, reference: str) -> None:
        with pytest.raises(TemplateNotFound):
            prompts.find(saved.pk, reference)

    @pytest.mark.parametrize("digits", [20, 5_000])
    def test_refuses_a_number_without_end(self, saved: Workspace, digits: int) -> None:
        with pytest.raises(TemplateNotFound):
            prompts.find(saved.pk, "poster@" + "9" * digits)

    def test_does_not_find_another_workspaces_template(
        self, saved: Workspace, charlies_workspace: Workspace
    ) -> None:
        with pytest.raises(TemplateNotFound):
            prompts.find(charlies_workspace.pk, "poster")


class TestRender:
    def test_leaves_the_prompt_alone_without_a_template(self, workspace: Workspace) -> None:
        rendered = prompts.render(workspace.pk, request(" a {{boat}} ", None, negative_prompt="fog"))

        assert rendered == RenderedPrompt(" a {{boat}} ", "fog")

    def test_fills_in_the_prompt_and_the_variables(self, workspace: Workspace) -> None:
        text = TemplateText(body="{{prompt}} in {{ style }}, very {{style}}")

        rendered = render(workspace, text, variables=(("style", "oil"),))

        assert rendered.prompt == "a boat in oil, very oil"

    def test_joins_the_parts_that_say_something(self, workspace: Workspace) -> None:
        text = TemplateText(preamble=" A poster: ", body="{{prompt}}\n", suffix=" ")

        assert render(workspace, text).prompt == "A poster: a boat"

    @pytest.mark.parametrize("payload", PAYLOADS)
    def test_keeps_a_prompt_that_looks_like_code_as_text(self, workspace: Workspace, payload: str) -> None:
        assert render(workspace, TemplateText(preamble="A poster:"), payload).prompt == f"A poster: {payload}"

    @pytest.mark.parametrize("payload", [*PAYLOADS, "{{prompt}}", "{{other}}"])
    def test_keeps_a_value_that_looks_like_code_or_a_place_as_text(
        self, workspace: Workspace, payload: str
    ) -> None:
        text = TemplateText(body="{{style}} {{other}}")

        rendered = render(workspace, text, variables=(("style", payload), ("other", "oil")))

        assert rendered.prompt == f"{payload} oil"

    def test_refuses_a_variable_that_the_template_lacks(self, workspace: Workspace) -> None:
        with pytest.raises(InvalidRequest, match="style") as refused:
            render(workspace, TemplateText(), variables=(("style", "oil"),))

        assert refused.value.field == "variables"

    def test_refuses_the_prompt_as_a_variable(self, workspace: Workspace) -> None:
        with pytest.raises(InvalidRequest, match="prompt"):
            render(workspace, TemplateText(), variables=(("prompt", "a cat"),))

    def test_refuses_a_missing_variable(self, workspace: Workspace) -> None:
        with pytest.raises(InvalidRequest, match="artist, style") as refused:
            render(workspace, TemplateText(body="{{style}} {{artist}}"))

        assert refused.value.field == "variables"

    def test_refuses_variables_without_a_template(self, workspace: Workspace) -> None:
        with pytest.raises(InvalidRequest, match="need a prompt_template"):
            prompts.render(workspace.pk, request("a boat", None, variables=(("style", "oil"),)))

    def test_takes_the_templates_negative_prompt_by_default(self, workspace: Workspace) -> None:
        rendered = render(workspace, TemplateText(default_negative_prompt="fog"))

        assert rendered.negative_prompt == "fog"

    def test_prefers_the_callers_negative_prompt(self, workspace: Workspace) -> None:
        rendered = render(workspace, TemplateText(default_negative_prompt="fog"), negative_prompt="rain")

        assert rendered.negative_prompt == "rain"

    @pytest.mark.parametrize("prompt", ["", " \n\t"])
    def test_refuses_an_empty_result(self, workspace: Workspace, prompt: str) -> None:
        with pytest.raises(InvalidRequest, match="is empty") as refused:
            render(workspace, TemplateText(), prompt)

        assert refused.value.field == "prompt"

    def test_needs_no_prompt_when_the_template_says_enough(self, workspace: Workspace) -> None:
        assert render(workspace, TemplateText(body="a harbour"), "").prompt == "a harbour"

    def test_accepts_the_longest_prompt_once_filled_in(self, workspace: Workspace) -> None:
        prompt = "a" * (MAX_PROMPT_CHARACTERS - len("A poster: "))

        assert (
            len(render(workspace, TemplateText(preamble="A poster:"), prompt).prompt) == MAX_PROMPT_CHARACTERS
        )

    def test_refuses_a_longer_one(self, workspace: Workspace) -> None:
        prompt = "a" * (MAX_PROMPT_CHARACTERS - len("A poster: ") + 1)

        with pytest.raises(InvalidRequest, match="once filled in") as refused:
            render(workspace, TemplateText(preamble="A poster:"), prompt)

        assert refused.value.field == "prompt"
