"""Geometry of assets: which of them lie near a point, and what is wrong with a delivery.

Degrees are WGS 84. Function arguments are always (lat, lon); geometries are always x = longitude, y = latitude.
Importing this module loads shapely: processes that never ask what is near must not import it.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import shapely
from geopy.distance import geodesic
from shapely.geometry.base import BaseGeometry

from app.core.geo import metres_per_degree
from app.core.geofile import coordinate_fault, too_many_vertices
from app.core.remarks import Remark
from app.core.text import clean

Kind = Literal["point", "line"]
Bounds = tuple[float, float, float, float]
Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

# What is near a point -----------------------------------------------------------------------------------------------

# A road is looked up in pieces: the box of a long one would hold half the province.
RUN = 16
_MARGIN = 1.01


class NearIndex:
    """The shapes near a point, by their numbers; immutable, safe to share between threads.

    Boxes of pieces are searched in a tree; the distance is then geodesic to the nearest point of the shape, which is
    found in a plane of metres around the asking point (right to a ten-thousandth within a few kilometres).
    """

    def __init__(self, shapes: Sequence[bytes]) -> None:
        parts, owner = shapely.get_parts(shapely.from_wkb(np.array(shapes, dtype=object)), return_index=True)
        self._points, part_of = shapely.get_coordinates(parts, return_index=True)
        self._low, self._high, part = _runs(part_of)
        self._owner: Numbers = owner[part]
        boxes = np.stack([_reduced(side, self._points, self._low, self._high) for side in (np.minimum, np.maximum)], 1)
        self._tree = shapely.STRtree(shapely.linestrings(boxes))  # only the envelopes count
        lon, lat = self._points[0]
        self.near(float(lat), float(lon), 1.0, lambda _: True)  # GEOS builds the tree at the first question, unlocked

    def near(self, lat: float, lon: float, within_m: float, wanted: Callable[[int], bool]) -> list[tuple[int, float]]:
        """Number and geodesic metres of all wanted shapes at most `within_m` away, nearest first."""
        scale = np.array(metres_per_degree(lat))
        wide, high = _MARGIN * within_m / scale
        best: dict[int, tuple[float, float, float]] = {}
        for run in self._tree.query(shapely.box(lon - wide, lat - high, lon + wide, lat + high)).tolist():
            number = int(self._owner[run])
            if not wanted(number):
                continue
            x, y = _nearest((self._points[self._low[run] : self._high[run]] - (lon, lat)) * scale)
            best[number] = min(best.get(number, (math.inf, 0.0, 0.0)), (math.hypot(x, y), x, y))
        found = [
            (number, float(geodesic((lat, lon), (lat + y / scale[1], lon + x / scale[0])).m))
            for number, (distance, x, y) in best.items()
            if distance <= _MARGIN * within_m
        ]
        return sorted(((n, metres) for n, metres in found if metres <= within_m), key=lambda each: (each[1], each[0]))


def _runs(part_of: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """First and one past last coordinate of each run of at most RUN segments, and the part it is cut from."""
    starts = np.flatnonzero(np.diff(part_of, prepend=-1))
    ends = np.append(starts[1:], len(part_of))
    runs = [
        (low, min(low + RUN + 1, end), part)
        for part, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True))
        for low in range(start, max(end - 1, start + 1), RUN)
    ]
    low, high, part = np.array(runs, dtype=np.int64).T
    return low, high, part


def _reduced(side: np.ufunc, points: Floats, low: Numbers, high: Numbers) -> Floats:
    """The smallest or largest coordinates of each run."""
    pairs = np.column_stack([low, high]).ravel()
    reduced: Floats = side.reduceat(np.vstack([points, points[-1:]]), pairs)[::2]
    return reduced


def _nearest(line: Floats) -> tuple[float, float]:
    """The place of a line (or a lone point) that is nearest to the origin."""
    if len(line) == 1:
        return float(line[0, 0]), float(line[0, 1])
    start, step = line[:-1], np.diff(line, axis=0)
    length = np.maximum((step * step).sum(axis=1), np.finfo(float).tiny)
    along = np.clip(-(start * step).sum(axis=1) / length, 0, 1)
    places = start + along[:, None] * step
    x, y = places[np.argmin((places * places).sum(axis=1))]
    return float(x), float(y)


# Checking a delivery -----------------------------------------------------------------------------------------------

MAX_VERTICES_EACH = 50_000
LONGEST = 200
_KINDS = {"point": ("Point", "MultiPoint"), "line": ("LineString", "MultiLineString")}
_KIND_WORDS = {"point": "điểm", "line": "đường"}


@dataclass(frozen=True, slots=True)
class Delivered:
    """One asset as it came: where in the delivery it stood, what it says, its geometry (None: it could not be read)."""

    place: Remark
    ref: str
    name: str
    manager: str | None
    category: str | None
    asset_class: str | None
    geometry: BaseGeometry | None

    @property
    def where(self) -> Remark:
        """The place with the asset's own id, for sentences about it."""
        # Half a surrogate cannot even be printed.
        ref = self.ref.encode("utf-8", "replace").decode()
        return self.place.of(f"mã {ref}", f"id {ref}") if ref else self.place


