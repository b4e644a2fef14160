from datetime import timedelta
from typing import Any

import pytest

from accounts import audit, tenancy
from accounts.models import AuditEvent, Side, Workspace
from billing import ledger
from billing.ledger import (
    BalanceView,
    ConcurrencyLimitReached,
    InsufficientCredit,
    OperationConflict,
    Settlement,
)
from billing.models import Account, Entry, Grant, Operation, OperationKind, Source
from tests.billing.steps import (
    IN_TWO_DAYS,
    NOW,
    TOMORROW,
    capture,
    give,
    hold,
    operation,
    owe,
    posted,
    release,
    sell,
    total,
)

INSTANT = timedelta(microseconds=1)


def available(workspace: Workspace, side: Side = Side.LIVE) -> int:
    return ledger.balance(workspace.pk, side).available_credits


def again(grant: Grant) -> Grant:
    grant.refresh_from_db()
    return grant


class TestBalance:
    def test_is_empty_before_the_first_grant(self, studio: Workspace) -> None:
        assert ledger.balance(studio.pk) == BalanceView(0, 0, 0, 0)

    def test_tells_what_is_available_and_what_is_held(self, studio: Workspace) -> None:
        give(studio, 100)
        hold(studio, 30)

        assert ledger.balance(studio.pk) == BalanceView(70, 30, 0, 1)

    def test_is_not_that_of_another_workspace(
        self, workspace: Workspace, charlies_workspace: Workspace
    ) -> None:
        hold(workspace, 10)

        assert ledger.balance(charlies_workspace.pk) == BalanceView(0, 0, 0, 0)


class TestGrant:
    def test_makes_credits_available(self, studio: Workspace) -> None:
        give(studio, 100)
        give(studio, 20)

        assert available(studio) == 120

    def test_takes_them_from_issued(self, studio: Workspace) -> None:
        give(studio, 100)

        assert (total(Account.ISSUED), total(Account.AVAILABLE)) == (-100, 100)

    def test_names_its_source_at_issue(self, studio: Workspace) -> None:
        ledger.grant(studio.pk, 100, Source.PACK, "topup")

        issued = Entry.objects.for_workspace(studio).get(account=Account.ISSUED)
        assert issued.source == Source.PACK

    def test_records_an_audit_event(self, studio: Workspace) -> None:
        ledger.grant(studio.pk, 100, Source.PACK, "topup")

        event = AuditEvent.objects.for_workspace(studio).get(action=audit.Event.CREDIT_GRANTED)
        assert event.target == "topup"
        assert event.data == {"credits": 100, "source": "pack", "side": "live"}


class TestGrantReplay:
    def test_gives_the_same_operation(self, studio: Workspace) -> None:
        first = ledger.grant(studio.pk, 100, Source.PACK, "topup")

        assert ledger.grant(studio.pk, 100, Source.PACK, "topup") == first

    def test_gives_credits_once(self, studio: Workspace) -> None:
        ledger.grant(studio.pk, 100, Source.PACK, "topup")
        ledger.grant(studio.pk, 100, Source.PACK, "topup")

        assert available(studio) == 100

    def test_is_audited_once(self, studio: Workspace) -> None:
        ledger.grant(studio.pk, 100, Source.PACK, "topup")
        ledger.grant(studio.pk, 100, Source.PACK, "topup")

        events = AuditEvent.objects.for_workspace(studio).filter(action=audit.Event.CREDIT_GRANTED)
        assert events.count() == 1

    @pytest.mark.parametrize(
        "changed",
        [
            {"amount_credits": 101},
            {"source": Source.PLAN},
            {"side": Side.TEST},
            {"priority": 1},
            {"expires_at": TOMORROW},
            {"paid_minor_units": 501},
        ],
        ids=str,
    )
    def test_with_another_field_is_a_conflict(self, studio: Workspace, changed: dict[str, Any]) -> None:
        fields = {"amount_credits": 100, "source": Source.PACK, "paid_minor_units": 500}
        ledger.grant(studio.pk, operation_id="topup", **fields)  # type: ignore[arg-type]

        with pytest.raises(OperationConflict):
            ledger.grant(studio.pk, operation_id="topup", **fields | changed)

    def test_in_another_workspace_is_a_conflict(
        self, studio: Workspace, charlies_workspace: Workspace
    ) -> None:
        ledger.grant(studio.pk, 100, Source.PACK, "topup")

        with pytest.raises(OperationConflict):
            ledger.grant(charlies_workspace.pk, 100, Source.PACK, "topup")


