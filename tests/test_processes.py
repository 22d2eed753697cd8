"""`phananh run` as people meet it: started, killed in parts, stopped, killed as a whole, started again."""

import http.client
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from app import processes
from tests.running import Mark, Running, wait_for

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]


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


PARTS = {"postgres", "valkey", "api", "api-2", "relay", "routing", "routing-2", "messages", "media", "scheduler"}


@pytest.mark.slow
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
    for part in sorted(PARTS - {"postgres"}):
        os.kill(before[part], signal.SIGKILL)
    assert get(address, "/healthz", timeout=60)[0] == 200
    wait_for(lambda: running.children().keys() == PARTS, "every part is back", 60)
    after = running.children()
    assert {part for part in PARTS if after[part] == before[part]} == {"postgres"}
    os.kill(after["postgres"], signal.SIGKILL)
    wait_for(lambda: running.children().get("postgres", after["postgres"]) != after["postgres"], "PostgreSQL is back")
    wait_for(lambda: is_up(address), "the API is ready again", 60)
    assert get(address, "/v1/categories") == categories

    # kill -9 of the supervisor leaves nothing running; the next start recovers, at the same address, with the data.
    assert len(mark.alive()) > len(PARTS), "the pool children of the workers are there as well"
    running.process.kill()
    running.end()
    wait_for(lambda: not mark.alive(), "the end of every process", 15)
    again = Running(mark, port=int(address.split(":")[1]))
    assert again.address() == address
    assert get(address, "/v1/categories") == categories

    # Ctrl-C: everything ends, in good order.
    again.process.send_signal(signal.SIGINT)
    assert again.end().endswith("Đang dừng / stopping …\nĐã dừng / stopped.\n")
    assert again.process.returncode == 0
    assert not mark.alive()
    log = (mark.place / "var" / "postgres" / "server.log").read_text()
    assert log.rstrip().endswith("database system is shut down")


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


@pytest.mark.slow
def test_a_second_run_on_the_same_data_is_refused_by_name(mark: Mark) -> None:
    first = Running(mark)
    first.until("postgres: sẵn sàng")
    second = Running(mark)
    assert f"phananh is already running on {mark.place}/var (pid {first.process.pid})" in second.end()
    assert second.process.returncode == 1
    first.process.send_signal(signal.SIGINT)
    first.process.send_signal(signal.SIGTERM)  # asked twice: without patience
    first.end()
    assert not mark.alive()


@pytest.mark.slow
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


def test_what_is_in_the_way_of_a_log_file_is_one_sentence(mark: Mark) -> None:
    (mark.place / "var" / "log" / "migrate.log").mkdir(parents=True)
    running = Running(mark)
    text = running.end(90)
    assert running.process.returncode == 1
    assert f"phananh: {mark.place}/var/log/migrate.log cannot be used: Is a directory." in text
    assert "Traceback" not in text
    assert not mark.alive()


@pytest.mark.slow
def test_what_cannot_come_up_is_named_with_its_reason(mark: Mark) -> None:
    """The scheduler's file is a directory: it dies at every start, and the start is given up with its words."""
    (mark.place / "var" / "scheduler").mkdir(parents=True)
    (mark.place / "var" / "scheduler.dat").mkdir()
    running = Running(mark)
    running.until("scheduler: dừng bất thường", 90)
    running.process.send_signal(signal.SIGINT)
    text = running.end()
    assert re.search(r"ended \(.*scheduler.*\), starting again", text), text
    assert not mark.alive()


def test_a_command_beside_a_run_finds_its_servers_and_only_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {"DATABASE_URL": "postgresql://a", "REDIS_URL": "redis://b", "PHANANH_PROVINCE_PACK": "packs/x"}
    for name in ("OWNER_DATABASE_URL", *ours):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("PHANANH_VAR_DIR", str(tmp_path))
    lock = processes._only_one(tmp_path)  # noqa: SLF001 - a whole run takes half a minute
    with monkeypatch.context() as running:
        for name, value in ours.items():
            running.setenv(name, value)
        processes._tell_servers(tmp_path)  # noqa: SLF001 - as above
    assert (tmp_path / "servers.json").stat().st_mode & 0o077 == 0
    processes.join_running()
    assert {name: os.environ[name] for name in ours} == ours
    # Who was given servers keeps them; where nobody runs any more, nothing is believed.
    monkeypatch.setenv("DATABASE_URL", "postgresql://mine")
    processes.join_running()
    assert os.environ["DATABASE_URL"] == "postgresql://mine"
    os.close(lock)
    monkeypatch.delenv("DATABASE_URL")
    processes.join_running()
    assert "DATABASE_URL" not in os.environ
