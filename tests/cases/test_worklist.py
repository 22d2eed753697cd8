"""The lists of staff: what stands in them, in which order, page by page, and what never moves a case down."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from app.cases.models import Case
from app.cases.queries import QUEUES, Queue
from app.cases.rules import STATES, State
from app.core import clock, db
from app.core.db import Session
from app.embedded import Database
from app.identity.policy import Viewer
from tests.support import make, places

HOME, ELSEWHERE = places.codes()[0], places.codes()[50]
URGENT = "ho_ga_mat_nap"
FRIDAY_EVENING = datetime(2026, 3, 6, 11, 0, tzinfo=UTC)  # 18:00 in Vietnam: the unit is back on Monday


def listed(client: TestClient, viewer: Viewer, query: str = "", limit: int = 100) -> list[str]:
    """The ids of a list, page by page to its end."""
    found: list[str] = []
    cursor = ""
    while True:
        answer = client.get(f"/v1/cases?limit={limit}{query}{cursor}", headers=make.bearer(viewer)).json()
        assert len(answer["items"]) <= limit
        found += [row["id"] for row in answer["items"]]
        assert len(found) == len(set(found)), "a page repeats the one before"
        if answer["next_cursor"] is None:
            return found
        cursor = f"&cursor={answer['next_cursor']}"


def several(session: Session, client: TestClient, count: int, **body: Any) -> list[UUID]:
    """Routed cases, in the order they were sent."""
    citizens = [make.citizen(session) for _ in range(count)]
    return [make.routed(session, client, citizen, **body) for citizen in citizens]


def stand(session: Session, case_id: UUID, **values: Any) -> None:
    case = session.get_one(Case, case_id, populate_existing=True)
    for name, value in values.items():
        setattr(case, name, value)
    session.add(case)
    session.flush()


def test_urgent_cases_stand_first_then_who_must_act_soonest(client: TestClient, session: Session) -> None:
    cases = several(session, client, 6, within=HOME)
    now = clock.now()
    for hours, urgency, case_id in zip((5, 1, 3, 9, 7, 8), ["normal"] * 3 + ["urgent"] * 3, cases, strict=True):
        stand(session, case_id, act_by=now + timedelta(hours=hours), urgency=urgency)
    wanted = [str(cases[place]) for place in (4, 5, 3, 1, 2, 0)]
    officer = make.staff(session, "officer", HOME)
    assert listed(client, officer) == wanted
    # A page may end anywhere, also between urgent and normal ones.
    for limit in range(1, 7):
        assert listed(client, officer, limit=limit) == wanted


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_have_no_holes_and_no_repeats_where_all_keys_are_equal(
    client: TestClient, session: Session, limit: int
) -> None:
    cases = several(session, client, 7, within=HOME)
    act_by = clock.now()
    for case_id in cases:
        stand(session, case_id, act_by=act_by, urgency="normal")
    found = listed(client, make.staff(session, "officer", HOME), limit=limit)
    assert found == sorted(str(case_id) for case_id in cases)


def test_what_is_finished_between_two_pages_neither_hides_nor_repeats_another(
    client: TestClient, session: Session
) -> None:
    several(session, client, 4, within=HOME)
    officer = make.staff(session, "officer", HOME)
    whole = listed(client, officer)
    first = client.get("/v1/cases?limit=2", headers=make.bearer(officer)).json()
    stand(session, UUID(whole[0]), state="resolved")
    rest = client.get(f"/v1/cases?limit=2&cursor={first['next_cursor']}", headers=make.bearer(officer)).json()
    assert [row["id"] for row in rest["items"]] == whole[2:]


def test_every_state_stands_in_exactly_one_list(client: TestClient, session: Session) -> None:
    assert set(QUEUES) == set(get_args(Queue))
    assert sorted(state for states in QUEUES.values() for state in states) == sorted(STATES)
    dispatcher = make.staff(session, "dispatcher")
    case_id, survivor = several(session, client, 2, within=HOME)
    for queue, states in QUEUES.items():
        for state in states:
            stand(session, case_id, state=state.value, merged_into=survivor if state == State.MERGED else None)
            found = [other for other in QUEUES if str(case_id) in listed(client, dispatcher, f"&queue={other}")]
            assert found == [queue], state


def test_a_unit_sees_what_it_or_a_unit_below_holds_and_nothing_else(client: TestClient, session: Session) -> None:
    (here,), (there,) = several(session, client, 1, within=HOME), several(session, client, 1, within=ELSEWHERE)
    (at_department,) = several(session, client, 1, within=HOME, category=make.TRUSTED_DEPARTMENT)
    department = session.get_one(Case, at_department).unit_id
    assert department not in (make.unit_id(session, HOME), None)
    assert listed(client, make.staff(session, "officer", HOME)) == [str(here)]
    assert listed(client, make.staff(session, "lead", ELSEWHERE)) == [str(there)]
    everything = {str(case_id) for case_id in (here, there, at_department)}
    for role in ("dispatcher", "leader", "auditor"):
        assert set(listed(client, make.staff(session, role))) == everything, role
    assert listed(client, make.staff(session, "administrator")) == []


def test_filters_only_ever_narrow(client: TestClient, session: Session) -> None:
    (here,), (there,) = several(session, client, 1, within=HOME), several(session, client, 1, within=ELSEWHERE)
    dispatcher, officer = make.staff(session, "dispatcher"), make.staff(session, "officer", HOME)
    assert listed(client, dispatcher, f"&unit={ELSEWHERE}") == [str(there)]
    assert listed(client, dispatcher, f"&unit={HOME}&category=o_ga") == [str(here)]
    assert listed(client, dispatcher, "&category=den_duong") == []
    # Asking for another unit shows nothing of it to who is not in charge there.
    assert listed(client, officer, f"&unit={ELSEWHERE}") == []
    unknown = client.get("/v1/cases?unit=khong_co", headers=make.bearer(dispatcher))
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_unit")
    wrong = client.get("/v1/cases?queue=tat_ca", headers=make.bearer(dispatcher))
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/query/queue")


@pytest.mark.parametrize("cursor", ["W10", "WzEsMiwzXQ", "WyJmYWxzZSIsICJ4IiwgInkiXQ", "%00", "null"])
def test_a_cursor_of_another_list_is_a_clear_400(client: TestClient, session: Session, cursor: str) -> None:
    dispatcher = make.staff(session, "dispatcher")
    answer = client.get(f"/v1/cases?cursor={cursor}", headers=make.bearer(dispatcher))
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor")


def test_a_row_tells_what_a_list_needs_and_no_more(client: TestClient, session: Session) -> None:
    citizen = make.citizen(session)
    make.routed(session, client, citizen, within=HOME, description="Ổ gà " * 100, address="nhà ông Bảy")
    answer = client.get("/v1/cases", headers=make.bearer(make.staff(session, "officer", HOME)))
    (row,) = answer.json()["items"]
    assert (row["state"], row["unit"]["code"], len(row["summary"])) == ("assigned", HOME, 160)
    assert str(citizen.account_id) not in answer.text
    assert "ông Bảy" not in answer.text


def test_an_urgent_report_in_the_evening_waits_for_no_working_hours(client: TestClient, session: Session) -> None:
    with clock.travelled(FRIDAY_EVENING):
        several(session, client, 1, within=HOME, category=URGENT)
        officer = make.staff(session, "officer", HOME)
        (row,) = client.get("/v1/cases", headers=make.bearer(officer)).json()["items"]
    assert (row["urgency"], row["state"]) == ("urgent", "assigned")
    assert datetime.fromisoformat(row["due_at"]) == FRIDAY_EVENING + timedelta(hours=4)
    assert FRIDAY_EVENING < datetime.fromisoformat(row["act_by"]) <= datetime.fromisoformat(row["due_at"])


def test_passing_a_case_on_gives_nobody_more_time_than_its_deadline(client: TestClient, session: Session) -> None:
    (case_id,) = several(session, client, 1, within=HOME)
    due_at = session.get_one(Case, case_id, populate_existing=True).due_at
    assert due_at is not None
    dispatcher = make.staff(session, "dispatcher")
    with clock.travelled(due_at - timedelta(minutes=1)):
        make.move(client, dispatcher, case_id, "transfer", {"unit": ELSEWHERE, "reason": "Đúng địa bàn."})
    case = session.get_one(Case, case_id, populate_existing=True)
    assert (case.due_at, case.act_by) == (due_at, due_at)


def test_words_move_nothing_down_the_list(client: TestClient, session: Session) -> None:
    """Neither a citizen who adds nor an officer who writes restarts a clock or the place in the list."""
    citizen = make.citizen(session)
    case_id = make.routed(session, client, citizen, within=HOME)
    before = session.get_one(Case, case_id, populate_existing=True).model_dump()
    officer = make.staff(session, "officer", HOME)
    with clock.travelled(clock.now() + timedelta(hours=3)):
        assert make.move(client, officer, case_id, "message", {"text": "Chào bạn."}).status_code == 200
        url = f"/v1/reports/{before['report_id']}/information"
        added = client.post(url, json={"text": "Gần cột điện."}, headers=make.bearer(citizen) | make.key())
        assert added.status_code == 200
    after = session.get_one(Case, case_id, populate_existing=True).model_dump()
    assert {name for name in before if before[name] != after[name]} == {"version", "updated_at", "head"}


def test_two_who_act_on_the_same_version_make_one_move(committed: Database) -> None:
    """Eight officers decide on what they saw; the first wins and the others are told to look again."""
    from app.main import app  # noqa: PLC0415 - reads the settings made by the fixture

    with TestClient(app, raise_server_exceptions=False) as client:
        with db.transaction() as session:
            citizen = make.citizen(session)
            officers = [make.staff(session, "officer", HOME) for _ in range(8)]
        with db.transaction() as session:
            case_id = make.routed(session, client, citizen, within=HOME)
        answers: list[int] = []
        gate = threading.Barrier(len(officers))

        def accept(officer: Viewer) -> None:
            gate.wait()
            headers = make.bearer(officer) | {"If-Match": '"2"'}
            answers.append(client.post(f"/v1/cases/{case_id}/accept", headers=headers).status_code)

        threads = [threading.Thread(target=accept, args=(officer,)) for officer in officers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(answers) == [200] + [412] * 7
    with db.transaction() as session:
        states: Sequence[tuple[str, int]] = session.exec(select(Case.state, Case.version)).all()
    assert list(states) == [("accepted", 3)]


def test_a_case_is_found_by_the_reference_somebody_dictates(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    officer, stranger = make.staff(session, "officer", HOME), make.staff(session, "officer", ELSEWHERE)
    reference = client.get(f"/v1/cases/{case_id}", headers=make.bearer(officer)).json()["reference"]
    for typed in (reference, reference.lower(), reference.replace("-", " ")):
        found = client.get(f"/v1/cases/by-reference/{typed}", headers=make.bearer(officer))
        assert found.json()["id"] == str(case_id), typed
        assert found.headers["ETag"] == client.get(f"/v1/cases/{case_id}", headers=make.bearer(officer)).headers["ETag"]
    assert client.get(f"/v1/cases/by-reference/{reference}", headers=make.bearer(stranger)).status_code == 404
    assert client.get("/v1/cases/by-reference/nothing", headers=make.bearer(officer)).status_code == 404
