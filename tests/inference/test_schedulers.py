"""The table that prices are made from, against the calls that diffusers really makes."""

from typing import Any

import pytest

from inference.schedulers import SCHEDULERS

# A flow-matching scheduler needs a transformer of its own kind; its steps are one call each, as Euler's are.
COUNTED = [name for name in SCHEDULERS if name != "flow_match_euler"]

# What the configuration of a Stable Diffusion model says; with less, diffusers warns.
CONFIG = {"num_train_timesteps": 1_000, "steps_offset": 1, "clip_sample": False}


class TestEvaluations:
    @pytest.mark.parametrize("name", ["ddim", "euler", "euler_ancestral", "dpmpp_2m", "unipc"])
    def test_are_one_a_step(self, name: str) -> None:
        assert [SCHEDULERS[name].evaluations(steps) for steps in (1, 4, 20)] == [1, 4, 20]

    def test_are_two_a_step_but_the_last_of_heun(self) -> None:
        assert [SCHEDULERS["heun"].evaluations(steps) for steps in (1, 4, 20)] == [1, 7, 39]


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    """The smallest UNet and decoder that a Stable Diffusion pipeline takes, with random weights."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    decoder = AutoencoderKL(block_out_channels=(4,), norm_num_groups=2, latent_channels=4)
    return {"unet": unet, "vae": decoder, "text_encoder": None, "tokenizer": None}


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # diffusers' own
class TestDiffusers:
    def count(self, parts: dict[str, Any], name: str, steps: int) -> int:
        """Calls of the UNet for one image."""
        import diffusers
        import torch

        scheduler = SCHEDULERS[name]
        kind = getattr(diffusers, scheduler.class_name)
        scheduler = kind.from_config(CONFIG, **dict(scheduler.options))
        pipeline = diffusers.StableDiffusionPipeline(
            **parts,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        calls: list[int] = []
        hook = pipeline.unet.register_forward_hook(lambda *_: calls.append(1))
        words = torch.zeros(1, 4, 8)
        pipeline(
            prompt_embeds=words,
            width=8,
            height=8,
            num_inference_steps=steps,
            guidance_scale=1.0,
            output_type="latent",
        )
        hook.remove()
        return len(calls)

    @pytest.mark.parametrize("steps", [1, 4, 7, 20])
    @pytest.mark.parametrize("name", COUNTED)
    def test_calls_the_denoiser_as_often_as_is_charged(
        self, parts: dict[str, Any], name: str, steps: int
    ) -> None:
        assert self.count(parts, name, steps) == SCHEDULERS[name].evaluations(steps)

    @pytest.mark.parametrize("name", list(SCHEDULERS))
    def test_has_a_scheduler_of_that_name(self, name: str) -> None:
        import diffusers

        assert hasattr(diffusers, SCHEDULERS[name].class_name)

    @pytest.mark.parametrize("name", list(SCHEDULERS))
    def test_knows_the_options(self, name: str) -> None:
        import diffusers

        options = dict(SCHEDULERS[name].options)
        scheduler = getattr(diffusers, SCHEDULERS[name].class_name)(**options)

        assert {option: scheduler.config[option] for option in options} == options
