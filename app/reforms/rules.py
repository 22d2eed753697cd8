"""What a planned change of units means, and everything that speaks against it. Pure."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal
from uuid import UUID

from app.orgunits.queries import Directory, UnitInfo
from app.orgunits.rules import KINDS_OF, PREFIXES, cycle, renamed, unit_id

ChangeKind = Literal["rename", "change_kind", "merge", "split", "move"]
ENDING = frozenset({"merge", "split"})
_LEAST = {"split": 2, "merge": 1}

# Everything that can be wrong with a plan.
FINDINGS: dict[str, tuple[str, str]] = {
    "date_in_past": ("Ngày hiệu lực phải sau ngày hôm nay ({today}).", "The day must lie after today ({today})."),
    "no_source": ("Chưa nêu đơn vị nào thay đổi.", "No unit is named that changes."),
    "one_source": ("Thay đổi này chỉ áp dụng cho một đơn vị.", "This change is for one unit at a time."),
    "unit_unknown": ("Không có đơn vị mã {unit} vào ngày {day}.", "No unit bears the code {unit} on {day}."),
    "unit_ends": ("Đơn vị {unit} kết thúc từ ngày {day}.", "The unit {unit} ends on {day}."),
    "overlap": (
        "Đơn vị {unit} đã có một thay đổi khác đang chờ; hãy hủy thay đổi đó trước.",
        "Another change of the unit {unit} is planned; cancel that one first.",
    ),
    "named_twice": ("Đơn vị {unit} được nêu hai lần.", "The unit {unit} is named twice."),
    "level_not_allowed": (
        "Đơn vị cấp này chỉ được đổi tên.",
        "A unit of this level can only be renamed.",
    ),
    "levels_differ": ("Các đơn vị không cùng cấp.", "The units are not of one level."),
    "kind_unfit": ("Loại {kind} không hợp với cấp của đơn vị.", "The kind {kind} does not fit the level of the unit."),
    "nothing_changes": ("Thay đổi này không làm khác gì.", "Nothing would be different."),
    "name_missing": ("Thiếu tên tiếng Việt hoặc tiếng Anh.", "A Vietnamese or English name is missing."),
    "kind_missing": ("Thiếu loại đơn vị.", "The kind is missing."),
    "without_successor": (
        "Cần ít nhất {least} đơn vị tiếp nhận.",
        "At least {least} units must follow.",
    ),
    "one_successor": ("Chỉ được một đơn vị tiếp nhận.", "Exactly one unit must follow."),
    "code_in_use": (
        "Mã {unit} đang thuộc {name}, đơn vị này còn tồn tại vào ngày {day}.",
        "The code {unit} belongs to {name}, which exists on {day}.",
    ),
    "cycle": ("Đơn vị không thể kế thừa hoặc trực thuộc chính mình.", "A unit cannot follow itself or stand under itself."),
    "parent_ends": ("Đơn vị cấp trên {unit} không còn vào ngày đó.", "The unit above, {unit}, does not exist on that day."),
    "units_below": (
        "Còn {number} đơn vị trực thuộc; hãy chuyển chúng trước.",
        "{number} units stand below; move them first.",
    ),
    "membership_unknown": (
        "Không có vai trò này tại đơn vị kết thúc.",
        "No such role is held in a unit that ends.",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """A unit that receives: a new one, with its names and kind, or (by its code alone) one of that day."""

    code: str
    name: str | None = None
    name_en: str | None = None
    kind: str | None = None

    @property
    def is_new(self) -> bool:
        """Whether the unit is to begin by the change."""
        return any((self.name, self.name_en, self.kind))


@dataclass(frozen=True, slots=True)
class Change:
    """One change as it was asked for; units by the codes they bear on the day before."""

    kind: ChangeKind
    sources: tuple[str, ...]
    targets: tuple[Target, ...] = ()
    name: str | None = None
    name_en: str | None = None
    new_kind: str | None = None
    parent: str | None = None
    staff: tuple[tuple[UUID, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: where in the request (RFC 6901), what, and what it is about."""

    pointer: str
    code: str
    params: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Heir:
    """A unit that receives; `begins` holds its names and kind where it begins by the change."""

    id: UUID
    code: str
    begins: Target | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A change with its units found, as it will be stored."""

    change: Change
    sources: tuple[UnitInfo, ...]
    heirs: tuple[Heir, ...] = ()
    name: str | None = None
    name_en: str | None = None
    parent: UnitInfo | None = None
    staff: tuple[tuple[UUID, UUID], ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What a plan is held against: all units, what is planned already, who holds roles in which unit."""

    today: date
    directory: Directory
    planned: Collection[UUID]
    memberships: Mapping[UUID, UUID]


