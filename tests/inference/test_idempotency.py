from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts import keyring
from accounts.models import Side, Workspace
from inference import idempotency, jobs
from inference.idempotency import KEPT, MAX_KEY_CHARACTERS, IdempotencyKeyReused, Key
from inference.jobs import PromptBlocked
from inference.models import IdempotencyRecord, Job, ModelVersion
from inference.requests import Caller, Delivery, InvalidRequest, ResponseFormat
from tests import factories
from tests.inference.steps import available, judge


def submit(caller: Caller, key: str = "once", prompt: str = "a red boat", **fields: Any) -> Job:
    return jobs.submit(caller, factories.request(prompt, **fields), Delivery(), key)


def key_of(caller: Caller, header: str | None = "once", delivery: Delivery | None = None) -> Key | None:
    ring = keyring.of(caller.workspace_id)
    return idempotency.key_of(ring, caller, factories.request(), delivery or Delivery(), header)


def fingerprint(caller: Caller, delivery: Delivery | None = None) -> str:
    key = key_of(caller, delivery=delivery)
    assert key is not None
    return key.fingerprint


def count(workspace: Workspace) -> int:
    return Job.objects.for_workspace(workspace).count()


def age_record(age: timedelta) -> None:
    created_at = datetime.now(UTC) - age
    IdempotencyRecord.objects.across_workspaces().update(created_at=created_at)


@pytest.fixture(autouse=True)
def _allows_everything(settings: Any) -> None:
    judge(settings)


@pytest.fixture
def caller(workspace: Workspace, model: ModelVersion) -> Caller:
    return factories.caller(workspace)


class TestKeyOf:
    def test_is_none_without_a_header(self, caller: Caller) -> None:
        assert key_of(caller, None) is None

    @pytest.mark.parametrize("key", ["a", "a" * MAX_KEY_CHARACTERS, "5f0c-11 ~", '"quoted"', " spaced "])
    def test_takes_what_can_be_printed(self, caller: Caller, key: str) -> None:
        taken = key_of(caller, key)

        assert taken is not None
        assert taken.text == key.strip().strip('"')

    @pytest.mark.parametrize(
        "key", ["", " ", '""', "a" * (MAX_KEY_CHARACTERS + 1), "a\nb", "a\x00", "é", "ключ"]
    )
    def test_refuses_what_cannot(self, caller: Caller, key: str) -> None:
        with pytest.raises(InvalidRequest) as refused:
            key_of(caller, key)

        assert refused.value.field == "Idempotency-Key"
        assert "ASCII" in refused.value.message


class TestFingerprint:
    def test_holds_nothing_of_the_prompt(self, caller: Caller) -> None:
        digest = fingerprint(caller)

        assert len(digest) == 64
        assert set(digest) <= set("0123456789abcdef")

    def test_differs_between_workspaces(self, caller: Caller, charlies_workspace: Workspace) -> None:
        callers = (caller, factories.caller(charlies_workspace))

        assert len({fingerprint(one) for one in callers}) == 2

    def test_differs_by_delivery(self, caller: Caller) -> None:
        deliveries = (Delivery(), Delivery(ResponseFormat.B64), Delivery(metadata=(("order", "7"),)))

        assert len({fingerprint(caller, one) for one in deliveries}) == 3

    def test_is_not_the_audited_hash_of_the_prompt(self, caller: Caller) -> None:
        job = submit(caller)

        record = IdempotencyRecord.objects.for_workspace(caller.workspace_id).get()
        assert record.fingerprint != job.prompt_hash


class TestSubmit:
    def test_gives_the_same_job_for_the_same_key(self, caller: Caller, workspace: Workspace) -> None:
        first = submit(caller)

        again = submit(caller)

        assert (again, count(workspace), available(workspace)) == (first, 1, 990)

    def test_gives_the_finished_job_too(self, caller: Caller) -> None:
        first = factories.run(submit(caller))

        again = submit(caller)

        assert (again.pk, again.state) == (first.pk, "succeeded")

    def test_reads_a_quoted_key_as_the_bare_one(self, caller: Caller) -> None:
        assert submit(caller, '"once"') == submit(caller, "once")

    @pytest.mark.parametrize("change", [{"prompt": "a cat"}, {"seed": 8}, {"num_images": 2}])
    def test_refuses_the_key_for_another_request(self, caller: Caller, change: dict[str, Any]) -> None:
        submit(caller)

        with pytest.raises(IdempotencyKeyReused):
            submit(caller, **change)

    def test_makes_two_jobs_of_two_keys(self, caller: Caller, workspace: Workspace) -> None:
        submit(caller, "one")
        submit(caller, "two")

        assert count(workspace) == 2

    def test_makes_two_jobs_without_a_key(self, caller: Caller, workspace: Workspace) -> None:
        for _ in range(2):
            jobs.submit(caller, factories.request(), Delivery())

        assert count(workspace) == 2

    def test_answers_a_blocked_prompt_as_the_first_time(self, caller: Caller, settings: Any) -> None:
        judge(settings, block_words=["forbidden"])

        blocked = []
        for _ in range(2):
            with pytest.raises(PromptBlocked) as refused:
                submit(caller, prompt="a forbidden boat")
            blocked.append(refused.value.job)

        assert blocked[0] == blocked[1]

    def test_remembers_nothing_of_a_refused_request(self, caller: Caller) -> None:
        with pytest.raises(InvalidRequest):
            submit(caller, width=63)

        assert submit(caller, width=64).width == 64


class TestLifetime:
    def test_lasts_for_24_hours(self, caller: Caller) -> None:
        first = submit(caller)
        age_record(KEPT - timedelta(minutes=1))

        assert submit(caller) == first

    def test_ends_after_24_hours(self, caller: Caller) -> None:
        first = submit(caller)
        age_record(KEPT + timedelta(seconds=1))

        later = submit(caller)

        assert later != first

    def test_frees_the_key_for_another_request(self, caller: Caller) -> None:
        submit(caller)
        age_record(KEPT + timedelta(seconds=1))

        assert submit(caller, prompt="a cat").state == "queued"

    def test_replaces_the_record(self, caller: Caller, workspace: Workspace) -> None:
        submit(caller)
        age_record(KEPT + timedelta(seconds=1))

        later = submit(caller)

        assert IdempotencyRecord.objects.for_workspace(workspace).get().job_id == later.pk


class TestScope:
    def test_is_the_side(self, caller: Caller, workspace: Workspace) -> None:
        live = submit(caller)

        played = submit(factories.caller(workspace, side=Side.TEST))

        assert played != live

    def test_is_the_endpoint(self, caller: Caller, workspace: Workspace) -> None:
        native = submit(caller)

        other = submit(Caller(workspace.pk, Side.LIVE, None, None, "openai", "req_test"))

        assert other != native

    def test_is_the_workspace(self, caller: Caller, charlies_workspace: Workspace) -> None:
        alices = submit(caller)

        charlies = submit(factories.caller(charlies_workspace, side=Side.TEST))

        assert charlies != alices
