"""Objects (photos) in a local folder or an S3-compatible store, behind four verbs."""

from functools import lru_cache

import obstore
from obstore.store import ObjectStore, from_url

from app.core.config import settings


@lru_cache
def store() -> ObjectStore:
    """The store named by PHANANH_STORAGE_URL; `s3://` reads the usual AWS_* variables."""
    url = settings().storage_url
    return from_url(url, mkdir=True) if url.startswith("file:") else from_url(url)


def put(key: str, data: bytes) -> None:
    """Store `data` under `key`; it is durable when this returns."""
    obstore.put(store(), key, data)


def get(key: str) -> bytes:
    """The bytes under `key`; FileNotFoundError when there are none."""
    return bytes(obstore.get(store(), key).bytes())


def exists(key: str) -> bool:
    """Whether `key` holds an object."""
    try:
        obstore.head(store(), key)
    except FileNotFoundError:
        return False
    return True


def delete(key: str) -> None:
    """Remove `key`; removing what is not there is no error."""
    try:
        obstore.delete(store(), key)
    except FileNotFoundError:
        return
