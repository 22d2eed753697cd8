"""1 July 2025 once more, with open cases in all 280 old communes: nobody's case is lost."""

from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from shapely.geometry.base import BaseGeometry
from sqlalchemy import text
from sqlmodel import Session, select

from app.cases.models import Case, CaseEvent, CaseHop
from app.cases.queries import case_for_staff
from app.cases.rules import AT_UNIT
from app.core import clock
from app.core.db import transaction
from app.core.errors import DomainError
from app.core.versioned import bump
from app.embedded import Database
from app.identity.policy import Viewer, staff_viewer
from app.kpi.queries import Period, handling, labeller
from app.orgunits.models import Unit, UnitSuccession
from app.orgunits.queries import directory
from app.orgunits.rules import unit_id
from app.reforms.actions import happen
from app.routing.actions import assign_owed
from tests.boundaries.areas import real_areas
from tests.reforms.reform import (
    BEFORE,
    DAY,
    JUNE,
    MIDNIGHT,
    Opened,
    areas_of_before,
    deadlines_reach_back,
    move,
    squares,
    submit,
)
from tests.support import make
from tools.verify import problems

MOVES: tuple[tuple[str, ...], ...] = ((), ("accept",), ("accept", "start"))
SPLIT = ("05461", "05467", "05932")


@pytest.fixture(params=[pytest.param("synthetic", marks=pytest.mark.slow), "real"])
def today(request: pytest.FixtureRequest) -> dict[str, BaseGeometry]:
    if request.param == "synthetic":
        return squares()
    data: Path = request.getfixturevalue("real_data")
    return real_areas(data)


def old(code: str) -> UUID:
    return unit_id(code, date(2024, 12, 1))


def former_department(session: Session) -> UUID:
    """A department of before whose work went to another as a whole."""
    heir = directory(session).by_code("so_xay_dung", DAY)
    assert heir is not None
    held = session.get_one(Unit, heir.id).model_dump()
    ended = Unit(**held | {"id": old("so_giao_thong"), "code": "so_giao_thong", "valid_from": date(2024, 12, 1)})
    ended.valid_to = DAY
    session.add(ended)
    session.flush()
    session.add(UnitSuccession(from_id=ended.id, to_id=heir.id, effective=DAY, whole=True))
    session.flush()
    bump(session, "orgunits")
    return ended.id


def stored(session: Session, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in session.execute(text(query))]


CLOCKS = "SELECT case_id, kind, started_seq, cycle, unit_id, started_at, due_at, stopped_at, met FROM sla_clock"


def test_nobodys_case_is_lost(committed: Database, today: dict[str, BaseGeometry]) -> None:
    # June: everybody works in the old order.
    with clock.travelled(JUNE):
        with transaction() as session:
            deadlines_reach_back(session)
            points = areas_of_before(session, today)
            department = former_department(session)
        with transaction() as session:
            units = directory(session)
            communes = units.communes(BEFORE)
            officers = {unit.id: make.staff(session, "officer", unit.code) for unit in communes}
            district = make.staff(session, "lead", "173")
            expected: dict[UUID, UUID | None] = {}
            for unit in communes:
                for heir, point in points[unit.id].items():
                    expected[submit(session, point, unit)] = heir
            nowhere = [submit(session, None, unit) for unit in communes if unit.code in SPLIT]
            named = submit(session, None, communes[0])
            expected |= dict.fromkeys(nowhere, None) | {named: units.heirs(communes[0].id, DAY).only}
            unverified = submit(session, next(iter(points[communes[0].id].values())), communes[0], make.UNVERIFIED)
            at_department = [submit(session, spot, communes[5]) for spot in points[communes[5].id].values()]
        while assign_owed():
            pass
        so_xay_dung = next(step.to_id for step in units.successors(department))
        for case_id in at_department:
            move(case_id, "transfer", unit_id=department)
            expected[case_id] = so_xay_dung
        for number, case_id in enumerate(expected):
            move(case_id, *MOVES[number % 3])
        done = next(iter(expected))
        move(done, "accept", "resolve")
        del expected[done]
        with transaction() as session:
            rows = session.exec(select(Case).where(Case.state.in_(AT_UNIT))).all()  # type: ignore[attr-defined]
            opened = {case.id: Opened(case.id, case.unit_id or old(""), case.state) for case in rows}
            dues = {case.id: case.due_at for case in rows}
            clocks = sorted(stored(session, CLOCKS), key=str)
            events = session.exec(select(CaseEvent.case_id)).all()
            assert problems(session) == []
        assert opened.keys() == expected.keys()
        assert {unit.id for unit in communes} <= {each.unit_id for each in opened.values()} | {old("01834")}
        happen()  # the eve: nothing is due
    # The first minute of July.
    with clock.travelled(MIDNIGHT):
        happen()
        happen()
        with transaction() as session:
            after = {case.id: case for case in session.exec(select(Case))}
            assert len(session.exec(select(CaseEvent.case_id)).all()) == len(events) + len(expected)
            _cases_are_where_they_belong(opened, expected, after)
            assert {case_id: after[case_id].due_at for case_id in dues} == dues
            _clocks_run_on(clocks, sorted(stored(session, CLOCKS), key=str), nowhere)
            _hops_tell_it(session, opened, expected)
            _people_followed(session, officers, district, opened, expected)
            assert (after[unverified].state, after[done].state, after[done].unit_id) == (
                "verifying",
                "resolved",
                next(iter(points)),
            )
            assert problems(session) == []
            _numbers_stay(session, opened)


