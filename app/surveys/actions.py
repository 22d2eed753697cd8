"""Drawing approximate boundaries; preparing, storing and withdrawing surveyed ones. No version is ever deleted."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import true
from sqlmodel import col, select

from app.boundaries.models import Boundary, BoundaryVersion
from app.boundaries.queries import BOUNDARIES, Accuracy
from app.boundaries.rules import area_km2
from app.boundaries.schemas import SourceFile
from app.core import clock, geofile
from app.core.db import Session
from app.core.download import PATIENT, Listed, Patience, download
from app.core.errors import NOT_FOUND
from app.core.geofile import Feature
from app.core.ids import uuid7
from app.core.remarks import DeliveryError, Remark, named, refusal
from app.core.versioned import bump
from app.identity.actions import audit
from app.orgunits.actions import alone
from app.orgunits.models import Unit
from app.orgunits.schemas import UnitPack, read_units
from app.surveys.rules import (
    Delivered,
    Difference,
    Seed,
    approximate_areas,
    check_delivery,
    difference,
    drawn,
)
from app.surveys.schemas import IN_FORCE

# Raised when `rules.approximate_areas` draws other areas from the same pack.
_METHOD = 1
# Of repairs and remarks stored with a version; the rest is counted.
_LISTED = 300
_MAX_FEATURES = 10_000


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """A boundary version as stored. `created` is False where the same areas were in force already.

    `moved_share` is the share of the area that changes its commune against the version in force before (0 to 1).
    """

    version_id: UUID
    created: bool
    source: str
    accuracy: Accuracy
    effective_from: date
    sha256: str
    communes: int
    area_km2: float
    replaces: UUID | None = None
    moved_share: float | None = None

    def __str__(self) -> str:
        done = "stored" if self.created else "already there"
        moved = f", {self.moved_share:.1%} of the area changes its commune" if self.moved_share is not None else ""
        extent = f"{self.communes} communes, {self.area_km2:,.0f} km²"
        return f"{self.accuracy} from {self.effective_from}, {extent}: {done} as {self.version_id}{moved}"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A delivery that passed every check, with what it would change; nothing is stored.

    `areas` and `difference` go by unit; `names` has code and name of every unit they mention. `replaces` is the version
    that its first day would show without it, `known` that this is the very same one.
    """

    effective_from: date
    sha256: str
    areas: Mapping[UUID, BaseGeometry]
    names: Mapping[UUID, str]
    fixes: tuple[Remark, ...]
    remarks: tuple[Remark, ...]
    replaces: BoundaryVersion | None
    difference: Difference[UUID] | None
    skipped: tuple[Remark, ...]

    @property
    def known(self) -> bool:
        """Whether these very files are in force from that day already."""
        before = self.replaces
        return before is not None and (before.sha256, before.effective_from) == (self.sha256, self.effective_from)


@dataclass(frozen=True, slots=True)
class Files:
    """What to import: a file or folder, the cell that holds the codes, and codes by file name where there is none.

    `only` restricts a folder to these names.
    """

    path: Path
    code_column: str = "code"
    codes: Mapping[str, str] = field(default_factory=dict)
    only: frozenset[str] | None = None


def make_approximate(session: Session, pack_dir: Path) -> ImportSummary:
    """Draw approximate boundaries from the pack's former communes; the same pack gives the same version, once."""
    pack = read_units(pack_dir)
    alone(session)
    seeds = _seeds(pack)
    frames = [district.bounds for district in pack.former.districts]
    digest = hashlib.sha256(json.dumps([_METHOD, [astuple(seed) for seed in seeds], frames]).encode()).hexdigest()
    known = session.exec(
        select(BoundaryVersion).where(BoundaryVersion.sha256 == digest, BoundaryVersion.accuracy == "approximate")
    ).first()
    if known is not None:
        return _summary(session, known, created=False)
    areas = approximate_areas(seeds, frames)
    units = _communes(session, pack.communes.valid_from)
    checked = check_delivery(
        [Delivered(named("approximate"), code, area) for code, area in areas.items()], _names(units), accept_gaps=True
    )
    if checked.faults:
        raise DeliveryError(checked.faults)
    version = BoundaryVersion(
        id=uuid7(),
        source="cells around the former communes of vietnamadminunits, dissolved by succession",
        accuracy="approximate",
        effective_from=pack.communes.valid_from,
        imported_at=clock.now(),
        licence="MIT",
        sha256=digest,
        note="Estimates: about a sixth of the area is assigned to a neighbouring commune.",
    )
    _store(session, version, {units[code].id: area for code, area in areas.items()})
    return _summary(session, version, created=True)


