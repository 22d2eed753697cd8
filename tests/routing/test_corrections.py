"""A moved pin, a new category: the report stands, the case goes where it belongs, and everybody is told why."""

import threading
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import shapely
from fastapi.testclient import TestClient
from shapely import box
from sqlalchemy import text
from sqlmodel import col, select

from app.boundaries.rules import PointIndex
from app.cases.models import Case, CaseEvent, CaseHop, CasePin
from app.catalog.models import CategoryRow
from app.core import clock
from app.core.db import Session, transaction
from app.core.versioned import bump
from app.deadlines.models import SlaClock, SupersededDeadline
from app.deadlines.queries import deadline
from app.embedded import Database
from app.identity.policy import Viewer
from app.main import app
from app.notifications.models import Message
from app.reports.models import PublicCopy, Report, ReportContent
from app.routing.actions import assign_owed
from app.routing.queries import cases_that_move
from tests.support import make, places
from tools import verify

HOME, NEXT = places.codes()[0], places.codes()[1]
LAMP, RUBBISH, DEPARTMENT = "den_duong", "rac_ton_dong", make.TRUSTED_DEPARTMENT
WHY = "Theo ảnh hiện trường."


def pin(within: str, north: float = 0.0) -> dict[str, Any]:
    """A place in a commune, some degrees north of its middle."""
    lat, lon = places.centre(within)
    return {"lat": lat + north, "lon": lon, "accuracy_m": 5}


def moved(client: TestClient, viewer: Viewer, case_id: UUID, location: dict[str, Any]) -> Any:
    return make.move(client, viewer, case_id, "move-pin", {"location": location, "reason": WHY})


def recategorised(client: TestClient, viewer: Viewer, case_id: UUID, category: str) -> Any:
    return make.move(client, viewer, case_id, "recategorise", {"category": category, "reason": WHY})


def own(client: TestClient, viewer: Viewer, report_id: Any, verb: str, body: dict[str, Any]) -> Any:
    return client.post(f"/v1/reports/{report_id}/{verb}", json=body, headers=make.bearer(viewer) | make.key())


def verbs(session: Session, case_id: UUID) -> list[str]:
    rows = select(CaseEvent.verb).where(CaseEvent.case_id == case_id).order_by(col(CaseEvent.seq))
    return list(session.exec(rows))


def told(session: Session, case_id: UUID) -> list[str]:
    return sorted(session.exec(select(Message.template).where(Message.case_id == case_id)))


def fresh(session: Session, case_id: UUID) -> Case:
    return session.get_one(Case, case_id, populate_existing=True)


def assert_sound(session: Session) -> None:
    """Everything stored is what its events say."""
    session.expire_all()
    assert verify.problems(session) == []


# --- a moved pin ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("done", [(), ("accept",), ("accept", "start")])
def test_over_a_border_the_case_moves_with_its_history(
    client: TestClient, session: Session, done: tuple[str, ...]
) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME, allow_call=True)
    before, after = make.staff(session, "officer", HOME), make.staff(session, "officer", NEXT)
    dispatcher = make.staff(session, "dispatcher")
    for verb in done:
        assert make.move(client, before, case_id, verb).status_code == 200
    due_at = fresh(session, case_id).due_at
    answer = moved(client, dispatcher, case_id, pin(NEXT))
    assert (answer.status_code, answer.json()["state"], answer.json()["unit"]) == (200, "routing", None)
    # The old unit is out of it at once, before anybody else has it.
    identity = client.post(
        f"/v1/cases/{case_id}/identity", json={"purpose": "call"}, headers=make.bearer(before)
    ).status_code
    assert (client.get(f"/v1/cases/{case_id}", headers=make.bearer(before)).status_code, identity) == (404, 404)
    assert client.get("/v1/cases", headers=make.bearer(before)).json()["items"] == []
    assign_owed()
    shown = client.get(f"/v1/cases/{case_id}", headers=make.bearer(after)).json()
    assert (shown["state"], shown["unit"]["code"], shown["commune"]["code"]) == ("assigned", NEXT, NEXT)
    assert [each["verb"] for each in shown["events"]] == ["submit", "assign", *done, "move_pin", "reroute", "assign"]
    assert [(each["code"], each["text"]) for each in shown["events"][-3:-1]] == [(None, WHY), ("place", None)]
    assert [hop["outcome"] for hop in shown["hops"]] == ["rerouted", None]
    kinds = [each["kind"] for each in shown["clocks"]]
    assert sorted(kinds) == ["accept", "accept", "first_response", "resolve"]
    assert fresh(session, case_id).due_at == due_at
    accepted = ["report_accepted"] if "accept" in done else []
    assert told(session, case_id) == [*accepted, "report_assigned", "report_assigned", "report_rerouted"]
    assert client.get("/v1/cases", headers=make.bearer(after)).json()["items"][0]["id"] == str(case_id)
    assert_sound(session)


