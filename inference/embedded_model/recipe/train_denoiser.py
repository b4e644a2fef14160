"""Train the text encoder and the UNet together on prepared latents.

One process per core beats threads for a model this small; gradients are averaged over the processes after
each step.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextModel, CLIPTokenizer

from inference.embedded_model.recipe import architecture
from inference.embedded_model.recipe.build_tokenizer import MAX_TOKENS, build
from inference.embedded_model.recipe.captions import describe
from inference.embedded_model.recipe.prepare import load_scenes
from inference.embedded_model.recipe.scenes import Scene

SAVE_EVERY_SECONDS = 90
REPORT_EVERY_STEPS = 50
WARM_UP_STEPS = 50
OBJECT_CELL = 1.0  # summed distance from the median latent above which a cell shows a thing


@dataclass
class Batches:
    """Endless shuffled batches of latents with fresh captions."""

    latents: torch.Tensor  # (n, 8, 16, 16) float16
    scenes: Sequence[Scene]
    rng: random.Random
    args: argparse.Namespace
    order: list[int] = field(default_factory=list)
    cursor: int = 0

    def take(self, done: float) -> tuple[torch.Tensor, list[str]]:
        """The next batch: latents as float32, and captions, some empty for guidance; done is 0 to 1."""
        if self.cursor + self.args.batch > len(self.order):
            self._shuffle(done)
        picks = self.order[self.cursor : self.cursor + self.args.batch]
        self.cursor += self.args.batch
        captions = [
            "" if self.rng.random() < self.args.drop else describe(self.scenes[number], self.rng)
            for number in picks
        ]
        return self.latents[picks].float(), captions

    def _shuffle(self, done: float) -> None:
        """First one kind of thing at a time, later pairs as well."""
        takes_pairs = done > self.args.simple
        self.order = [
            number
            for number, scene in enumerate(self.scenes)
            if not scene.relation or (takes_pairs and self.rng.random() < self.args.pairs)
        ]
        self.rng.shuffle(self.order)
        self.cursor = 0


@dataclass
class Networks:
    """What is trained, and the running average of its weights, which is what gets saved."""

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    unet: UNet2DConditionModel
    alphas: torch.Tensor  # (1000,) share of signal left at each timestep

    def __post_init__(self) -> None:
        self.parameters = [*self.text_encoder.parameters(), *self.unet.parameters()]
        self.average = [p.detach().clone() for p in self.parameters]

    def update_average(self, decay: float, step: int) -> None:
        """Follow the weights, quickly at first."""
        weight = 1 - min(decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.average, [p.data for p in self.parameters], weight)

    def save(self, out: Path) -> None:
        """Write the averaged weights, and go on with the present ones."""
        present = [p.detach().clone() for p in self.parameters]
        self._set(self.average)
        self.text_encoder.save_pretrained(out / "text_encoder")
        self.unet.save_pretrained(out / "unet")
        self._set(present)

    def _set(self, values: Sequence[torch.Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.data.copy_(value)


def make_networks(out: Path, resume: Path | None) -> Networks:
    """Untrained networks, or the ones that an earlier run saved."""
    tokenizer = CLIPTokenizer.from_pretrained(out / "tokenizer")
    text_encoder, unet = architecture.make_text_encoder(tokenizer), architecture.make_unet()
    if resume:
        text_encoder.load_state_dict(CLIPTextModel.from_pretrained(resume / "text_encoder").state_dict())
        earlier = UNet2DConditionModel.from_pretrained(resume / "unet").state_dict()
        print("new parts:", unet.load_state_dict(earlier, strict=False).missing_keys)
    # On processors, plain attention is faster than the fused one going backward.
    unet.set_attn_processor(AttnProcessor())
    return Networks(tokenizer, text_encoder, unet, architecture.make_scheduler().alphas_cumprod)


def make_optimiser(parameters: Sequence[torch.nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """AdamW; only matrices decay."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), eps=1e-8, fused=True)


def learning_rate(args: argparse.Namespace, step: int, done: float) -> float:
    """Warming up, flat, then down to nothing in a straight line; done is 0 to 1."""
    cooling = 1.0 if done < args.flat else max(0.0, (1 - done) / (1 - args.flat))
    return float(args.lr * min(1.0, (step + 1) / WARM_UP_STEPS) * cooling)


def choose_times(count: int, shift: float) -> torch.Tensor:
    """Timesteps (count,) spread over the whole range; shift above 1 dwells on strong noise.

    There the caption decides the picture.
    """
    t = (torch.arange(count) + torch.rand(count)) / count
    shifted = shift * t / (1 + (shift - 1) * t) * architecture.TRAIN_TIMESTEPS
    return shifted.long().clamp(0, architecture.TRAIN_TIMESTEPS - 1)


def cell_weights(latents: torch.Tensor, focus: float) -> torch.Tensor:
    """Weights (n, 1, 16, 16): cells that show a thing count more; the optimum stays the same."""
    middle = latents.flatten(2).median(dim=2).values[:, :, None, None]
    shows_thing = (latents - middle).abs().sum(1, keepdim=True) > OBJECT_CELL
    return 1 + focus * shows_thing.float()


