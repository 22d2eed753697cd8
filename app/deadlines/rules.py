"""When a deadline falls due: working time, calendar time and the 24/7 clock. Pure.

Moments come and go as aware datetimes. Inside, a moment is a whole number of microseconds since 1970 UTC, and a
calendar is two sorted rows of numbers, so that every question is a bisection. Days and weekdays are local ones.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, NamedTuple
from uuid import UUID

from app.catalog.rules import Urgency
from app.core.clock import LOCAL

Kind = Literal["working", "calendar", "continuous"]
PolicyClock = Literal["verify", "accept", "first_response", "resolve", "approve", "answer"]
ClockKind = Literal["verify", "accept", "first_response", "resolve", "approve", "answer", "directive"]
DayState = Literal["off", "work", "half_morning", "half_afternoon", "normal"]

# A directive falls due when its leader says; every other clock is measured by a policy.
DIRECTIVE: Literal["directive"] = "directive"
POLICY_CLOCKS: tuple[PolicyClock, ...] = ("verify", "accept", "first_response", "resolve", "approve", "answer")
CLOCKS: tuple[ClockKind, ...] = (*POLICY_CLOCKS, DIRECTIVE)
WORKING_DAY = 8 * 60
DAY = 24 * 60
NOON = 12 * 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = 60_000_000

Interval = tuple[int, int]
Week = Mapping[int, Sequence[Interval]]


class OutsideCalendarError(LookupError):
    """The calendar was not built for that moment: extend its span."""

    def __init__(self, moment: datetime | None, calendar: "WorkingCalendar") -> None:
        at = "a deadline" if moment is None else moment.isoformat()
        super().__init__(f"{at} lies outside the working calendar, which covers {calendar.first} to {calendar.last}")


@dataclass(frozen=True, slots=True)
class Duration:
    """How much time a clock allows. A working day is 480 minutes, a calendar day 1440."""

    kind: Kind
    minutes: int

    def __post_init__(self) -> None:
        if self.minutes <= 0:
            raise ValueError("a duration is longer than nothing")
        if self.kind == "calendar" and self.minutes % DAY:
            raise ValueError("calendar time counts whole days of 1440 minutes")


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy row, as clocks need it. `category_code` None is the default of its clock.

    `urgency` set: for cases to which somebody gave that urgency, against what their category has of itself.
    """

    id: UUID
    category_code: str | None
    clock: PolicyClock
    duration: Duration
    valid_from: date
    entered_at: datetime
    decision: str | None
    belief: bool
    urgency: Urgency | None = None


@dataclass(frozen=True, slots=True)
class PausePolicy:
    """How long a pause for a reason (None: every reason without its own) may hold a clock, and how many times."""

    id: UUID
    reason: str | None
    longest: Duration
    times: int
    valid_from: date
    entered_at: datetime
    decision: str | None
    belief: bool


class Pause(NamedTuple):
    """A stretch in which a clock did not count, both ends as moments."""

    began: datetime
    ended: datetime


@dataclass(frozen=True, slots=True)
class Planned:
    """What a clock about to start will be measured by."""

    policy_id: UUID
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Replanned:
    """What a running clock is measured by from now on."""

    due_at: datetime
    breached_at: datetime | None


