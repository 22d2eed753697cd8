"""One verb on many cases: each done or refused by itself, each with its own event."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from sqlmodel import col, delete, select

from app.cases.models import Case, CaseEvent, CaseHop
from app.core.db import Session
from app.identity.policy import Viewer
from tests.cases.test_journey import assert_sound
from tests.support import make, places

HOME, ELSEWHERE = places.codes()[0], places.codes()[50]


@pytest.fixture
def cases(client: TestClient, session: Session) -> list[UUID]:
    return [make.routed(session, client, make.citizen(session), within=HOME) for _ in range(3)]


def bulk(client: TestClient, who: Viewer, verb: str, cases: list[tuple[UUID, int]], **more: Any) -> Any:
    body = {"verb": verb, "cases": [{"case_id": str(each), "version": version} for each, version in cases], **more}
    return client.post("/v1/cases/bulk", json=body, headers=make.bearer(who))


def results(answer: Any) -> list[str | int]:
    assert answer.status_code == 200, answer.text
    return [row["version"] or row["problem"]["code"] for row in answer.json()["results"]]


def verbs(session: Session, case_id: UUID) -> list[str]:
    events = select(CaseEvent.verb).where(CaseEvent.case_id == case_id).order_by(col(CaseEvent.seq))
    return list(session.exec(events).all())


def test_a_bad_row_hurts_no_other(client: TestClient, session: Session, cases: list[UUID]) -> None:
    officer = make.staff(session, "officer", HOME)
    elsewhere = make.routed(session, client, make.citizen(session), within=ELSEWHERE)
    make.move(client, officer, cases[1], "accept")
    asked = [(cases[0], 2), (cases[1], 2), (elsewhere, 2), (uuid4(), 1), (cases[2], 2)]
    answer = bulk(client, officer, "accept", asked)
    assert results(answer) == [3, "version_stale", "not_found", "not_found", 3]
    stale = answer.json()["results"][1]["problem"]
    assert (stale["status"], stale["version"], stale["state"]) == (412, 3, "accepted")
    assert "start" in stale["allowed_actions"]
    for case_id in cases:
        assert verbs(session, case_id)[-1] == "accept"
        assert_sound(session, case_id)
    assert results(bulk(client, officer, "accept", [(cases[0], 3)])) == ["move_not_allowed"]
    assert results(bulk(client, officer, "start", [(case_id, 3) for case_id in reversed(cases)])) == [4, 4, 4]


def test_each_verb_writes_an_event_of_its_own_on_each_case(
    client: TestClient, session: Session, cases: list[UUID]
) -> None:
    lead, officer, dispatcher = (
        make.staff(session, "lead", HOME),
        make.staff(session, "officer", HOME),
        make.staff(session, "dispatcher"),
    )
    rows = [(case_id, 2) for case_id in cases]

    def onward() -> list[tuple[UUID, int]]:
        session.expire_all()
        return [(case_id, session.get_one(Case, case_id).version) for case_id in cases]

    steps: list[tuple[Viewer, str, dict[str, Any]]] = [
        (lead, "assign_person", {"assignee": str(officer.id)}),
        (officer, "note", {"text": "Cùng một nguyên nhân."}),
        (dispatcher, "publish", {}),
        (dispatcher, "hide", {"reason": "Lộ mặt người."}),
        (dispatcher, "transfer", {"unit": ELSEWHERE, "reason": "Thuộc xã bên."}),
    ]
    for who, verb, more in steps:
        assert results(bulk(client, who, verb, rows, **more)) == [rows[0][1] + 1] * 3, verb
        rows = onward()
    for case_id in cases:
        assert verbs(session, case_id)[2:] == ["assign_person", "note", "publish", "hide", "transfer"]
        assert session.get_one(Case, case_id).hidden_at is not None
        assert_sound(session, case_id)


def test_a_fault_of_ours_is_told_for_its_case_and_the_others_are_done(
    client: TestClient, session: Session, cases: list[UUID]
) -> None:
    officer = make.staff(session, "officer", HOME)
    session.execute(delete(CaseHop).where(col(CaseHop.case_id) == cases[1]))  # its stay is not there to be accepted
    answer = bulk(client, officer, "accept", [(case_id, 2) for case_id in cases])
    assert results(answer) == [3, "internal", 3]
    assert verbs(session, cases[1])[-1] == "assign"


@pytest.mark.parametrize(
    "change",
    [
        {"cases": []},
        {"cases": [{"case_id": str(uuid4()), "version": 1}] * 51},
        {"verb": "resolve"},
        {"verb": "transfer"},
        {"reason": "x"},
    ],
)
def test_a_request_that_is_not_whole_moves_nothing(
    client: TestClient, session: Session, change: dict[str, Any]
) -> None:
    body = {"verb": "accept", "cases": [{"case_id": str(uuid4()), "version": 1}]} | change
    answer = client.post("/v1/cases/bulk", json=body, headers=make.bearer(make.staff(session, "dispatcher")))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
