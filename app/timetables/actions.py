"""Entering changes of calendar and policies, and moving the running deadlines they concern."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text, update
from sqlmodel import col, select

from app.cases.rules import AWAITED, State, canonical, link
from app.catalog.queries import catalogue
from app.core import clock
from app.core.db import Session, execute, transaction
from app.core.http import Lang
from app.core.ids import uuid7
from app.core.versioned import bump, undone
from app.deadlines import actions as deadline_actions
from app.deadlines import queries as deadlines
from app.deadlines.actions import Measured, Subject
from app.deadlines.models import (
    EVERYONE,
    CalendarDay,
    DeadlinePolicy,
    PausePolicy,
    UnitGroupMember,
    WorkingHours,
)
from app.deadlines.queries import TOPIC
from app.identity.actions import audit
from app.orgunits.queries import directory
from app.timetables import queries
from app.timetables.models import TimeChange
from app.timetables.queries import OpenCase
from app.timetables.rules import Finding, against_days, against_hours, is_too_long
from app.timetables.schemas import (
    FINDINGS,
    MOST_LISTED,
    NOTHING_ENTERED,
    TIME_CHANGE_REFUSED,
    MoveOut,
    TimeChangeIn,
    TimeChangeOut,
)

VERB = "reschedule"
CHUNK = 2000
# Every process knows a change within `core.versioned.CHECK_EVERY_S`; until then clocks may start by what was before.
SETTLED = timedelta(seconds=5)
Row = CalendarDay | WorkingHours | UnitGroupMember | DeadlinePolicy | PausePolicy


# --- entering ------------------------------------------------------------------------------------------------------


def enter(session: Session, actor_id: UUID | None, body: TimeChangeIn, lang: Lang) -> TimeChangeOut:
    """Enter a change, all or nothing, audited; with `dry_run` only say which running deadlines would move.

    What speaks against it is refused as a list. The deadlines are moved by `recompute_owed`.
    """
    _one_at_a_time(session)
    if not (body.days or body.weeks or body.groups or body.policies or body.pauses):
        raise NOTHING_ENTERED.error()
    if findings := [*_findings(session, body)]:
        raise TIME_CHANGE_REFUSED.error(extra={"errors": [_told(each, lang) for each in findings]})
    before = session.begin_nested()
    at = clock.now()
    entered = [*_store(session, body, at)]
    session.flush()
    bump(session, TOPIC)
    moves = _preview(session, at)
    if body.dry_run:
        before.rollback()
        undone(session, TOPIC)
        return _answer(None, entered, moves)
    before.commit()
    change = TimeChange(id=uuid7(), entered_at=at, actor_id=actor_id, note=body.note, entered=entered)
    session.add(change)
    audit(session, actor_id, TOPIC, str(change.id), None, {"entered": entered, "note": body.note})
    return _answer(change.id, entered, moves)


def _one_at_a_time(session: Session) -> None:
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext('deadlines.load'))"))


def _answer(change_id: UUID | None, entered: list[str], moves: list[MoveOut]) -> TimeChangeOut:
    moves.sort(key=lambda each: (each.new_due_at, each.reference, each.clock))
    return TimeChangeOut(
        id=change_id,
        stored=change_id is not None,
        entered=entered,
        would_move=len(moves),
        moves=moves[:MOST_LISTED],
    )


def _told(finding: Finding, lang: Lang) -> dict[str, object]:
    return {
        "pointer": finding.pointer,
        "code": finding.code,
        "params": dict(finding.params),
        "detail": FINDINGS[finding.code][lang == "en"].format(**finding.params),
    }


def _findings(session: Session, body: TimeChangeIn) -> Iterator[Finding]:
    """Everything that speaks against a change, in the order of its parts."""
    today = clock.local_day(clock.now())
    yield from against_days([(each.unit_group, each.date) for each in body.days], today, "/days")
    for place, week in enumerate(body.weeks):
        yield from against_hours([each.plain() for each in week.hours], f"/weeks/{place}")
    yield from _against_groups(session, body)
    yield from _against_policies(session, body)
    yield from _against_pauses(session, body)


def _against_groups(session: Session, body: TimeChangeIn) -> Iterator[Finding]:
    hours = {EVERYONE, *deadlines.weeks_entered(session), *(each.unit_group for each in body.weeks)}
    members = {*deadlines.groups_entered(session).values(), *(each.unit_group for each in body.groups)}
    for place, day in enumerate(body.days):
        if day.unit_group not in hours | members:
            yield Finding("unknown_group", f"/days/{place}/unit_group", {"group": day.unit_group})
    own_days = {group for group, _ in deadlines.days_in_force(session)} | {each.unit_group for each in body.days}
    units, today, seen = directory(session), clock.local_day(clock.now()), set[str]()
    for place, group in enumerate(body.groups):
        if group.unit_group not in hours | own_days:
            yield Finding("unknown_group", f"/groups/{place}/unit_group", {"group": group.unit_group})
        for number, code in enumerate(group.units):
            where = f"/groups/{place}/units/{number}"
            if units.by_code(code, today) is None:
                yield Finding("unknown_unit", where, {"unit": code})
            if code in seen:
                yield Finding("unit_twice", where, {"unit": code})
            seen.add(code)


def _against_policies(session: Session, body: TimeChangeIn) -> Iterator[Finding]:
    known = catalogue(session)
    defaults = [
        (policy.clock, policy.valid_from)
        for policies in deadlines.policies_entered(session).values()
        for policy in policies
        if policy.category_code is None and policy.urgency is None
    ]
    defaults += [(each.clock, each.valid_from) for each in body.policies if not (each.category or each.urgency)]
    seen: set[tuple[str, str | None, str | None, date]] = set()
    for place, policy in enumerate(body.policies):
        where = f"/policies/{place}"
        if policy.length() is None:
            yield Finding("length_unclear", f"{where}/days")
        if policy.category is not None and known.category(policy.category) is None:
            yield Finding("unknown_category", f"{where}/category", {"category": policy.category})
        if not any(clock_ == policy.clock and since <= policy.valid_from for clock_, since in defaults):
            yield Finding("policy_without_default", f"{where}/valid_from", {"day": policy.valid_from.isoformat()})
        if (key := (policy.clock, policy.category, policy.urgency, policy.valid_from)) in seen:
            yield Finding("policy_twice", where)
        seen.add(key)


def _against_pauses(session: Session, body: TimeChangeIn) -> Iterator[Finding]:
    defaults = [policy.valid_from for policy in deadlines.pause_policies_entered(session).get(None, ())]
    defaults += [each.valid_from for each in body.pauses if each.reason is None]
    seen: set[tuple[str | None, date]] = set()
    for place, pause in enumerate(body.pauses):
        where, longest = f"/pauses/{place}", pause.length()
        if longest is None:
            yield Finding("length_unclear", f"{where}/days")
        elif is_too_long(longest):
            yield Finding("pause_too_long", where)
        if not any(since <= pause.valid_from for since in defaults):
            yield Finding("policy_without_default", f"{where}/valid_from", {"day": pause.valid_from.isoformat()})
        if (pause.reason, pause.valid_from) in seen:
            yield Finding("policy_twice", where)
        seen.add((pause.reason, pause.valid_from))


def _store(session: Session, body: TimeChangeIn, at: datetime) -> Iterator[str]:
    """Add the rows of a change and yield a line for each thing entered."""
    for day in body.days:
        plain = day.model_dump()
        session.add(CalendarDay(**plain, source="override", entered_at=at))
        yield f"day {day.date} {day.unit_group} {day.state}: {day.note}"
    for week in body.weeks:
        session.add_all(
            WorkingHours(
                unit_group=week.unit_group,
                weekday=weekday,
                start_minute=start,
                end_minute=end,
                effective_from=week.effective_from,
                entered_at=at,
            )
            for weekdays, intervals in (each.plain() for each in week.hours)
            for weekday in weekdays
            for start, end in intervals
        )
        yield f"hours {week.unit_group} from {week.effective_from}"
    yield from _store_groups(session, body, at)
    yield from _store_policies(session, body, at)


def _store_groups(session: Session, body: TimeChangeIn, at: datetime) -> Iterator[str]:
    units, today = directory(session), clock.local_day(at)
    for group in body.groups:
        for code in group.units:
            unit = units.by_code(code, today)
            assert unit is not None, "checked before"
            session.add(UnitGroupMember(unit_id=unit.id, unit_group=group.unit_group, entered_at=at))
        yield f"group {group.unit_group}: {', '.join(group.units)}"


def _store_policies(session: Session, body: TimeChangeIn, at: datetime) -> Iterator[str]:
    for policy in body.policies:
        length = policy.length()
        assert length is not None, "checked before"
        session.add(
            DeadlinePolicy(
                category_code=policy.category,
                urgency=policy.urgency,
                clock=policy.clock,
                kind=length.kind,
                minutes=length.minutes,
                valid_from=policy.valid_from,
                entered_at=at,
                decision=policy.decision,
                belief=policy.decision is None,
            )
        )
        whose = " ".join(filter(None, (policy.category or EVERYONE, policy.urgency)))
        yield f"{policy.clock} {whose} from {policy.valid_from}: {length.minutes} minutes {length.kind}"
    for pause in body.pauses:
        length = pause.length()
        assert length is not None, "checked before"
        session.add(
            PausePolicy(
                reason=pause.reason,
                kind=length.kind,
                minutes=length.minutes,
                times=pause.times,
                valid_from=pause.valid_from,
                entered_at=at,
                decision=pause.decision,
                belief=pause.decision is None,
            )
        )
        whose, times = pause.reason or EVERYONE, pause.times
        yield f"pause {whose} from {pause.valid_from}: {times} of {length.minutes} minutes {length.kind}"


# --- moving running deadlines --------------------------------------------------------------------------------------


def _preview(session: Session, at: datetime) -> list[MoveOut]:
    """Which running deadlines are not what calendar and policies now say."""
    ids = queries.cases_with_running_clocks(session)
    moves: list[MoveOut] = []
    for chunk in _chunks(ids):
        cases = queries.open_cases(session, chunk)
        references = {case.id: case.reference for case in cases}
        moves.extend(
            MoveOut(reference=references[each.case_id], clock=each.kind, due_at=each.old_due_at, new_due_at=each.due_at)
            for each in deadline_actions.measured_anew(session, _subjects(session, cases), at)
            if each.moves
        )
    return moves


def recompute_owed() -> int:
    """Move the running deadlines that entered changes owe a move; returns how many moved.

    Chunk by chunk, each its own transaction; safe to break off and to run twice, since a deadline that is right
    already does not move.
    """
    moved = 0
    while True:
        with transaction() as session:
            owed = select(TimeChange).where(col(TimeChange.done_at).is_(None))
            ripe = owed.where(col(TimeChange.entered_at) <= clock.now() - SETTLED)
            change = session.exec(ripe.order_by(col(TimeChange.entered_at)).limit(1)).first()
            if change is None:
                return moved
            ids = queries.cases_with_running_clocks(session)
        for chunk in _chunks(ids):
            with transaction() as session:
                moved += recompute(session, change, chunk)
        with transaction() as session:
            done = update(TimeChange).where(col(TimeChange.id) == change.id, col(TimeChange.done_at).is_(None))
            session.execute(done.values(done_at=clock.now()))


def recompute(session: Session, change: TimeChange, case_ids: Sequence[UUID]) -> int:
    """Move the running deadlines of some cases, with an event for each case; returns how many moved.

    Boards and seals read events: a deadline that moved without one would be another deadline to them.
    """
    cases = queries.open_cases(session, case_ids, locked=True)
    at = clock.now()
    running = deadline_actions.recompute_open(
        session, _subjects(session, cases), at=at, actor_id=change.actor_id, reason=VERB
    )
    moved = sum(each.moves for each in running)
    if moved:
        _tell(session, cases, running, change, at)
        counted = update(TimeChange).where(col(TimeChange.id) == change.id)
        session.execute(counted.values(moved=TimeChange.moved + moved))
    return moved


def _subjects(session: Session, cases: Sequence[OpenCase]) -> list[Subject]:
    return [
        Subject(case.id, case.category_code, queries.given_urgency(session, case), case.version + 1) for case in cases
    ]


_TELL = """
WITH moved AS (
    SELECT * FROM unnest(
        %(id)s::uuid[], %(seq)s::int[], %(state)s::text[], %(unit_id)s::uuid[], %(commune_id)s::uuid[],
        %(cycle)s::smallint[], %(category_code)s::text[], %(urgency)s::text[], %(channel)s::text[],
        %(due_at)s::timestamptz[], %(act_by)s::timestamptz[], %(body)s::bytea[], %(hash)s::bytea[])
    AS m (id, seq, state, unit_id, commune_id, cycle, category_code, urgency, channel, due_at, act_by, body, hash)),
