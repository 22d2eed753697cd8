"""Reading geographic files that others made: GeoJSON, Shapefile, GeoPackage, and CSV of points, a file or a folder.

What is read is bounded before anything is built of it: bytes, what a zip unpacks to, features, positions. Another
projection is refused by its name; axes are judged by where the numbers lie. What the features mean is the caller's.
Importing this module loads shapely, GDAL (60 MB) comes with the first file that needs it.
"""

import csv
import hashlib
import io
import json
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from app.core.geo import VIETNAM
from app.core.remarks import DeliveryError, Remark, named, refusal

MAX_BYTES = 256 * 1024 * 1024
# A province's communes have some 200,000; beyond this a file is broken or meant to harm.
MAX_VERTICES = 2_000_000

_MEGABYTES = MAX_BYTES // 2**20
_MAX_MEMBERS = 100
_BYTES_PER_VERTEX = 16
_FULL_CIRCLE = 360.0
_GEOJSON, _LAYERS, _TABLE = frozenset({".geojson", ".json"}), frozenset({".shp", ".gpkg"}), frozenset({".csv"})
_SHAPEFILE = (".shp", ".shx", ".dbf", ".prj", ".cpg")
_DEGREES = {"urn:ogc:def:crs:OGC:1.3:CRS84", "urn:ogc:def:crs:EPSG::4326", "EPSG:4326", "OGC:CRS84", "CRS84"}

