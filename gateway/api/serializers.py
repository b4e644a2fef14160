"""Serializer parts that all dialects build on: strict about types and names, because a silent guess costs credits."""

import sys
import unicodedata
from typing import Any

from rest_framework import serializers

# These turn the order of all that follows around, also of what stands beside the name.
BIDI_OVERRIDES = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields it does not know; null means absent, as official clients send it."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            data = {name: value for name, value in data.items() if value is not None}
            if unknown := sorted(str(name) for name in data if name not in self.fields):
                raise serializers.ValidationError(dict.fromkeys(unknown, "There is no such field."))
        return super().to_internal_value(data)


def require_no_fields(body: Any) -> None:
    """For a call that takes no body: whoever sends one wants something, and would not get it."""
    StrictSerializer(data=body).is_valid(raise_exception=True)


class Text(serializers.CharField):
    """A JSON string, kept as it is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_blank": True, "trim_whitespace": False, "required": False, **options})

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("Must be a string.")
        return super().to_internal_value(data)


class Name(Text):
    """What somebody calls a thing of theirs: lists and mails show it to others, so it is one visible line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_blank": False, "trim_whitespace": True, **options})

    def to_internal_value(self, data: Any) -> str:
        name = super().to_internal_value(data)
        if any(_is_control(letter) for letter in name):
            raise serializers.ValidationError("May hold no control characters.")
        if all(unicodedata.category(letter)[0] in "CZM" for letter in name):
            raise serializers.ValidationError("Must have a visible character.")
        return name


def _is_control(letter: str) -> bool:
    return letter in BIDI_OVERRIDES or unicodedata.category(letter) in ("Cc", "Zl", "Zp")


class Whole(serializers.IntegerField):
    """A JSON whole number; 5.0 passes, "5" and true do not."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"required": False, **options})

    def to_internal_value(self, data: Any) -> int:
        is_whole = isinstance(data, int) and not isinstance(data, bool)
        if not is_whole and not (isinstance(data, float) and data.is_integer()):
            raise serializers.ValidationError("Must be a whole number.")
        return super().to_internal_value(int(data))


class Number(serializers.FloatField):
    """A JSON number."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"required": False, **options})

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            raise serializers.ValidationError("Must be a number.")
        # A literal such as 1e999 is JSON, and Python reads it as infinity.
        if abs(data) > sys.float_info.max:
            raise serializers.ValidationError("Is too large.")
        return float(data)


class Truth(serializers.BooleanField):
    """A JSON true or false."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"required": False, **options})

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("Must be true or false.")
        return data


class TextMap(serializers.DictField):
    """A flat JSON object of strings, such as metadata or the variables of a template."""

    child = Text()

    def __init__(self, *, most: int, **options: Any) -> None:
        super().__init__(**{"required": False, **options})
        self.most = most

    def to_internal_value(self, data: Any) -> dict[str, str]:
        pairs: dict[str, str] = super().to_internal_value(data)
        for name in pairs:
            self.child.run_validation(name)
        if len(pairs) > self.most:
            raise serializers.ValidationError(f"May have at most {self.most} members.")
        if any(len(name) > 64 or len(value) > 2_000 for name, value in pairs.items()):
            raise serializers.ValidationError("Names may have at most 64 characters, values 2,000.")
        return pairs


def pairs(mapping: dict[str, str] | None) -> tuple[tuple[str, str], ...]:
    """A mapping in the hashable form that requests hold."""
    return tuple(sorted((mapping or {}).items()))
