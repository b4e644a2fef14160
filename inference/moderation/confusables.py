"""Letters that look like Latin ones, after the idea of UTS #39 (Unicode security mechanisms).

Our own short table, because the maintained libraries carry the whole Unicode file of some 6,000 pairs. That
file maps digits to letters and "m" to "rn", which suits comparing two names and spoils reading a sentence.
Letters with a compatibility form (fullwidth, circled, mathematical) are left out, as NFKD unfolds them.
"""

# Upper and lower case stand apart: capital Greek Eta looks like H, the small one like n.
LOOK_ALIKES = {
    "a": "аɑαᴀɐәⲁ",
    "b": "ьвʙɓƀβⲃ",
    "c": "сᴄϲƈɔⅽⲥ",
    "d": "ԁᴅɗđðɖ",
    "e": "еєɛεᴇǝəɘⲉ",
    "f": "ƒꜰϝ",
    "g": "ɡɢԍɠցǥ",
    "h": "һнʜհħɦ",
    "i": "іıɪιɩɨⲓ",
    "j": "јᴊϳʝ",
    "k": "кκᴋƙⲕ",
    "l": "ӏʟłɭⅼƚ",
    "m": "мᴍɱⲙ",
    "n": "пηɴոɲƞղ",
    "o": "оοσᴏօøɵⲟ",
    "p": "рρᴘƥⲣ",
    "q": "ԛզʠ",
    "r": "гʀɾɽя",
    "s": "ѕꜱʂꮪ",
    "t": "тτᴛƭŧⲧ",
    "u": "υᴜսʋʉ",
    "v": "νᴠѵꮩ",
    "w": "ԝѡωшᴡɯ",
    "x": "хχⲭ",
    "y": "уγʏүƴⲩ",
    "z": "ᴢʐƶ",
    "A": "АΑᎪꓮ",
    "B": "ВΒᏴꓐ",
    "C": "СϹᏟꓚ",
    "D": "ᎠꓓĐ",
    "E": "ЕΕᎬꓰ",
    "F": "ꓝϜ",
    "G": "ᏀԌꓖ",
    "H": "НΗᎻꓧ",
    "I": "ІΙꓲӀ",
    "J": "ЈᎫꓙ",
    "K": "КΚᏦꓗ",
    "L": "Ꮮꓡ",
    "M": "МΜᎷꓟ",
    "N": "Νꓠ",
    "O": "ОΟՕꓳ",
    "P": "РΡᏢꓑ",
    "R": "ᎡᏒꓣ",
    "S": "ЅՏᏚꓢ",
    "T": "ТΤᎢꓔ",
    "U": "Սꓴ",
    "V": "Ꮩꓦ",
    "W": "ԜᎳꓪ",
    "X": "ХΧꓫ",
    "Y": "УΥҮꓬ",
    "Z": "ΖᏃꓜ",
    "ae": "æ",
    "oe": "œ",
}

# White on black and flag letters: symbols to Unicode, letters to a reader.
LETTER_RANGES = (0x1F150, 0x1F170, 0x1F1E6)


def _table() -> dict[str, str]:
    table = {look: latin for latin, looks in LOOK_ALIKES.items() for look in looks}
    for first in LETTER_RANGES:
        table.update({chr(first + place): chr(ord("a") + place) for place in range(26)})
    # The other case of a look-alike must not slip through where its own shape has no entry.
    for look, latin in list(table.items()):
        for other in (look.upper(), look.lower(), look.casefold()):
            if len(other) == 1:
                table.setdefault(other, latin)
    return table


LATIN_FOR = _table()
