"""Which warnings there should be, which are owed, which cannot be given, and what the morning digest is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, RowMapping, text, tuple_
from sqlmodel import col, select

from app.cases.models import Case
from app.cases.rules import URGENT_OPEN
from app.catalog.queries import catalogue
from app.catalog.rules import Urgency
from app.core.db import Session
from app.deadlines import queries as deadlines
from app.deadlines.rules import ClockKind, Duration, due
from app.escalations.models import Escalation
from app.escalations.rules import (
    FIRST_PAUSE,
    OWED,
    STUCK,
    TRIAGE,
    UNPAGED,
    UNWARNED,
    URGENT,
    Late,
    Pending,
    Place,
)

_UNWARNED = ", ".join(f"'{kind}'" for kind in UNWARNED)

# What should be warned of and is not known yet -----------------------------------------------------------------------

_NEW_PAGES = text(f"""
INSERT INTO escalation (case_id, kind, started_seq, level, due_at, next_at)
SELECT c.id, '{URGENT}', stay.seq, 0, :now, :now {UNPAGED} ORDER BY c.updated_at LIMIT :limit
ON CONFLICT DO NOTHING
""")
_NEW_CLOCKS = text(f"""
INSERT INTO escalation (case_id, kind, started_seq, level, due_at, next_at)
SELECT k.case_id, k.kind, k.started_seq, each.level, k.due_at, least(k.due_at, :now)
FROM (SELECT case_id, kind, started_seq, due_at FROM sla_clock k
      WHERE stopped_at IS NULL AND kind NOT IN ({_UNWARNED}) AND NOT EXISTS (
          SELECT FROM escalation e
          WHERE e.case_id = k.case_id AND e.kind = k.kind AND e.started_seq = k.started_seq AND e.level = 100)
      ORDER BY due_at LIMIT :limit) AS k
CROSS JOIN (VALUES (80), (100)) AS each (level)
ON CONFLICT DO NOTHING
""")
# A stay in triage begins when the case first waited for a person since it was last at a unit: asking the router again
# and again does not set it back. What it is due by needs the calendar: see `pending`.
_NEW_STAYS = text(f"""
INSERT INTO escalation (case_id, kind, started_seq, level, next_at)
SELECT c.id, '{TRIAGE}', stay.seq, each.level, least(c.act_by, :now)
FROM case_file c
CROSS JOIN LATERAL (
    SELECT min(seq) AS seq FROM case_event WHERE case_id = c.id AND to_state = 'triage' AND seq > (
        SELECT coalesce(max(seq), 0) FROM case_event
        WHERE case_id = c.id AND to_state NOT IN ('verifying', 'routing', 'triage'))) AS stay
CROSS JOIN (VALUES (80), (100)) AS each (level)
WHERE c.state = 'triage' AND stay.seq IS NOT NULL AND NOT EXISTS (
    SELECT FROM escalation e
    WHERE e.case_id = c.id AND e.kind = '{TRIAGE}' AND e.started_seq = stay.seq AND e.level = each.level)
LIMIT :limit
ON CONFLICT DO NOTHING
""")
# A deadline that moved (pause, extension, another urgency) is looked at again at once, also where that was given up:
# two statements, each served by its partial index.
_MOVED = """
UPDATE escalation e SET due_at = k.due_at, next_at = :now, attempts = 0
FROM sla_clock k
WHERE k.case_id = e.case_id AND k.kind = e.kind AND k.started_seq = e.started_seq
  AND k.stopped_at IS NULL AND {which} AND e.due_at <> k.due_at
"""
_MOVED_OF = [text(_MOVED.format(which=which)) for which in (OWED, STUCK)]


def note_pages(session: Session, now: datetime, limit: int) -> int:
    """Owe the pages of urgent cases that nobody was paged for; returns how many."""
    return _changed(session, _NEW_PAGES, {"now": now, "limit": limit})


def note_clocks(session: Session, now: datetime, limit: int) -> int:
    """Owe the warnings of clocks and stays in triage that have none yet; returns how many."""
    given = {"now": now, "limit": limit}
    return _changed(session, _NEW_CLOCKS, given) + _changed(session, _NEW_STAYS, given)


def note_moved(session: Session, now: datetime) -> int:
    """Look again at what is owed of clocks whose deadline moved; returns how many."""
    return sum(_changed(session, statement, {"now": now}) for statement in _MOVED_OF)


def _changed(session: Session, statement: Any, values: dict[str, object]) -> int:
    return cast("CursorResult[Any]", session.execute(statement, values)).rowcount


# What is owed --------------------------------------------------------------------------------------------------------

# Pages before warnings, then the oldest. Only what is claimed is joined.
_PLACE = "(level > 0), next_at, case_id, kind, started_seq, level"
_CLAIM = f"""
WITH e AS MATERIALIZED (
    SELECT case_id, kind, started_seq, level, next_at, attempts FROM escalation
    WHERE {OWED} AND next_at <= :now {{chosen}}
    ORDER BY {_PLACE} LIMIT :limit FOR UPDATE SKIP LOCKED)
