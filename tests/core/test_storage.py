"""Objects in a folder: written whole or not at all, on the disk when `put` returns, and absence told from outage."""

import io
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection

from app.core import storage
from app.core.config import settings


@pytest.fixture
def folder(connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(settings(), "storage_url", (tmp_path / "kho ảnh").as_uri())
    storage.store.cache_clear()
    yield tmp_path / "kho ảnh"
    storage.store.cache_clear()


def test_what_was_put_is_got(folder: Path) -> None:
    storage.put("a/b", b"one")
    storage.put("a/c", io.BytesIO(b"two"))
    assert (storage.get("a/b"), storage.get("a/c"), storage.exists("a/b")) == (b"one", b"two", True)
    storage.put("a/b", b"")
    assert storage.get("a/b") == b""
    assert (folder / "a" / "b").is_file()


def test_an_open_file_is_stored_from_where_it_stands(folder: Path) -> None:
    file = io.BytesIO(b"headbody")
    file.seek(4)
    storage.put("x/y", file)
    assert storage.get("x/y") == b"body"


def test_absence_is_no_outage(folder: Path) -> None:
    assert not storage.exists("a/b")
    with pytest.raises(FileNotFoundError):
        storage.get("a/b")
    storage.delete("a/b")  # asked twice is no error


def test_what_was_deleted_is_gone_from_the_disk(folder: Path) -> None:
    storage.put("a/b", b"secret")
    storage.delete("a/b")
    assert not storage.exists("a/b")
    assert [path for path in folder.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("key", ["../outside", "a/../../outside", "/../outside"])
def test_no_key_leads_out_of_the_folder(folder: Path, key: str) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the store says, nothing is written outside
        storage.put(key, b"x")
    assert not (folder.parent / "outside").exists()


def test_an_unusable_folder_is_an_outage_and_not_an_absence(folder: Path) -> None:
    storage.put("a/b", b"one")
    blocked = folder / "blocked"
    blocked.write_bytes(b"a file where a folder should be")
    with pytest.raises(storage.Unavailable):
        storage.put("blocked/x", b"two")
    assert storage.get("a/b") == b"one"


def test_put_reaches_the_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file and its folder are synced before `put` returns: a power cut after that loses nothing."""
    synced: list[str] = []
    real = os.fsync

    def noted(descriptor: int) -> None:
        status = os.fstat(descriptor)
        synced.append("folder" if stat.S_ISDIR(status.st_mode) else "file")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    storage.put("a/b", b"one")
    assert synced[0] == "file"
    assert "folder" in synced


def test_what_is_old_is_found_and_what_is_new_is_not(folder: Path) -> None:
    for name in ("old", "new"):
        storage.put(f"derived/{name}", b"x")
    storage.put("original/old", b"x")
    past = (datetime.now(UTC) - timedelta(days=2)).timestamp()
    for path in ("derived/old", "original/old"):
        os.utime(folder / path, (past, past))
    found = [key for keys in storage.written_before("derived", datetime.now(UTC) - timedelta(days=1)) for key in keys]
    assert found == ["derived/old"]
