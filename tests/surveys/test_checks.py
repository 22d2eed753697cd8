"""What a delivery gets wrong: every overlap and gap with its size and place, what is mended, and what is refused."""

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry.base import BaseGeometry
from sqlmodel import Session

from app.boundaries.rules import area_km2
from app.core.geo import metres_per_degree
from app.core.geofile import too_many_vertices
from app.core.remarks import DeliveryError, named
from app.surveys.actions import Files, prepare
from app.surveys.rules import (
    HAIRLINE_KM2,
    HAIRLINE_M,
    Checked,
    Delivered,
    check_delivery,
    difference,
    drawn,
    misplaced_share,
)
from tests.boundaries.areas import crooked, real_areas
from tests.boundaries.versions import state
from tests.support import places
from tests.support.words import english

SIDE, WEST, SOUTH = 0.01, 105.8, 21.6
OF_LON, OF_LAT = metres_per_degree(SOUTH + SIDE / 2)


def grid(columns: int = 3, rows: int = 3) -> dict[str, BaseGeometry]:
    """Squares of about a kilometre, row by row: 00001 is the one in the south-west."""
    return {
        f"{1 + row * columns + column:05d}": shapely.box(
            round(WEST + column * SIDE, 7),
            round(SOUTH + row * SIDE, 7),
            round(WEST + (column + 1) * SIDE, 7),
            round(SOUTH + (row + 1) * SIDE, 7),
        )
        for row in range(rows)
        for column in range(columns)
    }


def names(areas: Mapping[str, BaseGeometry]) -> dict[str, str]:
    return {code: f"Xã {code}" for code in areas}


def checked(areas: Mapping[str, BaseGeometry], *, accept_gaps: bool = False) -> Checked:
    delivered = [Delivered(named(f"{code}.geojson"), code, area) for code, area in areas.items()]
    return check_delivery(delivered, names(areas), accept_gaps=accept_gaps)


def widened(area: BaseGeometry, metres: float) -> BaseGeometry:
    """The square, reaching further east."""
    west, south, east, north = area.bounds
    return shapely.box(west, south, east + metres / OF_LON, north)


def total_km2(areas: Mapping[str, BaseGeometry]) -> float:
    return sum(map(area_km2, areas.values()))


# Overlaps ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.floats(0.01, 60))
def test_hairline_overlaps_go_to_the_lower_code_and_wider_ones_are_refused(metres: float) -> None:
    areas = grid(2, 1)
    areas["00001"] = widened(areas["00001"], metres)
    found = checked(areas)
    km2 = area_km2(shapely.intersection(*areas.values()))
    if metres < HAIRLINE_M - 0.1 and km2 < HAIRLINE_KM2:
        assert found.faults == ()
        assert "00001 Xã 00001 and 00002 Xã 00002: a hairline overlap (" in found.fixes[0].en
        assert found.areas["00001"].equals(areas["00001"])
        assert area_km2(shapely.intersection(*found.areas.values())) < 1e-9
        # Nothing that somebody claimed is lost, and nothing is counted twice.
        whole = area_km2(shapely.union_all(list(areas.values())))
        assert total_km2(found.areas) == pytest.approx(whole, abs=1e-9)
    elif metres > HAIRLINE_M + 0.1:
        assert found.areas == {}
        assert found.faults[0].en.startswith(
            f"00001 Xã 00001 and 00002 Xã 00002: overlap by {km2:.4f} km² at lat 21.60"
        )


def test_a_long_hair_is_too_much_land() -> None:
    one, other = shapely.box(105.8, 21.0, 105.8501, 22.0), shapely.box(105.85, 21.0, 105.9, 22.0)
    assert "overlap by 1.1" in checked({"00001": one, "00002": other}).faults[0].en


def test_every_wide_overlap_is_named() -> None:
    areas = grid()
    for code in ("00001", "00004", "00007"):
        areas[code] = widened(areas[code], 50)
    pairs = [("00001", "00002"), ("00004", "00005"), ("00007", "00008")]
    for fault, (one, other) in zip(checked(areas).faults, pairs, strict=True):
        assert fault.en.startswith(f"{one} Xã {one} and {other} Xã {other}: overlap by 0.05")


def test_three_that_overlap_are_shared_out_in_any_order() -> None:
    areas = {"00001": shapely.box(105.8, 21.6, 105.81005, 21.61), "00002": shapely.box(105.81, 21.6, 105.82, 21.61)}
    areas["00003"] = shapely.box(105.80995, 21.60999, 105.82, 21.62)
    expected = checked(areas)
    assert len(expected.fixes) == 3
    for seed in range(4):
        mixed = list(areas.items())
        random.Random(seed).shuffle(mixed)
        found = checked(dict(mixed))
        assert {code: area.wkb for code, area in found.areas.items()} == {
            code: area.wkb for code, area in expected.areas.items()
        }
        assert (found.fixes, found.remarks) == (expected.fixes, expected.remarks)
    assert area_km2(shapely.union_all(list(areas.values()))) == pytest.approx(total_km2(expected.areas), abs=1e-9)