class TestDebt:
    def test_is_paid_first_by_the_next_grant(self, studio: Workspace) -> None:
        owe(studio, 40)

        give(studio, 100)

        assert ledger.balance(studio.pk) == BalanceView(60, 0, 0, 0)

    def test_takes_the_whole_of_a_small_grant(self, studio: Workspace) -> None:
        owe(studio, 40)

        give(studio, 30)

        assert ledger.balance(studio.pk) == BalanceView(0, 0, 10, 0)

    def test_is_paid_by_as_many_grants_as_it_takes(self, studio: Workspace) -> None:
        owe(studio, 40)

        give(studio, 30)
        give(studio, 30)

        assert ledger.balance(studio.pk) == BalanceView(20, 0, 0, 0)

    def test_counts_as_captured_of_the_grant_that_paid(self, studio: Workspace) -> None:
        owe(studio, 40)

        paid_by = give(studio, 100)

        assert (paid_by.captured_credits, paid_by.remaining_credits) == (40, 60)

    def test_leaves_the_ledger_clean(self, studio: Workspace) -> None:
        owe(studio, 40)

        give(studio, 30)
        give(studio, 30)

        assert ledger.verify() == []


class TestHold:
    def test_moves_credits_from_available_to_held(self, studio: Workspace) -> None:
        grant = give(studio, 100)

        hold_id = hold(studio, 30)

        assert posted(hold_id, Account.AVAILABLE) == [(grant.pk, -30)]
        assert posted(hold_id, Account.HELD) == [(grant.pk, 30)]

    def test_takes_the_last_credit(self, studio: Workspace) -> None:
        give(studio, 100)

        hold(studio, 100)

        assert ledger.balance(studio.pk) == BalanceView(0, 100, 0, 1)

    def test_refuses_more_than_available(self, studio: Workspace) -> None:
        give(studio, 100)

        with pytest.raises(InsufficientCredit) as refused:
            hold(studio, 101)

        assert (refused.value.required, refused.value.available) == (101, 100)

    def test_leaves_nothing_behind_when_it_refuses(self, studio: Workspace) -> None:
        give(studio, 100)

        with pytest.raises(InsufficientCredit):
            hold(studio, 101)

        assert ledger.balance(studio.pk) == BalanceView(100, 0, 0, 0)
        assert not Operation.objects.for_workspace(studio).filter(kind=OperationKind.HOLD).exists()

    def test_does_not_take_what_another_hold_took(self, studio: Workspace) -> None:
        give(studio, 100)
        hold(studio, 60)

        with pytest.raises(InsufficientCredit):
            hold(studio, 60)

    def test_refuses_a_workspace_that_was_never_given_a_credit(self, studio: Workspace) -> None:
        with pytest.raises(InsufficientCredit):
            hold(studio, 1)

    def test_does_not_take_credits_of_another_workspace(
        self, workspace: Workspace, charlies_workspace: Workspace
    ) -> None:
        with pytest.raises(InsufficientCredit):
            hold(charlies_workspace, 1)

    def test_spreads_over_several_grants(self, studio: Workspace) -> None:
        first, second, third = (give(studio, 40) for _ in range(3))

        hold_id = hold(studio, 100)

        assert posted(hold_id, Account.HELD) == [(first.pk, 40), (second.pk, 40), (third.pk, 20)]

    def test_keeps_its_reference(self, studio: Workspace) -> None:
        give(studio, 100)

        made = ledger.hold(studio.pk, 10, "hold:1", "job_1", NOW).operation

        assert (made.reference, made.kind) == ("job_1", OperationKind.HOLD)

    def test_takes_five_statements_of_the_accepting_transaction(
        self, studio: Workspace, django_assert_max_num_queries: Any
    ) -> None:
        for _ in range(3):
            give(studio, 40)

        with tenancy.writing(studio.pk), django_assert_max_num_queries(5):
            hold(studio, 100)


