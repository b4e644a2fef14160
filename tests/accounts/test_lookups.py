import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import api_keys, clock, entitlements, lookups
from accounts.api_keys import RevokedKey
from accounts.lookups import Lookup, Topic
from accounts.models import CacheVersion, Entitlements, Workspace


@pytest.fixture(autouse=True)
def _on(settings: Any, db: None) -> Iterator[None]:
    settings.LOOKUP_SECONDS = 60
    lookups.forget()
    yield
    lookups.forget()


class Counted:
    """A function that tells how often it was called."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, name: str) -> str:
        self.calls += 1
        return f"{name} {self.calls}"


def raise_version(topic: Topic = Topic.KEYS) -> None:
    row, _ = CacheVersion.objects.get_or_create(topic=topic)
    row.version += 1
    row.save()


class TestLookup:
    def test_loads_once_while_nothing_changes(self) -> None:
        kept = Lookup(Topic.KEYS, load := Counted())

        assert [kept("a"), kept("a")] == ["a 1", "a 1"]
        assert load.calls == 1

    def test_keeps_arguments_apart(self) -> None:
        kept = Lookup(Topic.KEYS, Counted())

        assert [kept("a"), kept("b"), kept("a")] == ["a 1", "b 2", "a 1"]

    def test_loads_anew_when_its_topic_changed(self) -> None:
        kept = Lookup(Topic.KEYS, Counted())
        kept("a")

        raise_version()
        lookups.forget()

        assert kept("a") == "a 2"

    def test_does_not_mind_another_topic(self) -> None:
        kept = Lookup(Topic.KEYS, Counted())
        kept("a")

        raise_version(Topic.CATALOG)
        lookups.forget()

        assert kept("a") == "a 1"

    def test_loads_anew_when_the_time_is_up(self, settings: Any) -> None:
        settings.LOOKUP_SECONDS = 0.001
        kept = Lookup(Topic.KEYS, Counted())
        kept("a")

        time.sleep(0.002)

        assert kept("a") == "a 2"

    def test_keeps_no_failure(self) -> None:
        answers = iter([KeyError, None])

        def load() -> str:
            if error := next(answers):
                raise error
            return "found"

        kept = Lookup(Topic.KEYS, load)
        with pytest.raises(KeyError):
            kept()

        assert kept() == "found"

    def test_stays_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lookups, "MAX_ENTRIES", 3)
        kept = Lookup(Topic.KEYS, Counted())

        for number in range(10):
            kept(str(number))

        assert len(kept._kept) <= 3

    def test_asks_each_time_when_turned_off(self, settings: Any) -> None:
        settings.LOOKUP_SECONDS = 0
        kept = Lookup(Topic.KEYS, Counted())

        assert [kept("a"), kept("a")] == ["a 1", "a 2"]


class TestPoll:
    def test_asks_the_database_once_for_many_calls(self) -> None:
        kept = Lookup(Topic.KEYS, Counted())

        with CaptureQueriesContext(connection) as captured:
            for number in range(50):
                kept(str(number))
                lookups.now()

        assert len(captured) == 2  # the versions and the time

    def test_asks_again_after_half_a_second(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kept = Lookup(Topic.KEYS, Counted())
        kept("a")
        raise_version()

        monkeypatch.setattr(lookups, "POLL_SECONDS", 0.0)

        assert kept("a") == "a 2"

    def test_lets_others_go_on_while_one_asks(self) -> None:
        lookups.now()
        reading = lookups._reading
        assert reading is not None
        lookups._reading = lookups._Reading(reading.versions, reading.at, reading.taken - 0.3)

        with lookups._poll:  # somebody is asking
            seen = lookups.now()

        assert seen is not None

    def test_makes_everybody_wait_when_the_last_reading_is_too_old(self) -> None:
        lookups.now()
        reading = lookups._reading
        assert reading is not None
        lookups._reading = lookups._Reading(reading.versions, reading.at, reading.taken - 1.5)
        went_on = threading.Event()
        waiter = threading.Thread(target=lambda: (lookups.now(), went_on.set()))

        with lookups._poll:  # somebody is asking
            waiter.start()
            assert not went_on.wait(0.05)
            lookups._reading = lookups._Reading(reading.versions, reading.at, time.monotonic())

        assert went_on.wait(5)


class TestNow:
    def test_is_the_databases_time(self) -> None:
        assert abs(lookups.now() - clock.now()) < timedelta(seconds=1)

    def test_goes_on_between_readings(self) -> None:
        first = lookups.now()

        time.sleep(0.01)

        assert lookups.now() - first >= timedelta(seconds=0.009)


class TestTriggers:
    """What the product keeps is loaded anew after any change of its rows, by whichever path."""

    def test_a_revoked_key_is_refused_at_once_by_the_process_that_revoked_it(
        self, workspace: Workspace, django_capture_on_commit_callbacks: Any
    ) -> None:
        issued = api_keys.issue(workspace, "mine")
        api_keys.authenticate(issued.plain_text, clock.now())

        with django_capture_on_commit_callbacks(execute=True):
            api_keys.revoke(issued.key, clock.now())

        with pytest.raises(RevokedKey):
            api_keys.authenticate(issued.plain_text, clock.now())

    def test_a_suspended_workspace_is_refused_after_plain_sql(self, workspace: Workspace) -> None:
        issued = api_keys.issue(workspace, "mine")
        api_keys.authenticate(issued.plain_text, clock.now())

        with connection.cursor() as cursor:
            cursor.execute("UPDATE accounts_workspace SET suspended_at = CURRENT_TIMESTAMP")
        lookups.forget()

        with pytest.raises(api_keys.WorkspaceSuspended):
            api_keys.authenticate(issued.plain_text, clock.now())

    def test_using_a_key_changes_no_version(self, workspace: Workspace) -> None:
        issued = api_keys.issue(workspace, "mine")
        before = dict(CacheVersion.objects.values_list("topic", "version"))

        type(issued.key).objects.for_workspace(workspace).update(last_used_at=clock.now())

        assert dict(CacheVersion.objects.values_list("topic", "version")) == before

    def test_new_limits_are_known_at_the_next_reading(self, workspace: Workspace) -> None:
        entitlements.of(workspace.pk)

        Entitlements.objects.create(workspace=workspace, concurrent_jobs=7)
        lookups.forget()

        assert entitlements.of(workspace.pk).concurrent_jobs == 7
