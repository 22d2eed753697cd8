"""Deadlines with extensions and pauses: what always holds, and a reference that looks at every single minute.

The reference knows a wall clock, a week and exceptional days, and nothing of sums and bisections. It is slow, and
obvious: every minute counts or does not, because nobody works then or because the clock is paused.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.deadlines.rules import (
    DayState,
    Duration,
    Interval,
    Kind,
    Pause,
    Week,
    WorkingCalendar,
    due,
    elapsed_minutes,
    worked_minutes,
)

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
FIRST, LAST = date(2025, 12, 1), date(2027, 12, 31)
YEAR = date(2026, 1, 1)
MINUTE, NOON = timedelta(minutes=1), 12 * 60
OFFICE: list[Interval] = [(450, 690), (780, 1020)]
STATES: list[DayState] = ["off", "work", "half_morning", "half_afternoon"]


# --- the reference -------------------------------------------------------------------------------------------------


class Wall:
    """A calendar as it hangs on the wall: which minutes of a local day are worked."""

    def __init__(self, week: Week, days: Mapping[date, DayState]) -> None:
        self.week, self.days = week, days

    def works(self, moment: datetime) -> bool:
        local = moment.astimezone(HANOI)
        minute = local.hour * 60 + local.minute
        usual = list(self.week.get(local.weekday(), ()))
        state = self.days.get(local.date(), "normal")
        if state == "off" or (state == "normal" and not usual):
            return False
        if (state == "half_morning" and minute >= NOON) or (state == "half_afternoon" and minute < NOON):
            return False
        hours = usual or list(self.week[min(self.week)])
        return any(start <= minute < end for start, end in hours)

    def is_working_day(self, day: date) -> bool:
        midnight = datetime(day.year, day.month, day.day, tzinfo=HANOI)
        return any(self.works(midnight + minute * MINUTE) for minute in range(24 * 60))


def minutes_from(start: datetime) -> Iterator[datetime]:
    while True:
        yield start
        start += MINUTE


def reference(wall: Wall, start: datetime, duration: Duration, extended: int, pauses: Sequence[Pause]) -> datetime:
    """Walk on minute by minute until everything allowed has been used."""
    days = duration.minutes // 1440 + -(-extended // 480) + 1  # the rest of the first day does not count
    left = days if duration.kind == "calendar" else duration.minutes + extended
    for minute in minutes_from(start):
        is_paused = any(pause.began <= minute < pause.ended for pause in pauses)
        end = minute + MINUTE
        if duration.kind == "calendar":
            ends_a_day = end.astimezone(HANOI).date() > minute.astimezone(HANOI).date()
            counts = ends_a_day and not is_paused
            left -= counts
            if counts and left <= 0 and wall.is_working_day(minute.astimezone(HANOI).date()):
                return end
        else:
            left -= not is_paused and (duration.kind == "continuous" or wall.works(minute))
            if left == 0:
                return end
    raise AssertionError("time never ends")


# --- what is drawn -------------------------------------------------------------------------------------------------


@st.composite
def hours(draw: st.DrawFn) -> list[Interval]:
    """One to three intervals of a day, apart from one another; they may touch midnight."""
    edges = draw(st.lists(st.integers(0, 96), min_size=2, max_size=6, unique=True).filter(lambda n: len(n) % 2 == 0))
    edges.sort()
    return [(15 * start, 15 * end) for start, end in zip(edges[::2], edges[1::2], strict=True)]


# Monday has hours that reach into the afternoon, so that work goes on whatever else is drawn.
WEEKS = st.one_of(
    st.just(dict.fromkeys(range(5), OFFICE)),
    st.dictionaries(st.integers(1, 6), hours(), max_size=6).map(lambda week: {0: OFFICE, **week}),
)
EXCEPTIONS = st.dictionaries(
    st.integers(0, 364).map(lambda day: YEAR + timedelta(days=day)), st.sampled_from(STATES), max_size=60
)
STARTS = st.integers(0, 365 * 1440).map(lambda minute: datetime(2025, 12, 31, 17, tzinfo=UTC) + minute * MINUTE)
GAPS = st.lists(st.tuples(st.integers(-600, 5000), st.integers(0, 6000)), max_size=4)


def durations(kind: Kind, most: int) -> st.SearchStrategy[Duration]:
    step = 1440 if kind == "calendar" else 1
    return st.integers(1, most // step).map(lambda number: Duration(kind, number * step))


KINDS: list[Kind] = ["working", "calendar", "continuous"]
ANY = st.sampled_from(KINDS).flatmap(lambda kind: durations(kind, 12_000))


def pauses_from(start: datetime, gaps: Sequence[tuple[int, int]]) -> list[Pause]:
    """Pauses by minutes since the start or the last pause, and length; they may overlap, be empty or come before."""
    found, at = [], start
    for gap, length in gaps:
        began = at + gap * MINUTE
        at = began + length * MINUTE
        found.append(Pause(began, at))
    return found


def built(week: Week, days: Mapping[date, DayState]) -> WorkingCalendar:
    return WorkingCalendar.build(FIRST, LAST, [(FIRST, week)], days)


PLAIN = built(dict.fromkeys(range(5), OFFICE), {})


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_year_of_random_calendars_and_pauses_minute_by_minute(kind: Kind, data: st.DataObject) -> None:
    week, days = data.draw(WEEKS), data.draw(EXCEPTIONS)
    start, duration = data.draw(STARTS), data.draw(durations(kind, 4 * 480 if kind == "working" else 6 * 1440))
    pauses, extended = pauses_from(start, data.draw(GAPS)), data.draw(st.sampled_from([0, 0, 60, 500]))
    found = due(built(week, days), start, duration, extended=extended, pauses=pauses)
    assert found == reference(Wall(week, days), start, duration, extended, pauses)


EDGES = {
    "midnight": ("2026-03-03 00:00", [("2026-03-04 00:00", "2026-03-05 00:00")]),
    "a pause from and to midnight": ("2026-03-02 23:59", [("2026-03-03 00:00", "2026-03-04 00:00")]),
    "Tết": ("2026-02-13 16:00", [("2026-02-14 08:00", "2026-02-20 09:00")]),
    "a pause into Tết": ("2026-02-12 16:00", [("2026-02-13 10:00", "2026-02-17 12:00")]),
    "31 December": ("2026-12-31 16:30", [("2026-12-31 16:59", "2027-01-01 00:00")]),
    "New Year, the swapped Friday and its Saturday": (
        "2025-12-31 16:00",
        [("2026-01-02 09:00", "2026-01-05 09:00"), ("2026-01-09 16:59", "2026-01-10 07:31")],
    ),
    "on the day to which a holiday puts off": ("2026-02-12 10:00", [("2026-02-23 10:00", "2026-02-25 10:00")]),
}
TET: dict[date, DayState] = {
    date(2026, 1, 1): "off",
    date(2026, 1, 2): "off",
    date(2026, 1, 10): "work",
    date(2027, 1, 1): "off",
    **{date(2026, 2, day): "off" for day in range(16, 21)},
}


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize(
    "duration", [Duration("working", 960), Duration("calendar", 4320), Duration("continuous", 240)]
)
def test_the_edges_minute_by_minute(edge: str, duration: Duration) -> None:
    def at(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=HANOI)

    week: Week = dict.fromkeys(range(5), OFFICE)
    start, pauses = at(EDGES[edge][0]), [Pause(at(began), at(ended)) for began, ended in EDGES[edge][1]]
    assert due(built(week, TET), start, duration, pauses=pauses) == reference(
        Wall(week, TET), start, duration, 0, pauses
    )


# --- what always holds ---------------------------------------------------------------------------------------------


@given(STARTS, ANY, st.integers(0, 20), st.integers(0, 3000), GAPS)
def test_more_time_never_means_an_earlier_deadline(
    start: datetime, duration: Duration, more: int, extended: int, gaps: list[tuple[int, int]]
) -> None:
    pauses = pauses_from(start, gaps)
    had = due(PLAIN, start, duration, pauses=pauses)
    longer = Duration(duration.kind, duration.minutes + more * 1440)
    assert due(PLAIN, start, longer, pauses=pauses) >= had
    assert due(PLAIN, start, duration, extended=extended, pauses=pauses) >= had
    assert had >= due(PLAIN, start, duration)


@given(STARTS, ANY, st.integers(0, 8000), st.integers(0, 8000))
def test_a_pause_moves_a_deadline_by_exactly_what_the_clock_would_have_counted(
    start: datetime, duration: Duration, gap: int, length: int
) -> None:
    pause = Pause(start + gap * MINUTE, start + (gap + length) * MINUTE)
    had, found = due(PLAIN, start, duration), due(PLAIN, start, duration, pauses=[pause])
    if pause.began >= had:
        assert found == had, "what was missed already is not un-missed"
        return
    match duration.kind:
        case "working":
            assert worked_minutes(PLAIN, start, found) - worked_minutes(PLAIN, *pause) == duration.minutes
        case "continuous":
            assert elapsed_minutes(start, found) - elapsed_minutes(*pause) == duration.minutes
        case "calendar":
            began, ended = (moment.astimezone(HANOI).date() for moment in pause)
            last = max(start.astimezone(HANOI).date() + timedelta(days=duration.minutes // 1440), began)
            moved = last + (ended - began)
            while moved.weekday() > 4:
                moved += timedelta(days=1)
            assert found.astimezone(HANOI).date() == moved + timedelta(days=1)


@given(STARTS, ANY, st.lists(st.integers(-3000, 9000), max_size=4), GAPS)
def test_pauses_of_no_length_change_nothing(
    start: datetime, duration: Duration, moments: list[int], gaps: list[tuple[int, int]]
) -> None:
    pauses = pauses_from(start, gaps)
    empty = [Pause(start + minute * MINUTE, start + minute * MINUTE) for minute in moments]
    assert due(PLAIN, start, duration, pauses=[*pauses, *empty]) == due(PLAIN, start, duration, pauses=pauses)


@given(STARTS, ANY, GAPS, st.permutations(range(4)))
def test_pauses_count_in_whatever_order_they_are_told(
    start: datetime, duration: Duration, gaps: list[tuple[int, int]], places: list[int]
) -> None:
    pauses = pauses_from(start, gaps)
    shuffled = [pauses[place] for place in places if place < len(pauses)]
    assert due(PLAIN, start, duration, pauses=shuffled) == due(PLAIN, start, duration, pauses=pauses)


@given(STARTS, ANY, st.integers(1, 5000), st.integers(0, 5000), st.integers(0, 5000))
def test_a_pause_that_goes_on_is_the_same_as_two_in_a_row(
    start: datetime, duration: Duration, gap: int, first: int, second: int
) -> None:
    begins = start + gap * MINUTE
    turns = begins + first * MINUTE
    ends = turns + second * MINUTE
    once = due(PLAIN, start, duration, pauses=[Pause(begins, ends)])
    assert due(PLAIN, start, duration, pauses=[Pause(begins, turns), Pause(turns, ends)]) == once
