from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from accounts import api_keys, clock, keyring, lookups
from accounts.keyring import Purpose
from accounts.models import AuditEvent, Membership, QuotaUnit, Side, Subject, Window, Workspace
from accounts.quotas import Limit
from billing import ledger
from inference import jobs, quotas
from inference.models import Job, QuotaUse, State
from inference.quotas import QuotaExceeded
from inference.requests import Caller, Delivery
from tests import factories

pytestmark = pytest.mark.usefixtures("model")


def limit(workspace: Workspace, most: int, subject: Subject = Subject.WORKSPACE, **fields: Any) -> Limit:
    """Of images per day, unless told otherwise."""
    terms = {"subject_id": "", "unit": QuotaUnit.IMAGES, "window": Window.DAY, **fields}
    return quotas.set_limit(workspace.pk, subject, limit=most, **terms)


def make(caller: Caller, images: int = 1) -> Job:
    return jobs.submit(caller, factories.request(num_images=images), Delivery())


def used(workspace: Workspace, **fields: Any) -> int:
    return QuotaUse.objects.for_workspace(workspace).get(**fields).used


@pytest.fixture
def caller(workspace: Workspace, membership: Membership) -> Caller:
    """alice with a key of hers."""
    issued = api_keys.issue(workspace, "alice's", membership=membership)
    return factories.caller(workspace, membership=membership, key=issued.key)


class TestHardQuota:
    def test_lets_through_exactly_as_many_as_it_says(self, workspace: Workspace, caller: Caller) -> None:
        limit(workspace, 3)

        make(caller, 2)
        make(caller, 1)

        with pytest.raises(QuotaExceeded):
            make(caller, 1)
        assert used(workspace) == 3

    def test_refuses_a_request_that_only_partly_fits(self, workspace: Workspace, caller: Caller) -> None:
        limit(workspace, 3)
        make(caller, 2)

        with pytest.raises(QuotaExceeded) as refusal:
            make(caller, 2)

        assert (refusal.value.requested, refusal.value.state.used, refusal.value.state.left) == (2, 2, 1)

    def test_leaves_nothing_behind_when_it_refuses(self, workspace: Workspace, caller: Caller) -> None:
        limit(workspace, 0)

        with pytest.raises(QuotaExceeded):
            make(caller)

        assert Job.objects.for_workspace(workspace).count() == 0
        assert ledger.balance(workspace.pk).available_credits == 1_000

    def test_counts_on_no_other_quota_when_it_refuses(self, workspace: Workspace, caller: Caller) -> None:
        limit(workspace, 100, window=Window.TOTAL)
        limit(workspace, 1)
        make(caller)

        with pytest.raises(QuotaExceeded):
            make(caller)

        assert used(workspace, window=Window.TOTAL) == 1

    def test_says_when_it_starts_anew(self, workspace: Workspace, caller: Caller) -> None:
        limit(workspace, 0)

        with pytest.raises(QuotaExceeded) as refusal:
            make(caller)

        resets_at = refusal.value.state.resets_at
        assert resets_at is not None
        assert timedelta() < resets_at - clock.now() <= timedelta(days=1)

    def test_of_a_total_never_starts_anew(self, workspace: Workspace, caller: Caller) -> None:
        limit(workspace, 0, window=Window.TOTAL)

        with pytest.raises(QuotaExceeded) as refusal:
            make(caller)

        assert refusal.value.state.resets_at is None

    def test_limits_credits_too(self, workspace: Workspace, caller: Caller) -> None:
        limit(workspace, 25, unit=QuotaUnit.CREDITS)
        make(caller, 2)

        with pytest.raises(QuotaExceeded) as refusal:
            make(caller, 1)

        assert (refusal.value.requested, refusal.value.state.left) == (10, 5)

    def test_begins_anew_in_the_next_period(self, workspace: Workspace, caller: Caller) -> None:
        limit(workspace, 1)
        make(caller)
        row = QuotaUse.objects.for_workspace(workspace)
        row.update(period_start_at=row.get().period_start_at - timedelta(days=1))
        Job.objects.for_workspace(workspace).update(created_at=clock.now() - timedelta(days=1))

        make(caller)

        assert sorted(one.used for one in row) == [1, 1]


