"""Phones: prepared requests over keep-alive connections, from one thread and one epoll. Light, and not counted.

Closed loop: every connection sends its next request as soon as it has its answer. Open loop: requests arrive at
random moments of a given rate whether or not earlier ones were answered, and wait for a free connection if need be.
A phone whose connection breaks sends the same request again, with the same key, until it is answered.
"""

import random
import selectors
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

CONCURRENCY = 32
_PATIENCE_S = 30.0
_AGAIN_S = 0.05
_TICK_S = 0.05


@dataclass
class Outcome:
    """What became of the requests: answers by status, seconds from (due or first) sending to the answer."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    broken: int = 0
    seconds: float = 0.0

    @property
    def answered(self) -> int:
        """How many were answered at all."""
        return self.statuses.total()

    @property
    def errors(self) -> int:
        """Answers other than 2xx."""
        return sum(count for status, count in self.statuses.items() if not 200 <= status < 300)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds


class _Phone:
    """One connection and the request on it."""

    def __init__(self, address: tuple[str, int], selector: selectors.BaseSelector) -> None:
        self._address, self._selector = address, selector
        self._socket: socket.socket | None = None
        self._received = b""
        self.request: bytes | None = None
        self.since = 0.0
        self.again_at = 0.0

    def take(self, request: bytes, since: float) -> None:
        self.request, self.since = request, since
        self.send()

    def send(self) -> bool:
        """Send what is due, on a new connection where there is none; False: try again at `again_at`."""
        assert self.request is not None
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self._address, timeout=5)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._selector.register(self._socket, selectors.EVENT_READ, self)
            self._socket.sendall(self.request)
        except OSError:
            self.hang_up()
            return False
        self.again_at = 0.0
        return True

    def read(self) -> int | None:
        """The status of a whole answer, None while it is incomplete; 0 where the connection broke."""
        assert self._socket is not None
        try:
            part = self._socket.recv(65536)
        except OSError:
            part = b""
        if not part:
            self.hang_up()
            return 0
        self._received += part
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return None
        self._received = b""
        return int(head[9:12])

    def hang_up(self) -> None:
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
        self._socket, self._received = None, b""
        self.again_at = time.perf_counter() + _AGAIN_S

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


def _length(head: bytes) -> int:
    lowered = head.lower()
    at = lowered.index(b"content-length:") + 15
    return int(lowered[at:].partition(b"\r\n")[0])


def send_all(
    address: tuple[str, int],
    requests: Sequence[bytes],
    *,
    concurrency: int = CONCURRENCY,
    rate: float | None = None,
    tick: Callable[[float], None] = lambda _: None,
    seed: int = 1,
) -> Outcome:
    """Send `requests`; as fast as answered, or at `rate` a second. `tick` is called every 50 ms with the time run."""
    outcome = Outcome()
    with selectors.DefaultSelector() as selector:
        phones = [_Phone(address, selector) for _ in range(concurrency)]
        idle = deque(phones)
        busy: set[_Phone] = set()
        chance = random.Random(seed)
        started = next_tick = time.perf_counter()
        due, sent, silent_since = started, 0, started
        while outcome.answered < len(requests):
            now = time.perf_counter()
            if now >= next_tick:
                tick(now - started)
                next_tick = now + _TICK_S
            while idle and sent < len(requests) and due <= now:
                phone = idle.popleft()
                phone.take(requests[sent], due if rate else now)
                busy.add(phone)
                sent += 1
                due += chance.expovariate(rate) if rate else 0.0
            for phone in [each for each in busy if each.again_at and each.again_at <= now]:
                outcome.broken += 1
                phone.send()
            for key, _ in selector.select(
                _wait(now, next_tick, due if rate and idle and sent < len(requests) else None)
            ):
                status = key.data.read()
                if status:
                    silent_since = time.perf_counter()
                    outcome.statuses[status] += 1
                    outcome.latencies.append(silent_since - key.data.since)
                    busy.discard(key.data)
                    idle.append(key.data)
            if now - silent_since > _PATIENCE_S and busy:
                raise TimeoutError(f"no answer for {_PATIENCE_S:.0f} s")
        outcome.seconds = time.perf_counter() - started
        for phone in phones:
            phone.close()
    return outcome


def _wait(now: float, *moments: float | None) -> float:
    return max(0.0, min(moment for moment in moments if moment is not None) - now)
