"""Pictures owed: leased, counted, finished once, given up in time; deletions that do not give up."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from app.core import clock, db, storage
from app.core.config import ROOT, settings
from app.core.db import Session
from app.embedded import Database
from app.media import actions, queries
from app.media.models import Media
from app.media.rules import MAX_ATTEMPTS
from app.pictures.rules import derive
from tests.media import pictures
from tests.running import Mark
from tests.support import make

Rows = Callable[..., list[Media]]
Receive = Callable[..., UUID]


def received(owner_id: UUID, data: bytes | None = None) -> UUID:
    """Receive a picture as the upload does; its id."""
    with tempfile.TemporaryFile() as file:
        file.write(pictures.jpeg() if data is None else data)
        return UUID(json.loads(actions.receive(owner_id, uuid4(), file).body)["id"])


@pytest.fixture
def receive(session: Session) -> Receive:
    owner = make.citizen(session)
    session.commit()
    return lambda data=None: received(owner.id, data)


def undecodable() -> bytes:
    """A sound header over missing pixels."""
    data = bytearray(pictures.saved(pictures.drawn(), "PNG"))
    data[60:90] = bytes(30)
    return bytes(data)


def later(**span: float) -> AbstractContextManager[None]:
    return clock.travelled(clock.now() + timedelta(**span))


# --- processing ----------------------------------------------------------------------------------------------------


def test_what_is_owed_is_processed_and_fingerprinted(receive: Receive, rows: Rows) -> None:
    media_id = receive(pictures.jpeg(2000, 1000, exif=pictures.exif()))
    assert actions.process_owed(derive) == 1
    (media,) = rows(media_id)
    assert (media.state, media.width, media.height, media.attempts) == ("processed", 1600, 800, 1)
    assert media.lease_id is None
    assert media.finished_at is not None
    assert media.dhash is not None
    assert (media.exif_lat, media.exif_lon) == pytest.approx((21.594167, 105.848056), abs=1e-5)
    assert media.exif_taken_at is not None
    assert storage.exists(media.large_key)
    assert storage.exists(media.small_key)
    assert actions.process_owed(derive) == 0


def test_one_bad_picture_does_not_stop_the_others(receive: Receive, rows: Rows) -> None:
    bad, good, lost, last = receive(undecodable()), receive(), receive(), receive()
    storage.delete(rows(lost)[0].original_key)
    assert actions.process_owed(derive) == 4
    states = {media.id: media.state for media in rows()}
    assert states == {bad: "failed", good: "processed", lost: "stored", last: "processed"}
    assert rows(bad)[0].failure_code == "media_broken"
    assert not storage.exists(rows(bad)[0].large_key)


def test_failing_pictures_do_not_starve_new_ones(receive: Receive, rows: Rows) -> None:
    """What failed goes to the back of the queue, not to its head."""
    for _ in range(3):
        storage.delete(rows(receive())[0].original_key)
    assert actions.process_owed(derive) == 3
    fresh = receive()
    with later(hours=2):
        assert actions.process_owed(derive, limit=1) == 1
        assert rows(fresh)[0].state == "processed"
        assert actions.process_owed(derive) == 3


def test_an_inexplicable_failure_is_tried_five_times_then_waits_for_a_person(
    session: Session, receive: Receive, rows: Rows
) -> None:
    media_id = receive()
    (media,) = rows(media_id)
    original = storage.get(media.original_key)
    storage.delete(media.original_key)
    now = clock.now()
    for attempt in range(1, MAX_ATTEMPTS + 1):
        with clock.travelled(now + timedelta(hours=attempt)):
            assert actions.process_owed(derive) == 1
            assert actions.process_owed(derive) == 0  # there is a pause after each
        assert rows(media_id)[0].attempts == attempt
    assert (rows(media_id)[0].state, rows(media_id)[0].failure_code) == ("failed", "media_processing_failed")
    with later(days=30):
        assert actions.process_owed(derive) == 0
    assert [each.id for each in queries.stuck(session)] == [media_id]

    storage.put(media.original_key, original)
    actions.owe_again(session, rows(media_id)[0])
    session.commit()
    assert actions.process_owed(derive) == 1
    assert (rows(media_id)[0].state, rows(media_id)[0].attempts) == ("processed", 1)
    assert queries.stuck(session) == []


def test_a_picture_that_kills_its_workers_is_given_up(receive: Receive, rows: Rows) -> None:
    """Nobody lives to report the failure: the count was committed before the work."""
    media_id, now = receive(), clock.now()
    for attempt in range(MAX_ATTEMPTS):
        with clock.travelled(now + attempt * (actions.LEASE + timedelta(seconds=1))):
            assert actions._claimed(queries.next_owed) is not None  # noqa: SLF001 - a worker that dies here
            assert actions._claimed(queries.next_owed) is None  # noqa: SLF001
    with later(hours=1):
        assert actions.process_owed(derive) == 1
        assert actions.process_owed(derive) == 0
    assert (rows(media_id)[0].state, rows(media_id)[0].failure_code) == ("failed", "media_processing_failed")


def test_an_expired_lease_is_owed_again_and_the_late_worker_changes_nothing(receive: Receive, rows: Rows) -> None:
    media_id = receive()
    late = actions._claimed(queries.next_owed)  # noqa: SLF001 - a worker that is held up here
    assert late is not None
    assert actions.process_owed(derive) == 0
    with clock.travelled(clock.now() + actions.LEASE + timedelta(seconds=1)):
        assert actions.process_owed(derive) == 1
    finished = rows(media_id)[0].finished_at
    assert actions._finish(late, state="failed", failure_code="media_broken") is False  # noqa: SLF001
    (media,) = rows(media_id)
    assert (media.state, media.finished_at, media.failure_code) == ("processed", finished, None)


def test_an_outage_of_storage_fails_no_picture(
    receive: Receive, rows: Rows, storage_away: Callable[[bool], None]
) -> None:
    media_id, now = receive(), clock.now()
    storage_away(True)
    for minute in range(MAX_ATTEMPTS + 2):
        with clock.travelled(now + timedelta(minutes=minute)):
            assert actions.process_owed(derive) == 1
    assert (rows(media_id)[0].state, rows(media_id)[0].attempts) == ("stored", 0)
    storage_away(False)
    with later(hours=1):
        assert actions.process_owed(derive) == 1
    assert rows(media_id)[0].state == "processed"


def test_the_lease_outlives_the_longest_task() -> None:
    assert actions.LEASE.total_seconds() > actions.TASK_LIMIT_S > actions.TASK_SOFT_LIMIT_S > actions.BATCH_S


def test_each_picture_is_processed_once_by_many_workers(committed: Database) -> None:
    with db.transaction() as session:
        owner = make.citizen(session)
    ids = [received(owner.id) for _ in range(12)]
    taken: list[int] = []
    workers = [threading.Thread(target=lambda: taken.append(actions.process_owed(derive))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert sum(taken) == len(ids)
    with db.transaction() as session:
        found = queries.owned(session, owner.id, ids)
    assert Counter((media.state, media.attempts) for media in found) == {("processed", 1): len(ids)}


_DIES_IN_THE_MIDDLE = """
import time
from app.media import actions

