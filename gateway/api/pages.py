"""Django's own error answers: a problem for API addresses, a plain page for people; and the page of error codes."""

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render

from gateway.api import context, error_codes, errors, faces

SENTENCES = {
    400: "The request could not be understood.",
    403: "You may not see this page, or the form was open too long. Go back, reload and try again.",
    404: "There is no such page.",
    429: "That was too often. Please wait a minute and try again.",
    500: "Something went wrong on our side. Nothing you made is lost; please try again.",
}


def _answer(request: HttpRequest, status: int, error: Exception) -> HttpResponseBase:
    is_client = "Authorization" in request.headers or "json" in request.headers.get("Content-Type", "")
    if faces.find(request.path_info) or is_client:
        return errors.respond(request, error)
    return _page(request, status)


def _page(request: HttpRequest, status: int) -> HttpResponse:
    shown = {"status": status, "sentence": SENTENCES[status], "request_id": context.of(request).request_id}
    return render(request, "error.html", shown, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return _answer(request, 400, SuspiciousOperation())


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return _answer(request, 403, PermissionDenied())


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return _answer(request, 404, Http404())


def server_error(request: HttpRequest) -> HttpResponseBase:
    return _answer(request, 500, Exception("unhandled error outside a view"))


def too_many_calls(request: HttpRequest, retry_after_seconds: int) -> HttpResponse:
    response = _page(request, 429)
    response["Retry-After"] = str(retry_after_seconds)
    return response


def list_error_codes(request: HttpRequest) -> HttpResponse:
    """What every code means; the `type` of a problem points here."""
    return render(request, "errors.html", {"codes": error_codes.CODES})
