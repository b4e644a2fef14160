"""Train the decoder half of the autoencoder: fixed latents in, 256 pixels out.

Runs on crops, for speed. A little noise on the latents teaches the decoder to snap slightly wrong ones back
to clean shapes.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from inference.embedded_model.recipe.architecture import make_autoencoder
from inference.embedded_model.recipe.crops import Crops

SAVE_EVERY_SECONDS = 60
REPORT_EVERY_STEPS = 20


def learning_rate(peak: float, step: int, done: float) -> float:
    """Thirty steps of warming up, flat for 40 % of the time (done is 0 to 1), then down to 2 %."""
    cooling = 1.0 if done < 0.4 else max(0.02, (1 - done) / 0.6)
    return peak * min(1.0, (step + 1) / 30) * cooling


def train(vae: AutoencoderKL, crops: Crops, args: argparse.Namespace) -> None:
    """Train the decoder of vae in place for args.minutes; saves to args.out."""
    rng = np.random.default_rng(int(time.time()) if args.resume else 0)
    parameters = list(vae.decoder.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=args.lr, betas=(0.9, 0.99), weight_decay=1e-4)
    started = saved = time.monotonic()
    step = 0
    while (done := (time.monotonic() - started) / (args.minutes * 60)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(args.lr, step, done)
        latents, pictures = crops.sample(rng, args.batch, args.crop)
        decoded = vae.decoder(_disturb(latents, args.noise))
        squared = F.mse_loss(decoded, pictures)
        loss = F.l1_loss(decoded, pictures) + 0.5 * squared
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        step += 1
        if step % REPORT_EVERY_STEPS == 0:
            psnr = -10 * torch.log10(squared.detach() / 4).item()  # values span 2, so 4 is the peak squared
            print(f"step {step} loss {loss.item():.4f} psnr {psnr:.1f} dB", flush=True)
        if time.monotonic() - saved > SAVE_EVERY_SECONDS:
            vae.save_pretrained(args.out)
            saved = time.monotonic()
    vae.save_pretrained(args.out)


def _disturb(latents: torch.Tensor, most: float) -> torch.Tensor:
    """Noise of a random strength for each latent, most at the most."""
    strength = most * torch.rand(len(latents), 1, 1, 1)
    return latents + torch.randn_like(latents) * strength


def main() -> None:
    """Train for the given minutes, from nothing or from an earlier folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--crop", type=int, default=8, help="latent cells per side")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--noise", type=float, default=0.08)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", type=Path, help="autoencoder to go on from")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    vae = AutoencoderKL.from_pretrained(args.resume) if args.resume else make_autoencoder()
    train(vae, Crops.load(args.data), args)


if __name__ == "__main__":
    main()
