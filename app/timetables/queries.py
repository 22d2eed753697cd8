"""Reading changes of time, what is in force on a day, and the open cases whose clocks run."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple, cast
from uuid import UUID

from sqlmodel import col, select

from app.catalog.queries import catalogue
from app.catalog.rules import Urgency
from app.core import clock
from app.core.db import Session
from app.deadlines import queries as deadlines
from app.deadlines.rules import PausePolicy, Policy, pause_in_force, policy_in_force
from app.orgunits.queries import directory
from app.timetables.models import TimeChange
from app.timetables.schemas import DayOut, PolicyOut, TimetableOut

_DAYS_SHOWN = 28


class OpenCase(NamedTuple):
    """What of an open case its clocks and its next event need."""

    id: UUID
    reference: str
    category_code: str
    urgency: str
    state: str
    version: int
    cycle: int
    channel: str
    unit_id: UUID | None
    commune_id: UUID | None
    due_at: datetime | None
    act_by: datetime
    head: bytes


_OPEN_CASES = """
SELECT DISTINCT case_id FROM sla_clock WHERE stopped_at IS NULL AND policy_id IS NOT NULL ORDER BY case_id
"""
_CASES = f"SELECT {', '.join(OpenCase._fields)} FROM case_file WHERE id = ANY(%(ids)s::uuid[]) ORDER BY id"


def cases_with_running_clocks(session: Session) -> list[UUID]:
    """Every case of which a clock runs that a policy measures, the oldest first."""
    return [row[0] for row in session.connection().exec_driver_sql(_OPEN_CASES)]


def open_cases(session: Session, ids: Sequence[UUID], *, locked: bool = False) -> list[OpenCase]:
    """The cases of these ids; `locked` as every move of a case locks it, in the order of their ids."""
    statement = f"{_CASES} FOR UPDATE" if locked else _CASES
    rows: Iterable[Sequence[Any]] = session.connection().exec_driver_sql(statement, {"ids": list(ids)})
    return [OpenCase(*row) for row in rows]


def given_urgency(session: Session, case: OpenCase) -> Urgency | None:
    """The urgency that somebody gave the case; None: it is as urgent as its category."""
    category = catalogue(session).category(case.category_code)
    return None if category is None or category.urgency == case.urgency else cast("Urgency", case.urgency)


def listed(session: Session, after: UUID | None, limit: int) -> Sequence[TimeChange]:
    """Changes, the last entered first, from behind `after`."""
    rows = select(TimeChange).order_by(col(TimeChange.id).desc()).limit(limit)
    return session.exec(rows.where(col(TimeChange.id) < after) if after else rows).all()


def timetable(session: Session, on: date, unit_group: str) -> TimetableOut:
    """What measures deadlines on a local day, and four weeks of working hours from it."""
    calendar = deadlines.calendar(session, unit_group)
    days = [on + timedelta(days=number) for number in range(_DAYS_SHOWN)]
    return TimetableOut(
        on=on,
        unit_group=unit_group,
        groups=_groups(session),
        policies=[*_policies(session, on), *_pauses(session, on)],
        days=[_day(day, calendar.hours_of(day)) for day in days],
    )


def _groups(session: Session) -> dict[str, list[str]]:
    units, groups = directory(session), defaultdict[str, list[str]](list)
    for unit_id, group in deadlines.groups_entered(session).items():
        if unit := units.by_id(unit_id):
            groups[group].append(unit.code)
    return {group: sorted(codes) for group, codes in sorted(groups.items())}


def _policies(session: Session, on: date) -> list[PolicyOut]:
    entered = deadlines.policies_entered(session).values()
    found = [policy for policies in entered if (policy := policy_in_force(policies, on))]
    found.sort(key=lambda each: (each.clock, each.category_code or "", each.urgency or ""))
    return [_policy_out(each) for each in found]


def _policy_out(policy: Policy) -> PolicyOut:
    return PolicyOut(
        clock=policy.clock,
        category=policy.category_code,
        urgency=policy.urgency,
        reason=None,
        kind=policy.duration.kind,
        minutes=policy.duration.minutes,
        times=None,
        valid_from=policy.valid_from,
        entered_at=policy.entered_at,
        decision=policy.decision,
    )


def _pauses(session: Session, on: date) -> list[PolicyOut]:
    entered = deadlines.pause_policies_entered(session)
    found = [entered[reason] for reason in sorted(entered, key=lambda each: each or "")]
    return [_pause_out(policy) for policies in found if (policy := pause_in_force(policies, on))]


def _pause_out(policy: PausePolicy) -> PolicyOut:
    return PolicyOut(
        clock="pause",
        category=None,
        urgency=None,
        reason=policy.reason,
        kind=policy.longest.kind,
        minutes=policy.longest.minutes,
        times=policy.times,
        valid_from=policy.valid_from,
        entered_at=policy.entered_at,
        decision=policy.decision,
    )


def _day(day: date, hours: Sequence[tuple[datetime, datetime]]) -> DayOut:
    return DayOut(
        date=day,
        hours=[f"{_wall(start, day)}–{_wall(end, day)}" for start, end in hours],
        minutes=sum(int((end - start).total_seconds()) // 60 for start, end in hours),
    )


def _wall(moment: datetime, day: date) -> str:
    local = moment.astimezone(clock.LOCAL)
    return f"{local:%H:%M}" if local.date() == day else "24:00"
