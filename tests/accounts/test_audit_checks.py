"""Every way of tampering that we can think of, done to a sealed log whose triggers are lifted."""

import tracemalloc
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from accounts import audit_checks, audit_seals
from accounts.audit_checks import Head, Kind
from accounts.models import AuditEvent, AuditSeal, SealedEvent, Workspace
from tests.accounts.audit_log import events_of, later, many, record, seal, sealed

pytestmark = pytest.mark.usefixtures("audit_unprotected")

CHANGES: dict[str, Any] = {
    "action": "job:accepted",
    "actor": "user:somebody",
    "target": "job_9",
    "data": {"role": "owner"},
    "prompt_hash": "0" * 64,
    "prompt_hash_key_id": "another",
    "request_id": "req_9",
    "created_at": F("created_at") - timedelta(microseconds=1_000),
}


def seals_of(workspace: Workspace) -> Any:
    return AuditSeal.objects.for_workspace(workspace)


def places_of(workspace: Workspace) -> Any:
    return SealedEvent.objects.for_workspace(workspace)


@pytest.fixture
def events(workspace: Workspace) -> list[AuditEvent]:
    """Five events in three seals, the first of them together with those of the workspace's opening."""
    taken = []
    for targets in (["job_1"], ["job_2", "job_3"], ["job_4", "job_5"]):
        taken += record(workspace, *targets)
        seal(workspace)
    return taken


def found(workspace: Workspace | None, *heads: Head, **age: float) -> list[Kind]:
    checked = audit_checks.verify(workspace and workspace.pk, heads, later(**age))
    return [discrepancy.kind for discrepancy in checked]


def head(workspace: Workspace) -> Head:
    """As the log told it when the last seal was made."""
    last = seals_of(workspace).latest("number")
    return Head(workspace.pk, last.number, last.digest)


def take_out(workspace: Workspace, target: str) -> AuditEvent:
    """The event, which is no longer in the table and keeps its id."""
    event = events_of(workspace).get(target=target)
    events_of(workspace).filter(pk=event.pk).delete()
    return event


def cut(workspace: Workspace, number: int) -> list[int]:
    """Take a seal away with everything in it; tells the events that were there."""
    gone = list(places_of(workspace).filter(seal__number=number).values_list("event_id", flat=True))
    places_of(workspace).filter(seal__number=number).delete()
    seals_of(workspace).filter(number=number).delete()
    return gone


class TestCleanLog:
    def test_shows_nothing(self, workspace: Workspace, events: list[AuditEvent]) -> None:
        assert found(workspace, head(workspace), days=1) == []

    def test_shows_nothing_when_nothing_was_ever_sealed(self, workspace: Workspace) -> None:
        assert found(workspace) == []

    def test_may_have_an_event_that_waits_for_its_seal(
        self, workspace: Workspace, events: list[AuditEvent]
    ) -> None:
        record(workspace, "job_6")

        assert found(workspace, minutes=59) == []

    def test_may_have_an_event_of_a_slow_transaction(self, workspace: Workspace) -> None:
        record(workspace, "job_1", "slow", "job_2")
        slow = take_out(workspace, "slow")
        seal(workspace)
        slow.save(force_insert=True)

        seal(workspace, later(minutes=1))

        assert len(sealed(workspace)) == events_of(workspace).count()
        assert found(workspace, days=1) == []

    def test_may_have_been_left_unsealed_for_long(self, workspace: Workspace) -> None:
        record(workspace, "job_1")
        seal(workspace, later(days=1))

        assert found(workspace, days=2) == []

    def test_may_be_sealed_in_parts(self, workspace: Workspace) -> None:
        many(workspace.pk, 2 * audit_seals.EVENTS_PER_SEAL)
        audit_seals.seal_due(later())

        assert found(workspace, head(workspace), days=1) == []

    def test_may_be_sealed_under_several_secrets(
        self, workspace: Workspace, events: list[AuditEvent], settings: Any
    ) -> None:
        settings.KEYRING_SECRETS = {"2": "a newer secret", **settings.KEYRING_SECRETS}
        record(workspace, "job_6")

        assert seal(workspace).key_id == "2"
        assert found(workspace, head(workspace), days=1) == []


