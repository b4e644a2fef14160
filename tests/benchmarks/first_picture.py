"""`python -m tests.benchmarks.first_picture [--json]`: how long a newcomer waits, and how long a warm picture takes.

Measures, on this machine: the quickstart from its start to the first served picture; warm 256 px pictures through
`POST /api/v1/generations` with `Prefer: wait`; the same pipeline called directly in one process as the reference;
the ratio of the two; and the memory of a web process without torch.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.flows import processes

ROUNDS = 10
PROMPT = "a red house in the snow"
DIRECT = f"""
import json, os, time, torch
from diffusers import StableDiffusionPipeline
from inference import embedded_model
torch.set_num_threads(max(1, os.cpu_count() - 1))
pipeline = StableDiffusionPipeline.from_pretrained(embedded_model.FOLDER)
pipeline.set_progress_bar_config(disable=True)
def draw(seed):
    started = time.monotonic()
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        pipeline({PROMPT!r}, num_inference_steps=12, guidance_scale=4.0, generator=generator)
    return time.monotonic() - started
draw(0)
print(json.dumps([draw(seed) for seed in range({ROUNDS})]))
"""
WEB_MEMORY = """
import gateway.asgi
from django.urls import get_resolver
get_resolver().url_patterns
print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')][0])
"""


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        with processes.quickstart(Path(folder)) as server:
            server.wait_for("Serving until")
            first_seconds = time.monotonic() - started
            warm = _warm(server)
    direct = json.loads(_python(DIRECT))
    through_api, reference = statistics.median(warm), statistics.median(direct)
    return {
        "cores": os.cpu_count(),
        "start_to_first_picture_seconds": round(first_seconds, 1),
        "warm_picture_seconds": round(through_api, 3),
        "direct_pipeline_seconds": round(reference, 3),
        "ratio": round(through_api / reference, 2),
        "web_process_mb": round(int(_python(WEB_MEMORY)) / 1024),
    }


def _warm(server: processes.Server) -> list[float]:
    key = server.wait_for(r"atl_live_\w+")[0]
    seconds = []
    with server.client(key) as client:
        for seed in range(ROUNDS):
            started = time.monotonic()
            body = {"prompt": PROMPT, "seed": seed}
            job = client.post("/api/v1/generations", json=body, headers={"Prefer": "wait=60"}).json()
            client.get(job["images"][0]["url"]).raise_for_status()
            seconds.append(time.monotonic() - started)
    return seconds


def _python(script: str) -> str:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "gateway.settings"}
    run = [sys.executable, "-W", "ignore", "-c", script]
    return subprocess.run(
        run, capture_output=True, text=True, check=True, env=environment, cwd=processes.ROOT
    ).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    result = measure()
    if parser.parse_args().json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:32} {value}")


if __name__ == "__main__":
    main()
