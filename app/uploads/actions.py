"""What changes uploads: bytes that arrive, the picture they become, uploads that are given up.

The bytes stand in one file per upload, in PHANANH_UPLOADS_DIR, which all API processes and the housekeeping share. Who
writes holds a lock on that file: it needs no database connection while a slow phone sends, and a killed process lets
go of it at once. A byte counts as received when it is on disk and the row says so, in that order.
"""

import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import NoReturn
from uuid import UUID

import structlog
from sqlalchemy import delete, update
from sqlmodel import col, select

from app.core import clock
from app.core.config import settings
from app.core.db import Session, transaction
from app.core.errors import UNAUTHENTICATED, UNAVAILABLE, DomainError
from app.identity.models import Account
from app.media import actions as media
from app.uploads import queries, rules
from app.uploads.models import Upload
from app.uploads.rules import Checksum
from app.uploads.schemas import (
    UPLOAD_BUSY,
    UPLOAD_CHECKSUM,
    UPLOAD_EXPIRED,
    UPLOAD_FINISHED,
    UPLOAD_OFFSET,
    UPLOAD_TOO_LONG,
    UPLOAD_TOO_MANY,
)

log = structlog.get_logger("uploads")


def create(owner_id: UUID, length: int, metadata: str) -> Upload:
    """Open an upload of `length` bytes; refused while too many of this account are unfinished."""
    now = clock.now()
    upload = Upload(owner_id=owner_id, length=length, sent_metadata=metadata, expires_at=now + rules.PATIENCE)
    with transaction() as session:
        # Locked, so that two requests at once do not both find room. It reads the account's state as well.
        one = select(Account.status).where(Account.id == owner_id).with_for_update(key_share=True)
        if session.exec(one).one_or_none() != "active":
            raise UNAUTHENTICATED.error()
        if queries.unfinished(session, owner_id) >= rules.MAX_UNFINISHED:
            raise UPLOAD_TOO_MANY.error(limit=rules.MAX_UNFINISHED, headers={"Retry-After": "60"})
        session.add(upload)
    return upload


# --- bytes ---------------------------------------------------------------------------------------------------------


class Incoming:
    """The file of one upload, held by one request; nobody else writes to it until `close`.

    Its methods block on disk and database and are called in threads, one at a time: a request that is cut off while a
    write is under way may already be closing.
    """

    def __init__(self, upload: Upload, file: FileIO) -> None:
        self.upload, self._file = upload, file
        self._at, self._saved_at = upload.received, time.monotonic()
        self._check: Checksum | None = None
        self._by_steps = False
        self._hash: hashlib._Hash | None = None
        self._turn = threading.Lock()

    @property
    def complete(self) -> bool:
        """Whether every byte of the picture has been written."""
        return self._at == self.upload.length

    @property
    def unsaved(self) -> int:
        """How many bytes were written and not yet acknowledged in the row."""
        return self._at - self.upload.received

    def begin(self, announced: int | None, check: Checksum | None) -> None:
        """Take a body of `announced` bytes (None: it did not say); refuses what would go beyond the end.

        Only a body that cannot turn out wrong is acknowledged while it comes: its length is known, and no checksum
        decides on all of it at the end.
        """
        if announced is not None and self._at + announced > self.upload.length:
            raise UPLOAD_TOO_LONG.error(length=self.upload.length)
        self._check = check
        self._by_steps = announced is not None and check is None
        self._hash = hashlib.new(check.algorithm, usedforsecurity=False) if check else None

    def write(self, chunk: bytes) -> bool:
        """Write what came; whether it was acknowledged, which is a step's worth at a time."""
        with self._turn, _disk():
            if self._at + len(chunk) > self.upload.length:
                raise UPLOAD_TOO_LONG.error(length=self.upload.length)
            rest = memoryview(chunk)
            while rest:
                rest = rest[self._file.write(rest) :]
            self._at += len(chunk)
            if self._hash is not None:
                self._hash.update(chunk)
            due = self.unsaved >= rules.STEP_BYTES or time.monotonic() - self._saved_at >= rules.STEP_SECONDS
            if self._by_steps and due:
                self._save()
            return self._by_steps and due

    def settle(self) -> None:
        """Acknowledge the whole body; the one that brings the last byte makes the picture."""
        with self._turn, _disk():
            if self._check is not None and self._hash is not None and self._hash.digest() != self._check.digest:
                self._file.truncate(self.upload.received)
                raise UPLOAD_CHECKSUM.error()
            self._save()
            if self.complete:
                self._finish()

    def keep_cut(self) -> None:
        """Acknowledge what came of a body that broke off; without its end a checksum says nothing, so none of it."""
        with self._turn, _disk():
            if self._check is None:
                self._save()

    def close(self) -> None:
        """Let others continue."""
        with self._turn:
            self._file.close()

    def _save(self) -> None:
        """First the disk, then the row. The very last byte is left to `_finish`: see `Upload`."""
        os.fsync(self._file.fileno())
        received = min(self._at, self.upload.length - 1)
        expires_at = min(clock.now() + rules.PATIENCE, self.upload.created_at + rules.LONGEST)
        with transaction() as session:
            self._move(session, received=received, expires_at=expires_at)
        self._saved_at = time.monotonic()

    def _move(self, session: Session, **values: object) -> None:
        """Compare-and-set on the row: whoever took the upload away meanwhile wins."""
        mine = update(Upload).where(
            col(Upload.id) == self.upload.id,
            col(Upload.state) == "open",
            col(Upload.received) == self.upload.received,
        )
        if session.scalar(mine.values(**values).returning(col(Upload.id))) is None:
            raise UPLOAD_EXPIRED.error()
        for name, value in values.items():
            setattr(self.upload, name, value)

    def _finish(self) -> None:
        """Make the picture: examined and stored exactly as one that came in one piece."""
        upload = self.upload
        try:
            kept, _ = media.keep(upload.owner_id, self._file, upload.id)
        except DomainError as refusal:
            if refusal.problem is not UNAVAILABLE:
                self._end(state="refused", failure_code=refusal.problem.code)
            raise
        with transaction() as session:
            media.record(session, kept)
            self._move(session, **self._ended(state="finished", media_id=kept.id))
        _drop_file(upload.id)

    def _end(self, **values: object) -> None:
        with transaction() as session:
            self._move(session, **self._ended(**values))
        _drop_file(self.upload.id)

    def _ended(self, **values: object) -> dict[str, object]:
        return {"received": self.upload.length, "expires_at": clock.now() + rules.REMEMBERED, **values}