stands AS (
    UPDATE case_file SET version = seq, due_at = moved.due_at, act_by = moved.act_by,
           updated_at = %(at)s::timestamptz, head = hash
    FROM moved WHERE case_file.id = moved.id),
stays AS (
    UPDATE case_hop SET due_at = moved.due_at FROM moved WHERE case_hop.case_id = moved.id AND ended_at IS NULL),
event AS (
    INSERT INTO case_event (case_id, seq, at, verb, from_state, to_state, actor_kind, actor_id, unit_id, commune_id,
                            cycle, category_code, urgency, channel, code, due_at, body, hash)
    SELECT id, seq, %(at)s::timestamptz, %(verb)s::text, state, state, %(actor_kind)s::text, %(actor_id)s::uuid,
           unit_id, commune_id, cycle, category_code, urgency, channel, %(code)s::text, due_at, body, hash FROM moved)
SELECT count(*) FROM moved
"""


def _tell(
    session: Session, cases: Sequence[OpenCase], running: Sequence[Measured], change: TimeChange, at: datetime
) -> None:
    """Put moved deadlines on their cases and stays, each with the event that says so; it names the change."""
    said: dict[str, Any] = {
        "at": at,
        "verb": VERB,
        "actor_kind": "staff" if change.actor_id else "system",
        "actor_id": change.actor_id,
        "code": str(change.id),
    }
    due: dict[UUID, dict[str, datetime]] = defaultdict(dict)
    for each in running:
        due[each.case_id][each.kind] = each.due_at
    concerned = {each.case_id for each in running if each.moves}
    rows = [_row(case, said, due[case.id]) for case in cases if case.id in concerned]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    execute(session, [(_TELL, columns | said)])


def _row(case: OpenCase, said: dict[str, Any], due: Mapping[str, datetime]) -> dict[str, Any]:
    """A case after its deadlines moved, with the event hashed onto its chain; `due` holds all of its running clocks."""
    event = said | {
        "case_id": case.id,
        "seq": case.version + 1,
        "from_state": case.state,
        "to_state": case.state,
        "unit_id": case.unit_id,
        "commune_id": case.commune_id,
        "cycle": case.cycle,
        "category_code": case.category_code,
        "urgency": case.urgency,
        "channel": case.channel,
        "due_at": due.get("resolve", case.due_at),
    }
    body = canonical(event)
    columns = ("seq", "unit_id", "commune_id", "cycle", "category_code", "urgency", "channel", "due_at")
    return {name: event[name] for name in columns} | {
        "id": case.id,
        "state": case.state,
        "act_by": min((due[kind] for kind in AWAITED.get(State(case.state), ()) if kind in due), default=case.act_by),
        "body": body,
        "hash": link(bytes(case.head), body),
    }


def _chunks(ids: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))
