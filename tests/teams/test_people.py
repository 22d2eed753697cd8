"""Who of a unit has a case: who may give it, to whom, and when it is nobody's again."""

from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from sqlmodel import col, update

from app.core import clock
from app.core.db import Session
from app.identity.models import Account, Membership
from app.identity.policy import Viewer
from tests.cases.test_journey import assert_sound
from tests.cases.test_worklist import listed
from tests.support import make, places

HOME, ELSEWHERE = places.codes()[0], places.codes()[50]


@pytest.fixture
def case_id(client: TestClient, session: Session) -> UUID:
    return make.routed(session, client, make.citizen(session), within=HOME)


@pytest.fixture
def lead(session: Session) -> Viewer:
    return make.staff(session, "lead", HOME)


@pytest.fixture
def officer(session: Session) -> Viewer:
    return make.staff(session, "officer", HOME)


def give(client: TestClient, who: Viewer, case_id: UUID, to: Viewer | None) -> tuple[int, str | None]:
    body = {"assignee": str(to.id) if to else None}
    answer = make.move(client, who, case_id, "person", body)
    return answer.status_code, answer.json().get("code")


def test_a_lead_gives_a_case_and_everybody_sees_whose_it_is(
    client: TestClient, session: Session, case_id: UUID, lead: Viewer, officer: Viewer
) -> None:
    other = make.routed(session, client, make.citizen(session), within=HOME)
    assert give(client, lead, case_id, officer) == (200, None)
    assert give(client, lead, case_id, officer) == (200, None)  # the same again is no event
    shown = client.get(f"/v1/cases/{case_id}", headers=make.bearer(lead)).json()
    assert shown["assignee"] == {"id": str(officer.id), "name": "Cán bộ officer"}
    assert [event["code"] for event in shown["events"] if event["verb"] == "assign_person"] == [str(officer.id)]
    assert listed(client, officer, "&assignee=me") == [str(case_id)] == listed(client, lead, f"&assignee={officer.id}")
    assert listed(client, lead, "&assignee=none") == [str(other)]
    assert listed(client, lead, "&assignee=me") == []
    assert_sound(session, case_id)


@pytest.mark.parametrize("leaves", ["transfer", "return", "hand-down"])
def test_a_case_that_leaves_the_unit_leaves_the_person(
    client: TestClient, session: Session, case_id: UUID, lead: Viewer, officer: Viewer, leaves: str
) -> None:
    make.unit_below(session, HOME, "phong_thu")
    dispatcher = make.staff(session, "dispatcher")
    give(client, lead, case_id, officer)
    body = {"transfer": {"unit": ELSEWHERE}, "return": {}, "hand-down": {"unit": "phong_thu"}}[leaves]
    who = lead if leaves == "return" else dispatcher
    assert make.move(client, who, case_id, leaves, body | {"reason": "Không thuộc xã."}).status_code == 200
    assert client.get(f"/v1/cases/{case_id}", headers=make.bearer(dispatcher)).json()["assignee"] is None


def test_an_officer_takes_what_is_nobodys_and_gives_back_the_own(
    client: TestClient, session: Session, case_id: UUID, lead: Viewer, officer: Viewer
) -> None:
    colleague = make.staff(session, "officer", HOME)
    assert give(client, officer, case_id, colleague) == (409, "only_a_lead_assigns")
    assert give(client, officer, case_id, officer) == (200, None)
    assert give(client, colleague, case_id, colleague) == (409, "only_a_lead_assigns")
    assert give(client, colleague, case_id, None) == (409, "only_a_lead_assigns")
    assert give(client, officer, case_id, None) == (200, None)
    assert give(client, make.staff(session, "dispatcher"), case_id, officer) == (409, "move_not_allowed")


def test_only_who_works_there_now_can_be_given_a_case(
    client: TestClient, session: Session, case_id: UUID, lead: Viewer, officer: Viewer
) -> None:
    blocked, left = make.staff(session, "officer", HOME), make.staff(session, "officer", HOME)
    session.execute(update(Account).where(col(Account.id) == blocked.id).values(status="blocked"))
    session.execute(update(Membership).where(col(Membership.account_id) == left.id).values(valid_to=clock.now()))
    session.flush()
    for nobody in (blocked, left, make.staff(session, "officer", ELSEWHERE), make.staff(session, "assistant", HOME)):
        assert give(client, lead, case_id, nobody) == (422, "not_of_the_unit")
    make.unit_below(session, HOME, "phong_thu")
    make.staff(session, "officer", "phong_thu")
    found = client.get(f"/v1/units/{HOME}/staff", headers=make.bearer(lead)).json()
    assert {(each["id"], each["role"]) for each in found} == {(str(lead.id), "lead"), (str(officer.id), "officer")}
    assert {tuple(each) for each in found} == {("id", "name", "role")}
    assert client.get(f"/v1/units/{ELSEWHERE}/staff", headers=make.bearer(lead)).status_code == 403


def test_nobody_learns_whether_an_account_exists(client: TestClient, case_id: UUID, lead: Viewer) -> None:
    answer = make.move(client, lead, case_id, "person", {"assignee": str(uuid4())})
    assert (answer.status_code, answer.json()["code"]) == (422, "not_of_the_unit")
