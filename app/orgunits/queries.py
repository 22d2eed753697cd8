"""Reading units, from memory."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from uuid import UUID

from sqlmodel import select

from app.core.db import Session
from app.core.http import Lang
from app.core.versioned import Versioned
from app.orgunits.models import Unit
from app.orgunits.schemas import Kind, Level, UnitOut

UNITS = "orgunits"


@dataclass(frozen=True, slots=True)
class UnitInfo:
    """A unit in one period of its existence, without a database behind it; `valid_to` is the first day without it."""

    id: UUID
    code: str
    name: str
    name_en: str
    sort_key: str
    folded: str
    kind: Kind
    level: Level
    parent_id: UUID | None
    valid_from: date
    valid_to: date | None
    phone: str | None
    email: str | None
    address: str | None
    population: int | None
    belief: bool

    def exists(self, on: date) -> bool:
        """Whether the unit exists on that local day."""
        return self.valid_from <= on and (self.valid_to is None or on < self.valid_to)


class Directory:
    """All units of all times at one moment of the configuration; immutable, in Vietnamese order of their names."""

    def __init__(self, units: Iterable[UnitInfo]) -> None:
        self.units = tuple(sorted(units, key=lambda unit: (unit.sort_key, unit.code, unit.valid_from)))
        self._by_id = {unit.id: unit for unit in self.units}
        self._by_code: dict[str, list[UnitInfo]] = defaultdict(list)
        self._children: dict[UUID, list[UnitInfo]] = defaultdict(list)
        for unit in self.units:
            self._by_code[unit.code].append(unit)
            if unit.parent_id is not None:
                self._children[unit.parent_id].append(unit)
        self._descendants: Mapping[UUID, frozenset[UUID]] = MappingProxyType(
            {unit.id: self._below(unit.id) for unit in self.units}
        )

    @property
    def province(self) -> UnitInfo:
        """The province served (the latest, should it have been formed anew); LookupError before a pack was loaded."""
        provinces = [unit for unit in self.units if unit.level == "province"]
        if not provinces:
            raise LookupError("no province is loaded; run `phananh pack load`")
        return max(provinces, key=lambda unit: unit.valid_from)

    def by_id(self, unit_id: UUID, /) -> UnitInfo | None:
        """The unit of this id."""
        return self._by_id.get(unit_id)

    def by_code(self, code: str, on: date) -> UnitInfo | None:
        """The unit that bears `code` on a local day: the same code meant other units before."""
        return next((unit for unit in self._by_code.get(code, ()) if unit.exists(on)), None)

    def children(self, unit_id: UUID, /) -> tuple[UnitInfo, ...]:
        """The units directly below."""
        return tuple(self._children.get(unit_id, ()))

    def descendants(self, unit_id: UUID, /) -> frozenset[UUID]:
        """The unit itself and all units below it; only itself when it is not known."""
        return self._descendants.get(unit_id, frozenset({unit_id}))

    def communes(self, on: date) -> tuple[UnitInfo, ...]:
        """The communes that exist on a local day."""
        return tuple(unit for unit in self.units if unit.level == "commune" and unit.exists(on))

    def _below(self, unit_id: UUID) -> frozenset[UUID]:
        found, waiting = {unit_id}, [unit_id]
        while waiting:
            below = [child.id for child in self._children.get(waiting.pop(), ()) if child.id not in found]
            found.update(below)
            waiting.extend(below)
        return frozenset(found)


def _load_directory(session: Session) -> Directory:
    names = UnitInfo.__dataclass_fields__
    rows = session.execute(select(*(getattr(Unit, name) for name in names)))
    return Directory(UnitInfo(*row) for row in rows)


_directory: Versioned[Directory] = Versioned(UNITS, _load_directory)


def directory(session: Session) -> Directory:
    """All units, from memory, at most two seconds old."""
    return _directory.get(session)


def name_of(unit: UnitInfo, language: Lang) -> str:
    """The unit's name in the caller's language."""
    return unit.name if language == "vi" else unit.name_en


def unit_out(unit: UnitInfo, directory: Directory, language: Lang) -> UnitOut:
    """The unit as the API shows it."""
    above = directory.by_id(unit.parent_id) if unit.parent_id else None
    return UnitOut(
        id=unit.id,
        code=unit.code,
        name=name_of(unit, language),
        name_vi=unit.name,
        name_en=unit.name_en,
        kind=unit.kind,
        level=unit.level,
        parent=above.code if above else None,
        valid_from=unit.valid_from,
        valid_to=unit.valid_to,
        phone=unit.phone,
        email=unit.email,
        address=unit.address,
        population=unit.population,
        belief=unit.belief,
    )
