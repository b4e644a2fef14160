import itertools
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from accounts import api_keys, ids, quotas, workspaces
from accounts.models import Membership, QuotaUnit, Side, Subject, Window, Workspace
from accounts.quotas import InvalidLimit
from billing.models import UsageRecord
from inference import quota_trial
from inference.quota_trial import ProposedLimit, SubjectTrial, TrialResult

WORKSPACE, MEMBER, KEY, END_USER = Subject.WORKSPACE, Subject.MEMBER, Subject.KEY, Subject.END_USER
IMAGES, CREDITS = QuotaUnit.IMAGES, QuotaUnit.CREDITS
DAY, MONTH, TOTAL = Window.DAY, Window.MONTH, Window.TOTAL
MARCH, APRIL = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
CREDITS_PER_IMAGE = 10
CUSTOMER, STRANGER = "c" * 64, "d" * 64

_numbers = itertools.count(1)


def used(workspace: Workspace, at: datetime = NOON, images: int = 1, **fields: Any) -> UsageRecord:
    """A job that was accepted then and delivered its images an hour later."""
    quantities = {"images": images, "pixels": 4_096, "evaluations": 4, "gpu_ms": 120, "revenue_micros": 0}
    named = {"sku": "fake@1", "operation": "text-to-image", "price_book_version": 1, "side": Side.LIVE}
    defaults = {
        "credits": images * CREDITS_PER_IMAGE,
        "accepted_at": at,
        "created_at": at + timedelta(hours=1),
    }
    return UsageRecord.objects.create(
        workspace=workspace,
        reference=f"job {next(_numbers)}",
        **{**quantities, **named, **defaults, **fields},
    )


def trial(
    workspace: Workspace,
    limit: int,
    subject: Subject = WORKSPACE,
    subject_id: object = "",
    *,
    unit: QuotaUnit = IMAGES,
    window: Window = DAY,
    side: Side = Side.LIVE,
    since: datetime = MARCH,
    until: datetime = APRIL,
    **fields: Any,
) -> TrialResult:
    proposed = ProposedLimit(subject, str(subject_id), unit, window, limit, **fields)
    return quota_trial.trial(workspace.pk, side, proposed, since, until)


def refused(result: TrialResult) -> dict[str, int]:
    return {one.subject_id: one.refused_jobs for one in result.subjects}