def test_rounding_is_no_overlap() -> None:
    areas = grid()
    areas["00001"] = widened(areas["00001"], 1e-6)
    assert checked(areas) == Checked(areas, ())


# Gaps --------------------------------------------------------------------------------------------------------------


def test_a_hole_that_nobody_claims_is_named_with_its_neighbours() -> None:
    areas = grid()
    hole = areas.pop("00005")
    found = checked(areas)
    around = ", ".join(f"{code} Xã {code}" for code in areas)
    gap = f"a gap of {area_km2(hole):.4f} km² at lat 21.615000, lon 105.815000 between {around}"
    assert english(found.faults) == [gap]
    assert found.areas == {}
    accepted = checked(areas, accept_gaps=True)
    assert (accepted.faults, accepted.remarks, accepted.areas.keys()) == ((), found.faults, areas.keys())


def test_hairline_gaps_are_counted_and_left() -> None:
    areas = grid()
    west, south, east, north = areas["00005"].bounds
    areas["00005"] = shapely.box(west + 2e-5, south, east - 1e-5, north)
    found = checked(areas)
    assert found.faults == found.fixes == ()
    m2 = 3e-5 * OF_LON * SIDE * OF_LAT
    [told] = found.remarks
    assert told.en.startswith("2 hairline gaps, ")
    assert float(told.en.split()[3].replace(",", "")) == pytest.approx(m2, rel=0.01)


def test_a_commune_that_is_missing_is_no_gap() -> None:
    areas = grid()
    delivered = [Delivered(named(code), code, area) for code, area in areas.items() if code != "00005"]
    assert english(check_delivery(delivered, names(areas)).faults) == ["00005 Xã 00005: missing"]


# Rings -------------------------------------------------------------------------------------------------------------


def test_every_broken_ring_is_named() -> None:
    bow = [(105.8, 21.6), (105.81, 21.61), (105.81, 21.6), (105.8, 21.61), (105.8, 21.6)]
    shell = [(105.9, 21.6), (105.95, 21.6), (105.95, 21.65), (105.9, 21.65), (105.9, 21.6)]
    hole = [(105.91, 21.61), (105.93, 21.63), (105.93, 21.61), (105.91, 21.63), (105.91, 21.61)]
    area = shapely.MultiPolygon([shapely.Polygon(bow), shapely.Polygon(shell, [hole])])
    faults = check_delivery([Delivered(named("a"), "00001", area)], {"00001": "Xã Một"}).faults
    assert english(faults) == [
        "a, code 00001: the outer ring of part 1 is broken: Self-intersection at lat 21.605, lon 105.805 (0.5733 km²)",
        "a, code 00001: hole 1 of part 2 is broken: Self-intersection at lat 21.62, lon 105.92 (2.2928 km²)",
    ]


def test_rings_that_do_not_fit_together_are_told() -> None:
    inner, far = shapely.box(105.8, 21.6, 105.81, 21.61).exterior, shapely.box(105.9, 21.6, 105.91, 21.61).exterior
    outside = shapely.Polygon(inner, [far])
    [fault] = check_delivery([Delivered(named("a"), "00001", outside)], {"00001": "Xã Một"}).faults
    assert fault.en.startswith("a, code 00001: the rings do not fit together: Hole lies outside shell at lat 21.6")


RINGS = st.lists(st.tuples(st.floats(105, 106), st.floats(21, 22)), min_size=3, max_size=8)


@settings(max_examples=100, deadline=None)
@given(RINGS, st.integers(0, 3), st.booleans())
def test_mending_never_changes_an_area_by_more_than_a_hair(
    points: list[tuple[float, float]], repeats: int, turned: bool
) -> None:
    ring = [*points, points[0]]
    proper = shapely.Polygon(ring)
    damaged = ring[:1] * (repeats + 1) + ring[1:]
    item = drawn(named("a"), "00001", {"type": "Polygon", "coordinates": [damaged[::-1] if turned else damaged]})
    found = check_delivery([item], {"00001": "Xã Một"})
    if proper.is_valid and proper.area > 1e-9:
        assert area_km2(found.areas["00001"]) == pytest.approx(area_km2(proper), abs=1e-9)
        assert found.areas["00001"].exterior.is_ccw
    else:
        assert found.areas == {}
        assert found.faults