@dataclass(frozen=True, slots=True)
class WorkingCalendar:
    """All working intervals from the local day `first` to the local day `last`, both included.

    `starts[i]` is where interval i begins, `done[i]` how much was worked before it (both microseconds); `done` has
    one entry more, the sum of everything.
    """

    first: date
    last: date
    starts: tuple[int, ...] = field(repr=False)
    done: tuple[int, ...] = field(repr=False)
    begins: int
    ends: int

    @classmethod
    def build(
        cls, first: date, last: date, hours: Sequence[tuple[date, Week]], days: Mapping[date, DayState] | None = None
    ) -> "WorkingCalendar":
        """From weeks (each with the day it takes effect, weekday 0 = Monday, minutes after midnight) and exceptions."""
        starts: list[int] = []
        done = [0]
        weeks = sorted(hours, key=lambda pair: pair[0])
        for number in range((last - first).days + 1):
            day = first + timedelta(days=number)
            week = next((week for since, week in reversed(weeks) if since <= day), {})
            for start, end in intervals_of(day, week, (days or {}).get(day, "normal")):
                begin, end_at = _local(day, start), _local(day, end)
                if end_at <= begin or (starts and begin < starts[-1] + done[-1] - done[-2]):
                    raise ValueError(f"the working intervals of {day} overlap or are empty")
                starts.append(begin)
                done.append(done[-1] + end_at - begin)
        return cls(first, last, tuple(starts), tuple(done), _local(first, 0), _local(last, DAY))

    def worked_until(self, moment: datetime) -> int:
        """Microseconds of working time from the calendar's beginning to `moment`."""
        at = _micros(moment)
        if not self.begins <= at <= self.ends:
            raise OutsideCalendarError(moment, self)
        index = bisect_right(self.starts, at)
        if not index:
            return 0
        worked = self.done[index - 1] + at - self.starts[index - 1]
        return min(worked, self.done[index])

    def moment_of(self, worked: int) -> datetime:
        """Find the earliest moment by which `worked` (> 0) microseconds have been worked since the beginning."""
        index = bisect_left(self.done, worked) - 1
        if index >= len(self.starts):
            raise OutsideCalendarError(None, self)
        return _EPOCH + timedelta(microseconds=self.starts[index] + worked - self.done[index])

    def hours_of(self, day: date) -> list[tuple[datetime, datetime]]:
        """The working intervals of one local day, as moments in UTC."""
        first, after = bisect_left(self.starts, _local(day, 0)), bisect_left(self.starts, _local(day, DAY))
        begun = [(self.starts[each], self.done[each + 1] - self.done[each]) for each in range(first, after)]
        return [
            (_EPOCH + timedelta(microseconds=start), _EPOCH + timedelta(microseconds=start + length))
            for start, length in begun
        ]

    def working_day_from(self, day: date) -> date:
        """Find the first day with working time, `day` itself or later."""
        index = bisect_left(self.starts, _local(day, 0)) if day >= self.first else len(self.starts)
        if index >= len(self.starts):
            raise OutsideCalendarError(None, self)
        return (_EPOCH + timedelta(microseconds=self.starts[index])).astimezone(LOCAL).date()


def intervals_of(day: date, week: Week, state: DayState = "normal") -> list[Interval]:
    """List the working intervals of one local day, half days cut at noon.

    A make-up day on a weekday without hours has those of the week's first working day.
    """
    usual = week.get(day.weekday(), ())
    match state:
        case "off":
            return []
        case "normal":
            return sorted(usual)
    full = sorted(usual or next((week[weekday] for weekday in sorted(week) if week[weekday]), ()))
    match state:
        case "half_morning":
            full = [(start, min(end, NOON)) for start, end in full]
        case "half_afternoon":
            full = [(max(start, NOON), end) for start, end in full]
    return [(start, end) for start, end in full if start < end]


