from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accounts import periods
from accounts.models import Window, Workspace
from accounts.periods import Period, Schedule, UnknownTimeZone

DAY, MONTH, TOTAL = Window.DAY, Window.MONTH, Window.TOTAL
NOON = datetime(2026, 3, 15, 12, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
# A day may grow by the hours that a zone's clocks go back; where a zone changed sides of the date line it is longer.
LONGEST_DAY, LONGEST_MONTH = timedelta(hours=32), timedelta(days=32)

zones = st.sampled_from(sorted(periods.names()))
instants = st.datetimes(datetime(1995, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
anchors = st.integers(1, 31)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """With a change of zone in the middle of what the other strategies draw."""
    changed_at = draw(st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)))
    return Schedule(draw(zones), draw(zones), changed_at)


def day(zone: str, *moment: int) -> Period:
    return periods.period(DAY, Schedule(zone), datetime(*moment, tzinfo=UTC))


def month(*moment: int, zone: str = "UTC", anchor_day: int = 1) -> Period:
    return periods.period(MONTH, Schedule(zone), datetime(*moment, tzinfo=UTC), anchor_day)


def utc(*moment: int) -> datetime:
    return datetime(*moment, tzinfo=UTC)


def length(of: Period) -> timedelta:
    assert of.end is not None
    return of.end - of.start


class TestDay:
    def test_begins_and_ends_at_midnight(self) -> None:
        assert day("UTC", 2026, 3, 15, 12) == Period(utc(2026, 3, 15), utc(2026, 3, 16))

    def test_has_its_start_and_not_its_end(self) -> None:
        assert day("UTC", 2026, 3, 15) == day("UTC", 2026, 3, 15, 23, 59, 59, 999_999)
        assert day("UTC", 2026, 3, 16).start == utc(2026, 3, 16)

    @pytest.mark.parametrize(
        "zone, start",
        [
            ("Pacific/Kiritimati", utc(2026, 3, 15, 10)),  # +14
            ("Etc/GMT+12", utc(2026, 3, 15, 12)),  # -12
            ("Asia/Kathmandu", utc(2026, 3, 14, 18, 15)),  # +5:45
            ("Asia/Kolkata", utc(2026, 3, 14, 18, 30)),
            ("America/St_Johns", utc(2026, 3, 15, 2, 30)),  # -2:30 in summer
            ("Australia/Lord_Howe", utc(2026, 3, 14, 13)),  # half an hour of summer time
        ],
    )
    def test_is_that_of_the_zone(self, zone: str, start: datetime) -> None:
        assert day(zone, 2026, 3, 15, 12).start == start

    @pytest.mark.parametrize(
        "zone, noon, hours",
        [
            ("Europe/Berlin", utc(2026, 3, 29, 12), 23),
            ("Europe/Berlin", utc(2026, 10, 25, 12), 25),
            ("America/New_York", utc(2026, 3, 8, 17), 23),
            ("America/New_York", utc(2026, 11, 1, 17), 25),
            ("Australia/Lord_Howe", utc(2025, 10, 5, 2), 23.5),
            ("Africa/Cairo", utc(2024, 4, 26, 12), 23),  # no midnight
            ("Africa/Cairo", utc(2024, 10, 31, 12), 25),  # its last hour comes twice
            ("Asia/Beirut", utc(2024, 3, 31, 12), 23),
            ("America/Havana", utc(2024, 3, 10, 12), 23),
            ("America/Havana", utc(2024, 11, 3, 12), 25),  # midnight comes twice
            ("America/Sao_Paulo", utc(2018, 11, 4, 12), 23),
            ("America/Sao_Paulo", utc(2018, 2, 17, 12), 25),
            (
                "America/St_Johns",
                utc(2010, 11, 7, 12),
                25,
            ),  # one minute old, it goes back into the day before
            ("America/Toronto", utc(1919, 3, 31, 12), 23.5),  # the clocks jump from 23:30 over midnight
        ],
    )
    def test_is_longer_or_shorter_when_the_clocks_change(
        self, zone: str, noon: datetime, hours: float
    ) -> None:
        assert length(periods.period(DAY, Schedule(zone), noon)) == timedelta(hours=hours)

    def test_begins_with_the_jump_where_there_is_no_midnight(self) -> None:
        assert day("Africa/Cairo", 2024, 4, 26, 12).start == utc(2024, 4, 25, 22)
        assert day("America/Toronto", 1919, 3, 31, 12).start == utc(1919, 3, 31, 4, 30)

    def test_begins_with_the_first_of_two_midnights(self) -> None:
        first, second = utc(2024, 11, 3, 4), utc(2024, 11, 3, 5)

        assert periods.period(DAY, Schedule("America/Havana"), second).start == first
        assert periods.period(DAY, Schedule("America/Havana"), first - MOMENT).end == first

    def test_goes_on_when_the_clocks_go_back_into_the_day_before(self) -> None:
        midnight = utc(2010, 11, 7, 2, 30)
        first, again = (midnight + timedelta(seconds=30), midnight + timedelta(minutes=30))

        assert again.astimezone(periods.zone("America/St_Johns")).day == 6
        assert periods.period(DAY, Schedule("America/St_Johns"), first).start == midnight
        assert periods.period(DAY, Schedule("America/St_Johns"), again).start == midnight

    def test_that_a_zone_skipped_is_nobodys(self) -> None:
        """Samoa went from the 29th to the 31st of December 2011."""
        before, after = day("Pacific/Apia", 2011, 12, 30, 9, 59), day("Pacific/Apia", 2011, 12, 30, 10)

        assert before.end == after.start == utc(2011, 12, 30, 10)
        assert length(before) == length(after) == timedelta(hours=24)


class TestMonth:
    def test_begins_on_the_first(self) -> None:
        assert month(2026, 3, 15) == Period(utc(2026, 3, 1), utc(2026, 4, 1))

    def test_goes_over_the_turn_of_the_year(self) -> None:
        assert month(2026, 12, 31, 23) == Period(utc(2026, 12, 1), utc(2027, 1, 1))

    def test_begins_on_the_anchor_day(self) -> None:
        assert month(2026, 3, 14, anchor_day=15) == Period(utc(2026, 2, 15), utc(2026, 3, 15))
        assert month(2026, 3, 15, anchor_day=15) == Period(utc(2026, 3, 15), utc(2026, 4, 15))

    @pytest.mark.parametrize("anchor_day, starts", [(29, 28), (30, 28), (31, 28)])
    def test_begins_on_the_last_day_where_it_has_no_such(self, anchor_day: int, starts: int) -> None:
        assert month(2026, 2, starts, anchor_day=anchor_day).start == utc(2026, 2, 28)
        assert month(2026, 2, 27, anchor_day=anchor_day).start == utc(2026, 1, anchor_day)

    def test_begins_on_a_leap_day(self) -> None:
        assert month(2028, 2, 29, anchor_day=31) == Period(utc(2028, 2, 29), utc(2028, 3, 31))
        assert month(2028, 2, 28, anchor_day=29) == Period(utc(2028, 1, 29), utc(2028, 2, 29))

    def test_returns_to_its_day_after_a_short_one(self) -> None:
        starts = [month(2026, number, 15, anchor_day=31).end for number in range(1, 6)]

        assert starts == [
            utc(2026, 1, 31),
            utc(2026, 2, 28),
            utc(2026, 3, 31),
            utc(2026, 4, 30),
            utc(2026, 5, 31),
        ]

    def test_is_that_of_the_zone(self) -> None:
        assert month(2026, 2, 28, 12, zone="Pacific/Kiritimati").start == utc(2026, 2, 28, 10)

    def test_begins_with_the_jump_where_there_is_no_midnight(self) -> None:
        assert month(2024, 5, 1, zone="Africa/Cairo", anchor_day=26).start == utc(2024, 4, 25, 22)


class TestTotal:
    @pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati"])
    def test_has_no_end(self, zone: str) -> None:
        assert periods.period(TOTAL, Schedule(zone), NOON) == Period(periods.EPOCH, None)

    @given(schedules(), instants)
    def test_is_the_same_for_ever(self, schedule: Schedule, now: datetime) -> None:
        assert periods.period(TOTAL, schedule, now) == Period(periods.EPOCH, None)


class TestPeriods:
    """What holds in every zone, for every anchor day, whatever the clocks do there."""

    @given(st.sampled_from([DAY, MONTH]), zones, instants, anchors)
    def test_have_the_instant(self, window: Window, zone: str, now: datetime, anchor_day: int) -> None:
        found = periods.period(window, Schedule(zone), now, anchor_day)

        assert found.end is not None
        assert found.start <= now < found.end

    @given(st.sampled_from([DAY, MONTH]), zones, instants, anchors)
    @example(DAY, "Pacific/Apia", utc(2011, 12, 28), 1)
    @example(DAY, "America/St_Johns", utc(2010, 11, 5), 1)
    @example(MONTH, "Africa/Cairo", utc(2024, 4, 1), 26)
    def test_follow_each_other_without_a_gap(
        self, window: Window, zone: str, now: datetime, anchor_day: int
    ) -> None:
        assert_tile(window, Schedule(zone), now, anchor_day)

    @given(zones, instants)
    def test_of_a_day_are_about_a_day(self, zone: str, now: datetime) -> None:
        found = periods.period(DAY, Schedule(zone), now)

        assert timedelta(hours=12) <= length(found) <= LONGEST_DAY

    @given(zones, instants, anchors)
    def test_of_a_month_are_about_a_month(self, zone: str, now: datetime, anchor_day: int) -> None:
        found = periods.period(MONTH, Schedule(zone), now, anchor_day)

        assert timedelta(days=27) <= length(found) <= LONGEST_MONTH

    @given(zones, instants, anchors)
    def test_of_a_month_begin_with_a_day(self, zone: str, now: datetime, anchor_day: int) -> None:
        start = periods.period(MONTH, Schedule(zone), now, anchor_day).start

        assert periods.period(DAY, Schedule(zone), start).start == start


def assert_tile(window: Window, schedule: Schedule, now: datetime, anchor_day: int, count: int = 6) -> None:
    """From one period to the next, and no instant of one is in another."""
    found = periods.period(window, schedule, now, anchor_day)
    for _ in range(count):
        assert found.end is not None
        middle = found.start + (found.end - found.start) / 2
        for instant in (found.start, middle, found.end - MOMENT):
            assert periods.period(window, schedule, instant, anchor_day) == found
        following = periods.period(window, schedule, found.end, anchor_day)
        assert following.start == found.end
        found = following


class TestChangeOfZone:
    CHANGED = Schedule("America/New_York", "Europe/Berlin", utc(2026, 1, 10, 12))

    def test_leaves_the_day_that_runs(self) -> None:
        before = periods.period(DAY, Schedule("Europe/Berlin"), utc(2026, 1, 10, 12))

        assert periods.period(DAY, self.CHANGED, utc(2026, 1, 10, 12)) == before

    def test_begins_the_next_day_where_the_last_ends(self) -> None:
        """Berlin's midnight is six hours before New York's, which is too soon for a day."""
        bridge = periods.period(DAY, self.CHANGED, utc(2026, 1, 11))

        assert bridge == Period(utc(2026, 1, 10, 23), utc(2026, 1, 12, 5))

    def test_goes_on_in_the_new_zone(self) -> None:
        assert periods.period(DAY, self.CHANGED, utc(2026, 1, 12, 5)) == day(
            "America/New_York", 2026, 1, 12, 5
        )

    def test_makes_the_bridge_short_where_the_new_day_is_far_enough(self) -> None:
        changed = Schedule("Europe/Berlin", "America/New_York", utc(2026, 1, 10, 12))

        bridge = periods.period(DAY, changed, utc(2026, 1, 11, 12))
        assert bridge == Period(utc(2026, 1, 11, 5), utc(2026, 1, 11, 23))

    def test_ends_the_bridge_with_a_midnight_that_is_just_far_enough(self) -> None:
        changed = Schedule("Etc/GMT+12", "UTC", utc(2026, 1, 10, 12))

        bridge = periods.period(DAY, changed, utc(2026, 1, 11, 1))
        assert bridge == Period(utc(2026, 1, 11), utc(2026, 1, 11, 12))

    def test_leaves_the_month_that_runs(self) -> None:
        running = periods.period(MONTH, Schedule("Europe/Berlin"), utc(2026, 1, 10))

        assert periods.period(MONTH, self.CHANGED, utc(2026, 1, 31, 22)) == running

    def test_lets_the_next_month_end_by_the_new_zone(self) -> None:
        bridge = periods.period(MONTH, self.CHANGED, utc(2026, 2, 1))

        assert bridge == Period(utc(2026, 1, 31, 23), utc(2026, 3, 1, 5))

    def test_at_the_start_of_a_period_leaves_all_of_it(self) -> None:
        midnight = utc(2026, 1, 10, 23)
        changed = Schedule("America/New_York", "Europe/Berlin", midnight)

        assert periods.period(DAY, changed, midnight) == day("Europe/Berlin", 2026, 1, 10, 23)

    @given(st.sampled_from([DAY, MONTH]), schedules(), anchors, st.integers(-3, 2))
    def test_leaves_no_gap_and_no_overlap(
        self, window: Window, schedule: Schedule, anchor_day: int, windows: int
    ) -> None:
        assert schedule.changed_at is not None
        away = windows * {DAY: timedelta(days=1), MONTH: timedelta(days=30)}[window]

        assert_tile(window, schedule, schedule.changed_at + away, anchor_day)

    @given(st.sampled_from([DAY, MONTH]), schedules(), anchors)
    def test_changes_nothing_of_the_running_period(
        self, window: Window, schedule: Schedule, anchor_day: int
    ) -> None:
        assert schedule.changed_at is not None
        unchanged = Schedule(schedule.earlier_time_zone)

        running = periods.period(window, schedule, schedule.changed_at, anchor_day)
        assert running == periods.period(window, unchanged, schedule.changed_at, anchor_day)

    @given(st.sampled_from([DAY, MONTH]), schedules(), anchors)
    def test_gives_no_second_budget(self, window: Window, schedule: Schedule, anchor_day: int) -> None:
        """The one period between the zones is at least half a window long, and at most one and a half."""
        assert schedule.changed_at is not None
        running = periods.period(window, schedule, schedule.changed_at, anchor_day)
        assert running.end is not None
        bridge = periods.period(window, schedule, running.end, anchor_day)
        longest = {DAY: LONGEST_DAY, MONTH: LONGEST_MONTH}[window]

        assert periods.SHORTEST[window] <= length(bridge) <= periods.SHORTEST[window] + longest

    @given(schedules(), instants, anchors)
    def test_is_the_new_zones_alone_once_it_is_settled(
        self, schedule: Schedule, now: datetime, anchor_day: int
    ) -> None:
        settled_at = periods.settled_at(schedule)
        assert settled_at is not None
        later = max(now, settled_at)

        for window in (DAY, MONTH):
            alone = periods.period(window, Schedule(schedule.time_zone), later, anchor_day)
            assert periods.period(window, schedule, later, anchor_day) == alone

    @given(schedules(), zones, anchors)
    def test_can_follow_another_that_is_settled(
        self, schedule: Schedule, third: str, anchor_day: int
    ) -> None:
        settled_at = periods.settled_at(schedule)
        assert settled_at is not None
        again = Schedule(third, schedule.time_zone, settled_at)

        for window in (DAY, MONTH):
            running = periods.period(window, schedule, settled_at, anchor_day)
            assert periods.period(window, again, settled_at, anchor_day) == running


class TestSettledAt:
    def test_is_nothing_without_a_change(self) -> None:
        assert periods.settled_at(Schedule("Europe/Berlin")) is None

    def test_is_when_the_last_of_all_months_has_followed(self) -> None:
        """Changed on the 10th: the last month that runs is that which began then, and another follows it."""
        changed = Schedule("UTC", "Europe/Berlin", utc(2026, 1, 10, 12))

        assert periods.settled_at(changed) == utc(2026, 3, 10)


class TestZone:
    @pytest.mark.parametrize(
        "name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Asia/Calcutta", "Etc/GMT+12"]
    )
    def test_is_known_by_its_name(self, name: str) -> None:
        assert periods.zone(name).key == name

    @pytest.mark.parametrize(
        "name",
        [
            "",
            " ",
            "Mars/Olympus",
            "../etc/passwd",
            "../../etc/passwd",
            "/etc/localtime",
            "Europe/../Europe/Berlin",
            "Europe/",
            "Europe",
            "europe/berlin",
            "EUROPE/BERLIN",
            " Europe/Berlin",
            "Europe/Berlin\x00",
            "Europe/Berlin\n",
            "localtime",
            "posixrules",
            "Factory",
            "EST5EDT",
            "posix/Europe/Berlin",
            "right/Europe/Berlin",
            "tzdata.zi",
            "__init__.py",
            "+02:00",
            "utc",
            "x" * 10_000,
        ],
    )
    def test_of_any_other_name_is_refused(self, name: str) -> None:
        with pytest.raises(UnknownTimeZone) as refused:
            periods.zone(name)

        assert refused.value.name == name
        assert len(str(refused.value)) < 500

    def test_is_refused_when_a_period_is_asked_for(self) -> None:
        with pytest.raises(UnknownTimeZone):
            periods.period(DAY, Schedule("Mars/Olympus"), NOON)

    def test_of_every_name_can_be_read(self) -> None:
        assert all(periods.zone(name).utcoffset(NOON) is not None for name in periods.names())

    def test_names_fit_into_a_workspaces_column(self) -> None:
        most = Workspace._meta.get_field("time_zone").max_length

        assert most is not None
        assert max(map(len, periods.names())) <= most


class TestSchedule:
    def test_is_the_workspaces(self) -> None:
        row = Workspace(time_zone="Asia/Tokyo", earlier_time_zone="Europe/Berlin", time_zone_changed_at=NOON)

        assert Schedule.of(row) == Schedule("Asia/Tokyo", "Europe/Berlin", NOON)

    def test_of_a_new_workspace_is_in_utc(self) -> None:
        assert Schedule.of(Workspace()) == Schedule()
