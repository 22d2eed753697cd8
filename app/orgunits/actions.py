"""Loading the pack's units, and changing units with an effective date. What has existed is never deleted.

The caller commits, and writes the audit row from what is returned (`identity` lies above this slice).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, delete, select

from app.core.db import Session
from app.core.packfile import Finding, PackError
from app.core.text import fold, sort_key
from app.core.versioned import bump
from app.orgunits.models import Unit, UnitPast, UnitSuccession
from app.orgunits.queries import UNITS
from app.orgunits.rules import Succession, own_name, unit_id
from app.orgunits.schemas import FormerUnit, UnitEntry, UnitPack, read_units

_LOCK = 0x0067_756E_6974  # one load or import at a time (advisory lock)


@dataclass(frozen=True, slots=True)
class UnitChange:
    """A unit that was added (`before` is None) or changed: only the columns that differ."""

    code: str
    valid_from: date
    before: dict[str, Any] | None
    after: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LoadSummary:
    """What a load did. `absent` stand in the database and not in the pack: they are kept as they are."""

    changes: tuple[UnitChange, ...]
    unchanged: int
    absent: tuple[str, ...]
    successions: int = 0

    @property
    def added(self) -> int:
        """How many units are new."""
        return sum(change.before is None for change in self.changes)

    @property
    def updated(self) -> int:
        """How many units changed."""
        return len(self.changes) - self.added

    def __str__(self) -> str:
        kept = f"; kept though not in the pack: {', '.join(self.absent)}" if self.absent else ""
        followed = f"; {self.successions} successions added" if self.successions else ""
        return f"{self.added} added, {self.updated} updated, {self.unchanged} unchanged{followed}{kept}"


def load_units(session: Session, pack_dir: Path) -> LoadSummary:
    """Bring the units of a pack into the database: new ones are added, changed ones updated, none is ever removed.

    What a change with an effective date made of a unit since (its end, a new name, kind or parent) stays.
    """
    pack = read_units(pack_dir)
    rows = _rows(pack)
    alone(session)
    held = {unit.id: unit for unit in session.exec(select(Unit))}
    amended = set(session.exec(select(UnitPast.unit_id)))
    _refuse_overlaps(
        [*rows, *(unit.model_dump() for unit in held.values() if unit.id not in {row["id"] for row in rows})]
    )
    changes = []
    for above, row in pairwise([None, *rows]):
        assert row is not None
        if above is not None and above["level"] != row["level"]:
            session.flush()  # without relationships the unit of work does not know that children come later
        unit = held.get(row["id"])
        if unit is None:
            session.add(Unit(**row))
            changes.append(UnitChange(row["code"], row["valid_from"], None, _plain(row)))
            continue
        kept = _NAMING if unit.id in amended else frozenset[str]()
        if unit.valid_to is not None and row["valid_to"] is None:
            kept |= {"valid_to"}
        differing = {name: value for name, value in row.items() if name not in kept and getattr(unit, name) != value}
        if differing:
            before = {name: getattr(unit, name) for name in differing}
            unit.sqlmodel_update(differing)
            changes.append(UnitChange(unit.code, unit.valid_from, _plain(before), _plain(differing)))
    session.flush()
    successions = _load_succession(session, pack)
    if changes or successions:
        bump(session, UNITS)
    absent = held.keys() - {row["id"] for row in rows}
    return LoadSummary(
        changes=tuple(changes),
        unchanged=len(rows) - len(changes),
        absent=tuple(sorted(held[each].code for each in absent)),
        successions=successions,
    )


_NAMING = frozenset({"name", "name_en", "sort_key", "folded", "kind", "parent_id"})


def _rows(pack: UnitPack) -> list[dict[str, Any]]:
    """Every unit as the columns of its row, whoever is above before those below."""
    province = _row(pack.province, pack.province.valid_from, "province", "province", None)
    communes, agencies, former = pack.communes, pack.agencies, pack.former
    since = former.valid_from
    above = {district.code: unit_id(district.province, since) for district in former.districts}
    return [
        province,
        *(_former_row(pack, each, "province", None) for each in former.provinces),
        *(_former_row(pack, each, "district", above[each.code]) for each in former.districts),
        *(_former_row(pack, each, "commune", unit_id(each.district, since)) for each in former.communes),
        *(_row(e, e.valid_from or communes.valid_from, e.kind, "commune", province["id"]) for e in communes.communes),
        *(_row(e, e.valid_from or agencies.valid_from, e.kind, e.level, province["id"]) for e in agencies.agencies),
    ]


def _former_row(pack: UnitPack, unit: FormerUnit, level: str, parent_id: UUID | None) -> dict[str, Any]:
    entry = UnitEntry(code=unit.code, name=unit.name, name_en=unit.english, valid_to=pack.former.valid_to)
    return _row(entry, pack.former.valid_from, unit.kind, level, parent_id)


def _load_succession(session: Session, pack: UnitPack) -> int:
    """Enter who followed whom, where it is not known yet; returns how many were entered."""
    since, entered = pack.former.valid_from, 0
    steps: list[tuple[str, UnitEntry, date, bool]] = [
        (former.code, pack.province, pack.province.valid_from, True) for former in pack.former.provinces
    ]
    for commune in pack.communes.communes:
        day = commune.valid_from or pack.communes.valid_from
        steps += [(code, commune, day, True) for code in commune.formed_from]
        steps += [(code, commune, day, False) for code in commune.formed_from_part]
    held = set(session.exec(select(UnitSuccession.from_id, UnitSuccession.to_id)))
    for code, heir, day, whole in steps:
        step = UnitSuccession(from_id=unit_id(code, since), to_id=unit_id(heir.code, day), effective=day, whole=whole)
        if (step.from_id, step.to_id) not in held:
            session.add(step)
            entered += 1
    session.flush()
    return entered


def _row(entry: UnitEntry, valid_from: date, kind: str, level: str, parent_id: UUID | None) -> dict[str, Any]:
    return {
        "id": unit_id(entry.code, valid_from),
        "code": entry.code,
        "name": entry.name,
        "name_en": entry.name_en,
        **_sorted_as(entry.name, kind),
        "kind": kind,
        "level": level,
        "parent_id": parent_id,
        "valid_from": valid_from,
        "valid_to": entry.valid_to,
        "phone": entry.phone,
        "email": entry.email,
        "address": entry.address,
        "population": entry.population,
        "belief": entry.belief,
    }


def _sorted_as(name: str, kind: str) -> dict[str, Any]:
    """The columns that follow from a name. Communes are looked for by their own name, without Phường and Xã."""
    in_place = name if kind == "province" else own_name(name, kind)
    return {"sort_key": sort_key(in_place), "folded": fold(name)}


def _plain(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Columns as an audit row can hold them."""
    return {name: str(value) if isinstance(value, date | UUID) else value for name, value in columns.items()}


