"""Reading units, from memory."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from types import MappingProxyType
from uuid import UUID

from sqlmodel import select

from app.core.db import Session
from app.core.http import Lang
from app.core.versioned import Versioned
from app.orgunits.models import Unit, UnitPast, UnitSuccession
from app.orgunits.rules import Heirs, Succession, heirs
from app.orgunits.schemas import Kind, Level, PastOut, RelatedOut, UnitDetailOut, UnitOut

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


@dataclass(frozen=True, slots=True)
class Past:
    """What a unit was before a change that did not make it another; `until` is the first day it was no more."""

    unit_id: UUID
    until: date
    name: str
    name_en: str
    kind: Kind
    parent_id: UUID | None


class Directory:
    """All units of all times at one moment of the configuration; immutable, in Vietnamese order of their names.

    Units that have ended and units that have not begun stand in it as well: ask `exists`.
    """

    def __init__(
        self, units: Iterable[UnitInfo], succession: Iterable[Succession] = (), past: Iterable[Past] = ()
    ) -> None:
        self.units = tuple(sorted(units, key=lambda unit: (unit.sort_key, unit.code, unit.valid_from)))
        self._by_id = {unit.id: unit for unit in self.units}
        self._by_code: dict[str, list[UnitInfo]] = defaultdict(list)
        self._children: dict[UUID, list[UnitInfo]] = defaultdict(list)
        for unit in self.units:
            self._by_code[unit.code].append(unit)
            if unit.parent_id is not None:
                self._children[unit.parent_id].append(unit)
        self._onward: dict[UUID, list[Succession]] = defaultdict(list)
        self._back: dict[UUID, list[Succession]] = defaultdict(list)
        for each in succession:
            self._onward[each.from_id].append(each)
            self._back[each.to_id].append(each)
        self._inherited: tuple[date, Mapping[UUID, list[UUID]]] = (date.min, {})
        self._past: dict[UUID, list[Past]] = defaultdict(list)
        for earlier in sorted(past, key=lambda each: each.until):
            self._past[earlier.unit_id].append(earlier)
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

    def bearers(self, code: str) -> tuple[UnitInfo, ...]:
        """Every unit that ever bore `code`, or will, the earliest first."""
        return tuple(sorted(self._by_code.get(code, ()), key=lambda unit: unit.valid_from))

    def latest(self, code: str, on: date) -> UnitInfo | None:
        """The unit that bears `code` on a local day, else the last that bore it before."""
        return max(
            (unit for unit in self._by_code.get(code, ()) if unit.valid_from <= on),
            key=lambda unit: unit.valid_from,
            default=None,
        )

    def successors(self, unit_id: UUID, /) -> tuple[Succession, ...]:
        """What follows a unit: one as a whole, or several with a part each; empty where nothing does, or not yet."""
        return tuple(self._onward.get(unit_id, ()))

    def predecessors(self, unit_id: UUID, /) -> tuple[Succession, ...]:
        """What a unit was formed from."""
        return tuple(self._back.get(unit_id, ()))

    def heirs(self, unit_id: UUID, on: date) -> Heirs:
        """Who stands in the place of a unit on a local day: itself while it exists, else who followed, to that day."""

        def exists(each: UUID) -> bool:
            unit = self._by_id.get(each)
            return unit is not None and unit.exists(on)

        def onward(each: UUID) -> list[UUID]:
            return [step.to_id for step in self._onward.get(each, ()) if step.effective <= on]

        return heirs(unit_id, exists, onward)

    def ended(self, on: date) -> frozenset[UUID]:
        """The units that have ended by a local day."""
        return frozenset(unit.id for unit in self.units if unit.valid_to is not None and unit.valid_to <= on)

    def standing_for(self, units: frozenset[UUID], on: date) -> frozenset[UUID]:
        """`units`, and every unit that has ended and whose one heir on a local day is among them."""
        day, before = self._inherited
        if day != on:
            found: dict[UUID, list[UUID]] = defaultdict(list)
            for each in self.ended(on):
                if (heir := self.heirs(each, on).only) is not None:
                    found[heir].append(each)
            before = found
            self._inherited = on, found  # in one assignment: threads share the directory
        return units.union(*(before[each] for each in units if each in before))

    def past(self, unit_id: UUID, /) -> tuple[Past, ...]:
        """What a unit was called and stood under before, the earliest first."""
        return tuple(self._past.get(unit_id, ()))

    def as_of(self, unit: UnitInfo, on: date) -> UnitInfo:
        """The unit with the name, kind and parent it had on a local day."""
        was = next((each for each in self._past.get(unit.id, ()) if on < each.until), None)
        if was is None:
            return unit
        return replace(unit, name=was.name, name_en=was.name_en, kind=was.kind, parent_id=was.parent_id)

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
    steps = session.execute(select(*(getattr(UnitSuccession, name) for name in Succession.__dataclass_fields__)))
    earlier = session.execute(select(*(getattr(UnitPast, name) for name in Past.__dataclass_fields__)))
    return Directory(
        (UnitInfo(*row) for row in rows), (Succession(*row) for row in steps), (Past(*row) for row in earlier)
    )


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


def unit_detail(unit: UnitInfo, directory: Directory, language: Lang, on: date) -> UnitDetailOut:
    """The unit as it was on a day, with who came before and after it."""
    return UnitDetailOut(
        **unit_out(directory.as_of(unit, on), directory, language).model_dump(),
        predecessors=_related(directory, [(step.from_id, step) for step in directory.predecessors(unit.id)], language),
        successors=_related(directory, [(step.to_id, step) for step in directory.successors(unit.id)], language),
        past=[
            PastOut(name=was.name if language == "vi" else was.name_en, kind=was.kind, until=was.until)
            for was in directory.past(unit.id)
        ],
        same_code=[_relative(each, language) for each in directory.bearers(unit.code) if each.id != unit.id],
    )


def _related(directory: Directory, steps: list[tuple[UUID, Succession]], language: Lang) -> list[RelatedOut]:
    found = [(unit, step) for other, step in steps if (unit := directory.by_id(other))]
    found.sort(key=lambda each: (each[0].sort_key, each[0].code))
    return [_relative(unit, language, whole=step.whole) for unit, step in found]


def _relative(unit: UnitInfo, language: Lang, *, whole: bool | None = None) -> RelatedOut:
    return RelatedOut(
        id=unit.id,
        code=unit.code,
        name=name_of(unit, language),
        valid_from=unit.valid_from,
        valid_to=unit.valid_to,
        whole=whole,
    )