class TestZeroCreditHold:
    def test_is_open_without_entries(self, studio: Workspace) -> None:
        give(studio, 100)

        hold_id = hold(studio, 0)

        assert ledger.balance(studio.pk) == BalanceView(100, 0, 0, 1)
        assert posted(hold_id, Account.HELD) == []

    def test_ends_as_any_other(self, studio: Workspace) -> None:
        give(studio, 100)

        assert sell(hold(studio, 0), 0) == Settlement(0, 0, 0)
        assert ledger.balance(studio.pk) == BalanceView(100, 0, 0, 0)

    def test_is_possible_when_all_credits_are_spent(self, studio: Workspace) -> None:
        give(studio, 100)
        hold(studio, 100)

        hold(studio, 0)

        assert ledger.balance(studio.pk).open_holds == 2

    def test_is_possible_before_the_first_grant(self, studio: Workspace) -> None:
        hold(studio, 0)

        assert ledger.balance(studio.pk).open_holds == 1

    def test_leaves_the_ledger_clean(self, studio: Workspace) -> None:
        give(studio, 100)
        sell(hold(studio, 0), 0)
        hold(studio, 0)

        assert ledger.verify() == []


class TestHoldReplay:
    @pytest.fixture(autouse=True)
    def _first(self, studio: Workspace) -> None:
        give(studio, 100)
        ledger.hold(studio.pk, 10, "hold:1", "job_1", NOW)

    def test_gives_the_same_operation(self, studio: Workspace) -> None:
        assert ledger.hold(studio.pk, 10, "hold:1", "job_1", TOMORROW).operation == operation("hold:1")

    def test_takes_credits_once(self, studio: Workspace) -> None:
        ledger.hold(studio.pk, 10, "hold:1", "job_1", NOW)

        assert ledger.balance(studio.pk) == BalanceView(90, 10, 0, 1)

    def test_gives_the_same_operation_after_its_end(self, studio: Workspace) -> None:
        capture("hold:1", 10)

        assert ledger.hold(studio.pk, 10, "hold:1", "job_1", NOW).operation == operation("hold:1")
        assert ledger.balance(studio.pk) == BalanceView(90, 0, 0, 0)

    def test_is_not_refused_at_the_concurrency_limit(self, studio: Workspace) -> None:
        ledger.hold(studio.pk, 10, "hold:1", "job_1", NOW, max_open_holds=1)

        assert ledger.balance(studio.pk).open_holds == 1

    def test_is_not_refused_when_all_credits_are_spent(self, studio: Workspace) -> None:
        hold(studio, 90)

        assert ledger.hold(studio.pk, 10, "hold:1", "job_1", NOW).operation == operation("hold:1")

    @pytest.mark.parametrize("amount, reference", [(11, "job_1"), (0, "job_1"), (10, "job_2")])
    def test_with_another_field_is_a_conflict(self, studio: Workspace, amount: int, reference: str) -> None:
        with pytest.raises(OperationConflict):
            ledger.hold(studio.pk, amount, "hold:1", reference, NOW)

    def test_on_another_side_is_a_conflict(self, studio: Workspace) -> None:
        give(studio, 100, Source.PLAY, side=Side.TEST)

        with pytest.raises(OperationConflict):
            ledger.hold(studio.pk, 10, "hold:1", "job_1", NOW, side=Side.TEST)

    def test_in_another_workspace_is_a_conflict(self, workspace: Workspace) -> None:
        with pytest.raises(OperationConflict):
            ledger.hold(workspace.pk, 10, "hold:1", "job_1", NOW)

    def test_of_a_grants_id_is_a_conflict(self, studio: Workspace) -> None:
        ledger.grant(studio.pk, 10, Source.PACK, "topup")

        with pytest.raises(OperationConflict):
            ledger.hold(studio.pk, 10, "topup", "pack", NOW)


class TestConcurrencyLimit:
    def test_refuses_one_hold_more(self, studio: Workspace) -> None:
        give(studio, 100)
        for _ in range(2):
            hold(studio, 10, max_open_holds=2)

        with pytest.raises(ConcurrencyLimitReached) as refused:
            hold(studio, 10, max_open_holds=2)

        assert refused.value.limit == 2

    @pytest.mark.parametrize("captured", [0, 4, 10])
    def test_is_free_again_when_a_hold_ends(self, studio: Workspace, captured: int) -> None:
        give(studio, 100)
        capture(hold(studio, 10, max_open_holds=1), captured)

        hold(studio, 10, max_open_holds=1)

        assert ledger.balance(studio.pk).open_holds == 1

    def test_counts_holds_of_zero_credits(self, studio: Workspace) -> None:
        give(studio, 100)
        hold(studio, 0, max_open_holds=1)

        with pytest.raises(ConcurrencyLimitReached):
            hold(studio, 0, max_open_holds=1)

    def test_of_zero_refuses_everything(self, studio: Workspace) -> None:
        give(studio, 100)

        with pytest.raises(ConcurrencyLimitReached):
            hold(studio, 10, max_open_holds=0)

    def test_is_counted_per_side(self, studio: Workspace) -> None:
        give(studio, 100)
        give(studio, 100, Source.PLAY, side=Side.TEST)
        hold(studio, 10, max_open_holds=1)

        hold(studio, 10, side=Side.TEST, max_open_holds=1)

        assert ledger.balance(studio.pk, Side.TEST).open_holds == 1

    def test_is_no_limit_unless_given(self, studio: Workspace) -> None:
        give(studio, 100)

        for _ in range(20):
            hold(studio, 1)

        assert ledger.balance(studio.pk).open_holds == 20


