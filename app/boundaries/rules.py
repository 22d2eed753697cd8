"""Places: which commune a point lies in, approximate areas until real ones are there, faults of a delivery.

Degrees are WGS 84. Function arguments are always (lat, lon); geometries are always x = longitude, y = latitude.
Importing this module loads shapely: processes that never look up a point must not import it.
"""

import math
import threading
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import shapely
from geopy.distance import geodesic
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

K = TypeVar("K", bound=Hashable)
Outcome = Literal["inside", "border", "sliver", "outside"]
Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

CELL_DEG = 0.005
ACCURACY_CAP_M = 1000.0
# Real borders leave gaps of less than 10 cm between neighbours; a point this near to a commune belongs to it.
HAIR_M = 1.0
# West, south, east, north of Vietnam with its islands.
VIETNAM = (102.0, 7.0, 118.0, 24.0)

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


def metres_per_degree(lat: float) -> tuple[float, float]:
    """Metres per degree of longitude and of latitude at `lat` on the WGS 84 ellipsoid (series of its arcs)."""
    phi = math.radians(lat)
    of_lon = 111412.84 * math.cos(phi) - 93.5 * math.cos(3 * phi) + 0.118 * math.cos(5 * phi)
    of_lat = 111132.92 - 559.82 * math.cos(2 * phi) + 1.175 * math.cos(4 * phi)
    return of_lon, of_lat


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


# Approximate areas -------------------------------------------------------------------------------------------------

_PULL = 0.1
_MARGIN_M = 8000.0


@dataclass(frozen=True, slots=True)
class Seed:
    """A former commune: its published centre, the middle of its bounding box, and today's communes it went into."""

    lat: float
    lon: float
    middle_lat: float
    middle_lon: float
    heirs: tuple[str, ...]


def approximate_areas(
    seeds: Sequence[Seed], frames: Sequence[tuple[float, float, float, float]]
) -> dict[str, BaseGeometry]:
    """Areas of today's communes by code: cells around former ones, dissolved by succession.

    A seed stands midway between the published centre and the middle of its box, pulled a tenth towards the centre of
    its heir; a split commune gets a seed per heir, so the pull draws its dividing line. The province's outline is not
    published with the centres: the `frames` (west, south, east, north of the former districts) enclose it, cut to 8 km
    around the hull of the seeds. That is generous (a fifth too large): nobody inside is refused.
    """
    of_lon, of_lat = metres_per_degree(float(np.mean([seed.lat for seed in seeds])))
    scale = np.array((of_lon, of_lat))
    placed = {
        seed: np.array(((seed.lon + seed.middle_lon) / 2, (seed.lat + seed.middle_lat) / 2)) * scale for seed in seeds
    }
    centre = _centres(placed)
    pulled = {
        (heir, *np.round(place + _PULL * (centre[heir] - place), 1).tolist())
        for seed, place in placed.items()
        for heir in seed.heirs
    }
    points = sorted(pulled)
    hull = shapely.multipoints([point[1:] for point in points])
    boxes = [shapely.box(*np.multiply(frame, (*scale, *scale))) for frame in frames]
    outline = shapely.union_all(boxes).intersection(hull.convex_hull.buffer(_MARGIN_M))
    around = outline.envelope.buffer(_MARGIN_M)
    cells = shapely.get_parts(shapely.voronoi_polygons(hull, extend_to=around, ordered=True))
    heirs = np.array([point[0] for point in points])
    return {
        str(heir): shapely.transform(
            shapely.union_all(cells[heirs == heir]).intersection(outline), lambda xy: np.round(xy / scale, 7)
        )
        for heir in np.unique(heirs)
    }


def _centres(placed: Mapping[Seed, Floats]) -> dict[str, Floats]:
    """The mean of each heir's whole sources; of its parts where it has no whole one."""
    whole: dict[str, list[Floats]] = defaultdict(list)
    parts: dict[str, list[Floats]] = defaultdict(list)
    for seed, place in placed.items():
        for heir in seed.heirs:
            (whole if len(seed.heirs) == 1 else parts)[heir].append(place)
    return {heir: np.mean(whole.get(heir) or parts[heir], axis=0) for heir in whole.keys() | parts.keys()}


