import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts import api_keys, audit, ids, quotas, workspaces
from accounts.audit import Origin
from accounts.models import AuditEvent, Membership, Quota, QuotaUnit, Side, Subject, User, Window, Workspace
from accounts.quotas import (
    InvalidLimit,
    Limit,
    QuotaNotFound,
    QuotaState,
    TooManyQuotas,
    UnknownSubject,
)

WORKSPACE, MEMBER, KEY, END_USER = Subject.WORKSPACE, Subject.MEMBER, Subject.KEY, Subject.END_USER
IMAGES, CREDITS = QuotaUnit.IMAGES, QuotaUnit.CREDITS
DAY, MONTH, TOTAL = Window.DAY, Window.MONTH, Window.TOTAL
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ORIGIN = Origin("user:alice", "req_1")
ALICE, BOB = uuid.UUID(int=1), uuid.UUID(int=2)
LINEAGE = uuid.UUID(int=3)
CUSTOMER, STRANGER = "c" * 64, "d" * 64


def set_limit(workspace: Workspace, limit: Any = 100, **fields: Any) -> Quota:
    wanted = {"subject": WORKSPACE, "subject_id": "", "unit": IMAGES, "window": MONTH, **fields}
    return quotas.set_limit(workspace.pk, limit=limit, **wanted)


def limit_of(subject: Subject, subject_id: object = "", most: int = 10, **fields: Any) -> Limit:
    defaults = {"unit": IMAGES, "window": DAY, "limit": most, "is_hard": True, "anchor_day": 1}
    return Limit(id=ids.new_id(), subject=subject, subject_id=str(subject_id), **{**defaults, **fields})


