"""Planning changes of units, undoing them, and the day on which they happen.

New units and successions are stored when a change is planned, with the day they take effect, so that boundaries can be
imported for them beforehand and nothing has to run at midnight: every question about a unit names a day. What cannot
follow from a date alone (a new name, roles, open cases) is done by `apply_due` and `follow`, both owed as predicates on
rows: they may run twice, late, or be killed in between.
"""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

import structlog
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, delete, select, update

from app.boundaries.queries import heir
from app.cases.actions import SYSTEM, advance
from app.cases.models import Case
from app.cases.queries import place_of
from app.cases.rules import HELD
from app.core import clock
from app.core.db import Session, transaction
from app.core.http import Lang
from app.identity.actions import audit, follow_units
from app.identity.models import Membership
from app.orgunits import actions as orgunits
from app.orgunits.queries import directory
from app.orgunits.rules import Succession
from app.reforms import queries
from app.reforms.models import UnitChange, UnitChangeStaff, UnitChangeUnit
from app.reforms.rules import ENDING, FINDINGS, Change, Facts, Finding, Plan, Planned
from app.reforms.schemas import IN_USE, PLAN_REFUSED, TOO_LATE
from app.reports.models import Report

TOPIC = "unit_change"
CHUNK = 100
# After so many failures a case is no longer tried by itself: a person sees it.
MAX_ATTEMPTS = 5
log = structlog.get_logger("reforms")


# --- planning ------------------------------------------------------------------------------------------------------


def plan(
    session: Session,
    changes: Sequence[Change],
    *,
    effective: date,
    decision: str,
    note: str = "",
    actor_id: UUID | None,
    lang: Lang = "vi",
) -> list[UnitChange]:
    """Enter changes of one day, all or none; PLAN_REFUSED lists everything that speaks against them."""
    orgunits.alone(session)
    named = {membership for change in changes for membership, _ in change.staff}
    held = session.exec(select(Membership).where(col(Membership.id).in_(named))).all() if named else []
    facts = Facts(
        today=clock.local_day(clock.now()),
        directory=directory(session),
        planned=queries.planned_units(session),
        memberships={each.id: each.unit_id for each in held if each.unit_id},
    )
    drawn = Plan(changes, effective, facts)
    if drawn.findings:
        raise PLAN_REFUSED.error(extra={"errors": [_told(each, lang) for each in drawn.findings]})
    rows = [
        UnitChange(
            kind=each.change.kind,
            effective=effective,
            decision=decision,
            note=note,
            name=each.name,
            name_en=each.name_en,
            new_kind=each.change.new_kind,
            parent_id=each.parent.id if each.parent else None,
            actor_id=actor_id,
        )
        for each in drawn.planned
    ]
    session.add_all(rows)
    session.flush()
    _store_units(session, drawn.planned, effective)
    for row, planned in zip(rows, drawn.planned, strict=True):
        _link(session, row, planned)
        audit(session, actor_id, TOPIC, str(row.id), None, _audited(row, planned))
    session.flush()
    return rows


def _told(finding: Finding, lang: Lang) -> dict[str, object]:
    params = {name: value if isinstance(value, int) else str(value) for name, value in finding.params.items()}
    return {
        "pointer": finding.pointer,
        "code": finding.code,
        "params": params,
        "detail": FINDINGS[finding.code][lang == "en"].format(**params),
    }


def _store_units(session: Session, planned: Sequence[Planned], day: date) -> None:
    """End, begin and follow: first every end, because a code may pass from one to another."""
    ending = [each for each in planned if each.change.kind in ENDING]
    orgunits.end(session, [unit.id for each in ending for unit in each.sources], day)
    for each in ending:
        first = each.sources[0]
        for heir_ in each.heirs:
            if (new := heir_.begins) is not None:
                assert new.name
                assert new.name_en
                assert new.kind
                begins = orgunits.Begin(new.code, new.name, new.name_en, new.kind, first.level, first.parent_id)
                orgunits.begin(session, begins, day)
    for each in ending:
        whole = len(each.heirs) == 1
        for unit in each.sources:
            for heir_ in each.heirs:
                orgunits.follow(session, Succession(unit.id, heir_.id, day, whole))


