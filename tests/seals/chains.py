"""Chains that grow without the workflow: what seals and their checks are about is hashes, not moves."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
from sqlmodel import col, select

from app.cases.models import Case
from app.core import clock
from app.core.db import transaction
from app.embedded import Database
from app.intake.actions import submit
from app.reports.schemas import ReportIn
from app.seals.actions import seal_if_owed
from tests.support import make

# 00:05 in Vietnam, on the day before in UTC.
NIGHT = datetime(2026, 11, 21, 17, 5, tzinfo=UTC)
DAY = timedelta(days=1)


def append(database: Database, case_id: UUID, seq: int) -> None:
    with psycopg.connect(database.app_url) as connection:
        append_in(connection, case_id, seq)


def append_in(connection: psycopg.Connection, case_id: UUID, seq: int) -> None:
    """One more event that repeats the first, chained as the product would."""
    body = connection.execute("SELECT body FROM case_event WHERE case_id = %s AND seq = 1", (case_id,)).fetchone()
    assert body is not None
    told = json.loads(body[0]) | {"seq": seq}
    data = json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
    connection.execute(
        """INSERT INTO case_event (case_id, seq, at, verb, to_state, actor_kind, actor_id, cycle, category_code,
                                   urgency, channel, due_at, commitment, body, hash)
           SELECT case_id, %(seq)s, at, verb, to_state, actor_kind, actor_id, cycle, category_code, urgency, channel,
                  due_at, commitment, %(body)s,
                  sha256((SELECT hash FROM case_event WHERE case_id = %(id)s AND seq = %(seq)s - 1) || %(body)s)
           FROM case_event WHERE case_id = %(id)s AND seq = 1""",
        {"id": case_id, "seq": seq, "body": data},
    )
    connection.execute(
        """UPDATE case_file SET version = %(seq)s,
           head = (SELECT hash FROM case_event WHERE case_id = %(id)s AND seq = %(seq)s) WHERE id = %(id)s""",
        {"id": case_id, "seq": seq},
    )


def submitted(number: int) -> list[UUID]:
    """So many new cases; the ids of all there are, oldest first."""
    with transaction() as session:
        author = make.citizen(session)
        for _ in range(number):
            submit(session, author, ReportIn(**make.report_body("gia_ca_gian_lan")), uuid4())
    with transaction() as session:
        return list(session.exec(select(Case.id).order_by(col(Case.id))))


def night(number: int) -> None:
    """Seal the `number`-th night."""
    with clock.travelled(NIGHT + number * DAY), transaction() as session:
        assert seal_if_owed(session) is not None


def two_nights_and_a_day(database: Database) -> list[UUID]:
    """Six cases. Sealed: 0 up to 2, then 4; 1 and 2 up to 2; 3 up to 1, then 2; 4 and 5 up to 1. Not: event 3 of 1."""
    ids = submitted(5)
    for case_id in ids[:3]:
        append(database, case_id, 2)
    night(1)
    for case_id, seq in ((ids[0], 3), (ids[0], 4), (ids[3], 2)):
        append(database, case_id, seq)
    ids = submitted(1)
    night(2)
    append(database, ids[1], 3)
    return ids
