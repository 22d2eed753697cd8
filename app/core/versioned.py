"""Configuration held in memory by every process and loaded again when its version was raised."""

import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from sqlalchemy import text

from app.core.db import Session

T = TypeVar("T")
CHECK_EVERY_S = 2.0
_OWN = "own_configuration"
_all: "list[Versioned[Any]]" = []


class Versioned(Generic[T]):
    """A cached value of one topic. Reading costs a comparison; every two seconds one tiny query."""

    def __init__(self, topic: str, load: Callable[[Session], T]) -> None:
        self.topic = topic
        self._load = load
        self._held: tuple[int, T] | None = None
        self._checked = 0.0
        self._lock = threading.Lock()
        _all.append(self)

    def get(self, session: Session) -> T:
        """The value in force, at most two seconds old; what the caller's own transaction changed, at once."""
        own = session.info.get(_OWN)
        if own is not None and self.topic in own:
            return self._own_value(session, own[self.topic])
        if (held := self._fresh()) is not None:
            return held[1]
        with self._lock:
            # Who waited here finds what the first one brought.
            held = self._fresh()
            return self._refreshed(session) if held is None else held[1]

    def _fresh(self) -> tuple[int, T] | None:
        return self._held if time.monotonic() - self._checked < CHECK_EVERY_S else None

    def forget(self) -> None:
        """Load again at the next `get` of this process."""
        self._held = None

    def _own_value(self, session: Session, values: "dict[Versioned[T], T]") -> T:
        """Nobody else may see it: the transaction may still be rolled back."""
        if self not in values:
            values[self] = self._load(session)
        return values[self]

    def _refreshed(self, session: Session) -> T:
        started = time.monotonic()
        version = session.execute(
            text("SELECT version FROM config_version WHERE topic = :topic"), {"topic": self.topic}
        ).scalar_one_or_none()
        current = version or 0
        if self._held is None or self._held[0] != current:
            self._held = (current, self._load(session))
        self._checked = started
        return self._held[1]


def bump(session: Session, topic: str) -> None:
    """Raise the topic's version: every process loads it again within seconds of the commit."""
    session.execute(
        text(
            "INSERT INTO config_version (topic, version) VALUES (:topic, 1)"
            " ON CONFLICT (topic) DO UPDATE SET version = config_version.version + 1"
        ),
        {"topic": topic},
    )
    session.info.setdefault(_OWN, {})[topic] = {}
    for cached in _all:
        if cached.topic == topic:
            cached.forget()


def undone(session: Session, topic: str) -> None:
    """Forget what this transaction changed of a topic: it was rolled back to a savepoint before."""
    session.info.get(_OWN, {}).pop(topic, None)


def forget_all() -> None:
    """Drop everything cached in this process (tests that change databases)."""
    for cached in _all:
        cached.forget()
