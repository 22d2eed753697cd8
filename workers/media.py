"""Pictures owed: processed here, in a child that can neither hold much memory nor run for long."""

import ctypes
import os
import resource
from typing import Any

from celery.signals import worker_process_init
from sqlalchemy.exc import OperationalError

from app.core import doorbell
from app.media import actions
from app.pictures.rules import derive
from workers.celery_app import celery, give_way

BATCH = 20
ADDRESS_SPACE = 1 << 30
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_PIXELS = 1 << 20


@celery.task(  # type: ignore[untyped-decorator]
    name="media.process",
    queue="media",
    autoretry_for=(OperationalError,),
    retry_backoff=True,
    max_retries=3,
    soft_time_limit=actions.TASK_SOFT_LIMIT_S,
    time_limit=actions.TASK_LIMIT_S,
)
def process() -> int:
    """Process what is owed. Safe to run twice, and at the same time: a leased row is not taken again."""
    taken = actions.process_owed(derive, BATCH)
    if taken:  # the batch may have ended by its time; a successor that finds nothing costs a message
        doorbell.ring("media")
    return taken


def cap_memory(address_space: int) -> None:
    """Let this process map at most `address_space` bytes: a picture that wants more fails, alone.

    glibc reserves 64 MB of addresses per thread and the storage client starts a thread per core; both are bounded
    first, so that a machine with many cores does not spend the cap on nothing. Pixels are given back when they are
    freed: left to itself, glibc begins to keep blocks of that size for later.
    """
    os.environ.setdefault("TOKIO_WORKER_THREADS", "2")
    glibc = ctypes.CDLL(None)
    glibc.mallopt(_M_ARENA_MAX, 2)
    glibc.mallopt(_M_MMAP_THRESHOLD, _PIXELS)
    glibc.mallopt(_M_TRIM_THRESHOLD, _PIXELS)
    resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))


worker_process_init.connect(give_way)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _capped(**_: Any) -> None:
    cap_memory(ADDRESS_SPACE)
