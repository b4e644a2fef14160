"""Problems as application/problem+json (RFC 9457)."""

from django.http import HttpRequest, JsonResponse

from gateway.api import context
from gateway.api.problems import Problem


def draw_problem(problem: Problem, request: HttpRequest) -> JsonResponse:
    body = {
        "type": f"/api/docs/errors#{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "request_id": context.of(request).request_id,
        **problem.extra,
    }
    return JsonResponse(
        body, status=problem.status, content_type="application/problem+json", headers=problem.headers
    )
