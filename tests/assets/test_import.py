"""Deliveries of assets: what they change, that nothing changes twice, and what is refused with nothing changed."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from sqlmodel import col, func, select

from app.assets.actions import import_assets, sticker_rows
from app.assets.models import Asset, AssetImport
from app.assets.queries import near
from app.core.db import Session
from app.core.ids import parse_reference
from app.core.remarks import DeliveryError
from app.identity.models import AuditEntry
from tests.support import make
from tests.support.assets import feature, geojson, point
from tests.support.words import english

LAT, LON = 21.6, 105.8
FIRST, SECOND = date(2026, 1, 1), date(2026, 3, 1)
MANAGER = "so_xay_dung"


def deliver(session: Session, path: Path, effective: date = FIRST, **order: Any) -> Any:
    order = {"asset_class": "den_duong", "source": "Sở Xây dựng", **order}
    return import_assets(session, path, effective_from=effective, **order)


def lamps(path: Path, number: int, **first: Any) -> Path:
    """`number` lamps in a row; `first` changes the first one."""
    features = [feature(f"D{n}", point(LON + n / 1000, LAT), name=f"Đèn {n}") for n in range(number)]
    features[0]["properties"] |= first
    return geojson(path, *features)


def state(session: Session) -> tuple[int, int, int]:
    """Assets, deliveries and audit rows."""
    audited = select(func.count()).select_from(AuditEntry).where(AuditEntry.topic == "assets")
    counted = (session.exec(select(func.count()).select_from(table)).one() for table in (Asset, AssetImport))
    assets, deliveries = counted
    return assets, deliveries, session.exec(audited).one()


def at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 3, tzinfo=UTC)


def code_at(session: Session, day: date, n: int = 0) -> list[str]:
    return [found.code for found in near(session, LAT, LON + n / 1000, 5, at(day))]


def faults(session: Session, path: Path, **order: Any) -> list[str]:
    """What is refused; nothing may have changed."""
    before = state(session)
    with pytest.raises(DeliveryError) as refusal:
        deliver(session, path, **order)
    assert state(session) == before
    return english(refusal.value.faults)


def test_a_delivery_is_stored_with_its_manager_and_audited(session: Session, tmp_path: Path) -> None:
    summary = deliver(session, lamps(tmp_path / "lamps.geojson", 3, manager=MANAGER, category="cap_vien_thong"))
    assert str(summary) == "3 added, 0 changed, 0 ended, 0 unchanged"
    (found,) = near(session, LAT, LON, 5, at(FIRST))
    assert (found.name, found.manager_id) == ("Đèn 0", make.unit_id(session, MANAGER))
    assert parse_reference(found.code) == found.code
    assert session.exec(select(Asset.category_code).where(Asset.ref == "D0")).one() == "cap_vien_thong"
    entry = session.exec(select(AuditEntry).where(AuditEntry.subject == "den_duong:Sở Xây dựng")).one()
    assert entry.after is not None
    assert (entry.after["added"], entry.after["effective_from"]) == (3, "2026-01-01")


def test_the_same_delivery_changes_nothing(session: Session, tmp_path: Path) -> None:
    deliver(session, lamps(tmp_path / "lamps.geojson", 3))
    before = state(session)
    assert str(deliver(session, tmp_path / "lamps.geojson", SECOND)) == "0 added, 0 changed, 0 ended, 3 unchanged"
    assert state(session) == before


def test_a_new_delivery_changes_under_the_same_code_and_ends_what_is_missing(session: Session, tmp_path: Path) -> None:
    deliver(session, lamps(tmp_path / "lamps.geojson", 3))
    (code,) = code_at(session, FIRST)
    summary = deliver(session, lamps(tmp_path / "fewer.geojson", 2, manager=MANAGER), SECOND)
    assert [str(change) for change in summary.changes] == ["changed: D0 Đèn 0 (manager)", "ended: D2 Đèn 2"]
    assert code_at(session, FIRST) == code_at(session, SECOND) == [code]
    assert near(session, LAT, LON, 5, at(FIRST))[0].manager_id is None
    assert near(session, LAT, LON, 5, at(SECOND))[0].manager_id == make.unit_id(session, MANAGER)
    assert code_at(session, FIRST, 2)
    assert code_at(session, SECOND, 2) == []


def test_what_began_this_day_is_corrected_in_place(session: Session, tmp_path: Path) -> None:
    deliver(session, lamps(tmp_path / "lamps.geojson", 3))
    rows = state(session)[0]
    deliver(session, lamps(tmp_path / "again.geojson", 2, name="Đèn góc"))
    assert state(session)[0] == rows
    assert near(session, LAT, LON, 5, at(FIRST))[0].name == "Đèn góc"
    assert code_at(session, FIRST, 2) == []
    deliver(session, tmp_path / "lamps.geojson")
    assert state(session)[0] == rows
    assert code_at(session, FIRST, 2)


def test_an_asset_that_comes_back_bears_the_code_of_its_sticker(session: Session, tmp_path: Path) -> None:
    deliver(session, lamps(tmp_path / "lamps.geojson", 3))
    (code,) = code_at(session, FIRST, 2)
    deliver(session, lamps(tmp_path / "fewer.geojson", 2), date(2026, 2, 1))
    deliver(session, tmp_path / "lamps.geojson", SECOND)
    assert code_at(session, date(2026, 2, 1), 2) == []
    assert code_at(session, SECOND, 2) == [code]


def test_another_source_is_left_alone(session: Session, tmp_path: Path) -> None:
    deliver(session, lamps(tmp_path / "lamps.geojson", 3))
    summary = deliver(session, lamps(tmp_path / "others.geojson", 1), source="Điện lực")
    assert str(summary) == "1 added, 0 changed, 0 ended, 0 unchanged"
    assert len(code_at(session, FIRST)) == 2


def test_a_rehearsal_tells_and_stores_nothing(session: Session, tmp_path: Path) -> None:
    before = state(session)
    summary = deliver(session, lamps(tmp_path / "lamps.geojson", 2), dry_run=True)
    assert [str(change) for change in summary.changes] == ["added: D0 Đèn 0", "added: D1 Đèn 1"]
    assert state(session) == before


@pytest.mark.parametrize("left", [0, 1, 7])
def test_an_empty_or_much_smaller_delivery_needs_somebody_who_insists(
    session: Session, tmp_path: Path, left: int
) -> None:
    deliver(session, lamps(tmp_path / "lamps.geojson", 12))
    smaller = lamps(tmp_path / "smaller.geojson", left) if left else geojson(tmp_path / "smaller.geojson")
    (fault,) = faults(session, smaller, effective=SECOND)
    assert f"would end {12 - left} of the 12" in fault
    assert deliver(session, smaller, SECOND, force=True).number("ended") == 12 - left
    assert state(session)[0] == 12


def test_an_older_delivery_than_the_last_is_refused(session: Session, tmp_path: Path) -> None:
    deliver(session, lamps(tmp_path / "lamps.geojson", 2), SECOND)
    (fault,) = faults(session, lamps(tmp_path / "old.geojson", 3))
    assert "2026-01-01 lies before 2026-03-01" in fault


def test_stickers_fit_a_database_built_anew_and_execute_nothing(session: Session, tmp_path: Path) -> None:
    deliver(session, lamps(tmp_path / "lamps.geojson", 2, name="=cmd|' /C calc'!A0"))
    template = "https://example.vn/s/{code}"
    first, second = list(sticker_rows(session, "den_duong", template))
    assert first[1] == "'=cmd|' /C calc'!A0"
    assert second == (second[0], "Đèn 1", f"https://example.vn/s/{second[0]}")
    # Computed once and written down: whatever changes it makes stickers outside worthless.
    assert (first[0], second[0]) == ("ABYX-8EKE", "EMB8-5CJ7")


# Formats -------------------------------------------------------------------------------------------------------------


def test_a_spreadsheet_is_read_whatever_parts_its_cells(session: Session, tmp_path: Path) -> None:
    rows = ["ID;Name;Lat;Lon;Manager", f'7;"=1+1; một ""đèn""";{LAT};{LON};{MANAGER}', f"8;;{LAT};{LON + 0.001};"]
    (tmp_path / "lamps.csv").write_text("\ufeff" + "\r\n".join(rows))
    assert deliver(session, tmp_path / "lamps.csv").number("added") == 2
    assert near(session, LAT, LON, 5, at(FIRST))[0].name == '=1+1; một "đèn"'
    (tmp_path / "same.csv").write_text(
        "\n".join(row.replace('"=1+1; một ""đèn"""', "Đèn").replace(";", ",") for row in rows)
    )
    assert deliver(session, tmp_path / "same.csv", SECOND).number("changed") == 1


