"""Starting and stopping clocks, recording breaches, and loading calendar and policies from the province pack."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple, cast
from uuid import UUID

import holidays
from sqlalchemy import CursorResult, text
from sqlmodel import col, select

from app.catalog.models import CategoryRow
from app.catalog.rules import Urgency
from app.core import clock
from app.core.db import Session, execute
from app.core.packfile import Finding, PackError, read_with_source
from app.core.versioned import bump
from app.deadlines import queries
from app.deadlines.models import (
    EVERYONE,
    CalendarDay,
    ClockPause,
    DeadlinePolicy,
    PausePolicy,
    SlaClock,
    SupersededDeadline,
    WorkingHours,
)
from app.deadlines.rules import (
    CLOCKS,
    DIRECTIVE,
    POLICY_CLOCKS,
    ClockKind,
    Pause,
    Policy,
    breach,
    due,
    is_met,
    replanned,
)
from app.deadlines.schemas import DIRECTIVE_PAST, PAUSES_USED_UP, CalendarFile, PoliciesFile
from app.identity.actions import audit

HOLIDAY_YEARS = range(2025, 2029)
# The reason of the pause that covers the time between a stop and the event that took it back.
REINSTATED = "reinstated"


@dataclass(frozen=True, slots=True)
class Start:
    """One clock to start; `policy_id` and `due_at` come from `queries.deadline`. For a directive see `direct`."""

    case_id: UUID
    kind: ClockKind
    seq: int
    cycle: int
    unit_id: UUID | None
    policy_id: UUID | None
    started_at: datetime
    due_at: datetime


# --- clocks --------------------------------------------------------------------------------------------------------


def start(
    session: Session,
    *,
    case_id: UUID,
    kind: ClockKind,
    seq: int,
    cycle: int,
    unit_id: UUID | None,
    category_code: str,
    at: datetime,
) -> SlaClock:
    """Start a clock with the event `seq`.

    One of its kind that is still open in this cycle runs on instead and is returned: no touch resets a clock.
    """
    for running in _open(session, case_id, [kind]):
        if running.cycle == cycle:
            return running
    planned = queries.deadline(session, category_code, kind, at, unit_id=unit_id)
    started = SlaClock(
        case_id=case_id,
        kind=kind,
        started_seq=seq,
        cycle=cycle,
        unit_id=unit_id,
        policy_id=planned.policy_id,
        started_at=at,
        due_at=planned.due_at,
    )
    session.add(started)
    return started


_START_MANY = text("""
INSERT INTO sla_clock (case_id, kind, started_seq, cycle, unit_id, policy_id, started_at, due_at)
SELECT new.* FROM unnest(
    CAST(:case_ids AS uuid[]), CAST(:kinds AS text[]), CAST(:seqs AS int[]), CAST(:cycles AS smallint[]),
    CAST(:unit_ids AS uuid[]), CAST(:policy_ids AS uuid[]), CAST(:starts AS timestamptz[]), CAST(:dues AS timestamptz[])
) AS new (case_id, kind, started_seq, cycle, unit_id, policy_id, started_at, due_at)
WHERE NOT EXISTS (
    SELECT FROM sla_clock running
    WHERE running.case_id = new.case_id AND running.kind = new.kind AND running.cycle = new.cycle
      AND running.stopped_at IS NULL)
""")


def start_many(session: Session, starts: Sequence[Start]) -> None:
    """Start clocks of any number of cases in one statement, by the same rule as `start`."""
    if not starts:
        return
    session.flush()  # a clock stopped a line before must count as stopped
    session.execute(
        _START_MANY,
        {
            "case_ids": [each.case_id for each in starts],
            "kinds": [each.kind for each in starts],
            "seqs": [each.seq for each in starts],
            "cycles": [each.cycle for each in starts],
            "unit_ids": [each.unit_id for each in starts],
            "policy_ids": [each.policy_id for each in starts],
            "starts": [each.started_at for each in starts],
            "dues": [each.due_at for each in starts],
        },
    )


def begin(session: Session, start: Start) -> None:
    """Start a clock of which none can be running; written with the session's next flush, together with others."""
    session.add(
        SlaClock(
            case_id=start.case_id,
            kind=start.kind,
            started_seq=start.seq,
            cycle=start.cycle,
            unit_id=start.unit_id,
            policy_id=start.policy_id,
            started_at=start.started_at,
            due_at=start.due_at,
        )
    )


