"""What is measured: the product's real processes on the embedded PostgreSQL and Valkey, and bare beside them."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from uuid import UUID

import psutil
import psycopg

from app import launch, processes
from app.core.config import ROOT, settings
from app.embedded import APP, HOST, Postgres, Valkey, start_postgres, start_valkey
from benchmarks import bare, cpu
from tests.support import places

SHARED = ROOT.parent / "shared" / "data"
COMMUNES = SHARED / "thai_nguyen_communes_2025.geojson"
# Limits count every request and refuse none.
LIMITS_SCALE = "1000000"
_START_S = 60.0
_CALM_S = 0.25
_LOOK_S = 0.05


@dataclass
class Program:
    """One of our programs, started again when it was killed if somebody calls `keep_alive`."""

    name: str
    argv: list[str]
    log: Path
    pass_fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it on the leash of this process."""
        self.process = launch.spawn(self.argv, log=self.log, cwd=ROOT, pass_fds=self.pass_fds)

    def keep_alive(self) -> bool:
        """Start it again when it has ended, with its whole group gone; whether that was so."""
        if self.process is None or self.process.poll() is None:
            return False
        self._end_group()
        self.start()
        return True

    def stop(self) -> None:
        """End it and whatever it started."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(8)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self._end_group()
            self.process = None

    def _end_group(self) -> None:
        assert self.process is not None
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    @property
    def pid(self) -> int:
        """Its pid while it runs."""
        assert self.process is not None, self.name
        return self.process.pid

    def children(self) -> list[int]:
        """The pids of its direct children."""
        return [child.pid for child in psutil.Process(self.pid).children()]


@dataclass
class Api:
    """Two uvicorn processes on one shared listening socket, as `app.processes` starts them."""

    programs: list[Program]
    listener: socket.socket
    address: tuple[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.address = self.listener.getsockname()

    @property
    def pids(self) -> list[int]:
        """Both processes."""
        return [program.pid for program in self.programs]


class System:
    """The servers, and programs started on them; `places` in one directory that is removed at the end."""

    def __init__(self, place: Path, postgres: Postgres, valkey: Valkey) -> None:
        self.place, self.postgres, self.valkey = place, postgres, valkey
        self._running: list[Program] = []
        # One connection for every look at what is measured: opening one costs as much as accepting two reports.
        self._observer = psycopg.connect(postgres.superuser_url, autocommit=True)

    def cpu(self, *programs: Program) -> float:
        """Seconds of CPU of these programs and of the whole PostgreSQL server, its background processes included."""
        return cpu.spent([self.postgres.process.pid, *(program.pid for program in programs)])

    def api(self, application: str = "app.main:app") -> Api:
        """Serve an application in two processes, ready when this returns."""
        listener = socket.create_server((HOST, 0), backlog=512)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        descriptor = listener.fileno()
        argv = [application if word == "app.main:app" else word for word in processes.api_argv("--fd", str(descriptor))]
        kind = application.replace("benchmarks.", "").replace(":", "-")
        programs = [
            self.program(f"{kind}-{number}", argv, (descriptor,)) for number in range(1, processes.API_PROCESSES + 1)
        ]
        api = Api(programs, listener)
        wait_for(lambda: _answers(api.address), "the API")
        settle(*programs)
        return api

    def relay(self) -> Program:
        """The relay, listening."""
        relay = self.program("relay", processes.relay_argv())
        settle(relay)
        return relay

    def workers(self, kind: str) -> list[Program]:
        """The Celery workers of a kind as `make run` starts them, their children started."""
        known = processes.WORKERS[kind]
        workers = [
            self.program(f"worker-{kind}-{copy}", processes.worker_argv(kind, copy=copy))
            for copy in range(1, known.copies + 1)
        ]
        for worker in workers:
            wait_for(lambda worker=worker: len(worker.children()) >= known.processes, "the worker's children")  # type: ignore[misc]
        settle(*workers)
        return workers

    def program(self, name: str, argv: list[str], pass_fds: tuple[int, ...] = ()) -> Program:
        """Start a program; it is stopped with the system at the latest."""
        program = Program(name, argv, self.place / f"{name}.log", pass_fds)
        program.start()
        self._running.append(program)
        return program

    def stop(self, *programs: Program) -> None:
        """Stop programs (all of them when none is named)."""
        for program in programs or tuple(reversed(self._running)):
            program.stop()
            if program in self._running:
                self._running.remove(program)

    def kill_valkey(self) -> None:
        """End Valkey by kill -9."""
        self.valkey.process.kill()
        self.valkey.process.wait()

    def revive_valkey(self) -> None:
        """Start Valkey again at its old address when it has ended, as the supervisor does."""
        if self.valkey.process.poll() is not None:
            port = self.valkey.port
            self.valkey.stop(quick=True)
            self.valkey = start_valkey(self.place / "valkey", port=port)

    def ask(self, query: str, *values: object) -> object:
        """The first column of the first row, as the superuser."""
        (row,) = self.rows(query, *values)
        return row[0]

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """All rows, as the superuser."""
        return self._observer.execute(query.encode(), values).fetchall()

    def run(self, statement: str) -> None:
        """Do something that answers with no rows, as the superuser."""
        self._observer.execute(statement.encode())

    def close(self) -> None:
        """Stop every program and look no more."""
        self.stop()
        self._observer.close()


@contextmanager
def started() -> Iterator[System]:
    """A migrated system with the pack and surveyed boundaries: the real ones where they are at hand."""
    (ROOT / "var").mkdir(exist_ok=True)
    # Not /tmp: memory instead of a disk would make fsync free.
    place = Path(tempfile.mkdtemp(prefix="bench-", dir=ROOT / "var"))
    postgres = valkey = None
    system = None
    try:
        postgres = _durable(place / "postgres")
        valkey = start_valkey(place / "valkey")
        system = System(place, postgres, valkey)
        _settle(system)
        _migrate(system)
        yield system
    finally:
        if system is not None:
            system.close()
            valkey = system.valkey
        for server in (valkey, postgres):
            if server is not None:
                server.stop(quick=True)
        shutil.rmtree(place, ignore_errors=True)


def _durable(place: Path) -> Postgres:
    """PostgreSQL as `make run` starts it, which in addition notes when each transaction committed."""
    first = start_postgres(place)
    try:
        with psycopg.connect(first.superuser_url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET track_commit_timestamp = on")
    finally:
        first.stop()
    return start_postgres(place)


def _settle(system: System) -> None:
    os.environ |= {
        "DATABASE_URL": system.postgres.app_url,
        "OWNER_DATABASE_URL": system.postgres.owner_url,
        "REDIS_URL": system.valkey.url,
        "PHANANH_VAR_DIR": str(system.place),
        "PHANANH_LIMITS_SCALE": LIMITS_SCALE,
        "PROMETHEUS_MULTIPROC_DIR": str(system.place / "metrics"),
    }
    (system.place / "metrics").mkdir()
    settings.cache_clear()


def _migrate(system: System) -> None:
    """Through the product's own commands, in processes of their own."""
    phananh = [sys.executable, "-m", "app.cli"]
    boundaries = COMMUNES if COMMUNES.exists() else places.synthetic(system.place / "squares.geojson")
    day = date(2025, 7, 1).isoformat()
    for command in (
        ["migrate"],
        ["pack", "load"],
        ["boundaries", "import", str(boundaries), "--effective", day, "--source", "benchmark"],
    ):
        done = subprocess.run([*phananh, *command], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"phananh {' '.join(command)}: {done.stderr[-2000:]}")
    with psycopg.connect(system.postgres.owner_url, autocommit=True) as connection:
        connection.execute(bare.TABLE)
        connection.execute(f"GRANT INSERT ON bare_report TO {APP}".encode())


def citizens(system: System, count: int) -> list[UUID]:
    """New citizens' accounts."""
    made = system.rows(
        "INSERT INTO account (id, kind, status, locale, created_at)"
        " SELECT gen_random_uuid(), 'citizen', 'active', 'vi', now() FROM generate_series(1, %s) RETURNING id",
        count,
    )
    return [UUID(str(row[0])) for row in made]


def wait_for(condition: Callable[[], object], what: str, seconds: float = _START_S) -> None:
    """Come back when `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(_LOOK_S)


def settle(*programs: Program) -> None:
    """Come back when they have done what they had to do and wait for more."""

    def idle() -> bool:
        before = cpu.spent(program.pid for program in programs)
        time.sleep(_CALM_S)
        return before > 0.1 * len(programs) and cpu.spent(program.pid for program in programs) - before < _CALM_S / 20

    wait_for(idle, "calm")


def _answers(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=1) as connection:
            connection.settimeout(1)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
            return connection.recv(16).startswith(b"HTTP/1.1")
    except OSError:
        return False
