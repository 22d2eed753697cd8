"""Each kind of damage is found: history changed, rows that do not follow from it, things missing or one too many."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, text

from app.core.db import Session, sqlalchemy_url, transaction
from app.embedded import Database
from tools import verify
from tools.demo.seeding import seed

DONE = "(SELECT id FROM case_file WHERE state IN ('closed', 'resolved') ORDER BY id LIMIT 1)"
DAMAGE = {
    "columns and hashed body differ": f"UPDATE case_event SET code = 'x' WHERE case_id = {DONE} AND seq = 2",
    "hash does not follow": f"UPDATE case_event SET hash = sha256(hash) WHERE case_id = {DONE} AND seq = 2",
    "event 2 is missing": f"DELETE FROM case_event WHERE case_id = {DONE} AND seq = 2",
    "cases without event 1": f"DELETE FROM case_event WHERE case_id = {DONE}",
    "state is triage": f"UPDATE case_file SET state = 'triage', unit_id = NULL WHERE id = {DONE}",
    "version is": f"UPDATE case_file SET version = version + 1 WHERE id = {DONE}",
    "head is": f"UPDATE case_file SET head = sha256(head) WHERE id = {DONE}",
    "resolved_at is None": f"UPDATE case_file SET resolved_at = NULL WHERE id = {DONE}",
    "published at": "UPDATE public_copy SET published_at = published_at + interval '1 second'",
    "rows of hop": f"DELETE FROM case_hop WHERE case_id = {DONE}",
    "hop of event": f"UPDATE case_hop SET ended_at = ended_at + interval '1 second' WHERE case_id = {DONE}",
    "outcome is returned": f"UPDATE case_hop SET outcome = 'returned' WHERE case_id = {DONE}",
    "without a stay there": """DELETE FROM case_hop WHERE case_id IN
        (SELECT id FROM case_file WHERE state IN ('assigned', 'accepted', 'in_progress'))""",
    "rows of clock": f"DELETE FROM sla_clock WHERE case_id = {DONE} AND kind = 'resolve'",
    "stopped_at is None": f"UPDATE sla_clock SET stopped_at = NULL, met = NULL WHERE case_id = {DONE}",
    "does not follow from due and stop": f"""UPDATE sla_clock SET met = false, breached_at = due_at
        WHERE case_id = {DONE} AND kind = 'accept'""",
    "the breach": """UPDATE sla_clock SET breached_at = due_at
        WHERE case_id IN (SELECT id FROM case_file) AND met AND kind = 'accept'""",
    "is not the one the event commits to": "UPDATE case_text SET body = body || '!'",
    "does not commit to the report's content": "UPDATE report_content SET description = description || '!'",
    "event 1 does not commit": "UPDATE report_content SET lat = lat + 0.001",
    "messages owed by events": f"DELETE FROM message WHERE case_id = {DONE}",
    "reports without content": "DELETE FROM report_content WHERE report_id = (SELECT min(id::text)::uuid FROM report)",
    "reports without a case": """INSERT INTO report (id, account_id, category_code, channel, visibility, hide_name,
        allow_call, received_at, request_hash) SELECT gen_random_uuid(), account_id, category_code, channel, visibility,
        hide_name, allow_call, received_at, request_hash FROM report LIMIT 1""",
    "measures: ": f"""INSERT INTO case_event (case_id, seq, at, verb, to_state, actor_kind, cycle, category_code,
        urgency, channel, body, hash) SELECT '01900000-0000-7000-8000-000000000001', 1, at, 'submit', 'routing',
        'citizen', 1, category_code, urgency, channel, '', '' FROM case_event WHERE case_id = {DONE} AND seq = 1""",
}  # fmt: skip
RULES_AWAY = [
    "ALTER TABLE case_event DISABLE TRIGGER USER",
    "ALTER TABLE case_event DROP CONSTRAINT case_event_case_id_fkey",
    "ALTER TABLE case_hop DROP CONSTRAINT case_hop_outcome",
    "ALTER TABLE sla_clock DROP CONSTRAINT ck_sla_clock_breach",
]


@pytest.fixture
def told(committed: Database) -> Database:
    """A small demo, with the invariants it has at first."""
    seed(14)
    with transaction() as session:
        assert verify.problems(session) == []
    return committed


@contextmanager
def damaged(database: Database, statement: str) -> Iterator[Session]:
    """A session that sees the damage; nothing of it stays."""
    engine = create_engine(sqlalchemy_url(database.owner_url))
    with engine.connect() as connection, connection.begin() as outer:
        for away in RULES_AWAY:
            connection.execute(text(away))
        changed = connection.execute(text(statement))
        assert changed.rowcount > 0, f"damaged nothing: {statement}"
        with Session(connection) as session:
            yield session
        outer.rollback()
    engine.dispose()


def test_every_damage_is_found(told: Database) -> None:
    for words, statement in DAMAGE.items():
        with damaged(told, statement) as session:
            found = verify.problems(session)
            assert any(words in line for line in found), (words, found)


def test_the_command_counts(told: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main() == 0
    assert capsys.readouterr().out == "14 cases, 0 problems\n"
    with transaction() as session:
        session.execute(text(f"UPDATE case_file SET reject_code = 'spam' WHERE id = {DONE}"))
    assert verify.main() == 1
    assert "reject_code is spam, its events say None" in capsys.readouterr().out