def geometry_faults(delivered: Sequence[Delivered], kind: Kind, province: Bounds) -> list[Remark]:
    """Everything that is wrong with the shapes and names of a delivery, in sentences.

    `province` is its outer box (west, south, east, north): an asset must reach into it.
    """
    faults = [item.where.says(*fault) for item in delivered for fault in _faults_of(item, kind, province)]
    times = Counter(item.ref for item in delivered if item.ref)
    faults += [
        Remark(f"mã {ref}: có {count} lần trong dữ liệu", f"id {ref}: stands in the delivery {count} times")
        for ref, count in times.items()
        if count > 1
    ]
    vertices = sum(int(shapely.get_num_coordinates(item.geometry)) for item in delivered if item.geometry is not None)
    if fault := too_many_vertices(vertices):
        faults.append(fault)
    return faults


def _faults_of(item: Delivered, kind: Kind, province: Bounds) -> Iterator[Remark]:
    if not item.ref:
        yield Remark(
            "không có cột id; đó là mã riêng của nguồn, giữ nguyên qua các lần giao",
            "has no id; it is the source's own, and stays the same from delivery to delivery",
        )
    for label, word, text in (("mã", "id", item.ref), ("tên", "name", item.name)):
        if fault := _text_fault(text):
            yield Remark(f"{label} {fault.vi}", f"the {word} {fault.en}")
    shape = item.geometry
    if shape is None or shape.is_empty or shape.geom_type not in _KINDS[kind]:
        yield Remark(f"không phải {_KIND_WORDS[kind]} đọc được", f"is no readable {kind}")
        return
    checks = (_size_fault, coordinate_fault, _kind_fault)
    fault = next((fault for check in checks if (fault := check(shape))), None) or _outside_fault(shape, province)
    if fault:
        yield fault


def _text_fault(text: str) -> Remark | None:
    try:
        clean(text)
    except ValueError as error:
        return Remark(f"không lưu được: {error}", f"cannot be stored: {error}")
    if len(text) > LONGEST:
        return Remark(f"dài hơn {LONGEST} ký tự", f"is longer than {LONGEST} characters")
    return None


def _size_fault(shape: BaseGeometry) -> Remark | None:
    count = int(shapely.get_num_coordinates(shape))
    if count <= MAX_VERTICES_EACH:
        return None
    return Remark(f"có {count} đỉnh, quá nhiều cho một tài sản", f"{count} vertices are too many for one asset")


def _kind_fault(shape: BaseGeometry) -> Remark | None:
    if shape.geom_type == "MultiPoint" and shapely.get_num_geometries(shape) != 1:
        return Remark("gồm nhiều điểm; mỗi tài sản là một điểm", "is several points; each asset is one")
    if shape.geom_type in _KINDS["line"] and shape.length == 0:
        return Remark("là đường không có chiều dài", "is a line without length")
    return None


def _outside_fault(shape: BaseGeometry, province: Bounds) -> Remark | None:
    if shape.intersects(shapely.box(*province)):
        return None
    west, south, _, _ = shape.bounds
    return Remark(
        f"nằm ngoài tỉnh (vĩ độ {south:.4f}, kinh độ {west:.4f})",
        f"lies outside the province (lat {south:.4f}, lon {west:.4f})",
    )


def place_on(shape: BaseGeometry) -> tuple[float, float]:
    """(lat, lon) of a point on the shape: the point itself, or the middle of the longest part of a line."""
    longest = max(shapely.get_parts(shape), key=lambda part: part.length)
    middle = shapely.line_interpolate_point(longest, 0.5, normalized=True) if longest.length else longest
    return float(middle.y), float(middle.x)


# What a delivery changes ---------------------------------------------------------------------------------------------

_FEW = 3
_SHARE = 5


def loses_too_much(current: int, delivered: int, ended: int) -> bool:
    """Whether a delivery looks broken: empty where assets stand, or it would end more than three and a fifth of them.

    A remote list that came back empty has deleted everything elsewhere; a person must insist.
    """
    return (current > 0 and delivered == 0) or (ended > _FEW and ended * _SHARE > current)
