"""Keys changed at the same time on PostgreSQL: nobody waits in a circle, and a change happens whole or not at all."""

import json
from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest

from tests.services.conftest import Fleet, start_fleet

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]

ROUNDS, KEYS = 25, 20
# Each script's `together` calls functions at the same moment, each in a thread with a connection of its own.
BEGIN = f"""
import django; django.setup()
import json, threading, uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from django.db import connection
from accounts import api_keys, clock, key_management, key_use, workspaces
from accounts.key_terms import Terms
from accounts.models import ApiKey, Scope
from accounts.roles import Role
from gateway import onboarding
from tests import factories
ROUNDS, KEYS, HOUR = {ROUNDS}, {KEYS}, timedelta(hours=1)
EVERYTHING = Terms(scopes=tuple(Scope))
owner = factories.user(f"{{uuid.uuid4().hex}}@example.com")
workspace = onboarding.open_workspace("Locks", owner)
outcomes = Counter()

def together(*calls):
    start = threading.Barrier(len(calls))
    def call(function):
        try:
            start.wait()
            function()
            return "done"
        except Exception as error:
            return type(error).__name__
        finally:
            connection.close()
    with ThreadPoolExecutor(len(calls)) as threads:
        told = list(threads.map(call, calls))
    outcomes.update(told)
    return told

def issue(**fields):
    return api_keys.issue(workspace, "one", terms=EVERYTHING, **fields).key
"""
END = """
print(json.dumps(outcomes))
"""
EACH_OTHER = """
for _ in range(ROUNDS):
    one, other = issue(), issue()
    together(
        lambda: key_management.replace(one, other, HOUR), lambda: key_management.replace(other, one, HOUR)
    )
"""
THE_SAME = """
for _ in range(ROUNDS):
    giver, key = issue(), issue()
    itself = [lambda: key_management.replace(key, key, HOUR)] * 2
    together(*itself, *[lambda: key_management.replace(giver, key, HOUR)] * 2)
"""
REMOVAL = """
for _ in range(ROUNDS):
    user = factories.user(f"{uuid.uuid4().hex}@example.com")
    member = workspaces.add_member(workspace, user, Role.ADMIN)
    keys = [issue(membership=member) for _ in range(KEYS)]

    def revoke(some):
        for key in some:
            api_keys.revoke(key, clock.now())

    def make():
        for _ in range(5):
            key_management.make(keys[-1], "more", side="live", is_service=False, asked={})

    together(
        lambda: workspaces.remove_member(member, clock.now()), lambda: revoke(keys[::-1]), lambda: revoke(keys), make
    )
    assert not ApiKey.objects.for_workspace(workspace).filter(membership=member, revoked_at=None).exists()
"""
USE = """
keys = sorted((issue() for _ in range(KEYS)), key=lambda key: key.pk)

def rotate(some):
    for key in some:
        api_keys.rotate(key, HOUR)

def use():
    for _ in range(ROUNDS):
        for key in keys:
            key_use.note(key, clock.now())
        key_use.flush()

together(use, use, lambda: rotate(keys[::-1][:10]), lambda: rotate(keys[:10]))
key_use.flush()
assert not key_use._noted
assert not ApiKey.objects.for_workspace(workspace).filter(replaced_by__isnull=False, last_used_at=None).exists()
"""
HELD = """
one, other = issue(), issue()
from django.db import transaction
with transaction.atomic():
    api_keys.lock(ApiKey.objects.for_workspace(workspace).filter(pk=one.pk))
    for key in (one, other):
        key_use.note(key, clock.now())
    together(lambda: outcomes.update(written=key_use.flush()))
outcomes.update(later=key_use.flush())
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A database alone: the scripts are its clients."""
    with start_fleet(tmp_path_factory.mktemp("locks"), web_processes=0) as started:
        yield started


def outcomes(fleet: Fleet, script: str) -> Counter[str]:
    """How the script's calls ended: done, or the name of an exception."""
    told = fleet.run("-c", BEGIN + script + END)
    lines = told.splitlines()
    assert lines, told
    assert lines[-1].startswith("{"), told
    return Counter(json.loads(lines[-1]))


def deadlocks(fleet: Fleet) -> int:
    """What PostgreSQL counted; a process tells it at its end at the latest."""
    with psycopg.connect(fleet.environment["DATABASE_URL"]) as connection:
        row = connection.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
    assert row is not None
    return int(row[0])


class TestRotation:
    def test_of_two_managers_by_each_other_ends_at_once(self, fleet: Fleet) -> None:
        ended = outcomes(fleet, EACH_OTHER)

        # The second of the two ends tomorrow, and may make nothing that has no end.
        assert ended == {"done": ROUNDS, "BroaderThanGiver": ROUNDS}
        assert deadlocks(fleet) == 0

    def test_of_one_key_many_times_makes_one_and_tells_the_others_why(self, fleet: Fleet) -> None:
        ended = outcomes(fleet, THE_SAME)

        assert ended == {"done": ROUNDS, "NotRotatable": 3 * ROUNDS}
        assert deadlocks(fleet) == 0


class TestRemoval:
    def test_of_a_member_ends_all_keys_while_they_are_revoked_and_made(self, fleet: Fleet) -> None:
        ended = outcomes(fleet, REMOVAL)

        assert ended["done"] >= 3 * ROUNDS
        assert set(ended) <= {"done", "RevokedKey"}
        assert deadlocks(fleet) == 0


class TestUse:
    def test_is_written_while_keys_are_rotated(self, fleet: Fleet) -> None:
        assert outcomes(fleet, USE) == {"done": 4}
        assert deadlocks(fleet) == 0

    def test_of_a_key_that_is_being_changed_is_written_the_next_time(self, fleet: Fleet) -> None:
        assert outcomes(fleet, HELD) == {"done": 1, "written": 1, "later": 1}
