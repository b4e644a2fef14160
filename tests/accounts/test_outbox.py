import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError

from accounts import ids, outbox
from accounts.models import OutboxMessage
from accounts.outbox import Topic

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALICES, CHARLIES, DORAS = (ids.new_id() for _ in range(3))
MODEL = "a model"


def put(key: str, workspace_id: uuid.UUID = ALICES, *, rank: int = 0, partition: str = MODEL) -> None:
    outbox.put(Topic.JOB_QUEUED, key, {}, workspace_id=workspace_id, rank=rank, partition=partition)


def turns(limit: int = 100, partition: str = MODEL) -> list[str]:
    return [message.key for message in outbox.next_in_turn(Topic.JOB_QUEUED, partition, limit, NOW)]


def publish(limit: int = 100, now: datetime = NOW) -> None:
    outbox.mark_published(outbox.next_in_turn(Topic.JOB_QUEUED, MODEL, limit, now), now)


class TestPut:
    def test_keeps_the_payload(self) -> None:
        outbox.put(Topic.JOB_QUEUED, "job_1", {"job_id": "7"}, workspace_id=ALICES)

        assert OutboxMessage.objects.get(key="job_1").payload == {"job_id": "7"}

    def test_refuses_a_second_message_of_the_same_topic_and_key(self) -> None:
        put("job_1")

        with pytest.raises(IntegrityError):
            put("job_1", CHARLIES, partition="another model")

    def test_takes_the_key_again_when_it_is_done(self) -> None:
        put("job_1")
        outbox.done(Topic.JOB_QUEUED, "job_1")

        put("job_1")

        assert turns() == ["job_1"]


class TestNextInTurn:
    def test_goes_from_workspace_to_workspace(self) -> None:
        for key in ("a1", "a2", "a3"):
            put(key, ALICES)
        for key in ("c1", "c2"):
            put(key, CHARLIES)
        put("d1", DORAS)

        assert turns() == ["a1", "c1", "d1", "a2", "c2", "a3"]

    def test_does_not_let_a_long_queue_starve_a_short_one(self) -> None:
        for number in range(50):
            put(f"a{number}", ALICES)
        put("c1", CHARLIES)

        assert turns(limit=2) == ["a0", "c1"]

    def test_puts_the_lower_rank_first_within_a_workspace(self) -> None:
        put("batch", rank=2)
        put("standard", rank=1)
        put("interactive", rank=0)

        assert turns() == ["interactive", "standard", "batch"]

    def test_puts_the_older_first_within_a_rank(self) -> None:
        put("older", rank=1)
        put("newer", rank=1)

        assert turns() == ["older", "newer"]

    def test_puts_the_lower_rank_first_among_workspaces_of_one_turn(self) -> None:
        put("alice's batch", ALICES, rank=2)
        put("charlie's", CHARLIES, rank=0)

        assert turns() == ["charlie's", "alice's batch"]

    def test_gives_every_workspace_its_turn_whatever_the_rank(self) -> None:
        put("c1", CHARLIES, rank=0)
        put("c2", CHARLIES, rank=0)
        put("alice's batch", ALICES, rank=2)

        assert turns() == ["c1", "alice's batch", "c2"]

    def test_gives_no_more_than_the_limit(self) -> None:
        for number in range(5):
            put(f"job_{number}")

        assert turns(limit=3) == ["job_0", "job_1", "job_2"]

    def test_leaves_out_another_partition(self) -> None:
        put("mine")
        put("theirs", partition="another model")

        assert turns() == ["mine"]

    def test_leaves_out_what_is_published(self) -> None:
        put("first")
        publish()
        put("second")

        assert turns() == ["second"]


class TestNotBefore:
    def test_holds_a_message_back_until_then(self) -> None:
        self.put_back_until(NOW + timedelta(seconds=1))

        assert turns() == []

    def test_lets_it_go_at_that_time(self) -> None:
        self.put_back_until(NOW)

        assert turns() == ["a1"]

    def put_back_until(self, time: datetime) -> None:
        outbox.put(Topic.JOB_QUEUED, "a1", {}, workspace_id=ALICES, partition=MODEL, not_before_at=time)


class TestWaitingPartitions:
    def test_names_each_once(self) -> None:
        put("1", partition="b")
        put("2", partition="a")
        put("3", partition="b")

        assert outbox.waiting_partitions(Topic.JOB_QUEUED) == ["a", "b"]

    def test_leaves_out_a_partition_with_nothing_waiting(self) -> None:
        put("1")
        publish()

        assert outbox.waiting_partitions(Topic.JOB_QUEUED) == []


class TestPublishedCount:
    def test_counts_what_is_on_its_way(self) -> None:
        for number in range(3):
            put(f"job_{number}")

        publish(limit=2)

        assert outbox.published_count(Topic.JOB_QUEUED, MODEL) == 2

    def test_leaves_out_another_partition(self) -> None:
        put("job_1")
        publish()

        assert outbox.published_count(Topic.JOB_QUEUED, "another model") == 0

    def test_falls_when_a_message_is_done(self) -> None:
        put("job_1")
        publish()

        outbox.done(Topic.JOB_QUEUED, "job_1")

        assert outbox.published_count(Topic.JOB_QUEUED, MODEL) == 0


class TestDone:
    def test_takes_a_waiting_message_away(self) -> None:
        put("job_1")

        outbox.done(Topic.JOB_QUEUED, "job_1")

        assert turns() == []

    def test_leaves_others_alone(self) -> None:
        put("job_1")
        put("job_2")

        outbox.done(Topic.JOB_QUEUED, "job_1")

        assert turns() == ["job_2"]

    def test_may_be_said_twice(self) -> None:
        put("job_1")
        outbox.done(Topic.JOB_QUEUED, "job_1")

        outbox.done(Topic.JOB_QUEUED, "job_1")

        assert turns() == []


class TestRequeueStale:
    def test_puts_back_what_was_published_before(self) -> None:
        put("job_1")
        publish()

        count = outbox.requeue_stale(Topic.JOB_QUEUED, NOW + timedelta(seconds=1), [MODEL])

        assert (count, turns()) == (1, ["job_1"])

    def test_leaves_what_was_published_since(self) -> None:
        put("job_1")
        publish()

        count = outbox.requeue_stale(Topic.JOB_QUEUED, NOW, [MODEL])

        assert (count, turns()) == (0, [])

    def test_makes_room_in_the_window(self) -> None:
        put("job_1")
        publish()

        outbox.requeue_stale(Topic.JOB_QUEUED, NOW + timedelta(seconds=1), [MODEL])

        assert outbox.published_count(Topic.JOB_QUEUED, MODEL) == 0

    def test_leaves_what_was_never_published(self) -> None:
        put("job_1")

        assert outbox.requeue_stale(Topic.JOB_QUEUED, NOW, [MODEL]) == 0


class TestForget:
    def test_drops_what_was_to_happen_for_one_workspace(self) -> None:
        put("job_1")
        put("job_2", CHARLIES)
        publish()
        put("job_3")

        assert outbox.forget(ALICES) == 2
        assert [message.key for message in OutboxMessage.objects.all()] == ["job_2"]