def losses(
    networks: Networks, latents: torch.Tensor, captions: list[str], args: argparse.Namespace
) -> tuple[torch.Tensor, float]:
    """The weighted loss to minimise, and the plain one to report."""
    padded = networks.tokenizer(
        captions, padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
    )
    times = choose_times(len(latents), args.shift)
    signal = networks.alphas[times].view(-1, 1, 1, 1)
    noise = torch.randn_like(latents)
    noisy = signal.sqrt() * latents + (1 - signal).sqrt() * noise
    velocity = signal.sqrt() * noise - (1 - signal).sqrt() * latents
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not args.fp32):
        context = networks.text_encoder(padded.input_ids).last_hidden_state
        guess = networks.unet(noisy, times, context).sample
    error = (guess.float() - velocity).square()
    weights = cell_weights(latents, args.focus)
    return (error * weights).mean() / weights.mean(), error.detach().mean().item()


def share_gradients(parameters: Sequence[torch.nn.Parameter], done: float, processes: int) -> float:
    """Average the gradients over the processes and clip them; returns the averaged done.

    All processes see the same done, so they stop together.
    """
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([*(grad.flatten() for grad in grads), torch.tensor([done])])
    if processes > 1:
        dist.all_reduce(flat)
        flat /= processes
    done = flat[-1].item()
    flat *= min(1.0, 1.0 / (flat[:-1].norm().item() + 1e-6))
    pieces = flat[:-1].split([grad.numel() for grad in grads])
    torch._foreach_copy_(grads, [piece.view_as(grad) for piece, grad in zip(pieces, grads, strict=True)])
    return done


def train(rank: int, args: argparse.Namespace) -> None:
    """One training process; the one of rank 0 reports and saves."""
    if args.processes > 1:
        dist.init_process_group("gloo", rank=rank, world_size=args.processes)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    networks = make_networks(args.out, args.resume)
    latents = torch.from_numpy(np.load(args.data / "latents.npy"))
    seed = args.seed * 1000 + rank
    batches = Batches(latents, load_scenes(args.data), random.Random(seed), args)
    torch.manual_seed(seed)
    run_steps(networks, batches, args, is_first=rank == 0)
    if args.processes > 1:
        dist.destroy_process_group()


def run_steps(networks: Networks, batches: Batches, args: argparse.Namespace, is_first: bool) -> None:
    """Train until the time is over; the first process writes weights and log to args.out."""
    optimiser = make_optimiser(networks.parameters, args.lr)
    log: list[tuple[int, int, float]] = []  # step, seconds, running loss
    started = saved = time.monotonic()
    step, done, running = 0, 0.0, None
    while done < 1:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(args, step, done)
        loss, plain = losses(networks, *batches.take(done), args)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        spent = time.monotonic() - started
        done = share_gradients(networks.parameters, spent / (args.minutes * 60), args.processes)
        optimiser.step()
        step += 1
        networks.update_average(args.ema, step)
        running = plain if running is None else running * 0.98 + plain * 0.02
        if is_first and step % REPORT_EVERY_STEPS == 0:
            rate = step * args.batch * args.processes / spent
            print(f"step {step} t {spent:.0f}s loss {running:.4f} rate {rate:.0f}/s", flush=True)
            log.append((step, round(spent), round(running, 5)))
        if is_first and time.monotonic() - saved > SAVE_EVERY_SECONDS:
            networks.save(args.out)
            saved = time.monotonic()
    if is_first:
        networks.save(args.out)
        (args.out / "denoiser_log.json").write_text(json.dumps(log))


def read_arguments() -> argparse.Namespace:
    """The settings of a run; those that matter most are shift, focus and pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of prepare")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--batch", type=int, default=32, help="per process")
    parser.add_argument("--lr", type=float, default=1.2e-3)
    parser.add_argument("--drop", type=float, default=0.1, help="share of empty captions, for guidance")
    parser.add_argument("--ema", type=float, default=0.999)
    parser.add_argument("--threads", type=int, default=1, help="per process")
    parser.add_argument("--fp32", action="store_true", help="no bfloat16 autocast")
    parser.add_argument("--resume", type=Path, help="folder of an earlier run, or an exported one")
    parser.add_argument(
        "--flat", type=float, default=0.45, help="share of the time at the full learning rate"
    )
    parser.add_argument("--focus", type=float, default=2.0, help="extra weight of cells that show a thing")
    parser.add_argument("--shift", type=float, default=2.0, help="above 1: more training on strong noise")
    parser.add_argument("--pairs", type=float, default=1.0, help="share of the two-thing scenes per epoch")
    parser.add_argument("--simple", type=float, default=0.25, help="share of the time without such scenes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    """Build or take over the tokenizer, then train in one or more processes."""
    args = read_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    # Ties between merges fall differently in each build: weights to go on from need their own tokenizer.
    if args.resume:
        shutil.copytree(args.resume / "tokenizer", args.out / "tokenizer", dirs_exist_ok=True)
    else:
        build(args.out / "tokenizer")
    if args.processes == 1:
        train(0, args)
        return
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29517")
    torch.multiprocessing.spawn(train, args=(args,), nprocs=args.processes)


if __name__ == "__main__":
    main()
