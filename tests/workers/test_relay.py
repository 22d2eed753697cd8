"""The relay as a process: it rings once, finds what a lost bell announced, and outlives its database and its broker."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
import redis
from fastapi.testclient import TestClient
from sqlmodel import select

from app.cases.models import Case, CaseEvent
from app.core import db, doorbell, limits
from app.core.config import settings
from app.embedded import Database, Valkey, start_valkey
from app.intake.actions import submit
from app.reports.schemas import ReportIn
from tests.running import wait_for
from tests.support import make

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


@dataclass
class Town:
    """A database and a broker of one's own, and processes of the product beside them."""

    database: Database
    place: Path
    valkey: Valkey
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """`python -m …` with this broker."""
        environment = os.environ | {"REDIS_URL": self.valkey.url, "PHANANH_LOG_LEVEL": "INFO"}
        with (self.place / f"{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments], env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.processes.append(process)
        return process

    def relay(self) -> subprocess.Popen[bytes]:
        relay = self.start("workers.relay")
        wait_for(self.listens, "a relay that listens")
        return relay

    def listens(self) -> bool:
        """Whether a relay has said LISTEN and done something since."""
        return bool(self.backends())

    def backends(self) -> list[int]:
        """The database connections of relays."""
        with psycopg.connect(self.database.app_url) as connection:  # sees what its own role asks
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND (query LIKE 'LISTEN%' OR query LIKE 'SELECT EXISTS%')"
            ).fetchall()
        return [pid for (pid,) in rows]

    def waiting(self, kind: str) -> int:
        """Messages of a kind that nobody took yet."""
        with redis.Redis.from_url(self.valkey.url) as broker:
            return int(str(broker.llen(kind)))

    def restart_broker(self) -> None:
        port = self.valkey.port
        self.valkey.stop(quick=True)
        self.valkey = start_valkey(self.place / "valkey", port=port)


@pytest.fixture
def town(committed: Database, tmp_path: Path) -> Iterator[Town]:
    with start_valkey(tmp_path / "valkey") as valkey:
        town = Town(committed, tmp_path, valkey)
        try:
            yield town
        finally:
            for process in town.processes:
                process.kill()
                process.wait(20)
            town.valkey.stop(quick=True)


def report() -> UUID:
    with db.transaction() as session:
        body = ReportIn(**make.report_body())
        submit(session, make.citizen(session), body, uuid4())
        return body.id


def state_of(report_id: str | UUID) -> str:
    with db.transaction() as session:
        return session.exec(select(Case.state).where(Case.report_id == UUID(str(report_id)))).one()


def served(town: Town, kind: str) -> None:
    """Come back when the relay has gone through its loop once more: it rang for a kind nobody else rings for."""
    doorbell.ring(kind)
    wait_for(lambda: town.waiting(kind) == 1, f"{kind} was rung")


def test_many_commits_ring_one_message(town: Town) -> None:
    town.relay()
    for _ in range(10):
        report()
    wait_for(lambda: town.waiting("routing") == 1, "one message")
    for _ in range(10):
        report()
    served(town, "media")
    served(town, "notifications")
    assert town.waiting("routing") == 1


def test_what_was_committed_while_nobody_listened_is_found(town: Town) -> None:
    report()
    doorbell.stop()  # its ring has been sent, and nobody heard it
    town.relay()
    wait_for(lambda: town.waiting("routing") == 1, "the sweep")


def test_a_message_that_the_broker_lost_is_sent_again(town: Town) -> None:
    town.relay()
    report()
    wait_for(lambda: town.waiting("routing") == 1, "the first message")
    town.restart_broker()  # it keeps nothing
    assert town.waiting("routing") == 0
    wait_for(lambda: town.waiting("routing") == 1, "the second message")


def test_nothing_owed_rings_nothing(town: Town) -> None:
    town.relay()
    served(town, "media")
    assert (town.waiting("routing"), town.waiting("notifications")) == (0, 0)


def test_a_bell_of_an_unknown_kind_harms_nobody(town: Town) -> None:
    relay = town.relay()
    with psycopg.connect(town.database.app_url, autocommit=True) as connection:
        for kind in ("khong_co", "", "routing; DROP TABLE case_file", "đ" * 2000):
            connection.execute("SELECT pg_notify(%s, %s)", (doorbell.CHANNEL, kind))
    served(town, "media")
    assert relay.poll() is None


def test_a_relay_whose_database_connection_was_cut_listens_again(town: Town) -> None:
    relay = town.relay()
    before = town.backends()
    with psycopg.connect(town.database.app_url, autocommit=True) as connection:
        for pid in before:
            connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
    wait_for(lambda: set(town.backends()) - set(before), "a new connection")
    served(town, "media")
    assert relay.poll() is None


def test_a_report_sent_while_redis_is_down_is_accepted_and_routed_later(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.main import app  # noqa: PLC0415 - reads the settings made by the fixture

    relay = town.relay()
    with db.transaction() as session:
        citizen = make.citizen(session)
    monkeypatch.setattr(settings(), "redis_url", town.valkey.url)
    limits.forget()
    port = town.valkey.port
    town.valkey.stop(quick=True)
    with TestClient(app, raise_server_exceptions=False) as client:
        receipts = [make.submit(client, citizen) for _ in range(3)]
        shown = client.get(f"/v1/reports/{receipts[0]['id']}", headers=make.bearer(citizen)).json()
        assert shown["status_text"] == "đã gửi"
        log = town.place / "0.log"
        wait_for(lambda: "broker_away" in log.read_text(), "the relay noticing")
    assert relay.poll() is None
    town.valkey = start_valkey(town.place / "valkey", port=port)
    wait_for(lambda: town.waiting("routing") == 1, "the bell once the broker is back")
    town.start(
        "celery", "-A", "workers.celery_app", "worker", "-Q", "routing", "--include", "workers.routing", "-c", "1"
    )
    for receipt in receipts:
        wait_for(lambda owed=receipt["id"]: state_of(owed) == "assigned", "the report routed", 90)  # type: ignore[misc]
    with db.transaction() as session:
        verbs = session.exec(select(CaseEvent.verb)).all()
    assert sorted(verbs) == ["assign"] * 3 + ["submit"] * 3
    limits.forget()


def test_a_stop_is_clean(town: Town) -> None:
    relay = town.relay()
    relay.terminate()
    assert relay.wait(20) == 0