class TestBurnOrder:
    """Each test gives what must burn last first, so that age alone would be wrong."""

    def test_begins_with_the_lower_priority(self, studio: Workspace) -> None:
        later = give(studio, 10, priority=1, expires_at=TOMORROW)
        sooner = give(studio, 10, priority=0)

        assert burned(studio) == [sooner, later]

    def test_goes_on_with_the_earliest_expiry(self, studio: Workspace) -> None:
        never = give(studio, 10)
        later = give(studio, 10, expires_at=IN_TWO_DAYS)
        sooner = give(studio, 10, Source.PACK, expires_at=TOMORROW)

        assert burned(studio) == [sooner, later, never]

    @pytest.mark.parametrize("bought", [Source.PLAN, Source.PACK, Source.OVERAGE])
    @pytest.mark.parametrize("given", [Source.PROMOTIONAL, Source.ADJUSTMENT])
    def test_burns_granted_before_bought(self, studio: Workspace, bought: Source, given: Source) -> None:
        later = give(studio, 10, bought)
        sooner = give(studio, 10, given)

        assert burned(studio) == [sooner, later]

    def test_ends_with_age(self, studio: Workspace) -> None:
        oldest, older, newest = (give(studio, 10) for _ in range(3))

        assert burned(studio) == [oldest, older, newest]

    def test_puts_priority_before_expiry_before_source_before_age(self, studio: Workspace) -> None:
        last = give(studio, 10, priority=1)
        fourth = give(studio, 10, Source.PACK)
        third = give(studio, 10)
        second = give(studio, 10, Source.PACK, expires_at=TOMORROW)
        first = give(studio, 10, priority=-1)

        assert burned(studio) == [first, second, third, fourth, last]

    def test_leaves_out_an_empty_grant(self, studio: Workspace) -> None:
        give(studio, 10)
        full = give(studio, 10)
        hold(studio, 10)

        assert posted(hold(studio, 10), Account.HELD) == [(full.pk, 10)]

    def test_uses_what_was_given_back_again(self, studio: Workspace) -> None:
        first = give(studio, 10)
        give(studio, 10)
        release(hold(studio, 10))

        assert posted(hold(studio, 10), Account.HELD) == [(first.pk, 10)]


def burned(workspace: Workspace) -> list[Grant]:
    """The workspace's grants in the order in which one hold over all of them takes their credits."""
    hold_id = hold(workspace, available(workspace))
    return [
        Grant.objects.for_workspace(workspace).get(pk=grant_id)
        for grant_id, _ in posted(hold_id, Account.HELD)
    ]


