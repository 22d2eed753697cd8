"""The road of a report: what accepting and routing cost beside bare, how long routing takes, also when parts die."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import psutil

from app import processes
from app.cases.rules import OWED_ROUTING
from benchmarks import cpu, load, pictures, reports
from benchmarks.rows import Row
from benchmarks.system import Api, Program, System, citizens, wait_for

OWED = f"SELECT EXISTS (SELECT FROM case_file WHERE {OWED_ROUTING})"
# What rounds without a worker left behind is not the next measurement's.
PUT_ASIDE = f"UPDATE case_file SET state = 'withdrawn' WHERE {OWED_ROUTING}"
UNTOLD = """
SELECT count(*) FROM case_file WHERE state <> 'withdrawn'
AND (state <> 'assigned' OR NOT EXISTS (SELECT FROM message WHERE case_id = case_file.id))
"""
# From the receipt to the commit of the event that assigned, by PostgreSQL's own note of commits. The receipt is taken
# before the accepting transaction, so that one counts too; the flush of the assigning one, about a millisecond, does
# not: PostgreSQL notes the time just before it.
DELAYS = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(assigned.xmin) - submitted.at)
FROM case_event submitted JOIN case_event assigned ON assigned.case_id = submitted.case_id AND assigned.seq = 2
WHERE submitted.seq = 1 AND submitted.at >= to_timestamp(%s) ORDER BY 1
"""
ACCOUNTS = 2000
# Kills are watched at this share of the accept capacity: half is what the calm promise is about.
CALM = 0.125
_REVIVED_S = 0.1  # the supervisor's first pause


@dataclass
class Sample:
    """One round of one side: CPU seconds a request, and what became of the requests."""

    cost: float
    outcome: load.Outcome


@dataclass
class Road:
    """The measured system, the people who report on it, and how much of everything is enough."""

    system: System
    quick: bool
    seed: int = 0
    rate: float = 0.0
    sides: dict[str, Api] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Many people, so that hardly a token was seen a moment ago by the same process.
        self.tokens = reports.tokens(citizens(self.system, ACCOUNTS))
        self.count = 400 if self.quick else 2000
        self.rounds = 3 if self.quick else 7

    def api(self, name: str) -> Api:
        """One of the applications, started once."""
        if name not in self.sides:
            self.sides[name] = self.system.api(name)
        return self.sides[name]

    def requests(self, count: int) -> list[bytes]:
        """Requests nobody has sent before."""
        self.seed += 1
        return reports.requests(count, self.tokens, self.seed)

    def sample(self, api: Api, programs: Sequence[Program] = (), finish: Callable[[], object] = lambda: None) -> Sample:
        """Send one round and count the CPU of the API, PostgreSQL and `programs` until `finish` is through."""
        requests = self.requests(self.count)
        before = self.system.cpu(*api.programs, *programs)
        outcome = load.send_all(api.address, requests)
        finish()
        time.sleep(0.1)  # rings and logs that follow the last answer
        return Sample((self.system.cpu(*api.programs, *programs) - before) / len(requests), outcome)


OURS, BARE, POOLED = "app.main:app", "benchmarks.bare:app", "benchmarks.bare:pooled"


def accept(road: Road) -> Iterator[Row]:
    """CPU of API and PostgreSQL for each accepted report; bare and ours take turns."""
    sides = {name: road.api(name) for name in (BARE, OURS, POOLED)}
    # The first round warms everybody up.
    rounds = [{name: road.sample(api) for name, api in sides.items()} for _ in range(road.rounds + 1)][1:]
    errors = sum(sample.outcome.errors + sample.outcome.broken for each in rounds for sample in each.values())
    road.rate = statistics.median(each[OURS].outcome.rate for each in rounds)
    what = f"accept a report (JSON): {errors} errors at concurrency {load.CONCURRENCY}, {road.rate:.0f} a second"
    ratio = _ratio([each[OURS] for each in rounds], [each[BARE] for each in rounds])
    yield Row(
        what,
        _micros(each[OURS] for each in rounds),
        _micros(each[BARE] for each in rounds),
        f"{ratio:.2f}",
        "≤ 2.5, 0 errors",
        ratio <= 2.5 and not errors,
    )
    ratio = _ratio([each[OURS] for each in rounds], [each[POOLED] for each in rounds])
    yield Row(
        "the same beside asyncpg's pool as it comes, which resets connections",
        _micros(each[OURS] for each in rounds),
        _micros(each[POOLED] for each in rounds),
        f"{ratio:.2f}",
        "≤ 2.5",
        ratio <= 2.5,
    )
    road.system.rows(PUT_ASIDE + " RETURNING 1")


def whole(road: Road) -> Iterator[Row]:
    """The same until every case is routed and its notification owed, with relay and worker. Sending is not in it."""
    bare, ours = road.api(BARE), road.api(OURS)
    relay, workers = road.system.relay(), road.system.workers("routing")

    def routed() -> None:
        wait_for(lambda: not road.system.ask(OWED), "all routed")

    pairs = [(road.sample(ours, [relay, *workers], routed), road.sample(bare)) for _ in range(road.rounds + 1)][1:]
    untold = road.system.ask(UNTOLD)
    ratio = _ratio(*zip(*pairs, strict=True))
    yield Row(
        f"the whole way to the routed case with its notification owed, {untold} left behind",
        _micros(mine for mine, _ in pairs),
        _micros(theirs for _, theirs in pairs),
        f"{ratio:.2f}",
        "≤ 6",
        ratio <= 6 and untold == 0,
    )
    road.system.stop(relay, *workers)


