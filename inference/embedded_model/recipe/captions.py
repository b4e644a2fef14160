"""Caption grammar: one scene, many wordings.

The tables are the vocabulary the embedded model knows; `grammar` reads captions back with the same tables.
The order of draws from `rng` is part of the recipe, as in `scenes`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from inference.embedded_model.recipe.scenes import COLOURS, KINDS, NATURAL, PLACES, Scene, Thing

NUMBERS = {2: ("two", "2", "a pair of"), 3: ("three", "3"), 4: ("four", "4")}
SYNONYMS = {
    "circle": ("circle", "disc", "dot", "ball"), "square": ("square", "box", "block"),
    "ring": ("ring", "hoop"), "cross": ("cross", "plus sign"), "diamond": ("diamond", "rhombus"),
    "boat": ("boat", "sailboat", "ship"), "face": ("face", "smiley", "smiley face", "smiling face"),
    "house": ("house", "home", "hut"), "moon": ("moon", "crescent moon", "crescent"),
}  # fmt: skip
# A word that stands twice is said twice as often.
COLOUR_WORDS = {
    "gray": ("gray", "grey"), "purple": ("purple", "violet"), "black": ("black",), "pink": ("pink",),
    "red": ("red", "red", "red", "crimson"), "blue": ("blue",),
}  # fmt: skip
SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
PLACE_WORDS = {
    "night": ("at night", "at night", "in the night sky", "in the dark night", "under a starry sky",
              "against a night sky"),
    "sky": ("in the sky", "in a blue sky", "against the sky", "in the daytime"),
    "grass": ("on the grass", "in a meadow", "in a green field", "on a lawn", "in the park"),
    "sea": ("on the sea", "at sea", "on the water", "by the ocean", "on the ocean"),
    "sunset": ("at sunset", "at dusk", "in the evening", "against a sunset"),
    "snow": ("in the snow", "in winter", "on a snowy day", "on snow"),
}  # fmt: skip
COLOUR_BACKGROUNDS = (
    "on a {} background", "on a {} background", "on a {} background", "against a {} background",
    "on {}", "with a {} background", "over a {} background", "in front of a {} background",
)  # fmt: skip
RELATION_WORDS = {
    "left": ("to the left of", "left of", "on the left of"),
    "right": ("to the right of", "right of", "on the right of"),
    "above": ("above", "over", "on top of", "above"),
    "below": ("below", "under", "beneath", "underneath"),
    "beside": ("and", "and", "next to", "beside", "with"),
}
POSITION_WORDS = {
    "top": ("at the top", "near the top"), "bottom": ("at the bottom", "near the bottom"),
    "left": ("on the left", "on the left side"), "right": ("on the right", "on the right side"),
}  # fmt: skip
PREFIXES = (
    "a picture of", "an image of", "a drawing of", "a painting of", "a photo of", "draw",
    "an illustration of", "please draw", "show me", "i want", "a simple picture of", "a cartoon of",
    "a minimalist icon of",
)  # fmt: skip
SUFFIXES = (
    "high quality", "simple", "flat design", "minimalist", "detailed", "4k", "beautiful", "digital art",
    "vector art", "clean", "centered", "illustration", "cartoon style", "best quality", "cute",
    "colorful",
)  # fmt: skip
# Words that no caption says, kept whole by the tokenizer for a later training.
EXTRA_WORDS = (
    "cat", "dog", "car", "mountain", "river", "beach", "castle", "bird", "robot", "the", "of", "with",
    "shape", "shapes", "shaped", "colored", "coloured", "nice", "bright", "dark", "light", "very", "some",
    "scene", "landscape",
)  # fmt: skip
JOINING_WORDS = (
    "a an on against with over in front background to the left right of above below under beneath underneath "
    "top and next beside at near bottom side one two three four five no without draw"
)


def article(phrase: str) -> str:
    """Put a or an before a phrase."""
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def pluralize(word: str) -> str:
    """Plural of a kind's word; of 'plus sign' the last word counts."""
    return word + ("es" if word.endswith(("s", "x")) else "s")


def kind_words(kind: str) -> tuple[str, ...]:
    """All words for a kind, the usual one first."""
    return SYNONYMS.get(kind, (kind,))


def colour_words(colour: str) -> tuple[str, ...]:
    """All words for a colour, the usual one first."""
    return COLOUR_WORDS.get(colour, (colour,))


def noun(rng: random.Random, thing: Thing, plural: bool = False) -> str:
    """Noun phrase such as 'small red star'; sometimes without the colour that everybody expects."""
    drop_colour = NATURAL.get(thing.kind) == thing.colour and rng.random() < 0.35
    word = _pick(rng, kind_words(thing.kind))
    parts = []
    if thing.size_word:
        parts.append(_pick(rng, SIZE_WORDS[thing.size_word]))
    if not drop_colour:
        parts.append(_pick(rng, colour_words(thing.colour)))
    return " ".join([*parts, pluralize(word) if plural else word])


def background_phrase(rng: random.Random, name: str) -> str:
    """Words for the background, placed after the things."""
    if name in PLACES:
        return _pick(rng, PLACE_WORDS[name])
    colour = _pick(rng, colour_words(name))
    return rng.choice(COLOUR_BACKGROUNDS).format(colour)


def describe(scene: Scene, rng: random.Random) -> str:
    """One caption for a scene; the wording depends on rng only."""
    text = _with_background(_core(scene, rng), scene.background, rng)
    if rng.random() < 0.15:
        text = f"{rng.choice(PREFIXES)} {text}"
    if rng.random() < 0.15:
        text += ", " + rng.choice(SUFFIXES)
    if rng.random() < 0.03:
        text = _with_unknown_word(text, rng)
    return text


def all_words() -> list[str]:
    """Every word the grammar can say; the tokenizer keeps each as one token."""
    phrases: list[str] = [*COLOURS, *KINDS, *PREFIXES, *SUFFIXES, *EXTRA_WORDS, JOINING_WORDS]
    for words in (*SYNONYMS.values(), *COLOUR_WORDS.values(), *SIZE_WORDS.values(), *PLACE_WORDS.values()):
        phrases.extend(words)
    for words in NUMBERS.values():
        phrases.extend(words)
    phrases.extend(pluralize(word) for kind in KINDS for word in kind_words(kind))
    return sorted({word for phrase in phrases for word in phrase.split()})


def _pick(rng: random.Random, words: Sequence[str]) -> str:
    return words[0] if rng.random() < 0.6 else rng.choice(words)


def _core(scene: Scene, rng: random.Random) -> str:
    if scene.count > 1:
        return f"{rng.choice(NUMBERS[scene.count])} {noun(rng, scene.things[0], plural=True)}"
    if scene.relation:
        return _pair(scene, rng)
    text = article(noun(rng, scene.things[0]))
    if scene.position:
        text += " " + rng.choice(POSITION_WORDS[scene.position])
    return text


def _pair(scene: Scene, rng: random.Random) -> str:
    first, second = scene.things
    if scene.relation == "beside" and rng.random() < 0.5:
        first, second = second, first
    before, after = article(noun(rng, first)), article(noun(rng, second))
    return f"{before} {rng.choice(RELATION_WORDS[scene.relation])} {after}"


def _with_background(core: str, background: str, rng: random.Random) -> str:
    if background == "white" and rng.random() < 0.5:
        return core
    phrase = background_phrase(rng, background)
    comma = "," if rng.random() < 0.2 else ""
    return f"{core}{comma} {phrase}"


def _with_unknown_word(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    place = rng.randrange(len(words))
    words.insert(place, "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 7))))
    return " ".join(words)
