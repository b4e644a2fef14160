"""The one table from domain errors to problems: status, code, title, and the sentence.

A dialect redraws the problem in its own shape (`dialects/<name>/errors.py`); what it means is decided here.
"""

import math
from collections.abc import Callable
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponseBase
from rest_framework import exceptions as drf
from rest_framework.response import Response

from accounts import (
    api_keys,
    ids,
    key_leaks,
    key_management,
    key_terms,
    key_text,
    lookups,
    periods,
    roles,
    workspaces,
)
from accounts.models import Window
from accounts.quotas import InvalidLimit, QuotaNotFound, QuotaState, TooManyQuotas
from billing import ledger, pricing, usage_reports
from gateway.api import context as request_context
from gateway.api import faces, guards
from gateway.api.authentication import LiveKeyNeeded, MissingKey, ScopeMissing
from gateway.api.problems import Problem
from gateway.api.throttling import RateLimited
from inference import catalog, idempotency, image_deletion, jobs, prompts, quotas, storage
from inference.models import Job
from inference.requests import InvalidRequest

log = structlog.get_logger(__name__)


MAX_FIELDS = 20  # wrong fields that one answer names
MAX_RETOLD = 200  # characters of a sentence that repeats what the caller sent


class WaitTimedOut(Exception):
    """A synchronous caller waited as long as it may; the job goes on."""

    def __init__(self, job: Job) -> None:
        self.job = job


class AnswerNotDrawn(Exception):
    """The job was accepted, and its answer cannot be made just now."""

    def __init__(self, job: Job) -> None:
        self.job = job


class JobDidNotSucceed(Exception):
    """A synchronous caller's job ended without pictures."""

    def __init__(self, job: Job) -> None:
        self.job = job


def _fixed(status: int, code: str, title: str, detail: str) -> Callable[[Any], Problem]:
    return lambda error: Problem(status, code, title, detail)


def _invalid(error: InvalidRequest) -> Problem:
    message = key_text.redact(error.message)
    detail = f"{error.field} {message}"
    return Problem(422, "invalid_request", "The request is not valid", detail, _field(error.field, message))


def _invalid_limit(error: InvalidLimit) -> Problem:
    return _invalid(InvalidRequest(error.field, error.message))


def _field(name: str, message: str) -> dict[str, Any]:
    return {"errors": [{"field": name, "message": message}]}


def _validation(error: drf.ValidationError) -> Problem:
    fields = [_brief(item) for item in _flatten(error.detail)[:MAX_FIELDS]]
    detail = "; ".join(
        f"{item['field']}: {item['message']}" if item["field"] else item["message"] for item in fields
    )
    return Problem(422, "invalid_request", "The request is not valid", detail, {"errors": fields})


def _brief(item: dict[str, str]) -> dict[str, str]:
    return {name: _retold(text) for name, text in item.items()}


def _retold(text: str) -> str:
    """What the caller sent may be long, and may be a key; what we say of it is neither."""
    text = key_text.redact(text)
    return text if len(text) <= MAX_RETOLD else text[:MAX_RETOLD] + "..."


def _flatten(detail: Any, path: str = "") -> list[dict[str, str]]:
    """DRF's nested error detail as a flat list of field and message."""
    if isinstance(detail, dict):
        joined = [(f"{path}.{name}" if path else str(name), part) for name, part in detail.items()]
        return [item for name, part in joined for item in _flatten(part, name)]
    if isinstance(detail, list):
        return [item for part in detail for item in _flatten(part, path)]
    return [{"field": path.removesuffix(".non_field_errors"), "message": str(detail)}]


def _insufficient(error: ledger.InsufficientCredit) -> Problem:
    numbers = {"required_credits": error.required, "available_credits": error.available}
    detail = f"This request costs {error.required} credits and the workspace has {error.available} available."
    return Problem(402, "insufficient_credit", "Not enough credit", detail, numbers)


def _concurrency(error: ledger.ConcurrencyLimitReached) -> Problem:
    detail = (
        f"The workspace has {error.limit} unfinished jobs, which is its limit. Try again when one has ended."
    )
    extra = {"limit": error.limit}
    return Problem(
        429, "concurrency_limit_reached", "Too many unfinished jobs", detail, extra, {"Retry-After": "2"}
    )


