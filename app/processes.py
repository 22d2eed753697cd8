"""`phananh run`: every part of the system on one machine, started in order, kept alive, stopped in order.

The supervisor is one thread: the leash of `app.launch` is tied to the thread that spawns. It owns the listening
socket, so a killed API process loses the requests it was working on and none that were waiting.
"""

import errno
import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from app import embedded, launch

ROOT = Path(__file__).resolve().parents[1]
API_PROCESSES = 2
MIGRATE, LOAD = ("migrate",), ("pack", "load")
ACCOUNTS = ("demo", "accounts")
SEEDING = ("-m", "tools.demo")
FETCHING = ("-m", "app.cli", "boundaries", "fetch", "--once")


@dataclass(frozen=True, slots=True)
class Worker:
    """A kind of Celery worker: the modules it imports, the queues it drains, how many run on a small machine.

    `processes` are the children of each; `copies` whole workers, so that the death of one interrupts nothing.
    """

    modules: str
    queues: str
    processes: int = 1
    copies: int = 1


# The photo worker never loads the geometry; sending, which may be slow, never takes a process away from
# routing, and paging for an urgent case does not wait behind it.
WORKERS = {
    "routing": Worker("workers.routing,workers.escalations", "routing,escalations", copies=2),
    "messages": Worker(
        "workers.notifications,workers.housekeeping,workers.reforms,workers.seals,workers.search,workers.escalations",
        "notifications,housekeeping,search",
    ),
    "media": Worker("workers.media", "media"),
}

_READY_S = 90.0
_FETCHING_S = 20.0
_TICK_S = 0.1
_STEADY_S = 30.0  # who lived this long starts again with a clean record
_LONGEST_BACKOFF_S = 10.0
_HOPELESS = 4  # deaths before the system was ready even once


class RunError(Exception):
    """The system cannot run; the text is one sentence for the person at the keyboard."""


class _StopAskedError(BaseException):
    """Somebody pressed Ctrl-C, or sent SIGTERM or SIGHUP."""


# --- the programs, for the supervisor and for containers alike


def api_argv(*where: str) -> list[str]:
    """Build the command line of one API process; `where` is `--fd N`, or `--host H --port P`."""
    # The application reads the addresses of proxies it trusts itself, hence no proxy headers here.
    quiet = ("--no-access-log", "--no-server-header", "--no-proxy-headers", "--log-level", "warning")
    fast = ("--loop", "uvloop", "--http", "httptools", "--timeout-graceful-shutdown", "5")
    return [sys.executable, "-m", "uvicorn", "app.main:app", *where, *quiet, *fast]


def worker_argv(kind: str, processes: int | None = None, copy: int = 1) -> list[str]:
    """Build the command line of a Celery worker: `routing`, `messages` (also keeps house) or `media`."""
    worker = WORKERS[kind]
    # Gossip, mingle and heartbeat serve clusters that talk about each other; without them a start is seconds quicker.
    alone = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    children = str(processes or worker.processes)
    served = ("-Q", worker.queues, "--include", worker.modules, "-c", children, "-n", f"{kind}-{copy}@%h")
    return [*_celery("workers.celery_app", "worker"), *served, *alone, "--loglevel", "WARNING"]


def relay_argv() -> list[str]:
    """Build the command line of the relay."""
    return [sys.executable, "-m", "workers.relay"]


def scheduler_argv(var_dir: Path) -> list[str]:
    """Build the command line of the scheduler, which keeps its last runs in `var_dir`."""
    schedule = ("--schedule", str(var_dir / "scheduler"), "--pidfile=")
    return [*_celery("workers.schedule", "beat"), *schedule, "--loglevel", "WARNING"]


def _celery(application: str, command: str) -> list[str]:
    return [sys.executable, "-m", "celery", "-A", application, "--quiet", command]


def become(argv: Sequence[str]) -> None:
    """Turn this process into that program (containers: one process each, who gets the signals itself)."""
    os.chdir(ROOT)
    os.execv(argv[0], list(argv))  # noqa: S606 - one of the command lines above


# --- children