SELECT e.case_id, e.kind, e.started_seq, e.level, e.next_at,
       c.reference, c.state, c.urgency, c.category_code, c.cycle, c.unit_id, c.assignee_id,
       k.started_at, k.due_at, k.stopped_at, k.extended_minutes, p.kind AS allowed, p.minutes,
       EXISTS (SELECT FROM case_file WHERE id = e.case_id AND {URGENT_OPEN}) AS urgent_open, begun.at AS begun_at,
       EXISTS (SELECT FROM case_hop h
               WHERE h.case_id = e.case_id AND h.started_seq = e.started_seq AND h.ended_at IS NULL) AS is_here
FROM e JOIN case_file c ON c.id = e.case_id
LEFT JOIN sla_clock k ON k.case_id = e.case_id AND k.kind = e.kind AND k.started_seq = e.started_seq
LEFT JOIN deadline_policy p ON p.id = k.policy_id
LEFT JOIN case_event begun ON begun.case_id = e.case_id AND begun.seq = e.started_seq AND e.kind = '{TRIAGE}'
ORDER BY (e.level > 0), e.next_at, e.case_id, e.kind, e.started_seq, e.level
"""
_OLDEST = text(_CLAIM.format(chosen=""))
_PAGES = text(_CLAIM.format(chosen="AND (level > 0) IS FALSE"))
_FURTHER = text(_CLAIM.format(chosen=f"AND ({_PLACE}) > (:paged, :next_at, :case_id, :kind, :started_seq, :level)"))
_THESE = text(
    _CLAIM.format(
        chosen="""AND (case_id, kind, started_seq, level) IN (SELECT * FROM unnest(
        CAST(:case_id AS uuid[]), CAST(:kind AS text[]), CAST(:started_seq AS int[]), CAST(:level AS smallint[])))"""
    )
)
_KEYS = ("case_id", "kind", "started_seq", "level")

# Where a sweep has come to: the place of the last warning it looked at.
Cursor = Mapping[str, object]


def place_of(row: RowMapping) -> Cursor:
    """Where a claimed warning stands in the order of all that are owed."""
    return {name: row[name] for name in ("next_at", *_KEYS)} | {"paged": row["level"] > 0}


def claim(
    session: Session, now: datetime, limit: int, *, after: Cursor | None = None, only: Sequence[Cursor] = ()
) -> Sequence[RowMapping]:
    """Claim owed warnings with what decides on them, the oldest first; none that somebody else has claimed."""
    given: dict[str, object] = {"now": now, "limit": limit}
    if only:
        these = {name: [each[name] for each in only] for name in _KEYS}
        return session.execute(_THESE, given | these).mappings().all()
    return session.execute(_FURTHER if after else _OLDEST, given | dict(after or {})).mappings().all()


def claim_pages(session: Session, now: datetime, limit: int) -> Sequence[RowMapping]:
    """Claim pages of urgent cases only."""
    return session.execute(_PAGES, {"now": now, "limit": limit}).mappings().all()


def pending(session: Session, row: RowMapping) -> Pending:
    """A claimed row with its clock as it stands now."""
    place, urgent = Place(row["kind"], row["unit_id"], row["assignee_id"]), row["urgency"] == "urgent"
    match row["kind"]:
        case "urgent":
            at_unit = row["started_seq"] > 0
            place = place if at_unit else Place(row["kind"], None, None)
            ended = not row["urgent_open"] or (at_unit and not row["is_here"])
            return Pending(row["level"], place, urgent, ended, row["next_at"], row["next_at"])
        case "triage":
            started_at, ended = row["begun_at"], row["state"] != "triage"
            due_at, shorter = triage_due(session, row["category_code"], row["urgency"], started_at)
            return Pending(row["level"], place, urgent, ended, started_at, due_at, shorter)
        case _:
            allowance = Duration(row["allowed"], row["minutes"]) if row["allowed"] else None
            clock = (row["started_at"], row["due_at"], allowance, row["extended_minutes"])
            return Pending(row["level"], place, urgent, row["stopped_at"] is not None, *clock)


def triage_due(session: Session, category_code: str, urgency: str, started_at: datetime) -> tuple[datetime, Duration]:
    """By when somebody must have chosen a unit for a case that waits for that, and how long that is.

    It is the operations centre's turn, as in verifying: its time is that of the verify clock, or of resolving where
    that is shorter (khẩn). See docs/adr/0113.
    """
    category = catalogue(session).category(category_code)
    given = None if category is None or category.urgency == urgency else cast("Urgency", urgency)
    clocks: tuple[ClockKind, ...] = ("verify", "resolve")
    policies = [deadlines.policy_for(session, category_code, clock, started_at, given) for clock in clocks]
    calendar = deadlines.calendar(session)
    return min(
        ((due(calendar, started_at, policy.duration), policy.duration) for policy in policies), key=lambda each: each[0]
    )


# What becomes of what was claimed ------------------------------------------------------------------------------------

_KEY = "(e.case_id, e.kind, e.started_seq, e.level) = (done.case_id, done.kind, done.started_seq, done.level)"
_DONE = """unnest(CAST(:case_id AS uuid[]), CAST(:kind AS text[]), CAST(:started_seq AS int[]),
    CAST(:level AS smallint[]), CAST(:at AS timestamptz[]), CAST(:due_at AS timestamptz[]), CAST(:told AS int[]))
    AS done (case_id, kind, started_seq, level, at, due_at, told)"""
_DROP = text(f"DELETE FROM escalation e USING {_DONE} WHERE {_KEY}")
_WAIT = text(f"UPDATE escalation e SET next_at = done.at, due_at = done.due_at FROM {_DONE} WHERE {_KEY}")
_GIVE = text(f"""
UPDATE escalation e SET given_at = done.at, due_at = done.due_at, told = done.told, failure = NULL FROM {_DONE}
WHERE {_KEY}
""")
_FAIL = text("""
UPDATE escalation SET attempts = attempts + 1, failure = :failure, next_at = :now + :first * power(4, attempts)
WHERE case_id = :case_id AND kind = :kind AND started_seq = :started_seq AND level = :level AND given_at IS NULL
RETURNING attempts
""")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one claimed warning: when it was given, or until when it waits; how many were told."""

    row: RowMapping
    at: datetime
    due_at: datetime
    told: int = 0