def test_the_unit_it_left_is_told_which_and_why_and_no_more(client: TestClient, session: Session) -> None:
    people = [make.citizen(session) for _ in range(3)]
    cases = [make.routed(session, client, citizen, within=HOME) for citizen in people]
    references = [fresh(session, case_id).reference for case_id in cases]
    dispatcher, officer = make.staff(session, "dispatcher"), make.staff(session, "officer", HOME)
    assert client.get("/v1/cases/departures", headers=make.bearer(officer)).json()["items"] == []
    moved(client, dispatcher, cases[0], pin(NEXT))
    make.move(client, officer, cases[1], "return", {"reason": "Không thuộc địa bàn."})
    told_of: list[dict[str, object]] = []
    cursor = ""
    for _ in range(2):
        page = client.get(f"/v1/cases/departures?limit=1{cursor}", headers=make.bearer(officer)).json()
        told_of += page["items"]
        cursor = f"&cursor={page['next_cursor']}"
    assert page["next_cursor"] is None
    assert [(row["reference"], row["outcome"], row["code"]) for row in told_of] == [
        (references[1], "returned", None),
        (references[0], "rerouted", "place"),
    ]
    assert told_of[0].keys() == {"reference", "unit", "received_at", "ended_at", "outcome", "outcome_text", "code"}
    stranger = make.staff(session, "officer", NEXT)
    assert client.get("/v1/cases/departures", headers=make.bearer(stranger)).json()["items"] == []
    with clock.travelled(clock.now() + timedelta(days=31)):
        assert client.get("/v1/cases/departures", headers=make.bearer(officer)).json()["items"] == []


def test_within_the_commune_nothing_but_the_place_changes(client: TestClient, session: Session) -> None:
    citizen = make.citizen(session)
    case_id = make.routed(session, client, citizen, within=HOME)
    make.move(client, make.staff(session, "officer", HOME), case_id, "accept")
    clocks = session.exec(select(SlaClock.due_at).where(SlaClock.case_id == case_id)).all()
    shown = moved(client, make.staff(session, "dispatcher"), case_id, pin(HOME, north=0.01)).json()
    assert (shown["state"], shown["unit"]["code"]) == ("accepted", HOME)
    assert verbs(session, case_id)[-2:] == ["accept", "move_pin"]
    said, now = pin(HOME), pin(HOME, north=0.01)
    assert (shown["location"]["lat"], shown["reported_location"]["lat"]) == (now["lat"], said["lat"])
    assert shown["moved_m"] == pytest.approx(1107, abs=2)  # a hundredth of a degree of latitude here
    # The report is evidence: what the citizen said stands.
    content = session.get_one(ReportContent, make.report_of(session, case_id), populate_existing=True)
    assert (content.lat, content.lon) == (said["lat"], said["lon"])
    mine = client.get(f"/v1/reports/{content.report_id}", headers=make.bearer(citizen)).json()
    assert mine["location"]["lat"] == now["lat"]
    assert (mine["steps"][-1]["verb"], mine["steps"][-1]["text"]) == ("move_pin", WHY)
    assert session.exec(select(SlaClock.due_at).where(SlaClock.case_id == case_id)).all() == clocks
    assert_sound(session)


def test_new_boundaries_ask_for_the_place_now(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    moved(client, make.staff(session, "dispatcher"), case_id, pin(NEXT))
    assign_owed()
    home, other = make.unit_id(session, HOME), make.unit_id(session, NEXT)
    # Boundaries that give the square of NEXT to HOME.
    after = PointIndex.from_wkb({home: shapely.to_wkb(box(*places.square(NEXT)))}, {home: HOME})
    assert cases_that_move(session, None, after) == {(other, home): [fresh(session, case_id).reference]}


def test_a_departments_case_stays_and_lies_in_another_commune(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), category=DEPARTMENT, within=HOME)
    shown = moved(client, make.staff(session, "dispatcher"), case_id, pin(NEXT)).json()
    assert (shown["state"], shown["commune"]["code"], shown["moved_m"] > 0) == ("assigned", NEXT, True)
    assert shown["unit"]["code"] == "so_nong_nghiep_va_moi_truong"
    assert_sound(session)


