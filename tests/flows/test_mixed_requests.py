"""50 requests of all fates at once on a real server: afterwards every credit is where it belongs."""

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.flows import processes
from tests.flows.processes import Server

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with processes.fake_server(tmp_path_factory.mktemp("mixed")) as started:
        yield started


@pytest.fixture(scope="module")
def keys(server: Server) -> dict[str, str]:
    return processes.keys_of(server)


def _post(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    return client.post("/api/v1/generations", json=body)


class TestMixedRequests:
    def test_leave_a_clean_ledger(self, server: Server, keys: dict[str, str]) -> None:
        fates = ["good"] * 20 + ["blocked"] * 8 + ["poor"] * 8 + ["failing"] * 6 + ["canceled"] * 8
        random.Random(5).shuffle(fates)

        with ThreadPoolExecutor(8) as pool:
            outcomes = Counter(pool.map(lambda fate: self._live(server, keys, fate), fates))

        assert outcomes == {
            ("good", "succeeded"): 20,
            ("blocked", "prompt_blocked"): 8,
            ("poor", "succeeded"): 3,
            ("poor", "insufficient_credit"): 5,
            ("failing", "failed"): 6,
            ("canceled", "canceled"): 8,
        }
        checked = processes.manage(server.data_dir, "verify_ledger")
        assert checked.stdout.strip() == "The ledger is clean.", checked.stdout + checked.stderr

    def _live(self, server: Server, keys: dict[str, str], fate: str) -> tuple[str, str]:
        with server.client(keys["poor" if fate == "poor" else "rich"]) as client:
            body = {"prompt": "fail! a boat" if fate == "failing" else "a red boat"}
            if fate == "blocked":
                body["prompt"] = "naked children"
            if fate == "canceled":
                body["model"] = "slow"
            answer = _post(client, body)
            if answer.is_error:
                return fate, answer.json()["code"]
            job_id = answer.json()["id"]
            if fate == "canceled":
                client.post(f"/api/v1/jobs/{job_id}/cancel")
            return fate, processes.ended(client, job_id)["state"]


class TestWaiting:
    def test_answers_with_the_finished_job(self, server: Server, keys: dict[str, str]) -> None:
        with server.client(keys["rich"]) as client:
            answer = client.post(
                "/api/v1/generations", json={"prompt": "a boat"}, headers={"Prefer": "wait=20"}
            )

        assert answer.status_code == 200
        assert answer.json()["state"] == "succeeded"

    def test_answers_with_the_unfinished_job_when_time_is_up(
        self, server: Server, keys: dict[str, str]
    ) -> None:
        with server.client(keys["rich"]) as client:
            body = {"prompt": "a boat", "model": "slow"}
            answer = client.post("/api/v1/generations", json=body, headers={"Prefer": "wait=1"})
            client.post(f"/api/v1/jobs/{answer.json()['id']}/cancel")

        assert answer.status_code == 202
        assert answer.json()["state"] in ("queued", "processing")

    def test_goes_on_after_the_client_left(self, server: Server, keys: dict[str, str]) -> None:
        with server.client(keys["rich"]) as client:
            headers = {"Idempotency-Key": "left-early", "Prefer": "wait=30"}
            body = {"prompt": "a boat at sea", "model": "slow", "num_inference_steps": 10}
            with pytest.raises(httpx.ReadTimeout):
                client.post("/api/v1/generations", json=body, headers=headers, timeout=1)

            again = client.post("/api/v1/generations", json=body, headers=headers)

        assert again.json()["state"] == "succeeded"


class TestWire:
    """What only a real server shows."""

    @pytest.mark.parametrize("megabytes", [2, 5, 50])
    def test_refuses_a_large_body(self, server: Server, keys: dict[str, str], megabytes: int) -> None:
        with server.client(keys["rich"]) as client:
            answers = [client.post("/api/v1/quote", content=b" " * megabytes * 1_000_000) for _ in range(3)]

        assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {
            (413, "body_too_large")
        }
        assert "Exception in ASGI" not in server.output

    def test_refuses_a_body_sent_in_chunks_without_end(self, server: Server, keys: dict[str, str]) -> None:
        def chunks() -> Iterator[bytes]:
            for _ in range(64):
                yield b" " * 65_536

        with server.client(keys["rich"]) as client:
            answer = client.post("/api/v1/generations", content=chunks())

        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")

    def test_reads_a_body_sent_in_chunks(self, server: Server, keys: dict[str, str]) -> None:
        with server.client(keys["rich"]) as client:
            answer = client.post("/api/v1/quote", content=iter([b'{"prompt": ', b'"a boat"}']))

        assert answer.json()["total_credits"] == 10

    @pytest.mark.parametrize("path", ["/static/nope", "/static/%2e%2e/%2e%2e/manage.py", "/static/%00"])
    def test_knows_no_such_static_file(self, server: Server, path: str) -> None:
        assert httpx.get(server.base_url + path, trust_env=False).status_code == 404

    def test_speaks_no_websocket(self, server: Server) -> None:
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        headers = {**upgrade, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}

        answer = httpx.get(f"{server.base_url}/api/v1/jobs", headers=headers, trust_env=False)

        assert answer.status_code in (401, 403)

    def test_limits_the_head_of_a_request(self, server: Server) -> None:
        address, headers = f"{server.base_url}/livez", {"X-Big": "a" * 1_000_000}

        try:
            status = httpx.get(address, headers=headers, trust_env=False).status_code
        except httpx.NetworkError:  # it hung up before the head was sent
            status = 400

        assert status == 400

    @pytest.mark.parametrize("path", ["//v1/images/generations", "/images/generations"])
    def test_answers_a_client_that_missed_the_prefix_in_json(
        self, server: Server, keys: dict[str, str], path: str
    ) -> None:
        with server.client(keys["rich"]) as client:
            answer = client.post(server.base_url + path, json={"prompt": "a boat"})

        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