def prepare(session: Session, files: Files, *, effective_from: date, accept_gaps: bool = False) -> Prepared:
    """Read and check boundaries that are to be in force from a day on, and compare them with those in force so far.

    Every commune of that day must be there exactly once, by its code; DeliveryError lists everything that is wrong.
    GeoJSON (a file or a folder), Shapefile (.shp, or zipped) and GeoPackage are read. Nothing is stored.
    """
    alone(session)
    units = _communes(session, effective_from)
    _refuse_the_day(session, effective_from, units)
    province = {unit.code for unit in session.exec(select(Unit).where(Unit.level == "province"))}
    digest, features = _read_delivery(files)
    delivered = [item for item in features if item.code not in province]
    checked = check_delivery(delivered, _names(units), accept_gaps=accept_gaps)
    if checked.faults:
        raise DeliveryError(checked.faults)
    areas = {units[code].id: area for code, area in checked.areas.items()}
    before = _in_force(session, effective_from)
    return Prepared(
        effective_from=effective_from,
        sha256=digest,
        areas=areas,
        names={unit.id: f"{unit.code} {unit.name}" for unit in session.exec(select(Unit))},
        fixes=checked.fixes,
        remarks=checked.remarks,
        replaces=before,
        difference=difference(areas_of(session, before.id), areas) if before else None,
        skipped=tuple(
            item.place.says("đường bao của tỉnh, bỏ qua", "the province's outline, skipped")
            for item in features
            if item.code in province
        ),
    )


def store(
    session: Session,
    prepared: Prepared,
    *,
    source: str,
    licence: str,
    note: str = "",
    actor_id: UUID | None = None,
) -> ImportSummary:
    """Store what was prepared in this transaction as a new version beside the old ones, audited; the same only once."""
    before, change = prepared.replaces, prepared.difference
    if prepared.known and before is not None:
        return _summary(session, before, created=False)
    version = BoundaryVersion(
        id=uuid7(),
        source=source,
        accuracy="surveyed",
        effective_from=prepared.effective_from,
        imported_at=clock.now(),
        licence=licence,
        sha256=prepared.sha256,
        note=note,
        fixes=_shortened(prepared.fixes),
        remarks=_shortened(prepared.remarks),
    )
    _store(session, version, prepared.areas)
    summary = _summary(
        session,
        version,
        created=True,
        replaces=before.id if before else None,
        moved_share=change.share if change else None,
    )
    audit(session, actor_id, BOUNDARIES, str(version.id), None, _audited(summary, prepared))
    return summary


def _audited(summary: ImportSummary, prepared: Prepared) -> dict[str, object]:
    return {
        "source": summary.source,
        "sha256": summary.sha256,
        "effective_from": str(summary.effective_from),
        "replaces": str(summary.replaces),
        "moved_share": summary.moved_share,
        "fixes": len(prepared.fixes),
        "remarks": len(prepared.remarks),
    }


def withdraw(session: Session, version_id: UUID, actor_id: UUID | None) -> BoundaryVersion:
    """Take a version back before its first day, audited: nobody was placed by it yet. IN_FORCE afterwards.

    It stays in the list, and no longer keeps boundaries of an earlier day from being imported.
    """
    alone(session)
    version = session.exec(select(BoundaryVersion).where(BoundaryVersion.id == version_id).with_for_update()).first()
    if version is None:
        raise NOT_FOUND.error()
    if version.withdrawn_at is not None or version.effective_from <= clock.local_day(clock.now()):
        raise IN_FORCE.error(effective=version.effective_from)
    version.withdrawn_at = clock.now()
    session.flush()
    audit(session, actor_id, BOUNDARIES, str(version_id), {"status": "planned"}, {"status": "withdrawn"})
    bump(session, BOUNDARIES)
    return version


