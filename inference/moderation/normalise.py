"""Seeing through disguises: which known words does a text contain, however they are written?

For matching only. The text that is stored and drawn stays as the user wrote it.

A text is cut into pieces, unbroken runs of letters or of digits, counted from 0. `read` answers with every
reading that is a word of the vocabulary and the pieces it covers: "p.0.r.n" covers four pieces with one word.
A reading counts only as a whole word, so "Scunthorpe" and "grape" hold nothing. Every step is linear
in the length of the text.
"""

import re
import unicodedata
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple, Self

from inference.moderation.confusables import LATIN_FOR

PIECE = re.compile(r"[^\W\d_]+|\d+")
CHUNK = re.compile(r"\S+")
TRIPLE = re.compile(r"(.)\1\1")
LINE_BREAK = re.compile(r"[^\S ]")

# 1 stands for i or for l, so there are two tables. # begins a colour such as #a55, which is no word.
LEET_PIECE = re.compile(r"(?<!#)[a-z0-9@$!]+")
LEET_MARK = re.compile(r"[0134578@$!]")
LEET = (str.maketrans("0134578@$!", "oieastbasi"), str.maketrans("0134578@$!", "oleastbasl"))

LAYOUT = "\t\n\v\f\r\x85"
# Blank to a reader although Unicode files them under letters and symbols: Hangul fillers, empty braille.
BLANKS = "\u115f\u1160\u3164\uffa0\u2800"
ASCII_CONTROLS = {code: None for code in (*range(32), 127) if chr(code) not in LAYOUT}

# Short words that may stand between spelled-out ones: "a g o r e s c e n e".
GLUE = frozenset({"a", "i", "an", "in", "of", "on", "the", "and", "with"})


class Reading(NamedTuple):
    word: str
    start: int
    end: int


class Piece(NamedTuple):
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Vocabulary:
    """The words worth finding. All of them must be folded."""

    words: frozenset[str]
    squeezed: dict[str, list[str]]
    prefixes: frozenset[str]
    longest: int

    @classmethod
    def of(cls, words: Iterable[str]) -> Self:
        known = frozenset(words)
        squeezed: dict[str, list[str]] = defaultdict(list)
        for word in known:
            squeezed[squeeze(word)].append(word)
        prefixes = frozenset(word[:end] for word in known | GLUE for end in range(1, len(word) + 1))
        return cls(known, dict(squeezed), prefixes, max(map(len, known), default=0))


def fold(text: str) -> str:
    """One plain form for all ways to write a letter: small, bare of accents, Latin where it looks Latin."""
    if text.isascii():
        return text.translate(ASCII_CONTROLS).casefold()
    # Marks go first: normalize sorts a long row of them in quadratic time.
    unfolded = unicodedata.normalize("NFKD", _translate(text))
    return _translate(unfolded).casefold()


def _translate(text: str) -> str:
    return text.translate({ord(letter): _visible(letter) for letter in set(text)})


def _visible(letter: str) -> str | None:
    """The letter as a reader takes it; None where nothing, or only a mark on another letter, is seen."""
    if letter in BLANKS:
        return None
    if letter not in LAYOUT and unicodedata.category(letter)[0] in "CM":
        return None
    return LATIN_FOR.get(letter, letter)


def squeeze(word: str) -> str:
    return "".join(letter for letter, _ in groupby(word))


def pieces_of(folded: str) -> list[Piece]:
    return [Piece(found.group(), found.start(), found.end()) for found in PIECE.finditer(folded)]


def read(text: str, vocabulary: Vocabulary) -> set[Reading]:
    """Every vocabulary word the text contains, plain or disguised."""
    folded = fold(text)
    pieces = pieces_of(folded)
    return {
        *_plain(pieces, vocabulary),
        *_in_chunks(folded, pieces, vocabulary),
        *_across_lines(folded, pieces, vocabulary),
        *_spelled_out(pieces, vocabulary),
    }


def _plain(pieces: list[Piece], vocabulary: Vocabulary) -> Iterator[Reading]:
    for place, piece in enumerate(pieces):
        if piece.text in vocabulary.words:
            yield Reading(piece.text, place, place + 1)
        else:
            yield from (Reading(word, place, place + 1) for word in _stretched(piece.text, vocabulary))


def _stretched(piece: str, vocabulary: Vocabulary) -> list[str]:
    """Words written with letters held down: "goooore", "ggoorree".

    One doubled letter proves nothing ("rapping" is not another word held down), three in a row do.
    """
    has_triple = TRIPLE.search(piece) is not None
    if not has_triple and piece[:1] != piece[1:2]:  # squeezing every word would double the time of a check
        return []
    core = squeeze(piece)
    if not has_triple and len(piece) < 2 * len(core):
        return []
    candidates = vocabulary.squeezed.get(core, [])
    return [word for word in candidates if len(word) < len(piece) and _covers(piece, word)]


