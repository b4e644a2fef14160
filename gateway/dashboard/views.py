"""The home page: balance, a curl line, the latest jobs. The dashboard proper grows from here."""

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts import clock, roles, tenancy, workspaces
from accounts.models import ApiKey, Membership, Side, User, Workspace
from accounts.roles import Action
from billing import ledger
from gateway.api import context
from inference import jobs, storage
from inference.models import Job
from inference.requests import Caller

LATEST, LATEST_KEYS = 12, 5


@login_required
def home(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, User)
    memberships = workspaces.memberships_of(request.user)
    if not memberships:
        return render(request, "dashboard/no_workspace.html")
    with tenancy.reading(memberships[0].workspace_id):
        return render(request, "dashboard/home.html", _home(request, memberships[0]))


def _home(request: HttpRequest, membership: Membership) -> dict[str, object]:
    workspace = membership.workspace
    who = Caller(
        workspace.pk,
        side=Side.LIVE,
        api_key=None,
        membership=membership,
        dialect="dashboard",
        request_id=context.of(request).request_id,
    )
    role = roles.Role(membership.role)
    latest = list(jobs.visible_to(who).order_by("-pk")[:LATEST])
    return {
        "workspace": workspace,
        "role": role,
        "balance": ledger.balance(workspace.pk) if roles.allows(role, Action.SEE_BALANCE) else None,
        "keys": _keys(workspace) if roles.allows(role, Action.MANAGE_KEYS) else None,
        "jobs": _tiles(latest),
        "public_url": settings.PUBLIC_URL,
    }


def _keys(workspace: Workspace) -> list[ApiKey]:
    keys = ApiKey.objects.for_workspace(workspace).filter(revoked_at__isnull=True)
    return list(keys.order_by("-created_at")[:LATEST_KEYS])


def _tiles(latest: list[Job]) -> list[dict[str, object]]:
    images, now = jobs.images_by_job(latest), clock.now()
    return [
        {"job": job, "url": storage.signed_url(images[job.pk][0], now) if images[job.pk] else ""}
        for job in latest
    ]
