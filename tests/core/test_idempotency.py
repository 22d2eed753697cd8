"""One effect and one answer for a key: repeated, at the same moment, after a failure, and after a month."""

import threading
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, text
from sqlmodel import col, select

from app.core import clock, db, idempotency
from app.core.db import Session
from app.core.errors import DomainError
from app.core.idempotency import Stored, once, request_hash
from app.embedded import Database
from app.reports.models import Report
from tests.support import make

HASH = request_hash("POST /v1/x", b"{}")


class Effect:
    """Counts how often it was done."""

    def __init__(self) -> None:
        self.done = 0

    def __call__(self) -> Stored:
        self.done += 1
        return Stored(201, f"answer {self.done}".encode())


def account(session: Session) -> UUID:
    return make.citizen(session).id


def test_a_repeat_gets_the_first_answer_and_does_nothing(session: Session) -> None:
    who, key, effect = account(session), uuid4(), Effect()
    assert [once(session, who, key, HASH, effect) for _ in range(3)] == [Stored(201, b"answer 1")] * 3
    assert effect.done == 1
    assert once(session, who, uuid4(), HASH, effect).body == b"answer 2"
    assert once(session, account(session), key, HASH, effect).body == b"answer 3"


@pytest.mark.parametrize(
    "other", [request_hash("POST /v1/x", b"{} "), request_hash("POST /v1/y", b"{}"), request_hash("POST /v1/x{", b"}")]
)
def test_another_request_under_the_key_is_refused_and_does_nothing(session: Session, other: bytes) -> None:
    who, key, effect = account(session), uuid4(), Effect()
    once(session, who, key, HASH, effect)
    with pytest.raises(DomainError) as refused:
        once(session, who, key, other, effect)
    assert (refused.value.problem.code, refused.value.problem.status) == ("idempotency_key_reused", 422)
    assert effect.done == 1


def test_what_failed_may_be_tried_again_under_its_key(committed: Database) -> None:
    with db.transaction() as session:
        who = account(session)
    key, effect = uuid4(), Effect()

    def failing() -> Stored:
        effect()
        raise RuntimeError

    with pytest.raises(RuntimeError), db.transaction() as session:
        once(session, who, key, HASH, failing)
    with db.transaction() as session:
        assert once(session, who, key, HASH, effect) == Stored(201, b"answer 2")


def test_a_twin_at_the_same_moment_waits_for_nobody(committed: Database) -> None:
    """While the first is at work the second gets 409 at once; afterwards the first one's answer."""
    with db.transaction() as session:
        who = account(session)
    key, effect = uuid4(), Effect()
    at_work, go_on = threading.Event(), threading.Event()

    def slow() -> Stored:
        at_work.set()
        assert go_on.wait(20)
        return effect()

    def first() -> None:
        with db.transaction() as session:
            once(session, who, key, HASH, slow)

    thread = threading.Thread(target=first)
    thread.start()
    try:
        assert at_work.wait(20)
        with pytest.raises(DomainError) as refused, db.transaction() as session:
            once(session, who, key, HASH, effect)
        error = refused.value
        assert (error.problem.code, error.problem.status, error.problem.retry) == ("idempotency_key_busy", 409, "after")
        assert int(error.headers["Retry-After"]) > 0
        with db.transaction() as session:  # other keys and other people are not held up
            once(session, who, uuid4(), HASH, Effect())
            once(session, account(session), key, HASH, Effect())
    finally:
        go_on.set()
        thread.join()
    with db.transaction() as session:
        assert once(session, who, key, HASH, effect) == Stored(201, b"answer 1")
    assert effect.done == 1


def test_eight_at_once_have_one_effect(committed: Database) -> None:
    with db.transaction() as session:
        who = account(session)
    key, effect, gate = uuid4(), Effect(), threading.Barrier(8)
    answers: list[Stored] = []
    busy: list[str] = []

    def send() -> None:
        gate.wait()
        try:
            with db.transaction() as session:
                answers.append(once(session, who, key, HASH, effect))
        except DomainError as error:
            busy.append(error.problem.code)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (effect.done, set(answers), set(busy) <= {"idempotency_key_busy"}) == (1, {Stored(201, b"answer 1")}, True)
    assert len(answers) + len(busy) == 8


