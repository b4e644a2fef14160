"""GET /api/v1/jobs and /api/v1/jobs/{id}."""

from datetime import datetime
from typing import Any

import pytest
from django.test import Client

from accounts import api_keys, ids
from accounts.ids import Prefix
from accounts.key_terms import Terms
from accounts.models import Scope, Workspace
from inference import progress
from inference.models import Job
from tests.gateway import wire

JOBS = "/api/v1/jobs"


def _ids(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [job["id"] for job in response.json()["data"]]


class TestGet:
    def test_shows_a_queued_job(self, api: Client) -> None:
        accepted = wire.generate(api)

        assert api.get(f"{JOBS}/{accepted['id']}").json() == accepted

    def test_shows_a_finished_job_with_its_image(self, api: Client) -> None:
        job = wire.finished(api, seed=7)

        (image,) = job["images"]
        assert (job["state"], job["error"]) == ("succeeded", None)
        assert (image["job_id"], image["seed"], image["width"]) == (job["id"], 7, 64)

    def test_tells_when_what_happened(self, api: Client) -> None:
        job = wire.finished(api)

        times = [datetime.fromisoformat(job[name]) for name in ("created_at", "started_at", "finished_at")]
        assert times == sorted(times)
        assert times[0].tzinfo is not None

    def test_shows_how_far_a_running_job_is(self, api: Client) -> None:
        job = wire.generate(api)
        job_id = ids.parse(Prefix.JOB, job["id"])
        progress.publish(job_id, 3, 4)

        shown = api.get(f"{JOBS}/{job['id']}").json()["progress"]

        progress.forget(job_id)
        assert shown == {"step": 3, "steps": 4}

    def test_tells_how_many_images_were_deleted(self, api: Client) -> None:
        job = wire.finished(api, num_images=2)
        first, second = (image["id"] for image in job["images"])
        api.delete(f"/api/v1/images/{first}")

        for shown in (api.get(f"{JOBS}/{job['id']}").json(), api.get(JOBS).json()["data"][0]):
            assert [image["id"] for image in shown["images"]] == [second]
            assert (job["deleted_images"], shown["deleted_images"]) == (0, 1)

    def test_has_no_progress_after_the_end(self, api: Client) -> None:
        assert wire.finished(api)["progress"] is None

    def test_names_the_request_that_made_it(self, api: Client) -> None:
        response = wire.post(api, prompt="a boat", headers={"X-Request-Id": "order-17"})

        assert response.json()["request_id"] == "order-17"

    @pytest.mark.parametrize(
        "job_id",
        [
            "job_",
            "1",
            "job_" + "0" * 26,
            "img_" + "0" * 26,
            "job_" + "z" * 26,
            "job_" + "u" * 26,
            "%00",
            "%ff",
        ],
    )
    def test_finds_no_malformed_or_unknown_id(self, api: Client, job_id: str) -> None:
        wire.assert_is_problem(api.get(f"{JOBS}/{job_id}"), 404, "not_found")

    def test_needs_the_jobs_scope(self, workspace: Workspace, model: Any) -> None:
        issued = api_keys.issue(workspace, "images only", terms=Terms(scopes=(Scope.IMAGES,)))

        response = wire.client(issued.plain_text).get(JOBS)

        wire.assert_is_problem(response, 403, "scope_missing")
        assert response.json()["scope"] == "jobs"


class TestWhoSeesAJob:
    def test_not_a_stranger(self, api: Client, charlies_api: Client) -> None:
        job = wire.generate(api)

        wire.assert_is_problem(charlies_api.get(f"{JOBS}/{job['id']}"), 404, "not_found")
        assert _ids(charlies_api.get(JOBS)) == []

    def test_not_another_member(self, api: Client, bobs_api: Client) -> None:
        job = wire.generate(api)

        wire.assert_is_problem(bobs_api.get(f"{JOBS}/{job['id']}"), 404, "not_found")

    def test_a_member_their_own(self, api: Client, bobs_api: Client) -> None:
        wire.generate(api)
        bobs = wire.generate(bobs_api)

        assert _ids(bobs_api.get(JOBS)) == [bobs["id"]]

    def test_the_owner_all(self, api: Client, bobs_api: Client) -> None:
        bobs = wire.generate(bobs_api)

        assert _ids(api.get(JOBS)) == [bobs["id"]]
        assert api.get(f"{JOBS}/{bobs['id']}").status_code == 200

    def test_not_the_other_side(self, api: Client, test_side_api: Client) -> None:
        live, test = wire.generate(api), wire.generate(test_side_api)

        wire.assert_is_problem(test_side_api.get(f"{JOBS}/{live['id']}"), 404, "not_found")
        wire.assert_is_problem(api.get(f"{JOBS}/{test['id']}"), 404, "not_found")
        assert (_ids(api.get(JOBS)), _ids(test_side_api.get(JOBS))) == ([live["id"]], [test["id"]])

    def test_the_same_answer_for_foreign_and_absent(self, api: Client, charlies_api: Client) -> None:
        job = wire.generate(api)

        foreign = charlies_api.get(f"{JOBS}/{job['id']}").json()
        absent = charlies_api.get(f"{JOBS}/job_{'0' * 26}").json()

        assert {**foreign, "request_id": ""} == {**absent, "request_id": ""}


class TestList:
    def test_is_empty_at_first(self, api: Client) -> None:
        assert api.get(JOBS).json() == {"data": [], "has_more": False, "next_after": None}

    def test_shows_the_newest_first(self, api: Client) -> None:
        made = [wire.generate(api)["id"] for _ in range(3)]

        assert _ids(api.get(JOBS)) == made[::-1]

    def test_pages_reach_every_job_once(self, api: Client) -> None:
        made = [wire.generate(api)["id"] for _ in range(5)]

        first = api.get(JOBS, {"limit": 2})
        second = api.get(JOBS, {"limit": 2, "after": first.json()["next_after"]})
        third = api.get(JOBS, {"limit": 2, "after": second.json()["next_after"]})

        assert _ids(first) + _ids(second) + _ids(third) == made[::-1]
        assert [page.json()["has_more"] for page in (first, second, third)] == [True, True, False]

    def test_new_jobs_do_not_shift_a_page(self, api: Client) -> None:
        made = [wire.generate(api)["id"] for _ in range(3)]
        first = api.get(JOBS, {"limit": 2})
        wire.generate(api)

        second = api.get(JOBS, {"limit": 2, "after": first.json()["next_after"]})

        assert _ids(second) == [made[0]]

    def test_a_full_last_page_has_no_more(self, api: Client) -> None:
        wire.generate(api)

        assert api.get(JOBS, {"limit": 1}).json()["has_more"] is False

    def test_shows_twenty_by_default(self, api: Client) -> None:
        for _ in range(21):
            wire.generate(api)

        assert len(_ids(api.get(JOBS))) == 20

    def test_never_carries_bytes(self, api: Client) -> None:
        wire.finished(api, response_format="b64")

        assert api.get(JOBS).json()["data"][0]["images"][0]["b64"] is None

    @pytest.mark.parametrize(
        "limit", ["0", "101", "-1", "x", "1.5", "9" * 50, "00001000000", "00001" + "0" * 5_000]
    )
    def test_refuses_an_absurd_limit(self, api: Client, limit: str) -> None:
        response = api.get(JOBS, {"limit": limit})

        wire.assert_is_problem(response, 422, "invalid_request")
        assert response.json()["errors"][0]["field"] == "limit"

    @pytest.mark.parametrize("after", ["x", "job_", "img_" + "0" * 26])
    def test_refuses_a_malformed_id_to_go_on_after(self, api: Client, after: str) -> None:
        response = api.get(JOBS, {"after": after})

        wire.assert_is_problem(response, 422, "invalid_request")
        assert response.json()["errors"] == [
            {"field": "after", "message": "must be an id that begins with job_."}
        ]

    def test_the_id_of_a_stranger_shows_nothing_of_theirs(self, api: Client, charlies_api: Client) -> None:
        job = wire.generate(api)

        assert _ids(charlies_api.get(JOBS, {"after": job["id"]})) == []


class TestStateFilter:
    def test_shows_only_that_state(self, api: Client) -> None:
        done = wire.finished(api)
        queued = wire.generate(api)

        assert _ids(api.get(JOBS, {"state": "succeeded"})) == [done["id"]]
        assert _ids(api.get(JOBS, {"state": "queued"})) == [queued["id"]]

    def test_shows_blocked_and_failed_jobs(self, api: Client, settings: Any) -> None:
        failed = wire.finished(api, "a blank! boat")
        settings.ATELIER_MODERATION = {
            "BACKEND": "inference.moderation.fake.FakeModeration",
            "OPTIONS": {"block_words": ["forbidden"]},
        }
        blocked = wire.post(api, prompt="a forbidden boat").json()

        assert _ids(api.get(JOBS, {"state": "failed"})) == [failed["id"]]
        assert _ids(api.get(JOBS, {"state": "blocked"})) == [blocked["job_id"]]

    @pytest.mark.parametrize("state", ["done", "QUEUED", "\x00", "queued,failed"])
    def test_refuses_a_state_that_does_not_exist(self, api: Client, state: str) -> None:
        wire.assert_is_problem(api.get(JOBS, {"state": state}), 422, "invalid_request")


class TestEnds:
    """What a job shows that made no picture."""

    @pytest.mark.parametrize(
        "word, code",
        [("fail!", "engine_failed"), ("blank!", "blank_picture"), ("invalid!", "invalid_picture")],
    )
    def test_a_failed_job_says_why_and_costs_nothing(
        self, api: Client, workspace: Workspace, word: str, code: str
    ) -> None:
        job = wire.finished(api, f"a {word} boat")

        assert (job["state"], job["error"]["code"], job["images"]) == ("failed", code, [])
        wire.assert_is_readable(job["error"]["message"])
        wire.assert_nothing_was_charged(workspace)

    @pytest.mark.parametrize("word, attempts", [("fail!", 3), ("blank!", 1), ("invalid!", 1)])
    def test_only_faults_that_may_pass_are_tried_again(self, api: Client, word: str, attempts: int) -> None:
        wire.finished(api, f"a {word} boat")

        assert Job.objects.across_workspaces().get().attempt == attempts
