"""Put the trained parts together as one folder for StableDiffusionPipeline, in float16.

The folder says nothing of the machine it was made on.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from inference.embedded_model.recipe.architecture import make_scheduler

# Written by the libraries; they tell where the parts lay.
LOCAL_KEYS = ("_name_or_path", "is_local", "local_files_only")


def assemble(model: Path, vae: Path) -> StableDiffusionPipeline:
    """The parts as one pipeline, in float32."""
    return StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(vae),
        text_encoder=CLIPTextModel.from_pretrained(model / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(model / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(model / "unet"),
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def export(model: Path, vae: Path, out: Path) -> int:
    """Write the folder anew and return its size in bytes."""
    pipeline = assemble(model, vae).to(dtype=torch.float16)
    shutil.rmtree(out, ignore_errors=True)
    pipeline.save_pretrained(out, safe_serialization=True)
    # The text encoder must load in the precision of the other parts by default.
    _edit(out / "text_encoder" / "config.json", {"dtype": "float32"})
    for config in (*out.rglob("config.json"), *out.rglob("tokenizer_config.json")):
        _edit(config, {})
    _write_plain_vocabulary(out / "tokenizer")
    return sum(file.stat().st_size for file in out.rglob("*") if file.is_file())


def _edit(path: Path, changes: dict[str, str]) -> None:
    config = json.loads(path.read_text()) | changes
    kept = {key: value for key, value in config.items() if key not in LOCAL_KEYS}
    path.write_text(json.dumps(kept, indent=2) + "\n")


def _write_plain_vocabulary(folder: Path) -> None:
    """Older tokenizer loaders read vocabulary and merges from two plain files."""
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False) + "\n")
    lines = [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines]) + "\n")


def main() -> None:
    """Export and print the size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of train_denoiser")
    parser.add_argument("--vae", type=Path, required=True, help="folder of train_decoder")
    parser.add_argument("--out", type=Path, required=True, help="removed first")
    args = parser.parse_args()
    print(f"{export(args.model, args.vae, args.out) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
