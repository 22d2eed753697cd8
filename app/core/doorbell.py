"""The doorbell: after a commit, tell the relay that something is owed. Losing a ring costs seconds, never a row.

The row is the queue (a predicate over a table); NOTIFY is only the bell. It is sent on a connection of its own,
outside every transaction, at most once per 40 ms and kind, by one background thread per process.
"""

import logging
import threading
import time

import psycopg

from app.core.config import settings

CHANNEL = "owed"
# The first ring leaves at once. Each costs a commit here and a message there: a tenth of what a report may cost.
_PAUSE_S = 0.04
_log = logging.getLogger(__name__)


class Doorbell:
    """One per process; `ring` never blocks and never fails."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._kinds: set[str] = set()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)
        self._thread.start()

    def ring(self, kind: str) -> None:
        """Note `kind` and wake the thread."""
        with self._lock:
            self._kinds.add(kind)
        self._wake.set()

    def stop(self) -> None:
        """Ring what is left and end the thread."""
        self._stopped = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        connection: psycopg.Connection | None = None
        last = False
        while not last:
            self._wake.wait()
            self._wake.clear()
            last = self._stopped  # read before the kinds are taken, so that what was rung by then still leaves
            with self._lock:
                kinds, self._kinds = self._kinds, set()
            try:
                if connection is None or connection.closed:
                    connection = psycopg.connect(self._url, autocommit=True, connect_timeout=5)
                for kind in kinds:
                    connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, kind))
            except psycopg.Error as error:
                # The relay's sweep finds what this ring would have announced.
                _log.warning("doorbell_failed", extra={"reason": str(error).splitlines()[0]})
                connection = None
            time.sleep(_PAUSE_S)
        if connection is not None:
            connection.close()


_doorbell: Doorbell | None = None
_creation = threading.Lock()


def stop() -> None:
    """End this process's bell; the next ring makes a new one."""
    global _doorbell  # noqa: PLW0603 - see `ring`
    with _creation:
        if _doorbell is not None:
            _doorbell.stop()
        _doorbell = None


def ring(kind: str) -> None:
    """Announce that work of `kind` was committed."""
    global _doorbell  # noqa: PLW0603 - one bell per process, made on first use so that forks get their own
    if _doorbell is None:
        with _creation:
            if _doorbell is None:
                _doorbell = Doorbell(settings().database_url)
    _doorbell.ring(kind)
