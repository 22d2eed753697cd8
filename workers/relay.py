"""The doorbell's other end: hears what is owed, rings Celery, and rings again for what is still owed.

A message says "drain kind K". While one is waiting in the queue no second is sent: whoever takes it will see every
row that was owed by then. Everything here may be killed at any moment; the sweep finds what a lost ring announced.
"""

import logging
import signal
import sys
import time
from types import FrameType

import psycopg
import redis
import structlog
from kombu.exceptions import KombuError

from app.cases.rules import OWED_ROUTING
from app.core.config import settings
from app.core.doorbell import CHANNEL
from app.core.logs import configure_logs
from app.escalations.rules import OWED_PAGES
from app.search.rules import OWED as OWED_SEARCH
from workers.celery_app import DRAINS, celery

SWEEP_S = 2.0
_PAUSE_S = 0.5
# A flat tuple: a tuple within it is a TypeError at the moment something is caught.
_BROKER_AWAY = (redis.RedisError, KombuError, OSError)
log = structlog.get_logger("relay")

# What is owed, as predicates that partial indexes serve.
OWED = {
    "routing": f"SELECT EXISTS (SELECT FROM case_file WHERE {OWED_ROUTING})",
    "media": """SELECT EXISTS (SELECT FROM media WHERE state = 'stored' AND delete_requested_at IS NULL
                               AND next_attempt_at <= now())""",
    "notifications": "SELECT EXISTS (SELECT FROM message WHERE state = 'owed' AND next_attempt_at <= now())",
    "search": OWED_SEARCH,
    "escalations": OWED_PAGES,
}


class Relay:
    """Listens, sweeps, rings."""

    def __init__(self) -> None:
        self._broker = redis.Redis.from_url(settings().redis_url, socket_timeout=2, socket_connect_timeout=2)
        self._pending: set[str] = set()

    def run(self) -> None:
        """Serve until killed; a lost database or broker is waited for."""
        while True:
            try:
                self._serve()
            except psycopg.Error as error:
                log.warning("database_away", error=type(error).__name__)
                time.sleep(_PAUSE_S)

    def _serve(self) -> None:
        with psycopg.connect(settings().database_url, autocommit=True, connect_timeout=5) as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            next_sweep = 0.0
            while True:
                if time.monotonic() >= next_sweep:
                    self._pending |= {
                        kind for kind, query in OWED.items() if connection.execute(query).fetchone() == (True,)
                    }
                    next_sweep = time.monotonic() + SWEEP_S
                self._ring()
                wait = _PAUSE_S if self._pending else max(0.0, next_sweep - time.monotonic())
                for notify in connection.notifies(timeout=wait, stop_after=1):
                    self._pending.add(notify.payload)

    def _ring(self) -> None:
        """Send what is pending; what cannot be sent stays pending."""
        for kind in list(self._pending):
            if kind not in DRAINS:
                self._pending.discard(kind)
                continue
            try:
                if self._broker.llen(kind) == 0:
                    celery.send_task(DRAINS[kind], queue=kind, retry=False)
            except _BROKER_AWAY as error:
                log.warning("broker_away", error=type(error).__name__)
                return
            self._pending.discard(kind)


def main() -> None:
    """Run as a process of its own: `python -m workers.relay`."""
    configure_logs()
    logging.getLogger("kombu").setLevel(logging.WARNING)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    log.info("relay_started")
    Relay().run()


if __name__ == "__main__":
    main()
