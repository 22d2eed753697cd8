"""`phananh run` as people meet it: started, killed in parts, stopped, killed as a whole, started again."""

import http.client
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.running import Mark, children_of, wait_for

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

RUN = """
import sys
from app import processes
sys.exit(processes.run(port=int(sys.argv[1]), demo=False))
"""


class Running:
    """A supervisor in a process of its own, with what it has said so far."""

    def __init__(self, mark: Mark, port: int = 0, **extra: str) -> None:
        self.mark = mark
        mark.extra = {"PHANANH_VAR_DIR": str(mark.place / "var"), **extra}
        for name in ("DATABASE_URL", "OWNER_DATABASE_URL", "REDIS_URL"):
            mark.extra.setdefault(name, "")
        self.started_at = time.monotonic()
        self.process = mark.start(RUN, str(port))
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        self.said.extend(self.process.stdout)

    @property
    def text(self) -> str:
        return "".join(self.said)

    def until(self, words: str, seconds: float = 100) -> None:
        wait_for(lambda: words in self.text or self.process.poll() is not None, words, seconds)
        assert words in self.text, self.text

    def address(self) -> str:
        self.until("Sẵn sàng / ready (")
        self.until("Ctrl-C")
        found = re.search(r"http://(127\.0\.0\.1:\d+)/v1", self.text)
        assert found, self.text
        return found[1]

    def end(self, seconds: float = 40) -> str:
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
            " beat ": "scheduler",
        }
        found: dict[str, int] = {}
        for pid, line in children_of(self.process.pid).items():
            kind = next((name for words, name in kinds.items() if words in line and "launch.py" not in line), None)
            if kind:
                found[kind if kind not in found else f"{kind}-2"] = pid
        return found


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Mark]:
    found = Mark(tmp_path)
    yield found
    for pid in found.alive():
        os.kill(pid, signal.SIGKILL)


def get(address: str, path: str, timeout: float = 10) -> tuple[int, bytes]:
    parts = urlsplit(f"//{address}")
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def is_up(address: str) -> bool:
    try:
        return get(address, "/readyz")[0] == 200
    except OSError:
        return False


PARTS = {"postgres", "valkey", "api", "api-2", "relay", "routing", "media", "scheduler"}


def test_the_life_of_a_system(mark: Mark) -> None:
    running = Running(mark)
    address = running.address()
    assert running.children().keys() == PARTS
    assert get(address, "/readyz")[0] == 200
    assert get(address, "/docs")[0] == 200
    categories = get(address, "/v1/categories")
    assert categories[0] == 200
    demo = mark.place / "var" / "demo.json"
    assert json.loads(demo.read_text())["addresses"]["api"] == f"http://{address}/v1"
    assert demo.stat().st_mode & 0o077 == 0

    # Parts that are killed come back where they were; whoever asks meanwhile waits.
    before = running.children()
    for part in ("api", "api-2", "relay", "routing", "media", "scheduler", "valkey"):
        os.kill(before[part], signal.SIGKILL)
    assert get(address, "/healthz", timeout=60)[0] == 200
    wait_for(lambda: running.children().keys() == PARTS, "every part is back", 60)
    after = running.children()
    assert {part for part in PARTS if after[part] == before[part]} == {"postgres"}
    os.kill(after["postgres"], signal.SIGKILL)
    wait_for(lambda: running.children().get("postgres", after["postgres"]) != after["postgres"], "PostgreSQL is back")
    wait_for(lambda: is_up(address), "the API is ready again", 60)
    assert get(address, "/v1/categories") == categories

    # Ctrl-C: everything ends, in good order.
    running.process.send_signal(signal.SIGINT)
    assert running.end().endswith("Đang dừng / stopping …\nĐã dừng / stopped.\n")
    assert running.process.returncode == 0
    assert not mark.alive()
    log = (mark.place / "var" / "postgres" / "server.log").read_text()
    assert log.rstrip().endswith("database system is shut down")

    # A second start takes seconds and keeps the data; kill -9 leaves nothing running, and a third start recovers.
    running = Running(mark, port=int(address.split(":")[1]))
    assert running.address() == address
    assert time.monotonic() - running.started_at < 30
    assert get(address, "/v1/categories") == categories
    assert len(mark.alive()) > len(PARTS), "the pool children of the workers are there as well"
    running.process.kill()
    running.end()
    wait_for(lambda: not mark.alive(), "the end of every process", 15)

    running = Running(mark, port=int(address.split(":")[1]))
    assert running.address() == address
    assert get(address, "/v1/categories") == categories
    running.process.send_signal(signal.SIGTERM)
    time_asked = time.monotonic()
    running.process.send_signal(signal.SIGINT)  # a second time: without patience
    running.end()
    assert time.monotonic() - time_asked < 10
    assert not mark.alive()


def test_a_taken_port_is_one_sentence_before_anything_is_made(mark: Mark) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = Running(mark, port=port)
        text = running.end()
    assert running.process.returncode == 1
    assert f"Port {port} on 127.0.0.1 is taken" in text
    assert "make run PORT=" in text
    assert "Traceback" not in text
    assert not (mark.place / "var" / "postgres").exists()
    assert not mark.alive()


def test_a_second_run_on_the_same_data_is_refused_by_name(mark: Mark) -> None:
    first = Running(mark)
    first.until("postgres: sẵn sàng")
    second = Running(mark)
    assert f"phananh is already running on {mark.place}/var (pid {first.process.pid})" in second.end()
    assert second.process.returncode == 1
    first.process.send_signal(signal.SIGINT)
    first.end()
    assert not mark.alive()


def test_a_start_interrupted_at_any_moment_stops_cleanly_and_the_next_one_works(mark: Mark) -> None:
    for words in ("", "postgres: sẵn sàng", "valkey: sẵn sàng", "migrate: xong"):
        running = Running(mark)
        if words:
            running.until(words)
        else:
            wait_for((mark.place / "var" / "postgres" / "cluster.new").exists, "initdb began")
        running.process.send_signal(signal.SIGINT)
        running.end()
        assert running.process.returncode == 0, running.text
        assert "Traceback" not in running.text
        assert not mark.alive()


def test_an_external_server_that_is_not_there_is_one_sentence(mark: Mark) -> None:
    running = Running(mark, DATABASE_URL="postgresql://nobody:x@127.0.0.1:9/none", REDIS_URL="redis://127.0.0.1:9")
    text = running.end(60)
    assert running.process.returncode == 1
    told = [line for line in text.splitlines() if line.startswith("phananh: ")]
    assert len(told) == 1
    assert "`phananh migrate` failed" in told[0]
    assert not (mark.place / "var" / "postgres").exists(), "an external database is used as it is"


def test_an_unknown_setting_stops_the_start_with_its_name(mark: Mark) -> None:
    running = Running(mark, PHANANH_COLOUR="blue")
    text = running.end(60)
    assert running.process.returncode == 1
    assert "PHANANH_COLOUR" in text
    assert not mark.alive()


def test_the_signal_of_a_part_that_cannot_live_is_told_once_ready_is_out_of_reach(mark: Mark) -> None:
    """A directory in the way of a log file: the part cannot start, and the sentence says what is wrong."""
    (mark.place / "var" / "log" / "relay.log").mkdir(parents=True)
    running = Running(mark)
    text = running.end(90)
    assert running.process.returncode == 1
    assert "relay.log" in text or "cannot be used" in text
    assert "Traceback" not in text
    assert not mark.alive()