def direct(
    session: Session, *, case_id: UUID, seq: int, cycle: int, unit_id: UUID | None, due_at: datetime, at: datetime
) -> SlaClock:
    """Start the clock of a leader's directive, which falls due at the moment the leader gave.

    That moment is nobody else's to move: no pause, extension or change of policy touches it. Several may run.
    """
    if due_at <= at:
        raise DIRECTIVE_PAST.error(pointer="/due_at")
    started = SlaClock(
        case_id=case_id,
        kind=DIRECTIVE,
        started_seq=seq,
        cycle=cycle,
        unit_id=unit_id,
        policy_id=None,
        started_at=at,
        due_at=due_at,
    )
    session.add(started)
    return started


def stop(session: Session, *, case_id: UUID, kinds: Collection[str], at: datetime) -> list[SlaClock]:
    """Stop the open clocks of these kinds and write their verdicts; what was not running is left alone.

    A paused one is resumed by it: the pause lasted until the stop, the deadline is what that makes it.
    """
    stopped = _open(session, case_id, kinds)
    for each in stopped:
        if each.paused_at is not None:
            _end_pause(session, each, at)
        each.stopped_at = at
        each.breached_at = each.breached_at or breach(each.due_at, at)
        each.met = is_met(each.due_at, each.breached_at, at)
    return stopped


def stop_all(session: Session, case_id: UUID, at: datetime) -> list[SlaClock]:
    """Stop every open clock of a case that ends (rejected, merged, withdrawn)."""
    return stop(session, case_id=case_id, kinds=CLOCKS, at=at)


def replan(
    session: Session,
    *,
    case_id: UUID,
    category_code: str,
    urgency: Urgency | None,
    seq: int,
    actor_id: UUID | None,
    reason: str,
    at: datetime,
) -> list[SlaClock]:
    """Measure the running clocks of a case anew, from their original starts; returns all that run.

    What each was measured by until the event `seq` stays beside it (deadline rule 4); see `rules.replanned`.
    """
    running = _open(session, case_id, CLOCKS)
    for each in running:
        if each.policy_id is None:
            continue
        kind = cast("ClockKind", each.kind)
        policy = queries.policy_for(session, category_code, kind, each.started_at, urgency)
        if policy.id == each.policy_id:
            continue
        _supersede(session, each, seq=seq, actor_id=actor_id, reason=reason, at=at)
        _measure(session, each, policy, at)
    return running


# --- pauses and extensions -----------------------------------------------------------------------------------------


def pause(session: Session, *, case_id: UUID, kind: ClockKind, seq: int, reason: str, at: datetime) -> SlaClock | None:
    """Let a running clock stand still from the event `seq` on; None where none of its kind runs, or a directive.

    Its deadline moves at once to the latest it can become, so that nobody who reads it needs to know of pauses. One
    that is paused already stays so, by its first pause. Refused when the policy's number of pauses for that reason is
    used up. `reason` is a code, never what somebody wrote.
    """
    running = _running(session, case_id, kind)
    if running is None or kind == DIRECTIVE:
        return None
    if running.paused_at is not None:
        return running
    cap = queries.pause_policy(session, reason, at)
    before = queries.pauses_of(session, running)
    if sum(each.reason == reason for each in before) >= cap.times:
        raise PAUSES_USED_UP.error(times=cap.times)
    session.add(
        ClockPause(
            case_id=case_id,
            kind=kind,
            started_seq=running.started_seq,
            seq=seq,
            reason=reason,
            policy_id=cap.id,
            began_at=at,
            capped_at=due(queries.calendar_of(session, running.unit_id), at, cap.longest),
        )
    )
    running.paused_at = at
    _measure(session, running, _policy_of(session, running), at)
    return running


def resume(session: Session, *, case_id: UUID, kind: ClockKind, seq: int, at: datetime) -> SlaClock | None:
    """Let a paused clock run on; its deadline has moved by exactly what it would have counted meanwhile, or the cap.

    None where none of its kind runs; one that is not paused is left as it is.
    """
    running = _running(session, case_id, kind)
    if running is not None and running.paused_at is not None:
        _end_pause(session, running, at, seq)
    return running


