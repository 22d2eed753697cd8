"""Routing what is owed: claim, decide and move in one transaction, so that a crash leaves the case owed."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import NAMESPACE_OID, UUID, uuid5

import structlog
from sqlalchemy import text, update
from sqlmodel import col, select

from app.assets.queries import asset_classes
from app.cases import actions as cases
from app.cases.actions import SYSTEM, Owed, Routed, advance, advance_owed, claim_owed, make_public
from app.cases.models import Case
from app.cases.queries import Seen, commune_on, offered_category, place_of, standing
from app.cases.rules import OWED_ROUTING, publishes_itself, rule_for
from app.catalog.queries import catalogue
from app.catalog.rules import Category
from app.core import clock
from app.core.crypto import sha256
from app.core.db import Session, transaction
from app.core.errors import NOT_FOUND
from app.core.http import Lang
from app.core.ids import uuid7
from app.core.packfile import Finding, PackError, Source, read_with_source
from app.core.versioned import bump
from app.identity.actions import audit
from app.identity.policy import Viewer
from app.orgunits.queries import Directory, directory
from app.reports.models import Report, ReportContent
from app.reports.schemas import LocationIn
from app.routing.models import RoutingRule, RoutingRuleCommune, RoutingRuleHelper
from app.routing.queries import (
    MAX_ATTEMPTS,
    REPLAYED,
    TOPIC,
    Replay,
    decision_for,
    drawn,
    findings,
    read_rules,
    replay,
    row_of,
    rule_out,
    with_members,
    words,
)
from app.routing.rules import (
    Area,
    Cell,
    Decision,
    RuleRow,
    Subject,
    World,
    as_though_always,
    conflicts,
    goes_elsewhere,
    unreachable,
)
from app.routing.schemas import (
    NO_HOURS,
    RULE_CONFLICT,
    RULE_ENDED,
    RULE_IN_THE_PAST,
    RULE_NEVER_HOLDS,
    UNIT_NOT_IN_FORCE,
    UNKNOWN_ASSET_CLASS,
    UNKNOWN_GROUP,
    AreaIn,
    ChangeOut,
    CommuneIn,
    CommunesIn,
    DrawnIn,
    EndIn,
    EverywhereIn,
    MovedOut,
    NearAssetIn,
    PairOut,
    ReplayOut,
    RuleEntry,
    RuleIn,
    RulesFile,
    Words,
)
from app.teams.actions import involve_by_rule

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

FILE = "routing.yaml"

BATCH = 50
MOST_NAMED = 200
log = structlog.get_logger("routing")
_OWED = text(f"case_file.{OWED_ROUTING}")


def assign_owed(batch: int = BATCH) -> int:
    """Route the oldest owed cases, at most `batch`; returns how many were taken.

    One transaction for all of them. When it fails, each is tried alone, so that one poison row holds up nobody; after
    five failures a case goes to triage, where a person sees it.
    """
    try:
        with transaction() as session:
            moves = assign(session, claim_owed(session, batch))
    except Exception:
        log.exception("routing_batch_failed")
        return _one_by_one(batch)
    _log(moves)
    return len(moves)


def _one_by_one(batch: int) -> int:
    with transaction() as session:
        owed = session.exec(
            select(Case.id).where(_OWED).order_by(col(Case.routing_attempts), col(Case.received_at)).limit(batch)
        ).all()
    for case_id in owed:
        try:
            with transaction() as session:
                moves = assign(session, claim_owed(session, 1, case_id))
        except Exception:
            log.exception("routing_failed", case_id=str(case_id))
            _note_failure(case_id)
        else:
            _log(moves)
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


def assign(session: Session, claimed: Sequence[Owed]) -> list[Routed]:
    """Give claimed cases to their units, with those that help, or to triage with the reason.

    Publishes those whose category says so.
    """
    moves = [_decided(session, case) for case in claimed]
    advance_owed(session, moves)
    for move in moves:
        if move.helper_ids:
            involve_by_rule(session, move.case.id, move.helper_ids)
        if _category(session, move.case).publication == "auto":
            _publish(session, move.case)
    return moves


def _log(moves: Iterable[Routed]) -> None:
    """Say what was routed, once it is committed: before, it may still not happen."""
    for case, unit_id, reason, *_ in moves:
        verb = "assign" if unit_id else "undecided"
        log.info("routed", request_id=case.request_id, reference=case.reference, verb=verb, reason=reason)


def _decided(session: Session, case: Owed) -> Routed:
    point = None
    if case.lat is not None and case.lon is not None:
        point = (case.lat, case.lon, case.accuracy_m or 0.0)
    category = _category(session, case)
    decision, placement = decision_for(
        session,
        category,
        point,
        case.stated_unit_id,
        case.received_at,
        confirmed_id=case.confirmed_id,
        asset_id=case.asset_id,
    )
    return Routed(
        case,
        decision.unit_id,
        decision.reason,
        decision.commune_id,
        decision.candidates,
        placement.boundary_version_id if placement else None,
        decision.suggested_id,
        decision.cooperating,
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
    said = session.get_one(ReportContent, case.report_id)
    confirmed_id = case.commune_id if case.commune_confirmed else None
    place = place_of(session, case)
    decision, _ = decision_for(
        session,
        _category(session, case),
        place,
        said.stated_unit_id,
        case.received_at,
        confirmed_id=confirmed_id,
        asset_id=said.asset_id if case.pin_seq is None else None,
    )
    return decision


# --- rules: entered and ended, never changed -------------------------------------------------------------------------

_LOCK = 0x7275_6C65  # one change of rules at a time (advisory lock): each is checked against all others


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule that may be entered, with the rows and the shape that belong to it."""

    rule: RoutingRule
    row: RuleRow
    shape: "BaseGeometry | None" = None

    def store(self, session: Session) -> None:
        """Enter it with its communes and helpers."""
        session.add(self.rule)
        session.flush()
        session.add_all(RoutingRuleCommune(rule_id=self.rule.id, commune_id=each) for each in self.row.commune_ids)
        session.add_all(RoutingRuleHelper(rule_id=self.rule.id, unit_id=each) for each in self.row.cooperating)
        session.flush()


