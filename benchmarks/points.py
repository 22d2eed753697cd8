"""Point to commune, and to what is near it: the indexes against answers that know nothing of them."""

import json
import time
from collections.abc import Iterator

import numpy as np
import shapely
from geopy.distance import geodesic

from app.assets.rules import NearIndex
from app.boundaries.rules import PointIndex
from app.core.geo import metres_per_degree
from benchmarks.rows import Row
from benchmarks.system import COMMUNES
from tests.support import places


def commune(*, quick: bool) -> Iterator[Row]:
    """A million points, a third of them near borders, each compared with `shapely.covers` of every polygon."""
    areas = _communes()
    index = PointIndex.build(areas, {code: code for code in areas})
    points = _points(areas, 100_000 if quick else 1_000_000)
    started = time.process_time()
    found = [index.locate(lat, lon) for lon, lat in points.tolist()]
    mean = (time.process_time() - started) / len(points)
    wrong = sum(
        (each.commune if each.outcome == "inside" else None) != expected
        for each, expected in zip(found, _covering(areas, points), strict=True)
    )
    yield Row(
        f"point → commune, mean of {len(points):,} points, {wrong} differences from shapely.covers",
        f"{mean * 1e6:.1f} µs",
        "",
        "",
        "≤ 20 µs, 0 differences",
        mean <= 20e-6 and wrong == 0,
    )


def assets(*, quick: bool) -> Iterator[Row]:
    """What lies within 50 m among 100,000 lamps and streets, held against every one of them by geodesics."""
    shapes, points = _assets(100_000), _streets(200 if quick else 1_000)[:, 0]
    index = NearIndex([shape.wkb for shape in shapes])
    started = time.process_time()
    found = [index.near(lat, lon, WITHIN_M, lambda _: True) for lon, lat in points.tolist()]
    mean = (time.process_time() - started) / len(points)
    every = np.array(shapes, dtype=object)
    boxes = shapely.bounds(every)
    wrong = sum(
        not _agree(dict(each), _by_brute_force(every, boxes, lat, lon))
        for each, (lon, lat) in zip(found, points.tolist(), strict=True)
    )
    near = sum(map(len, found)) / len(points)
    yield Row(
        f"assets within 50 m of a point among 100,000 ({near:.1f} each), mean of {len(points):,} points, {wrong} "
        "differences from geodesics to all of them",
        f"{mean * 1e6:.0f} µs",
        "",
        "",
        "0 differences",
        wrong == 0,
    )


WITHIN_M = 50.0
_STREETS, _FAR_DEG = 2_000, 0.002


def _streets(count: int) -> np.ndarray:
    """Ends of streets of some 300 m, in a city of about 10 km: (number, end, lon and lat)."""
    chance = np.random.default_rng(2)
    starts = chance.uniform((105.80, 21.55), (105.90, 21.65), (_STREETS, 2))
    ends = starts + chance.normal(0, 2e-3, starts.shape)
    return np.stack([starts, ends], 1)[:count]


def _assets(count: int) -> list[shapely.Geometry]:
    """Streets, and lamps along them."""
    streets = _streets(_STREETS)
    along = np.random.default_rng(3).uniform(size=(count - _STREETS, 1))
    of = streets[np.arange(count - _STREETS) % _STREETS]
    lamps = of[:, 0] + along * (of[:, 1] - of[:, 0])
    return [*shapely.linestrings(streets), *shapely.points(lamps)]


def _by_brute_force(shapes: np.ndarray, boxes: np.ndarray, lat: float, lon: float) -> dict[int, float]:
    """Geodesic metres to every asset whose box comes within some 200 m of the point, of all there are."""
    low, high = np.array((lon, lat)) - _FAR_DEG, np.array((lon, lat)) + _FAR_DEG
    near = np.flatnonzero((boxes[:, :2] <= high).all(axis=1) & (boxes[:, 2:] >= low).all(axis=1))
    scale = np.array(metres_per_degree(lat))
    plane = shapely.transform(shapes[near], lambda lon_lat: (lon_lat - (lon, lat)) * scale)
    nearest = shapely.get_point(shapely.shortest_line(plane, shapely.Point(0, 0)), 0)
    places = shapely.get_coordinates(nearest) / scale + (lon, lat)
    return {
        int(number): float(geodesic((lat, lon), (y, x)).m) for number, (x, y) in zip(near, places.tolist(), strict=True)
    }


def _agree(found: dict[int, float], true: dict[int, float]) -> bool:
    """The same assets but for those on the very edge, each at the same distance to a millimetre."""
    inside = {number for number, metres in true.items() if metres <= WITHIN_M - 1e-3}
    beyond = {number for number, metres in true.items() if metres > WITHIN_M + 1e-3}
    same = all(number in true and abs(metres - true[number]) <= 1e-3 for number, metres in found.items())
    return inside <= found.keys() and not beyond & found.keys() and same


def _points(areas: dict[str, shapely.Geometry], count: int) -> np.ndarray:
    """(lon, lat) all over the province and its surroundings, a third within some 50 m of a border."""
    chance = np.random.default_rng(1)
    west, south, east, north = shapely.total_bounds(list(areas.values()))
    borders = np.concatenate([shapely.get_coordinates(area) for area in areas.values()])
    near = borders[chance.integers(0, len(borders), count // 3)] + chance.normal(0, 5e-4, (count // 3, 2))
    anywhere = chance.uniform((west, south), (east, north), (count - len(near), 2))
    return np.concatenate([near, anywhere])


def _covering(areas: dict[str, shapely.Geometry], points: np.ndarray) -> list[str | None]:
    """The first commune by code that covers each point, by shapely alone."""
    codes = sorted(areas)
    tree = shapely.STRtree([areas[code] for code in codes])
    first: list[str | None] = [None] * len(points)
    pairs = tree.query(shapely.points(points), predicate="covered_by").T
    for point, area in sorted(pairs.tolist(), reverse=True):
        first[point] = codes[area]
    return first


def _communes() -> dict[str, shapely.Geometry]:
    if not COMMUNES.exists():
        return {code: shapely.box(*places.square(code)) for code in places.codes()}
    features = json.loads(COMMUNES.read_text())["features"]
    return {each["properties"]["code"]: shapely.from_geojson(json.dumps(each["geometry"])) for each in features}
