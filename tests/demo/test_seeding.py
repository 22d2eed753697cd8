"""Seeding for real: idempotent, resumable after kill -9, undisturbed by live workers, and true to the invariants."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from app.cases.actions import close_confirmed_by_silence
from app.core import clock, db
from app.core.config import ROOT, settings
from app.core.db import transaction
from app.deadlines.actions import record_breaches
from app.embedded import Database
from app.identity.actions import sign_in_staff
from app.media.actions import process_owed
from app.notifications.actions import send_owed
from app.pictures.rules import derive
from app.routing.actions import assign_owed
from tests.running import wait_for
from tools import verify
from tools.demo import people
from tools.demo.seeding import seed

REPORTS = 40
WHOLE = 300  # as `make run` lives it
FEWER = 20


def scalar(query: str) -> int:
    with transaction() as session:
        return int(session.execute(text(query)).scalar_one())


def problems() -> list[str]:
    with transaction() as session:
        return verify.problems(session)


def run(*arguments: str) -> subprocess.Popen[str]:
    """The command in a process of its own, against the database of this test."""
    return subprocess.Popen(
        [sys.executable, "-m", "tools.demo", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_accounts_are_made_once_and_told(committed: Database) -> None:
    first = people.ensure()
    accounts = scalar("SELECT count(*) FROM account")
    assert people.ensure() == first
    assert scalar("SELECT count(*) FROM account") == accounts == len(first)
    path = people.tell(first, base_url="http://127.0.0.1:8000")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = json.loads(path.read_text())
    assert {person["role"] for person in told["accounts"]} == {
        "citizen",
        "assistant",
        "dispatcher",
        "officer",
        "lead",
        "leader",
        "administrator",
        "auditor",
    }
    assert told["base_url"] == "http://127.0.0.1:8000"
    for person in told["accounts"]:
        if person["role"] == "citizen":
            assert person["phone"].startswith("0900000")
        else:
            assert sign_in_staff(person["email"], person["password"], None).account.kind == "staff"


def test_what_others_noted_in_the_file_stays(committed: Database) -> None:
    path = settings().var_dir / "demo.json"
    path.write_text('{"addresses": {"api": "http://127.0.0.1:1/v1"}}')
    people.tell([])
    assert json.loads(path.read_text())["addresses"] == {"api": "http://127.0.0.1:1/v1"}


@pytest.mark.parametrize("command", [["accounts"], []])
def test_production_refuses_with_one_sentence(
    committed: Database, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    for number, name in enumerate(("TOKEN", "VAULT", "INDEX", "LINK", "SEAL")):
        monkeypatch.setenv(f"PHANANH_{name}_KEY", f"{number}" * 42 + "g=")
    for name in ("KEY", "SECRET", "BRAND"):
        monkeypatch.setenv(f"PHANANH_ESMS_{name}", "test")
    monkeypatch.setenv("PHANANH_NOTIFIER", "carriers")
    monkeypatch.setenv("PHANANH_ENVIRONMENT", "production")
    refused = run(*command)
    said, _ = refused.communicate(timeout=60)
    assert refused.returncode == 1
    assert [line for line in said.splitlines() if line.startswith("phananh: ")] == [
        "phananh: Demo accounts have published passwords and are refused while PHANANH_ENVIRONMENT=production."
    ]
    assert scalar("SELECT count(*) FROM account") == 0


def test_demo_data_pass_the_invariants_of_real_data(committed: Database) -> None:
    done = seed(REPORTS)
    assert problems() == []
    assert scalar("SELECT count(*) FROM case_file") == done.reports == REPORTS
    assert scalar("SELECT count(*) FROM media WHERE state = 'processed'") == done.photos > 0
    assert scalar("SELECT count(*) FROM case_file WHERE state IN ('closed', 'resolved')") > REPORTS / 3
    assert scalar("SELECT count(*) FROM case_file WHERE state = 'merged'") >= 1
    assert scalar("SELECT count(*) FROM case_support") >= 1
    # Nothing is told of the future, and nothing before people joined.
    assert scalar("SELECT count(*) FROM case_event WHERE at > now()") == 0
    assert (
        scalar("SELECT count(*) FROM case_event e JOIN account a ON a.id = e.actor_id WHERE a.created_at > e.at") == 0
    )


@pytest.mark.slow
def test_the_demo_of_make_run_is_lived_to_its_end(committed: Database) -> None:
    """Forty lives do not meet every category: what only a lead may approve came up in the three hundred."""
    assert seed(WHOLE).reports == WHOLE
    assert problems() == []
    assert scalar("SELECT count(*) FROM case_event WHERE verb = 'approve'") > 0


def test_a_second_seeding_changes_nothing(committed: Database) -> None:
    first = seed(6)
    before = scalar("SELECT max(pos) FROM case_event")
    with watched() as statements:
        assert seed(60, number=9) == first
    assert scalar("SELECT max(pos) FROM case_event") == before
    assert len(statements) < 12


@contextmanager
def watched() -> Iterator[list[str]]:
    """The statements of this process."""
    from sqlalchemy import event  # noqa: PLC0415

    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(db.engine(), "before_cursor_execute", note)
    yield seen
    event.remove(db.engine(), "before_cursor_execute", note)


@pytest.mark.processes
def test_a_killed_seeding_is_taken_up_again(committed: Database) -> None:
    for so_far in (3, 9):
        seeding = run("--reports", str(FEWER))
        wait_for(lambda: scalar("SELECT count(*) FROM case_file") >= so_far, f"{so_far} reports", 60)  # noqa: B023
        seeding.send_signal(signal.SIGKILL)
        seeding.communicate()
        assert scalar("SELECT count(*) FROM case_file") < FEWER
        assert problems() == []
    assert seed(FEWER).reports == FEWER
    assert problems() == []
    assert scalar("SELECT count(*) FROM case_file") == FEWER
    # What was uploaded for a life that was not lived was found again, not sent twice.
    assert scalar("SELECT count(*) FROM media") == scalar(
        "SELECT (SELECT count(*) FROM report_media) + (SELECT count(*) FROM case_photo)"
    )


def test_two_seedings_at_once_live_every_life_once(committed: Database) -> None:
    both = [run("--reports", str(FEWER)), run("--reports", str(FEWER))]
    for seeding in both:
        said, _ = seeding.communicate(timeout=120)
        assert seeding.returncode == 0, said
    assert scalar("SELECT count(*) FROM case_file") == FEWER
    assert problems() == []


def test_live_workers_with_a_real_clock_do_not_disturb_it(committed: Database) -> None:
    """All that drains and sweeps runs beside it, as often as it can."""
    stop = threading.Event()
    failures: list[Exception] = []

    def always(work: Callable[[], object]) -> None:
        while not stop.is_set():
            try:
                work()
            except Exception as error:  # noqa: BLE001 - told to the test
                failures.append(error)
            stop.wait(0.005)

    def sweeps() -> None:
        with transaction() as session:
            record_breaches(session, clock.now())
        with transaction() as session:
            close_confirmed_by_silence(session)

    workers = [
        threading.Thread(target=always, args=(work,))
        for work in (assign_owed, sweeps, send_owed, lambda: process_owed(derive))
    ]
    for worker in workers:
        worker.start()
    try:
        seed(FEWER)
        wait_for(lambda: scalar("SELECT count(*) FROM message WHERE state = 'owed'") == 0, "all messages sent", 60)
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert failures == []
    assert problems() == []


def test_the_command_tells_what_it_did(committed: Database) -> None:
    seeding = run("--reports", "3", "--base-url", "http://127.0.0.1:8000")
    said, _ = seeding.communicate(timeout=120)
    assert seeding.returncode == 0, said
    assert "3 demo reports since" in said
    told = json.loads(Path(os.environ["PHANANH_VAR_DIR"], "demo.json").read_text())
    assert told["seeded"]["reports"] == 3
    assert datetime.fromisoformat(told["seeded"]["until"]) <= clock.now()
    assert told["base_url"] == "http://127.0.0.1:8000"