def _rate_limited(error: RateLimited) -> Problem:
    limit, seconds = error.standing.limit, error.standing.seconds_until_more
    who, calls = RATE_LIMITS[limit.policy]
    detail = (
        f"{who} may make {limit.per_minute:,} {calls} a minute, {limit.burst:,} of them at once. "
        f"Try again in {seconds} s."
    )
    extra = {"limit": limit.policy, "per_minute": limit.per_minute, "retry_after_seconds": seconds}
    return Problem(429, "rate_limited", "Too many calls", detail, extra, {"Retry-After": str(seconds)})


# By the name of its policy: whose limit it is, and of which calls.
RATE_LIMITS = {
    "key": ("This API key", "calls that make, change or delete something"),
    "workspace": ("The workspace", "calls that make, change or delete something"),
    "workspace-reads": ("The workspace", "calls that read, quote or cancel"),
}


def _refused_keys(error: guards.TooManyRefusedKeys) -> Problem:
    seconds = error.retry_after_seconds
    detail = (
        f"Your address sent more than {error.guard.per_minute} API keys in a minute that do not exist. "
        f"Check the key and try again in {seconds} s."
    )
    return Problem(
        429, "too_many_refused_keys", "Too many wrong keys", detail, headers={"Retry-After": str(seconds)}
    )


def _too_many_calls(error: guards.TooManyCalls) -> Problem:
    seconds = error.retry_after_seconds
    detail = (
        f"Without an API key this address may be called {error.guard.per_minute} times a minute. "
        f"Try again in {seconds} s."
    )
    return Problem(429, "too_many_calls", "Too many calls", detail, headers={"Retry-After": str(seconds)})


def _blocked(error: jobs.PromptBlocked) -> Problem:
    category = error.job.moderation_category
    detail = f"The prompt was refused by moderation (category: {category}). Nothing was charged."
    return Problem(
        422,
        "prompt_blocked",
        "The prompt was refused",
        detail,
        {"job_id": error.job.public_id, "category": category},
    )


def _quota(error: quotas.QuotaExceeded) -> Problem:
    state, limit = error.state, error.state.limit
    resets = state.resets_at.isoformat() if state.resets_at else None
    when = f"It starts anew at {resets}." if resets else "It never starts anew; an admin can raise it."
    detail = (
        f"The quota of this {str(limit.subject).replace('_', ' ')} is {limit.limit} {limit.unit} "
        f"({PER_WINDOW[limit.window]}); {state.used} are used, {error.requested} were asked for. {when}"
    )
    told = {
        "id": ids.public(ids.Prefix.QUOTA, limit.id),
        "subject": limit.subject,
        "unit": limit.unit,
        "window": limit.window,
        "limit": limit.limit,
        "used": state.used,
        "left": state.left,
        "requested": error.requested,
        "resets_at": resets,
    }
    return Problem(429, "quota_exceeded", "Quota used up", detail, {"quota": told}, _retry_at(state))


PER_WINDOW = {Window.DAY: "per day", Window.MONTH: "per month", Window.TOTAL: "in total"}


def _retry_at(state: QuotaState) -> dict[str, str]:
    """When a refused client may come back; nothing for a quota that never starts anew."""
    if state.resets_at is None:
        return {}
    seconds = (state.resets_at - lookups.now()).total_seconds()
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def _key_forbids(error: key_terms.KeyForbids) -> Problem:
    detail = f"This API key allows {error.allowed}. Use another key, or have one made with wider terms."
    return Problem(
        403,
        "key_forbids",
        "The API key may not do this",
        detail,
        _field(error.field, f"the key allows {error.allowed}"),
    )


def _report(error: usage_reports.TooManyRows) -> Problem:
    detail = (
        f"The report has more than {error.limit:,} rows. Ask for fewer days (`from`, `to`), group by less, "
        "or filter by `model`, `key`, `member` or `end_user`."
    )
    return Problem(422, "report_too_large", "The report is too large", detail, {"limit": error.limit})


def _time_zone_pending(error: workspaces.TimeZoneChangePending) -> Problem:
    extra = {"changeable_from": error.until.isoformat()}
    return Problem(409, "time_zone_change_pending", "The last change is not in force yet", str(error), extra)


def _scope(error: ScopeMissing) -> Problem:
    detail = f"The API key lacks the scope {error.scope}, which this address needs."
    return Problem(403, "scope_missing", "The API key may not do this", detail, {"scope": error.scope})


def _busy(error: Exception) -> Problem:
    detail = "The service cannot do this at present. Nothing was charged; please try again in a moment."
    return Problem(
        503, "temporarily_unavailable", "Temporarily unavailable", detail, headers={"Retry-After": "2"}
    )


