"""Rate limits of keys and workspaces, as their callers meet them."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from accounts import api_keys
from accounts.key_terms import Terms
from accounts.models import Entitlements, Scope, Side, Workspace
from billing import ledger
from inference.models import Job
from tests.gateway import wire

MODELS = "/api/v1/models"


@pytest.fixture
def slow_api(workspace: Workspace, model: Any) -> Client:
    """A key that may make three things a minute."""
    return wire.client(_key(workspace, 3))


@pytest.fixture
def slow_workspace(workspace: Workspace) -> Workspace:
    """Two calls that make something and four that read, a minute."""
    Entitlements.objects.create(workspace=workspace, requests_per_minute=2, polls_per_minute=4)
    return workspace


def _key(workspace: Workspace, per_minute: int | None, side: Side = Side.LIVE) -> str:
    terms = Terms(requests_per_minute=per_minute)
    return api_keys.issue(workspace, "a key", side=side, terms=terms).plain_text


def _make(api: Client, times: int, path: str = wire.GENERATIONS) -> list[int]:
    return [wire.post(api, path, prompt="a boat").status_code for _ in range(times)]


def _read(api: Client, times: int) -> list[int]:
    return [api.get(MODELS).status_code for _ in range(times)]


class TestKey:
    def test_may_make_as_much_as_its_limit_says(self, slow_api: Client) -> None:
        assert _make(slow_api, 4) == [202, 202, 202, 429]

    def test_that_is_refused_is_told_which_limit_and_when_to_come_back(self, slow_api: Client) -> None:
        _make(slow_api, 3)

        response = wire.post(slow_api, prompt="a boat")

        wire.assert_is_problem(response, 429, "rate_limited")
        body = response.json()
        assert (body["limit"], body["per_minute"]) == ("key", 3)
        assert 15 <= body["retry_after_seconds"] <= 20
        assert response["Retry-After"] == str(body["retry_after_seconds"])
        assert "3 calls that make, change or delete something a minute" in body["detail"]

    def test_that_is_refused_has_done_nothing(self, slow_api: Client, workspace: Workspace) -> None:
        _make(slow_api, 5)

        assert Job.objects.for_workspace(workspace).count() == 3
        assert ledger.balance(workspace.pk).held_credits == 30

    def test_may_go_on_reading(self, slow_api: Client) -> None:
        _make(slow_api, 4)

        assert _read(slow_api, 4) == [200] * 4

    def test_shares_its_limit_with_the_key_it_replaces(self, workspace: Workspace, model: Any) -> None:
        old = api_keys.issue(workspace, "old", terms=Terms(requests_per_minute=3))
        new = api_keys.rotate(old.key, timedelta(hours=1))

        assert _make(wire.client(old.plain_text), 2) == [202, 202]
        assert _make(wire.client(new.plain_text), 2) == [202, 429]

    def test_that_is_refused_costs_the_workspace_nothing(self, slow_workspace: Workspace, model: Any) -> None:
        _make(wire.client(_key(slow_workspace, 1)), 5)

        assert _make(wire.client(_key(slow_workspace, None)), 2) == [202, 429]


class TestWorkspace:
    def test_counts_all_of_its_keys(self, slow_workspace: Workspace, model: Any) -> None:
        first, second = (wire.client(_key(slow_workspace, None)) for _ in range(2))

        assert _make(first, 1) + _make(second, 2) == [202, 202, 429]

    def test_counts_reading_apart(self, slow_workspace: Workspace, model: Any) -> None:
        api = wire.client(_key(slow_workspace, None))

        assert _make(api, 3) == [202, 202, 429]
        assert _read(api, 5) == [200] * 4 + [429]

    def test_names_its_limit_of_reading(self, slow_workspace: Workspace, model: Any) -> None:
        api = wire.client(_key(slow_workspace, None))
        _read(api, 4)

        body = api.get(MODELS).json()

        assert (body["limit"], body["per_minute"]) == ("workspace-reads", 4)
        assert "4 calls that read, quote or cancel a minute" in body["detail"]

    def test_counts_its_sides_apart(self, slow_workspace: Workspace, model: Any) -> None:
        _make(wire.client(_key(slow_workspace, None)), 3)

        assert _make(wire.client(_key(slow_workspace, None, Side.TEST)), 3) == [202, 202, 429]

    def test_of_zero_makes_nothing(self, workspace: Workspace, api: Client) -> None:
        Entitlements.objects.create(workspace=workspace, requests_per_minute=0)

        response = wire.post(api, prompt="a boat")

        wire.assert_is_problem(response, 429, "rate_limited")
        assert (response["Retry-After"], response["RateLimit"]) == ("3600", '"workspace";r=0;t=3600')
        assert _read(api, 1) == [200]

    def test_is_of_no_concern_to_another(
        self, slow_workspace: Workspace, model: Any, charlies_api: Client
    ) -> None:
        _read(wire.client(_key(slow_workspace, None)), 5)

        assert _read(charlies_api, 5) == [200] * 5

    def test_counts_what_makes_nothing_as_reading(self, slow_workspace: Workspace, model: Any) -> None:
        api = wire.client(_key(slow_workspace, None))
        job = wire.generate(api)

        assert _make(api, 2, "/api/v1/quote") == [200, 200]
        assert wire.post(api, f"/api/v1/jobs/{job['id']}/cancel").status_code == 200
        assert _make(api, 2) == [202, 429]

    def test_counts_deleting_with_what_is_made(self, slow_workspace: Workspace, model: Any) -> None:
        api = wire.client(_key(slow_workspace, None))
        image = "/api/v1/images/img_" + "0" * 26

        assert [api.delete(image).status_code for _ in range(3)] == [404, 404, 429]
        assert _read(api, 4) == [200] * 4


class TestEndingAKey:
    """It never waits, whatever was called before."""

    @pytest.fixture
    def used_up(self, slow_workspace: Workspace, model: Any) -> Client:
        """A key with every scope whose workspace may neither make nor read any more."""
        api = wire.client(api_keys.issue(slow_workspace, "lost", terms=Terms(tuple(Scope))).plain_text)
        assert _make(api, 3)[-1] == 429
        assert _read(api, 5)[-1] == 429
        return api

    def test_by_itself_is_let_through(self, used_up: Client) -> None:
        response = used_up.delete("/api/v1/key")

        assert (response.status_code, response.json()["state"]) == (200, "revoked")
        assert not response.has_header("RateLimit")

    def test_by_a_manager_is_let_through(self, used_up: Client, slow_workspace: Workspace) -> None:
        leaked = api_keys.issue(slow_workspace, "leaked").key

        response = used_up.delete(f"/api/v1/keys/{api_keys.public_id(leaked)}")

        assert (response.status_code, response.json()["state"]) == (200, "revoked")

    def test_by_a_report_is_let_through(self, used_up: Client, slow_workspace: Workspace) -> None:
        leaked = api_keys.issue(slow_workspace, "leaked").plain_text

        response = wire.post(used_up, "/api/v1/key-leaks", key=leaked)

        assert response.json()["data"][0]["outcome"] == "revoked"

    def test_leaves_looking_at_keys_counted(self, used_up: Client) -> None:
        assert used_up.get("/api/v1/key").status_code == 429


class TestHeaders:
    def test_tell_all_limits_of_a_call(self, slow_api: Client) -> None:
        response = wire.post(slow_api, prompt="a boat")

        assert response["RateLimit-Policy"] == '"key";q=3;w=60, "workspace";q=600;w=60'
        assert re.fullmatch(r'"key";r=2;t=(20|19), "workspace";r=99;t=1', response["RateLimit"])

    def test_tell_when_there_is_more(self, slow_api: Client) -> None:
        _make(slow_api, 3)

        response = wire.post(slow_api, prompt="a boat")

        assert re.match(r'"key";r=0;t=(\d+),', response["RateLimit"])[1] == response["Retry-After"]

    def test_are_on_answers_that_are_drawn_after_a_wait(self, slow_api: Client, settings: Any) -> None:
        settings.MAX_WAIT_SECONDS = 0

        response = wire.drawn(slow_api)

        assert response.status_code == 200
        assert response["RateLimit"].startswith('"key";r=1;')

    def test_are_on_errors(self, slow_api: Client) -> None:
        response = wire.post(slow_api, prompt="")

        assert response.status_code == 422
        assert response["RateLimit"].startswith('"key";r=2;')

    def test_are_not_for_those_without_a_key(self, client: Client, db: None) -> None:
        assert not client.get(MODELS).has_header("RateLimit")
        assert not client.get("/api/schema").has_header("RateLimit")


class TestOpenAIDialect:
    def test_says_it_in_its_own_words(self, slow_api: Client) -> None:
        _make(slow_api, 3)

        response = wire.post(slow_api, wire.V1_GENERATIONS, prompt="a boat")

        wire.assert_is_openai_error(response, 429, "requests", "rate_limit_exceeded")
        assert int(response["Retry-After"]) > 0
        assert response["RateLimit"].startswith('"key";r=0;')