def geopackage(path: Path, shapes: list[Any], crs: str = "EPSG:4326", **columns: Any) -> Path:
    pyogrio.raw.write(
        path,
        np.array([shapely.to_wkb(shape) for shape in shapes], dtype=object),
        [np.array(column) for column in columns.values()],
        list(columns),
        layer=path.stem,
        geometry_type=shapes[0].geom_type,
        crs=crs,
    )
    return path


def test_a_geopackage_is_read(session: Session, tmp_path: Path) -> None:
    roads = [
        shapely.LineString([(LON, LAT), (LON + 0.01, LAT + 0.01)]),
        shapely.LineString([(LON, LAT), (LON, LAT + 1)]),
    ]
    path = geopackage(tmp_path / "roads.gpkg", roads, id=[3, 37], name=["Quốc lộ 3", "Quốc lộ 37"])
    assert deliver(session, path, asset_class="quoc_lo").number("added") == 2
    assert [found.name for found in near(session, LAT + 0.5, LON, 5, at(FIRST))] == ["Quốc lộ 37"]
    assert session.exec(select(Asset.ref).where(Asset.asset_class == "quoc_lo").order_by(col(Asset.ref))).all() == [
        "3",
        "37",
    ]


def test_a_geopackage_in_another_projection_is_refused(session: Session, tmp_path: Path) -> None:
    path = geopackage(tmp_path / "lamps.gpkg", [shapely.Point(430_000, 2_390_000)], crs="EPSG:3405", id=[1])
    (fault,) = faults(session, path)
    assert "EPSG:3405; convert it to WGS 84" in fault


