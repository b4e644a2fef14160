"""The OpenAPI document of the native API and its pages, which load nothing from other hosts."""

from collections.abc import Callable
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.views import SpectacularRedocView, SpectacularSwaggerView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

Endpoint = tuple[str, str, str, Callable[..., Any]]
# Redoc's bundle names a logo on its maker's host; the policy keeps the browser from asking for it.
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline'; worker-src blob:; frame-ancestors 'none'"
)


def only_native(endpoints: list[Endpoint]) -> list[Endpoint]:
    """The dialects are documented by their vendors."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith("/api/v1/")]


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the document describes our API keys; found by drf-spectacular through its base class."""

    target_class = "gateway.api.authentication.ApiKeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key, `atl_live_...` or `atl_test_...`.",
        }


class OwnHostOnly(APIView):
    """A documentation page that the browser may not let load from elsewhere."""

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        final: Response = super().finalize_response(request, response, *args, **kwargs)
        final["Content-Security-Policy"] = PAGE_POLICY
        return final


class SwaggerView(OwnHostOnly, SpectacularSwaggerView):
    pass


class RedocView(OwnHostOnly, SpectacularRedocView):
    pass
