"""Disguises of a term, for tests: each is pure, and a reader of the result still sees the term."""

from collections.abc import Callable

Mutation = Callable[[str], str]

CYRILLIC = str.maketrans("aceiopsxyjhkmtABCEHIKMOPTXYS", "асеіорѕхујһкмтАВСЕНІКМОРТХУЅ")
GREEK = str.maketrans("aeiopuvABEHIKMNOPTXYZ", "αειορυνΑΒΕΗΙΚΜΝΟΡΤΧΥΖ")
SMALL_CAPITALS = str.maketrans("abcdeghijklmnoprstuvwyz", "ᴀʙᴄᴅᴇɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ")
LEET = str.maketrans("oieast", "013457")
SYMBOL_LEET = str.maketrans("ais", "@!$")


def _inside(term: str, mark: str) -> str:
    """The mark after every letter but the last of each word."""
    return " ".join(mark.join(word) for word in term.split(" "))


def _letters_from(term: str, lower: int, upper: int) -> str:
    """Each Latin letter replaced by its place in another alphabet that starts at these code points."""
    return "".join(
        chr(lower + ord(letter) - ord("a"))
        if "a" <= letter <= "z"
        else chr(upper + ord(letter) - ord("A"))
        if "A" <= letter <= "Z"
        else letter
        for letter in term
    )


def _after_first_letter(term: str, table: dict[int, int]) -> str:
    """A word all in digits would be read as a number, by people too; so the first letter stays."""
    return " ".join(word[:1] + word[1:].translate(table) for word in term.split(" "))


def upper(term: str) -> str:
    return term.upper()


def title(term: str) -> str:
    return term.title()


def mixed_case(term: str) -> str:
    return "".join(letter.upper() if place % 2 else letter for place, letter in enumerate(term))


def zero_width_space(term: str) -> str:
    return _inside(term, "\u200b")


def zero_width_joiner(term: str) -> str:
    return _inside(term, "\u200d")


def byte_order_mark(term: str) -> str:
    return _inside(term, "\ufeff")


def soft_hyphen(term: str) -> str:
    return _inside(term, "\u00ad")


def bidi_mark(term: str) -> str:
    return _inside(term, "\u202e")


def tag_characters(term: str) -> str:
    return _inside(term, "\U000e0061")


def variation_selectors(term: str) -> str:
    return _inside(term, "\ufe0f")


def hangul_filler(term: str) -> str:
    return _inside(term, "\u3164")


def control_characters(term: str) -> str:
    return _inside(term, "\x00")


def accents(term: str) -> str:
    return _inside(term, "\u0301")


def many_accents(term: str) -> str:
    return _inside(term, "\u0336\u0335\u0489")


def enclosing_marks(term: str) -> str:
    return _inside(term, "\u20dd")


def cyrillic(term: str) -> str:
    return term.translate(CYRILLIC)


def cyrillic_capitals(term: str) -> str:
    return term.upper().translate(CYRILLIC)


def greek(term: str) -> str:
    return term.translate(GREEK)


def greek_capitals(term: str) -> str:
    return term.upper().translate(GREEK)


def small_capitals(term: str) -> str:
    return term.translate(SMALL_CAPITALS)


def fullwidth(term: str) -> str:
    return _letters_from(term, 0xFF41, 0xFF21)


def math_bold(term: str) -> str:
    return _letters_from(term, 0x1D41A, 0x1D400)


def math_fraktur(term: str) -> str:
    return _letters_from(term, 0x1D586, 0x1D56C)


def circled(term: str) -> str:
    return _letters_from(term, 0x24D0, 0x24B6)


def squared(term: str) -> str:
    return _letters_from(term.upper(), 0, 0x1F170)


def flag_letters(term: str) -> str:
    return _letters_from(term.upper(), 0, 0x1F1E6)


def leet_digits(term: str) -> str:
    return _after_first_letter(term, LEET)


def leet_symbols(term: str) -> str:
    return _after_first_letter(term, SYMBOL_LEET)


def spaced(term: str) -> str:
    return " ".join(term.replace(" ", ""))


def widely_spaced(term: str) -> str:
    return "  ".join(term)


def dotted(term: str) -> str:
    return _inside(term, ".")


def dashed(term: str) -> str:
    return _inside(term, "-")


def underscored(term: str) -> str:
    return _inside(term, "_")


def emoji_between(term: str) -> str:
    return _inside(term, "\U0001f525")


def newlines(term: str) -> str:
    return _inside(term, "\n")


def broken_line(term: str) -> str:
    return " ".join(f"{word[:2]}\n{word[2:]}" for word in term.split(" "))


def cut_by_dot(term: str) -> str:
    return " ".join(f"{word[:2]}.{word[2:]}" for word in term.split(" "))


def joined(term: str) -> str:
    return term.replace(" ", "")


def doubled_letters(term: str) -> str:
    return "".join(letter if letter == " " else letter * 2 for letter in term)


def repeated_letters(term: str) -> str:
    return "".join(letter if letter == " " else letter * 4 for letter in term)


def trailing_punctuation(term: str) -> str:
    return f"{term}!!!..."


def in_brackets(term: str) -> str:
    return f"(({term}:1.4))"


def in_quotes(term: str) -> str:
    return f"«{term}»"


MUTATIONS: tuple[Mutation, ...] = (
    upper,
    title,
    mixed_case,
    zero_width_space,
    zero_width_joiner,
    byte_order_mark,
    soft_hyphen,
    bidi_mark,
    tag_characters,
    variation_selectors,
    hangul_filler,
    control_characters,
    accents,
    many_accents,
    enclosing_marks,
    cyrillic,
    cyrillic_capitals,
    greek,
    greek_capitals,
    small_capitals,
    fullwidth,
    math_bold,
    math_fraktur,
    circled,
    squared,
    flag_letters,
    leet_digits,
    leet_symbols,
    spaced,
    widely_spaced,
    dotted,
    dashed,
    underscored,
    emoji_between,
    newlines,
    broken_line,
    cut_by_dot,
    joined,
    doubled_letters,
    repeated_letters,
    trailing_punctuation,
    in_brackets,
    in_quotes,
)
