"""Loading units: again and again, changed, shortened, contradicting."""

from datetime import date

import pytest
from sqlmodel import Session, func, select

from app.core.models import ConfigVersion
from app.core.packfile import PackError
from app.orgunits.actions import UnitChange, load_units
from app.orgunits.models import Unit
from app.orgunits.queries import directory
from app.orgunits.rules import unit_id
from tests.orgunits.packs import PACK, Edit

TODAY = date(2026, 3, 2)


def count(session: Session) -> int:
    return session.exec(select(func.count()).select_from(Unit)).one()


def version(session: Session) -> int:
    session.expire_all()
    return session.exec(select(ConfigVersion.version).where(ConfigVersion.topic == "orgunits")).one()


def test_loading_again_changes_nothing(session: Session) -> None:
    before = count(session), version(session)
    summary = load_units(session, PACK)
    assert (summary.changes, summary.absent, summary.unchanged) == ((), (), before[0])
    assert (count(session), version(session)) == before
    assert str(summary) == f"0 added, 0 updated, {before[0]} unchanged"


def test_the_directory_knows_who_is_above_whom(session: Session) -> None:
    units = directory(session)
    province = units.province
    communes = units.communes(TODAY)
    today = {unit.id for unit in units.units if unit.exists(TODAY)}
    assert (province.name, len(communes), len(units.children(province.id))) == (
        "Tỉnh Thái Nguyên",
        92,
        len(today) - 1,
    )
    assert units.descendants(province.id) == today
    assert units.descendants(communes[0].id) == {communes[0].id}
    assert units.children(communes[0].id) == ()
    department = units.by_code("so_xay_dung", TODAY)
    assert department is not None
    assert (department.name, department.kind, department.level) == ("Sở Xây dựng", "department", "department")
    assert units.by_id(department.id) is department


def test_a_unit_is_its_code_and_its_first_day(session: Session) -> None:
    units = directory(session)
    dinh_hoa = units.by_code("05569", date(2025, 7, 1))
    assert dinh_hoa is not None
    assert (dinh_hoa.name, dinh_hoa.id) == ("Xã Định Hóa", unit_id("05569", date(2025, 7, 1)))
    before = units.by_code("05569", date(2025, 6, 30))
    assert before is not None
    assert (before.name, before.id) == ("Thị trấn Chợ Chu", unit_id("05569", date(2024, 12, 1)))
    assert units.by_code("05569", date(2024, 11, 30)) is None
    assert [unit.name for unit in units.bearers("05569")] == ["Thị trấn Chợ Chu", "Xã Định Hóa"]


def test_communes_stand_in_vietnamese_order_of_their_own_names(session: Session) -> None:
    names = [unit.name for unit in directory(session).communes(TODAY)]
    assert names[:4] == ["Xã An Khánh", "Xã Ba Bể", "Phường Bá Xuyên", "Phường Bách Quang"]
    own = [name.removeprefix("Xã ").removeprefix("Phường ") for name in names]
    assert own.index("Đại Phúc") > own.index("Dân Tiến")
    assert own.index("Văn Lang") < own.index("Văn Lăng")


def test_a_changed_unit_stays_the_same_unit(session: Session, edited: Edit) -> None:
    before = version(session)
    pack = edited(
        "communes.yaml",
        (
            "name: Xã Phú Bình\n    name_en: Phu Binh Commune\n    kind: xa",
            "name: Phường Phú Bình\n    name_en: Phu Binh Ward\n    kind: phuong\n    phone: '02083123456'",
        ),
    )
    summary = load_units(session, pack)
    old = {"name": "Xã Phú Bình", "name_en": "Phu Binh Commune", "folded": "xa phu binh", "kind": "xa", "phone": None}
    new = {
        "name": "Phường Phú Bình",
        "name_en": "Phu Binh Ward",
        "folded": "phuong phu binh",
        "kind": "phuong",
        "phone": "02083123456",
    }
    assert summary.changes == (UnitChange("05908", date(2025, 7, 1), old, new),)
    assert (summary.added, summary.updated, version(session)) == (0, 1, before + 1)
    held = directory(session).by_code("05908", TODAY)
    assert held is not None
    assert (held.name, held.id) == ("Phường Phú Bình", unit_id("05908", date(2025, 7, 1)))
    assert load_units(session, pack).changes == ()


def test_what_left_the_pack_stays_in_the_database(session: Session, edited: Edit) -> None:
    entry = "  - code: mobifone\n    name: MobiFone Thái Nguyên\n    name_en: MobiFone Thai Nguyen\n"
    pack = edited("agencies.yaml", (f"{entry}    kind: utility\n    level: utility\n    belief: true\n", ""))
    before = count(session)
    summary = load_units(session, pack)
    assert (summary.absent, summary.changes, count(session)) == (("mobifone",), (), before)
    assert "kept though not in the pack: mobifone" in str(summary)


def test_an_empty_list_changes_nothing(session: Session, edited: Edit) -> None:
    pack = edited("province.yaml", ("Tỉnh Thái Nguyên", "Tỉnh Khác"))
    (pack / "units" / "agencies.yaml").write_text("valid_from: 2025-07-01\nagencies: []\n")
    before = count(session), version(session)
    with pytest.raises(PackError, match="nothing is removed by an empty list"):
        load_units(session, pack)
    assert (count(session), version(session), directory(session).province.name) == (*before, "Tỉnh Thái Nguyên")


def test_a_unit_ends_and_its_code_lives_on(session: Session, edited: Edit) -> None:
    kind = "    kind: utility\n    level: utility\n"
    old = f"  - code: vnpt\n    name: VNPT Thái Nguyên\n    name_en: VNPT Thai Nguyen\n{kind}    belief: true\n"
    new = f"  - code: vnpt\n    name: VNPT Mới\n    name_en: New VNPT\n{kind}    valid_from: 2026-01-01\n"
    pack = edited("agencies.yaml", (old, f"{old}    valid_to: 2026-01-01\n{new}"))
    summary = load_units(session, pack)
    assert (summary.added, summary.updated) == (1, 1)
    units = directory(session)
    names = [unit.name for day in (date(2025, 12, 31), date(2026, 1, 1)) if (unit := units.by_code("vnpt", day))]
    assert names == ["VNPT Thái Nguyên", "VNPT Mới"]


def test_a_code_never_means_two_units_on_one_day(session: Session, edited: Edit) -> None:
    pack = edited("communes.yaml", ('- code: "01840"', '- code: "01840"\n    valid_from: 2026-01-01'))
    before = count(session), version(session)
    with pytest.raises(PackError, match="Phường Đức Xuân of 2025-07-01 has not ended"):
        load_units(session, pack)
    assert (count(session), version(session)) == before
