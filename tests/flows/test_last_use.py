"""A web process that is stopped writes when its keys were last used."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.flows.processes import ROOT
from tests.services.web_process import web_process

pytestmark = pytest.mark.server

SEED = """
import django; django.setup()
from django.core.management import call_command
from accounts import api_keys
from gateway import onboarding
from tests import factories
call_command("migrate", verbosity=0)
workspace = onboarding.open_workspace("Studio", factories.user("alice@example.com"))
print(api_keys.issue(workspace, "one").plain_text)
"""
LOOK = """
import django; django.setup()
from accounts.models import ApiKey
print(ApiKey.objects.across_workspaces().get().last_used_at)
"""


class TestStoppedServer:
    def test_has_written_the_last_use(self, tmp_path: Path) -> None:
        environment = {"ATELIER_DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "gateway.settings"}

        def run(program: str) -> str:
            command = [sys.executable, "-c", program]
            return subprocess.check_output(command, cwd=ROOT, env=environment, text=True).strip()

        key = run(SEED)
        with web_process(environment) as web:
            headers = {"Authorization": f"Bearer {key}"}
            answer = httpx.get(f"{web.base_url}/api/v1/key", headers=headers, trust_env=False, timeout=60)
            before = run(LOOK)

        assert (answer.status_code, before) == (200, "None")
        assert run(LOOK).startswith("20")
