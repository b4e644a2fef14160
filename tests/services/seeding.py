"""`python -m tests.services.seeding SPECS`: workspaces for tests on one fleet, each with credits and a key.

SPECS is JSON: a list of names with what differs from the defaults. Prints JSON, by name.
"""

import json
import os
import sys
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
django.setup()

from accounts import api_keys, clock, ids, workspaces  # noqa: E402
from accounts.key_terms import Terms  # noqa: E402
from accounts.models import Entitlements, Scope, User, Workspace  # noqa: E402
from billing import ledger  # noqa: E402
from gateway import onboarding  # noqa: E402
from tests import factories  # noqa: E402

DAYTIME = range(6, 18)
PLENTY = 10_000_000


def main(specs: list[dict[str, Any]]) -> None:
    owner = User.objects.filter(email="owner@example.com").first() or factories.user("owner@example.com")
    print(json.dumps({spec["name"]: _open(owner, **spec) for spec in specs}))


def _open(owner: User, name: str, credits: int = PLENTY, concurrent_jobs: int = 1_000_000) -> dict[str, str]:
    workspace = onboarding.open_workspace(name, owner)
    Workspace.objects.filter(pk=workspace.pk).update(time_zone=_where_it_is_day())
    Entitlements.objects.create(
        workspace=workspace,
        concurrent_jobs=concurrent_jobs,
        requests_per_minute=60_000_000,
        polls_per_minute=60_000_000,
    )
    ledger.grant(workspace.pk, credits, "promotional", f"seed:{workspace.pk}")
    membership = next(one for one in workspaces.memberships_of(owner) if one.workspace_id == workspace.pk)
    issued = api_keys.issue(workspace, name, membership=membership, terms=Terms(scopes=tuple(Scope)))
    return {
        "id": str(workspace.pk),
        "key": issued.plain_text,
        "key_id": api_keys.public_id(issued.key),
        "member_id": ids.public(ids.Prefix.MEMBERSHIP, membership.pk),
    }


def _where_it_is_day() -> str:
    """A zone whose day and month do not end while the tests run."""
    return "UTC" if clock.now().hour in DAYTIME else "Etc/GMT-12"


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
