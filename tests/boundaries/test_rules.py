"""Point lookup, without a database."""

import math
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import shapely
from geopy.distance import geodesic
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry.base import BaseGeometry

from app.boundaries.rules import (
    ACCURACY_CAP_M,
    CELL_DEG,
    PointIndex,
    area_km2,
)
from app.core.config import ROOT
from app.core.geo import metres_per_degree
from tests.boundaries.areas import crooked, real_areas

POINTS = 10_000


def index_of(areas: Mapping[str, BaseGeometry]) -> PointIndex[str]:
    return PointIndex.build(areas, {code: code for code in areas})


def points_of(areas: Mapping[str, BaseGeometry], count: int, seed: int) -> list[tuple[float, float]]:
    """(lat, lon): half anywhere in and around, a third within some 50 m of a border, the rest on its vertices."""
    rng = np.random.default_rng(seed)
    west, south, east, north = shapely.total_bounds(list(areas.values()))
    lon, lat = rng.uniform(west - 0.01, east + 0.01, count), rng.uniform(south - 0.01, north + 0.01, count)
    vertices = shapely.get_coordinates(list(areas.values()))
    near = vertices[rng.integers(0, len(vertices), count // 2)]
    spread = np.where(np.arange(len(near)) < count // 3, 5e-4, 0.0)[:, None]
    moved = near + spread * rng.normal(0, 1, near.shape)
    lon[: len(near)], lat[: len(near)] = moved[:, 0], moved[:, 1]
    return list(zip(lat.tolist(), lon.tolist(), strict=True))


def truth(areas: Mapping[str, BaseGeometry], points: list[tuple[float, float]]) -> list[str | None]:
    """The lowest code whose polygon covers the point, by shapely alone."""
    found: list[str | None] = [None] * len(points)
    where = shapely.points([(lon, lat) for lat, lon in points])
    for code in sorted(areas, reverse=True):
        for place in np.nonzero(shapely.covers(areas[code], where))[0].tolist():
            found[place] = code
    return found


@pytest.fixture(scope="module")
def province() -> dict[str, BaseGeometry]:
    return crooked()


@pytest.fixture(scope="module")
def index(province: dict[str, BaseGeometry]) -> PointIndex[str]:
    return index_of(province)


def differences(areas: Mapping[str, BaseGeometry], seed: int) -> list[tuple[float, float]]:
    index, points = index_of(areas), points_of(areas, POINTS, seed)
    expected = truth(areas, points)
    assert sum(code is not None for code in expected) > POINTS / 3
    wrong = []
    for point, code in zip(points, expected, strict=True):
        found = index.locate(*point)
        # In a gap the nearest commune is named, and it is called a sliver.
        if (found.commune if found.outcome == "inside" else None) != code or found.outcome == "border":
            wrong.append(point)
    return wrong


def test_the_answer_equals_covers(province: dict[str, BaseGeometry]) -> None:
    assert differences(province, seed=1) == []


@settings(max_examples=300, deadline=None)
@given(st.data(), st.floats(0, 1), st.floats(0, 1))
def test_every_point_of_the_interior_is_found(
    index: PointIndex[str], province: dict[str, BaseGeometry], data: st.DataObject, one: float, other: float
) -> None:
    code = data.draw(st.sampled_from(sorted(province)))
    pieces = triangles(code)
    corner, second, third = shapely.get_coordinates(pieces[data.draw(st.integers(0, len(pieces) - 1))])[:3]
    if one + other > 1:
        one, other = 1 - one, 1 - other
    lon, lat = (corner + one * (second - corner) + other * (third - corner)).tolist()
    found = index.locate(lat, lon)
    if shapely.contains_properly(province[code], shapely.Point(lon, lat)):
        assert found.outcome == "inside"
        # Where a hair overlaps, the lower code has it.
        assert found.commune is not None
        assert found.commune <= code
        assert shapely.covers(province[found.commune], shapely.Point(lon, lat))
    else:  # rounded onto the border, or across it
        assert code in index.locate(lat, lon, 1.0).candidates


@lru_cache
def triangles(code: str) -> list[BaseGeometry]:
    """A commune cut into triangles: whoever draws from all of them draws from everywhere."""
    return list(shapely.get_parts(shapely.constrained_delaunay_triangles(crooked()[code])))


def test_the_answer_equals_covers_on_the_real_communes(real_data: Path) -> None:
    assert differences(real_areas(real_data), seed=2) == []


def test_the_answer_is_promised_within_20_microseconds(real_data: Path) -> None:
    areas = real_areas(real_data)
    started = time.process_time()
    index = index_of(areas)
    built = time.process_time() - started
    inside = [point for point in points_of(areas, POINTS, 3) if index.locate(*point).outcome == "inside"]
    started = time.process_time()
    for lat, lon in inside:
        index.locate(lat, lon)
    mean = (time.process_time() - started) / len(inside)
    # Measured alone: 3 µs and 0.1 s.
    assert mean < 20e-6
    assert built < 0.5


def test_the_order_of_delivery_does_not_matter(province: dict[str, BaseGeometry], index: PointIndex[str]) -> None:
    points = points_of(province, 1000, 4)
    expected = [index.locate(*point, 300) for point in points]
    for seed in range(3):
        delivered = list(province.items())
        random.Random(seed).shuffle(delivered)
        shuffled = index_of(dict(delivered))
        assert [shuffled.locate(*point, 300) for point in points] == expected


def test_where_areas_overlap_by_a_hair_the_lowest_code_wins() -> None:
    one, other = shapely.box(105.8, 21.6, 105.83, 21.63), shapely.box(105.82999, 21.6, 105.86, 21.63)
    point = (21.61, 105.829995)
    assert index_of({"00002": one, "00001": other}).locate(*point).commune == "00001"
    assert index_of({"00001": one, "00002": other}).locate(*point).commune == "00001"


def test_latitude_comes_first(index: PointIndex[str], province: dict[str, BaseGeometry]) -> None:
    inner = province["00101"].representative_point()
    assert index.locate(inner.y, inner.x).commune == "00101"
    assert index.locate(inner.x, inner.y).outcome == "outside"


# Borders, gaps and the outside -------------------------------------------------------------------------------------

LEFT, RIGHT = shapely.box(105.80, 21.60, 105.85, 21.65), shapely.box(105.85, 21.60, 105.90, 21.65)
PAIR = {"00001": LEFT, "00002": RIGHT}


def east_of(lat: float, lon: float, metres: float) -> tuple[float, float]:
    at = geodesic(meters=metres).destination((lat, lon), bearing=90)
    return at.latitude, at.longitude


def test_a_circle_that_crosses_a_border_carries_both() -> None:
    index, point = index_of(PAIR), east_of(21.62, 105.85, -30)
    assert index.locate(*point).outcome == "inside"
    assert index.locate(*point, 29).outcome == "inside"
    found = index.locate(*point, 31)
    assert (found.outcome, found.commune, found.candidates) == ("border", "00001", ("00001", "00002"))
    assert index.distance_m(*point, "00002") == pytest.approx(30, rel=2e-3)
    assert index.distance_m(*point, "00001") == 0


def test_the_circle_counts_up_to_a_kilometre() -> None:
    index = index_of(PAIR)
    assert index.locate(*east_of(21.62, 105.85, -990), 60_000).outcome == "border"
    assert index.locate(*east_of(21.62, 105.85, -1010), 60_000).outcome == "inside"
    assert index.locate(*east_of(21.62, 105.85, -990), math.inf).outcome == "border"


def test_a_circle_that_misses_the_province_is_outside() -> None:
    index = index_of(PAIR)
    point = east_of(21.62, 105.90, 50)
    assert index.locate(*point).outcome == "outside"
    assert index.locate(*point, 45) == index.locate(0, 0, 1000) == index.locate(90, 180, 1000)
    touching = index.locate(*point, 55)
    assert (touching.outcome, touching.commune, touching.candidates) == ("border", "00002", ("00002",))


def test_from_outside_the_nearest_comes_first() -> None:
    low = {"00001": shapely.box(105.8, 21.6, 105.85, 21.61), "00002": shapely.box(105.85, 21.6, 105.9, 21.65)}
    above = geodesic(meters=80).destination(east_of(21.61, 105.85, -60), bearing=0)
    found = index_of(low).locate(above.latitude, above.longitude, 200)
    assert (found.outcome, found.candidates) == ("border", ("00002", "00001"))


def test_a_point_in_a_hairline_gap_goes_to_the_nearest() -> None:
    gap = {"00001": LEFT, "00002": shapely.box(105.850008, 21.60, 105.90, 21.65)}
    found = index_of(gap).locate(21.62, 105.850006)
    assert (found.outcome, found.commune, found.candidates) == ("sliver", "00002", ("00002", "00001"))


def test_a_point_in_a_wide_gap_inside_the_province_goes_to_the_nearest() -> None:
    around = shapely.box(105.8, 21.6, 105.9, 21.7) - shapely.box(105.83, 21.63, 105.87, 21.67)
    cut = {"00001": around & shapely.box(105, 21, 105.85, 22), "00002": around & shapely.box(105.85, 21, 106, 22)}
    found = index_of(cut).locate(21.65, 105.84)
    assert (found.outcome, found.commune, found.candidates) == ("sliver", "00001", ("00001",))
    assert index_of(cut).locate(21.65, 105.8501).commune == "00002"
    both = index_of(cut).locate(21.6301, 105.8501, 1000)
    assert (both.outcome, both.candidates) == ("sliver", ("00002", "00001"))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 100_000), st.floats(0, 3000))
def test_candidates_are_what_the_circle_reaches(index: PointIndex[str], seed: int, accuracy_m: float) -> None:
    areas = crooked()
    lat, lon = points_of(areas, 3, seed)[seed % 3]
    found = index.locate(lat, lon, accuracy_m)
    radius = min(accuracy_m, ACCURACY_CAP_M)
    for code, area in areas.items():
        away = measured_m(area, lat, lon)
        if abs(away - radius) > 3 + 0.002 * radius:
            assert (code in found.candidates) == (away <= radius) or found.outcome == "sliver"
    assert found.candidates[:1] == (() if found.commune is None else (found.commune,))
    assert len(set(found.candidates)) == len(found.candidates)


def measured_m(area: BaseGeometry, lat: float, lon: float) -> float:
    """Geodesic distance by the border sampled every few metres around the point: independent of any projection."""
    if shapely.covers(area, shapely.Point(lon, lat)):
        return 0
    around = shapely.box(lon - 0.015, lat - 0.015, lon + 0.015, lat + 0.015)
    border = shapely.segmentize(area.boundary & around, 5e-5)
    if border.is_empty:
        return 2 * ACCURACY_CAP_M
    samples = shapely.get_coordinates(border)
    flat = np.hypot((samples[:, 0] - lon) * 0.93, samples[:, 1] - lat)
    nearest = samples[np.argsort(flat)[:20]]
    return float(min(geodesic((lat, lon), (y, x)).m for x, y in nearest))


def test_threads_share_an_index(province: dict[str, BaseGeometry], index: PointIndex[str]) -> None:
    points = points_of(province, 2000, 5)
    expected = [index.locate(*point, 200) for point in points]
    fresh = index_of(province)
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: [fresh.locate(*point, 200) for point in points], range(8)))
    assert all(run == expected for run in runs)


