"""The real engine with the embedded model, on whatever device there is."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from inference.embedded_model import FOLDER
from inference.engine.base import (
    Canceled,
    Control,
    DeadlineExceeded,
    EngineError,
    EngineSpec,
    ModelUnavailable,
    PictureInvalid,
)
from inference.requests import GeneratedImage, ResolvedRequest
from inference.schedulers import SCHEDULERS
from tests.inference import steps

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning"),  # diffusers' own
]

LABEL = "scenes@1"
MAX_BATCH = 4
ROUNDING = 2  # of 255
SECRET = "heliotrope"


def resolved(**fields: Any) -> ResolvedRequest:
    return steps.resolved(**{"prompt": "a red circle", **fields})


def control(**fields: Any) -> Control:
    return Control(**{"attempt": 1, "run_limit_seconds": 60, **fields})


def engine_of(source: object = FOLDER, *, revision: str = "", **options: Any) -> Any:
    from inference.engine.diffusers import DiffusersEngine

    return DiffusersEngine(EngineSpec(LABEL, str(source), revision, {"max_batch": MAX_BATCH, **options}))


@contextmanager
def loaded(**options: Any) -> Iterator[Any]:
    one = engine_of(**options)
    one.setup()
    yield one
    one.close()


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    with loaded() as one:
        yield one


class Forwards:
    """Notes the batch size of every call of the denoiser; guidance doubles the images in it."""

    def __init__(self, engine: Any) -> None:
        self.sizes: list[int] = []
        self._hook = engine.pipeline.unet.register_forward_hook(self._note)

    def _note(self, module: Any, inputs: Any, output: Any) -> None:
        self.sizes.append(len(inputs[0]))

    def stop(self) -> None:
        self._hook.remove()


@pytest.fixture
def forwards(engine: Any) -> Iterator[Forwards]:
    counting = Forwards(engine)
    yield counting
    counting.stop()


def draw(engine: Any, **fields: Any) -> list[GeneratedImage]:
    return engine.generate(resolved(**fields), control())


def difference(one: GeneratedImage, other: GeneratedImage) -> int:
    """The largest difference of any value of the two pictures."""
    import numpy

    return int(abs(numpy.int16(one.picture) - numpy.int16(other.picture)).max())


def ending_of(call: Callable[[], object], seconds: float = 10) -> BaseException | None:
    """What the call raises; a call that hangs fails the test by TimeoutError."""
    end: Future[object] = Future()

    def run() -> None:
        try:
            end.set_result(call())
        except BaseException as error:
            end.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return end.exception(seconds)


@contextmanager
def kept_busy(engine: Any, awaited: int) -> Iterator[ThreadPoolExecutor]:
    """A busy engine, which goes on when so many requests wait for it."""
    started, go_on = threading.Event(), threading.Event()

    def hold_up(step: int, steps: int) -> None:
        started.set()
        go_on.wait(20)

    with ThreadPoolExecutor() as pool:
        first = resolved(num_inference_steps=1, seed=0)
        busy = pool.submit(engine.generate, first, control(report=hold_up))
        started.wait(20)
        yield pool
        while engine._tickets.qsize() + len(engine._waiting) < awaited and not busy.done():
            time.sleep(0.005)
        go_on.set()
        busy.result(20)


def together(engine: Any, *asked: tuple[ResolvedRequest, Control]) -> "list[Future[list[GeneratedImage]]]":
    """Let requests wait side by side until the engine is free for them."""
    with kept_busy(engine, len(asked)) as pool:
        return [pool.submit(engine.generate, *one) for one in asked]


def copy_of_folder(target: Path) -> Path:
    return Path(shutil.copytree(FOLDER, target / "weights"))


class TestSetup:
    def test_loads_a_folder(self, engine: Any) -> None:
        assert type(engine.pipeline).__name__ == "StableDiffusionPipeline"

    def refusal(self, source: object, **fields: Any) -> str:
        error = ending_of(engine_of(source, **fields).setup)
        assert isinstance(error, ModelUnavailable), error
        return str(error)

    def test_refuses_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        assert LABEL in self.refusal(tmp_path / "nowhere")

    def test_refuses_an_empty_folder(self, tmp_path: Path) -> None:
        assert LABEL in self.refusal(tmp_path)

    def test_refuses_no_source(self) -> None:
        assert LABEL in self.refusal("")

    def test_refuses_weights_that_were_cut_off(self, tmp_path: Path) -> None:
        folder = copy_of_folder(tmp_path)
        weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:100_000])

        assert LABEL in self.refusal(folder)

    def test_refuses_a_part_without_its_configuration(self, tmp_path: Path) -> None:
        folder = copy_of_folder(tmp_path)
        (folder / "unet" / "config.json").unlink()

        assert LABEL in self.refusal(folder)

    def test_refuses_a_pipeline_of_an_unknown_class(self, tmp_path: Path) -> None:
        folder = copy_of_folder(tmp_path)
        index = json.loads((folder / "model_index.json").read_text())
        (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": "NoSuchPipeline"}))

        assert LABEL in self.refusal(folder)

    def test_refuses_a_pipeline_without_a_scheduler(self, tmp_path: Path) -> None:
        folder = copy_of_folder(tmp_path)
        index = json.loads((folder / "model_index.json").read_text())
        (folder / "model_index.json").write_text(json.dumps({**index, "scheduler": [None, None]}))

        assert LABEL in self.refusal(folder)

    @pytest.mark.parametrize("revision", ["", "main", "v1.0", "a" * 39, "A" * 40, "g" * 40, "a" * 41])
    def test_refuses_a_hub_model_that_is_not_pinned_before_asking_the_hub(self, revision: str) -> None:
        started = time.monotonic()

        reason = self.refusal("somebody/some-model", revision=revision)

        assert LABEL in reason
        assert "40 hex digits" in reason
        assert time.monotonic() - started < 1

    def test_refuses_a_device_that_is_not_there(self) -> None:
        assert LABEL in self.refusal(FOLDER, device="cuda:99")


class TestGenerate:
    def test_draws_the_size_that_was_asked(self, engine: Any) -> None:
        (image,) = draw(engine, width=96, height=64)

        assert (image.picture.size, image.picture.mode) == ((96, 64), "RGB")

    def test_draws_the_same_again(self, engine: Any) -> None:
        assert difference(draw(engine)[0], draw(engine)[0]) == 0

    def test_draws_something_else_from_another_seed(self, engine: Any) -> None:
        assert difference(draw(engine, seed=7)[0], draw(engine, seed=8)[0]) > ROUNDING

    def test_counts_seeds_up_in_order(self, engine: Any) -> None:
        images = draw(engine, num_images=3, seed=7)

        assert [(image.index, image.seed) for image in images] == [(0, 7), (1, 8), (2, 9)]

    def test_draws_image_i_as_a_request_of_its_own_seed_would(self, engine: Any) -> None:
        images = draw(engine, num_images=3, seed=7)

        solo = [draw(engine, seed=seed)[0] for seed in (7, 8, 9)]
        assert max(map(difference, images, solo)) <= ROUNDING

    def test_draws_more_images_than_fit_into_a_batch(self, engine: Any, forwards: Forwards) -> None:
        images = draw(engine, num_images=MAX_BATCH + 2)

        assert [image.index for image in images] == list(range(MAX_BATCH + 2))
        assert forwards.sizes == [2 * MAX_BATCH] * 4 + [2 * 2] * 4

    def test_draws_image_i_of_a_later_batch_alike(self, engine: Any) -> None:
        images = draw(engine, num_images=MAX_BATCH + 1, seed=7)

        (solo,) = draw(engine, seed=7 + MAX_BATCH)
        assert difference(images[-1], solo) <= ROUNDING

    def test_heeds_the_negative_prompt(self, engine: Any) -> None:
        (plain,), (without,) = draw(engine), draw(engine, negative_prompt="a red circle on white")

        assert difference(plain, without) > ROUNDING

    def test_heeds_the_guidance(self, engine: Any) -> None:
        (weak,), (strong,) = draw(engine, guidance_scale=1.0), draw(engine, guidance_scale=8.0)

        assert difference(weak, strong) > ROUNDING

    @pytest.mark.parametrize("name", [name for name in SCHEDULERS if name != "flow_match_euler"])
    def test_draws_with_every_sampler(self, engine: Any, forwards: Forwards, name: str) -> None:
        (image,) = draw(engine, scheduler=name)

        assert image.picture.size == (64, 64)
        assert len(forwards.sizes) == SCHEDULERS[name].evaluations(4)

    def test_draws_alike_after_another_sampler_was_used(self, engine: Any) -> None:
        (before,) = draw(engine)
        draw(engine, scheduler="heun")

        assert difference(before, draw(engine)[0]) == 0

    def test_measures_the_time_on_the_device(self, engine: Any) -> None:
        images = draw(engine, num_images=2)

        assert all(image.gpu_ms > 0 for image in images)

    def test_turns_an_unknown_fault_into_one_of_its_own_without_the_prompt(self, engine: Any) -> None:
        with pytest.raises(EngineError) as raised:
            draw(engine, prompt=SECRET, width=60)

        assert SECRET not in str(raised.value)

    def test_goes_on_after_a_fault(self, engine: Any) -> None:
        with pytest.raises(EngineError):
            draw(engine, width=60)

        assert len(draw(engine)) == 1


class TestSharing:
    def test_puts_compatible_requests_into_one_call(self, engine: Any, forwards: Forwards) -> None:
        together(engine, (resolved(seed=7), control()), (resolved(seed=9, prompt="a blue square"), control()))

        assert forwards.sizes[1:] == [2 * 2] * 4

    def test_draws_each_as_if_it_were_alone(self, engine: Any) -> None:
        requests = [resolved(seed=7), resolved(seed=9, prompt="a blue square", negative_prompt="red")]

        shared = together(engine, *((request, control()) for request in requests))

        solo = [engine.generate(request, control()) for request in requests]
        pairs = [(ours.result()[0], alone[0]) for ours, alone in zip(shared, solo, strict=True)]
        assert max(difference(*pair) for pair in pairs) <= ROUNDING

    @pytest.mark.parametrize(
        "change",
        [
            {"width": 96},
            {"height": 96},
            {"num_inference_steps": 5},
            {"guidance_scale": 5.0},
            {"scheduler": "euler"},
        ],
    )
    def test_keeps_incompatible_requests_apart(
        self, engine: Any, forwards: Forwards, change: dict[str, Any]
    ) -> None:
        together(engine, (resolved(), control()), (resolved(**change), control()))

        assert set(forwards.sizes[1:]) == {2}

    def test_fills_a_batch_only_to_its_limit(self, engine: Any, forwards: Forwards) -> None:
        together(engine, *((resolved(seed=seed, num_images=3), control()) for seed in (10, 20)))

        assert forwards.sizes[1:] == [2 * 3] * 8

    def test_gives_every_request_its_own_pictures(self, engine: Any) -> None:
        shared = together(engine, *((resolved(seed=seed), control()) for seed in (10, 20, 30)))

        assert [future.result()[0].seed for future in shared] == [10, 20, 30]


class TestStopping:
    def stopping_after(self, steps: int, reports: list[int]) -> Control:
        """The caller cancels while the step after this one is drawn."""
        return control(
            is_canceled=lambda: len(reports) >= steps, report=lambda step, of: reports.append(step)
        )

    def test_comes_within_a_step_of_the_cancel(self, engine: Any, forwards: Forwards) -> None:
        with pytest.raises(Canceled):
            engine.generate(resolved(num_inference_steps=20), self.stopping_after(2, []))

        assert len(forwards.sizes) <= 3

    def test_hands_over_the_images_of_finished_passes(self, engine: Any) -> None:
        steps, images = 4, engine.max_batch + 1

        with pytest.raises(Canceled) as stopped:
            engine.generate(
                resolved(num_images=images, num_inference_steps=steps), self.stopping_after(steps, [])
            )

        assert [image.index for image in stopped.value.finished] == list(range(engine.max_batch))

    def test_lets_batch_mates_finish(self, engine: Any) -> None:
        leaver, stayer = together(
            engine, (resolved(seed=7), self.stopping_after(1, [])), (resolved(seed=9), control())
        )

        assert isinstance(leaver.exception(), Canceled)
        assert difference(stayer.result()[0], draw(engine, seed=9)[0]) <= ROUNDING

    def test_spares_a_request_that_was_canceled_while_it_waited(
        self, engine: Any, forwards: Forwards
    ) -> None:
        (leaver,) = together(engine, (resolved(), control(is_canceled=lambda: True)))

        assert isinstance(leaver.exception(), Canceled)
        assert len(forwards.sizes) == 1

    def test_comes_with_the_deadline(self, engine: Any, forwards: Forwards) -> None:
        with pytest.raises(DeadlineExceeded):
            engine.generate(resolved(num_inference_steps=20), control(run_limit_seconds=0))

        assert len(forwards.sizes) <= 1

    def test_leaves_batch_mates_of_a_late_request_alone(self, engine: Any) -> None:
        late, mate = together(
            engine, (resolved(seed=7), control(run_limit_seconds=0)), (resolved(seed=9), control())
        )

        assert isinstance(late.exception(), DeadlineExceeded)
        assert len(mate.result()) == 1


class TestProgress:
    def reports(self, engine: Any, **fields: Any) -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []
        engine.generate(resolved(**fields), control(report=lambda *step: seen.append(step)))
        return seen

    def test_is_reported_with_every_step(self, engine: Any) -> None:
        assert self.reports(engine) == [(1, 4), (2, 4), (3, 4), (4, 4)]

    @pytest.mark.parametrize("name", ["heun", "pndm"])
    def test_never_goes_beyond_the_end(self, engine: Any, name: str) -> None:
        seen = self.reports(engine, scheduler=name)

        assert all(step <= of for step, of in seen)

    def test_never_goes_back_in_a_request_of_several_batches(self, engine: Any) -> None:
        seen = self.reports(engine, num_images=MAX_BATCH + 1)

        assert [step for step, _ in seen] == sorted({step for step, _ in seen})
        assert seen[-1][0] == seen[-1][1]

    def test_moves_the_sign_of_life(self, engine: Any) -> None:
        before = engine.advanced_at

        draw(engine)

        assert engine.advanced_at > before


class TestNumbersThatAreNoPicture:
    @pytest.fixture
    def _poisoned(self, engine: Any) -> Iterator[None]:
        """One weight of the denoiser is not a number."""
        weight = engine.pipeline.unet.conv_out.bias.data
        sound = weight.clone()
        weight[0] = float("nan")
        yield
        weight.copy_(sound)

    @pytest.mark.usefixtures("_poisoned")
    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    def test_are_refused(self, engine: Any) -> None:
        with pytest.raises(PictureInvalid):
            draw(engine)

    def test_of_an_earlier_request_do_not_spoil_the_next(self, engine: Any) -> None:
        assert len(draw(engine)) == 1


class Overflow:
    """A denoiser whose numbers are too large for bfloat16; notes the precision of every call."""

    def __init__(self, engine: Any) -> None:
        self.precisions: list[str] = []
        engine.pipeline.unet.register_forward_hook(self._overflow)

    def _overflow(self, module: Any, inputs: Any, output: Any) -> Any:
        import torch

        self.precisions.append(str(module.dtype))
        return (torch.full_like(output[0], torch.nan),) if module.dtype == torch.bfloat16 else output


class TestHalfPrecision:
    @pytest.fixture
    def half(self) -> Iterator[Any]:
        with loaded(dtype="bfloat16") as one:
            yield one

    def test_draws(self, half: Any) -> None:
        (image,) = draw(half)

        assert max(high - low for low, high in image.picture.getextrema()) > ROUNDING

    def test_is_left_for_float32_when_numbers_overflow(self, half: Any) -> None:
        overflow = Overflow(half)

        (image,) = draw(half)

        assert overflow.precisions == ["torch.bfloat16"] * 4 + ["torch.float32"] * 4
        assert max(high - low for low, high in image.picture.getextrema()) > ROUNDING

    def test_is_taken_up_again_by_the_next_request(self, half: Any) -> None:
        overflow = Overflow(half)
        draw(half)
        overflow.precisions.clear()

        draw(half)

        assert overflow.precisions[0] == "torch.bfloat16"


class TestPrivacy:
    def test_leaves_no_word_of_an_overlong_prompt_in_logs(
        self, engine: Any, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(0)

        draw(engine, prompt=f"{'a red circle ' * 40}{SECRET}", negative_prompt=f"{'fog ' * 80}{SECRET}")

        written = capfd.readouterr()
        assert SECRET not in written.out + written.err + caplog.text


class TestClose:
    def test_ends_the_thread(self) -> None:
        one = engine_of()
        one.setup()

        one.close()

        assert not one._thread.is_alive()

    def test_ends_the_thread_and_the_waiting_though_the_engine_is_busy(self) -> None:
        one = engine_of()
        one.setup()

        with kept_busy(one, awaited=2) as pool:
            waiting = pool.submit(one.generate, resolved(), control())
            closing = pool.submit(one.close)

        closing.result(20)
        assert not one._thread.is_alive()
        assert waiting.exception(20) is None or isinstance(waiting.exception(), EngineError)

    def test_refuses_requests_from_then_on(self) -> None:
        one = engine_of()
        one.setup()
        one.close()

        assert isinstance(ending_of(lambda: one.generate(resolved(), control()), 3), EngineError)