def _link(session: Session, row: UnitChange, planned: Planned) -> None:
    parts = {unit.id: "source" for unit in planned.sources}
    parts |= {heir_.id: "begins" if heir_.begins else "receives" for heir_ in planned.heirs}
    session.add_all(UnitChangeUnit(change_id=row.id, unit_id=unit, part=part) for unit, part in parts.items())
    session.add_all(
        UnitChangeStaff(change_id=row.id, membership_id=membership, unit_id=unit) for membership, unit in planned.staff
    )


def _audited(row: UnitChange, planned: Planned) -> dict[str, object]:
    told: dict[str, object] = {
        "kind": row.kind,
        "effective": str(row.effective),
        "decision": row.decision,
        "sources": [unit.code for unit in planned.sources],
        "heirs": [
            {"code": each.code, "name": each.begins.name if each.begins else None, "id": str(each.id)}
            for each in planned.heirs
        ],
        "name": planned.name,
        "new_kind": row.new_kind,
        "parent": planned.parent.code if planned.parent else None,
    }
    return {name: value for name, value in told.items() if value}


def cancel(session: Session, change_id: UUID, actor_id: UUID | None) -> UnitChange:
    """Undo a planned change before its day; TOO_LATE afterwards, IN_USE where a unit to begin is named already."""
    orgunits.alone(session)
    row = queries.one(session, change_id, lock=True)
    if row.applied_at or row.cancelled_at or row.effective <= clock.local_day(clock.now()):
        raise TOO_LATE.error(effective=row.effective)
    row.cancelled_at, row.cancelled_by, row.parent_id = clock.now(), actor_id, None
    ended = queries.units_of(session, row.id, "source") if row.kind in ENDING else ()
    begun = queries.units_of(session, row.id, "begins")
    session.exec(delete(UnitChangeStaff).where(col(UnitChangeStaff.change_id) == row.id))
    # Who was to receive is told by the audit row of the plan: a unit that never began leaves nothing behind.
    session.exec(
        delete(UnitChangeUnit).where(col(UnitChangeUnit.change_id) == row.id, col(UnitChangeUnit.part) != "source")
    )
    try:
        if ended:
            orgunits.take_back(session, ended, begun)
    except IntegrityError as error:
        raise IN_USE.error() from error
    audit(session, actor_id, TOPIC, str(row.id), {"status": "planned"}, {"status": "cancelled"})
    return row


# --- the day -------------------------------------------------------------------------------------------------------


def happen() -> None:
    """Everything that is owed because a day has come: changes, then roles, then open cases. Safe at any time, twice."""
    apply_due()
    with transaction() as session:
        _follow_staff(session)
    follow_cases()


def apply_due() -> int:
    """Apply the planned changes whose day has come, each in its own transaction; returns how many."""
    today, applied = clock.local_day(clock.now()), 0
    with transaction() as session:
        owed = queries.due(session, today)
    for change_id in owed:
        try:
            with transaction() as session:
                applied += _apply(session, change_id)
        except Exception:
            log.exception("unit_change_failed", change_id=str(change_id))
    return applied


def _apply(session: Session, change_id: UUID) -> bool:
    """Apply one change once: whoever comes second finds it applied."""
    orgunits.alone(session)
    row = queries.one(session, change_id, lock=True)
    if row.applied_at or row.cancelled_at:
        return False
    row.applied_at = clock.now()
    sources = queries.units_of(session, row.id, "source")
    if row.kind in ENDING:
        _move_children(session, sources, row.effective)
    elif row.kind == "move":
        orgunits.amend(session, sources[0], row.effective, parent_id=row.parent_id)
    else:
        now = {"name": row.name, "name_en": row.name_en} | ({"kind": row.new_kind} if row.new_kind else {})
        orgunits.amend(session, sources[0], row.effective, **now)
    audit(session, row.actor_id, TOPIC, str(row.id), {"status": "planned"}, {"status": "applied"})
    return True


