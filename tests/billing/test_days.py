from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.periods import Schedule
from billing import days
from billing.days import Day

HOUR = timedelta(hours=1)
BERLIN = Schedule("Europe/Berlin")
CHANGED_AT = datetime(2026, 3, 10, 12, tzinfo=UTC)
ZONES = [
    "UTC",
    "Asia/Tokyo",
    "America/Los_Angeles",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "Asia/Kathmandu",
]


def length(schedule: Schedule, day: date) -> timedelta:
    return days.start_of(schedule, day + timedelta(days=1)) - days.start_of(schedule, day)


class TestContaining:
    def test_gives_the_day_that_clocks_of_the_zone_show(self) -> None:
        day = days.containing(BERLIN, datetime(2026, 7, 1, 22, 30, tzinfo=UTC))

        start = datetime(2026, 7, 1, 22, tzinfo=UTC)
        assert day == Day(date(2026, 7, 2), start, start + 24 * HOUR)

    def test_begins_a_day_with_its_first_moment(self) -> None:
        midnight = datetime(2026, 7, 1, 22, tzinfo=UTC)

        assert days.containing(BERLIN, midnight).date == date(2026, 7, 2)
        assert days.containing(BERLIN, midnight - days.MOMENT).date == date(2026, 7, 1)


class TestStartOf:
    @pytest.mark.parametrize(
        "zone, day, hours",
        [
            ("Europe/Berlin", date(2025, 3, 30), 23),
            ("Europe/Berlin", date(2025, 10, 26), 25),
            ("Africa/Cairo", date(2025, 4, 25), 23),  # has no midnight
            ("America/Havana", date(2024, 11, 3), 25),  # has two
            ("Pacific/Apia", date(2011, 12, 30), 0),  # was skipped
        ],
    )
    def test_knows_how_long_a_day_is(self, zone: str, day: date, hours: int) -> None:
        assert length(Schedule(zone), day) == hours * HOUR


class TestBetween:
    def test_gives_the_days_that_have_a_part_in_the_time(self) -> None:
        since = datetime(2026, 7, 1, 21, 59, tzinfo=UTC)

        found = days.between(BERLIN, since, since + timedelta(minutes=2))

        assert [day.date for day in found] == [date(2026, 7, 1), date(2026, 7, 2)]

    def test_leaves_out_the_day_that_begins_with_the_end(self) -> None:
        since, until = days.start_of(BERLIN, date(2026, 7, 1)), days.start_of(BERLIN, date(2026, 8, 1))

        found = days.between(BERLIN, since, until)

        assert (found[0].date, found[-1].date, len(found)) == (date(2026, 7, 1), date(2026, 7, 31), 31)

    def test_is_never_empty(self) -> None:
        assert [day.date for day in days.between(BERLIN, CHANGED_AT, CHANGED_AT)] == [date(2026, 3, 10)]


class TestChangeOfZone:
    @given(st.sampled_from(ZONES), st.sampled_from(ZONES), st.integers(0, 24 * 60))
    def test_leaves_no_time_out_and_names_days_in_order(self, old: str, new: str, minutes: int) -> None:
        schedule = Schedule(new, old, CHANGED_AT + timedelta(minutes=minutes))

        found = days.between(schedule, CHANGED_AT - timedelta(days=4), CHANGED_AT + timedelta(days=6))

        assert [day.end for day in found[:-1]] == [day.start for day in found[1:]]
        dates = [day.date for day in found]
        assert dates == sorted(dates)
        assert len(set(dates)) >= len(dates) - 1

    @given(st.sampled_from(ZONES), st.sampled_from(ZONES))
    def test_changes_no_day_before(self, old: str, new: str) -> None:
        schedule = Schedule(new, old, CHANGED_AT)
        earlier = CHANGED_AT - timedelta(days=2)

        assert days.containing(schedule, earlier) == days.containing(Schedule(old), earlier)

    def test_tells_the_zone_of_each_day(self) -> None:
        schedule = Schedule("Asia/Tokyo", "UTC", CHANGED_AT)
        before, after = (
            days.containing(schedule, CHANGED_AT),
            days.containing(schedule, CHANGED_AT + 24 * HOUR),
        )

        assert (days.zone_name(schedule, before), days.zone_name(schedule, after)) == ("UTC", "Asia/Tokyo")

    def test_begins_a_date_that_comes_twice_with_the_first(self) -> None:
        schedule = Schedule("America/Los_Angeles", "Asia/Tokyo", CHANGED_AT)

        assert days.start_of(schedule, date(2026, 3, 10)) == datetime(2026, 3, 9, 15, tzinfo=UTC)
        assert length(schedule, date(2026, 3, 10)) == 40 * HOUR