CREATES: list[tuple[str, dict[str, object]]] = [
    ("/v1/reports", make.report_body()),
    ("/v1/reports/{id}/withdraw", {}),
    ("/v1/reports/{id}/information", {"text": "Thêm."}),
    ("/v1/reports/{id}/confirm", {}),
    ("/v1/reports/{id}/rate", {"rating": "satisfied"}),
    ("/v1/reports/{id}/reopen", {"reason": "Chưa sửa."}),
]


@pytest.mark.parametrize(("path", "body"), CREATES)
def test_a_citizens_post_needs_a_key_that_is_a_uuid(
    client: TestClient, session: Session, path: str, body: dict[str, object]
) -> None:
    citizen = make.citizen(session)
    path = path.format(id=make.submit(client, citizen)["id"])
    missing = client.post(path, json=body, headers=make.bearer(citizen))
    assert (missing.status_code, missing.json()["code"]) == (400, "idempotency_key_missing")
    wrong = client.post(
        path, json=body, headers=make.bearer(citizen) | {"Idempotency-Key": "một hai ba".encode().hex()}
    )
    assert (wrong.status_code, wrong.json()["code"]) == (400, "idempotency_key_invalid")


def test_one_key_does_not_serve_two_reports_of_the_same_words(client: TestClient, session: Session) -> None:
    """The path belongs to what a key stands for."""
    citizen, headers = make.citizen(session), make.key()
    first, second = (make.submit(client, citizen)["id"] for _ in range(2))
    for report_id, status in ((first, 200), (first, 200), (second, 422)):
        answer = client.post(
            f"/v1/reports/{report_id}/information", json={"text": "Thêm."}, headers=make.bearer(citizen) | headers
        )
        assert answer.status_code == status


def test_a_refusal_is_not_stored(client: TestClient, session: Session) -> None:
    """After a mistake was corrected the same key may be used: nothing had happened under it."""
    citizen, key, body = make.citizen(session), make.key(), make.report_body()
    refused = client.post("/v1/reports", json=body | {"category": "khong_co"}, headers=make.bearer(citizen) | key)
    assert refused.status_code == 422
    assert client.post("/v1/reports", json=body, headers=make.bearer(citizen) | key).status_code == 201


def test_after_a_month_the_reports_own_id_still_decides(client: TestClient, session: Session) -> None:
    from workers.housekeeping import forget  # noqa: PLC0415 - Celery reads the settings made by the fixture

    citizen, body, key = make.citizen(session), make.report_body(), make.key()
    headers: Callable[[], dict[str, str]] = lambda: make.bearer(citizen) | key  # noqa: E731
    first = client.post("/v1/reports", json=body, headers=headers()).json()
    kept = client.post("/v1/reports", json=make.report_body(), headers=make.bearer(citizen) | make.key()).json()
    session.execute(
        text("UPDATE idempotency_key SET created_at = :at WHERE key = :key"),
        {"at": clock.now() - timedelta(days=30, seconds=1), "key": key["Idempotency-Key"]},
    )
    forget()
    assert session.execute(text("SELECT count(*) FROM idempotency_key")).scalar_one() == 1
    again = client.post("/v1/reports", json=body, headers=headers())
    assert (again.status_code, again.json()["reference"]) == (200, first["reference"])
    other = client.post("/v1/reports", json=body | {"description": "khác"}, headers=make.bearer(citizen) | make.key())
    assert (other.status_code, other.json()["code"]) == (409, "id_taken")
    assert session.exec(select(func.count(col(Report.id)))).one() == 2
    assert kept["reference"] != first["reference"]


def test_locks_of_different_keys_differ() -> None:
    who, key = uuid4(), uuid4()
    numbers = {idempotency.lock_number(*pair) for pair in ((who, key), (key, who), (who, uuid4()), (uuid4(), key))}
    assert len(numbers) == 4
    assert all(-(2**63) <= number < 2**63 for number in numbers)
