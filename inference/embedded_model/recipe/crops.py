"""Random crops of the large pictures with their latents, for both halves of the autoencoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from inference.embedded_model.recipe.prepare import CELLS

PIXELS_PER_CELL = 16


@dataclass(frozen=True)
class Crops:
    """Latents (n, 8, 16, 16) and the pictures (n, 256, 256, 3) they belong to."""

    latents: npt.NDArray[np.float32]
    pictures: npt.NDArray[np.uint8]

    @classmethod
    def load(cls, data: Path) -> Crops:
        """From a folder of `prepare`; pictures stay on disk."""
        latents = np.load(data / "latents.npy", mmap_mode="r")
        index = np.load(data / "large_index.npy")
        return cls(latents[index].astype(np.float32), np.load(data / "large.npy", mmap_mode="r"))

    def sample(self, rng: np.random.Generator, batch: int, cells: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents (batch, 8, cells, cells) and pictures (batch, 3, 16 cells, 16 cells) in [-1, 1]."""
        latents, pictures = [], []
        for number in rng.integers(0, len(self.latents), batch):
            row, column = (int(start) for start in rng.integers(0, CELLS + 1 - cells, 2))
            latents.append(self.latents[number][:, row : row + cells, column : column + cells])
            top, left, side = row * PIXELS_PER_CELL, column * PIXELS_PER_CELL, cells * PIXELS_PER_CELL
            pictures.append(self.pictures[number][top : top + side, left : left + side])
        pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
        return torch.from_numpy(np.stack(latents)), pixels
