"""How many statements an answer costs: a list of many as few as a list of one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Connection, event
from sqlmodel import select

from app.cases.models import Case
from app.core.db import Session
from app.identity.policy import Viewer
from tests.support import make, places

HOME = places.codes()[0]


@contextmanager
def recorded(connection: Connection) -> Iterator[list[str]]:
    """Every statement sent meanwhile, without the savepoints of the tests."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "SAVEPOINT" not in statement and "config_version" not in statement:
            statements.append(statement)

    event.listen(connection, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(connection, "before_cursor_execute", note)


def published(session: Session, client: TestClient, citizen: Viewer, dispatcher: Viewer) -> None:
    case_id = make.routed(session, client, citizen, within=HOME)
    assert make.move(client, dispatcher, case_id, "publish", {}).status_code == 200


Lists = dict[str, tuple[str, Callable[[dict[str, Viewer]], dict[str, str]], int]]
LISTS: Lists = {
    # what is asked, as whom, and the statements it may cost
    "public": ("/v1/reports", lambda _: {}, 3),  # rows, photos, photos of afterwards
    "mine": ("/v1/me/reports", lambda who: make.bearer(who["citizen"]), 5),  # rows, texts, photos, after, history
    "worklist": ("/v1/cases", lambda who: make.bearer(who["officer"]), 2),  # grants, rows
    "resolved": ("/v1/cases?queue=resolved", lambda who: make.bearer(who["dispatcher"]), 2),
    "staff": ("/v1/staff", lambda who: make.bearer(who["administrator"]), 3),
    "failed": ("/v1/messages/failed", lambda who: make.bearer(who["administrator"]), 2),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_costs_the_same_however_long(
    client: TestClient, session: Session, connection: Connection, name: str
) -> None:
    path, headers, budget = LISTS[name]
    who = {
        "citizen": make.citizen(session),
        "officer": make.staff(session, "officer", HOME),
        "dispatcher": make.staff(session, "dispatcher"),
        "administrator": make.staff(session, "administrator"),
    }
    costs = []
    for _ in range(2):
        for _ in range(4):
            published(session, client, who["citizen"], who["dispatcher"])
        with recorded(connection) as statements:
            answer = client.get(path, headers=headers(who))
        assert answer.status_code == 200, answer.text
        costs.append(len(statements))
    assert costs == [budget, budget], "\n".join(statements)


def test_a_submission_is_one_statement(client: TestClient, session: Session, connection: Connection) -> None:
    citizen = make.citizen(session)
    make.submit(client, citizen)  # the catalogue and the directory are in memory from here on
    with recorded(connection) as statements:
        make.submit(client, citizen)
    assert len(statements) == 1, "\n".join(statements)


def test_one_case_costs_a_handful(client: TestClient, session: Session, connection: Connection) -> None:
    officer = make.staff(session, "officer", HOME)
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    for verb in ("accept", "start"):
        assert make.move(client, officer, case_id, verb).status_code == 200
    with recorded(connection) as statements:
        shown = client.get(f"/v1/cases/{case_id}", headers=make.bearer(officer)).json()
    assert [each["verb"] for each in shown["events"]] == ["submit", "assign", "accept", "start"]
    # grants; case with report; content, boundary, photos before and after, clocks, hops, history
    assert len(statements) <= 9, "\n".join(statements)


def test_batched_rows_do_not_mix(client: TestClient, session: Session) -> None:
    """Each report of a list carries its own words, steps and place, in the order of the list."""
    citizen, other = make.citizen(session), make.citizen(session)
    wanted = {}
    for place, code in enumerate(places.codes()[:3]):
        description = f"Phản ánh số {place} của tôi"
        case_id = make.routed(session, client, citizen, within=code, description=description)
        make.routed(session, client, other, within=code, description="Của người khác")
        officer = make.staff(session, "officer", code)
        make.move(client, officer, case_id, "message", {"text": f"Trả lời số {place}"})
        reference = session.exec(select(Case.reference).where(Case.id == case_id)).one()
        wanted[reference] = (description, code, [f"Trả lời số {place}"])
    items = client.get("/v1/me/reports", headers=make.bearer(citizen)).json()["items"]
    assert [item["reference"] for item in items] == list(reversed(wanted))
    for item in items:
        texts = [step["text"] for step in item["steps"] if step["text"]]
        assert (item["description"], item["commune"]["code"], texts) == wanted[item["reference"]]
        alone = client.get(f"/v1/reports/by-reference/{item['reference']}", headers=make.bearer(citizen)).json()
        assert alone == item