def extend(
    session: Session,
    *,
    case_id: UUID,
    kind: ClockKind,
    minutes: int,
    seq: int,
    actor_id: UUID | None,
    reason: str,
    at: datetime,
) -> SlaClock | None:
    """Add working minutes to what a running clock allows (see `rules.due`); None where none of its kind runs.

    The deadline it had stays beside it; a breach of it stays a breach. A directive is not extended: None.
    """
    if minutes <= 0:
        raise ValueError("an extension is longer than nothing")
    running = _running(session, case_id, kind)
    if running is None or kind == DIRECTIVE:
        return None
    _supersede(session, running, seq=seq, actor_id=actor_id, reason=reason, at=at)
    running.extended_minutes += minutes
    _measure(session, running, _policy_of(session, running), at)
    return running


def reinstate(session: Session, *, case_id: UUID, kind: ClockKind, seq: int, at: datetime) -> SlaClock | None:
    """Take the last stop of a clock back: it runs on as if it had not stopped, and the time since does not count.

    None where it never ran; one that runs is left as it is. A breach that the stop found stays.
    """
    runs = [each for each in queries.clocks_of(session, case_id) if each.kind == kind]
    if not runs or runs[-1].stopped_at is None:
        return runs[-1] if runs else None
    last, stopped_at = runs[-1], runs[-1].stopped_at
    last.stopped_at = last.met = None
    if kind != DIRECTIVE:
        row = ClockPause(
            case_id=case_id,
            kind=kind,
            started_seq=last.started_seq,
            seq=seq,
            reason=REINSTATED,
            began_at=stopped_at,
            capped_at=max(at, stopped_at),
            ended_at=max(at, stopped_at),
            ended_seq=seq,
        )
        session.add(row)
        _measure(session, last, _policy_of(session, last), stopped_at)  # it did not run since: nothing was missed
    return last


def _running(session: Session, case_id: UUID, kind: ClockKind) -> SlaClock | None:
    return next(iter(_open(session, case_id, [kind])), None)


def _end_pause(session: Session, paused: SlaClock, at: datetime, seq: int | None = None) -> None:
    row = next(each for each in queries.pauses_of(session, paused) if each.ended_at is None)
    row.ended_at, row.ended_seq, paused.paused_at = max(at, row.began_at), seq, None
    _measure(session, paused, _policy_of(session, paused), at)


def _policy_of(session: Session, running: SlaClock) -> Policy:
    assert running.policy_id is not None, "a directive is measured by no policy"
    return queries.policy(session, running.policy_id)


def _supersede(
    session: Session, running: SlaClock, *, seq: int, actor_id: UUID | None, reason: str, at: datetime
) -> None:
    session.add(
        SupersededDeadline(
            case_id=running.case_id,
            kind=running.kind,
            started_seq=running.started_seq,
            seq=seq,
            policy_id=_policy_of(session, running).id,
            due_at=running.due_at,
            at=at,
            actor_id=actor_id,
            reason=reason,
        )
    )


def _measure(session: Session, running: SlaClock, policy: Policy, at: datetime) -> None:
    """Put a clock by a policy, from its original start, with its extensions and pauses."""
    new = replanned(
        queries.calendar_of(session, running.unit_id),
        running.started_at,
        policy.duration,
        due_at=running.due_at,
        breached_at=running.breached_at,
        now=at,
        extended=running.extended_minutes,
        pauses=queries.counted(queries.pauses_of(session, running)),
    )
    running.policy_id, running.due_at, running.breached_at = policy.id, new.due_at, new.breached_at


# --- measured anew after a change of calendar or policies ---------------------------------------------------------


class Subject(NamedTuple):
    """An open case whose clocks are measured anew, locked by the caller; `seq` is the event that says so.

    `urgency`: the one somebody gave it, see `queries.policy_for`.
    """

    case_id: UUID
    category_code: str
    urgency: Urgency | None
    seq: int


