from typing import Any

import pytest

from billing.models import PriceUnit
from inference import catalog
from inference.catalog import ModelNotFound, NewModel
from inference.models import ImageModel, ModelAlias, ModelVersion
from inference.requests import MAX_SEED, GenerationRequest, InvalidRequest, ResolvedRequest
from tests import factories

pytestmark = pytest.mark.django_db

FIELDS: dict[str, Any] = {"sizes": [[512, 512]], "schedulers": ["euler"], "default_steps": 20}


def register(slug: str = "boats", *, aliases: tuple[str, ...] = (), **fields: Any) -> ModelVersion:
    return catalog.register(
        NewModel(slug, slug.title(), "Draws.", "fake", {**FIELDS, **fields}, aliases=aliases)
    )


def fill_in(version: ModelVersion, prompt: str = "a red boat", **fields: Any) -> ResolvedRequest:
    request = GenerationRequest(prompt, **fields)
    return catalog.fill_in(version, request, request.prompt, request.negative_prompt)


def size(version: ModelVersion, width: int | None = None, height: int | None = None) -> tuple[int, int]:
    drawn = fill_in(version, width=width, height=height)
    return drawn.width, drawn.height


class TestRegister:
    def test_makes_the_first_version_current(self) -> None:
        version = register()

        assert (version.label, version.is_current) == ("boats@1", True)

    def test_gives_the_same_version_for_the_same_fields(self) -> None:
        first = register(max_side=1_024)

        again = register(max_side=1_024)

        assert again == first
        assert ModelVersion.objects.count() == 1

    def test_makes_the_next_version_for_changed_fields(self) -> None:
        register()

        changed = register(default_steps=30)

        assert (changed.label, changed.default_steps) == ("boats@2", 30)

    def test_switches_the_current_version(self) -> None:
        register()
        second = register(default_steps=30)

        assert list(ModelVersion.objects.filter(is_current=True)) == [second]

    def test_makes_a_third_version_of_the_first_ones_fields(self) -> None:
        register()
        register(default_steps=30)

        third = register()

        assert third.label == "boats@3"

    def test_notices_another_backend(self) -> None:
        register()

        changed = catalog.register(NewModel("boats", "Boats", "Draws.", "diffusers", FIELDS))

        assert changed.label == "boats@2"

    def test_renews_name_and_description_without_a_new_version(self) -> None:
        first = register()

        again = catalog.register(NewModel("boats", "Ships", "Draws ships.", "fake", FIELDS))

        assert again == first
        assert ImageModel.objects.get(slug="boats").name == "Ships"

    def test_moves_an_alias_to_the_model_that_claims_it_last(self) -> None:
        register("boats", aliases=("dall-e-3",))
        register("cats", aliases=("dall-e-3",))

        assert ModelAlias.objects.get(alias="dall-e-3").model_id == "cats"


class TestAvailable:
    def test_lists_the_current_versions_by_name(self) -> None:
        register("cats")
        register("boats")
        second = register("boats", default_steps=30)

        assert [version.label for version in catalog.available()] == [second.label, "cats@1"]


class TestResolve:
    @pytest.fixture
    def versions(self) -> list[ModelVersion]:
        return [register(aliases=("dall-e-3",)), register(aliases=("dall-e-3",), default_steps=30)]

    @pytest.mark.parametrize(
        "name, number",
        [("boats", 2), ("boats@1", 1), ("boats@2", 2), ("dall-e-3", 2), ("dall-e-3@1", 1)],
    )
    def test_finds_by_slug_alias_and_number(
        self, versions: list[ModelVersion], name: str, number: int
    ) -> None:
        assert catalog.resolve(name) == versions[number - 1]

    def test_finds_the_default_for_no_name(self, versions: list[ModelVersion], settings: Any) -> None:
        settings.DEFAULT_MODEL = "boats"

        assert catalog.resolve("") == versions[1]

    @pytest.mark.parametrize(
        "name",
        ["cats", "Boats", "boats@3", "boats@0", "boats@-1", "boats@one", "boats@1@1", "@1", "boats "],
    )
    def test_refuses_a_name_that_is_none(self, versions: list[ModelVersion], name: str) -> None:
        with pytest.raises(ModelNotFound) as refused:
            catalog.resolve(name)

        assert refused.value.name == name

    @pytest.mark.parametrize("digits", [20, 5_000])
    def test_refuses_a_number_without_end(self, versions: list[ModelVersion], digits: int) -> None:
        with pytest.raises(ModelNotFound):
            catalog.resolve("boats@" + "9" * digits)


