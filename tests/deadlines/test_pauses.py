"""Pauses, extensions, directives and stops that are taken back (DOMAIN.md, deadline rule 3)."""

from collections.abc import Callable
from datetime import date, timedelta
from uuid import UUID

import pytest
from sqlmodel import select

from app.core.db import Session
from app.core.errors import DomainError
from app.core.versioned import bump
from app.deadlines import actions, queries
from app.deadlines.models import ClockPause, DeadlinePolicy, PausePolicy, SlaClock, SupersededDeadline
from app.deadlines.rules import ClockKind
from tests.kpi.histories import at, open_case

MONDAY = at("2026-03-02 08:00")
Start = Callable[..., SlaClock]


@pytest.fixture
def case_id(session: Session) -> UUID:
    return open_case(session, MONDAY)


@pytest.fixture
def start(session: Session, case_id: UUID) -> Start:
    def start(kind: ClockKind = "resolve", *, category: str = "o_ga") -> SlaClock:
        started = actions.start(
            session, case_id=case_id, kind=kind, seq=1, cycle=1, unit_id=None, category_code=category, at=MONDAY
        )
        session.flush()
        return started

    return start


def pause(session: Session, case_id: UUID, moment: str, *, seq: int = 2, reason: str = "citizen") -> SlaClock | None:
    paused = actions.pause(session, case_id=case_id, kind="resolve", seq=seq, reason=reason, at=at(moment))
    session.flush()
    return paused


def resume(session: Session, case_id: UUID, moment: str, *, seq: int = 3) -> SlaClock | None:
    resumed = actions.resume(session, case_id=case_id, kind="resolve", seq=seq, at=at(moment))
    session.flush()
    return resumed


@pytest.mark.parametrize(("kind", "due"), [("approve", "2026-03-03 08:00"), ("answer", "2026-03-10 00:00")])
def test_approving_takes_eight_working_hours_and_answering_five_days(start: Start, kind: ClockKind, due: str) -> None:
    # The fifth day is a Saturday: the term ends with the Monday after (Bộ luật Dân sự 2015, Điều 148 khoản 5).
    assert start(kind).due_at == at(due)


def test_while_paused_the_deadline_is_the_latest_it_can_become(session: Session, case_id: UUID, start: Start) -> None:
    assert start().due_at == at("2026-03-09 08:00")
    paused = pause(session, case_id, "2026-03-02 10:00")
    assert paused is not None
    # Five calendar days end with Monday 9 March, 24:00: until then 5.5 and five times 8 working hours.
    assert (paused.paused_at, paused.due_at) == (at("2026-03-02 10:00"), at("2026-03-16 15:00"))
    (row,) = queries.pauses_of(session, paused)
    assert (row.seq, row.reason, row.capped_at, row.ended_at) == (2, "citizen", at("2026-03-10 00:00"), None)


def test_a_pause_moves_the_deadline_by_what_it_lasted(session: Session, case_id: UUID, start: Start) -> None:
    start()
    pause(session, case_id, "2026-03-02 10:00")
    resumed = resume(session, case_id, "2026-03-03 14:00")
    assert resumed is not None
    # Monday 10:00 to Tuesday 14:00: 5.5 and 5 working hours.
    assert (resumed.paused_at, resumed.due_at) == (None, at("2026-03-10 10:30"))
    (row,) = queries.pauses_of(session, resumed)
    assert (row.ended_at, row.ended_seq) == (at("2026-03-03 14:00"), 3)
    again = resume(session, case_id, "2026-03-05 14:00", seq=4)
    assert again is not None
    assert again.due_at == at("2026-03-10 10:30")


def test_a_pause_counts_no_further_than_its_cap(session: Session, case_id: UUID, start: Start) -> None:
    start()
    pause(session, case_id, "2026-03-02 10:00")
    resumed = resume(session, case_id, "2026-03-12 10:00")
    assert resumed is not None
    assert resumed.due_at == at("2026-03-16 15:00")
    assert queries.pauses_of(session, resumed)[0].ended_at == at("2026-03-12 10:00")


def test_no_pause_hides_what_was_missed(session: Session, case_id: UUID, start: Start) -> None:
    start("resolve", category="mat_dien")
    paused = pause(session, case_id, "2026-03-03 08:01")
    assert paused is not None
    assert (paused.due_at, paused.breached_at) == (at("2026-03-03 08:00"), at("2026-03-03 08:00"))