def test_an_index_needs_areas() -> None:
    with pytest.raises(ValueError, match="at least one"):
        index_of({})


# Measuring ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lat", [-60.0, 0.0, 21.3, 22.75, 60.0])
def test_metres_per_degree_agree_with_geodesics(lat: float) -> None:
    of_lon, of_lat = metres_per_degree(lat)
    assert geodesic((lat, 105), (lat, 105.001)).m == pytest.approx(of_lon / 1000, rel=1e-6)
    assert geodesic((lat - 5e-4, 105), (lat + 5e-4, 105)).m == pytest.approx(of_lat / 1000, rel=2e-5)


def test_areas_are_those_of_the_ellipsoid() -> None:
    side = CELL_DEG
    small = shapely.box(105.8, 21.6, 105.8 + side, 21.6 + side)
    of_lon, of_lat = metres_per_degree(21.6 + side / 2)
    assert area_km2(small) == pytest.approx(of_lon * of_lat * side * side / 1e6, rel=1e-5)
    # The whole ellipsoid: 510,065,621.7 km².
    assert area_km2(shapely.box(-180, -90, 180, 90)) == pytest.approx(510_065_621.7, rel=1e-7)


# Imports -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["app.orgunits.queries", "app.boundaries.models", "app.boundaries.queries"])
def test_who_reads_units_does_not_load_shapely(module: str) -> None:
    program = f"import sys, {module}; sys.exit('shapely' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
