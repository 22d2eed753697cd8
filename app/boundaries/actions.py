"""Drawing approximate boundaries, downloading and importing real ones. Nothing here ever deletes a version.

The caller commits, and writes the audit row from what is returned (`identity` lies above this slice).
"""

import fcntl
import hashlib
import json
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, field, replace
from datetime import date
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import true
from sqlmodel import col, select

from app.boundaries.models import Boundary, BoundaryVersion
from app.boundaries.queries import BOUNDARIES, Accuracy
from app.boundaries.rules import (
    Delivered,
    Difference,
    Seed,
    approximate_areas,
    area_km2,
    check_delivery,
    difference,
    drawn,
    too_many_vertices,
)
from app.boundaries.schemas import SourceEntry, SourceFile
from app.core import clock
from app.core.db import Session
from app.core.ids import uuid7
from app.core.versioned import bump
from app.orgunits.actions import alone
from app.orgunits.models import Unit
from app.orgunits.schemas import UnitPack, read_units

# Raised when `rules.approximate_areas` draws other areas from the same pack.
_METHOD = 1
# Of repairs and remarks stored with a version; the rest is counted.
_LISTED = 300


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
    fixes: tuple[str, ...]
    remarks: tuple[str, ...]
    replaces: BoundaryVersion | None
    difference: Difference[UUID] | None
    skipped: tuple[str, ...]

    @property
    def known(self) -> bool:
        """Whether these very files are in force from that day already."""
        before = self.replaces
        return before is not None and (before.sha256, before.effective_from) == (self.sha256, self.effective_from)


