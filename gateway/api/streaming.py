"""Views whose answer is long: a synchronous part that admits the caller, then an asynchronous flow of bytes.

The synchronous part is an ordinary DRF view in the pool of `threads`; it answers with `StreamedResponse`. What flows
then asks that pool for each piece, so a slow client keeps neither a thread nor a connection.
"""

from collections.abc import AsyncIterator
from typing import Any

from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from rest_framework.response import Response

from gateway.api import threads
from gateway.api.threads import Pool, View
from gateway.api.views import TenantView


class StreamedResponse(Response):
    """What the synchronous part returns when the caller may have the pieces."""

    def __init__(self, pieces: AsyncIterator[bytes], content_type: str, filename: str) -> None:
        super().__init__({})
        self.pieces, self.type, self.filename = pieces, content_type, filename


def streaming(view_class: type[TenantView]) -> View:
    """The asynchronous view of a DRF view that may answer with StreamedResponse."""
    admit = view_class.as_synchronous_view()

    async def view(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase = await threads.run(Pool.READ, admit, request, **kwargs)
        if isinstance(response, StreamedResponse):
            headers = {
                "Content-Disposition": f'attachment; filename="{response.filename}"',
                "Cache-Control": "no-store",
            }
            return StreamingHttpResponse(response.pieces, content_type=response.type, headers=headers)
        return response.render() if isinstance(response, Response) else response

    return threads.of_class(view, view_class)