class Measured(NamedTuple):
    """A running clock as calendar and policies now have it, and as it was."""

    case_id: UUID
    kind: str
    started_seq: int
    seq: int
    old_policy_id: UUID
    policy_id: UUID
    old_due_at: datetime
    due_at: datetime
    breached_at: datetime | None

    @property
    def moves(self) -> bool:
        """Whether it falls due at another moment than it did."""
        return self.due_at != self.old_due_at


_OPEN_CLOCKS = """
SELECT case_id, kind, started_seq, unit_id, policy_id, started_at, due_at, breached_at, extended_minutes
FROM sla_clock WHERE case_id = ANY(%(cases)s::uuid[]) AND stopped_at IS NULL AND policy_id IS NOT NULL
ORDER BY case_id, started_seq, kind
"""
_THEIR_PAUSES = """
SELECT case_id, kind, started_seq, began_at, LEAST(ended_at, capped_at)
FROM clock_pause WHERE case_id = ANY(%(cases)s::uuid[])
"""
_MOVE = """
WITH moved AS (
    SELECT * FROM unnest(
        %(case_id)s::uuid[], %(kind)s::text[], %(started_seq)s::int[], %(seq)s::int[], %(old_policy_id)s::uuid[],
        %(policy_id)s::uuid[], %(old_due_at)s::timestamptz[], %(due_at)s::timestamptz[], %(breached_at)s::timestamptz[])
    AS m (case_id, kind, started_seq, seq, old_policy_id, policy_id, old_due_at, due_at, breached_at)),
stands AS (
    UPDATE sla_clock SET policy_id = moved.policy_id, due_at = moved.due_at,
           breached_at = COALESCE(sla_clock.breached_at, moved.breached_at)
    FROM moved WHERE sla_clock.case_id = moved.case_id AND sla_clock.kind = moved.kind
      AND sla_clock.started_seq = moved.started_seq),
kept AS (
    INSERT INTO superseded_deadline (case_id, kind, started_seq, seq, policy_id, due_at, at, actor_id, reason)
    SELECT case_id, kind, started_seq, seq, old_policy_id, old_due_at, %(at)s::timestamptz, %(actor_id)s::uuid,
           %(reason)s::text FROM moved)
SELECT count(*) FROM moved
"""


def measured_anew(session: Session, subjects: Sequence[Subject], at: datetime) -> list[Measured]:
    """All running clocks of these cases that a policy measures, by calendar and policies as they are now.

    Nothing is written. Each is measured from its original start, with its extensions and pauses.
    """
    by_case = {each.case_id: each for each in subjects}
    asked = {"cases": list(by_case)}
    connection = session.connection()
    pauses: dict[tuple[UUID, str, int], list[Pause]] = defaultdict(list)
    for case_id, kind, started_seq, began, ended in connection.exec_driver_sql(_THEIR_PAUSES, asked):
        pauses[case_id, kind, started_seq].append(Pause(began, ended))
    measured: list[Measured] = []
    for row in connection.exec_driver_sql(_OPEN_CLOCKS, asked):
        case_id, kind, started_seq, unit_id, policy_id, started_at, due_at, breached_at, extended = row
        subject = by_case[case_id]
        policy = queries.policy_for(session, subject.category_code, kind, started_at, subject.urgency)
        new = replanned(
            queries.calendar_of(session, unit_id),
            started_at,
            policy.duration,
            due_at=due_at,
            breached_at=breached_at,
            now=at,
            extended=extended,
            pauses=pauses.get((case_id, kind, started_seq), ()),
        )
        measured.append(
            Measured(case_id, kind, started_seq, subject.seq, policy_id, policy.id, due_at, new.due_at, new.breached_at)
        )
    return measured


def recompute_open(
    session: Session, subjects: Sequence[Subject], *, at: datetime, actor_id: UUID | None, reason: str
) -> list[Measured]:
    """Measure the running clocks of a chunk of cases anew and write what moved, in one statement; returns all of them.

    The deadlines before stay beside the new ones, and a breach stays a breach (deadline rules 4 and 8).
    """
    measured = measured_anew(session, subjects, at)
    if moved := [each for each in measured if each.moves]:
        columns = dict(zip(Measured._fields, map(list, zip(*moved, strict=True)), strict=True))
        execute(session, [(_MOVE, columns | {"at": at, "actor_id": actor_id, "reason": reason})])
    return measured