class TestSubject:
    def test_of_a_member_is_counted_over_all_their_keys(
        self, workspace: Workspace, caller: Caller, membership: Membership, bobs_membership: Membership
    ) -> None:
        limit(workspace, 2, Subject.MEMBER)
        second = api_keys.issue(workspace, "another", membership=membership).key
        make(caller)
        make(factories.caller(workspace, membership=membership, key=second))

        with pytest.raises(QuotaExceeded):
            make(caller)
        make(factories.caller(workspace, membership=bobs_membership), 2)

    def test_of_a_key_is_shared_by_what_replaced_it(self, workspace: Workspace, caller: Caller) -> None:
        limit(workspace, 1, Subject.KEY)
        make(caller)
        assert caller.api_key is not None
        successor = api_keys.rotate(caller.api_key, timedelta()).key

        with pytest.raises(QuotaExceeded):
            make(factories.caller(workspace, key=successor))

    def test_of_an_own_limit_goes_before_that_for_each(
        self, workspace: Workspace, caller: Caller, membership: Membership
    ) -> None:
        limit(workspace, 0, Subject.MEMBER)
        limit(workspace, 1, Subject.MEMBER, subject_id=str(membership.pk))

        make(caller)

        with pytest.raises(QuotaExceeded):
            make(caller)

    def test_of_an_end_user_counts_only_those_who_are_named(
        self, workspace: Workspace, caller: Caller
    ) -> None:
        limit(workspace, 1, Subject.END_USER)
        named = Caller(**{**vars(caller), "end_user": "eve"})
        make(named)

        make(caller)

        with pytest.raises(QuotaExceeded):
            make(named)
        digest = keyring.of(workspace.pk).hash("eve", Purpose.END_USER).digest
        assert used(workspace, subject_id=digest) == 1

    def test_counts_the_sides_apart(self, workspace: Workspace, caller: Caller) -> None:
        limit(workspace, 1)
        make(caller)

        make(factories.caller(workspace, side=Side.TEST))

        assert used(workspace, side=Side.LIVE) == used(workspace, side=Side.TEST) == 1


class TestSoftQuota:
    def test_lets_through_and_tells_once(self, workspace: Workspace, caller: Caller) -> None:
        limit(workspace, 1, is_hard=False)

        states = [make(caller).quota_states[0] for _ in range(3)]

        assert [state.used for state in states] == [1, 2, 3]
        told = AuditEvent.objects.for_workspace(workspace).filter(action="quota:crossed")
        assert [event.data["limit"] for event in told] == [1]

    def test_tells_nothing_at_exactly_the_limit(self, workspace: Workspace, caller: Caller) -> None:
        limit(workspace, 2, is_hard=False)

        make(caller, 2)

        assert not AuditEvent.objects.for_workspace(workspace).filter(action="quota:crossed").exists()


class TestGiveBack:
    def test_returns_all_of_a_failed_job(self, workspace: Workspace, caller: Caller) -> None:
        limit(workspace, 3)
        limit(workspace, 100, unit=QuotaUnit.CREDITS)
        job = make(caller, 3)

        jobs.cancel(caller, job.pk)

        assert [row.used for row in QuotaUse.objects.for_workspace(workspace)] == [0, 0]

    def test_keeps_what_was_delivered(self, workspace: Workspace, caller: Caller) -> None:
        limit(workspace, 3)
        limit(workspace, 100, unit=QuotaUnit.CREDITS)

        factories.run(make(caller, 2))

        assert used(workspace, unit=QuotaUnit.IMAGES) == 2
        assert used(workspace, unit=QuotaUnit.CREDITS) == 20

    def test_returns_to_the_row_that_it_took_from(self, workspace: Workspace, caller: Caller) -> None:
        limit(workspace, 3)
        job = make(caller, 2)
        old = QuotaUse.objects.for_workspace(workspace).get()
        yesterday = old.period_start_at - timedelta(days=1)
        QuotaUse.objects.for_workspace(workspace).update(period_start_at=yesterday)
        Job.objects.for_workspace(workspace).update(created_at=job.created_at - timedelta(days=1))
        make(caller, 3)

        jobs.cancel(caller, job.pk)

        assert used(workspace, period_start_at=yesterday) == 0
        assert used(workspace, period_start_at=old.period_start_at) == 3

    def test_returns_what_was_accepted_before_anybody_counted(
        self, workspace: Workspace, caller: Caller
    ) -> None:
        job = make(caller, 2)
        limit(workspace, 3)
        make(caller, 1)

        jobs.cancel(caller, job.pk)

        assert used(workspace) == 1

    def test_of_another_member_changes_nothing(
        self, workspace: Workspace, caller: Caller, bobs_membership: Membership
    ) -> None:
        limit(workspace, 3, Subject.MEMBER)
        make(caller, 2)
        bobs = factories.caller(workspace, membership=bobs_membership)
        job = make(bobs, 1)

        jobs.cancel(bobs, job.pk)

        assert sorted(row.used for row in QuotaUse.objects.for_workspace(workspace)) == [0, 2]

    def test_takes_nothing_from_a_counter_whose_limit_was_removed(
        self, workspace: Workspace, caller: Caller
    ) -> None:
        """Else the counter would go below zero, and a job that nobody counted could not end."""
        set_today = limit(workspace, 10)
        counted = make(caller)
        quotas.remove(workspace.pk, set_today.id)
        uncounted = make(caller)

        ended = [jobs.cancel(caller, job.pk) for job in (counted, uncounted)]

        assert [job.state for job in ended] == [State.CANCELED, State.CANCELED]
        assert ledger.balance(workspace.pk).open_holds == 0