def enter_rule(session: Session, actor_id: UUID | None, body: RuleIn, lang: Lang) -> ChangeOut:
    """Enter a rule that conflicts with no other, audited; with `dry_run` only say what it would do.

    A conflict is refused and names both rules; what else is found comes with the answer.
    """
    _one_at_a_time(session)
    draft, say = _draft(session, body), words(session, lang)
    row = draft.row
    categories = _categories(session, row)
    before = read_rules(session).about_any(categories)
    after = before.changed(add=row, shape=draft.shape)
    found = findings(session, after, row.valid_from, say, about=row.id)
    hurtful = [finding for finding in found if finding.kind == "conflict"]
    if hurtful and not body.dry_run:
        raise RULE_CONFLICT.error(extra={"findings": [finding.model_dump(mode="json") for finding in hurtful]})
    since = clock.local_day(clock.now() - REPLAYED) - timedelta(days=1)
    as_though = before.changed(add=as_though_always(row, since), shape=draft.shape)
    told = replay(session, before, as_though, categories)
    if not body.dry_run:
        draft.store(session)
        audit(session, actor_id, TOPIC, str(row.id), None, _audited(draft.rule, row))
        bump(session, TOPIC)
    return ChangeOut(
        stored=not body.dry_run,
        rule=rule_out(draft.rule, row, say),
        findings=found,
        replay=_replay_out(told, say),
    )


def end_rule(session: Session, actor_id: UUID | None, rule_id: UUID, body: EndIn, lang: Lang) -> ChangeOut:
    """Let a rule hold no longer from a local day on, audited; with `dry_run` only say what would change."""
    _one_at_a_time(session)
    rule = session.get(RoutingRule, rule_id)
    if rule is None:
        raise NOT_FOUND.error()
    _not_past(body.on, "/on")
    if rule.valid_to is not None and rule.valid_to <= body.on:
        raise RULE_ENDED.error(pointer="/on", ended=rule.valid_to.isoformat())
    row, say = with_members(session, rule), words(session, lang)
    categories = _categories(session, row)
    before = read_rules(session).about_any(categories)
    ended = replace(row, valid_to=max(body.on, row.valid_from))
    left = before.changed(drop=rule_id)
    told = replay(session, before, left, categories)
    after = left.changed(add=ended, shape=before.shapes.get(rule_id))
    known = {finding.text for finding in findings(session, before, body.on, say)}
    found = [each for each in findings(session, after, body.on, say) if each.text not in known]
    if not body.dry_run:
        rule.valid_to = ended.valid_to
        session.flush()
        changed: dict[str, object] = {"valid_to": str(ended.valid_to), "reason": body.reason}
        audit(session, actor_id, TOPIC, str(rule_id), _audited(rule, row), _audited(rule, ended) | changed)
        bump(session, TOPIC)
    shown = rule_out(rule, ended, say).model_copy(update={"valid_to": ended.valid_to})
    return ChangeOut(stored=not body.dry_run, rule=shown, findings=found, replay=_replay_out(told, say))


