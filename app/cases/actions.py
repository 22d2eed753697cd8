"""Moving cases: every change of a case goes through `advance`, or `advance_owed` for many at once."""

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select, update

from app.boundaries import queries as boundaries
from app.cases import policy, queries, rules
from app.cases.models import (
    Case,
    CaseCooperation,
    CaseDocument,
    CaseEvent,
    CaseHop,
    CaseNotePhoto,
    CasePhoto,
    CasePin,
    CaseText,
)
from app.cases.rules import ALL, ONCE_A_CYCLE, Document, Pin, State, Who
from app.cases.schemas import (
    ALREADY_THERE,
    MEDIA_IN_USE,
    MOVE_NOT_ALLOWED,
    NOT_ABOVE,
    NOT_BELOW,
    NOT_IN_YOUR_TREE,
    NOT_PUBLISHABLE,
    NOTHING_ADDED,
    PLAN_NOT_AHEAD,
    UNKNOWN_REJECT_CODE,
    AssignIn,
    InformationIn,
    PublishIn,
    RatingIn,
    RejectIn,
    ResolveIn,
    TakeBackIn,
    TransferIn,
)
from app.catalog.queries import catalogue
from app.catalog.rules import Category, Urgency
from app.core import clock, db, ids
from app.core.db import Session
from app.deadlines import actions as deadline_actions
from app.deadlines import queries as deadline_queries
from app.deadlines.rules import DIRECTIVE, WORKING_DAY, ClockKind
from app.identity.policy import Viewer
from app.media import queries as media_queries
from app.notifications import actions as notifications
from app.notifications.rules import check as check_message
from app.orgunits import queries as orgunits
from app.reports.models import PublicCopy, Report, ReportContent, ReportMedia
from app.reports.rules import coarsened
from app.reports.schemas import LocationIn
from app.uploads.queries import refuse_unfinished


class Actor(NamedTuple):
    """Who moves a case, and in which capacities."""

    kind: str
    account_id: UUID | None
    capacities: frozenset[Who]


SYSTEM = Actor("system", None, frozenset({Who.SYSTEM}))


@dataclass(slots=True)
class Owed:
    """A case that waits to be routed, with what decides where. Not an ORM object: see `advance_owed`.

    `lat`, `lon`, `accuracy_m`: where it lies now. `confirmed_id`: the commune a dispatcher confirmed for it.
    `asset_id`: the asset whose sticker was scanned, until somebody moved the pin.
    """

    id: UUID
    reference: str
    category_code: str
    urgency: str
    channel: str
    state: str
    version: int
    cycle: int
    received_at: datetime
    published_at: datetime | None
    hidden_at: datetime | None
    act_by: datetime
    due_at: datetime | None
    resolved_at: datetime | None
    head: bytes
    report_id: UUID
    account_id: UUID
    visibility: str
    request_id: str
    stated_unit_id: UUID | None
    lat: float | None
    lon: float | None
    accuracy_m: float | None
    confirmed_id: UUID | None
    asset_id: UUID | None
    supporters: int
    unit_id: UUID | None = None
    commune_id: UUID | None = None


class Routed(NamedTuple):
    """Where an owed case goes, and why; without a unit a person decides. `helper_ids`: whom a rule asks to help."""

    case: Owed
    unit_id: UUID | None
    reason: str
    commune_id: UUID | None = None
    candidate_ids: Sequence[UUID] = ()
    boundary_version_id: UUID | None = None
    suggested_id: UUID | None = None
    helper_ids: Sequence[UUID] = ()


# --- photos of a report ---------------------------------------------------------------------------------------------


def attach_media(session: Session, report_id: UUID, account_id: UUID, media_ids: Sequence[UUID]) -> None:
    """Tie a citizen's own uploads to the report; a photo belongs to one report only."""
    refuse_unfinished(session, account_id, media_ids)
    media_queries.owned(session, account_id, media_ids)
    _refuse_used(session, media_ids)
    known = len(session.exec(select(ReportMedia.media_id).where(ReportMedia.report_id == report_id)).all())
    _attach(
        session,
        [
            ReportMedia(report_id=report_id, media_id=media_id, position=position)
            for position, media_id in enumerate(media_ids, start=known)
        ],
    )


def attach_to_note(session: Session, case_id: UUID, seq: int, owner_id: UUID, media_ids: Sequence[UUID]) -> None:
    """Tie somebody's own uploads to an internal note."""
    refuse_unfinished(session, owner_id, media_ids)
    media_queries.owned(session, owner_id, media_ids)
    _refuse_used(session, media_ids)
    _attach(session, [CaseNotePhoto(media_id=media_id, case_id=case_id, seq=seq) for media_id in media_ids])


def _attach(session: Session, rows: Sequence[ReportMedia | CasePhoto | CaseNotePhoto]) -> None:
    """Store which photos belong where; of two that claim one at the same moment, one is refused."""
    session.flush()  # so that only these rows can clash
    session.add_all(rows)
    try:
        session.flush()
    except IntegrityError as error:
        raise MEDIA_IN_USE.error(pointer="/media_ids") from error


