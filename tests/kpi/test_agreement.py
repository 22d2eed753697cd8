"""What events tell and what the clocks' rows say are the same, for cases moved by the product itself."""

import random
from datetime import datetime, timedelta

import pytest
from sqlmodel import col, select

from app.cases.actions import Actor, advance
from app.cases.models import Case, CaseEvent
from app.cases.queries import standing
from app.cases.rules import State, Who, allowed_verbs, explain
from app.core import clock
from app.core.db import Session
from app.core.errors import DomainError
from app.deadlines.queries import clocks_of
from app.kpi.rules import Standing, facts
from app.reports.models import Report
from tests.kpi.histories import at, communes, open_case

EVERYBODY = Actor("staff", None, frozenset(Who))
# Endings are rarer than work, so that walks go on.
RARE = {"reject", "withdraw", "merge", "confirm", "close", "hide", "publish", "rate", "add_information", "move_pin"}
CATEGORIES = ["o_ga", "mat_dien", "lan_chiem_dat_cong", "ho_ga_mat_nap"]  # five days, one, seven, four hours


@pytest.mark.parametrize("seed", range(12))
def test_walks_through_the_workflow(session: Session, seed: int) -> None:
    chance = random.Random(seed)
    units = [unit.id for unit in communes(session)[:3]]
    moment = at("2026-03-02 08:00") + timedelta(minutes=chance.randrange(20_000))
    case = session.get_one(Case, open_case(session, moment))
    report, survivor_id = session.get_one(Report, case.report_id), open_case(session, moment)
    for _ in range(25):
        moment += timedelta(minutes=chance.choice([1, 30, 300, 1500, 4000]))
        with clock.travelled(moment):
            verbs = allowed_verbs(standing(session, case, report), EVERYBODY.capacities, moment)
            wanted = [verb for verb in verbs if verb not in RARE or chance.random() < 0.1]
            if not wanted:
                continue
            unit_id, verb = chance.choice(units), chance.choice(wanted)
            if verb == "recategorise":
                case.category_code = chance.choice(CATEGORIES)
            if verb == "set_urgency":
                case.urgency = "normal" if case.urgency == "urgent" else "urgent"
            code = codes(chance, moment).get(verb, "spam")
            try:
                with session.begin_nested():
                    into_id = survivor_id if verb == "merge" else None
                    advance(session, case, report, verb, EVERYBODY, unit_id=unit_id, code=code, into_id=into_id)
            except DomainError as refused:
                if (verb, refused.problem.code) != ("ask", "pauses_used_up"):
                    raise
                session.refresh(case)
        compare(session, case)


def codes(chance: random.Random, moment: datetime) -> dict[str, str]:
    """What a move says besides its verb."""
    result = chance.choice(["fixed", "explained", f"planned:{moment.date() + timedelta(days=3)}"])
    due_at = (moment + timedelta(days=2)).isoformat()
    return {"resolve": result, "propose": result, "approve": result, "grant": "2", "direct": due_at}


def compare(session: Session, case: Case) -> None:
    events = session.exec(select(CaseEvent).where(CaseEvent.case_id == case.id).order_by(col(CaseEvent.seq))).all()
    told = [event.model_dump() for event in events[1:]]
    assert explain([events[0].model_dump() | {"verb": "submit"}, *told]) is None
    clocks = [each for each in clocks_of(session, case.id) if each.kind == "resolve"]
    for moment in (case.updated_at, case.updated_at + timedelta(days=4)):
        found = facts(events, moment)
        assert found is not None
        assert (found.state, found.unit_id, found.cycles[-1].number) == (case.state, case.unit_id, case.cycle)
        match found.standing:
            case Standing.ON_TIME:
                assert all(each.met and each.breached_at is None for each in clocks)
            case Standing.LATE:
                assert any(each.breached_at is not None for each in clocks)
            case Standing.IN_TIME | Standing.OVERDUE:
                # The time of a result that waits for approval stopped when it was proposed.
                pending = clocks[-1:] if case.state == State.PENDING_APPROVAL else []
                running = [each for each in clocks if each.stopped_at is None]
                assert found.without_deadline == (not [*running, *pending])
                if pending:
                    assert (found.standing == Standing.OVERDUE) == (pending[0].breached_at is not None)
                    continue
                assert (found.standing == Standing.OVERDUE) == any(moment > each.due_at for each in running)
            case other:
                assert other.value == case.state
                assert not any(each.stopped_at is None for each in clocks)
    resolved = [each.stopped_at for each in clocks if case.state in ("resolved", "closed")]
    assert found is not None
    assert found.resolved_at == (resolved[-1] if resolved else None)
