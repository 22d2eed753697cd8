"""The life of a report over HTTP: what each person sees and may do on the way."""

from itertools import pairwise
from uuid import UUID

from fastapi.testclient import TestClient
from sqlmodel import col, select

from app.cases import rules
from app.cases.models import Case, CaseEvent, CaseHop
from app.core.db import Session
from app.deadlines.models import SlaClock
from app.notifications.models import Message
from app.routing.actions import assign_owed
from tests.support import make, places

HOME, ELSEWHERE = places.codes()[0], places.codes()[50]


def assert_sound(session: Session, case_id: UUID) -> None:
    """The chain fits, the table explains it, and hops neither overlap nor stay open at the end."""
    session.expire_all()
    rows = session.exec(select(CaseEvent).where(CaseEvent.case_id == case_id).order_by(col(CaseEvent.seq))).all()
    events = [row.model_dump() for row in rows]
    assert rules.verify_chain(events) is None
    assert rules.explain(events) is None
    case = session.get_one(Case, case_id)
    assert (case.state, case.version, case.head) == (events[-1]["to_state"], len(events), events[-1]["hash"])
    hops = session.exec(select(CaseHop).where(CaseHop.case_id == case_id).order_by(col(CaseHop.started_seq))).all()
    for earlier, later in pairwise(hops):
        assert earlier.ended_at is not None
        assert earlier.ended_at <= later.received_at
    if case.state not in rules.OPEN:
        assert all(hop.ended_at for hop in hops)


def test_from_a_report_to_a_confirmed_result(client: TestClient, session: Session) -> None:
    citizen = make.citizen(session)
    case_id = make.routed(session, client, citizen, within=HOME)
    officer = make.staff(session, "officer", HOME)
    for verb, body in [
        ("accept", None),
        ("start", None),
        ("message", {"text": "Đội thợ sẽ đến chiều nay."}),
        ("resolve", {"outcome": "fixed", "note": "Đã vá ổ gà."}),
    ]:
        answer = make.move(client, officer, case_id, verb, body)
        assert answer.status_code == 200, answer.text
    report_id = str(session.get_one(Case, case_id).report_id)
    confirmed = client.post(f"/v1/reports/{report_id}/confirm", headers=make.bearer(citizen) | make.key())
    assert confirmed.json()["status"] == "closed"
    rated = client.post(
        f"/v1/reports/{report_id}/rate",
        json={"rating": "satisfied"},
        headers=make.bearer(citizen) | make.key(),
    )
    shown = rated.json()
    assert (shown["rating"], shown["outcome"], shown["status_text"]) == ("satisfied", "fixed", "đã đóng")
    assert [step["text"] for step in shown["steps"] if step["text"]] == ["Đội thợ sẽ đến chiều nay.", "Đã vá ổ gà."]
    assert_sound(session, case_id)
    clocks = session.exec(select(SlaClock).where(SlaClock.case_id == case_id)).all()
    assert {clock.kind for clock in clocks} == {"accept", "first_response", "resolve"}
    assert all(clock.met for clock in clocks)
    templates = session.exec(select(Message.template).where(Message.case_id == case_id)).all()
    assert sorted(templates) == ["report_accepted", "report_assigned", "report_message", "report_resolved"]


def test_a_dispatcher_verifies_and_the_machine_routes_on(client: TestClient, session: Session) -> None:
    receipt = make.submit(client, make.citizen(session), make.report_body(make.UNVERIFIED, HOME))
    dispatcher = make.staff(session, "dispatcher")
    queue = client.get("/v1/cases?queue=verification", headers=make.bearer(dispatcher)).json()
    assert [row["reference"] for row in queue["items"]] == [receipt["reference"]]
    case_id = UUID(queue["items"][0]["id"])
    assert make.move(client, dispatcher, case_id, "verify").json()["state"] == "routing"
    assign_owed()
    case = session.get_one(Case, case_id, populate_existing=True)
    assert (case.state, case.route_reason) == ("assigned", "category")
    assert_sound(session, case_id)