def misplaced_share(given: Mapping[K, BaseGeometry], true: Mapping[K, BaseGeometry]) -> float:
    """The share of the `true` area that `given` assigns to another key, or to none (0 to 1, by area)."""
    return difference(given, true).share


# Comparing two versions --------------------------------------------------------------------------------------------

_MENTIONED_KM2 = 1e-4


@dataclass(frozen=True, slots=True)
class AreaMove(Generic[K]):
    """An area that belongs to `before` in one version and to `after` in the next; None: to no commune."""

    before: K | None
    after: K | None
    km2: float


@dataclass(frozen=True, slots=True)
class Difference(Generic[K]):
    """What changes from one version to the next: the moves, largest first (from 100 m² on), and their share.

    `share` is the part of the later version's area that lay elsewhere, or nowhere, in the earlier one (0 to 1).
    """

    moves: tuple[AreaMove[K], ...]
    share: float


def difference(before: Mapping[K, BaseGeometry], after: Mapping[K, BaseGeometry]) -> Difference[K]:
    """Compare the areas of two versions, each without overlaps of more than a hair."""
    old, new = list(before), list(after)
    shared = _shared_km2([before[key] for key in old], [after[key] for key in new])
    was = {key: area_km2(area) for key, area in before.items()}
    becomes = {key: area_km2(area) for key, area in after.items()}
    left, come = dict(was), dict(becomes)
    moves: list[AreaMove[K]] = []
    right = 0.0
    for (one, other), km2 in shared.items():
        source, target = old[one], new[other]
        left[source] -= km2
        come[target] -= km2
        if source == target:
            right += km2
        else:
            moves.append(AreaMove(source, target, km2))
    moves += [AreaMove(key, None, km2) for key, km2 in left.items()]
    moves += [AreaMove(None, key, km2) for key, km2 in come.items()]
    told = [move for move in moves if move.km2 >= _MENTIONED_KM2]
    told.sort(key=lambda move: (-move.km2, str(move.before), str(move.after)))
    return Difference(tuple(told), 1 - right / sum(becomes.values()))


def _shared_km2(ones: Sequence[BaseGeometry], others: Sequence[BaseGeometry]) -> dict[tuple[int, int], float]:
    """The area that each pair has in common, of the pairs that meet."""
    first, second = shapely.STRtree(others).query(ones, predicate="intersects")
    pieces = shapely.intersection(np.array(ones)[first], np.array(others)[second])
    return {
        (one, other): area_km2(piece) for one, other, piece in zip(first.tolist(), second.tolist(), pieces, strict=True)
    }


# Reading geometries ------------------------------------------------------------------------------------------------

# A province has some 200,000; beyond this a file is broken or meant to harm.
MAX_VERTICES = 2_000_000


@dataclass(frozen=True, slots=True)
class Delivered:
    """One feature as it came: where it stood, the code it claims, its geometry (None: it could not be read).

    `mended` are repairs made while reading, `fault` is what reading found wrong.
    """

    place: str
    code: str | None
    geometry: BaseGeometry | None
    mended: tuple[str, ...] = ()
    fault: str | None = None


def drawn(place: str, code: str | None, geometry: object) -> Delivered:
    """The Polygon or MultiPolygon of a GeoJSON geometry; a ring whose ends lie within a metre is closed.

    Shapely would close every ring without a word, however far its ends lie apart.
    """
    mended: list[str] = []
    faults: list[str] = []
    try:
        polygons = [
            shapely.polygons(shapely.linearrings(rings[0]), [shapely.linearrings(hole) for hole in rings[1:]] or None)
            for rings in ([_closed(ring, mended, faults) for ring in polygon] for polygon in _polygons_of(geometry))
        ]
        shape = polygons[0] if len(polygons) == 1 else shapely.multipolygons(polygons)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, ShapelyError):
        return Delivered(place, code, None)
    return Delivered(place, code, shape, tuple(mended), faults[0] if faults else None)


