"""The table of vendor fields is what the serializer does: nothing is parsed and then not read."""

from typing import Any

import pytest
from openai.types.image_generate_params import ImageGenerateParamsNonStreaming, ImageGenerateParamsStreaming

from gateway.dialects.openai.serializers import FIELDS, GenerationSerializer, Treatment
from inference.requests import Delivery, GenerationRequest, InvalidRequest

BASE = {"prompt": "a red boat"}
# A value of each field that asks for something else than its default.
HONOURED: dict[str, Any] = {
    "prompt": "a blue boat",
    "model": "fake",
    "n": 2,
    "size": "128x64",
    "output_format": "webp",
    "output_compression": 40,
    "response_format": "url",
    "user": "u-1",
    "safety_identifier": "s-1",
}
OURS: dict[str, Any] = {
    "negative_prompt": "fog",
    "seed": 7,
    "num_inference_steps": 9,
    "guidance_scale": 2.5,
    "scheduler": "ddim",
    "prompt_template": "poster",
    "variables": {"style": "ink"},
    "metadata": {"order": "17"},
}
IGNORED = {
    "quality": ["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"],
    "style": ["vivid", "natural"],
    "moderation": ["auto", "low"],
}
REFUSED = {
    "background": ["transparent"],
    "stream": [True],
    "partial_images": [1, 3],
    "complexity": ["high"],
    "frame_count": [2],
    "frame_duration_ms": [100],
    "svg": [{}],
}
HARMLESS = [
    ("background", "auto"),
    ("background", "opaque"),
    ("stream", False),
    ("partial_images", 0),
    ("size", "auto"),
    ("n", 1),
    ("output_format", "png"),
    ("response_format", "b64_json"),
]
Read = tuple[GenerationRequest, Delivery, str]


def _read(**body: Any) -> Read:
    """All that a body can change."""
    serializer = GenerationSerializer(data={**BASE, **body})
    serializer.is_valid(raise_exception=True)
    return serializer.generation_request(), serializer.delivery(), serializer.end_user()


def _named(treatment: Treatment) -> set[str]:
    return {name for name, given in FIELDS.items() if given == treatment}


class TestTable:
    def test_names_every_field_of_the_official_client(self) -> None:
        vendors = {
            *ImageGenerateParamsNonStreaming.__annotations__,
            *ImageGenerateParamsStreaming.__annotations__,
        }

        assert vendors - set(FIELDS) == set()

    def test_is_tested_here_in_full(self) -> None:
        assert _named(Treatment.HONOURED) == set(HONOURED)
        assert _named(Treatment.IGNORED) == set(IGNORED)
        assert _named(Treatment.REFUSED) == set(REFUSED)

    def test_and_our_own_fields_are_all_that_is_parsed(self) -> None:
        parsed = set(GenerationSerializer().fields)

        assert parsed - set(FIELDS) == set(OURS)
        assert _named(Treatment.HONOURED) | _named(Treatment.IGNORED) <= parsed


class TestField:
    @pytest.mark.parametrize("name", [*HONOURED, *OURS])
    def test_that_is_honoured_changes_the_request(self, name: str) -> None:
        assert _read(**{name: (HONOURED | OURS)[name]}) != _read()

    @pytest.mark.parametrize("name, value", [(name, value) for name in IGNORED for value in IGNORED[name]])
    def test_that_is_ignored_changes_nothing(self, name: str, value: Any) -> None:
        assert _read(**{name: value}) == _read()

    @pytest.mark.parametrize("name, value", [(name, value) for name in REFUSED for value in REFUSED[name]])
    def test_that_is_refused_is_an_error(self, name: str, value: Any) -> None:
        serializer = GenerationSerializer(data={**BASE, name: value})

        assert not serializer.is_valid()
        assert list(serializer.errors) == [name]

    @pytest.mark.parametrize("name, value", HARMLESS)
    def test_that_asks_for_the_default_changes_nothing(self, name: str, value: Any) -> None:
        assert _read(**{name: value}) == _read()

    @pytest.mark.parametrize("name", [name for name in [*FIELDS, *OURS] if name != "prompt"])
    def test_that_is_null_is_absent(self, name: str) -> None:
        assert _read(**{name: None}) == _read()


class TestValue:
    def test_of_the_newer_end_user_field_wins(self) -> None:
        assert _read(user="old", safety_identifier="new")[2] == "new"

    @pytest.mark.parametrize("size, sides", [("512x512", (512, 512)), ("1x2", (1, 2)), ("007x8", (7, 8))])
    def test_of_a_size_is_two_sides(self, size: str, sides: tuple[int, int]) -> None:
        request, _, _ = _read(size=size)

        assert (request.width, request.height) == sides

    @pytest.mark.parametrize(
        "size",
        [
            "",
            "512",
            "512X512",
            "512x",
            "x512",
            "512x512x3",
            "-1x5",
            "1.5x2",
            " 512x512",
            "٥x٥",
            "large",
            "1x99999",
            "0x5",
        ],
    )
    def test_of_no_size_is_refused(self, size: str) -> None:
        with pytest.raises(InvalidRequest, match=r"size|width|height"):
            _read(size=size)

    @pytest.mark.parametrize("compression", [-1, -100, 101, 10**30])
    def test_of_a_compression_out_of_range_is_refused(self, compression: int) -> None:
        with pytest.raises(InvalidRequest):
            _read(output_compression=compression)

    @pytest.mark.parametrize("compression", [0, 1, 50, 100])
    def test_of_a_compression_in_range_is_taken(self, compression: int) -> None:
        assert _read(output_compression=compression)[0].output_quality == max(compression, 1)

    @pytest.mark.parametrize("truth", ["false", "off", "", 0, 1, []])
    def test_of_a_truth_is_true_or_false(self, truth: object) -> None:
        assert not GenerationSerializer(data={**BASE, "stream": truth}).is_valid()