@dataclass
class _Child:
    """Something that is kept running until it is stopped."""

    name: str
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    started_at: float = 0.0
    start_again_at: float = 0.0

    def start(self) -> None:
        self.started_at = time.monotonic()
        self.process = self.launched()

    def launched(self) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def ended(self) -> int | None:
        """Answer the exit status of a child that has ended, once; what it left in its process group goes with it."""
        if self.process is None or not _has_ended(self.process.pid):
            return None
        with suppress(ProcessLookupError):  # before it is reaped: so long, its group's number is nobody else's
            os.killpg(self.process.pid, signal.SIGKILL)
        status = self.process.wait()
        self.process = None
        lived = time.monotonic() - self.started_at
        self.failures = 1 if lived > _STEADY_S else self.failures + 1
        self.start_again_at = time.monotonic() + min(0.1 * 4 ** (self.failures - 1), _LONGEST_BACKOFF_S)
        return status

    def ask_to_stop(self) -> None:
        """Begin to stop, without waiting."""

    def stop(self, still_patient: Callable[[], bool]) -> None:
        raise NotImplementedError


@dataclass
class _Program(_Child):
    """One of our own programs, in its own process group."""

    argv: list[str] = field(default_factory=list)
    log: Path = Path(os.devnull)
    pass_fds: tuple[int, ...] = ()
    extra: dict[str, str] = field(default_factory=dict)
    patience_s: float = 8.0

    def launched(self) -> subprocess.Popen[bytes]:
        return launch.spawn(self.argv, log=self.log, env=os.environ | self.extra, cwd=ROOT, pass_fds=self.pass_fds)

    def ask_to_stop(self) -> None:
        if self.process is not None:  # not by `Popen.terminate`, which would reap one that ended by itself
            os.kill(self.process.pid, signal.SIGTERM)

    def stop(self, still_patient: Callable[[], bool]) -> None:
        if self.process is None:
            return
        deadline = time.monotonic() + self.patience_s
        while not _has_ended(self.process.pid) and still_patient() and time.monotonic() < deadline:
            time.sleep(0.02)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None


@dataclass
class _Embedded(_Child):
    """An embedded server; started again, it comes back at the same address."""

    opened: Callable[[int | None], embedded.Postgres | embedded.Valkey] = field(default=lambda _: _missing())
    server: embedded.Postgres | embedded.Valkey | None = None

    def launched(self) -> subprocess.Popen[bytes]:
        port = None
        if self.server is not None:
            port = self.server.port
            self.server.stop(quick=True)
        self.server = self.opened(port)
        return self.server.process

    def stop(self, still_patient: Callable[[], bool]) -> None:
        if self.server is not None:
            self.server.stop(quick=not still_patient())


def _missing() -> embedded.Postgres:
    raise AssertionError("an embedded child needs a way to open its server")


