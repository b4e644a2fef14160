import itertools
import uuid
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import ids
from accounts.models import Side, Workspace
from billing import ledger, usage, usage_reports
from billing.models import Source, UsageRecord
from billing.usage import Consumer, Quantities
from billing.usage_reports import Dimension, Filters, Sums, TooManyRows, UsageRow
from tests.billing.steps import NOW, QUOTE, TOMORROW, capture, give, hold, operation, release, sell, use

NO_FILTERS = Filters()
KEYS, MEMBERS = [ids.new_id(), ids.new_id()], [ids.new_id(), ids.new_id()]
MONTH = (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
SUBSETS = [
    group for size in range(len(Dimension) + 1) for group in itertools.combinations(list(Dimension), size)
]

SINGLES = [(dimension,) for dimension in Dimension]


def report(
    workspace: Workspace, group_by: Collection[Dimension] = (), filters: Filters = NO_FILTERS, **fields: Any
) -> list[UsageRow]:
    given: dict[str, Any] = {"side": Side.LIVE, "since": MONTH[0], "until": MONTH[1], **fields}
    return usage_reports.report(workspace.pk, group_by=group_by, filters=filters, **given)


def credits_by(rows: list[UsageRow], column: str) -> list[tuple[Any, int]]:
    return [(getattr(row, column), row.sums.credits) for row in rows]


def live_in(workspace: Workspace, zone: str) -> None:
    Workspace.objects.filter(pk=workspace.pk).update(time_zone=zone)


class TestReport:
    def test_is_empty_without_use(self, workspace: Workspace) -> None:
        assert [report(workspace, group) for group in SUBSETS] == [[]] * len(SUBSETS)

    def test_of_one_day_is_empty_without_use(self, workspace: Workspace) -> None:
        assert report(workspace, [Dimension.DAY], since=NOW, until=NOW + timedelta(minutes=1)) == []

    def test_sums_all_quantities(self, workspace: Workspace) -> None:
        use(workspace, images=2, pixels=10, evaluations=8, gpu_ms=5, credits=20)
        use(workspace, images=1, pixels=7, evaluations=4, gpu_ms=3, credits=0)

        (row,) = report(workspace)

        assert row.sums == Sums(jobs=2, images=3, credits=20, pixels=17, evaluations=12, gpu_ms=8)

    def test_is_exact_beyond_what_a_float_holds(self, workspace: Workspace) -> None:
        use(workspace, credits=2**53)
        use(workspace, credits=1)

        assert report(workspace)[0].sums.credits == 2**53 + 1

    def test_counts_the_start_and_not_the_end(self, workspace: Workspace) -> None:
        since, until = MONTH
        for now in (since - timedelta(microseconds=1), since, until - timedelta(microseconds=1), until):
            use(workspace, now)

        assert report(workspace)[0].sums.jobs == 2

    def test_counts_a_job_when_it_was_settled(self, workspace: Workspace) -> None:
        use(workspace, NOW, accepted_at=MONTH[0] - timedelta(days=1))

        assert report(workspace)[0].sums.jobs == 1

    def test_is_of_one_workspace_and_side(self, workspace: Workspace, charlies_workspace: Workspace) -> None:
        use(workspace, credits=1)
        use(workspace, credits=2, side=Side.TEST)
        use(charlies_workspace, credits=4)

        assert report(workspace)[0].sums.credits == 1
        assert report(workspace, side=Side.TEST)[0].sums.credits == 2

    def test_tells_when_there_are_too_many_rows(self, workspace: Workspace) -> None:
        first = use(workspace)
        fields = {field.attname: getattr(first, field.attname) for field in UsageRecord._meta.concrete_fields}
        UsageRecord.objects.bulk_create(
            UsageRecord(
                **{**fields, "id": ids.new_id(), "reference": str(number), "end_user_hash": str(number)}
            )
            for number in range(usage_reports.MAX_ROWS - 1)
        )

        assert len(report(workspace, [Dimension.END_USER])) == usage_reports.MAX_ROWS
        use(workspace, end_user_hash="one more")
        with pytest.raises(TooManyRows):
            report(workspace, [Dimension.END_USER])


class TestGroups:
    def test_by_model_are_its_versions(self, workspace: Workspace) -> None:
        for sku, credits in (("boats@2", 1), ("boats@1", 2), ("boats@2", 4)):
            use(workspace, sku=sku, credits=credits)

        assert credits_by(report(workspace, [Dimension.MODEL]), "sku") == [("boats@1", 2), ("boats@2", 5)]

    @pytest.mark.parametrize(
        "dimension, column, values",
        [
            (Dimension.KEY, "api_key_id", KEYS),
            (Dimension.MEMBER, "membership_id", MEMBERS),
            (Dimension.END_USER, "end_user_hash", ["a hash", "b hash"]),
        ],
    )
    def test_keep_apart_who_used_it(
        self, workspace: Workspace, dimension: Dimension, column: str, values: list[Any]
    ) -> None:
        for value, credits in ((values[1], 1), (values[0], 2), (values[1], 4)):
            use(workspace, credits=credits, **{column: value})

        assert credits_by(report(workspace, [dimension]), column) == [(values[0], 2), (values[1], 5)]

    def test_put_what_nobody_is_named_for_last(self, workspace: Workspace) -> None:
        use(workspace, credits=1)
        use(workspace, credits=2, api_key_id=KEYS[0])

        assert credits_by(report(workspace, [Dimension.KEY]), "api_key_id") == [(KEYS[0], 2), (None, 1)]

    def test_of_several_dimensions_are_their_combinations(self, workspace: Workspace) -> None:
        for now, sku in ((NOW, "boats@1"), (NOW, "cats@1"), (TOMORROW, "boats@1"), (NOW, "boats@1")):
            use(workspace, now, sku=sku)

        rows = report(workspace, [Dimension.MODEL, Dimension.DAY])

        assert [(row.day, row.sku, row.sums.jobs) for row in rows] == [
            (date(2026, 3, 1), "boats@1", 2),
            (date(2026, 3, 1), "cats@1", 1),
            (date(2026, 3, 2), "boats@1", 1),
        ]


class TestDays:
    @pytest.mark.parametrize(
        "zone, moment, day",
        [
            ("UTC", datetime(2026, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC), date(2026, 3, 1)),
            ("UTC", datetime(2026, 3, 2, tzinfo=UTC), date(2026, 3, 2)),
            ("Pacific/Kiritimati", datetime(2026, 3, 1, 10, tzinfo=UTC), date(2026, 3, 2)),
            ("Pacific/Pago_Pago", datetime(2026, 3, 2, 10, 59, tzinfo=UTC), date(2026, 3, 1)),
            ("Asia/Kathmandu", datetime(2026, 3, 1, 18, 15, tzinfo=UTC), date(2026, 3, 2)),
            # The day on which clocks go forward, and the one after it.
            ("Europe/Berlin", datetime(2026, 3, 28, 23, tzinfo=UTC), date(2026, 3, 29)),
            ("Europe/Berlin", datetime(2026, 3, 29, 21, 59, tzinfo=UTC), date(2026, 3, 29)),
            ("Europe/Berlin", datetime(2026, 3, 29, 22, tzinfo=UTC), date(2026, 3, 30)),
        ],
    )
    def test_are_those_of_the_workspaces_zone(
        self, workspace: Workspace, zone: str, moment: datetime, day: date
    ) -> None:
        live_in(workspace, zone)
        use(workspace, moment)

        assert credits_by(report(workspace, [Dimension.DAY]), "day") == [(day, 10)]

    def test_stay_as_they_were_when_the_zone_changes(self, workspace: Workspace) -> None:
        use(workspace, datetime(2026, 3, 4, 20, tzinfo=UTC), credits=1)
        use(workspace, datetime(2026, 3, 20, 20, tzinfo=UTC), credits=2)
        Workspace.objects.filter(pk=workspace.pk).update(
            time_zone="Asia/Tokyo",
            earlier_time_zone="UTC",
            time_zone_changed_at=datetime(2026, 3, 10, 12, tzinfo=UTC),
        )

        found = credits_by(report(workspace, [Dimension.DAY]), "day")

        assert found == [(date(2026, 3, 4), 1), (date(2026, 3, 21), 2)]

    def test_that_share_a_date_after_a_change_of_zone_are_one_row(self, workspace: Workspace) -> None:
        for moment in (datetime(2026, 3, 10, 14, tzinfo=UTC), datetime(2026, 3, 11, 2, tzinfo=UTC)):
            use(workspace, moment)
        Workspace.objects.filter(pk=workspace.pk).update(
            time_zone="America/Los_Angeles",
            earlier_time_zone="Asia/Tokyo",
            time_zone_changed_at=datetime(2026, 3, 10, 12, tzinfo=UTC),
        )

        assert credits_by(report(workspace, [Dimension.DAY]), "day") == [(date(2026, 3, 10), 20)]


class TestFilters:
    @pytest.mark.parametrize(
        "filters, credits",
        [
            (Filters(skus=["boats@1"]), [1]),
            (Filters(skus=["boats@1", "boats@2"]), [3]),
            (Filters(skus=[]), []),
            (Filters(api_key_id=KEYS[0]), [1]),
            (Filters(membership_ids=[MEMBERS[1]]), [2]),
            (Filters(membership_ids=[]), []),
            (Filters(end_user_hash="a hash"), [2]),
            (Filters(skus=["boats@1"], end_user_hash="a hash"), []),
            (Filters(api_key_id=uuid.UUID(int=1)), []),
        ],
    )
    @pytest.mark.parametrize("group_by", [[], [Dimension.MEMBER]])
    def test_leave_only_what_fits_all_of_them(
        self, workspace: Workspace, filters: Filters, credits: list[int], group_by: list[Dimension]
    ) -> None:
        use(workspace, credits=1, sku="boats@1", api_key_id=KEYS[0], membership_id=MEMBERS[0])
        use(workspace, credits=2, sku="boats@2", membership_id=MEMBERS[1], end_user_hash="a hash")

        found = [row.sums.credits for row in report(workspace, group_by, filters)]

        assert sum(found) == sum(credits)
        assert bool(found) == bool(credits)


class TestLedgerTotal:
    def test_is_what_was_captured_in_the_time(self, workspace: Workspace) -> None:
        sell(hold(workspace, 30), 20)
        sell(hold(workspace, 30), 5, TOMORROW)
        hold(workspace, 7)
        release(hold(workspace, 8))

        assert usage_reports.ledger_total(workspace.pk, Side.LIVE, NOW, TOMORROW) == 20
        assert usage_reports.ledger_total(workspace.pk, Side.LIVE, *MONTH) == 25

    def test_is_nothing_for_others(self, workspace: Workspace, charlies_workspace: Workspace) -> None:
        sell(hold(workspace, 30), 20)

        assert usage_reports.ledger_total(charlies_workspace.pk, Side.LIVE, *MONTH) == 0
        assert usage_reports.ledger_total(workspace.pk, Side.TEST, *MONTH) == 0

    def test_tells_captured_credits_without_a_usage_row(self, workspace: Workspace) -> None:
        sell(hold(workspace, 30), 20)
        capture(hold(workspace, 30), 4)

        (row,) = report(workspace)
        assert (row.sums.credits, usage_reports.ledger_total(workspace.pk, Side.LIVE, *MONTH)) == (20, 24)


# --- Any mix of jobs ----------------------------------------------------------------------------

# Zones whose days begin at one midnight, so that the date on a clock tells the day.
CLOCKS = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kathmandu",
    "Pacific/Auckland",
    "America/St_Johns",
]
# Midnights in several zones, month ends, and changes of clocks between 2025-03-25 and 2025-11-10.
EDGES = [
    datetime(2025, 3, 30, 1, tzinfo=UTC),
    datetime(2025, 3, 31, 22, tzinfo=UTC),
    datetime(2025, 4, 5, 14, tzinfo=UTC),
    datetime(2025, 5, 1, tzinfo=UTC),
    datetime(2025, 6, 30, 18, 15, tzinfo=UTC),
    datetime(2025, 9, 27, 14, tzinfo=UTC),
    datetime(2025, 10, 26, 1, tzinfo=UTC),
    datetime(2025, 11, 2, 4, tzinfo=UTC),
]
SINCE, UNTIL = datetime(2025, 3, 25, tzinfo=UTC), datetime(2025, 11, 10, tzinfo=UTC)
moments = st.builds(
    lambda edge, offset: edge + offset,
    st.sampled_from(EDGES),
    st.one_of(
        st.sampled_from([timedelta(), timedelta(microseconds=-1), timedelta(microseconds=1)]),
        st.timedeltas(timedelta(hours=-30), timedelta(hours=30)),
    ),
)


