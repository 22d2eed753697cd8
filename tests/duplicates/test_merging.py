"""Merging and telling apart: states, clocks and stays, who follows, who may, and two people at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlmodel import col, select

from app.cases.models import Case, CaseEvent, CaseHop
from app.cases.rules import AT_UNIT
from app.core import clock
from app.core.db import Session, transaction
from app.deadlines.models import SlaClock
from app.embedded import Database
from app.identity.policy import Viewer
from app.kpi.queries import Period, handling
from app.kpi.rules import Standing
from app.main import app
from app.notifications.models import Message
from app.routing.actions import assign_owed
from tests.support import make, places
from tools.verify import problems

HOME, ELSEWHERE = places.codes()[0], places.codes()[50]
REASON = "Cùng một hố ga"


def opened(client: TestClient, session: Session, citizen: Viewer | None = None, **body: Any) -> Case:
    case_id = make.routed(session, client, citizen or make.citizen(session), **({"within": HOME} | body))
    return session.get_one(Case, case_id)


def merge(client: TestClient, viewer: Viewer, case: Case, into: Case) -> Any:
    return make.move(client, viewer, case.id, "merge", {"into": str(into.id), "reason": REASON})


def unmerge(client: TestClient, viewer: Viewer, case: Case) -> Any:
    return make.move(client, viewer, case.id, "unmerge", {"reason": "Hai chỗ khác nhau"})


def moved(client: TestClient, viewer: Viewer, case: Case, *verbs: str) -> None:
    bodies = {"resolve": {"outcome": "fixed", "note": "Đã vá."}}
    for verb in verbs:
        answer = make.move(client, viewer, case.id, verb, bodies.get(verb))
        assert answer.status_code == 200, (verb, answer.text)


def clocks(session: Session, case: Case) -> dict[str, SlaClock]:
    session.expire_all()
    rows = session.exec(select(SlaClock).where(SlaClock.case_id == case.id).order_by(col(SlaClock.started_seq)))
    return {row.kind: row for row in rows}


def hops(session: Session, case: Case) -> list[CaseHop]:
    rows = select(CaseHop).where(CaseHop.case_id == case.id).order_by(col(CaseHop.started_seq))
    return list(session.exec(rows))


def heard(session: Session, viewer: Viewer) -> list[tuple[str, str]]:
    rows = session.exec(select(Message).where(Message.account_id == viewer.account_id).order_by(col(Message.id)))
    return [(row.template, row.params["reference"]) for row in rows]


# --- a journey -------------------------------------------------------------------------------------------------------


def test_a_duplicate_ends_and_its_people_follow_the_survivor(client: TestClient, session: Session) -> None:
    dispatcher, officer = make.staff(session, "dispatcher"), make.staff(session, "officer", HOME)
    author, other, neighbour = (make.citizen(session) for _ in range(3))
    survivor, case = opened(client, session, author), opened(client, session, other, description="Riêng tư của tôi")
    assert make.move(client, dispatcher, case.id, "publish", {}).status_code == 200
    url = f"/v1/reports/by-reference/{case.reference}/support"
    assert client.put(url, headers=make.bearer(neighbour)).status_code == 200
    shown = merge(client, dispatcher, case, survivor)
    assert shown.status_code == 200, shown.text
    assert (shown.json()["state"], shown.json()["supporters"]) == ("merged", 1)
    assert shown.json()["merged_into"]["reference"] == survivor.reference
    assert all(each.stopped_at is not None for each in clocks(session, case).values())
    assert [hop.outcome for hop in hops(session, case)] == ["merged"]
    assert session.get_one(Case, survivor.id).supporters == 2
    told = client.get(f"/v1/cases/{survivor.id}/duplicates", headers=make.bearer(dispatcher)).json()
    assert told["merged"] == [case.reference]

    moved(client, officer, survivor, "accept", "resolve")
    mine = client.get(f"/v1/reports/{case.report_id}", headers=make.bearer(other)).json()
    assert (mine["status"], mine["status_text"]) == ("merged", "trùng")
    assert mine["merged_into"] == {
        "reference": survivor.reference,
        "status": "resolved",
        "status_text": "đã xử lý",
    }
    assert heard(session, other)[-2:] == [("report_merged", case.reference), ("report_followed", survivor.reference)]
    assert heard(session, neighbour) == [("report_followed", survivor.reference)]
    assert heard(session, author)[-1] == ("report_resolved", survivor.reference)
    assert client.get(f"/v1/reports/{survivor.report_id}", headers=make.bearer(other)).status_code == 404
    assert client.get(f"/v1/reports/by-reference/{case.reference}").status_code == 404
    session.commit()
    assert problems(session) == []


def test_a_private_message_to_the_reporter_is_no_followers_business(client: TestClient, session: Session) -> None:
    dispatcher, other = make.staff(session, "dispatcher"), make.citizen(session)
    survivor, case = opened(client, session), opened(client, session, other)
    merge(client, dispatcher, case, survivor)
    before = heard(session, other)
    body = {"text": "Chị Bé ơi, nhà chị số mấy?"}
    assert make.move(client, dispatcher, survivor.id, "message", body).status_code == 200
    assert heard(session, other) == before


# --- what a merge is taken back to -----------------------------------------------------------------------------------

ROADS: dict[str, tuple[str, ...]] = {
    "assigned": (),
    "accepted": ("accept",),
    "in_progress": ("accept", "start"),
    "waiting_citizen": ("accept", "start", "ask"),
    "pending_approval": ("verify", "accept", "propose"),
    "triage": ("return",),
}
CATEGORIES = {"verifying": make.UNVERIFIED, "pending_approval": "xay_khong_phep"}
BODIES = {
    "return": {"reason": "Không phải của xã"},
    "ask": {"question": "Ở đâu?"},
    "propose": {"outcome": "fixed", "note": "Đã dỡ."},
}


@pytest.mark.parametrize("state", [*ROADS, "verifying"])
def test_what_is_told_apart_stands_where_it_stood(client: TestClient, session: Session, state: str) -> None:
    dispatcher, officer = make.staff(session, "dispatcher"), make.staff(session, "officer", HOME)
    survivor = opened(client, session)
    case = opened(client, session, category=CATEGORIES.get(state, make.TRUSTED_COMMUNE))
    for verb in ROADS.get(state, ()):
        who = dispatcher if verb == "verify" else officer
        assert make.move(client, who, case.id, verb, BODIES.get(verb)).status_code == 200
        assign_owed()
    before = {kind: row.due_at for kind, row in clocks(session, case).items() if row.stopped_at is None}
    assert session.get_one(Case, case.id).state == state
    with clock.travelled(clock.now() + timedelta(hours=1)):
        assert merge(client, dispatcher, case, survivor).status_code == 200
    with clock.travelled(clock.now() + timedelta(days=3)):
        assert unmerge(client, dispatcher, case).status_code == 200
    after = {kind: row for kind, row in clocks(session, case).items() if row.stopped_at is None}
    back = {"waiting_citizen": "in_progress", "pending_approval": "accepted"}.get(state, state)  # the word has lapsed
    stored = session.get_one(Case, case.id)
    assert (stored.state, stored.merged_into, stored.supporters) == (back, None, 0)
    assert after.keys() == (before.keys() - {"answer", "approve"}) | ({"resolve"} if back in AT_UNIT else set())
    if state == back:  # otherwise a pause had it at the latest it could become, or a proposal had stopped it
        assert all(row.due_at > before[kind] for kind, row in after.items())
    awaited = {"assigned": ("accept", "resolve"), "verifying": ("verify",), "triage": ()}.get(back, ("resolve",))
    assert stored.act_by == min((after[kind].due_at for kind in awaited), default=stored.updated_at)
    if back in AT_UNIT:
        *_, last = hops(session, case)
        assert (last.ended_at, last.due_at, last.accepted_at is None) == (None, stored.due_at, back == "assigned")
    assert session.get_one(Case, survivor.id).supporters == 0
    session.commit()
    assert problems(session) == []


def test_a_breach_before_the_merge_stays_a_breach(client: TestClient, session: Session) -> None:
    dispatcher = make.staff(session, "dispatcher")
    survivor, case = opened(client, session), opened(client, session)
    late = clocks(session, case)["resolve"].due_at + timedelta(hours=1)
    with clock.travelled(late):
        assert merge(client, dispatcher, case, survivor).status_code == 200
    breached = clocks(session, case)["resolve"].breached_at
    assert breached is not None
    with clock.travelled(late + timedelta(days=2)):
        assert unmerge(client, dispatcher, case).status_code == 200
        row = clocks(session, case)["resolve"]
        assert (row.breached_at, row.stopped_at, row.met) == (breached, None, None)


# --- chains, circles, companies --------------------------------------------------------------------------------------


def test_there_are_no_chains_and_who_came_along_goes_along(client: TestClient, session: Session) -> None:
    dispatcher = make.staff(session, "dispatcher")
    one, two, three, four = (opened(client, session) for _ in range(4))
    assert merge(client, dispatcher, one, two).status_code == 200
    assert merge(client, dispatcher, two, three).status_code == 200
    assert merge(client, dispatcher, four, one).status_code == 200  # which follows to the survivor of one
    session.expire_all()
    assert {each.id: each.merged_into for each in session.exec(select(Case))} == {
        one.id: three.id,
        two.id: three.id,
        three.id: None,
        four.id: three.id,
    }
    assert session.get_one(Case, three.id).supporters == 3
    assert unmerge(client, dispatcher, two).status_code == 200
    session.expire_all()
    assert session.get_one(Case, one.id).merged_into == two.id  # it was judged the same as two, not as three
    assert session.get_one(Case, four.id).merged_into == three.id
    assert [session.get_one(Case, each.id).supporters for each in (two, three)] == [1, 1]


def test_there_are_no_circles(client: TestClient, session: Session) -> None:
    dispatcher = make.staff(session, "dispatcher")
    one, two = opened(client, session), opened(client, session)
    assert merge(client, dispatcher, one, two).status_code == 200
    for into in (one, two):
        answer = merge(client, dispatcher, two, into)
        assert (answer.status_code, answer.json()["code"]) == (409, "merge_into_itself")
    answer = merge(client, dispatcher, one, two)
    assert (answer.status_code, answer.json()["code"]) == (409, "move_not_allowed")


def test_two_reports_of_one_person_are_one_person(client: TestClient, session: Session) -> None:
    dispatcher, author = make.staff(session, "dispatcher"), make.citizen(session)
    survivor, case = opened(client, session, author), opened(client, session, author)
    assert merge(client, dispatcher, case, survivor).status_code == 200
    assert session.get_one(Case, survivor.id).supporters == 0


def test_what_others_were_merged_into_is_not_withdrawn(client: TestClient, session: Session) -> None:
    dispatcher, author = make.staff(session, "dispatcher"), make.citizen(session)
    survivor, case = opened(client, session, author), opened(client, session)
    url, headers = f"/v1/reports/{survivor.report_id}/withdraw", make.bearer(author)
    assert "withdraw" in client.get(f"/v1/reports/{survivor.report_id}", headers=headers).json()["allowed_actions"]
    assert merge(client, dispatcher, case, survivor).status_code == 200
    answer = client.post(url, json={}, headers=headers | make.key())
    assert (answer.status_code, answer.json()["code"]) == (409, "move_not_allowed")
    assert unmerge(client, dispatcher, case).status_code == 200
    assert client.post(url, json={}, headers=headers | make.key()).status_code == 200


# --- who may ---------------------------------------------------------------------------------------------------------


def test_a_lead_merges_what_both_are_in_the_own_hands(client: TestClient, session: Session) -> None:
    lead, dispatcher = make.staff(session, "lead", HOME), make.staff(session, "dispatcher")
    one, two, foreign = opened(client, session), opened(client, session), opened(client, session, within=ELSEWHERE)
    answer = merge(client, lead, one, foreign)
    assert answer.status_code == 404
    assert merge(client, make.staff(session, "officer", HOME), one, two).status_code == 403
    assert merge(client, lead, one, two).status_code == 200
    assert unmerge(client, lead, one).status_code == 200
    assert merge(client, dispatcher, one, foreign).status_code == 200


def test_what_has_ended_survives_nothing(client: TestClient, session: Session) -> None:
    dispatcher = make.staff(session, "dispatcher")
    one, gone = opened(client, session), opened(client, session)
    assert make.move(client, dispatcher, gone.id, "reject", {"code": "spam"}).status_code == 200
    answer = merge(client, dispatcher, one, gone)
    assert (answer.status_code, answer.json()["code"]) == (409, "not_a_survivor")
    body = {"into": "00000000-0000-7000-8000-000000000000", "reason": "x"}
    assert make.move(client, dispatcher, one.id, "merge", body).status_code == 404
    assert make.move(client, dispatcher, one.id, "merge", {"into": str(gone.id)}).status_code == 422
    stale = make.bearer(dispatcher) | {"If-Match": '"1"'}
    answer = client.post(f"/v1/cases/{one.id}/merge", json=body | {"into": str(gone.id)}, headers=stale)
    assert answer.status_code == 412


def test_the_identity_of_the_measures_holds(client: TestClient, session: Session) -> None:
    dispatcher = make.staff(session, "dispatcher")
    cases = [opened(client, session) for _ in range(4)]
    merge(client, dispatcher, cases[0], cases[1])
    merge(client, dispatcher, cases[2], cases[1])
    unmerge(client, dispatcher, cases[2])
    today = clock.local_day(clock.now())
    session.commit()
    board = handling(session, Period(today, today + timedelta(days=1)), as_of=clock.now()).total
    assert (board.received, board.standings[Standing.MERGED], board.within_competence) == (4, 1, 3)


# --- at once ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def together(committed: Database) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_who_merges_crosswise_at_once_waits_and_never_deadlocks(together: TestClient) -> None:
    """Each of three cases into each other one, all at the same moment, again and again: one circle never closes."""
    with transaction() as session:
        dispatcher = make.staff(session, "dispatcher")
        citizens = [make.citizen(session) for _ in range(3)]
    ids: list[UUID] = []
    for citizen in citizens:
        with transaction() as session:
            ids.append(make.routed(session, together, citizen, within=HOME))
    headers = make.bearer(dispatcher)

    def attempt(pair: tuple[UUID, UUID]) -> int:
        etag = together.get(f"/v1/cases/{pair[0]}", headers=headers).headers["etag"]
        body = {"into": str(pair[1]), "reason": REASON}
        url = f"/v1/cases/{pair[0]}/merge"
        return together.post(url, json=body, headers=headers | {"If-Match": etag}).status_code

    def apart(case_id: UUID) -> int:
        etag = together.get(f"/v1/cases/{case_id}", headers=headers).headers["etag"]
        url = f"/v1/cases/{case_id}/unmerge"
        return together.post(url, json={"reason": REASON}, headers=headers | {"If-Match": etag}).status_code

    pairs = [(one, other) for one, other in product(ids, ids) if one != other]
    with ThreadPoolExecutor(len(pairs)) as pool:
        for _ in range(3):
            answers = list(pool.map(attempt, pairs))
            assert set(answers) <= {200, 409, 412}
            assert 200 in answers
            with transaction() as session:
                stands = [each.id for each in session.exec(select(Case).where(col(Case.merged_into).is_(None)))]
                assert len(stands) >= 1
                assert problems(session) == []
            assert set(pool.map(apart, ids)) <= {200, 409, 412}
    with transaction() as session:
        verbs = set(session.exec(select(CaseEvent.verb)))
        assert {"merge", "unmerge"} <= verbs