class TestNewLimit:
    def test_counts_what_was_used_before_it_was_set(self, workspace: Workspace, caller: Caller) -> None:
        factories.run(make(caller, 2))
        make(caller, 1)
        limit(workspace, 4)

        make(caller, 1)

        with pytest.raises(QuotaExceeded):
            make(caller, 1)
        assert used(workspace) == 4

    def test_does_not_count_what_was_returned(self, workspace: Workspace, caller: Caller) -> None:
        jobs.cancel(caller, make(caller, 3).pk)
        limit(workspace, 1)

        make(caller, 1)

        assert used(workspace) == 1

    def test_set_again_after_a_pause_gives_no_second_budget(
        self, workspace: Workspace, caller: Caller
    ) -> None:
        first = limit(workspace, 2)
        make(caller, 1)
        quotas.remove(workspace.pk, first.id)
        make(caller, 1)
        limit(workspace, 2)

        with pytest.raises(QuotaExceeded):
            make(caller, 1)

    def test_is_known_to_a_process_that_keeps_older_ones(
        self, workspace: Workspace, caller: Caller, settings: Any
    ) -> None:
        settings.LOOKUP_SECONDS = 60
        make(caller)
        before = quotas.in_force(workspace.pk)
        limit(workspace, 0)

        with pytest.raises(QuotaExceeded):
            make(caller)

        assert before.limits == ()

    def test_raised_lets_through_at_once(self, workspace: Workspace, caller: Caller) -> None:
        limit(workspace, 1)
        make(caller)
        limit(workspace, 2)

        make(caller)

        assert used(workspace) == 2


class TestStates:
    def test_show_use_and_what_is_left(self, workspace: Workspace, caller: Caller) -> None:
        one = limit(workspace, 5)
        make(caller, 2)

        (state,) = quotas.states(workspace.pk, Side.LIVE, [one], clock.now())

        assert (state.used, state.left) == (2, 3)

    def test_count_what_was_used_before_the_first_job_of_a_limit(
        self, workspace: Workspace, caller: Caller
    ) -> None:
        make(caller, 2)
        one = limit(workspace, 5)

        (state,) = quotas.states(workspace.pk, Side.LIVE, [one], clock.now())

        assert state.used == 2

    def test_never_say_less_than_nothing_is_left(self, workspace: Workspace, caller: Caller) -> None:
        make(caller, 3)
        one = limit(workspace, 1)

        (state,) = quotas.states(workspace.pk, Side.LIVE, [one], clock.now())

        assert (state.used, state.left) == (3, 0)


class TestOldCounters:
    def test_go_after_a_while_and_totals_stay(self, workspace: Workspace, caller: Caller) -> None:
        limit(workspace, 5)
        limit(workspace, 5, window=Window.TOTAL)
        make(caller)

        quotas.delete_old(clock.now() + timedelta(days=99))
        assert QuotaUse.objects.for_workspace(workspace).count() == 2
        quotas.delete_old(clock.now() + timedelta(days=102))

        assert [row.window for row in QuotaUse.objects.for_workspace(workspace)] == [Window.TOTAL]


class TestOwnLimitThatIsRemoved:
    def test_leaves_no_second_budget_under_the_one_for_each(
        self, workspace: Workspace, caller: Caller, membership: Membership
    ) -> None:
        limit(workspace, 2, Subject.MEMBER, window=Window.MONTH)
        day = (clock.now() - timedelta(days=1)).day
        own = limit(
            workspace, 5, Subject.MEMBER, subject_id=str(membership.pk), window=Window.MONTH, anchor_day=day
        )
        make(caller, 2)
        quotas.remove(workspace.pk, own.id)

        with pytest.raises(QuotaExceeded):
            make(caller)


class TestBlockedPrompt:
    def test_counts_on_nothing(self, workspace: Workspace, caller: Caller) -> None:
        limit(workspace, 1)
        with pytest.raises(jobs.PromptBlocked) as blocked:
            jobs.submit(caller, factories.request("a naked child"), Delivery())

        assert blocked.value.job.state == State.BLOCKED
        assert not QuotaUse.objects.for_workspace(workspace).exists()


@pytest.fixture(autouse=True)
def _forget_lookups() -> Iterator[None]:
    yield
    lookups.forget()