class TestSkusOf:
    def test_are_those_of_all_versions_of_a_model(self, model: ModelVersion) -> None:
        factories.fake_model(max_steps=10)
        factories.fake_model("fake-two")

        assert sorted(catalog.skus_of("fake")) == ["fake@1", "fake@2"]
        assert sorted(catalog.skus_of("fake-alias")) == ["fake@1", "fake@2"]

    def test_is_that_of_the_version_that_is_named(self, model: ModelVersion) -> None:
        factories.fake_model(max_steps=10)

        assert catalog.skus_of("fake@1") == ["fake@1"]

    def test_are_none_of_an_unknown_model(self, model: ModelVersion) -> None:
        with pytest.raises(ModelNotFound):
            catalog.skus_of("absent")


class TestFillIn:
    def test_takes_the_models_defaults(self) -> None:
        version = register(default_steps=25, default_guidance_scale=5.5, schedulers=["heun", "euler"])

        drawn = fill_in(version)

        assert (drawn.width, drawn.height, drawn.num_images) == (512, 512, 1)
        assert (drawn.num_inference_steps, drawn.guidance_scale, drawn.scheduler) == (25, 5.5, "heun")

    def test_keeps_what_the_caller_says(self) -> None:
        version = register(schedulers=["heun", "euler"])

        drawn = fill_in(
            version, num_images=2, num_inference_steps=9, guidance_scale=3.0, scheduler="euler", seed=5
        )

        assert (drawn.num_images, drawn.num_inference_steps) == (2, 9)
        assert (drawn.guidance_scale, drawn.scheduler, drawn.seed) == (3.0, "euler", 5)

    def test_takes_no_guidance_at_its_word(self) -> None:
        drawn = fill_in(register(default_guidance_scale=7.0), guidance_scale=0.0)

        assert drawn.guidance_scale == 0.0

    def test_takes_seed_zero_at_its_word(self) -> None:
        assert fill_in(register(), seed=0).seed == 0

    def test_draws_a_seed_that_a_caller_could_repeat(self) -> None:
        version = register()

        seeds = {fill_in(version).seed for _ in range(50)}

        assert len(seeds) > 1
        assert all(0 <= seed <= MAX_SEED for seed in seeds)

    @pytest.mark.parametrize(
        "field, most", [("num_images", 4), ("num_inference_steps", 50), ("guidance_scale", 12.0)]
    )
    def test_accepts_the_models_limit(self, field: str, most: float) -> None:
        version = register(max_images=4, max_steps=50, max_guidance_scale=12.0)

        drawn = fill_in(version, **{field: most})

        assert getattr(drawn, field) == most

    @pytest.mark.parametrize(
        "field, over", [("num_images", 5), ("num_inference_steps", 51), ("guidance_scale", 12.1)]
    )
    def test_refuses_more_than_the_models_limit(self, field: str, over: float) -> None:
        version = register(max_images=4, max_steps=50, max_guidance_scale=12.0)

        with pytest.raises(InvalidRequest) as refused:
            fill_in(version, **{field: over})

        assert refused.value.field == field

    def test_accepts_a_prompt_as_long_as_the_model_takes(self) -> None:
        version = register(max_prompt_characters=20)

        assert fill_in(version, "a" * 20).prompt == "a" * 20

    def test_refuses_a_longer_prompt(self) -> None:
        version = register(max_prompt_characters=20)

        with pytest.raises(InvalidRequest) as refused:
            fill_in(version, "a" * 21)

        assert refused.value.field == "prompt"

    def test_refuses_a_scheduler_that_the_model_does_not_list(self) -> None:
        version = register(schedulers=["heun", "euler"])

        with pytest.raises(InvalidRequest) as refused:
            fill_in(version, scheduler="ddim")

        assert (refused.value.field, refused.value.message) == ("scheduler", "must be one of heun, euler.")

    def test_refuses_an_operation_that_the_model_does_not_do(self) -> None:
        version = register(operations=["inpainting"])

        with pytest.raises(InvalidRequest) as refused:
            fill_in(version)

        assert refused.value.field == "operation"


