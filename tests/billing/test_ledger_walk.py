"""Many random operations, each compared with a model that has no database."""

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from django.db import transaction
from django.db.models import Sum

from accounts.models import Workspace
from billing import ledger
from billing.ledger import BalanceView, InsufficientCredit
from billing.models import BOUGHT, Account, Entry, Source
from tests.billing.steps import NOW, give, hold, sell, total

STEPS = 300
SOURCES = [Source.PROMOTIONAL, Source.PLAN, Source.PACK, Source.OVERAGE, Source.ADJUSTMENT]


@dataclass
class ModelGrant:
    credits: int
    source: Source
    priority: int
    expires_at: datetime | None
    age: int

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    @property
    def burn_order(self) -> tuple[object, ...]:
        never = self.expires_at is None
        return self.priority, never, self.expires_at or NOW, self.source in BOUGHT, self.age


@dataclass
class Model:
    """What the ledger promises, in lists."""

    grants: list[ModelGrant] = field(default_factory=list)
    holds: dict[str, list[tuple[ModelGrant, int]]] = field(default_factory=dict)
    captured: int = 0
    broken: int = 0

    @property
    def balance(self) -> BalanceView:
        held = sum(part for parts in self.holds.values() for _, part in parts)
        return BalanceView(sum(grant.credits for grant in self.grants), held, 0, len(self.holds))

    def expire(self, now: datetime) -> None:
        for grant in self.grants:
            if grant.is_expired(now):
                self.broken += grant.credits
                grant.credits = 0

    def can_hold(self, amount: int, now: datetime) -> bool:
        return amount <= sum(grant.credits for grant in self.grants if not grant.is_expired(now))

    def hold(self, hold_id: str, amount: int, now: datetime) -> None:
        self.expire(now)
        self.holds[hold_id] = []
        for grant in sorted(self.grants, key=lambda one: one.burn_order):  # type: ignore[arg-type,return-value]
            if part := min(amount, grant.credits):
                self.holds[hold_id].append((grant, part))
                grant.credits -= part
                amount -= part

    def settle(self, hold_id: str, captured: int, now: datetime) -> None:
        self.captured += captured
        for grant, part in self.holds.pop(hold_id):
            charged = min(captured, part)
            captured -= charged
            if grant.is_expired(now):
                self.broken += part - charged
            else:
                grant.credits += part - charged


@dataclass
class Walk:
    workspace: Workspace
    chance: random.Random
    model: Model = field(default_factory=Model)
    now: datetime = NOW
    done: Counter[str] = field(default_factory=Counter)

    def step(self) -> None:
        self.now += timedelta(minutes=self.chance.randrange(20))
        steps = (self.grant, self.hold, self.hold, self.settle, self.settle, self.expire)
        self.chance.choice(steps)()

    def grant(self) -> None:
        credits, source, priority = (
            self.chance.randint(1, 200),
            self.chance.choice(SOURCES),
            self.chance.randrange(3),
        )
        lives = self.chance.choice([None, timedelta(minutes=self.chance.randint(1, 500))])
        expires_at = self.now + lives if lives else None
        give(
            self.workspace,
            credits,
            source,
            priority=priority,
            expires_at=expires_at,
            paid_minor_units=credits,
        )
        self.model.grants.append(ModelGrant(credits, source, priority, expires_at, len(self.model.grants)))
        self.done["granted"] += 1

    def hold(self) -> None:
        amount = self.chance.randint(0, 150)
        is_possible = self.model.can_hold(amount, self.now)
        if not is_possible:
            # A refusal ends the caller's transaction, and with it what expired on the way.
            with pytest.raises(InsufficientCredit), transaction.atomic():
                hold(self.workspace, amount, self.now)
        else:
            self.model.hold(hold(self.workspace, amount, self.now), amount, self.now)
        self.done["held" if is_possible else "refused"] += 1

    def settle(self) -> None:
        if not self.model.holds:
            return
        hold_id = self.chance.choice(list(self.model.holds))
        amount = sum(part for _, part in self.model.holds[hold_id])
        captured = self.chance.choice([0, amount, self.chance.randint(0, amount)])
        sell(hold_id, captured, self.now)
        self.model.settle(hold_id, captured, self.now)
        self.done["settled"] += 1

    def expire(self) -> None:
        ledger.expire_due(self.now)
        self.model.expire(self.now)
        self.done["expired"] += 1


class TestRandomWalk:
    @pytest.fixture(params=[1, 2])
    def walk(self, studio: Workspace, request: pytest.FixtureRequest) -> Walk:
        return Walk(studio, random.Random(request.param))

    def test_agrees_with_the_model_after_every_step(self, walk: Walk) -> None:
        for _ in range(STEPS):
            walk.step()

            assert ledger.balance(walk.workspace.pk) == walk.model.balance

        assert total(Account.REVENUE) == walk.model.captured
        assert total(Account.BREAKAGE) == walk.model.broken
        assert min(walk.done[kind] for kind in ("granted", "held", "refused", "settled", "expired")) > 5

    def test_leaves_a_clean_ledger_whose_every_operation_sums_to_zero(self, walk: Walk) -> None:
        for _ in range(STEPS):
            walk.step()

        by_operation = Entry.objects.for_workspace(walk.workspace).values("operation")
        sums = by_operation.annotate(total=Sum("amount_credits")).values_list("total", flat=True)
        assert set(sums) == {0}
        assert ledger.verify() == []