def _polygons_of(geometry: Any) -> list[Any]:
    coordinates = geometry["coordinates"]
    return list({"Polygon": [coordinates], "MultiPolygon": coordinates}[geometry["type"]])


def _closed(ring: Any, mended: list[str], faults: list[str]) -> Floats:
    """The points of a ring, the first again at the end; heights are dropped."""
    points = np.array([position[:2] for position in ring], dtype=np.float64)
    if not np.isfinite(points).all() or (points[0] == points[-1]).all():
        return points
    apart = float(np.hypot(*((points[0] - points[-1]) * metres_per_degree(float(np.clip(points[0, 1], -90, 90))))))
    if apart <= HAIR_M:
        mended.append(f"a ring closed whose ends lay {apart:.2f} m apart")
        return np.vstack((points[:-1], points[:1]))
    faults.append(f"a ring is not closed: from {_where(points[0])} to {_where(points[-1])} are {apart:,.0f} m")
    return np.vstack((points, points[:1]))


def _where(lon_lat: Floats) -> str:
    return f"lat {lon_lat[1]:.6f}, lon {lon_lat[0]:.6f}"


# Checking a delivery -----------------------------------------------------------------------------------------------

# What is nowhere wider, and no larger, is an unsteady hand on a common border and not a decision about land: phones
# cannot tell the sides apart. The widest overlap of the real province is 17 m, of 4,100 m²; its gaps are 10 cm.
HAIRLINE_M = 20.0
HAIRLINE_KM2 = 0.05