def settle(session: Session, *, drop: Sequence[Outcome], wait: Sequence[Outcome], give: Sequence[Outcome]) -> None:
    """Write what became of claimed warnings, a statement each for any number of them."""
    for statement, outcomes in ((_DROP, drop), (_WAIT, wait), (_GIVE, give)):
        if outcomes:
            keys = {name: [each.row[name] for each in outcomes] for name in _KEYS}
            times = {name: [getattr(each, name) for each in outcomes] for name in ("at", "due_at", "told")}
            session.execute(statement, keys | times)


def count_failure(session: Session, which: Cursor, failure: str, now: datetime) -> int:
    """Count a failed try and put the next one off: 1, 4, 16, 64 minutes. Returns how many there were."""
    values = {name: value for name, value in which.items() if name not in ("paged", "next_at")}
    given = {"failure": failure, "now": now, "first": FIRST_PAUSE, **values}
    return int(session.execute(_FAIL, given).scalar_one_or_none() or 0)


# The morning digest --------------------------------------------------------------------------------------------------

# Whatever has used 80 % of its time, on clocks that run and stays that last.
_LATE = text(f"""
SELECT e.kind, c.id, c.reference, c.unit_id, c.assignee_id, c.urgency,
       coalesce(k.due_at, e.due_at) AS due_at
FROM escalation e JOIN case_file c ON c.id = e.case_id
LEFT JOIN sla_clock k ON k.case_id = e.case_id AND k.kind = e.kind AND k.started_seq = e.started_seq
WHERE e.level = 80 AND (e.given_at IS NOT NULL OR coalesce(k.due_at, e.due_at) < :now)
  AND CASE WHEN e.kind = '{TRIAGE}' THEN c.state = 'triage' ELSE k.stopped_at IS NULL END
""")


def late(session: Session, now: datetime) -> list[Late]:
    """Every case that is overdue or due soon, once for each of its clocks."""
    return [
        Late(row.id, row.reference, Place(row.kind, row.unit_id, row.assignee_id), row.urgency == "urgent", row.due_at)
        for row in session.execute(_LATE, {"now": now})
        if row.due_at is not None
    ]


def stuck(
    session: Session, *, after: tuple[datetime, UUID, str, int] | None, limit: int
) -> Sequence[tuple[Escalation, str]]:
    """List warnings that failed too often to be tried again, with the reference of the case; the oldest first."""
    place = tuple_(col(Escalation.next_at), col(Escalation.case_id), col(Escalation.kind), col(Escalation.level))
    statement = (
        select(Escalation, Case.reference)
        .join(Case, col(Case.id) == col(Escalation.case_id))
        .where(text(STUCK))
        .order_by(place)
        .limit(limit)
    )
    return session.exec(statement if after is None else statement.where(place > after)).all()
