"""The working calendar and the policies in force, held in memory by every process."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import cast
from uuid import UUID

from sqlmodel import col, select

from app.catalog.rules import Urgency
from app.core import clock as time
from app.core.db import Session
from app.core.versioned import Versioned
from app.deadlines.models import (
    EVERYONE,
    CalendarDay,
    ClockPause,
    DeadlinePolicy,
    SlaClock,
    SupersededDeadline,
    UnitGroupMember,
    WorkingHours,
)
from app.deadlines.models import PausePolicy as PausePolicyRow
from app.deadlines.rules import (
    ClockKind,
    DayState,
    Duration,
    Interval,
    Kind,
    Pause,
    PausePolicy,
    Planned,
    Policy,
    PolicyClock,
    Week,
    WorkingCalendar,
    due,
    pause_in_force,
    policies_asked,
    policy_in_force,
    week_in_force,
)

TOPIC = "calendar"
# Category (None: default), urgency somebody gave (None: the category's own), clock.
PolicyKey = tuple[str | None, str | None, str]
_YEARS_AHEAD = 10


class NoPolicyError(LookupError):
    """Neither the category nor the default has a policy for this clock on that day."""


@dataclass(frozen=True, slots=True)
class Timekeeping:
    """Everything that decides on deadlines, as of one version."""

    calendars: Mapping[str, WorkingCalendar]
    policies: Mapping[PolicyKey, list[Policy]]
    by_id: Mapping[UUID, Policy]
    pauses: Mapping[str | None, list[PausePolicy]]
    groups: Mapping[UUID, str]


def calendar(session: Session, unit_group: str = EVERYONE) -> WorkingCalendar:
    """Working time of a group of units; a group without hours and days of its own has everybody's."""
    calendars = _held.get(session).calendars
    return calendars.get(unit_group) or calendars[EVERYONE]


def calendar_of(session: Session, unit_id: UUID | None) -> WorkingCalendar:
    """Working time of one unit: that of its group. What no unit has yet is measured by everybody's."""
    return calendar(session, _held.get(session).groups.get(unit_id, EVERYONE) if unit_id else EVERYONE)


def policy_for(
    session: Session, category_code: str, clock: ClockKind, at: datetime, urgency: Urgency | None = None
) -> Policy:
    """Find the policy a clock started at `at` is measured by: the category's own, else the default of the clock.

    `urgency` where somebody gave the case another one than its category has, see `rules.policies_asked`.
    """
    policies = _held.get(session).policies
    day = at.astimezone(time.LOCAL).date()
    for code, given in policies_asked(category_code, urgency):
        if policy := policy_in_force(policies.get((code, given, clock), ()), day):
            return policy
    raise NoPolicyError(f"no policy for the clock {clock} of {category_code} on {day}: load the pack")


def policy(session: Session, policy_id: UUID) -> Policy:
    """A version of a policy, in force or not."""
    return _held.get(session).by_id[policy_id]


def pause_policy(session: Session, reason: str, at: datetime) -> PausePolicy:
    """Find what caps a pause begun at `at`: the row of its reason, else the default."""
    policies = _held.get(session).pauses
    day = at.astimezone(time.LOCAL).date()
    for whose in (reason, None):
        if found := pause_in_force(policies.get(whose, ()), day):
            return found
    raise NoPolicyError(f"no policy caps a pause for {reason} on {day}: load the pack")


def deadline(
    session: Session,
    category_code: str,
    clock: ClockKind,
    start: datetime,
    urgency: Urgency | None = None,
    *,
    unit_id: UUID | None = None,
) -> Planned:
    """Policy and due moment of a clock that starts at `start` for a unit; `urgency` as for `policy_for`."""
    policy = policy_for(session, category_code, clock, start, urgency)
    return Planned(policy.id, due(calendar_of(session, unit_id), start, policy.duration))


def is_provisional(session: Session, on: date) -> bool:
    """Whether some deadline in force that day rests on no decision yet: boards then say "thời hạn tạm"."""
    return any(
        policy.decision is None
        for policies in _held.get(session).policies.values()
        if (policy := policy_in_force(policies, on))
    )


def clocks_of(session: Session, case_id: UUID) -> list[SlaClock]:
    """All clocks of a case in the order they started."""
    rows = select(SlaClock).where(SlaClock.case_id == case_id)
    return list(session.exec(rows.order_by(col(SlaClock.started_seq), col(SlaClock.kind))))


def pauses_of(session: Session, clock: SlaClock) -> list[ClockPause]:
    """The pauses of one run of a clock, in time."""
    own = select(ClockPause).where(
        ClockPause.case_id == clock.case_id,
        ClockPause.kind == clock.kind,
        ClockPause.started_seq == clock.started_seq,
    )
    return list(session.exec(own.order_by(col(ClockPause.began_at), col(ClockPause.seq))))


