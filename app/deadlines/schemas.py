"""The shape of a pack's `calendar.yaml` and `policies.yaml`, and what is refused about clocks."""

from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from app.catalog.rules import Urgency
from app.core.errors import Problem
from app.core.packfile import PackModel
from app.deadlines.rules import DAY, WORKING_DAY, DayState, Duration, Interval, Kind, PolicyClock

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]
PauseReason = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
UnitGroup = Annotated[str, StringConstraints(pattern=r"^(?:\*|[a-z][a-z0-9_]{0,39})$")]

PAUSES_USED_UP = Problem(
    "pauses_used_up",
    409,
    vi=(
        "Đã hết số lần tạm dừng",
        "Đã tạm dừng {times} lần vì cùng lý do, là mức cao nhất. Vui lòng xử lý tiếp hoặc đề nghị lãnh đạo gia hạn.",
    ),
    en=(
        "No pause is left",
        "It was paused {times} times for the same reason, the most allowed. Go on, or ask a lead for an extension.",
    ),
)
DIRECTIVE_PAST = Problem(
    "directive_due_past",
    422,
    vi=("Thời hạn đã qua", "Thời hạn của chỉ đạo phải ở sau thời điểm hiện tại. Vui lòng chọn thời điểm khác."),
    en=("That moment has passed", "A directive falls due later than now. Choose another moment."),
)


class IntervalIn(PackModel):
    """Working time between two times of day."""

    start: TimeOfDay
    end: TimeOfDay

    def minutes(self) -> Interval:
        """Minutes after midnight."""
        start, end = (int(text[:2]) * 60 + int(text[3:]) for text in (self.start, self.end))
        return start, end

    @model_validator(mode="after")
    def _runs_forward(self) -> Self:
        start, end = self.minutes()
        if start >= end:
            raise ValueError("the interval ends before it starts")
        return self


class HoursIn(PackModel):
    """The same intervals on some weekdays; all entries of a group and effective date make one week."""

    unit_group: UnitGroup
    weekdays: Annotated[list[Weekday], Field(min_length=1)]
    intervals: Annotated[list[IntervalIn], Field(min_length=1)]
    effective_from: date
    belief: bool

    @model_validator(mode="after")
    def _is_apart(self) -> Self:
        if any(later[0] < earlier[1] for earlier, later in pairwise(sorted(each.minutes() for each in self.intervals))):
            raise ValueError("two intervals of a day overlap")
        if len(set(self.weekdays)) < len(self.weekdays):
            raise ValueError("a weekday stands here twice")
        return self


class OverrideIn(PackModel):
    """What one date is, against its weekday and the library of public holidays."""

    date: date
    unit_group: UnitGroup
    state: DayState
    note: Annotated[str, Field(min_length=1, max_length=300)]
    source: Annotated[str, Field(min_length=1, max_length=300)]


class CalendarFile(PackModel):
    """`calendar.yaml`."""

    working_hours: Annotated[list[HoursIn], Field(min_length=1)]
    overrides: Annotated[list[OverrideIn], Field(min_length=1)]

    def weeks(self) -> dict[tuple[str, date], dict[int, list[Interval]]]:
        """Weeks by group and effective date; weekday 0 = Monday."""
        weeks: dict[tuple[str, date], dict[int, list[Interval]]] = {}
        for entry in self.working_hours:
            week = weeks.setdefault((entry.unit_group, entry.effective_from), {})
            for weekday in entry.weekdays:
                week.setdefault(WEEKDAYS.index(weekday), []).extend(sorted(each.minutes() for each in entry.intervals))
        return weeks

    def contradictions(self) -> Iterator[tuple[str, tuple[str | int, ...]]]:
        """Sentences about what does not go together, with the place of each."""
        seen: set[tuple[str, date, Weekday]] = set()
        for place, hours in enumerate(self.working_hours):
            for weekday in hours.weekdays:
                if (key := (hours.unit_group, hours.effective_from, weekday)) in seen:
                    yield f"The hours of {weekday} stand in another entry already.", ("working_hours", place)
                seen.add(key)
        if not any(entry.unit_group == "*" for entry in self.working_hours):
            yield 'No hours are given for the group "*", every unit.', ("working_hours",)
        dates: set[tuple[str, date]] = set()
        for place, override in enumerate(self.overrides):
            if (day := (override.unit_group, override.date)) in dates:
                yield f"{override.date} stands here twice for one group.", ("overrides", place)
            dates.add(day)


