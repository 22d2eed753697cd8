"""Replay the steps of the Dockerfile without a container engine, until its health check answers.

Each stage gets a directory of its own as `/`, inside a user and mount namespace: nothing here needs root, nothing is
written outside that directory, and the paths are those of the image. The machine's system folders and its Python stand
in for the base image, read-only; PostgreSQL and Valkey run outside and are reached as any external ones. Steps before
`USER` run as the namespace's root, what follows as the user named there. Every role must come up, not the API alone.
"""

import argparse
import base64
import ctypes
import fnmatch
import json
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from app import launch
from app.embedded import EmbeddedError, Postgres, Valkey, free_port, start_postgres, start_valkey

ROOT = Path(__file__).resolve().parents[1]
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc")
_IMAGE_PYTHON = "/image/bin"  # where the base image's `python` is found
_HEALTHY_S = 90.0


class ReplayError(Exception):
    """A step failed, or says something this tool does not understand."""


@dataclass(frozen=True)
class Step:
    """One instruction: its name, its flags, and the rest as one line."""

    name: str
    flags: Mapping[str, str]
    rest: str

    @property
    def words(self) -> list[str]:
        """The rest in exec form where it is one, otherwise as a shell reads it."""
        if self.rest.startswith("["):
            return [str(word) for word in json.loads(self.rest)]
        return shlex.split(self.rest)

    def command(self) -> list[str]:
        """What to execute: exec form as it is, shell form by a shell."""
        return self.words if self.rest.startswith("[") else ["/bin/sh", "-c", self.rest]


