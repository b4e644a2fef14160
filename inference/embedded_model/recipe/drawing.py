"""Draw one thing or one background with Pillow.

Lengths are pixels of the supersampled canvas; a thing has half-extent r around its centre, and the drawers
below give coordinates in units of r: (-1, -1) is the top left corner of its box. Changing a drawer changes
the pictures the weights were trained on.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

RGB = tuple[int, int, int]
Point = tuple[float, float]

WHITE: RGB = (255, 255, 255)
SKY_OVER_LAND: RGB = (158, 210, 248)
SKY_OVER_SNOW: RGB = (186, 200, 214)
GROUNDS: dict[str, RGB] = {"grass": (88, 178, 72), "sea": (28, 96, 178), "snow": (244, 247, 252)}
HORIZON = 0.7  # share of the height above the ground


def shade(rgb: RGB, factor: float) -> RGB:
    """The colour made darker (factor below 1) or lighter."""
    red, green, blue = (max(0, min(255, int(c * factor))) for c in rgb)
    return red, green, blue


def mix(first: RGB, second: RGB, share: float) -> RGB:
    """The colour between two, share 0 to 1 of the second."""
    red, green, blue = (int(x * (1 - share) + y * share) for x, y in zip(first, second, strict=True))
    return red, green, blue


def gradient(side: int, top: RGB, bottom: RGB) -> Image.Image:
    """A square of side pixels that runs from one colour to another, downwards."""
    ramp = np.linspace(0, 1, side)[:, None, None]
    rows = np.array(top)[None, None] * (1 - ramp) + np.array(bottom)[None, None] * ramp
    return Image.fromarray(np.broadcast_to(rows, (side, side, 3)).astype(np.uint8))


def plain_background(rgb: RGB, side: int, rng: random.Random) -> Image.Image:
    """A background of one colour, a little lighter above; takes three numbers from rng."""
    red, green, blue = (c + rng.randint(-6, 6) for c in rgb)
    return gradient(side, shade((red, green, blue), 1.04), shade((red, green, blue), 0.94))


def place_background(place: str, side: int, rng: random.Random) -> Image.Image:
    """One of the named places; only night takes numbers from rng, for its stars."""
    if place == "night":
        return _night(side, rng)
    if place == "sunset":
        return gradient(side, (236, 96, 130), (255, 188, 96))
    if place == "sky":
        return gradient(side, (104, 180, 244), (196, 228, 252))
    over = SKY_OVER_SNOW if place == "snow" else SKY_OVER_LAND
    image = gradient(side, shade(over, 0.94), over)
    ImageDraw.Draw(image).rectangle((0, int(side * HORIZON), side, side), fill=GROUNDS[place])
    return image


def _night(side: int, rng: random.Random) -> Image.Image:
    image = gradient(side, (10, 14, 46), (34, 40, 92))
    draw = ImageDraw.Draw(image)
    for _ in range(10):
        x, y, r = rng.random() * side, rng.random() * side, side * 0.007
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(200, 205, 230))
    return image


@dataclass(frozen=True)
class Pen:
    """Draws in units of one thing: half-extent r pixels around (cx, cy), its colour, what is behind."""

    draw: ImageDraw.ImageDraw
    cx: float
    cy: float
    r: float
    rgb: RGB
    behind: RGB

    @property
    def dark(self) -> RGB:
        """The colour of roofs and doors."""
        return shade(self.rgb, 0.6) if sum(self.rgb) > 150 else (70, 70, 78)

    def bounds(self, x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
        """A box in units of r as pixels."""
        return self.cx + self.r * x0, self.cy + self.r * y0, self.cx + self.r * x1, self.cy + self.r * y1

    def disc(self, x: float, y: float, radius: float, fill: RGB) -> None:
        """A filled circle."""
        self.draw.ellipse(self.bounds(x - radius, y - radius, x + radius, y + radius), fill=fill)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: RGB) -> None:
        """A filled rectangle."""
        self.draw.rectangle(self.bounds(x0, y0, x1, y1), fill=fill)

    def polygon(
        self, points: Iterable[Point], fill: RGB, *, dx: float = 0, dy: float = 0, grow: float = 1
    ) -> None:
        """A filled polygon, moved by (dx, dy) and scaled by grow."""
        cx, cy, r = self.cx + dx * self.r, self.cy + dy * self.r, self.r * grow
        self.draw.polygon([(cx + r * x, cy + r * y) for x, y in points], fill=fill)


def _star_points(arms: int, inner: float) -> list[Point]:
    """Corners of a star with its first arm upwards; inner is the radius of the hollows."""
    points = []
    for i in range(arms * 2):
        angle = math.radians(-90.0 + i * 180 / arms)
        radius = 1.0 if i % 2 == 0 else inner
        points.append((radius * math.cos(angle), radius * math.sin(angle)))
    return points


def _circle(pen: Pen) -> None:
    pen.disc(0, 0, 0.95, pen.rgb)


def _square(pen: Pen) -> None:
    pen.box(-0.84, -0.84, 0.84, 0.84, pen.rgb)


def _triangle(pen: Pen) -> None:
    pen.polygon([(0, -0.95), (1.0, 0.8), (-1.0, 0.8)], pen.rgb)


def _star(pen: Pen) -> None:
    pen.polygon(_star_points(5, 0.42), pen.rgb, dy=0.06, grow=1.06)


def _heart(pen: Pen) -> None:
    points = []
    for i in range(60):
        t = i * math.tau / 60
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((math.sin(t) ** 3, -y / 16))
    pen.polygon(points, pen.rgb, dy=-0.06)


def _diamond(pen: Pen) -> None:
    pen.polygon([(0, -1.05), (0.74, 0), (0, 1.05), (-0.74, 0)], pen.rgb)


def _ring(pen: Pen) -> None:
    pen.draw.ellipse(pen.bounds(-0.97, -0.97, 0.97, 0.97), outline=pen.rgb, width=max(1, int(pen.r * 0.36)))


def _cross(pen: Pen) -> None:
    pen.box(-0.3, -0.95, 0.3, 0.95, pen.rgb)
    pen.box(-0.95, -0.3, 0.95, 0.3, pen.rgb)


def _house(pen: Pen) -> None:
    pen.box(-0.72, -0.18, 0.72, 0.95, pen.rgb)
    pen.polygon([(0, -1.0), (1.0, -0.14), (-1.0, -0.14)], pen.dark)
    pen.box(-0.18, 0.36, 0.18, 0.95, pen.dark)


def _tree(pen: Pen) -> None:
    is_bright = pen.rgb[0] > 150 or pen.rgb[1] > 90 or pen.rgb[2] > 90
    pen.box(-0.15, 0.3, 0.15, 1.0, (112, 70, 38) if is_bright else (170, 120, 80))
    for x, y, radius in ((0, -0.42, 0.56), (-0.4, 0.02, 0.44), (0.4, 0.02, 0.44)):
        pen.disc(x, y, radius, pen.rgb)


def _sun(pen: Pen) -> None:
    pen.polygon(_star_points(10, 0.7), pen.rgb, grow=1.05)
    pen.disc(0, 0, 0.56, mix(pen.rgb, WHITE, 0.35) if sum(pen.rgb) < 700 else (255, 240, 190))


def _moon(pen: Pen) -> None:
    outer = [
        (-0.15 + 0.95 * math.sin(math.radians(a)) * -1, -0.95 * math.cos(math.radians(a)))
        for a in range(-25, 206, 7)
    ]
    inner = [
        (0.28 - 0.72 * math.sin(math.radians(a)), -0.74 * math.cos(math.radians(a)))
        for a in range(205, -26, -7)
    ]
    pen.polygon(outer + inner, pen.rgb, dx=0.12)


def _boat(pen: Pen) -> None:
    pen.polygon([(-1.0, 0.4), (1.0, 0.4), (0.6, 0.95), (-0.6, 0.95)], pen.rgb)
    pen.box(-0.05, -0.95, 0.05, 0.4, (96, 66, 44))
    sail = (252, 248, 236) if sum(pen.behind) < 620 else (196, 206, 224)
    pen.polygon([(0.1, -0.95), (0.85, 0.26), (0.1, 0.26)], sail)
    pen.polygon([(-0.1, -0.7), (-0.65, 0.26), (-0.1, 0.26)], sail)


def _flower(pen: Pen) -> None:
    pen.box(-0.07, 0.1, 0.07, 1.0, (30, 110, 50))
    for i in range(6):
        angle = math.radians(i * 60 - 90)
        pen.disc(0.4 * math.cos(angle), -0.3 + 0.4 * math.sin(angle), 0.29, pen.rgb)
    is_golden = pen.rgb[0] > 220 and pen.rgb[1] > 120 and pen.rgb[2] < 90
    pen.disc(0, -0.3, 0.24, (150, 80, 30) if is_golden else (250, 205, 60))


def _face(pen: Pen) -> None:
    ink = (30, 26, 30) if sum(pen.rgb) > 260 else (240, 240, 240)
    pen.disc(0, 0, 0.95, pen.rgb)
    pen.disc(-0.34, -0.26, 0.13, ink)
    pen.disc(0.34, -0.26, 0.13, ink)
    smile = pen.bounds(-0.52, -0.42, 0.52, 0.56)
    pen.draw.arc(smile, 20, 160, fill=ink, width=max(1, int(pen.r * 0.13)))


def _cloud(pen: Pen) -> None:
    for x, y, radius in ((-0.5, 0.14, 0.42), (0.5, 0.16, 0.4), (-0.08, -0.12, 0.54), (0.1, 0.2, 0.4)):
        pen.disc(x, y, radius, pen.rgb)
    pen.box(-0.5, 0.14, 0.5, 0.55, pen.rgb)


# The order is part of the recipe: sampling chooses by position.
SHAPE_DRAWERS: dict[str, Callable[[Pen], None]] = {
    "circle": _circle, "square": _square, "triangle": _triangle, "star": _star,
    "heart": _heart, "diamond": _diamond, "ring": _ring, "cross": _cross,
}  # fmt: skip
OBJECT_DRAWERS: dict[str, Callable[[Pen], None]] = {
    "house": _house, "tree": _tree, "sun": _sun, "moon": _moon,
    "boat": _boat, "flower": _flower, "face": _face, "cloud": _cloud,
}  # fmt: skip
DRAWERS = SHAPE_DRAWERS | OBJECT_DRAWERS
