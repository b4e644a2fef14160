"""A small network that names the kind of the single thing in a picture, as a second judge beside the checker.

It learns from the renderer's own pictures at 64 pixels and is about 99 % right on them.
"""

from __future__ import annotations

import random
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from inference.embedded_model.recipe.scenes import KINDS, render, sample_scene

SIDE = 64  # pixels
CHUNKS, PER_CHUNK, HELD_BACK = 25, 400, 1000  # pictures
PASSES, BATCH = 5, 64
FIRST_SEED = 900


def classify(net: nn.Module, picture: npt.NDArray[np.uint8]) -> str:
    """The kind seen in a (64, 64, 3) picture."""
    with torch.no_grad():
        scores = net(_as_tensor(picture[None]))
    return KINDS[int(scores.argmax(1).item())]


def load_or_train(path: Path) -> nn.Module:
    """The classifier, kept in a file; training takes a minute and prints its accuracy."""
    net = _network()
    if path.exists():
        net.load_state_dict(torch.load(path, weights_only=True))
        return net.eval()
    torch.manual_seed(0)
    with Pool(2) as pool:
        chunks = pool.map(_render_singles, range(FIRST_SEED, FIRST_SEED + CHUNKS))
    pictures = _as_tensor(np.concatenate([chunk[0] for chunk in chunks]))
    kinds = torch.from_numpy(np.concatenate([chunk[1] for chunk in chunks]))
    cut = len(pictures) - HELD_BACK
    _train(net, pictures[:cut], kinds[:cut])
    print(f"classifier on rendered pictures: {_accuracy(net, pictures[cut:], kinds[cut:]):.3f}", flush=True)
    torch.save(net.state_dict(), path)
    return net


def _as_tensor(pictures: npt.NDArray[np.uint8]) -> torch.Tensor:
    """(n, side, side, 3) uint8 to (n, 3, side, side) in [-1, 1]."""
    return torch.from_numpy(pictures.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1


def _render_singles(seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    rng = random.Random(seed)
    pictures: list[npt.NDArray[np.uint8]] = []
    kinds: list[int] = []
    while len(pictures) < PER_CHUNK:
        scene = sample_scene(rng, allow_held_out=True)
        if len(scene.things) == 1:
            pictures.append(np.asarray(render(scene, SIDE, 4)))
            kinds.append(KINDS.index(scene.things[0].kind))
    return np.stack(pictures), np.array(kinds)


def _block(channels_in: int, channels_out: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, stride=2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
        nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


def _network() -> nn.Module:
    blocks = (_block(3, 16), _block(16, 32), _block(32, 64))
    return nn.Sequential(*blocks, nn.Flatten(), nn.Dropout(0.2), nn.Linear(64 * 64, len(KINDS)))


def _train(net: nn.Module, pictures: torch.Tensor, kinds: torch.Tensor) -> None:
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.01)
    rounds = len(pictures) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=PASSES * rounds)
    rng = random.Random(0)
    for _ in range(PASSES):
        for picks in torch.randperm(len(pictures))[: rounds * BATCH].view(-1, BATCH):
            loss = F.cross_entropy(net(_disturb(pictures[picks], rng)), kinds[picks])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    net.eval()


def _disturb(batch: torch.Tensor, rng: random.Random) -> torch.Tensor:
    """Shift by up to 3 pixels, add noise, sometimes blur."""
    shift = (rng.randint(-3, 3), rng.randint(-3, 3))
    batch = torch.roll(batch, shift, (2, 3)) + torch.randn_like(batch) * 0.06 * rng.random()
    if rng.random() < 0.4:
        batch = F.avg_pool2d(F.pad(batch, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return batch


def _accuracy(net: nn.Module, pictures: torch.Tensor, kinds: torch.Tensor) -> float:
    with torch.no_grad():
        guesses = torch.cat([net(part).argmax(1) for part in pictures.split(100)])
    return float((guesses == kinds).float().mean().item())
