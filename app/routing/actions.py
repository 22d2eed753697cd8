"""Routing what is owed: claim, decide and move in one transaction, so that a crash leaves the case owed."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import NAMESPACE_OID, UUID, uuid5

import structlog
from sqlalchemy import text, update
from sqlmodel import col, select

from app.cases import actions as cases
from app.cases.actions import SYSTEM, Owed, Routed, advance, advance_owed, claim_owed, make_public
from app.cases.models import Case
from app.cases.queries import Seen, place_of, standing
from app.cases.rules import OWED_ROUTING, publishes_itself, rule_for
from app.catalog.queries import catalogue
from app.catalog.rules import Category
from app.core import clock
from app.core.db import Session, transaction
from app.core.packfile import Finding, PackError, Source, read_with_source
from app.core.versioned import bump
from app.identity.actions import audit
from app.identity.policy import Viewer
from app.orgunits.queries import Directory, directory
from app.reports.models import Report, ReportContent
from app.reports.schemas import LocationIn
from app.routing.models import RoutingRule
from app.routing.queries import MAX_ATTEMPTS, TOPIC, decision_for
from app.routing.rules import Decision, goes_elsewhere
from app.routing.schemas import RuleEntry, RulesFile

FILE = "routing.yaml"

BATCH = 50
log = structlog.get_logger("routing")
_OWED = text(f"case_file.{OWED_ROUTING}")


def assign_owed(batch: int = BATCH) -> int:
    """Route the oldest owed cases, at most `batch`; returns how many were taken.

    One transaction for all of them. When it fails, each is tried alone, so that one poison row holds up nobody; after
    five failures a case goes to triage, where a person sees it.
    """
    try:
        with transaction() as session:
            claimed = claim_owed(session, batch)
            assign(session, claimed)
    except Exception:
        log.exception("routing_batch_failed")
        return _one_by_one(batch)
    return len(claimed)


def _one_by_one(batch: int) -> int:
    with transaction() as session:
        owed = session.exec(
            select(Case.id).where(_OWED).order_by(col(Case.routing_attempts), col(Case.received_at)).limit(batch)
        ).all()
    for case_id in owed:
        try:
            with transaction() as session:
                assign(session, claim_owed(session, 1, case_id))
        except Exception:
            log.exception("routing_failed", case_id=str(case_id))
            _note_failure(case_id)
    return len(owed)


def _note_failure(case_id: UUID) -> None:
    """Count the attempt; the last one hands the case to a person."""
    with transaction() as session:
        attempts = session.exec(
            update(Case)
            .where(col(Case.id) == case_id, _OWED)
            .values(routing_attempts=Case.routing_attempts + 1)
            .returning(col(Case.routing_attempts))
        ).scalar_one_or_none()
        if attempts is not None and attempts >= MAX_ATTEMPTS:
            advance_owed(session, [Routed(case, None, "failed") for case in claim_owed(session, 1, case_id)])


def assign(session: Session, claimed: Sequence[Owed]) -> None:
    """Give claimed cases to their units, or to triage with the reason; publish those whose category says so."""
    moves = [_decided(session, case) for case in claimed]
    advance_owed(session, moves)
    for case, unit_id, reason, *_ in moves:
        verb = "assign" if unit_id else "undecided"
        log.info("routed", request_id=case.request_id, reference=case.reference, verb=verb, reason=reason)
        if _category(session, case).publication == "auto":
            _publish(session, case)


def _decided(session: Session, case: Owed) -> Routed:
    point = None
    if case.lat is not None and case.lon is not None:
        point = (case.lat, case.lon, case.accuracy_m or 0.0)
    category = _category(session, case)
    decision, placement = decision_for(
        session, category, point, case.stated_unit_id, case.received_at, confirmed_id=case.confirmed_id
    )
    return Routed(
        case,
        decision.unit_id,
        decision.reason,
        decision.commune_id,
        decision.candidates,
        placement.boundary_version_id if placement else None,
        decision.suggested_id,
    )


def _category(session: Session, case: Owed | Case) -> Category:
    category = catalogue(session).category(case.category_code)
    if category is None:
        raise LookupError(case.category_code)
    return category


def _publish(session: Session, owed: Owed) -> None:
    case, report = session.get_one(Case, owed.id), session.get_one(Report, owed.report_id)
    if publishes_itself("auto", standing(session, case, report)):
        advance(session, case, report, "publish", SYSTEM)
        make_public(session, case, report.id)


# --- what is corrected ----------------------------------------------------------------------------------------------


def move_pin(session: Session, viewer: Viewer, seen: Seen, location: LocationIn, reason: str) -> None:
    """Correct where a case lies; over a border it is routed anew."""
    _correct(session, seen, "place", lambda: cases.move_pin(session, viewer, seen, location, reason))


def recategorise(session: Session, viewer: Viewer, seen: Seen, code: str, reason: str) -> None:
    """Correct what a case is about; where somebody else is in charge of that, it is routed anew."""
    _correct(session, seen, "category", lambda: cases.recategorise(session, viewer, seen, code, reason))


def _correct(session: Session, seen: Seen, why: str, correction: Callable[[], bool]) -> None:
    """Do a correction; where it changes the answer the case leaves its unit in the same transaction, to be routed anew.

    What is not at a unit or before a dispatcher is routed later anyhow, from what is then known.
    """
    case = seen.case
    if rule_for(case.state, "reroute") is None:
        correction()
        return
    before = _answer(session, case)
    if correction() and goes_elsewhere(case.unit_id, before, _answer(session, case)):
        advance(session, case, seen.report, "reroute", SYSTEM, code=why)


def _answer(session: Session, case: Case) -> Decision:
    """What the machine says to a case as it now stands."""
    stated_id = session.get_one(ReportContent, case.report_id).stated_unit_id
    confirmed_id = case.commune_id if case.commune_confirmed else None
    place = place_of(session, case)
    decision, _ = decision_for(
        session, _category(session, case), place, stated_id, case.received_at, confirmed_id=confirmed_id
    )
    return decision


# --- the province pack ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Known:
    """The codes a pack's rules may name."""

    categories: Collection[str]
    groups: Collection[str]
    units: Collection[str]


