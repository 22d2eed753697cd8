"""Routing rules of the pack: checked before anything is stored, entered once, audited, in force at once."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from app.core.config import ROOT
from app.core.db import Session
from app.core.packfile import PackError
from app.identity.models import AuditEntry
from app.routing.actions import FILE, load_rules
from app.routing.models import RoutingRule
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
