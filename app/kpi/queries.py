"""Cohorts of cases, measured from their events."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text

from app.catalog.queries import catalogue
from app.catalog.rules import Category, Group
from app.core import clock
from app.core.db import Session
from app.core.http import Lang
from app.deadlines.queries import calendar
from app.kpi.rules import CaseFacts, Handling, Tally, facts
from app.kpi.schemas import CHANNELS, NOBODY, URGENCIES, GroupBy
from app.orgunits.queries import directory

_ROWS_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class Period:
    """Local days from `first` until `end`, which is the day after the last."""

    first: date
    end: date

    def moments(self) -> tuple[datetime, datetime]:
        """Where the period begins and where the next begins."""
        begin, end = (datetime.combine(day, time.min, clock.LOCAL) for day in (self.first, self.end))
        return begin, end


class Label(NamedTuple):
    """A group of cases: where it stands among the others, its key (None: what has none), its name."""

    place: tuple[bool, int, str]
    key: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Board:
    """The measures of a cohort, whole and by group."""

    total: Handling
    groups: list[tuple[Label, Handling]]


class _Happened(NamedTuple):
    case_id: UUID
    at: datetime
    verb: str
    to_state: str
    unit_id: UUID | None
    cycle: int
    category_code: str
    urgency: str
    channel: str
    code: str | None
    due_at: datetime | None


_EVENTS = text(f"""
WITH cohort AS MATERIALIZED (
    SELECT case_id FROM case_event WHERE seq = 1 AND at >= :begin AND at < :end AND at <= :as_of)
SELECT {", ".join(f"event.{name}" for name in _Happened._fields)}
FROM cohort JOIN case_event event USING (case_id)
WHERE event.at <= :as_of
ORDER BY event.case_id, event.seq
""")


def handling(
    session: Session,
    period: Period,
    *,
    as_of: datetime,
    units: frozenset[UUID] | None = None,
    label: Callable[[CaseFacts], Label] | None = None,
) -> Board:
    """How the cases received in `period` stood at `as_of`: all, or those that one of `units` held then.

    `label` names the group of a case; without it there are no groups.
    """
    working_time = calendar(session)
    total, groups = Tally(working_time), dict[Label, Tally]()
    for case in _cohort(session, period, as_of):
        if units is not None and case.unit_id not in units:
            continue
        total.add(case)
        if label is not None:
            groups.setdefault(label(case), Tally(working_time)).add(case)
    return Board(total.handling(), [(each, groups[each].handling()) for each in sorted(groups)])


class _Labels:
    """Names the group of a case; groups stand as people expect: as in the catalogue, by name, in time."""

    def __init__(self, session: Session, language: Lang) -> None:
        self._english = language == "en"
        self._units = directory(session)
        self._catalogue = catalogue(session)
        self._places = {code: place for place, code in enumerate(self._codes())}

    def unit(self, case: CaseFacts) -> Label:
        unit = self._units.by_id(case.unit_id) if case.unit_id else None
        if unit is None:
            return Label((True, 0, ""), None, NOBODY[self._english])
        return Label((False, 0, f"{unit.sort_key} {unit.id}"), unit.code, unit.name_en if self._english else unit.name)

    def category(self, case: CaseFacts) -> Label:
        return self._named(case.category_code, self._catalogue.category(case.category_code))

    def group(self, case: CaseFacts) -> Label:
        category = self._catalogue.category(case.category_code)
        code = category.group_code if category else case.category_code
        return self._named(code, self._catalogue.group(code))

    def month(self, case: CaseFacts) -> Label:
        month = f"{clock.local_day(case.received_at):%Y-%m}"
        return Label((False, 0, month), month, month)

    def urgency(self, case: CaseFacts) -> Label:
        return self._worded(case.urgency, URGENCIES)

    def channel(self, case: CaseFacts) -> Label:
        return self._worded(case.channel, CHANNELS)

    def _codes(self) -> list[str]:
        groups, categories = self._catalogue.groups, self._catalogue.categories
        return [*(each.code for each in groups), *(each.code for each in categories)]

    def _named(self, code: str, found: Category | Group | None) -> Label:
        name = (found.name_en if self._english else found.name_vi) if found else code
        return Label((False, self._places.get(code, len(self._places)), code), code, name)

    def _worded(self, word: str, words: dict[str, tuple[str, str]]) -> Label:
        return Label((False, 0, word), word, words[word][self._english] if word in words else word)


def labeller(session: Session, group_by: GroupBy, language: Lang) -> Callable[[CaseFacts], Label]:
    """What names the group of a case."""
    labels = _Labels(session, language)
    by: dict[GroupBy, Callable[[CaseFacts], Label]] = {
        "unit": labels.unit,
        "category": labels.category,
        "group": labels.group,
        "urgency": labels.urgency,
        "channel": labels.channel,
        "month": labels.month,
    }
    return by[group_by]


def _cohort(session: Session, period: Period, as_of: datetime) -> Iterator[CaseFacts]:
    """The facts of each case received in the period, streamed: one case in memory at a time."""
    begin, end = period.moments()
    rows = session.execute(
        _EVENTS, {"begin": begin, "end": end, "as_of": as_of}, execution_options={"yield_per": _ROWS_AT_ONCE}
    )
    for _, events in groupby(map(_Happened._make, rows), key=attrgetter("case_id")):
        case = facts(events, as_of)
        if case is not None:
            yield case
