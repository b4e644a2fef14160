"""Views of the OpenAI dialect."""

from django.conf import settings
from django.http import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import clock
from accounts.models import Scope
from gateway.api import submission
from gateway.api.errors import JobDidNotSucceed, WaitTimedOut
from gateway.api.views import TenantView
from gateway.api.waiting import Accepted, AcceptedResponse, json_response
from gateway.dialects.openai.serializers import GenerationSerializer, draw_images, draw_model
from inference import catalog
from inference.models import Job, State

DIALECT = "openai"


class GenerationsView(TenantView):
    """Always waits: to this client every 2xx means finished."""

    scope = Scope.IMAGES
    is_one_transaction = False

    def post(self, request: Request) -> Response:
        job = submission.submit(request, DIALECT, GenerationSerializer(data=request.data))
        return AcceptedResponse(Accepted(job, settings.MAX_WAIT_SECONDS, _drawn))


def _drawn(job: Job) -> HttpResponseBase:
    if not State(job.state).is_terminal:
        raise WaitTimedOut(job)
    if job.state != State.SUCCEEDED:
        raise JobDidNotSucceed(job)
    return json_response(draw_images(job, clock.now()))


class ModelsView(TenantView):
    def get(self, request: Request) -> Response:
        models = [
            draw_model(name, int(version.created_at.timestamp()))
            for version in catalog.available()
            for name in (version.model_id, *(row.alias for row in version.model.aliases.all()))
        ]
        return Response({"object": "list", "data": models})


class ModelView(TenantView):
    def get(self, request: Request, name: str) -> Response:
        version = catalog.resolve(name)
        return Response(draw_model(name, int(version.created_at.timestamp())))
