"""What a unit is, and who follows it when it ends. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from uuid import UUID, uuid5

# The namespace of unit ids: a unit is its code and its first day, so a pack loaded anywhere gives the same ids.
_UNIT_IDS = UUID("5b1f0c6e-6c0e-5d0f-9a3e-3d2b8f6a1c19")

# What a name begins with, by kind, and what an English name ends with.
PREFIXES = {
    "province": ("Tỉnh", "Province"),
    "thanh_pho": ("Thành phố", "City"),
    "thi_xa": ("Thị xã", "Town"),
    "quan": ("Quận", "District"),
    "huyen": ("Huyện", "District"),
    "thi_tran": ("Thị trấn", "Township"),
    "phuong": ("Phường", "Ward"),
    "xa": ("Xã", "Commune"),
}

# The kinds a unit of each level may have.
KINDS_OF = {
    "province": frozenset({"province"}),
    "district": frozenset({"thanh_pho", "thi_xa", "quan", "huyen"}),
    "commune": frozenset({"xa", "phuong", "thi_tran"}),
    "department": frozenset({"department", "police", "office"}),
    "utility": frozenset({"utility"}),
    "ioc": frozenset({"centre"}),
}


def unit_id(code: str, valid_from: date) -> UUID:
    """The id of a unit, the same wherever the pack is loaded."""
    return uuid5(_UNIT_IDS, f"{code} {valid_from.isoformat()}")


def kind_in(name: str) -> str | None:
    """The kind that a name begins with; None where it begins with none."""
    return next((kind for kind, (prefix, _) in PREFIXES.items() if name.startswith(f"{prefix} ")), None)


def own_name(name: str, kind: str) -> str:
    """A name without the words for its kind: "Phường" and "Xã" would only make two heaps in a list."""
    return name.removeprefix(f"{PREFIXES[kind][0]} ") if kind in PREFIXES else name


def renamed(name: str, name_en: str, before: str, after: str) -> tuple[str, str]:
    """The names of a unit whose kind changes, Vietnamese and English: the words for its kind change with it."""
    (old, old_en), (new, new_en) = PREFIXES[before], PREFIXES[after]
    vietnamese = f"{new} {name.removeprefix(f'{old} ')}" if name.startswith(f"{old} ") else name
    english = f"{name_en.removesuffix(f' {old_en}')} {new_en}" if name_en.endswith(f" {old_en}") else name_en
    return vietnamese, english


@dataclass(frozen=True, slots=True)
class Succession:
    """Which unit follows which from a day on: as a whole, or with a part of the area."""

    from_id: UUID
    to_id: UUID
    effective: date
    whole: bool


@dataclass(frozen=True, slots=True)
class Heirs:
    """The units that follow one, on a day. `complete` is False where some of what it was has nobody."""

    units: frozenset[UUID]
    complete: bool

    @property
    def only(self) -> UUID | None:
        """The one heir of everything; None where there are several, or where a part has none."""
        return next(iter(self.units)) if self.complete and len(self.units) == 1 else None


def heirs(unit: UUID, exists: Callable[[UUID], bool], successors: Callable[[UUID], Iterable[UUID]]) -> Heirs:
    """Who stands in the place of `unit`: itself where it exists, else its successors, followed over every reform.

    Ends for any succession, a cyclic one included: no unit is asked twice.
    """
    living: set[UUID] = set()
    asked, waiting, complete = {unit}, [unit], True
    while waiting:
        here = waiting.pop()
        if exists(here):
            living.add(here)
            continue
        onward = list(successors(here))
        complete = complete and bool(onward)
        new = [each for each in dict.fromkeys(onward) if each not in asked]
        asked.update(new)
        waiting.extend(new)
    return Heirs(frozenset(living), complete and bool(living))


def cycle(onward: Mapping[UUID, Iterable[UUID]]) -> tuple[UUID, ...]:
    """The units of one cycle in a relation, in their order; empty where there is none."""
    done: set[UUID] = set()
    for start in onward:
        path: dict[UUID, None] = {}
        branches = [(start, iter(onward.get(start, ())))]
        path[start] = None
        while branches and start not in done:
            here, left = branches[-1]
            for each in left:
                if each in path:
                    names = list(path)
                    return tuple(names[names.index(each) :])
                if each not in done:
                    path[each] = None
                    branches.append((each, iter(onward.get(each, ()))))
                    break
            else:
                branches.pop()
                path.pop(here)
                done.add(here)
    return ()
