"""Routing rules of the pack: checked before anything is stored, entered once, audited, in force at once."""

import json
import shutil
from datetime import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select
from typer.testing import CliRunner

from app.cli import check_pack, cli, routing_codes
from app.core.config import ROOT
from app.core.db import Session
from app.core.packfile import PackError
from app.identity.models import AuditEntry
from app.routing.actions import FILE, load_rules, warn_rules
from app.routing.models import RoutingRule
from app.routing.queries import read_rules
from tests.support import make, places

HOME, ELSEWHERE = places.codes()[0], places.codes()[50]
RULE: dict[str, Any] = {"category": "o_ga", "communes": [HOME], "unit": "so_xay_dung", "valid_from": "2025-07-01"}


def pack(tmp_path: Path, *rules: dict[str, Any]) -> Path:
    copy = tmp_path / "pack"
    if not copy.exists():
        shutil.copytree(ROOT / "packs" / "thai_nguyen", copy)
    (copy / FILE).write_text(json.dumps({"rules": rules}))
    return copy


def audited(session: Session) -> list[Any]:
    return list(session.exec(select(AuditEntry.after).where(AuditEntry.topic == "routing")))


def test_a_rule_counts_from_the_moment_it_was_loaded(client: TestClient, session: Session, tmp_path: Path) -> None:
    dispatcher = make.bearer(make.staff(session, "dispatcher"))
    lat, lon = places.centre(HOME)
    question = {"category": "o_ga", "location": {"lat": lat, "lon": lon}}

    def answer() -> tuple[str, str]:
        found = client.post("/v1/routing/dry-run", json=question, headers=dispatcher).json()
        return found["unit"]["code"], found["reason"]

    assert answer() == (HOME, "commune")
    assert load_rules(session, pack(tmp_path, RULE)) == 1
    session.commit()
    assert answer() == ("so_xay_dung", "rule")


def test_loading_again_changes_nothing(session: Session, tmp_path: Path) -> None:
    before = len(audited(session))
    several = RULE | {"communes": [HOME, ELSEWHERE]}
    assert load_rules(session, pack(tmp_path, several)) == 2
    assert load_rules(session, pack(tmp_path, several)) == 0
    assert audited(session)[before:] == [{"entered": 2}]


def test_a_rule_the_pack_no_longer_names_stays(session: Session, tmp_path: Path) -> None:
    load_rules(session, pack(tmp_path, RULE))
    count = len(session.exec(select(RoutingRule)).all())
    assert load_rules(session, pack(tmp_path, RULE | {"category": "via_he"})) == 1
    assert len(session.exec(select(RoutingRule)).all()) == count + 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unit": "so_khong_co"}, "so_khong_co is not known"),
        ({"category": "khong_co"}, "khong_co is not known"),
        ({"communes": ["99999"]}, "99999 is not known"),
        ({"group": "giao_thong"}, "either a category or a group"),
        ({"category": None}, "either a category or a group"),
        ({"valid_to": "2025-07-01"}, "The period is empty"),
        ({"valid_from": "2024-01-01"}, "not in force on valid_from"),
        ({"uu_tien": 1}, "uu_tien"),
        ({"priority": 5000}, "1000"),
        ({"unit": None}, "Name the unit"),
        ({"cooperating": ["so_khong_co"]}, "so_khong_co is not known"),
        ({"communes": ["so_xay_dung"]}, "so_xay_dung is not known"),
        ({"communes": None, "area_name": "Phía nam"}, "name of a group of communes"),
        ({"communes": None, "asset": {"asset_class": "khong_co"}}, "the asset class is not in force"),
        ({"asset": {"asset_class": "quoc_lo"}}, "either communes or an asset"),
        ({"hours": {"weekdays": [8]}}, "7"),
        ({"hours": {"starts": "22:00"}}, "both starts and ends"),
        ({"category": "via_he", "unit": "cong_an_tinh"}, "As strong as rules[1], line 1"),
    ],
)
def test_damage_is_named_and_enters_nothing(
    session: Session, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    before = len(session.exec(select(RoutingRule)).all())
    with pytest.raises(PackError) as refused, session.begin_nested():
        load_rules(session, pack(tmp_path, RULE | {"category": "via_he"}, RULE | change))
    assert any(words in str(finding) for finding in refused.value.findings), refused.value.findings
    assert len(session.exec(select(RoutingRule)).all()) == before


def test_a_rule_of_the_pack_may_say_all_that_a_rule_can(session: Session, tmp_path: Path) -> None:
    group = RULE | {"communes": [HOME, ELSEWHERE], "area_name": "Hai xã", "cooperating": ["cong_an_tinh"]}
    night = RULE | {"hours": {"weekdays": [6], "starts": "22:00", "ends": "06:00"}}
    road: dict[str, Any] = {
        "category": "o_ga",
        "asset": {"asset_class": "duong_xa", "within_m": 20, "to_manager": True},
    }
    road |= {"valid_from": "2025-07-01", "priority": 120, "decision": "QĐ 7"}
    where = pack(tmp_path, group, night, road)
    assert load_rules(session, where) == 3
    assert load_rules(session, where) == 0
    book = read_rules(session)
    made = {
        row.area: row for row in book.about("o_ga", "giao_thong") if row.area_name or row.is_timed or row.to_manager
    }
    assert made["communes"].commune_ids == {make.unit_id(session, HOME), make.unit_id(session, ELSEWHERE)}
    assert made["communes"].cooperating == (make.unit_id(session, "cong_an_tinh"),)
    assert (made["commune"].starts, made["commune"].ends) == (time(22), time(6))


def test_a_conflict_with_a_rule_entered_since_names_it(session: Session, tmp_path: Path) -> None:
    load_rules(session, pack(tmp_path, RULE))
    with pytest.raises(PackError) as refused, session.begin_nested():
        load_rules(session, pack(tmp_path, RULE | {"unit": "cong_an_tinh", "note": "Khác."}))
    (finding,) = refused.value.findings
    assert finding.where == "rules[1], line 1"
    assert "Two rules of equal strength" in finding.message
    assert finding.message.count("→") == 2


def test_a_rule_that_never_decides_is_a_warning_of_the_check(tmp_path: Path) -> None:
    where = pack(tmp_path, RULE, RULE | {"communes": None, "priority": 300})
    assert [finding for finding in check_pack(where) if finding.file == FILE] == []
    done = CliRunner().invoke(cli, ["pack", "check", str(where)])
    assert done.exit_code == 0
    assert "warning: routing.yaml: rules[1], line 1: The rule never decides, rules[2]" in done.output


def test_the_shipped_pack_has_neither_faults_nor_warnings() -> None:
    where = ROOT / "packs" / "thai_nguyen"
    assert check_pack(where) == []
    assert warn_rules(where, routing_codes(where)) == []