# Bad input -----------------------------------------------------------------------------------------------------------

CRS = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3405"}}
TWO = [[LON, LAT], [LON, LAT + 1]]
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("swapped axes", feature("x", point(LAT, LON)), "latitude and longitude are swapped"),
    ("another projection", feature("x", point(430_000.0, 2_390_000.0)), "are not degrees: another projection"),
    ("another country", feature("x", point(2.35, 48.85)), "lies outside Vietnam"),
    ("another province", feature("x", point(106.7, 10.8)), "lies outside the province"),
    ("no number", feature("x", {"type": "Point", "coordinates": ["a", "b"]}), "is no readable point"),
    ("too large a number", feature("x", point(1e999, LAT)), "is no JSON"),
    ("nothing", feature("x", None), "is no readable point"),
    ("a line", feature("x", {"type": "LineString", "coordinates": TWO}), "is no readable point"),
    ("points", feature("x", {"type": "MultiPoint", "coordinates": TWO}), "is several points"),
    ("no id", feature(None, point(LON, LAT)), "has no id"),
    ("an id again", feature("D0", point(LON, LAT)), "id D0: stands in the delivery 2 times"),
    ("unknown unit", feature("x", point(LON, LAT), manager="so_vu_tru"), "no unit bears the code so_vu_tru"),
    ("unknown category", feature("x", point(LON, LAT), category="sao_hoa"), "sao_hoa is no category in use"),
    ("another class", feature("x", point(LON, LAT), **{"class": "ho_ga"}), "is of class ho_ga, not den_duong"),
    ("null byte", feature("x", point(LON, LAT), name="a\x00b"), "the name cannot be stored: the text holds a null"),
    ("half a letter", feature("\ud800", point(LON, LAT)), "the id cannot be stored: the text holds an unpaired"),
    ("a long name", feature("x", point(LON, LAT), name="a" * 201), "the name is longer than 200 characters"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "told"), [(bad, told) for _, bad, told in BAD], ids=[name for name, *_ in BAD])
