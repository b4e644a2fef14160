from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import connection

from accounts import api_keys, audit, clock, keyring, outbox, quotas, workspaces
from accounts.api_keys import KeyRefused
from accounts.keyring import ContentUnreadable
from accounts.models import (
    ApiKey,
    AuditEvent,
    Entitlements,
    Membership,
    OutboxMessage,
    QuotaUnit,
    Subject,
    User,
    Window,
    Workspace,
    WorkspaceKeyring,
)
from accounts.outbox import Topic
from accounts.tenancy import WorkspaceOwned
from billing import ledger
from billing.models import UsageRecord
from inference import content, job_deletion, jobs, prompts, retention, storage, workspace_deletion
from inference.models import Image, Job, JobContent, ModelVersion, State
from inference.prompts import TemplateText
from inference.requests import Delivery
from inference.workspace_deletion import BY_THEMSELVES, KEPT, WITH_THEIR_JOBS, NotYet
from tests import factories
from tests.inference import stubborn_storage
from tests.inference.steps import available, change, claim, discrepancies, judge, stored
from tests.inference.stubborn_storage import files_of

SECRET = "heliotrope submarine"


@pytest.fixture(autouse=True)
def _books_in_order(db: None, settings: Any) -> Iterator[None]:
    judge(settings, flag_words=["doubtful"])
    yield
    assert discrepancies() == []


@pytest.fixture
def full(workspace: Workspace, model: ModelVersion, bobs_membership: Membership, key: str) -> Workspace:
    """alice's workspace with something in every table."""
    Entitlements.objects.create(workspace=workspace, concurrent_jobs=50)
    fill(workspace)
    caller = factories.caller(workspace, membership=bobs_membership)
    jobs.submit(caller, factories.request(SECRET), Delivery(), "once")
    factories.drain()
    factories.run(factories.job(workspace, f"a doubtful {SECRET}"))
    lost = claim(factories.job(workspace))
    stored(lost)
    jobs.fail(lost, "engine_failed", "The model failed.")
    service = api_keys.issue(workspace, "service")
    api_keys.rotate(service.key, timedelta(days=1))
    return workspace


def fill(workspace: Workspace) -> None:
    prompts.save(workspace.pk, "house-style", TemplateText(preamble=SECRET))
    quotas.set_limit(workspace.pk, Subject.WORKSPACE, "", QuotaUnit.IMAGES, Window.MONTH, 1_000)


def closed(workspace: Workspace) -> datetime:
    """The workspace's date, as its owner had it closed now."""
    date = workspaces.close(workspace.pk, clock.now()).closing_at
    assert date is not None
    return date


def delete(workspace: Workspace, now: datetime) -> int:
    """All steps that are needed; returns how many."""
    steps = 0
    while workspace_deletion.advance(workspace.pk, now):
        steps += 1
        assert steps < 100, "it never ends"
    return steps


def left_of(workspace: Workspace) -> set[type[Any]]:
    """Tables that still have rows of the workspace, besides those that stay."""
    owned = {model for model in apps.get_models() if issubclass(model, WorkspaceOwned)}
    left = {model for model in owned - set(KEPT) if model.objects.for_workspace(workspace).exists()}
    for model in (Entitlements, WorkspaceKeyring):
        if model.objects.filter(workspace=workspace).exists():
            left.add(model)
    return left


class TestTables:
    def test_of_a_workspace_are_all_deleted_or_kept_on_purpose(self) -> None:
        owned = {model for model in apps.get_models() if issubclass(model, WorkspaceOwned)}

        assert owned == {*WITH_THEIR_JOBS, *BY_THEMSELVES, *KEPT}

    def test_hold_something_before_the_deletion(self, full: Workspace) -> None:
        """Else the next tests would prove nothing."""
        assert left_of(full) == {*WITH_THEIR_JOBS, *BY_THEMSELVES, Entitlements, WorkspaceKeyring}


