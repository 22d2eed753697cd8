"""Approximate areas until surveyed ones are there, what two versions differ in, and what is wrong with a delivery.

Degrees are WGS 84; geometries are always x = longitude, y = latitude. Importing this module loads shapely.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import shapely
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from app.boundaries.rules import HAIR_M, area_km2
from app.core.geo import metres_per_degree
from app.core.geofile import coordinate_fault, too_many_vertices
from app.core.remarks import Remark, named

K = TypeVar("K", bound=Hashable)
Floats = npt.NDArray[np.float64]

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


@dataclass(frozen=True, slots=True)
class Delivered:
    """One area as it came: where it stood, the code it claims, its geometry (None: it could not be read).

    `mended` are repairs made while reading, `fault` is what reading found wrong.
    """

    place: Remark
    code: str | None
    geometry: BaseGeometry | None
    mended: tuple[Remark, ...] = ()
    fault: Remark | None = None


def drawn(place: Remark, code: str | None, geometry: object) -> Delivered:
    """The Polygon or MultiPolygon of a GeoJSON geometry; a ring whose ends lie within a metre is closed.

    Shapely would close every ring without a word, however far its ends lie apart.
    """
    mended: list[Remark] = []
    faults: list[Remark] = []
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


def _closed(ring: Any, mended: list[Remark], faults: list[Remark]) -> Floats:
    """The points of a ring, the first again at the end; heights are dropped."""
    points = np.array([position[:2] for position in ring], dtype=np.float64)
    if not np.isfinite(points).all() or (points[0] == points[-1]).all():
        return points
    apart = float(np.hypot(*((points[0] - points[-1]) * metres_per_degree(float(np.clip(points[0, 1], -90, 90))))))
    if apart <= HAIR_M:
        mended.append(
            Remark(
                f"đã khép một vòng có hai đầu cách nhau {apart:.2f} m",
                f"a ring closed whose ends lay {apart:.2f} m apart",
            )
        )
        return np.vstack((points[:-1], points[:1]))
    (one, one_en), (other, other_en) = _where(points[0]), _where(points[-1])
    faults.append(
        Remark(
            f"một vòng chưa khép: từ {one} đến {other} là {apart:,.0f} m",
            f"a ring is not closed: from {one_en} to {other_en} are {apart:,.0f} m",
        )
    )
    return np.vstack((points, points[:1]))


def _where(lon_lat: Floats) -> Remark:
    lat, lon = f"{lon_lat[1]:.6f}", f"{lon_lat[0]:.6f}"
    return Remark(f"vĩ độ {lat}, kinh độ {lon}", f"lat {lat}, lon {lon}")


# Checking a delivery -----------------------------------------------------------------------------------------------

# What is nowhere wider, and no larger, is an unsteady hand on a common border and not a decision about land: phones
# cannot tell the sides apart. The widest overlap of the real province is 17 m, of 4,100 m²; its gaps are 10 cm.
HAIRLINE_M = 20.0
HAIRLINE_KM2 = 0.05

_ROUNDING_KM2 = 1e-8
_MANY = 3
_TOUCHING_DEG = 1e-9


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of a delivery: its `areas` by code, mended where that was safe, or its `faults`, never both.

    `fixes` names every repair, `remarks` what was left as it is.
    """

    areas: Mapping[str, BaseGeometry]
    faults: tuple[Remark, ...]
    fixes: tuple[Remark, ...] = ()
    remarks: tuple[Remark, ...] = ()


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


def _each(
    delivered: Sequence[Delivered], communes: Mapping[str, str]
) -> tuple[dict[str, BaseGeometry], list[Remark], list[Remark]]:
    """Every feature by itself: areas in the order of their codes, repairs, faults."""
    of_all = _fault_of_all(delivered)
    faults = [of_all] if of_all else []
    tidy: dict[str, tuple[BaseGeometry, tuple[Remark, ...]]] = {}
    for item in delivered:
        found = _feature_faults(item, communes, axes_told=of_all is not None)
        if not found and not of_all and item.code is not None and item.geometry is not None:
            found = [_place(item).says(*fault) for fault in _ring_faults(item.geometry)]
            if not found:
                area, mended = _tidied(item.geometry)
                tidy[item.code] = area, (*item.mended, *mended)
        faults += found
    times = Counter(item.code for item in delivered if item.code in communes)
    faults += [_counted(named(f"{code} {communes[code]}"), times[code]) for code in communes if times[code] != 1]
    areas = {code: tidy[code][0] for code in sorted(tidy)}
    return areas, [_mended(f"{code} {communes[code]}", tidy[code][1]) for code in areas if tidy[code][1]], faults


