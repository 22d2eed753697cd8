"""Units. Open to everybody: nothing here is personal."""

from datetime import date, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel

from app.core import clock
from app.core.db import Db
from app.core.errors import NOT_FOUND
from app.core.etag import etag, not_modified
from app.core.http import Lang, Language
from app.core.paging import Page
from app.orgunits import queries
from app.orgunits.queries import Directory, UnitInfo, unit_detail, unit_out
from app.orgunits.schemas import Kind, Level, UnitDetailOut, UnitOut

router = APIRouter(prefix="/v1", tags=["orgunits"])
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "What the caller holds (If-None-Match) is current."}
}
On = Annotated[date | None, Query(description="The local day that is asked about; today by default.")]


@router.get(
    "/units",
    operation_id="list_units",
    summary="Danh sách đơn vị",
    response_model=Page[UnitOut],
    responses=_NOT_MODIFIED,
)
def list_units(
    request: Request,
    session: Db,
    language: Language,
    kind: Annotated[Kind | None, Query(description="Only units of this kind.")] = None,
    level: Annotated[Level | None, Query(description="Only units of this level.")] = None,
    parent: Annotated[str | None, Query(max_length=64, description="Only units directly below this code.")] = None,
    on: On = None,
) -> Response:
    """List the units of a day as they were then, in Vietnamese order, all on one page.

    Keep the ETag and ask with If-None-Match.
    """
    directory, day = queries.directory(session), on or clock.local_day(clock.now())
    above = directory.by_code(parent, day) if parent is not None else None
    units = [
        unit
        for unit in (directory.as_of(unit, day) for unit in directory.units if unit.exists(day))
        if (kind is None or unit.kind == kind)
        and (level is None or unit.level == level)
        and (parent is None or (above is not None and unit.parent_id == above.id))
    ]
    body = Page[UnitOut](items=[unit_out(unit, directory, language) for unit in units])
    return _answer(request, body, language)


@router.get(
    "/units/{code}",
    operation_id="get_unit",
    summary="Xem đơn vị",
    response_model=UnitDetailOut,
    responses=_NOT_MODIFIED,
)
def get_unit(
    request: Request,
    session: Db,
    language: Language,
    code: Annotated[str, Path(description="A code, or the `id` of a unit, which never means another one.")],
    on: On = None,
) -> Response:
    """Read the unit that bears a code on a day, with who came before and after it.

    Without `on` a code that nobody bears today means the last unit that bore it: old links keep working, and the answer
    holds its `valid_to` and `successors`. A code that was given anew means today's unit; `same_code` names the others.
    """
    directory, today = queries.directory(session), clock.local_day(clock.now())
    unit = _named(directory, code, on, today)
    if unit is None:
        raise NOT_FOUND.error()
    return _answer(request, unit_detail(unit, directory, language, on or _last_day(unit, today)), language)


def _named(directory: Directory, code: str, on: date | None, today: date) -> UnitInfo | None:
    try:
        unit = directory.by_id(UUID(code))
    except ValueError:
        return directory.latest(code, today) if on is None else directory.by_code(code, on)
    return unit if unit is not None and (on is None or unit.exists(on)) else None


def _last_day(unit: UnitInfo, today: date) -> date:
    """Today, or the last day of a unit that has ended."""
    return today if unit.valid_to is None or today < unit.valid_to else unit.valid_to - timedelta(days=1)


def _answer(request: Request, body: BaseModel, language: Lang) -> Response:
    """The body with its tag, or 304. The tag covers the body, so a day on which a unit ends changes it as well."""
    text = body.model_dump_json()
    tag = etag(text, language)
    headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Language", "Content-Language": language}
    unchanged = not_modified(request, tag)
    if unchanged is not None:
        unchanged.headers.update(headers)
        return unchanged
    return Response(text, media_type="application/json", headers=headers)
