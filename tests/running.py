"""Real processes in tests: mark them, find every descendant by its mark, wait for a condition."""

import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


RUN = """
import sys
from app import processes
sys.exit(processes.run(port=int(sys.argv[1]), demo=sys.argv[2] == "demo"))
"""


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
        return os.environ | ours | {"PHANANH_FETCH_BOUNDARIES": "off"} | self.extra

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


class Running:
    """A supervisor in a process of its own, with what it has said so far."""

    def __init__(self, mark: Mark, port: int = 0, *, demo: bool = False, **extra: str) -> None:
        self.mark = mark
        mark.extra = {"PHANANH_VAR_DIR": str(mark.place / "var"), **extra}
        for name in ("DATABASE_URL", "OWNER_DATABASE_URL", "REDIS_URL"):
            mark.extra.setdefault(name, "")
        self.started_at = time.monotonic()
        self.process = mark.start(RUN, str(port), "demo" if demo else "bare")
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        self.said.extend(self.process.stdout)

    @property
    def text(self) -> str:
        return "".join(self.said)

    def until(self, words: str, seconds: float = 200) -> None:
        wait_for(lambda: words in self.text or self.process.poll() is not None, words, seconds)
        assert words in self.text, self.text

    def address(self) -> str:
        self.until("Sẵn sàng / ready (")
        self.until("Ctrl-C")
        found = re.search(r"http://(127\.0\.0\.1:\d+)/v1", self.text)
        assert found, self.text
        return found[1]

    def end(self, seconds: float = 150) -> str:
        self.process.wait(seconds)
        self._reader.join(10)
        assert self.process.stdout
        self.process.stdout.close()
        return self.text

    def children(self) -> dict[str, int]:
        """The supervisor's own children by what they are; processes that are still becoming it do not count."""
        kinds = {
            "pginstall/bin/postgres -D": "postgres",
            "valkey-server": "valkey",
            "uvicorn": "api",
            "workers.relay": "relay",
            "-Q media": "media",
            "-Q routing": "routing",
            "-Q notifications": "messages",
            " beat ": "scheduler",
        }
        found: dict[str, int] = {}
        for pid, line in children_of(self.process.pid).items():
            kind = next((name for words, name in kinds.items() if words in line and "launch.py" not in line), None)
            if kind:
                found[kind if kind not in found else f"{kind}-2"] = pid
        return found