def due(
    calendar: WorkingCalendar,
    start: datetime,
    duration: Duration,
    *,
    extended: int = 0,
    pauses: Sequence[Pause] = (),
) -> datetime:
    """Compute the last moment that is still in time, UTC: the only arithmetic from a start to a deadline there is.

    working: when that many minutes of working time have passed since `start`; a deadline at the close of business is
    that day's close, not the next morning. continuous: that many minutes later. calendar: the first day does not
    count, the term ends at 24:00 local of its last day, and where that is no working day, of the next one (Bộ luật
    Dân sự 2015, Điều 147 khoản 2 and Điều 148 khoản 5, 6).

    `extended`: working minutes added to the allowance; a calendar clock gets a day for every eight hours begun.
    A pause moves the deadline by exactly what the clock would have counted meanwhile: minutes, or the midnights of a
    calendar clock. One that begins when the deadline has passed moves nothing.
    """
    held = _apart(start, pauses)
    match duration.kind:
        case "working":
            target = calendar.worked_until(start) + (duration.minutes + extended) * _MINUTE
            for pause in held:
                if calendar.worked_until(pause.began) >= target:
                    break
                target += calendar.worked_until(pause.ended) - calendar.worked_until(pause.began)
            return calendar.moment_of(target)
        case "continuous":
            moment = start.astimezone(UTC) + timedelta(minutes=duration.minutes + extended)
            for pause in held:
                if pause.began >= moment:
                    break
                moment += pause.ended - pause.began
            return moment
        case "calendar":
            added = -(-extended // WORKING_DAY)  # rounded up
            return _calendar_due(calendar, start, duration.minutes // DAY + added, held)


def _calendar_due(calendar: WorkingCalendar, start: datetime, days: int, pauses: Sequence[Pause]) -> datetime:
    last = _day(start) + timedelta(days=days)
    for pause in pauses:
        if pause.began >= _end_of_term(calendar, last):
            break
        # Begun on the working day to which a term ending on a holiday was put off, it puts off that day.
        last = max(last, _day(pause.began)) + (_day(pause.ended) - _day(pause.began))
    return _end_of_term(calendar, last)


def _end_of_term(calendar: WorkingCalendar, last: date) -> datetime:
    return _EPOCH + timedelta(microseconds=_local(calendar.working_day_from(last), DAY))


def _apart(start: datetime, pauses: Sequence[Pause]) -> list[Pause]:
    """The pauses in time, cut so that none begins before the clock or before another has ended; empty ones left out."""
    held: list[Pause] = []
    for pause in sorted(pauses):
        begins = max(pause.began, held[-1].ended if held else start)
        if begins < pause.ended:
            held.append(Pause(begins, pause.ended))
    return held


def worked_minutes(calendar: WorkingCalendar, start: datetime, end: datetime) -> int:
    """Whole minutes of working time between two moments, rounded down; `end` is not before `start`."""
    if end < start:
        raise ValueError("the end lies before the start")
    return (calendar.worked_until(end) - calendar.worked_until(start)) // _MINUTE


def elapsed_minutes(start: datetime, end: datetime) -> int:
    """Whole minutes on the 24/7 clock between two moments, rounded down; `end` is not before `start`."""
    if end < start:
        raise ValueError("the end lies before the start")
    return (_micros(end) - _micros(start)) // _MINUTE


def verdict(due_at: datetime, stopped_at: datetime) -> bool:
    """Whether a clock that stopped then met its deadline: on or before it."""
    return stopped_at <= due_at


def breach(due_at: datetime, until: datetime) -> datetime | None:
    """When the deadline was breached, seen from `until`: the due moment itself, whoever notices and however late."""
    return None if verdict(due_at, until) else due_at


def is_met(due_at: datetime, breached_at: datetime | None, stopped_at: datetime) -> bool:
    """The verdict on a clock that stopped then: what once was missed stays missed, wherever the deadline is by now."""
    return breached_at is None and verdict(due_at, stopped_at)


def replanned(
    calendar: WorkingCalendar,
    started_at: datetime,
    duration: Duration,
    *,
    due_at: datetime,
    breached_at: datetime | None,
    now: datetime,
    extended: int = 0,
    pauses: Sequence[Pause] = (),
) -> Replanned:
    """Measure a running clock anew, from its original start and with its pauses (DOMAIN.md, deadline rules 3 and 4).

    A breach of the deadline it had until `now` stays, whether or not anybody had recorded it.
    """
    new = due(calendar, started_at, duration, extended=extended, pauses=pauses)
    return Replanned(new, breached_at or breach(due_at, now))


def policies_asked(category_code: str, urgency: Urgency | None) -> tuple[tuple[str | None, Urgency | None], ...]:
    """Whose policies decide, in turn, as category and urgency; `urgency` None: the case is as urgent as its category.

    A case made urgent has the deadlines of urgent cases where there are any. One that is no longer urgent never has
    those of its urgent category.
    """
    own: tuple[tuple[str | None, Urgency | None], ...] = ((category_code, None),)
    given: tuple[tuple[str | None, Urgency | None], ...] = ((category_code, urgency), (None, urgency))
    match urgency:
        case None:
            return (*own, (None, None))
        case "urgent":
            return (*given, *own, (None, None))
        case "normal":
            return (*given, (None, None))


def week_in_force(versions: Mapping[tuple[date, datetime], Week]) -> list[tuple[date, Week]]:
    """Of weeks by (effective date, entry moment): for every effective date what was entered last about it."""
    newest = {effective: versions[effective, entered] for effective, entered in sorted(versions)}
    return list(newest.items())


def policy_in_force(policies: Sequence[Policy], day: date) -> Policy | None:
    """Of one clock's policies for one category: the latest to take effect by `day`; corrections win by entry moment."""
    known = [policy for policy in policies if policy.valid_from <= day]
    return max(known, key=lambda policy: (policy.valid_from, policy.entered_at), default=None)


def pause_in_force(policies: Sequence[PausePolicy], day: date) -> PausePolicy | None:
    """Of one reason's policies: the latest to take effect by `day`; corrections win by entry moment."""
    known = [policy for policy in policies if policy.valid_from <= day]
    return max(known, key=lambda policy: (policy.valid_from, policy.entered_at), default=None)


def _day(moment: datetime) -> date:
    return moment.astimezone(LOCAL).date()


def _micros(moment: datetime) -> int:
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _local(day: date, minute: int) -> int:
    """Give the moment that many minutes after local midnight, read off the wall clock."""
    midnight = datetime.combine(day + timedelta(days=minute // DAY), time(), LOCAL)
    return _micros(midnight + timedelta(minutes=minute % DAY))