def _one_at_a_time(session: Session) -> None:
    session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def _not_past(day: date, pointer: str) -> None:
    today = clock.local_day(clock.now())
    if day < today:
        raise RULE_IN_THE_PAST.error(pointer=pointer, today=today.isoformat())


def _draft(session: Session, body: RuleIn) -> Draft:
    """The rule that a request describes; refuses what does not exist on its first day."""
    _not_past(body.valid_from, "/valid_from")
    if body.valid_to is not None and body.valid_to <= body.valid_from:
        raise RULE_NEVER_HOLDS.error(pointer="/valid_to")
    known, day = catalogue(session), body.valid_from
    if body.category is not None:
        offered_category(session, body.category)
    group = known.group(body.group) if body.group is not None else None
    if body.group is not None and (group is None or not group.active):
        raise UNKNOWN_GROUP.error(pointer="/group", group=body.group)
    helpers = [_unit_on(session, code, day, f"/cooperating/{n}") for n, code in enumerate(body.cooperating)]
    hours = body.hours or NO_HOURS
    rule = RoutingRule(
        id=uuid7(),
        category_code=body.category,
        group_code=body.group,
        unit_id=_unit_on(session, body.unit, day, "/unit") if body.unit is not None else None,
        area=body.area.kind,
        weekdays=sorted(set(hours.weekdays)),
        starts=hours.starts,
        ends=hours.ends,
        priority=body.priority,
        valid_from=day,
        valid_to=body.valid_to,
        note=body.note,
        decision=body.decision,
        created_at=clock.now(),
    )
    communes, shape = _place_into(session, rule, body.area, day)
    return Draft(rule, row_of(rule, communes, set(helpers) - {rule.unit_id}), shape)


def _place_into(
    session: Session, rule: RoutingRule, area: AreaIn, day: date
) -> "tuple[list[UUID], BaseGeometry | None]":
    """Fill the area's columns of a rule; the communes of a group, and the shape of what was drawn."""
    match area:
        case CommuneIn():
            rule.commune_id = commune_on(session, area.code, day, "/area/code")
        case CommunesIn():
            rule.area_name = area.name
            return [commune_on(session, code, day, f"/area/codes/{n}") for n, code in enumerate(area.codes)], None
        case DrawnIn():
            shape = drawn(session, area.geometry, day)
            rule.area_name, rule.polygon = area.name, shape.wkb
            return [], shape
        case NearAssetIn():
            known = asset_classes(session).get(area.asset_class)
            if known is None or not known.active:
                raise UNKNOWN_ASSET_CLASS.error(pointer="/area/asset_class", asset_class=area.asset_class)
            rule.asset_class, rule.within_m, rule.to_manager = area.asset_class, area.within_m, area.to_manager
        case EverywhereIn():
            pass
    return [], None


def _unit_on(session: Session, code: str, day: date, pointer: str) -> UUID:
    unit = directory(session).by_code(code, day)
    if unit is None or unit.level == "province":
        raise UNIT_NOT_IN_FORCE.error(pointer=pointer, unit=code, day=day.isoformat())
    return unit.id


def _categories(session: Session, row: RuleRow) -> Sequence[Category]:
    """The categories a rule says something about."""
    known = catalogue(session)
    if row.category is None:
        return known.members(row.group or "")
    category = known.category(row.category)
    return [category] if category else []


def _audited(rule: RoutingRule, row: RuleRow) -> dict[str, object]:
    """A rule as plain data, for the audit row; of a drawn area the hash of its shape."""
    plain: dict[str, object] = {
        name: value if isinstance(value, int | float | str | list | None) else str(value)
        for name, value in rule.model_dump(exclude={"id", "polygon", "created_at"}).items()
    }
    plain["valid_to"] = row.valid_to.isoformat() if row.valid_to else None
    if rule.polygon is not None:
        plain["polygon_sha256"] = sha256(rule.polygon).hex()
    return plain | {
        "communes": sorted(map(str, row.commune_ids)),
        "cooperating": sorted(map(str, row.cooperating)),
    }


def _replay_out(told: Replay, say: Words) -> ReplayOut:
    return ReplayOut(
        received_from=told.since,
        received_to=told.until,
        received=told.received,
        considered=told.considered,
        complete=told.considered == told.received,
        would_move=len(told.moved),
        pairs=[
            PairOut(from_unit=say.unit(one), to_unit=say.unit(other), reports=count)
            for (one, other), count in told.pairs
        ],
        moved=[
            MovedOut(reference=reference, from_unit=say.unit(one), to_unit=say.unit(other))
            for reference, one, other in told.moved[:MOST_NAMED]
        ],
    )


