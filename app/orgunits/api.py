"""Units. Open to everybody: nothing here is personal."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from app.core import clock
from app.core.db import Db
from app.core.errors import NOT_FOUND
from app.core.etag import etag, not_modified
from app.core.http import Lang, Language
from app.core.paging import Page
from app.orgunits import queries
from app.orgunits.queries import unit_out
from app.orgunits.schemas import Kind, Level, UnitOut

router = APIRouter(prefix="/v1", tags=["orgunits"])
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "What the caller holds (If-None-Match) is current."}
}


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
) -> Response:
    """List the units in Vietnamese order, all on one page. Keep the ETag and ask with If-None-Match."""
    directory, today = queries.directory(session), clock.local_day(clock.now())
    above = directory.by_code(parent, today) if parent is not None else None
    units = [
        unit
        for unit in directory.units
        if unit.exists(today)
        and (kind is None or unit.kind == kind)
        and (level is None or unit.level == level)
        and (parent is None or (above is not None and unit.parent_id == above.id))
    ]
    body = Page[UnitOut](items=[unit_out(unit, directory, language) for unit in units])
    return _answer(request, body, language)


@router.get(
    "/units/{code}",
    operation_id="get_unit",
    summary="Xem đơn vị",
    response_model=UnitOut,
    responses=_NOT_MODIFIED,
)
def getunit_out(request: Request, session: Db, language: Language, code: str) -> Response:
    """Read the unit that bears a code today."""
    directory = queries.directory(session)
    unit = directory.by_code(code, clock.local_day(clock.now()))
    if unit is None:
        raise NOT_FOUND.error()
    return _answer(request, unit_out(unit, directory, language), language)


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
