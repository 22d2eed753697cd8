"""The tour in the README works when pasted."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.config import ROOT
from tests.running import Mark, Running

SAID = (
    "accepted",
    "Sở Xây dựng",
    "genuine: Sở Xây dựng (so_xay_dung) promised to resolve",
    "resolved",
    "satisfied",
    "đã xử lý",
    "fixed",
)

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    started = Running(Mark(tmp_path), demo=True)
    yield started
    started.process.terminate()
    started.end(60)


def test_the_tour_works_when_pasted(running: Running, tmp_path: Path) -> None:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 1, "the tour is the one block of bash"
    assert len(blocks[0].splitlines()) == 1 + 10, "the helpers, and ten lines of curl"
    environment = os.environ | {"API": f"http://{running.address()}", "VAR": str(tmp_path / "var")}
    tour = subprocess.run(
        ["bash", "-c", blocks[0]], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert tour.returncode == 0, tour.stderr + tour.stdout
    for words in SAID:
        assert words in tour.stdout, tour.stdout
