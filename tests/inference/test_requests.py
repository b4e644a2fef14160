import math
from typing import Any

import pytest

from accounts import ids
from accounts.models import ApiKey, Membership, Side
from accounts.roles import Role
from inference.requests import (
    MAX_PROMPT_CHARACTERS,
    MAX_SEED,
    Caller,
    GenerationRequest,
    InvalidRequest,
    OutputFormat,
)
from tests.inference.steps import resolved

LONGEST = "a" * MAX_PROMPT_CHARACTERS
AT_THE_EDGE: list[tuple[str, Any]] = [
    ("prompt", LONGEST),
    ("negative_prompt", LONGEST),
    ("variables", (("style", LONGEST),)),
    ("num_images", 1),
    ("num_images", 100),
    ("num_inference_steps", 1),
    ("num_inference_steps", 1_000),
    ("width", 1),
    ("width", 16_384),
    ("height", 1),
    ("height", 16_384),
    ("guidance_scale", 0.0),
    ("guidance_scale", 100.0),
    ("seed", 0),
    ("seed", MAX_SEED),
    ("output_quality", 1),
    ("output_quality", 100),
]
OVER_THE_EDGE: list[tuple[str, Any]] = [
    ("prompt", LONGEST + "a"),
    ("negative_prompt", LONGEST + "a"),
    ("variables", (("style", LONGEST + "a"),)),
    ("variables", ((LONGEST + "a", "red"),)),
    ("num_images", 0),
    ("num_images", 101),
    ("num_inference_steps", 0),
    ("num_inference_steps", 1_001),
    ("width", 0),
    ("width", 16_385),
    ("height", 0),
    ("height", 16_385),
    ("guidance_scale", -0.01),
    ("guidance_scale", 100.01),
    ("guidance_scale", math.nan),
    ("guidance_scale", math.inf),
    ("seed", -1),
    ("seed", MAX_SEED + 1),
    ("output_quality", 0),
    ("output_quality", 101),
]


def ask(field: str, value: Any) -> GenerationRequest:
    return GenerationRequest(**{"prompt": "a red boat", field: value})


class TestGenerationRequest:
    @pytest.mark.parametrize("field, value", AT_THE_EDGE)
    def test_accepts_a_value_at_the_limit(self, field: str, value: Any) -> None:
        request = ask(field, value)

        assert getattr(request, field) == value

    @pytest.mark.parametrize("field, bounds", [("seed", "0 and 4294967295"), ("width", "1 and 16384")])
    def test_tells_bounds_with_all_their_digits(self, field: str, bounds: str) -> None:
        with pytest.raises(InvalidRequest, match=f"must be between {bounds}\\."):
            ask(field, -1)

    @pytest.mark.parametrize("field, value", OVER_THE_EDGE)
    def test_refuses_a_value_over_the_limit_by_its_name(self, field: str, value: Any) -> None:
        with pytest.raises(InvalidRequest) as refused:
            ask(field, value)

        assert refused.value.field == field

    @pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
    @pytest.mark.parametrize("text", ["a\x00boat", "a \ud83d boat", "a boat \udc00"])
    def test_refuses_text_that_is_not_unicode_or_holds_nul(self, field: str, text: str) -> None:
        with pytest.raises(InvalidRequest) as refused:
            ask(field, text)

        assert refused.value.field == field

    @pytest.mark.parametrize("variable", [("a\x00", "red"), ("style", "a\x00"), ("style", "\ud83d")])
    def test_refuses_such_text_in_a_variable(self, variable: tuple[str, str]) -> None:
        with pytest.raises(InvalidRequest) as refused:
            ask("variables", (variable,))

        assert refused.value.field == "variables"

    @pytest.mark.parametrize("text", ["a\x00secret", "a secret \ud83d", "secret " * MAX_PROMPT_CHARACTERS])
    def test_does_not_repeat_the_refused_text(self, text: str) -> None:
        with pytest.raises(InvalidRequest) as refused:
            ask("prompt", text)

        assert "secret" not in str(refused.value)

    def test_accepts_letters_beyond_the_basic_plane(self) -> None:
        request = GenerationRequest("a 🚤 on the sea")

        assert request.prompt == "a 🚤 on the sea"

    def test_leaves_to_the_model_what_is_not_given(self) -> None:
        request = GenerationRequest("a red boat")

        left = (request.width, request.height, request.num_inference_steps, request.guidance_scale)
        assert (*left, request.seed, request.scheduler) == (None,) * 6

    def test_can_be_hashed_and_compared(self) -> None:
        one, same = (ask("variables", (("style", "oil"),)) for _ in range(2))

        assert one == same
        assert len({one, same, ask("seed", 8)}) == 2

    def test_cannot_be_changed(self) -> None:
        request = GenerationRequest("a red boat")

        with pytest.raises(AttributeError):
            request.prompt = "a blue boat"  # type: ignore[misc]


class TestResolvedRequest:
    def test_counts_seeds_up_from_the_first(self) -> None:
        request = resolved(seed=7, num_images=3)

        assert [request.seed_of(index) for index in range(3)] == [7, 8, 9]


class TestOutputFormat:
    @pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
    def test_names_its_content_type(self, name: str) -> None:
        assert OutputFormat(name).content_type == f"image/{name}"


class TestCaller:
    def ask(self, key: ApiKey | None = None, membership: Membership | None = None) -> Caller:
        return Caller(ids.new_id(), Side.LIVE, key, membership, "native", "req_1")

    def test_has_the_role_of_its_member(self) -> None:
        caller = self.ask(membership=Membership(role=Role.VIEWER))

        assert caller.role == Role.VIEWER

    def test_has_an_admins_role_with_a_service_key(self) -> None:
        assert self.ask().role == Role.ADMIN

    def test_signs_with_the_shown_part_of_its_key(self) -> None:
        key = ApiKey(key_id="Abc123", side=Side.LIVE)

        assert self.ask(key).origin.actor == "key:atl_live_Abc123"

    def test_signs_with_the_user_without_a_key(self) -> None:
        user_id = ids.new_id()

        origin = self.ask(membership=Membership(role=Role.MEMBER, user_id=user_id)).origin

        assert (origin.actor, origin.request_id) == (f"user:{user_id}", "req_1")

    def test_signs_as_the_system_without_key_and_member(self) -> None:
        assert self.ask().origin.actor == "system"
