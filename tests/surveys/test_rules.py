"""Approximate areas and the checks of a delivery, without a database."""

import math

import numpy as np
import pytest
import shapely
from shapely.geometry.base import BaseGeometry

from app.boundaries.rules import PointIndex, area_km2
from app.core.remarks import named
from app.surveys.rules import Delivered, Seed, approximate_areas, check_delivery, misplaced_share

LEFT, RIGHT = shapely.box(105.80, 21.60, 105.85, 21.65), shapely.box(105.85, 21.60, 105.90, 21.65)
PAIR = {"00001": LEFT, "00002": RIGHT}


def test_the_misplaced_share_counts_what_lies_elsewhere() -> None:
    moved = {"00001": shapely.box(105.80, 21.60, 105.86, 21.65), "00002": shapely.box(105.86, 21.60, 105.90, 21.65)}
    assert misplaced_share(PAIR, PAIR) == pytest.approx(0, abs=1e-12)
    assert misplaced_share(moved, PAIR) == pytest.approx(0.1, rel=1e-6)
    assert misplaced_share({"00001": LEFT}, PAIR) == pytest.approx(0.5, rel=1e-6)


# Approximate areas -------------------------------------------------------------------------------------------------


def seed_at(lat: float, lon: float, *heirs: str) -> Seed:
    return Seed(lat, lon, lat, lon, heirs)


FRAMES = [(105.75, 21.55, 105.95, 21.75)]
SEEDS = [
    seed_at(21.60, 105.80, "00001"),
    seed_at(21.70, 105.80, "00001"),
    seed_at(21.60, 105.90, "00002"),
    seed_at(21.70, 105.90, "00002"),
    seed_at(21.65, 105.85, "00001", "00002"),
]


def test_cells_are_dissolved_by_succession() -> None:
    areas = approximate_areas(SEEDS, FRAMES)
    index = PointIndex.build(areas, {code: code for code in areas})
    for seed in SEEDS[:4]:
        assert index.locate(seed.lat, seed.lon).commune == seed.heirs[0]
    # The split one is divided between its heirs, each on its own side.
    assert index.locate(21.65, 105.845).commune == "00001"
    assert index.locate(21.65, 105.855).commune == "00002"
    together = area_km2(shapely.union_all(list(areas.values())))
    assert sum(area_km2(area) for area in areas.values()) == pytest.approx(together, rel=1e-6)
    assert area_km2(shapely.box(*FRAMES[0])) == pytest.approx(together, rel=1e-4)


def test_the_same_seeds_give_the_same_areas_in_any_order() -> None:
    turned = approximate_areas(SEEDS[::-1], FRAMES)
    assert {code: area.wkb for code, area in turned.items()} == {
        code: area.wkb for code, area in approximate_areas(SEEDS, FRAMES).items()
    }


def test_seeds_published_at_one_place_are_told_apart() -> None:
    same = [*SEEDS, seed_at(21.62, 105.85, "00001"), seed_at(21.62, 105.85, "00002"), seed_at(21.60, 105.80, "00001")]
    areas = approximate_areas(same, FRAMES)
    assert shapely.intersection(areas["00001"], areas["00002"]).area < 1e-9
    assert all(area.is_valid and not area.is_empty for area in areas.values())


# Deliveries --------------------------------------------------------------------------------------------------------

NAMES = {"00001": "Xã Một", "00002": "Xã Hai"}


def delivery(**changed: BaseGeometry | None) -> list[Delivered]:
    areas: dict[str, BaseGeometry | None] = {**PAIR, **{name.removeprefix("c"): area for name, area in changed.items()}}
    return [
        Delivered(named(f"a.geojson, feature {place}"), code, area)
        for place, (code, area) in enumerate(areas.items(), 1)
    ]


def test_a_good_delivery_has_no_faults() -> None:
    assert list(check_delivery(delivery(), NAMES).faults) == []


@pytest.mark.parametrize(
    ("area", "sentence"),
    [
        (None, "no readable Polygon"),
        (shapely.Point(105.8, 21.6), "no readable Polygon"),
        (shapely.Polygon(), "no readable Polygon"),
        (
            shapely.Polygon([(105.8, 21.6), (105.9, 21.7), (105.9, 21.6), (105.8, 21.7)]),
            "the outer ring of part 1 is broken: Self-intersection at lat 21.65, lon 105.85 (57.3080 km²)",
        ),
        (shapely.transform(LEFT, lambda xy: xy[:, ::-1]), "latitude and longitude are swapped"),
        (shapely.transform(LEFT, lambda xy: xy * 100_000), "another projection"),
        (shapely.box(2.2, 48.8, 2.4, 48.9), "outside Vietnam (lat 48.8000"),
        (shapely.transform(LEFT, lambda xy: np.where(xy == 21.65, math.inf, xy)), "no number"),
        (RIGHT, "overlap by"),
    ],
)
def test_every_fault_is_a_sentence(area: BaseGeometry | None, sentence: str) -> None:
    faults = list(check_delivery(delivery(c00001=area), NAMES).faults)
    assert len(faults) == 1
    assert sentence in faults[0].en
    assert "00001" in faults[0].vi


def test_missing_repeated_unknown_and_nameless_features_are_all_listed() -> None:
    items = [
        *delivery(),
        *delivery()[:1],
        Delivered(named("b, feature 1"), "99999", LEFT),
        Delivered(named("b, feature 2"), None, LEFT),
    ]
    faults = list(check_delivery(items, NAMES | {"00003": "Xã Ba"}).faults)
    assert [fault.en for fault in faults] == [
        "b, feature 1, code 99999: is no commune on that day",
        "b, feature 2: has no code",
        "00001 Xã Một: delivered 2 times",
        "00003 Xã Ba: missing",
    ]


def test_what_is_wrong_with_every_feature_is_said_once_beside_what_else_is_wrong() -> None:
    areas = {**PAIR, "00003": shapely.box(105.9, 21.6, 105.95, 21.65)}
    swapped = {code: shapely.transform(area, lambda xy: xy[:, ::-1]) for code, area in areas.items()}
    items = [Delivered(named("a"), code, area) for code, area in swapped.items()]
    found = check_delivery(items, NAMES | {"00004": "Xã Bốn"})
    assert [fault.en for fault in found.faults] == [
        "all 3 features: latitude and longitude are swapped; longitude comes first",
        "a, code 00003: is no commune on that day",
        "00004 Xã Bốn: missing",
    ]
    assert found.faults[0].vi == "cả 3 đối tượng: vĩ độ và kinh độ bị đảo; kinh độ đứng trước"
    assert found.areas == {}
    # One that lies right is enough, and each of the others is named.
    faults = check_delivery([*items[:2], Delivered(named("a"), "00003", areas["00003"])], NAMES).faults
    assert sum("swapped" in fault.en for fault in faults) == 2
