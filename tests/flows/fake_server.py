"""`python -m tests.flows.fake_server PORT`: a real server with fake models and two workspaces."""

import json
import os
import sys

import django
import uvicorn

os.environ["DJANGO_SETTINGS_MODULE"] = "gateway.settings"
os.environ.setdefault("ATELIER_DEFAULT_MODEL", "fake")
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402

from accounts import api_keys  # noqa: E402
from accounts.models import Entitlements  # noqa: E402
from billing import ledger  # noqa: E402
from billing.models import Source  # noqa: E402
from gateway import onboarding  # noqa: E402
from inference.inprocess import Runtime  # noqa: E402
from tests import factories  # noqa: E402


def workspace_key(name: str, credits: int) -> str:
    workspace = onboarding.open_workspace(name, factories.user(f"{name}@example.com"))
    ledger.grant(workspace.pk, credits, Source.PACK, f"test:{name}", paid_minor_units=credits // 100)
    Entitlements.objects.create(workspace=workspace, polls_per_minute=1_000_000)
    return api_keys.issue(workspace, name).plain_text


def main(port: int) -> None:
    call_command("migrate", verbosity=0)
    factories.fake_model()
    factories.fake_model("slow", engine_options={"delay_seconds": 5.0}, default_steps=50)
    keys = {"rich": workspace_key("rich", 100_000), "poor": workspace_key("poor", 35)}
    connections.close_all()
    runtime = Runtime("fake-server")
    runtime.start()
    print(json.dumps(keys), flush=True)
    uvicorn.run(
        "gateway.asgi:application",
        port=port,
        log_config=None,
        lifespan="off",
        http="h11",
        ws="none",
        proxy_headers=False,
    )
    runtime.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]))
