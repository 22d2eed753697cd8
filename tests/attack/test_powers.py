"""What somebody may no longer do, may not do so often, or may never do."""

import logging
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.cases.api import ACTIONS_PER_DAY, ACTIONS_PER_REPORT
from app.core.db import Session
from app.core.logs import _without_details
from app.identity.models import Account
from app.identity.policy import Viewer
from tests.support import make, places

HOME, ELSEWHERE = places.codes()[0], places.codes()[50]


def add(client: TestClient, citizen: Viewer, report_id: Any, key: dict[str, str] | None = None) -> Any:
    headers = make.bearer(citizen) | (key or make.key())
    return client.post(f"/v1/reports/{report_id}/information", json={"text": "Thêm."}, headers=headers)


@pytest.mark.parametrize("status", ["blocked", "erased"])
def test_an_account_that_was_stopped_acts_no_more(client: TestClient, session: Session, status: str) -> None:
    citizen = make.citizen(session)
    report_id = make.report_of(session, make.routed(session, client, citizen))
    key = make.key()
    assert add(client, citizen, report_id, key).status_code == 200
    session.get_one(Account, citizen.id).status = status
    session.flush()
    # Neither something new, nor the stored answer of something old.
    assert add(client, citizen, report_id).status_code == 401
    assert add(client, citizen, report_id, key).status_code == 401


def test_no_report_grows_without_end(client: TestClient, session: Session) -> None:
    citizen = make.citizen(session)
    report_id = make.report_of(session, make.routed(session, client, citizen))
    for _ in range(ACTIONS_PER_REPORT.quota):
        assert add(client, citizen, report_id).status_code == 200
    refused = add(client, citizen, report_id)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert refused.headers["retry-after"]
    other = make.report_of(session, make.routed(session, client, citizen))
    assert add(client, citizen, other).status_code == 200


def test_no_account_acts_without_end(client: TestClient, session: Session) -> None:
    citizen = make.citizen(session)
    reports = [make.submit(client, citizen)["id"] for _ in range(6)]
    codes = [
        add(client, citizen, report_id).status_code for report_id in reports for _ in range(ACTIONS_PER_REPORT.quota)
    ]
    assert codes.count(200) == ACTIONS_PER_DAY.quota
    assert codes.count(429) == len(codes) - ACTIONS_PER_DAY.quota


@pytest.mark.parametrize("role", ["lead", "dispatcher"])
def test_a_transfer_to_the_holder_buys_no_time(client: TestClient, session: Session, role: str) -> None:
    lead = make.staff(session, "lead", HOME)
    mover = lead if role == "lead" else make.staff(session, "dispatcher")
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    assert make.move(client, lead, case_id, "accept").status_code == 200
    before = client.get(f"/v1/cases/{case_id}", headers=make.bearer(lead)).json()
    answer = make.move(client, mover, case_id, "transfer", {"unit": HOME, "reason": "Gia hạn."})
    assert (answer.status_code, answer.json()["code"]) == (409, "already_there")
    assert client.get(f"/v1/cases/{case_id}", headers=make.bearer(lead)).json() == before


def test_a_stranger_moves_nothing_on_a_public_report(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    make.move(client, make.staff(session, "dispatcher"), case_id, "publish", {})
    report_id, stranger = make.report_of(session, case_id), make.citizen(session)
    bodies: dict[str, Any] = {
        "withdraw": {},
        "information": {"text": "x"},
        "confirm": None,
        "rate": {"rating": "dissatisfied"},
        "reopen": {"reason": "x"},
    }
    author = client.get(f"/v1/cases/{case_id}", headers=make.bearer(make.staff(session, "dispatcher"))).json()
    for verb, body in bodies.items():
        url = f"/v1/reports/{report_id}/{verb}"
        answer = client.post(url, json=body, headers=make.bearer(stranger) | make.key())
        assert answer.status_code == 403, f"{verb}: {answer.text}"
    session.expire_all()
    shown = client.get(f"/v1/cases/{case_id}", headers=make.bearer(make.staff(session, "dispatcher"))).json()
    assert (shown["version"], shown["rating"]) == (author["version"], None)


def test_no_words_written_after_publication_reach_the_public(client: TestClient, session: Session) -> None:
    citizen, dispatcher = make.citizen(session), make.staff(session, "dispatcher")
    officer, lead = make.staff(session, "officer", HOME), make.staff(session, "lead", HOME)
    case_id = make.routed(session, client, citizen, within=HOME, address="BÍMẬT", place_text="BÍMẬT")
    report_id, secret = make.report_of(session, case_id), {"reason": "BÍMẬT"}
    make.move(client, dispatcher, case_id, "publish", {"description": "Ổ gà"})
    assert make.move(client, officer, case_id, "return", secret).status_code == 200
    assert make.move(client, dispatcher, case_id, "assign", {"unit": HOME, "note": "BÍMẬT"}).status_code == 200
    assert make.move(client, dispatcher, case_id, "transfer", secret | {"unit": ELSEWHERE}).status_code == 200
    assert make.move(client, dispatcher, case_id, "transfer", secret | {"unit": HOME}).status_code == 200
    assert make.move(client, lead, case_id, "message", {"text": "BÍMẬT"}).status_code == 200
    assert make.move(client, lead, case_id, "accept").status_code == 200
    assert make.move(client, lead, case_id, "resolve", {"outcome": "fixed", "note": "BÍMẬT"}).status_code == 200
    own = make.bearer(citizen)
    for verb, body in (("rate", {"rating": "satisfied", "text": "BÍMẬT"}), ("reopen", secret)):
        assert client.post(f"/v1/reports/{report_id}/{verb}", json=body, headers=own | make.key()).status_code == 200
    assert make.move(client, dispatcher, case_id, "hide", secret).status_code == 200
    assert make.move(client, dispatcher, case_id, "unhide", secret).status_code == 200
    shown = client.get(f"/v1/reports/{report_id}")
    assert not [step["text"] for step in shown.json()["steps"] if step["text"]]
    for text in (shown.text, client.get("/v1/reports").text):
        assert "BÍMẬT" not in text
        assert str(citizen.id) not in text
        assert str(report_id) not in text


def test_errors_in_the_log_quote_no_row() -> None:
    trace = (
        'psycopg.errors.CheckViolation: new row for relation "report_content" violates check constraint "x"\n'
        "DETAIL:  Failing row contains (1, Nguyễn Thị Bé\n0912345678, 21.5).\n"
        "[SQL: INSERT INTO report_content VALUES (%(a)s)]\n"
        "\nThe above exception was the direct cause of the following exception:\n"
        "psycopg.errors.UniqueViolation: duplicate key\nDETAIL:  Key (phone)=(0912345678) already exists."
    )
    event = _without_details(logging.getLogger(), "error", {"exception": trace})
    assert "0912345678" not in event["exception"]
    assert "Nguyễn" not in event["exception"]
    for kept in ('constraint "x"', "[SQL: INSERT", "The above exception", "duplicate key"):
        assert kept in event["exception"]