def counted(pauses: Iterable[ClockPause]) -> list[Pause]:
    """Pauses as far as they count: until they ended or reached their cap; an open one as if it would reach it."""
    return [Pause(each.began_at, min(each.ended_at or each.capped_at, each.capped_at)) for each in pauses]


def superseded(session: Session, case_id: UUID) -> list[SupersededDeadline]:
    """The deadlines that clocks of a case had before, oldest first."""
    rows = select(SupersededDeadline).where(SupersededDeadline.case_id == case_id)
    return list(session.exec(rows.order_by(col(SupersededDeadline.seq))))


def days_in_force(session: Session) -> dict[tuple[str, date], DayState]:
    """Tell what each exceptional date is for each group: the newest override, else the newest word of the library."""
    states: dict[tuple[str, date], DayState] = {}
    for source in ("library", "override"):
        rows = select(CalendarDay).where(CalendarDay.source == source)
        newest = {
            (row.unit_group, row.date): cast("DayState", row.state)
            for row in session.exec(rows.order_by(col(CalendarDay.entered_at)))
        }
        states |= {key: state for key, state in newest.items() if state != "normal"}
    return states


def weeks_entered(session: Session) -> dict[str, dict[tuple[date, datetime], dict[int, list[Interval]]]]:
    """Every week ever entered, by group, effective date and entry moment."""
    weeks: dict[str, dict[tuple[date, datetime], dict[int, list[Interval]]]] = defaultdict(dict)
    rows = select(WorkingHours).order_by(col(WorkingHours.weekday), col(WorkingHours.start_minute))
    for row in session.exec(rows):
        week = weeks[row.unit_group].setdefault((row.effective_from, row.entered_at), {})
        week.setdefault(row.weekday, []).append((row.start_minute, row.end_minute))
    return dict(weeks)


def policies_entered(session: Session) -> dict[PolicyKey, list[Policy]]:
    """Every policy ever entered, by whom it is for, oldest entry first."""
    policies: dict[PolicyKey, list[Policy]] = defaultdict(list)
    for row in session.exec(select(DeadlinePolicy).order_by(col(DeadlinePolicy.entered_at))):
        policies[row.category_code, row.urgency, row.clock].append(
            Policy(
                id=row.id,
                category_code=row.category_code,
                clock=cast("PolicyClock", row.clock),
                duration=Duration(cast("Kind", row.kind), row.minutes),
                valid_from=row.valid_from,
                entered_at=row.entered_at,
                decision=row.decision,
                belief=row.belief,
                urgency=cast("Urgency | None", row.urgency),
            )
        )
    return dict(policies)


def groups_entered(session: Session) -> dict[UUID, str]:
    """The group of every unit that has one, as entered last."""
    rows = select(UnitGroupMember).order_by(col(UnitGroupMember.entered_at))
    return {row.unit_id: row.unit_group for row in session.exec(rows)}


def pause_policies_entered(session: Session) -> dict[str | None, list[PausePolicy]]:
    """Every cap of pauses ever entered, by reason (None: the default), oldest entry first."""
    policies: dict[str | None, list[PausePolicy]] = defaultdict(list)
    for row in session.exec(select(PausePolicyRow).order_by(col(PausePolicyRow.entered_at))):
        longest = Duration(cast("Kind", row.kind), row.minutes)
        policies[row.reason].append(
            PausePolicy(
                row.id, row.reason, longest, row.times, row.valid_from, row.entered_at, row.decision, row.belief
            )
        )
    return dict(policies)


def _load(session: Session) -> Timekeeping:
    weeks = {group: week_in_force(versions) for group, versions in weeks_entered(session).items()}
    days = days_in_force(session)
    if EVERYONE not in weeks:
        raise LookupError("no working hours were entered: load the pack")
    groups = {*weeks, *(group for group, _ in days)}
    policies = policies_entered(session)
    return Timekeeping(
        {group: _calendar(weeks.get(group) or weeks[EVERYONE], days, group) for group in groups},
        policies,
        {each.id: each for entered in policies.values() for each in entered},
        pause_policies_entered(session),
        groups_entered(session),
    )


def _calendar(weeks: list[tuple[date, Week]], days: dict[tuple[str, date], DayState], group: str) -> WorkingCalendar:
    """From the first day hours are known for, until a decade after the last year anything is known of."""
    exceptions = {day: state for (whose, day), state in days.items() if whose == EVERYONE}
    exceptions |= {day: state for (whose, day), state in days.items() if whose == group}
    last_year = max([time.now().year, *(day.year for day in exceptions)]) + _YEARS_AHEAD
    return WorkingCalendar.build(weeks[0][0], date(last_year, 12, 31), weeks, exceptions)


_held: Versioned[Timekeeping] = Versioned(TOPIC, _load)
