"""The real worker beside the real relay: a picture sent is a picture processed, in a child that is held short."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest

from app.core import db, doorbell
from app.core.config import ROOT
from app.embedded import Database
from app.media import queries
from app.media.models import Media
from app.processes import relay_argv, worker_argv
from tests.media import pictures
from tests.media.test_processing import received
from tests.running import Mark, children_of, wait_for
from tests.support import make

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


@pytest.fixture
def worker(committed: Database, tmp_path: Path) -> Iterator[int]:
    """Relay and photo worker as `make run` starts them; the worker's pid."""
    mark = Mark(tmp_path)
    log = (tmp_path / "log").open("wb")
    started = [
        subprocess.Popen(argv, env=mark.environment, cwd=ROOT, stdout=log, stderr=log)
        for argv in (relay_argv(), worker_argv("media"))
    ]
    yield started[1].pid
    for process in started:
        process.send_signal(signal.SIGTERM)
    for process in started:
        # As the supervisor does: a worker that has just lost a child may wait for it longer than anybody wants to.
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
    for pid in mark.alive():
        os.kill(pid, signal.SIGKILL)
    for process in started:
        process.wait(10)
    log.close()
    doorbell.stop()


def seen(owner_id: UUID, media_id: UUID) -> Media:
    with db.transaction() as session:
        return queries.owned(session, owner_id, [media_id])[0]


def test_pictures_are_processed_and_a_killed_child_is_replaced(committed: Database, worker: int) -> None:
    with db.transaction() as session:
        owner = make.citizen(session).id
    media_id = received(owner, pictures.jpeg(2000, 1500))
    wait_for(lambda: seen(owner, media_id).state == "processed", "processing", 60)
    (child,) = children_of(worker)
    limits = Path(f"/proc/{child}/limits").read_text()
    assert next(line for line in limits.splitlines() if "address space" in line).split()[3] == str(1 << 30)
    assert "shapely" not in Path(f"/proc/{child}/maps").read_text()

    os.kill(child, signal.SIGKILL)
    following = received(owner)
    wait_for(lambda: seen(owner, following).state == "processed", "processing by another child", 60)
    assert child not in children_of(worker)