@dataclass(frozen=True, slots=True)
class Files:
    """What to import: a file or folder, the property that holds the codes, and codes by file name where it is absent.

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
        [Delivered("approximate", code, area) for code, area in areas.items()], _names(units), accept_gaps=True
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
        skipped=tuple(f"{item.place}: the province's outline" for item in features if item.code in province),
    )


def store(session: Session, prepared: Prepared, *, source: str, licence: str, note: str = "") -> ImportSummary:
    """Store what was prepared in this transaction as a new version beside the old ones; the same files only once."""
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
    return _summary(
        session,
        version,
        created=True,
        replaces=before.id if before else None,
        moved_share=change.share if change else None,
        skipped=prepared.skipped,
    )


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
        raise DeliveryError([f"no commune exists on {day}: load the pack first, or choose another day"])
    later = session.exec(
        select(BoundaryVersion)
        .where(BoundaryVersion.accuracy == "surveyed", col(BoundaryVersion.effective_from) > day)
        .order_by(col(BoundaryVersion.effective_from))
    ).first()
    if later is not None:
        there = f"the boundaries of {later.effective_from} ({later.source})"
        raise DeliveryError([f"{day} lies before {there}: choose that day or a later one"])


def _shortened(lines: Sequence[str]) -> list[str]:
    more = len(lines) - _LISTED
    return [*lines[:_LISTED], *([f"and {more} more"] if more > 0 else [])]


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

_MAX_BYTES = 256 * 1024 * 1024
_MAX_FEATURES = 10_000
_MAX_MEMBERS = 100
_BYTES_PER_VERTEX = 16
_DEGREES = {"urn:ogc:def:crs:OGC:1.3:CRS84", "urn:ogc:def:crs:EPSG::4326", "EPSG:4326", "OGC:CRS84", "CRS84"}
_LAYERS = (".shp", ".gpkg")
_SHAPEFILE = (".shp", ".shx", ".dbf", ".prj", ".cpg")


def _read_delivery(files: Files) -> tuple[str, list[Delivered]]:
    """The SHA-256 over all files in the order of their names, and all features in them."""
    if files.path.suffix.lower() != ".zip":
        return _read_files(_listed(files), files)
    with tempfile.TemporaryDirectory(prefix="phananh-") as place:
        return _read_files([_unpacked(files.path, Path(place))], files)


def _listed(files: Files) -> list[Path]:
    path = files.path
    if not path.is_dir():
        return [path]
    inside = sorted(path.iterdir())
    wanted = [each for each in inside if each.suffix in {".geojson", ".json"}]
    if files.only is not None:
        wanted = [each for each in wanted if each.name in files.only]
    wanted = wanted or [each for each in inside if each.suffix.lower() == ".shp"]
    if not wanted:
        raise DeliveryError([f"{path.name}: holds no .geojson file"])
    return wanted


def _read_files(paths: Sequence[Path], files: Files) -> tuple[str, list[Delivered]]:
    digest = hashlib.sha256()
    faults: list[str] = []
    features: list[Delivered] = []
    room, vertices = _MAX_BYTES, 0
    for path in paths:
        try:
            contents = [_bytes(part, room) for part in _parts(path)]
            room -= sum(map(len, contents))
            vertices += _vertices_at_most(path, contents[0])
            _refuse_crowds(path, vertices)
            features += _features_of(path, contents[0], files)
        except DeliveryError as error:
            faults += error.faults
            continue
        for content in contents:
            digest.update(hashlib.sha256(content).digest())
    if faults:
        raise DeliveryError(faults)
    return digest.hexdigest(), features


def _parts(path: Path) -> list[Path]:
    """A file, and what belongs to it beside it."""
    if path.suffix.lower() != ".shp":
        return [path]
    beside = {each.suffix.lower(): each for each in sorted(path.parent.iterdir()) if each.stem == path.stem}
    return [path, *(beside[suffix] for suffix in _SHAPEFILE[1:] if suffix in beside)]


def _bytes(file: Path, room: int) -> bytes:
    try:
        if file.stat().st_size > room:
            raise DeliveryError([f"{file.name}: too large, more than {_MAX_BYTES} bytes in all are not read"])
        return file.read_bytes()
    except OSError as error:
        raise DeliveryError([f"{file.name}: cannot be read ({error.strerror})"]) from error


def _vertices_at_most(path: Path, data: bytes) -> int:
    """A bound that costs nothing, before anything is built: every position opens a bracket, or takes two doubles."""
    return len(data) // _BYTES_PER_VERTEX if path.suffix.lower() in _LAYERS else data.count(b"[")


def _refuse_crowds(path: Path, vertices: int) -> None:
    if fault := too_many_vertices(vertices):
        raise DeliveryError([f"{path.name}: {fault}"])


def _features_of(path: Path, data: bytes, files: Files) -> Iterable[Delivered]:
    if path.suffix.lower() in _LAYERS:
        return _layer(path, files.code_column)
    return _geojson(path.name, data, files.code_column, files.codes.get(path.name))


def _geojson(name: str, data: bytes, column: str, known: str | None) -> Iterator[Delivered]:
    try:
        document = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DeliveryError([f"{name}: is no JSON ({str(error)[:80]})"]) from error
    kind = document.get("type") if isinstance(document, dict) else None
    found = {"FeatureCollection": _list_of(document, "features"), "Feature": [document]}.get(str(kind))
    if found is None:
        raise DeliveryError([f"{name}: is no GeoJSON FeatureCollection or Feature"])
    _refuse_projection(name, _crs(document))
    for place, feature in enumerate(found, start=1):
        properties = feature.get("properties") if isinstance(feature, dict) else None
        code = _code(properties.get(column)) if isinstance(properties, dict) else None
        geometry = feature.get("geometry") if isinstance(feature, dict) else None
        item = drawn(f"{name}, feature {place}", code or known, geometry)
        yield item if item.code else replace(item, fault=f"has no property `{column}`")


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


def _refuse_projection(name: str, system: str | None) -> None:
    """Refuse coordinates that say they are not WGS 84; what says nothing is judged by its numbers."""
    if system is not None and system not in _DEGREES and not system.startswith('GEOGCS["WGS 84"'):
        raise DeliveryError([f"{name}: is in {system[:60]}; convert it to WGS 84 (EPSG:4326) first"])


def _code(value: object) -> str | None:
    # Spreadsheets and DBF tables turn "01840" into 1840, or 1840.0.
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{int(value):05d}"
    return value.strip() or None if isinstance(value, str) else None


# Shapefile and GeoPackage ------------------------------------------------------------------------------------------


def _layer(path: Path, column: str) -> Iterator[Delivered]:
    """The features of a Shapefile, or of the one layer of a GeoPackage."""
    meta, shapes, columns = _through_gdal(path)
    _refuse_projection(path.name, meta["crs"])
    names = [str(name) for name in meta["fields"]]
    place = next((number for number, name in enumerate(names) if name.lower() == column.lower()), None)
    if place is None:
        raise DeliveryError([f"{path.name}: has no column `{column}`, only {', '.join(names) or 'none at all'}"])
    if len(shapes) > _MAX_FEATURES:
        raise DeliveryError([f"{path.name}: holds more than {_MAX_FEATURES} features"])
    _refuse_crowds(path, sum(len(wkb or b"") for wkb in shapes) // _BYTES_PER_VERTEX)
    for number, (wkb, value) in enumerate(zip(shapes, columns[place], strict=True), start=1):
        area = shapely.from_wkb(wkb, on_invalid="ignore") if wkb else None
        yield Delivered(f"{path.name}, feature {number}", _code(value), area)


def _through_gdal(path: Path) -> tuple[dict[str, Any], Any, Any]:
    """Metadata, geometries as WKB, and columns. GDAL (30 MB) is loaded with the first such file."""
    import pyogrio  # noqa: PLC0415 - as said

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what GDAL guesses; everything it answers is checked
            layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
            if len(layers) != 1:
                found = ", ".join(layers) or "none"
                raise DeliveryError([f"{path.name}: must hold one layer with geometries, not {found}"])
            meta, _, shapes, columns = pyogrio.raw.read(
                path, layer=layers[0], force_2d=True, max_features=_MAX_FEATURES + 1
            )
    except (RuntimeError, ValueError) as error:
        raise DeliveryError([f"{path.name}: cannot be read ({str(error)[:120]})"]) from error
    return meta, shapes, columns


def _unpacked(path: Path, folder: Path) -> Path:
    """The Shapefile of a zip, unpacked by us and not by GDAL: bounded in members, paths and bytes."""
    try:
        with zipfile.ZipFile(path) as archive:
            wanted = _members(path.name, archive)
            room = _MAX_BYTES
            for member in wanted:
                with archive.open(member) as packed:
                    content = packed.read(room + 1)
                room -= len(content)
                if room < 0:
                    raise DeliveryError([f"{path.name}: unpacks to more than {_MAX_BYTES} bytes"])
                (folder / Path(member.filename).name.lower()).write_bytes(content)
    except OSError as error:
        raise DeliveryError([f"{path.name}: cannot be read ({error.strerror or error})"]) from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise DeliveryError([f"{path.name}: is no zip that can be read ({str(error)[:80]})"]) from error
    return next(each for each in folder.iterdir() if each.suffix == ".shp")


def _members(name: str, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    members = archive.infolist()
    if len(members) > _MAX_MEMBERS:
        raise DeliveryError([f"{name}: holds {len(members)} files, more than {_MAX_MEMBERS}"])
    for member in members:
        path = Path(member.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in member.filename:
            raise DeliveryError([f"{name}: holds a path that leads elsewhere ({member.filename[:60]!r})"])
    if sum(member.file_size for member in members) > _MAX_BYTES:
        raise DeliveryError([f"{name}: unpacks to more than {_MAX_BYTES} bytes"])
    shapes = [member.filename for member in members if member.filename.lower().endswith(".shp")]
    if len(shapes) != 1:
        raise DeliveryError([f"{name}: must hold one Shapefile, not {', '.join(shapes) or 'none'}"])
    stem = shapes[0][: -len(".shp")].lower()
    return [
        member
        for member in members
        if Path(member.filename).suffix.lower() in _SHAPEFILE and member.filename.lower().rpartition(".")[0] == stem
    ]


# Downloading -------------------------------------------------------------------------------------------------------

_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a download may take, in seconds: to connect, between two pieces, in all; tries a file, rest between."""

    connect_s: float = 5.0
    read_s: float = 10.0
    total_s: float = 600.0
    tries: int = 3
    rest_s: float = 0.5