_BREACHES = text("""
UPDATE sla_clock SET breached_at = due_at
WHERE (case_id, kind, started_seq) IN (
    SELECT case_id, kind, started_seq FROM sla_clock
    WHERE stopped_at IS NULL AND breached_at IS NULL AND due_at < :now
    ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED)
""")


def record_breaches(session: Session, now: datetime, limit: int = 500) -> int:
    """Record the breach of open clocks past due, oldest first: what nobody touches becomes overdue too.

    Returns how many were recorded; `limit` of them means that there may be more.
    """
    return cast("CursorResult[Any]", session.execute(_BREACHES, {"now": now, "limit": limit})).rowcount


def _open(session: Session, case_id: UUID, kinds: Collection[str]) -> list[SlaClock]:
    rows = select(SlaClock).where(
        SlaClock.case_id == case_id, col(SlaClock.kind).in_(kinds), col(SlaClock.stopped_at).is_(None)
    )
    return list(session.exec(rows.order_by(col(SlaClock.started_seq), col(SlaClock.kind))))


# --- the province pack ---------------------------------------------------------------------------------------------
# Rows are only ever added: what the file says is entered unless the very same was entered before. So a second load
# changes nothing, and a load never overturns what an administrator entered after the file was loaded first.


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load entered (a line each, for the audit and the operator), and how many rows it found in place."""

    entered: tuple[str, ...]
    kept: int


def check_pack(pack_dir: Path, categories: Iterable[str]) -> list[Finding]:
    """Everything that is wrong in the pack's calendar and policies, given the codes of its categories."""
    findings: list[Finding] = []
    for read in (lambda: _calendar_file(pack_dir), lambda: _policies_file(pack_dir, frozenset(categories))):
        try:
            read()
        except PackError as error:
            findings.extend(error.findings)
    return findings


def load_calendar(session: Session, pack_dir: Path, years: Iterable[int] = HOLIDAY_YEARS) -> Loaded:
    """Enter working hours and exceptional days of the pack, and the public holidays of `years`."""
    _one_at_a_time(session)
    file = _calendar_file(pack_dir)
    now = clock.now()
    hours = _new_hours(session, file, now)
    overrides = _new_overrides(session, file, now)
    library = _new_holidays(session, sorted(set(years)), now)
    session.add_all([*hours, *overrides, *library])
    weeks = {(row.unit_group, row.effective_from) for row in hours}
    entered = [
        *sorted(f"hours {group} from {effective}" for group, effective in weeks),
        *(f"{row.source} {row.date} {row.unit_group} {row.state}" for row in (*overrides, *library)),
    ]
    kept = len(file.weeks()) + len(file.overrides) - len(weeks) - len(overrides)
    return _finish(session, "calendar.yaml", entered, kept)


def load_policies(session: Session, pack_dir: Path) -> Loaded:
    """Enter the deadlines of the pack; its categories are loaded before."""
    _one_at_a_time(session)
    codes = session.exec(select(CategoryRow.code).where(col(CategoryRow.active).is_(True))).all()
    file = _policies_file(pack_dir, frozenset(codes))
    now = clock.now()
    before = {
        (
            policy.clock,
            policy.category_code,
            policy.urgency,
            policy.valid_from,
            policy.duration,
            policy.decision,
            policy.belief,
        )
        for policies in queries.policies_entered(session).values()
        for policy in policies
    }
    wanted = [
        (entry.clock, code, entry.urgency, entry.valid_from, entry.duration(), entry.decision, entry.belief)
        for entry in file.policies
        for code in entry.codes()
    ]
    fresh = [row for row in wanted if row not in before]
    session.add_all(
        DeadlinePolicy(
            category_code=code,
            urgency=urgency,
            clock=kind,
            kind=duration.kind,
            minutes=duration.minutes,
            valid_from=valid_from,
            entered_at=now,
            decision=decision,
            belief=belief,
        )
        for kind, code, urgency, valid_from, duration, decision, belief in fresh
    )
    entered = [
        f"{kind} {' '.join(filter(None, (code or EVERYONE, urgency)))} from {valid_from}:"
        f" {duration.minutes} minutes {duration.kind}"
        for kind, code, urgency, valid_from, duration, _, _ in fresh
    ]
    pauses = _new_pauses(session, file, now)
    session.add_all(pauses)
    entered += [
        f"pause {row.reason or EVERYONE} from {row.valid_from}: {row.times} of {row.minutes} minutes {row.kind}"
        for row in pauses
    ]
    return _finish(session, "policies.yaml", entered, len(wanted) + len(file.pauses) - len(entered))


