"""The README's first command, as a real process with the real model."""

import io
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from PIL import Image, ImageChops

from inference.embedded_model.recipe import checker
from tests.flows import processes
from tests.flows.processes import Server

pytestmark = [pytest.mark.server, pytest.mark.engine]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with processes.quickstart(tmp_path_factory.mktemp("quickstart")) as started:
        started.wait_for("Serving until")
        yield started


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    return server.wait_for(r"atl_live_\w+")[0]


@pytest.fixture(scope="module")
def client(server: Server, key: str) -> openai.OpenAI:
    """The official client with only its address and key changed."""
    return openai.OpenAI(base_url=f"{server.base_url}/v1", api_key=key, max_retries=0)


def _picture(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


class TestQuickstart:
    def test_serves_a_first_picture(self, server: Server) -> None:
        picture = _picture((server.data_dir / "first-picture.png").read_bytes())

        assert checker.check("a red house in the snow", picture).passed

    def test_prints_what_a_newcomer_needs(self, server: Server) -> None:
        assert f"Dashboard  {server.base_url}/   demo@example.com   password " in server.output
        assert f"curl {server.base_url}/api/v1/generations" in server.output

    def test_refuses_a_second_process_on_its_folder(self, server: Server) -> None:
        with processes.quickstart(server.data_dir, "--once") as second:
            second.wait_for("Another quickstart is using")

    def test_draws_what_the_fixed_prompts_ask_for(self, server: Server, key: str) -> None:
        passed = []
        with server.client(key) as client:
            for seed, prompt in enumerate(checker.FIXED_PROMPTS):
                body = {"prompt": prompt, "seed": seed}
                job = client.post("/api/v1/generations", json=body, headers={"Prefer": "wait=30"}).json()
                picture = _picture(client.get(job["images"][0]["url"]).content)
                passed.append(checker.check(prompt, picture).passed)

        assert sum(passed) >= 9


class TestOpenAIClient:
    def test_gets_pictures_as_bytes(self, client: openai.OpenAI) -> None:
        answer = client.images.generate(prompt="a yellow sun in the sky", n=2, size="1024x1024")

        assert answer.data is not None
        assert [_picture(_decoded(datum)).size for datum in answer.data] == [(256, 256)] * 2
        assert answer.size == "256x256"

    def test_gets_pictures_as_addresses(self, client: openai.OpenAI, server: Server) -> None:
        answer = client.images.generate(prompt="a brown boat on the sea", response_format="url")

        assert answer.data is not None
        url = answer.data[0].url
        assert url is not None
        with server.client("some other key") as anybody:
            assert _picture(anybody.get(url).content).size == (256, 256)

    def test_gets_the_same_picture_for_the_same_seed(self, client: openai.OpenAI) -> None:
        first, second, other = (
            client.images.generate(prompt="a pink flower on the grass", extra_body={"seed": seed})
            for seed in (11, 11, 12)
        )

        one, two, three = (_picture(_decoded(answer.data[0])) for answer in (first, second, other))
        assert max(high for _, high in ImageChops.difference(one, two).getextrema()) <= 2
        assert max(high for _, high in ImageChops.difference(one, three).getextrema()) > 2

    def test_lists_models(self, client: openai.OpenAI) -> None:
        names = [model.id for model in client.models.list()]

        assert {"atelier-scenes", "gpt-image-1"} <= set(names)
        assert client.models.retrieve("atelier-scenes").owned_by == "atelier"

    def test_raises_its_own_errors_with_our_sentences(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError, match="refused by moderation") as blocked:
            client.images.generate(prompt="naked children")
        with pytest.raises(openai.NotFoundError, match="no model named 'nobody/none'"):
            client.images.generate(prompt="a boat", model="nobody/none")
        with pytest.raises(openai.AuthenticationError, match="Incorrect API key provided"):
            client.with_options(api_key="sk-of-another-service").models.list()

        assert blocked.value.code == "moderation_blocked"
        assert blocked.value.request_id


def _decoded(datum: openai.types.Image) -> bytes:
    import base64

    assert datum.b64_json is not None
    return base64.b64decode(datum.b64_json)


class TestStop:
    """Ctrl-C and SIGTERM, with a job running."""

    @pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
    def test_ends_quietly_and_gives_the_job_back(self, tmp_path: Path, stop: signal.Signals) -> None:
        with processes.quickstart(tmp_path) as server:
            server.wait_for("Serving until")
            key = server.wait_for(r"atl_live_\w+")[0]
            with server.client(key) as client:
                body = {"prompt": "a green tree", "num_images": 10, "num_inference_steps": 50}
                client.post("/api/v1/generations", json=body).raise_for_status()
            server.process.send_signal(stop)
            code = server.process.wait(timeout=30)

        assert (code, "Traceback" in server.output) == (0, False)
        assert "go on at the next start" in server.output
        assert "The ledger is clean." in processes.manage(tmp_path, "verify_ledger").stdout


class TestKill:
    """SIGKILL in the middle of a picture."""

    def test_finishes_the_job_once_and_charges_once(self, tmp_path: Path) -> None:
        with processes.quickstart(tmp_path) as first:
            first.wait_for("Serving until")
            key = first.wait_for(r"atl_live_\w+")[0]
            with first.client(key) as client:
                body = {"prompt": "a green tree", "num_images": 8, "num_inference_steps": 50}
                job_id = client.post("/api/v1/generations", json=body).json()["id"]
                self._wait_for_a_step(client, job_id)
            first.kill()

        with processes.quickstart(tmp_path) as second:
            second.wait_for("1 unfinished job")
            second.wait_for("Serving until")
            assert second.wait_for(r"atl_live_\w+")[0] == key
            with second.client(key) as client:
                job = processes.ended(client, job_id)
                balance = client.get("/api/v1/balance").json()

        assert job["state"] == "succeeded"
        assert len(job["images"]) == 8
        assert job["price"]["captured_credits"] == 8 * 20
        first_pictures = 2 * 20
        assert balance == {
            "available_credits": 100_000 - 8 * 20 - first_pictures,
            "held_credits": 0,
            "debt_credits": 0,
            "unfinished_jobs": 0,
        }
        assert "The ledger is clean." in processes.manage(tmp_path, "verify_ledger").stdout
        assert self._attempts(tmp_path, job_id) == 2

    def _wait_for_a_step(self, client: "processes.httpx.Client", job_id: str) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            job = client.get(f"/api/v1/jobs/{job_id}").json()
            if job["progress"] and job["progress"]["step"] > 3:
                return
        raise AssertionError(f"never saw a step: {job}")

    def _attempts(self, data_dir: Path, job_id: str) -> int:
        lines = [json.loads(line) for line in (data_dir / "atelier.log").read_text().splitlines()]
        (end,) = [line for line in lines if line["event"] == "job ended" and line["job_id"] == job_id]
        return int(end["attempt"])
