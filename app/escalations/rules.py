"""Who hears what when: the ladder, the moments, the morning digest. Pure.

One table says who is told at which level; nothing else does. docs/escalation.md explains it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Literal
from uuid import UUID

from app.cases.rules import URGENT_OPEN
from app.core.clock import LOCAL
from app.deadlines.rules import DAY, WORKING_DAY, Duration, WorkingCalendar
from app.duties.rules import NOBODY, Accounts, People

PAGE, SOON, DUE = 0, 80, 100
# Beside the clocks of `deadlines`: a stay in triage, and an urgent case itself.
TRIAGE, URGENT = "triage", "urgent"
# The citizen's own time runs out by itself; nobody's work is late.
UNWARNED = ("answer",)

MAX_ATTEMPTS = 5
# What the sweep has still to look at, in SQL. A literal, so that the partial index `escalation_owed` serves it.
OWED = f"given_at IS NULL AND attempts < {MAX_ATTEMPTS}"
# What it has given up, for `escalation_stuck`.
STUCK = f"given_at IS NULL AND attempts >= {MAX_ATTEMPTS}"
# Urgent cases that nobody was paged for: once for the province, and once for each unit that gets the case.
UNPAGED = f"""
FROM case_file c CROSS JOIN LATERAL (
    SELECT 0 AS seq
    UNION ALL SELECT h.started_seq FROM case_hop h WHERE h.case_id = c.id AND h.ended_at IS NULL) AS stay
WHERE {URGENT_OPEN} AND NOT EXISTS (
    SELECT FROM escalation e WHERE e.case_id = c.id AND e.kind = '{URGENT}' AND e.started_seq = stay.seq)
"""
# For the relay, every two seconds: cases that moved lately. The scheduler looks at all of them each minute.
OWED_PAGES = f"""SELECT EXISTS (SELECT {UNPAGED} AND c.updated_at > now() - interval '10 minutes')
    OR EXISTS (SELECT FROM escalation WHERE {OWED} AND (level > 0) IS FALSE AND next_at <= now())"""

Audience = Literal["duty", "holder", "lead", "ioc", "leader"]


@dataclass(frozen=True, slots=True)
class Step:
    """What happens at a level: who is told at once, whose morning digest lists it, and by which template."""

    template: str
    told: tuple[Audience, ...] = ()
    listed: tuple[Audience, ...] = ()


_EVERYBODY: tuple[Audience, ...] = ("holder", "lead", "ioc", "leader")
# By level, and whether the case is urgent.
LADDER: Mapping[tuple[int, bool], Step] = {
    (PAGE, True): Step("case_urgent", told=("duty",)),
    (SOON, False): Step("case_due_soon", listed=("holder",)),
    (SOON, True): Step("case_urgent_due_soon", told=("holder", "lead"), listed=("holder",)),
    (DUE, False): Step("case_overdue", told=("holder", "lead"), listed=_EVERYBODY),
    (DUE, True): Step("case_urgent_overdue", told=_EVERYBODY, listed=_EVERYBODY),
}
# Whose turn it is where it is not the unit's.
TURNS: Mapping[str, Audience] = {"verify": "ioc", TRIAGE: "ioc", "approve": "lead"}
# Where nobody holds a role, the next one hears.
_RISING: tuple[Audience, ...] = ("holder", "lead", "ioc", "leader")


@dataclass(frozen=True, slots=True)
class Place:
    """What of a case decides whom it concerns."""

    kind: str
    unit_id: UUID | None
    assignee_id: UUID | None


def audience(whose: Audience, place: Place, people: People) -> Accounts:
    """The accounts meant; where nobody holds that role the next one up, so that no warning is told to nobody."""
    if whose == "duty":
        return people.paged(place.unit_id)
    for each in _RISING[_RISING.index(whose) :]:
        if found := _held(each, place, people):
            return found
    return NOBODY


def _held(whose: Audience, place: Place, people: People) -> Accounts:
    match _turn(place) if whose == "holder" else whose:
        case "holder":
            own = place.assignee_id
            is_there = own is not None and people.is_there(own)
            return frozenset({own}) if own and is_there else people.nearest("officer", place.unit_id)
        case "lead":
            return people.nearest("lead", place.unit_id) if place.unit_id is not None else NOBODY
        case "leader":
            return people.nearest("leader", place.unit_id)
        case _:
            return people.province("dispatcher")


def _turn(place: Place) -> Audience:
    """Who holds the case: the unit, or whose turn it is otherwise; without a unit the operations centre."""
    return TURNS.get(place.kind, "holder" if place.unit_id is not None else "ioc")


def told(audiences: Iterable[Audience], place: Place, people: People) -> Accounts:
    """Everybody of these audiences, each account once."""
    return NOBODY.union(*(audience(each, place, people) for each in audiences))


# Moments -----------------------------------------------------------------------------------------------------------

_LEFT_AT_SOON = 0.2
_A_MICROSECOND = timedelta(microseconds=1)


def soon_at(
    calendar: WorkingCalendar,
    started_at: datetime,
    due_at: datetime,
    allowance: Duration | None,
    extended: int = 0,
) -> datetime:
    """When a clock has used 80 % of what it may take, in its own time: a fifth of that before it is due.

    Counted back from the deadline, because that has moved with every pause and extension: at 80 % of a working clock
    80 % of its working time has passed, however long it stood still. Without an allowance (a directive) the time
    between start and deadline is what it may take. `extended` as in `deadlines.rules.due`.
    """
    if allowance is None:
        return due_at - (due_at - started_at) * _LEFT_AT_SOON
    match allowance.kind:
        case "working":
            left = timedelta(minutes=(allowance.minutes + extended) * _LEFT_AT_SOON) // _A_MICROSECOND
            # The earliest moment by which so much was worked.
            return max(started_at, calendar.moment_of(max(1, calendar.worked_until(due_at) - left)))
        case "continuous":
            return max(started_at, due_at - timedelta(minutes=(allowance.minutes + extended) * _LEFT_AT_SOON))
        case "calendar":
            days = allowance.minutes // DAY - (-extended // WORKING_DAY)
            return max(started_at, due_at - timedelta(days=days * _LEFT_AT_SOON))


def in_hours(calendar: WorkingCalendar, moment: datetime) -> datetime:
    """`moment` where people work then, else the moment at which they begin to again."""
    # One microsecond more of work is done a microsecond after the moment looked for.
    return max(moment, calendar.moment_of(calendar.worked_until(moment) + 1) - _A_MICROSECOND)


# What becomes of a row ---------------------------------------------------------------------------------------------

# How long a warning that failed waits: 1, 4, 16, 64 minutes.
FIRST_PAUSE = timedelta(minutes=1)
# A stay in triage has no clock that would say when its deadline moves: it is asked again.
_ASKED_AGAIN = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Pending:
    """A warning not given yet, with its clock as it stands now; `ended`: the clock or the stay is over."""

    level: int
    place: Place
    urgent: bool
    ended: bool
    started_at: datetime
    due_at: datetime
    allowance: Duration | None = None
    extended: int = 0


@dataclass(frozen=True, slots=True)
class Drop:
    """There is nothing left to warn of."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Not before this moment."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Give:
    """Now: these audiences, by this template."""

    step: Step


