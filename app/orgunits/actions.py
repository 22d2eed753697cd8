"""Loading the pack's units. Nothing here ever deletes.

The caller commits, and writes the audit row from what is returned (`identity` lies above this slice).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import text
from sqlmodel import select

from app.core.db import Session
from app.core.packfile import Finding, PackError
from app.core.text import fold, sort_key
from app.core.versioned import bump
from app.orgunits.models import Unit
from app.orgunits.queries import UNITS
from app.orgunits.schemas import UnitEntry, UnitPack, read_units

# The namespace of unit ids: a unit is its code and its first day, so a pack loaded anywhere gives the same ids.
_UNIT_IDS = UUID("5b1f0c6e-6c0e-5d0f-9a3e-3d2b8f6a1c19")
_PREFIXES = {"xa": "Xã ", "phuong": "Phường "}
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
        return f"{self.added} added, {self.updated} updated, {self.unchanged} unchanged{kept}"


def unit_id(code: str, valid_from: date) -> UUID:
    """The id of a unit, the same wherever the pack is loaded."""
    return uuid5(_UNIT_IDS, f"{code} {valid_from.isoformat()}")


def load_units(session: Session, pack_dir: Path) -> LoadSummary:
    """Bring the units of a pack into the database: new ones are added, changed ones updated, none is ever removed."""
    rows = _rows(read_units(pack_dir))
    alone(session)
    held = {unit.id: unit for unit in session.exec(select(Unit))}
    _refuse_overlaps(
        [*rows, *(unit.model_dump() for unit in held.values() if unit.id not in {row["id"] for row in rows})]
    )
    changes = []
    for row in rows:
        unit = held.get(row["id"])
        if unit is None:
            session.add(Unit(**row))
            if row["parent_id"] is None:
                session.flush()  # without relationships the unit of work does not know that children come later
            changes.append(UnitChange(row["code"], row["valid_from"], None, _plain(row)))
            continue
        differing = {name: value for name, value in row.items() if getattr(unit, name) != value}
        if differing:
            before = {name: getattr(unit, name) for name in differing}
            unit.sqlmodel_update(differing)
            changes.append(UnitChange(unit.code, unit.valid_from, _plain(before), _plain(differing)))
    session.flush()
    if changes:
        bump(session, UNITS)
    absent = held.keys() - {row["id"] for row in rows}
    return LoadSummary(
        changes=tuple(changes),
        unchanged=len(rows) - len(changes),
        absent=tuple(sorted(held[each].code for each in absent)),
    )


def _rows(pack: UnitPack) -> list[dict[str, Any]]:
    """Every unit as the columns of its row, the province first."""
    province = _row(pack.province, pack.province.valid_from, "province", "province", None)
    communes, agencies = pack.communes, pack.agencies
    return [
        province,
        *(_row(e, e.valid_from or communes.valid_from, e.kind, "commune", province["id"]) for e in communes.communes),
        *(_row(e, e.valid_from or agencies.valid_from, e.kind, e.level, province["id"]) for e in agencies.agencies),
    ]


def _row(entry: UnitEntry, valid_from: date, kind: str, level: str, parent_id: UUID | None) -> dict[str, Any]:
    return {
        "id": unit_id(entry.code, valid_from),
        "code": entry.code,
        "name": entry.name,
        "name_en": entry.name_en,
        # Communes are looked for by their own name: "Phường" and "Xã" would only make two heaps.
        "sort_key": sort_key(entry.name.removeprefix(_PREFIXES.get(kind, ""))),
        "folded": fold(entry.name),
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