def derive(data, detected_type):
    print("in the middle", flush=True)
    time.sleep(600)

actions.process_owed(derive)
"""


def test_a_worker_killed_in_the_middle_loses_nothing(committed: Database, tmp_path: Path) -> None:
    with db.transaction() as session:
        owner = make.citizen(session)
    media_id = received(owner.id)
    mark = Mark(tmp_path)
    worker = mark.start(_DIES_IN_THE_MIDDLE)
    assert worker.stdout is not None
    with worker.stdout as said:
        line = said.readline()
        assert line == "in the middle\n", line + said.read()
        worker.send_signal(signal.SIGKILL)
        worker.wait(10)
    assert actions.process_owed(derive) == 0  # its lease is in force
    with clock.travelled(clock.now() + actions.LEASE + timedelta(seconds=1)):
        assert actions.process_owed(derive) == 1
    with db.transaction() as session:
        (media,) = queries.owned(session, owner.id, [media_id])
    assert (media.state, media.attempts) == ("processed", 2)


# --- the child's limits --------------------------------------------------------------------------------------------

_CHILD = """
import sys
import workers.media
from app.pictures.rules import derive

assert "shapely" not in sys.modules, "the photo child carries shapely"
size = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")) << 10
workers.media.cap_memory(size + (int(sys.argv[3]) << 20))
data = open(sys.argv[1], "rb").read()
try:
    derive(data, sys.argv[2])
