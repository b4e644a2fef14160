"""`/files/<image>?expires=&signature=`: the bytes of a picture for whoever holds its signed address.

No key is needed and none is looked at: clients send their `Authorization` along, and it must not matter. Never a
redirect, because some clients follow none.
"""

from django.http import Http404, HttpRequest, HttpResponse
from rest_framework.exceptions import MethodNotAllowed

from accounts import clock, ids, tenancy
from gateway.api import threads
from gateway.api.threads import Pool
from inference import storage
from inference.models import Image


async def image(request: HttpRequest, public_id: str, extension: str) -> HttpResponse:
    return await threads.run(Pool.READ, _image, request, public_id, extension)


def _image(request: HttpRequest, public_id: str, extension: str) -> HttpResponse:
    if request.method not in ("GET", "HEAD"):
        raise MethodNotAllowed(request.method or "")
    expires, signature = request.GET.get("expires", ""), request.GET.get("signature", "")
    if not storage.is_signed(public_id, expires, signature, clock.now()):
        raise Http404
    # The signature says that whoever minted the address owned the picture.
    with tenancy.reading(tenancy.EVERY_WORKSPACE):
        rows = Image.objects.across_workspaces().filter(deleted_at__isnull=True)
        row = rows.filter(pk=ids.parse(ids.Prefix.IMAGE, public_id)).first()
    if row is None or row.content_type != f"image/{extension}":
        raise Http404
    response = HttpResponse(storage.read(row.storage_key), content_type=row.content_type)
    # A browser may show a deleted picture again for so long.
    response["Cache-Control"] = "private, max-age=60, immutable"
    response["Content-Disposition"] = f'inline; filename="{public_id}.{extension}"'
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Access-Control-Allow-Origin"] = "*"
    return response
