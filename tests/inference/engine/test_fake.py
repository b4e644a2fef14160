import itertools
import time
from typing import Any

import pytest
from PIL import Image

from inference.engine.base import Canceled, Control, DeadlineExceeded, EngineError, EngineSpec, PictureInvalid
from inference.engine.fake import FakeEngine
from inference.requests import GeneratedImage
from tests.inference.steps import resolved


def control(**fields: Any) -> Control:
    return Control(**{"attempt": 1, "run_limit_seconds": 60, **fields})


def engine(**options: Any) -> FakeEngine:
    one = FakeEngine(EngineSpec("fake@1", options=options))
    one.setup()
    return one


def draw(**fields: Any) -> list[GeneratedImage]:
    return engine().generate(resolved(**fields), control())


def pixels(image: GeneratedImage) -> bytes:
    return image.picture.tobytes()


class TestGenerate:
    def test_draws_the_size_that_was_asked(self) -> None:
        (image,) = draw(width=96, height=64)

        assert (image.picture.size, image.picture.mode) == ((96, 64), "RGB")

    def test_draws_as_many_images_as_were_asked_in_order(self) -> None:
        images = draw(num_images=3, seed=7)

        assert [(image.index, image.seed) for image in images] == [(0, 7), (1, 8), (2, 9)]

    def test_draws_the_same_again(self) -> None:
        assert pixels(draw()[0]) == pixels(draw()[0])

    def test_draws_image_i_as_a_request_of_its_own_seed_would(self) -> None:
        images = draw(num_images=3, seed=7)

        assert [pixels(image) for image in images] == [pixels(draw(seed=seed)[0]) for seed in (7, 8, 9)]

    @pytest.mark.parametrize(
        "change",
        [
            {"seed": 8},
            {"prompt": "a blue boat"},
            {"negative_prompt": "fog"},
            {"num_inference_steps": 5},
            {"guidance_scale": 5.0},
            {"scheduler": "heun"},
        ],
    )
    def test_draws_something_else_for_another_request(self, change: dict[str, Any]) -> None:
        assert pixels(draw(**change)[0]) != pixels(draw()[0])

    def test_never_draws_a_blank_picture_unasked(self) -> None:
        spreads = [
            max(high - low for low, high in _extrema(draw(seed=seed)[0].picture)) for seed in range(50)
        ]

        assert min(spreads) > 2

    def test_takes_its_time(self) -> None:
        started = time.monotonic()

        engine(delay_seconds=0.1).generate(resolved(), control())

        assert 0.1 <= time.monotonic() - started < 2

    def test_reports_every_step(self) -> None:
        reports: list[tuple[int, int]] = []

        engine().generate(resolved(), control(report=lambda *step: reports.append(step)))

        assert reports == [(1, 4), (2, 4), (3, 4), (4, 4)]

    def test_advances_with_every_step(self) -> None:
        one, seen = engine(delay_seconds=0.02), []

        one.generate(resolved(), control(report=lambda *_: seen.append(one.advanced_at)))

        assert all(earlier < later for earlier, later in itertools.pairwise(seen))


def _extrema(picture: Image.Image) -> tuple[tuple[int, int], ...]:
    return picture.getextrema()  # type: ignore[return-value]


class TestStopping:
    def test_comes_between_steps_when_the_caller_cancels(self) -> None:
        reports: list[int] = []
        stopping = control(
            is_canceled=lambda: len(reports) == 2, report=lambda step, steps: reports.append(step)
        )

        with pytest.raises(Canceled):
            engine().generate(resolved(num_inference_steps=20), stopping)

        assert reports == [1, 2]

    def test_comes_after_the_last_step_too(self) -> None:
        reports: list[int] = []
        stopping = control(
            is_canceled=lambda: len(reports) == 4, report=lambda step, steps: reports.append(step)
        )

        with pytest.raises(Canceled):
            engine().generate(resolved(), stopping)

    def test_comes_with_the_deadline(self) -> None:
        with pytest.raises(DeadlineExceeded):
            engine(delay_seconds=0.2).generate(resolved(), control(run_limit_seconds=0.05))


class TestFaults:
    @pytest.mark.parametrize("word, error", [("fail!", EngineError), ("invalid!", PictureInvalid)])
    def test_come_on_request(self, word: str, error: type[EngineError]) -> None:
        with pytest.raises(error) as raised:
            draw(prompt=f"{word} a heliotrope boat")

        assert "heliotrope" not in str(raised.value)

    def test_may_have_words_of_ones_own(self) -> None:
        with pytest.raises(EngineError):
            engine(fail_on=["storm"]).generate(resolved(prompt="a storm"), control())

    def test_include_a_blank_picture(self) -> None:
        (image,) = draw(prompt="blank! a boat")

        assert len(set(_extrema(image.picture))) == 1