class TestCapture:
    def test_charges_the_whole_hold(self, studio: Workspace) -> None:
        give(studio, 100)

        settled = capture(hold(studio, 30), 30)

        assert settled == Settlement(captured_credits=30, released_credits=0, revenue_micros=0)
        assert ledger.balance(studio.pk) == BalanceView(70, 0, 0, 0)

    def test_charges_a_part_and_gives_the_rest_back(self, studio: Workspace) -> None:
        give(studio, 100)

        settled = capture(hold(studio, 30), 20)

        assert (settled.captured_credits, settled.released_credits) == (20, 10)
        assert ledger.balance(studio.pk) == BalanceView(80, 0, 0, 0)

    def test_posts_the_charge_as_revenue(self, studio: Workspace) -> None:
        grant = give(studio, 100)
        hold_id = hold(studio, 30)

        capture(hold_id, 20)

        assert posted(f"settle:{hold_id}", Account.REVENUE) == [(grant.pk, 20)]
        assert posted(f"settle:{hold_id}", Account.HELD) == [(grant.pk, -30)]
        assert posted(f"settle:{hold_id}", Account.AVAILABLE) == [(grant.pk, 10)]

    def test_charges_grants_in_burn_order(self, studio: Workspace) -> None:
        last = give(studio, 40, Source.PACK)
        first = give(studio, 40, expires_at=TOMORROW)
        hold_id = hold(studio, 80)

        capture(hold_id, 50)

        assert posted(f"settle:{hold_id}", Account.REVENUE) == [(first.pk, 40), (last.pk, 10)]
        assert posted(f"settle:{hold_id}", Account.AVAILABLE) == [(last.pk, 30)]

    def test_keeps_the_order_of_the_hold_when_a_better_grant_came(self, studio: Workspace) -> None:
        held_from = give(studio, 40)
        hold_id = hold(studio, 40)
        give(studio, 40, expires_at=TOMORROW)

        capture(hold_id, 40)

        assert posted(f"settle:{hold_id}", Account.REVENUE) == [(held_from.pk, 40)]

    def test_refuses_more_than_was_held(self, studio: Workspace) -> None:
        give(studio, 100)
        hold_id = hold(studio, 30)

        with pytest.raises(OperationConflict, match="captures 31 of 30"):
            capture(hold_id, 31)

        assert ledger.balance(studio.pk) == BalanceView(70, 30, 0, 1)

    def test_refuses_a_negative_amount(self, studio: Workspace) -> None:
        give(studio, 100)

        with pytest.raises(OperationConflict):
            capture(hold(studio, 30), -1)

    def test_refuses_a_hold_that_never_was(self, studio: Workspace) -> None:
        give(studio, 100)

        with pytest.raises(Operation.DoesNotExist):
            capture("hold:none", 1)

    def test_refuses_to_end_a_grant(self, studio: Workspace) -> None:
        ledger.grant(studio.pk, 100, Source.PACK, "topup")

        with pytest.raises(Operation.DoesNotExist):
            capture("topup", 1)

    def test_leaves_another_hold_open(self, studio: Workspace) -> None:
        give(studio, 100)
        first, _ = hold(studio, 30), hold(studio, 30)

        capture(first, 30)

        assert ledger.balance(studio.pk) == BalanceView(40, 30, 0, 1)


class TestSecondCapture:
    @pytest.fixture
    def ended(self, studio: Workspace) -> str:
        """A hold of 30 credits, 20 of them captured by `settle:1`."""
        give(studio, 100, Source.PACK, paid_minor_units=1_000)
        hold_id = hold(studio, 30)
        ledger.capture(hold_id, 20, "settle:1", NOW)
        return hold_id

    def test_with_the_same_fields_gives_the_same_answer(self, ended: str) -> None:
        assert ledger.capture(ended, 20, "settle:1", TOMORROW) == Settlement(20, 10, 200_000_000)

    def test_with_the_same_fields_changes_nothing(self, studio: Workspace, ended: str) -> None:
        ledger.capture(ended, 20, "settle:1", NOW)

        assert ledger.balance(studio.pk) == BalanceView(80, 0, 0, 0)

    @pytest.mark.parametrize("amount, operation_id", [(19, "settle:1"), (0, "settle:1"), (20, "settle:2")])
    def test_with_other_fields_is_a_conflict(self, ended: str, amount: int, operation_id: str) -> None:
        with pytest.raises(OperationConflict, match="ended by settle:1 already"):
            ledger.capture(ended, amount, operation_id, NOW)

    def test_as_a_release_is_a_conflict(self, ended: str) -> None:
        with pytest.raises(OperationConflict):
            release(ended)

    def test_of_another_hold_under_the_same_id_is_a_conflict(self, studio: Workspace, ended: str) -> None:
        other = hold(studio, 30)

        with pytest.raises(OperationConflict):
            ledger.capture(other, 20, "settle:1", NOW)