def test_moved_to_the_unit_that_has_it_already_it_stays(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    dispatcher = make.staff(session, "dispatcher")
    make.move(client, dispatcher, case_id, "transfer", {"unit": NEXT, "reason": "Ghim sai."})
    make.move(client, make.staff(session, "officer", NEXT), case_id, "accept")
    shown = moved(client, dispatcher, case_id, pin(NEXT)).json()
    assert (shown["state"], shown["unit"]["code"], shown["commune"]["code"]) == ("accepted", NEXT, NEXT)
    # And a later nudge that changes no answer does not overrule the dispatcher either.
    make.move(client, dispatcher, case_id, "transfer", {"unit": HOME, "reason": "Xã bạn nhận làm."})
    shown = moved(client, dispatcher, case_id, pin(NEXT, north=0.01)).json()
    assert (shown["state"], shown["unit"]["code"]) == ("assigned", HOME)
    assert_sound(session)


@pytest.mark.parametrize("category", [make.UNVERIFIED, make.TRUSTED_COMMUNE])
def test_before_it_is_routed_the_machine_takes_the_newest_pin(
    client: TestClient, session: Session, category: str
) -> None:
    citizen, dispatcher = make.citizen(session), make.staff(session, "dispatcher")
    receipt = make.submit(client, citizen, make.report_body(category, HOME))
    case_id = make.case_of(session, receipt["id"])
    for place in (pin(HOME, north=0.02), pin(NEXT)):
        answer = own(client, citizen, receipt["id"], "move-pin", {"location": place})
        assert (answer.status_code, answer.json()["status"]) == (200, receipt["status"])
    if category == make.UNVERIFIED:
        make.move(client, dispatcher, case_id, "verify")
    assign_owed()
    case = fresh(session, case_id)
    assert (case.state, case.commune_id) == ("assigned", make.unit_id(session, NEXT))
    assert case.candidate_ids == [make.unit_id(session, NEXT)]
    assert_sound(session)


def test_a_returned_case_is_not_sent_back_by_a_nudge_and_is_routed_by_a_real_move(
    client: TestClient, session: Session
) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    make.move(client, make.staff(session, "officer", HOME), case_id, "return", {"reason": "Không thuộc xã."})
    dispatcher = make.staff(session, "dispatcher")
    assert moved(client, dispatcher, case_id, pin(HOME, north=0.01)).json()["state"] == "triage"
    assert moved(client, dispatcher, case_id, pin(NEXT)).json()["state"] == "routing"
    assign_owed()
    case = fresh(session, case_id)
    assert (case.state, case.unit_id) == ("assigned", make.unit_id(session, NEXT))
    outcomes = select(CaseHop.outcome).where(CaseHop.case_id == case_id).order_by(col(CaseHop.started_seq))
    assert session.exec(outcomes).all() == ["returned", None]
    assert_sound(session)


def test_a_reopened_case_keeps_the_clocks_of_its_cycle(client: TestClient, session: Session) -> None:
    citizen, officer = make.citizen(session), make.staff(session, "officer", HOME)
    case_id = make.routed(session, client, citizen, within=HOME)
    make.move(client, officer, case_id, "accept")
    make.move(client, officer, case_id, "resolve", {"outcome": "fixed", "note": "Xong."})
    own(client, citizen, make.report_of(session, case_id), "reopen", {"reason": "Chưa."})
    due_at = fresh(session, case_id).due_at
    moved(client, make.staff(session, "dispatcher"), case_id, pin(NEXT))
    assign_owed()
    case = fresh(session, case_id)
    assert (case.cycle, case.unit_id, case.due_at) == (2, make.unit_id(session, NEXT), due_at)
    assert_sound(session)


def test_the_same_pin_again_is_no_change_and_an_old_version_is_refused(client: TestClient, session: Session) -> None:
    citizen = make.citizen(session)
    case_id = make.routed(session, client, citizen, within=HOME)
    dispatcher, report_id = make.staff(session, "dispatcher"), make.report_of(session, case_id)
    same = moved(client, dispatcher, case_id, pin(HOME))
    assert (same.status_code, same.json()["version"]) == (200, 2)
    first = moved(client, dispatcher, case_id, pin(HOME, north=0.01))
    again = moved(client, dispatcher, case_id, pin(HOME, north=0.01))
    assert (first.json()["version"], again.status_code, again.json()["version"]) == (3, 200, 3)
    headers = make.bearer(dispatcher) | {"If-Match": '"2"'}
    body = {"location": pin(NEXT), "reason": WHY}
    late = client.post(f"/v1/cases/{case_id}/move-pin", json=body, headers=headers)
    assert (late.status_code, late.json()["code"], late.json()["version"]) == (412, "version_stale", 3)
    assert own(client, citizen, report_id, "move-pin", {"location": pin(HOME, north=0.01)}).json()["version"] == 3
    same = own(client, citizen, report_id, "recategorise", {"category": make.TRUSTED_COMMUNE})
    assert (same.status_code, same.json()["version"]) == (200, 3)
    assert verbs(session, case_id) == ["submit", "assign", "move_pin"]


def test_the_citizen_corrects_until_somebody_accepted_and_once_per_key(client: TestClient, session: Session) -> None:
    citizen = make.citizen(session)
    case_id = make.routed(session, client, citizen, within=HOME)
    report_id, headers = make.report_of(session, case_id), make.bearer(citizen) | make.key()
    url, body = f"/v1/reports/{report_id}/move-pin", {"location": pin(NEXT)}
    first, again = (client.post(url, json=body, headers=headers) for _ in range(2))
    assert (first.status_code, first.content) == (200, again.content)
    assert first.json()["status"] == "routing"
    assign_owed()
    assert verbs(session, case_id) == ["submit", "assign", "move_pin", "reroute", "assign"]
    # Nobody is told of what they did themselves, but of what came of it.
    assert own(client, citizen, report_id, "recategorise", {"category": LAMP}).json()["category"] == LAMP
    assert told(session, case_id) == ["report_assigned", "report_assigned", "report_rerouted"]
    stranger = own(client, make.citizen(session), report_id, "move-pin", body)
    assert stranger.status_code == 404
    make.move(client, make.staff(session, "officer", NEXT), case_id, "accept")
    for verb, asked in (("move-pin", {"location": pin(HOME)}), ("recategorise", {"category": RUBBISH})):
        late = own(client, citizen, report_id, verb, asked)
        assert (late.status_code, late.json()["allowed_actions"]) == (409, ["add_information"])
    assert_sound(session)


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ({"lat": 105.45, "lon": 21.45}, "location_swapped"),
        ({"lat": 91.0, "lon": 105.45}, "location_out_of_range"),
        ({"lat": 10.0, "lon": 105.45}, "location_outside"),
    ],
)
def test_a_pin_is_checked_like_a_report(
    client: TestClient, session: Session, location: dict[str, Any], code: str
) -> None:
    citizen = make.citizen(session)
    case_id = make.routed(session, client, citizen, within=HOME)
    report_id = make.report_of(session, case_id)
    for answer in (
        moved(client, make.staff(session, "dispatcher"), case_id, location),
        own(client, citizen, report_id, "move-pin", {"location": location}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert fresh(session, case_id).version == 2


def test_staff_give_a_reason_and_only_dispatchers_correct(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    dispatcher, lead = make.staff(session, "dispatcher"), make.staff(session, "lead", HOME)
    asked: dict[str, dict[str, Any]] = {
        "move-pin": {"location": pin(NEXT)},
        "recategorise": {"category": LAMP},
        "urgency": {"urgency": "urgent"},
    }
    for verb, body in asked.items():
        assert make.move(client, dispatcher, case_id, verb, body).status_code == 422
        assert make.move(client, dispatcher, case_id, verb, body | {"reason": " "}).status_code == 422
        refused = make.move(client, lead, case_id, verb, body | {"reason": WHY})
        assert (refused.status_code, refused.json()["code"]) == (409, "move_not_allowed")
    unknown = recategorised(client, dispatcher, case_id, "khong_co")
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_category")
    actions = client.get(f"/v1/cases/{case_id}", headers=make.bearer(dispatcher)).json()["allowed_actions"]
    assert {"move_pin", "recategorise", "set_urgency"} <= set(actions)


def test_events_hold_no_place_and_an_erased_pin_still_verifies(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    dispatcher = make.staff(session, "dispatcher")
    place = {name: value for name, value in pin(HOME, north=0.0123).items() if name != "accuracy_m"}
    assert moved(client, dispatcher, case_id, place).status_code == 200
    event = session.exec(select(CaseEvent).where(CaseEvent.case_id == case_id, CaseEvent.verb == "move_pin")).one()
    assert event.commitment is not None
    assert str(pin(HOME, north=0.0123)["lat"])[:7].encode() not in bytes(event.body)
    assert_sound(session)
    for damage, found in (
        ("UPDATE case_pin SET lat = lat + 0.001", "is not the one the event commits to"),
        ("UPDATE case_text SET body = body || '!'", "is not the one the event commits to"),
        ("UPDATE case_pin SET seq = 2", "was moved by nobody"),
        ("UPDATE case_file SET pin_seq = NULL", "pin_seq is None"),
        ("UPDATE case_file SET commune_confirmed = true", "commune_confirmed is True"),
    ):
        with session.begin_nested() as damaged:
            session.execute(text(damage))
            assert any(found in line for line in verify.problems(session)), damage
            damaged.rollback()
    session.execute(text("DELETE FROM case_pin"))
    session.execute(text("DELETE FROM case_text"))
    session.commit()
    assert_sound(session)
    shown = client.get(f"/v1/cases/{case_id}", headers=make.bearer(dispatcher)).json()
    assert [each["erased"] for each in shown["events"]] == [False, False, True]


def test_two_dispatchers_at_once_move_it_once(committed: Database) -> None:
    with TestClient(app, raise_server_exceptions=False) as client:
        with transaction() as session:
            citizen = make.citizen(session)
            dispatchers = [make.staff(session, "dispatcher") for _ in range(2)]
        with transaction() as session:
            case_id = make.routed(session, client, citizen, within=HOME)
        answers: list[Any] = [None, None]
        barrier = threading.Barrier(2)

        def move(place: int) -> None:
            headers = make.bearer(dispatchers[place]) | {"If-Match": '"2"'}
            body = {"location": pin(places.codes()[place + 1]), "reason": WHY}
            barrier.wait()
            answers[place] = client.post(f"/v1/cases/{case_id}/move-pin", json=body, headers=headers)

        threads = [threading.Thread(target=move, args=(place,)) for place in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answer.status_code for answer in answers) == [200, 412]
        with transaction() as session:
            assert len(session.exec(select(CasePin)).all()) == 1
            assert verbs(session, case_id) == ["submit", "assign", "move_pin", "reroute"]


# --- what the public sees --------------------------------------------------------------------------------------------


def test_the_public_copy_follows_the_pin(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    dispatcher = make.staff(session, "dispatcher")
    make.move(client, dispatcher, case_id, "publish", {})
    moved(client, dispatcher, case_id, pin(NEXT))
    west, south, east, north = places.square(NEXT)
    assert client.get("/v1/reports", params={"bbox": f"{west},{south},{east},{north}"}).json()["items"]
    west, south, east, north = places.square(HOME)
    assert client.get("/v1/reports", params={"bbox": f"{west},{south},{east},{north}"}).json()["items"] == []
    # Published after it was moved: the same place.
    other = make.routed(session, client, make.citizen(session), within=HOME)
    moved(client, dispatcher, other, pin(HOME, north=0.02))
    make.move(client, dispatcher, other, "publish", {})
    copy = session.get_one(PublicCopy, make.report_of(session, other))
    assert (copy.lat, copy.lon) == (pin(HOME, north=0.02)["lat"], pin(HOME)["lon"])


def test_a_category_that_is_coarser_or_never_public_is_so_at_once(client: TestClient, session: Session) -> None:
    session.get_one(CategoryRow, LAMP).coarsen_m = 1000
    bump(session, "catalog")
    session.commit()
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    dispatcher, report_id = make.staff(session, "dispatcher"), make.report_of(session, case_id)
    make.move(client, dispatcher, case_id, "publish", {})
    recategorised(client, dispatcher, case_id, LAMP)
    copy = session.get_one(PublicCopy, report_id, populate_existing=True)
    assert (copy.lat, copy.lon) != (pin(HOME)["lat"], pin(HOME)["lon"])
    shown = recategorised(client, dispatcher, case_id, "bao_luc_xam_hai_tre_em").json()
    assert (shown["published"], shown["hidden"]) == (True, True)
    assert client.get("/v1/reports").json()["items"] == []
    assert client.get(f"/v1/reports/{report_id}").status_code == 404
    assert "unhide" not in shown["allowed_actions"]
    assert make.move(client, dispatcher, case_id, "unhide", {"reason": WHY}).status_code == 409
    assert_sound(session)


# --- a new category, a new urgency ----------------------------------------------------------------------------------


def test_a_category_of_another_unit_takes_the_case_there(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    before = make.staff(session, "officer", HOME)
    make.move(client, before, case_id, "accept")
    answer = recategorised(client, make.staff(session, "dispatcher"), case_id, DEPARTMENT)
    assert (answer.status_code, answer.json()["state"]) == (200, "routing")
    assert client.get(f"/v1/cases/{case_id}", headers=make.bearer(before)).status_code == 404
    assign_owed()
    after = make.staff(session, "officer", "so_nong_nghiep_va_moi_truong")
    shown = client.get(f"/v1/cases/{case_id}", headers=make.bearer(after)).json()
    corrected, rerouted, assigned = shown["events"][-3:]
    assert (corrected["verb"], corrected["code"], corrected["text"]) == ("recategorise", make.TRUSTED_COMMUNE, WHY)
    assert (rerouted["code"], assigned["code"]) == ("category", "category")
    rows = select(CaseEvent.category_code).where(CaseEvent.case_id == case_id).order_by(col(CaseEvent.seq))
    assert session.exec(rows).all() == [make.TRUSTED_COMMUNE] * 3 + [DEPARTMENT] * 3
    # The report is evidence: it was sent under what it was sent under.
    assert session.get_one(Report, make.report_of(session, case_id)).category_code == make.TRUSTED_COMMUNE
    told_of = ["report_accepted", "report_assigned", "report_assigned", "report_recategorised", "report_rerouted"]
    assert told(session, case_id) == told_of
    assert_sound(session)


def test_a_new_category_counts_from_the_original_start_and_the_old_deadline_stays_told(
    client: TestClient, session: Session
) -> None:
    citizen, dispatcher = make.citizen(session), make.staff(session, "dispatcher")
    case_id = make.routed(session, client, citizen, within=HOME)
    case = fresh(session, case_id)
    started, first_due = case.received_at, case.due_at
    resolve = session.exec(select(SlaClock).where(SlaClock.case_id == case_id, SlaClock.kind == "resolve")).one()
    started, old_policy = resolve.started_at, resolve.policy_id
    with clock.travelled(started + timedelta(hours=1)):
        shown = recategorised(client, dispatcher, case_id, RUBBISH).json()
    planned = deadline(session, RUBBISH, "resolve", started)
    case = fresh(session, case_id)
    assert (case.state, case.due_at) == ("assigned", planned.due_at)
    assert planned.due_at < (first_due or started)
    session.refresh(resolve)
    assert (resolve.policy_id, resolve.started_at, resolve.breached_at) == (planned.policy_id, started, None)
    (before,) = session.exec(select(SupersededDeadline).where(SupersededDeadline.case_id == case_id)).all()
    assert (before.kind, before.due_at, before.policy_id) == ("resolve", first_due, old_policy)
    assert (before.actor_id, before.reason, before.seq) == (dispatcher.account_id, "recategorise", 3)
    (told_clock,) = [each for each in shown["clocks"] if each["kind"] == "resolve"]
    assert [each["policy_id"] for each in told_clock["superseded"]] == [str(old_policy)]
    assert shown["hops"][0]["due_at"] == shown["due_at"]
    assert told(session, case_id) == ["report_assigned", "report_recategorised"]
    assert_sound(session)


def test_a_breach_outlives_the_category_it_happened_under(client: TestClient, session: Session) -> None:
    with clock.travelled(clock.now() - timedelta(days=30)):
        dispatcher, lead = make.staff(session, "dispatcher"), make.staff(session, "lead", HOME)
        case_id = make.routed(session, client, make.citizen(session), within=HOME, category=RUBBISH)
    breached = fresh(session, case_id).due_at
    assert breached is not None
    with clock.travelled(breached + timedelta(hours=2)):
        shown = recategorised(client, dispatcher, case_id, "lan_chiem_dat_cong").json()
        assert shown["due_at"] > breached.isoformat()
        make.move(client, lead, case_id, "accept")
        make.move(client, lead, case_id, "resolve", {"outcome": "fixed", "note": "Xong."})
    resolve = session.exec(select(SlaClock).where(SlaClock.case_id == case_id, SlaClock.kind == "resolve")).one()
    assert (resolve.met, resolve.breached_at) == (False, breached)
    assert_sound(session)


def test_urgent_counts_on_the_24_7_clock_and_back_again_is_as_before(client: TestClient, session: Session) -> None:
    with clock.travelled(clock.now() - timedelta(days=1)):
        dispatcher, officer = make.staff(session, "dispatcher"), make.staff(session, "officer", HOME)
        case_id = make.routed(session, client, make.citizen(session), within=HOME)
    due_at, act_by = fresh(session, case_id).due_at, fresh(session, case_id).act_by
    started = session.exec(
        select(SlaClock.started_at).where(SlaClock.case_id == case_id, SlaClock.kind == "resolve")
    ).one()
    with clock.travelled(started + timedelta(minutes=30)):
        answer = make.move(client, dispatcher, case_id, "urgency", {"urgency": "urgent", "reason": WHY})
        assert (answer.status_code, answer.json()["urgency"]) == (200, "urgent")
        case = fresh(session, case_id)
        assert (case.due_at, case.act_by) == (started + timedelta(hours=4), started + timedelta(hours=1))
        # A category of its own deadlines leaves an urgency that somebody gave.
        shown = recategorised(client, dispatcher, case_id, RUBBISH).json()
        assert (shown["urgency"], fresh(session, case_id).due_at) == ("urgent", started + timedelta(hours=4))
        recategorised(client, dispatcher, case_id, make.TRUSTED_COMMUNE)
        same = make.move(client, dispatcher, case_id, "urgency", {"urgency": "urgent", "reason": WHY})
        assert (same.status_code, same.json()["version"]) == (200, 5)
        make.move(client, dispatcher, case_id, "urgency", {"urgency": "normal", "reason": WHY})
        make.move(client, officer, case_id, "message", {"text": "Đã nhận."})
    case = fresh(session, case_id)
    assert (case.due_at, case.act_by, case.urgency) == (due_at, act_by, "normal")
    seqs = select(SupersededDeadline.seq).where(SupersededDeadline.case_id == case_id)
    assert set(session.exec(seqs)) == {3, 6}
    assert told(session, case_id).count("report_urgency_set") == 2
    assert_sound(session)


def test_an_urgent_category_makes_urgent_and_one_that_is_not_any_more_has_no_four_hours(
    client: TestClient, session: Session
) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    dispatcher = make.staff(session, "dispatcher")
    shown = recategorised(client, dispatcher, case_id, "ho_ga_mat_nap").json()
    assert (shown["urgency"], shown["state"]) == ("urgent", "assigned")
    started = session.exec(
        select(SlaClock.started_at).where(SlaClock.case_id == case_id, SlaClock.kind == "resolve")
    ).one()
    assert fresh(session, case_id).due_at == started + timedelta(hours=4)
    make.move(client, dispatcher, case_id, "urgency", {"urgency": "normal", "reason": WHY})
    assert fresh(session, case_id).due_at == deadline(session, "khac", "resolve", started).due_at  # five days
    assert_sound(session)


# --- a dispatcher confirms the commune ------------------------------------------------------------------------------


@pytest.fixture
def approximate(session: Session) -> None:
    session.execute(text("UPDATE boundary_version SET accuracy = 'approximate'"))
    bump(session, "boundaries")
    session.commit()


@pytest.mark.usefixtures("approximate")
def test_a_dispatcher_confirms_the_commune_and_what_is_confirmed_stays(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    dispatcher = make.staff(session, "dispatcher")
    shown = client.get(f"/v1/cases/{case_id}", headers=make.bearer(dispatcher)).json()
    assert (shown["state"], shown["route_reason"]) == ("triage", "boundary_approximate")
    assert (shown["suggested"]["code"], shown["commune_confirmed"]) == (HOME, False)
    assert [unit["code"] for unit in shown["candidates"]] == [HOME]
    assert shown["boundary_approximate"] is True
    shown = make.move(client, dispatcher, case_id, "assign", {"unit": NEXT}).json()
    assert (shown["commune"]["code"], shown["commune_confirmed"], shown["suggested"]) == (NEXT, True, None)
    assert shown["events"][-1]["code"] == "confirmed"
    # A nudge on the same side of the estimated line does not unsettle it, nor does another category.
    shown = moved(client, dispatcher, case_id, pin(HOME, north=0.01)).json()
    assert (shown["state"], shown["commune"]["code"]) == ("assigned", NEXT)
    shown = recategorised(client, dispatcher, case_id, LAMP).json()
    assert (shown["state"], shown["unit"]["code"]) == ("assigned", NEXT)
    recategorised(client, dispatcher, case_id, DEPARTMENT)
    assign_owed()
    case = fresh(session, case_id)
    assert (case.state, case.commune_id) == ("assigned", make.unit_id(session, NEXT))
    recategorised(client, dispatcher, case_id, LAMP)
    assign_owed()
    case = fresh(session, case_id)
    assert (case.state, case.unit_id) == ("assigned", make.unit_id(session, NEXT))
    assert_sound(session)


@pytest.mark.usefixtures("approximate")
def test_over_an_estimated_border_a_dispatcher_is_asked_again(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    dispatcher = make.staff(session, "dispatcher")
    make.move(client, dispatcher, case_id, "assign", {"unit": HOME})
    make.move(client, make.staff(session, "officer", HOME), case_id, "accept")
    assert moved(client, dispatcher, case_id, pin(NEXT)).json()["state"] == "routing"
    assign_owed()
    shown = client.get(f"/v1/cases/{case_id}", headers=make.bearer(dispatcher)).json()
    assert (shown["state"], shown["suggested"]["code"], shown["commune_confirmed"]) == ("triage", NEXT, False)
    assert [hop["outcome"] for hop in shown["hops"]] == ["rerouted"]
    # And once more before anybody chose: the guess follows the pin.
    moved(client, dispatcher, case_id, pin(places.codes()[2]))
    assign_owed()
    shown = client.get(f"/v1/cases/{case_id}", headers=make.bearer(dispatcher)).json()
    assert (shown["state"], shown["suggested"]["code"]) == ("triage", places.codes()[2])
    assert_sound(session)


@pytest.mark.usefixtures("approximate")
def test_a_departments_case_is_given_to_the_department_and_its_commune_named(
    client: TestClient, session: Session
) -> None:
    department = "so_nong_nghiep_va_moi_truong"
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    dispatcher = make.staff(session, "dispatcher")
    unknown = make.move(client, dispatcher, case_id, "assign", {"unit": department, "commune": "00000"})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_commune")
    other = make.routed(session, client, make.citizen(session), within=HOME)
    shown = make.move(client, dispatcher, other, "assign", {"unit": department}).json()
    assert (shown["commune"]["code"], shown["commune_confirmed"], shown["events"][-1]["code"]) == (HOME, False, None)
    shown = make.move(client, dispatcher, case_id, "assign", {"unit": department, "commune": NEXT}).json()
    assert (shown["unit"]["code"], shown["commune"]["code"]) == (department, NEXT)
    assert (shown["commune_confirmed"], shown["state"]) == (True, "assigned")
    assert_sound(session)


@pytest.mark.usefixtures("approximate")
def test_a_dispatchers_transfer_confirms_as_well_and_a_refused_move_nothing(
    client: TestClient, session: Session
) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    dispatcher = make.staff(session, "dispatcher")
    make.move(client, dispatcher, case_id, "assign", {"unit": HOME})
    shown = make.move(client, dispatcher, case_id, "transfer", {"unit": NEXT, "reason": "Đúng địa bàn."}).json()
    assert (shown["commune"]["code"], shown["commune_confirmed"]) == (NEXT, True)
    assert shown["events"][-1]["code"] == "confirmed"
    # Who asks for what is not allowed confirms nothing.
    refused = make.move(client, dispatcher, case_id, "assign", {"unit": HOME})
    assert (refused.status_code, fresh(session, case_id).commune_id) == (409, make.unit_id(session, NEXT))
    assert_sound(session)


def test_surveyed_lines_are_not_overruled_by_who_does_the_work(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    make.move(client, make.staff(session, "officer", HOME), case_id, "return", {"reason": "Xã bạn nhận làm."})
    shown = make.move(client, make.staff(session, "dispatcher"), case_id, "assign", {"unit": NEXT}).json()
    assert (shown["unit"]["code"], shown["commune"]["code"], shown["commune_confirmed"]) == (NEXT, HOME, False)
