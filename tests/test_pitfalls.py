"""Defects that systems before us shipped (each is named), where no test of a slice holds them already."""

import hashlib
from datetime import date, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from shapely import Point
from sqlalchemy import text
from sqlmodel import select

from app.cases.actions import close_confirmed_by_silence
from app.cases.models import Case, CaseEvent
from app.cases.queries import terms
from app.core import clock
from app.core.db import Session
from app.identity.models import Identity
from app.identity.policy import PUBLIC
from app.identity.queries import opened
from app.main import app
from app.reforms.actions import plan
from app.reforms.rules import Change
from app.routing.models import RoutingRule
from tests.support import make, places
from tests.support.assets import put

HOME, ELSEWHERE = places.codes()[0], places.codes()[50]
SPARED = ("config_version", "alembic_version")


def fingerprint(session: Session) -> dict[str, str]:
    """Every row of every table, in a word each."""
    session.expire_all()
    tables = session.execute(
        text(
            "SELECT c.relname FROM pg_class c WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition"
            " AND c.relnamespace = 'public'::regnamespace"
        )
    ).scalars()
    found = {}
    for table in set(tables) - set(SPARED):
        rows = session.execute(text(f"SELECT coalesce(string_agg(t::text, '|' ORDER BY t::text), '') FROM {table} t"))
        found[table] = hashlib.sha256(rows.scalar_one().encode()).hexdigest()
    return found


def test_2_no_get_changes_anything(client: TestClient, session: Session) -> None:
    """Mail and link scanners open links."""
    citizen = make.citizen(session)
    case_id = make.routed(session, client, citizen, within=HOME)
    dispatcher = make.staff(session, "dispatcher")
    make.move(client, dispatcher, case_id, "publish", {})
    officer = make.staff(session, "officer", HOME)
    make.move(client, officer, case_id, "accept")
    people = [PUBLIC, citizen, officer, dispatcher, make.staff(session, "administrator")]
    case = session.get_one(Case, case_id)
    values = {"case_id": case_id, "report_id": case.report_id, "reference": case.reference, "code": HOME}
    values |= {"media_id": case_id, "size": "large", "token": "x"}
    change = Change("change_kind", (HOME,), new_kind="thi_tran")
    values["change_id"] = plan(session, [change], effective=date(2999, 1, 1), decision="1", actor_id=None)[0].id
    values |= {"rule_id": session.exec(select(RoutingRule.id)).first(), "upload_id": case_id, "number": 1}
    asset = put(session, Point(105.45, 21.45)).code
    paths = [path for path, methods in app.openapi()["paths"].items() if "get" in methods]
    assert len(paths) > 15
    before = fingerprint(session)
    answered = set()
    for path in paths:
        for viewer in people:
            headers = {} if viewer is PUBLIC else make.bearer(viewer)
            query: dict[str, str | float] = {"lat": 21.45, "lon": 105.45, "from": "2026-01-01", "to": "2026-02-01"}
            query |= {"q": "Phan Đình Phùng"} if "search" in path else {}
            query |= {"category": "o_ga"} if path == "/v1/forecast" else {}
            query |= {"bbox": "105.44,21.44,105.46,21.46"} if path == "/v1/assets" else {}
            known = values | ({"code": asset} if path.startswith("/v1/assets") else {})
            answer = client.get(path.format(**known), params=query, headers=headers)
            assert answer.status_code < 500, answer.text
            answered |= {path} if answer.status_code == 200 else set()
    assert fingerprint(session) == before
    assert set(paths) - answered <= {
        "/v1/media/{media_id}",
        "/v1/media/{media_id}/{size}",
        "/v1/files/{token}",
        "/problems/{code}",
        "/v1/uploads/{upload_id}",  # one's own: tests/uploads
        "/v1/seals/{number}",  # after a night: tests/seals
        "/v1/seals/{number}/consistency",
        "/v1/cases/{reference}/proof",
    }, "an answer of 404 proves nothing"


@pytest.mark.parametrize("name", ["Nguyễn Thị Minh Khai", "Y Ngông Niê Kđăm", "Vừ Mí Kẻ", "Lò", "H'Hen Niê"])
def test_7_a_name_is_never_split(client: TestClient, session: Session, name: str) -> None:
    """Family name first, as many words as there are: kept and shown as given."""
    staff = make.staff(session, "administrator")
    body = {"email": "ten@example.vn", "password": "một mật khẩu dài", "name": name}
    grants: dict[str, Any] = {"grants": [{"role": "dispatcher", "unit_id": None}]}
    answer = client.post("/v1/staff", json=body | grants, headers=make.bearer(staff) | make.key())
    assert (answer.status_code, answer.json()["name"]) == (201, name), answer.text
    identity = session.get_one(Identity, answer.json()["id"])
    assert opened(identity.account_id, "name", identity.name_sealed) == name


def test_15_a_case_moved_before_its_first_message_left_still_tells_both(client: TestClient, session: Session) -> None:
    """A later move neither overwrites nor swallows what was owed."""
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    officer = make.staff(session, "officer", HOME)
    make.move(client, officer, case_id, "accept")
    make.move(client, officer, case_id, "resolve", {"outcome": "fixed", "note": "Xong."})
    owed = session.execute(text("SELECT template, state FROM message WHERE case_id = :id"), {"id": case_id}).all()
    assert sorted(map(tuple, owed)) == [(f"report_{verb}", "owed") for verb in ("accepted", "assigned", "resolved")]