def parse(text: str) -> list[Step]:
    """Read a Dockerfile: comments dropped, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    steps = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        name, _, rest = line.strip().partition(" ")
        flags: dict[str, str] = {}
        while (rest := rest.strip()).startswith("--"):
            flag, _, rest = rest.partition(" ")
            key, _, value = flag[2:].partition("=")
            flags[key] = value
        steps.append(Step(name.upper(), flags, rest))
    return steps


def is_ignored(path: str, patterns: list[str]) -> bool:
    """Whether `.dockerignore` keeps a file out: the last pattern that fits it or a folder above it decides."""
    parts = path.split("/")
    prefixes = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    ignored = False
    for line in patterns:
        pattern = line.removeprefix("!").strip("/")
        anywhere = pattern.removeprefix("**/")
        fits = any(
            fnmatch.fnmatchcase(prefix, pattern)
            if anywhere == pattern and prefix.count("/") == pattern.count("/")
            else anywhere != pattern and fnmatch.fnmatchcase(prefix.rsplit("/", 1)[-1], anywhere)
            for prefix in prefixes
        )
        if fits:
            ignored = not line.startswith("!")
    return ignored


# --- inside the namespace


@dataclass
class Image:
    """A stage while it is built: its root directory and what the instructions have set so far."""

    root: Path
    env: dict[str, str]
    workdir: str = "/"
    uid: int = 0
    gid: int = 0
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    def host(self, path: str) -> Path:
        """Where a path of the image lies for us."""
        inside = path if path.startswith("/") else f"{self.workdir}/{path}"
        return self.root / os.path.normpath(inside).lstrip("/")


class Replay:
    """Executes the steps of a Dockerfile, one stage after the other."""

    def __init__(self, place: Path, context: Path, passed: Mapping[str, str], *, single_id: bool) -> None:
        self._place, self._context = place, context
        self._passed = dict(passed)  # how this machine reaches its package index: the stand-in for a network
        self._single_id = single_id
        self._stages: dict[str, Image] = {}
        ignore = context / ".dockerignore"
        lines = ignore.read_text().splitlines() if ignore.exists() else []
        self._ignore = [line.strip() for line in lines if line.strip() and not line.startswith("#")]

    def build(self, steps: list[Step]) -> Image:
        """Execute every step; the last stage is the image."""
        image: Image | None = None
        for step in steps:
            if step.name == "FROM":
                image = self._from(step)
                continue
            if image is None:
                raise ReplayError(f"{step.name} before any FROM")
            handler: Callable[[Image, Step], None] | None = getattr(self, f"_{step.name.lower()}", None)
            if handler is None:
                raise ReplayError(f"{step.name}: this instruction is not known to the replay")
            print(f"{step.name} {step.rest[:100]}", flush=True)
            handler(image, step)
        if image is None:
            raise ReplayError("nothing to build")
        return image

    def start(self, image: Image, argv: list[str], env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
        """Start a program as the image would: its root, its user, its environment, and nothing of ours."""
        parent, uid, gid = os.getpid(), image.uid, image.gid

        def enter() -> None:
            os.chroot(image.root)
            os.chdir(image.workdir)
            if uid and self._single_id:
                launch.enter_namespace(uid, gid)
            elif uid:
                launch.become_account(uid, gid)
            launch.die_with_parent(signal.SIGKILL, parent=parent)

        with log.open("ab") as output:
            return subprocess.Popen(
                argv,
                env={**image.env, **env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=enter,  # noqa: PLW1509 - this process has one thread
            )

    def finish(self, image: Image, argv: list[str], env: Mapping[str, str] | None = None) -> None:
        """Run a program to its end, which must be a good one."""
        log = self._place / "step.log"
        log.unlink(missing_ok=True)
        if status := self.start(image, argv, env or {}, log).wait():
            told = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise ReplayError(f"{shlex.join(argv)[:200]}: status {status}\n{told}")

    # instructions

    def _from(self, step: Step) -> Image:
        base, *named = step.words
        name = named[1] if len(named) > 1 else str(len(self._stages))
        print(f"FROM {step.rest}", flush=True)
        if base in self._stages:
            raise ReplayError("a stage built on another stage is not known to the replay")
        root = self._place / "stages" / name
        _stand_in_for_base_image(root, base)
        env = {"PATH": f"{_IMAGE_PYTHON}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        image = Image(root, env)
        self._stages[name] = image
        return image

    def _workdir(self, image: Image, step: Step) -> None:
        image.workdir = os.path.normpath(f"{image.workdir}/{step.rest}" if step.rest[0] != "/" else step.rest)
        image.host(image.workdir).mkdir(parents=True, exist_ok=True)

    def _env(self, image: Image, step: Step) -> None:
        for word in step.words:
            name, _, value = word.partition("=")
            for known, old in image.env.items():
                value = value.replace(f"${{{known}}}", old).replace(f"${known}", old)
            image.env[name] = value

    def _copy(self, image: Image, step: Step) -> None:
        *sources, target = step.words
        stage = step.flags.get("from")
        base = self._stages[stage].root if stage else self._context
        for source in sources:
            origin = base / source.lstrip("/")
            destination = image.host(target) / origin.name if target.endswith("/") else image.host(target)
            destination.parent.mkdir(parents=True, exist_ok=True)
            if origin.is_dir():
                ignore = None if stage else self._left_out
                shutil.copytree(origin, destination, symlinks=True, ignore=ignore, dirs_exist_ok=True)
            elif not stage and is_ignored(source, self._ignore):
                raise ReplayError(f"COPY {source}: .dockerignore keeps it out")
            else:
                shutil.copy2(origin, destination)

    def _left_out(self, folder: str, names: list[str]) -> set[str]:
        below = Path(folder).relative_to(self._context)
        return {name for name in names if is_ignored(str(below / name), self._ignore)}

    def _run(self, image: Image, step: Step) -> None:
        self.finish(image, step.command(), self._passed)

    def _user(self, image: Image, step: Step) -> None:
        uid, _, gid = step.rest.partition(":")
        image.uid, image.gid = int(uid), int(gid or 0)

    def _entrypoint(self, image: Image, step: Step) -> None:
        image.entrypoint, image.cmd = step.command(), []

    def _cmd(self, image: Image, step: Step) -> None:
        image.cmd = step.command()

    def _healthcheck(self, image: Image, step: Step) -> None:
        image.health = replace(step, rest=step.rest.removeprefix("CMD").strip()).command()

    def _expose(self, image: Image, step: Step) -> None:
        """Nothing to do: the network is the machine's own."""