_ROUNDING_KM2 = 1e-8
_FULL_CIRCLE = 360.0


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of a delivery: its `areas` by code, mended where that was safe, or its `faults`, never both.

    `fixes` names every repair, `remarks` what was left as it is.
    """

    areas: Mapping[str, BaseGeometry]
    faults: tuple[str, ...]
    fixes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def check_delivery(
    delivered: Sequence[Delivered], communes: Mapping[str, str], *, accept_gaps: bool = False
) -> Checked:
    """Mend what is safe to mend, and name everything else that is wrong; `communes` maps codes expected to names.

    Safe are: repeated points, the direction of rings, overlaps nowhere wider than 20 m (and up to 0.05 km²), which
    the lower code keeps as it does in lookups. Hairline gaps stay: a point in one goes to the nearest commune. Wider
    gaps are faults unless `accept_gaps`. Only a delivery without any fault has areas.
    """
    if fault := too_many_vertices(sum(shapely.get_num_coordinates(item.geometry) for item in delivered)):
        return Checked({}, (fault,))
    areas, fixes, faults = _each(delivered, communes)
    overlaps = _overlaps(areas)
    faults += [_told(pair, communes) for pair in overlaps if not pair.hairline]
    if faults:
        return Checked({}, tuple(faults))
    hairlines = [pair for pair in overlaps if pair.hairline]
    fixes += [_told(pair, communes) for pair in hairlines]
    areas = _shaved(areas, hairlines)
    gaps, remarks = _gaps(areas, communes)
    if gaps and not accept_gaps:
        return Checked({}, tuple(gaps))
    return Checked(areas, (), tuple(fixes), (*gaps, *remarks))


def too_many_vertices(count: int) -> str | None:
    """The refusal of more vertices than any province has."""
    return f"holds {count:,} vertices; more than {MAX_VERTICES:,} are not read" if count > MAX_VERTICES else None


def _each(
    delivered: Sequence[Delivered], communes: Mapping[str, str]
) -> tuple[dict[str, BaseGeometry], list[str], list[str]]:
    """Every feature by itself: areas in the order of their codes, repairs, faults."""
    faults: list[str] = []
    tidy: dict[str, tuple[BaseGeometry, tuple[str, ...]]] = {}
    for item in delivered:
        found = _feature_faults(item, communes)
        if not found and item.code is not None and item.geometry is not None:
            found = [f"{item.place}, code {item.code}: {fault}" for fault in _ring_faults(item.geometry)]
            if not found:
                area, mended = _tidied(item.geometry)
                tidy[item.code] = area, (*item.mended, *mended)
        faults += found
    times = Counter(item.code for item in delivered if item.code in communes)
    for code, name in communes.items():
        if times[code] != 1:
            faults.append(f"{code} {name}: {f'delivered {times[code]} times' if times[code] else 'missing'}")
    areas = {code: tidy[code][0] for code in sorted(tidy)}
    return areas, [f"{code} {communes[code]}: {', '.join(tidy[code][1])}" for code in areas if tidy[code][1]], faults


def _feature_faults(item: Delivered, communes: Mapping[str, str]) -> list[str]:
    if item.code is None:
        return [f"{item.place}: {item.fault or 'has no code'}"]
    where = f"{item.place}, code {item.code}"
    if item.code not in communes:
        return [f"{where}: is no commune on that day"]
    area = item.geometry
    if area is None or area.geom_type not in {"Polygon", "MultiPolygon"} or area.is_empty:
        return [f"{where}: is no readable Polygon or MultiPolygon"]
    fault = _coordinate_fault(area) or item.fault
    return [f"{where}: {fault}"] if fault else []


def _coordinate_fault(area: BaseGeometry) -> str | None:
    coordinates = shapely.get_coordinates(area)
    if not np.isfinite(coordinates).all():
        return "holds a coordinate that is no number"
    if (np.abs(coordinates) > _FULL_CIRCLE).any():
        return "coordinates are not degrees: another projection (VN-2000?); convert it to WGS 84 first"
    if _in_vietnam(coordinates):
        return None
    if _in_vietnam(coordinates[:, ::-1]):
        return "latitude and longitude are swapped; longitude comes first"
    west, south, east, north = area.bounds
    return f"lies outside Vietnam (lat {south:.4f} to {north:.4f}, lon {west:.4f} to {east:.4f})"


def _in_vietnam(lon_lat: Floats) -> bool:
    west, south, east, north = VIETNAM
    lon, lat = lon_lat[:, 0], lon_lat[:, 1]
    return bool(((west <= lon) & (lon <= east) & (south <= lat) & (lat <= north)).all())


def _tidied(area: BaseGeometry) -> tuple[BaseGeometry, list[str]]:
    """The same area without repeated points, its outer rings anticlockwise (RFC 7946), and what that took."""
    single = shapely.remove_repeated_points(area)
    turned = shapely.orient_polygons(single)
    repeated = int(shapely.get_num_coordinates(area) - shapely.get_num_coordinates(single))
    directions = [shapely.is_ccw(shapely.get_rings(shapely.get_parts(each))) for each in (single, turned)]
    backwards = int((directions[0] != directions[1]).sum())
    mended = [f"repeated points dropped: {repeated}"] if repeated else []
    return turned, [*mended, *([f"rings turned: {backwards}"] if backwards else [])]


def _ring_faults(area: BaseGeometry) -> list[str]:
    """Every broken ring, where, and the area that mending it would add or take."""
    if shapely.is_valid(area):
        return []
    broken = [
        f"{'the outer ring' if number == 0 else f'hole {number}'} of part {part} is broken: {_why(alone)}"
        for part, polygon in enumerate(shapely.get_parts(area), start=1)
        for number, ring in enumerate(shapely.get_rings(polygon))
        if not shapely.is_valid(alone := shapely.polygons(ring))
    ]
    return broken or [f"the rings do not fit together: {_why(area)}"]


def _why(broken: BaseGeometry) -> str:
    """`Self-intersection at lat 21.45, lon 105.45 (0.0123 km²)`."""
    reason, _, place = shapely.is_valid_reason(broken).rstrip("]").partition("[")
    lon, _, lat = place.partition(" ")
    km2 = abs(area_km2(shapely.make_valid(broken)) - area_km2(broken))
    return f"{reason} at lat {lat}, lon {lon} ({km2:.4f} km²)"


@dataclass(frozen=True, slots=True)
class _Overlap:
    """What two communes both claim, the lower code first."""

    one: str
    other: str
    shared: BaseGeometry
    hairline: bool


def _overlaps(areas: Mapping[str, BaseGeometry]) -> list[_Overlap]:
    """Every pair that shares more than rounding, in the order of codes."""
    codes = list(areas)
    shapes = np.array([areas[code] for code in codes])
    ones, others = shapely.STRtree(shapes).query(shapes, predicate="intersects") if codes else ([], [])
    pairs = sorted((one, other) for one, other in zip(list(ones), list(others), strict=True) if one < other)
    found = []
    for one, other in pairs:
        shared = shapely.intersection(shapes[one], shapes[other])
        if area_km2(shared) > _ROUNDING_KM2:
            whole = min(shapes[one].area, shapes[other].area)
            found.append(_Overlap(codes[one], codes[other], shared, _is_hairline(shared) and shared.area < whole / 2))
    return found


def _told(pair: _Overlap, communes: Mapping[str, str]) -> str:
    between = f"{pair.one} {communes[pair.one]} and {pair.other} {communes[pair.other]}"
    where = _inside(pair.shared)
    if not pair.hairline:
        return f"{between}: overlap by {area_km2(pair.shared):.4f} km² at {where}"
    size = f"{area_km2(pair.shared) * 1e6:,.1f} m², nowhere wider than {HAIRLINE_M:.0f} m"
    return f"{between}: a hairline overlap ({size}) at {where} left to {pair.one}"


def _inside(area: BaseGeometry) -> str:
    """A place inside the largest part."""
    largest = max(shapely.get_parts(area), key=lambda part: float(part.area))
    return _where(shapely.get_coordinates(largest.representative_point())[0])


def _is_hairline(area: BaseGeometry) -> bool:
    """Whether a circle of the width of a hairline fits in nowhere, and all of it together is small."""
    if area_km2(area) > HAIRLINE_KM2:
        return False
    of_lon, of_lat = metres_per_degree(float(area.centroid.y))
    metric = shapely.transform(area, lambda lon_lat: lon_lat * np.array((of_lon, of_lat)))
    return bool(shapely.buffer(metric, -HAIRLINE_M / 2).is_empty)


def _shaved(areas: Mapping[str, BaseGeometry], hairlines: Sequence[_Overlap]) -> dict[str, BaseGeometry]:
    """The lower code keeps what both claim; every area is cut by the others as they came, so no order matters."""
    lower: dict[str, list[BaseGeometry]] = defaultdict(list)
    for pair in hairlines:
        lower[pair.other].append(areas[pair.one])
    return {
        code: shapely.orient_polygons(shapely.difference(area, shapely.union_all(lower[code])))
        if code in lower
        else area
        for code, area in areas.items()
    }


def _gaps(areas: Mapping[str, BaseGeometry], communes: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The holes that communes enclose and none of them claims: a sentence for each wide one, one for all hairlines."""
    whole = shapely.get_parts(shapely.union_all(list(areas.values())))
    holes = [shapely.Polygon(ring) for part in whole for ring in part.interiors]
    holes = [hole for hole in holes if area_km2(hole) > _ROUNDING_KM2]
    wide = [hole for hole in holes if not _is_hairline(hole)]
    told = []
    for hole in sorted(wide, key=lambda hole: -float(hole.area)):
        around = [f"{code} {communes[code]}" for code, area in areas.items() if shapely.dwithin(area, hole, _EPS_DEG)]
        told.append(f"a gap of {area_km2(hole):.4f} km² at {_inside(hole)} between {', '.join(around)}")
    hairs = len(holes) - len(wide)
    if not hairs:
        return told, []
    m2 = 1e6 * (sum(map(area_km2, holes)) - sum(map(area_km2, wide)))
    return told, [f"{hairs} hairline gaps, {m2:,.0f} m² together, stay: a point in one goes to the nearest commune"]