def decide(pending: Pending, calendar: WorkingCalendar, now: datetime) -> Drop | Wait | Give:
    """Decide what to do with a warning whose moment may have come.

    Working hours bind ordinary cases, and no others. What is overdue by now is not warned of as due soon any more.
    """
    if pending.ended:
        return Drop()
    step = LADDER[pending.level, pending.urgent or pending.level == PAGE]
    if pending.level == PAGE:
        return Give(step)
    moment = pending.due_at
    if pending.level == SOON:
        moment = soon_at(calendar, pending.started_at, pending.due_at, pending.allowance, pending.extended)
    at = moment if pending.urgent else in_hours(calendar, max(moment, now))
    if at > now:
        return Wait(min(at, now + _ASKED_AGAIN) if pending.place.kind == TRIAGE else at)
    if pending.level == SOON and pending.due_at <= now:
        return Give(Step(step.template, listed=step.listed))
    return Give(step)


# The morning digest ------------------------------------------------------------------------------------------------

DIGEST_AT = time(7, 30)
# As many references as a letter names; the counts speak of all.
MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Late:
    """A case that is overdue, or due soon, on one of its clocks."""

    case_id: UUID
    reference: str
    place: Place
    urgent: bool
    due_at: datetime


def digest_due(calendar: WorkingCalendar, now: datetime) -> bool:
    """Whether the digest of the day may go: from 7:30 local on, on working days."""
    local = now.astimezone(LOCAL)
    return local.time() >= DIGEST_AT and calendar.working_day_from(local.date()) == local.date()


def digests(lates: Iterable[Late], people: People, now: datetime) -> dict[UUID, dict[str, str]]:
    """What each person's digest says, by account, as parameters of its template; who has nothing gets none.

    A case counts once, by its oldest deadline; the overdue come first, the oldest of them at the top.
    """
    found: dict[UUID, dict[UUID, Late]] = defaultdict(dict)
    for late in sorted(lates, key=lambda each: (each.due_at, each.reference)):
        step = LADDER[DUE if late.due_at < now else SOON, late.urgent]
        for account_id in told(step.listed, late.place, people):
            found[account_id].setdefault(late.case_id, late)
    return {account_id: _said(list(cases.values()), now) for account_id, cases in found.items()}


def _said(cases: Sequence[Late], now: datetime) -> dict[str, str]:
    overdue = sum(case.due_at < now for case in cases)
    named = ", ".join(case.reference for case in cases[:MOST_NAMED])
    more = "" if len(cases) <= MOST_NAMED else ", …"
    return {"overdue": str(overdue), "soon": str(len(cases) - overdue), "references": named + more}
