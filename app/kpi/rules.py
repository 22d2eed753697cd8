"""What became of a case, and the measures of many, told from events alone. Pure.

Facts are those of one moment: what happened after it is unknown. Terms are DOMAIN.md's, "Measures".
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol
from uuid import UUID

from app.cases.rules import RESULTS, State
from app.deadlines.rules import WorkingCalendar, elapsed_minutes, verdict, worked_minutes

DONE = frozenset({State.RESOLVED, State.CLOSED})
DROPPED = frozenset({State.REJECTED, State.MERGED, State.WITHDRAWN})


class Standing(StrEnum):
    """How a case counts at a moment. The last four are *within competence*."""

    VERIFYING = "verifying"
    WITHDRAWN = "withdrawn"
    REJECTED = "rejected"
    MERGED = "merged"
    ON_TIME = "handled_on_time"
    LATE = "handled_late"
    IN_TIME = "open_in_time"
    OVERDUE = "open_overdue"


class Event(Protocol):
    """What the measures read of an event, all as it stood afterwards; `due_at` is the deadline for resolving."""

    @property
    def at(self) -> datetime: ...  # noqa: D102
    @property
    def verb(self) -> str: ...  # noqa: D102
    @property
    def to_state(self) -> str: ...  # noqa: D102
    @property
    def unit_id(self) -> UUID | None: ...  # noqa: D102
    @property
    def cycle(self) -> int: ...  # noqa: D102
    @property
    def category_code(self) -> str: ...  # noqa: D102
    @property
    def urgency(self) -> str: ...  # noqa: D102
    @property
    def channel(self) -> str: ...  # noqa: D102
    @property
    def code(self) -> str | None: ...  # noqa: D102
    @property
    def due_at(self) -> datetime | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Cycle:
    """One round of work, up to a resolution or a reopening. `breached`: it was open past a deadline in force.

    `proposed_at`: when the result was proposed that waits for a lead's approval; the time for resolving stands still.
    """

    number: int
    due_at: datetime | None
    resolved_at: datetime | None
    breached: bool
    proposed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """A case as of one moment. `unit_id` is the unit that holds it then, or held it last when it ended."""

    received_at: datetime
    verified_at: datetime | None
    accepted_at: datetime | None
    first_response_at: datetime | None
    cycles: tuple[Cycle, ...]
    state: str
    standing: Standing
    unit_id: UUID | None
    category_code: str
    urgency: str
    channel: str
    reject_code: str | None

    @property
    def within_competence(self) -> bool:
        """Reached routing and was not rejected, merged or withdrawn since."""
        return is_open(self.state) or self.state in DONE

    @property
    def resolved_at(self) -> datetime | None:
        """When the work was finished; None as long as the case is open, also after a reopening."""
        return self.cycles[-1].resolved_at if self.state in DONE else None

    @property
    def without_deadline(self) -> bool:
        """Open within competence while no deadline for resolving runs yet: no unit was ever assigned."""
        return is_open(self.state) and self.cycles[-1].due_at is None


def is_open(state: str) -> bool:
    """Whether work on the case is owed: it has reached routing, and has not ended."""
    return state != State.VERIFYING and state not in DONE and state not in DROPPED


def facts(events: Iterable[Event], at: datetime) -> CaseFacts | None:
    """What was known of a case at moment `at`, from its events in order; None before it was received."""
    known = _known(events, at)
    if not known:
        return None

    def first(*verbs: str) -> datetime | None:
        return next((moment for moment, event in known if event.verb in verbs), None)

    last, cycles = known[-1][1], _cycles(known)
    rejections = [event.code for _, event in known if event.verb == "reject"]
    return CaseFacts(
        received_at=known[0][0],
        verified_at=first("verify"),
        accepted_at=first("accept"),
        first_response_at=first("message", "ask", "resolve", "approve"),
        cycles=cycles,
        state=last.to_state,
        standing=standing(last.to_state, cycles, at),
        unit_id=last.unit_id,
        category_code=last.category_code,
        urgency=last.urgency,
        channel=last.channel,
        reject_code=rejections[-1] if last.to_state == State.REJECTED else None,
    )


def standing(state: str, cycles: Sequence[Cycle], at: datetime) -> Standing:
    """How a case in `state` counts at `at`.

    On time is only what met its last deadline and breached none before; a handled case that never had a deadline does
    not flatter the rate.
    """
    due_at = cycles[-1].due_at
    if state in DONE:
        on_time = due_at is not None and not any(cycle.breached for cycle in cycles)
        return Standing.ON_TIME if on_time else Standing.LATE
    if is_open(state):
        until = cycles[-1].proposed_at or at
        return Standing.IN_TIME if due_at is None or verdict(due_at, until) else Standing.OVERDUE
    return Standing(state)


def _known(events: Iterable[Event], at: datetime) -> list[tuple[datetime, Event]]:
    """The events up to `at`. Time never runs backwards: two machines' clocks may differ by a hair."""
    known: list[tuple[datetime, Event]] = []
    for event in events:
        if event.at > at:
            break
        known.append((max(event.at, known[-1][0]) if known else event.at, event))
    return known


@dataclass(slots=True)
class _Round:
    due_at: datetime | None = None
    resolved_at: datetime | None = None
    proposed_at: datetime | None = None
    breached: bool = False


