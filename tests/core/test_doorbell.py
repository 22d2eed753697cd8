"""The bell announces what was committed, once for many, and leaves nothing unsaid when it is stopped."""

import psycopg

from app.core.doorbell import CHANNEL, Doorbell
from app.embedded import Database


def heard(listener: psycopg.Connection, seconds: float = 1) -> list[str]:
    return [notify.payload for notify in listener.notifies(timeout=seconds)]


def test_many_rings_of_a_kind_are_one(shared_database: Database) -> None:
    with psycopg.connect(shared_database.app_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        bell = Doorbell(shared_database.app_url)
        for _ in range(500):
            bell.ring("routing")
        bell.stop()
        assert 1 <= len(heard(listener)) < 20


def test_what_was_rung_before_the_stop_still_leaves(shared_database: Database) -> None:
    with psycopg.connect(shared_database.app_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        bell = Doorbell(shared_database.app_url)
        bell.ring("first")
        while heard(listener, 0.01) != ["first"]:
            pass
        bell.ring("second")  # while the thread pauses
        bell.stop()
        assert heard(listener) == ["second"]


def test_a_database_that_is_away_costs_nothing_but_the_ring(shared_database: Database) -> None:
    bell = Doorbell("postgresql://nobody:x@127.0.0.1:1/none")
    bell.ring("routing")
    bell.stop()
