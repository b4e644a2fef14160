import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection

from accounts import api_keys, key_use
from accounts.models import ApiKey, CacheVersion, Workspace
from tests.flows.processes import ROOT

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)


@pytest.fixture(autouse=True)
def _nothing_noted() -> None:
    key_use._noted.clear()


@pytest.fixture
def one(workspace: Workspace) -> ApiKey:
    return api_keys.issue(workspace, "one").key


def last_used(key: ApiKey) -> datetime | None:
    key.refresh_from_db()
    return key.last_used_at


class TestFlush:
    def test_writes_the_latest_of_several_times(self, one: ApiKey) -> None:
        for at in (NOW, LATER, NOW):
            key_use.note(one, at)

        assert key_use.flush() == 1
        assert last_used(one) == LATER

    def test_writes_each_keys_own_time(self, one: ApiKey, charlies_workspace: Workspace) -> None:
        other = api_keys.issue(charlies_workspace, "other").key
        key_use.note(one, NOW)
        key_use.note(other, LATER)

        key_use.flush()

        assert (last_used(one), last_used(other)) == (NOW, LATER)

    def test_never_lowers_a_time(self, one: ApiKey) -> None:
        key_use.note(one, LATER)
        key_use.flush()
        key_use.note(one, NOW)
        key_use.flush()

        assert last_used(one) == LATER

    def test_does_nothing_without_a_call(self, one: ApiKey, django_assert_num_queries: Any) -> None:
        key_use.note(one, NOW)
        key_use.flush()

        with django_assert_num_queries(0):
            assert key_use.flush() == 0

    def test_takes_few_statements_for_many_keys(self, workspace: Workspace) -> None:
        keys = [api_keys.issue(workspace, f"key {number}").key for number in range(3)]
        for number, key in enumerate(keys):
            key_use.note(key, NOW + timedelta(seconds=number))

        written: list[str] = []
        with connection.execute_wrapper(lambda run, sql, *rest: (written.append(sql), run(sql, *rest))[1]):
            key_use.flush()

        assert sum(sql.startswith("UPDATE") for sql in written) == 1
        assert [last_used(key) for key in keys] == [NOW + timedelta(seconds=number) for number in range(3)]

    def test_writes_more_keys_than_one_statement_takes(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(key_use, "BATCH", 2)
        keys = [api_keys.issue(workspace, f"key {number}").key for number in range(5)]
        for key in keys:
            key_use.note(key, NOW)

        key_use.flush()

        assert {last_used(key) for key in keys} == {NOW}

    def test_forgets_a_key_that_was_deleted(self, one: ApiKey) -> None:
        key_use.note(one, NOW)
        ApiKey.objects.across_workspaces().filter(pk=one.pk).delete()

        key_use.flush()

        assert key_use.flush() == 0

    def test_writes_no_key_again_that_was_written_before_a_fault(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(key_use, "BATCH", 1)
        keys = [api_keys.issue(workspace, f"key {number}").key for number in range(2)]
        for key in keys:
            key_use.note(key, NOW)

        def fail_after_one(run: Any, sql: str, *rest: Any) -> Any:
            if sql.startswith("UPDATE") and last_used(keys[0]):
                raise DatabaseError("gone")
            return run(sql, *rest)

        with connection.execute_wrapper(fail_after_one), pytest.raises(DatabaseError):
            key_use.flush()

        assert list(key_use._noted) == [keys[1].pk]

    def test_leaves_cached_keys_current(self, one: ApiKey) -> None:
        versions = list(CacheVersion.objects.values_list("topic", "version"))
        key_use.note(one, NOW)

        key_use.flush()

        assert list(CacheVersion.objects.values_list("topic", "version")) == versions


class TestDatabaseFault:
    @staticmethod
    def _fail(*call: Any) -> None:
        raise DatabaseError("gone")

    def test_loses_no_time(self, one: ApiKey) -> None:
        key_use.note(one, NOW)
        with connection.execute_wrapper(self._fail), pytest.raises(DatabaseError):
            key_use.flush()

        assert key_use.flush() == 1
        assert last_used(one) == NOW

    def test_keeps_the_later_time_that_came_in_between(self, one: ApiKey) -> None:
        key_use.note(one, NOW)

        def later_call_then_fail(*call: Any) -> None:
            key_use.note(one, LATER)
            raise DatabaseError("gone")

        with connection.execute_wrapper(later_call_then_fail), pytest.raises(DatabaseError):
            key_use.flush()

        key_use.flush()
        assert last_used(one) == LATER


PROGRAM = """
import sys, time
import django; django.setup()
from django.conf import settings
from django.core.management import call_command
from accounts import api_keys, clock, key_use, workspaces
from accounts.models import ApiKey, User
call_command("migrate", verbosity=0)
settings.KEY_USE_SECONDS = float(sys.argv[1])
workspace = workspaces.create("Studio", User.objects.create_user("alice@example.com"))
key = api_keys.issue(workspace, "one").key
key_use.note(key, clock.now())
for turn in range(100 if sys.argv[2] == "wait" else 0):
    key.refresh_from_db()
    if key.last_used_at:
        print("written")
        break
    time.sleep(0.1)
"""
LOOK = """
import django; django.setup()
from accounts.models import ApiKey
print(ApiKey.objects.across_workspaces().get().last_used_at)
"""


class TestWriter:
    """In processes of their own: an in-memory database has no second connection."""

    @staticmethod
    def _run(data_dir: Any, *arguments: str) -> str:
        environment = {"ATELIER_DATA_DIR": str(data_dir), "DJANGO_SETTINGS_MODULE": "gateway.settings"}
        return subprocess.check_output([sys.executable, *arguments], cwd=ROOT, env=environment, text=True)

    def test_writes_by_itself_after_a_while(self, tmp_path: Any) -> None:
        assert self._run(tmp_path, "-c", PROGRAM, "0.2", "wait") == "written\n"

    def test_writes_when_the_process_ends_sooner(self, tmp_path: Any) -> None:
        self._run(tmp_path, "-c", PROGRAM, "600", "end")

        assert self._run(tmp_path, "-c", LOOK).startswith("20")
