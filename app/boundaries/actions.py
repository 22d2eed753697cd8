"""Drawing approximate boundaries, importing real ones. Nothing here ever deletes.

The caller commits, and writes the audit row from what is returned (`identity` lies above this slice).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import shapely
from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry
from sqlmodel import col, select

from app.boundaries.models import Boundary, BoundaryVersion
from app.boundaries.queries import BOUNDARIES, Accuracy
from app.boundaries.rules import Delivered, Seed, approximate_areas, area_km2, delivery_faults, misplaced_share
from app.core import clock
from app.core.db import Session
from app.core.ids import uuid7
from app.core.versioned import bump
from app.orgunits.actions import alone
from app.orgunits.models import Unit
from app.orgunits.schemas import UnitPack, read_units

# Raised when `rules.approximate_areas` draws other areas from the same pack.
_METHOD = 1


class DeliveryError(Exception):
    """Boundaries that may not be used, with everything that was found wrong; nothing was changed."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(self.faults))


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
    skipped: tuple[str, ...] = ()

    def __str__(self) -> str:
        done = "stored" if self.created else "already there"
        moved = f", {self.moved_share:.1%} of the area changes its commune" if self.moved_share is not None else ""
        extent = f"{self.communes} communes, {self.area_km2:,.0f} km²"
        return f"{self.accuracy} from {self.effective_from}, {extent}: {done} as {self.version_id}{moved}"


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
    faults = delivery_faults([Delivered("approximate", code, area) for code, area in areas.items()], _names(units))
    if faults:
        raise DeliveryError(faults)
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
    return _store(session, version, areas, units)


def import_boundaries(
    session: Session, path: Path, *, effective_from: date, source: str, licence: str, note: str = ""
) -> ImportSummary:
    """Store the communes' areas of a GeoJSON file, or of a folder of them, as a new version beside the old ones.

    Every commune of that day must be there exactly once, by its `code`; DeliveryError lists everything that is wrong,
    and then nothing is changed. Importing again what is in force already changes nothing either.
    """
    alone(session)
    units = _communes(session, effective_from)
    if not units:
        raise DeliveryError([f"no commune exists on {effective_from}: load the pack first, or choose another day"])
    province = {unit.code for unit in session.exec(select(Unit).where(Unit.level == "province"))}
    digest, features = _read_delivery(path)
    skipped = tuple(f"{item.place}: the province's outline" for item in features if item.code in province)
    delivered = [item for item in features if item.code not in province]
    faults = delivery_faults(delivered, _names(units))
    if faults:
        raise DeliveryError(faults)
    before = _in_force(session, effective_from)
    if before is not None and before.sha256 == digest and before.effective_from == effective_from:
        return _summary(session, before, created=False)
    version = BoundaryVersion(
        id=uuid7(),
        source=source,
        accuracy="surveyed",
        effective_from=effective_from,
        imported_at=clock.now(),
        licence=licence,
        sha256=digest,
        note=note,
    )
    areas = {item.code: item.geometry for item in delivered if item.code and item.geometry is not None}
    return _store(session, version, areas, units, before=before, skipped=skipped)


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


def _in_force(session: Session, day: date) -> BoundaryVersion | None:
    """The version that the `day` of a new one would show so far; the same order as `queries.boundaries_in_force`."""
    return session.exec(
        select(BoundaryVersion)
        .where(col(BoundaryVersion.effective_from) <= day)
        .order_by(
            col(BoundaryVersion.effective_from).desc(),
            (col(BoundaryVersion.accuracy) == "surveyed").desc(),
            col(BoundaryVersion.imported_at).desc(),
            col(BoundaryVersion.id).desc(),
        )
    ).first()


