"""Who follows whom: every reform is followed, whatever the succession looks like."""

import json
from datetime import date
from pathlib import Path
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import Session, func, select

from app.boundaries.queries import heir
from app.core.versioned import bump
from app.orgunits.models import Unit, UnitSuccession
from app.orgunits.queries import directory
from app.orgunits.rules import cycle, heirs, kind_in, renamed, unit_id
from tests.support import places

BEFORE, TODAY = date(2025, 6, 30), date(2026, 3, 2)
SPLIT = {"05461": {"05443", "05467"}, "05467": {"05467", "05500"}, "05932": {"05908", "05941"}}


def old(code: str) -> UUID:
    return unit_id(code, date(2024, 12, 1))


def new(code: str) -> UUID:
    return unit_id(code, date(2025, 7, 1))


def test_the_succession_is_that_of_the_collected_data(session: Session, real_data: Path) -> None:
    expected = {
        (source["code"], commune["code"], source["part"] == "all")
        for commune in json.loads((real_data / "thai_nguyen_succession_2025.json").read_text())
        for source in commune["sources"]
    }
    units = directory(session)
    found = {
        (unit.code, heir.code, step.whole)
        for unit in units.communes(BEFORE)
        for step in units.successors(unit.id)
        if (heir := units.by_id(step.to_id))
    }
    assert found == expected
    sources = {(code, heir) for code, heir, _ in found}
    assert (len({heir for _, heir in sources}), len({code for code, _ in sources}), len(sources)) == (92, 280, 283)


def test_every_old_commune_has_one_heir_or_was_split(session: Session) -> None:
    units = directory(session)
    split = {}
    for unit in units.communes(BEFORE):
        found = units.heirs(unit.id, TODAY)
        assert found.complete
        assert units.heirs(unit.id, BEFORE).only == unit.id
        if found.only is None:
            split[unit.code] = {each.code for one in found.units if (each := units.by_id(one))}
    assert split == SPLIT
    assert all(units.heirs(unit.id, TODAY).only == unit.id for unit in units.communes(TODAY))
    assert sum(len(units.predecessors(unit.id)) for unit in units.communes(TODAY)) == 283


def test_of_a_split_the_point_decides(session: Session) -> None:
    for code, heirs_of in SPLIT.items():
        assert heir(session, old(code), None, TODAY) is None
        for each in heirs_of:
            assert heir(session, old(code), places.centre(each), TODAY) == new(each)
        assert heir(session, old(code), places.centre("01840"), TODAY) is None
        assert heir(session, old(code), (0.0, 0.0), TODAY) is None
    assert heir(session, old("01834"), None, TODAY) == new("01840")
    assert heir(session, old("01834"), places.centre("05443"), TODAY) == new("01840")
    assert heir(session, old("01834"), None, BEFORE) == old("01834")
    assert heir(session, new("01840"), None, BEFORE) is None


def test_estimated_areas_do_not_decide(session: Session) -> None:
    session.connection().exec_driver_sql("UPDATE boundary_version SET accuracy = 'approximate'")
    bump(session, "boundaries")
    assert heir(session, old("05932"), places.centre("05908"), TODAY) is None
    session.connection().exec_driver_sql("UPDATE boundary_version SET effective_from = '2999-01-01'")
    bump(session, "boundaries")
    assert heir(session, old("05932"), places.centre("05908"), TODAY) is None


def test_several_reforms_are_followed(session: Session) -> None:
    first = session.get_one(Unit, new("05908"))
    later = [
        Unit(**(first.model_dump() | {"id": unit_id(code, day), "code": code, "valid_from": day, "valid_to": until}))
        for code, day, until in (("90001", date(2026, 1, 1), date(2026, 2, 1)), ("90002", date(2026, 2, 1), None))
    ]
    session.add_all(later)
    first.valid_to = date(2026, 1, 1)
    session.flush()
    session.add(UnitSuccession(from_id=first.id, to_id=later[0].id, effective=date(2026, 1, 1), whole=True))
    session.add(UnitSuccession(from_id=later[0].id, to_id=later[1].id, effective=date(2026, 2, 1), whole=True))
    session.flush()
    bump(session, "orgunits")
    days = (BEFORE, date(2025, 12, 31), date(2026, 1, 31), date(2026, 2, 1))
    assert [heir(session, old("05929"), None, day) for day in days] == [
        old("05929"),
        new("05908"),
        later[0].id,
        later[1].id,
    ]
    inside = places.centre("05941")
    assert heir(session, old("05932"), inside, date(2026, 2, 1)) == new("05941")
    assert count_of(session, Unit) == len(directory(session).units)


def count_of(session: Session, table: type[Unit]) -> int:
    return session.exec(select(func.count()).select_from(table)).one()


NODES = [UUID(int=number) for number in range(1, 9)]
ONWARD = st.dictionaries(st.sampled_from(NODES), st.lists(st.sampled_from(NODES), max_size=3))


@given(ONWARD, st.sets(st.sampled_from(NODES)), st.sampled_from(NODES))
def test_any_succession_is_followed_to_its_end(onward: dict[UUID, list[UUID]], living: set[UUID], start: UUID) -> None:
    found = heirs(start, living.__contains__, lambda unit: onward.get(unit, ()))
    assert found.units <= living
    assert found.only is None or found.units == {found.only}
    assert not (start in living and found.units != {start})
    # Told a second time: every unit that can be reached over units that have ended.
    reached, edge = {start}, {start}
    while edge:
        edge = {each for one in edge - living for each in onward.get(one, ())} - reached
        reached |= edge
    assert found.units == reached & living
    dead_ends = {one for one in reached - living if not onward.get(one)}
    assert found.complete == (not dead_ends and bool(found.units))


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=3), min_size=1, max_size=12), st.data())
def test_the_total_of_open_cases_is_kept(reform: list[list[int]], data: st.DataObject) -> None:
    """Each old unit goes to one new one, or to several of which the place of a case chooses."""
    old_units = [UUID(int=100 + number) for number in range(len(reform))]
    onward = {unit: [UUID(int=1 + to) for to in targets] for unit, targets in zip(old_units, reform, strict=True)}
    today = {UUID(int=1 + number) for number in range(6)}
    cases = data.draw(st.lists(st.tuples(st.sampled_from(old_units), st.sampled_from([None, *sorted(today)]))))
    held: dict[UUID | None, int] = {}
    for unit, place in cases:
        found = heirs(unit, today.__contains__, lambda each: onward.get(each, ()))
        to = found.only or (place if place in found.units else None)
        held[to] = held.get(to, 0) + 1
    assert sum(held.values()) == len(cases)
    assert held.keys() <= today | {None}


@given(ONWARD)
def test_a_cycle_is_found_where_there_is_one(onward: dict[UUID, list[UUID]]) -> None:
    found = cycle(onward)
    if found:
        assert all(after in onward[one] for one, after in zip(found, (*found[1:], found[0]), strict=True))
        return
    left = {unit: set(steps) for unit, steps in onward.items()}
    while done := [unit for unit, steps in left.items() if not steps & left.keys()]:
        for unit in done:
            del left[unit]
    assert not left


def test_names_say_their_kind() -> None:
    assert kind_in("Thị trấn Chợ Chu") == "thi_tran"
    assert kind_in("Thị xã Phổ Yên") == "thi_xa"
    assert kind_in("Xãn") is None
    assert renamed("Xã Phú Bình", "Phu Binh Commune", "xa", "phuong") == ("Phường Phú Bình", "Phu Binh Ward")
    assert renamed("Đặc khu", "Zone", "xa", "phuong") == ("Đặc khu", "Zone")
