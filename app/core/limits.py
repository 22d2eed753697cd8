"""Rate limits in Redis, given 50 ms to answer; while it is away each process counts alone, so nothing waits for it."""

import math
import threading
import time
from dataclasses import dataclass
from functools import lru_cache

import redis

from app.core.config import settings
from app.core.errors import TOO_MANY, DomainError

_TIMEOUT_S = 0.05
_REST_S = 5.0


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `quota` in each window of `window_s` seconds; `spend` counts in windows that stand end to end."""

    name: str
    quota: int
    window_s: int


class _Breaker:
    """After a failure the limiter rests for five seconds instead of slowing every request."""

    def __init__(self) -> None:
        self.until = 0.0

    def open(self) -> bool:
        return time.monotonic() < self.until

    def trip(self) -> None:
        self.until = time.monotonic() + _REST_S


_breaker = _Breaker()
_local: dict[str, int] = {}
_local_lock = threading.Lock()
_LOCAL_KEYS = 50_000


@lru_cache
def _redis() -> redis.Redis:
    return redis.Redis.from_url(settings().redis_url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)


def forget() -> None:
    """Drop the connection and all counts of this process (tests that change servers)."""
    _redis.cache_clear()
    _local.clear()
    _breaker.until = 0.0


def spend(limit: Limit, key: str, cost: int = 1) -> None:
    """Count one use of `key` against `limit`; too many answers 429 with Retry-After and the RateLimit fields."""
    # Wall time on purpose: the simulated clock of demo data must not share or skip real windows.
    now = time.time()
    window = int(now // limit.window_s)
    used = _count(f"limit:{limit.name}:{key}:{window}", cost, limit.window_s)
    if used > quota(limit):
        raise refusal(limit, (window + 1) * limit.window_s - now)


def quota(limit: Limit) -> int:
    """The quota of `limit` in this installation."""
    return max(1, int(limit.quota * settings().limits_scale))


def refusal(limit: Limit, wait_s: float) -> DomainError:
    """What somebody is told who has used up `limit` and may come again in `wait_s` seconds."""
    wait = max(1, math.ceil(wait_s))
    return TOO_MANY.error(
        seconds=wait,
        headers={
            "Retry-After": str(wait),
            "RateLimit": f'"{limit.name}";r=0;t={wait}',
            "RateLimit-Policy": f'"{limit.name}";q={quota(limit)};w={limit.window_s}',
        },
    )


def _count(name: str, cost: int, window_s: int) -> int:
    """Uses in this window: shared through Redis, or this process's own count while Redis is away."""
    if not _breaker.open():
        try:
            pipe = _redis().pipeline(transaction=False)
            pipe.incrby(name, cost)
            pipe.expire(name, window_s, nx=True)
            return int(pipe.execute()[0])
        except redis.RedisError:
            _breaker.trip()
    with _local_lock:
        if len(_local) > _LOCAL_KEYS:
            _local.clear()
        _local[name] = _local.get(name, 0) + cost
        return _local[name]
