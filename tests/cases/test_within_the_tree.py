"""Handing a case down within a tree of units, and taking it back: who may, what runs on, and what the stays say."""

from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlmodel import col, select

from app.cases.models import CaseHop
from app.core.db import Session
from app.deadlines.queries import clocks_of
from tests.cases.test_journey import assert_sound
from tests.support import make, places

HOME, ELSEWHERE = places.codes()[0], places.codes()[50]
POLICE, POST = "cong_an_xa_thu", "to_thu"
WHY = "Thuộc việc của phòng."


@pytest.fixture
def case_id(client: TestClient, session: Session) -> UUID:
    """A case at HOME, which has an office, which has a post."""
    make.unit_below(session, HOME, POLICE)
    make.unit_below(session, POLICE, POST)
    return make.routed(session, client, make.citizen(session), within=HOME)


def refused(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_down_and_back_up_each_stay_has_its_outcome_and_the_resolve_clock_runs_on(
    client: TestClient, session: Session, case_id: UUID
) -> None:
    lead, below = make.staff(session, "lead", HOME), make.staff(session, "officer", POLICE)
    make.move(client, lead, case_id, "accept")
    down = make.move(client, lead, case_id, "hand-down", {"unit": POLICE, "reason": WHY}).json()
    assert (down["state"], down["unit"]["code"], down["events"][-1]["text"]) == ("assigned", POLICE, WHY)
    assert make.move(client, below, case_id, "accept").status_code == 200
    up = make.move(client, lead, case_id, "take-back", {"reason": "Phòng quá tải."}).json()
    assert (up["state"], up["unit"]["code"]) == ("assigned", HOME)
    assert [(hop["unit"]["code"], hop["outcome"]) for hop in up["hops"]] == [
        (HOME, "handed_down"),
        (POLICE, "taken_back"),
        (HOME, None),
    ]
    clocks = [(clock.kind, clock.stopped_at is None) for clock in clocks_of(session, case_id)]
    assert sorted(clocks) == [
        ("accept", False),
        ("accept", False),
        ("accept", True),
        ("first_response", True),
        ("resolve", True),
    ]
    assert client.get(f"/v1/cases/{case_id}", headers=make.bearer(below)).status_code == 404
    (left,) = client.get("/v1/cases/departures", headers=make.bearer(below)).json()["items"]
    assert (left["outcome"], left["outcome_text"]) == ("taken_back", "Đơn vị cấp trên đã rút lên")
    assert_sound(session, case_id)


def test_a_case_taken_back_from_far_below_goes_to_the_unit_named(
    client: TestClient, session: Session, case_id: UUID
) -> None:
    lead = make.staff(session, "lead", HOME)
    make.move(client, lead, case_id, "hand-down", {"unit": POST, "reason": WHY})
    next_above = make.staff(session, "lead", POLICE)
    assert make.move(client, next_above, case_id, "take-back", {"reason": WHY}).json()["unit"]["code"] == POLICE
    make.move(client, next_above, case_id, "hand-down", {"unit": POST, "reason": WHY})
    assert make.move(client, lead, case_id, "take-back", {"reason": WHY, "unit": HOME}).json()["unit"]["code"] == HOME
    outcomes = select(CaseHop.outcome).where(CaseHop.case_id == case_id).order_by(col(CaseHop.started_seq))
    assert session.exec(outcomes).all() == ["handed_down", "taken_back", "handed_down", "taken_back", None]


@pytest.mark.parametrize(
    ("role", "unit", "verb", "body", "answer"),
    [
        ("lead", HOME, "hand-down", {"unit": ELSEWHERE}, (409, "not_below")),
        ("lead", HOME, "hand-down", {"unit": HOME}, (409, "not_below")),
        ("dispatcher", None, "hand-down", {"unit": ELSEWHERE}, (409, "not_below")),
        ("lead", HOME, "take-back", {}, (409, "not_above")),
        ("dispatcher", None, "take-back", {"unit": POLICE}, (409, "not_above")),
        ("officer", HOME, "hand-down", {"unit": POLICE}, (409, "move_not_allowed")),
        ("officer", HOME, "take-back", {}, (409, "move_not_allowed")),
        ("lead", ELSEWHERE, "hand-down", {"unit": POLICE}, (404, "not_found")),
        ("lead", HOME, "hand-down", {"unit": "khong_co"}, (422, "unknown_unit")),
    ],
)
def test_what_is_not_within_the_tree_is_refused(
    client: TestClient,
    session: Session,
    case_id: UUID,
    role: str,
    unit: str | None,
    verb: str,
    body: dict[str, str],
    answer: tuple[int, str],
) -> None:
    who = make.staff(session, role, unit)
    assert refused(make.move(client, who, case_id, verb, body | {"reason": WHY})) == answer


def test_nobody_takes_a_case_up_out_of_their_own_reach(client: TestClient, session: Session, case_id: UUID) -> None:
    below = make.staff(session, "lead", POLICE)
    make.move(client, make.staff(session, "dispatcher"), case_id, "hand-down", {"unit": POLICE, "reason": WHY})
    assert refused(make.move(client, below, case_id, "take-back", {"reason": WHY})) == (409, "not_in_your_tree")
    assert refused(make.move(client, below, case_id, "take-back", {"reason": ""})) == (422, "invalid")