def _timed_out(error: WaitTimedOut) -> Problem:
    detail = f"The job {error.job.public_id} is not finished yet and goes on; ask for it again with its id."
    return Problem(504, "wait_timed_out", "The picture takes longer", detail, {"job_id": error.job.public_id})


def _not_drawn(error: AnswerNotDrawn) -> Problem:
    job_id = error.job.public_id
    detail = (
        f"The job {job_id} was accepted, but its answer cannot be given just now. Ask for it with its id."
    )
    return Problem(503, "answer_unavailable", "The answer is not at hand", detail, {"job_id": job_id})


def _closing(error: workspaces.WorkspaceClosing) -> Problem:
    when = error.closing_at.isoformat()
    detail = f"{error} Until then it can be read, exported and reopened by its owner, but it accepts no jobs."
    return Problem(403, "workspace_closing", "The workspace is closing", detail, {"closing_at": when})


# How a failed job looks to somebody who waited for it. Faults of ours are 5xx, the request's own are 4xx.
STATUS_OF_JOB_CODE = {
    "pictures_blocked": 422,
    "blank_picture": 422,
    "canceled": 409,
    "deadline_exceeded": 504,
    "expired": 503,
    "model_unavailable": 503,
    "storage_unavailable": 503,
}


def of_job(job: Job) -> Problem:
    """The problem of a job that ended without pictures."""
    status = STATUS_OF_JOB_CODE.get(job.error_code, 500)
    charged = "Nothing was charged."
    if job.captured_credits:
        charged = f"{job.captured_credits} credits were charged for finished images; the job has them."
    detail = f"{job.error_message} {charged}"
    return Problem(status, job.error_code, "The job made no picture", detail, {"job_id": job.public_id})


def _http(error: drf.APIException) -> Problem:
    return Problem(error.status_code, str(error.default_code), "The request was refused", str(error.detail))


