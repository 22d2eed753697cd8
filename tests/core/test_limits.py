"""The limiter: shared counts through Redis, and within 50 ms its own count where Redis does not answer."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient
from sqlalchemy import Connection

from app.core import limits
from app.core.config import settings
from app.core.db import Session
from app.core.errors import DomainError
from app.core.limits import Limit, spend
from app.embedded import Valkey
from tests.support import make

Away = Callable[[str], None]


@pytest.fixture(autouse=True)
def _patience_of_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """50 ms, where other tests have more (tests/conftest.py)."""
    monkeypatch.setattr("app.core.limits._TIMEOUT_S", 0.05)


@pytest.fixture
def away(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[Away]:
    """Point the limiter at something that is no Redis."""

    def turn(url: str) -> None:
        monkeypatch.setattr(settings(), "redis_url", url)
        limits.forget()

    yield turn
    monkeypatch.undo()
    limits.forget()


@pytest.fixture
def black_hole() -> Iterator[str]:
    """An address that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"redis://127.0.0.1:{listening.getsockname()[1]}/0"


@pytest.fixture
def nobody() -> str:
    """An address nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"redis://127.0.0.1:{listening.getsockname()[1]}/0"


def used_up(limit: Limit, key: str) -> DomainError:
    with pytest.raises(DomainError) as refused:
        spend(limit, key)
    return refused.value


def test_the_quota_holds_to_the_last_use_and_says_when_to_come_back(connection: Connection) -> None:
    limit = Limit("three", 3, 86_400 * 365)
    for _ in range(3):
        spend(limit, "a")
    error = used_up(limit, "a")
    wait = int(error.headers["Retry-After"])
    assert 0 < wait <= limit.window_s
    assert error.headers["RateLimit"] == f'"three";r=0;t={wait}'
    assert error.headers["RateLimit-Policy"] == f'"three";q=3;w={limit.window_s}'
    assert (error.problem.status, error.problem.retry, error.params["seconds"]) == (429, "after", wait)
    spend(limit, "b")  # another key, another count
    spend(Limit("four", 3, 86_400), "a")  # another limit as well


def test_a_cost_counts_as_often(connection: Connection) -> None:
    limit = Limit("bytes", 10, 86_400)
    spend(limit, "a", cost=9)
    with pytest.raises(DomainError):
        spend(limit, "a", cost=2)


def test_processes_share_one_count_and_it_goes_with_its_window(connection: Connection, valkey: Valkey) -> None:
    limit = Limit("shared", 2, 3600)
    spend(limit, "a")
    limits.forget()  # another process knows nothing of this one's memory
    spend(limit, "a")
    used_up(limit, "a")
    server = redis.Redis.from_url(valkey.url)
    (key,) = server.keys("limit:shared:*")
    assert 0 < int(server.ttl(key)) <= 3600
    server.close()


def test_a_new_window_starts_from_nothing(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, start = Limit("windows", 1, 60), 1_800_000_000.0
    now = {"at": start}
    monkeypatch.setattr("app.core.limits.time.time", lambda: now["at"])
    spend(limit, "a")
    assert used_up(limit, "a").headers["Retry-After"] == "60"
    now["at"] = start + 59.5
    assert used_up(limit, "a").headers["Retry-After"] == "1"
    now["at"] = start + 60
    spend(limit, "a")


@pytest.mark.parametrize("kind", ["nobody", "black_hole"])
def test_without_redis_it_answers_at_once_and_counts_by_itself(
    away: Away, kind: str, request: pytest.FixtureRequest
) -> None:
    away(request.getfixturevalue(kind))
    limit = Limit("alone", 3, 86_400)
    started = time.monotonic()
    spend(limit, "a")
    first = time.monotonic() - started
    # 50 ms of patience, and some for a busy machine; a client that tries again by itself takes a second and more.
    assert first < 0.25
    started = time.monotonic()
    for _ in range(2):
        spend(limit, "a")
    used_up(limit, "a")
    for other in range(1000):
        spend(limit, str(other))
    assert time.monotonic() - started < 0.25, "the breaker asks a dead Redis only every five seconds"


def test_after_its_rest_the_breaker_asks_again(
    away: Away, nobody: str, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = Limit("again", 1, 86_400)
    away(nobody)
    spend(limit, "a")
    used_up(limit, "a")
    monkeypatch.setattr(settings(), "redis_url", valkey.url)
    limits._redis.cache_clear()  # noqa: SLF001 - the same address came back
    used_up(limit, "a")  # still resting
    started = time.monotonic()
    later = started + 5.1
    monkeypatch.setattr("app.core.limits.time.monotonic", lambda: later)
    spend(limit, "a")  # Redis knows nothing of what was counted here meanwhile
    used_up(limit, "a")


def test_threads_lose_no_count_while_redis_is_away(away: Away, nobody: str) -> None:
    away(nobody)
    limit = Limit("threads", 100, 86_400)
    passed: list[int] = []
    gate = threading.Barrier(8)

    def use() -> None:
        gate.wait()
        for _ in range(50):
            try:
                spend(limit, "a")
            except DomainError:
                continue
            passed.append(1)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 100


def test_the_count_of_a_process_is_bounded(away: Away, nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_LOCAL_KEYS", 10)
    away(nobody)
    for key in range(100):
        spend(Limit("many", 1, 86_400), str(key))
    assert len(limits._local) <= 12  # noqa: SLF001


@pytest.mark.parametrize("kind", ["nobody", "black_hole"])
def test_redis_away_refuses_no_request(
    client: TestClient, session: Session, away: Away, kind: str, request: pytest.FixtureRequest
) -> None:
    """Sign-in, uploads and reports go on; readiness tells it and stays 200."""
    away(request.getfixturevalue(kind))
    citizen = make.citizen(session)
    answers: list[Any] = [
        client.post("/v1/auth/codes", json={"phone": "0912345678"}),
        client.post("/v1/reports", json=make.report_body(), headers=make.bearer(citizen) | make.key()),
    ]
    assert [answer.status_code for answer in answers] == [202, 201]
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"database": "ok", "broker": "unavailable"})