def _refuse_overlaps(rows: Sequence[Mapping[str, Any]]) -> None:
    """No code may mean two units on one day, counting what the database holds already."""
    ordered = sorted(rows, key=lambda row: (row["code"], row["valid_from"]))
    findings = [
        Finding(
            "units", one["code"], f"{one['name']} of {one['valid_from']} has not ended when {other['name']} begins."
        )
        for one, other in pairwise(ordered)
        if one["code"] == other["code"] and (one["valid_to"] is None or one["valid_to"] > other["valid_from"])
    ]
    if findings:
        raise PackError(findings)


def alone(session: Session) -> None:
    """Let one load or import of units or boundaries go on at a time, until the transaction ends."""
    session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


# Changes with an effective date ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begin:
    """A unit that is to begin."""

    code: str
    name: str
    name_en: str
    kind: str
    level: str
    parent_id: UUID | None


def end(session: Session, unit_ids: Collection[UUID], valid_to: date) -> None:
    """Let units end: `valid_to` is the first day without them."""
    for unit in session.exec(select(Unit).where(col(Unit.id).in_(unit_ids))):
        unit.valid_to = valid_to
    session.flush()
    bump(session, UNITS)


def begin(session: Session, unit: Begin, valid_from: date) -> UUID:
    """Add a unit that exists from `valid_from` on; its id."""
    entry = UnitEntry(code=unit.code, name=unit.name, name_en=unit.name_en)
    row = _row(entry, valid_from, unit.kind, unit.level, unit.parent_id)
    session.add(Unit(**row))
    session.flush()
    bump(session, UNITS)
    identity: UUID = row["id"]
    return identity


def follow(session: Session, step: Succession) -> None:
    """Enter who follows whom."""
    session.add(UnitSuccession(from_id=step.from_id, to_id=step.to_id, effective=step.effective, whole=step.whole))
    session.flush()
    bump(session, UNITS)


def take_back(session: Session, ended: Collection[UUID], begun: Collection[UUID]) -> None:
    """Undo `end`, `begin` and `follow` of units before their day; IntegrityError where a begun one is used already."""
    session.exec(delete(UnitSuccession).where(col(UnitSuccession.from_id).in_(ended)))
    session.exec(delete(Unit).where(col(Unit.id).in_(begun)))
    for unit in session.exec(select(Unit).where(col(Unit.id).in_(ended))):
        unit.valid_to = None
    session.flush()
    bump(session, UNITS)


def amend(session: Session, unit_id: UUID, until: date, **now: Any) -> None:
    """Change name, kind or parent of a unit that stays the same unit; what it was until that day stays readable."""
    unit = session.get_one(Unit, unit_id)
    if session.get(UnitPast, (unit_id, until)) is None:
        session.add(
            UnitPast(
                unit_id=unit_id,
                until=until,
                name=unit.name,
                name_en=unit.name_en,
                kind=unit.kind,
                parent_id=unit.parent_id,
            )
        )
    unit.sqlmodel_update(now)
    unit.sqlmodel_update(_sorted_as(unit.name, unit.kind))
    session.flush()
    bump(session, UNITS)