class TestRelease:
    def test_gives_the_whole_hold_back(self, studio: Workspace) -> None:
        give(studio, 100)

        settled = release(hold(studio, 30))

        assert settled == Settlement(captured_credits=0, released_credits=30, revenue_micros=0)
        assert ledger.balance(studio.pk) == BalanceView(100, 0, 0, 0)

    def test_gives_each_grant_its_own_credits_back(self, studio: Workspace) -> None:
        first, second = give(studio, 40), give(studio, 40)

        release(hold(studio, 60))

        assert (again(first).remaining_credits, again(second).remaining_credits) == (40, 40)

    def test_may_be_repeated(self, studio: Workspace) -> None:
        give(studio, 100)
        hold_id = hold(studio, 30)
        release(hold_id)

        assert release(hold_id) == Settlement(0, 30, 0)
        assert ledger.balance(studio.pk) == BalanceView(100, 0, 0, 0)

    def test_after_a_capture_is_a_conflict(self, studio: Workspace) -> None:
        give(studio, 100)
        hold_id = hold(studio, 30)
        capture(hold_id, 30)

        with pytest.raises(OperationConflict):
            release(hold_id)


class TestExpiry:
    def test_makes_credits_unspendable_exactly_at_the_instant(self, studio: Workspace) -> None:
        give(studio, 100, expires_at=TOMORROW)

        with pytest.raises(InsufficientCredit) as refused:
            hold(studio, 1, TOMORROW)

        assert refused.value.available == 0

    def test_leaves_credits_spendable_up_to_the_instant(self, studio: Workspace) -> None:
        give(studio, 100, expires_at=TOMORROW)

        hold(studio, 100, TOMORROW - INSTANT)

        assert ledger.balance(studio.pk).held_credits == 100

    def test_takes_nothing_from_grants_that_still_hold(self, studio: Workspace) -> None:
        give(studio, 100, expires_at=TOMORROW)
        valid = give(studio, 50, expires_at=IN_TWO_DAYS)

        hold_id = hold(studio, 20, TOMORROW)

        assert posted(hold_id, Account.HELD) == [(valid.pk, 20)]
        assert ledger.balance(studio.pk) == BalanceView(30, 20, 0, 1)

    def test_moves_what_is_left_to_breakage(self, studio: Workspace) -> None:
        give(studio, 100, expires_at=TOMORROW)
        sell(hold(studio, 30), 30)

        ledger.expire_due(TOMORROW)

        assert (available(studio), total(Account.BREAKAGE)) == (0, 70)

    def test_counts_the_grants_that_had_something_left(self, studio: Workspace) -> None:
        give(studio, 10, expires_at=TOMORROW)
        give(studio, 10, expires_at=TOMORROW)
        give(studio, 10, expires_at=IN_TWO_DAYS)

        assert ledger.expire_due(TOMORROW) == 2

    def test_finds_nothing_the_second_time(self, studio: Workspace) -> None:
        give(studio, 10, expires_at=TOMORROW)
        ledger.expire_due(TOMORROW)

        assert ledger.expire_due(TOMORROW) == 0

    def test_is_due_in_every_workspace_and_on_both_sides(
        self, studio: Workspace, charlies_workspace: Workspace
    ) -> None:
        give(studio, 10, expires_at=TOMORROW)
        give(studio, 10, Source.PLAY, side=Side.TEST, expires_at=TOMORROW)
        give(charlies_workspace, 10, expires_at=TOMORROW)

        assert ledger.expire_due(TOMORROW) == 3

    def test_leaves_held_credits_to_their_job(self, studio: Workspace) -> None:
        give(studio, 100, expires_at=TOMORROW)
        hold_id = hold(studio, 30)

        ledger.expire_due(TOMORROW)

        assert sell(hold_id, 30, IN_TWO_DAYS).captured_credits == 30

    @pytest.mark.parametrize("is_expired_before", [True, False])
    def test_sends_credit_released_afterwards_to_breakage(
        self, studio: Workspace, is_expired_before: bool
    ) -> None:
        give(studio, 100, expires_at=TOMORROW)
        hold_id = hold(studio, 30)
        if is_expired_before:
            ledger.expire_due(TOMORROW)

        sell(hold_id, 20, TOMORROW)

        assert posted(f"settle:{hold_id}", Account.BREAKAGE) == [(operation_grant(hold_id), 10)]
        assert posted(f"settle:{hold_id}", Account.AVAILABLE) == []

    def test_loses_nothing_but_what_expired(self, studio: Workspace) -> None:
        give(studio, 20, expires_at=TOMORROW)
        give(studio, 100)
        hold_id = hold(studio, 50)

        release(hold_id, TOMORROW)

        assert ledger.balance(studio.pk) == BalanceView(100, 0, 0, 0)

    def test_happens_again_after_a_transaction_with_an_older_time_gave_credit_back(
        self, studio: Workspace
    ) -> None:
        give(studio, 100, expires_at=TOMORROW)
        hold_id = hold(studio, 30)
        ledger.expire_due(TOMORROW)
        # It read the clock just before the expiry and then waited for the balance row.
        release(hold_id, TOMORROW - INSTANT)

        ledger.expire_due(IN_TWO_DAYS)

        assert (available(studio), total(Account.BREAKAGE)) == (0, 100)

    def test_leaves_the_ledger_clean(self, studio: Workspace) -> None:
        give(studio, 100, expires_at=TOMORROW)
        first, second = hold(studio, 30), hold(studio, 30)
        sell(first, 10, TOMORROW)
        ledger.expire_due(TOMORROW)

        sell(second, 10, TOMORROW)

        assert ledger.verify() == []