class TestEvent:
    @pytest.mark.parametrize("column", CHANGES)
    def test_is_found_when_edited(self, workspace: Workspace, events: list[AuditEvent], column: str) -> None:
        events_of(workspace).filter(pk=events[2].pk).update(**{column: CHANGES[column]})

        assert found(workspace) == [Kind.EVENT_CHANGED]

    def test_has_a_rule_for_every_column(self) -> None:
        assert {*CHANGES, "id", "workspace_id"} == set(audit_seals.COLUMNS)

    def test_is_found_when_given_to_another_workspace(
        self, workspace: Workspace, charlies_workspace: Workspace, events: list[AuditEvent]
    ) -> None:
        seal(charlies_workspace)
        events_of(workspace).filter(pk=events[2].pk).update(workspace=charlies_workspace)

        assert found(workspace) == [Kind.EVENT_CHANGED]
        assert found(charlies_workspace, days=1) == [Kind.EVENT_UNSEALED]

    def test_is_found_when_renumbered(self, workspace: Workspace, events: list[AuditEvent]) -> None:
        events_of(workspace).filter(pk=events[2].pk).update(id=events[-1].pk + 100)

        assert found(workspace, days=1) == [Kind.EVENT_MISSING, Kind.EVENT_UNSEALED]

    @pytest.mark.parametrize("place", range(5))
    def test_is_found_when_deleted(self, workspace: Workspace, events: list[AuditEvent], place: int) -> None:
        events_of(workspace).filter(pk=events[place].pk).delete()

        assert found(workspace) == [Kind.EVENT_MISSING]

    def test_is_found_when_deleted_with_its_place(
        self, workspace: Workspace, events: list[AuditEvent]
    ) -> None:
        places_of(workspace).filter(event_id=events[2].pk).delete()
        events_of(workspace).filter(pk=events[2].pk).delete()

        assert found(workspace) == [Kind.SEAL_CHANGED]

    def test_is_found_when_swapped_with_another(self, workspace: Workspace, events: list[AuditEvent]) -> None:
        for one, other in ((events[1], events[2]), (events[2], events[1])):
            events_of(workspace).filter(pk=one.pk).update(target=other.target, created_at=other.created_at)

        assert found(workspace) == [Kind.EVENT_CHANGED, Kind.EVENT_CHANGED]

    def test_is_found_when_it_was_never_sealed(self, workspace: Workspace, events: list[AuditEvent]) -> None:
        record(workspace, "job_6")

        assert found(workspace, minutes=61) == [Kind.EVENT_UNSEALED]

    def test_is_named_with_its_seal_and_nothing_it_says(
        self, workspace: Workspace, events: list[AuditEvent]
    ) -> None:
        events_of(workspace).filter(pk=events[2].pk).update(target="secret")

        (told,) = audit_checks.verify(workspace.pk, [], later())

        assert told.subject.endswith(f" event {events[2].pk}")
        assert told.detail == "seal 2, position 2"
        assert "secret" not in str(told)


class TestInsertedEvent:
    @pytest.fixture
    def gap(self, workspace: Workspace) -> AuditEvent:
        """An event that is not there, between two that are sealed."""
        record(workspace, "job_1", "forged", "job_2")
        forged = take_out(workspace, "forged")
        seal(workspace)
        return forged

    def test_is_found_before_it_is_sealed(self, workspace: Workspace, gap: AuditEvent) -> None:
        gap.created_at = later(hours=3)
        gap.save(force_insert=True)

        assert found(workspace, hours=3) == [Kind.EVENT_INSERTED]

    def test_is_found_after_it_was_sealed(self, workspace: Workspace, gap: AuditEvent) -> None:
        gap.save(force_insert=True)
        seal(workspace, later(hours=3))

        assert found(workspace, hours=3) == [Kind.EVENT_INSERTED]

    def test_is_found_by_a_time_of_long_ago(self, workspace: Workspace, gap: AuditEvent) -> None:
        gap.pk, gap.created_at = gap.pk + 100, gap.created_at - timedelta(hours=2)
        gap.save(force_insert=True)
        seal(workspace)

        assert found(workspace) == [Kind.EVENT_INSERTED]

    def test_is_found_with_a_place_that_somebody_gave_it(self, workspace: Workspace, gap: AuditEvent) -> None:
        gap.save(force_insert=True)
        SealedEvent.objects.create(
            event_id=gap.pk, workspace=workspace, seal=seals_of(workspace).get(), position=99, digest="0" * 64
        )

        assert found(workspace) == [Kind.SEAL_CHANGED, Kind.EVENT_CHANGED]

    def test_is_found_with_a_place_in_a_foreign_chain(
        self, workspace: Workspace, charlies_workspace: Workspace, gap: AuditEvent
    ) -> None:
        foreign = seal(charlies_workspace)
        gap.save(force_insert=True)
        SealedEvent.objects.create(
            event_id=gap.pk, workspace=workspace, seal=foreign, position=99, digest="0" * 64
        )

        assert found(charlies_workspace) == [Kind.SEAL_CHANGED, Kind.EVENT_CHANGED]


