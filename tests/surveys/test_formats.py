"""Shapefile, zip, GeoPackage and GeoJSON: what is read, and what is refused before it can do harm."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from shapely.geometry import shape
from sqlmodel import Session

from app.boundaries.models import BoundaryVersion
from app.core.config import ROOT
from app.core.remarks import DeliveryError
from app.surveys.actions import Files, Prepared, prepare, store
from tests.boundaries.versions import state
from tests.support import places

DAY = places.EFFECTIVE


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    found = json.loads(places.synthetic(tmp_path_factory.mktemp("squares") / "squares.geojson").read_text())
    features: list[dict[str, Any]] = found["features"]
    return features


@pytest.fixture
def layer(features: list[dict[str, Any]], tmp_path: Path) -> Callable[..., Path]:
    """Write the squares through GDAL."""

    def write(name: str, *, column: str = "code", numbers: bool = False, crs: str | None = "EPSG:4326") -> Path:
        path = tmp_path / name
        codes = [feature["properties"]["code"] for feature in features]
        pyogrio.raw.write(
            path,
            geometry=shapely.to_wkb(np.array([shape(feature["geometry"]) for feature in features])),
            field_data=[np.array([int(code) for code in codes] if numbers else codes)],
            fields=[column],
            geometry_type="Polygon",
            crs=crs,
        )
        return path

    return write


def read(session: Session, path: Path, column: str = "code") -> Prepared:
    return prepare(session, Files(path, code_column=column), effective_from=DAY)


def refusal(session: Session, path: Path, column: str = "code") -> str:
    before = state(session)
    with pytest.raises(DeliveryError) as refused:
        read(session, path, column)
    assert state(session) == before
    return "\n".join(fault.en for fault in refused.value.faults)


def zipped(folder: Path, shapefile: Path, inside: str = "") -> Path:
    path = folder / "delivery.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in shapefile.parent.glob(f"{shapefile.stem}.*"):
            archive.write(part, inside + part.name)
    return path


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_every_format_gives_the_same_areas(session: Session, layer: Callable[..., Path], tmp_path: Path) -> None:
    expected = read(session, places.synthetic(tmp_path / "squares.geojson")).areas
    shapefile = layer("xa.shp")
    found = [
        read(session, shapefile),
        read(session, zipped(tmp_path, shapefile, "dữ liệu/")),
        read(session, layer("xa.gpkg")),
        read(session, layer("so.gpkg", numbers=True)),
        read(session, layer("so.shp", numbers=True)),
        read(session, layer("ten.gpkg", column="MA_XA"), "ma_xa"),
        read(session, layer("khong.shp", crs=None)),
    ]
    for prepared in found:
        assert prepared.areas.keys() == expected.keys()
        assert all(area.equals(expected[unit]) for unit, area in prepared.areas.items())
    # Shapefiles turn their rings the other way round.
    assert found[0].fixes[0].en == "01840 Phường Đức Xuân: rings turned: 1"
    assert found[0].sha256 == found[1].sha256 != found[2].sha256


def test_a_folder_may_hold_a_shapefile(session: Session, layer: Callable[..., Path]) -> None:
    path = layer("xa.shp")
    assert len(read(session, path.parent).areas) == 92


def test_a_named_property_serves_in_geojson_too(
    session: Session, features: list[dict[str, Any]], tmp_path: Path
) -> None:
    renamed = [feature | {"properties": {"ma": feature["properties"]["code"]}} for feature in features]
    path = tmp_path / "ma.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": renamed}))
    assert len(read(session, path, "ma").areas) == 92
    assert refusal(session, path).startswith("ma.geojson: has no column `code`, only ma; ")


def test_another_projection_is_refused_by_its_name(session: Session, layer: Callable[..., Path]) -> None:
    for name in ("vn2000.shp", "vn2000.gpkg"):
        told = refusal(session, layer(name, crs="EPSG:3405"))
        assert told == f"{name}: is in EPSG:3405; convert it to WGS 84 (EPSG:4326) first"


def test_a_column_that_is_not_there_is_named(session: Session, layer: Callable[..., Path]) -> None:
    assert refusal(session, layer("xa.gpkg", column="ma")).startswith("xa.gpkg: has no column `code`, only ma; ")


def test_of_two_layers_none_is_guessed(session: Session, layer: Callable[..., Path]) -> None:
    path = layer("hai.gpkg")
    pyogrio.raw.write(
        path,
        geometry=shapely.to_wkb(np.array([shapely.box(105, 21, 106, 22)])),
        field_data=[np.array(["x"])],
        fields=["code"],
        geometry_type="Polygon",
        crs="EPSG:4326",
        layer="khac",
        append=True,
    )
    assert refusal(session, path) == "hai.gpkg: must hold one layer with geometries, not hai, khac"


@pytest.mark.parametrize("name", ["bad.gpkg", "bad.shp", "bad.zip"])
@pytest.mark.parametrize("content", [b"", b"rubbish" * 100, b"SQLite format 3\x00" + b"\x00" * 200])
def test_rubbish_is_refused_in_every_format(session: Session, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert refusal(session, tmp_path / name).startswith(f"{name}: ")
    assert refusal(session, tmp_path / f"gone_{name}").startswith(f"gone_{name}: cannot be read")


def test_a_shapefile_cut_in_the_middle_is_refused(session: Session, layer: Callable[..., Path]) -> None:
    path = layer("xa.shp")
    path.write_bytes(path.read_bytes()[:6000])
    assert refusal(session, path).startswith("xa.shp: cannot be read (")


# Too much ----------------------------------------------------------------------------------------------------------


def test_ten_million_vertices_are_refused_before_they_are_built(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "huge.geojson"
    with path.open("w") as file:
        file.write(
            '{"type": "Feature", "properties": {"code": "01840"}, "geometry": {"type": "Polygon", "coordinates": [['
        )
        file.write("[105.1,21.1]," * 10_000_000)
        file.write("[105.1,21.1]]]}}")
    assert refusal(session, path).startswith(
        "huge.geojson: holds 10,000,003 vertices; more than 2,000,000 are not read"
    )


@pytest.mark.parametrize("name", ["huge.shp", "huge.gpkg"])
def test_a_layer_of_that_size_is_refused_unread(session: Session, tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(10_000_000 * 16)
    told = f"{name}: holds 10,000,000 vertices; more than 2,000,000 are not read"
    assert refusal(session, tmp_path / name).startswith(told)


def test_a_file_larger_than_any_province_is_not_read(session: Session, tmp_path: Path) -> None:
    with (tmp_path / "huge.geojson").open("wb") as file:
        file.truncate(300 * 2**20)
    assert refusal(session, tmp_path / "huge.geojson").startswith("huge.geojson: too large, more than 256 MB")


def test_a_zip_bomb_does_not_go_off(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("xa.shp", "w", force_zip64=True) as member:
            for _ in range(260):
                member.write(bytes(2**20))
        archive.writestr("xa.dbf", b"")
    assert path.stat().st_size < 3 * 2**20
    assert refusal(session, path).startswith("bomb.zip: unpacks to more than 256 MB: ")


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        (["../xa.shp"], "holds a path that leads elsewhere ('../xa.shp')"),
        (["/etc/xa.shp"], "holds a path that leads elsewhere ('/etc/xa.shp')"),
        (["a\\b.shp"], "holds a path that leads elsewhere"),
        (["a.shp", "b.shp"], "must hold one Shapefile, not a.shp, b.shp"),
        (["a.geojson"], "must hold one Shapefile, not none"),
        (["inner.zip"], "must hold one Shapefile, not none"),
        ([f"{number}.txt" for number in range(101)], "holds 101 files, more than 100"),
    ],
)
def test_what_a_zip_may_hold(session: Session, tmp_path: Path, members: list[str], sentence: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for member in members:
            archive.writestr(member, b"x")
    assert sentence in refusal(session, tmp_path / "a.zip")


# Rings as they were drawn ------------------------------------------------------------------------------------------


def with_ring(features: list[dict[str, Any]], path: Path, change: Callable[[list[Any]], object]) -> Path:
    document = json.loads(json.dumps({"type": "FeatureCollection", "features": features}))
    change(document["features"][0]["geometry"]["coordinates"][0])
    path.write_text(json.dumps(document))
    return path


def test_what_is_safe_is_mended_and_listed(session: Session, features: list[dict[str, Any]], tmp_path: Path) -> None:
    def damage(ring: list[Any]) -> None:
        ring[-1] = [ring[0][0] + 5e-6, ring[0][1]]
        ring.insert(2, ring[1])
        ring.insert(2, ring[1])
        ring.reverse()

    prepared = read(session, with_ring(features, tmp_path / "a.geojson", damage))
    told = (
        "01840 Phường Đức Xuân: a ring closed whose ends lay 0.52 m apart, repeated points dropped: 2, rings turned: 1"
    )
    assert prepared.fixes[0].en == told
    summary = store(session, prepared, source="mended", licence="none")
    version = session.get_one(BoundaryVersion, summary.version_id)
    assert version.fixes == list(map(str, prepared.fixes))


def test_a_ring_left_open_is_refused(session: Session, features: list[dict[str, Any]], tmp_path: Path) -> None:
    told = refusal(session, with_ring(features, tmp_path / "open.geojson", lambda ring: ring.pop()))
    assert "open.geojson, feature 1, code 01840: a ring is not closed: from lat 21.400000, lon 105.400000 to" in told
    assert "are 11,0" in told


def test_heights_are_dropped(session: Session, features: list[dict[str, Any]], tmp_path: Path) -> None:
    path = with_ring(features, tmp_path / "high.geojson", lambda ring: [point.append(120.5) for point in ring])
    assert not any(area.has_z for area in read(session, path).areas.values())


def test_a_day_before_later_boundaries_is_refused(session: Session, tmp_path: Path) -> None:
    path = places.synthetic(tmp_path / "squares.geojson")
    store(
        session, prepare(session, Files(path), effective_from=date(2026, 3, 1)), source="the later one", licence="none"
    )
    before = state(session)
    told = r"2026-02-28 lies before the boundaries of 2026-03-01 \(the later one\): choose that day or a later one"
    with pytest.raises(DeliveryError, match=told):
        prepare(session, Files(path), effective_from=date(2026, 2, 28))
    assert state(session) == before


def test_gdal_is_loaded_with_the_first_file_that_needs_it() -> None:
    program = "import sys, app.cli; sys.exit('pyogrio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
