"""One function per promise of the design: what it takes, what the reference takes, and whether the promise is kept."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import psutil
import shapely

from app.core.config import ROOT
from app.orgunits.rules import PointIndex
from benchmarks import load, reports
from benchmarks.system import COMMUNES, System, citizens, wait_for
from tests.support import places

ROUTED = "SELECT count(*) FROM case_file WHERE state = 'routing'"
# From a report's receipt to the commit of the event that assigned it, by PostgreSQL's own note of commits.
DELAYS = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(assigned.xmin) - submitted.at)
FROM case_event submitted JOIN case_event assigned ON assigned.case_id = submitted.case_id AND assigned.seq = 2
WHERE submitted.seq = 1 AND submitted.at >= to_timestamp(%s)
"""
ACCOUNTS = 400


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    ours: str
    reference: str
    ratio: str
    promise: str
    kept: bool


@dataclass
class Bench:
    """A started system, the people who report on it, and how much of everything is enough."""

    system: System
    quick: bool
    seed: int = 1

    def __post_init__(self) -> None:
        self.tokens = reports.tokens(citizens(self.system, ACCOUNTS))
        self.count = 400 if self.quick else 2000
        self.rounds = 3 if self.quick else 7

    def requests(self, count: int) -> list[bytes]:
        """Requests nobody has sent before."""
        self.seed += 1
        return reports.requests(count, self.tokens, self.seed)


def accept_and_whole_way(bench: Bench) -> Iterator[Row]:
    """CPU per report of API and PostgreSQL; then with relay, worker and the notification owed. Rounds alternate."""
    system = bench.system
    bare, ours = system.api("benchmarks.bare:app"), system.api()
    errors = 0
    ratios, rates, costs = [], [], []
    for _ in range(bench.rounds + 1):  # the first warms both up
        theirs, _, _ = _cost(bench, bare.address, lambda: system.cpu(*bare.programs))
        mine, outcome, _ = _cost(bench, ours.address, lambda: system.cpu(*ours.programs))
        errors += outcome.errors
        ratios.append(mine / theirs)
        rates.append(outcome.rate)
        costs.append((mine, theirs))
    ratio = statistics.median(ratios[1:])
    mine, theirs = (statistics.median(column) for column in zip(*costs[1:], strict=True))
    yield Row(
        f"accept a report (JSON), concurrency {load.CONCURRENCY}, {errors} errors, {statistics.median(rates):.0f}/s",
        f"{mine * 1e6:.0f} µs CPU",
        f"{theirs * 1e6:.0f} µs CPU",
        f"{ratio:.2f}",
        "≤ 2.5",
        ratio <= 2.5 and errors == 0,
    )
    relay, worker = system.relay(), system.worker("routing", 2)
    programs = [*ours.programs, relay, worker]
    wait_for(lambda: system.ask(ROUTED) == 0, "the backlog routed", 120)

    def finish() -> None:
        wait_for(lambda: system.ask(ROUTED) == 0, "all routed", 60)

    ratios = []
    for _ in range(bench.rounds + 1):
        theirs, _, _ = _cost(bench, bare.address, lambda: system.cpu(*bare.programs))
        mine, _, _ = _cost(bench, ours.address, lambda: system.cpu(*programs), finish)
        ratios.append(mine / theirs)
    whole = statistics.median(ratios[1:])
    yield Row(
        "the whole way, accept to routed case with its notification owed",
        f"{whole * theirs * 1e6:.0f} µs CPU",
        f"{theirs * 1e6:.0f} µs CPU",
        f"{whole:.2f}",
        "≤ 6",
        whole <= 6,
    )
    system.stop(relay, worker, *bare.programs)
    yield from _delays(bench, ours.address, statistics.median(rates) / 2)
    worst = max(psutil.Process(pid).memory_info().rss for pid in ours.pids) / 1e6
    yield Row("memory of an API process after all that", f"{worst:.0f} MB", "–", "–", "≤ 200 MB", worst <= 200)
    system.stop(*ours.programs)


def _cost(
    bench: Bench, address: tuple[str, int], cpu: Callable[[], float], finish: Callable[[], None] = lambda: None
) -> tuple[float, load.Outcome, float]:
    """Seconds of CPU per request, what became of them, and the seconds it took."""
    requests = bench.requests(bench.count)
    before, started = cpu(), time.monotonic()
    outcome = load.send_all(address, requests)
    finish()
    return (cpu() - before) / len(requests), outcome, time.monotonic() - started