class TestDeletion:
    def test_leaves_no_row_that_is_not_kept(self, full: Workspace) -> None:
        delete(full, closed(full))

        assert left_of(full) == set()

    def test_leaves_no_bytes(self, full: Workspace, settings: Any) -> None:
        assert files_of(settings, full) != []

        delete(full, closed(full))

        assert files_of(settings, full) == []

    def test_leaves_no_key_that_authenticates(self, full: Workspace, key: str) -> None:
        delete(full, closed(full))

        with pytest.raises(KeyRefused):
            api_keys.authenticate(key, clock.now())

    def test_leaves_no_place_of_a_member(self, full: Workspace, alice: User) -> None:
        delete(full, closed(full))

        assert workspaces.memberships_of(alice) == []
        assert User.objects.filter(pk=alice.pk).exists()

    def test_leaves_nothing_that_opens_a_prompt_of_a_backup(self, full: Workspace) -> None:
        words = JobContent.objects.for_workspace(full).first()
        assert words is not None

        delete(full, closed(full))

        assert content.read(Job(pk=words.pk, workspace_id=full.pk)) is None
        with pytest.raises(ContentUnreadable):
            keyring.of(full.pk)

    def test_leaves_no_word_in_any_column(self, full: Workspace) -> None:
        delete(full, closed(full))

        found = [table for table in _tables() if _holds(table, SECRET) or _holds(table, full.name)]
        assert found == []

    def test_leaves_no_message_of_the_outbox(self, full: Workspace) -> None:
        outbox.put(Topic.EMAIL, "a notice", {}, workspace_id=full.pk)

        delete(full, closed(full))

        assert not OutboxMessage.objects.filter(workspace_id=full.pk).exists()

    def test_leaves_the_workspace_without_its_name(self, full: Workspace) -> None:
        delete(full, closed(full))

        full.refresh_from_db()
        assert full.name == ""

    def test_leaves_usage_audit_and_remaining_credits(self, full: Workspace) -> None:
        credits, usage = available(full), UsageRecord.objects.for_workspace(full).count()
        assert (credits, usage) == (980, 2)

        delete(full, closed(full))

        assert (available(full), UsageRecord.objects.for_workspace(full).count()) == (credits, usage)
        assert AuditEvent.objects.for_workspace(full).filter(action=audit.Event.JOB_ACCEPTED).exists()

    def test_is_written_down_once(self, full: Workspace) -> None:
        date = closed(full)
        delete(full, date)
        delete(full, date)

        events = AuditEvent.objects.for_workspace(full).filter(action=audit.Event.WORKSPACE_DELETED)
        assert events.count() == 1

    def test_finds_nothing_to_do_the_second_time(self, full: Workspace) -> None:
        date = closed(full)

        assert delete(full, date) > 1
        assert delete(full, date) == 0
        assert workspace_deletion.advance_due(date) == 0

    def test_leaves_other_workspaces_alone(self, full: Workspace, charlies_workspace: Workspace) -> None:
        fill(charlies_workspace)
        kept = left_of(charlies_workspace)

        delete(full, closed(full))

        assert left_of(charlies_workspace) == kept
        assert keyring.of(charlies_workspace.pk)

    def test_takes_big_tables_in_batches(self, full: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retention, "BATCH", 1)

        assert delete(full, closed(full)) > 10
        assert left_of(full) == set()


def _tables() -> list[str]:
    return [name for name in connection.introspection.table_names() if name != "accounts_user"]


def _holds(table: str, word: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table}")
        return any(word in str(value) for row in cursor.fetchall() for value in row)


