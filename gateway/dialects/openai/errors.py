"""Problems in OpenAI's envelope: `{"error": {"message", "type", "param", "code"}}`.

Its client retries 408, 409, 429 and every 5xx unless `x-should-retry: false` says that another try cannot help.
"""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, JsonResponse

from gateway.api import context
from gateway.api.problems import Problem


@dataclass(frozen=True)
class Drawn:
    """How one of our codes looks to an OpenAI client."""

    status: int
    type: str
    code: str
    should_retry: bool | None = None  # None: by the status, as usual


INVALID = "invalid_request_error"
AUTHENTICATION = "authentication_error"
CODES: dict[str, Drawn] = {
    "missing_api_key": Drawn(401, AUTHENTICATION, "invalid_api_key"),
    "malformed_api_key": Drawn(401, AUTHENTICATION, "invalid_api_key"),
    "unknown_api_key": Drawn(401, AUTHENTICATION, "invalid_api_key"),
    "revoked_api_key": Drawn(401, AUTHENTICATION, "invalid_api_key"),
    "expired_api_key": Drawn(401, AUTHENTICATION, "invalid_api_key"),
    "invalid_request": Drawn(400, INVALID, "invalid_value"),
    "idempotency_key_reused": Drawn(422, INVALID, "idempotency_key_reused"),
    "model_not_found": Drawn(404, INVALID, "model_not_found"),
    "prompt_blocked": Drawn(400, "image_generation_user_error", "moderation_blocked"),
    "pictures_blocked": Drawn(400, "image_generation_user_error", "moderation_blocked"),
    "insufficient_credit": Drawn(429, "insufficient_quota", "insufficient_quota", should_retry=False),
    # It may be weeks until a quota starts anew, and the client's own pauses are seconds.
    "quota_exceeded": Drawn(429, "insufficient_quota", "insufficient_quota", should_retry=False),
    "concurrency_limit_reached": Drawn(429, "requests", "rate_limit_exceeded"),
    "rate_limited": Drawn(429, "requests", "rate_limit_exceeded"),
    # The same key will be refused again.
    "too_many_refused_keys": Drawn(429, "requests", "rate_limit_exceeded", should_retry=False),
    "canceled": Drawn(409, INVALID, "canceled", should_retry=False),
    # The job goes on: a resend would start a second one.
    "wait_timed_out": Drawn(504, "server_error", "wait_timed_out", should_retry=False),
    "answer_unavailable": Drawn(503, "server_error", "answer_unavailable", should_retry=False),
    "deadline_exceeded": Drawn(504, "server_error", "deadline_exceeded", should_retry=False),
    "model_unavailable": Drawn(503, "server_error", "model_unavailable", should_retry=False),
    "model_not_for_sale": Drawn(503, "server_error", "model_not_for_sale", should_retry=False),
    "invalid_picture": Drawn(500, "server_error", "invalid_picture", should_retry=False),
    "wrong_size": Drawn(500, "server_error", "wrong_size", should_retry=False),
    "blank_picture": Drawn(422, "image_generation_user_error", "blank_picture"),
}
TYPE_BY_STATUS = {
    400: INVALID,
    403: "permission_error",
    404: INVALID,
    413: "request_too_large",
    429: "requests",
}


def draw_problem(problem: Problem, request: HttpRequest) -> JsonResponse:
    default_type = TYPE_BY_STATUS.get(problem.status, "server_error" if problem.status >= 500 else INVALID)
    drawn = CODES.get(problem.code, Drawn(problem.status, default_type, problem.code))
    error: dict[str, Any] = {
        "message": _message(problem, drawn),
        "type": drawn.type,
        "param": _param(problem),
        "code": drawn.code,
        "request_id": context.of(request).request_id,
    }
    if drawn.code == "moderation_blocked":
        stage = "input" if problem.code == "prompt_blocked" else "output"
        categories = [problem.extra["category"]] if "category" in problem.extra else []
        error["moderation_details"] = {"moderation_stage": stage, "categories": categories}
    for name in ("job_id", "required_credits", "available_credits", "quota"):
        if name in problem.extra:
            error[name] = problem.extra[name]
    headers = dict(problem.headers)
    if drawn.should_retry is not None:
        headers["x-should-retry"] = str(drawn.should_retry).lower()
    return JsonResponse({"error": error}, status=drawn.status, headers=headers)


def _message(problem: Problem, drawn: Drawn) -> str:
    """The sentence, with fields in the vendor's words. Callers match the upstream's opening of a refused key."""
    if drawn.code == "invalid_api_key" and problem.code != "missing_api_key":
        return f"Incorrect API key provided. {problem.detail}"
    if wrong_fields := problem.code == "invalid_request" and problem.extra.get("errors"):
        wrong = [(_vendor_name(item["field"]), item["message"]) for item in wrong_fields]
        return "; ".join(f"{name}: {message}" if name else message for name, message in wrong)
    return problem.detail


def _param(problem: Problem) -> str | None:
    """The vendor's name of the first wrong field."""
    errors = problem.extra.get("errors") or [{}]
    return _vendor_name(errors[0].get("field", "")) or None


def _vendor_name(field: str) -> str:
    return VENDOR_NAMES.get(field, field)


# Canonical names that the vendor calls otherwise.
VENDOR_NAMES = {"num_images": "n", "width": "size", "height": "size", "output_quality": "output_compression"}