def test_return_triage_and_a_second_unit_keep_one_resolve_clock(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    officer, dispatcher = make.staff(session, "officer", HOME), make.staff(session, "dispatcher")
    due = session.get_one(Case, case_id).due_at
    returned = make.move(client, officer, case_id, "return", {"reason": "Thuộc xã bên cạnh."})
    assert returned.json()["state"] == "triage"
    assert client.get(f"/v1/cases/{case_id}", headers=make.bearer(officer)).status_code == 404
    assigned = make.move(client, dispatcher, case_id, "assign", {"unit": ELSEWHERE})
    assert assigned.json()["unit"]["code"] == ELSEWHERE
    assert session.get_one(Case, case_id, populate_existing=True).due_at == due
    kinds = session.exec(select(SlaClock.kind).where(SlaClock.case_id == case_id)).all()
    assert sorted(kinds) == ["accept", "accept", "first_response", "resolve"]
    assert [hop["outcome"] for hop in assigned.json()["hops"]] == ["returned", None]
    assert_sound(session, case_id)


def test_a_lead_transfers_within_the_own_tree_only(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    lead, dispatcher = make.staff(session, "lead", HOME), make.staff(session, "dispatcher")
    outside = make.move(client, lead, case_id, "transfer", {"unit": ELSEWHERE, "reason": "Của xã bên."})
    assert (outside.status_code, outside.json()["code"]) == (409, "not_in_your_tree")
    moved = make.move(client, dispatcher, case_id, "transfer", {"unit": ELSEWHERE, "reason": "Đúng địa bàn."})
    assert (moved.status_code, moved.json()["unit"]["code"]) == (200, ELSEWHERE)
    assert client.get(f"/v1/cases/{case_id}", headers=make.bearer(lead)).status_code == 404
    assert_sound(session, case_id)


def test_a_reopened_report_starts_a_new_cycle_with_its_own_clocks(client: TestClient, session: Session) -> None:
    citizen = make.citizen(session)
    case_id = make.routed(session, client, citizen, within=HOME)
    officer = make.staff(session, "officer", HOME)
    make.move(client, officer, case_id, "accept")
    make.move(client, officer, case_id, "resolve", {"outcome": "fixed", "note": "Đã xong."})
    report_id = session.get_one(Case, case_id).report_id
    reopened = client.post(
        f"/v1/reports/{report_id}/reopen", json={"reason": "Chưa sửa."}, headers=make.bearer(citizen) | make.key()
    )
    assert reopened.json()["status"] == "assigned"
    case = session.get_one(Case, case_id, populate_existing=True)
    assert (case.cycle, case.unit_id) == (2, make.unit_id(session, HOME))
    cycles = session.exec(select(SlaClock.cycle).where(SlaClock.kind == "resolve", SlaClock.case_id == case_id)).all()
    assert sorted(cycles) == [1, 2]
    assert_sound(session, case_id)


def test_a_rejection_names_the_right_door(client: TestClient, session: Session) -> None:
    citizen = make.citizen(session)
    receipt = make.submit(client, citizen, make.report_body(make.UNVERIFIED))
    dispatcher = make.staff(session, "dispatcher")
    case_id = make.case_of(session, receipt["id"])
    codes = client.get("/v1/cases", headers=make.bearer(dispatcher))
    assert codes.status_code == 200
    unknown = make.move(client, dispatcher, case_id, "reject", {"code": "vi_sao_do"})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_reject_code")
    rejected = make.move(client, dispatcher, case_id, "reject", {"code": "formal_complaint"})
    assert rejected.status_code == 200, rejected.text
    shown = client.get(f"/v1/reports/{receipt['id']}", headers=make.bearer(citizen)).json()
    assert (shown["status_text"], shown["rejection"]["code"]) == ("từ chối", "formal_complaint")
    assert shown["rejection"]["turn_to"]
    assert_sound(session, case_id)


def test_a_citizen_withdraws_until_somebody_accepted(client: TestClient, session: Session) -> None:
    citizen = make.citizen(session)
    case_id = make.routed(session, client, citizen, within=HOME)
    make.move(client, make.staff(session, "officer", HOME), case_id, "accept")
    report_id = session.get_one(Case, case_id).report_id
    late = client.post(f"/v1/reports/{report_id}/withdraw", json={}, headers=make.bearer(citizen) | make.key())
    assert (late.status_code, late.json()["code"]) == (409, "move_not_allowed")
    assert late.json()["allowed_actions"] == ["add_information"]
    early = make.submit(client, citizen)
    url = f"/v1/reports/{early['id']}/withdraw"
    withdrawn = client.post(url, json={"reason": "Gửi nhầm"}, headers=make.bearer(citizen) | make.key())
    assert withdrawn.json()["status"] == "withdrawn"


def test_a_citizens_move_sent_twice_happens_once(client: TestClient, session: Session) -> None:
    citizen = make.citizen(session)
    receipt = make.submit(client, citizen)
    url, headers = f"/v1/reports/{receipt['id']}/information", make.bearer(citizen) | make.key()
    first = client.post(url, json={"text": "Gần cột điện số 5."}, headers=headers)
    again = client.post(url, json={"text": "Gần cột điện số 5."}, headers=headers)
    assert first.content == again.content
    assert again.json()["version"] == 2


def test_what_the_workflow_forbids_is_409_with_what_it_allows(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    refused = make.move(client, make.staff(session, "officer", HOME), case_id, "start")
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (409, "move_not_allowed")
    assert set(problem["allowed_actions"]) == {"accept", "message", "return", "assign_person", "note"}
    assert (problem["state"], problem["version"]) == ("assigned", 2)


def test_a_move_needs_the_version_it_was_decided_on(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    officer = make.bearer(make.staff(session, "officer", HOME))
    url = f"/v1/cases/{case_id}/accept"
    assert client.post(url, headers=officer).status_code == 428
    stale = client.post(url, headers=officer | {"If-Match": '"1"'})
    assert (stale.status_code, stale.json()["version"]) == (412, 2)
    assert client.post(url, headers=officer | {"If-Match": '"2"'}).status_code == 200
    assert client.post(url, headers=officer | {"If-Match": '"2"'}).status_code == 412


def test_an_unchanged_case_answers_304(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    officer = make.bearer(make.staff(session, "officer", HOME))
    first = client.get(f"/v1/cases/{case_id}", headers=officer)
    again = client.get(f"/v1/cases/{case_id}", headers=officer | {"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    english = client.get(
        f"/v1/cases/{case_id}", headers=officer | {"If-None-Match": first.headers["etag"], "Accept-Language": "en"}
    )
    assert english.status_code == 200


def test_a_reopened_case_no_longer_shows_the_outcome_of_before(client: TestClient, session: Session) -> None:
    citizen = make.citizen(session)
    case_id = make.routed(session, client, citizen, within=HOME)
    officer = make.staff(session, "officer", HOME)
    make.move(client, officer, case_id, "accept")
    done = make.move(client, officer, case_id, "resolve", {"outcome": "fixed", "note": "Đã xong."})
    assert done.json()["outcome"] == "fixed"
    dispatcher = make.staff(session, "dispatcher")
    reopened = make.move(client, dispatcher, case_id, "reopen", {"reason": "Người dân gọi lại."}).json()
    assert (reopened["state"], reopened["outcome"], reopened["cycle"]) == ("assigned", None, 2)
    assert [event["code"] for event in reopened["events"] if event["verb"] == "resolve"] == ["fixed"]
    assert_sound(session, case_id)
