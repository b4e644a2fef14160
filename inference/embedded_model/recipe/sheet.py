"""Draw a labelled contact sheet of prompts with an exported pipeline."""

from __future__ import annotations

import argparse
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw, ImageFont

PROMPTS = (
    "a red circle on a blue background", "two yellow stars at night", "a green house under a white moon",
    "a small orange triangle to the left of a large purple square", "a pink flower on the grass",
    "a brown boat on the sea", "a yellow sun in the sky", "three purple hearts on a white background",
    "a black cross on a yellow background", "a white cloud above a green tree",
    "a yellow smiley face on a purple background", "four green diamonds on a black background",
    "a red house in the snow", "a blue ring on an orange background",
    "a large white star on a red background",
    "a small gray square on a pink background", "a pink heart above a blue square", "an orange moon at night",
    "a purple tree at sunset", "two red boats on the sea", "a photo of a cute robot",
    "a green circle next to a red square", "a black house at sunset, high quality",
    "a yellow triangle below a white circle on a brown background",
)  # fmt: skip
COLUMNS, CELL, GAP, LABEL = 6, 192, 8, 36  # pixels, but for the columns
BATCH = 8


def load(folder: Path) -> StableDiffusionPipeline:
    """The pipeline without its progress bar."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw_pictures(
    pipeline: StableDiffusionPipeline, prompts: Sequence[str], seed: int, steps: int, guidance: float
) -> list[Image.Image]:
    """One picture per prompt, in batches; the n-th has the seed plus n."""
    pictures: list[Image.Image] = []
    for start in range(0, len(prompts), BATCH):
        part = list(prompts[start : start + BATCH])
        generators = [torch.Generator().manual_seed(seed + start + n) for n in range(len(part))]
        pictures += pipeline(
            part, num_inference_steps=steps, guidance_scale=guidance, generator=generators
        ).images
    return pictures


def lay_out(prompts: Sequence[str], pictures: Sequence[Image.Image]) -> Image.Image:
    """The pictures in rows, each over its prompt."""
    rows = -(-len(prompts) // COLUMNS)
    size = (COLUMNS * (CELL + GAP) + GAP, rows * (CELL + GAP + LABEL) + GAP)
    grid = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(grid)
    font = ImageFont.load_default(size=12)
    for number, (prompt, picture) in enumerate(zip(prompts, pictures, strict=True)):
        row, column = divmod(number, COLUMNS)
        x, y = GAP + column * (CELL + GAP), GAP + row * (CELL + GAP + LABEL)
        grid.paste(picture.resize((CELL, CELL), Image.Resampling.LANCZOS), (x, y))
        draw.text((x, y + CELL + 3), "\n".join(textwrap.wrap(prompt, 32)[:2]), fill="black", font=font)
    return grid


def main() -> None:
    """Draw the sheet and print the seconds per picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pipeline", type=Path, required=True, help="exported folder")
    parser.add_argument("--out", type=Path, required=True, help="picture to write")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    pipeline = load(args.pipeline)
    started = time.monotonic()
    pictures = draw_pictures(pipeline, PROMPTS, args.seed, args.steps, args.guidance)
    print(f"{(time.monotonic() - started) / len(PROMPTS):.2f} s per picture")
    lay_out(PROMPTS, pictures).save(args.out)


if __name__ == "__main__":
    main()