except Exception as error:
    print(type(error).__name__)
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(peak >> 10)
"""


def child(tmp_path: Path, data: bytes, detected_type: str, room_mb: int) -> list[str]:
    """Derive in a process like the worker's; what it raised, and its peak in megabytes."""
    picture = tmp_path / "picture"
    picture.write_bytes(data)
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",
        "REDIS_URL": "redis://127.0.0.1:9",
    }
    command = [sys.executable, "-c", _CHILD, str(picture), detected_type, str(room_mb)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
def test_twelve_megapixels_need_at_most_260_megabytes(tmp_path: Path, kind: str) -> None:
    (peak,) = child(tmp_path, pictures.saved(pictures.drawn(4000, 3000), kind), f"image/{kind.lower()}", 900)
    assert int(peak) <= 260


def test_a_heic_of_a_phone_needs_at_most_260_megabytes(tmp_path: Path, real_data: Path) -> None:
    (peak,) = child(tmp_path, (real_data / "photos" / "IMG_5195.HEIC").read_bytes(), "image/heic", 900)
    assert int(peak) <= 260


def test_a_picture_that_wants_more_memory_fails_alone_and_is_no_verdict(tmp_path: Path) -> None:
    """MemoryError is an attempt that failed, to be tried again; not `media_broken`."""
    data = pictures.saved(pictures.drawn(4000, 3000), "PNG")
    assert child(tmp_path, data, "image/png", 30)[0] == "MemoryError"


# --- deletion ------------------------------------------------------------------------------------------------------


def ask_deletion(session: Session, media: Media) -> None:
    actions.request_deletion(session, media)
    session.commit()


def keys(media: Media) -> tuple[str, str, str]:
    return media.original_key, media.large_key, media.small_key


def test_deletion_removes_all_three_objects_and_is_confirmed(session: Session, receive: Receive, rows: Rows) -> None:
    media_id, kept = receive(pictures.jpeg(exif=pictures.exif())), receive()
    actions.process_owed(derive)
    (media,) = rows(media_id)
    assert all(storage.exists(key) for key in keys(media))
    ask_deletion(session, media)
    assert (media.exif_lat, media.exif_lon, media.exif_taken_at) == (None, None, None)
    assert actions.sweep_deletions() == 1
    assert not any(storage.exists(key) for key in keys(media))
    assert rows(media_id)[0].deleted_at is not None
    assert actions.sweep_deletions() == 0
    assert all(storage.exists(key) for key in keys(rows(kept)[0]))


def test_deletion_is_retried_until_storage_confirms(
    session: Session, receive: Receive, rows: Rows, storage_away: Callable[[bool], None]
) -> None:
    (media,) = rows(receive())
    ask_deletion(session, media)
    storage_away(True)
    now = clock.now()
    for hour in range(MAX_ATTEMPTS + 2):
        with clock.travelled(now + timedelta(hours=2 * hour)):
            assert actions.sweep_deletions() == 0
    assert rows(media.id)[0].deleted_at is None
    assert [each.id for each in queries.stuck(session)] == [media.id]
    storage_away(False)
    assert storage.exists(media.original_key)
    with later(days=2):
        assert actions.sweep_deletions() == 1
    assert not storage.exists(media.original_key)


def test_a_picture_being_processed_is_deleted_when_its_worker_is_done(
    session: Session, receive: Receive, rows: Rows
) -> None:
    """Nothing a worker still writes may outlive the deletion."""
    (read_before,) = rows(receive())
    at_work = actions._claimed(queries.next_owed)  # noqa: SLF001 - a worker in the middle
    assert at_work is not None
    ask_deletion(session, read_before)
    assert actions.sweep_deletions() == 0
    storage.put(at_work.large_key, b"written late")
    assert actions._finish(at_work, state="processed", width=1, height=1) is False  # noqa: SLF001
    assert actions.process_owed(derive) == 0
    with clock.travelled(clock.now() + actions.LEASE + timedelta(seconds=1)):
        assert actions.sweep_deletions() == 1
    assert not storage.exists(at_work.large_key)
    assert rows(at_work.id)[0].state == "stored"


def test_asking_twice_is_asking_once(session: Session, receive: Receive, rows: Rows) -> None:
    (media,) = rows(receive())
    ask_deletion(session, media)
    asked = media.delete_requested_at
    with later(days=1):
        ask_deletion(session, media)
    assert media.delete_requested_at == asked


def test_orphans_go_and_owned_originals_stay(
    receive: Receive, rows: Rows, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    forget = (settings.cache_clear, storage.store.cache_clear)
    monkeypatch.setenv("PHANANH_STORAGE_URL", (tmp_path / "photos").as_uri())
    for each in forget:
        each()
        request.addfinalizer(each)
    (media,) = rows(receive())
    orphan = f"{media.original_key.rpartition('/')[0]}/{'0' * 32}"
    storage.put(orphan, b"its row was never written")
    assert actions.sweep_orphans() == 0  # it may still be on its way
    with later(hours=25):
        assert actions.sweep_orphans() == 1
        assert actions.sweep_orphans() == 0
    assert not storage.exists(orphan)
    assert storage.exists(media.original_key)