class TestSetLimit:
    def test_keeps_what_was_asked_for(self, workspace: Workspace, membership: Membership) -> None:
        set_limit(
            workspace,
            7,
            subject=MEMBER,
            subject_id=str(membership.pk),
            unit=CREDITS,
            is_hard=False,
            anchor_day=31,
        )

        (limit,) = quotas.read(workspace.pk)
        assert (limit.subject, limit.subject_id, limit.unit) == (MEMBER, str(membership.pk), CREDITS)
        assert (limit.window, limit.limit, limit.is_hard, limit.anchor_day) == (MONTH, 7, False, 31)

    def test_is_hard_and_from_the_first_by_default(self, workspace: Workspace) -> None:
        quota = set_limit(workspace)

        assert (quota.is_hard, quota.anchor_day) == (True, 1)

    @pytest.mark.parametrize("limit", [0, 2**53])
    def test_takes_nothing_and_very_much(self, workspace: Workspace, limit: int) -> None:
        set_limit(workspace, limit)

        assert quotas.read(workspace.pk)[0].limit == limit

    @pytest.mark.parametrize("limit", [-1, 2**53 + 1, 2**63, 1.0, "5", None, True])
    def test_refuses_what_is_no_amount(self, workspace: Workspace, limit: Any) -> None:
        with pytest.raises(InvalidLimit) as refused:
            set_limit(workspace, limit)

        assert refused.value.field == "limit"
        assert quotas.read(workspace.pk) == ()

    @pytest.mark.parametrize("anchor_day", [0, 32, -1])
    def test_refuses_a_day_that_no_month_has(self, workspace: Workspace, anchor_day: int) -> None:
        with pytest.raises(InvalidLimit) as refused:
            set_limit(workspace, anchor_day=anchor_day)

        assert refused.value.field == "anchor_day"

    @pytest.mark.parametrize("window", [DAY, TOTAL])
    def test_refuses_an_anchor_day_without_a_month(self, workspace: Workspace, window: Window) -> None:
        with pytest.raises(InvalidLimit, match="only for the window month"):
            set_limit(workspace, window=window, anchor_day=2)

    def test_replaces_the_limit_of_the_same_subject_unit_and_window(self, workspace: Workspace) -> None:
        first, second = set_limit(workspace, 100), set_limit(workspace, 50, is_hard=False, anchor_day=15)

        (limit,) = quotas.read(workspace.pk)
        assert first.pk == second.pk == limit.id
        assert (limit.limit, limit.is_hard, limit.anchor_day) == (50, False, 15)

    def test_keeps_limits_of_other_units_and_windows_apart(self, workspace: Workspace) -> None:
        for unit in QuotaUnit:
            for window in Window:
                set_limit(workspace, unit=unit, window=window)

        assert len(quotas.read(workspace.pk)) == 6

    def test_records_the_limit(self, workspace: Workspace) -> None:
        quota = set_limit(workspace, 7, origin=ORIGIN)

        event = AuditEvent.objects.for_workspace(workspace).latest("pk")
        assert (event.action, event.actor) == (audit.Event.QUOTA_SET, "user:alice")
        assert event.target == ids.public(ids.Prefix.QUOTA, quota.pk)
        assert event.data == {
            "subject": "workspace",
            "subject_id": "",
            "unit": "images",
            "window": "month",
            "limit": 7,
            "is_hard": True,
            "anchor_day": 1,
        }

    def test_leaves_nothing_when_there_are_too_many(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(quotas, "MAX_QUOTAS", 1)
        set_limit(workspace, window=DAY)

        with pytest.raises(TooManyQuotas) as refused:
            set_limit(workspace, window=MONTH)

        assert refused.value.most == 1
        assert [limit.window for limit in quotas.read(workspace.pk)] == [DAY]

    def test_still_replaces_when_there_are_as_many_as_may_be(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(quotas, "MAX_QUOTAS", 1)
        set_limit(workspace, 1)

        set_limit(workspace, 2)

        assert quotas.read(workspace.pk)[0].limit == 2


class TestSubject:
    def test_of_a_key_is_its_lineage(self, workspace: Workspace) -> None:
        first = api_keys.issue(workspace, "first").key
        second = api_keys.rotate(first, timedelta(hours=1)).key

        set_limit(workspace, 1, subject=KEY, subject_id=str(first.pk))
        set_limit(workspace, 2, subject=KEY, subject_id=str(second.pk))

        (limit,) = quotas.read(workspace.pk)
        assert (limit.subject_id, limit.limit) == (str(first.lineage_id), 2)

    @pytest.mark.parametrize("subject", [MEMBER, KEY])
    @pytest.mark.parametrize("subject_id", [str(uuid.UUID(int=9)), "mem_1", "x" * 500, "'; DROP TABLE"])
    def test_that_the_workspace_has_not_is_refused(
        self, workspace: Workspace, subject: Subject, subject_id: str
    ) -> None:
        with pytest.raises(UnknownSubject) as refused:
            set_limit(workspace, subject=subject, subject_id=subject_id)

        assert refused.value.field == "subject_id"
        assert str(refused.value) == f"subject_id: the workspace has no such {subject}."

    def test_of_another_workspace_is_refused(
        self, workspace: Workspace, charlies_workspace: Workspace, charlie: User
    ) -> None:
        (theirs,) = workspaces.memberships_of(charlie)
        key = api_keys.issue(charlies_workspace, "charlie's").key

        for subject, subject_id in ((MEMBER, theirs.pk), (KEY, key.pk), (KEY, key.lineage_id)):
            with pytest.raises(UnknownSubject):
                set_limit(workspace, subject=subject, subject_id=str(subject_id))

    def test_that_was_removed_is_refused(self, workspace: Workspace, bobs_membership: Membership) -> None:
        bobs_membership.removed_at = NOW
        bobs_membership.save()

        with pytest.raises(UnknownSubject):
            set_limit(workspace, subject=MEMBER, subject_id=str(bobs_membership.pk))

    def test_of_the_workspace_takes_no_id(self, workspace: Workspace) -> None:
        with pytest.raises(InvalidLimit, match="must be empty"):
            set_limit(workspace, subject_id=str(workspace.pk))

    @pytest.mark.parametrize("subject_id", ["customer-7", "C" * 64, "c" * 63, "c" * 64 + "\n"])
    def test_of_an_end_user_is_never_the_plain_id(self, workspace: Workspace, subject_id: str) -> None:
        with pytest.raises(InvalidLimit, match="never the plain id"):
            set_limit(workspace, subject=END_USER, subject_id=subject_id)

    @pytest.mark.parametrize("subject", [MEMBER, KEY, END_USER])
    def test_may_be_each_one_of_a_kind(self, workspace: Workspace, subject: Subject) -> None:
        set_limit(workspace, subject=subject)

        assert quotas.read(workspace.pk)[0].is_for_each

    def test_of_the_workspace_is_one(self, workspace: Workspace) -> None:
        set_limit(workspace)

        assert not quotas.read(workspace.pk)[0].is_for_each


class TestRemove:
    def test_takes_the_limit_away(self, workspace: Workspace) -> None:
        kept, quota = set_limit(workspace, window=DAY), set_limit(workspace, window=MONTH)

        quotas.remove(workspace.pk, quota.pk)

        assert [limit.id for limit in quotas.read(workspace.pk)] == [kept.pk]

    def test_records_what_it_was(self, workspace: Workspace) -> None:
        quota_id = set_limit(workspace, 7).pk

        quotas.remove(workspace.pk, quota_id, ORIGIN)

        event = AuditEvent.objects.for_workspace(workspace).latest("pk")
        assert (event.action, event.actor) == (audit.Event.QUOTA_REMOVED, "user:alice")
        assert event.target == ids.public(ids.Prefix.QUOTA, quota_id)
        assert event.data["limit"] == 7

    def test_finds_nothing_of_another_workspace(
        self, workspace: Workspace, charlies_workspace: Workspace
    ) -> None:
        theirs = set_limit(charlies_workspace)

        with pytest.raises(QuotaNotFound):
            quotas.remove(workspace.pk, theirs.pk)

        assert len(quotas.read(charlies_workspace.pk)) == 1

    def test_finds_nothing_twice(self, workspace: Workspace) -> None:
        quota_id = set_limit(workspace).pk
        quotas.remove(workspace.pk, quota_id)

        with pytest.raises(QuotaNotFound):
            quotas.remove(workspace.pk, quota_id)


class TestRead:
    def test_are_none_at_first(self, workspace: Workspace) -> None:
        assert quotas.read(workspace.pk) == ()

    def test_are_in_the_order_of_their_counters(self, workspace: Workspace) -> None:
        for subject in reversed(Subject):
            for window in reversed(Window):
                set_limit(workspace, subject=subject, window=window)

        counters = [limit.counter for limit in quotas.read(workspace.pk)]
        assert counters == sorted(counters)
        assert len(counters) == 12

    def test_are_not_those_of_another_workspace(
        self, workspace: Workspace, charlies_workspace: Workspace
    ) -> None:
        set_limit(charlies_workspace)

        assert quotas.read(workspace.pk) == ()

    def test_cannot_be_changed(self, workspace: Workspace) -> None:
        set_limit(workspace)

        with pytest.raises(AttributeError):
            quotas.read(workspace.pk)[0].limit = 10**9  # type: ignore[misc]


class TestApplicable:
    def test_are_the_workspaces_own(self) -> None:
        limit = limit_of(WORKSPACE)

        assert quotas.applicable([limit], ALICE, LINEAGE, CUSTOMER) == [limit]
        assert quotas.applicable([limit]) == [limit]

    @pytest.mark.parametrize("subject, mine", [(MEMBER, ALICE), (KEY, LINEAGE), (END_USER, CUSTOMER)])
    def test_are_those_of_the_member_key_and_end_user(self, subject: Subject, mine: object) -> None:
        limit = limit_of(subject, mine)

        assert quotas.applicable([limit], ALICE, LINEAGE, CUSTOMER) == [limit]

    @pytest.mark.parametrize("subject, other", [(MEMBER, BOB), (KEY, ALICE), (END_USER, STRANGER)])
    def test_are_not_those_of_others(self, subject: Subject, other: object) -> None:
        assert quotas.applicable([limit_of(subject, other)], ALICE, LINEAGE, CUSTOMER) == []

    @pytest.mark.parametrize("subject, mine", [(MEMBER, ALICE), (KEY, LINEAGE), (END_USER, CUSTOMER)])
    def test_for_each_one_name_the_subject(self, subject: Subject, mine: object) -> None:
        limit = limit_of(subject)

        (found,) = quotas.applicable([limit], ALICE, LINEAGE, CUSTOMER)
        assert found.subject_id == str(mine)
        assert (found.id, found.limit) == (limit.id, limit.limit)

    @pytest.mark.parametrize("subject", [MEMBER, KEY, END_USER])
    def test_for_each_one_are_not_for_nobody(self, subject: Subject) -> None:
        """A service key has no member; a request may name no end user."""
        assert quotas.applicable([limit_of(subject)]) == []

    @pytest.mark.parametrize("is_reversed", [False, True])
    def test_for_each_one_give_way_to_the_subjects_own(self, is_reversed: bool) -> None:
        limits = [limit_of(MEMBER, most=10), limit_of(MEMBER, ALICE, most=500)]
        limits.sort(key=lambda limit: limit.limit, reverse=is_reversed)

        (alices,) = quotas.applicable(limits, ALICE)
        (bobs,) = quotas.applicable(limits, BOB)

        assert (alices.limit, bobs.limit) == (500, 10)

    def test_for_each_one_stay_beside_an_own_of_another_unit_or_window(self) -> None:
        limits = [
            limit_of(MEMBER, window=DAY),
            limit_of(MEMBER, ALICE, window=MONTH),
            limit_of(MEMBER, ALICE, window=DAY, unit=CREDITS),
        ]

        assert len(quotas.applicable(limits, ALICE)) == 3

    def test_of_a_member_do_not_touch_a_key_of_the_same_id(self) -> None:
        (found,) = quotas.applicable([limit_of(MEMBER, ALICE), limit_of(KEY, LINEAGE)], LINEAGE, LINEAGE)

        assert found.subject == KEY

    def test_are_in_the_order_of_their_counters(self) -> None:
        limits = [
            limit_of(subject, window=window, unit=unit)
            for subject in Subject
            for window in Window
            for unit in QuotaUnit
        ]

        counters = [limit.counter for limit in quotas.applicable(limits, ALICE, LINEAGE, CUSTOMER)]
        assert counters == sorted(counters)
        assert len(counters) == len(set(counters)) == 24


class TestQuotaState:
    @pytest.mark.parametrize("used, left", [(0, 10), (10, 0), (11, 0)])
    def test_says_what_is_left(self, used: int, left: int) -> None:
        assert QuotaState(limit_of(WORKSPACE, most=10), used, None).left == left


class TestPublicSubjects:
    def test_are_public_ids_of_members(self, workspace: Workspace, membership: Membership) -> None:
        names = quotas.public_subjects(workspace.pk, MEMBER, [str(membership.pk), ""])

        assert names == {str(membership.pk): ids.public(ids.Prefix.MEMBERSHIP, membership.pk)}

    def test_call_a_lineage_by_its_latest_key(self, workspace: Workspace) -> None:
        first = api_keys.issue(workspace, "first", side=Side.TEST).key
        second = api_keys.rotate(first, timedelta(hours=1)).key

        names = quotas.public_subjects(workspace.pk, KEY, [str(first.lineage_id)])

        assert names == {str(first.lineage_id): api_keys.public_id(second)}

    def test_name_no_key_of_another_workspace(
        self, workspace: Workspace, charlies_workspace: Workspace
    ) -> None:
        theirs = api_keys.issue(charlies_workspace, "charlie's").key

        assert quotas.public_subjects(workspace.pk, KEY, [str(theirs.lineage_id)]) == {}

    def test_leave_an_end_user_hashed(self, workspace: Workspace) -> None:
        assert quotas.public_subjects(workspace.pk, END_USER, [CUSTOMER]) == {CUSTOMER: CUSTOMER}