class TermIn(PackModel):
    """A length of time, from when it holds, and the decision it rests on."""

    kind: Kind
    days: Annotated[int, Field(ge=1, le=400)] | None = None
    hours: Annotated[int, Field(ge=1, le=9600)] | None = None
    valid_from: date
    decision: Annotated[str, Field(min_length=1, max_length=300)] | None
    belief: bool

    @model_validator(mode="after")
    def _is_clear(self) -> Self:
        if (self.days is None) == (self.hours is None):
            raise ValueError("exactly one of days and hours is needed")
        if self.kind == "calendar" and self.days is None:
            raise ValueError("calendar time is given in days")
        if self.belief != (self.decision is None):
            raise ValueError("belief is true as long as no decision is named, and only then")
        return self

    def duration(self) -> Duration:
        """Give the time the clock allows; a working day has eight hours."""
        day = WORKING_DAY if self.kind == "working" else DAY
        return Duration(self.kind, self.days * day if self.days is not None else (self.hours or 0) * 60)


class PolicyIn(TermIn):
    """One deadline for one clock, as a default or for some categories; `urgency`: for cases that were given it."""

    clock: PolicyClock
    categories: Annotated[list[str], Field(min_length=1)] | None = None
    urgency: Urgency | None = None

    def codes(self) -> list[str | None]:
        """Name the categories meant; None is the default."""
        return [None] if self.categories is None else list(self.categories)


class PauseIn(TermIn):
    """How long a pause for a reason may last and how many times a clock may have one; without `reason` the default."""

    reason: PauseReason | None = None
    times: Annotated[int, Field(ge=1, le=20)]


class PoliciesFile(PackModel):
    """`policies.yaml`."""

    policies: Annotated[list[PolicyIn], Field(min_length=1)]
    pauses: Annotated[list[PauseIn], Field(min_length=1)]

    def contradictions(
        self, clocks: tuple[PolicyClock, ...], categories: frozenset[str]
    ) -> Iterator[tuple[str, tuple[str | int, ...]]]:
        """Sentences about what is missing, unknown or said twice, with the place of each."""
        seen: set[tuple[PolicyClock, str | None, Urgency | None, date]] = set()
        for place, policy in enumerate(self.policies):
            for code in policy.codes():
                if code is not None and code not in categories:
                    yield f"There is no category {code!r}.", ("policies", place, "categories")
                if (key := (policy.clock, code, policy.urgency, policy.valid_from)) in seen:
                    name = code or "the default"
                    yield f"{policy.clock} of {name} from {policy.valid_from} stands here twice.", ("policies", place)
                seen.add(key)
        known = {(clock, code) for clock, code, urgency, _ in seen if urgency is None}
        for clock in clocks:
            if (clock, None) not in known:
                yield f"The clock {clock} has no default.", ("policies",)
        for code in sorted(categories):
            if ("resolve", code) not in known:
                yield f"The category {code!r} has no deadline for resolving of its own.", ("policies",)
        yield from self._pauses_contradict()

    def _pauses_contradict(self) -> Iterator[tuple[str, tuple[str | int, ...]]]:
        seen: set[tuple[str | None, date]] = set()
        for place, pause in enumerate(self.pauses):
            if (key := (pause.reason, pause.valid_from)) in seen:
                name = pause.reason or "the default"
                yield f"The pause for {name} from {pause.valid_from} stands here twice.", ("pauses", place)
            seen.add(key)
        if all(pause.reason is not None for pause in self.pauses):
            yield "Pauses have no default.", ("pauses",)