@dataclass(frozen=True)
class Settled:
    """A job that ended: `captured` of `held` credits, None when it failed."""

    at: datetime
    held: int
    captured: int | None
    sku: str
    api_key_id: uuid.UUID | None
    membership_id: uuid.UUID | None
    end_user_hash: str

    def happen(self, workspace: Workspace) -> None:
        hold_id = hold(workspace, self.held, self.at)
        if self.captured is None:
            release(hold_id, self.at)
            return
        settlement = capture(hold_id, self.captured, self.at)
        consumer = Consumer(workspace.pk, Side.LIVE, self.api_key_id, self.membership_id, self.end_user_hash)
        usage.record(
            operation(hold_id).reference,
            consumer,
            replace(QUOTE, sku=self.sku),
            Quantities(images=1, pixels=self.held, evaluations=4, gpu_ms=7),
            settlement,
            accepted_at=self.at,
            created_at=self.at,
        )


@st.composite
def settled_jobs(draw: st.DrawFn) -> Settled:
    held = draw(st.integers(1, 100))
    return Settled(
        at=draw(moments),
        held=held,
        captured=draw(st.none() | st.integers(0, held)),
        sku=draw(st.sampled_from(["boats@1", "boats@2", "cats@1"])),
        api_key_id=draw(st.sampled_from([*KEYS, None])),
        membership_id=draw(st.sampled_from([*MEMBERS, None])),
        end_user_hash=draw(st.sampled_from(["", "a hash", "b hash"])),
    )