def _refuse_used(session: Session, media_ids: Sequence[UUID]) -> None:
    used = session.exec(select(ReportMedia.media_id).where(col(ReportMedia.media_id).in_(media_ids))).first()
    used = used or session.exec(select(CasePhoto.media_id).where(col(CasePhoto.media_id).in_(media_ids))).first()
    noted = select(CaseNotePhoto.media_id).where(col(CaseNotePhoto.media_id).in_(media_ids))
    used = used or session.exec(noted).first()
    if used is not None:
        raise MEDIA_IN_USE.error(pointer=f"/media_ids/{list(media_ids).index(used)}")


# --- moving a case -------------------------------------------------------------------------------------------------


def advance(
    session: Session,
    case: Case,
    report: Report,
    verb: str,
    actor: Actor,
    *,
    unit_id: UUID | None = None,
    code: str | None = None,
    note: str | None = None,
    pin: Pin | None = None,
    document: Document | None = None,
    into_id: UUID | None = None,
) -> int:
    """Move a locked case by one row of the workflow table: state, clocks, hops, event, message owed. Returns the seq.

    Refuses what the table does not allow with 409 and the actions that are allowed. `note`, `pin` and `document` are
    kept in erasable rows to which the event commits. The `code` of a grant is how many working days are given, that of
    a directive the moment by which it is due. `into_id` is the surviving case of a merge.
    """
    at = clock.now()
    rule = _allowed_rule(case, queries.standing(session, case, report), verb, actor, at)
    case.version += 1
    if verb in rules.NEW_CYCLE:
        unit_id = _begin_cycle(session, case, verb)
    elif verb == "unmerge" and case.unit_id is not None:
        unit_id = _successor(session, case)
    _move_clocks(session, case, rule, actor, unit_id or case.unit_id, at, code)
    if rule.replans:
        _replan(session, case, rule, actor, at)
    _move_hops(session, case, rule, unit_id, at)
    _let_go(session, case, verb, at)
    _enter(case, rule, at, code, into_id)
    case.updated_at = at
    _chain(session, case, rule, actor, at, code, note, pin, document)
    if case.state == State.ROUTING != rule.source:
        db.owe(session, "routing")
    if template := rules.tells(verb, actor.kind, code):
        notifications.owe_with(
            session,
            template,
            account_id=report.account_id,
            case_id=case.id,
            params={"reference": case.reference, "status": case.state},
            dedupe_key=f"{case.id}:{case.version}",
        )
    if verb in rules.FOLLOWERS_HEAR and case.supporters:
        _tell_followers(session, case)
    return case.version


def _successor(session: Session, case: Case) -> UUID | None:
    """The unit that stands in the place of the one that had the case; None where only a person can tell.

    Without one the case is reopened where it was: what a unit that has ended holds goes to a person within a minute.
    """
    assert case.unit_id is not None
    return boundaries.heir(session, case.unit_id, queries.place_of(session, case), clock.local_day(clock.now()))


def _tell_followers(session: Session, case: Case | Owed) -> None:
    """Owe those with the same problem a word: where the case stands, never what was written to its reporter."""
    for account_id in queries.followers(session, case.id):
        notifications.owe_with(
            session,
            rules.FOLLOWED,
            account_id=account_id,
            case_id=case.id,
            params={"reference": case.reference, "status": case.state},
            dedupe_key=f"{case.id}:{case.version}:{account_id}",
        )


def _allowed_rule(case: Case | Owed, standing: rules.Standing, verb: str, actor: Actor, at: datetime) -> rules.Rule:
    rule = rules.rule_for(case.state, verb)
    if rule is None or not rule.who & actor.capacities or not rules.applies(verb, standing, actor.capacities, at):
        allowed = list(rules.allowed_verbs(standing, actor.capacities, at))
        raise MOVE_NOT_ALLOWED.error(
            extra={"allowed_actions": allowed, "state": case.state, "version": case.version},
        )
    return rule


def _begin_cycle(session: Session, case: Case, verb: str) -> UUID | None:
    """A new round of work, whose unit is returned; what came of the one before stands in the history only."""
    case.cycle += 1
    case.outcome = case.rating = case.planned_until = None
    if verb != "appeal":
        return _successor(session, case)
    case.has_appealed, case.reject_code, case.unit_id, case.due_at = True, None, None, None  # nobody's, as at first
    return None


def _move_clocks(  # noqa: PLR0917 - what a row of the table needs to know
    session: Session,
    case: Case,
    rule: rules.Rule,
    actor: Actor,
    unit_id: UUID | None,
    at: datetime,
    code: str | None,
) -> None:
    """Do to the clocks what the rule names, and put the deadlines on the case.

    Who ends a pause does so before anything stops: the clock then stops by the deadline it really has.
    """
    now: Mapping[str, Any] = {"case_id": case.id, "seq": case.version, "at": at}
    moved = [deadline_actions.resume(session, kind=kind, **now) for kind in rule.resumes]
    if rule.stops == ALL:
        deadline_actions.stop_all(session, case.id, at)
    elif rule.stops:
        deadline_actions.stop(session, case_id=case.id, kinds=rule.stops, at=at)
    moved += [deadline_actions.reinstate(session, kind=kind, **now) for kind in _run_on(session, case, rule)]
    moved += [deadline_actions.pause(session, kind=kind, reason=rule.verb, **now) for kind in rule.pauses]
    for kind in rule.extends:
        minutes = int(code or 0) * WORKING_DAY
        by: Mapping[str, Any] = {"actor_id": actor.account_id, "reason": rule.verb}
        moved.append(deadline_actions.extend(session, kind=kind, minutes=minutes, **by, **now))
    for each in moved:
        if each is not None and each.kind == "resolve":
            case.due_at = each.due_at
    if rule.reinstates == ALL:
        due = {each.kind: each.due_at for each in moved if each is not None}
        awaited = rules.AWAITED.get(State(rules.goal(rule, case.state_before)), ())
        case.act_by = min((due[kind] for kind in awaited if kind in due), default=at)
    _start_clocks(session, case, rule, unit_id, at, code)