def test_order_does_not_matter() -> None:
    areas = crooked()
    delivered = [Delivered(named(code), code, area) for code, area in areas.items()]
    expected = check_delivery(delivered, names(areas), accept_gaps=True)
    for seed in range(3):
        random.Random(seed).shuffle(delivered)
        found = check_delivery(delivered, names(areas), accept_gaps=True)
        assert (found.fixes, found.remarks, list(found.areas)) == (
            expected.fixes,
            expected.remarks,
            list(expected.areas),
        )
        assert all(found.areas[code].wkb == area.wkb for code, area in expected.areas.items())


def test_a_province_has_its_bounds() -> None:
    assert too_many_vertices(2_000_000) is None
    assert "10,000,000" in str(too_many_vertices(10_000_000))
    around = np.linspace(0, 2 * np.pi, 2_000_001)
    circle = shapely.Polygon(np.column_stack((105.8 + np.cos(around) / 10, 21.6 + np.sin(around) / 10)))
    assert "vertices" in check_delivery([Delivered(named("a"), "00001", circle)], {"00001": "Xã Một"}).faults[0].en


# The real province -------------------------------------------------------------------------------------------------


def test_the_real_communes_pass_with_their_four_hairlines(real_data: Path) -> None:
    areas = real_areas(real_data)
    found = checked(areas)
    assert found.faults == ()
    assert [fix[:5] for fix in english(found.fixes) if "overlap" in fix] == ["02107", "05542", "05665", "05818"]
    assert english(found.remarks) == [
        "4 hairline gaps, 16 m² together, stay: a point in one goes to the nearest commune"
    ]
    assert total_km2(areas) - total_km2(found.areas) == pytest.approx(0.0063, abs=0.0002)


# What changes ------------------------------------------------------------------------------------------------------


def test_the_difference_names_what_moves_largest_first() -> None:
    before, after = grid(2, 1), grid(2, 1)
    after["00001"] = widened(after["00001"], 100)
    after["00002"] = shapely.difference(after["00002"], after["00001"]) - shapely.box(105.81, 21.6, 105.82, 21.602)
    found = difference(before, after)
    assert [(move.before, move.after) for move in found.moves] == [("00002", None), ("00002", "00001")]
    assert found.moves[1].km2 == pytest.approx(100 * SIDE * OF_LAT / 1e6, rel=1e-4)
    assert found.share == pytest.approx(found.moves[1].km2 / total_km2(after), rel=1e-6)
    back = difference(after, before)
    assert {(move.after, move.before): pytest.approx(move.km2) for move in back.moves} == {
        (move.before, move.after): move.km2 for move in found.moves
    }
    assert difference(before, before).moves == ()


@settings(max_examples=40, deadline=None)
@given(st.integers(-9, 9), st.integers(-9, 9))
def test_what_moves_adds_up(east: int, north: int) -> None:
    before = grid()
    after = {
        code: shapely.transform(area, lambda xy: xy + np.array((east / 1000, north / 1000)))
        for code, area in before.items()
    }
    found = difference(before, after)
    assert found.share == pytest.approx(misplaced_share(before, after))
    into = sum(move.km2 for move in found.moves if move.after is not None)
    assert into == pytest.approx(found.share * total_km2(after), abs=0.01)


# Everything at once ------------------------------------------------------------------------------------------------


def test_all_that_is_wrong_is_listed_at_once_and_nothing_changes(session: Session, tmp_path: Path) -> None:
    document = json.loads(places.synthetic(tmp_path / "good.geojson").read_text())
    features = document["features"]
    ring: Callable[[int], list[list[float]]] = lambda number: features[number]["geometry"]["coordinates"][0]  # noqa: E731
    features[0]["properties"]["code"] = "99999"
    ring(3)[1], ring(3)[2] = ring(3)[2], ring(3)[1]
    ring(9)[1][0] += 0.02
    ring(9)[2][0] += 0.02
    for point in ring(20):
        point.reverse()
    features.append(features[30])
    (tmp_path / "bad.geojson").write_text(json.dumps(document))
    before = state(session)
    with pytest.raises(DeliveryError) as refused:
        prepare(session, Files(tmp_path / "bad.geojson"), effective_from=places.EFFECTIVE)
    code = places.codes()
    expected = [
        "feature 1, code 99999: is no commune on that day",
        f"feature 4, code {code[3]}: the outer ring of part 1 is broken: Self-intersection",
        f"feature 21, code {code[20]}: latitude and longitude are swapped",
        f"{code[0]} Phường Đức Xuân: missing",
        f"{code[30]} Xã",
        f"{code[9]} Xã",
    ]
    told = english(refused.value.faults)
    for fault, start in zip(told, expected, strict=True):
        assert start in fault
    assert "delivered 2 times" in told[4]
    assert "overlap by 22.9" in told[5]
    assert state(session) == before