def _cases_are_where_they_belong(
    opened: dict[UUID, Opened], expected: dict[UUID, UUID | None], after: dict[UUID, Case]
) -> None:
    """Every one at the heir its place says, in the state it had; the three without a place wait for a person."""
    for case_id, heir in expected.items():
        case = after[case_id]
        if heir is None:
            assert (case.state, case.unit_id, case.route_reason) == ("triage", None, "unit_split")
        else:
            assert (case.state, case.unit_id) == (opened[case_id].state, heir)
    assert Counter(after[case_id].unit_id for case_id in expected) == Counter(expected.values())
    assert sum(heir is None for heir in expected.values()) == len(SPLIT)


def _clocks_run_on(before: list[tuple[Any, ...]], after: list[tuple[Any, ...]], nowhere: list[UUID]) -> None:
    """Not one clock was started, stopped or moved, but the time to accept of who waits for a person."""
    assert len(after) == len(before)
    changed = [(one, other) for one, other in zip(before, after, strict=True) if one != other]
    assert {other[0] for _, other in changed} <= set(nowhere)
    assert {other[1] for _, other in changed} <= {"accept"}


def _hops_tell_it(session: Session, opened: dict[UUID, Opened], expected: dict[UUID, UUID | None]) -> None:
    """The old unit's stay ended that night by its own outcome, the heir's began, with the same deadline."""
    hops: dict[UUID, list[CaseHop]] = {}
    for hop in session.exec(select(CaseHop).order_by(CaseHop.case_id, CaseHop.started_seq)):  # type: ignore[arg-type]
        hops.setdefault(hop.case_id, []).append(hop)
    for case_id, heir in expected.items():
        *_, left = (hop for hop in hops[case_id] if hop.ended_at is not None)
        assert left.unit_id == opened[case_id].unit_id
        assert left.outcome == ("succeeded" if heir else "unit_ended")
        running = [hop for hop in hops[case_id] if hop.ended_at is None]
        assert [(hop.unit_id, hop.due_at) for hop in running] == ([(heir, left.due_at)] if heir else [])


def _people_followed(
    session: Session,
    officers: dict[UUID, Viewer],
    district: Viewer,
    opened: dict[UUID, Opened],
    expected: dict[UUID, UUID | None],
) -> None:
    """Officers went where their whole unit went; what they could see as of before they see no longer."""
    units = directory(session)
    now = {unit: staff_viewer(session, viewer.id) for unit, viewer in officers.items()}
    for unit, viewer in now.items():
        heir = units.heirs(unit, DAY).only
        assert viewer is not None
        assert [grant.unit_id for grant in viewer.grants] == ([heir] if heir else [])
    assert [viewer.grants for viewer in (staff_viewer(session, district.id),) if viewer] == [()]
    for case_id, heir in list(expected.items())[::7]:
        before = officers.get(opened[case_id].unit_id)
        if heir is None or before is None:
            continue
        with pytest.raises(DomainError, match="not_found"):
            case_for_staff(session, before, case_id)
        colleague = next((each for each in now.values() if each and {heir} == {g.unit_id for g in each.grants}), None)
        if colleague is not None:
            assert case_for_staff(session, colleague, case_id).case.id == case_id


def _numbers_stay(session: Session, opened: dict[UUID, Opened]) -> None:
    """As of June the numbers are the old units'; as of July their heirs'; the province's are the same."""
    period = Period(date(2025, 6, 1), date(2025, 7, 1))
    label = labeller(session, "unit", "vi")
    june = datetime(2025, 6, 30, 23, 59, tzinfo=clock.LOCAL).astimezone(UTC)
    then, now = (handling(session, period, as_of=at, label=label) for at in (june, clock.now()))
    assert then.total.received == now.total.received
    assert then.total.standings == now.total.standings
    assert len([each for each, _ in then.groups if each.key]) > 280
    assert len([each for each, _ in now.groups if each.key]) <= 92 + 2