def _run_on(session: Session, case: Case, rule: rules.Rule) -> Sequence[ClockKind]:
    """The kinds of clocks that a move puts back; who works on it again has to resolve it, whatever was proposed."""
    if rule.reinstates != ALL:
        return rule.reinstates
    kinds = queries.stopped_by_merge(session, case)
    if rules.goal(rule, case.state_before) in rules.AT_UNIT:
        kinds.add("resolve")
    return [kind for kind in rules.RUN_ON if kind in kinds]


def _start_clocks(  # noqa: PLR0917 - the same
    session: Session, case: Case, rule: rules.Rule, unit_id: UUID | None, at: datetime, code: str | None
) -> None:
    """Start what the rule names; who issues a directive says by when."""
    if DIRECTIVE in rule.starts:
        due_at = datetime.fromisoformat(code or "")
        deadline_actions.direct(
            session, case_id=case.id, seq=case.version, cycle=case.cycle, unit_id=unit_id, due_at=due_at, at=at
        )
    elif rule.starts:
        has_run = queries.clocks_of_cycle(session, case)
        kinds = [kind for kind in rule.starts if kind not in ONCE_A_CYCLE or kind not in has_run]
        starts = [_start(session, case, kind, unit_id, at) for kind in kinds]
        for start in starts:
            deadline_actions.begin(session, start)
        _await(case, starts)


def _replan(session: Session, case: Case, rule: rules.Rule, actor: Actor, at: datetime) -> None:
    """Measure the running clocks by the case's category and urgency as they now are, and put them on the case."""
    running = deadline_actions.replan(
        session,
        case_id=case.id,
        category_code=case.category_code,
        urgency=_given_urgency(session, case),
        seq=case.version,
        actor_id=actor.account_id,
        reason=rule.verb,
        at=at,
    )
    due = {each.kind: each.due_at for each in running}
    case.due_at = due.get("resolve", case.due_at)
    awaited = (due[kind] for kind in rules.AWAITED.get(State(case.state), ()) if kind in due)
    case.act_by = min(awaited, default=case.act_by)


def _given_urgency(session: Session, case: Case | Owed) -> Urgency | None:
    """The urgency that somebody gave the case; None: it is as urgent as its category."""
    category = catalogue(session).category(case.category_code)
    if category is None or category.urgency == case.urgency:
        return None
    return "urgent" if case.urgency == "urgent" else "normal"


def _await(case: Case | Owed, starts: Sequence[deadline_actions.Start]) -> None:
    """Put the deadlines of started clocks on the case."""
    for start in starts:
        if start.kind == "resolve":
            case.due_at = start.due_at
        elif start.kind in ("verify", "answer", "approve"):
            case.act_by = start.due_at
    # An urgent report, or one passed on late, may be due before the unit even has to accept it.
    accept_by = [start.due_at for start in starts if start.kind == "accept"]
    if accept_by:
        case.act_by = min(*accept_by, case.due_at or accept_by[0])


def _start(
    session: Session, case: Case | Owed, kind: ClockKind, unit_id: UUID | None, at: datetime
) -> deadline_actions.Start:
    urgency = _given_urgency(session, case)
    planned = deadline_queries.deadline(session, case.category_code, kind, at, urgency, unit_id=unit_id)
    return deadline_actions.Start(
        case.id, kind, case.version, case.cycle, unit_id, planned.policy_id, started_at=at, due_at=planned.due_at
    )


def _move_hops(session: Session, case: Case, rule: rules.Rule, unit_id: UUID | None, at: datetime) -> None:
    """End the stay with the unit that lets go, begin the one with the unit that gets the case."""
    if rule.source in rules.HELD and (rule.verb in rules.HOP_OUTCOMES or rule.verb == "accept" or rule.moves_deadline):
        current = session.exec(select(CaseHop).where(CaseHop.case_id == case.id, col(CaseHop.ended_at).is_(None))).one()
        if rule.verb == "accept":
            current.accepted_at = at
        if rule.moves_deadline:
            current.due_at = case.due_at
        if (outcome := rules.HOP_OUTCOMES.get(rule.verb)) is not None:
            current.ended_at, current.outcome = at, outcome
            session.flush()
    if rule.verb in ("return", "reroute", "orphan"):
        case.unit_id = None
    goal = rules.goal(rule, case.state_before)
    if rule.target == State.ASSIGNED or rule.verb == "succeed" or (rule.verb == "unmerge" and goal in rules.AT_UNIT):
        case.unit_id, case.suggested_id = unit_id or case.unit_id, None
        assert case.unit_id is not None
        session.add(
            CaseHop(
                case_id=case.id,
                started_seq=case.version,
                cycle=case.cycle,
                unit_id=case.unit_id,
                received_at=at,
                due_at=case.due_at,
                accepted_at=at if rule.verb == "unmerge" and goal != State.ASSIGNED else None,
            )
        )