def _covers(piece: str, word: str) -> bool:
    """Whether no run of a letter is shorter than in the word: "asss" covers "ass", "aaas" does not."""
    runs = [len(list(run)) for _, run in groupby(piece)]
    wanted = [len(list(run)) for _, run in groupby(word)]
    return all(have >= need for have, need in zip(runs, wanted, strict=True))


def _in_chunks(folded: str, pieces: list[Piece], vocabulary: Vocabulary) -> Iterator[Reading]:
    """Words cut by punctuation ("go.re", "go_re") or with digits for letters, between two blanks."""
    starts = [piece.start for piece in pieces]
    for chunk in CHUNK.finditer(folded):
        if chunk.group().isalpha():
            continue
        first, last = bisect_left(starts, chunk.start()), bisect_left(starts, chunk.end())
        if last - first > 1:
            letters = "".join(piece.text for piece in pieces[first:last] if piece.text.isalpha())
            if letters in vocabulary.words:
                yield Reading(letters, first, last)
        if LEET_MARK.search(chunk.group()):
            for word, start, end in _leet(folded, chunk.start(), chunk.end(), vocabulary):
                yield Reading(word, bisect_left(starts, start), bisect_left(starts, end))


def _leet(folded: str, start: int, end: int, vocabulary: Vocabulary) -> Iterator[tuple[str, int, int]]:
    found = list(LEET_PIECE.finditer(folded, start, end))
    for match in found:
        for word in _leet_words(match.group(), vocabulary):
            yield word, match.start(), match.end()
    if len(found) > 1:
        for word in _leet_words("".join(match.group() for match in found), vocabulary):
            yield word, start, end


def _leet_words(text: str, vocabulary: Vocabulary) -> list[str]:
    """A number stays a number: only a group that also holds a letter can be a word."""
    bare = text.strip("!")
    if len(bare) > vocabulary.longest or not any(letter.isalpha() for letter in bare):
        return []
    # An exclamation mark at the end may stand for an i, and mostly does not.
    readings = {form.translate(table) for form in (text, bare) for table in LEET}
    return [word for word in readings if word in vocabulary.words]


def _across_lines(folded: str, pieces: list[Piece], vocabulary: Vocabulary) -> Iterator[Reading]:
    """A word with a line break or a tab inside. Plain spaces separate words for good."""
    if not LINE_BREAK.search(folded):
        return
    for place, (left, right) in enumerate(pairwise(pieces)):
        joined = left.text + right.text
        if joined in vocabulary.words and LINE_BREAK.search(folded, left.end, right.start):
            yield Reading(joined, place, place + 2)


def _spelled_out(pieces: list[Piece], vocabulary: Vocabulary) -> Iterator[Reading]:
    """Words written letter by letter: "g o r e", "g-o-r-e", "p 0 r n"."""
    for is_single, run in groupby(enumerate(pieces), key=lambda item: len(item[1].text) == 1):
        if not is_single:
            continue
        singles = list(run)
        offset = singles[0][0]
        for word, start, end in segment("".join(piece.text for _, piece in singles), vocabulary):
            yield Reading(word, offset + start, offset + end)


def segment(letters: str, vocabulary: Vocabulary) -> list[Reading]:
    """Vocabulary words in a row of single letters, where known and short words together fill the whole row.

    Taking any part would find words that nobody wrote, as in a lettered "G R A P E S". The price: a stray
    letter before or after a spelled-out word hides it.
    """
    size = len(letters)
    rows = {letters, *(letters.translate(table) for table in LEET)}
    steps: dict[int, list[tuple[int, str]]] = {}
    reached = {0}
    for start in range(size):
        if start in reached:
            steps[start] = list(_steps(letters, rows, start, vocabulary))
            reached.update(end for end, _ in steps[start])
    leads_to_end = {size}
    for start in reversed(steps):
        if any(end in leads_to_end for end, _ in steps[start]):
            leads_to_end.add(start)
    return [
        Reading(word, start, end)
        for start, ends in steps.items()
        for end, word in ends
        if word and end in leads_to_end
    ]


def _steps(
    letters: str, rows: Iterable[str], start: int, vocabulary: Vocabulary
) -> Iterator[tuple[int, str]]:
    """Where one may stand after a word or a short word; the word is empty for one that only fills."""
    if letters[start].isdigit():
        yield start + 1, ""
    for row in rows:
        for end in range(start + 1, len(row) + 1):
            part = row[start:end]
            if part not in vocabulary.prefixes:
                break
            if part in GLUE:
                yield end, ""
            if part in vocabulary.words and len(part) > 1:
                yield end, part