class Plan:
    """Several changes of one day, held against the facts and against each other."""

    def __init__(self, changes: Sequence[Change], day: date, facts: Facts) -> None:
        self.findings: list[Finding] = []
        self.planned: list[Planned] = []
        self._day, self._facts = day, facts
        self._units = facts.directory
        if day <= facts.today:
            self._refuse("/effective", "date_in_past", today=facts.today)
            return
        found = [list(self._sources(f"/changes/{place}", change)) for place, change in enumerate(changes)]
        self._ending = {
            unit.id for change, units in zip(changes, found, strict=True) if change.kind in ENDING for unit in units
        }
        self._refuse_repeats(found)
        self._begins = {target.code: target for change in changes for target in change.targets if target.is_new}
        self._refuse_codes_twice(changes)
        for place, (change, units) in enumerate(zip(changes, found, strict=True)):
            if units:
                self._check(f"/changes/{place}", change, tuple(units))
        self._refuse_cycles()

    def _refuse(self, pointer: str, code: str, **params: object) -> None:
        self.findings.append(Finding(pointer, code, params))

    # what changes

    def _sources(self, at: str, change: Change) -> Iterator[UnitInfo]:
        """The units that change: they exist until that day, are not about to end, and nothing else is planned."""
        if not change.sources:
            self._refuse(f"{at}/sources", "no_source")
        if len(change.sources) > 1 and change.kind != "merge":
            self._refuse(f"{at}/sources", "one_source")
        eve = self._day - timedelta(days=1)
        for place, code in enumerate(change.sources):
            unit, pointer = self._units.by_code(code, eve), f"{at}/sources/{place}"
            if unit is None or unit.valid_from > self._facts.today:
                self._refuse(pointer, "unit_unknown", unit=code, day=eve)
            elif unit.id in self._facts.planned:
                self._refuse(pointer, "overlap", unit=code)
            elif unit.valid_to is not None:
                self._refuse(pointer, "unit_ends", unit=code, day=unit.valid_to)
            elif change.kind != "rename" and unit.level in ("province", "ioc"):
                self._refuse(pointer, "level_not_allowed")
            else:
                yield unit

    def _refuse_repeats(self, found: Sequence[Sequence[UnitInfo]]) -> None:
        counted = Counter(unit.code for units in found for unit in units)
        for code, number in counted.items():
            if number > 1:
                self._refuse("/changes", "named_twice", unit=code)

    def _refuse_codes_twice(self, changes: Sequence[Change]) -> None:
        counted = Counter(target.code for change in changes for target in change.targets if target.is_new)
        for code, number in counted.items():
            if number > 1:
                self._refuse("/changes", "named_twice", unit=code)

    def _check(self, at: str, change: Change, sources: tuple[UnitInfo, ...]) -> None:
        match change.kind:
            case "rename" | "change_kind":
                self._check_names(at, change, sources[0])
            case "move":
                self._check_move(at, change, sources[0])
            case _:
                self._check_succession(at, change, sources)

    def _check_names(self, at: str, change: Change, unit: UnitInfo) -> None:
        name, name_en, kind = change.name or unit.name, change.name_en or unit.name_en, unit.kind
        if change.kind == "rename" and not (change.name and change.name_en):
            self._refuse(f"{at}/name", "name_missing")
        if change.kind == "change_kind":
            if change.new_kind is None:
                self._refuse(f"{at}/new_kind", "kind_missing")
                return
            if change.new_kind not in KINDS_OF[unit.level]:
                self._refuse(f"{at}/new_kind", "kind_unfit", kind=change.new_kind)
                return
            if kind in PREFIXES and change.new_kind in PREFIXES:
                own = renamed(unit.name, unit.name_en, kind, change.new_kind)
                name, name_en = change.name or own[0], change.name_en or own[1]
        if (name, name_en, change.new_kind or kind) == (unit.name, unit.name_en, kind):
            self._refuse(at, "nothing_changes")
        self.planned.append(Planned(change, (unit,), name=name, name_en=name_en))

    def _check_move(self, at: str, change: Change, unit: UnitInfo) -> None:
        parent = self._units.by_code(change.parent, self._day) if change.parent else None
        if parent is None or parent.id in self._ending:
            self._refuse(f"{at}/parent", "unit_unknown", unit=change.parent, day=self._day)
            return
        if parent.id == unit.parent_id:
            self._refuse(f"{at}/parent", "nothing_changes")
        self.planned.append(Planned(change, (unit,), parent=parent))

    # who follows

    def _check_succession(self, at: str, change: Change, sources: tuple[UnitInfo, ...]) -> None:
        first = sources[0]
        if {unit.level for unit in sources} != {first.level}:
            self._refuse(f"{at}/sources", "levels_differ")
        above = self._units.by_id(first.parent_id) if first.parent_id else None
        if above is not None and (above.id in self._ending or not above.exists(self._day)):
            self._refuse(at, "parent_ends", unit=above.code)
        below = [each for unit in sources for each in self._units.children(unit.id) if each.exists(self._day)]
        if change.kind == "split" and below:
            self._refuse(f"{at}/sources/0", "units_below", number=len(below))
        least = _LEAST[change.kind]
        if len(change.targets) < least:
            self._refuse(f"{at}/targets", "without_successor", least=least)
        elif change.kind == "merge" and len(change.targets) > 1:
            self._refuse(f"{at}/targets", "one_successor")
        heirs = [
            heir
            for place, target in enumerate(change.targets)
            if (heir := self._heir(f"{at}/targets/{place}", target, first.level))
        ]
        staff = tuple(self._staff(at, change, {unit.id for unit in sources}, heirs))
        self.planned.append(Planned(change, sources, tuple(heirs), staff=staff))

    def _heir(self, at: str, target: Target, level: str) -> Heir | None:
        if target.is_new:
            return self._new_heir(at, target, level)
        if target.code in self._begins:
            return Heir(unit_id(target.code, self._day), target.code)
        unit = next((each for each in self._units.bearers(target.code) if self._stays(each)), None)
        if unit is None:
            ends = self._units.by_code(target.code, self._day - timedelta(days=1))
            self._refuse(at, "unit_ends" if ends else "unit_unknown", **self._of(target))
            return Heir(ends.id, ends.code) if ends else None
        if unit.level != level:
            self._refuse(at, "levels_differ")
        return Heir(unit.id, unit.code)

    def _new_heir(self, at: str, target: Target, level: str) -> Heir:
        if not (target.name and target.name_en):
            self._refuse(f"{at}/name", "name_missing")
        if target.kind is None:
            self._refuse(f"{at}/kind", "kind_missing")
        elif target.kind not in KINDS_OF[level]:
            self._refuse(f"{at}/kind", "kind_unfit", kind=target.kind)
        bearer = next((each for each in self._units.bearers(target.code) if self._stays(each, later=True)), None)
        if bearer is not None:
            self._refuse(f"{at}/code", "code_in_use", **self._of(target), name=bearer.name)
        return Heir(unit_id(target.code, self._day), target.code, target)

    def _of(self, target: Target) -> dict[str, object]:
        return {"unit": target.code, "day": self._day}

    def _stays(self, unit: UnitInfo, *, later: bool = False) -> bool:
        """Whether a unit exists on the day (or from a later day on), all changes of the plan considered."""
        if unit.id in self._ending:
            return False
        return unit.exists(self._day) or (later and unit.valid_from > self._day)

    def _staff(self, at: str, change: Change, ending: set[UUID], heirs: Sequence[Heir]) -> Iterator[tuple[UUID, UUID]]:
        by_code = {heir.code: heir.id for heir in heirs}
        for place, (membership, code) in enumerate(change.staff):
            if self._facts.memberships.get(membership) not in ending:
                self._refuse(f"{at}/staff/{place}/membership_id", "membership_unknown")
            elif code not in by_code:
                self._refuse(f"{at}/staff/{place}/unit", "unit_unknown", unit=code, day=self._day)
            else:
                yield membership, by_code[code]

    def _refuse_cycles(self) -> None:
        """No unit may follow itself over all that is planned, and none may stand under itself."""
        onward = {unit.id: [step.to_id for step in self._units.successors(unit.id)] for unit in self._units.units}
        above = {unit.id: [unit.parent_id] for unit in self._units.units if unit.parent_id}
        for each in self.planned:
            for unit in each.sources:
                onward[unit.id] = [*onward.get(unit.id, ()), *(heir.id for heir in each.heirs)]
                if each.parent is not None:
                    above[unit.id] = [each.parent.id]
        if cycle(onward) or cycle(above):
            self._refuse("/changes", "cycle")