def _move_children(session: Session, ended: Sequence[UUID], day: date) -> None:
    """What stands below a unit that ends stands below its heir from that day on."""
    units = directory(session)
    for unit_id in ended:
        above = units.heirs(unit_id, day).only
        for child in units.children(unit_id):
            if above is not None and child.exists(day):
                orgunits.amend(session, child.id, day, parent_id=above)


def _follow_staff(session: Session) -> None:
    """One at a time: of two at once each would open the same role anew."""
    orgunits.alone(session)
    ended = directory(session).ended(clock.local_day(clock.now()))
    follow_units(session, ended, queries.mapped_staff(session, ended))


def follow_cases(chunk: int = CHUNK) -> int:
    """Hand the open cases of units that have ended to their heirs; returns how many were moved.

    One transaction a chunk. When one fails, its cases are tried alone, so that one poison row holds up nobody. What
    fails five times goes to a dispatcher; should even that fail, it is left alone and named in `stuck` of its change.
    """
    moved, after = 0, UUID(int=0)
    while True:
        try:
            with transaction() as session:
                owed = _owed(session, after, chunk)
                for case, report in owed:
                    _follow(session, case, report)
            moved += len(owed)
        except Exception:
            log.exception("succession_failed")
            with transaction() as session:
                owed = _owed(session, after, chunk)
            moved += sum(_alone(case.id) for case, _ in owed)
        if len(owed) < chunk:
            return moved
        after = owed[-1][0].id


def _alone(case_id: UUID) -> bool:
    try:
        with transaction() as session:
            owed = _owed(session, None, 1, case_id)
            for case, report in owed:
                _follow(session, case, report)
    except Exception:
        log.exception("succession_failed", case_id=str(case_id))
        return _given_up(case_id)
    return bool(owed)


def _given_up(case_id: UUID) -> bool:
    """Count the failure; the last one hands the case to a dispatcher, if that can be done at all."""
    with transaction() as session:
        case = session.get_one(Case, case_id, with_for_update=True)
        case.follow_attempts += 1
        if case.follow_attempts < MAX_ATTEMPTS:
            return False
    try:
        with transaction() as session:
            case = session.get_one(Case, case_id, with_for_update=True)
            _orphan(session, case, session.get_one(Report, case.report_id), "failed")
    except Exception:
        log.exception("succession_given_up", case_id=str(case_id))
        return False
    return True


def try_again() -> None:
    """Let what was given up be tried once more, after its cause was repaired."""
    with transaction() as session:
        session.exec(update(Case).where(col(Case.follow_attempts) > 0).values(follow_attempts=0))


def _owed(
    session: Session, after: UUID | None, limit: int, case_id: UUID | None = None
) -> Sequence[tuple[Case, Report]]:
    """Open cases whose unit has ended, locked; what somebody else holds is left to the next beat."""
    ended = directory(session).ended(clock.local_day(clock.now()))
    statement = (
        select(Case, Report)
        .join(Report, col(Report.id) == Case.report_id)
        .where(col(Case.unit_id).in_(ended), col(Case.state).in_(HELD), col(Case.follow_attempts) < MAX_ATTEMPTS)
        .order_by(col(Case.id))
        .limit(limit)
        .with_for_update(of=Case, skip_locked=True)
    )
    where = col(Case.id) == case_id if case_id else col(Case.id) > after
    return session.exec(statement.where(where)).all()


def _follow(session: Session, case: Case, report: Report) -> None:
    """Hand one case to the heir of its unit, or to a dispatcher with the reason."""
    assert case.unit_id is not None
    today = clock.local_day(clock.now())
    to = heir(session, case.unit_id, place_of(session, case), today)
    if to is not None:
        advance(session, case, report, "succeed", SYSTEM, unit_id=to)
        return
    is_split = directory(session).heirs(case.unit_id, today).units
    _orphan(session, case, report, "unit_split" if is_split else "unit_abolished")


def _orphan(session: Session, case: Case, report: Report, reason: str) -> None:
    advance(session, case, report, "orphan", SYSTEM, code=reason)
    case.route_reason = reason
