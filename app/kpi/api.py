"""Boards over HTTP."""

from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from app.core import clock
from app.core.db import Db
from app.core.http import Language
from app.deadlines.queries import is_provisional
from app.identity.policy import Staff
from app.kpi import policy, queries
from app.kpi.queries import Period
from app.kpi.schemas import (
    DEFINITIONS,
    IN_THE_FUTURE,
    MAX_DAYS,
    PERIOD_REVERSED,
    PERIOD_TOO_LONG,
    PROVISIONAL,
    GroupBy,
    GroupOut,
    HandlingOut,
    MeasuresOut,
)
from app.orgunits.queries import directory

router = APIRouter(prefix="/v1", tags=["kpi"])


@router.get("/kpi/handling", operation_id="get_handling", summary="Kết quả xử lý phản ánh")
def get_handling(
    *,
    viewer: Staff,
    session: Db,
    language: Language,
    from_: Annotated[date, Query(alias="from", description="First local day of receipt.", examples=["2026-10-01"])],
    to: Annotated[date, Query(description="The local day after the last.", examples=["2026-11-01"])],
    unit: Annotated[
        str | None, Query(min_length=1, max_length=60, description="Cases held by this unit (code) or one below.")
    ] = None,
    group_by: Annotated[GroupBy | None, Query(description="Also give the measures of each group.")] = None,
    at: Annotated[AwareDatetime | None, Query(description="Count as of this moment; now if left out.")] = None,
) -> HandlingOut:
    """Read how the reports received in a period stood at a moment, from case events alone.

    Administrators, dispatchers and the province's leaders read the province; unit leads and unit leaders their own
    unit and below.
    """
    now = clock.now()
    as_of = at or now
    period = Period(from_, to)
    _check(period, future=as_of > now or from_ > clock.local_day(now))
    units = directory(session)
    scope = policy.scope(viewer, units, unit, clock.local_day(as_of))
    label = queries.labeller(session, group_by, language) if group_by else None
    board = queries.handling(session, period, as_of=as_of, units=scope, label=label)
    note = PROVISIONAL[language == "en"] if is_provisional(session, clock.local_day(as_of)) else None
    return HandlingOut(
        from_=from_,
        to=to,
        as_of=as_of,
        time_zone=str(clock.LOCAL),
        unit=unit,
        group_by=group_by,
        deadlines_note=note,
        total=MeasuresOut.of(board.total),
        groups=[
            GroupOut(key=label.key, name=label.name, **dict(MeasuresOut.of(found))) for label, found in board.groups
        ],
        definitions=DEFINITIONS,
    )


def _check(period: Period, *, future: bool) -> None:
    if period.end <= period.first:
        raise PERIOD_REVERSED.error(pointer="/query/to")
    if period.end - period.first > timedelta(days=MAX_DAYS):
        raise PERIOD_TOO_LONG.error(pointer="/query/to", days=MAX_DAYS)
    if future:
        raise IN_THE_FUTURE.error()
