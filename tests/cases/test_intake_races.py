"""The intake as it runs in production: groups of statements that commit themselves, raced by threads."""

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Barrier
from typing import cast
from uuid import UUID, uuid4

import psycopg
import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from app.cases.models import Case, CaseEvent
from app.core import db
from app.core.config import settings
from app.core.errors import DomainError
from app.core.idempotency import Stored
from app.embedded import Database
from app.identity.models import Account
from app.identity.policy import Viewer
from app.intake.actions import Asked, submit, submit_together
from app.main import app
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


def together(attempts: Sequence[tuple[Viewer, ReportIn, UUID]]) -> list[Stored | str]:
    """The answers to one group."""
    answers = submit_together([Asked(*each, "vi", copy_context()) for each in attempts])
    return [each.problem.code if isinstance(each, DomainError) else cast("Stored", each) for each in answers]


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


def test_a_group_is_answered_one_by_one(citizen: Viewer) -> None:
    with db.transaction() as session:
        erased, stranger = make.citizen(session), make.citizen(session)
        session.get_one(Account, erased.id).status = "erased"
    report, key, reports = body(), uuid4(), [body() for _ in range(4)]
    old = sent(citizen, report, key)
    answers = together(
        [
            (citizen, reports[0], uuid4()),
            (citizen, report, key),
            (erased, reports[1], uuid4()),
            (citizen, body(category="khong_co"), uuid4()),
            (stranger, report, uuid4()),
            (stranger, reports[2], uuid4()),
            (citizen, body(), key),
            (citizen, body(category=make.UNVERIFIED), uuid4()),
        ]
    )
    assert answers[1] == old
    assert [each if isinstance(each, str) else each.status for each in answers] == [
        201, 201, "unauthenticated", "unknown_category", "id_taken", 201, "idempotency_key_reused", 201
    ]  # fmt: skip
    assert counted() == (4, 4, 4)


def test_repeats_within_a_group_are_one_report(citizen: Viewer) -> None:
    report, key = body(), uuid4()
    same_key = together([(citizen, report, key)] * 3)
    assert len(set(same_key)) == 1
    again = body()
    same_id = together([(citizen, again, uuid4()) for _ in range(3)])
    assert sorted(each.status for each in same_id if isinstance(each, Stored)) == [200, 200, 201]
    other_body = together([(citizen, body(), key), (citizen, body(), key)])
    assert other_body == ["idempotency_key_reused"] * 2
    assert counted() == (2, 2, 2)


def test_what_one_report_breaks_the_others_do_not_pay_for(citizen: Viewer, committed: Database) -> None:
    reports = [body(), body(description="chỉ mục này bị cơ sở dữ liệu từ chối"), body()]
    with psycopg.connect(committed.owner_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE report_content ADD CONSTRAINT refused CHECK (description NOT LIKE '%bị cơ sở%')")
    answers = submit_together([Asked(citizen, each, uuid4(), "vi", copy_context()) for each in reports])
    assert [type(each) for each in answers] == [Stored, psycopg.errors.CheckViolation, Stored]
    assert counted() == (2, 2, 2)


def test_groups_that_hold_the_same_reports_do_not_lock_one_another_out(citizen: Viewer) -> None:
    reports = [body() for _ in range(12)]
    start = Barrier(AT_ONCE)

    def phone(number: int) -> list[Stored | str]:
        mixed = random.Random(number).sample(reports, len(reports))
        start.wait()
        return together([(citizen, each, uuid4()) for each in mixed])

    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = [each for answers in threads.map(phone, range(AT_ONCE)) for each in answers]
    statuses = [each.status for each in answers if isinstance(each, Stored)]
    assert (len(statuses), statuses.count(201)) == (AT_ONCE * len(reports), len(reports))
    assert counted() == (len(reports),) * 3


def test_concurrent_requests_over_http_are_all_accepted(citizen: Viewer) -> None:
    with TestClient(app, raise_server_exceptions=False) as client, ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(lambda _: make.submit(client, citizen), range(AT_ONCE * 2)))
    assert len({answer["reference"] for answer in answers}) == AT_ONCE * 2


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
