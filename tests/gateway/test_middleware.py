"""Around every request: its id, its log line, and which cookies mean nothing."""

import json
import logging
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from tests import factories
from tests.gateway import wire

ADDRESSES = [
    "/api/v1/models",
    "/api/v1/nothing",
    "/v1/models",
    "/v1/nothing",
    "/files/x",
    "/livez",
    "/nothing",
]


class TestRequestId:
    @pytest.mark.parametrize("given", ["order-17", "a", "A.b:c_d-9", "x" * 80])
    def test_that_is_given_comes_back(self, client: Client, given: str) -> None:
        response = client.get("/api/v1/models", headers={"X-Request-Id": given})

        assert (response["X-Request-Id"], response.json()["request_id"]) == (given, given)

    @pytest.mark.parametrize(
        "given", ["", " ", "x" * 81, "a b", "a\nb", "<script>", "é", '"', "a/b", "{{7*7}}", "a\x00b", "١"]
    )
    def test_that_is_hostile_is_replaced(self, client: Client, given: str) -> None:
        response = client.get("/api/v1/models", headers={"X-Request-Id": given})

        assert response["X-Request-Id"].startswith("req_")

    def test_that_is_a_key_is_replaced(
        self, client: Client, key: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        for given in (key, f"a.{key}", key[:-1]):
            response = client.get("/api/v1/models", headers={"X-Request-Id": given})

            assert response["X-Request-Id"].startswith("req_")
        assert key[22:54] not in caplog.text

    def test_is_new_for_every_request(self, client: Client) -> None:
        first, second = (client.get("/livez")["X-Request-Id"] for _ in range(2))

        assert first != second

    @pytest.mark.parametrize("address", ADDRESSES)
    def test_is_on_every_answer(self, client: Client, db: None, address: str) -> None:
        assert client.get(address)["X-Request-Id"].startswith("req_")

    @pytest.mark.parametrize("address", ADDRESSES)
    def test_comes_with_nosniff(self, client: Client, db: None, address: str) -> None:
        assert client.get(address)["X-Content-Type-Options"] == "nosniff"

    def test_is_that_of_the_job(self, api: Client) -> None:
        response = wire.post(api, prompt="a boat", headers={"X-Request-Id": "order-17"})

        assert response.json()["request_id"] == "order-17"


class TestCookie:
    @pytest.mark.parametrize("path", ["/api/v1/models", "/api/v1/jobs", "/api/v1/key", "/api/v1/balance"])
    def test_of_a_signed_in_person_opens_no_address(
        self, client: Client, alice: User, workspace: Any, path: str
    ) -> None:
        client.force_login(alice)

        wire.assert_is_problem(client.get(path), 401, "missing_api_key")

    def test_makes_no_picture(self, client: Client, alice: User, workspace: Any, model: Any) -> None:
        client.force_login(alice)

        wire.assert_is_problem(wire.post(client, prompt="a boat"), 401, "missing_api_key")
        wire.assert_nothing_was_charged(workspace)

    def test_does_not_stand_in_the_way_of_a_key(self, api: Client, alice: User) -> None:
        api.force_login(alice)

        assert wire.post(api, prompt="a boat").status_code == 202

    def test_is_never_set_by_an_api_address(self, api: Client, alice: User) -> None:
        assert not wire.post(api, prompt="a boat").cookies
        assert not api.get("/api/docs").cookies


class TestLog:
    def _events(self, caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, Any]]:
        messages = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
        return [message for message in messages if message["event"] == name]

    def test_has_one_line_for_a_request(self, api: Client, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)

        response = api.get("/api/v1/models")

        (line,) = self._events(caplog, "request")
        assert (line["method"], line["path"], line["status"]) == ("GET", "/api/v1/models", 200)
        assert (line["face"], line["code"], line["request_id"]) == ("native", None, response["X-Request-Id"])

    def test_names_key_and_workspace(
        self, api: Client, key: str, workspace: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)

        api.get("/api/v1/models")

        (line,) = self._events(caplog, "request")
        assert (line["key_id"], line["workspace_id"]) == (key[9:21], str(workspace.pk))

    def test_names_the_code_of_an_error(self, client: Client, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)

        client.get("/v1/models")

        (line,) = self._events(caplog, "request")
        assert (line["face"], line["status"], line["code"]) == ("openai", 401, "missing_api_key")

    def test_is_quiet_about_probes(self, client: Client, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)

        client.get("/livez")

        assert self._events(caplog, "request") == []

    def test_holds_no_prompt_no_key_and_no_signature(
        self, api: Client, client: Client, key: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        caplog.set_level(logging.INFO, "django.db.backends")

        job = wire.finished(api, "a verysecret boat", negative_prompt="hiddenfog", user="end-user-77")
        client.get(job["images"][0]["url"])

        signature = job["images"][0]["url"].partition("signature=")[2]
        _assert_absent(caplog, "verysecret", "hiddenfog", "end-user-77", key, key[22:], signature)

    @pytest.mark.parametrize("word", ["fail!", "blank!", "invalid!"])
    def test_holds_no_prompt_of_a_failed_job(
        self, api: Client, caplog: pytest.LogCaptureFixture, word: str
    ) -> None:
        wire.finished(api, f"a verysecret {word} boat")

        _assert_absent(caplog, "verysecret")

    @pytest.mark.parametrize(
        "body",
        [
            '{"prompt": "a verysecret boat", "width": 1e400}',
            '{"prompt": "a verysecret boat", "width": "x"}',
            '{"prompt": "a verysecret boat"',
            '{"prompt": "a verysecret \\ud800 boat"}',
        ],
    )
    def test_holds_no_prompt_of_a_refused_request(
        self, api: Client, caplog: pytest.LogCaptureFixture, body: str
    ) -> None:
        api.post(wire.GENERATIONS, body, content_type="application/json")

        _assert_absent(caplog, "verysecret")

    def test_holds_no_key_that_was_refused(self, client: Client, caplog: pytest.LogCaptureFixture) -> None:
        text = "sk-proj-1234567890-of-another-service"

        client.get("/api/v1/models", headers={"Authorization": f"Bearer {text}"})

        _assert_absent(caplog, text)

    def test_tells_a_job_by_the_hash_of_its_prompt(
        self, api: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)

        job = wire.generate(api)
        factories.drain()

        (line,) = self._events(caplog, "job ended")
        assert (line["job_id"], line["outcome"], line["credits"]) == (job["id"], "succeeded", 10)
        assert len(line["prompt_hash"]) == 64


def _assert_absent(caplog: pytest.LogCaptureFixture, *secrets: str) -> None:
    lines = [json.dumps(record.msg, default=str) + record.getMessage() for record in caplog.records]
    traces = [
        str(record.exc_info and record.exc_info[1]) + (record.exc_text or "") for record in caplog.records
    ]
    text = "\n".join([*lines, *traces])
    assert [secret for secret in secrets if secret in text] == []