def assigned(road: Road) -> Iterator[Row]:
    """Accepted to assigned at half the accept capacity, with everything running that `make run` starts for it."""
    _stop_bare(road)
    relay, workers = road.system.relay(), _workers(road.system)
    rate = _capacity(road) / 2
    _routed(road, rate, max(200, int(rate * 2)))
    delays = _routed(road, rate, max(400, int(rate * (4 if road.quick else 20))))
    p50, p99 = (1000 * delays[int(len(delays) * share)] for share in (0.5, 0.99))
    yield Row(
        f"accepted → assigned, p99 at {rate:.0f} a second (median {p50:.0f} ms, longest {1000 * delays[-1]:.0f} ms)",
        f"{p99:.0f} ms",
        "",
        "",
        "≤ 250 ms",
        p99 <= 250,
    )
    road.system.stop(relay, *workers)


def killed(road: Road) -> Iterator[Row]:
    """The longest way from accepted to assigned while one part after the other is killed and started again."""
    _stop_bare(road)
    system, api = road.system, road.api(OURS)
    relay, workers = system.relay(), _workers(system)
    worker = workers[0]
    rate = _capacity(road) * CALM

    def kill(pid: int) -> None:
        psutil.Process(pid).kill()

    def revive() -> None:
        system.revive_valkey()
        for program in (relay, *workers, *api.programs):
            program.keep_alive()

    victims: dict[str, Callable[[], None]] = {
        "relay": lambda: kill(relay.pid),
        "worker child": lambda: kill(worker.children()[0]),
        "worker": lambda: kill(worker.pid),
        "API process": lambda: kill(api.pids[0]),
        "Valkey": system.kill_valkey,
    }
    longest = {}
    for name, end in victims.items():
        dead_since: list[float] = []

        def tick(seconds: float, end: Callable[[], None] = end, dead_since: list[float] = dead_since) -> None:
            if seconds > 1 and not dead_since:
                dead_since.append(seconds)
                end()
            elif dead_since and seconds > dead_since[0] + _REVIVED_S:
                revive()

        longest[name] = _routed(road, rate, int(rate * 6), tick)[-1]
    told = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in longest.items())
    yield Row(
        f"accepted → assigned, the longest around a kill at {rate:.0f} a second ({told})",
        f"{max(longest.values()):.1f} s",
        "",
        "",
        "≤ 5 s",
        max(longest.values()) <= 5,
    )
    system.stop(relay, *workers)


def memory(road: Road) -> Iterator[Row]:
    """An API process after all the load it was under; the photo child after the largest pictures of each type."""
    system, api = road.system, road.api(OURS)
    if not road.rate:
        road.sample(api)
    most = max(psutil.Process(pid).memory_info().rss for pid in cpu.family(api.pids)) / 1e6
    yield Row("memory of an API process after load", f"{most:.0f} MB", "", "", "≤ 200 MB", most <= 200)
    relay, (worker,) = system.relay(), system.workers("media")
    yield pictures.peak(
        api.address,
        road.tokens[0],
        lambda: worker.children()[0],
        lambda media_id: system.ask("SELECT state FROM media WHERE id = %s", media_id),
    )
    system.stop(relay, worker)


def _workers(system: System) -> list[Program]:
    """Every worker that `make run` starts, but for the photos; who routes comes first."""
    return [worker for kind in processes.WORKERS if kind != "media" for worker in system.workers(kind)]


def _routed(road: Road, rate: float, count: int, tick: Callable[[float], None] = lambda _: None) -> list[float]:
    """Send at a rate; the seconds from each receipt to the commit of its assignment, shortest first."""
    since = time.time()
    outcome = load.send_all(road.api(OURS).address, road.requests(count), rate=rate, tick=tick)
    if outcome.errors:
        raise RuntimeError(f"not accepted: {outcome.statuses}")
    deadline = time.monotonic() + 60
    while road.system.ask(OWED):
        tick(time.time() - since)
        if time.monotonic() > deadline:
            raise TimeoutError("not routed within 60 s")
        time.sleep(0.05)
    return [float(str(row[0])) for row in road.system.rows(DELAYS, since)]


def _capacity(road: Road) -> float:
    """Reports accepted a second, measured here where `accept` was not asked for."""
    if not road.rate:
        api = road.api(OURS)
        road.sample(api)
        road.rate = road.sample(api).outcome.rate
        wait_for(lambda: not road.system.ask(OWED), "all routed")
    return road.rate


def _stop_bare(road: Road) -> None:
    for name in (BARE, POOLED):
        if name in road.sides:
            road.system.stop(*road.sides.pop(name).programs)


def _ratio(ours: Sequence[Sample], theirs: Sequence[Sample]) -> float:
    return statistics.median(mine.cost / yours.cost for mine, yours in zip(ours, theirs, strict=True))


def _micros(samples: Iterator[Sample]) -> str:
    return f"{statistics.median(sample.cost for sample in samples) * 1e6:.0f} µs CPU"
