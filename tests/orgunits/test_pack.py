"""The shipped unit files against what is known, and every damage named."""

import json
import sqlite3
from datetime import date
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest

from app.core.packfile import PackError
from app.core.text import fold
from app.orgunits.schemas import UnitPack, read_units
from tests.orgunits.packs import PACK, Edit


@pytest.fixture(scope="module")
def pack() -> UnitPack:
    return read_units(PACK)


def query(sql: str) -> list[tuple[Any, ...]]:
    with as_file(files("vietnamadminunits") / "data" / "dataset.db") as path:
        connection = sqlite3.connect(path)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


def test_the_92_communes_are_those_of_the_resolution(pack: UnitPack) -> None:
    communes = pack.communes.communes
    assert [sum(commune.kind == kind for commune in communes) for kind in ("xa", "phuong")] == [77, 15]
    assert {(commune.code, commune.name) for commune in communes} == set(
        query("SELECT wardCode, ward FROM admin_units WHERE provinceCode = '19'")
    )
    for commune in communes:
        prefix, kind = ("Phường ", "Ward") if commune.kind == "phuong" else ("Xã ", "Commune")
        assert commune.name.startswith(prefix)
        assert fold(commune.name_en) == fold(f"{commune.name.removeprefix(prefix)} {kind}")
    assert (pack.province.code, pack.communes.valid_from) == ("19", date(2025, 7, 1))


def test_the_former_communes_are_172_and_108(pack: UnitPack) -> None:
    sql = "SELECT wardCode, wardLat, wardLon FROM admin_units_legacy WHERE provinceCode IN ('06', '19')"
    assert {(former.code, former.lat, former.lon) for former in pack.former.communes} == set(query(sql))
    province = {district.code: district.province for district in pack.former.districts}
    counts = [sum(province[former.district] == code for former in pack.former.communes) for code in ("19", "06")]
    assert counts == [172, 108]


def test_three_communes_were_split(pack: UnitPack) -> None:
    today = {commune.code: commune.name for commune in pack.communes.communes}
    before = {former.code: former.name for former in pack.former.communes}
    split = {before[code]: {today[heir] for heir in heirs} for code, heirs in pack.heirs.items() if len(heirs) > 1}
    assert split == {
        "Xã Thượng Đình": {"Xã Phú Bình", "Xã Điềm Thụy"},
        "Phường Cam Giá": {"Phường Tích Lương", "Phường Gia Sàng"},
        "Phường Gia Sàng": {"Phường Phan Đình Phùng", "Phường Gia Sàng"},
    }
    assert pack.heirs.keys() == before.keys()


def test_the_succession_is_that_of_the_collected_data(pack: UnitPack, real_data: Path) -> None:
    expected = {
        (commune["code"], source["code"], source["part"] == "all")
        for commune in json.loads((real_data / "thai_nguyen_succession_2025.json").read_text())
        for source in commune["sources"]
    }
    assert expected == {
        (commune.code, code, whole)
        for commune in pack.communes.communes
        for codes, whole in ((commune.formed_from, True), (commune.formed_from_part, False))
        for code in codes
    }


def test_names_that_fold_alike_keep_their_codes(pack: UnitPack) -> None:
    alike = {commune.code: commune.name for commune in pack.communes.communes if fold(commune.name) == "xa van lang"}
    assert alike == {"02143": "Xã Văn Lang", "05665": "Xã Văn Lăng"}


def test_agencies_answer_where_the_domain_says_so(pack: UnitPack) -> None:
    by_level: dict[str, list[str]] = {}
    for agency in pack.agencies.agencies:
        by_level.setdefault(agency.level, []).append(agency.code)
    assert len([code for code in by_level["department"] if code.startswith("so_")]) == 11
    assert set(by_level["department"]) > {"cong_an_tinh", "thanh_tra_tinh", "van_phong_ubnd", "bql_cac_khu_cong_nghiep"}
    assert by_level["utility"] == ["dien_luc", "nuoc_sach", "moi_truong_do_thi", "vnpt", "viettel", "mobifone"]
    assert by_level["ioc"] == ["ioc"]
    beliefs = {agency.code for agency in pack.agencies.agencies if agency.belief}
    assert beliefs == {"so_van_hoa_the_thao_va_du_lich", "cong_an_tinh", *by_level["utility"], "ioc"}


@pytest.mark.parametrize(
    ("file", "before", "after", "sentence"),
    [
        ("communes.yaml", "    kind: phuong", "    kind: thi_tran", "communes.yaml: communes[1].kind, line"),
        ("communes.yaml", "    kind: phuong\n", "", "communes.yaml: communes[1].kind, line 18: This key is missing."),
        ("communes.yaml", "    kind: phuong", "    kind: phuong\n    mayor: x", "communes[1].mayor"),
        (
            "communes.yaml",
            '- code: "01843"',
            '- code: "01840"',
            "communes[2].code, line 24: The code '01840' is used twice.",
        ),
        ("communes.yaml", '["01834", ', '["01834", "99999", ', "former.yaml has no '99999'."),
        ("communes.yaml", '["01834", ', "[", "'01834' must go into one commune as a whole, or into several in parts."),
        ("communes.yaml", '["01849"', '["01834", "01849"', "'01834' must go into one commune as a whole"),
        ("communes.yaml", 'part: ["05461", "05467"]', 'part: ["05461"]', "'05467' must go into one commune as a whole"),
        (
            "agencies.yaml",
            "level: department",
            "level: department\n    valid_to: 2025-07-01",
            "valid_to must lie after",
        ),
        ("agencies.yaml", "level: department", "level: department\n    phone: 0208 x", "agencies[1].phone"),
        ("agencies.yaml", "code: so_cong_thuong", "code: Sở Công Thương", "agencies[1].code"),
        (
            "former.yaml",
            'district: "058"',
            'district: "999"',
            "former.yaml: communes[1].district, line 44: No district '999'.",
        ),
        ("former.yaml", "lat: 22.154205, lon: 105.845176", "lat: 105.845176, lon: 22.154205", "communes[1].lat"),
        ("former.yaml", "name: Phường Đức Xuân", "name: Đức Xuân", "A name begins with what kind of unit it is"),
        ("former.yaml", 'province: "06"', 'province: "07"', "districts[1].province, line 25: No province '07'."),
        ("former.yaml", '{code: "060"', '{code: "058"', "districts[2].code, line 26: The code '058' is used twice."),
        ("former.yaml", "valid_from: 2024-12-01", "valid_from: 2025-07-01", "valid_to must lie after valid_from."),
        ("former.yaml", " split: true,", "", "split says False, communes.yaml gives '05461' to 2."),
        ("province.yaml", "2025-07-01", "yesterday", "province.yaml: valid_from"),
    ],
)
def test_every_damage_is_named_with_its_line(edited: Edit, file: str, before: str, after: str, sentence: str) -> None:
    with pytest.raises(PackError) as refused:
        read_units(edited(file, (before, after)))
    assert sentence in str(refused.value)


def test_damages_of_all_files_are_listed_at_once(edited: Edit) -> None:
    copy = edited("province.yaml", ('"19"', "19"))
    (copy / "units" / "agencies.yaml").write_text("valid_from: 2025-07-01\nagencies: []\n")
    (copy / "units" / "former.yaml").unlink()
    with pytest.raises(PackError) as refused:
        read_units(copy)
    assert [finding.file for finding in refused.value.findings] == ["province.yaml", "agencies.yaml", "former.yaml"]
    assert "nothing is removed by an empty list" in str(refused.value)
