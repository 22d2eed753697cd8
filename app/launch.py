"""Start one program on a leash: it dies when its parent dies, even by kill -9. Standard library only.

`spawn` runs this file as a tiny first stage (`python -I -S launch.py … -- program`), which ties itself to its parent,
gives up root where asked, and becomes the program. A first stage instead of `preexec_fn`, because nothing of a
threaded parent runs between its fork and its exec; it costs about 25 ms.

Two things to know about the leash (`prctl(PR_SET_PDEATHSIG)`):

- The kernel sends it when the *thread* that forked ends, not the process: only the main thread may spawn.
- It is dropped by every change of credentials, so rights are given up first, and a parent that died before the call
  is noticed by asking for it again.
"""

import ctypes
import os
import pwd
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_LOG_LIMIT = 10 * 2**20
_REFUSED = 126  # what a shell answers for "found, but could not be run"


@dataclass(frozen=True)
class Rights:
    """As whom a program runs: the caller; a stand-in for the caller that is not root; or another account.

    `stand_in` enters a user namespace of its own, in which the caller's uid appears as that (non-zero) uid: the
    program sees that it is not root, and yet its files belong to the caller and no directory has to be opened up.
    """

    stand_in: tuple[int, int] | None = None
    account: tuple[int, int] | None = None


CALLER = Rights()


def die_with_parent(death_signal: signal.Signals = signal.SIGKILL, *, parent: int | None = None) -> None:
    """Ask the kernel for `death_signal` when the thread that forked this process ends.

    Given the pid of `parent`, a parent that was gone before the call counts as well.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def command(argv: Sequence[str | Path], death_signal: signal.Signals, rights: Rights = CALLER) -> list[str]:
    """Build the command line that runs `argv` on the leash of the calling process."""
    stage = [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(death_signal))]
    for name, ids in (("stand_in", rights.stand_in), ("account", rights.account)):
        if ids is not None:
            stage += [name, str(ids[0]), str(ids[1])]
    return [*stage, "--", *map(str, argv)]


def spawn(
    argv: Sequence[str | Path],
    *,
    death_signal: signal.Signals = signal.SIGKILL,
    rights: Rights = CALLER,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program that receives `death_signal` when this process dies; its output goes to the end of `log`.

    It has a session of its own, so that a Ctrl-C reaches the parent only, who decides the order in which things stop.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("only the main thread may spawn: the leash is tied to the thread")
    output = None
    if log is not None:
        log_size(log)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(  # noqa: S603 - our own programs with arguments of our own
            command(argv, death_signal, rights),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=None if env is None else dict(env),
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    finally:
        if output is not None:
            os.close(output)


def log_size(log: Path) -> int:
    """Tell where the next line of a log goes; one that grew too long is put aside first."""
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
    return log.stat().st_size if log.exists() else 0


def ordinary_account() -> tuple[int, int] | None:
    """Find uid and gid of an account on this machine that is not root; `nobody` only when there is no other."""
    others = [(entry.pw_uid, entry.pw_gid) for entry in pwd.getpwall() if entry.pw_uid and entry.pw_gid]
    nobody = 65534  # also what the kernel shows for an owner it cannot map, hence the last choice
    return next((ids for ids in others if ids[0] != nobody), others[0] if others else None)


def enter_namespace(uid: int, gid: int) -> None:
    """Go where the caller's ids appear as these (of a process with one thread only)."""
    outside = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "user namespaces are not permitted")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {outside[0]} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {outside[1]} 1")


def become_account(uid: int, gid: int) -> None:
    """Give up root for another account, for good."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _first_stage(arguments: list[str]) -> None:
    split = arguments.index("--")
    parent, death_signal, *rights = arguments[:split]
    program = arguments[split + 1 :]
    try:
        if rights:
            change = {"stand_in": enter_namespace, "account": become_account}[rights[0]]
            change(int(rights[1]), int(rights[2]))
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        die_with_parent(signal.Signals(int(death_signal)), parent=int(parent))
        os.execvp(program[0], program)  # noqa: S606 - this is what the stage is for
    except OSError as error:
        print(f"{program[0]}: {error.strerror or error}", file=sys.stderr)  # noqa: T201 - to the log of the program
        sys.exit(_REFUSED)


if __name__ == "__main__":
    _first_stage(sys.argv[1:])
