"""Routing what is owed: the right unit with the reason, nothing held up by a poison row, nothing routed twice."""

import threading
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from fastapi.testclient import TestClient
from sqlmodel import col, select

from app.cases.models import Case, CaseEvent
from app.catalog.models import CategoryRow
from app.core import db
from app.core.db import Session
from app.embedded import Database
from app.intake.actions import submit
from app.notifications.models import Message
from app.reports.schemas import ReportIn
from app.routing import actions
from app.routing.queries import MAX_ATTEMPTS
from tests.support import make, places

HOME = places.codes()[0]


def test_a_commune_category_goes_to_the_commune_of_the_point(client: TestClient, session: Session) -> None:
    case = session.get_one(Case, make.routed(session, client, make.citizen(session), within=HOME))
    home = make.unit_id(session, HOME)
    assert (case.state, case.unit_id, case.commune_id, case.route_reason) == ("assigned", home, home, "commune")
    assert case.candidate_ids == [home]


def test_a_departments_category_goes_to_the_department_and_keeps_the_commune(
    client: TestClient, session: Session
) -> None:
    case_id = make.routed(session, client, make.citizen(session), category=make.TRUSTED_DEPARTMENT, within=HOME)
    case = session.get_one(Case, case_id)
    assert case.unit_id == make.unit_id(session, "so_nong_nghiep_va_moi_truong")
    assert (case.commune_id, case.route_reason) == (make.unit_id(session, HOME), "category")


def test_on_the_border_both_communes_are_named(client: TestClient, session: Session) -> None:
    _, south, east, north = places.square(HOME)
    neighbour = places.codes()[1]
    location = {"lat": (south + north) / 2, "lon": east - 0.0001, "accuracy_m": 50}
    case = session.get_one(Case, make.routed(session, client, make.citizen(session), location=location))
    assert (case.route_reason, case.unit_id) == ("border", make.unit_id(session, HOME))
    assert set(case.candidate_ids) == {make.unit_id(session, HOME), make.unit_id(session, neighbour)}
    dispatcher = make.staff(session, "dispatcher")
    shown = client.get(f"/v1/cases/{case.id}", headers=make.bearer(dispatcher)).json()
    assert {unit["code"] for unit in shown["candidates"]} == {HOME, neighbour}


def test_a_report_is_routed_once_however_often_the_task_runs(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session))
    assert actions.assign_owed() == 0
    verbs = session.exec(select(CaseEvent.verb).where(CaseEvent.case_id == case_id).order_by(col(CaseEvent.seq))).all()
    assert verbs == ["submit", "assign"]
    assert len(session.exec(select(Message).where(Message.case_id == case_id)).all()) == 1


def test_workers_side_by_side_route_each_report_once(committed: Database) -> None:
    with db.transaction() as session:
        for _ in range(60):
            submit(session, make.citizen(session), ReportIn(**make.report_body()), uuid4())
    failures: list[BaseException] = []

    def work() -> None:
        try:
            while actions.assign_owed(batch=7):
                pass
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with db.transaction() as session:
        verbs = session.exec(select(CaseEvent.verb)).all()
        assert (verbs.count("submit"), verbs.count("assign"), len(verbs)) == (60, 60, 120)
        assert set(session.exec(select(Case.state)).all()) == {"assigned"}


def test_a_poison_row_holds_up_nobody_and_ends_with_a_person(committed: Database) -> None:
    def sent(category: str) -> Any:
        with db.transaction() as session:
            body = ReportIn(**make.report_body(category))
            submit(session, make.citizen(session), body, uuid4())
            return body.id

    poison, healthy = sent(make.TRUSTED_DEPARTMENT), [sent(make.TRUSTED_COMMUNE) for _ in range(3)]
    with psycopg.connect(committed.owner_url) as owner:
        # A category this process has never heard of: the oldest owed row cannot be decided.
        columns = ", ".join(name for name in CategoryRow.model_fields if name not in ("code", "number"))
        owner.execute(
            f"INSERT INTO category (code, number, {columns}) SELECT 'da_mat', '99.99', {columns} FROM category LIMIT 1"
        )
        owner.execute("UPDATE case_file SET category_code = 'da_mat' WHERE report_id = %s", [poison])
    for attempt in range(1, MAX_ATTEMPTS + 1):
        actions.assign_owed()
        with db.transaction() as session:
            states = {case.report_id: case for case in session.exec(select(Case))}
            assert all(states[report].state == "assigned" for report in healthy)
            expected = "triage" if attempt == MAX_ATTEMPTS else "routing"
            assert (states[poison].state, states[poison].routing_attempts) == (expected, attempt)
    assert states[poison].route_reason == "failed"
    assert actions.assign_owed() == 0


def test_a_dry_run_explains_and_stores_nothing(client: TestClient, session: Session) -> None:
    lat, lon = places.centre(HOME)
    dispatcher = make.bearer(make.staff(session, "dispatcher"))
    body = {"category": make.TRUSTED_COMMUNE, "location": {"lat": lat, "lon": lon, "accuracy_m": 5}}
    answer = client.post("/v1/routing/dry-run", json=body, headers=dispatcher).json()
    assert (answer["unit"]["code"], answer["reason"]) == (HOME, "commune")
    assert answer["reason_text"]
    assert answer["boundary"]["accuracy"] == "surveyed"
    assert answer["steps"][-1] == {"step": "decision", "found": "commune"}
    assert session.exec(select(Case)).all() == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"category": "khong_co", "commune": HOME}, "unknown_category"),
        ({"category": "o_ga", "commune": "00000"}, "unknown_commune"),
        ({"category": "o_ga", "location": {"lat": 105.8, "lon": 21.5}}, "location_swapped"),
    ],
)
def test_a_dry_run_names_what_is_wrong(client: TestClient, session: Session, body: dict[str, Any], code: str) -> None:
    dispatcher = make.bearer(make.staff(session, "dispatcher"))
    answer = client.post("/v1/routing/dry-run", json=body, headers=dispatcher)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
