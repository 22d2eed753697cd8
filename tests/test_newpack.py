"""`phananh pack new`: a pack for another province that passes every check, and that a new installation starts with."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import yaml
from typer.testing import CliRunner, Result

from app.cli import check_pack, cli
from app.core.config import ROOT
from app.embedded import Postgres, Valkey
from app.newpack import MODEL, new_pack


def phananh(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["pack", *map(str, arguments)])


def test_a_new_pack_has_every_file_and_no_mistake(tmp_path: Path) -> None:
    where = tmp_path / "bac_ninh"
    made = phananh("new", where, "--name", "Tỉnh Bắc Ninh", "--code", "24")
    assert made.exit_code == 0, made.output
    files = {str(file.relative_to(MODEL)) for file in MODEL.rglob("*.yaml")}
    assert {str(file.relative_to(where)) for file in where.rglob("*.yaml")} == files
    assert check_pack(where) == []
    for file in where.rglob("*.yaml"):
        assert file.read_text().startswith("# "), "every file explains itself"
        values = str(yaml.safe_load(file.read_text()))
        assert "Thái Nguyên" not in values, file
        assert "Thai Nguyen" not in values, file
    province = yaml.safe_load((where / "province.yaml").read_text())
    assert (province["province"]["code"], province["province"]["name_vi"]) == ("24", "Bắc Ninh")
    assert "Ủy ban nhân dân tỉnh Bắc Ninh" in province["consents"][0]["text_vi"]
    assert "People's Committee of Bac Ninh province" in province["consents"][0]["text_en"]
    assert phananh("check", where).exit_code == 0


def test_a_city_is_called_one(tmp_path: Path) -> None:
    new_pack(tmp_path, "Thành phố Huế", "46")
    assert check_pack(tmp_path) == []
    consent = yaml.safe_load((tmp_path / "province.yaml").read_text())["consents"][0]
    assert "Ủy ban nhân dân thành phố Huế" in consent["text_vi"]
    unit = yaml.safe_load((tmp_path / "units/province.yaml").read_text())
    assert (unit["name"], unit["name_en"]) == ("Thành phố Huế", "Hue City")


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("Bắc Ninh", "24", "begins with Tỉnh or Thành phố"),
        ("Tỉnh ", "24", "is no name of a province"),
        ('Tỉnh "Bắc" Ninh: 3', "24", "is no name of a province"),
        ("Tỉnh Bắc Ninh", "240", "two digits"),
    ],
)
def test_what_is_no_province_is_refused(tmp_path: Path, name: str, code: str, told: str) -> None:
    refused = phananh("new", tmp_path, "--name", name, "--code", code)
    assert (refused.exit_code, told in refused.output) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("x")
    refused = phananh("new", tmp_path, "--name", "Tỉnh Bắc Ninh", "--code", "24")
    assert (refused.exit_code, "is not an empty folder" in refused.output) == (1, True)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.yaml"]


def test_the_box_of_the_province_it_was_copied_from_is_found(tmp_path: Path) -> None:
    new_pack(tmp_path, "Tỉnh Bắc Ninh", "24")
    former = tmp_path / "units/former.yaml"
    former.write_text(former.read_text().replace("lat: 21.58", "lat: 15.58"))
    checked = phananh("check", tmp_path)
    assert checked.exit_code == 1
    assert "province.yaml: province.bounds, line" in checked.output
    assert "misses the centres of 1 communes of units/former.yaml (90011)" in checked.output


@pytest.mark.slow
def test_a_new_installation_starts_with_it(postgres: Postgres, valkey: Valkey, tmp_path: Path) -> None:
    new_pack(tmp_path / "pack", "Tỉnh Bắc Ninh", "24")
    database = postgres.create_database("another_province")
    ours = {
        "DATABASE_URL": database.app_url,
        "OWNER_DATABASE_URL": database.owner_url,
        "REDIS_URL": valkey.url,
        "PHANANH_PROVINCE_PACK": str(tmp_path / "pack"),
        "PHANANH_VAR_DIR": str(tmp_path / "var"),
    }
    command = [sys.executable, "-m", "app.cli", "prepare"]
    prepared = subprocess.run(command, cwd=ROOT, env=os.environ | ours, capture_output=True, text=True, check=False)
    assert prepared.returncode == 0, prepared.stderr
    assert "boundaries: approximate from 2025-07-01, 2 communes" in prepared.stdout
    with psycopg.connect(database.app_url) as connection:
        areas = connection.execute("SELECT code, area_km2 FROM boundary JOIN unit ON unit.id = unit_id ORDER BY code")
        assert [code for code, km2 in areas if km2 > 50] == ["90001", "90002"]
