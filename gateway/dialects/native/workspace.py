"""The workspace itself: its name and time zone, closing and reopening it, and its export."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import clock, ids, roles, tenancy, workspaces
from accounts.models import Scope, Workspace
from gateway import workspace_export
from gateway.api.authentication import ApiKeyAuthentication, caller, require_live
from gateway.api.serializers import Name, StrictSerializer, Text, require_no_fields
from gateway.api.streaming import StreamedResponse
from gateway.api.views import TenantView
from gateway.dialects.native.views import DIALECT
from inference.requests import Caller

NDJSON = "application/x-ndjson"


class WorkspaceSerializer(serializers.Serializer[Workspace]):
    id = serializers.SerializerMethodField()
    name = serializers.CharField()
    time_zone = serializers.CharField(help_text="Days and months of quotas and reports begin by it.")
    closing_at = serializers.DateTimeField(
        allow_null=True, help_text="When everything is deleted; until then `reopen` takes it back."
    )
    created_at = serializers.DateTimeField()

    def get_id(self, workspace: Workspace) -> str:
        return ids.public(ids.Prefix.WORKSPACE, workspace.pk)


class WorkspaceChangeSerializer(StrictSerializer):
    """What is absent stays as it is."""

    name = Name(max_length=80)
    time_zone = Text(
        allow_blank=False,
        max_length=64,
        help_text="A name with a region, such as Europe/Berlin, or UTC. In force once the periods end that run now.",
    )


class WorkspaceView(TenantView):
    scope = Scope.ADMIN

    @extend_schema(operation_id="workspace", responses=WorkspaceSerializer)
    def get(self, request: Request) -> Response:
        """The workspace of your key."""
        return Response(_drawn(caller(request, DIALECT)))

    @extend_schema(request=WorkspaceChangeSerializer, responses=WorkspaceSerializer)
    def patch(self, request: Request) -> Response:
        """Change the workspace's name or time zone."""
        who = _allowed(request, roles.Action.MANAGE_WORKSPACE)
        body = WorkspaceChangeSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        _change(who, body.validated_data)
        return Response(_drawn(who))


class CloseWorkspaceView(TenantView):
    scope = Scope.ADMIN

    @extend_schema(request=None, responses=WorkspaceSerializer)
    def post(self, request: Request) -> Response:
        """Close the workspace: it accepts no jobs, and in 30 days everything of it is deleted."""
        who = _allowed(request, roles.Action.CLOSE_WORKSPACE)
        require_no_fields(request.data)
        closed = workspaces.close(who.workspace_id, clock.now(), who.origin)
        return Response(WorkspaceSerializer(closed).data)


class ReopenWorkspaceView(TenantView):
    scope = Scope.ADMIN

    @extend_schema(request=None, responses=WorkspaceSerializer)
    def post(self, request: Request) -> Response:
        """Take the closing back, as long as its date has not come."""
        who = _allowed(request, roles.Action.CLOSE_WORKSPACE)
        require_no_fields(request.data)
        reopened = workspaces.reopen(who.workspace_id, clock.now(), who.origin)
        return Response(WorkspaceSerializer(reopened).data)


class ExportWorkspaceView(TenantView):
    scope = Scope.ADMIN
    http_method_names = ["get", "options"]  # a HEAD would be written down as an export that nobody got

    @extend_schema(operation_id="workspace_export", responses={(200, NDJSON): OpenApiTypes.STR})
    def get(self, request: Request) -> Response:
        """Everything of the workspace as JSON Lines; the last line's part is `end`, without it the answer is cut."""
        who = _allowed(request, roles.Action.EXPORT_WORKSPACE)
        workspace_export.begin(who.workspace_id, "ndjson", who.origin)
        pieces = workspace_export.stream(who.workspace_id, lambda: _still_allowed(request))
        name = f"{ids.public(ids.Prefix.WORKSPACE, who.workspace_id)}.jsonl"
        return StreamedResponse(pieces, NDJSON, name)


def _allowed(request: Request, action: roles.Action) -> Caller:
    require_live(request)
    who = caller(request, DIALECT)
    roles.require(who.role, action)
    return who


def _still_allowed(request: Request) -> None:
    """An export may take long, and a key that is revoked meanwhile must not read on."""
    _, request.auth = ApiKeyAuthentication().authenticate(request)
    _allowed(request, roles.Action.EXPORT_WORKSPACE)


def _change(who: Caller, fields: dict[str, Any]) -> None:
    with tenancy.writing(who.workspace_id) as now:
        if "name" in fields:
            workspaces.rename(who.workspace_id, fields["name"], who.origin)
        if "time_zone" in fields:
            row = Workspace.objects.get(pk=who.workspace_id)
            workspaces.set_time_zone(row, fields["time_zone"], now, who.origin)


def _drawn(who: Caller) -> dict[str, Any]:
    return dict(WorkspaceSerializer(Workspace.objects.get(pk=who.workspace_id)).data)
