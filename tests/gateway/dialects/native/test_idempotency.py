"""The header `Idempotency-Key`."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from accounts import api_keys, clock
from accounts.key_terms import Terms
from accounts.models import ApiKey, Membership, Scope, Workspace
from billing import ledger
from billing.models import Source
from inference.models import IdempotencyRecord, Job
from tests import factories
from tests.gateway import wire


def _post(api: Client, key: str, path: str = wire.GENERATIONS, **body: Any) -> Any:
    return wire.post(api, path, headers={"Idempotency-Key": key}, **{"prompt": "a red boat", **body})


class TestSameKeySameBody:
    def test_gives_the_same_job(self, api: Client) -> None:
        first, second = _post(api, "once"), _post(api, "once")

        assert (second.status_code, second.json()["id"]) == (202, first.json()["id"])
        assert Job.objects.across_workspaces().count() == 1

    def test_is_charged_once(self, api: Client, workspace: Workspace) -> None:
        for _ in range(3):
            _post(api, "once")
            factories.drain()

        wire.assert_nothing_was_charged(workspace, credits=990)

    def test_answers_200_when_the_job_has_ended(self, api: Client) -> None:
        _post(api, "once")
        factories.drain()

        response = _post(api, "once")

        assert (response.status_code, len(response.json()["images"])) == (200, 1)

    def test_in_another_spelling_is_the_same_body(self, api: Client) -> None:
        first = _post(api, "once", seed=5)

        second = _post(api, "once", seed=5.0, width=None)

        assert second.json()["id"] == first.json()["id"]

    @pytest.mark.parametrize("twin", ['"once"', " once ", 'once"'])
    def test_quotes_around_the_key_are_not_part_of_it(self, api: Client, twin: str) -> None:
        first = _post(api, "once")

        assert _post(api, twin).json()["id"] == first.json()["id"]

    def test_a_failed_job_is_given_back_too(self, api: Client) -> None:
        first = _post(api, "once", prompt="a blank! boat").json()
        factories.drain()

        second = _post(api, "once", prompt="a blank! boat").json()

        assert (second["id"], second["error"]["code"]) == (first["id"], "blank_picture")

    def test_a_blocked_prompt_makes_one_job(self, api: Client, settings: Any) -> None:
        settings.ATELIER_MODERATION = {
            "BACKEND": "inference.moderation.fake.FakeModeration",
            "OPTIONS": {"block_words": ["forbidden"]},
        }

        first, second = (_post(api, "once", prompt="a forbidden boat") for _ in range(2))

        wire.assert_is_problem(second, 422, "prompt_blocked")
        assert first.json()["job_id"] == second.json()["job_id"]

    def test_after_a_day_makes_a_new_job(self, api: Client) -> None:
        first = _post(api, "once")
        IdempotencyRecord.objects.across_workspaces().update(created_at=clock.now() - timedelta(hours=24))

        assert _post(api, "once").json()["id"] != first.json()["id"]


class TestSameKeyOtherBody:
    @pytest.mark.parametrize(
        "other",
        [
            {"prompt": "a blue boat"},
            {"seed": 1},
            {"metadata": {"a": "b"}},
            {"response_format": "b64"},
            {"user": "u"},
        ],
    )
    def test_is_refused(self, api: Client, other: dict[str, Any]) -> None:
        _post(api, "once")

        response = _post(api, "once", **other)

        wire.assert_is_problem(response, 422, "idempotency_key_reused")
        assert Job.objects.across_workspaces().count() == 1


class TestScope:
    def test_is_the_workspace(self, api: Client, charlies_api: Client, charlies_workspace: Workspace) -> None:
        ledger.grant(charlies_workspace.pk, 100, Source.PROMOTIONAL, "test:charlie")
        first = _post(api, "once")

        assert _post(charlies_api, "once", prompt="a blue boat").json()["id"] != first.json()["id"]

    def test_is_the_side(self, api: Client, test_side_api: Client) -> None:
        first = _post(api, "once")

        assert _post(test_side_api, "once").json()["id"] != first.json()["id"]

    def test_is_the_endpoint(self, api: Client, settings: Any) -> None:
        settings.MAX_WAIT_SECONDS = 0
        _post(api, "once")

        response = _post(api, "once", wire.V1_GENERATIONS)

        assert (response.status_code, response.json()["error"]["code"]) == (504, "wait_timed_out")
        assert Job.objects.across_workspaces().count() == 2


class TestRefusedRequests:
    def test_for_lack_of_credit_are_not_remembered(
        self, charlies_api: Client, charlies_workspace: Workspace
    ) -> None:
        refused = _post(charlies_api, "once")
        remembered = IdempotencyRecord.objects.across_workspaces().exists()
        ledger.grant(charlies_workspace.pk, 100, Source.PROMOTIONAL, "test:charlie")

        accepted = _post(charlies_api, "once")

        wire.assert_is_problem(refused, 402, "insufficient_credit")
        assert (remembered, accepted.status_code) == (False, 202)

    def test_that_are_invalid_are_not_remembered(self, api: Client) -> None:
        refused = _post(api, "once", width=1)

        wire.assert_is_problem(refused, 422, "invalid_request")
        assert _post(api, "once").status_code == 202


class TestKey:
    @pytest.mark.parametrize("text", ["", " ", '""', '"', "k" * 256, "tab\tinside"])
    def test_must_have_1_to_255_printable_characters(
        self, api: Client, workspace: Workspace, text: str
    ) -> None:
        response = _post(api, text)

        wire.assert_is_problem(response, 422, "invalid_request")
        assert response.json()["errors"][0]["field"] == "Idempotency-Key"
        wire.assert_nothing_was_charged(workspace)

    @pytest.mark.parametrize("text", ["k", "k" * 255, "0", "null", "a b", "a,b", "'; DROP TABLE job; --"])
    def test_may_be_any_other_text(self, api: Client, text: str) -> None:
        assert _post(api, text).status_code == 202


class TestOtherThings:
    """What is made without being a job is made once too."""

    @pytest.fixture
    def admin(self, workspace: Workspace, membership: Membership) -> Client:
        terms = Terms(scopes=tuple(Scope))
        return wire.client(api_keys.issue(workspace, "admin", membership=membership, terms=terms).plain_text)

    def test_a_template_gets_one_version(self, api: Client, workspace: Workspace) -> None:
        body = {"name": "poster", "body": "A poster of {{prompt}}."}
        headers = {"Idempotency-Key": "once"}

        versions = [
            wire.post(api, "/api/v1/prompt-templates", headers, **body).json()["version"] for _ in range(2)
        ]

        assert versions == [1, 1]

    def test_a_key_is_issued_once_and_its_text_shown_once(self, admin: Client, workspace: Workspace) -> None:
        headers = {"Idempotency-Key": "once"}
        before = ApiKey.objects.for_workspace(workspace).count()

        first, second = (wire.post(admin, "/api/v1/keys", headers, name="ci").json() for _ in range(2))

        assert ApiKey.objects.for_workspace(workspace).count() == before + 1
        assert first["key"].startswith(first["prefix"])
        assert (second["id"], second["key"]) == (first["id"], None)

    def test_a_rotation_happens_once(self, admin: Client) -> None:
        headers = {"Idempotency-Key": "once"}

        first, second = (wire.post(admin, "/api/v1/key/rotate", headers).json() for _ in range(2))

        assert (second["id"], second["key"]) == (first["id"], None)

    def test_another_body_is_refused(self, admin: Client) -> None:
        headers = {"Idempotency-Key": "once"}
        wire.post(admin, "/api/v1/keys", headers, name="ci")

        response = wire.post(admin, "/api/v1/keys", headers, name="another")

        wire.assert_is_problem(response, 422, "idempotency_key_reused")

    def test_what_failed_is_not_remembered(self, admin: Client) -> None:
        headers = {"Idempotency-Key": "once"}
        wire.assert_is_problem(
            wire.post(admin, "/api/v1/keys", headers, name="ci", networks=["nowhere"]), 422, "invalid_request"
        )

        response = wire.post(admin, "/api/v1/keys", headers, name="ci")

        assert response.status_code == 201


class TestRetry:
    def test_gets_the_first_job_although_the_credit_is_gone(self, api: Client, workspace: Workspace) -> None:
        first = _post(api, "once", num_images=10)
        for number in range(9):
            _post(api, f"other {number}", num_images=10)
        wire.assert_is_problem(_post(api, "new"), 402, "insufficient_credit")

        again = _post(api, "once", num_images=10)

        assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])

    def test_of_another_member_gets_no_job_that_is_not_theirs(
        self, api: Client, workspace: Workspace, bobs_membership: Membership
    ) -> None:
        _post(api, "shared")
        bobs_key = api_keys.issue(workspace, "bob's", membership=bobs_membership).plain_text

        response = _post(wire.client(bobs_key), "shared")

        wire.assert_is_problem(response, 422, "idempotency_key_reused")

    def test_of_a_key_whose_day_is_over_makes_a_new_job(self, api: Client) -> None:
        first = _post(api, "once").json()["id"]
        IdempotencyRecord.objects.across_workspaces().update(created_at=clock.now() - timedelta(hours=25))

        second = _post(api, "once").json()["id"]

        assert second != first
