"""Classes of assets come with the pack, and commands of operators reach them."""

from pathlib import Path

import pytest
from sqlmodel import func, select
from typer.testing import CliRunner

from app.assets.actions import check_classes, load_classes
from app.assets.models import Asset, AssetClass
from app.assets.queries import asset_classes
from app.cli import cli
from app.core.db import Session
from app.core.packfile import PackError
from app.identity.models import AuditEntry
from tests.orgunits.packs import PACK
from tests.support.assets import feature, geojson, point

ROAD = "{code: quoc_lo, name_vi: Quốc lộ, name_en: National road, kind: line, category: o_ga, landmark: true}"


def pack(tmp_path: Path, *classes: str) -> Path:
    (tmp_path / "assets.yaml").write_text("classes:\n" + "".join(f"  - {each}\n" for each in classes))
    return tmp_path


def test_the_shipped_classes_are_loaded_once(session: Session) -> None:
    assert load_classes(session, PACK) == 0
    road, lamp = asset_classes(session)["quoc_lo"], asset_classes(session)["den_duong"]
    assert (road.kind, road.category_code, road.landmark) == ("line", "o_ga", True)
    assert (lamp.kind, lamp.category_code, lamp.landmark) == ("point", "den_duong", False)


def test_a_pack_without_classes_is_sound_and_retires_what_stood(session: Session, tmp_path: Path) -> None:
    assert check_classes(tmp_path, ()) == []
    number = session.exec(select(func.count()).select_from(AssetClass)).one()
    assert load_classes(session, tmp_path) == number
    assert not any(each.active for each in asset_classes(session).values())
    entries = session.exec(select(AuditEntry).where(AuditEntry.topic == "assets"))
    assert sum(entry.after == {"active": False} for entry in entries) == number
    assert load_classes(session, PACK) == number


def test_mistakes_are_named_with_their_place(session: Session, tmp_path: Path) -> None:
    wrong = pack(tmp_path, ROAD, ROAD.replace("o_ga", "sao_hoa"))
    twice, unknown = (str(finding) for finding in check_classes(wrong, {"o_ga"}))
    assert twice == "assets.yaml: classes[2].code, line 3: The code quoc_lo stands here twice."
    assert "No category of categories.yaml has the code sao_hoa" in unknown
    with pytest.raises(PackError):
        load_classes(session, wrong)


def test_a_class_keeps_its_kind_while_assets_stand(session: Session, tmp_path: Path) -> None:
    roads = {"type": "LineString", "coordinates": [[105.8, 21.6], [105.9, 21.6]]}
    path = geojson(tmp_path / "roads.geojson", feature("3", roads))
    result = CliRunner().invoke(cli, ["assets", "import", str(path), "--class", "quoc_lo", "--source", "test"])
    assert result.exit_code == 0, result.output
    with pytest.raises(PackError, match="its kind stays"):
        load_classes(session, pack(tmp_path, ROAD.replace("line", "point")))


def test_the_operator_rehearses_imports_and_prints_stickers(session: Session, tmp_path: Path) -> None:
    path = geojson(tmp_path / "lamps.geojson", feature("1", point(105.8, 21.6), name="Đèn 1"))
    order = ["assets", "import", str(path), "--class", "den_duong", "--source", "test", "--effective", "2026-01-01"]
    rehearsed = CliRunner().invoke(cli, [*order, "--dry-run"])
    assert rehearsed.output.splitlines() == ["added: 1 Đèn 1", "would be: 1 added, 0 changed, 0 ended, 0 unchanged"]
    assert session.exec(select(func.count()).select_from(Asset)).one() == 0
    assert CliRunner().invoke(cli, order).output == "1 added, 0 changed, 0 ended, 0 unchanged\n"
    code = session.exec(select(Asset.code)).one()
    printed = CliRunner().invoke(cli, ["assets", "stickers", "--class", "den_duong"]).output
    assert printed.splitlines() == ["code,name,address", f"{code},Đèn 1,http://127.0.0.1:8000/v1/assets/{code}"]


def test_the_operator_is_told_every_fault(session: Session, tmp_path: Path) -> None:
    path = geojson(tmp_path / "lamps.geojson", feature("1", point(21.6, 105.8)), feature("2", None))
    result = CliRunner().invoke(cli, ["assets", "import", str(path), "--class", "den_duong", "--source", "test"])
    assert result.exit_code == 1
    assert "feature 1, id 1: latitude and longitude are swapped" in result.output
    assert "feature 2, id 2: is no readable point" in result.output
