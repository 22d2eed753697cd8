"""The pack's unit files, and what the API answers about units."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from app.core.packfile import Finding, PackError, PackModel, Source, read_with_source
from app.core.text import unaccented
from app.orgunits.rules import PREFIXES, kind_in, own_name

Kind = Literal[
    "province", "thanh_pho", "thi_xa", "quan", "huyen", "xa", "phuong", "thi_tran",
    "department", "utility", "police", "office", "centre",
]  # fmt: skip
Level = Literal["province", "district", "commune", "department", "utility", "ioc"]

# Files of a pack ---------------------------------------------------------------------------------------------------

Code = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*$", min_length=2, max_length=64)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Phone = Annotated[str, StringConstraints(pattern=r"^[0-9]{3,11}$")]
Email = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", max_length=200)]
Lat = Annotated[float, Field(ge=7, le=24)]
Lon = Annotated[float, Field(ge=102, le=118)]
Bounds = tuple[Lon, Lat, Lon, Lat]


class UnitEntry(PackModel):
    """What every unit of a file may say; `valid_from` only where it differs from its file's."""

    code: Code
    name: Name
    name_en: Name
    valid_from: date | None = None
    valid_to: date | None = None
    phone: Phone | None = None
    email: Email | None = None
    address: Name | None = None
    population: Annotated[int, Field(gt=0)] | None = None
    belief: bool = False


class ProvinceFile(UnitEntry):
    """units/province.yaml."""

    valid_from: date


class CommuneEntry(UnitEntry):
    """A commune and the former communes (codes of former.yaml) it was formed from, as a whole or in part."""

    kind: Literal["xa", "phuong"]
    formed_from: tuple[Code, ...] = ()
    formed_from_part: tuple[Code, ...] = ()


class CommunesFile(PackModel):
    """units/communes.yaml."""

    valid_from: date
    resolution: Name
    communes: Annotated[list[CommuneEntry], Field(min_length=1)]


class AgencyEntry(UnitEntry):
    """A department, the police, an office, a utility or the operations centre."""

    kind: Literal["department", "police", "office", "utility", "centre"]
    level: Literal["department", "utility", "ioc"]


class AgenciesFile(PackModel):
    """units/agencies.yaml."""

    valid_from: date
    agencies: Annotated[list[AgencyEntry], Field(min_length=1)]


def _says_its_kind(name: str) -> str:
    if kind_in(name) is None:
        raise ValueError("a name begins with what kind of unit it is, like Xã or Phường")
    return name


class FormerUnit(PackModel):
    """A unit of before; its kind is the first word of its name, the English name is made from it where none is said."""

    code: Code
    name: Annotated[Name, AfterValidator(_says_its_kind)]
    name_en: Name | None = None

    @property
    def kind(self) -> str:
        """What kind of unit it was."""
        return kind_in(self.name) or ""

    @property
    def english(self) -> str:
        """The English name."""
        return self.name_en or f"{unaccented(own_name(self.name, self.kind))} {PREFIXES[self.kind][1]}"


class FormerDistrict(FormerUnit):
    """A district of before; `bounds` is west, south, east, north."""

    province: Code
    bounds: Bounds


class FormerCommune(FormerUnit):
    """A commune of before: its published centre and the bounds (west, south, east, north) it was published with."""

    district: Code
    split: bool = False
    lat: Lat
    lon: Lon
    bounds: Bounds


