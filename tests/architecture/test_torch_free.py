"""The web process is small: it never imports torch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_RSS_KB = 160 * 1024
PROGRAM = """
import json, sys
import gateway.asgi
import django.urls
django.urls.get_resolver().url_patterns
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({"modules": sorted(sys.modules), "rss_kb": int(status["VmRSS"].split()[0])}))
"""


@pytest.fixture(scope="module")
def web_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process holds that has imported the web application and all its addresses."""
    environment = {**os.environ, "ATELIER_DATA_DIR": str(tmp_path_factory.mktemp("data"))}
    command = [sys.executable, "-c", PROGRAM]
    output = subprocess.check_output(command, cwd=ROOT, env=environment, timeout=60)
    told: dict[str, Any] = json.loads(output)
    return told


class TestWebProcess:
    @pytest.mark.parametrize("module", ["torch", "diffusers", "transformers", "numpy"])
    def test_never_imports_a_model_library(self, web_process: dict[str, Any], module: str) -> None:
        assert module not in web_process["modules"]

    def test_never_imports_an_engine_that_needs_one(self, web_process: dict[str, Any]) -> None:
        assert "inference.engine.diffusers" not in web_process["modules"]

    def test_is_small(self, web_process: dict[str, Any]) -> None:
        assert web_process["rss_kb"] < MAX_RSS_KB