class TestCrash:
    @pytest.mark.parametrize("done", range(12))
    def test_after_any_step_ends_the_same(self, full: Workspace, settings: Any, done: int) -> None:
        date = closed(full)
        for _ in range(done):
            workspace_deletion.advance(full.pk, date)

        while workspace_deletion.advance_due(date):
            pass

        assert (left_of(full), files_of(settings, full)) == (set(), [])

    def test_never_loses_the_sign_that_work_is_left(self, full: Workspace) -> None:
        date = closed(full)

        while workspace_deletion.advance(full.pk, date):
            assert WorkspaceKeyring.objects.filter(workspace=full).exists() or left_of(full) == set()

    def test_between_bytes_and_rows_of_a_job_leaves_nothing(self, full: Workspace) -> None:
        date = closed(full)
        for job in Job.objects.for_workspace(full):
            storage.erase_folder(storage.folder_of(job))

        delete(full, date)

        assert left_of(full) == set()

    def test_of_a_worker_whose_job_is_gone_leaves_no_bytes(self, full: Workspace, settings: Any) -> None:
        date = closed(full)
        job_deletion.delete(Job.objects.for_workspace(full), date)
        storage.save(f"{storage.folder_of_workspace(full.pk)}/job_lost/1-0.png", b"a picture")

        delete(full, date)

        assert files_of(settings, full) == []


class TestDue:
    def test_is_nobody_before_the_date(self, full: Workspace) -> None:
        date = closed(full)

        assert workspace_deletion.advance_due(date - timedelta(milliseconds=1)) == 0
        assert workspace_deletion.advance(full.pk, date - timedelta(milliseconds=1)) is False
        assert Workspace.objects.get(pk=full.pk).name == full.name

    def test_is_nobody_who_was_not_closed(self, full: Workspace) -> None:
        assert workspace_deletion.advance_due(clock.now() + timedelta(days=5_000)) == 0

    def test_is_nobody_who_reopened(self, full: Workspace, key: str) -> None:
        date = closed(full)
        workspaces.reopen(full.pk, date - timedelta(days=1))

        assert workspace_deletion.advance_due(date) == 0
        assert workspace_deletion.advance(full.pk, date) is False
        assert api_keys.authenticate(key, clock.now())

    def test_is_somebody_on_the_date(self, full: Workspace) -> None:
        date = closed(full)

        while workspace_deletion.advance_due(date):
            pass

        assert left_of(full) == set()


class TestHindrance:
    def test_a_job_that_has_not_ended_waits_for_its_end(self, full: Workspace) -> None:
        queued = factories.job(full)
        date = closed(full)

        with pytest.raises(NotYet):
            delete(full, date)

        assert Job.objects.for_workspace(full).get() == queued
        assert content.read(queued) is not None
        jobs.expire(queued)
        delete(full, date)
        assert left_of(full) == set()

    def test_an_open_hold_keeps_its_job(self, full: Workspace) -> None:
        broken = factories.job(full)
        change(broken, state=State.FAILED, finished_at=clock.now())

        with pytest.raises(NotYet):
            delete(full, closed(full))

        assert Job.objects.for_workspace(full).get() == broken
        ledger.release(broken.hold_id, f"settle:{broken.public_id}", clock.now())

    def test_a_storage_that_fails_is_asked_again(self, full: Workspace, settings: Any) -> None:
        date = closed(full)
        picture = Image.objects.for_workspace(full).first()
        assert picture is not None
        stubborn_storage.keep(settings, picture.storage_key)

        while workspace_deletion.advance_due(date):
            pass

        assert WorkspaceKeyring.objects.filter(workspace=full).exists()
        assert [row.storage_key for row in Image.objects.for_workspace(full)] == [picture.storage_key]
        stubborn_storage.keep(settings)
        delete(full, date)
        assert (left_of(full), files_of(settings, full)) == (set(), [])

    def test_in_one_workspace_does_not_keep_another(
        self, full: Workspace, charlies_workspace: Workspace, settings: Any
    ) -> None:
        closed(full)
        date = closed(charlies_workspace)
        stubborn_storage.keep(settings, str(full.pk))

        for _ in range(10):
            workspace_deletion.advance_due(date)

        assert left_of(charlies_workspace) == set()
        assert ApiKey.objects.for_workspace(full).exists()

    def test_lets_no_key_in_meanwhile(self, full: Workspace, key: str) -> None:
        factories.job(full)
        workspace_deletion.advance_due(closed(full))

        with pytest.raises(KeyRefused):
            api_keys.authenticate(key, clock.now())
