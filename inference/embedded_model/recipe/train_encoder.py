"""Fit the encoder half of the autoencoder to the fixed latents.

Text-to-image never uses it; image-to-image does.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from inference.embedded_model.recipe.crops import Crops

# A tiny, constant spread: the latents are a function of the picture.
LOG_VARIANCE = -12.0
REPORT_EVERY_STEPS = 20


def train(vae: AutoencoderKL, crops: Crops, args: argparse.Namespace) -> None:
    """Train the encoder of vae in place for args.minutes."""
    rng = np.random.default_rng(0)
    parameters = list(vae.encoder.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=args.lr, betas=(0.9, 0.99))
    started, step = time.monotonic(), 0
    while (done := (time.monotonic() - started) / (args.minutes * 60)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = args.lr * min(1.0, (step + 1) / 20) * max(0.02, 1 - done)
        latents, pictures = crops.sample(rng, args.batch, args.crop)
        mean, log_variance = vae.encoder(pictures).chunk(2, dim=1)
        spread = F.mse_loss(log_variance, torch.full_like(log_variance, LOG_VARIANCE))
        loss = F.smooth_l1_loss(mean, latents) + 0.001 * spread
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        step += 1
        if step % REPORT_EVERY_STEPS == 0:
            error = F.mse_loss(mean, latents).item()
            print(f"step {step} loss {loss.item():.4f} latent error {error:.4f}", flush=True)


def main() -> None:
    """Train for the given minutes and save over the same folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare")
    parser.add_argument("--vae", type=Path, required=True, help="autoencoder, changed in place")
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--crop", type=int, default=8, help="latent cells per side")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    vae = AutoencoderKL.from_pretrained(args.vae)
    train(vae, Crops.load(args.data), args)
    vae.save_pretrained(args.vae)


if __name__ == "__main__":
    main()
