"""The web process: `uvicorn gateway.asgi:application --http h11 --ws none`. Never imports torch.

h11 limits the size of a request's head, which the faster parser does not; nothing here speaks WebSocket.
"""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
_django = get_asgi_application()

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # noqa: E402 - needs the set-up above
from django.core.exceptions import SuspiciousOperation  # noqa: E402
from django.http import FileResponse, Http404, HttpRequest, HttpResponse  # noqa: E402

from gateway import celery  # noqa: E402, F401 - makes it the current Celery application
from gateway.api.body_limit import BodyLimit  # noqa: E402


class StaticFiles(ASGIStaticFilesHandler):
    def serve(self, request: HttpRequest) -> HttpResponse | FileResponse:
        try:
            return super().serve(request)
        except SuspiciousOperation:
            raise Http404 from None  # a path that tries to leave the folder


application = BodyLimit(StaticFiles(_django))
