"""The scene checker passes the renderer's right pictures and fails wrong ones."""

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.embedded_model.recipe import checker, grammar, scenes

RED_CIRCLE = "a red circle on a blue background"


def picture_of(prompt: str, **changes: str) -> Image.Image:
    """The picture a prompt asks for; changes replace the first thing's kind or colour, or the background."""
    asked = grammar.parse(prompt)
    first = replace(asked.things[0], **{k: v for k, v in changes.items() if k in ("kind", "colour")})
    background = changes.get("background", asked.background)
    return draw(replace(asked, things=(first, *asked.things[1:]), background=background))


def draw(asked: grammar.AskedScene) -> Image.Image:
    """Render what was asked for, at its nominal places."""
    if asked.count > 1:
        spots, things = scenes.SPOTS[asked.count], asked.things * asked.count
        size = 0.27 if asked.count > 2 else 0.34
    elif asked.relation:
        spots, things, size = scenes.pair_spots(asked.relation), asked.things, 0.35
    else:
        spots, things = ((0.5, 0.5),), asked.things
        size = checker.SINGLE_SIZES[asked.things[0].size_word]
    drawn = tuple(scenes.Thing(t.kind, t.colour, size, *spot) for t, spot in zip(things, spots, strict=True))
    return scenes.render(scenes.Scene(asked.background, drawn, seed=3), 256, 2)


class TestRightPictures:
    @pytest.mark.parametrize("prompt", checker.FIXED_PROMPTS)
    def test_fixed_prompt_passes(self, prompt: str) -> None:
        report = checker.check(prompt, picture_of(prompt))

        assert report.passed, report.reasons
        assert report.reasons == ()

    @pytest.mark.parametrize("kind", scenes.KINDS)
    def test_each_kind_passes_and_is_named(self, kind: str) -> None:
        prompt = f"a red {kind} on a white background"

        report = checker.check(prompt, picture_of(prompt))

        assert report.passed, report.reasons
        assert report.kinds == (kind,)
        assert "red" in report.colours[0]
        assert (report.background, report.count) == ("white", 1)

    def test_beside_allows_both_orders(self) -> None:
        picture = picture_of("a red circle and a green square on a white background")

        assert checker.check("a green square next to a red circle on a white background", picture).passed

    def test_another_size_of_picture_is_fine(self) -> None:
        picture = picture_of(RED_CIRCLE).resize((512, 512), Image.Resampling.LANCZOS)

        assert checker.check(RED_CIRCLE, picture).passed


class TestWrongPictures:
    @pytest.mark.parametrize("prompt", checker.FIXED_PROMPTS)
    def test_wrong_colour_fails(self, prompt: str) -> None:
        asked = grammar.parse(prompt)
        others = [c for c in ("green", "red", "purple") if scenes.far_apart(c, asked.things[0].colour, 200)]

        report = checker.check(prompt, picture_of(prompt, colour=others[0]))

        assert not report.passed
        assert any("colour is" in reason for reason in report.reasons)

    @pytest.mark.parametrize("kind", [kind for kind in scenes.KINDS if kind != "circle"])
    def test_wrong_kind_fails(self, kind: str) -> None:
        report = checker.check(RED_CIRCLE, picture_of(RED_CIRCLE, kind=kind))

        assert not report.passed
        assert report.kinds == (kind,)

    def test_wrong_background_fails(self) -> None:
        report = checker.check(RED_CIRCLE, picture_of(RED_CIRCLE, background="green"))

        assert not report.passed
        assert report.background == "green"

    @pytest.mark.parametrize("number", ["two", "four"])
    def test_wrong_count_fails(self, number: str) -> None:
        picture = picture_of(f"{number} orange squares on a black background")

        report = checker.check("three orange squares on a black background", picture)

        assert not report.passed
        assert f"{2 if number == 'two' else 4} things rather than 3" in report.reasons

    def test_several_fail_where_one_is_asked_for(self) -> None:
        picture = picture_of("two red circles on a blue background")

        assert not checker.check(RED_CIRCLE, picture).passed

    @pytest.mark.parametrize(
        "asked, drawn",
        [
            ("to the left of", "to the right of"),
            ("above", "below"),
            ("to the left of", "above"),
            ("below", "next to"),
        ],
    )
    def test_wrong_placing_fails(self, asked: str, drawn: str) -> None:
        words = "a black triangle {} a red diamond on a white background"

        report = checker.check(words.format(asked), picture_of(words.format(drawn)))

        assert not report.passed

    def test_swapped_placing_is_said_so(self) -> None:
        picture = picture_of("a yellow sun below a purple house on a gray background")

        report = checker.check("a yellow sun above a purple house on a gray background", picture)

        assert report.reasons == ("yellow sun and purple house stand the other way round",)

    def test_wrong_size_fails(self) -> None:
        picture = picture_of("a small yellow star on a purple background")

        assert not checker.check("a large yellow star on a purple background", picture).passed

    def test_wrong_position_fails(self) -> None:
        report = checker.check("a red circle at the top on a blue background", picture_of(RED_CIRCLE))

        assert not report.passed

    @pytest.mark.parametrize("prompt", checker.FIXED_PROMPTS)
    def test_blank_picture_fails(self, prompt: str) -> None:
        empty = scenes.render(scenes.Scene(grammar.parse(prompt).background), 256, 2)

        assert not checker.check(prompt, empty).passed

    @pytest.mark.parametrize("prompt", checker.FIXED_PROMPTS)
    def test_noise_fails(self, prompt: str) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)

        assert not checker.check(prompt, Image.fromarray(noise)).passed

    def test_picture_of_another_prompt_fails(self) -> None:
        prompts = list(checker.FIXED_PROMPTS)
        random.Random(1).shuffle(prompts)

        for prompt, other in zip(prompts, prompts[1:] + prompts[:1], strict=True):
            assert not checker.check(prompt, picture_of(other)).passed


class TestCommand:
    def test_answers_with_its_exit_code(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = tmp_path / "circle.png"
        picture_of(RED_CIRCLE).save(file)

        assert checker.main([RED_CIRCLE, str(file)]) == 0
        assert checker.main(["a green star at night", str(file)]) == 1
        assert checker.main(["a zebra", str(file)]) == 2
        assert capsys.readouterr().out.startswith("passed")

    def test_needs_no_torch(self) -> None:
        code = "import sys, inference.embedded_model.recipe.checker as c; sys.exit('torch' in sys.modules)"
        root = Path(checker.__file__).parents[3]

        assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