def import_boundaries(
    session: Session, path: Path, *, effective_from: date, source: str, licence: str, note: str = ""
) -> ImportSummary:
    """Prepare and store the boundaries of a file or folder; see `prepare` for what is refused."""
    prepared = prepare(session, Files(path), effective_from=effective_from)
    return store(session, prepared, source=source, licence=licence, note=note)


@dataclass(frozen=True, slots=True)
class Misplaced:
    """How far the approximate boundaries of `day` are from the surveyed ones; `share` of the area, 0 to 1."""

    day: date
    share: float
    difference: Difference[UUID]
    names: Mapping[UUID, str]


def compare_approximate(session: Session, day: date) -> Misplaced | None:
    """Hold approximate boundaries against surveyed ones in force on a day; None where one of the two is missing."""
    surveyed, approximate = (_in_force(session, day, accuracy) for accuracy in ("surveyed", "approximate"))
    if surveyed is None or approximate is None:
        return None
    found = difference(areas_of(session, approximate.id), areas_of(session, surveyed.id))
    names = {unit.id: f"{unit.code} {unit.name}" for unit in session.exec(select(Unit))}
    return Misplaced(day, found.share, found, names)


def areas_of(session: Session, version_id: UUID) -> dict[UUID, BaseGeometry]:
    """The areas of a version by unit."""
    rows = session.execute(select(Boundary.unit_id, Boundary.wkb).where(Boundary.version_id == version_id))
    return {unit_id: shapely.from_wkb(bytes(wkb)) for unit_id, wkb in rows}


def _refuse_the_day(session: Session, day: date, units: Mapping[str, Unit]) -> None:
    if not units:
        raise refusal(
            f"không có xã, phường nào vào ngày {day}: hãy nạp gói dữ liệu tỉnh trước, hoặc chọn ngày khác",
            f"no commune exists on {day}: load the pack first, or choose another day",
        )
    later = session.exec(
        select(BoundaryVersion)
        .where(
            BoundaryVersion.accuracy == "surveyed",
            col(BoundaryVersion.effective_from) > day,
            col(BoundaryVersion.withdrawn_at).is_(None),
        )
        .order_by(col(BoundaryVersion.effective_from))
    ).first()
    if later is not None:
        since, source = later.effective_from, later.source
        planned = since > clock.local_day(clock.now())
        raise refusal(
            f"{day} trước ranh giới đã có từ {since} ({source}): hãy chọn ngày đó hoặc muộn hơn"
            + (f", hoặc rút bộ đó bằng `phananh boundaries withdraw {later.id}`" if planned else ""),
            f"{day} lies before the boundaries of {since} ({source}): choose that day or a later one"
            + (f", or take them back with `phananh boundaries withdraw {later.id}`" if planned else ""),
        )


def _shortened(remarks: Sequence[Remark]) -> list[str]:
    more = len(remarks) - _LISTED
    return [*map(str, remarks[:_LISTED]), *([f"+ {more}"] if more > 0 else [])]


def _seeds(pack: UnitPack) -> list[Seed]:
    heirs = pack.heirs
    return [
        Seed(
            lat=former.lat,
            lon=former.lon,
            middle_lat=(former.bounds[1] + former.bounds[3]) / 2,
            middle_lon=(former.bounds[0] + former.bounds[2]) / 2,
            heirs=heirs[former.code],
        )
        for former in pack.former.communes
    ]


def _communes(session: Session, day: date) -> dict[str, Unit]:
    communes = session.exec(
        select(Unit).where(
            Unit.level == "commune",
            col(Unit.valid_from) <= day,
            col(Unit.valid_to).is_(None) | (col(Unit.valid_to) > day),
        )
    )
    return {unit.code: unit for unit in communes}


def _names(units: Mapping[str, Unit]) -> dict[str, str]:
    return {code: units[code].name for code in sorted(units)}


