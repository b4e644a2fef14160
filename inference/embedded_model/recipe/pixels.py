"""Read pictures without learning anything: backgrounds, masks, parts, colours, silhouettes.

A picture here is a (side, side, 3) array of uint8, a mask a (side, side) array of bool. Distances between
colours are sums of the three channel differences, 0 to 765.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from inference.embedded_model.recipe import scenes

Picture = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Colours = Picture | Floats  # channels along the last axis

SIDE = 128  # pixels at which pictures are read
BORDER = 3  # pixels on each side that things stay clear of
STANDS_OUT = 75  # distance from the background at which a pixel belongs to a thing
HALO = 0.25  # share of a part's contrast below which a pixel is soft edge
SILHOUETTE_SIDE = 48  # pixels of the common box in which silhouettes are compared
OUTSIDE, BODY, TRIM = 0, 1, 2  # labels of a silhouette: background, the thing's colour, other colours on it
COLOUR_NAMES = tuple(scenes.COLOURS)
PALETTE: Floats = np.array([scenes.COLOURS[name] for name in COLOUR_NAMES], dtype=np.float32)


def read(picture: Image.Image, side: int = SIDE) -> Picture:
    """The picture as an array of side x side pixels, averaged over areas."""
    return np.asarray(picture.convert("RGB").resize((side, side), Image.Resampling.BOX))


def distance(first: Colours, second: Colours) -> Floats:
    """Distance of colours along the last axis."""
    gap = np.abs(first.astype(np.float32) - second.astype(np.float32)).sum(axis=-1)
    return np.asarray(gap, dtype=np.float32)


def colour_map(picture: Picture) -> Labels:
    """Index into COLOUR_NAMES of the nearest palette colour of each pixel, along the last axis."""
    # |pixel - colour|^2 without |pixel|^2, which is the same for all colours.
    gap = (PALETTE**2).sum(axis=-1) - 2 * (picture.astype(np.float32) @ PALETTE.T)
    return np.asarray(gap.argmin(axis=-1), dtype=np.int64)


def border(picture: Colours, width: int = BORDER) -> Floats:
    """The pixels of the frame, as (n, 3)."""
    top, bottom = picture[:width], picture[-width:]
    left, right = picture[:, :width], picture[:, -width:]
    frame = [part.reshape(-1, 3) for part in (top, bottom, left, right)]
    return np.concatenate(frame).astype(np.float32)


@lru_cache(maxsize=32)
def empty_background(name: str) -> Picture:
    """The background alone, as the renderer draws it."""
    return read(scenes.render(scenes.Scene(name), SIDE, 4))


def background_distances(picture: Picture) -> dict[str, float]:
    """How far the frame of the picture is from that of each background: the median over its pixels."""
    frame = border(picture)
    return {
        name: float(np.median(distance(frame, border(empty_background(name))))) for name in scenes.BACKGROUNDS
    }


def background_gap(picture: Picture, background: str) -> Floats:
    """Distance (side, side) of each pixel from the background; shade and horizon may be a little off."""
    expected = empty_background(background).astype(np.float32)
    offset = np.median(border(picture) - border(expected), axis=0)
    gaps = [distance(picture, np.roll(expected, rows, axis=0) + offset) for rows in (-2, -1, 0, 1, 2)]
    return np.asarray(np.min(gaps, axis=0), dtype=np.float32)


def sharpen(part: Mask, gap: Floats) -> Mask:
    """The part without its soft edge and halo: pixels much weaker than its contrast."""
    return part & (gap > HALO * np.percentile(gap[part], 90))


def parts(mask: Mask, reach: int = 3, smallest: int = 60) -> list[Mask]:
    """Parts of a mask, largest first, without specks; pieces up to 2 x reach pixels apart are one part."""
    near = _grow(mask, reach)
    found = []
    for row, column in zip(*np.nonzero(mask), strict=True):
        if near[row, column]:
            part = _flood(near, int(row), int(column)) & mask
            found.append(part)
    return sorted(
        (part for part in found if part.sum() >= smallest), key=lambda p: int(p.sum()), reverse=True
    )


def _grow(mask: Mask, reach: int) -> Mask:
    grown = mask.copy()
    for _ in range(reach):
        wider = grown.copy()
        wider[1:] |= grown[:-1]
        wider[:-1] |= grown[1:]
        wider[:, 1:] |= grown[:, :-1]
        wider[:, :-1] |= grown[:, 1:]
        grown = wider
    return grown


def _flood(left: Mask, row: int, column: int) -> Mask:
    """The connected part around a pixel, which is taken out of left."""
    part = np.zeros_like(left)
    stack = [(row, column)]
    left[row, column] = False
    while stack:
        r, c = stack.pop()
        part[r, c] = True
        for rr, cc in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
            if 0 <= rr < left.shape[0] and 0 <= cc < left.shape[1] and left[rr, cc]:
                left[rr, cc] = False
                stack.append((rr, cc))
    return part


def colour_share(picture: Picture, mask: Mask, colour: str) -> float:
    """Share of the mask whose nearest palette colour is the given one."""
    inside = colour_map(picture[mask])
    return float(np.mean(inside == COLOUR_NAMES.index(colour))) if inside.size else 0.0


def main_colours(picture: Picture, mask: Mask, least: float = 0.15) -> tuple[str, ...]:
    """Palette colours that fill at least that share of the mask, most common first."""
    counts = np.bincount(colour_map(picture[mask]), minlength=len(COLOUR_NAMES))
    return tuple(COLOUR_NAMES[i] for i in counts.argsort()[::-1] if counts[i] > least * max(1, counts.sum()))


def extent(mask: Mask) -> float:
    """The longer side of the mask's box, as a share of the picture's side."""
    rows, columns = np.nonzero(mask)
    if not rows.size:
        return 0.0
    longer = max(int(np.ptp(rows)), int(np.ptp(columns))) + 1
    return longer / int(mask.shape[0])


def centre(mask: Mask) -> tuple[float, float]:
    """Centre of the mask's pixels as (x, y), shares of the side."""
    rows, columns = np.nonzero(mask)
    return float(columns.mean()) / mask.shape[1], float(rows.mean()) / mask.shape[0]


def silhouette(picture: Picture, mask: Mask, colour: str) -> Labels:
    """The thing in the common box: OUTSIDE, BODY where it has its colour, TRIM where another one.

    The box keeps the proportions: the longer side fills it, the shorter one is centred.
    """
    labels = np.full(mask.shape, OUTSIDE)
    labels[mask] = np.where(colour_map(picture[mask]) == COLOUR_NAMES.index(colour), BODY, TRIM)
    rows, columns = np.nonzero(mask)
    height, width = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
    side = max(height, width)
    top, left = rows.min() - (side - height) / 2, columns.min() - (side - width) / 2
    steps = (np.arange(SILHOUETTE_SIDE) + 0.5) * side / SILHOUETTE_SIDE
    at_rows, at_columns = np.floor(top + steps).astype(int), np.floor(left + steps).astype(int)
    padded = np.pad(labels, side)  # a box may reach over the picture's edge
    return np.asarray(padded[np.ix_(at_rows + side, at_columns + side)], dtype=np.int64)


def likeness(first: Labels, second: Labels) -> float:
    """How alike two silhouettes are, 0 to 1: the mean of the outlines' overlap and the labels' agreement."""
    either = (first != OUTSIDE) | (second != OUTSIDE)
    both = (first != OUTSIDE) & (second != OUTSIDE)
    agree = either & (first == second)
    return float(both.sum() + agree.sum()) / (2 * max(1.0, float(either.sum())))
