"""Checking a finished picture and encoding it with its provenance.

Every encoded file carries the IPTC digital source type "trained algorithmic media" in XMP, so that any reader can
tell it was generated (https://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia).
"""

from io import BytesIO

from PIL import Image, ImageStat
from PIL.PngImagePlugin import PngInfo

from inference.requests import OutputFormat, ResolvedRequest

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE_TYPE}"
 xmp:CreatorTool="Atelier"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""
BLANK_SPREAD = 2  # of 255: a picture whose values all lie this close shows nothing


class PictureRejected(Exception):
    """The engine's picture must not be delivered or charged; `code` is the job's error code."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


def check(picture: Image.Image, request: ResolvedRequest) -> None:
    """Raise PictureRejected when the picture has the wrong size or shows nothing."""
    if picture.size != (request.width, request.height):
        asked = f"{request.width}x{request.height}"
        raise PictureRejected(
            "wrong_size", f"The model drew {picture.width}x{picture.height} instead of {asked}."
        )
    extrema = ImageStat.Stat(picture.convert("RGB")).extrema
    if all(high - low <= BLANK_SPREAD for low, high in extrema):
        raise PictureRejected("blank_picture", "The model drew a blank picture.")


def encode(picture: Image.Image, output_format: OutputFormat, quality: int) -> bytes:
    """File bytes in the format; `quality` (1..100) is for jpeg and webp."""
    buffer = BytesIO()
    match output_format:
        case OutputFormat.PNG:
            info = PngInfo()
            info.add_itxt("XML:com.adobe.xmp", XMP)
            # Level 1 is several times faster than the default and some percent larger.
            picture.save(buffer, "PNG", pnginfo=info, compress_level=1)
        case OutputFormat.JPEG:
            picture.convert("RGB").save(buffer, "JPEG", quality=quality, xmp=XMP.encode())
        case OutputFormat.WEBP:
            picture.save(buffer, "WEBP", quality=quality, method=2, xmp=XMP.encode())
    return buffer.getvalue()