class TestSeal:
    @pytest.mark.parametrize(
        "change",
        [{"digest": "0" * 64}, {"event_id": 987_654}, {"position": 77}],
        ids=lambda change: next(iter(change)),
    )
    def test_is_found_when_a_place_is_edited(
        self, workspace: Workspace, events: list[AuditEvent], change: dict[str, Any]
    ) -> None:
        places_of(workspace).filter(event_id=events[2].pk).update(**change)

        assert Kind.SEAL_CHANGED in found(workspace)

    def test_is_found_when_a_place_changed_hands(
        self, workspace: Workspace, charlies_workspace: Workspace, events: list[AuditEvent]
    ) -> None:
        places_of(workspace).filter(event_id=events[2].pk).update(workspace=charlies_workspace)

        assert found(workspace) == [Kind.SEAL_CHANGED]

    def test_is_found_when_two_places_are_swapped(
        self, workspace: Workspace, events: list[AuditEvent]
    ) -> None:
        for event, position in ((events[1], 77), (events[2], 1), (events[1], 2)):
            places_of(workspace).filter(event_id=event.pk).update(position=position)

        assert found(workspace) == [Kind.SEAL_CHANGED]

    def test_is_found_when_all_its_places_are_gone(
        self, workspace: Workspace, events: list[AuditEvent]
    ) -> None:
        places_of(workspace).filter(seal__number=2).delete()

        assert found(workspace) == [Kind.SEAL_CHANGED]
        assert found(workspace, days=1)[1:] == [Kind.EVENT_INSERTED, Kind.EVENT_INSERTED]

    def test_is_found_when_its_time_is_edited(self, workspace: Workspace, events: list[AuditEvent]) -> None:
        seals_of(workspace).filter(number=2).update(created_at=later(minutes=-5))

        assert found(workspace) == [Kind.SEAL_CHANGED]

    def test_is_found_when_its_digest_is_edited(self, workspace: Workspace, events: list[AuditEvent]) -> None:
        seals_of(workspace).filter(number=2).update(digest="0" * 64)

        assert found(workspace) == [Kind.SEAL_CHANGED, Kind.LINK_BROKEN]

    def test_is_found_when_its_link_is_edited(self, workspace: Workspace, events: list[AuditEvent]) -> None:
        seals_of(workspace).filter(number=2).update(previous_digest="0" * 64)

        assert found(workspace) == [Kind.LINK_BROKEN, Kind.SEAL_CHANGED]

    def test_is_found_when_swapped_with_another(self, workspace: Workspace, events: list[AuditEvent]) -> None:
        for number, other in ((2, 77), (3, 2), (77, 3)):
            seals_of(workspace).filter(number=number).update(number=other)

        assert found(workspace) == [Kind.LINK_BROKEN, Kind.SEAL_CHANGED] * 2

    @pytest.mark.parametrize("number", [1, 2])
    def test_is_found_when_it_is_gone(
        self, workspace: Workspace, events: list[AuditEvent], number: int
    ) -> None:
        gone = cut(workspace, number)
        events_of(workspace).filter(pk__in=gone).delete()

        assert found(workspace) == [Kind.SEAL_MISSING]

    def test_is_found_when_the_next_one_was_made_to_follow_the_gap(
        self, workspace: Workspace, events: list[AuditEvent]
    ) -> None:
        cut(workspace, 2)
        first = seals_of(workspace).get(number=1)
        seals_of(workspace).filter(number=3).update(number=2, previous_digest=first.digest)

        assert found(workspace) == [Kind.SEAL_CHANGED]