SHAPES = _GEOJSON | _LAYERS | {".zip"}
POINTS_TOO = SHAPES | _TABLE


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature as it came: where it stood, its cells by name in small letters, its geometry (GeoJSON, or WKB)."""

    file: str
    place: Remark
    cells: Mapping[str, object]
    geometry: object

    def shape(self) -> BaseGeometry | None:
        """The geometry without heights; None where it cannot be read. It may hold numbers that are none."""
        try:
            if self.geometry is None or isinstance(self.geometry, bytes):
                return shapely.from_wkb(self.geometry, on_invalid="ignore")
            with np.errstate(invalid="ignore"):
                return shapely.force_2d(shape(self.geometry))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, ShapelyError):
            return None


@dataclass(frozen=True, slots=True)
class Delivery:
    """All features of a file or folder in their order; `sha256` covers the files in the order of their names."""

    sha256: str
    features: tuple[Feature, ...]


def read(path: Path, kinds: Collection[str], *, at_most: int, only: Collection[str] | None = None) -> Delivery:
    """Read a file, or every file of a folder (`only` those of these names), of the `kinds` told by their endings.

    DeliveryError names every file that cannot be used; more than `at_most` features in one are refused.
    """
    if path.suffix.lower() != ".zip":
        return _read_files(_listed(path, kinds, only), at_most)
    with tempfile.TemporaryDirectory(prefix="phananh-") as place:
        return _read_files([_unpacked(path, Path(place))], at_most)


def coordinate_fault(found: BaseGeometry) -> Remark | None:
    """What is wrong with the numbers of a geometry: none, no degrees, swapped, or far from Vietnam."""
    points = shapely.get_coordinates(found)
    if not np.isfinite(points).all():
        return Remark("có tọa độ không phải là số", "holds a coordinate that is no number")
    if (np.abs(points) > _FULL_CIRCLE).any():
        return Remark(
            "tọa độ không phải là độ: hệ quy chiếu khác (VN-2000?); hãy chuyển sang WGS 84 rồi nhập lại",
            "coordinates are not degrees: another projection (VN-2000?); convert it to WGS 84 first",
        )
    if _in_vietnam(points):
        return None
    if _in_vietnam(points[:, ::-1]):
        return Remark(
            "vĩ độ và kinh độ bị đảo; kinh độ đứng trước", "latitude and longitude are swapped; longitude comes first"
        )
    west, south, east, north = found.bounds
    numbers = (f"{south:.4f}", f"{north:.4f}", f"{west:.4f}", f"{east:.4f}")
    return Remark(
        "nằm ngoài Việt Nam (vĩ độ {} đến {}, kinh độ {} đến {})".format(*numbers),
        "lies outside Vietnam (lat {} to {}, lon {} to {})".format(*numbers),
    )


def too_many_vertices(count: int) -> Remark | None:
    """The refusal of more vertices than any province has."""
    if count <= MAX_VERTICES:
        return None
    return Remark(
        f"có {count:,} đỉnh, chỉ đọc tối đa {MAX_VERTICES:,}; hãy làm thưa đường, hoặc chỉ lấy phần của tỉnh",
        f"holds {count:,} vertices; more than {MAX_VERTICES:,} are not read: simplify, or keep the province only",
    )


def _in_vietnam(lon_lat: npt.NDArray[np.float64]) -> bool:
    west, south, east, north = VIETNAM
    lon, lat = lon_lat[:, 0], lon_lat[:, 1]
    return bool(((west <= lon) & (lon <= east) & (south <= lat) & (lat <= north)).all())


# Files ---------------------------------------------------------------------------------------------------------------


def _listed(path: Path, kinds: Collection[str], only: Collection[str] | None) -> list[Path]:
    if not path.is_dir():
        return [path]
    inside = [each for each in sorted(path.iterdir()) if each.suffix.lower() in kinds]
    wanted = [each for each in inside if each.suffix.lower() in _GEOJSON]
    if only is not None:
        wanted = [each for each in wanted if each.name in only]
    wanted = wanted or [each for each in inside if each.suffix.lower() == ".shp"]
    if not wanted:
        raise refusal(
            f"{path.name}: không có tệp .geojson hay .shp", f"{path.name}: holds no .geojson file and no .shp"
        )
    return wanted


def _read_files(paths: Sequence[Path], at_most: int) -> Delivery:
    digest = hashlib.sha256()
    faults: list[Remark] = []
    features: list[Feature] = []
    room, vertices = MAX_BYTES, 0
    for path in paths:
        try:
            contents = [_bytes(part, room) for part in _parts(path)]
            room -= sum(map(len, contents))
            vertices += _vertices_at_most(path, contents[0])
            _refuse_crowds(path, vertices)
            features += _features_of(path, contents[0], at_most)
        except DeliveryError as error:
            faults += error.faults
            continue
        for content in contents:
            digest.update(hashlib.sha256(content).digest())
    if faults:
        raise DeliveryError(faults)
    return Delivery(digest.hexdigest(), tuple(features))


def _parts(path: Path) -> list[Path]:
    """A file, and what belongs to it beside it."""
    if path.suffix.lower() != ".shp" or not path.exists():
        return [path]
    beside = {each.suffix.lower(): each for each in sorted(path.parent.iterdir()) if each.stem == path.stem}
    return [path, *(beside[suffix] for suffix in _SHAPEFILE[1:] if suffix in beside)]


def _bytes(file: Path, room: int) -> bytes:
    try:
        if file.stat().st_size > room:
            raise refusal(
                f"{file.name}: quá lớn, tổng cộng chỉ đọc tối đa {_MEGABYTES} MB",
                f"{file.name}: too large, more than {_MEGABYTES} MB in all are not read",
            )
        return file.read_bytes()
    except OSError as error:
        raise _unreadable(file.name, error.strerror) from error


def _unreadable(name: str, why: object) -> DeliveryError:
    told = str(why)[:120]
    return refusal(f"{name}: không đọc được ({told})", f"{name}: cannot be read ({told})")


def _vertices_at_most(path: Path, data: bytes) -> int:
    """A bound that costs nothing, before anything is built: every position opens a bracket, or takes two doubles."""
    if path.suffix.lower() in _TABLE:
        return 0  # its rows are counted as they come
    return len(data) // _BYTES_PER_VERTEX if path.suffix.lower() in _LAYERS else data.count(b"[")


def _refuse_crowds(path: Path, vertices: int) -> None:
    if fault := too_many_vertices(vertices):
        raise DeliveryError([named(path.name).says(*fault)])


def _features_of(path: Path, data: bytes, at_most: int) -> list[Feature]:
    readers = dict.fromkeys(_LAYERS, _layer) | dict.fromkeys(_TABLE, _table)
    found: list[Feature] = []
    for feature in readers.get(path.suffix.lower(), _geojson)(path, data, at_most):
        found.append(feature)
        if len(found) > at_most:
            raise refusal(
                f"{path.name}: có hơn {at_most:,} đối tượng; hãy chia thành nhiều tệp",
                f"{path.name}: holds more than {at_most:,} features; deliver in several parts",
            )
    return found


def _named_cells(cells: Mapping[Any, object]) -> dict[str, object]:
    return {str(name).strip().lower(): value for name, value in cells.items()}


def _number(path: Path, number: int) -> Remark:
    return named(path.name).of(f"đối tượng {number}", f"feature {number}")


def _refuse_projection(name: str, system: str | None) -> None:
    """Refuse coordinates that say they are not WGS 84; what says nothing is judged by its numbers."""
    if system is not None and system not in _DEGREES and not system.startswith('GEOGCS["WGS 84"'):
        raise refusal(
            f"{name}: dùng hệ {system[:60]}; hãy chuyển sang WGS 84 (EPSG:4326) rồi nhập lại",
            f"{name}: is in {system[:60]}; convert it to WGS 84 (EPSG:4326) first",
        )


# GeoJSON -------------------------------------------------------------------------------------------------------------


def _geojson(path: Path, data: bytes, _at_most: int) -> Iterator[Feature]:
    try:
        document = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        told = str(error)[:80]
        raise refusal(f"{path.name}: không phải JSON ({told})", f"{path.name}: is no JSON ({told})") from error
    kind = document.get("type") if isinstance(document, dict) else None
    found = {"FeatureCollection": _list_of(document, "features"), "Feature": [document]}.get(str(kind))
    if found is None:
        raise refusal(
            f"{path.name}: không phải FeatureCollection hay Feature của GeoJSON",
            f"{path.name}: is no GeoJSON FeatureCollection or Feature",
        )
    _refuse_projection(path.name, _named_system(document))
    for number, feature in enumerate(found, start=1):
        known = feature if isinstance(feature, dict) else {}
        properties = known.get("properties")
        cells = {"id": known.get("id"), **(properties if isinstance(properties, dict) else {})}
        yield Feature(path.name, _number(path, number), _named_cells(cells), known.get("geometry"))


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")


def _list_of(document: Any, key: str) -> list[Any] | None:
    value = document.get(key) if isinstance(document, dict) else None
    return value if isinstance(value, list) else None


def _named_system(document: dict[str, Any]) -> str | None:
    """The name in the `crs` member of older GeoJSON; None where there is none, which means degrees."""
    crs = document.get("crs")
    if crs is None:
        return None
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    return str(name or "an unnamed projection")


# Shapefile and GeoPackage --------------------------------------------------------------------------------------------


def _layer(path: Path, _data: bytes, at_most: int) -> Iterator[Feature]:
    """The features of a Shapefile, or of the one layer of a GeoPackage."""
    meta, shapes, columns = _through_gdal(path, at_most)
    _refuse_projection(path.name, meta["crs"])
    _refuse_crowds(path, sum(len(wkb or b"") for wkb in shapes) // _BYTES_PER_VERTEX)
    names = [str(name) for name in meta["fields"]]
    for number, wkb in enumerate(shapes, start=1):
        cells = {name: column[number - 1] for name, column in zip(names, columns, strict=True)}
        yield Feature(path.name, _number(path, number), _named_cells(cells), bytes(wkb) if wkb else None)


def _through_gdal(path: Path, at_most: int) -> tuple[dict[str, Any], Any, Any]:
    """Metadata, geometries as WKB, and columns of the one layer; one feature more than wanted shows a crowd."""
    import pyogrio  # noqa: PLC0415 - as said above

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what GDAL guesses; everything it answers is checked
            layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
            if len(layers) != 1:
                found = ", ".join(layers)
                raise refusal(
                    f"{path.name}: phải có đúng một lớp hình, không phải {found or 'không có lớp nào'}",
                    f"{path.name}: must hold one layer with geometries, not {found or 'none'}",
                )
            meta, _, shapes, columns = pyogrio.raw.read(path, layer=layers[0], force_2d=True, max_features=at_most + 1)
    except (RuntimeError, ValueError) as error:
        raise _unreadable(path.name, str(error).replace(str(path), path.name)) from error
    return meta, shapes, columns


def _unpacked(path: Path, folder: Path) -> Path:
    """The Shapefile of a zip, unpacked by us and not by GDAL: bounded in members, paths and bytes."""
    try:
        with zipfile.ZipFile(path) as archive:
            wanted = _members(path.name, archive)
            room = MAX_BYTES
            for member in wanted:
                with archive.open(member) as packed:
                    content = packed.read(room + 1)
                room -= len(content)
                if room < 0:
                    raise _bomb(path.name)
                (folder / Path(member.filename).name.lower()).write_bytes(content)
    except OSError as error:
        raise _unreadable(path.name, error.strerror or error) from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        told = str(error)[:80]
        raise refusal(
            f"{path.name}: không phải tệp zip đọc được ({told})", f"{path.name}: is no zip that can be read ({told})"
        ) from error
    return next(each for each in folder.iterdir() if each.suffix == ".shp")


def _bomb(name: str) -> DeliveryError:
    return refusal(
        f"{name}: giải nén ra hơn {_MEGABYTES} MB; tệp hỏng hoặc có ý gây hại, hãy xin lại từ nguồn",
        f"{name}: unpacks to more than {_MEGABYTES} MB: broken, or meant to harm; ask its source for another",
    )


def _members(name: str, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    members = archive.infolist()
    if len(members) > _MAX_MEMBERS:
        raise refusal(
            f"{name}: chứa {len(members)} tệp, tối đa {_MAX_MEMBERS}",
            f"{name}: holds {len(members)} files, more than {_MAX_MEMBERS}",
        )
    for member in members:
        path = Path(member.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in member.filename:
            told = repr(member.filename[:60])
            raise refusal(
                f"{name}: có đường dẫn ra ngoài thư mục ({told})", f"{name}: holds a path that leads elsewhere ({told})"
            )
    if sum(member.file_size for member in members) > MAX_BYTES:
        raise _bomb(name)
    shapes = [member.filename for member in members if member.filename.lower().endswith(".shp")]
    if len(shapes) != 1:
        found = ", ".join(shapes)
        raise refusal(
            f"{name}: phải chứa đúng một Shapefile, không phải {found or 'không có tệp nào'}",
            f"{name}: must hold one Shapefile, not {found or 'none'}",
        )
    stem = shapes[0][: -len(".shp")].lower()
    return [
        member
        for member in members
        if Path(member.filename).suffix.lower() in _SHAPEFILE and member.filename.lower().rpartition(".")[0] == stem
    ]


# CSV -----------------------------------------------------------------------------------------------------------------


def _table(path: Path, data: bytes, at_most: int) -> Iterator[Feature]:
    """Rows of points. What looks like a formula is text like any other; commas or semicolons may part the cells."""
    try:
        written = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refusal(
            f"{path.name}: không phải văn bản UTF-8 (byte {error.start}); hãy lưu lại dạng CSV UTF-8",
            f"{path.name}: is no UTF-8 text (byte {error.start}); save it as CSV UTF-8",
        ) from error
    header = written.partition("\n")[0]
    delimiter = ";" if header.count(";") > header.count(",") else ","
    rows = csv.DictReader(io.StringIO(written, newline=""), delimiter=delimiter, strict=True)
    columns = {str(name).strip().lower() for name in rows.fieldnames or ()}
    if missing := {"id", "lat", "lon"} - columns:
        told = ", ".join(sorted(missing))
        raise refusal(f"{path.name}: thiếu cột {told}", f"{path.name}: has no column {told}")
    yield from _rows(path, rows, at_most)


def _rows(path: Path, rows: "csv.DictReader[str]", at_most: int) -> list[Feature]:
    faults: list[Remark] = []
    found: list[Feature] = []
    place = named(path.name)
    try:
        for row in rows:
            place = named(path.name).of(f"dòng {rows.line_num}", f"line {rows.line_num}")
            cells = _named_cells({name: value for name, value in row.items() if name is not None})
            if None in row or None in row.values():
                faults.append(place.says("có số ô khác dòng đầu", "has another number of cells than the first line"))
            elif point := _point(str(cells["lat"]), str(cells["lon"])):
                found.append(Feature(path.name, place, cells, point.wkb))
            else:
                told = f"lat {str(cells['lat'])[:20]!r}, lon {str(cells['lon'])[:20]!r}"
                faults.append(
                    place.says(
                        f"{told} không phải là độ (dùng dấu chấm cho phần thập phân)",
                        f"{told} are no degrees (a point stands before decimals)",
                    )
                )
            if len(found) > at_most:
                break
    except csv.Error as error:
        place = named(path.name).of(f"dòng {rows.line_num}", f"line {rows.line_num}")
        faults.append(place.says(f"không phải CSV ({error})", f"is no CSV ({error})"))
    if faults:
        raise DeliveryError(faults)
    return found


def _point(lat: str, lon: str) -> BaseGeometry | None:
    try:
        point = shapely.Point(float(lon), float(lat))
    except ValueError:
        return None
    return point if np.isfinite(shapely.get_coordinates(point)).all() and not point.is_empty else None
