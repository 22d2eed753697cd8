"""What tests of units share."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core import versioned
from tests.orgunits.packs import PACK, Edit


@pytest.fixture(autouse=True)
def _fresh_configuration() -> Iterator[None]:
    """What a test saw of its own, rolled back changes must not be remembered by the next."""
    versioned.forget_all()
    yield
    versioned.forget_all()


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """Give a copy of the shipped pack in which texts of one file of units/ were replaced."""

    def edit(file: str, *changes: tuple[str, str]) -> Path:
        copy = tmp_path / "pack"
        if not copy.exists():
            shutil.copytree(PACK, copy)
        path = copy / "units" / file
        text = path.read_text()
        for before, after in changes:
            assert before in text
            text = text.replace(before, after, 1)
        path.write_text(text)
        return copy

    return edit
