"""The money machine's world: a workspace with people, keys and models, a clock of its own, and lost connections."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import OperationalError, connection, transaction

from accounts import api_keys, clock, ids, keyring, workspaces
from accounts.keyring import Purpose
from accounts.models import Entitlements, Side, Subject
from accounts.roles import Role
from accounts.workspaces import TimeZoneChangePending
from billing.ledger import ConcurrencyLimitReached, InsufficientCredit, OperationConflict
from billing.models import PriceUnit
from inference.idempotency import IdempotencyKeyReused
from inference.quotas import QuotaExceeded
from inference.requests import Caller
from tests import factories
from tests.inference.money_model import Price, Refusal

PRICES = [Price(10), Price(7), Price(1, seconds=25)]
END_USERS = ["u1", "u2"]
SUBJECTS = 9  # that a limit can be set for


class Named(NamedTuple):
    """A subject as limits are set for it, and as its use is counted."""

    subject: Subject
    name: str
    subject_id: str


class Studio:
    """alice owns it and has two keys of one lineage, bob is a member; two service keys, one of the test side."""

    def __init__(self, concurrent_jobs: int) -> None:
        unique = ids.new_id().hex
        owner, member = (factories.user(f"{who}-{unique}@example.com") for who in ("alice", "bob"))
        self.workspace = workspaces.create("Studio", owner)
        Entitlements.objects.create(workspace=self.workspace, concurrent_jobs=concurrent_jobs)
        self.alice = workspaces.memberships_of(owner)[0]
        self.bob = workspaces.add_member(self.workspace, member, Role.MEMBER)
        self.slugs = [f"model{number}-{unique}" for number in range(len(PRICES))]
        for slug, price in zip(self.slugs, PRICES, strict=True):
            _sell(slug, price)
        self._issue_keys()

    def _issue_keys(self) -> None:
        old = api_keys.issue(self.workspace, "alice's", membership=self.alice).key
        new = api_keys.rotate(old, timedelta(days=1)).key
        service = api_keys.issue(self.workspace, "service").key
        play = api_keys.issue(self.workspace, "play", side=Side.TEST).key
        who = [(self.alice, None), (self.alice, old), (self.alice, new), (self.bob, None)]
        self.callers = [self._caller(*one) for one in [*who, (None, service), (None, play)]]
        ring = keyring.of(self.workspace.pk)
        self.end_users = {one: ring.hash(one, Purpose.END_USER).digest for one in END_USERS}
        hashed = self.end_users[END_USERS[0]]
        self.subjects = [
            *(Named(subject, "", "") for subject in Subject),
            *(Named(Subject.MEMBER, str(one.pk), str(one.pk)) for one in (self.alice, self.bob)),
            *(Named(Subject.KEY, str(one.pk), str(one.lineage_id)) for one in (new, service)),
            Named(Subject.END_USER, hashed, hashed),
        ]
        assert len(self.subjects) == SUBJECTS

    def _caller(self, member: Any, key: Any) -> Caller:
        side = Side(key.side) if key else Side.LIVE
        return Caller(self.workspace.pk, side, key, member, "native", "req_test")

    def caller(self, number: int, end_user: str) -> Caller:
        return replace(self.callers[number % len(self.callers)], end_user=end_user)

    def owner_of(self, side: Side) -> Caller:
        return replace(self.callers[0], side=side)

    def may_see(self, caller: Caller, subjects: tuple[tuple[Subject, str], ...]) -> bool:
        """Whether the caller sees a job that was counted on these; bob, a plain member, sees only his own."""
        return caller.membership != self.bob or (Subject.MEMBER, str(self.bob.pk)) in subjects

    def subjects_of(self, caller: Caller) -> tuple[tuple[Subject, str], ...]:
        """Under whose quotas a call falls."""
        found = [(Subject.WORKSPACE, "")]
        if caller.membership:
            found.append((Subject.MEMBER, str(caller.membership.pk)))
        if caller.api_key:
            found.append((Subject.KEY, str(caller.api_key.lineage_id)))
        if caller.end_user:
            found.append((Subject.END_USER, self.end_users[caller.end_user]))
        return tuple(found)


def _sell(slug: str, price: Price) -> None:
    if price.seconds:
        unit, limit = PriceUnit.PER_SECOND, {"run_limit_seconds": price.seconds}
    else:
        unit, limit = PriceUnit.PER_IMAGE, {}
    factories.fake_model(slug, credits=price.credits, unit=unit, **limit)


# --- Time ---------------------------------------------------------------------------------------


def stop_clock(now: datetime) -> None:
    """From here on the database says that it is now; `let_clock_run` with what this was before ends that."""
    clock.QUERIES[connection.vendor] = f"SELECT '{now:%Y-%m-%dT%H:%M:%S.%f}'"


def running_clock() -> str:
    return clock.QUERIES[connection.vendor]


def let_clock_run(query: str) -> None:
    clock.QUERIES[connection.vendor] = query


# --- Answers ------------------------------------------------------------------------------------


def answer(operation: Callable[[], Any]) -> tuple[Refusal | None, Any]:
    """What the product refused, or what it answered."""
    try:
        return None, operation()
    except InsufficientCredit as error:
        return Refusal("InsufficientCredit", (error.required, error.available)), None
    except ConcurrencyLimitReached as error:
        return Refusal("ConcurrencyLimitReached", (error.limit,)), None
    except QuotaExceeded as error:
        limit, state = error.state.limit, error.state
        numbers = (*limit.counter, limit.limit, state.used, error.requested, state.resets_at)
        return Refusal("QuotaExceeded", numbers), None
    except TimeZoneChangePending as error:
        return Refusal("TimeZoneChangePending", (error.until,)), None
    except (IdempotencyKeyReused, OperationConflict) as error:
        return Refusal(type(error).__name__), None


# --- Lost connections ---------------------------------------------------------------------------


class Broken(OperationalError):
    """The connection is lost."""


@dataclass
class Fault:
    """Loses the connection once, before a statement; then the database rolls back by itself, which cannot fail."""

    statements: int
    is_over: bool = False

    def __call__(self, execute: Any, sql: str, *arguments: Any) -> Any:
        self.statements -= 1
        self.is_over = self.is_over or sql.startswith("ROLLBACK")
        if self.statements < 0 and not self.is_over:
            self.is_over = True
            raise Broken
        return execute(sql, *arguments)


def undone(operation: Callable[[], Any], statements: int) -> bool:
    """Lose the connection after so many statements; what ends before that, its caller rolls back. True if it broke."""
    before = transaction.savepoint()
    try:
        with connection.execute_wrapper(Fault(statements)):
            answer(operation)
    except Broken:
        # The product's own transactions must have undone everything; only Django's mark is taken off here.
        transaction.set_rollback(False)
        transaction.savepoint_commit(before)
        return True
    transaction.savepoint_rollback(before)
    return False