class TestTrial:
    def test_refuses_nothing_within_the_limit(self, workspace: Workspace) -> None:
        used(workspace, images=4)
        used(workspace, images=6)

        result = trial(workspace, 10)

        assert result.subjects == (SubjectTrial("", jobs=2, highest_use=10),)
        assert (result.refused_jobs, result.refused_subjects) == (0, 0)

    def test_refuses_what_goes_beyond(self, workspace: Workspace) -> None:
        used(workspace, NOON, images=8)
        used(workspace, NOON + timedelta(hours=1), images=4)
        used(workspace, NOON + timedelta(hours=2), images=3)

        (one,) = trial(workspace, 10).subjects

        assert (one.jobs, one.refused_jobs) == (3, 2)
        assert (one.images_not_made, one.credits_not_spent) == (7, 70)
        assert one.first_refused_at == NOON + timedelta(hours=1)
        assert one.highest_use == 8

    def test_does_not_count_a_refused_job(self, workspace: Workspace) -> None:
        used(workspace, NOON, images=8)
        used(workspace, NOON + timedelta(hours=1), images=5)
        used(workspace, NOON + timedelta(hours=2), images=2)

        (one,) = trial(workspace, 10).subjects

        assert (one.refused_jobs, one.highest_use) == (1, 10)

    def test_goes_by_the_time_of_acceptance(self, workspace: Workspace) -> None:
        """The second job was the first to be accepted, and took a day."""
        used(workspace, NOON + timedelta(hours=1), images=3)
        used(workspace, NOON, images=2, created_at=NOON + timedelta(days=1))

        (one,) = trial(workspace, 3).subjects

        assert (one.first_refused_at, one.images_not_made) == (NOON + timedelta(hours=1), 3)

    def test_refuses_everything_with_a_limit_of_zero(self, workspace: Workspace) -> None:
        used(workspace)

        assert trial(workspace, 0).refused_jobs == 1

    def test_counts_credits(self, workspace: Workspace) -> None:
        used(workspace, images=1, credits=60)
        used(workspace, images=9, credits=40)
        used(workspace, images=1, credits=1)

        result = trial(workspace, 100, unit=CREDITS)

        assert (result.refused_jobs, result.credits_not_spent) == (1, 1)

    def test_begins_anew_with_each_day(self, workspace: Workspace) -> None:
        for day in range(3):
            used(workspace, NOON + timedelta(days=day), images=5)
            used(workspace, NOON + timedelta(days=day, hours=1), images=5)

        result = trial(workspace, 5)

        assert (result.refused_jobs, result.subjects[0].highest_use) == (3, 5)

    def test_begins_anew_at_midnight_of_the_workspaces_zone(self, workspace: Workspace) -> None:
        workspaces.set_time_zone(workspace, "Asia/Tokyo", MARCH - timedelta(days=80))
        tokyos_midnight = datetime(2026, 3, 10, 15, tzinfo=UTC)
        used(workspace, tokyos_midnight - timedelta(minutes=1), images=5)
        used(workspace, tokyos_midnight, images=5)
        used(workspace, tokyos_midnight + timedelta(hours=23), images=1)

        (one,) = trial(workspace, 5).subjects

        assert (one.refused_jobs, one.first_refused_at) == (1, tokyos_midnight + timedelta(hours=23))

    def test_begins_a_month_on_its_anchor_day(self, workspace: Workspace) -> None:
        used(workspace, datetime(2026, 3, 14, tzinfo=UTC), images=5)
        used(workspace, datetime(2026, 3, 15, tzinfo=UTC), images=5)

        assert trial(workspace, 5, window=MONTH).refused_jobs == 1
        assert trial(workspace, 5, window=MONTH, anchor_day=15).refused_jobs == 0

    def test_of_a_total_never_begins_anew(self, workspace: Workspace) -> None:
        used(workspace, MARCH - timedelta(days=700), images=5)
        used(workspace, NOON, images=1)

        (one,) = trial(workspace, 5, window=TOTAL).subjects

        assert (one.jobs, one.refused_jobs, one.highest_use) == (1, 1, 5)

    def test_counts_what_the_period_saw_before_the_time(self, workspace: Workspace) -> None:
        used(workspace, NOON - timedelta(hours=2), images=4)
        used(workspace, NOON, images=2)

        (one,) = trial(workspace, 5, since=NOON - timedelta(hours=1)).subjects

        assert (one.jobs, one.refused_jobs, one.first_refused_at) == (1, 1, NOON)

    def test_tells_only_of_its_time(self, workspace: Workspace) -> None:
        for at in (MARCH - timedelta(seconds=1), MARCH, APRIL - timedelta(seconds=1), APRIL):
            used(workspace, at)

        assert trial(workspace, 0).jobs == 2

    def test_tells_only_of_its_side(self, workspace: Workspace) -> None:
        used(workspace, side=Side.TEST)

        assert trial(workspace, 0).subjects == ()
        assert trial(workspace, 0, side=Side.TEST).refused_jobs == 1

    def test_tells_nothing_of_another_workspace(
        self, workspace: Workspace, charlies_workspace: Workspace
    ) -> None:
        used(charlies_workspace)

        assert trial(workspace, 0).subjects == ()

    def test_adds_up(self, workspace: Workspace, membership: Membership, bobs_membership: Membership) -> None:
        used(workspace, images=1, membership_id=membership.pk)
        used(workspace, images=2, membership_id=bobs_membership.pk)
        used(workspace, images=3, membership_id=bobs_membership.pk)

        result = trial(workspace, 2, MEMBER)

        assert (result.jobs, result.refused_jobs, result.refused_subjects) == (3, 1, 1)
        assert (result.images_not_made, result.credits_not_spent) == (3, 30)

    def test_names_those_refused_most_first(self, workspace: Workspace) -> None:
        for customer, jobs in (("a", 1), ("b", 3), ("c", 2), ("d", 1)):
            for _ in range(jobs):
                used(workspace, images=5, end_user_hash=customer * 64)

        order = [one.subject_id[0] for one in trial(workspace, 5, END_USER).subjects]

        assert order == ["b", "c", "a", "d"]

    def test_changes_nothing(self, workspace: Workspace) -> None:
        used(workspace)

        with CaptureQueriesContext(
            connection,
        ) as queries:
            trial(workspace, 0)

        statements = [query["sql"].split()[0] for query in queries]
        assert "SELECT" in statements
        assert {"INSERT", "UPDATE", "DELETE"}.isdisjoint(statements)
        assert quotas.read(workspace.pk) == ()

    def test_asks_the_database_as_often_for_many_jobs_as_for_one(self, workspace: Workspace) -> None:
        used(workspace, end_user_hash=CUSTOMER)
        with CaptureQueriesContext(connection) as few:
            trial(workspace, 1, END_USER)
        for day in range(30):
            used(workspace, MARCH + timedelta(days=day), end_user_hash=f"{day:064}")

        with CaptureQueriesContext(connection) as many:
            trial(workspace, 1, END_USER)

        assert len(many) == len(few)

    def test_refuses_a_limit_that_could_not_be_set(self, workspace: Workspace) -> None:
        with pytest.raises(InvalidLimit):
            trial(workspace, -1)

    @pytest.mark.django_db
    @given(
        amounts=st.lists(st.tuples(st.integers(0, 80), st.integers(1, 5)), max_size=12),
        limit=st.integers(0, 8),
    )
    def test_agrees_with_counting_by_hand(self, amounts: list[tuple[int, int]], limit: int) -> None:
        """Each day is counted on its own, in the plainest way."""
        workspace = Workspace.objects.create(name="Studio")
        for hour, images in amounts:
            used(workspace, MARCH + timedelta(hours=hour), images=images)
        expected = 0
        for day in range(4):
            left = limit
            for hour, images in sorted(amounts, key=lambda one: one[0]):
                if hour // 24 == day and images <= left:
                    left -= images
                elif hour // 24 == day:
                    expected += 1

        assert trial(workspace, limit).refused_jobs == expected


