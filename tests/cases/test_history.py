"""History is append-only: by privilege for the application, by trigger for everybody."""

from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.core import db
from app.core.db import Session
from app.embedded import Database
from app.intake.actions import submit
from app.reports.schemas import ReportIn
from tests.support import make

REWRITES = [
    "UPDATE case_event SET verb = 'forged'",
    "DELETE FROM case_event",
    "TRUNCATE case_event",
    "TRUNCATE case_event_2026",
    "UPDATE audit_entry SET topic = 'forged'",
    "DELETE FROM audit_entry",
    "TRUNCATE identity_read",
    "UPDATE superseded_deadline SET reason = 'forged'",
    "DELETE FROM superseded_deadline",
    "DELETE FROM clock_pause",
    "TRUNCATE clock_pause",
]
# Something to rewrite: a trigger for each row fires for none in an empty table.
SUPERSEDED = """
INSERT INTO superseded_deadline (case_id, kind, started_seq, seq, policy_id, due_at, at, reason)
SELECT case_id, kind, started_seq, 2, policy_id, due_at, started_at, 'recategorise' FROM sla_clock
"""
PAUSED = """
INSERT INTO clock_pause (case_id, kind, started_seq, seq, reason, began_at, capped_at)
SELECT case_id, kind, started_seq, 2, 'storm', started_at, due_at FROM sla_clock
"""


@pytest.mark.parametrize(
    "statement", [*REWRITES, "DROP TABLE case_event", "ALTER TABLE case_event DISABLE TRIGGER ALL"]
)
def test_the_application_may_not_rewrite_history(connection: Connection, statement: str) -> None:
    with pytest.raises(DBAPIError, match=r"permission denied|must be owner"), connection.begin_nested():
        connection.execute(text(statement))


def test_even_the_owner_meets_a_trigger(committed: Database) -> None:
    with db.transaction() as session:
        submit(session, make.citizen(session), ReportIn(**make.report_body(make.UNVERIFIED)), uuid4())
        session.execute(text(SUPERSEDED))
        session.execute(text(PAUSED))
    for statement in REWRITES:
        with psycopg.connect(committed.owner_url) as owner:
            with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                owner.execute(statement)
            owner.rollback()


def test_a_pause_is_ended_once_and_never_changed_otherwise(connection: Connection, session: Session) -> None:
    submit(session, make.citizen(session), ReportIn(**make.report_body(make.UNVERIFIED)), uuid4())
    session.execute(text(PAUSED))
    session.execute(text("UPDATE clock_pause SET ended_at = began_at, ended_seq = 3"))
    for change in ("ended_at = capped_at", "ended_at = NULL", "capped_at = capped_at + interval '1 day'"):
        with pytest.raises(DBAPIError, match="ended once"), connection.begin_nested():
            connection.execute(text(f"UPDATE clock_pause SET {change}"))


def test_the_events_of_a_year_lie_in_its_partition(committed: Database) -> None:
    with db.transaction() as session:
        submit(session, make.citizen(session), ReportIn(**make.report_body()), uuid4())
    with psycopg.connect(committed.owner_url) as owner:
        rows = owner.execute("SELECT tableoid::regclass::text, to_char(at, 'YYYY') FROM case_event").fetchall()
    assert [table for table, _ in rows] == [f"case_event_{year}" for _, year in rows]