def _enter(case: Case, rule: rules.Rule, at: datetime, code: str | None, into_id: UUID | None) -> None:
    """Note on the case where the move leads, what came of it and what is asked, or settled, by it."""
    state = State(rules.goal(rule, case.state_before))
    if state != case.state:
        case.state_before = rules.came_from(case.state, state, case.state_before)
        case.merged_into = into_id
        case.rejected_at = at if state == State.REJECTED else None
        _stand(case, state, at)
    if state == State.RESOLVED and rule.target == state:
        case.outcome, case.planned_until = rules.outcome_of(code), rules.planned_until(code)
    if column := rules.OPENS.get(rule.verb):
        setattr(case, column, case.version)
    for column in rules.settles(rule.verb, state):
        setattr(case, column, None)


def _let_go(session: Session, case: Case, verb: str, at: datetime) -> None:
    """Take the case from the person who had it, and from units that no longer help; one that holds it helps no more."""
    if verb in rules.LEAVES:
        case.assignee_id = None
    if verb in rules.DISSOLVES:
        end_cooperation(session, case, case.helper_ids, at)
    elif case.unit_id in case.helper_ids:
        end_cooperation(session, case, [case.unit_id], at)


def end_cooperation(session: Session, case: Case, unit_ids: Collection[UUID | None], at: datetime) -> None:
    """Let units help no longer, as of the case's newest event; they lose sight of it at once."""
    if not unit_ids:
        return
    session.execute(
        update(CaseCooperation)
        .where(
            col(CaseCooperation.case_id) == case.id,
            col(CaseCooperation.unit_id).in_(unit_ids),
            col(CaseCooperation.until).is_(None),
        )
        .values(until=at, until_seq=case.version)
    )
    case.helper_ids = [each for each in case.helper_ids if each not in unit_ids]


def _stand(case: Case | Owed, state: State, at: datetime) -> None:
    """Put the case into `state`, with the moment by which somebody must act next."""
    case.state = state.value
    case.resolved_at = at if state == State.RESOLVED else case.resolved_at if state == State.CLOSED else None
    if state in rules.WORKING and case.due_at is not None:
        case.act_by = case.due_at
    elif state not in rules.AWAITED:  # their own clock has said so
        case.act_by = at


def _chain(  # noqa: PLR0917 - everything one event holds
    session: Session,
    case: Case,
    rule: rules.Rule,
    actor: Actor,
    at: datetime,
    code: str | None,
    note: str | None,
    pin: Pin | None,
    document: Document | None,
) -> None:
    """Append the event, hashed onto the chain's head; it commits to the note, and to pin or document with it."""
    nonce = os.urandom(rules.NONCE_BYTES)
    said = rules.pin_text(pin, note or "") if pin else rules.result_text(note, document) if note else None
    event = _event(case, rule, actor, at, code, rules.commit_to(nonce, said) if said else None)
    session.add(CaseEvent(**event))
    if note:
        session.add(CaseText(case_id=case.id, seq=case.version, body=note, nonce=nonce))
    if pin:
        session.add(CasePin(case_id=case.id, seq=case.version, **pin._asdict(), nonce=nonce))
        case.pin_seq = case.version
    if document:
        session.add(CaseDocument(case_id=case.id, seq=case.version, **document._asdict(), nonce=nonce))


def _event(  # noqa: PLR0917 - everything one event holds
    case: Case | Owed, rule: rules.Rule, actor: Actor, at: datetime, code: str | None, commitment: bytes | None = None
) -> dict[str, Any]:
    """The event of a move as its row, hashed onto the head of the case's chain, which moves on."""
    event: dict[str, Any] = {
        "case_id": case.id,
        "seq": case.version,
        "at": at,
        "verb": rule.verb,
        "from_state": rule.source.value,
        "to_state": case.state,
        "actor_kind": actor.kind,
        "actor_id": actor.account_id,
        "unit_id": case.unit_id,
        "commune_id": case.commune_id,
        "cycle": case.cycle,
        "category_code": case.category_code,
        "urgency": case.urgency,
        "channel": case.channel,
        "code": code,
        "due_at": case.due_at,
        "commitment": commitment,
    }
    body = rules.canonical(event)
    case.head = rules.link(case.head, body)
    return event | {"body": body, "hash": case.head}


# --- moving what is owed to the router ------------------------------------------------------------------------------


# The cases first and alone: whatever the planner believes of a backlog, only what is claimed is joined.
_CLAIM = f"""
WITH c AS MATERIALIZED (
    SELECT id, reference, category_code, urgency, channel, state, version, cycle, received_at, published_at, hidden_at,
           act_by, due_at, resolved_at, head, report_id, pin_seq, supporters,
           CASE WHEN commune_confirmed THEN commune_id END AS confirmed_id
    FROM case_file WHERE {rules.OWED_ROUTING} {{chosen}}
    ORDER BY received_at LIMIT %(limit)s::int FOR UPDATE SKIP LOCKED)
SELECT c.id, c.reference, c.category_code, c.urgency, c.channel, c.state, c.version, c.cycle, c.received_at,
       c.published_at, c.hidden_at, c.act_by, c.due_at, c.resolved_at, c.head, c.report_id,
       r.account_id, r.visibility, r.request_id, t.stated_unit_id, COALESCE(p.lat, t.lat), COALESCE(p.lon, t.lon),
       COALESCE(p.accuracy_m, t.accuracy_m), c.confirmed_id,
       CASE WHEN c.pin_seq IS NULL THEN t.asset_id END, c.supporters
FROM c JOIN report r ON r.id = c.report_id JOIN report_content t ON t.report_id = c.report_id
     LEFT JOIN case_pin p ON p.case_id = c.id AND p.seq = c.pin_seq
ORDER BY c.received_at
"""
_CLAIM_OLDEST, _CLAIM_ONE = _CLAIM.format(chosen=""), _CLAIM.format(chosen="AND id = %(id)s::uuid")

