"""The one clock. Everything that asks for the time asks here, so that it can be simulated."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

LOCAL = ZoneInfo("Asia/Ho_Chi_Minh")

_simulated: ContextVar[datetime | None] = ContextVar("simulated_now", default=None)


def now() -> datetime:
    """The current moment, aware, in UTC."""
    return _simulated.get() or datetime.now(UTC)


def local_day(moment: datetime) -> date:
    """The calendar day of `moment` in Vietnam; at the edges of the calendar, the edge."""
    try:
        return moment.astimezone(LOCAL).date()
    except OverflowError:
        return moment.date()


def local_noon(day: date) -> datetime:
    """The middle of a calendar day in Vietnam: a moment that is on that day in every nearby time zone."""
    return datetime.combine(day, time(12), LOCAL)


@contextmanager
def travelled(to: datetime) -> Iterator[None]:
    """Let `now()` answer `to` within this block (demo data and tests)."""
    if to.tzinfo is None:
        raise ValueError("a naive datetime does not exist here")
    token = _simulated.set(to.astimezone(UTC))
    try:
        yield
    finally:
        _simulated.reset(token)
