"""The intake as it runs in production: one statement that commits itself, raced by threads that really commit."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlmodel import select

from app.cases.actions import submit
from app.cases.models import Case, CaseEvent
from app.core import db
from app.core.config import settings
from app.core.errors import DomainError
from app.core.idempotency import Stored
from app.embedded import Database
from app.identity.policy import Viewer
from app.reports.models import Report
from app.reports.schemas import ReportIn
from tests.support import make

AT_ONCE = 8


@pytest.fixture
def citizen(committed: Database) -> Viewer:
    with db.transaction() as session:
        return make.citizen(session)


def body(**changes: object) -> ReportIn:
    return ReportIn.model_validate(make.report_body() | changes)


def sent(citizen: Viewer, report: ReportIn, key: UUID) -> Stored | str:
    """The answer, or the code of the refusal."""
    try:
        with db.statements() as session:
            return submit(session, citizen, report, key)
    except DomainError as error:
        return error.problem.code


def at_once(attempts: list[Callable[[], Stored | str]]) -> list[Stored | str]:
    start = Barrier(len(attempts))

    def attempt(act: Callable[[], Stored | str]) -> Stored | str:
        start.wait()
        return act()

    with ThreadPoolExecutor(len(attempts)) as threads:
        return list(threads.map(attempt, attempts))


def counted() -> tuple[int, int, int]:
    with db.transaction() as session:
        return tuple(len(session.exec(select(table)).all()) for table in (Report, Case, CaseEvent))  # type: ignore[return-value]


def test_the_same_request_over_eight_connections_is_one_report(citizen: Viewer) -> None:
    for _ in range(5):
        report, key = body(), uuid4()
        before = counted()
        answers = at_once([lambda: sent(citizen, report, key)] * AT_ONCE)  # noqa: B023 - finished within the round
        given = {answer.body for answer in answers if isinstance(answer, Stored)}
        assert len(given) == 1
        assert {answer for answer in answers if isinstance(answer, str)} <= {"idempotency_key_busy"}
        assert sent(citizen, report, key) == Stored(201, given.pop())
        assert counted() == tuple(number + 1 for number in before)


def test_one_key_never_stores_two_reports(citizen: Viewer) -> None:
    for _ in range(5):
        key, before = uuid4(), counted()
        answers = at_once([lambda: sent(citizen, body(), key) for _ in range(AT_ONCE)])  # noqa: B023
        assert len([answer for answer in answers if isinstance(answer, Stored)]) == 1
        refusals = {answer for answer in answers if isinstance(answer, str)}
        assert refusals <= {"idempotency_key_busy", "idempotency_key_reused"}
        assert counted() == tuple(number + 1 for number in before)


def test_one_id_under_eight_keys_is_one_report(citizen: Viewer) -> None:
    report = body()
    answers = at_once([lambda: sent(citizen, report, uuid4())] * AT_ONCE)
    statuses = sorted(answer.status for answer in answers if isinstance(answer, Stored))
    assert statuses == [200] * (AT_ONCE - 1) + [201]
    assert counted() == (1, 1, 1)


def test_an_id_of_somebody_else_leaves_no_trace_of_the_key(citizen: Viewer, committed: Database) -> None:
    report, key = body(), uuid4()
    sent(citizen, report, uuid4())
    with db.transaction() as session:
        stranger = make.citizen(session)
    assert sent(stranger, report, key) == "id_taken"
    assert isinstance(sent(stranger, body(), key), Stored)


def test_a_connection_that_was_cut_costs_one_answer_not_the_pool(citizen: Viewer, committed: Database) -> None:
    assert isinstance(sent(citizen, body(), uuid4()), Stored)
    with psycopg.connect(settings().database_url) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'phananh' AND pid <> pg_backend_pid() AND datname = current_database()"
        )
    report, key = body(), uuid4()
    with pytest.raises(psycopg.OperationalError):
        sent(citizen, report, key)
    assert isinstance(sent(citizen, report, key), Stored)
    assert isinstance(sent(citizen, body(), uuid4()), Stored)
