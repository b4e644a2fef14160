"""Reading bodies as clients really send them."""

import codecs
import json
from collections.abc import Iterable
from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


class AnyTypeJSONParser(BaseParser):
    """JSON whatever the content type says; an empty body is an empty object; NaN and Infinity are refused."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> dict[str, Any]:
        raw = stream.read()
        try:
            body = json.loads(
                raw.removeprefix(codecs.BOM_UTF8).decode() or "{}", parse_constant=_refuse_constant
            )
        except (ValueError, RecursionError) as error:
            reason = str(error) if isinstance(error, json.JSONDecodeError) else "it is not valid UTF-8 JSON"
            raise ParseError(f"The body could not be read as JSON: {reason}.") from None
        if not isinstance(body, dict):
            raise ParseError("The body must be a JSON object.")
        return body


class IgnoreAccept(BaseContentNegotiation):
    """Clients ask for anything and expect their dialect's type: the first parser and renderer always serve."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser:
        return next(iter(parsers))

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        first = next(iter(renderers))
        return first, first.media_type
