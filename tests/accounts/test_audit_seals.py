import logging
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction

from accounts import audit, audit_seals, ids
from accounts.audit_seals import COLUMNS, Rounds
from accounts.models import AuditEvent, AuditSeal, SealedEvent, Workspace
from tests.accounts.audit_log import events_of, later, many, record, seal, sealed

OTHER: dict[str, Any] = {
    "id": 0,
    "workspace_id": uuid.UUID(int=1),
    "data": {"role": "owner"},
    "created_at": datetime(2020, 1, 1, tzinfo=UTC),
}


@pytest.fixture
def event(workspace: Workspace) -> AuditEvent:
    return record(workspace, "job_1")[0]


class TestEventDigest:
    def test_is_made_of_every_column(self) -> None:
        assert {field.attname for field in AuditEvent._meta.concrete_fields} == set(COLUMNS)

    @pytest.mark.parametrize("column", COLUMNS)
    def test_differs_when_the_column_does(self, event: AuditEvent, column: str) -> None:
        before = audit_seals.event_digest(event, "1")

        setattr(event, column, OTHER.get(column, "other"))

        assert audit_seals.event_digest(event, "1") != before

    def test_does_not_depend_on_the_zone_in_which_a_time_is_told(self, event: AuditEvent) -> None:
        before = audit_seals.event_digest(event, "1")

        event.created_at = datetime.fromisoformat(event.created_at.isoformat())

        assert audit_seals.event_digest(event, "1") == before

    def test_cannot_be_made_without_the_secret(self, event: AuditEvent, settings: Any) -> None:
        before = audit_seals.event_digest(event, "1")

        settings.KEYRING_SECRETS = {"1": "a guess"}

        assert audit_seals.event_digest(event, "1") != before


class TestSeal:
    def test_takes_every_event_in_the_order_of_ids(self, workspace: Workspace) -> None:
        record(workspace, "job_1", "job_2")

        seal(workspace)

        pks = events_of(workspace).order_by("pk").values_list("pk", flat=True)
        assert sealed(workspace) == [(1, position, pk) for position, pk in enumerate(pks, start=1)]

    def test_begins_a_chain_with_nothing_before_it(self, workspace: Workspace) -> None:
        made = seal(workspace)

        assert (made.number, made.previous_digest) == (1, "")

    def test_goes_on_from_the_last_one(self, workspace: Workspace) -> None:
        first = seal(workspace)
        (event,) = record(workspace, "job_1")

        second = seal(workspace)

        assert (second.number, second.previous_digest) == (2, first.digest)
        assert sealed(workspace)[-1] == (2, 1, event.pk)

    def test_makes_nothing_of_nothing(self, workspace: Workspace) -> None:
        seal(workspace)

        assert audit_seals.seal(workspace.pk, later()) is None
        assert AuditSeal.objects.for_workspace(workspace).count() == 1

    def test_takes_no_events_of_others(self, workspace: Workspace, charlies_workspace: Workspace) -> None:
        record(charlies_workspace, "job_1")

        seal(workspace)

        assert sealed(charlies_workspace) == []

    def test_takes_a_bounded_number_at_once(self, workspace: Workspace) -> None:
        many(workspace.pk, audit_seals.EVENTS_PER_SEAL)
        events = events_of(workspace).count()

        seal(workspace)

        assert len(sealed(workspace)) == audit_seals.EVENTS_PER_SEAL < events

    def test_takes_later_what_appeared_below_a_sealed_event(self, workspace: Workspace) -> None:
        (event,) = record(workspace, "job_1")
        slow_id, event.pk = event.pk + 1, event.pk + 2
        event.save(force_insert=True)
        seal(workspace)
        event.pk = slow_id
        event.save(force_insert=True)

        seal(workspace)

        assert sealed(workspace)[-1] == (2, 1, slow_id)

    def test_uses_the_first_secret(self, workspace: Workspace, settings: Any) -> None:
        settings.KEYRING_SECRETS = {"2": "a newer secret", **settings.KEYRING_SECRETS}

        assert seal(workspace).key_id == "2"

    def test_has_the_time_it_was_given(self, workspace: Workspace) -> None:
        now = datetime(2031, 2, 3, 4, 5, 6, 789, tzinfo=UTC)

        made = seal(workspace, now)

        made.refresh_from_db()
        assert made.created_at == now

    def test_refuses_an_event_that_somebody_placed_in_a_foreign_chain(
        self, workspace: Workspace, charlies_workspace: Workspace
    ) -> None:
        (event,) = record(workspace, "job_1")
        foreign = seal(charlies_workspace)
        SealedEvent.objects.create(
            event_id=event.pk, workspace=charlies_workspace, seal=foreign, position=99, digest=""
        )

        with pytest.raises(IntegrityError):
            audit_seals.seal(workspace.pk, later())

    def test_tells_the_head_to_the_log_once_it_is_committed(
        self,
        workspace: Workspace,
        caplog: pytest.LogCaptureFixture,
        django_capture_on_commit_callbacks: Any,
    ) -> None:
        caplog.set_level(logging.INFO)

        with django_capture_on_commit_callbacks() as callbacks:
            made = seal(workspace)
        before = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
        for callback in callbacks:
            callback()

        (told,) = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
        assert before == []
        assert told["event"] == "audit sealed"
        assert told["workspace_id"] == ids.public(ids.Prefix.WORKSPACE, workspace.pk)
        assert (told["number"], told["digest"]) == (1, made.digest)
        assert told["events"] == len(sealed(workspace))