def _store(
    session: Session,
    version: BoundaryVersion,
    areas: Mapping[str, BaseGeometry],
    units: Mapping[str, Unit],
    *,
    before: BoundaryVersion | None = None,
    skipped: tuple[str, ...] = (),
) -> ImportSummary:
    moved = misplaced_share(_areas(session, before), areas) if before else None
    session.add(version)
    session.flush()
    session.add_all(
        Boundary(version_id=version.id, unit_id=units[code].id, wkb=area.wkb, area_km2=area_km2(area))
        for code, area in areas.items()
    )
    session.flush()
    bump(session, BOUNDARIES)
    return _summary(
        session, version, created=True, replaces=before.id if before else None, moved_share=moved, skipped=skipped
    )


def _areas(session: Session, version: BoundaryVersion) -> dict[str, BaseGeometry]:
    rows = session.execute(
        select(Unit.code, Boundary.wkb)
        .join(Boundary, col(Boundary.unit_id) == Unit.id)
        .where(Boundary.version_id == version.id)
    )
    return {code: shapely.from_wkb(bytes(wkb)) for code, wkb in rows}


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


# GeoJSON -----------------------------------------------------------------------------------------------------------

_MAX_BYTES = 256 * 1024 * 1024
_DEGREES = {"urn:ogc:def:crs:OGC:1.3:CRS84", "urn:ogc:def:crs:EPSG::4326", "EPSG:4326", "CRS84"}


def _read_delivery(path: Path) -> tuple[str, list[Delivered]]:
    """The SHA-256 over all files in the order of their names, and all features in them."""
    files = sorted(each for each in path.iterdir() if each.suffix in {".geojson", ".json"}) if path.is_dir() else [path]
    if not files:
        raise DeliveryError([f"{path.name}: holds no .geojson file"])
    digest = hashlib.sha256()
    faults: list[str] = []
    features: list[Delivered] = []
    for file in files:
        try:
            data = _bytes(file)
            features += _features(file.name, data)
        except DeliveryError as error:
            faults += error.faults
            continue
        digest.update(hashlib.sha256(data).digest())
    if faults:
        raise DeliveryError(faults)
    return digest.hexdigest(), features


def _bytes(file: Path) -> bytes:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise DeliveryError([f"{file.name}: is larger than {_MAX_BYTES} bytes"])
        return file.read_bytes()
    except OSError as error:
        raise DeliveryError([f"{file.name}: cannot be read ({error.strerror})"]) from error


def _features(name: str, data: bytes) -> Iterator[Delivered]:
    try:
        document = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DeliveryError([f"{name}: is no JSON ({str(error)[:80]})"]) from error
    kind = document.get("type") if isinstance(document, dict) else None
    found = {"FeatureCollection": _list_of(document, "features"), "Feature": [document]}.get(str(kind))
    if found is None:
        raise DeliveryError([f"{name}: is no GeoJSON FeatureCollection or Feature"])
    system = _crs(document)
    if system is not None and system not in _DEGREES:
        raise DeliveryError([f"{name}: is in {system[:60]}; convert it to WGS 84 (longitude, latitude) first"])
    for place, feature in enumerate(found, start=1):
        yield Delivered(f"{name}, feature {place}", _code(feature), _geometry(feature))


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")


def _list_of(document: Any, key: str) -> list[Any] | None:
    value = document.get(key) if isinstance(document, dict) else None
    return value if isinstance(value, list) else None


def _crs(document: dict[str, Any]) -> str | None:
    """The name in the `crs` member of older GeoJSON, where one stands."""
    crs = document.get("crs")
    properties = crs.get("properties") if isinstance(crs, dict) else None
    return str(properties.get("name")) if isinstance(properties, dict) else None


def _code(feature: Any) -> str | None:
    properties = feature.get("properties") if isinstance(feature, dict) else None
    code = properties.get("code") if isinstance(properties, dict) else None
    # Spreadsheets turn "01840" into 1840.
    return f"{code:05d}" if type(code) is int else code if isinstance(code, str) else None


def _geometry(feature: Any) -> BaseGeometry | None:
    try:
        with np.errstate(invalid="ignore"):  # infinite coordinates are refused by name later
            return shapely.force_2d(shape(feature["geometry"]))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ShapelyError):
        return None
