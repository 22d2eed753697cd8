"""Point to commune: the index against shapely's own answer."""

import json
import time
from collections.abc import Iterator

import numpy as np
import shapely

from app.boundaries.rules import PointIndex
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