# --- the province pack ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Known:
    """The codes a pack's rules may name; `categories` by their group."""

    categories: Mapping[str, str]
    groups: Collection[str]
    units: Collection[str]
    communes: Collection[str]


def check_rules(pack_dir: Path, known: Known) -> list[Finding]:
    """Everything that is wrong in the pack's routing rules; conflicts name both rows."""
    try:
        file, source = read_with_source(pack_dir / FILE, RulesFile)
    except PackError as error:
        return error.findings
    return list(_unknown(file, source, known)) or list(_conflicting(file, source, known))


def warn_rules(pack_dir: Path, known: Known) -> list[Finding]:
    """What is not wrong and yet unlikely to be meant: rules of the pack that never decide."""
    try:
        file, source = read_with_source(pack_dir / FILE, RulesFile)
    except PackError:
        return []
    if list(_unknown(file, source, known)):
        return []
    rows, everything = _as_if_loaded(file), _pack_world(known)
    return [
        source.finding(
            f"The rule never decides, {_row_name(source, rows, lost.beaten_by[0])} comes first.",
            "rules",
            rows[lost.rule][0],
        )
        for lost in unreachable([row for _, row in rows.values()], everything, _since(rows))
    ]


def _unknown(file: RulesFile, source: Source, known: Known) -> Iterator[Finding]:
    for place, entry in enumerate(file.rules):
        named: list[tuple[str, Sequence[str | None], Collection[str]]] = [
            ("category", [entry.category], known.categories),
            ("group", [entry.group], known.groups),
            ("unit", [entry.unit], known.units),
            ("communes", entry.communes or [], known.communes),
            ("cooperating", entry.cooperating, known.units),
        ]
        for key, codes, pool in named:
            for code in codes:
                if code is not None and code not in pool:
                    yield source.finding(
                        f"Không có mã {code} trong gói dữ liệu. / {code} is not known", "rules", place, key
                    )


_Rows = dict[UUID, tuple[int, RuleRow]]


def _as_if_loaded(file: RulesFile) -> _Rows:
    """The pack's rules with ids made of codes: what can be checked without a database."""
    rows: _Rows = {}
    for place, entry in enumerate(file.rules):
        for commune in _areas(entry):
            row = RuleRow(
                id=_rule_id(entry, commune),
                unit_id=_code_id(entry.unit) if entry.unit else None,
                priority=entry.priority,
                valid_from=entry.valid_from,
                valid_to=entry.valid_to,
                category=entry.category,
                group=entry.group,
                commune_id=_code_id(commune) if commune else None,
                commune_ids=frozenset(map(_code_id, entry.communes or () if entry.area_name else ())),
                asset_class=entry.asset.asset_class if entry.asset else None,
                within_m=entry.asset.within_m if entry.asset else 0.0,
                to_manager=entry.asset is not None and entry.asset.to_manager,
                weekdays=frozenset(entry.hours.weekdays if entry.hours else ()),
                starts=entry.hours.starts if entry.hours else None,
                ends=entry.hours.ends if entry.hours else None,
            )
            rows[row.id] = (place, row)
    return rows


def _pack_world(known: Known) -> World:
    return World(
        tuple(Subject(code, group, "commune", None) for code, group in known.categories.items()),
        tuple(Cell(_code_id(code)) for code in sorted(known.communes)),
    )


def _conflicting(file: RulesFile, source: Source, known: Known) -> Iterator[Finding]:
    rows = _as_if_loaded(file)
    for found in conflicts([row for _, row in rows.values()], _pack_world(known), _since(rows)):
        one, other = sorted((found.one, found.other), key=lambda each: rows[each][0])
        message = f"As strong as {_row_name(source, rows, one)} and names another unit for the same report."
        yield source.finding(message, "rules", rows[other][0])


def _since(rows: _Rows) -> date:
    return min((row.valid_from for _, row in rows.values()), default=date.min)


def _row_name(source: Source, rows: _Rows, rule_id: UUID) -> str:
    return source.where("rules", rows[rule_id][0])


def _code_id(code: str) -> UUID:
    return uuid5(NAMESPACE_OID, f"code:{code}")


