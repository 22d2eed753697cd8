"""Uploads over HTTP, as a phone makes them."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlmodel import col, select

from app.core import storage
from app.core.config import settings
from app.core.db import Session
from app.identity.policy import Viewer
from app.media.models import Media
from tests.media import pictures
from tests.support import make

Upload = Callable[..., Any]


@pytest.fixture
def upload(client: TestClient) -> Upload:
    """Send `data` as `viewer`; the answer. `key` repeats a request."""

    def send(viewer: Viewer, data: bytes | None = None, key: dict[str, str] | None = None) -> Any:
        # The declared name and type lie on purpose: neither may matter.
        file = ("../../etc/passwd.exe", pictures.jpeg() if data is None else data, "text/html")
        headers = make.bearer(viewer) | (key or make.key())
        return client.post("/v1/media", files={"file": file}, headers=headers)

    return send


@pytest.fixture
def rows(session: Session) -> Callable[..., list[Media]]:
    """Media rows as they stand in the database now, oldest first."""

    def read(*ids: UUID | str) -> list[Media]:
        session.expire_all()
        query = select(Media).order_by(col(Media.id))
        return list(session.exec(query.where(col(Media.id).in_(ids)) if ids else query))

    return read


@pytest.fixture
def storage_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], None]]:
    """Point storage at an S3 that nobody serves, or back."""
    away = {
        "PHANANH_STORAGE_URL": "s3://photos",
        "AWS_ENDPOINT": "http://127.0.0.1:9",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "here",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
    }

    def turn(gone: bool) -> None:
        for name, value in away.items():
            if gone:
                monkeypatch.setenv(name, value)
            else:
                monkeypatch.delenv(name, raising=False)
        settings.cache_clear()
        storage.store.cache_clear()

    yield turn
    turn(False)
