"""Views of the native API. Each makes one call into the domain."""

import re

from django.conf import settings
from django.http import Http404, HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import clock, ids, lookups, roles
from accounts.models import Scope, Side
from billing import ledger
from gateway.api import pagination, submission
from gateway.api.authentication import caller
from gateway.api.serializers import require_no_fields
from gateway.api.throttling import Kind
from gateway.api.views import TenantView
from gateway.api.waiting import Accepted, AcceptedResponse, json_response
from gateway.dialects.native.serializers import (
    BalanceSerializer,
    GenerationSerializer,
    ImageSerializer,
    JobPageSerializer,
    JobSerializer,
    ModelListSerializer,
    ModelSerializer,
    QuoteSerializer,
    TemplateListSerializer,
    TemplateSerializer,
    draw_job,
    draw_jobs,
    draw_quote,
    draw_template,
)
from inference import catalog, image_deletion, jobs, preparation, prompts
from inference.models import Image, Job, State
from inference.prompts import SavedTemplate
from inference.requests import InvalidRequest

DIALECT = "native"
WAIT = re.compile(r'wait(?:\s*=\s*"?([0-9]+)"?)?', re.IGNORECASE)


def wait_seconds(header: str) -> int:
    """Seconds of a `Prefer: wait=n` header (RFC 7240), 0 without one, never more than the server allows."""
    for preference in header.split(","):
        if match := WAIT.fullmatch(preference.partition(";")[0].strip()):
            asked = int(match[1][:9]) if match[1] else settings.MAX_WAIT_SECONDS
            return min(asked, settings.MAX_WAIT_SECONDS)
    return 0


class GenerationsView(TenantView):
    scope = Scope.IMAGES
    is_one_transaction = False

    @extend_schema(
        request=GenerationSerializer,
        responses={202: JobSerializer, 200: JobSerializer},
        parameters=[
            OpenApiParameter(
                "Prefer", str, "header", description="`wait=30` answers when the job has ended."
            ),
            OpenApiParameter(
                "Idempotency-Key", str, "header", description="Makes a retry safe for 24 hours."
            ),
        ],
    )
    def post(self, request: Request) -> Response:
        """Generate images: answers 202 with the queued job, or 200 with the ended one when it was waited for."""
        job = submission.submit(request, DIALECT, GenerationSerializer(data=request.data))
        return AcceptedResponse(Accepted(job, wait_seconds(request.headers.get("Prefer", "")), _drawn))


def _drawn(job: Job) -> HttpResponseBase:
    status = 200 if State(job.state).is_terminal else 202
    return json_response(draw_job(job, lookups.now()), status, {"Location": f"/api/v1/jobs/{job.public_id}"})


class QuoteView(TenantView):
    scope = Scope.IMAGES
    request_kind = Kind.POLL

    @extend_schema(request=GenerationSerializer, responses=QuoteSerializer)
    def post(self, request: Request) -> Response:
        """Price a request without making it."""
        body = GenerationSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return Response(draw_quote(preparation.prepare(caller(request, DIALECT), body.generation_request())))


class JobsView(TenantView):
    scope = Scope.JOBS

    @extend_schema(
        operation_id="jobs_list",
        responses=JobPageSerializer,
        parameters=[
            OpenApiParameter("limit", int, description="1 to 100, default 20."),
            OpenApiParameter("after", str, description="`next_after` of the previous page."),
            OpenApiParameter("state", str, enum=[str(state) for state in State]),
        ],
    )
    def get(self, request: Request) -> Response:
        """List jobs, newest first."""
        mine = jobs.visible_to(caller(request, DIALECT))
        if state := request.query_params.get("state"):
            if state not in State:
                raise InvalidRequest("state", f"must be one of {', '.join(State)}.")
            mine = mine.filter(state=state)
        page = pagination.newest_first(mine, request)
        return Response(
            {
                "data": draw_jobs(page.rows, clock.now()),
                "has_more": page.has_more,
                "next_after": page.rows[-1].public_id if page.has_more else None,
            }
        )


class JobView(TenantView):
    scope = Scope.JOBS
    is_one_transaction = False  # pictures may be read from the storage, which may take its time

    @extend_schema(responses=JobSerializer)
    def get(self, request: Request, job_id: str) -> Response:
        """One job, with its images when it succeeded."""
        job = jobs.get(caller(request, DIALECT), pagination.parse_id(ids.Prefix.JOB, job_id))
        return Response(draw_job(job, clock.now()))


class CancelView(TenantView):
    scope = Scope.JOBS
    is_one_transaction = False
    request_kind = Kind.POLL

    @extend_schema(request=None, responses=JobSerializer)
    def post(self, request: Request, job_id: str) -> Response:
        """Cancel a job: at once while queued, at the next step while it runs. An ended job stays as it is."""
        require_no_fields(request.data)
        job = jobs.cancel(caller(request, DIALECT), pagination.parse_id(ids.Prefix.JOB, job_id))
        return Response(draw_job(job, clock.now()))


class ImageView(TenantView):
    scope = Scope.IMAGES

    @extend_schema(responses=ImageSerializer)
    def get(self, request: Request, image_id: str) -> Response:
        """One image with a fresh address."""
        who = caller(request, DIALECT)
        rows = Image.objects.for_workspace(who.workspace_id).filter(job__in=jobs.visible_to(who).values("pk"))
        image = rows.filter(
            pk=pagination.parse_id(ids.Prefix.IMAGE, image_id), deleted_at__isnull=True
        ).first()
        if image is None:
            raise Http404
        return Response(ImageSerializer(image, context={"now": clock.now()}).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, image_id: str) -> Response:
        """Delete an image: it is hidden and its addresses stop opening at once, its bytes go soon after."""
        image_deletion.delete(caller(request, DIALECT), pagination.parse_id(ids.Prefix.IMAGE, image_id))
        return Response(status=204)


class ModelsView(TenantView):
    scope = Scope.IMAGES

    @extend_schema(responses=ModelListSerializer)
    def get(self, request: Request) -> Response:
        """The models you may use, with their sizes, limits and defaults."""
        return Response({"data": [ModelSerializer(version).data for version in catalog.available()]})


class TemplatesView(TenantView):
    scope = Scope.IMAGES

    @extend_schema(operation_id="prompt_templates_list", responses=TemplateListSerializer)
    def get(self, request: Request) -> Response:
        """The workspace's prompt templates in their latest versions."""
        saved = prompts.latest(caller(request, DIALECT).workspace_id)
        return Response({"data": [draw_template(template) for template in saved]})

    @extend_schema(request=TemplateSerializer, responses={201: TemplateSerializer})
    def post(self, request: Request) -> Response:
        """Save a template: a new name makes version 1, a known one its next version."""
        who = caller(request, DIALECT)
        roles.require(who.role, roles.Action.MANAGE_TEMPLATES)
        body = TemplateSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        name, text = body.validated_data["name"], body.template_text()

        def save() -> str:
            return str(prompts.save(who.workspace_id, name, text, who.origin).number)

        number, _ = submission.once(request, who, "prompt-templates", save)
        return Response(draw_template(SavedTemplate(name, int(number), text)), 201)


class BalanceView(TenantView):
    scope = Scope.BILLING

    @extend_schema(responses=BalanceSerializer)
    def get(self, request: Request) -> Response:
        """Credits of this side of the workspace."""
        who = caller(request, DIALECT)
        roles.require(who.role, roles.Action.SEE_BALANCE)
        return Response(BalanceSerializer(ledger.balance(who.workspace_id, Side(who.side))).data)