def test_21_a_unit_that_let_go_sees_no_photo_no_text_and_no_identity(client: TestClient, session: Session) -> None:
    """The right follows the case, not the history."""
    case_id = make.routed(session, client, make.citizen(session), within=HOME, allow_call=True)
    before, after = make.staff(session, "officer", HOME), make.staff(session, "officer", ELSEWHERE)
    identity = f"/v1/cases/{case_id}/identity"
    assert client.post(identity, json={"purpose": "call"}, headers=make.bearer(before)).status_code == 200
    make.move(
        client, make.staff(session, "dispatcher"), case_id, "transfer", {"unit": ELSEWHERE, "reason": "Đúng nơi."}
    )
    for path in (f"/v1/cases/{case_id}",):
        assert client.get(path, headers=make.bearer(before)).status_code == 404
        assert client.get(path, headers=make.bearer(after)).status_code == 200
    assert client.post(identity, json={"purpose": "call"}, headers=make.bearer(before)).status_code == 404
    assert client.get("/v1/cases", headers=make.bearer(before)).json()["items"] == []
    # What ended is not readable for ever either.
    make.move(client, after, case_id, "accept")
    make.move(client, after, case_id, "resolve", {"outcome": "fixed", "note": "Xong."})
    assert client.post(identity, json={"purpose": "call"}, headers=make.bearer(after)).status_code == 403


def test_23_a_repeat_is_no_change_and_an_old_one_changes_nothing(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    officer = make.bearer(make.staff(session, "officer", HOME))
    first = client.post(f"/v1/cases/{case_id}/accept", headers=officer | {"If-Match": '"2"'})
    assert first.status_code == 200
    for verb in ("accept", "return"):  # both were decided on what stood there before
        body = {"reason": "Không thuộc xã."} if verb == "return" else None
        late = client.post(f"/v1/cases/{case_id}/{verb}", json=body, headers=officer | {"If-Match": '"2"'})
        assert (late.status_code, late.json()["state"]) == (412, "accepted")
    verbs = session.exec(select(CaseEvent.verb).where(CaseEvent.case_id == case_id)).all()
    assert sorted(verbs) == ["accept", "assign", "submit"]


def test_23_hidden_stays_hidden_whatever_else_happens(client: TestClient, session: Session) -> None:
    citizen = make.citizen(session)
    case_id = make.routed(session, client, citizen, within=HOME)
    dispatcher, officer = make.staff(session, "dispatcher"), make.staff(session, "officer", HOME)
    make.move(client, dispatcher, case_id, "publish", {})
    make.move(client, dispatcher, case_id, "hide", {"reason": "Lộ biển số."})
    make.move(client, officer, case_id, "accept")
    make.move(client, officer, case_id, "resolve", {"outcome": "fixed", "note": "Xong."})
    report_id = make.report_of(session, case_id)
    client.post(f"/v1/reports/{report_id}/reopen", json={"reason": "Chưa."}, headers=make.bearer(citizen) | make.key())
    assert client.get("/v1/reports").json()["items"] == []
    again = make.move(client, dispatcher, case_id, "publish", {})
    assert (again.status_code, "unhide" in again.json()["allowed_actions"]) == (409, True)


def test_27_silence_closes_what_was_resolved_long_enough_and_nothing_else(client: TestClient, session: Session) -> None:
    officer = make.staff(session, "officer", HOME)
    cases = [make.routed(session, client, make.citizen(session), within=HOME) for _ in range(3)]
    for case_id in cases[:2]:
        make.move(client, officer, case_id, "accept")
        make.move(client, officer, case_id, "resolve", {"outcome": "fixed", "note": "Xong."})
    resolved_at = session.get_one(Case, cases[0], populate_existing=True).resolved_at
    assert resolved_at is not None
    early = session.get_one(Case, cases[1], populate_existing=True)
    early.resolved_at = resolved_at + timedelta(days=1)
    session.flush()
    with clock.travelled(resolved_at + terms(session).close_after + timedelta(seconds=1)):
        assert close_confirmed_by_silence(session) == 1
        session.flush()
        assert close_confirmed_by_silence(session) == 0
    states = [session.get_one(Case, case_id).state for case_id in cases]
    assert states == ["closed", "resolved", "assigned"]
    last = session.exec(select(CaseEvent).where(CaseEvent.case_id == cases[0], CaseEvent.verb == "close")).one()
    assert (last.actor_kind, last.actor_id) == ("system", None)


def test_31_the_newest_comes_first_and_after_means_after(client: TestClient, session: Session) -> None:
    now = clock.now()
    with clock.travelled(now - timedelta(hours=4)):
        citizen, dispatcher = make.citizen(session), make.staff(session, "dispatcher")
    references, moments = [], []
    for hours in (3, 2, 1):
        with clock.travelled(now - timedelta(hours=hours)):
            case_id = make.routed(session, client, citizen, within=HOME)
            assert make.move(client, dispatcher, case_id, "publish", {}).status_code == 200
        references.append(session.get_one(Case, case_id).reference)
        moments.append(now - timedelta(hours=hours))
    newest_first = references[::-1]
    assert [item["reference"] for item in client.get("/v1/reports").json()["items"]] == newest_first
    mine = client.get("/v1/me/reports", headers=make.bearer(citizen)).json()["items"]
    assert [item["reference"] for item in mine] == newest_first
    since = {"since": moments[1].isoformat()}
    assert [item["reference"] for item in client.get("/v1/reports", params=since).json()["items"]] == newest_first[:2]
    # Page by page the same, one by one.
    found, cursor = [], None
    while True:
        page = client.get("/v1/reports", params={"limit": 1} | ({"cursor": cursor} if cursor else {})).json()
        found += [item["reference"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == newest_first
