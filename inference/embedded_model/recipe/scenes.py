"""Scenes: what is in a picture, how a random one is chosen, how it is rendered.

A scene is a background with one thing, two to four equal things, or two things in a relation. Positions and
sizes are fractions of the canvas side, (0, 0) is the top left corner. The same seed gives the same scene
and the same pixels, so the weights can be made again: whoever changes an order of draws from `rng` changes
the training data.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
from PIL import Image, ImageDraw

from inference.embedded_model.recipe import drawing
from inference.embedded_model.recipe.drawing import RGB

COLOURS: dict[str, RGB] = {
    "red": (220, 38, 38),
    "orange": (247, 132, 22),
    "yellow": (250, 212, 36),
    "green": (34, 160, 70),
    "blue": (40, 92, 224),
    "purple": (138, 52, 190),
    "pink": (246, 132, 188),
    "white": (250, 250, 250),
    "black": (24, 24, 28),
    "gray": (140, 144, 150),
    "brown": (130, 78, 40),
}
SHAPES = tuple(drawing.SHAPE_DRAWERS)
OBJECTS = tuple(drawing.OBJECT_DRAWERS)
KINDS = SHAPES + OBJECTS
# Colour an object takes when the caption names none.
NATURAL = {
    "sun": "yellow", "tree": "green", "moon": "white", "boat": "brown",
    "flower": "pink", "face": "yellow", "cloud": "white", "house": "red",
}  # fmt: skip
# Named places, with the colours that would vanish against them.
PLACES: dict[str, tuple[str, ...]] = {
    "night": ("black", "blue"),
    "sky": ("blue",),
    "grass": ("green",),
    "sea": ("blue",),
    "sunset": ("orange", "pink"),
    "snow": ("white", "gray"),
}
BACKGROUNDS = tuple(COLOURS) + tuple(PLACES)
SIZES = {"small": (0.20, 0.22), "": (0.345, 0.365), "large": (0.53, 0.55)}
PAIR_SIZES = {"small": 0.215, "": 0.35, "large": 0.48}
SPOTS = {
    2: ((0.27, 0.5), (0.73, 0.5)),
    3: ((0.5, 0.27), (0.26, 0.72), (0.74, 0.72)),
    4: ((0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73)),
}
RELATIONS = ("left", "right", "above", "below", "beside")
POSITIONS = ("top", "bottom", "left", "right")
# How far things stray from their nominal places. Little play makes shapes learnable within minutes; more
# asks for much longer training.
PLAY = 0.25


@dataclass(frozen=True)
class Thing:
    """One drawn thing: kind and colour, its width as a share of the canvas, its centre."""

    kind: str
    colour: str
    size: float
    x: float
    y: float
    size_word: str = ""  # small, large or ""


@dataclass(frozen=True)
class Scene:
    """A background with things, and the facts a caption may mention."""

    background: str
    things: tuple[Thing, ...] = ()
    relation: str = ""  # of RELATIONS, first thing to second; "" without one
    count: int = 1  # equal things when above one
    position: str = ""  # of POSITIONS, for a single thing; "" in the middle
    seed: int = 0  # of shades and stars


def to_json(scene: Scene) -> dict[str, Any]:
    """The scene as plain values."""
    return asdict(scene)


def from_json(values: dict[str, Any]) -> Scene:
    """The scene that `to_json` wrote."""
    return Scene(**{**values, "things": tuple(Thing(**thing) for thing in values["things"])})


# --- rendering


def render(scene: Scene, size: int = 128, supersample: int = 4) -> Image.Image:
    """Draw a scene as size x size pixels; the same scene always gives the same picture."""
    rng = random.Random(scene.seed)
    side = size * supersample
    image = _background(scene.background, side, rng)
    draw = ImageDraw.Draw(image)
    for thing in scene.things:
        _draw_thing(image, draw, thing, rng)
    return image.reduce(supersample)


def _background(name: str, side: int, rng: random.Random) -> Image.Image:
    if name in COLOURS:
        return drawing.plain_background(COLOURS[name], side, rng)
    return drawing.place_background(name, side, rng)


def _draw_thing(image: Image.Image, draw: ImageDraw.ImageDraw, thing: Thing, rng: random.Random) -> None:
    side = image.width
    red, green, blue = (max(0, min(255, c + rng.randint(-7, 7))) for c in COLOURS[thing.colour])
    under = (min(side - 1, int(thing.x * side)), min(side - 1, int(thing.y * side)))
    behind = cast(RGB, image.getpixel(under))
    pen = drawing.Pen(draw, thing.x * side, thing.y * side, thing.size * side / 2, (red, green, blue), behind)
    drawing.DRAWERS[thing.kind](pen)


# --- choosing


def clashes(colour: str, background: str) -> bool:
    """True when a thing of that colour would not stand out."""
    if background in PLACES:
        return colour in PLACES[background]
    return colour == background


def far_apart(first: str, second: str, least: int = 140) -> bool:
    """True when nobody would confuse two colours: the sum of their channel differences is above least."""
    return int(np.abs(np.array(COLOURS[first]) - np.array(COLOURS[second])).sum()) > least


def is_held_out(colour: str, kind: str, background: str) -> bool:
    """About one colour, kind and background in ten is kept from training, for measuring."""
    value = 0
    for letter in f"{colour}|{kind}|{background}":
        value = (value * 131 + ord(letter)) % 1000003
    return value % 10 == 0


def has_held_out(scene: Scene) -> bool:
    """True when a thing of the scene is held out."""
    return any(is_held_out(thing.colour, thing.kind, scene.background) for thing in scene.things)


def sample_scene(rng: random.Random, allow_held_out: bool = False) -> Scene:
    """Choose one random scene."""
    while True:
        scene = _sample(rng)
        if allow_held_out or not has_held_out(scene):
            return scene


def _sample(rng: random.Random) -> Scene:
    seed = rng.getrandbits(31)
    mode = rng.random()
    if mode < 0.42:
        return _sample_single(rng, seed)
    if mode < 0.58:
        return _sample_count(rng, seed)
    return _sample_pair(rng, seed)


def _sample_single(rng: random.Random, seed: int) -> Scene:
    kind = rng.choice(KINDS)
    colour = _pick_colour(rng, kind)
    word = rng.choice(("", "", "small", "large"))
    size = rng.uniform(*SIZES[word])
    position, x, y = "", 0.5 + _play(rng, 0.06), 0.5 + _play(rng, 0.06)
    if word != "large" and rng.random() < 0.25:
        position = rng.choice(POSITIONS)
        edge = size / 2 + 0.055 + _play(rng, 0.025)
        x, y = {"top": (x, edge), "bottom": (x, 1 - edge), "left": (edge, y), "right": (1 - edge, y)}[
            position
        ]
    thing = Thing(kind, colour, size, x, y, word)
    return Scene(_pick_background(rng, [colour]), (thing,), position=position, seed=seed)


def _sample_count(rng: random.Random, seed: int) -> Scene:
    kind = rng.choice(KINDS)
    colour = _pick_colour(rng, kind)
    count = rng.choice((2, 2, 3, 3, 4))
    size = (0.27 if count > 2 else 0.34) + _play(rng, 0.03)
    things = tuple(
        Thing(kind, colour, size, x + _play(rng, 0.03), y + _play(rng, 0.03)) for x, y in SPOTS[count]
    )
    return Scene(_pick_background(rng, [colour]), things, count=count, seed=seed)


def _sample_pair(rng: random.Random, seed: int) -> Scene:
    kinds = rng.sample(KINDS, 2) if rng.random() < 0.9 else [rng.choice(KINDS)] * 2
    colours = [_pick_colour(rng, kind) for kind in kinds]
    while kinds[0] == kinds[1] and colours[0] == colours[1]:
        colours[1] = rng.choice(tuple(COLOURS))
    words = [rng.choice(("", "", "", "small", "large")) for _ in range(2)]
    relation = rng.choice(("left", "right", "above", "below", "beside", "beside"))
    sizes = [PAIR_SIZES[word] + _play(rng, 0.02) for word in words]
    things = []
    for kind, colour, size, word, spot in zip(
        kinds, colours, sizes, words, pair_spots(relation), strict=True
    ):
        margin = size / 2 + 0.01
        x, y = (min(max(c + _play(rng, 0.03), margin), 1 - margin) for c in spot)
        things.append(Thing(kind, colour, size, x, y, word))
    return Scene(_pick_background(rng, colours), tuple(things), relation=relation, seed=seed)


def pair_spots(relation: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Nominal centres of two things in a relation."""
    low, high = 0.26, 0.74
    first, second = (high, low) if relation in ("right", "below") else (low, high)
    if relation in ("above", "below"):
        return (0.5, first), (0.5, second)
    return (first, 0.5), (second, 0.5)


def _play(rng: random.Random, reach: float) -> float:
    return PLAY * rng.uniform(-reach, reach)


def _pick_background(rng: random.Random, colours: Sequence[str]) -> str:
    for _ in range(50):
        name = rng.choice(tuple(PLACES)) if rng.random() < 0.3 else rng.choice(tuple(COLOURS))
        if not any(clashes(colour, name) for colour in colours):
            return name
    return "white" if "white" not in colours else "gray"


def _pick_colour(rng: random.Random, kind: str) -> str:
    if kind in NATURAL and rng.random() < 0.3:
        return NATURAL[kind]
    return rng.choice(tuple(COLOURS))
