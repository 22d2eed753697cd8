"""Reports survive the death of any part: nothing is lost, nothing is opened twice."""

import http.client
import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from app.core import db
from app.embedded import Database
from app.identity.policy import Viewer
from tests.running import Mark, Running, children_of, wait_for
from tests.support import make, places
from tools.verify import problems

ROUNDS = int(os.environ.get("KILL_ROUNDS", "10"))
SEED = int(os.environ.get("KILL_SEED", "20261122"))
REPORTS = 220  # more than a fast machine takes in while this process looks at a clock
IN_FLIGHT = 20
SENDERS = 22
TARGETS = ("relay", "worker child", "worker parent", "valkey", "api")

pytestmark = [pytest.mark.faults, pytest.mark.processes, pytest.mark.timeout(60 + ROUNDS * 45)]


@dataclass
class System:
    """The whole product in processes of its own, and a direct look at its database."""

    running: Running
    address: str
    database: Database
    citizens: list[Viewer]

    def victims(self, target: str) -> list[int]:
        """The processes of one kind that live now."""
        children = {pid: line for pid, line in children_of(self.running.process.pid).items() if "launch.py" not in line}
        worker = [pid for pid, line in children.items() if "--include workers.routing" in line]
        if target == "worker child":
            return [child for parent in worker for child in children_of(parent)]
        if target == "worker parent":
            return worker
        word = {"relay": "workers.relay", "valkey": "valkey-server", "api": "uvicorn app.main"}[target]
        return [pid for pid, line in children.items() if word in line]

    def counted(self, query: str, ids: list[str]) -> int:
        with psycopg.connect(self.database.owner_url) as connection:
            row = connection.execute(query, {"ids": ids}).fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def system(committed: Database, tmp_path: Path) -> Iterator[System]:
    with db.transaction() as session:
        citizens = [make.citizen(session) for _ in range(SENDERS)]
    mark = Mark(tmp_path)
    running = Running(
        mark,
        DATABASE_URL=committed.app_url,
        OWNER_DATABASE_URL=committed.owner_url,
        PHANANH_LIMITS_SCALE="1000",
    )
    try:
        yield System(running, running.address(), committed, citizens)
    finally:
        running.process.send_signal(signal.SIGTERM)
        running.end(150)


@dataclass
class Burst:
    """Phones that send until they are answered, whatever happens to the server meanwhile."""

    system: System
    acknowledged: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self.ids = [str(uuid4()) for _ in range(REPORTS)]
        for place, citizen in enumerate(self.system.citizens):
            thread = threading.Thread(target=self._send_all, args=(citizen, self.ids[place::SENDERS]))
            thread.start()
            self._threads.append(thread)

    def finish(self) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a phone was never answered"

    def _send_all(self, citizen: Viewer, ids: list[str]) -> None:
        for report_id in ids:
            body = json.dumps(make.report_body(make.TRUSTED_COMMUNE, random.choice(places.codes()), id=report_id))
            headers = make.bearer(citizen) | make.key() | {"Content-Type": "application/json"}
            while not self._sent(body, headers):
                time.sleep(0.05)
            self.acknowledged.append(report_id)

    def _sent(self, body: str, headers: dict[str, str]) -> bool:
        """One attempt; False where a phone would try again with the same key."""
        connection = http.client.HTTPConnection(self.system.address, timeout=10)
        try:
            connection.request("POST", "/v1/reports", body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        if answer.status in (200, 201):
            return True
        assert json.loads(text)["retry"] in ("same_key", "after"), text
        return False


ROUTED = """SELECT count(*) FROM case_file WHERE report_id = ANY(%(ids)s::uuid[]) AND state = 'assigned'"""
ONCE = """
SELECT count(*) FROM case_file
WHERE report_id = ANY(%(ids)s::uuid[]) AND version = 2
  AND 1 = (SELECT count(*) FROM case_event WHERE case_id = case_file.id AND verb = 'submit')
  AND 1 = (SELECT count(*) FROM case_event WHERE case_id = case_file.id AND verb = 'assign')
  AND 1 = (SELECT count(*) FROM case_hop WHERE case_id = case_file.id)
  AND 3 = (SELECT count(*) FROM sla_clock WHERE case_id = case_file.id)
  AND 1 = (SELECT count(*) FROM message WHERE message.case_id = case_file.id)
"""


def test_nothing_is_lost_or_opened_twice_when_parts_are_killed(system: System) -> None:
    chance = random.Random(SEED)
    for number in range(ROUNDS):
        one_round(system, number, TARGETS[number % len(TARGETS)], chance)
    with db.transaction() as session:
        assert problems(session) == []


def one_round(system: System, number: int, target: str, chance: random.Random) -> None:
    """A burst of reports, one death in the middle of it, and everything routed exactly once afterwards."""
    moment = chance.randrange(0, REPORTS // 3)
    name = f"round {number} (seed {SEED}): {target} killed after {moment} answers"
    wait_for(lambda: system.victims(target), f"a {target} to kill")
    burst = Burst(system)
    burst.start()
    wait_for(lambda: len(burst.acknowledged) >= moment, "the moment to kill")
    in_flight = REPORTS - system.counted(ROUTED, burst.ids)
    victim = chance.choice(sorted(system.victims(target)))
    os.kill(victim, signal.SIGKILL)
    killed_at = time.monotonic()
    assert in_flight >= IN_FLIGHT, f"{name}: only {in_flight} in flight"
    burst.finish()
    wait_for(lambda: system.counted(ROUTED, burst.ids) == REPORTS, f"{name}: all routed", 60)
    assert system.counted(ONCE, burst.ids) == REPORTS, name
    print(f"{name}; all routed {time.monotonic() - killed_at:.1f} s later")  # noqa: T201 - shown with -s