def _delays(bench: Bench, address: tuple[str, int], rate: float) -> Iterator[Row]:
    """Accepted to assigned at half the accept capacity; then the longest delay around the death of each process."""
    system = bench.system
    relay, worker = system.relay(), system.worker("routing", 2)
    delays = _routed(bench, address, rate, max(200, int(rate * (3 if bench.quick else 10))))
    p50, p99 = (1000 * delays[int(len(delays) * share)] for share in (0.5, 0.99))
    yield Row(
        f"accepted → assigned at {rate:.0f}/s, p99 (median {p50:.0f} ms)",
        f"{p99:.0f} ms",
        "–",
        "–",
        "≤ 250 ms",
        p99 <= 250,
    )
    calm = max(20.0, rate / 8)

    def killed(kill: Callable[[], object], revive: Callable[[], object]) -> float:
        done: list[object] = []

        def tick(seconds: float) -> None:
            if seconds > 1 and not done:
                done.append(kill())
            if seconds > 1.2:
                revive()

        return _routed(bench, address, calm, int(calm * 3), tick)[-1]

    def nothing() -> None:
        """Celery starts a new child by itself."""

    worst = {
        "relay": killed(lambda: psutil.Process(relay.pid).kill(), relay.keep_alive),
        "worker": killed(lambda: psutil.Process(worker.pid).kill(), worker.keep_alive),
        "worker child": killed(lambda: psutil.Process(worker.children()[0]).kill(), nothing),
        "broker": killed(system.restart_valkey, nothing),
    }
    name = max(worst, key=worst.__getitem__)
    told = ", ".join(f"{each} {seconds:.1f} s" for each, seconds in worst.items())
    yield Row(
        f"accepted → assigned when a process is killed ({told})",
        f"{worst[name]:.1f} s",
        "–",
        "–",
        "≤ 5 s",
        worst[name] <= 5,
    )
    system.stop(relay, worker)


def _routed(
    bench: Bench, address: tuple[str, int], rate: float, count: int, tick: Callable[[float], None] = lambda _: None
) -> list[float]:
    """Send at a rate; the seconds from each receipt to the commit of its assignment, shortest first."""
    since = time.time()
    outcome = load.send_all(address, bench.requests(count), rate=rate, tick=tick)
    assert outcome.errors == 0, outcome.statuses
    wait_for(lambda: bench.system.ask(ROUTED) == 0, "all routed", 60)
    return sorted(float(str(row[0])) for row in bench.system.rows(DELAYS, since))


def point_to_commune(*, quick: bool) -> Iterator[Row]:
    """The index against shapely's own answer, a million points, a third of them near borders."""
    features = _communes()
    index = PointIndex.build(features, {code: code for code in features})
    west, south, east, north = shapely.total_bounds(list(features.values()))
    chance = np.random.default_rng(1)
    count = 100_000 if quick else 1_000_000
    edges = np.concatenate([shapely.get_coordinates(area) for area in features.values()])
    near = edges[chance.integers(0, len(edges), count // 3)] + chance.normal(0, 5e-4, (count // 3, 2))
    anywhere = chance.uniform((west, south), (east, north), (count - len(near), 2))
    points = np.concatenate([near, anywhere])
    started = time.process_time()
    found = [index.locate(lat, lon) for lon, lat in points.tolist()]
    mean = (time.process_time() - started) / count
    codes = sorted(features)
    tree = shapely.STRtree([features[code] for code in codes])
    expected: dict[int, str] = {}
    for point, area in zip(*tree.query(shapely.points(points), predicate="covered_by").tolist(), strict=True):
        expected[point] = min(expected.get(point, codes[area]), codes[area])
    wrong = sum(
        (each.commune if each.outcome in ("inside", "border") else None) != expected.get(number)
        for number, each in enumerate(found)
    )
    yield Row(
        f"point → commune, mean of {count:,}",
        f"{mean * 1e6:.1f} µs, {wrong} differences",
        "shapely.covers",
        "–",
        "≤ 20 µs, 0",
        mean <= 20e-6 and wrong == 0,
    )


def _communes() -> dict[str, shapely.Geometry]:
    if not COMMUNES.exists():
        return {code: shapely.box(*places.square(code)) for code in places.codes()}
    features = json.loads(COMMUNES.read_text())["features"]
    return {each["properties"]["code"]: shapely.from_geojson(json.dumps(each["geometry"])) for each in features}


def photos(*, quick: bool) -> Iterator[Row]:
    """The pipeline against a bare Pillow script with fitted draft and the same derivatives, in turn, in CPU time."""
    answer = _in_child("photos", "3" if quick else "9").decode()
    for name, (ours, theirs) in json.loads(answer).items():
        ratio = theirs / ours
        yield Row(
            f"photo pipeline, {name}",
            f"{1 / ours:.1f}/s/core",
            f"{1 / theirs:.1f}/s/core",
            f"{ratio:.2f}",
            "≥ 0.90",
            ratio >= 0.9,
        )
    peak = json.loads(_in_child("peak", given=_in_child("picture")))
    yield Row("memory of the photo child at 12 megapixels", f"{peak:.0f} MB", "–", "–", "≤ 260 MB", peak <= 260)


def _in_child(*arguments: str, given: bytes = b"") -> bytes:
    """Run one measurement in a process of its own, which holds nothing else."""
    command = [sys.executable, "-m", "benchmarks.pictures", *arguments]
    return subprocess.run(command, cwd=ROOT, input=given, capture_output=True, check=True).stdout
