"""Sending a report: one effect however often it is sent, and a clear answer to everything wrong."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from app.cases.models import Case, CaseEvent
from app.cases.rules import commit_to, verify_chain
from app.core.db import Session
from app.deadlines.models import SlaClock
from app.reports.models import Report, ReportContent
from app.reports.schemas import ReportIn, evidence_text
from tests.support import make, places


def send(client: TestClient, viewer: Any, body: dict[str, Any], **headers: str) -> Any:
    return client.post("/v1/reports", json=body, headers=make.bearer(viewer) | make.key() | headers)


def test_a_trusted_category_goes_straight_to_routing(client: TestClient, session: Session) -> None:
    citizen = make.citizen(session)
    body = make.report_body(make.TRUSTED_COMMUNE)
    receipt = make.submit(client, citizen, body)
    assert receipt["id"] == body["id"]
    assert receipt["status"] == "routing"
    assert receipt["status_text"] == "đã gửi"
    case = session.exec(select(Case)).one()
    assert case.reference == receipt["reference"]
    assert session.exec(select(SlaClock)).all() == []


def test_other_categories_wait_for_a_dispatcher_with_a_clock(client: TestClient, session: Session) -> None:
    receipt = make.submit(client, make.citizen(session), make.report_body(make.UNVERIFIED))
    assert receipt["status"] == "verifying"
    clock = session.exec(select(SlaClock)).one()
    case = session.exec(select(Case)).one()
    assert (clock.kind, clock.started_seq, clock.due_at) == ("verify", 1, case.act_by)


def test_event_one_commits_to_what_was_said_without_holding_it(client: TestClient, session: Session) -> None:
    body = make.report_body(description="Đường Hoàng Văn Thụ có ổ gà lớn")
    make.submit(client, make.citizen(session), body)
    event, content = session.exec(select(CaseEvent)).one(), session.exec(select(ReportContent)).one()
    assert event.commitment == commit_to(content.nonce, evidence_text(ReportIn(**body)))
    assert b"Hoang" not in event.body
    assert "Hoàng" not in event.body.decode()
    assert verify_chain([event.model_dump()]) is None


def test_the_same_key_replays_the_same_answer(client: TestClient, session: Session) -> None:
    citizen, body, key = make.citizen(session), make.report_body(), make.key()
    first = client.post("/v1/reports", json=body, headers=make.bearer(citizen) | key)
    again = client.post("/v1/reports", json=body, headers=make.bearer(citizen) | key)
    assert (again.status_code, again.content) == (201, first.content)
    assert len(session.exec(select(Report)).all()) == 1


def test_the_same_key_with_another_body_is_refused(client: TestClient, session: Session) -> None:
    citizen, key = make.citizen(session), make.key()
    client.post("/v1/reports", json=make.report_body(), headers=make.bearer(citizen) | key)
    other = client.post("/v1/reports", json=make.report_body(), headers=make.bearer(citizen) | key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_the_report_id_decides_where_the_key_was_lost(client: TestClient, session: Session) -> None:
    citizen, body = make.citizen(session), make.report_body()
    first = send(client, citizen, body)
    again = send(client, citizen, body)
    assert again.status_code == 200
    assert again.json()["reference"] == first.json()["reference"]
    changed = send(client, citizen, body | {"description": "khác"})
    assert (changed.status_code, changed.json()["code"]) == (409, "id_taken")
    stranger = send(client, make.citizen(session), body)
    assert (stranger.status_code, stranger.json()["code"]) == (409, "id_taken")
    assert len(session.exec(select(Case)).all()) == 1


def test_two_accounts_may_use_the_same_key(client: TestClient, session: Session) -> None:
    key = make.key()
    for _ in range(2):
        answer = client.post("/v1/reports", json=make.report_body(), headers=make.bearer(make.citizen(session)) | key)
        assert answer.status_code == 201


@pytest.mark.parametrize(
    ("changes", "status", "code", "pointer"),
    [
        ({"category": "khong_co"}, 422, "unknown_category", "/category"),
        ({"description": "a" * 5001}, 422, "invalid", "/description"),
        ({"description": "có\x00null"}, 422, "invalid", "/description"),
        ({"description": "   "}, 422, "invalid", "/description"),
        ({"location": {"lat": 91, "lon": 105.8}}, 422, "location_out_of_range", "/location"),
        ({"location": {"lat": 105.85, "lon": 21.6}}, 422, "location_swapped", "/location"),
        ({"location": {"lat": 10.77, "lon": 106.7}}, 422, "location_outside", "/location"),
        ({"location": None}, 422, "invalid", "/"),
        ({"location": None, "commune": "99999", "place_text": "đầu cầu"}, 422, "unknown_commune", "/commune"),
        ({"media_ids": [str(uuid4())]}, 422, "media_not_found", "/media_ids/0"),
        ({"media_ids": [str(uuid4()) for _ in range(11)]}, 422, "invalid", "/media_ids"),
        ({"id": "không phải uuid"}, 422, "invalid", "/id"),
        ({"visibility": "secret"}, 422, "invalid", "/visibility"),
        ({"occurred_at": "2026-01-01T10:00:00"}, 422, "invalid", "/occurred_at"),
        ({"tên_lạ": 1}, 422, "invalid", "/tên_lạ"),
    ],
)
def test_wrong_input_is_named_and_changes_nothing(
    client: TestClient, session: Session, changes: dict[str, Any], status: int, code: str, pointer: str
) -> None:
    answer = send(client, make.citizen(session), make.report_body() | changes)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["retry"] in ("never", "same_key", "after")
    assert problem["title"] != problem["detail"]
    assert any(item["pointer"].startswith(pointer) for item in problem["errors"]), problem["errors"]
    assert session.exec(select(Report)).all() == []


def test_unpaired_surrogates_are_refused_before_they_reach_the_database(client: TestClient, session: Session) -> None:
    body = make.report_body()
    raw = __import__("json").dumps(body).replace("nguy hi\\u1ec3m", "\\ud83d lone")
    answer = client.post(
        "/v1/reports",
        content=raw.encode(),
        headers=make.bearer(make.citizen(session)) | make.key() | {"Content-Type": "application/json"},
    )
    assert answer.status_code in (400, 422)
    assert answer.json()["code"] in ("malformed", "invalid")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Idempotency-Key": ""}, 400, "idempotency_key_invalid"),
        ({"Idempotency-Key": "1"}, 400, "idempotency_key_invalid"),
        ({"Authorization": "Bearer nonsense"}, 401, "unauthenticated"),
        ({"Content-Type": "text/plain"}, 422, "invalid"),
    ],
)
def test_headers_are_checked(
    client: TestClient, session: Session, headers: dict[str, str], status: int, code: str
) -> None:
    answer = send(client, make.citizen(session), make.report_body(), **headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_body_that_is_not_json_is_malformed(client: TestClient, session: Session) -> None:
    headers = make.bearer(make.citizen(session)) | make.key() | {"Content-Type": "application/json"}
    answer = client.post("/v1/reports", content=b'{"id": ', headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


def test_a_huge_body_is_refused_before_it_is_read(client: TestClient, session: Session) -> None:
    answer = send(client, make.citizen(session), make.report_body(description="a" * 200_000))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_phone_with_a_wrong_clock_loses_its_say_and_nothing_else(client: TestClient, session: Session) -> None:
    body = make.report_body(occurred_at="2099-01-01T00:00:00Z", sent_at="0001-01-01T00:00:00Z")
    make.submit(client, make.citizen(session), body)
    report = session.exec(select(Report)).one()
    assert (report.occurred_at, report.sent_at) == (None, None)
    assert abs((datetime.now(UTC) - report.received_at).total_seconds()) < 60


def test_text_is_kept_composed(client: TestClient, session: Session) -> None:
    make.submit(client, make.citizen(session), make.report_body(description="Hoa\u0300 Bi\u0300nh"))
    assert session.exec(select(ReportContent)).one().description == "Hoà Bình"


def test_a_commune_and_words_will_do_where_there_is_no_fix(client: TestClient, session: Session) -> None:
    commune = places.codes()[3]
    case_id = make.routed(
        session, client, make.citizen(session), location=None, commune=commune, place_text="sau chợ", id=str(uuid4())
    )
    case = session.get_one(Case, case_id)
    assert (case.state, case.route_reason) == ("assigned", "stated")
    assert case.unit_id == make.unit_id(session, commune)


def test_too_many_reports_in_an_hour_are_told_when_to_come_back(
    client: TestClient, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.core.config import settings  # noqa: PLC0415

    monkeypatch.setattr(settings(), "limits_scale", 0.1)
    citizen = make.citizen(session)
    for _ in range(2):
        make.submit(client, citizen)
    answer = send(client, citizen, make.report_body())
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert int(answer.headers["retry-after"]) > 0
    assert "RateLimit" in answer.headers
    assert answer.json()["retry"] == "after"


def test_no_content_type_escapes_the_limit_on_bodies(client: TestClient, session: Session) -> None:
    headers = make.bearer(make.citizen(session)) | make.key() | {"Content-Type": "multipart/form-data; boundary=x"}
    answer = client.post("/v1/reports", content=b"a" * 200_000, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
