"""POST /api/v1/jobs/{id}/cancel."""

from typing import Any

import pytest
from django.test import Client

from accounts import api_keys, ids
from accounts.ids import Prefix
from accounts.key_terms import Terms
from accounts.models import AuditEvent, Scope, Workspace
from inference import jobs
from inference.models import Job
from tests import factories
from tests.gateway import wire


def _cancel(api: Client, job: dict[str, Any]) -> Any:
    return wire.post(api, f"/api/v1/jobs/{job['id']}/cancel")


class TestCancel:
    def test_ends_a_queued_job_at_once(self, api: Client, workspace: Workspace) -> None:
        response = _cancel(api, wire.generate(api))

        assert (response.status_code, response.json()["state"]) == (200, "canceled")
        assert response.json()["error"]["code"] == "canceled"
        wire.assert_nothing_was_charged(workspace)

    def test_a_canceled_job_is_never_drawn(self, api: Client) -> None:
        job = wire.generate(api)
        _cancel(api, job)

        factories.drain()

        assert api.get(f"/api/v1/jobs/{job['id']}").json()["state"] == "canceled"

    def test_marks_a_running_job(self, api: Client) -> None:
        job = wire.generate(api)
        jobs.claim(ids.parse(Prefix.JOB, job["id"]), factories.WORKER)

        response = _cancel(api, job)

        assert response.json()["state"] == "processing"
        assert Job.objects.across_workspaces().get().cancel_requested_at is not None

    def test_leaves_an_ended_job_as_it_is(self, api: Client, workspace: Workspace) -> None:
        job = wire.finished(api)

        response = _cancel(api, job)

        assert (response.status_code, response.json()["state"]) == (200, "succeeded")
        wire.assert_nothing_was_charged(workspace, credits=990)

    def test_twice_is_once(self, api: Client, workspace: Workspace) -> None:
        job = wire.generate(api)

        answers = [_cancel(api, job).json() for _ in range(2)]

        assert answers[0] == answers[1]
        assert AuditEvent.objects.for_workspace(workspace).filter(action="job:canceled").count() == 1
        wire.assert_nothing_was_charged(workspace)

    def test_needs_no_body(self, api: Client) -> None:
        job = wire.generate(api)

        response = api.post(f"/api/v1/jobs/{job['id']}/cancel", b"", content_type="text/plain")

        assert response.status_code == 200

    @pytest.mark.parametrize("body, status", [(b'{"at": "noon"}', 422), (b"[]", 400), (b"not json", 400)])
    def test_takes_no_body_that_says_something(self, api: Client, body: bytes, status: int) -> None:
        job = wire.generate(api)

        response = api.post(f"/api/v1/jobs/{job['id']}/cancel", body, content_type="application/json")

        assert response.status_code == status
        assert api.get(f"/api/v1/jobs/{job['id']}").json()["state"] == "queued"


class TestWhoMayCancel:
    def test_not_a_stranger(self, api: Client, charlies_api: Client) -> None:
        job = wire.generate(api)

        wire.assert_is_problem(_cancel(charlies_api, job), 404, "not_found")
        assert api.get(f"/api/v1/jobs/{job['id']}").json()["state"] == "queued"

    def test_not_another_member(self, api: Client, bobs_api: Client) -> None:
        job = wire.generate(api)

        wire.assert_is_problem(_cancel(bobs_api, job), 404, "not_found")

    def test_not_the_test_side(self, api: Client, test_side_api: Client) -> None:
        job = wire.generate(api)

        wire.assert_is_problem(_cancel(test_side_api, job), 404, "not_found")

    def test_the_owner_also_a_members_job(self, api: Client, bobs_api: Client) -> None:
        job = wire.generate(bobs_api)

        assert _cancel(api, job).json()["state"] == "canceled"

    def test_not_a_key_without_the_scope(self, api: Client, workspace: Workspace) -> None:
        issued = api_keys.issue(workspace, "images only", terms=Terms(scopes=(Scope.IMAGES,)))

        response = _cancel(wire.client(issued.plain_text), wire.generate(api))

        wire.assert_is_problem(response, 403, "scope_missing")

    def test_nobody_what_never_was(self, api: Client) -> None:
        wire.assert_is_problem(_cancel(api, {"id": "job_nonsense"}), 404, "not_found")