class TestTables:
    @pytest.mark.parametrize("table", audit.TABLES)
    @pytest.mark.parametrize("statement", ["DELETE FROM {}", "UPDATE {} SET workspace_id = workspace_id"])
    def test_are_immutable(self, workspace: Workspace, table: str, statement: str) -> None:
        seal(workspace)

        with pytest.raises(DatabaseError, match=audit.IMMUTABLE), transaction.atomic():
            transaction.get_connection().cursor().execute(statement.format(table))


class TestSealDue:
    def test_seals_for_everybody(self, workspace: Workspace, charlies_workspace: Workspace) -> None:
        assert audit_seals.seal_due(later()) == 2
        assert len(sealed(workspace)) == events_of(workspace).count()
        assert len(sealed(charlies_workspace)) == events_of(charlies_workspace).count()

    def test_does_nothing_twice(self, workspace: Workspace) -> None:
        audit_seals.seal_due(later())

        assert audit_seals.seal_due(later()) == 0

    def test_goes_on_until_nothing_is_left(self, workspace: Workspace) -> None:
        many(workspace.pk, 2 * audit_seals.EVENTS_PER_SEAL)

        assert audit_seals.seal_due(later()) == 3
        assert not audit_seals.unsealed().exists()

    def test_stops_at_its_limit_after_everybody_had_a_turn(
        self, workspace: Workspace, charlies_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        many(workspace.pk, 2 * audit_seals.EVENTS_PER_SEAL)
        monkeypatch.setattr(audit_seals, "SEALS_PER_ROUND", 2)

        assert audit_seals.seal_due(later()) == 2
        assert sealed(charlies_workspace) != []

    def test_goes_on_after_a_workspace_that_cannot_be_sealed(
        self, workspace: Workspace, charlies_workspace: Workspace
    ) -> None:
        foreign = seal(charlies_workspace)
        (event,) = record(workspace, "job_1")
        SealedEvent.objects.create(
            event_id=event.pk, workspace=charlies_workspace, seal=foreign, position=99, digest=""
        )
        record(charlies_workspace, "job_2")

        assert audit_seals.seal_due(later()) == 1
        assert sealed(workspace) == []


class TestRounds:
    def test_come_once_a_minute(self, workspace: Workspace) -> None:
        rounds, now = Rounds(), later()
        made = []

        for seconds in (0, 59, 60):
            record(workspace, f"job_{seconds}")
            made.append(rounds.seal(now + timedelta(seconds=seconds)))

        assert made == [1, 0, 1]

    def test_look_at_the_newest_events_every_minute_and_at_all_every_hour(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(audit_seals, "NEWEST", 2)
        rounds, now = Rounds(), later()
        rounds.seal(now)
        _, second, *_ = record(workspace, "job_1", "job_2", "job_3", "job_4")

        rounds.seal(now + timedelta(minutes=1))
        newest = [event_id for number, _, event_id in sealed(workspace) if number == 2]
        rounds.seal(now + timedelta(minutes=60))

        assert newest == [second.pk, second.pk + 1, second.pk + 2]
        assert not audit_seals.unsealed().exists()

    def test_look_at_all_events_first(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(audit_seals, "NEWEST", 0)

        Rounds().seal(later())

        assert not audit_seals.unsealed().exists()

    def test_go_on_at_once_after_one_that_came_to_its_limit(
        self, workspace: Workspace, charlies_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(audit_seals, "SEALS_PER_ROUND", 1)
        rounds, now = Rounds(), later()

        made = [rounds.seal(now), rounds.seal(now), rounds.seal(now), rounds.seal(now)]

        assert made == [1, 1, 0, 0]