class TestAnyMixOfJobs:
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        zone=st.sampled_from(CLOCKS),
        jobs=st.lists(settled_jobs(), max_size=12),
        cut=st.lists(moments, max_size=1),
        group=st.sampled_from(SUBSETS),
    )
    def test_has_the_ledgers_sum_in_every_grouping(
        self, db: None, zone: str, jobs: list[Settled], cut: list[datetime], group: tuple[Dimension, ...]
    ) -> None:
        workspace = Workspace.objects.create(name="A studio", time_zone=zone)
        give(workspace, 10_000, Source.PACK)
        for job in jobs:
            job.happen(workspace)

        for since, until in itertools.pairwise([SINCE, *cut, UNTIL]):
            expected = [job for job in jobs if job.captured is not None and since <= job.at < until]
            credits = sum(job.captured or 0 for job in expected)
            assert usage_reports.ledger_total(workspace.pk, Side.LIVE, since, until) == credits
            sums = self._sums(workspace, since, until, {(), group, *SINGLES, tuple(Dimension)})
            assert (len(set(sums)), sums[0].credits, sums[0].jobs) == (1, credits, len(expected))
            by_day = report(workspace, [Dimension.DAY], since=since, until=until)
            dates = Counter(job.at.astimezone(ZoneInfo(zone)).date() for job in expected)
            assert [(row.day, row.sums.jobs) for row in by_day] == sorted(dates.items())
        assert ledger.verify() == []

    def _sums(
        self, workspace: Workspace, since: datetime, until: datetime, groups: set[tuple[Dimension, ...]]
    ) -> list[Sums]:
        reports = [report(workspace, group, since=since, until=until) for group in groups]
        return [Sums.of(row.sums for row in rows) for rows in reports]
