"""What is near a point: the index against brute force, which knows nothing of trees, pieces or planes."""

import math
from itertools import pairwise

import pytest
import shapely
from geopy.distance import geodesic
from hypothesis import given, settings
from hypothesis import strategies as st

from app.assets.rules import RUN, NearIndex

LAT, LON = 21.6, 105.8
offsets = st.floats(-0.004, 0.004)
places = st.tuples(offsets, offsets).map(lambda each: (LON + each[0], LAT + each[1]))
shapes = st.one_of(
    places.map(shapely.Point),
    st.lists(places, min_size=2, max_size=4).map(shapely.LineString),
    st.lists(st.lists(places, min_size=2, max_size=3), min_size=2, max_size=2).map(shapely.MultiLineString),
)


def brute(shape: shapely.Geometry, lat: float, lon: float) -> float:
    """Geodesic metres to the nearest place of a shape: along each segment, by golden section."""
    metres = [geodesic((lat, lon), (y, x)).m for x, y in shapely.get_coordinates(shape).tolist()]
    for line in shapely.get_parts(shape):
        if line.geom_type == "LineString":
            metres += [along(one, other, lat, lon) for one, other in pairwise(line.coords)]
    return float(min(metres))


def along(one: tuple[float, ...], other: tuple[float, ...], lat: float, lon: float) -> float:
    def at(share: float) -> float:
        x, y = (a + share * (b - a) for a, b in zip(one, other, strict=True))
        return float(geodesic((lat, lon), (y, x)).m)

    low, high, golden = 0.0, 1.0, (math.sqrt(5) - 1) / 2
    for _ in range(32):
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if at(left) < at(right) else (left, high)
    return at((low + high) / 2)


def everything(_number: int) -> bool:
    return True


@settings(max_examples=25, deadline=None)
@given(given_shapes=st.lists(shapes, min_size=1, max_size=5), place=places, within_m=st.floats(1, 600))
def test_the_index_agrees_with_brute_force(
    given_shapes: list[shapely.Geometry], place: tuple[float, float], within_m: float
) -> None:
    lon, lat = place
    found = dict(NearIndex([shape.wkb for shape in given_shapes]).near(lat, lon, within_m, everything))
    for number, shape in enumerate(given_shapes):
        metres = brute(shape, lat, lon)
        if number in found:
            assert found[number] == pytest.approx(metres, rel=1e-4, abs=0.001)
            assert found[number] <= within_m
        else:
            assert metres > within_m * (1 - 1e-4) - 0.001


def test_a_long_road_is_found_from_its_every_part_and_named_once() -> None:
    road = shapely.LineString([(LON + step / 1000, LAT) for step in range(RUN * 5 + 3)])
    index = NearIndex([shapely.Point(LON, LAT + 1).wkb, road.wkb])
    for x, y in road.coords:
        ((number, metres),) = index.near(y + 0.0001, x, 15, everything)
        assert number == 1
        assert metres == pytest.approx(11.07, abs=0.02)


def test_the_nearest_comes_first_and_the_unwanted_not_at_all() -> None:
    index = NearIndex([shapely.Point(LON, LAT + step / 10_000).wkb for step in (3, 1, 2)])
    assert [number for number, _ in index.near(LAT, LON, 100, everything)] == [1, 2, 0]
    assert [number for number, _ in index.near(LAT, LON, 100, lambda number: number != 1)] == [2, 0]
    assert [number for number, _ in index.near(LAT, LON, 12, everything)] == [1]
