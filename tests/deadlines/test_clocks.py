"""Clocks of cases: started once, stopped with a verdict, breached even when nobody touches them."""

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlmodel import select

from app.core.db import Session
from app.deadlines import actions, queries
from app.deadlines.models import SlaClock
from app.deadlines.rules import ClockKind
from tests.kpi.histories import at, open_case

MORNING = at("2026-03-02 08:00")
Start = Callable[..., SlaClock]


@pytest.fixture
def case_id(session: Session) -> UUID:
    return open_case(session, MORNING)


@pytest.fixture
def start(session: Session, case_id: UUID) -> Start:
    def start(kind: ClockKind, moment: datetime = MORNING, *, seq: int = 1, cycle: int = 1) -> SlaClock:
        return actions.start(
            session, case_id=case_id, kind=kind, seq=seq, cycle=cycle, unit_id=None, category_code="o_ga", at=moment
        )

    return start


def test_a_clock_runs_by_its_policy(session: Session, case_id: UUID, start: Start) -> None:
    started = start("resolve")
    session.flush()
    assert started.due_at == at("2026-03-09 08:00")
    assert (started.stopped_at, started.met, started.breached_at) == (None, None, None)
    assert queries.clocks_of(session, case_id) == [started]


def test_no_touch_resets_a_running_clock(session: Session, start: Start) -> None:
    first = start("resolve")
    session.flush()
    again = start("resolve", MORNING + timedelta(days=3), seq=5)
    assert again is first
    reopened = start("resolve", MORNING + timedelta(days=3), seq=6, cycle=2)
    assert reopened.due_at == at("2026-03-12 08:00")


@pytest.mark.parametrize(
    ("moment", "met", "breached"),
    [("2026-03-03 08:00", True, None), ("2026-03-03 08:00:01", False, "2026-03-03 08:00")],
)
def test_stopping_writes_the_verdict(
    session: Session, case_id: UUID, start: Start, moment: str, met: bool, breached: str | None
) -> None:
    start("verify")
    start("resolve")
    session.flush()
    (stopped,) = actions.stop(session, case_id=case_id, kinds=("verify", "accept"), at=at(moment))
    session.flush()
    assert (stopped.stopped_at, stopped.met) == (at(moment), met)
    assert stopped.breached_at == (at(breached) if breached else None)
    assert actions.stop(session, case_id=case_id, kinds=("verify",), at=at("2026-05-01 08:00")) == []
    assert stopped.stopped_at == at(moment)


def test_the_end_of_a_case_stops_everything(session: Session, case_id: UUID, start: Start) -> None:
    for kind in ("accept", "first_response", "resolve"):
        start(kind)
    session.flush()
    assert {each.kind for each in actions.stop_all(session, case_id, MORNING)} == {
        "accept",
        "first_response",
        "resolve",
    }
    session.flush()
    assert all(each.met for each in queries.clocks_of(session, case_id))


def test_what_nobody_touches_becomes_overdue(session: Session, start: Start) -> None:
    verify, resolve = start("verify"), start("resolve")
    session.flush()
    assert actions.record_breaches(session, verify.due_at) == 0
    late = verify.due_at + timedelta(days=1)
    assert actions.record_breaches(session, late) == 1
    assert actions.record_breaches(session, late) == 0
    session.refresh(verify)
    session.refresh(resolve)
    assert (verify.breached_at, verify.stopped_at, resolve.breached_at) == (verify.due_at, None, None)


def test_a_scheduler_that_dies_before_it_recorded_loses_nothing(session: Session, start: Start) -> None:
    verify = start("verify")
    session.flush()
    dying = session.begin_nested()
    assert actions.record_breaches(session, verify.due_at + timedelta(seconds=1)) == 1
    dying.rollback()
    # Weeks later its successor asks the rows, and knows the moment all the same.
    assert actions.record_breaches(session, verify.due_at + timedelta(days=30)) == 1
    session.refresh(verify)
    assert verify.breached_at == verify.due_at


def test_the_sweep_takes_the_oldest_first_and_gets_through(session: Session) -> None:
    cases = [open_case(session, MORNING) for _ in range(5)]
    for number, case_id in enumerate(cases):
        moment = MORNING + timedelta(minutes=number)
        actions.start(
            session, case_id=case_id, kind="verify", seq=1, cycle=1, unit_id=None, category_code="o_ga", at=moment
        )
    session.flush()
    late = MORNING + timedelta(days=3)
    assert [actions.record_breaches(session, late, limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_a_breach_outlives_a_deadline_that_was_moved(session: Session, case_id: UUID, start: Start) -> None:
    verify = start("verify")
    session.flush()
    actions.record_breaches(session, verify.due_at + timedelta(hours=1))
    session.refresh(verify)
    breached = verify.breached_at
    verify.due_at += timedelta(days=2)
    (stopped,) = actions.stop(session, case_id=case_id, kinds=["verify"], at=verify.due_at)
    session.flush()
    # Boards count it late as well (kpi.rules): a deadline that was missed is not met by being moved.
    assert (stopped.met, stopped.breached_at) == (False, breached)
    assert breached is not None


def test_many_clocks_of_many_cases_in_one_statement(session: Session) -> None:
    cases = [open_case(session, MORNING) for _ in range(3)]
    kinds: tuple[ClockKind, ...] = ("accept", "first_response", "resolve")
    starts = []
    for case_id in cases:
        for kind in kinds:
            planned = queries.deadline(session, "o_ga", kind, MORNING)
            starts.append(actions.Start(case_id, kind, 3, 1, None, planned.policy_id, MORNING, planned.due_at))
    actions.start_many(session, starts)
    assert len(session.exec(select(SlaClock)).all()) == 9
    # The same again, as after a transfer: only what was stopped starts anew.
    actions.stop(session, case_id=cases[0], kinds=["accept"], at=MORNING)
    actions.start_many(session, [_later(each) for each in starts])
    assert [(each.kind, each.started_seq) for each in queries.clocks_of(session, cases[0])] == [
        ("accept", 3),
        ("first_response", 3),
        ("resolve", 3),
        ("accept", 7),
    ]
    actions.start_many(session, [])


def _later(start: actions.Start) -> actions.Start:
    return actions.Start(
        start.case_id, start.kind, 7, start.cycle, None, start.policy_id, start.started_at, start.due_at
    )