def test_a_bad_asset_is_named_and_nothing_is_changed(
    session: Session, tmp_path: Path, bad: dict[str, Any], told: str
) -> None:
    path = geojson(tmp_path / "lamps.geojson", feature("D0", point(LON, LAT)), bad)
    (fault,) = faults(session, path)
    assert told in fault


def test_all_faults_are_told_at_once(session: Session, tmp_path: Path) -> None:
    one_by_one = {"too large a number", "an id again"}
    bad = [json.loads(json.dumps(each)) for name, each, _ in BAD if name not in one_by_one]
    for number, each in enumerate(bad):
        if each["properties"]["id"] == "x":
            each["properties"]["id"] = str(number)
    assert len(faults(session, geojson(tmp_path / "bad.geojson", *bad))) == len(bad)


def zigzag(count: int) -> dict[str, Any]:
    return {"type": "LineString", "coordinates": [[LON + n % 2 / 1000, LAT + n / 1e6] for n in range(count)]}


def test_a_line_with_too_many_vertices_or_none_to_speak_of_is_refused(session: Session, tmp_path: Path) -> None:
    still = {"type": "LineString", "coordinates": [[LON, LAT], [LON, LAT]]}
    path = geojson(tmp_path / "roads.geojson", feature("a", zigzag(50_001)), feature("b", still))
    many, none = faults(session, path, asset_class="quoc_lo")
    assert "50001 vertices are too many" in many
    assert "a line without length" in none


WRONG: dict[str, tuple[str, str, str]] = {
    "no json": ("a.geojson", "{", "is no JSON"),
    "no number": ("a.geojson", '{"type": "FeatureCollection", "features": [NaN]}', "NaN is no number"),
    "nested": ("a.geojson", "[" * 100_000, "is no JSON"),
    "no collection": ("a.geojson", '{"type": "Point"}', "is no GeoJSON FeatureCollection"),
    "projection": ("a.geojson", json.dumps({"type": "FeatureCollection", "features": [], "crs": CRS}), "EPSG::3405"),
    "no geopackage": ("a.gpkg", "PK\x03\x04", "a.gpkg: cannot be read ("),
    "broken geopackage": ("a.gpkg", "SQLite format 3\x00 and no more", "a.gpkg: cannot be read ("),
    "archive": ("a.zip", "PK\x03\x04", "is no zip that can be read"),
    "no columns": ("a.csv", "id,latitude\n1,2", "has no column lat, lon"),
    "empty": ("a.csv", "", "has no column id, lat, lon"),
    "comma": ("a.csv", "id;lat;lon\n1;21,6;105,8", "lat '21,6', lon '105,8' are no degrees"),
    "nan": ("a.csv", "id,lat,lon\n1,nan,105.8", "are no degrees"),
    "cells": ("a.csv", "id,lat,lon\n1,21.6", "another number of cells"),
    "quote": ("a.csv", 'id,lat,lon\n"1,21.6,105.8', "is no CSV"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_a_file_that_is_something_else_is_refused(session: Session, tmp_path: Path, case: tuple[str, str, str]) -> None:
    name, content, told = case
    (tmp_path / name).write_text(content)
    (fault,) = faults(session, tmp_path / name)
    assert told in fault


@pytest.mark.parametrize(
    ("order", "told"),
    [
        ({"asset_class": "tau_vu_tru"}, "tau_vu_tru: is no class of assets; known are quoc_lo"),
        ({"source": "  "}, "the source needs a name"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(
    session: Session, tmp_path: Path, order: dict[str, str], told: str
) -> None:
    (fault,) = faults(session, lamps(tmp_path / "lamps.geojson", 1), **order)
    assert told in fault


def test_a_missing_file_is_told(session: Session, tmp_path: Path) -> None:
    (fault,) = faults(session, tmp_path / "nowhere.csv")
    assert "cannot be read" in fault
