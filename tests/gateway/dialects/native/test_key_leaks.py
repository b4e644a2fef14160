"""POST /api/v1/key-leaks."""

from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client

from accounts import api_keys, clock, key_text
from accounts.api_keys import IssuedKey
from accounts.models import AuditEvent, OutboxMessage, Workspace
from gateway.api import guards
from tests.gateway import wire

LEAKS = "/api/v1/key-leaks"
SOURCE = "https://example.com/paste/7"


@pytest.fixture
def leaked(workspace: Workspace) -> IssuedKey:
    return api_keys.issue(workspace, "leaked")


def outcomes(response: Any) -> list[tuple[str, str]]:
    assert response.status_code == 200, response.content
    return [(one["prefix"], one["outcome"]) for one in response.json()["data"]]


class TestPost:
    def test_ends_the_key_without_a_key_of_the_reporter(self, client: Client, leaked: IssuedKey) -> None:
        response = wire.post(client, LEAKS, key=leaked.plain_text, source=SOURCE)

        assert outcomes(response) == [(leaked.key.prefix, "revoked")]
        refused = wire.client(leaked.plain_text).get("/api/v1/key")
        wire.assert_is_problem(refused, 401, "revoked_api_key")

    def test_says_when_nothing_was_left_to_do(self, client: Client, leaked: IssuedKey) -> None:
        wire.post(client, LEAKS, key=leaked.plain_text)
        body = "atl_live_" + "a" * 12 + "_" + "b" * 32
        unknown = body + key_text.checksum(body)

        response = wire.post(client, LEAKS, key=f"{leaked.plain_text} {unknown}")

        assert outcomes(response) == [(leaked.key.prefix, "already_revoked"), (unknown[:21], "unknown")]

    def test_finds_the_key_in_a_long_text(self, client: Client, leaked: IssuedKey) -> None:
        text = f'\u00e9\n"{leaked.plain_text}"\\n'.rjust(100_000, "x")

        assert outcomes(wire.post(client, LEAKS, key=text)) == [(leaked.key.prefix, "revoked")]

    def test_refuses_a_longer_text_and_ends_nothing(self, client: Client, leaked: IssuedKey) -> None:
        response = wire.post(client, LEAKS, key=leaked.plain_text.rjust(100_001, "x"))

        wire.assert_is_problem(response, 422, "invalid_request")
        assert leaked.plain_text not in response.content.decode()
        assert api_keys.authenticate(leaked.plain_text, clock.now()) == leaked.key

    def test_says_how_many_keys_it_takes(self, client: Client, leaked: IssuedKey) -> None:
        bodies = [f"atl_live_{number:012}_" + "b" * 32 for number in range(100)]
        text = " ".join([leaked.plain_text, *(body + key_text.checksum(body) for body in bodies)])

        response = wire.post(client, LEAKS, key=text)

        wire.assert_is_problem(response, 422, "invalid_request")
        assert response.json()["errors"] == [
            {"field": "key", "message": "holds more than 100 keys; report them in parts."}
        ]

    def test_says_when_no_whole_key_is_there(self, client: Client, leaked: IssuedKey) -> None:
        response = wire.post(client, LEAKS, key=leaked.plain_text[:-1])

        wire.assert_is_problem(response, 422, "invalid_request")
        assert leaked.plain_text[22:54] not in response.content.decode()

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"key": ""},
            {"key": 7},
            {"key": ["x"]},
            {"key": "x", "source": "javascript:alert(1)"},
            {"key": "x", "source": "example.com"},
            {"key": "x", "source": "https://example.com/\nSubject: hi"},
            {"key": "x", "source": "https://example.com/a b"},
            {"key": "x", "source": "http://[x]/"},
            {"key": "x", "source": "http://[::1"},
            {"key": "x", "source": "http://]["},
            {"key": "x", "source": "http://:80/"},
            {"key": "x", "source": "https://" + "x" * 300},
            {"key": "x", "who": "me"},
        ],
    )
    @pytest.mark.usefixtures("db")
    def test_refuses_what_makes_no_sense(self, client: Client, body: dict[str, Any]) -> None:
        wire.assert_is_problem(wire.post(client, LEAKS, **body), 422, "invalid_request")

    def test_keeps_where_it_was_found(self, client: Client, leaked: IssuedKey, workspace: Workspace) -> None:
        response = wire.post(client, LEAKS, key=leaked.plain_text, source=SOURCE)

        event = AuditEvent.objects.for_workspace(workspace).get(action="api_key:leaked")
        assert (event.data, event.actor) == ({"host": urlsplit(SOURCE).hostname}, "leak report")
        assert event.request_id == response["X-Request-Id"]

    def test_leaves_the_key_nowhere(
        self, client: Client, leaked: IssuedKey, workspace: Workspace, caplog: pytest.LogCaptureFixture
    ) -> None:
        source = f"https://example.com/?k={leaked.plain_text}"
        response = wire.post(client, LEAKS, key=leaked.plain_text, source=source)

        kept = [
            *AuditEvent.objects.for_workspace(workspace).values(),
            *OutboxMessage.objects.values(),
            response.json(),
            caplog.text,
        ]
        assert leaked.key.prefix in str(kept)
        assert leaked.plain_text[22:] not in str(kept)

    def test_does_not_look_at_a_key_in_the_header(self, leaked: IssuedKey) -> None:
        response = wire.post(wire.client("atl_live_nonsense"), LEAKS, key=leaked.plain_text)

        assert outcomes(response) == [(leaked.key.prefix, "revoked")]

    def test_takes_so_many_reports_of_an_address_a_minute(self, client: Client, leaked: IssuedKey) -> None:
        for _ in range(guards.KEY_LEAKS.per_minute):
            assert wire.post(client, LEAKS, key="x").status_code == 422

        response = wire.post(client, LEAKS, key=leaked.plain_text)

        wire.assert_is_problem(response, 429, "too_many_calls")
        assert int(response["Retry-After"]) >= 1
        elsewhere = client.post(
            LEAKS, {"key": leaked.plain_text}, content_type="application/json", REMOTE_ADDR="192.0.2.7"
        )
        assert outcomes(elsewhere) == [(leaked.key.prefix, "revoked")]
