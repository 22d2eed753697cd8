"""Celery as configured for work that must never be lost: late acknowledgement, one message at a time."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import structlog
from celery import Celery
from celery.signals import setup_logging, task_postrun, task_prerun, worker_process_init

from app.core import db, doorbell
from app.core.config import settings
from app.core.logs import configure_logs
from app.launch import die_with_parent

VISIBILITY_TIMEOUT_S = 180
TASK_LIMIT_S = 120
DRAIN_S = 30.0
GIVE_WAY = 5

# What is owed, and the task that drains it; the queue bears the kind's name.
DRAINS = {
    "routing": "routing.assign",
    "media": "media.process",
    "notifications": "notifications.send",
    "search": "search.index",
    "escalations": "escalations.page",
}

celery = Celery("phananh", broker=settings().redis_url)
# No `include`: each worker names the tasks it serves (`--include workers.media`), so that the photo child stays small.
celery.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    task_time_limit=TASK_LIMIT_S,
    task_soft_time_limit=TASK_LIMIT_S - 10,
    worker_prefetch_multiplier=1,
    worker_cancel_long_running_tasks_on_connection_loss=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_TIMEOUT_S,
        "socket_timeout": 10,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
    },
    task_default_queue="housekeeping",
    task_routes={task: {"queue": kind} for kind, task in DRAINS.items()},
    worker_consumer="workers.consumer:QuickConsumer",
    worker_hijack_root_logger=False,
    enable_utc=True,
    timezone="UTC",
)


def drain(kind: str, step: Callable[[], int]) -> None:
    """Repeat `step` until it finds nothing; after half a minute ring for a successor, far from the time limit."""
    until = time.monotonic() + DRAIN_S
    while step():
        if time.monotonic() > until:
            doorbell.ring(kind)
            return


def give_way(**_: Any) -> None:
    """Let accepting and routing go first when the processors are busy: for children whose work can wait."""
    os.nice(GIVE_WAY - os.nice(0))


@setup_logging.connect  # type: ignore[untyped-decorator]
def _logs(**_: Any) -> None:
    configure_logs()


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _child(**_: Any) -> None:
    """A fresh child: its own database pool, and an end together with its parent even by kill -9."""
    die_with_parent(signal.SIGKILL)
    db.dispose(inherited=True)


@task_prerun.connect  # type: ignore[untyped-decorator]
def _named(task_id: str, task: Any, **_: Any) -> None:
    structlog.contextvars.bind_contextvars(task=task.name, task_id=task_id, pid=os.getpid())


@task_postrun.connect  # type: ignore[untyped-decorator]
def _unnamed(**_: Any) -> None:
    structlog.contextvars.clear_contextvars()
