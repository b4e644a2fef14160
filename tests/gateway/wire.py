"""Calls as a client makes them, and what every refusal must look like."""

from typing import Any

from django.test import Client

from accounts.models import Workspace
from billing import ledger
from tests import factories

GENERATIONS = "/api/v1/generations"
V1_GENERATIONS = "/v1/images/generations"
MOST_CHARACTERS = 2_000  # of a sentence that somebody will still read


def client(key: str) -> Client:
    return Client(headers={"Authorization": f"Bearer {key}"})


def post(api: Client, path: str = GENERATIONS, headers: dict[str, str] | None = None, **body: Any) -> Any:
    """POST the keywords as a JSON body."""
    return api.post(path, body, content_type="application/json", headers=headers)


def generate(api: Client, prompt: str = "a red boat", **body: Any) -> dict[str, Any]:
    """An accepted job as the native API draws it."""
    response = post(api, prompt=prompt, **body)
    assert response.status_code == 202, response.content
    return response.json()


def finished(api: Client, prompt: str = "a red boat", **body: Any) -> dict[str, Any]:
    """A job that was run to its end, drawn anew."""
    job = generate(api, prompt, **body)
    factories.drain()
    return api.get(f"/api/v1/jobs/{job['id']}").json()


def drawn(api: Client, prompt: str = "a red boat", **body: Any) -> Any:
    """The OpenAI dialect's answer about a finished job.

    That face waits for a worker, and a test's worker runs when asked: so the job is accepted by a request that
    waits no time, run, and fetched by the same request again.
    """
    headers = {"Idempotency-Key": "fetch"}
    early = post(api, V1_GENERATIONS, headers, prompt=prompt, **body)
    assert early.status_code == 504, early.content
    factories.drain()
    return post(api, V1_GENERATIONS, headers, prompt=prompt, **body)


def assert_is_readable(sentence: str) -> None:
    """A person can read it, and it shows nothing of the inside."""
    assert sentence.strip()
    assert len(sentence) <= MOST_CHARACTERS
    for forbidden in ("Traceback", "atl_live_", "atl_test_", "<", 'File "', "Exception"):
        assert forbidden not in sentence


def assert_is_problem(response: Any, status: int, code: str) -> None:
    """RFC 9457 with our code, a readable sentence and the request's id."""
    assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json")
    body = response.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["request_id"] == response["X-Request-Id"]
    assert body["type"] == f"/api/docs/errors#{code}"
    assert_is_readable(body["title"])
    assert_is_readable(body["detail"])


def assert_is_openai_error(response: Any, status: int, kind: str, code: str) -> dict[str, Any]:
    """OpenAI's envelope; returns the error object."""
    assert (response.status_code, response["Content-Type"]) == (status, "application/json")
    body = response.json()
    assert list(body) == ["error"]
    error: dict[str, Any] = body["error"]
    assert (error["type"], error["code"]) == (kind, code)
    assert "param" in error
    assert_is_readable(error["message"])
    return error


def assert_nothing_was_charged(workspace: Workspace, credits: int = 1_000) -> None:
    balance = ledger.balance(workspace.pk)
    assert (balance.available_credits, balance.held_credits, balance.open_holds) == (credits, 0, 0)
    assert ledger.verify() == []