def check_rules(pack_dir: Path, known: Known) -> list[Finding]:
    """Everything that is wrong in the pack's routing rules."""
    try:
        file, source = read_with_source(pack_dir / FILE, RulesFile)
    except PackError as error:
        return error.findings
    return list(_unknown(file, source, known))


def _unknown(file: RulesFile, source: Source, known: Known) -> Iterator[Finding]:
    for place, entry in enumerate(file.rules):
        named: list[tuple[str, Sequence[str | None], Collection[str]]] = [
            ("category", [entry.category], known.categories),
            ("group", [entry.group], known.groups),
            ("unit", [entry.unit], known.units),
            ("communes", entry.communes or [], known.units),
        ]
        for key, codes, pool in named:
            for code in codes:
                if code is not None and code not in pool:
                    yield source.finding(f"{code} is not known", "rules", place, key)


def load_rules(session: Session, pack_dir: Path) -> int:
    """Enter the pack's rules that are not there yet; returns how many. Rules are ended by a date, never removed."""
    units = directory(session)
    known = catalogue(session)
    codes = Known(
        {category.code for category in known.categories},
        {group.code for group in known.groups},
        {unit.code for unit in units.units},
    )
    if findings := check_rules(pack_dir, codes):
        raise PackError(findings)
    file, source = read_with_source(pack_dir / FILE, RulesFile)
    entered = 0
    for place, entry in enumerate(file.rules):
        areas: Sequence[str | None] = entry.communes or [None]
        for commune in areas:
            row = _rule_row(entry, commune, units)
            if row is None:
                raise PackError([source.finding("the unit or a commune is not in force on valid_from", "rules", place)])
            if session.get(RoutingRule, row.id) is None:
                session.add(row)
                entered += 1
    if entered:
        session.flush()
        audit(session, None, TOPIC, FILE, None, {"entered": entered})
        bump(session, TOPIC)
    return entered


def _rule_row(entry: RuleEntry, commune: str | None, units: Directory) -> RoutingRule | None:
    """The row of one entry and commune, always with the same id; None where a code is not in force on its first day."""
    unit = units.by_code(entry.unit, entry.valid_from)
    area = units.by_code(commune, entry.valid_from) if commune else None
    if unit is None or (commune and area is None):
        return None
    key = (entry.category, entry.group, commune, entry.unit, entry.valid_from, entry.valid_to, entry.priority)
    return RoutingRule(
        id=uuid5(NAMESPACE_OID, f"routing_rule:{key}"),
        category_code=entry.category,
        group_code=entry.group,
        commune_id=area.id if area else None,
        unit_id=unit.id,
        priority=entry.priority,
        valid_from=entry.valid_from,
        valid_to=entry.valid_to,
        note=entry.note,
        created_at=clock.now(),
    )
