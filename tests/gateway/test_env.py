"""Readers of environment variables: what they take, and the sentence when they do not."""

from enum import StrEnum

import pytest
from django.core.exceptions import ImproperlyConfigured

from gateway import env

NAME = "ATELIER_TEST_VALUE"


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class TestText:
    @pytest.mark.parametrize("raw, value", [("x", "x"), (" x ", "x"), ("", "default"), ("  ", "default")])
    def test_is_stripped_and_may_have_a_default(
        self, monkeypatch: pytest.MonkeyPatch, raw: str, value: str
    ) -> None:
        monkeypatch.setenv(NAME, raw)

        assert env.text(NAME, "default") == value

    def test_that_is_unset_is_the_default(self) -> None:
        assert env.text(NAME, "default") == "default"


class TestInteger:
    @pytest.mark.parametrize("raw, value", [("5", 5), (" 5 ", 5), ("", 7), ("0", 0)])
    def test_is_a_whole_number(self, monkeypatch: pytest.MonkeyPatch, raw: str, value: int) -> None:
        monkeypatch.setenv(NAME, raw)

        assert env.integer(NAME, 7) == value

    @pytest.mark.parametrize("raw", ["x", "1.5", "5s", "-1", "1" * 5_000])
    def test_that_is_none_stops_the_start(self, monkeypatch: pytest.MonkeyPatch, raw: str) -> None:
        monkeypatch.setenv(NAME, raw)

        with pytest.raises(ImproperlyConfigured, match=NAME):
            env.integer(NAME, 7)

    def test_below_the_least_stops_the_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(NAME, "4")

        with pytest.raises(ImproperlyConfigured, match=f"{NAME} must be at least 5, not 4"):
            env.integer(NAME, 7, least=5)


class TestBoolean:
    @pytest.mark.parametrize("raw", ["1", "true", "YES", "On"])
    def test_true(self, monkeypatch: pytest.MonkeyPatch, raw: str) -> None:
        monkeypatch.setenv(NAME, raw)

        assert env.boolean(NAME, False) is True

    @pytest.mark.parametrize("raw", ["0", "false", "NO", "Off"])
    def test_false(self, monkeypatch: pytest.MonkeyPatch, raw: str) -> None:
        monkeypatch.setenv(NAME, raw)

        assert env.boolean(NAME, True) is False

    @pytest.mark.parametrize("default", [True, False])
    def test_unset(self, default: bool) -> None:
        assert env.boolean(NAME, default) is default

    def test_neither_stops_the_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(NAME, "perhaps")

        with pytest.raises(ImproperlyConfigured, match=f"{NAME} must be true or false, not 'perhaps'"):
            env.boolean(NAME, True)


class TestWords:
    @pytest.mark.parametrize(
        "raw, words", [("a,b", ["a", "b"]), (" a , ,b,", ["a", "b"]), ("", ["default"]), (" , ", ["default"])]
    )
    def test_are_separated_by_commas(
        self, monkeypatch: pytest.MonkeyPatch, raw: str, words: list[str]
    ) -> None:
        monkeypatch.setenv(NAME, raw)

        assert env.words(NAME, ("default",)) == words


class TestChoice:
    def test_is_a_member(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(NAME, "blue")

        assert env.choice(NAME, Colour, Colour.RED) is Colour.BLUE

    def test_that_is_unset_is_the_default(self) -> None:
        assert env.choice(NAME, Colour, Colour.RED) is Colour.RED

    def test_of_something_else_stops_the_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(NAME, "green")

        with pytest.raises(ImproperlyConfigured, match=f"{NAME} must be one of red, blue, not 'green'"):
            env.choice(NAME, Colour, Colour.RED)


class TestKeys:
    @pytest.mark.parametrize(
        "raw, keys",
        [
            ("", {"1": "default"}),
            ("secret", {"1": "secret"}),
            ("2:new,1:old", {"2": "new", "1": "old"}),
            ("a:with:colon", {"a": "with:colon"}),
        ],
    )
    def test_have_ids(self, monkeypatch: pytest.MonkeyPatch, raw: str, keys: dict[str, str]) -> None:
        monkeypatch.setenv(NAME, raw)

        assert env.keys(NAME, "default") == keys

    def test_keep_their_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(NAME, "9:new,1:old")

        assert next(iter(env.keys(NAME, "default"))) == "9"

    @pytest.mark.parametrize("raw", ["1:", "2:new,1:", ":"])
    def test_with_an_empty_secret_stop_the_start(self, monkeypatch: pytest.MonkeyPatch, raw: str) -> None:
        monkeypatch.setenv(NAME, raw)

        with pytest.raises(ImproperlyConfigured, match=NAME):
            env.keys(NAME, "default")

    def test_with_one_id_twice_stop_the_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Losing a pepper silently would lock out every key made under it."""
        monkeypatch.setenv(NAME, "1:new,1:old")

        with pytest.raises(ImproperlyConfigured, match=NAME):
            env.keys(NAME, "default")
