"""Render the training scenes and turn them into latents.

The latent is a fixed linear one: each 8 x 8 patch of the 128-pixel picture is projected on its leading
principal components. So the denoiser can start at once, and the decoder learns apart from it to turn
latents into sharp pictures of 256 pixels.

The folder then holds: scenes.json; latents.npy (n, 8, 16, 16) float16; large.npy (m, 256, 256, 3) uint8,
the pictures for the decoder, and large_index.npy (m,), their numbers among the scenes; basis.npz, the
projection.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inference.embedded_model.recipe.scenes import Scene, from_json, render, sample_scene, to_json

PATCH = 8  # pixels of the 128-pixel picture per latent cell, each way
CELLS = 16  # latent cells per side
CHUNK = 500  # scenes of one job and of one seed

Floats = npt.NDArray[np.floating]
Pictures = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Basis:
    """The projection of a patch: mean (192,), leading components (192, channels), their scale (channels,)."""

    mean: Floats
    basis: Floats
    scale: Floats

    def encode(self, patches: Floats) -> npt.NDArray[np.float16]:
        """(n, 16, 16, 192) patches to (n, channels, 16, 16) latents."""
        latents = (patches - self.mean) @ self.basis * self.scale
        return np.asarray(latents.transpose(0, 3, 1, 2), dtype=np.float16)

    def save(self, path: Path) -> None:
        """Write it as npz."""
        np.savez(path, mean=self.mean, basis=self.basis, scale=self.scale)

    @classmethod
    def load(cls, path: Path) -> Basis:
        """The basis that `save` wrote."""
        with np.load(path) as saved:
            return cls(saved["mean"], saved["basis"], saved["scale"])


@dataclass(frozen=True)
class Part:
    """One job's share: its scenes, all pictures at 128 pixels, the first few at 256 as well."""

    scenes: list[Scene]
    small: Pictures
    large: Pictures


def cut_patches(pictures: Pictures) -> npt.NDArray[np.float32]:
    """(n, 128, 128, 3) uint8 to (n, 16, 16, 192) floats in [-1, 1]."""
    n = len(pictures)
    cells = pictures.reshape(n, CELLS, PATCH, CELLS, PATCH, 3).transpose(0, 1, 3, 2, 4, 5)
    return cells.reshape(n, CELLS, CELLS, PATCH * PATCH * 3).astype(np.float32) / 127.5 - 1.0


def fit_basis(patches: Floats, channels: int) -> Basis:
    """Principal components of the patches, softly whitened: fine components keep a smaller share."""
    flat = patches.reshape(-1, patches.shape[-1])
    mean = flat.mean(0)
    values, vectors = np.linalg.eigh(np.cov((flat - mean).T))
    order = np.argsort(values)[::-1]
    explained = values[order].cumsum() / values.sum()
    print("explained variance", np.round(explained[: 2 * channels], 4), flush=True)
    leading = values[order[:channels]]
    scale = leading**-0.35
    scale /= np.sqrt(np.mean(leading * scale**2))
    print("spread of each channel", np.round(np.sqrt(leading) * scale, 3), flush=True)
    return Basis(mean, vectors[:, order[:channels]], scale)


def load_scenes(data: Path) -> list[Scene]:
    """The scenes of a prepared folder, in the order of its latents."""
    return [from_json(values) for values in json.loads((data / "scenes.json").read_text())]


def _make(job: tuple[int, int, int]) -> Part:
    seed, count, keep = job
    rng = random.Random(seed)
    scenes, small, large = [], [], []
    for number in range(count):
        scene = sample_scene(rng)
        picture = render(scene, 256, 2)
        scenes.append(scene)
        small.append(np.asarray(picture.reduce(2)))
        if number < keep:
            large.append(np.asarray(picture))
    return Part(scenes, np.stack(small), np.stack(large) if large else np.zeros((0, 256, 256, 3), np.uint8))


def render_parts(count: int, large: int, seed: int, workers: int) -> Iterator[Part]:
    """Render count scenes in chunks; every chunk keeps its share of the large pictures."""
    chunk = min(CHUNK, count)
    jobs = [(seed * 100003 + i, chunk, chunk * large // count) for i in range(count // chunk)]
    with Pool(workers) as pool:
        yield from pool.imap(_make, jobs)


def write(out: Path, parts: Iterator[Part], channels: int, basis: Basis | None = None) -> None:
    """Write the prepared folder; without a basis the first part decides it."""
    scenes: list[Scene] = []
    latents, large = [], []
    large_index: list[int] = []
    for part in parts:
        patches = cut_patches(part.small)
        basis = basis or fit_basis(patches, channels)
        large_index.extend(range(len(scenes), len(scenes) + len(part.large)))
        scenes.extend(part.scenes)
        latents.append(basis.encode(patches))
        large.append(part.large)
    if basis is None:
        raise ValueError("no scenes to write")
    basis.save(out / "basis.npz")
    np.save(out / "latents.npy", np.concatenate(latents))
    np.save(out / "large.npy", np.concatenate(large))
    np.save(out / "large_index.npy", np.array(large_index))
    (out / "scenes.json").write_text(json.dumps([to_json(scene) for scene in scenes]))


def main() -> None:
    """Render and write; about 150 scenes a second on two cores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=40000)
    parser.add_argument("--large", type=int, default=8000, help="pictures also kept at 256 pixels")
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument(
        "--basis", type=Path, help="basis.npz of earlier data, so that its decoder still fits"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    basis = Basis.load(args.basis) if args.basis else None
    write(args.out, render_parts(args.count, args.large, args.seed, args.workers), args.channels, basis)


if __name__ == "__main__":
    main()
