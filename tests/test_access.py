"""Routes × roles: who reaches what. A route that is not listed here fails the test."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from shapely import Point
from sqlmodel import select

from app.boundaries.models import BoundaryVersion
from app.core import clock
from app.core.db import Session
from app.identity.policy import PUBLIC, Viewer
from app.main import app
from app.reforms.actions import plan
from app.reforms.rules import Change
from app.routing.models import RoutingRule
from app.seals.actions import seal_if_owed
from tests.support import make, places
from tests.support.assets import put

HOME, ELSEWHERE = places.codes()[0], places.codes()[50]

STAFF = {"officer", "lead", "dispatcher", "leader", "administrator", "auditor", "assistant", "outsider"}
EVERYBODY = {"public", "author", "citizen"} | STAFF
SIGNED_IN = EVERYBODY - {"public"}
CITIZENS = {"author", "citizen"}
READERS = {"officer", "lead", "dispatcher", "leader", "auditor"}  # of a case that HOME holds
MOVERS = READERS - {"auditor"}

JSON = dict[str, Any]


@dataclass(frozen=True)
class Route:
    """One operation with a request that is well-formed, and who gets further than 401, 403 and 404."""

    reach: set[str]
    body: JSON | None = None
    query: str = ""


REASON, ID = {"reason": "Vì lý do chính đáng."}, "00000000-0000-7000-8000-000000000000"
PLAN = {
    "effective": "2999-01-01",
    "decision": "1/NQ-HĐND",
    "changes": [{"kind": "change_kind", "sources": [ELSEWHERE], "new_kind": "thi_tran"}],
}
STORM = {"date": str(clock.local_day(clock.now())), "state": "off", "note": "Bão"}
DEVICE = {
    "provider": "fcm",
    "platform": "android",
    "token": "x" * 40,
    "app_version": "1.0.0",
    "time_zone": "Asia/Ho_Chi_Minh",
}
DUTY = {"unit": HOME, "account_id": ID, "starts_at": "2199-01-01T00:00:00Z", "ends_at": "2199-01-02T00:00:00Z"}
ROUTES: dict[str, Route] = {
    "request_sign_in_code": Route(EVERYBODY, {"phone": "0912345678"}),
    "sign_in": Route(EVERYBODY, {"phone": "0912345678", "code": "000000", "consent_version": "2026-01"}),
    "sign_in_staff": Route(EVERYBODY, {"email": "a@example.vn", "password": "một mật khẩu dài"}),
    "refresh_session": Route(EVERYBODY, {"refresh_token": "x" * 43}),
    "sign_out": Route(SIGNED_IN),
    "get_me": Route(SIGNED_IN),
    "create_staff": Route({"administrator"}, {"email": "x", "password": "x", "name": "x", "grants": []}),
    "list_staff": Route({"administrator"}),
    "list_failed_messages": Route({"administrator"}),
    "list_message_templates": Route({"administrator"}),
    "preview_message_template": Route({"administrator"}, {}),
    "list_stuck_escalations": Route({"administrator", "dispatcher"}),
    "list_duties": Route({"administrator", "dispatcher", "officer", "lead", "outsider"}),
    "enter_duty": Route({"administrator", "lead"}, DUTY),
    "take_back_duty": Route(set()),  # tests/duties
    "put_my_device": Route(SIGNED_IN, DEVICE),
    "list_my_devices": Route(SIGNED_IN),
    "delete_my_device": Route(SIGNED_IN),
    "get_timetable": Route(STAFF),
    "create_time_change": Route({"administrator"}, {"note": "Bão", "days": [STORM], "dry_run": True}),
    "list_time_changes": Route({"administrator", "auditor"}),
    "list_categories": Route(EVERYBODY),
    "get_config": Route(EVERYBODY),
    "list_units": Route(EVERYBODY),
    "get_unit": Route(EVERYBODY),
    "locate_unit": Route(EVERYBODY, query="?lat=21.45&lon=105.45"),
    "locate_units": Route(EVERYBODY, {"points": [{"lat": 21.45, "lon": 105.45}]}),
    "list_boundaries": Route(EVERYBODY),
    "withdraw_boundaries": Route({"administrator"}),
    "get_asset": Route(EVERYBODY),
    "list_assets": Route(EVERYBODY, query="?bbox=105.4,21.4,105.5,21.5"),
    "get_address": Route(SIGNED_IN, query="?lat=21.45&lon=105.45"),
    "search_address": Route(EVERYBODY, query="?q=Gia+Sàng"),
    "upload_media": Route(SIGNED_IN),
    "get_upload_options": Route(EVERYBODY),
    "create_upload": Route(SIGNED_IN),
    "append_to_upload": Route(SIGNED_IN),
    "find_upload_offset": Route(SIGNED_IN),
    "terminate_upload": Route(SIGNED_IN),
    "get_upload": Route(set()),
    "get_media": Route(set()),
    "get_media_size": Route(set()),
    "get_file": Route(set()),
    "submit_report": Route(CITIZENS, make.report_body()),
    "list_public_reports": Route(EVERYBODY),
    "find_similar_reports": Route(CITIZENS, {"description": "Ổ gà", "location": {"lat": 21.45, "lon": 105.45}}),
    "support_report": Route({"author"}),
    "withdraw_support": Route({"author"}),
    "get_forecast": Route(EVERYBODY, query="?category=o_ga&lat=21.45&lon=105.45"),
    "search_reports": Route(EVERYBODY, query="?q=ho+ga"),
    "get_report_by_reference": Route({"author"}),
    "get_report": Route({"author"}),
    "get_promise_slip": Route({"author"}),
    "list_my_reports": Route(CITIZENS),
    "withdraw_report": Route({"author"}, {}),
    "add_information": Route({"author"}, {"text": "Thêm."}),
    "confirm_report": Route({"author"}),
    "rate_report": Route({"author"}, {"rating": "satisfied"}),
    "reopen_report": Route({"author"}, REASON),
    "move_report_pin": Route({"author"}, {"location": {"lat": 21.45, "lon": 105.45}}),
    "recategorise_report": Route({"author"}, {"category": "den_duong"}),
    "list_cases": Route(STAFF),
    "get_case": Route(READERS),
    "get_case_by_reference": Route(READERS),
    "get_duplicates": Route(READERS),
    "merge_case": Route(MOVERS, REASON | {"into": ID}),
    "unmerge_case": Route(MOVERS, REASON),
    "get_result_warnings": Route(READERS),
    "list_departures": Route(STAFF),
    "search_cases": Route(STAFF, query="?q=ho+ga"),
    "find_cases_by_phone": Route({"dispatcher"}, {"phone": "0912345678", "purpose": "call"}),
    "verify_case": Route(MOVERS),
    "assign_case": Route(MOVERS, {"unit": ELSEWHERE}),
    "accept_case": Route(MOVERS),
    "return_case": Route(MOVERS, REASON),
    "transfer_case": Route(MOVERS, REASON | {"unit": ELSEWHERE}),
    "hand_down_case": Route(MOVERS, REASON | {"unit": ELSEWHERE}),
    "take_back_case": Route(MOVERS, REASON),
    "start_case": Route(MOVERS),
    "assign_person": Route(MOVERS, {"assignee": None}),
    "involve_unit": Route(MOVERS, REASON | {"unit": ELSEWHERE}),
    "release_unit": Route(MOVERS, REASON | {"unit": ELSEWHERE}),
    "note_case": Route(MOVERS, {"text": "Đã gọi điện lực."}),
    "move_cases": Route(STAFF, {"verb": "accept", "cases": [{"case_id": ID, "version": 1}]}),
    "list_unit_staff": Route({"officer", "lead", "dispatcher", "administrator"}),
    "message_citizen": Route(MOVERS, {"text": "Chào bạn."}),
    "resolve_case": Route(MOVERS, {"outcome": "fixed", "note": "Xong."}),
    "reject_case": Route(MOVERS, {"code": "spam"}),
    "reopen_case": Route(MOVERS, REASON),
    "set_case_urgency": Route(MOVERS, REASON | {"urgency": "urgent"}),
    "move_case_pin": Route(MOVERS, REASON | {"location": {"lat": 21.45, "lon": 105.45}}),
    "recategorise_case": Route(MOVERS, REASON | {"category": "den_duong"}),
    "ask_citizen": Route(MOVERS, {"question": "Trước số nhà nào?"}),
    "answer_question": Route({"author"}, {"text": "Trước số 12."}),
    "appeal_report": Route({"author"}, REASON),
    "propose_result": Route(MOVERS, {"outcome": "planned", "until": "2199-01-01", "note": "Chờ vốn."}),
    "approve_result": Route(MOVERS),
    "send_back_result": Route(MOVERS, REASON),
    "request_extension": Route(MOVERS, REASON | {"days": 2}),
    "grant_extension": Route(MOVERS, REASON),
    "deny_extension": Route(MOVERS, REASON),
    "propose_rejection": Route(MOVERS, {"code": "spam"}),
    "decline_rejection": Route(MOVERS, REASON),
    "issue_directive": Route(MOVERS, {"text": "Làm ngay.", "due_at": "2199-01-01T00:00:00Z"}),
    "report_on_directive": Route(MOVERS, {"text": "Đã làm."}),
    "lift_directive": Route(MOVERS, REASON),
    "redact_case": Route(MOVERS, REASON),
    "publish_case": Route(MOVERS, {}),
    "hide_case": Route(MOVERS, REASON),
    "unhide_case": Route(MOVERS, REASON),
    "read_citizen_identity": Route({"dispatcher"}, {"purpose": "verify"}),
    "dry_run_routing": Route(
        {"dispatcher", "administrator", "officer", "lead", "outsider"}, {"category": "o_ga", "commune": HOME}
    ),
    "list_routing_rules": Route({"administrator", "dispatcher", "auditor"}),
    "get_routing_rule": Route({"administrator", "dispatcher", "auditor"}),
    "enter_routing_rule": Route(
        {"administrator"}, {"category": "o_ga", "unit": "so_xay_dung", "valid_from": "2199-01-01", "dry_run": True}
    ),
    "end_routing_rule": Route({"administrator"}, {"on": "2199-01-01", "dry_run": True} | REASON),
    "list_routing_findings": Route({"administrator", "dispatcher", "auditor"}),
    "get_routing_coverage": Route({"administrator", "dispatcher", "auditor"}, query=f"?commune={HOME}"),
    "get_handling": Route({"dispatcher", "administrator", "leader", "lead"}, query="?from=2026-01-01&to=2026-02-01"),
    "create_unit_changes": Route({"administrator"}, PLAN),
    "list_unit_changes": Route({"administrator", "auditor"}),
    "get_unit_change": Route({"administrator", "auditor"}),
    "preview_unit_change": Route({"administrator"}),
    "cancel_unit_change": Route({"administrator"}),
    "list_seals": Route(EVERYBODY),
    "list_seal_keys": Route(EVERYBODY),
    "get_seal": Route(EVERYBODY),
    "get_seal_consistency": Route(EVERYBODY, query="?from=1"),
    "get_case_proof": Route({"author"} | READERS),
    "healthz": Route(EVERYBODY),
    "readyz": Route(EVERYBODY),
    "metrics": Route(EVERYBODY),
    "get_problem": Route(EVERYBODY),
}


def operations() -> Iterator[tuple[str, str, str]]:
    """method, path, operation id of every route the application serves."""
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation["operationId"]


def test_every_route_is_listed() -> None:
    assert {operation for _, _, operation in operations()} == set(ROUTES)


def test_every_operation_has_its_own_name_a_summary_and_words() -> None:
    names = [operation for _, _, operation in operations()]
    assert len(names) == len(set(names))
    for methods in app.openapi()["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            assert operation["description"]


@pytest.fixture
def people(session: Session) -> dict[str, Viewer]:
    province = {role: make.staff(session, role) for role in ("dispatcher", "leader", "administrator", "auditor")}
    home = {role: make.staff(session, role, HOME) for role in ("officer", "lead", "assistant")}
    return {
        "public": PUBLIC,
        "author": make.citizen(session),
        "citizen": make.citizen(session),
        "outsider": make.staff(session, "officer", ELSEWHERE),
        **province,
        **home,
    }


@pytest.mark.parametrize(("method", "path", "operation"), sorted(operations()))
def test_who_reaches_what(
    client: TestClient, session: Session, people: dict[str, Viewer], method: str, path: str, operation: str
) -> None:
    case_id = make.routed(session, client, people["author"], within=HOME)
    shown = client.get(f"/v1/cases/{case_id}", headers=make.bearer(people["officer"]))
    report_id, reference = make.report_of(session, case_id), shown.json()["reference"]
    values = {"case_id": case_id, "report_id": report_id, "reference": reference, "code": HOME, "media_id": ID}
    values |= {"size": "large", "token": "x", "media": ID, "installation_id": ID, "upload_id": ID, "number": 1}
    if operation in ("get_routing_rule", "end_routing_rule"):
        values["rule_id"] = session.exec(select(RoutingRule.id)).first()
    if "{version_id}" in path:
        values["version_id"] = session.exec(select(BoundaryVersion.id)).first()
    if "{change_id}" in path:
        planned = [Change("change_kind", (ELSEWHERE,), new_kind="thi_tran")]
        values["change_id"] = plan(session, planned, effective=date(2999, 1, 1), decision="1", actor_id=None)[0].id
        session.commit()
    seal_if_owed(session)
    if operation == "get_problem":
        values["code"] = "not_found"
    values |= {"name": "case_overdue", "duty_id": ID}
    if operation == "get_asset":
        values["code"] = put(session, Point(105.45, 21.45)).code
    route, reached = ROUTES[operation], set()
    for role, viewer in people.items():
        headers = {"Idempotency-Key": str(uuid4()), "If-Match": '"1"'}
        if viewer is not PUBLIC:
            headers |= make.bearer(viewer)
        body = route.body
        if operation == "submit_report":
            body = make.report_body()
        answer = client.request(method, path.format(**values) + route.query, json=body, headers=headers)
        assert answer.status_code < 500, answer.text
        signed_out_of = operation in ("sign_in", "sign_in_staff", "refresh_session")
        if answer.status_code not in (401, 403, 404) or signed_out_of:
            reached.add(role)
    assert reached == route.reach
