"""The shipped pack is right, and each way of damaging it is named."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from app.catalog.actions import check_catalog
from app.catalog.rules import DESCRIPTION_MAX_CHARS, PHOTO_MAX_BYTES, PHOTO_TYPES, PHOTOS_PER_REPORT
from app.catalog.schemas import CategoriesFile, CategoryEntry, GroupsFile, TextsFile
from app.core.config import ROOT
from app.core.packfile import read_yaml
from app.core.text import fold
from app.media import rules as media_rules
from app.reports import schemas as report_schemas

PACK = ROOT / "packs" / "thai_nguyen"
UNITS = {entry["code"] for entry in yaml.safe_load((PACK / "units" / "agencies.yaml").read_text())["agencies"]}

# DOMAIN.md, "Categories, first set": deadlines in working days, K = khẩn, group by group.
FIRST_SET = {
    1: "5 1 3 K 3 5",
    2: "3 K 5 5",
    3: "1 3",
    4: "2 3 5 5 2 1",
    5: "1 3 3",
    6: "3 7 3",
    7: "1 K 1 2 3",
    8: "K 3 K",
    9: "K 3 K 5",
    10: "7 K 5 7",
    11: "5 5 3",
    12: "K K 3 2 5 5",
}


@pytest.fixture(scope="module")
def categories() -> list[CategoryEntry]:
    return read_yaml(PACK / "categories.yaml", CategoriesFile).categories


def test_the_shipped_pack_has_no_mistake() -> None:
    assert check_catalog(PACK, UNITS) == []


def test_the_first_set_is_complete_with_its_deadlines(categories: list[CategoryEntry]) -> None:
    policies = yaml.safe_load((PACK / "policies.yaml").read_text())["policies"]
    days: dict[str, str] = {}
    for policy in policies:
        for code in policy.get("categories", ()):
            if policy["clock"] == "resolve":
                assert code not in days
                days[code] = "K" if policy["kind"] == "continuous" and policy["hours"] == 4 else str(policy["days"])
    shipped = {
        number: " ".join(days[entry.code] for entry in categories if entry.number.split(".")[0] == str(number))
        for number in FIRST_SET
    }
    assert shipped == FIRST_SET
    assert {entry.code for entry in categories if entry.urgency == "urgent"} == {
        code for code in days if days[code] == "K"
    }


def test_what_is_sensitive_is_never_public_by_default(categories: list[CategoryEntry]) -> None:
    closed = {group.code for group in read_yaml(PACK / "groups.yaml", GroupsFile).groups if not group.public_default}
    assert closed == {"an_ninh", "hanh_chinh_cong"}
    never = {entry.code for entry in categories if entry.publication == "never"}
    assert never == {entry.code for entry in categories if entry.group in closed} | {"bao_luc_xam_hai_tre_em"}
    assert not [entry.code for entry in categories if entry.publication == "auto"]


def test_plainly_checkable_and_urgent_reports_go_straight_to_routing(categories: list[CategoryEntry]) -> None:
    checkable = {"1", "2", "3", "4", "7"}
    for entry in categories:
        assert entry.trusted == (entry.urgency == "urgent" or entry.number.split(".")[0] in checkable), entry.code


def test_reports_about_staff_go_one_level_up(categories: list[CategoryEntry]) -> None:
    about_staff = {entry.code: entry.level for entry in categories if entry.concerns_staff}
    assert about_staff == {"thai_do_can_bo": "department", "thai_do_co_so_y_te": "department"}


def test_fire_shows_all_numbers_and_its_own_first(categories: list[CategoryEntry]) -> None:
    numbers = {entry.code: entry.emergency_numbers for entry in categories}
    assert set(numbers["chay_no"]) == {"111", "112", "113", "114", "115"}
    assert numbers["chay_no"][0] == numbers["chay_rung"][0] == "114"
    assert numbers["bao_luc_xam_hai_tre_em"][0] == "111"


def test_texts_are_vietnamese_with_diacritics_and_english_beside(categories: list[CategoryEntry]) -> None:
    texts = [(entry.hint_vi, entry.hint_en) for entry in categories]
    texts += [(code.turn_to_vi, code.turn_to_en) for code in read_yaml(PACK / "texts.yaml", TextsFile).reject_codes]
    for vietnamese, english in texts:
        marks = sum(1 for char in vietnamese if char not in fold(char) and char.isalpha() and char.islower())
        assert marks / len(vietnamese) > 0.12, vietnamese
        assert fold(english) == " ".join(english.lower().split()), english


def test_every_reason_to_refuse_points_at_a_door() -> None:
    codes = [code.code for code in read_yaml(PACK / "texts.yaml", TextsFile).reject_codes]
    assert codes == [
        "formal_complaint", "denunciation", "state_secret", "before_court", "unclear", "abusive", "spam", "outside",
    ]  # fmt: skip


def test_the_phone_is_told_what_intake_enforces() -> None:
    assert DESCRIPTION_MAX_CHARS == report_schemas.DESCRIPTION_MAX
    assert PHOTOS_PER_REPORT == report_schemas.MEDIA_MAX
    assert PHOTO_MAX_BYTES == media_rules.MAX_BYTES
    assert set(PHOTO_TYPES) == set(media_rules.MAX_PIXELS)


EMPTY_GROUP = '  - {code: le_hoi, number: 13, name_vi: "Lễ hội", name_en: "Fairs", public_default: true}\n'

# One damage a row: file, what is replaced (a pattern, first match), by what, where it is found, what is said.
DAMAGES = [
    ("categories.yaml", "group: thoat_nuoc", "group: thoat_nuac", "categories[11].group", "thoat_nuac"),
    ("categories.yaml", "unit: so_xay_dung", "unit: so_giao_thong", "categories[2].unit", "so_giao_thong"),
    ("categories.yaml", "code: den_tin_hieu", "code: o_ga", "categories[2].code", "already that of categories[1]"),
    ("categories.yaml", 'number: "1.2"', 'number: "1.1"', "categories[2].number", "already that of categories[1]"),
    ("categories.yaml", 'number: "1.2"', 'number: "2.9"', "categories[2].number", "outside group giao_thong"),
    ("categories.yaml", 'number: "1.2"', "number: 1.2", "categories[2].number", "valid string"),
    ("categories.yaml", "    level: commune\n", "", "categories[1].level", "missing"),
    ("categories.yaml", "level: commune", "level: village", "categories[1].level", "'commune', 'department'"),
    ("categories.yaml", "    unit: so_xay_dung\n", "", "categories[2]", "needs a unit"),
    ("categories.yaml", "level: department", "level: commune", "categories[2]", "no unit"),
    ("categories.yaml", "trusted: true\n    em", "trusted: false\n    em", "categories[4]", "must be trusted"),
    ("categories.yaml", '"113", "114", "115", "112"', '"113", "114"', "categories[4]", "113, 114 and 115"),
    ("categories.yaml", '"115", "112"', '"115", "115"', "categories[4]", "twice"),
    ("categories.yaml", '"115", "112"', '"115", "911"', "categories[4].emergency_numbers", "911"),
    ("categories.yaml", "publication: never", "publication: auto", "categories[30].publication", "not public"),
    ("categories.yaml", "hint_vi:", "hnit_vi:", "categories[1].hnit_vi", "not known"),
    ("categories.yaml", 'name_vi: "[^"]*"', 'name_vi: ""', "categories[1].name_vi", "at least 1 character"),
    ("categories.yaml", "(?s)categories:.*", "categories: []", "categories", "empty"),
    ("categories.yaml", "(?s)^.*$", "", "", "empty"),
    ("categories.yaml", "coarsen_m: 100", "coarsen_m: -1", "categories[15].coarsen_m", "greater than or equal to 0"),
    ("groups.yaml", "(?s)groups:.*", "groups: []", "groups", "empty"),
    ("groups.yaml", "number: 2", "number: 1", "groups[2].number", "already that of groups[1]"),
    ("groups.yaml", "code: thoat_nuoc", "code: moi_truong", "groups[4].code", "already that of groups[3]"),
    ("groups.yaml", "code: thoat_nuoc", "code: Thoát", "groups[3].code", "match pattern"),
    ("groups.yaml", "public_default: true", "public_default: yes", "groups[1].public_default", "valid boolean"),
    ("groups.yaml", r"\Z", EMPTY_GROUP, "categories", "Group le_hoi has no category"),
    ("province.yaml", "west: 105.42", "west: 107.42", "province.bounds", "west of east"),
    ("province.yaml", "south: 21.32", "south: 121.32", "province.bounds.south", "less than or equal to 90"),
    ("province.yaml", 'number: "114"', 'number: "113"', "emergency_numbers[2].number", "already that of"),
    ("province.yaml", 'android: "1.0.0"', "android: 1.0", "minimum_app_versions.android", "valid string"),
    ("province.yaml", "valid_from: 2026-01-01", "valid_from: 01/01/2026", "consents[1].valid_from", "valid date"),
    ("province.yaml", "(?s)features:.*?\n\n", "features: {}\n\n", "features", "empty"),
    ("texts.yaml", "code: denunciation", "code: formal_complaint", "reject_codes[2].code", "already that of"),
    ("texts.yaml", 'turn_to_vi: "[^"]*"', "turn_to_vi: null", "reject_codes[1].turn_to_vi", "valid string"),
    ("texts.yaml", "(?s)reject_codes:.*", "reject_codes: []", "reject_codes", "empty"),
]  # fmt: skip


def damaged(tmp_path: Path, file: str, pattern: str, replacement: str) -> Path:
    pack = tmp_path / "pack"
    shutil.copytree(PACK, pack)
    text = (pack / file).read_text()
    changed, count = re.subn(pattern, lambda _: replacement, text, count=1)
    assert count == 1
    (pack / file).write_text(changed)
    return pack


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: f"{damage[0]}-{damage[2]}"[:40])
def test_damage_is_named(tmp_path: Path, damage: tuple[str, str, str, str, str]) -> None:
    file, pattern, replacement, where, message = damage
    found = check_catalog(damaged(tmp_path, file, pattern, replacement), UNITS)
    hits = [each for each in found if each.where.split(",")[0] == where and message in each.message]
    assert hits, found
    assert hits[0].file in {file, "categories.yaml"}
    assert hits[0].message.endswith(".")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    shutil.copytree(PACK, pack)
    (pack / "texts.yaml").unlink()
    (pack / "groups.yaml").unlink()
    assert [str(each) for each in check_catalog(pack, UNITS)] == [
        "groups.yaml: The file is missing.",
        "texts.yaml: The file is missing.",
    ]
