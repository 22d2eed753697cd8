"""Deadline rule 4: a running clock is measured anew from its start, and nothing that was missed is forgotten."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select

from app.core.db import Session
from app.deadlines import actions, queries
from app.deadlines.models import SlaClock, SupersededDeadline
from app.deadlines.rules import ClockKind, Duration, WorkingCalendar, breach, due, policies_asked, replanned
from tests.kpi.histories import at, open_case

WEEK = dict.fromkeys(range(5), ((450, 690), (780, 1020)))
CALENDAR = WorkingCalendar.build(date(2025, 12, 1), date(2027, 12, 31), [(date(2025, 12, 1), WEEK)])
MOMENTS = st.timedeltas(timedelta(0), timedelta(days=150)).map(lambda passed: datetime(2026, 1, 1, tzinfo=UTC) + passed)
DURATIONS = st.one_of(
    st.builds(Duration, st.just("working"), st.integers(1, 30 * 480)),
    st.builds(Duration, st.just("continuous"), st.integers(1, 30 * 1440)),
    st.builds(Duration, st.just("calendar"), st.integers(1, 30).map(lambda days: days * 1440)),
)
LATER = st.timedeltas(timedelta(0), timedelta(days=90))
MORNING = at("2026-03-02 08:00")


@given(MOMENTS, DURATIONS, DURATIONS, LATER)
def test_the_new_deadline_counts_from_the_original_start_whenever_it_is_asked(
    start: datetime, old: Duration, new: Duration, passed: timedelta
) -> None:
    had = due(CALENDAR, start, old)
    found = replanned(CALENDAR, start, new, due_at=had, breached_at=None, now=start + passed)
    assert found.due_at == due(CALENDAR, start, new) >= start
    # By the same policy nothing changes.
    same = replanned(CALENDAR, start, old, due_at=had, breached_at=None, now=start)
    assert (same.due_at, same.breached_at) == (had, None)


@given(MOMENTS, DURATIONS, st.lists(st.tuples(LATER, DURATIONS), min_size=1, max_size=5))
def test_the_first_breach_stays_through_any_number_of_changes(
    start: datetime, first: Duration, changes: list[tuple[timedelta, Duration]]
) -> None:
    due_at, breached_at, missed = due(CALENDAR, start, first), None, None
    for passed, duration in sorted(changes, key=lambda change: change[0]):
        now = start + passed
        missed = missed or breach(due_at, now)
        found = replanned(CALENDAR, start, duration, due_at=due_at, breached_at=breached_at, now=now)
        due_at, breached_at = found.due_at, found.breached_at
        assert breached_at == missed
        assert due_at == due(CALENDAR, start, duration)


def test_whose_policy_is_asked() -> None:
    assert policies_asked("o_ga", None) == (("o_ga", None), (None, None))
    assert policies_asked("o_ga", "urgent") == (("o_ga", "urgent"), (None, "urgent"), ("o_ga", None), (None, None))
    assert policies_asked("chay_no", "normal") == (("chay_no", "normal"), (None, "normal"), (None, None))


@pytest.fixture
def case_id(session: Session) -> UUID:
    return open_case(session, MORNING)


Replan = Callable[[str, str], list[SlaClock]]


@pytest.fixture
def replan(session: Session, case_id: UUID) -> Replan:
    kinds: tuple[ClockKind, ...] = ("verify", "resolve")
    for kind in kinds:
        actions.start(
            session, case_id=case_id, kind=kind, seq=1, cycle=1, unit_id=None, category_code="o_ga", at=MORNING
        )
    session.flush()
    actions.stop(session, case_id=case_id, kinds=["verify"], at=MORNING)
    seqs = iter(range(2, 10))

    def replan(category: str, moment: str) -> list[SlaClock]:
        running = actions.replan(
            session,
            case_id=case_id,
            category_code=category,
            urgency=None,
            seq=next(seqs),
            actor_id=None,
            reason="recategorise",
            at=at(moment),
        )
        session.flush()
        return running

    return replan


def test_what_runs_is_measured_anew_and_what_stopped_is_left_alone(
    session: Session, case_id: UUID, replan: Replan
) -> None:
    (running,) = replan("rac_ton_dong", "2026-03-02 09:00")
    assert (running.kind, running.started_at, running.due_at) == ("resolve", MORNING, at("2026-03-04 08:00"))
    (before,) = queries.superseded(session, case_id)
    assert (before.due_at, before.at, before.seq) == (at("2026-03-09 08:00"), at("2026-03-02 09:00"), 2)
    verify = session.exec(select(SlaClock).where(SlaClock.kind == "verify")).one()
    assert (verify.met, verify.due_at) == (True, at("2026-03-03 08:00"))


def test_the_same_policy_supersedes_nothing(session: Session, case_id: UUID, replan: Replan) -> None:
    (running,) = replan("o_ga", "2026-03-20 09:00")
    assert running.due_at == at("2026-03-09 08:00")
    assert queries.superseded(session, case_id) == []


def test_a_breach_nobody_had_recorded_is_recorded_before_its_deadline_goes(session: Session, replan: Replan) -> None:
    replan("rac_ton_dong", "2026-03-02 09:00")
    (running,) = replan("lan_chiem_dat_cong", "2026-03-05 08:00")
    assert (running.due_at, running.breached_at) == (at("2026-03-11 08:00"), at("2026-03-04 08:00"))
    assert actions.record_breaches(session, at("2026-03-20 08:00")) == 0
    (running,) = replan("mat_dien", "2026-03-05 09:00")
    assert (running.due_at, running.breached_at) == (at("2026-03-03 08:00"), at("2026-03-04 08:00"))
    assert len(session.exec(select(SupersededDeadline)).all()) == 3
