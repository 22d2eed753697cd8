"""A phone and somebody else's phone."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlmodel import col, select

from app.core.config import settings
from app.core.db import Session
from app.media.models import Media
from app.uploads.models import Upload
from tests.support import make
from tests.uploads.phone import Phone


@pytest.fixture
def phone(client: TestClient, session: Session) -> Iterator[Phone]:
    yield Phone(client, make.citizen(session))
    for path in files():  # rows are rolled back, files are not
        path.unlink()


@pytest.fixture
def other(client: TestClient, session: Session) -> Phone:
    return Phone(client, make.citizen(session))


@pytest.fixture
def uploads(session: Session) -> Callable[[], list[Upload]]:
    """Upload rows as they stand in the database now."""

    def read() -> list[Upload]:
        session.expire_all()
        return list(session.exec(select(Upload).order_by(col(Upload.id))))

    return read


@pytest.fixture
def pictures_kept(session: Session) -> Callable[[], list[Media]]:
    def read() -> list[Media]:
        session.expire_all()
        return list(session.exec(select(Media).order_by(col(Media.id))))

    return read


def files() -> list[Path]:
    """What stands on disk for uploads under way."""
    folder = Path(settings().uploads_dir)
    return sorted(folder.iterdir()) if folder.exists() else []
