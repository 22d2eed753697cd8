"""Places: which commune a point lies in, by the areas of one version.

Degrees are WGS 84. Function arguments are always (lat, lon); geometries are always x = longitude, y = latitude.
Importing this module loads shapely: processes that never look up a point must not import it.
"""

import math
import threading
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import shapely
from geopy.distance import geodesic
from shapely.geometry.base import BaseGeometry

from app.core.geo import metres_per_degree

K = TypeVar("K", bound=Hashable)
Outcome = Literal["inside", "border", "sliver", "outside"]
Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

CELL_DEG = 0.005
ACCURACY_CAP_M = 1000.0
# Real borders leave gaps of less than 10 cm between neighbours; a point this near to a commune belongs to it.
HAIR_M = 1.0

_EPS_DEG = 1e-9
_EQUATOR_M = 6378137.0
_ECCENTRICITY = 0.0818191908426215


@dataclass(frozen=True, slots=True)
class Found(Generic[K]):
    """Where a point lies.

    inside: in `commune`, which also holds its whole accuracy circle. border: the circle reaches other communes as
    well. sliver: in a gap between communes, `commune` is the nearest. outside: the circle misses the province.
    `candidates` starts with `commune` and names every commune that the circle reaches.
    """

    outcome: Outcome
    commune: K | None
    candidates: tuple[K, ...]


def area_km2(geometry: BaseGeometry) -> float:
    """Area on the WGS 84 ellipsoid, exact but for the straightness of edges (cylindrical equal-area projection)."""
    return float(shapely.transform(geometry, _equal_area).area) / 1e6


def _equal_area(lon_lat: Floats) -> Floats:
    """Lambert's cylindrical equal-area projection of the ellipsoid (Snyder 1987, equations 10-14 and 3-12)."""
    e, sine = _ECCENTRICITY, np.sin(np.radians(lon_lat[:, 1]))
    bent = np.log((1 - e * sine) / (1 + e * sine)) / (2 * e)
    q = (1 - e * e) * (sine / (1 - e * e * sine * sine) - bent)
    return np.column_stack((_EQUATOR_M * np.radians(lon_lat[:, 0]), _EQUATOR_M * q / 2))


class _Metric:
    """A polygon in metres around its own middle latitude: distances up to the cap are right to 0.2 %."""

    __slots__ = ("_of_lat", "_of_lon", "shape")

    def __init__(self, polygon: BaseGeometry) -> None:
        _, south, _, north = polygon.bounds
        self._of_lon, self._of_lat = metres_per_degree((south + north) / 2)
        scale = np.array((self._of_lon, self._of_lat))
        self.shape = shapely.transform(polygon, lambda lon_lat: lon_lat * scale)
        shapely.prepare(self.shape)

    def reaches(self, lat: float, lon: float, radius_m: float) -> bool:
        return bool(shapely.dwithin(self.shape, self._point(lat, lon), radius_m))

    def nearest(self, lat: float, lon: float) -> tuple[float, float]:
        """The (lat, lon) of the polygon nearest to the point; the point itself when it lies inside."""
        x, y = shapely.get_coordinates(shapely.shortest_line(self.shape, self._point(lat, lon)))[0]
        return float(y / self._of_lat), float(x / self._of_lon)

    def _point(self, lat: float, lon: float) -> BaseGeometry:
        return shapely.Point(lon * self._of_lon, lat * self._of_lat)


