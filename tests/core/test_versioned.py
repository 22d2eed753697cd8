"""Configuration in memory: what another process changed is seen within seconds, and never half."""

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from app.core import db, versioned
from app.core.db import Session
from app.core.versioned import CHECK_EVERY_S, Versioned, bump
from app.embedded import Database

TOPIC = "test_topic"


class Loader:
    """Hands out a new value at each load."""

    def __init__(self) -> None:
        self.loads = 0

    def __call__(self, _session: Session) -> int:
        self.loads += 1
        return self.loads


@pytest.fixture
def cached(committed: Database) -> Iterator[Versioned[int]]:
    made = Versioned(TOPIC, Loader())
    yield made
    versioned._all.remove(made)  # noqa: SLF001 - nobody else's topic


def read(cached: Versioned[int]) -> int:
    with db.transaction() as session:
        return cached.get(session)


def elsewhere() -> None:
    """What another process does: the row changes, this process is told nothing."""
    with db.transaction() as session:
        session.execute(
            text(
                "INSERT INTO config_version VALUES (:topic, 1)"
                " ON CONFLICT (topic) DO UPDATE SET version = config_version.version + 1"
            ),
            {"topic": TOPIC},
        )


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    real = time.monotonic()
    monkeypatch.setattr("app.core.versioned.time.monotonic", lambda: real + seconds)


def test_reading_twice_loads_once(cached: Versioned[int]) -> None:
    assert [read(cached) for _ in range(3)] == [1, 1, 1]


def test_a_change_made_elsewhere_is_seen_without_a_restart(
    cached: Versioned[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read(cached) == 1
    elsewhere()
    later(monkeypatch, CHECK_EVERY_S + 0.1)
    assert read(cached) == 2
    later(monkeypatch, CHECK_EVERY_S + 0.1)
    assert read(cached) == 2, "the same version is not loaded again"


class RolledBack(Exception):
    """The end of a transaction that was not meant to last."""


def changed_and_rolled_back(cached: Versioned[int]) -> tuple[int, int]:
    seen = (0, 0)
    with contextlib.suppress(RolledBack), db.transaction() as session:
        bump(session, TOPIC)
        seen = cached.get(session), cached.get(session)
        raise RolledBack
    return seen


def test_a_change_of_ones_own_is_seen_at_once_and_kept_by_nobody_who_rolled_back(cached: Versioned[int]) -> None:
    assert read(cached) == 1
    first, second = changed_and_rolled_back(cached)
    assert first == second > 1
    assert read(cached) != first


def test_threads_that_ask_at_once_load_once(cached: Versioned[int]) -> None:
    gate, found = threading.Barrier(6), []

    def ask() -> None:
        gate.wait()
        found.append(read(cached))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 6
