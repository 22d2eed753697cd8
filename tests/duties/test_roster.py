"""The duty roster over HTTP: who enters, who sees, what is refused, and that every change is audited."""

from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from app.core import clock
from app.core.db import Session
from app.duties.queries import people
from app.identity.models import Account, AuditEntry
from app.identity.policy import Viewer
from tests.support import make, places

HOME, ELSEWHERE = places.codes()[0], places.codes()[50]


def body(who: Viewer, unit: str | None = HOME, begins_h: float = 0, hours: float = 12) -> dict[str, Any]:
    begin = clock.now() + timedelta(hours=begins_h)
    times = {"starts_at": begin.isoformat(), "ends_at": (begin + timedelta(hours=hours)).isoformat()}
    return {"unit": unit, "account_id": str(who.id), **times}


def enter(client: TestClient, by: Viewer, wanted: dict[str, Any]) -> Any:
    return client.post("/v1/duties", json=wanted, headers=make.bearer(by) | make.key())


def test_a_duty_is_entered_seen_in_force_and_taken_back(client: TestClient, session: Session) -> None:
    lead, officer = make.staff(session, "lead", HOME), make.staff(session, "officer", HOME)
    home, key = make.unit_id(session, HOME), make.key()
    wanted = body(officer)
    first = client.post("/v1/duties", json=wanted, headers=make.bearer(lead) | key)
    again = client.post("/v1/duties", json=wanted, headers=make.bearer(lead) | key)
    assert (first.status_code, again.content) == (201, first.content)
    assert (first.json()["unit"], first.json()["name"]) == (HOME, "Cán bộ officer")
    assert people(session, clock.now()).paged(home) == {officer.id}
    assert people(session, clock.now() + timedelta(hours=12)).paged(home) == {officer.id, lead.id}
    for reader in (lead, officer, make.staff(session, "dispatcher"), make.staff(session, "administrator")):
        seen = client.get("/v1/duties", headers=make.bearer(reader)).json()["items"]
        assert [duty["id"] for duty in seen] == [first.json()["id"]]
    outsider = make.staff(session, "lead", ELSEWHERE)
    assert client.get("/v1/duties", headers=make.bearer(outsider)).json()["items"] == []
    address = f"/v1/duties/{first.json()['id']}"
    assert client.delete(address, headers=make.bearer(outsider)).status_code == 404
    assert client.delete(address, headers=make.bearer(officer)).status_code == 403
    assert client.delete(address, headers=make.bearer(lead)).status_code == 204
    assert client.delete(address, headers=make.bearer(lead)).status_code == 404
    assert people(session, clock.now()).paged(home) > {officer.id, lead.id}, "the dispatcher too, as without a duty"
    entries = session.exec(select(AuditEntry).where(AuditEntry.topic == "duty").order_by(AuditEntry.at)).all()  # type: ignore[arg-type]
    assert [(entry.actor_id, entry.before is None) for entry in entries] == [(lead.id, True), (lead.id, False)]
    assert entries[0].after is not None
    assert entries[0].after["account_id"] == str(officer.id)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"hours": 0}, "duty_period"),
        ({"hours": -1}, "duty_period"),
        ({"begins_h": -3, "hours": 2}, "duty_period"),
        ({"hours": 24 * 32}, "duty_period"),
        ({"unit": ELSEWHERE}, "duty_account"),
        ({"unit": None}, "duty_account"),
        ({"unit": "99999"}, "unknown_unit"),
    ],
)
def test_what_is_no_duty_is_refused(client: TestClient, session: Session, changed: dict[str, Any], code: str) -> None:
    officer = make.staff(session, "officer", HOME)
    answer = enter(client, make.staff(session, "administrator"), body(officer, **changed))
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_leads_enter_for_their_own_units_and_the_province_is_the_administrators(
    client: TestClient, session: Session
) -> None:
    lead, dispatcher = make.staff(session, "lead", HOME), make.staff(session, "dispatcher")
    there = make.staff(session, "officer", ELSEWHERE)
    assert enter(client, lead, body(there, ELSEWHERE)).status_code == 403
    assert enter(client, lead, body(dispatcher, None)).status_code == 403
    assert enter(client, make.staff(session, "administrator"), body(dispatcher, None)).status_code == 201
    assert people(session, clock.now()).paged(None) == {dispatcher.id}


def test_who_was_blocked_is_on_duty_no_more(client: TestClient, session: Session) -> None:
    """A page nobody can read is no page: the others hear of it."""
    duty, other = make.staff(session, "dispatcher"), make.staff(session, "dispatcher")
    assert enter(client, make.staff(session, "administrator"), body(duty, None)).status_code == 201
    session.get_one(Account, duty.id).status = "blocked"
    session.flush()
    assert people(session, clock.now()).paged(None) == {other.id}


def test_the_roster_is_paged_through(client: TestClient, session: Session) -> None:
    administrator, officer = make.staff(session, "administrator"), make.staff(session, "officer", HOME)
    entered = [enter(client, administrator, body(officer, begins_h=hour)).json()["id"] for hour in (3, 1, 2)]
    found, cursor = [], None
    for _ in range(3):
        params: dict[str, Any] = {"limit": 1} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/duties", params=params, headers=make.bearer(officer)).json()
        found += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert (found, cursor) == ([entered[1], entered[2], entered[0]], None)