class TestExactSize:
    @pytest.fixture
    def version(self) -> ModelVersion:
        return register(size_multiple=8, min_side=64, max_side=1_024)

    @pytest.mark.parametrize("width, height", [(64, 64), (1_024, 1_024), (64, 1_024), (520, 512)])
    def test_draws_the_size_that_was_asked(self, version: ModelVersion, width: int, height: int) -> None:
        assert size(version, width, height) == (width, height)

    @pytest.mark.parametrize(
        "width, height, field",
        [(56, 64, "width"), (64, 56, "height"), (1_032, 64, "width"), (64, 1_032, "height")],
    )
    def test_refuses_a_side_outside_the_limits(
        self, version: ModelVersion, width: int, height: int, field: str
    ) -> None:
        with pytest.raises(InvalidRequest, match="between 64 and 1024") as refused:
            size(version, width, height)

        assert refused.value.field == field

    @pytest.mark.parametrize("width, height, field", [(100, 96, "width"), (96, 100, "height")])
    def test_refuses_a_side_that_is_no_multiple(
        self, version: ModelVersion, width: int, height: int, field: str
    ) -> None:
        with pytest.raises(InvalidRequest, match="multiple of 8") as refused:
            size(version, width, height)

        assert refused.value.field == field

    @pytest.mark.parametrize("width, height", [(256, None), (None, 256)])
    def test_draws_a_square_for_one_side(
        self, version: ModelVersion, width: int | None, height: int | None
    ) -> None:
        assert size(version, width, height) == (256, 256)


class TestNearestSize:
    @pytest.fixture
    def version(self) -> ModelVersion:
        sizes = [[256, 256], [512, 512], [384, 256], [256, 384], [768, 512]]
        return register(size_policy=ModelVersion.SizePolicy.NEAREST, sizes=sizes)

    @pytest.mark.parametrize(
        "asked, drawn",
        [
            ((256, 256), (256, 256)),
            ((1_024, 1_024), (512, 512)),
            ((1, 1), (256, 256)),
            ((300, 300), (256, 256)),
            ((450, 450), (512, 512)),
            ((1_792, 1_024), (768, 512)),
            ((1_024, 1_792), (256, 384)),
            ((300, 200), (384, 256)),
            ((100, 150), (256, 384)),
            ((16_384, 1), (384, 256)),
            ((16_384, 100), (768, 512)),
        ],
    )
    def test_weighs_shape_before_area(
        self, version: ModelVersion, asked: tuple[int, int], drawn: tuple[int, int]
    ) -> None:
        assert size(version, *asked) == drawn

    def test_keeps_the_shape_though_another_size_is_nearer_in_area(self) -> None:
        sizes = [[1_024, 768], [256, 256]]
        version = register(size_policy=ModelVersion.SizePolicy.NEAREST, sizes=sizes)

        assert size(version, 1_024, 1_024) == (256, 256)

    def test_draws_the_first_size_when_none_is_asked(self, version: ModelVersion) -> None:
        assert size(version) == (256, 256)

    def test_takes_one_side_for_a_square(self, version: ModelVersion) -> None:
        assert size(version, height=600) == (512, 512)


class TestEvaluationsPerImage:
    def test_counts_two_for_each_step_but_the_last_of_heun(self) -> None:
        version = factories.fake_model(unit=PriceUnit.PER_STEP)

        drawn = fill_in(version, scheduler="heun", num_inference_steps=10)

        assert catalog.evaluations_per_image(drawn) == 19
