import uuid
from typing import Any

import pytest

from accounts.models import OutboxMessage, Workspace
from billing import ledger
from billing.models import Source
from inference import relay
from inference.dispatch import Dispatch
from inference.models import Job, ModelVersion
from tests import factories
from tests.inference.steps import claim, judge

CAPACITY = 2
WINDOW = relay.PUBLISH_AHEAD * CAPACITY


class Recorder(Dispatch):
    """Notes what is published; the broker is down for jobs in `refused`."""

    sent: list[tuple[str, uuid.UUID]]
    refused: set[uuid.UUID]

    def capacity(self, model: str) -> int:
        return CAPACITY

    def publish(self, model: str, job_id: uuid.UUID) -> None:
        if job_id in self.refused:
            raise ConnectionError("the broker is down")
        self.sent.append((model, job_id))


@pytest.fixture(autouse=True)
def _recorder(settings: Any) -> None:
    judge(settings)
    Recorder.sent, Recorder.refused = [], set()
    settings.DISPATCHES = {
        settings.DISPATCH: {"BACKEND": f"{Recorder.__module__}.Recorder", "OPTIONS": {}},
    }


@pytest.fixture
def rich(charlies_workspace: Workspace) -> Workspace:
    """charlie's workspace, with credits."""
    ledger.grant(charlies_workspace.pk, 1_000, Source.PROMOTIONAL, "test:charlie")
    return charlies_workspace


def queue(workspace: Workspace, count: int, **fields: Any) -> list[Job]:
    return [factories.job(workspace, **fields) for _ in range(count)]


def sent() -> list[uuid.UUID]:
    return [job_id for _, job_id in Recorder.sent]


def waiting() -> int:
    return OutboxMessage.objects.filter(published_at__isnull=True).count()


class TestRunOnce:
    def test_publishes_jobs_in_the_order_they_came(self, workspace: Workspace, model: ModelVersion) -> None:
        queued = queue(workspace, 3)

        assert relay.run_once() == 3
        assert Recorder.sent == [("fake", job.pk) for job in queued]

    def test_publishes_a_job_only_once(self, workspace: Workspace, model: ModelVersion) -> None:
        queue(workspace, 1)
        relay.run_once()

        assert relay.run_once() == 0
        assert len(sent()) == 1

    def test_has_nothing_to_do_without_jobs(self, workspace: Workspace, model: ModelVersion) -> None:
        assert relay.run_once() == 0

    def test_publishes_three_times_the_capacity_ahead(
        self, workspace: Workspace, model: ModelVersion
    ) -> None:
        queue(workspace, WINDOW + 2)

        assert relay.run_once() == WINDOW
        assert (relay.run_once(), waiting()) == (0, 2)

    def test_refills_when_a_job_is_claimed(self, workspace: Workspace, model: ModelVersion) -> None:
        queued = queue(workspace, WINDOW + 2)
        relay.run_once()
        claim(queued[0])

        assert relay.run_once() == 1
        assert sent()[-1] == queued[WINDOW].pk

    def test_has_a_window_for_each_model(self, workspace: Workspace, model: ModelVersion) -> None:
        other = factories.fake_model("other")
        queue(workspace, WINDOW + 1)
        queue(workspace, 1, model=other.model_id)

        assert relay.run_once() == WINDOW + 1
        assert [name for name, _ in Recorder.sent].count("other") == 1


class TestTurns:
    def test_put_a_single_job_into_the_first_window(
        self, workspace: Workspace, rich: Workspace, model: ModelVersion
    ) -> None:
        queue(workspace, 20)
        (single,) = queue(rich, 1)

        relay.run_once()

        assert sent().index(single.pk) == 1

    def test_share_the_window_between_two_busy_workspaces(
        self, workspace: Workspace, rich: Workspace, model: ModelVersion
    ) -> None:
        queue(workspace, WINDOW)
        charlies = {job.pk for job in queue(rich, WINDOW)}

        relay.run_once()

        assert len(charlies & set(sent())) == WINDOW // 2


class TestBrokerFault:
    def test_keeps_the_message_waiting(self, workspace: Workspace, model: ModelVersion) -> None:
        (job,) = queue(workspace, 1)
        Recorder.refused = {job.pk}

        assert relay.run_once() == 0
        assert waiting() == 1

    def test_keeps_what_was_sent_before_it(self, workspace: Workspace, model: ModelVersion) -> None:
        first, second, _ = queue(workspace, 3)
        Recorder.refused = {second.pk}

        assert relay.run_once() == 1
        assert (sent(), waiting()) == ([first.pk], 2)

    def test_is_made_good_when_the_broker_is_back(self, workspace: Workspace, model: ModelVersion) -> None:
        (job,) = queue(workspace, 1)
        Recorder.refused = {job.pk}
        relay.run_once()
        Recorder.refused = set()

        relay.run_once()

        assert (sent(), waiting()) == ([job.pk], 0)

    def test_of_one_model_does_not_stop_another(self, workspace: Workspace, model: ModelVersion) -> None:
        factories.fake_model("other")
        (job,) = queue(workspace, 1)
        (others,) = queue(workspace, 1, model="other")
        Recorder.refused = {job.pk}

        relay.run_once()

        assert sent() == [others.pk]