_ROUTE = """
WITH moved AS (
    SELECT * FROM unnest(
        %(id)s::uuid[], %(seq)s::int[], %(verb)s::text[], %(to_state)s::text[], %(unit_id)s::uuid[],
        %(commune_id)s::uuid[], %(cycle)s::smallint[], %(category_code)s::text[], %(urgency)s::text[],
        %(channel)s::text[], %(code)s::text[], %(due_at)s::timestamptz[], %(act_by)s::timestamptz[],
        %(candidates)s::text[], %(boundary_version_id)s::uuid[], %(suggested_id)s::uuid[], %(body)s::bytea[],
        %(hash)s::bytea[])
    AS m (id, seq, verb, to_state, unit_id, commune_id, cycle, category_code, urgency, channel, code, due_at, act_by,
          candidates, boundary_version_id, suggested_id, body, hash)),
stands AS (
    UPDATE case_file SET state = to_state, state_before = 'routing', version = seq, unit_id = moved.unit_id,
           commune_id = moved.commune_id,
           candidate_ids = candidates::uuid[], boundary_version_id = moved.boundary_version_id, route_reason = code,
           suggested_id = moved.suggested_id,
           due_at = moved.due_at, act_by = moved.act_by, updated_at = %(at)s::timestamptz, head = hash
    FROM moved WHERE case_file.id = moved.id AND case_file.version = seq - 1 RETURNING case_file.id),
event AS (
    INSERT INTO case_event (case_id, seq, at, verb, from_state, to_state, actor_kind, unit_id, commune_id, cycle,
                            category_code, urgency, channel, code, due_at, body, hash)
    SELECT id, seq, %(at)s::timestamptz, verb, 'routing', to_state, 'system', unit_id, commune_id, cycle,
           category_code, urgency, channel, code, due_at, body, hash FROM moved),
hop AS (
    INSERT INTO case_hop (case_id, started_seq, cycle, unit_id, received_at, due_at)
    SELECT id, seq, cycle, unit_id, %(at)s::timestamptz, due_at FROM moved WHERE to_state = 'assigned'),
clock AS (
    INSERT INTO sla_clock (case_id, kind, started_seq, cycle, unit_id, policy_id, started_at, due_at)
    SELECT c.case_id, c.kind, moved.seq, moved.cycle, moved.unit_id, c.policy_id, %(at)s::timestamptz, c.due_at
    FROM unnest(%(clock_case)s::uuid[], %(clock_kind)s::text[], %(clock_policy)s::uuid[], %(clock_due)s::timestamptz[])
         AS c (case_id, kind, policy_id, due_at) JOIN moved ON moved.id = c.case_id),
told AS (
    INSERT INTO message (id, dedupe_key, account_id, case_id, template, params, created_at, next_attempt_at)
    SELECT m.id, m.dedupe_key, m.account_id, m.case_id, m.template, m.params::jsonb, %(at)s::timestamptz,
           %(at)s::timestamptz
    FROM unnest(%(message_id)s::uuid[], %(dedupe_key)s::text[], %(account_id)s::uuid[], %(message_case)s::uuid[],
                %(template)s::text[], %(params)s::text[])
         AS m (id, dedupe_key, account_id, case_id, template, params)
    ON CONFLICT (dedupe_key) DO NOTHING)
SELECT count(*) FROM stands
"""


def claim_owed(session: Session, limit: int, case_id: UUID | None = None) -> list[Owed]:
    """Lock the oldest cases that wait to be routed (or the one named); what somebody else holds is left to them."""
    statement = _CLAIM_OLDEST if case_id is None else _CLAIM_ONE
    rows = session.connection().exec_driver_sql(statement, {"limit": limit, "id": case_id})
    return [Owed(*row) for row in rows]


def advance_owed(session: Session, moves: Sequence[Routed]) -> None:
    """`advance` by the system for claimed cases, all in one statement.

    The ORM carries a case through seven statements and takes ten times what storing it takes (docs/adr/0102).
    """
    if not moves:
        return
    at = clock.now()
    rows: dict[str, list[Any]] = {name: [] for name in (*_MOVED, *_STARTED, *_TOLD)}
    for move in moves:
        _move_owed(session, move, at, rows)
    ((stored,),) = db.execute(session, [(_ROUTE, rows | {"at": at})])
    if stored != len(moves):
        raise RuntimeError(f"{len(moves) - stored} of {len(moves)} claimed cases were moved by somebody else")