PATIENT = Patience()
# At the start of a laptop: together less than 20 s, whatever the network does.
ONCE = Patience(connect_s=3.0, read_s=4.0, total_s=14.0, tries=1)


def fetch_files(source: SourceFile, folder: Path, patience: Patience = PATIENT) -> Files:
    """Download what the pack's boundaries.yaml lists and is not in `folder` yet, whole and with the right SHA-256.

    DeliveryError names every file that did not come and why. Whole files stay for the next try, and so do beginnings,
    which are continued; a file whose content is not what the pack says is deleted. Call it outside any transaction.
    """
    if source.address is None:
        raise DeliveryError(
            ["boundaries.yaml lists no files to download: import yours with `phananh boundaries import`"]
        )
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DeliveryError(["another download into the same folder is going on"]) from None
        faults = _Download(source.address, folder, patience).run(source.files)
    if faults:
        raise DeliveryError(faults)
    codes = {entry.name: entry.code for entry in source.files if entry.code is not None}
    return Files(folder, codes=codes, only=frozenset(entry.name for entry in source.files))


class _Untrue(Exception):
    """The server sends something else than the pack says; the text completes a sentence about the file."""


class _Cut(Exception):
    """The transfer ended early; what came is kept and can be continued."""


class _Download:
    """One run over the files of a list, a few at a time, bounded in time and bytes."""

    def __init__(self, address: str, folder: Path, patience: Patience) -> None:
        self._address, self._folder, self._patience = address, folder, patience
        self._deadline = time.monotonic() + patience.total_s
        self._unreachable: str | None = None

    def run(self, entries: Sequence[SourceEntry]) -> list[str]:
        """Download what is missing; the faults, of an unreachable server a single one."""
        with httpx2.Client(follow_redirects=False) as client, ThreadPoolExecutor(_AT_ONCE) as pool:
            faults = list(pool.map(lambda entry: self._tried(client, entry), entries))
        return [self._unreachable] if self._unreachable else [fault for fault in faults if fault]

    def _tried(self, client: httpx2.Client, entry: SourceEntry) -> str | None:
        """What kept the file from coming, or None."""
        target = self._folder / entry.name
        if _is_whole(target, entry):
            return None
        part, why = target.with_name(f"{entry.name}.part"), ""
        for attempt in range(self._patience.tries):
            time.sleep(self._patience.rest_s * attempt)
            if self._unreachable or self._left() <= 0:
                break
            try:
                self._continued(client, entry, part)
                part.replace(target)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                self._unreachable = f"{httpx2.URL(self._address).host} cannot be reached ({_short(error)})"
            except httpx2.TimeoutException:
                why = f"nothing came any more after {_size(part)} of {entry.bytes} bytes"
            except httpx2.HTTPError as error:
                why = f"the connection broke after {_size(part)} of {entry.bytes} bytes ({_short(error)})"
            except _Cut as error:
                why = str(error)
            except _Untrue as error:
                part.unlink(missing_ok=True)
                return f"{entry.path}: {error}; it was deleted"
            else:
                return None
        late = f"not finished within {self._patience.total_s:.0f} s" if self._left() <= 0 else ""
        return f"{entry.path}: {why or late}"

    def _left(self) -> float:
        return self._deadline - time.monotonic()

    def _continued(self, client: httpx2.Client, entry: SourceEntry, part: Path) -> None:
        """Bring `part` to its whole length, from where an earlier try ended, and hold it against its SHA-256."""
        have = begun = _size(part)
        if have < entry.bytes:
            timeout = httpx2.Timeout(
                min(self._patience.read_s, self._left()), connect=min(self._patience.connect_s, self._left())
            )
            headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
            with client.stream("GET", self._address + entry.path, headers=headers, timeout=timeout) as answer:
                have = self._received(answer, entry, part, have)
        if have < entry.bytes:
            raise _Cut(f"the server ended after {have} of {entry.bytes} bytes")
        if (found := hashlib.sha256(part.read_bytes()).hexdigest()) != entry.sha256:
            told = f"its SHA-256 is {found[:12]}…, not {entry.sha256[:12]}… as the pack says"
            if begun:  # perhaps only the beginning was bad: try again from the start
                part.unlink()
                raise _Cut(told)
            raise _Untrue(told)

    def _received(self, answer: httpx2.Response, entry: SourceEntry, part: Path, have: int) -> int:
        """Append what comes; the length then. Never more is stored than the pack says."""
        if answer.status_code == HTTPStatus.OK:
            have = 0  # the server sends it from the start, whatever it was asked for
        elif not (have and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")):
            raise _Cut(f"the server answered {answer.status_code}")
        with part.open("ab" if have else "wb") as file:
            for chunk in answer.iter_raw():
                have += len(chunk)
                if have > entry.bytes:
                    raise _Untrue(f"the server sends more than the {entry.bytes} bytes that the pack says")
                file.write(chunk)
                if self._left() <= 0:
                    raise _Cut(f"not finished within {self._patience.total_s:.0f} s ({have} of {entry.bytes} bytes)")
        return have


def _is_whole(file: Path, entry: SourceEntry) -> bool:
    return _size(file) == entry.bytes and hashlib.sha256(file.read_bytes()).hexdigest() == entry.sha256


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _short(error: Exception) -> str:
    return str(error)[:120] or type(error).__name__
