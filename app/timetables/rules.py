"""What speaks against a change of calendar or policies. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise

from app.deadlines.rules import DAY, WORKING_DAY, Duration, Interval, Kind

# No pause may hold a clock longer: what takes longer is an extension, a plan or another decision.
LONGEST_PAUSE_DAYS = 60
# The calendar is built a decade beyond the last year anything is known of: a mistyped century would be felt.
YEARS_AHEAD = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, with its place in the request (RFC 6901)."""

    code: str
    pointer: str
    params: Mapping[str, str | int] = field(default_factory=dict)


def length(kind: Kind, days: int | None, hours: int | None) -> Duration | None:
    """The time that an entry allows; None where it does not say it in one way. A working day has eight hours."""
    if (days is None) == (hours is None) or (kind == "calendar" and days is None):
        return None
    return Duration(kind, days * (WORKING_DAY if kind == "working" else DAY) if days is not None else (hours or 0) * 60)


def is_too_long(longest: Duration) -> bool:
    """Whether a pause might hold a clock for more than `LONGEST_PAUSE_DAYS` days of its kind."""
    return longest.minutes > LONGEST_PAUSE_DAYS * (WORKING_DAY if longest.kind == "working" else DAY)


def against_hours(week: Sequence[tuple[Sequence[int], Sequence[Interval]]], pointer: str) -> Iterator[Finding]:
    """What is wrong in one week, given as weekdays with their intervals."""
    seen: set[int] = set()
    for place, (weekdays, intervals) in enumerate(week):
        where = f"{pointer}/hours/{place}"
        if len(set(weekdays)) < len(weekdays) or seen & set(weekdays):
            yield Finding("weekday_twice", f"{where}/weekdays")
        seen |= set(weekdays)
        if any(start >= end for start, end in intervals):
            yield Finding("hours_backward", f"{where}/intervals")
        elif any(later[0] < earlier[1] for earlier, later in pairwise(sorted(intervals))):
            yield Finding("hours_overlap", f"{where}/intervals")


def against_days(days: Sequence[tuple[str, date]], today: date, pointer: str) -> Iterator[Finding]:
    """What is wrong in days by group and date: no day is in two states, and none lies beyond all planning."""
    seen: set[tuple[str, date]] = set()
    for place, (group, day) in enumerate(days):
        if (group, day) in seen:
            yield Finding("day_in_two_states", f"{pointer}/{place}/date", {"day": day.isoformat()})
        seen.add((group, day))
        if day.year > today.year + YEARS_AHEAD:
            yield Finding("day_too_far", f"{pointer}/{place}/date", {"day": day.isoformat(), "years": YEARS_AHEAD})
