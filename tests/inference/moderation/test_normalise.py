import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.moderation.normalise import Vocabulary, fold, read, segment

VOCABULARY = Vocabulary.of(
    ["gore", "nude", "rape", "porn", "ass", "sex", "child", "bomb", "analysis", "boob", "killed"]
)

HOSTILE = {
    "one letter": "a" * 32_000,
    "single letters": "a " * 16_000,
    "a spelled word again and again": "g o r e " * 4_000,
    "dotted words without a blank": "g.o.r.e." * 4_000,
    "digits between letters": "1a" * 16_000,
    "one word again and again": "gore " * 6_400,
    "leet in one chunk": "p0rn!" * 6_400,
    "NULs": "\x00" * 32_000,
    "lone surrogates": "\ud800" * 32_000,
    "unordered accents": "a" + "\u0315\u0300" * 16_000,
    "a ligature of eighteen letters": "\ufdfa" * 32_000,
    "broken lines": "go\nre\n" * 5_300,
    "punctuation": "!" * 32_000,
    "emoji": "\U0001f525" * 32_000,
    "unassigned code points": "\U000e0fff" * 32_000,
}


def words(text: str) -> set[str]:
    return {reading.word for reading in read(text, VOCABULARY)}


class TestFold:
    @pytest.mark.parametrize(
        "text",
        [
            "GORE",
            "g\u200bo\u200dr\ufeffe",
            "g\u00adore",
            "\u202egore\u202c",
            "g\u0301o\u0336r\u20dde",
            "gоrе",
            "gοrε",
            "ｇｏｒｅ",
            "𝐠𝐨𝐫𝐞",
            "ⓖⓞⓡⓔ",
            "🅶🅾🆁🅴",
            "🇬🇴🇷🇪",
            "ɢᴏʀᴇ",
            "g\U000e0061ore",
            "g\ufe0fore",
            "go\x00re",
            "g\u3164ore",
        ],
    )
    def test_gives_the_plain_word(self, text: str) -> None:
        assert fold(text) == "gore"

    def test_tells_capital_look_alikes_from_small_ones(self) -> None:
        assert fold("ΗΝΡ ηνρ") == "hnp nvp"

    def test_keeps_line_breaks_and_numbers(self) -> None:
        assert fold("1 of 3\nparts") == "1 of 3\nparts"

    @given(st.text())
    def test_changes_nothing_the_second_time(self, text: str) -> None:
        once = fold(text)

        assert fold(once) == once

    @given(st.text(st.characters(blacklist_categories=())))
    def test_leaves_no_invisible_characters(self, text: str) -> None:
        rest = {letter for letter in fold(text) if letter not in "\t\n\v\f\r\x85"}

        assert not {unicodedata.category(letter)[0] for letter in rest} & {"C", "M"}


class TestRead:
    @pytest.mark.parametrize(
        "text",
        [
            "g o r e",
            "g.o.r.e",
            "g-o-r-e",
            "g_o_r_e",
            "g\no\nr\ne",
            "a g o r e",
            "go.re",
            "go_re",
            "go\nre",
            "g0re",
            "g.0.r.e",
            "g 0 r e",
            "goooore",
            "ggoorree",
            "(gore:1.4)",
            "gore!!!",
        ],
    )
    def test_finds_a_disguised_word(self, text: str) -> None:
        assert words(text) == {"gore"}

    @pytest.mark.parametrize(
        "text",
        [
            "Scunthorpe, Essex and Sussex",
            "grape, drape, therapist",
            "G R A P E S",
            "an assorted assembly in the classic class",
            "1 of 3, 455 mm, 50 years",
            "the colour #a55",
            "Gorey and Goremire",
            "or e",
        ],
    )
    def test_finds_nothing_inside_harmless_words(self, text: str) -> None:
        assert words(text) == set()

    def test_reads_a_number_as_a_word_only_next_to_a_letter(self) -> None:
        assert words("455 and a55") == {"ass"}

    def test_takes_one_doubled_letter_for_another_word(self) -> None:
        assert words("bob killled rapper") == {"killed"}

    def test_says_which_pieces_a_word_covers(self) -> None:
        (reading,) = read("in a room g o r e", VOCABULARY)

        assert (reading.start, reading.end) == (3, 7)

    def test_finds_several_words_spelled_in_one_row(self) -> None:
        assert words("n u d e c h i l d") == {"nude", "child"}

    @given(st.text(st.characters(blacklist_categories=())))
    def test_takes_any_text(self, text: str) -> None:
        read(text, VOCABULARY)

    @pytest.mark.parametrize("name", HOSTILE)
    def test_is_quick_with_hostile_text(self, name: str) -> None:
        started = time.perf_counter()

        read(HOSTILE[name], VOCABULARY)

        # Measured below 0.4 s; anything quadratic would take minutes, and a busy machine is slower.
        assert time.perf_counter() - started < 5


class TestSegment:
    def test_fills_the_whole_row_or_finds_nothing(self) -> None:
        assert segment("gorexyz", VOCABULARY) == []

    def test_skips_short_words_and_digits_between(self) -> None:
        found = segment("1agoreofnude", VOCABULARY)

        assert {reading.word for reading in found} == {"gore", "nude"}
