"""CPU time of processes, to the nanosecond where they live and to the clock tick where they have ended."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PROCESS_CLOCK = 2  # CPUCLOCK_SCHED of a whole process: user and system time of all its threads, ended ones included


def spent(pids: Iterable[int]) -> float:
    """Seconds of CPU that these processes and all their descendants have used so far, ended descendants included."""
    return sum(_own(pid) + _reaped(pid) for pid in family(pids))


def family(pids: Iterable[int]) -> list[int]:
    """These processes and all their living descendants."""
    return [pid for each in pids for pid in (each, *(child.pid for child in _descendants(each)))]


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _own(pid: int) -> float:
    """The process's CPU clock, as clock_getcpuclockid(3) numbers it."""
    try:
        return time.clock_gettime(~pid << 3 | _PROCESS_CLOCK)
    except OSError:  # ended meanwhile: its parent has reaped it, or will have at the next reading
        return 0.0


def _reaped(pid: int) -> float:
    """What descendants used that have ended and were waited for (cutime and cstime of /proc/PID/stat)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[13]) + int(fields[14])) * _TICK_S
