from io import BytesIO

import pytest
from PIL import Image

from inference import pictures
from inference.pictures import DIGITAL_SOURCE_TYPE, PictureRejected
from inference.requests import OutputFormat
from tests.inference.steps import resolved

REQUEST = resolved(width=64, height=48)
FORMATS = list(OutputFormat)
LOSSY = [OutputFormat.JPEG, OutputFormat.WEBP]


def grey(low: int, high: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """All of the low value, but for one pixel of the high one."""
    picture = Image.new("RGB", size, (low, low, low))
    picture.putpixel((5, 5), (high, high, high))
    return picture


def gradient() -> Image.Image:
    return Image.merge("RGB", [Image.linear_gradient("L").resize((64, 48))] * 3)


def reopen(content: bytes) -> Image.Image:
    picture = Image.open(BytesIO(content))
    picture.load()
    return picture


class TestCheck:
    @pytest.mark.parametrize("low, high", [(0, 255), (0, 3), (100, 103)])
    def test_passes_what_shows_something(self, low: int, high: int) -> None:
        pictures.check(grey(low, high), REQUEST)

    def test_passes_a_spread_in_one_colour_only(self) -> None:
        picture = Image.new("RGB", (64, 48), (10, 10, 10))
        picture.putpixel((5, 5), (10, 10, 13))

        pictures.check(picture, REQUEST)

    @pytest.mark.parametrize("low, high", [(0, 0), (255, 255), (127, 129)])
    def test_rejects_a_blank_picture(self, low: int, high: int) -> None:
        with pytest.raises(PictureRejected) as rejected:
            pictures.check(grey(low, high), REQUEST)

        assert rejected.value.code == "blank_picture"

    @pytest.mark.parametrize("size", [(48, 64), (63, 48), (64, 49)])
    def test_rejects_a_wrong_size(self, size: tuple[int, int]) -> None:
        with pytest.raises(PictureRejected, match=f"{size[0]}x{size[1]} instead of 64x48") as rejected:
            pictures.check(grey(0, 255, size), REQUEST)

        assert rejected.value.code == "wrong_size"


class TestEncode:
    @pytest.mark.parametrize("output_format", FORMATS)
    def test_writes_the_format_in_the_right_size(self, output_format: OutputFormat) -> None:
        picture = reopen(pictures.encode(gradient(), output_format, 90))

        assert (picture.format, picture.size, picture.mode) == (output_format.upper(), (64, 48), "RGB")

    def test_loses_nothing_as_png(self) -> None:
        picture = reopen(pictures.encode(gradient(), OutputFormat.PNG, 1))

        assert picture.tobytes() == gradient().tobytes()

    @pytest.mark.parametrize("output_format", FORMATS)
    def test_says_that_the_picture_was_generated(self, output_format: OutputFormat) -> None:
        content = pictures.encode(gradient(), output_format, 90)

        assert f'DigitalSourceType="{DIGITAL_SOURCE_TYPE}"'.encode() in content

    @pytest.mark.parametrize("output_format", FORMATS)
    def test_gives_the_xmp_to_a_reader(self, output_format: OutputFormat) -> None:
        picture = reopen(pictures.encode(gradient(), output_format, 90))

        xmp = picture.info.get("xmp") or picture.info["XML:com.adobe.xmp"].encode()
        assert DIGITAL_SOURCE_TYPE.encode() in xmp

    @pytest.mark.parametrize("output_format", FORMATS)
    def test_adds_no_other_metadata(self, output_format: OutputFormat) -> None:
        picture = reopen(pictures.encode(gradient(), output_format, 90))

        others = {"exif", "icc_profile", "comment", "Software", "date:create", "dpi"}
        assert not others & picture.info.keys()

    @pytest.mark.parametrize("output_format", LOSSY)
    def test_writes_fewer_bytes_for_less_quality(self, output_format: OutputFormat) -> None:
        sizes = [len(pictures.encode(gradient(), output_format, quality)) for quality in (5, 60, 100)]

        assert sizes == sorted(set(sizes))

    @pytest.mark.parametrize("output_format", FORMATS)
    @pytest.mark.parametrize("quality", [1, 100])
    def test_takes_any_quality(self, output_format: OutputFormat, quality: int) -> None:
        assert reopen(pictures.encode(gradient(), output_format, quality)).size == (64, 48)

    @pytest.mark.parametrize("output_format", FORMATS)
    def test_writes_the_same_bytes_again(self, output_format: OutputFormat) -> None:
        once, again = (pictures.encode(gradient(), output_format, 90) for _ in range(2))

        assert once == again