def _in_force(session: Session, day: date, accuracy: Accuracy | None = None) -> BoundaryVersion | None:
    """The version that the `day` of a new one would show so far; the same order as `queries.boundaries_in_force`."""
    return session.exec(
        select(BoundaryVersion)
        .where(
            col(BoundaryVersion.effective_from) <= day,
            col(BoundaryVersion.withdrawn_at).is_(None),
            BoundaryVersion.accuracy == accuracy if accuracy else true(),
        )
        .order_by(
            col(BoundaryVersion.effective_from).desc(),
            (col(BoundaryVersion.accuracy) == "surveyed").desc(),
            col(BoundaryVersion.imported_at).desc(),
            col(BoundaryVersion.id).desc(),
        )
    ).first()


def _store(session: Session, version: BoundaryVersion, areas: Mapping[UUID, BaseGeometry]) -> None:
    session.add(version)
    session.flush()
    session.add_all(
        Boundary(version_id=version.id, unit_id=unit_id, wkb=area.wkb, area_km2=area_km2(area))
        for unit_id, area in areas.items()
    )
    session.flush()
    bump(session, BOUNDARIES)


def _summary(session: Session, version: BoundaryVersion, **more: Any) -> ImportSummary:
    areas = session.exec(select(Boundary.area_km2).where(Boundary.version_id == version.id)).all()
    return ImportSummary(
        version_id=version.id,
        source=version.source,
        accuracy="surveyed" if version.accuracy == "surveyed" else "approximate",
        effective_from=version.effective_from,
        sha256=version.sha256,
        communes=len(areas),
        area_km2=round(sum(areas), 2),
        **more,
    )


# Reading files -----------------------------------------------------------------------------------------------------


def fetch_files(source: SourceFile, folder: Path, patience: Patience = PATIENT) -> Files:
    """Download what the pack's boundaries.yaml lists and is not in `folder` yet; see `download` for what is refused."""
    if source.address is None:
        raise refusal(
            "boundaries.yaml không liệt kê tệp nào để tải: hãy nhập tệp của mình bằng `phananh boundaries import`",
            "boundaries.yaml lists no files to download: import yours with `phananh boundaries import`",
        )
    listed = [Listed(entry.path, entry.name, entry.bytes, entry.sha256) for entry in source.files]
    download(source.address, listed, folder, patience)
    codes = {entry.name: entry.code for entry in source.files if entry.code is not None}
    return Files(folder, codes=codes, only=frozenset(entry.name for entry in source.files))


def _read_delivery(files: Files) -> tuple[str, list[Delivered]]:
    """The SHA-256 over all files in the order of their names, and all areas in them."""
    delivery = geofile.read(files.path, geofile.SHAPES, at_most=_MAX_FEATURES, only=files.only)
    column = files.code_column.strip().lower()
    _refuse_without_codes(delivery.features, column, files)
    return delivery.sha256, [_delivered(feature, column, files) for feature in delivery.features]


def _refuse_without_codes(features: Sequence[Feature], column: str, files: Files) -> None:
    """Where no feature of a file has the cell, say so once, with the cells there are."""
    faults = []
    for name in dict.fromkeys(feature.file for feature in features):
        cells = [feature.cells for feature in features if feature.file == name]
        if name in files.codes or any(column in each for each in cells):
            continue
        known = ", ".join(sorted({cell for each in cells for cell, value in each.items() if value is not None}))
        vi = f"không có cột mã `{files.code_column}`, chỉ có {known or 'không cột nào'}; chọn cột bằng --code-column"
        en = f"has no column `{files.code_column}`, only {known or 'none at all'}; name the right one by --code-column"
        faults.append(named(name).says(vi, en))
    if faults:
        raise DeliveryError(faults)


def _delivered(feature: Feature, column: str, files: Files) -> Delivered:
    code = _code(feature.cells.get(column)) or files.codes.get(feature.file)
    if code is None:
        told = (f"không có mã trong cột `{files.code_column}`", f"has no code in the column `{files.code_column}`")
        return Delivered(feature.place, None, None, fault=Remark(*told))
    if isinstance(feature.geometry, bytes):
        return Delivered(feature.place, code, feature.shape())
    return drawn(feature.place, code, feature.geometry)


def _code(value: object) -> str | None:
    # Spreadsheets and DBF tables turn "01840" into 1840, or 1840.0.
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{int(value):05d}"
    return value.strip() or None if isinstance(value, str) else None
