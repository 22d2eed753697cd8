"""Giving a case to a person, asking units for help, notes among staff, and one verb on many cases."""

from collections.abc import Sequence
from uuid import UUID

import structlog

from app.cases import actions as cases
from app.cases.actions import SYSTEM, act, advance
from app.cases.models import Case, CaseCooperation
from app.cases.queries import Seen, case_to_move, refuse_stale, unit_in_force
from app.cases.rules import Who
from app.core.db import Session
from app.core.errors import INTERNAL, DomainError
from app.core.http import Lang, problem_body
from app.identity.policy import Viewer
from app.orgunits.queries import directory
from app.reports.models import Report
from app.teams import queries
from app.teams.schemas import (
    DOES_NOT_HELP,
    HELPS_ALREADY,
    HOLDS_IT_ALREADY,
    NOT_OF_THE_UNIT,
    ONLY_A_LEAD_ASSIGNS,
    PUBLISHED_AS_WRITTEN,
    BulkAssignPerson,
    BulkCase,
    BulkIn,
    BulkMove,
    BulkNote,
    BulkPublish,
    BulkReasoned,
    BulkResultOut,
    BulkTakeBack,
    CooperationIn,
    NoteIn,
)

log = structlog.get_logger("teams")


def assign_person(session: Session, viewer: Viewer, seen: Seen, account_id: UUID | None) -> None:
    """Give a case to somebody of its unit, or to nobody; the event names the account. The same again is no event.

    A lead gives it to anybody who works there now; an officer takes what nobody has, or gives back what is the own.
    """
    case = seen.case
    if account_id == case.assignee_id:
        return
    act(session, viewer, seen, "assign_person", code=str(account_id) if account_id else None)
    if Who.LEAD not in seen.capacities and {account_id, case.assignee_id} != {viewer.id, None}:
        raise ONLY_A_LEAD_ASSIGNS.error()
    assert case.unit_id is not None
    if account_id is not None and not queries.works_for(session, account_id, case.unit_id):
        raise NOT_OF_THE_UNIT.error(pointer="/assignee")
    case.assignee_id = account_id


def involve(session: Session, viewer: Viewer, seen: Seen, body: CooperationIn) -> None:
    """Ask a unit to help: it reads the case and adds notes, the clocks and the case stay where they are."""
    unit_id = unit_in_force(session, body.unit)
    if unit_id == seen.case.unit_id:
        raise HOLDS_IT_ALREADY.error(pointer="/unit")
    if unit_id in seen.case.helper_ids:
        raise HELPS_ALREADY.error(pointer="/unit")
    act(session, viewer, seen, "involve", code=body.unit, note=body.reason)
    _begin(session, seen.case, unit_id, viewer.id)


def involve_by_rule(session: Session, case_id: UUID, unit_ids: Sequence[UUID]) -> None:
    """Put the units that a routing rule names on a case that was just assigned by it; no row where none is new."""
    case = session.get_one(Case, case_id)
    report, units = session.get_one(Report, case.report_id), directory(session)
    for unit_id in unit_ids:
        unit = units.by_id(unit_id)
        if unit is not None and unit_id != case.unit_id and unit_id not in case.helper_ids:
            advance(session, case, report, "involve", SYSTEM, code=unit.code)
            _begin(session, case, unit_id, None)


def _begin(session: Session, case: Case, unit_id: UUID, by_id: UUID | None) -> None:
    session.add(
        CaseCooperation(case_id=case.id, since_seq=case.version, unit_id=unit_id, since=case.updated_at, by_id=by_id)
    )
    case.helper_ids = [*case.helper_ids, unit_id]
    session.flush()


def release(session: Session, viewer: Viewer, seen: Seen, body: CooperationIn) -> None:
    """Let a unit help no longer; it loses sight of the case at once."""
    unit = next((each for each in directory(session).bearers(body.unit) if each.id in seen.case.helper_ids), None)
    if unit is None:
        raise DOES_NOT_HELP.error(pointer="/unit")
    act(session, viewer, seen, "release", code=unit.code, note=body.reason)
    cases.end_cooperation(session, seen.case, [unit.id], seen.case.updated_at)


def note(session: Session, viewer: Viewer, seen: Seen, body: NoteIn) -> None:
    """Write something for colleagues; no clock moves, and nobody outside the staff ever reads it."""
    seq = act(session, viewer, seen, "note", note=body.text)
    if body.media_ids:
        cases.attach_to_note(session, seen.case.id, seq, viewer.id, body.media_ids)


# --- many cases at once ---------------------------------------------------------------------------------------------


def bulk(session: Session, viewer: Viewer, body: BulkIn, lang: Lang) -> list[BulkResultOut]:
    """Do one verb on each case, every one in a savepoint of its own; a result for each, in the order asked.

    Taken in the order of their ids, so that two who overlap never wait for each other in a circle.
    """
    done: dict[UUID, BulkResultOut] = {}
    for row in sorted(body.cases, key=lambda each: each.case_id):
        if row.case_id not in done:
            done[row.case_id] = _one(session, viewer, body, row, lang)
    return [done[row.case_id] for row in body.cases]


def _one(session: Session, viewer: Viewer, body: BulkIn, row: BulkCase, lang: Lang) -> BulkResultOut:
    """One case moved, or left as it was with the problem; a fault of ours is recorded and hurts this case alone."""
    try:
        with session.begin_nested():
            seen = case_to_move(session, viewer, row.case_id)
            refuse_stale(session, seen, row.version)
            _do(session, viewer, seen, body)
            session.flush()
            return BulkResultOut(case_id=row.case_id, version=seen.case.version, problem=None)
    except DomainError as error:
        refused = error
    except Exception:
        log.exception("bulk_row_failed", case_id=str(row.case_id), verb=body.verb)
        refused = INTERNAL.error()
    return BulkResultOut(case_id=row.case_id, version=None, problem=problem_body(refused, lang))


def _do(session: Session, viewer: Viewer, seen: Seen, body: BulkIn) -> None:
    match body:
        case BulkMove():
            act(session, viewer, seen, body.verb)
        case BulkReasoned(verb="hide"):
            cases.hide(session, viewer, seen, body.reason)
        case BulkReasoned(verb="unhide"):
            cases.unhide(session, viewer, seen, body.reason)
        case BulkReasoned():
            act(session, viewer, seen, body.verb, note=body.reason)
        case BulkTakeBack():
            cases.take_back(session, viewer, seen, body)
        case BulkAssignPerson():
            assign_person(session, viewer, seen, body.assignee)
        case BulkNote():
            act(session, viewer, seen, "note", note=body.text)
        case BulkPublish():
            cases.publish(session, viewer, seen, PUBLISHED_AS_WRITTEN)
        case _:
            (cases.hand_down if body.verb == "hand_down" else cases.transfer)(session, viewer, seen, body)