def _cycles(known: Sequence[tuple[datetime, Event]]) -> tuple[Cycle, ...]:
    """The rounds of work. A deadline that passed while the case was open stays breached, even if it was moved later.

    A result that a lead approved was ready when it was proposed: what the approval took is not the unit's.
    """
    rounds: dict[int, _Round] = {}
    before: Event | None = None
    for moment, event in known:
        if before is not None and is_open(before.to_state):
            held = rounds[before.cycle]
            held.breached |= held.due_at is not None and not verdict(held.due_at, held.proposed_at or moment)
        current = rounds.setdefault(event.cycle, _Round())
        if is_open(event.to_state):
            current.due_at = event.due_at or current.due_at
        if event.to_state == State.RESOLVED and event.verb in RESULTS:
            current.resolved_at = current.proposed_at or moment
        if event.to_state != State.PENDING_APPROVAL:
            current.proposed_at = None
        elif event.verb == "propose":
            current.proposed_at = moment
        before = event
    return tuple(
        Cycle(number, each.due_at, each.resolved_at, each.breached, each.proposed_at)
        for number, each in sorted(rounds.items())
    )


# --- measures of many cases ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with what it was made of; no value where there is nothing to divide by."""

    numerator: int
    denominator: int

    @property
    def value(self) -> float | None:
        """Between 0 and 1."""
        return self.numerator / self.denominator if self.denominator else None


@dataclass(frozen=True, slots=True)
class Spread:
    """Whole minutes since the report was received, of the `count` cases that got so far; None without any."""

    count: int
    median_elapsed: int | None
    p90_elapsed: int | None
    median_working: int | None
    p90_working: int | None


def percentile(ordered: Sequence[int], percent: int) -> int | None:
    """The nearest-rank percentile: the ⌈percent · n ÷ 100⌉-th smallest of n values, always one that occurred."""
    return ordered[-(-percent * len(ordered) // 100) - 1] if ordered else None


STEPS = ("verify", "accept", "first_response", "resolve")


@dataclass(frozen=True, slots=True)
class Handling:
    """The measures of a cohort. Two identities hold by construction or an error says which one broke."""

    received: int
    within_competence: int
    standings: Mapping[Standing, int]
    without_deadline: int
    rejected_by: Mapping[str, int]
    times: Mapping[str, Spread]

    def __post_init__(self) -> None:
        count = self.standings
        outside = sum(
            count[each] for each in (Standing.VERIFYING, Standing.WITHDRAWN, Standing.REJECTED, Standing.MERGED)
        )
        if self.received != outside + self.within_competence:
            raise ValueError("received is not verifying + withdrawn + rejected + merged + within competence")
        four = sum(count[each] for each in (Standing.ON_TIME, Standing.LATE, Standing.IN_TIME, Standing.OVERDUE))
        if self.within_competence != four:
            raise ValueError("the four-way state does not add up to within competence")

    @property
    def handled(self) -> int:
        """Resolved or closed, on time or late."""
        return self.standings[Standing.ON_TIME] + self.standings[Standing.LATE]

    @property
    def handling_rate(self) -> Rate:
        """Handled ÷ within competence."""
        return Rate(self.handled, self.within_competence)

    @property
    def handled_of_received(self) -> Rate:
        """Handled ÷ received: the rate newspapers print."""
        return Rate(self.handled, self.received)

    @property
    def on_time_rate(self) -> Rate:
        """On time ÷ (on time + late + open overdue): what is overdue counts although it is not done."""
        return Rate(self.standings[Standing.ON_TIME], self.handled + self.standings[Standing.OVERDUE])


@dataclass(slots=True)
class Tally:
    """Adds cases up, one at a time, so that a long period need not be held in memory."""

    calendar: WorkingCalendar
    received: int = 0
    within_competence: int = 0
    without_deadline: int = 0
    standings: Counter[Standing] = field(default_factory=Counter)
    rejected_by: Counter[str] = field(default_factory=Counter)
    elapsed: dict[str, list[int]] = field(default_factory=lambda: {step: [] for step in STEPS})
    working: dict[str, list[int]] = field(default_factory=lambda: {step: [] for step in STEPS})

    def add(self, case: CaseFacts) -> None:
        """Count one case."""
        self.received += 1
        self.within_competence += case.within_competence
        self.without_deadline += case.without_deadline
        self.standings[case.standing] += 1
        if case.standing == Standing.REJECTED:
            self.rejected_by[case.reject_code or "unstated"] += 1
        moments = (case.verified_at, case.accepted_at, case.first_response_at, case.resolved_at)
        for step, moment in zip(STEPS, moments, strict=True):
            if moment is not None:
                self.elapsed[step].append(elapsed_minutes(case.received_at, moment))
                self.working[step].append(worked_minutes(self.calendar, case.received_at, moment))

    def handling(self) -> Handling:
        """The measures of what was added so far."""
        return Handling(
            received=self.received,
            within_competence=self.within_competence,
            standings=MappingProxyType({each: self.standings[each] for each in Standing}),
            without_deadline=self.without_deadline,
            rejected_by=MappingProxyType(dict(sorted(self.rejected_by.items()))),
            times=MappingProxyType({step: self._spread(step) for step in STEPS}),
        )

    def _spread(self, step: str) -> Spread:
        elapsed, working = sorted(self.elapsed[step]), sorted(self.working[step])
        return Spread(
            count=len(elapsed),
            median_elapsed=percentile(elapsed, 50),
            p90_elapsed=percentile(elapsed, 90),
            median_working=percentile(working, 50),
            p90_working=percentile(working, 90),
        )


def measures(cases: Iterable[CaseFacts], calendar: WorkingCalendar) -> Handling:
    """The measures of a cohort."""
    tally = Tally(calendar)
    for case in cases:
        tally.add(case)
    return tally.handling()
