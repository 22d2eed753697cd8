"""The administrator's rules over HTTP: entered, ended, never edited; checked at entry, replayed, audited."""

import csv
import io
import json
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from fastapi.testclient import TestClient
from shapely import LineString
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import col, select
from typer.testing import CliRunner

from app.cases.models import Case
from app.cli import cli
from app.core import clock, ids
from app.core.db import Session
from app.core.versioned import bump
from app.identity.models import AuditEntry
from app.identity.policy import Viewer
from app.orgunits.models import Unit, UnitSuccession
from app.orgunits.queries import UNITS
from app.routing import queries
from app.routing.api import harmless
from app.routing.models import RoutingRule
from tests.support import make, places
from tests.support.assets import put

HOME, NEXT, ELSEWHERE = places.codes()[0], places.codes()[1], places.codes()[50]
TODAY = clock.local_day(clock.now())
WEST, SOUTH, EAST, NORTH = places.square(HOME)


@pytest.fixture
def administrator(session: Session) -> Viewer:
    return make.staff(session, "administrator")


def rule(**changes: Any) -> dict[str, Any]:
    body = {"category": "o_ga", "unit": "so_xay_dung", "valid_from": TODAY.isoformat()} | changes
    return {name: value for name, value in body.items() if value is not None}


def enter(client: TestClient, viewer: Viewer, **changes: Any) -> Any:
    return client.post("/v1/routing/rules", json=rule(**changes), headers=make.bearer(viewer) | make.key())


def entered(client: TestClient, viewer: Viewer, **changes: Any) -> dict[str, Any]:
    answer = enter(client, viewer, **changes)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def end(client: TestClient, viewer: Viewer, rule_id: str, **body: Any) -> Any:
    body = {"on": TODAY.isoformat(), "reason": "Đã có quyết định mới."} | body
    return client.post(f"/v1/routing/rules/{rule_id}/end", json=body, headers=make.bearer(viewer) | make.key())