def _move_owed(session: Session, move: Routed, at: datetime, rows: dict[str, list[Any]]) -> None:
    """Move one case and append what is stored of it to `rows`, the arrays of the statement."""
    case, verb = move.case, "assign" if move.unit_id else "undecided"
    standing = rules.Standing(
        case.state, case.published_at is not None, case.hidden_at is not None, False, queries.terms(session)
    )
    rule = _allowed_rule(case, standing, verb, SYSTEM, at)
    target = State(rules.goal(rule, None))
    case.version += 1
    case.unit_id, case.commune_id = move.unit_id, move.commune_id
    # With a deadline the case was at a unit before, in this cycle: its other clocks run on.
    starts = [
        _start(session, case, kind, case.unit_id, at) for kind in rule.starts if kind == "accept" or case.due_at is None
    ]
    _await(case, starts)
    _stand(case, target, at)
    stored = _event(case, rule, SYSTEM, at, move.reason) | {
        "id": case.id,
        "act_by": case.act_by,
        "candidates": "{" + ",".join(str(each) for each in move.candidate_ids) + "}",
        "boundary_version_id": move.boundary_version_id,
        "suggested_id": move.suggested_id,
    }
    _append(rows, _MOVED, [stored[name] for name in _MOVED])
    for start in starts:
        _append(rows, _STARTED, (case.id, start.kind, start.policy_id, start.due_at))
    if template := rules.tells(verb, SYSTEM.kind):
        params = {"reference": case.reference, "status": case.state}
        check_message(template, params)
        key = f"{case.id}:{case.version}"
        _append(rows, _TOLD, (ids.uuid7(), key, case.account_id, case.id, template, json.dumps(params)))
        db.owe(session, "notifications")
    if verb in rules.FOLLOWERS_HEAR and case.supporters:
        _tell_followers(session, case)


_MOVED = (
    "id", "seq", "verb", "to_state", "unit_id", "commune_id", "cycle", "category_code", "urgency", "channel", "code",
    "due_at", "act_by", "candidates", "boundary_version_id", "suggested_id", "body", "hash",
)  # fmt: skip
_STARTED = ("clock_case", "clock_kind", "clock_policy", "clock_due")
_TOLD = ("message_id", "dedupe_key", "account_id", "message_case", "template", "params")


def _append(rows: dict[str, list[Any]], names: Sequence[str], values: Sequence[Any]) -> None:
    for name, value in zip(names, values, strict=True):
        rows[name].append(value)


# --- what people do ------------------------------------------------------------------------------------------------


def act(
    session: Session,
    viewer: Viewer,
    seen: queries.Seen,
    verb: str,
    *,
    unit_id: UUID | None = None,
    code: str | None = None,
    note: str | None = None,
    pin: Pin | None = None,
    document: Document | None = None,
    into_id: UUID | None = None,
) -> int:
    """`advance` in the name of somebody who sees the case; returns the seq of the event."""
    actor = Actor(viewer.kind, viewer.account_id, seen.capacities)
    return advance(
        session,
        seen.case,
        seen.report,
        verb,
        actor,
        unit_id=unit_id,
        code=code,
        note=note,
        pin=pin,
        document=document,
        into_id=into_id,
    )


def check_allowed(session: Session, viewer: Viewer, seen: queries.Seen, verb: str) -> None:
    """Refuse what the table does not allow, before a move that changes the case first, for the event to say so."""
    actor = Actor(viewer.kind, viewer.account_id, seen.capacities)
    _allowed_rule(seen.case, queries.standing(session, seen.case, seen.report), verb, actor, clock.now())


def publish(session: Session, viewer: Viewer, seen: queries.Seen, body: PublishIn) -> None:
    """Make the public copy: the text as redacted, the photos chosen, the place as coarse as the category wants."""
    if not queries.standing(session, seen.case, seen.report).may_be_public:
        raise NOT_PUBLISHABLE.error()
    act(session, viewer, seen, "publish")
    make_public(session, seen.case, seen.report.id, body.description, body.media_ids)


def make_public(
    session: Session,
    case: Case,
    report_id: UUID,
    description: str | None = None,
    media_ids: Sequence[UUID] | None = None,
) -> None:
    """Write the public copy of a report and mark its case published, with the photos of afterwards there are by then.

    What a unit adds later, words or photos, stays unpublished: nobody but a dispatcher decides what the public sees.
    """
    category = catalogue(session).category(case.category_code)  # perhaps retired: a case outlives the catalogue
    content = session.get_one(ReportContent, report_id)
    lat, lon = _shown_place(session, case, category)
    case.published_at = case.updated_at
    session.add(
        PublicCopy(
            report_id=report_id,
            description=description or content.description,
            lat=lat,
            lon=lon,
            published_at=case.published_at,
        )
    )
    for row in session.exec(select(ReportMedia).where(ReportMedia.report_id == report_id)):
        row.is_public = media_ids is None or row.media_id in media_ids
    for photo in session.exec(select(CasePhoto).where(CasePhoto.case_id == case.id)):
        photo.is_public = not photo.is_withheld and (media_ids is None or photo.media_id in media_ids)


def _shown_place(session: Session, case: Case, category: Category | None) -> tuple[float, float] | tuple[None, None]:
    """Where the public sees the case: its place now, as coarse as its category wants."""
    place = queries.place_of(session, case)
    return coarsened(place.lat, place.lon, category.coarsen_m if category else 0) if place else (None, None)