class PointIndex(Generic[K]):
    """Exact point lookup over the communes of one boundary version; immutable, safe to share between threads.

    A square grid of 0.005° maps a cell to its commune, where one covers it whole, or to the communes that touch it,
    which are tested with their whole polygons in the order of their codes: clipping polygons to cells would not be
    exact. So the answer equals `shapely.covers` everywhere, the lowest code wins where borders overlap by a hair, and
    the order in which polygons were delivered does not matter.
    """

    def __init__(self, polygons: Mapping[K, BaseGeometry], codes: Mapping[K, str]) -> None:
        if not polygons:
            raise ValueError("an index needs at least one polygon")
        self._keys = tuple(sorted(polygons, key=lambda key: (codes[key], str(key))))
        self._number = {key: number for number, key in enumerate(self._keys)}
        self._polygons = tuple(polygons[key] for key in self._keys)
        self._metric = tuple(_Metric(polygon) for polygon in self._polygons)
        west, south, east, north = (float(edge) for edge in shapely.total_bounds(np.array(self._polygons)))
        self._west, self._south = _cell(west - _EPS_DEG), _cell(south - _EPS_DEG)
        self._columns = _cell(east + _EPS_DEG) - self._west + 1
        self._rows = _cell(north + _EPS_DEG) - self._south + 1
        self._cells = self._filled()
        self._outline_lock = threading.Lock()
        self._warm()

    @classmethod
    def build(cls, polygons: Mapping[K, BaseGeometry], codes: Mapping[K, str]) -> "PointIndex[K]":
        """The index over `polygons` (x = longitude, y = latitude); `codes` decides where polygons overlap."""
        return cls(polygons, codes)

    @classmethod
    def from_wkb(cls, areas: Mapping[K, bytes], codes: Mapping[K, str]) -> "PointIndex[K]":
        """The index over areas as they are stored."""
        return cls({key: shapely.from_wkb(wkb) for key, wkb in areas.items()}, codes)

    def locate(self, lat: float, lon: float, accuracy_m: float | None = None) -> Found[K]:
        """Where the point lies, given the radius its device claims (counted up to 1 km; None: exact)."""
        if not (-90 <= lat <= 90 and -180 <= lon <= 180):  # noqa: PLR2004 - the globe; beyond it cells have no number
            return Found("outside", None, ())
        radius = min(max(accuracy_m or 0.0, 0.0), ACCURACY_CAP_M)
        home = self._containing(lat, lon)
        if home is not None:
            near = self._near(lat, lon, radius, home) if radius else ()
            return self._found("border" if near else "inside", (home, *near))
        near = self._near(lat, lon, max(radius, HAIR_M))
        if self._near(lat, lon, HAIR_M) or self._is_enclosed(lat, lon):
            reached = self._by_distance(lat, lon, near) or self._by_distance(lat, lon, self._around(lat, lon))[:1]
            return self._found("sliver", reached)
        if near:
            return self._found("border", self._by_distance(lat, lon, near))
        return Found("outside", None, ())

    def distance_m(self, lat: float, lon: float, key: K) -> float:
        """Geodesic metres from the point to the area of `key`, 0 inside it."""
        return self._distance_m(lat, lon, self._number[key])

    def _found(self, outcome: Outcome, numbers: Sequence[int]) -> Found[K]:
        keys = tuple(self._keys[number] for number in numbers)
        return Found(outcome, keys[0], keys)

    def _containing(self, lat: float, lon: float) -> int | None:
        column, row = math.floor(lon / CELL_DEG) - self._west, math.floor(lat / CELL_DEG) - self._south
        if not (0 <= column < self._columns and 0 <= row < self._rows):
            return None
        held = self._cells[row * self._columns + column]
        if type(held) is int:
            return held
        for number in held:  # type: ignore[union-attr]
            if shapely.intersects_xy(self._polygons[number], lon, lat):
                return number
        return None

    def _near(self, lat: float, lon: float, radius_m: float, home: int | None = None) -> tuple[int, ...]:
        """The communes within `radius_m`, without `home`, in the order of their codes."""
        of_lon, of_lat = metres_per_degree(lat)
        wide, high = 1.01 * radius_m / of_lon, 1.01 * radius_m / of_lat
        left, right = max(_cell(lon - wide) - self._west, 0), min(_cell(lon + wide) - self._west, self._columns - 1)
        low, top = max(_cell(lat - high) - self._south, 0), min(_cell(lat + high) - self._south, self._rows - 1)
        held: set[int | tuple[int, ...]] = set()
        for row in range(low, top + 1):
            held.update(self._cells[row * self._columns + left : row * self._columns + right + 1])
        if held == {home}:
            return ()
        numbers = {n for cell in held for n in ((cell,) if isinstance(cell, int) else cell)} - {home}
        return tuple(n for n in sorted(numbers) if self._metric[n].reaches(lat, lon, radius_m))

    def _around(self, lat: float, lon: float) -> tuple[int, ...]:
        """The communes around a point in a wide gap: the first ring that reaches any."""
        rings = (self._near(lat, lon, radius) for radius in (10.0, 100.0, 1e3, 1e4, 1e5))
        return next((near for near in rings if near), tuple(range(len(self._keys))))

    def _by_distance(self, lat: float, lon: float, numbers: Iterable[int]) -> list[int]:
        return sorted(numbers, key=lambda number: (self._distance_m(lat, lon, number), number))

    def _distance_m(self, lat: float, lon: float, number: int) -> float:
        return float(geodesic((lat, lon), self._metric[number].nearest(lat, lon)).m)

    def _is_enclosed(self, lat: float, lon: float) -> bool:
        column, row = _cell(lon) - self._west, _cell(lat) - self._south
        if not (0 <= column < self._columns and 0 <= row < self._rows):
            return False
        with self._outline_lock:
            return bool(shapely.intersects_xy(self._outline, lon, lat))

    @cached_property
    def _outline(self) -> BaseGeometry:
        """The province without its gaps. Made when a point first lies in no commune: slower than the index."""
        rings = shapely.get_exterior_ring(shapely.get_parts(shapely.union_all(np.array(self._polygons))))
        outline = shapely.union_all(shapely.polygons(rings))
        shapely.prepare(outline)
        return outline

    def _filled(self) -> list[int | tuple[int, ...]]:
        """Row by row: the number of the commune that covers the cell whole, or those that touch it (none outside)."""
        cells: list[int | tuple[int, ...]] = [()] * (self._columns * self._rows)
        for number, polygon in enumerate(self._polygons):
            shapely.prepare(polygon)
            edge = self._edge(polygon)
            for cell in self._inner(polygon, edge):
                cells[cell] = number if cells[cell] == () else (*_several(cells[cell]), number)
            for cell in edge.tolist():
                cells[cell] = (*_several(cells[cell]), number)
        return cells

    def _edge(self, polygon: BaseGeometry) -> Numbers:
        """The cells that the border may touch: the boxes of its segments, cut to span two cells at most."""
        parts = shapely.get_parts(shapely.segmentize(polygon, CELL_DEG / 2))
        rings = shapely.get_rings(parts)
        points, ring = shapely.get_coordinates(rings, return_index=True)
        joined = ring[1:] == ring[:-1]
        low = np.minimum(points[:-1], points[1:])[joined] - _EPS_DEG
        high = np.maximum(points[:-1], points[1:])[joined] + _EPS_DEG
        columns = [np.floor(side[:, 0] / CELL_DEG).astype(np.int64) - self._west for side in (low, high)]
        rows = [np.floor(side[:, 1] / CELL_DEG).astype(np.int64) - self._south for side in (low, high)]
        return np.unique(np.concatenate([row * self._columns + column for row in rows for column in columns]))

    def _inner(self, polygon: BaseGeometry, edge: Numbers) -> list[int]:
        """The cells without border that lie inside: their centres do."""
        west, south, east, north = polygon.bounds
        columns = np.arange(_cell(west) - self._west, _cell(east) - self._west + 1)
        rows = np.arange(_cell(south) - self._south, _cell(north) - self._south + 1)
        cells = np.setdiff1d((rows[:, None] * self._columns + columns[None, :]).ravel(), edge)
        lon = (cells % self._columns + self._west + 0.5) * CELL_DEG
        lat = (cells // self._columns + self._south + 0.5) * CELL_DEG
        inside: list[int] = cells[shapely.intersects_xy(polygon, lon, lat)].tolist()
        return inside

    def _warm(self) -> None:
        """GEOS builds its search trees at the first question, without a lock; asked here, threads only read them."""
        for polygon, metric in zip(self._polygons, self._metric, strict=True):
            west, south, east, north = polygon.bounds
            lat, lon = (south + north) / 2, (west + east) / 2
            shapely.intersects_xy(polygon, lon, lat)
            metric.reaches(lat, lon, 1.0)


def _cell(degrees: float) -> int:
    return math.floor(degrees / CELL_DEG)


def _several(held: int | tuple[int, ...]) -> tuple[int, ...]:
    return (held,) if isinstance(held, int) else held
