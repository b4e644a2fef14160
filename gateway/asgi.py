"""The web process: `uvicorn gateway.asgi:application --http h11 --ws none --no-proxy-headers`. Never imports torch.

h11 limits the size of a request's head, which the faster parser does not; nothing here speaks WebSocket. Who the
client is behind proxies is decided in `api/client_address.py`, so the server must leave the peer's address alone.
"""

import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
django.setup(set_prefix=False)

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # noqa: E402 - needs the set-up above
from django.core.exceptions import SuspiciousOperation  # noqa: E402
from django.core.handlers.asgi import ASGIHandler  # noqa: E402
from django.http import FileResponse, Http404, HttpRequest, HttpResponse  # noqa: E402

from gateway import celery  # noqa: E402, F401 - makes it the current Celery application
from gateway.api.body_limit import BodyLimit  # noqa: E402
from gateway.api.lifespan import Lifespan  # noqa: E402

# Below these all views are asynchronous; a test walks them.
API_PREFIXES = ("/api/v1/", "/v1/", "/files/", "/livez", "/readyz")


class Handler(ASGIHandler):
    """Django makes a thread for each request's synchronous code. Calls of the API use pools and need none."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith(API_PREFIXES):
            await self.handle(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class StaticFiles(ASGIStaticFilesHandler):
    def serve(self, request: HttpRequest) -> HttpResponse | FileResponse:
        try:
            return super().serve(request)
        except SuspiciousOperation:
            raise Http404 from None  # a path that tries to leave the folder


application = Lifespan(BodyLimit(StaticFiles(Handler())))
