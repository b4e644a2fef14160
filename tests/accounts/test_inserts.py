import uuid
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts import clock
from accounts.inserts import insert, together
from accounts.models import AuditEvent, OutboxMessage, Workspace


def message(key: str, **fields: object) -> OutboxMessage:
    return OutboxMessage(topic="job.queued", key=key, **fields)


@pytest.mark.django_db
class TestInsert:
    def test_writes_what_save_would_write(self) -> None:
        moment = clock.now() + timedelta(days=1)
        fields = {"payload": {"a": [1, None]}, "workspace_id": uuid.uuid4(), "not_before_at": moment}

        insert(message("by insert", **fields))
        message("by save", **fields).save()

        own = OutboxMessage.objects.values("topic", "partition", "rank", "published_at", *fields)
        assert own.get(key="by insert") == own.get(key="by save")

    def test_leaves_to_the_database_what_it_fills_in(self) -> None:
        insert(message("one"))

        row = OutboxMessage.objects.get(key="one")
        assert row.pk is not None
        assert abs(row.created_at - clock.now()) < timedelta(minutes=1)

    def test_writes_many_rows_in_one_statement(self) -> None:
        with CaptureQueriesContext(connection) as captured:
            insert(message("one"), message("two"), message("three"))

        assert len(captured) == 1
        assert OutboxMessage.objects.count() == 3

    def test_refuses_a_twin_as_save_does(self) -> None:
        insert(message("one"))

        with pytest.raises(IntegrityError), transaction.atomic():
            insert(message("one"))

    def test_marks_the_row_as_written(self, workspace: Workspace) -> None:
        event = AuditEvent(workspace=workspace, action="a:b", actor="system", target="x")

        insert(event)

        assert not event._state.adding


@pytest.mark.django_db
class TestTogether:
    def test_writes_all(self) -> None:
        with together():
            insert(message("one"))
            insert(message("two"))

        assert OutboxMessage.objects.count() == 2

    def test_raises_what_one_of_them_raises(self) -> None:
        insert(message("one"))

        with pytest.raises(IntegrityError), transaction.atomic():
            _write_together("one", "two")


def _write_together(*keys: str) -> None:
    with together():
        for key in keys:
            insert(message(key))
