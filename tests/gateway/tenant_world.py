"""A workspace that has one of everything, and how to see whether somebody touched it.

`python -m tests.gateway.tenant_world NAME ...` furnishes workspaces where the fake model is, and prints them as JSON.
"""

import json
import os
import sys
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

import django
from django.apps import apps

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
    django.setup()

from accounts import api_keys, audit_seals, clock, ids, keyring
from accounts.key_terms import Terms
from accounts.models import (
    ApiKey,
    Entitlements,
    Membership,
    QuotaUnit,
    Scope,
    Side,
    Subject,
    Window,
    Workspace,
    WorkspaceKeyring,
)
from accounts.tenancy import WorkspaceOwned
from billing import ledger
from gateway import onboarding
from inference import jobs, prompts, quotas, storage
from inference.models import Job
from inference.prompts import TemplateText
from inference.requests import Caller, Delivery
from tests import factories

OF_A_SIDE = ("inference_job ", "inference_image ", "accounts_apikey ", "billing_")
WITH_WORKSPACE_AS_KEY = (WorkspaceKeyring, Entitlements)


@dataclass(frozen=True)
class World:
    """What a workspace's owner would use in calls. Spare things are for calls that end them."""

    name: str
    id: str
    key: str
    test_key: str
    spare_caller: str
    email: str
    member: str
    job: str
    queued_job: str
    image: str
    spare_image: str
    file: str
    file_query: str
    template: str
    quota: str
    spare_quota: str
    key_id: str
    spare_key: str
    rotatable_key: str
    leaked_key: str
    leaked_key_id: str
    idempotency_key: str
    end_user: str
    marks: list[str]  # nothing of this may stand in an answer to another workspace
    live_marks: list[str]  # nothing of this may stand in an answer to the test side

    @property
    def workspace_id(self) -> uuid.UUID:
        return uuid.UUID(self.id)


def furnish(name: str) -> World:
    """A workspace with at least one row in every table of a tenant; its owner's name is in all of its words."""
    workspace = onboarding.open_workspace(f"{name}'s studio", factories.user(f"{name}@example.com"))
    Entitlements.objects.create(workspace=workspace, requests_per_minute=60_000, polls_per_minute=60_000)
    ledger.grant(workspace.pk, 10_000, "promotional", f"grant:{workspace.pk}")
    member = Membership.objects.for_workspace(workspace).get()
    caller, test_caller, spare_caller, spare, rotatable, leaked = (
        _key(workspace, member, f"{name}'s {use}", Side.TEST if use == "test" else Side.LIVE)
        for use in ("key", "test", "spare caller", "spare", "rotatable", "leaked")
    )
    prompts.save(workspace.pk, f"{name}-style", TemplateText(preamble=f"as {name} likes it"))
    limits = [_limit(workspace, Subject.KEY, str(caller.key.pk)), _limit(workspace, Subject.WORKSPACE)]
    _limit(workspace, Subject.END_USER, keyring.of(workspace.pk).hash(name, keyring.Purpose.END_USER).digest)
    done = factories.run(_job(workspace, member, caller.key, name, f"{name}-once", num_images=3))
    queued = _job(workspace, member, caller.key, name)
    _job(workspace, member, test_caller.key, f"{name} testing")
    images = jobs.images_of(done)
    address = urlsplit(storage.signed_url(images[0], clock.now()))
    audit_seals.seal(workspace.pk, clock.now())
    return World(
        name=name,
        id=str(workspace.pk),
        key=caller.plain_text,
        test_key=test_caller.plain_text,
        spare_caller=spare_caller.plain_text,
        email=f"{name}@example.com",
        member=ids.public(ids.Prefix.MEMBERSHIP, member.pk),
        job=done.public_id,
        queued_job=queued.public_id,
        image=images[0].public_id,
        spare_image=images[1].public_id,
        file=address.path.removeprefix("/files/"),
        file_query=address.query,
        template=f"{name}-style",
        quota=ids.public(ids.Prefix.QUOTA, limits[0].id),
        spare_quota=ids.public(ids.Prefix.QUOTA, limits[1].id),
        key_id=api_keys.public_id(caller.key),
        spare_key=api_keys.public_id(spare.key),
        rotatable_key=api_keys.public_id(rotatable.key),
        leaked_key=leaked.plain_text,
        leaked_key_id=api_keys.public_id(leaked.key),
        idempotency_key=f"{name}-once",
        end_user=name,
        marks=[f"{name}'s", f"of {name}", f"as {name} likes it", f"{name}@", *_marks(workspace.pk)],
        live_marks=_live_marks(workspace.pk),
    )


