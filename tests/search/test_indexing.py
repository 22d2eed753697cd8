"""What is searched follows the texts: behind them by seconds when they grow, together with them when they go."""

import threading
from uuid import UUID

import psycopg
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlmodel import col, delete, select

from app.cases.models import Case, CaseText
from app.core.db import Session, transaction
from app.embedded import Database
from app.reports.models import PublicCopy, ReportContent
from app.search.actions import catch_up, index_owed, write
from app.search.models import CaseSearch
from app.search.rules import OWED
from tests.seals.chains import append, submitted
from tests.support import make, places

HOME = places.codes()[0]


def row(session: Session, case_id: UUID) -> CaseSearch:
    session.expire_all()
    return session.get_one(CaseSearch, case_id)


@pytest.fixture
def case_id(client: TestClient, session: Session) -> UUID:
    """A published case with a note, indexed."""
    dispatcher = make.staff(session, "dispatcher")
    case_id = make.routed(session, client, make.citizen(session), within=HOME, description="Cống tắc")
    make.move(client, dispatcher, case_id, "message", {"text": "Chờ xe hút bùn"})
    make.move(client, dispatcher, case_id, "publish", {"description": "Cống tắc ở chợ"})
    assert catch_up() == 1
    found = row(session, case_id)
    assert " cong tac | cho xe hut bun " in found.staff_words
    assert found.public_words is not None
    assert found.public_words.startswith(" cong tac o cho |")
    return case_id


@pytest.mark.parametrize("gone", ["report", "note", "public copy"])
def test_what_is_erased_is_not_searched_from_the_same_transaction_on(
    session: Session, case_id: UUID, gone: str
) -> None:
    report_id = session.exec(select(Case.report_id).where(Case.id == case_id)).one()
    session.execute(
        {
            "report": delete(ReportContent).where(col(ReportContent.report_id) == report_id),
            "note": delete(CaseText).where(col(CaseText.case_id) == case_id),
            "public copy": delete(PublicCopy).where(col(PublicCopy.report_id) == report_id),
        }[gone]
    )
    emptied = row(session, case_id)
    assert (emptied.staff_words, emptied.public_words, emptied.stale) == ("", None, True)
    session.commit()
    assert catch_up() == 1  # what is left is written again
    left = row(session, case_id)
    assert ("cong tac |" in left.staff_words) == (gone != "report")
    assert ("hut bun" in left.staff_words) == (gone != "note")
    assert (left.public_words is not None) == (gone != "public copy")


def test_a_redacted_copy_is_searched_as_redacted_only(session: Session, case_id: UUID) -> None:
    copy = session.get_one(PublicCopy, session.exec(select(Case.report_id).where(Case.id == case_id)).one())
    copy.lat = 21.5  # the pin moved: no word changed
    session.flush()
    assert row(session, case_id).public_words is not None
    copy.description = "Cống ở đầu xóm"
    session.flush()
    assert row(session, case_id).public_words is None
    session.commit()
    catch_up()
    assert " cong o dau xom |" in (row(session, case_id).public_words or "")


def test_the_cursor_finds_every_case_once_and_none_of_what_still_runs(committed: Database) -> None:
    def owed() -> bool:
        with psycopg.connect(committed.app_url) as connection:
            return connection.execute(OWED).fetchone() == (True,)

    assert not owed()
    ids = submitted(3)
    assert owed()
    with psycopg.connect(committed.app_url) as running:
        running.execute("SELECT pg_current_xact_id()")
        late = submitted(1)[-1]  # behind a transaction that may still write before it
        assert index_owed() == 3
        assert not owed()
    assert owed()
    assert index_owed(2) == 1
    append(committed, ids[0], 2)
    assert index_owed() == 1
    assert index_owed() == 0
    with transaction() as session:
        rows = session.exec(select(CaseSearch)).all()
        versions = {row.case_id: row.version for row in rows}
        assert versions == {ids[0]: 2, ids[1]: 1, ids[2]: 1, late: 1}
        session.execute(text("UPDATE search_cursor SET xid = '9000000000000'"))  # a backup of another server
    late = submitted(1)[-1]
    assert index_owed() == 0
    assert catch_up() == 1
    assert catch_up() == 0


def test_a_text_erased_while_it_is_indexed_does_not_come_back(committed: Database) -> None:
    (case_id,) = submitted(1)
    write_it, done = threading.Event(), threading.Event()

    def index() -> None:
        with transaction() as session:
            write(session, [case_id])
            write_it.set()
            done.wait(5)

    indexing = threading.Thread(target=index)
    indexing.start()
    write_it.wait(5)
    with psycopg.connect(committed.app_url) as connection:
        erasing = threading.Thread(target=connection.execute, args=("DELETE FROM report_content",))
        erasing.start()  # waits for the row that is being written
        done.set()
        indexing.join()
        erasing.join()
    with transaction() as session:
        assert session.get_one(CaseSearch, case_id).staff_words == ""


def test_the_trigram_index_serves_a_word(session: Session, case_id: UUID) -> None:
    session.execute(text("SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off"))
    plan = session.execute(text("EXPLAIN SELECT FROM case_search WHERE staff_words LIKE '% cong %'")).scalars().all()
    assert "case_search_staff" in "\n".join(plan)
    assert case_id