def _fault_of_all(delivered: Sequence[Delivered]) -> Remark | None:
    """What is wrong with the coordinates of every feature alike, axes or projection mostly: said once."""
    if len(delivered) < _MANY or any(item.geometry is None for item in delivered):
        return None
    found = {coordinate_fault(item.geometry) for item in delivered if item.geometry is not None}
    fault = next(iter(found))
    if len(found) > 1 or fault is None:
        return None
    count = len(delivered)
    return Remark(f"cả {count} đối tượng: {fault.vi}", f"all {count} features: {fault.en}")


def _place(item: Delivered) -> Remark:
    return item.place.of(f"mã {item.code}", f"code {item.code}")


def _counted(commune: Remark, times: int) -> Remark:
    if not times:
        return commune.says("thiếu trong dữ liệu; hãy bổ sung", "missing")
    return commune.says(f"có {times} lần; mỗi xã chỉ một lần", f"delivered {times} times")


def _mended(commune: str, remarks: Sequence[Remark]) -> Remark:
    return named(commune).says(", ".join(each.vi for each in remarks), ", ".join(each.en for each in remarks))


def _feature_faults(item: Delivered, communes: Mapping[str, str], *, axes_told: bool) -> list[Remark]:
    if item.code is None:
        return [item.place.says(*(item.fault or ("không có mã xã", "has no code")))]
    if item.code not in communes:
        return [_place(item).says("không phải xã, phường nào vào ngày đó", "is no commune on that day")]
    area = item.geometry
    if area is None or area.geom_type not in {"Polygon", "MultiPolygon"} or area.is_empty:
        told = ("không phải Polygon hay MultiPolygon đọc được", "is no readable Polygon or MultiPolygon")
        return [_place(item).says(*told)]
    fault = (None if axes_told else coordinate_fault(area)) or item.fault
    return [_place(item).says(*fault)] if fault else []


def _tidied(area: BaseGeometry) -> tuple[BaseGeometry, list[Remark]]:
    """The same area without repeated points, its outer rings anticlockwise (RFC 7946), and what that took."""
    single = shapely.remove_repeated_points(area)
    turned = shapely.orient_polygons(single)
    repeated = int(shapely.get_num_coordinates(area) - shapely.get_num_coordinates(single))
    directions = [shapely.is_ccw(shapely.get_rings(shapely.get_parts(each))) for each in (single, turned)]
    backwards = int((directions[0] != directions[1]).sum())
    mended = []
    if repeated:
        mended.append(Remark(f"đã bỏ điểm trùng: {repeated}", f"repeated points dropped: {repeated}"))
    if backwards:
        mended.append(Remark(f"đã đảo chiều vòng: {backwards}", f"rings turned: {backwards}"))
    return turned, mended


def _ring_faults(area: BaseGeometry) -> list[Remark]:
    """Every broken ring, where, and the area that mending it would add or take."""
    if shapely.is_valid(area):
        return []
    broken = [
        Remark(f"{name.vi} của phần {part} bị lỗi: {why.vi}", f"{name.en} of part {part} is broken: {why.en}")
        for part, polygon in enumerate(shapely.get_parts(area), start=1)
        for number, ring in enumerate(shapely.get_rings(polygon))
        if not shapely.is_valid(alone := shapely.polygons(ring))
        for name, why in [(_ring(number), _why(alone))]
    ]
    if broken:
        return broken
    vi, en = _why(area)
    return [Remark(f"các vòng không khớp nhau: {vi}", f"the rings do not fit together: {en}")]