def hide(session: Session, viewer: Viewer, seen: queries.Seen, reason: str) -> None:
    """Take a published report out of every public view."""
    act(session, viewer, seen, "hide", note=reason)
    seen.case.hidden_at = seen.case.updated_at


def unhide(session: Session, viewer: Viewer, seen: queries.Seen, reason: str) -> None:
    """Show a hidden report again."""
    act(session, viewer, seen, "unhide", note=reason)
    seen.case.hidden_at = None


def reject(session: Session, viewer: Viewer, seen: queries.Seen, body: RejectIn) -> None:
    """Refuse a report with a code that names the right door."""
    known = catalogue(session).reject(body.code)
    if known is None or not known.active:
        raise UNKNOWN_REJECT_CODE.error(code=body.code, pointer="/code")
    act(session, viewer, seen, "reject", code=body.code, note=body.explanation or None)
    seen.case.reject_code = body.code


def resolve(session: Session, viewer: Viewer, seen: queries.Seen, body: ResolveIn, verb: str = "resolve") -> None:
    """Record the result with its note, document and photos of afterwards; `propose` it where a lead must approve."""
    if body.until is not None and body.until <= clock.local_day(clock.now()):
        raise PLAN_NOT_AHEAD.error(pointer="/until")
    document = Document(body.document.number, body.document.issued_on) if body.document else None
    code = rules.result_code(body.outcome, body.until)
    seq = act(session, viewer, seen, verb, code=code, note=body.note, document=document)
    if body.media_ids:
        refuse_unfinished(session, viewer.id, body.media_ids)
        media_queries.owned(session, viewer.id, body.media_ids)
        _refuse_used(session, body.media_ids)
        is_withheld = verb == "propose"
        _attach(
            session,
            [
                CasePhoto(media_id=media_id, case_id=seen.case.id, seq=seq, is_withheld=is_withheld)
                for media_id in body.media_ids
            ],
        )


def rate(session: Session, viewer: Viewer, seen: queries.Seen, body: RatingIn) -> None:
    """Record the citizen's verdict; a later one replaces it, the history keeps both."""
    code = body.rating if body.reason is None else f"{body.rating}:{body.reason}"
    act(session, viewer, seen, "rate", code=code, note=body.text or None)
    seen.case.rating = body.rating


def add_information(
    session: Session, viewer: Viewer, seen: queries.Seen, body: InformationIn, verb: str = "add_information"
) -> None:
    """Add the citizen's further words and photos; to `answer` what the unit asked is the same."""
    if not body.text and not body.media_ids:
        raise NOTHING_ADDED.error()
    act(session, viewer, seen, verb, note=body.text or None)
    attach_media(session, seen.report.id, viewer.id, body.media_ids)


def assign(session: Session, viewer: Viewer, seen: queries.Seen, body: AssignIn) -> None:
    """Give a case that the rules could not place to a unit; the event says where a commune is confirmed by that."""
    check_allowed(session, viewer, seen, "assign")
    unit_id = queries.unit_in_force(session, body.unit)
    code = _confirm_commune(seen.case, _confirmed_commune(session, seen.case, unit_id, body.commune))
    act(session, viewer, seen, "assign", unit_id=unit_id, code=code, note=body.note or None)


def _confirm_commune(case: Case, commune_id: UUID | None) -> str | None:
    """Note the commune that a dispatcher confirms, where one is, before the event that says so; the event's code."""
    if commune_id is None:
        return None
    case.commune_id, case.commune_confirmed = commune_id, True
    return "confirmed"


def _confirmed_commune(session: Session, case: Case, unit_id: UUID, named: str | None = None) -> UUID | None:
    """The commune a dispatcher confirms: the one named, or the unit where a commune's case goes to a commune.

    The latter only where the boundaries leave it open: lines that were surveyed are not overruled by who does the work.
    """
    units, category = orgunits.directory(session), catalogue(session).category(case.category_code)
    if named is not None:
        return queries.commune_on(session, named, clock.local_day(clock.now()), "/commune")
    unit = units.by_id(unit_id)
    is_open = case.commune_id is None or queries.is_approximate(session, case)
    is_communes = unit is not None and unit.level == "commune" and category is not None and category.level == "commune"
    return unit_id if is_open and is_communes else None


def transfer(session: Session, viewer: Viewer, seen: queries.Seen, body: TransferIn) -> None:
    """Hand the case to another unit, as far as the own tree reaches."""
    target = queries.unit_in_force(session, body.unit)
    if target == seen.case.unit_id:  # it would only start the time to accept anew
        raise ALREADY_THERE.error(pointer="/unit")
    if not policy.may_transfer_to(viewer, seen.capacities, target, orgunits.directory(session)):
        raise NOT_IN_YOUR_TREE.error()
    check_allowed(session, viewer, seen, "transfer")
    by_dispatcher = Who.DISPATCHER in seen.capacities
    code = _confirm_commune(seen.case, _confirmed_commune(session, seen.case, target)) if by_dispatcher else None
    act(session, viewer, seen, "transfer", unit_id=target, code=code, note=body.reason)


def hand_down(session: Session, viewer: Viewer, seen: queries.Seen, body: TransferIn) -> None:
    """Give the case to a unit below the one that holds it: the time to accept begins anew, that to resolve runs on."""
    check_allowed(session, viewer, seen, "hand_down")
    target = queries.unit_in_force(session, body.unit)
    if not _is_below(session, target, seen.case.unit_id):
        raise NOT_BELOW.error(pointer="/unit")
    _pass_within(session, viewer, seen, "hand_down", target, body.reason)