def test_a_clock_that_is_paused_or_does_not_run(session: Session, case_id: UUID, start: Start) -> None:
    assert pause(session, case_id, "2026-03-02 09:00") is None
    assert resume(session, case_id, "2026-03-02 09:00") is None
    start()
    pause(session, case_id, "2026-03-02 10:00")
    pause(session, case_id, "2026-03-02 16:00", seq=4, reason="storm")
    assert [each.reason for each in session.exec(select(ClockPause))] == ["citizen"]


def test_as_many_pauses_as_the_policy_says(session: Session, case_id: UUID, start: Start) -> None:
    start()
    for day in (2, 3, 4):
        pause(session, case_id, f"2026-03-0{day} 10:00", seq=2 * day)
        resume(session, case_id, f"2026-03-0{day} 11:00", seq=2 * day + 1)
    with pytest.raises(DomainError) as refused:
        pause(session, case_id, "2026-03-05 10:00", seq=20)
    assert (refused.value.problem.code, refused.value.params) == ("pauses_used_up", {"times": 3})
    assert pause(session, case_id, "2026-03-05 10:00", seq=20, reason="storm") is not None


def test_a_reason_may_have_its_own_cap(session: Session, case_id: UUID, start: Start) -> None:
    row = PausePolicy(reason="storm", kind="continuous", minutes=60, times=1, valid_from=MONDAY.date())
    session.add(row)
    session.flush()
    bump(session, queries.TOPIC)
    start()
    paused = pause(session, case_id, "2026-03-02 10:00", reason="storm")
    assert paused is not None
    assert paused.due_at == at("2026-03-09 09:00")


def test_stopping_ends_the_pause_and_the_verdict_knows_of_it(session: Session, case_id: UUID, start: Start) -> None:
    start("resolve", category="mat_dien")
    pause(session, case_id, "2026-03-02 16:00")
    (stopped,) = actions.stop_all(session, case_id, at("2026-03-05 09:00"))
    session.flush()
    # Until Tuesday 08:00 it had 1.5 hours left, and has them from Thursday 09:00.
    assert (stopped.met, stopped.paused_at, stopped.due_at) == (True, None, at("2026-03-05 10:30"))
    assert queries.pauses_of(session, stopped)[0].ended_at == stopped.stopped_at


def test_an_extension_adds_working_minutes_and_keeps_the_old_deadline(
    session: Session, case_id: UUID, start: Start
) -> None:
    start()
    actor = UUID(int=1)
    extended = actions.extend(
        session,
        case_id=case_id,
        kind="resolve",
        minutes=2 * 480,
        seq=5,
        actor_id=actor,
        reason="grant",
        at=at("2026-03-10 08:00"),
    )
    session.flush()
    assert extended is not None
    assert (extended.due_at, extended.extended_minutes) == (at("2026-03-11 08:00"), 960)
    # It was asked for too late: the deadline before was missed, and stays so.
    assert extended.breached_at == at("2026-03-09 08:00")
    (before,) = session.exec(select(SupersededDeadline)).all()
    assert (before.due_at, before.actor_id, before.reason) == (at("2026-03-09 08:00"), actor, "grant")
    (stopped,) = actions.stop(session, case_id=case_id, kinds=["resolve"], at=at("2026-03-10 09:00"))
    assert stopped.met is False


def test_an_extension_is_longer_than_nothing_and_of_a_clock_that_runs(session: Session, case_id: UUID) -> None:
    def extend(kind: ClockKind, minutes: int) -> SlaClock | None:
        return actions.extend(
            session, case_id=case_id, kind=kind, minutes=minutes, seq=5, actor_id=None, reason="grant", at=MONDAY
        )

    assert extend("resolve", 480) is None
    with pytest.raises(ValueError, match="longer than nothing"):
        extend("resolve", 0)


def test_a_new_category_keeps_pauses_and_extensions(session: Session, case_id: UUID, start: Start) -> None:
    start()
    pause(session, case_id, "2026-03-02 10:00")
    resume(session, case_id, "2026-03-03 10:00")
    actions.extend(
        session, case_id=case_id, kind="resolve", minutes=60, seq=4, actor_id=None, reason="grant", at=MONDAY
    )
    (running,) = actions.replan(
        session,
        case_id=case_id,
        category_code="rac_ton_dong",
        urgency=None,
        seq=5,
        actor_id=None,
        reason="recategorise",
        at=at("2026-03-03 11:00"),
    )
    session.flush()
    # Two working days from Monday 08:00, eight paused hours, one more granted.
    assert running.due_at == at("2026-03-05 09:00")
    assert [each.due_at for each in queries.superseded(session, case_id)] == [
        at("2026-03-10 08:00"),
        at("2026-03-10 09:00"),
    ]