def load_rules(session: Session, pack_dir: Path) -> int:
    """Enter the pack's rules that are not there yet; returns how many. Rules are ended by a date, never removed.

    Refused as a whole where one conflicts with another, of the pack or entered since; one that never decides is logged.
    """
    units, known = directory(session), catalogue(session)
    codes = Known(
        {category.code: category.group_code for category in known.categories},
        {group.code for group in known.groups},
        {unit.code for unit in units.units},
        {unit.code for unit in units.units if unit.level == "commune"},
    )
    if findings := check_rules(pack_dir, codes):
        raise PackError(findings)
    file, source = read_with_source(pack_dir / FILE, RulesFile)
    _one_at_a_time(session)
    entered: dict[UUID, int] = {}
    for place, entry in enumerate(file.rules):
        for commune in _areas(entry):
            draft = _pack_draft(session, entry, commune, units)
            if draft is None:
                message = (
                    "Đơn vị, xã hoặc loại tài sản này không còn vào ngày valid_from. / "
                    "the unit, a commune or the asset class is not in force on valid_from"
                )
                raise PackError([source.finding(message, "rules", place)])
            if session.get(RoutingRule, draft.rule.id) is None:
                draft.store(session)
                entered[draft.rule.id] = place
    if entered:
        _refuse_conflicts(session, source, entered)
        audit(session, None, TOPIC, FILE, None, {"entered": len(entered)})
        bump(session, TOPIC)
    return len(entered)


def _refuse_conflicts(session: Session, source: Source, entered: Mapping[UUID, int]) -> None:
    """Hold what was entered against all rules there are."""
    book, say = read_rules(session), words(session, "en")
    found = [
        each
        for each in findings(session, book, min(row.valid_from for row in book.rules), say)
        if any(rule.id in entered for rule in each.rules)
    ]
    hurtful = [each for each in found if each.kind == "conflict"]
    if hurtful:
        raise PackError(
            source.finding(each.text, "rules", next(entered[rule.id] for rule in each.rules if rule.id in entered))
            for each in hurtful
        )
    for each in found:
        log.warning("routing_rule_suspicious", kind=each.kind, text=each.text)


def _areas(entry: RuleEntry) -> Sequence[str | None]:
    """The communes that are a rule each; one None for a rule that is not of one commune."""
    return entry.communes if entry.communes and entry.area_name is None else [None]


def _rule_id(entry: RuleEntry, commune: str | None) -> UUID:
    """Always the same for the same entry and commune."""
    key: tuple[object, ...] = (
        entry.category, entry.group, commune, entry.unit, entry.valid_from, entry.valid_to, entry.priority,
    )  # fmt: skip
    more = entry.model_dump(mode="json", include={"area_name", "asset", "hours"}, exclude_none=True)
    if more:  # what rules could not say at first; without it the ids of those days stay
        members = sorted(entry.communes or ()) if entry.area_name else []
        key = (*key, sorted(more.items()), members)
    return uuid5(NAMESPACE_OID, f"routing_rule:{key}")


def _pack_draft(session: Session, entry: RuleEntry, commune: str | None, units: Directory) -> Draft | None:
    """The rule of one entry and commune; None where something it names is not in force on its first day."""
    day = entry.valid_from
    unit = units.by_code(entry.unit, day) if entry.unit else None
    home = units.by_code(commune, day) if commune else None
    group = [units.by_code(code, day) for code in entry.communes or ()] if entry.area_name else []
    helpers = [units.by_code(code, day) for code in entry.cooperating]
    gone = (entry.unit and unit is None) or (commune and home is None) or None in (*group, *helpers)
    if gone or (entry.asset is not None and entry.asset.asset_class not in asset_classes(session)):
        return None
    kinds: list[tuple[object, Area]] = [(home, "commune"), (group, "communes"), (entry.asset, "asset")]
    rule = RoutingRule(
        id=_rule_id(entry, commune),
        category_code=entry.category,
        group_code=entry.group,
        area=next((kind for filled, kind in kinds if filled), "everywhere"),
        area_name=entry.area_name or "",
        commune_id=home.id if home else None,
        asset_class=entry.asset.asset_class if entry.asset else None,
        within_m=entry.asset.within_m if entry.asset else None,
        to_manager=entry.asset is not None and entry.asset.to_manager,
        weekdays=sorted(set(entry.hours.weekdays)) if entry.hours else [],
        starts=entry.hours.starts if entry.hours else None,
        ends=entry.hours.ends if entry.hours else None,
        unit_id=unit.id if unit else None,
        priority=entry.priority,
        valid_from=day,
        valid_to=entry.valid_to,
        note=entry.note,
        decision=entry.decision,
        created_at=clock.now(),
    )
    members = [each.id for each in group if each is not None]
    return Draft(rule, row_of(rule, members, {each.id for each in helpers if each is not None}))