def ask(client: TestClient, viewer: Viewer, **changes: Any) -> dict[str, Any]:
    lat, lon = places.centre(HOME)
    body = {"category": "o_ga", "location": {"lat": lat, "lon": lon, "accuracy_m": 5}} | changes
    answer = client.post("/v1/routing/dry-run", json=body, headers=make.bearer(viewer))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def box(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def drawn(*corners: float, name: str = "Khu công nghiệp") -> dict[str, Any]:
    return {"kind": "polygon", "name": name, "geometry": box(*corners)}


HALF = drawn(WEST + 0.01, SOUTH + 0.01, EAST - 0.01, NORTH - 0.01)

AREAS: list[dict[str, Any]] = [
    {"kind": "everywhere"},
    {"kind": "commune", "code": HOME},
    {"kind": "communes", "name": "Phía nam", "codes": [HOME, NEXT]},
    HALF,
]


@pytest.mark.parametrize("area", AREAS, ids=lambda area: area["kind"])
def test_a_rule_decides_from_the_moment_it_was_entered(
    client: TestClient, administrator: Viewer, area: dict[str, Any]
) -> None:
    assert ask(client, administrator)["unit"]["code"] == HOME
    change = entered(client, administrator, area=area, cooperating=["cong_an_tinh"], decision="QĐ 12", note="Vì vậy.")
    found = ask(client, administrator)
    assert (found["unit"]["code"], found["reason"], found["rule_id"]) == ("so_xay_dung", "rule", change["rule"]["id"])
    assert [unit["code"] for unit in found["cooperating"]] == ["cong_an_tinh"]
    read = client.get(f"/v1/routing/rules/{change['rule']['id']}", headers=make.bearer(administrator)).json()
    assert read == change["rule"]
    assert (read["area"]["kind"], read["decision"], read["note"]) == (area["kind"], "QĐ 12", "Vì vậy.")
    elsewhere = ask(client, administrator, location=dict(zip(("lat", "lon"), places.centre(ELSEWHERE), strict=True)))
    assert elsewhere["reason"] == ("rule" if area["kind"] == "everywhere" else "commune")


def test_the_nearest_asset_and_its_manager_decide(client: TestClient, session: Session, administrator: Viewer) -> None:
    lat, lon = places.centre(HOME)
    manager = make.unit_id(session, "cong_an_tinh")
    road = LineString([(lon - 0.01, lat + 0.0001), (lon + 0.01, lat + 0.0001)])  # 11 metres north of the point
    put(session, road, "quoc_lo", name="QL.3", manager_id=manager)
    session.commit()
    area = {"kind": "asset", "asset_class": "quoc_lo", "to_manager": True}
    change = entered(client, administrator, area=area, unit=None, priority=900)
    found = ask(client, administrator)
    assert (found["unit"]["code"], found["rule_id"]) == ("cong_an_tinh", change["rule"]["id"])
    assert any("QL.3" in each["vi"] and "11.1 m" in each["vi"] for each in found["explanation"])
    off = ask(client, administrator, location={"lat": lat - 0.0003, "lon": lon})
    assert off["rule_id"] != change["rule"]["id"]


def test_hours_are_those_of_vietnam(client: TestClient, administrator: Viewer) -> None:
    entered(client, administrator, hours={"weekdays": [6], "starts": "22:00", "ends": "06:00"})
    saturday = TODAY + timedelta(days=(5 - TODAY.weekday()) % 7)
    for day, hour, reason in ((0, 23, "rule"), (1, 5, "rule"), (1, 23, "commune"), (0, 5, "commune")):
        moment = datetime.combine(saturday + timedelta(days=day), time(hour), clock.LOCAL)
        assert ask(client, administrator, at=moment.isoformat())["reason"] == reason, moment


def test_a_conflict_is_refused_and_names_both_rules(
    client: TestClient, session: Session, administrator: Viewer
) -> None:
    first = entered(client, administrator, area={"kind": "commune", "code": HOME})
    count = len(session.exec(select(RoutingRule)).all())
    twin = {"area": {"kind": "commune", "code": HOME}, "unit": "cong_an_tinh"}
    refused = enter(client, administrator, **twin)
    assert (refused.status_code, refused.json()["code"]) == (409, "rule_conflict")
    (finding,) = refused.json()["findings"]
    assert first["rule"]["id"] in {each["id"] for each in finding["rules"]}
    assert len(finding["rules"]) == 2
    assert len(session.exec(select(RoutingRule)).all()) == count
    asked = enter(client, administrator, **twin, dry_run=True)
    assert (asked.status_code, asked.json()["stored"]) == (200, False)
    assert [each["kind"] for each in asked.json()["findings"]] == ["conflict"]
    assert entered(client, administrator, **twin, priority=101)["findings"][0]["kind"] == "unreachable"


def test_drawn_areas_that_overlap_conflict_and_that_touch_do_not(client: TestClient, administrator: Viewer) -> None:
    middle = (WEST + EAST) / 2
    entered(client, administrator, area=drawn(WEST, SOUTH, middle, NORTH))
    touching = drawn(middle, SOUTH, EAST, NORTH, name="Phía đông")
    overlapping = drawn(middle - 0.001, SOUTH, EAST, NORTH, name="Phía đông")
    assert enter(client, administrator, area=overlapping, unit="cong_an_tinh").status_code == 409
    entered(client, administrator, area=touching, unit="cong_an_tinh")
    on_the_line = {"lat": (SOUTH + NORTH) / 2, "lon": middle}
    assert ask(client, administrator, location=on_the_line)["reason"] == "commune"


def test_what_never_decides_is_a_warning(client: TestClient, administrator: Viewer) -> None:
    strong = entered(client, administrator, priority=500)
    (finding,) = entered(client, administrator, unit="cong_an_tinh")["findings"]
    assert finding["kind"] == "unreachable"
    assert finding["rules"][1]["id"] == strong["rule"]["id"]
    answer = client.get("/v1/routing/findings", headers=make.bearer(administrator)).json()
    assert finding["rules"] in [each["rules"] for each in answer["findings"] if each["kind"] == "unreachable"]


@pytest.mark.parametrize(
    ("changes", "status", "code", "pointer"),
    [
        ({"category": "khong_co"}, 422, "unknown_category", "/category"),
        ({"category": None, "group": "khong_co"}, 422, "unknown_group", "/group"),
        ({"group": "giao_thong"}, 422, "invalid", "/"),
        ({"unit": "khong_co"}, 422, "unit_not_in_force", "/unit"),
        ({"unit": None}, 422, "invalid", "/"),
        ({"cooperating": ["cong_an_tinh", "khong_co"]}, 422, "unit_not_in_force", "/cooperating/1"),
        ({"area": {"kind": "commune", "code": "99999"}}, 422, "unknown_commune", "/area/code"),
        ({"area": {"kind": "commune", "code": "so_xay_dung"}}, 422, "unknown_commune", "/area/code"),
        ({"area": {"kind": "asset", "asset_class": "khong_co"}}, 422, "unknown_asset_class", "/area/asset_class"),
        ({"area": {"kind": "asset", "asset_class": "quoc_lo", "within_m": 5000}}, 422, "invalid", None),
        ({"valid_from": "2026-01-01"}, 422, "rule_in_the_past", "/valid_from"),
        ({"valid_to": TODAY.isoformat()}, 422, "rule_never_holds", "/valid_to"),
        ({"hours": {"starts": "22:00"}}, 422, "invalid", "/hours"),
        ({"hours": {"starts": "22:00", "ends": "22:00"}}, 422, "invalid", "/hours"),
        ({"hours": {"starts": "22:00Z", "ends": "23:00Z"}}, 422, "invalid", None),
        ({"hours": {"weekdays": [0]}}, 422, "invalid", None),
        ({"hours": {}}, 422, "invalid", "/hours"),
    ],
)
def test_a_rule_that_cannot_hold_is_refused(
    client: TestClient,
    session: Session,
    administrator: Viewer,
    changes: dict[str, Any],
    status: int,
    code: str,
    pointer: str | None,
) -> None:
    before = len(session.exec(select(RoutingRule)).all())
    answer = enter(client, administrator, **changes)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert pointer is None or answer.json()["errors"][0]["pointer"] == pointer
    assert len(session.exec(select(RoutingRule)).all()) == before


@pytest.mark.parametrize(
    ("rings", "words"),
    [
        ([[[105.41, 21.41], [105.45, 21.45], [105.45, 21.41], [105.41, 21.45], [105.41, 21.41]]], "cross"),
        ([[[21.41, 105.41], [21.41, 105.45], [21.45, 105.45], [21.41, 105.41]]], "swapped"),
        ([[[105.41, 21.41], [105.45, 21.41], [105.45, 21.45]]], "last equal to the first"),
        ([[[105.41, 21.41], [105.45, 21.41], [105.45, 21.45], [105.41, 21.45]]], "last equal to the first"),
        ([[[105.3, 21.3], [105.45, 21.3], [105.45, 21.45], [105.3, 21.45], [105.3, 21.3]]], "outside the province"),
        ([[[105.41, 21.41], [105.41, 21.41], [105.41, 21.41], [105.41, 21.41]]], "empty"),
        ([[[105.41 + n / 1e5, 21.41] for n in range(2500)]], "2500 vertices"),
    ],
)
def test_a_polygon_that_cannot_be_used_says_why(
    client: TestClient, administrator: Viewer, rings: list[Any], words: str
) -> None:
    area = {"kind": "polygon", "name": "Vùng", "geometry": {"type": "Polygon", "coordinates": rings}}
    headers = make.bearer(administrator) | make.key() | {"Accept-Language": "en"}
    answer = client.post("/v1/routing/rules", json=rule(area=area), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "polygon_invalid"), answer.text
    assert words in answer.json()["detail"]


def test_a_rule_is_ended_and_stands_otherwise(client: TestClient, session: Session, administrator: Viewer) -> None:
    rule_id = entered(client, administrator, area={"kind": "communes", "name": "Hai xã", "codes": [HOME, NEXT]})[
        "rule"
    ]["id"]
    later = (TODAY + timedelta(days=3)).isoformat()
    assert end(client, administrator, rule_id, on=later, dry_run=True).json()["stored"] is False
    assert session.get_one(RoutingRule, UUID(rule_id)).valid_to is None
    assert end(client, administrator, rule_id, on="2026-01-01").json()["code"] == "rule_in_the_past"
    assert end(client, administrator, rule_id, on=later).json()["rule"]["valid_to"] == later
    assert end(client, administrator, rule_id, on=later).json()["code"] == "rule_ended"
    assert ask(client, administrator)["reason"] == "rule"
    assert end(client, administrator, rule_id).json()["rule"]["valid_to"] == TODAY.isoformat()
    assert ask(client, administrator)["reason"] == "commune"
    assert end(client, administrator, str(uuid4())).status_code == 404
    headers = make.bearer(administrator)
    in_force = client.get(f"/v1/routing/rules?category=o_ga&on={TODAY}&limit=100", headers=headers).json()["items"]
    assert rule_id not in {each["id"] for each in in_force}
    assert client.get(f"/v1/routing/rules/{rule_id}", headers=headers).status_code == 200


def test_changes_leave_audit_rows_with_before_and_after(
    client: TestClient, session: Session, administrator: Viewer
) -> None:
    rule_id = entered(client, administrator, area=HALF)["rule"]["id"]
    end(client, administrator, rule_id)
    rows = session.exec(
        select(AuditEntry).where(AuditEntry.subject == rule_id).order_by(col(AuditEntry.at), col(AuditEntry.id))
    ).all()
    assert [row.actor_id for row in rows] == [administrator.id] * 2
    (made, ended) = rows
    assert made.before is None
    assert made.after is not None
    assert made.after["category_code"] == "o_ga"
    assert len(str(made.after["polygon_sha256"])) == 64
    assert ended.before == made.after
    assert ended.after is not None
    assert (ended.after["valid_to"], ended.after["reason"]) == (TODAY.isoformat(), "Đã có quyết định mới.")


def test_the_same_key_enters_one_rule(client: TestClient, session: Session, administrator: Viewer) -> None:
    headers = make.bearer(administrator) | make.key()
    before = len(session.exec(select(RoutingRule)).all())
    answers = [client.post("/v1/routing/rules", json=rule(), headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert len(session.exec(select(RoutingRule)).all()) == before + 1


def test_the_database_itself_refuses_to_change_a_rule(
    client: TestClient, session: Session, administrator: Viewer
) -> None:
    rule_id = entered(client, administrator, area={"kind": "communes", "name": "Hai xã", "codes": [HOME, NEXT]})[
        "rule"
    ]["id"]
    for statement in (
        "UPDATE routing_rule SET priority = 7 WHERE id = :id",
        "DELETE FROM routing_rule WHERE id = :id",
        "DELETE FROM routing_rule_commune WHERE rule_id = :id",
        "UPDATE routing_rule_commune SET commune_id = commune_id WHERE rule_id = :id",
    ):
        with pytest.raises(DBAPIError) as refused, session.begin_nested():
            session.execute(text(statement), {"id": UUID(rule_id)})
        assert isinstance(refused.value.orig, psycopg.errors.RaiseException | psycopg.errors.InsufficientPrivilege)


# What a change would have done -------------------------------------------------------------------------------------


def test_a_change_names_last_months_reports_that_would_have_gone_elsewhere(
    client: TestClient, session: Session, administrator: Viewer
) -> None:
    citizen = make.citizen(session)

    def sent(days_ago: int, **body: Any) -> str:
        with clock.travelled(clock.now() - timedelta(days=days_ago)):
            receipt = make.submit(client, citizen, make.report_body(**body))
        reference: str = receipt["reference"]
        return reference

    here = [sent(1, within=HOME), sent(20, within=HOME)]
    sent(2, within=ELSEWHERE)
    sent(40, within=HOME)
    sent(3, category=make.TRUSTED_DEPARTMENT, within=HOME)
    area = {"kind": "commune", "code": HOME}
    asked = enter(client, administrator, area=area, dry_run=True).json()
    told = asked["replay"]
    assert (told["received"], told["considered"], told["complete"], told["would_move"]) == (3, 3, True, 2)
    assert [each["reference"] for each in told["moved"]] == here
    (pair,) = told["pairs"]
    assert (pair["from_unit"]["code"], pair["to_unit"]["code"], pair["reports"]) == (HOME, "so_xay_dung", 2)
    assert asked["stored"] is False
    rule_id = entered(client, administrator, area=area)["rule"]["id"]
    assert end(client, administrator, rule_id, dry_run=True).json()["replay"]["would_move"] == 0


def test_the_replay_says_where_it_stopped(
    client: TestClient, session: Session, administrator: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    citizen = make.citizen(session)
    for _ in range(3):
        make.submit(client, citizen, make.report_body(within=HOME))
    monkeypatch.setattr(queries, "MOST_REPLAYED", 2)
    told = enter(client, administrator, dry_run=True).json()["replay"]
    assert (told["received"], told["considered"], told["complete"], told["would_move"]) == (3, 2, False, 2)


# Coverage ----------------------------------------------------------------------------------------------------------


def test_the_matrix_names_a_unit_for_every_category_and_commune(client: TestClient, administrator: Viewer) -> None:
    special = entered(client, administrator, area={"kind": "commune", "code": HOME})["rule"]["id"]
    night = entered(client, administrator, hours={"starts": "22:00", "ends": "06:00"}, unit="cong_an_tinh")["rule"][
        "id"
    ]
    part = entered(client, administrator, area=HALF, unit="cong_an_tinh")["rule"]["id"]
    headers = make.bearer(administrator)
    found = client.get("/v1/routing/coverage", headers=headers).json()
    assert len(found["rows"]) == 49 * 92 == found["covered"] + found["uncovered"]
    cells = {(row["category"], row["commune"]["code"]): row for row in found["rows"]}
    home = cells["o_ga", HOME]
    assert (home["unit"]["code"], home["rule"]["id"]) == ("so_xay_dung", special)
    assert {night, part} <= {each["id"] for each in home["exceptions"]}
    there = cells["o_ga", ELSEWHERE]
    assert (there["unit"]["code"], there["rule"], there["reason"]) == (ELSEWHERE, None, "commune")
    assert part not in {each["id"] for each in there["exceptions"]}
    one = client.get(f"/v1/routing/coverage?category=o_ga&commune={HOME}", headers=headers).json()
    assert one["rows"] == [home]


def test_the_matrix_is_what_the_router_does(client: TestClient, session: Session, administrator: Viewer) -> None:
    headers = make.bearer(administrator)
    for row in client.get(f"/v1/routing/coverage?commune={NEXT}", headers=headers).json()["rows"]:
        lat, lon = places.centre(NEXT)
        routed = ask(client, administrator, category=row["category"], location={"lat": lat, "lon": lon})
        assert (routed["unit"], routed["reason"]) == (row["unit"], row["reason"])


def test_what_needs_a_person_is_listed(client: TestClient, session: Session, administrator: Viewer) -> None:
    session.execute(text("UPDATE category SET level = 'department', default_unit_code = 'chua_co' WHERE code = 'o_ga'"))
    bump(session, "catalog")
    session.commit()
    found = client.get("/v1/routing/findings", headers=make.bearer(administrator)).json()["findings"]
    uncovered = [each for each in found if each["kind"] == "uncovered"]
    assert [(each["category"], len(each["communes"])) for each in uncovered] == [("o_ga", 92)]


def test_the_table_opens_in_a_spreadsheet_and_holds_no_formula(client: TestClient, administrator: Viewer) -> None:
    area = {"kind": "communes", "name": "=cmd()|A1", "codes": [HOME, NEXT]}
    entered(client, administrator, area=area)
    answer = client.get(f"/v1/routing/coverage?format=csv&category=o_ga&on={TODAY}", headers=make.bearer(administrator))
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.content.startswith(b"\xef\xbb\xbf")
    header, *rows = csv.reader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert header[0] == "Lĩnh vực"
    assert len(rows) == 92
    assert {row[4] for row in rows if row[2] in (HOME, NEXT)} == {"so_xay_dung"}
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize("cell", ["=cmd()", "+1", "-1", "@x", " =1", "\t=1", "\r", "\n=1", "＝1"])
def test_a_cell_that_could_be_a_formula_is_defused(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "Ổ gà", "05443", "a=b", "1-2"])
def test_other_cells_stay_as_they_are(cell: str) -> None:
    assert harmless(cell) == cell


# Telling why -------------------------------------------------------------------------------------------------------


def test_a_dry_run_tells_every_step_in_two_languages(client: TestClient, administrator: Viewer) -> None:
    winner = entered(client, administrator, area={"kind": "commune", "code": HOME}, cooperating=["cong_an_tinh"])
    entered(client, administrator, unit="cong_an_tinh")
    entered(client, administrator, area={"kind": "commune", "code": NEXT}, unit="cong_an_tinh")
    told = ask(client, administrator)["explanation"]
    steps = [each["step"] for each in told]
    assert [step for step in dict.fromkeys(steps) if step != "assets"] == [
        "moment",
        "place",
        "boundary",
        "rule",
        "decision",
        "cooperation",
    ]
    rules = [each for each in told if each["step"] == "rule"]
    assert winner["rule"]["text"] in rules[0]["vi"]
    assert "được chọn" in rules[0]["vi"]
    assert "decides" in rules[0]["en"]
    assert any("kém cụ thể hơn" in each["vi"] and winner["rule"]["text"] in each["vi"] for each in rules)
    assert any("ngoài khu vực" in each["vi"] for each in rules)
    assert "sai số 5 m" in next(each["vi"] for each in told if each["step"] == "place")
    assert "surveyed" in next(each["en"] for each in told if each["step"] == "boundary")


def test_a_retired_category_is_refused_as_in_a_report(
    client: TestClient, session: Session, administrator: Viewer
) -> None:
    session.execute(text("UPDATE category SET active = false WHERE code = 'o_ga'"))
    bump(session, "catalog")
    session.commit()
    for path in ("/v1/routing/dry-run", "/v1/routing/rules"):
        body = {"category": "o_ga", "commune": HOME} if path.endswith("run") else rule()
        answer = client.post(path, json=body, headers=make.bearer(administrator) | make.key())
        assert answer.json()["code"] == "unknown_category"


def test_without_rules_the_category_is_the_reason_told(client: TestClient, administrator: Viewer) -> None:
    told = {each["step"]: each for each in ask(client, administrator, category="via_he")["explanation"]}
    assert "xã, phường giải quyết" in told["category"]["vi"]
    assert "commune" in told["category"]["en"]


# Units that have ended ---------------------------------------------------------------------------------------------


def ends_today(session: Session, code: str, successor: str | None) -> None:
    """A department of this code that ends today, followed by another one or nobody knows by whom."""
    like = session.exec(select(Unit).where(Unit.code == "so_xay_dung")).one()
    old = Unit(**like.model_dump() | {"id": uuid4(), "code": code, "name": "Sở Cũ", "valid_to": TODAY})
    session.add(old)
    session.flush()
    if successor is not None:
        heir_id = make.unit_id(session, successor)
        session.add(UnitSuccession(from_id=old.id, to_id=heir_id, effective=TODAY, whole=True))
        session.flush()
    bump(session, UNITS)
    session.add(
        RoutingRule(
            id=ids.uuid7(),
            category_code="o_ga",
            unit_id=old.id,
            valid_from=TODAY - timedelta(days=30),
            created_at=clock.now(),
        )
    )
    session.flush()
    bump(session, queries.TOPIC)
    session.commit()


def test_a_unit_that_has_ended_is_replaced_by_its_successor(
    client: TestClient, session: Session, administrator: Viewer
) -> None:
    ends_today(session, "so_cu", "so_cong_thuong")
    found = ask(client, administrator)
    assert (found["unit"]["code"], found["replaced"]["code"], found["reason"]) == ("so_cong_thuong", "so_cu", "rule")
    assert [step["step"] for step in found["steps"]] == ["place", "rules", "successor", "decision"]
    assert any(each["step"] == "successor" and "Sở Cũ" in each["vi"] for each in found["explanation"])
    row = client.get(f"/v1/routing/coverage?category=o_ga&commune={HOME}", headers=make.bearer(administrator)).json()
    assert row["rows"][0]["unit"]["code"] == "so_cong_thuong"
    kept = client.get("/v1/routing/findings", headers=make.bearer(administrator)).json()["findings"]
    assert [each["kind"] for each in kept if "Sở Cũ" in each["text"]] == ["ended"]


def test_a_unit_that_has_ended_without_a_clear_successor_leaves_it_to_a_person(
    client: TestClient, session: Session, administrator: Viewer
) -> None:
    ends_today(session, "so_cu", None)
    case = session.get_one(Case, make.routed(session, client, make.citizen(session), within=HOME))
    assert (case.state, case.unit_id, case.route_reason) == ("triage", None, "unit_ended")


def test_a_rule_to_a_unit_that_has_ended_cannot_be_entered(
    client: TestClient, session: Session, administrator: Viewer
) -> None:
    ends_today(session, "so_cu", "so_cong_thuong")
    assert enter(client, administrator, unit="so_cu").json()["code"] == "unit_not_in_force"


# --- the same by command -------------------------------------------------------------------------------------------


def commanded(*words: str) -> tuple[int, str]:
    told = CliRunner().invoke(cli, ["rules", *words])
    return told.exit_code, told.output


def test_rules_are_entered_listed_and_ended_by_command(session: Session, tmp_path: Path) -> None:
    file, (_, before) = tmp_path / "rule.yaml", commanded("list")
    file.write_text(json.dumps(rule()))
    status, told = commanded("enter", str(file), "--dry-run")
    assert (status, "nothing was stored" in told) == (0, True), told
    assert commanded("list")[1] == before
    status, told = commanded("enter", str(file))
    assert (status, "nothing was stored" in told) == (0, False), told
    rule_id = told.split()[0]
    assert rule_id in commanded("list")[1]
    assert rule_id in commanded("list", "--on", TODAY.isoformat())[1]

    file.write_text(json.dumps(rule(unit="cong_an_tinh")))
    status, told = commanded("enter", str(file))
    assert (status, "Sở Xây dựng" in told, "Traceback" in told) == (1, True, False), told

    assert commanded("end", rule_id, "--on", TODAY.isoformat(), "--reason", "Hết hiệu lực.")[0] == 0
    assert rule_id not in commanded("list", "--on", TODAY.isoformat())[1]
    entries = session.exec(select(AuditEntry).where(AuditEntry.subject == rule_id).order_by(col(AuditEntry.at))).all()
    assert [entry.actor_id for entry in entries] == [None, None]
    assert commanded("end", rule_id, "--on", "2020-01-01", "--reason", "Quá khứ")[0] == 1
    file.write_text("category: [o_ga\n")
    status, told = commanded("enter", str(file))
    assert (status, "Traceback" in told) == (1, False), told
