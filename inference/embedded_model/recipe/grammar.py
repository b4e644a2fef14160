"""Read a caption of the grammar back: which things, where, before what.

The opposite of `captions.describe`, with the same tables. A prompt with any other word is refused, because
nobody could say whether its picture is right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from inference.embedded_model.recipe import captions
from inference.embedded_model.recipe.scenes import COLOURS, KINDS, NATURAL, PLACES, Thing


class NotInGrammar(ValueError):
    """The prompt says something that the grammar cannot."""

    def __init__(self, prompt: str) -> None:
        super().__init__(f"not a prompt of the grammar: {prompt!r}")
        self.prompt = prompt


@dataclass(frozen=True)
class AskedThing:
    """One thing of a prompt; the colour is the natural one where the prompt names none."""

    kind: str
    colour: str
    size_word: str = ""  # small, large or ""

    def __str__(self) -> str:
        return " ".join(word for word in (self.size_word, self.colour, self.kind) if word)

    @classmethod
    def of(cls, thing: Thing) -> AskedThing:
        """What a prompt can say of a scene's thing."""
        return cls(thing.kind, thing.colour, thing.size_word)


@dataclass(frozen=True)
class AskedScene:
    """What a prompt asks for: one thing, count equal things, or two things in a relation."""

    background: str
    things: tuple[AskedThing, ...]
    relation: str = ""
    count: int = 1
    position: str = ""


def parse(prompt: str) -> AskedScene:
    """The scene a prompt asks for; raises NotInGrammar."""
    text = _without_frame(" ".join(prompt.lower().replace(",", " , ").split()))
    core, background = _split_background(text)
    scene = _parse_count(core, background) or _parse_pair(core, background) or _parse_single(core, background)
    if scene is None:
        raise NotInGrammar(prompt)
    return scene


def _meanings(table: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Word to meaning, of a table that gives the words of each meaning."""
    return {word: meaning for meaning, words in table.items() for word in words}


def _one_of(words: Iterable[str]) -> str:
    """A pattern for any of the words; longer ones win over their beginnings."""
    return "|".join(re.escape(word) for word in sorted(set(words), key=len, reverse=True))


KIND_OF = _meanings({kind: captions.kind_words(kind) for kind in KINDS})
PLURAL_KIND_OF = {captions.pluralize(word): kind for word, kind in KIND_OF.items()}
COLOUR_OF = _meanings({colour: captions.colour_words(colour) for colour in COLOURS})
SIZE_OF = _meanings(captions.SIZE_WORDS)
PLACE_OF = _meanings({place: captions.PLACE_WORDS[place] for place in PLACES})
RELATION_OF = _meanings(captions.RELATION_WORDS)
POSITION_OF = _meanings(captions.POSITION_WORDS)
NUMBER_OF = {word: number for number, words in captions.NUMBERS.items() for word in words}

_LOOK = rf"(?:({_one_of(SIZE_OF)}) )?(?:({_one_of(COLOUR_OF)}) )?"
_THING = rf"an? {_LOOK}({_one_of(KIND_OF)})"
_PREFIX = re.compile(rf"(?:{_one_of(captions.PREFIXES)}) ")
_SUFFIX = re.compile(rf" , (?:{_one_of(captions.SUFFIXES)})$")
_PLACE = re.compile(rf"(.+?)(?: ,)? ({_one_of(PLACE_OF)})")
_PLAIN = re.compile(
    rf"(.+?)(?: ,)? (?:(?:on|against|with|over|in front of) an? ({_one_of(COLOUR_OF)}) background"
    rf"|on ({_one_of(COLOUR_OF)}))"
)
_COUNT = re.compile(rf"({_one_of(NUMBER_OF)}) {_LOOK}({_one_of(PLURAL_KIND_OF)})")
_PAIR = re.compile(rf"{_THING} ({_one_of(RELATION_OF)}) {_THING}")
_SINGLE = re.compile(rf"{_THING}(?: ({_one_of(POSITION_OF)}))?")


def _without_frame(text: str) -> str:
    text = _SUFFIX.sub("", text)
    prefix = _PREFIX.match(text)
    return text[prefix.end() :] if prefix else text


def _split_background(text: str) -> tuple[str, str]:
    """The things' part and the background's name; without a named one it is white."""
    if place := _PLACE.fullmatch(text):
        return place[1], PLACE_OF[place[2]]
    if plain := _PLAIN.fullmatch(text):
        return plain[1], COLOUR_OF[plain[2] or plain[3]]
    return text, "white"


def _thing(words: Sequence[str | None], kinds: Mapping[str, str]) -> AskedThing | None:
    size, colour, noun = words
    kind = kinds[noun or ""]
    if colour is None and kind not in NATURAL:
        return None
    return AskedThing(kind, COLOUR_OF[colour] if colour else NATURAL[kind], SIZE_OF[size] if size else "")


def _parse_count(core: str, background: str) -> AskedScene | None:
    match = _COUNT.fullmatch(core)
    thing = _thing(match.groups()[1:], PLURAL_KIND_OF) if match else None
    if match is None or thing is None:
        return None
    return AskedScene(background, (thing,), count=NUMBER_OF[match[1]])


def _parse_pair(core: str, background: str) -> AskedScene | None:
    match = _PAIR.fullmatch(core)
    if match is None:
        return None
    first, second = _thing(match.groups()[:3], KIND_OF), _thing(match.groups()[4:], KIND_OF)
    if first is None or second is None:
        return None
    return AskedScene(background, (first, second), relation=RELATION_OF[match[4]])


def _parse_single(core: str, background: str) -> AskedScene | None:
    match = _SINGLE.fullmatch(core)
    thing = _thing(match.groups()[:3], KIND_OF) if match else None
    if match is None or thing is None:
        return None
    return AskedScene(background, (thing,), position=POSITION_OF[match[4]] if match[4] else "")