class TestSubjects:
    def test_of_one_member_are_that_members_jobs(
        self, workspace: Workspace, membership: Membership, bobs_membership: Membership
    ) -> None:
        used(workspace, membership_id=membership.pk)
        used(workspace, membership_id=bobs_membership.pk)

        assert refused(trial(workspace, 0, MEMBER, bobs_membership.pk)) == {str(bobs_membership.pk): 1}

    def test_of_each_member_are_counted_apart(
        self, workspace: Workspace, membership: Membership, bobs_membership: Membership
    ) -> None:
        for member, images in ((membership, 5), (bobs_membership, 5), (bobs_membership, 1)):
            used(workspace, images=images, membership_id=member.pk)

        expected = {str(bobs_membership.pk): 1, str(membership.pk): 0}
        assert refused(trial(workspace, 5, MEMBER)) == expected

    @pytest.mark.parametrize("subject", [MEMBER, KEY, END_USER])
    def test_of_each_one_are_not_nobodys(self, workspace: Workspace, subject: Subject) -> None:
        used(workspace)

        assert trial(workspace, 0, subject).subjects == ()

    def test_of_each_one_leave_out_those_with_a_limit_of_their_own(
        self, workspace: Workspace, membership: Membership, bobs_membership: Membership
    ) -> None:
        quotas.set_limit(workspace.pk, MEMBER, str(membership.pk), IMAGES, DAY, 1_000)
        used(workspace, membership_id=membership.pk)
        used(workspace, membership_id=bobs_membership.pk)

        assert refused(trial(workspace, 0, MEMBER)) == {str(bobs_membership.pk): 1}
        assert len(trial(workspace, 0, MEMBER, unit=CREDITS).subjects) == 2
        assert len(trial(workspace, 0, MEMBER, window=MONTH).subjects) == 2

    def test_try_another_limit_of_a_member_that_has_one(
        self, workspace: Workspace, membership: Membership
    ) -> None:
        quotas.set_limit(workspace.pk, MEMBER, str(membership.pk), IMAGES, DAY, 1_000)
        used(workspace, membership_id=membership.pk)

        assert trial(workspace, 0, MEMBER, membership.pk).refused_jobs == 1

    def test_of_a_key_are_its_lineage(self, workspace: Workspace) -> None:
        first = api_keys.issue(workspace, "first").key
        second = api_keys.rotate(first, timedelta(hours=1)).key
        other = api_keys.issue(workspace, "other").key
        for key in (first, second, other):
            used(workspace, images=3, api_key_id=key.pk)

        assert refused(trial(workspace, 5, KEY)) == {str(first.lineage_id): 1, str(other.lineage_id): 0}
        assert refused(trial(workspace, 5, KEY, second.lineage_id)) == {str(first.lineage_id): 1}

    def test_are_not_a_key_that_nobody_knows(self, workspace: Workspace) -> None:
        used(workspace, api_key_id=ids.new_id())

        assert trial(workspace, 0, KEY).subjects == ()

    def test_of_an_end_user_are_that_end_users(self, workspace: Workspace) -> None:
        used(workspace, end_user_hash=CUSTOMER)
        used(workspace, end_user_hash=STRANGER)

        assert refused(trial(workspace, 0, END_USER, CUSTOMER)) == {CUSTOMER: 1}
        assert refused(trial(workspace, 0, END_USER)) == {CUSTOMER: 1, STRANGER: 1}

    def test_of_the_workspace_are_all(self, workspace: Workspace, membership: Membership) -> None:
        used(workspace, membership_id=membership.pk)
        used(workspace, api_key_id=uuid.uuid4(), end_user_hash=CUSTOMER)

        assert refused(trial(workspace, 0)) == {"": 2}

    def test_of_the_workspace_are_all_where_it_has_a_limit_already(self, workspace: Workspace) -> None:
        quotas.set_limit(workspace.pk, WORKSPACE, "", IMAGES, DAY, 1_000)
        used(workspace)

        assert refused(trial(workspace, 0)) == {"": 1}
