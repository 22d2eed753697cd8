"""Real processes in tests: mark them, find every descendant by its mark, wait for a condition."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Mark:
    """A word in the environment, inherited by every descendant whatever becomes of its parents, and a directory.

    Who stands in the directory counts as well: PostgreSQL's processes write their titles over their environment.
    """

    place: Path
    word: str = field(default_factory=lambda: secrets.token_hex(8))
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        ours = {"TEST_MARK": self.word, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        return os.environ | ours | self.extra

    def alive(self) -> dict[int, str]:
        """Running processes that carry the mark or stand in the directory, with their command lines; no zombies."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    marked = f"TEST_MARK={self.word}".encode() in (entry / "environ").read_bytes()
                    if marked or (entry / "cwd").readlink().is_relative_to(self.place):
                        line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                        found[int(entry.name)] = line
                except OSError:
                    continue
        return found

    def start(self, code: str, *arguments: str | Path) -> subprocess.Popen[str]:
        """Run Python code in a process of its own, with the mark."""
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def children_of(parent: int) -> dict[int, str]:
    """The direct children of a process, with their command lines; no zombies."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if int(after_name[1]) == parent and line:
                found[int(entry.name)] = line
    return found


def wait_for(condition: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Come back when `condition` holds; fail with `what` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.01)