def _key(workspace: Workspace, member: Membership, name: str, side: Side) -> api_keys.IssuedKey:
    terms = Terms(scopes=tuple(Scope))
    return api_keys.issue(workspace, name, side=side, membership=member, terms=terms)


def _limit(workspace: Workspace, subject: Subject, subject_id: str = "") -> Any:
    return quotas.set_limit(workspace.pk, subject, subject_id, QuotaUnit.IMAGES, Window.MONTH, 1_000_000)


def _job(
    workspace: Workspace,
    member: Membership,
    key: ApiKey,
    name: str,
    idempotency_key: str | None = None,
    **fields: Any,
) -> Job:
    caller = Caller(workspace.pk, Side(key.side), key, member, "native", f"req_{name}", end_user=name)
    delivery = Delivery(metadata=(("of", name),))
    request = factories.request(f"a red boat of {name}", **fields)
    return jobs.submit(caller, request, delivery, idempotency_key)


# --- What it has --------------------------------------------------------------------------------


def tables() -> list[type[WorkspaceOwned]]:
    """The tables whose rows name their workspace."""
    return [model for model in apps.get_models() if issubclass(model, WorkspaceOwned)]


def rows(workspace_id: uuid.UUID) -> Iterator[tuple[str, dict[str, Any]]]:
    """All that is stored of a workspace, as table and columns, in a steady order."""
    for model in tables():
        for row in model.objects.for_workspace(workspace_id).order_by("pk").values():
            yield model._meta.db_table, row
    for other in WITH_WORKSPACE_AS_KEY:
        for row in other._default_manager.filter(workspace_id=workspace_id).values():
            yield other._meta.db_table, row
    yield "accounts_workspace", Workspace.objects.filter(pk=workspace_id).values().get()


def state(workspace_id: uuid.UUID) -> list[str]:
    """Equal before and after, as long as nobody changed anything; when keys were used is no change."""
    return [f"{table} {row | {'last_used_at': None}}" for table, row in rows(workspace_id)]


def live_state(workspace_id: uuid.UUID) -> list[str]:
    """The same of the live side's jobs, pictures and keys."""
    return [
        line for line in state(workspace_id) if "'side': 'test'" not in line and line.startswith(OF_A_SIDE)
    ]


def _marks(workspace_id: uuid.UUID) -> list[str]:
    """All ids, as they are stored and as they are shown without their prefix, and the keys' public parts."""
    found = {workspace_id}
    for _, row in rows(workspace_id):
        found |= {value for name, value in row.items() if isinstance(value, uuid.UUID) and name == "id"}
    shown = [ids.public(ids.Prefix.JOB, one).partition("_")[2] for one in found]
    keys = ApiKey.objects.for_workspace(workspace_id).values_list("key_id", flat=True)
    return sorted([*map(str, found), *shown, *keys])


def _live_marks(workspace_id: uuid.UUID) -> list[str]:
    """Ids of what belongs to the live side."""
    live = [
        row["id"]
        for table, row in rows(workspace_id)
        if row.get("side") == Side.LIVE and isinstance(row["id"], uuid.UUID)
    ]
    images = [row["id"] for table, row in rows(workspace_id) if table == "inference_image"]
    return sorted(ids.public(ids.Prefix.JOB, one).partition("_")[2] for one in [*live, *images])


def main(names: list[str]) -> None:
    print(json.dumps([asdict(furnish(name)) for name in names]))


if __name__ == "__main__":
    main(sys.argv[1:])
