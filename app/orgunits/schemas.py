"""The pack's unit files, and what the API answers about units."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from app.core.packfile import Finding, PackError, PackModel, Source, read_with_source

Kind = Literal["province", "xa", "phuong", "department", "utility", "police", "office", "centre"]
Level = Literal["province", "commune", "department", "utility", "ioc"]

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


class FormerDistrict(PackModel):
    """A district of before; `bounds` is west, south, east, north."""

    code: Code
    name: Name
    province: Name
    bounds: Bounds


class FormerCommune(PackModel):
    """A commune of before: its published centre and the bounds (west, south, east, north) it was published with."""

    code: Code
    name: Name
    district: Code
    lat: Lat
    lon: Lon
    bounds: Bounds


class FormerFile(PackModel):
    """units/former.yaml."""

    valid_to: date
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
    districts = {district.code for district in pack.former.districts}
    for place, former in enumerate(pack.former.communes):
        if former.district not in districts:
            yield sources["former"].finding(f"No district {former.district!r}.", "communes", place, "district")
        once_whole = whole[former.code] == 1 and not parts[former.code]
        in_parts = not whole[former.code] and parts[former.code] > 1
        if not (once_whole or in_parts):
            message = f"{former.code!r} must go into one commune as a whole, or into several in parts."
            yield sources["former"].finding(message, "communes", place, "code")


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