def operation_grant(hold_id: str) -> object:
    ((grant_id, _),) = posted(hold_id, Account.HELD)
    return grant_id


class TestSides:
    @pytest.fixture(autouse=True)
    def _both(self, studio: Workspace) -> None:
        give(studio, 100)
        give(studio, 1_000, Source.PLAY, side=Side.TEST)

    def test_have_balances_of_their_own(self, studio: Workspace) -> None:
        assert (available(studio, Side.LIVE), available(studio, Side.TEST)) == (100, 1_000)

    @pytest.mark.parametrize("side, other", [(Side.LIVE, Side.TEST), (Side.TEST, Side.LIVE)])
    def test_spend_only_their_own(self, studio: Workspace, side: Side, other: Side) -> None:
        before = ledger.balance(studio.pk, other)

        capture(hold(studio, 60, side=side), 50)

        assert ledger.balance(studio.pk, other) == before

    def test_do_not_help_each_other_out(self, studio: Workspace) -> None:
        with pytest.raises(InsufficientCredit) as refused:
            hold(studio, 101)

        assert refused.value.available == 100

    def test_post_entries_of_their_own(self, studio: Workspace) -> None:
        hold_id = hold(studio, 60, side=Side.TEST)
        capture(hold_id, 50)

        entries = Entry.objects.for_workspace(studio).filter(
            operation__operation_id__in=[hold_id, f"settle:{hold_id}"]
        )
        assert {entry.side for entry in entries} == {Side.TEST}


class TestRevenue:
    def test_is_the_money_paid_per_credit(self, studio: Workspace) -> None:
        give(studio, 100, Source.PACK, paid_minor_units=1_000)

        assert capture(hold(studio, 30), 20).revenue_micros == 20 * 10 * 1_000_000

    @pytest.mark.parametrize("source", [Source.PROMOTIONAL, Source.ADJUSTMENT])
    def test_of_what_was_given_is_zero(self, studio: Workspace, source: Source) -> None:
        give(studio, 100, source)

        assert capture(hold(studio, 30), 30).revenue_micros == 0

    def test_adds_up_over_several_grants(self, studio: Workspace) -> None:
        give(studio, 10)
        give(studio, 10, Source.PACK, paid_minor_units=50)

        assert capture(hold(studio, 16), 16).revenue_micros == 6 * 5 * 1_000_000

    @pytest.mark.parametrize("credits, paid", [(1_000, 999), (7, 1), (3, 10), (997, 100_003), (1, 1)])
    def test_of_many_odd_parts_sums_to_what_was_paid(
        self, studio: Workspace, credits: int, paid: int
    ) -> None:
        give(studio, credits, Source.PACK, paid_minor_units=paid)
        parts = odd_parts(credits)

        earned = [capture(hold(studio, part), part).revenue_micros for part in parts]

        assert sum(earned) == paid * 1_000_000

    def test_of_holds_ended_in_another_order_sums_to_what_was_paid(self, studio: Workspace) -> None:
        give(studio, 10, Source.PACK, paid_minor_units=7)
        holds = [hold(studio, part) for part in (1, 3, 2, 4)]

        earned = [capture(hold_id, operation(hold_id).amount_credits) for hold_id in reversed(holds)]

        assert sum(settled.revenue_micros for settled in earned) == 7_000_000

    def test_is_never_earned_by_a_release(self, studio: Workspace) -> None:
        give(studio, 10, Source.PACK, paid_minor_units=7)

        assert release(hold(studio, 10)).revenue_micros == 0


def odd_parts(credits: int) -> list[int]:
    """1, 3, 5, ... and what is left at the end."""
    parts, part = [], 1
    while credits:
        parts.append(min(part, credits))
        credits -= parts[-1]
        part += 2
    return parts