def _interpreter(base: str) -> tuple[Path, Path]:
    """Find the Python of the base image's version on this machine, or else our own: the program and its prefix."""
    version = base.partition(":")[2].split("-")[0]
    found = shutil.which(f"python{version}")
    ask = "import os, sys; print(os.path.realpath(sys.executable)); print(os.path.realpath(sys.base_prefix))"
    for candidate in (found, sys.executable):
        if candidate is not None:
            told = subprocess.run([candidate, "-c", ask], capture_output=True, text=True, check=False)
            if not told.returncode:
                program, prefix = told.stdout.splitlines()
                print(f"  {base}: {program} stands in", flush=True)
                return Path(program), Path(prefix)
    raise ReplayError("no Python found to stand in for the base image's")


def _stand_in_for_base_image(root: Path, base: str) -> None:
    root.mkdir(parents=True)
    for name in _SYSTEM:
        original = Path("/") / name
        if original.is_symlink():
            (root / name).symlink_to(original.readlink())
        elif original.is_dir():
            _bind(original, root / name)
    for folder in ("tmp", "root", "srv", "opt", "var/lib", "var/tmp"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for device in ("proc", "dev"):
        _bind(Path("/") / device, root / device, read_only=False)
    program, prefix = _interpreter(base)
    for needed in (prefix, *_package_folders()):
        if not any(needed.is_relative_to(f"/{name}") for name in _SYSTEM):
            _bind(needed, root / str(needed).lstrip("/"))
    programs = root / _IMAGE_PYTHON.lstrip("/")
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(program)


def _package_folders() -> list[Path]:
    """Local folders this machine's pip is told to look into; the files of an index lie beside its `simple`."""
    words = " ".join(_pip_settings().values()).replace("file://", " ").split()
    folders = [Path(word) for word in words if word.startswith("/") and Path(word).is_dir()]
    return [folder.parent if folder.name == "simple" else folder for folder in folders]


def _pip_settings() -> dict[str, str]:
    """How this machine reaches its package index, as environment variables."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    found = {}
    for line in listed.stdout.splitlines():
        name, _, value = line.partition("=")
        key = name.split(".", 1)[-1].removeprefix(".").upper().replace("-", "_")
        found[f"PIP_{key}"] = value.strip("'\"")
    proxies = ("http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE")
    known = {name: os.environ[name] for word in proxies for name in (word, word.upper()) if name in os.environ}
    return found | known


def _libc(call: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, call)(*arguments):
        raise OSError(ctypes.get_errno(), f"{call}: {os.strerror(ctypes.get_errno())}")


def _bind(source: Path, target: Path, *, read_only: bool = True) -> None:
    target.mkdir(parents=True, exist_ok=True)
    _libc("mount", os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(_MS_BIND | _MS_REC), None)
    if read_only:
        # Flags of the original mount that a namespace may not drop stay as they are.
        locked = os.statvfs(target).f_flag & (
            os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_NOATIME | os.ST_RELATIME
        )
        flags = ctypes.c_ulong(_MS_BIND | _MS_REMOUNT | _MS_RDONLY | _mount_flags(locked))
        _libc("mount", None, os.fsencode(target), None, flags, None)


def _mount_flags(flags: int) -> int:
    pairs = ((os.ST_NOSUID, 2), (os.ST_NODEV, 4), (os.ST_NOEXEC, 8), (os.ST_NOATIME, 1024), (os.ST_RELATIME, 1 << 21))
    return sum(mount for shown, mount in pairs if flags & shown)


def _inside(place: Path, services: Mapping[str, str], port: int, *, single_id: bool) -> None:
    """Build, prepare the database, start every role, and wait for the health check."""
    _libc("mount", b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None)
    replay = Replay(place, ROOT, _pip_settings(), single_id=single_id)
    image = replay.build(parse((ROOT / "Dockerfile").read_text()))
    app_env = {name: value for name, value in services.items() if name != "OWNER_DATABASE_URL"} | {"PORT": str(port)}
    for command in (["migrate"], ["pack", "load"]):
        print(f"docker run … {' '.join(command)}", flush=True)
        replay.finish(image, [*image.entrypoint, *command], services)
    commands = {
        "api": [*image.cmd, "--port", str(port)],
        "relay": ["relay"],
        "worker": ["worker", "routing"],
        "worker-media": ["worker", "media"],
        "scheduler": ["scheduler"],
    }
    running = {
        name: replay.start(image, [*image.entrypoint, *command], app_env, place / f"{name}.log")
        for name, command in commands.items()
    }
    started = time.monotonic()
    while True:
        for name, process in running.items():
            if process.poll() is not None:
                told = "\n".join((place / f"{name}.log").read_text(errors="replace").splitlines()[-15:])
                raise ReplayError(f"{name} ended with status {process.returncode}\n{told}")
        if not replay.start(image, image.health, app_env, place / "health.log").wait():
            print(f"healthy after {time.monotonic() - started:.1f} s, every role running", flush=True)
            break
        if time.monotonic() - started > _HEALTHY_S:
            told = (place / "health.log").read_text(errors="replace")[-500:]
            raise ReplayError(f"the health check did not answer within {_HEALTHY_S:.0f} s\n{told}")
        time.sleep(0.5)
    for process in running.values():
        process.terminate()
    for name, process in running.items():
        if (status := process.wait(20)) not in (0, -signal.SIGTERM):
            raise ReplayError(f"{name} answered SIGTERM with status {status}")
    print("every role stopped when asked", flush=True)


# --- outside


@contextmanager
def _services(place: Path) -> Iterator[tuple[Postgres, Valkey]]:
    with start_postgres(place / "postgres", durable=False) as postgres, start_valkey(place / "valkey") as valkey:
        yield postgres, valkey


def _in_namespace(work: Callable[[], None], *, single_id: bool) -> int:
    """Do `work` in a child with namespaces of its own, where it is root and the image's user exists as well."""
    ready, go = os.pipe(), os.pipe()
    parent, child = os.getpid(), os.fork()
    if not child:
        status = 1
        try:
            os.setsid()
            _libc("unshare", _CLONE_NEWUSER | _CLONE_NEWNS)
            launch.die_with_parent(signal.SIGKILL, parent=parent)
            os.write(ready[1], b".")
            os.read(go[0], 1)
            work()
            status = 0
        except (ReplayError, OSError, subprocess.SubprocessError) as error:
            print(f"replay: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    os.close(ready[1])
    try:
        os.read(ready[0], 1)
        _map_ids(child, single_id=single_id)
        os.write(go[1], b".")
    except OSError as error:
        print(f"replay: user namespaces are not permitted here: {error}", file=sys.stderr)
        os.close(go[1])
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _map_ids(child: int, *, single_id: bool) -> None:
    """Root inside is the caller outside; where the caller is root, every other id means itself."""
    rest = "" if single_id else "\n1 1 65535"
    if single_id:
        Path(f"/proc/{child}/setgroups").write_text("deny")
    Path(f"/proc/{child}/uid_map").write_text(f"0 {os.geteuid()} 1{rest}")
    Path(f"/proc/{child}/gid_map").write_text(f"0 {os.getegid()} 1{rest}")


def _new_key() -> str:
    """A key as an operator would make one; the image refuses those for a laptop."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def main() -> int:
    """Replay, say what happened, leave nothing behind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--place", type=Path, help="an empty directory to work in (default: a temporary one)")
    place = Path(tempfile.mkdtemp(prefix="replay-", dir=parser.parse_args().place))
    single_id = os.geteuid() != 0
    started = time.monotonic()
    try:
        with _services(place) as (postgres, valkey):
            services = {
                "DATABASE_URL": postgres.app_url,
                "OWNER_DATABASE_URL": postgres.owner_url,
                "REDIS_URL": valkey.url,
                **{f"PHANANH_{name}_KEY": _new_key() for name in ("TOKEN", "VAULT", "INDEX", "LINK", "SEAL")},
                "PHANANH_NOTIFIER": "carriers",
                **{f"PHANANH_ESMS_{name}": "replay" for name in ("KEY", "SECRET", "BRAND")},
            }
            port = free_port()
            status = _in_namespace(lambda: _inside(place, services, port, single_id=single_id), single_id=single_id)
    except EmbeddedError as error:
        print(f"replay: {error}", file=sys.stderr)
        status = 1
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(f"{'replayed' if not status else 'failed'} in {time.monotonic() - started:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