class FormerFile(PackModel):
    """units/former.yaml: what stood from `valid_from` until the day before `valid_to`."""

    valid_from: date
    valid_to: date
    provinces: Annotated[list[FormerUnit], Field(min_length=1)]
    districts: Annotated[list[FormerDistrict], Field(min_length=1)]
    communes: Annotated[list[FormerCommune], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class UnitPack:
    """The unit files of a pack, each valid and all of them agreeing."""

    province: ProvinceFile
    communes: CommunesFile
    agencies: AgenciesFile
    former: FormerFile

    @property
    def heirs(self) -> dict[str, tuple[str, ...]]:
        """The codes of today's communes that each former one went into."""
        heirs: dict[str, tuple[str, ...]] = {}
        for commune in self.communes.communes:
            for former in (*commune.formed_from, *commune.formed_from_part):
                heirs[former] = (*heirs.get(former, ()), commune.code)
        return heirs


def read_units(pack_dir: Path) -> UnitPack:
    """The units of the pack in this folder; PackError names every mistake in its files."""
    findings: list[Finding] = []
    read: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    for name, schema in _FILES.items():
        try:
            read[name], sources[name] = read_with_source(pack_dir / "units" / f"{name}.yaml", schema)
        except PackError as error:
            findings += error.findings
    if not findings:
        pack = UnitPack(**read)
        findings = [*_code_faults(pack, sources), *_succession_faults(pack, sources)]
    if findings:
        raise PackError(findings)
    return pack


_FILES: dict[str, type[PackModel]] = {
    "province": ProvinceFile,
    "communes": CommunesFile,
    "agencies": AgenciesFile,
    "former": FormerFile,
}


def _code_faults(pack: UnitPack, sources: Mapping[str, Source]) -> Iterator[Finding]:
    """Codes used twice, and periods that end before they begin, wherever they stand."""
    seen: set[tuple[str, date]] = {(pack.province.code, pack.province.valid_from)}
    lists: tuple[tuple[str, date, Sequence[UnitEntry]], ...] = (
        ("communes", pack.communes.valid_from, pack.communes.communes),
        ("agencies", pack.agencies.valid_from, pack.agencies.agencies),
    )
    for name, day, entries in lists:
        for place, entry in enumerate(entries):
            key = (entry.code, entry.valid_from or day)
            if key in seen:
                yield sources[name].finding(f"The code {entry.code!r} is used twice.", name, place, "code")
            if entry.valid_to is not None and entry.valid_to <= key[1]:
                yield sources[name].finding("valid_to must lie after valid_from.", name, place, "valid_to")
            seen.add(key)
    yield from _former_faults(pack.former, sources["former"])


def _former_faults(former: FormerFile, source: Source) -> Iterator[Finding]:
    """Codes used twice among the units of before, and a time that ends before it begins."""
    if former.valid_to <= former.valid_from:
        yield source.finding("valid_to must lie after valid_from.", "valid_to")
    lists: tuple[tuple[str, Sequence[FormerUnit]], ...] = (
        ("provinces", former.provinces),
        ("districts", former.districts),
        ("communes", former.communes),
    )
    seen: set[str] = set()
    for name, entries in lists:
        for place, entry in enumerate(entries):
            if entry.code in seen:
                yield source.finding(f"The code {entry.code!r} is used twice.", name, place, "code")
            seen.add(entry.code)


def _succession_faults(pack: UnitPack, sources: Mapping[str, Source]) -> Iterator[Finding]:
    """Every former commune lies in a known district and went into one commune as a whole, or into several in parts."""
    whole: Counter[str] = Counter()
    parts: Counter[str] = Counter()
    known = {former.code for former in pack.former.communes}
    for place, commune in enumerate(pack.communes.communes):
        whole.update(commune.formed_from)
        parts.update(commune.formed_from_part)
        for code in {*commune.formed_from, *commune.formed_from_part} - known:
            yield sources["communes"].finding(f"former.yaml has no {code!r}.", "communes", place, "formed_from")
    provinces = {province.code for province in pack.former.provinces}
    for place, district in enumerate(pack.former.districts):
        if district.province not in provinces:
            yield sources["former"].finding(f"No province {district.province!r}.", "districts", place, "province")
    districts = {district.code for district in pack.former.districts}
    for place, former in enumerate(pack.former.communes):
        if former.district not in districts:
            yield sources["former"].finding(f"No district {former.district!r}.", "communes", place, "district")
        once_whole = whole[former.code] == 1 and not parts[former.code]
        in_parts = not whole[former.code] and parts[former.code] > 1
        if not (once_whole or in_parts):
            message = f"{former.code!r} must go into one commune as a whole, or into several in parts."
            yield sources["former"].finding(message, "communes", place, "code")
        elif former.split != in_parts:
            message = f"split says {former.split}, communes.yaml gives {former.code!r} to {parts[former.code] or 1}."
            yield sources["former"].finding(message, "communes", place, "split")


# The wire ----------------------------------------------------------------------------------------------------------


class UnitOut(BaseModel):
    """A unit in one period of its existence."""

    id: UUID
    code: str = Field(examples=["05443"])
    name: str = Field(description="In the caller's language.", examples=["Phường Phan Đình Phùng"])
    name_vi: str = Field(examples=["Phường Phan Đình Phùng"])
    name_en: str = Field(examples=["Phan Dinh Phung Ward"])
    kind: Kind
    level: Level
    parent: str | None = Field(description="Code of the unit above.", examples=["19"])
    valid_from: date
    valid_to: date | None = Field(description="The first day on which it no longer exists.")
    phone: str | None
    email: str | None
    address: str | None
    population: int | None
    belief: bool = Field(description="Not confirmed by a published source; an administrator may correct it.")


class RelatedOut(BaseModel):
    """A unit that came before or after another one."""

    id: UUID
    code: str = Field(examples=["05461"])
    name: str = Field(description="In the caller's language.", examples=["Phường Gia Sàng"])
    valid_from: date
    valid_to: date | None
    whole: bool | None = Field(
        default=None, description="False: with a part of the area only. Null where the one did not follow the other."
    )


class PastOut(BaseModel):
    """What a unit was before a change that did not make it another unit."""

    name: str
    kind: Kind
    until: date = Field(description="The first day it was no longer called that, or of that kind.")


class UnitDetailOut(UnitOut):
    """A unit, who came before it and who after. Identity is `id`: a code has meant different units."""

    predecessors: list[RelatedOut]
    successors: list[RelatedOut] = Field(description="Who follows it, or will: several where it was split.")
    past: list[PastOut] = Field(description="Earlier names and kinds of this same unit.")
    same_code: list[RelatedOut] = Field(description="Other units that bore this code at another time.")