def _ring(number: int) -> Remark:
    return Remark(f"lỗ {number}", f"hole {number}") if number else Remark("vòng ngoài", "the outer ring")


# The reasons of GEOS that people meet; another is told in its own words.
_REASONS = {
    "Self-intersection": "đường tự cắt",
    "Ring Self-intersection": "vòng tự chạm",
    "Hole lies outside shell": "lỗ nằm ngoài vòng ngoài",
    "Nested holes": "lỗ nằm trong lỗ",
    "Nested shells": "phần nằm trong phần khác",
    "Interior is disconnected": "bên trong bị tách rời",
    "Too few points in geometry component": "quá ít điểm",
}


def _why(broken: BaseGeometry) -> Remark:
    """`Self-intersection at lat 21.45, lon 105.45 (0.0123 km²)`."""
    reason, _, place = shapely.is_valid_reason(broken).rstrip("]").partition("[")
    lon, _, lat = place.partition(" ")
    km2 = abs(area_km2(shapely.make_valid(broken)) - area_km2(broken))
    return Remark(
        f"{_REASONS.get(reason, reason)} tại vĩ độ {lat}, kinh độ {lon} ({km2:.4f} km²)",
        f"{reason} at lat {lat}, lon {lon} ({km2:.4f} km²)",
    )


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


def _told(pair: _Overlap, communes: Mapping[str, str]) -> Remark:
    one, other = (f"{code} {communes[code]}" for code in (pair.one, pair.other))
    between, where = Remark(f"{one} và {other}", f"{one} and {other}"), _inside(pair.shared)
    if not pair.hairline:
        km2 = f"{area_km2(pair.shared):.4f} km²"
        return between.says(
            f"chồng lấn {km2} tại {where.vi}; hãy hỏi đơn vị nào đúng", f"overlap by {km2} at {where.en}"
        )
    m2 = f"{area_km2(pair.shared) * 1e6:,.1f} m²"
    return between.says(
        f"chồng lấn sợi tóc ({m2}, không chỗ nào rộng hơn {HAIRLINE_M:.0f} m) tại {where.vi}, để cho {pair.one}",
        f"a hairline overlap ({m2}, nowhere wider than {HAIRLINE_M:.0f} m) at {where.en} left to {pair.one}",
    )


def _inside(area: BaseGeometry) -> Remark:
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


def _gaps(areas: Mapping[str, BaseGeometry], communes: Mapping[str, str]) -> tuple[list[Remark], list[Remark]]:
    """The holes that communes enclose and none of them claims: a sentence for each wide one, one for all hairlines."""
    whole = shapely.get_parts(shapely.union_all(list(areas.values())))
    holes = [shapely.Polygon(ring) for part in whole for ring in part.interiors]
    holes = [hole for hole in holes if area_km2(hole) > _ROUNDING_KM2]
    wide = sorted((hole for hole in holes if not _is_hairline(hole)), key=lambda hole: -float(hole.area))
    told = [_gap(hole, areas, communes) for hole in wide]
    hairs = len(holes) - len(wide)
    if not hairs:
        return told, []
    m2 = f"{1e6 * (sum(map(area_km2, holes)) - sum(map(area_km2, wide))):,.0f} m²"
    return told, [
        Remark(
            f"giữ nguyên {hairs} khe sợi tóc, tổng cộng {m2}: điểm nằm trong khe thuộc xã gần nhất",
            f"{hairs} hairline gaps, {m2} together, stay: a point in one goes to the nearest commune",
        )
    ]


def _gap(hole: BaseGeometry, areas: Mapping[str, BaseGeometry], communes: Mapping[str, str]) -> Remark:
    near = [f"{code} {communes[code]}" for code, area in areas.items() if shapely.dwithin(area, hole, _TOUCHING_DEG)]
    km2, where, around = f"{area_km2(hole):.4f} km²", _inside(hole), ", ".join(near)
    return Remark(
        f"khoảng trống {km2} tại {where.vi} giữa {around}; nếu đúng là vậy, dùng --accept-gaps",
        f"a gap of {km2} at {where.en} between {around}",
    )
