import pytest

from accounts import key_text


def made(key_id: str = "a" * 12, secret: str = "b" * 32, side: str = "live") -> str:
    body = f"atl_{side}_{key_id}_{secret}"
    return body + key_text.checksum(body)


KEY, OTHER = made(), made(key_id="c" * 12, side="test")


def found(text: str) -> list[str]:
    return [key_text.whole(match) for match in key_text.find_in(text)]


class TestParse:
    def test_gives_the_parts_of_a_key(self) -> None:
        match = key_text.parse(KEY)

        assert match is not None
        assert (match["side"], match["key_id"], match["prefix"]) == ("live", "a" * 12, KEY[:21])

    @pytest.mark.parametrize("place", range(key_text.LENGTH))
    def test_refuses_one_changed_letter_at_every_place(self, place: int) -> None:
        for letter in "0aZ_":
            changed = KEY[:place] + letter + KEY[place + 1 :]

            assert changed == KEY or key_text.parse(changed) is None

    @pytest.mark.parametrize("place", range(key_text.LENGTH - 1))
    def test_refuses_two_letters_that_changed_places(self, place: int) -> None:
        key = made("0123456789AB", "CDEFGHIJKLMNOPQRSTUVWXYZabcdefgh")

        swapped = key[:place] + key[place + 1] + key[place] + key[place + 2 :]

        assert swapped == key or key_text.parse(swapped) is None

    def test_knows_how_long_a_key_is(self) -> None:
        assert len(KEY) == len(OTHER) == key_text.LENGTH


class TestFindIn:
    @pytest.mark.parametrize(
        "text",
        [
            "{}",
            "export KEY={}\n",
            '{{"key":"{}"}}',
            "https://example.com/?k={}&x=1",
            "x{}x",
            "ключ{}",
            "\x00{}\x00",
        ],
    )
    def test_finds_a_key_whatever_surrounds_it(self, text: str) -> None:
        assert found(text.format(KEY)) == [KEY]

    def test_finds_keys_that_touch(self) -> None:
        assert found(KEY + OTHER + KEY) == [KEY, OTHER, KEY]

    def test_finds_a_key_that_begins_inside_of_what_resembles_one(self) -> None:
        lookalike = "atl_live_" + "x" * 12 + "_" + "y" * 35

        assert found(lookalike + KEY) == [KEY]

    def test_leaves_out_what_only_resembles_a_key(self) -> None:
        assert found(KEY[:-1] + ("0" if KEY[-1] != "0" else "1")) == []
        assert found("atl_live_" + "a" * 12 + "_" + "b" * 38) == []

    def test_finds_nothing_in_a_cut_key(self) -> None:
        assert found(KEY[:-1]) == found(KEY[1:]) == []

    def test_is_quick_on_a_long_text_of_beginnings(self) -> None:
        assert found("atl_live_" * 100_000) == []


class TestRedact:
    def test_keeps_the_public_part(self) -> None:
        assert key_text.redact(f"GET /keys/{KEY}?x") == f"GET /keys/{KEY[:21]}_...?x"

    @pytest.mark.parametrize("damaged", [KEY[:-1], KEY[:30], KEY + "xyz", KEY[:-1] + "0"])
    def test_hides_the_secret_of_a_damaged_key(self, damaged: str) -> None:
        assert "bbb" not in key_text.redact(damaged)

    def test_leaves_other_text_alone(self) -> None:
        assert key_text.redact("atl_live_ is how a key begins") == "atl_live_ is how a key begins"