def take_back(session: Session, viewer: Viewer, seen: queries.Seen, body: TakeBackIn) -> None:
    """Let a unit above have the case (again); refused to a lead who leads no unit that far up."""
    check_allowed(session, viewer, seen, "take_back")
    holder = seen.case.unit_id
    assert holder is not None
    target = queries.unit_in_force(session, body.unit) if body.unit else queries.unit_above(session, holder)
    if target is None or not _is_below(session, holder, target):
        raise NOT_ABOVE.error(pointer="/unit")
    _pass_within(session, viewer, seen, "take_back", target, body.reason)


def _is_below(session: Session, unit_id: UUID, above_id: UUID | None) -> bool:
    return above_id is not None and unit_id in orgunits.directory(session).descendants(above_id) - {above_id}


def _pass_within(  # noqa: PLR0917 - who does what with which case, and why
    session: Session, viewer: Viewer, seen: queries.Seen, verb: str, target: UUID, reason: str
) -> None:
    if not policy.may_transfer_to(viewer, seen.capacities, target, orgunits.directory(session)):
        raise NOT_IN_YOUR_TREE.error()
    act(session, viewer, seen, verb, unit_id=target, note=reason)


# --- what is corrected ----------------------------------------------------------------------------------------------
# `routing.actions` asks the router before and after, and takes the case from its unit where the answer changes.


def move_pin(session: Session, viewer: Viewer, seen: queries.Seen, location: LocationIn, reason: str) -> bool:
    """Put the case where it really lies; the report stands as received. False: it lies there already, nothing changed.

    Refuses a place that a report could not name either.
    """
    check_allowed(session, viewer, seen, "move_pin")
    case, before = seen.case, queries.place_of(session, seen.case)
    if before is not None and before[:2] == (location.lat, location.lon):
        return False
    pin = Pin(location.lat, location.lon, location.accuracy_m)
    found = boundaries.check_location(session, *pin, case.received_at)
    if not _is_still_confirmed(session, case, before, found):
        case.commune_id, case.commune_confirmed = found.commune_id, False
    case.candidate_ids, case.boundary_version_id = list(found.candidate_ids), found.boundary_version_id
    act(session, viewer, seen, "move_pin", note=reason or None, pin=pin)
    _fit_public_copy(session, seen)
    return True


def _is_still_confirmed(session: Session, case: Case, before: Pin | None, found: boundaries.Placement) -> bool:
    """Whether a confirmed commune outlives a new pin: the line it was confirmed against was not crossed."""
    if not case.commune_confirmed or before is None:
        return False
    was = boundaries.locate(session, *before, case.received_at)
    return found.commune_id in (was.commune_id, case.commune_id)


def recategorise(session: Session, viewer: Viewer, seen: queries.Seen, code: str, reason: str) -> bool:
    """Say what the case is really about; the event names the category before. False: it is that already.

    It becomes as urgent as its new category, unless somebody had given it an urgency of its own. What was published and
    now must not be is hidden at once.
    """
    check_allowed(session, viewer, seen, "recategorise")
    case, category = seen.case, queries.offered_category(session, code)
    if category.code == case.category_code:
        return False
    before, is_given = case.category_code, _given_urgency(session, case) is not None
    case.category_code = category.code
    case.urgency = case.urgency if is_given else category.urgency
    act(session, viewer, seen, "recategorise", code=before, note=reason or None)
    _fit_public_copy(session, seen)
    return True


def set_urgency(session: Session, viewer: Viewer, seen: queries.Seen, urgency: Urgency, reason: str) -> bool:
    """Make a case urgent, or normal again; the event names the urgency before. False: it is that already."""
    check_allowed(session, viewer, seen, "set_urgency")
    case, before = seen.case, seen.case.urgency
    if urgency == before:
        return False
    case.urgency = urgency
    act(session, viewer, seen, "set_urgency", code=before, note=reason)
    return True


def _fit_public_copy(session: Session, seen: queries.Seen) -> None:
    """Let what the public sees follow a correction: the place, as coarse as the category wants, or nothing any more."""
    case, copy = seen.case, session.get(PublicCopy, seen.report.id)
    if copy is None:
        return
    category = catalogue(session).category(case.category_code)
    copy.lat, copy.lon = _shown_place(session, case, category)
    if case.hidden_at is None and not queries.standing(session, case, seen.report).may_be_public:
        advance(session, case, seen.report, "hide", SYSTEM, code="category")
        case.hidden_at = case.updated_at


def close_confirmed_by_silence(session: Session, limit: int = 100) -> int:
    """Close what was resolved long ago and not disputed; returns how many cases were closed."""
    before = clock.now() - queries.terms(session).close_after
    rows = session.exec(
        select(Case, Report)
        .join(Report, col(Report.id) == Case.report_id)
        .where(Case.state == State.RESOLVED, col(Case.resolved_at) < before, col(Case.planned_until).is_(None))
        .order_by(col(Case.resolved_at))
        .limit(limit)
        .with_for_update(of=Case, skip_locked=True)
    ).all()
    for case, report in rows:
        advance(session, case, report, "close", SYSTEM)
    return len(rows)