def opened(owner_id: UUID, upload_id: UUID, offset: int) -> Incoming:
    """The upload, ready to be continued at `offset`, which must be where it stands.

    Refuses what is not this account's (404), expired (410), finished or elsewhere (409), or being written to (423).
    """
    _to_continue(owner_id, upload_id, offset)
    file = _locked(upload_id)
    try:
        # Again, now that nobody else moves it.
        upload = _to_continue(owner_id, upload_id, offset)
        with _disk():
            if os.fstat(file.fileno()).st_size < upload.received:
                _lost(upload)
            file.truncate(upload.received)
            file.seek(upload.received)
    except BaseException:
        file.close()
        raise
    return Incoming(upload, file)


def _to_continue(owner_id: UUID, upload_id: UUID, offset: int) -> Upload:
    with transaction() as session:
        upload = queries.usable(session, owner_id, upload_id)
    at = {"Upload-Offset": str(upload.received)}
    if upload.state == "finished":
        raise UPLOAD_FINISHED.error(headers=at | {"Phananh-Media-Id": str(upload.media_id)})
    if upload.received != offset:
        raise UPLOAD_OFFSET.error(headers=at, received=upload.received)
    return upload


def _lost(upload: Upload) -> NoReturn:
    """The disk does not hold what was acknowledged: another disk, or a restored database. Said, never papered over."""
    log.error("upload_lost", upload=str(upload.id), received=upload.received)
    _forget(upload.id)
    raise UPLOAD_EXPIRED.error()


# --- giving up -----------------------------------------------------------------------------------------------------


def terminate(owner_id: UUID, upload_id: UUID) -> None:
    """Drop an upload and its bytes; what has become a picture stays one (409)."""
    _unfinished(owner_id, upload_id)
    with _locked(upload_id):
        _unfinished(owner_id, upload_id)
        _forget(upload_id)


def _unfinished(owner_id: UUID, upload_id: UUID) -> None:
    with transaction() as session:
        if queries.owned(session, owner_id, upload_id).state == "finished":
            raise UPLOAD_FINISHED.error()


def sweep_expired(limit: int) -> int:
    """Drop up to `limit` uploads whose time is over, with their files; how many. One that still receives is left."""
    with transaction() as session:
        ids = queries.expired(session, limit)
    dropped = 0
    for upload_id in ids:
        with suppress(DomainError), _locked(upload_id):
            with transaction() as session:
                gone = delete(Upload).where(col(Upload.id) == upload_id, col(Upload.expires_at) <= clock.now())
                found = session.scalar(gone.returning(col(Upload.id)))
            if found is not None:
                _drop_file(upload_id)
                dropped += 1
    return dropped


def sweep_files(batch: int = 500) -> int:
    """Remove the files that no open upload needs, which a process leaves that dies between row and file; how many.

    A row is always older than its file, so a file without an open row has no future.
    """
    names = [path.name for path in _folder().iterdir()]
    removed = 0
    for start in range(0, len(names), batch):
        ids = {UUID(hex=name) for name in names[start : start + batch]}
        with transaction() as session:
            needed = queries.still_open(session, ids)
        for upload_id in ids - needed:
            _drop_file(upload_id)
            removed += 1
    return removed


# --- files ---------------------------------------------------------------------------------------------------------


def _folder() -> Path:
    folder = Path(settings().uploads_dir)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _path(upload_id: UUID) -> Path:
    return _folder() / upload_id.hex


def _locked(upload_id: UUID) -> FileIO:
    """The file of an upload, made where it is missing, for nobody else until it is closed; 423 while it is taken."""
    with _disk():
        path = _path(upload_id)
        is_new = not path.exists()
        file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "r+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise UPLOAD_BUSY.error(headers={"Retry-After": "3"}) from error
        if is_new:
            _sync(path.parent)
    return file


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _forget(upload_id: UUID) -> None:
    with transaction() as session:
        session.execute(delete(Upload).where(col(Upload.id) == upload_id))
    _drop_file(upload_id)


def _drop_file(upload_id: UUID) -> None:
    """Where this fails the sweep comes by again."""
    with suppress(OSError):
        _path(upload_id).unlink(missing_ok=True)


@contextmanager
def _disk() -> Iterator[None]:
    """A disk that is full or away is said so; what was acknowledged stays."""
    try:
        yield
    except OSError as error:
        log.exception("uploads_disk", error=error.strerror)
        raise UNAVAILABLE.error(headers={"Retry-After": "30"}) from error
