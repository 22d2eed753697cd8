"""Objects (photos) in a local folder or an S3-compatible store, behind five verbs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from app.core.config import settings

# A store that is away is said so within seconds; whoever owes something to it tries again later.
_PATIENCE = timedelta(seconds=10)


class Unavailable(Exception):
    """The store cannot be reached, or has no room."""


@lru_cache
def store() -> ObjectStore:
    """The store named by PHANANH_STORAGE_URL; `s3://` reads the usual AWS_* variables."""
    url = settings().storage_url
    if url.startswith("file:"):
        return from_url(url, mkdir=True)
    return from_url(
        url,
        client_options={"timeout": _PATIENCE, "connect_timeout": _PATIENCE / 2},
        retry_config={"max_retries": 2, "retry_timeout": _PATIENCE},
    )


def put(key: str, data: bytes | BinaryIO) -> None:
    """Store `data` (an open file is streamed from where it stands) under `key`; it is durable when this returns."""
    with _speaking():
        obstore.put(store(), key, data)
        _sync(key)


def get(key: str) -> bytes:
    """The bytes under `key`; FileNotFoundError when there are none."""
    with _speaking():
        return bytes(obstore.get(store(), key).bytes())


def exists(key: str) -> bool:
    """Whether `key` holds an object."""
    try:
        with _speaking():
            obstore.head(store(), key)
    except FileNotFoundError:
        return False
    return True


def delete(key: str) -> None:
    """Remove `key`; removing what is not there is no error."""
    try:
        with _speaking():
            obstore.delete(store(), key)
    except FileNotFoundError:
        return


def written_before(prefix: str, moment: datetime) -> Iterator[list[str]]:
    """The keys under the folder `prefix` that were written before `moment`, some at a time."""
    with _speaking():
        for found in obstore.list(store(), prefix):
            yield [entry["path"] for entry in found if entry["last_modified"] < moment]


@contextmanager
def _speaking() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as error:
        # The first line only: the rest is a dump of the client.
        raise Unavailable(str(error).partition("\n")[0]) from error


def _sync(key: str) -> None:
    """Reach the disk: the local store writes beside and renames, but syncs neither the file nor its folder."""
    local = store()
    if not isinstance(local, LocalStore):
        return
    path = Path(str(local.prefix)) / key
    for each in (path, path.parent, path.parent.parent):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