def test_a_policy_that_changes_during_a_pause_keeps_the_pause(session: Session, case_id: UUID, start: Start) -> None:
    resolve = start()
    pause(session, case_id, "2026-03-02 10:00")
    for minutes, valid_from in ((8 * 60, "2026-03-03"), (2 * 480, "2026-03-01")):
        row = DeadlinePolicy(
            category_code="o_ga",
            clock="resolve",
            kind="working",
            minutes=minutes,
            valid_from=date.fromisoformat(valid_from),
        )
        session.add(row)
    session.flush()
    bump(session, queries.TOPIC)
    # The one for what starts from Tuesday on is not its own; the correction of Sunday's is.
    subject = actions.Subject(case_id, "o_ga", None, 3)
    (moved,) = actions.recompute_open(session, [subject], at=at("2026-03-03 09:00"), actor_id=None, reason="reschedule")
    assert moved.old_due_at == at("2026-03-16 15:00")
    session.refresh(resolve)
    resumed = resume(session, case_id, "2026-03-03 14:00")
    assert resumed is resolve
    # Two working days from Monday 08:00, and the 10.5 hours that were paused.
    assert resumed.due_at == at("2026-03-05 10:30")


def test_a_stop_that_is_taken_back_costs_nobody_the_time_between(session: Session, case_id: UUID, start: Start) -> None:
    resolve = start("resolve", category="mat_dien")
    actions.stop(session, case_id=case_id, kinds=["resolve"], at=at("2026-03-02 16:00"))
    session.flush()
    back = actions.reinstate(session, case_id=case_id, kind="resolve", seq=6, at=at("2026-03-06 10:00"))
    session.flush()
    assert back is resolve
    assert (back.stopped_at, back.met, back.breached_at) == (None, None, None)
    # An hour of Monday and half an hour of Tuesday were left, and are from Friday 10:00.
    assert back.due_at == at("2026-03-06 11:30")
    again = actions.reinstate(session, case_id=case_id, kind="resolve", seq=7, at=at("2026-03-06 11:00"))
    assert again is back
    assert len(queries.pauses_of(session, back)) == 1


def test_a_stop_that_came_too_late_stays_too_late(session: Session, case_id: UUID, start: Start) -> None:
    start("resolve", category="mat_dien")
    actions.stop(session, case_id=case_id, kinds=["resolve"], at=at("2026-03-04 16:00"))
    session.flush()
    back = actions.reinstate(session, case_id=case_id, kind="resolve", seq=6, at=at("2026-03-06 10:00"))
    assert back is not None
    assert back.due_at == back.breached_at == at("2026-03-03 08:00")
    assert actions.reinstate(session, case_id=case_id, kind="verify", seq=6, at=MONDAY) is None


def test_a_directive_falls_due_when_its_leader_said(session: Session, case_id: UUID, start: Start) -> None:
    with pytest.raises(DomainError) as refused:
        actions.direct(session, case_id=case_id, seq=2, cycle=1, unit_id=None, due_at=MONDAY, at=MONDAY)
    assert refused.value.problem.code == "directive_due_past"
    wanted = at("2026-03-07 22:00")
    directive = actions.direct(session, case_id=case_id, seq=2, cycle=1, unit_id=None, due_at=wanted, at=MONDAY)
    session.flush()
    kept: dict[str, object] = {"case_id": case_id, "kind": "directive", "seq": 3, "at": MONDAY}
    assert actions.pause(session, reason="citizen", **kept) is None  # type: ignore[arg-type]
    assert actions.extend(session, minutes=60, actor_id=None, reason="grant", **kept) is None  # type: ignore[arg-type]
    running = actions.replan(
        session,
        case_id=case_id,
        category_code="mat_dien",
        urgency=None,
        seq=3,
        actor_id=None,
        reason="recategorise",
        at=MONDAY,
    )
    assert [each.due_at for each in running] == [wanted]
    assert actions.record_breaches(session, wanted + timedelta(seconds=1)) == 1
    session.refresh(directive)
    assert directive.breached_at == wanted
    actions.stop(session, case_id=case_id, kinds=["directive"], at=wanted + timedelta(hours=1))
    session.flush()
    back = actions.reinstate(session, case_id=case_id, kind="directive", seq=4, at=wanted + timedelta(hours=2))
    session.flush()
    assert back is directive
    assert (back.due_at, back.breached_at, back.met) == (wanted, wanted, None)
