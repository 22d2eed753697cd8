"""Counting how long cases took, for all kinds and places at once."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, delete, func, select

from app.catalog.queries import catalogue
from app.core import clock
from app.core.db import Session
from app.forecasts.models import Forecast
from app.forecasts.rules import Durations, outlook
from app.orgunits.queries import directory

PERIOD = timedelta(days=365)
FRESH = timedelta(hours=1)
_ROWS_AT_ONCE = 2000

Key = tuple[str, UUID]


def count_if_owed(session: Session) -> int | None:
    """`count` where the last one is older than an hour; None where it is not."""
    last = session.exec(select(func.max(col(Forecast.as_of)))).one()
    return None if last is not None and clock.now() - last < FRESH else count(session)


def count(session: Session) -> int:
    """Count the last twelve months anew; returns how many forecasts there are.

    A category that is never public counts towards its group in the province only: how often it happens in one commune
    is nobody's business.
    """
    now, found = clock.now(), defaultdict[Key, Durations](Durations)
    for key, row in _rows(session):
        found[key].add(row.hours, row.number, finished=row.finished)
    session.execute(delete(Forecast))
    counted = ((key, seen) for key, durations in found.items() if (seen := outlook(durations)))
    rows = [
        Forecast(code=code, place_id=place, n=seen.n, median_h=seen.median_h, p90_h=seen.p90_h, as_of=now)
        for (code, place), seen in counted
    ]
    session.add_all(rows)
    session.flush()
    return len(rows)


# To the first resolution that was one: what is planned for a date is not finished, and waits until it is.
_DURATIONS = text("""
WITH first AS (
    SELECT case_id, min(at) AS at FROM case_event
    WHERE to_state = 'resolved' AND from_state <> 'resolved' AND code IS DISTINCT FROM 'planned' GROUP BY case_id)
SELECT c.category_code, c.commune_id, first.at IS NOT NULL AS finished,
       ceil(extract(epoch FROM coalesce(first.at, :now) - c.received_at) / 3600)::int AS hours, count(*) AS number
FROM case_file c LEFT JOIN first ON first.case_id = c.id
WHERE c.received_at >= :since AND c.received_at <= :now AND c.state NOT IN ('rejected', 'merged', 'withdrawn')
GROUP BY 1, 2, 3, 4
""")


def _rows(session: Session) -> Iterator[tuple[Key, Any]]:
    """How many cases took how long, under each key they count for."""
    now, categories, units = clock.now(), catalogue(session), directory(session)
    province, today = units.province.id, clock.local_day(now)
    values: Mapping[str, object] = {"now": now, "since": now - PERIOD}
    for row in session.execute(_DURATIONS, values, execution_options={"yield_per": _ROWS_AT_ONCE}):
        category = categories.category(row.category_code)
        if category is None:
            continue
        yield (category.group_code, province), row
        if row.commune_id is not None and category.may_be_public:
            yield (category.code, units.heirs(row.commune_id, today).only or row.commune_id), row