def _one_at_a_time(session: Session) -> None:
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext('deadlines.load'))"))


def _finish(session: Session, file: str, entered: list[str], kept: int) -> Loaded:
    if entered:
        session.flush()
        audit(session, None, queries.TOPIC, file, None, {"entered": entered})
        bump(session, queries.TOPIC)
    return Loaded(tuple(entered), kept)


def _calendar_file(pack_dir: Path) -> CalendarFile:
    file, source = read_with_source(pack_dir / "calendar.yaml", CalendarFile)
    if findings := [source.finding(message, *where) for message, where in file.contradictions()]:
        raise PackError(findings)
    return file


def _policies_file(pack_dir: Path, categories: frozenset[str]) -> PoliciesFile:
    file, source = read_with_source(pack_dir / "policies.yaml", PoliciesFile)
    if findings := [
        source.finding(message, *where) for message, where in file.contradictions(POLICY_CLOCKS, categories)
    ]:
        raise PackError(findings)
    return file


def _new_hours(session: Session, file: CalendarFile, now: datetime) -> list[WorkingHours]:
    before = queries.weeks_entered(session)
    rows: list[WorkingHours] = []
    for (group, effective), week in file.weeks().items():
        if any(since == effective and known == week for (since, _), known in before.get(group, {}).items()):
            continue
        rows.extend(
            WorkingHours(
                unit_group=group,
                weekday=weekday,
                start_minute=begin,
                end_minute=end,
                effective_from=effective,
                entered_at=now,
            )
            for weekday, intervals in week.items()
            for begin, end in intervals
        )
    return rows


def _new_pauses(session: Session, file: PoliciesFile, now: datetime) -> list[PausePolicy]:
    before = {
        (row.reason, row.longest, row.times, row.valid_from, row.decision, row.belief)
        for rows in queries.pause_policies_entered(session).values()
        for row in rows
    }
    return [
        PausePolicy(
            reason=entry.reason,
            kind=entry.duration().kind,
            minutes=entry.duration().minutes,
            times=entry.times,
            valid_from=entry.valid_from,
            entered_at=now,
            decision=entry.decision,
            belief=entry.belief,
        )
        for entry in file.pauses
        if (entry.reason, entry.duration(), entry.times, entry.valid_from, entry.decision, entry.belief) not in before
    ]


def _new_overrides(session: Session, file: CalendarFile, now: datetime) -> list[CalendarDay]:
    before = {
        (row.date, row.unit_group, row.state, row.note)
        for row in session.exec(select(CalendarDay).where(CalendarDay.source == "override"))
    }
    return [
        CalendarDay(
            date=each.date,
            unit_group=each.unit_group,
            state=each.state,
            note=each.note,
            source="override",
            entered_at=now,
        )
        for each in file.overrides
        if (each.date, each.unit_group, each.state, each.note) not in before
    ]


def _new_holidays(session: Session, years: Sequence[int], now: datetime) -> list[CalendarDay]:
    """Find what the library says now and did not say before; a holiday it no longer knows becomes a normal day again.

    Its days off only: its `weekend_workdays` holds other years' dates, so make-up days are overrides.
    """
    names: dict[date, str] = dict(holidays.country_holidays("VN", years=years, language="vi"))
    rows = select(CalendarDay).where(CalendarDay.source == "library").order_by(col(CalendarDay.entered_at))
    before = {row.date: row.state for row in session.exec(rows)}
    gone = [day for day in before if day.year in years and day not in names]
    wanted = {**dict.fromkeys(names, "off"), **dict.fromkeys(gone, "normal")}
    return [
        CalendarDay(date=day, state=state, note=names.get(day, ""), source="library", entered_at=now)
        for day, state in sorted(wanted.items())
        if before.get(day) != state
    ]