TABLE: dict[type[Exception], Callable[[Any], Problem]] = {
    # Who is calling
    MissingKey: _fixed(
        401, "missing_api_key", "No API key", "Send your API key in the Authorization header."
    ),
    api_keys.MalformedKey: _fixed(
        401,
        "malformed_api_key",
        "Not an API key",
        "This is not an Atelier API key, or it has a typing error.",
    ),
    api_keys.UnknownKey: _fixed(401, "unknown_api_key", "Unknown API key", "This API key does not exist."),
    api_keys.RevokedKey: _fixed(401, "revoked_api_key", "Revoked API key", "This API key was revoked."),
    api_keys.ExpiredKey: _fixed(401, "expired_api_key", "Expired API key", "This API key has expired."),
    api_keys.WorkspaceSuspended: _fixed(
        403,
        "workspace_suspended",
        "Workspace suspended",
        "This workspace is suspended; please contact support.",
    ),
    guards.TooManyRefusedKeys: _refused_keys,
    guards.TooManyCalls: _too_many_calls,
    RateLimited: _rate_limited,
    workspaces.WorkspaceClosing: _closing,
    workspaces.DeletionBegan: _fixed(
        409, "deletion_began", "Too late", "The workspace's date has come; its deletion has begun."
    ),
    ScopeMissing: _scope,
    LiveKeyNeeded: _fixed(
        403,
        "live_key_needed",
        "Not for a test key",
        "This concerns the whole workspace and needs a key of its live side.",
    ),
    key_terms.NetworkForbidden: _fixed(
        403,
        "network_forbidden",
        "Not from this address",
        "This API key may not be used from the address that the request came from.",
    ),
    key_terms.KeyForbids: _key_forbids,
    key_terms.BroaderThanGiver: lambda error: Problem(
        403, "broader_than_giver", "More than the calling key may", str(error), {"field": error.field}
    ),
    key_management.KeyOfAnotherMember: _fixed(
        403,
        "key_of_another_member",
        "Another member's key",
        "Its new text would let you act as that member. Revoke the key, or let its member replace it.",
    ),
    roles.RoleForbids: lambda error: Problem(403, "role_forbids", "The member may not do this", str(error)),
    # What is asked
    drf.ParseError: lambda error: Problem(400, "malformed_json", "The body is not JSON", str(error.detail)),
    drf.ValidationError: _validation,
    InvalidRequest: _invalid,
    InvalidLimit: _invalid_limit,
    key_leaks.TooManyKeys: lambda error: _invalid(InvalidRequest("key", str(error))),
    key_terms.InvalidTerms: lambda error: _invalid(InvalidRequest(error.field, error.message)),
    api_keys.NotRotatable: _fixed(
        409,
        "key_not_rotatable",
        "The key cannot be replaced",
        "The key has ended or was replaced already. Replace the last key of its lineage, or make a new one.",
    ),
    workspaces.LastOwner: _fixed(
        409,
        "last_owner",
        "The last owner",
        "A workspace needs an owner. Make another member its owner first.",
    ),
    TooManyQuotas: lambda error: Problem(
        409, "too_many_quotas", "Too many quotas", str(error), {"limit": error.most}
    ),
    periods.UnknownTimeZone: lambda error: _invalid(InvalidRequest("time_zone", str(error))),
    workspaces.TimeZoneChangePending: _time_zone_pending,
    SuspiciousOperation: _fixed(
        400, "malformed_request", "The request is malformed", "The request could not be understood."
    ),
    RequestDataTooBig: _fixed(
        413, "body_too_large", "The body is too large", "The request body is too large."
    ),
    catalog.ModelNotFound: lambda error: Problem(
        404,
        "model_not_found",
        "Unknown model",
        _retold(str(error)),
        _field("model", "There is no model of that name."),
    ),
    prompts.TemplateNotFound: lambda error: Problem(
        404,
        "prompt_template_not_found",
        "Unknown prompt template",
        _retold(str(error)),
        _field("prompt_template", "There is no prompt template of that name."),
    ),
    pricing.PriceNotFound: lambda error: Problem(
        503, "model_not_for_sale", "No price is published", str(error)
    ),
    jobs.PromptBlocked: _blocked,
    idempotency.IdempotencyKeyReused: _fixed(
        422,
        "idempotency_key_reused",
        "Idempotency key used again",
        "This idempotency key was used for another request in the last 24 hours.",
    ),
    usage_reports.TooManyRows: _report,
    # What it costs
    ledger.InsufficientCredit: _insufficient,
    ledger.ConcurrencyLimitReached: _concurrency,
    quotas.QuotaExceeded: _quota,
    # What is there
    key_management.KeyNotFound: _fixed(404, "not_found", "Not found", "There is no such thing here."),
    QuotaNotFound: _fixed(404, "not_found", "Not found", "There is no such thing here."),
    jobs.JobNotFound: _fixed(404, "not_found", "Not found", "There is no such thing here."),
    image_deletion.ImageNotFound: _fixed(404, "not_found", "Not found", "There is no such thing here."),
    Http404: _fixed(404, "not_found", "Not found", "There is no such thing here."),
    drf.NotFound: _fixed(404, "not_found", "Not found", "There is no such thing here."),
    drf.MethodNotAllowed: lambda error: Problem(
        405, "method_not_allowed", "Method not allowed", "This address does not take that method."
    ),
    drf.APIException: _http,
    PermissionDenied: _fixed(403, "forbidden", "Forbidden", "You may not do this."),
    # What is wrong with us
    OperationalError: _busy,
    InterfaceError: _busy,
    # How it ended
    WaitTimedOut: _timed_out,
    AnswerNotDrawn: _not_drawn,
    JobDidNotSucceed: lambda error: of_job(error.job),
    storage.StorageFailed: _fixed(
        503, "storage_unavailable", "Storage unavailable", "The picture cannot be read at present."
    ),
}
INTERNAL = Problem(
    500,
    "internal_error",
    "Something went wrong on our side",
    "Please try again; the request id helps us find it.",
)


def problem_of(error: Exception) -> Problem:
    """The problem for an exception, by its class or the nearest base in the table."""
    for kind in type(error).__mro__:
        if kind in TABLE:
            return TABLE[kind](error)
    return INTERNAL


def respond(request: HttpRequest, error: Exception) -> HttpResponseBase:
    """The caller's dialect's answer to an exception; a fault of ours is logged with its trace."""
    problem = problem_of(error)
    request_context.of(request).problem_code = problem.code
    if problem.status == 500 or problem.code == "temporarily_unavailable":
        log.error("request failed", code=problem.code, exc_info=error)
    response = faces.of(request).draw_problem(problem, request)
    if problem.status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="Atelier"'
    return response


def exception_handler(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's hook: the same answer as everywhere else. DRF only needs any response, so Django's will do."""
    return respond(context["request"]._request, error)  # type: ignore[return-value]
