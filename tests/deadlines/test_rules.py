"""Working time, against the calendar on the wall and against a reference that steps minute by minute."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.deadlines.rules import (
    DayState,
    Duration,
    Interval,
    OutsideCalendarError,
    Week,
    WorkingCalendar,
    breach,
    due,
    elapsed_minutes,
    intervals_of,
    verdict,
    week_in_force,
    worked_minutes,
)

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
OFFICE: list[Interval] = [(7 * 60 + 30, 11 * 60 + 30), (13 * 60, 17 * 60)]
WEEK: Week = dict.fromkeys(range(5), OFFICE)
DAYS: dict[date, DayState] = {
    date(2026, 1, 1): "off",
    date(2026, 1, 2): "off",  # Friday, swapped …
    date(2026, 1, 10): "work",  # … for this Saturday
    **{date(2026, 2, day): "off" for day in range(16, 21)},  # Tết, Monday to Friday
    date(2026, 2, 13): "half_morning",
    date(2026, 3, 4): "half_afternoon",
    date(2026, 4, 30): "off",
    date(2026, 5, 1): "off",
}
CALENDAR = WorkingCalendar.build(date(2025, 1, 1), date(2027, 12, 31), [(date(2025, 1, 1), WEEK)], DAYS)


def at(text: str) -> datetime:
    """A local wall-clock moment."""
    return datetime.fromisoformat(text).replace(tzinfo=HANOI)


@pytest.mark.parametrize(
    ("start", "minutes", "expected"),
    [
        pytest.param("2026-03-09 08:00", 60, "2026-03-09 09:00", id="inside the morning"),
        pytest.param("2026-03-09 11:00", 60, "2026-03-09 13:30", id="over the lunch break"),
        pytest.param("2026-03-09 12:10", 60, "2026-03-09 14:00", id="in the lunch break"),
        pytest.param("2026-03-09 05:00", 480, "2026-03-09 17:00", id="before opening: that day's close, not tomorrow"),
        pytest.param("2026-03-09 07:30", 240, "2026-03-09 11:30", id="ends with the morning, not after lunch"),
        pytest.param("2026-03-09 17:00", 480, "2026-03-10 17:00", id="at the close"),
        pytest.param("2026-03-09 23:59", 1, "2026-03-10 07:31", id="late evening"),
        pytest.param("2026-03-09 00:00", 1, "2026-03-09 07:31", id="midnight"),
        pytest.param("2026-03-09 10:00:37", 480, "2026-03-10 10:00:37", id="seconds are kept"),
        pytest.param("2026-03-06 16:30", 60, "2026-03-09 08:00", id="over a weekend"),
        # 05:00 on Saturday here is 22:00 on Friday in UTC: no working time either way, but Monday, not Friday.
        pytest.param("2026-03-07 05:00", 480, "2026-03-09 17:00", id="Saturday 05:00 is Friday in UTC"),
        # 05:00 on Monday here is Sunday in UTC.
        pytest.param("2026-03-09 05:00", 480, "2026-03-09 17:00", id="Monday 05:00 is Sunday in UTC"),
        pytest.param("2026-02-12 16:00", 60 + 240 + 60, "2026-02-23 08:30", id="over half a day and Tết"),
        pytest.param("2026-02-13 13:00", 30, "2026-02-23 08:00", id="the free half of a day"),
        pytest.param("2026-03-04 08:00", 240, "2026-03-04 17:00", id="an afternoon only"),
        pytest.param(
            "2025-12-31 16:00", 120, "2026-01-05 08:30", id="31 December over New Year and the swapped Friday"
        ),
        pytest.param("2026-01-09 16:00", 60 + 480, "2026-01-10 17:00", id="make-up Saturday works"),
        pytest.param("2026-04-29 17:00", 480, "2026-05-04 17:00", id="two holidays and a weekend"),
        pytest.param("2026-03-09 09:00", 5 * 480, "2026-03-16 09:00", id="five working days"),
    ],
)
def test_a_working_deadline(start: str, minutes: int, expected: str) -> None:
    found = due(CALENDAR, at(start), Duration("working", minutes))
    assert found == at(expected)
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    ("start", "days", "expected"),
    [
        pytest.param(
            "2026-03-09 08:00", 1, "2026-03-11 00:00", id="the first day does not count, the last one ends at 24:00"
        ),
        pytest.param("2026-03-09 00:00", 1, "2026-03-11 00:00", id="from midnight"),
        pytest.param("2026-03-04 08:00", 3, "2026-03-10 00:00", id="ends on a Saturday: Monday"),
        pytest.param("2026-02-11 10:00", 5, "2026-02-24 00:00", id="ends in Tết: the Monday after"),
        pytest.param("2026-01-05 10:00", 5, "2026-01-11 00:00", id="ends on a make-up Saturday"),
    ],
)
def test_a_calendar_deadline(start: str, days: int, expected: str) -> None:
    assert due(CALENDAR, at(start), Duration("calendar", days * 1440)) == at(expected)


def test_the_24_7_clock_knows_no_holidays() -> None:
    assert due(CALENDAR, at("2026-02-17 23:30:05"), Duration("continuous", 240)) == at("2026-02-18 03:30:05")


def test_durations_are_positive_and_calendar_days_whole() -> None:
    with pytest.raises(ValueError, match="longer"):
        Duration("working", 0)
    with pytest.raises(ValueError, match="whole days"):
        Duration("calendar", 60)


def test_outside_its_span_a_calendar_says_so() -> None:
    with pytest.raises(OutsideCalendarError, match="covers 2025-01-01 to 2027-12-31"):
        due(CALENDAR, at("2024-12-31 23:00"), Duration("working", 1))
    with pytest.raises(OutsideCalendarError, match="a deadline lies outside"):
        due(CALENDAR, at("2027-12-31 16:59"), Duration("working", 2))
    assert due(CALENDAR, at("2027-12-31 16:59"), Duration("working", 1)) == at("2027-12-31 17:00")
    with pytest.raises(OutsideCalendarError):
        due(CALENDAR, at("2027-12-31 16:59"), Duration("calendar", 1440))
    with pytest.raises(OutsideCalendarError):
        due(CALENDAR, at("2028-03-01 08:00"), Duration("working", 1))


def test_overlapping_hours_are_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        WorkingCalendar.build(date(2026, 1, 5), date(2026, 1, 5), [(date(2026, 1, 1), {0: [(60, 120), (90, 150)]})])


def test_hours_change_on_their_day() -> None:
    summer: Week = {weekday: [(7 * 60, 15 * 60)] for weekday in range(5)}
    calendar = WorkingCalendar.build(
        date(2026, 1, 1), date(2026, 12, 31), [(date(2026, 4, 1), summer), (date(2026, 1, 1), WEEK)]
    )
    assert due(calendar, at("2026-03-31 16:00"), Duration("working", 120)) == at("2026-04-01 08:00")


def test_the_latest_entry_of_an_effective_date_wins() -> None:
    may, june = date(2026, 5, 1), date(2026, 6, 1)
    first, second = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    wrong, right, next_month = {0: [(0, 60)]}, {0: [(60, 120)]}, {1: [(0, 60)]}
    versions: dict[tuple[date, datetime], Week] = {
        (may, second): right,
        (june, first): next_month,
        (may, first): wrong,
    }
    assert week_in_force(versions) == [(may, right), (june, next_month)]


def test_a_deadline_is_met_on_the_moment_and_breached_after_it() -> None:
    moment = at("2026-03-09 17:00")
    late = moment + timedelta(microseconds=1)
    assert verdict(moment, moment)
    assert not verdict(moment, late)
    assert breach(moment, moment) is None
    assert breach(moment, late) == moment


@pytest.mark.parametrize(
    ("start", "end", "worked", "elapsed"),
    [
        ("2026-03-09 08:00:30", "2026-03-09 09:00:29", 59, 59),
        ("2026-03-09 08:00:30", "2026-03-09 09:00:30", 60, 60),
        ("2026-03-09 11:00", "2026-03-09 13:30", 60, 150),
        ("2026-03-06 16:00", "2026-03-09 08:00", 90, 64 * 60),
        ("2026-03-07 01:00", "2026-03-08 22:00", 0, 45 * 60),
        ("2026-03-09 08:00", "2026-03-09 08:00", 0, 0),
    ],
)
def test_minutes_are_whole_and_rounded_down(start: str, end: str, worked: int, elapsed: int) -> None:
    assert worked_minutes(CALENDAR, at(start), at(end)) == worked
    assert elapsed_minutes(at(start), at(end)) == elapsed


def test_time_does_not_run_backwards() -> None:
    for minutes in (lambda a, b: worked_minutes(CALENDAR, a, b), elapsed_minutes):
        with pytest.raises(ValueError, match="before"):
            minutes(at("2026-03-09 09:00"), at("2026-03-09 08:59"))


# --- against a reference that walks through the minutes ---------------------------------------------------------------

FIRST, LAST = date(2026, 2, 2), date(2026, 4, 5)


@st.composite
def weeks(draw: st.DrawFn) -> dict[int, list[Interval]]:
    week: dict[int, list[Interval]] = {}
    for weekday in range(7):
        edges = sorted(draw(st.sets(st.integers(0, 1440), min_size=0, max_size=6)))
        week[weekday] = [(edges[i], edges[i + 1]) for i in range(0, len(edges) - 1, 2)]
    return week


STATES: list[DayState] = ["off", "work", "half_morning", "half_afternoon", "normal"]
EXCEPTIONS = st.dictionaries(st.dates(FIRST, LAST), st.sampled_from(STATES), max_size=12)
ZONES = [UTC, HANOI, ZoneInfo("America/New_York")]
MOMENTS = st.builds(
    lambda seconds, zone: (datetime(2026, 2, 2, tzinfo=HANOI) + timedelta(seconds=seconds)).astimezone(zone),
    st.floats(0, 46 * 86_400),
    st.sampled_from(ZONES),
)


def is_working(week: Mapping[int, list[Interval]], days: Mapping[date, DayState], moment: datetime) -> bool:
    """Whether the minute that begins at `moment` is working time, told from the wall clock and the definitions."""
    local = moment.astimezone(HANOI)
    minute, state = local.hour * 60 + local.minute, days.get(local.date(), "normal")
    hours = week[local.weekday()]
    if state == "off":
        return False
    if state != "normal" and not hours:
        hours = next((week[weekday] for weekday in range(7) if week[weekday]), [])
    if (state == "half_morning" and minute >= 720) or (state == "half_afternoon" and minute < 720):
        return False
    return any(start <= minute < end for start, end in hours)


@settings(max_examples=60, deadline=None)
@given(week=weeks(), days=EXCEPTIONS, start=MOMENTS, minutes=st.integers(1, 3000))
def test_a_deadline_agrees_with_stepping(
    week: dict[int, list[Interval]], days: dict[date, DayState], start: datetime, minutes: int
) -> None:
    calendar = WorkingCalendar.build(FIRST, LAST, [(FIRST, week)], days)
    end = datetime(LAST.year, LAST.month, LAST.day, tzinfo=HANOI).astimezone(UTC) + timedelta(days=1)
    left, moment = timedelta(minutes=minutes), start.astimezone(UTC)
    expected = None
    while moment < end:
        following = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
        if is_working(week, days, moment):
            if left <= following - moment:
                expected = moment + left
                break
            left -= following - moment
        moment = following
    if expected is None:
        with pytest.raises(OutsideCalendarError):
            due(calendar, start, Duration("working", minutes))
        return
    assert due(calendar, start, Duration("working", minutes)) == expected
    assert worked_minutes(calendar, start, expected) == minutes
    assert worked_minutes(calendar, start, expected - timedelta(microseconds=1)) == minutes - 1


@settings(max_examples=60, deadline=None)
@given(week=weeks(), days=EXCEPTIONS, start=MOMENTS, minutes=st.integers(0, 6000))
def test_worked_time_agrees_with_stepping(
    week: dict[int, list[Interval]], days: dict[date, DayState], start: datetime, minutes: int
) -> None:
    calendar = WorkingCalendar.build(date(2026, 1, 1), date(2026, 12, 31), [(date(2026, 1, 1), week)], days)
    end = start.astimezone(UTC) + timedelta(minutes=minutes)
    worked, moment = timedelta(), start.astimezone(UTC)
    while moment < end:
        following = min(moment.replace(second=0, microsecond=0) + timedelta(minutes=1), end)
        if is_working(week, days, moment):
            worked += following - moment
        moment = following
    assert worked_minutes(calendar, start, end) == worked // timedelta(minutes=1)


@given(first=MOMENTS, second=MOMENTS, minutes=st.integers(1, 5000), more=st.integers(0, 5000))
def test_later_starts_and_longer_terms_are_never_due_earlier(
    first: datetime, second: datetime, minutes: int, more: int
) -> None:
    first, second = sorted((first, second))
    short, long = Duration("working", minutes), Duration("working", minutes + more)
    assert first < due(CALENDAR, first, short) <= due(CALENDAR, second, short)
    assert due(CALENDAR, first, short) <= due(CALENDAR, first, long)


@given(start=MOMENTS, days=st.integers(1, 60))
def test_a_calendar_term_ends_with_a_working_day(start: datetime, days: int) -> None:
    found = due(CALENDAR, start, Duration("calendar", days * 1440)).astimezone(HANOI)
    last = found.date() - timedelta(days=1)
    expected = start.astimezone(HANOI).date() + timedelta(days=days)
    while not intervals_of(expected, WEEK, DAYS.get(expected, "normal")):
        expected += timedelta(days=1)
    assert (found.hour, found.minute, last) == (0, 0, expected)