def _has_ended(pid: int) -> bool:
    """Look without reaping."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


# --- the supervisor


class Supervisor:
    """Starts everything in order, keeps it alive, stops it in order."""

    def __init__(self, var_dir: Path, host: str, port: int, *, demo: bool) -> None:
        self._var_dir = var_dir.absolute()
        self._logs = self._var_dir / "log"
        self._host, self._port, self._demo = host, port, demo
        self._servers: list[_Embedded] = []
        self._workers: list[_Program] = []
        self._scheduler: list[_Program] = []
        self._relay: list[_Program] = []
        self._api: list[_Program] = []
        self._seeding: list[_Program] = []
        self._fetching: list[_Program] = []
        self._asked = 0
        self._interruptible = True
        self._stopping = False
        self._started_at = time.monotonic()
        self._addresses: dict[str, str] = {}
        self._kept: tuple[object, ...] = ()  # open for as long as the supervisor lives

    def run(self) -> None:
        """Run until somebody asks to stop."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # under nohup a closed terminal is no reason to stop
                signal.signal(number, self._heard)
        terminal = os.isatty(1)
        try:
            self._start()
            while not (terminal and not os.isatty(1)):  # make hears that the terminal was closed, and tells nobody
                self._keep_alive()
                self._watch_seeding()
                self._watch_fetching()
                time.sleep(_TICK_S)
        except _StopAskedError:
            _say("", "Đang dừng / stopping …")
        finally:
            self._interruptible, self._stopping = False, True
            self._stop()

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        self._asked += 1
        if self._interruptible or (self._asked > 1 and not self._stopping):
            self._interruptible = False
            raise _StopAskedError

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Let a server come up whole before a request to stop is heard; a second one is heard at once."""
        asked, self._interruptible = self._asked, False
        try:
            yield
        finally:
            self._interruptible = self._asked == asked
            if not self._interruptible:
                raise _StopAskedError

    # starting

    def _start(self) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        lock = _only_one(self._var_dir)
        listener = _listen(self._host, self._port)
        self._port = listener.getsockname()[1]
        self._kept = (listener, lock)
        self._start_servers()
        _tell_servers(self._var_dir)
        self._prepare(MIGRATE)
        self._start_background()  # they take a while to come up, and have nothing to do before there are reports
        self._prepare(LOAD)
        if self._demo and not self._accounts():  # the seeding looks after them as well, when everybody is served
            self._prepare(ACCOUNTS)
        self._start_api(listener.fileno())
        self._wait_until_ready()
        self._announce()
        if self._demo:
            self._seed()
        if os.environ.get("PHANANH_FETCH_BOUNDARIES", "once") == "once":
            self._fetch()

    def _start_servers(self) -> None:
        os.environ["PHANANH_VAR_DIR"] = str(self._var_dir)
        if not os.environ.get("DATABASE_URL"):
            place = self._var_dir / "postgres"
            postgres = _Embedded("postgres", opened=lambda port: embedded.start_postgres(place, port=port))
            self._open(postgres)
            if isinstance(postgres.server, embedded.Postgres):
                os.environ["DATABASE_URL"] = postgres.server.app_url
                os.environ["OWNER_DATABASE_URL"] = postgres.server.owner_url
        if not os.environ.get("REDIS_URL"):
            place_of_valkey = self._var_dir / "valkey"
            valkey = _Embedded("valkey", opened=lambda port: embedded.start_valkey(place_of_valkey, port=port))
            self._open(valkey)
            if valkey.server is not None:
                os.environ["REDIS_URL"] = valkey.server.url

    def _open(self, server: _Embedded) -> None:
        self._servers.append(server)
        with self._undisturbed():
            server.start()
        _say(f"{server.name}: sẵn sàng / ready ({time.monotonic() - server.started_at:.1f} s)")

    def _prepare(self, command: tuple[str, ...]) -> None:
        name, started = "-".join(command), time.monotonic()
        log = self._logs / f"{name}.log"
        log.unlink(missing_ok=True)
        step = _Program(name, argv=[sys.executable, "-m", "app.cli", *command], log=log)
        self._seeding.append(step)  # so that a Ctrl-C in the middle stops it first
        step.start()
        while (status := step.ended()) is None:
            time.sleep(0.02)
        self._seeding.remove(step)
        if status:
            raise RunError(f"`phananh {' '.join(command)}` failed: {_last_line(log)} (more in {log}).")
        _say(f"{' '.join(command)}: xong / done ({time.monotonic() - started:.1f} s)")

    def _start_background(self) -> None:
        for kind, worker in WORKERS.items():
            for copy in range(1, worker.copies + 1):
                name = f"worker-{kind}" if copy == 1 else f"worker-{kind}-{copy}"
                self._workers.append(self._program(name, worker_argv(kind, copy=copy)))
        self._relay.append(self._program("relay", relay_argv()))
        self._scheduler.append(self._program("scheduler", scheduler_argv(self._var_dir)))
        for child in (*self._workers, *self._relay, *self._scheduler):
            child.start()

    def _start_api(self, descriptor: int) -> None:
        # The processes count together: whoever is asked for /metrics answers for all of them.
        metrics = self._var_dir / "metrics"
        shutil.rmtree(metrics, ignore_errors=True)
        metrics.mkdir()
        for number in range(1, API_PROCESSES + 1):
            api = self._program(f"api-{number}", api_argv("--fd", str(descriptor)), pass_fds=(descriptor,))
            api.extra["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
            self._api.append(api)
            api.start()

    def _program(self, name: str, argv: list[str], pass_fds: tuple[int, ...] = ()) -> _Program:
        return _Program(name, argv=argv, log=self._logs / f"{name}.log", pass_fds=pass_fds)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_S
        while not _is_ready(self._host, self._port):
            self._keep_alive()
            for child in self._children():
                if child.failures >= _HOPELESS:
                    log = self._logs / f"{child.name}.log"
                    raise RunError(f"{child.name} does not start: {_last_line(log)} (more in {log}).")
            if time.monotonic() > deadline:
                raise RunError(f"The API was not ready within {_READY_S:.0f} s: look into {self._logs}.")
            time.sleep(_TICK_S)
        for child in self._children():
            child.failures = 0

    # running

    def _children(self) -> Iterable[_Child]:
        return (*self._servers, *self._workers, *self._scheduler, *self._relay, *self._api)

    def _keep_alive(self) -> None:
        for child in self._children():
            if (status := child.ended()) is not None:
                why = signal.Signals(-status).name if status < 0 else _last_line(self._logs / f"{child.name}.log")
                _say(f"{child.name}: dừng bất thường, khởi động lại / ended ({why}), starting again")
            if child.process is None and time.monotonic() >= child.start_again_at:
                try:
                    with self._undisturbed():
                        child.start()
                except embedded.EmbeddedError as error:
                    child.failures += 1
                    child.start_again_at = time.monotonic() + _LONGEST_BACKOFF_S
                    _say(f"{child.name}: {error}")

    def _announce(self) -> None:
        base = f"http://{self._host}:{self._port}"
        self._addresses = {"api": f"{base}/v1", "docs": f"{base}/docs", "ready": f"{base}/readyz"}
        _say(
            "",
            f"Sẵn sàng / ready ({time.monotonic() - self._started_at:.1f} s)",
            f"  API                {self._addresses['api']}",
            f"  Tài liệu / docs    {self._addresses['docs']}",
            f"  Nhật ký / logs     {self._logs}",
            "  Dừng / stop        Ctrl-C",
        )
        self._note_addresses()

    def _note_addresses(self) -> None:
        """Put the addresses beside the demo accounts, so that one file tells how to get in."""
        path = self._var_dir / "demo.json"
        noted = _read_json(path) | {"addresses": self._addresses}
        fresh = path.with_suffix(".json.new")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(noted, ensure_ascii=False, indent=2) + "\n")
        fresh.replace(path)

    def _seed(self) -> None:
        self._show_accounts()
        seeding = self._program("demo", [sys.executable, *SEEDING])
        self._seeding.append(seeding)
        seeding.start()
        _say("", "Đang tạo dữ liệu mẫu nếu chưa có / seeding demo data unless it is there …")

    def _watch_seeding(self) -> None:
        for seeding in tuple(self._seeding):
            if (status := seeding.ended()) is None:
                continue
            self._seeding.remove(seeding)
            self._note_addresses()
            took = time.monotonic() - seeding.started_at
            if status:
                _say(f"Dữ liệu mẫu chưa xong / seeding failed: {_last_line(seeding.log)} (more in {seeding.log}).")
            else:
                _say(f"Dữ liệu mẫu đã sẵn sàng / demo data is there ({took:.1f} s).")

    def _fetch(self) -> None:
        """Try once to download surveyed boundaries, beside everything else; it ends itself where they are there."""
        fetching = self._program("boundaries", [sys.executable, *FETCHING])
        fetching.log.unlink(missing_ok=True)
        self._fetching.append(fetching)
        fetching.start()

    def _watch_fetching(self) -> None:
        for fetching in tuple(self._fetching):
            late = time.monotonic() - fetching.started_at > _FETCHING_S
            if fetching.ended() is None and not late:
                continue
            self._fetching.remove(fetching)
            fetching.stop(lambda: False)
            if late:
                _say("Ranh giới chưa tải xong, lần sau tải tiếp / boundaries not downloaded in time, going on later.")
            elif fetching.log.exists() and fetching.log.stat().st_size:
                _say(_last_line(fetching.log))

    def _accounts(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = _read_json(self._var_dir / "demo.json").get("accounts", [])
        return found

    def _show_accounts(self) -> None:
        """Show one account of each role; the file has all of them."""
        first = {account.get("role", ""): account for account in reversed(self._accounts())}
        lines = ["  " + " · ".join(value for value in account.values() if value) for account in first.values()]
        path = self._var_dir / "demo.json"
        _say("", f"Tài khoản mẫu / demo accounts (tất cả / all: {path}):", *reversed(lines))

    # stopping

    def _stop(self) -> None:
        """Stop who takes work in first, who keeps it last; a second Ctrl-C ends all patience."""
        asked_before = max(self._asked, 1)

        def still_patient() -> bool:
            return self._asked <= asked_before

        postgres_last = sorted(self._servers, key=lambda server: server.name == "postgres")
        stages: list[Sequence[_Child]] = [
            self._fetching,
            self._seeding,
            self._api,
            self._relay,
            self._scheduler,
            self._workers,
        ]
        for stage in [*stages, self._workers, *([server] for server in postgres_last)]:
            for child in stage:
                child.ask_to_stop()
            for child in stage:
                child.stop(still_patient)
        _say("Đã dừng / stopped.")


def run(*, var_dir: Path | None = None, host: str = "127.0.0.1", port: int = 8000, demo: bool = True) -> int:
    """Run the whole system until Ctrl-C; the exit status. What stands in the way is one sentence on stderr."""
    place = var_dir or Path(os.environ.get("PHANANH_VAR_DIR") or ROOT / "var")
    try:
        Supervisor(place, host, port, demo=demo).run()
    except (RunError, embedded.EmbeddedError) as error:
        print(f"phananh: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        where = Path(error.filename) if isinstance(error.filename, str) else place
        print(f"phananh: {embedded.sentence(error, where.absolute())}", file=sys.stderr)
        return 1
    return 0


# --- small things


def _say(*lines: str) -> None:
    with suppress(OSError):  # a closed terminal is no reason to stop
        print(*lines, sep="\n", flush=True)


def _only_one(var_dir: Path) -> int:
    """Hold `var_dir` for this process; the lock goes with it, whatever ends it."""
    lock = os.open(var_dir / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(lock, 20, 0).decode(errors="replace").strip() or "?"
        os.close(lock)
        raise RunError(f"phananh is already running on {var_dir} (pid {pid}): stop that one first.") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock


# What a command beside a running system needs to reach the same servers, with the same pack.
_SHARED = ("DATABASE_URL", "OWNER_DATABASE_URL", "REDIS_URL", "PHANANH_PROVINCE_PACK")


def _tell_servers(var_dir: Path) -> None:
    """Write down where this run's servers are, for nobody but the own account: the addresses hold passwords."""
    path = var_dir / "servers.json"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({name: os.environ[name] for name in _SHARED if os.environ.get(name)}, file)


def join_running() -> None:
    """Let a command use the servers of the `phananh run` on the same var directory, where it was given none."""
    place = Path(os.environ.get("PHANANH_VAR_DIR") or ROOT / "var")
    if os.environ.get("DATABASE_URL") or not _is_running(place):
        return
    for name, value in _read_json(place / "servers.json").items():
        os.environ.setdefault(name, str(value))


def _is_running(var_dir: Path) -> bool:
    """Whether a run holds the directory: what a killed one wrote down leads nowhere."""
    try:
        lock = os.open(var_dir / "run.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _listen(host: str, port: int) -> socket.socket:
    """Open the socket that the API processes share."""
    deadline = time.monotonic() + 1  # processes of a killed run are gone within that
    while True:
        try:
            listener = socket.create_server((host, port), backlog=512)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise RunError(
                f"Port {port} on {host} {reason}: choose another one with `make run PORT=8001` "
                "or `phananh run --port 8001`."
            ) from None
        # uvicorn does not know that a descriptor it is handed speaks TCP; accepted connections inherit this one.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener


def _is_ready(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    told = (line.strip(" .│╰─╯").removeprefix("phananh: ") for line in reversed(lines))
    return next((line for line in told if line and not line.startswith("For further information")), "it said nothing")