class TestHead:
    @pytest.fixture
    def heads(self, workspace: Workspace) -> list[Head]:
        """Of three seals, each told when it was the last."""
        told = []
        for target in ("job_1", "job_2", "job_3"):
            record(workspace, target)
            seal(workspace)
            told.append(head(workspace))
        return told

    def test_finds_a_tail_that_was_cut(self, workspace: Workspace, heads: list[Head]) -> None:
        gone = cut(workspace, 3)
        events_of(workspace).filter(pk__in=gone).delete()

        assert found(workspace) == []
        assert found(workspace, *heads) == [Kind.HEAD_MISSING]

    def test_finds_a_tail_that_grew_again(self, workspace: Workspace, heads: list[Head]) -> None:
        gone = cut(workspace, 3)
        events_of(workspace).filter(pk__in=gone).update(target="job_9")
        seal(workspace)

        assert found(workspace) == []
        assert found(workspace, *heads) == [Kind.HEAD_DIFFERS]

    def test_finds_a_chain_that_was_made_anew_and_told_again(
        self, workspace: Workspace, heads: list[Head]
    ) -> None:
        for number in (3, 2, 1):
            cut(workspace, number)
        for _ in range(3):
            seal(workspace)
            record(workspace, "another")

        assert found(workspace) == []
        assert found(workspace, *heads, head(workspace)) == [
            Kind.HEAD_DIFFERS,
            Kind.HEAD_DIFFERS,
            Kind.HEAD_DIFFERS,
        ]

    def test_finds_a_log_that_is_gone_altogether(self, workspace: Workspace, heads: list[Head]) -> None:
        for model in (SealedEvent, AuditSeal, AuditEvent):
            model.objects.for_workspace(workspace).delete()

        assert found(None) == []
        assert found(None, *heads) == [Kind.HEAD_MISSING] * 3

    def test_of_another_workspace_does_not_count(
        self, workspace: Workspace, charlies_workspace: Workspace, heads: list[Head]
    ) -> None:
        assert found(charlies_workspace, Head(workspace.pk, 4, "0" * 64)) == []


class TestSecret:
    def test_is_missed_once_however_many_seals_need_it(
        self, workspace: Workspace, events: list[AuditEvent], settings: Any
    ) -> None:
        settings.KEYRING_SECRETS = {"2": "a newer secret"}
        record(workspace, "job_6")
        seal(workspace)

        (told,) = audit_checks.verify(workspace.pk, [], later())

        assert told.kind == Kind.SECRET_MISSING
        assert told.detail == "id 1, first needed here"

    def test_is_not_needed_to_miss_an_event(
        self, workspace: Workspace, events: list[AuditEvent], settings: Any
    ) -> None:
        settings.KEYRING_SECRETS = {"2": "a newer secret"}
        events_of(workspace).filter(pk=events[2].pk).delete()

        assert found(workspace) == [Kind.SECRET_MISSING, Kind.EVENT_MISSING]

    def test_is_found_to_be_another_one(
        self, workspace: Workspace, events: list[AuditEvent], settings: Any
    ) -> None:
        settings.KEYRING_SECRETS = {"1": "not the one that sealed"}

        assert set(found(workspace)) == {Kind.SEAL_CHANGED, Kind.EVENT_CHANGED}


class TestVerify:
    def test_looks_at_one_workspace_or_at_all(
        self, workspace: Workspace, charlies_workspace: Workspace, events: list[AuditEvent]
    ) -> None:
        events_of(workspace).filter(pk=events[2].pk).delete()

        assert found(charlies_workspace) == []
        assert found(None) == [Kind.EVENT_MISSING]

    def test_takes_no_more_memory_for_a_longer_log(self, workspace: Workspace) -> None:
        peaks = []
        for events in (1_000, 3_000):
            many(workspace.pk, events)
            audit_seals.seal_due(later())
            tracemalloc.start()
            assert found(workspace) == []
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()

        assert peaks[1] < 2 * peaks[0]  # four times the events


class TestHeadsIn:
    LINE = (
        '{"event": "audit sealed", "workspace_id": "ws_%s", "number": 7, "digest": "ab", "level": "info"}\n'
    )

    def test_are_read_from_our_log(self, workspace: Workspace) -> None:
        (told,) = audit_checks.heads_in([self.LINE % ("0" * 26)])

        assert (told.workspace_id.int, told.number, told.digest) == (0, 7, "ab")

    @pytest.mark.parametrize(
        "line",
        [
            "\n",
            "audit sealed\n",
            '"audit sealed"\n',
            '{"event": "request", "path": "audit sealed"}\n',
            LINE[:50],
            '{"event": "audit sealed"}\n',
        ],
    )
    def test_are_nothing_else(self, line: str) -> None:
        assert list(audit_checks.heads_in([line])) == []


class TestChains:
    def test_tell_what_is_sealed_and_the_head(self, workspace: Workspace, events: list[AuditEvent]) -> None:
        record(workspace, "job_6")

        (chain,) = audit_checks.chains(None)

        assert chain.head == head(workspace)
        assert chain.events == events_of(workspace).count() - 1
