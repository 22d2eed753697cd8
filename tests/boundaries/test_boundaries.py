"""Boundaries: approximate ones, imported ones, which of them counts when, and bad files that change nothing."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import shapely
from sqlmodel import Session, col, select

from app.boundaries import queries
from app.boundaries.models import Boundary, BoundaryVersion
from app.boundaries.queries import boundaries_in_force, check_location, locate
from app.core import clock
from app.core.errors import DomainError
from app.core.remarks import DeliveryError
from app.orgunits.models import Unit
from app.orgunits.queries import directory
from app.surveys.actions import Files, ImportSummary, import_boundaries, make_approximate, prepare
from app.surveys.rules import misplaced_share
from tests.boundaries.areas import real_areas
from tests.boundaries.versions import state
from tests.orgunits.packs import PACK
from tests.support import places
from tests.support.words import english

DAY = date(2025, 7, 1)
AT = datetime(2026, 3, 2, 3, tzinfo=UTC)
HOME = "05443"

Document = dict[str, Any]
Change = Callable[[Document], object]


@pytest.fixture(scope="module")
def as_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return places.synthetic(tmp_path_factory.mktemp("squares") / "squares.geojson").read_text()


@pytest.fixture
def squares(as_text: str) -> Document:
    """The synthetic communes as GeoJSON, to be damaged."""
    document: Document = json.loads(as_text)
    return document


def deliver(session: Session, path: Path, effective_from: date = DAY, source: str = "test") -> ImportSummary:
    return import_boundaries(session, path, effective_from=effective_from, source=source, licence="none")


def written(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


def shifted(document: Document, east: float) -> Document:
    """Every commune moved: nobody is where he was."""
    moved = json.loads(json.dumps(document))
    for feature in moved["features"]:
        feature["geometry"]["coordinates"] = [[[x + east, y] for x, y in feature["geometry"]["coordinates"][0]]]
    return dict(moved)


def code_at(session: Session, lat: float, lon: float, at: datetime = AT) -> str | None:
    found = locate(session, lat, lon, None, at)
    unit = directory(session).by_id(found.commune_id) if found.commune_id else None
    return unit.code if unit else None


# Approximate -------------------------------------------------------------------------------------------------------


def test_approximate_boundaries_are_drawn_once(session: Session) -> None:
    # Loading the pack drew them already.
    before = state(session)
    again = make_approximate(session, PACK)
    assert (again.created, again.accuracy, again.communes, again.effective_from) == (False, "approximate", 92, DAY)
    assert state(session) == before
    assert 9_000 < again.area_km2 < 11_000
    version = session.get(BoundaryVersion, again.version_id)
    assert version is not None
    assert (version.licence, "vietnamadminunits" in version.source, "Estimates" in version.note) == ("MIT", True, True)


def test_approximate_boundaries_misplace_about_a_sixth(session: Session, real_data: Path) -> None:
    version = make_approximate(session, PACK).version_id
    rows = session.execute(
        select(Unit.code, Boundary.wkb).where(col(Boundary.unit_id) == Unit.id, Boundary.version_id == version)
    )
    drawn = {code: shapely.from_wkb(bytes(wkb)) for code, wkb in rows}
    real = real_areas(real_data)
    assert 0.10 < misplaced_share(drawn, real) < 0.16
    # Nobody inside the province is refused.
    lost = shapely.difference(shapely.union_all(list(real.values())), shapely.union_all(list(drawn.values())))
    assert lost.area / sum(area.area for area in real.values()) < 1e-4


def test_surveyed_beats_approximate_on_the_same_day(session: Session) -> None:
    assert boundaries_in_force(session, AT).accuracy == "surveyed"
    placement = locate(session, *places.centre(HOME), None, AT)
    assert (placement.approximate, placement.accuracy, placement.source) == (False, "surveyed", "synthetic squares")
    assert placement.effective_from == DAY


# Which version counts ----------------------------------------------------------------------------------------------


def test_a_moment_chooses_its_version_by_the_local_day(session: Session, squares: Document, tmp_path: Path) -> None:
    later = date(2026, 3, 2)
    summary = deliver(session, written(tmp_path / "later.geojson", shifted(squares, places.STEP)), later)
    lat, lon = places.centre(HOME)
    eve = datetime(2026, 3, 1, 16, 59, tzinfo=UTC)
    assert clock.local_day(eve) == later - timedelta(days=1)
    assert code_at(session, lat, lon, eve) == HOME
    midnight = eve + timedelta(minutes=1)
    assert boundaries_in_force(session, midnight).id == summary.version_id
    moved = code_at(session, lat, lon, midnight)
    assert moved not in (HOME, None)
    # The old version stays at hand for whoever asks about an earlier moment.
    assert code_at(session, lat, lon, eve) == HOME


def test_the_last_import_of_one_day_counts(session: Session, squares: Document, tmp_path: Path) -> None:
    first = deliver(session, written(tmp_path / "a.geojson", shifted(squares, places.STEP)))
    second = deliver(session, written(tmp_path / "b.geojson", shifted(squares, places.STEP / 2)))
    assert (second.replaces, second.created) == (first.version_id, True)
    assert boundaries_in_force(session, AT).id == second.version_id


def test_a_wrong_version_is_followed_by_the_right_one(session: Session, squares: Document, tmp_path: Path) -> None:
    lat, lon = places.centre(HOME)
    right = written(tmp_path / "right.geojson", squares)
    wrong = written(tmp_path / "wrong.geojson", shifted(squares, places.STEP))
    assert not deliver(session, right, source="the squares in force").created
    assert deliver(session, wrong, source="wrong").created
    assert code_at(session, lat, lon) != HOME
    assert deliver(session, right, source="right again").created
    assert code_at(session, lat, lon) == HOME
    assert boundaries_in_force(session, AT).source == "right again"


def test_before_the_first_version_nothing_is_in_force(session: Session) -> None:
    with pytest.raises(DomainError) as refused:
        locate(session, *places.centre(HOME), None, datetime(2025, 6, 30, 16, 59, tzinfo=UTC))
    assert refused.value.problem.code == "boundaries_missing"
    assert refused.value.headers["Retry-After"]
    assert locate(session, *places.centre(HOME), None, datetime(2025, 6, 30, 17, tzinfo=UTC)).outcome == "inside"


# Imports -----------------------------------------------------------------------------------------------------------


def test_an_import_says_how_much_changes_its_commune(session: Session, squares: Document, tmp_path: Path) -> None:
    before = state(session)
    path = written(tmp_path / "half.geojson", shifted(squares, places.STEP / 2))
    summary = deliver(session, path, source="half a square east")
    assert (summary.created, summary.accuracy, summary.communes) == (True, "surveyed", 92)
    # Half of every square keeps its commune; at the western edge half of it was outside before.
    assert summary.moved_share == pytest.approx(0.5, abs=1e-3)
    assert state(session) == (before[0] + 1, before[1] + 92, before[2] + 1)
    assert "50.0% of the area changes its commune" in str(summary)
    again = deliver(session, path)
    assert (again.created, again.version_id) == (False, summary.version_id)
    assert state(session) == (before[0] + 1, before[1] + 92, before[2] + 1)


def test_a_folder_of_files_is_one_delivery(session: Session, squares: Document, tmp_path: Path) -> None:
    folder = tmp_path / "wards"
    folder.mkdir()
    for feature in shifted(squares, 0.01)["features"]:
        written(folder / f"{feature['properties']['code']}.geojson", feature)
    outline = {"type": "Feature", "properties": {"code": "19"}, "geometry": squares["features"][0]["geometry"]}
    written(folder / "19_thai_nguyen.geojson", {"type": "FeatureCollection", "features": [outline]})
    (folder / "README.txt").write_text("not a boundary")
    summary = deliver(session, folder)
    assert (summary.created, summary.communes) == (True, 92)
    skipped = prepare(session, Files(folder), effective_from=DAY).skipped
    assert english(skipped) == ["19_thai_nguyen.geojson, feature 1: the province's outline, skipped"]


def test_codes_that_a_spreadsheet_made_numbers_are_understood(
    session: Session, squares: Document, tmp_path: Path
) -> None:
    for feature in squares["features"]:
        feature["properties"]["code"] = int(feature["properties"]["code"])
    assert deliver(session, written(tmp_path / "numbers.geojson", squares)).communes == 92


def _swap(document: Document) -> None:
    for feature in document["features"]:
        feature["geometry"]["coordinates"] = [[[y, x] for x, y in feature["geometry"]["coordinates"][0]]]


def _first(document: Document) -> Document:
    feature: Document = document["features"][0]
    return feature


@pytest.mark.parametrize(
    ("damage", "sentences"),
    [
        (lambda d: d["features"].pop(), ["05953 Xã Kha Sơn: missing"]),
        (lambda d: d["features"].append(d["features"][3]), ["delivered 2 times"]),
        (lambda d: d["features"].clear(), ["01840 Phường Đức Xuân: missing", "05953 Xã Kha Sơn: missing"]),
        (lambda d: _first(d)["properties"].update(code="00001"), ["feature 1, code 00001: is no commune", "01840"]),
        (lambda d: _first(d)["properties"].pop("code"), ["bad.geojson, feature 1: has no code in the column `code`"]),
        (lambda d: _first(d).update(properties=None), ["bad.geojson, feature 1: has no code in the column `code`"]),
        (lambda d: d["features"].__setitem__(0, 7), ["bad.geojson, feature 1: has no code in the column `code`"]),
        (lambda d: _first(d).update(geometry=None), ["feature 1, code 01840: is no readable Polygon"]),
        (lambda d: _first(d)["geometry"].update(type="Point"), ["code 01840: is no readable Polygon"]),
        (lambda d: _first(d)["geometry"].update(coordinates=[[1, 2]]), ["code 01840: is no readable Polygon"]),
        (lambda d: _first(d)["geometry"].update(coordinates=[["a", "b"]]), ["code 01840: is no readable Polygon"]),
        (lambda d: _first(d)["geometry"]["coordinates"][0].reverse(), []),
        (
            lambda d: _first(d)["geometry"]["coordinates"][0].insert(2, [1e999, 21.4]),
            ["holds a coordinate that is no number"],
        ),
        (_swap, ["all 92 features: latitude and longitude are swapped"]),
        (
            lambda d: d.update(crs={"properties": {"name": "urn:ogc:def:crs:EPSG::3405"}}),
            ["is in urn:ogc:def:crs:EPSG::3405"],
        ),
        (lambda d: d.update(type="Topology"), ["no GeoJSON FeatureCollection"]),
        (lambda d: d.update(features={}), ["no GeoJSON FeatureCollection"]),
    ],
)
def test_a_bad_file_changes_nothing(
    session: Session, squares: Document, tmp_path: Path, damage: Change, sentences: list[str]
) -> None:
    before = state(session)
    damage(squares)
    path = tmp_path / "bad.geojson"
    path.write_text(json.dumps(squares).replace("Infinity", "1e999"))
    if not sentences:
        # The direction of a ring says nothing.
        assert deliver(session, path).communes == 92
        return
    with pytest.raises(DeliveryError) as refused:
        deliver(session, path)
    for sentence in sentences:
        assert sentence in str(refused.value)
    assert state(session) == before


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[1, 2]", b'{"type": NaN}', b"[" * 200_000, b"PK\x03\x04"]
)
def test_what_is_no_geojson_is_refused(session: Session, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.geojson"
    path.write_bytes(content)
    with pytest.raises(DeliveryError, match=r"bad\.geojson: is no"):
        deliver(session, path)


def test_a_ring_that_crosses_itself_is_shown_where(session: Session, squares: Document, tmp_path: Path) -> None:
    ring = _first(squares)["geometry"]["coordinates"][0]
    ring[1], ring[2] = ring[2], ring[1]
    told = (
        r"code 01840: the outer ring of part 1 is broken: Self-intersection at lat 21\.45, lon 105\.45 \(57\.\d+ km²\)"
    )
    with pytest.raises(DeliveryError, match=told):
        deliver(session, written(tmp_path / "bow.geojson", squares))


def test_nowhere_to_read_from_is_a_sentence(session: Session, tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match=r"gone\.geojson: cannot be read"):
        deliver(session, tmp_path / "gone.geojson")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DeliveryError, match=r"empty: holds no \.geojson file"):
        deliver(session, tmp_path / "empty")


def test_a_day_without_communes_is_refused(session: Session, squares: Document, tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="no commune exists on 2024-01-01"):
        deliver(session, written(tmp_path / "squares.geojson", squares), date(2024, 1, 1))


# The real province -------------------------------------------------------------------------------------------------


@pytest.fixture
def real(session: Session, real_data: Path) -> Session:
    """Give a session in which the real communes are in force."""
    summary = deliver(session, real_data / "thai_nguyen_communes_2025.geojson", source="real")
    assert 8_300 < summary.area_km2 < 8_450
    return session


def test_the_middle_of_the_city_is_phan_dinh_phung(real: Session) -> None:
    placement = check_location(real, 21.5942, 105.8482, 20, AT)
    unit = directory(real).by_id(placement.candidate_ids[0])
    assert unit is not None
    assert (placement.outcome, unit.name, len(placement.candidate_ids)) == ("inside", "Phường Phan Đình Phùng", 1)


def test_on_the_border_both_are_named(real: Session) -> None:
    placement = check_location(real, 21.582337, 105.849129, 20, AT)
    names = {unit.name for each in placement.candidate_ids if (unit := directory(real).by_id(each))}
    assert (placement.outcome, names) == ("border", {"Phường Phan Đình Phùng", "Phường Gia Sàng"})


def test_the_province_file_is_no_commune(session: Session, real_data: Path) -> None:
    with pytest.raises(DeliveryError, match="05953 Xã Kha Sơn: missing"):
        deliver(session, real_data / "thai_nguyen_province_2025.geojson")


def test_every_office_of_today_finds_its_commune(real: Session, real_data: Path) -> None:
    for code, area in real_areas(real_data).items():
        inner = area.representative_point()
        assert code_at(real, inner.y, inner.x) == code


def test_the_index_is_ready_before_the_first_report(session: Session) -> None:
    queries.warm(session)
    assert boundaries_in_force(session, clock.now()).id in queries._indexes  # noqa: SLF001 - the point of warming
