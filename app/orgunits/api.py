"""Units, and the unit a place belongs to. Open to everybody: nothing here is personal."""

from collections.abc import Iterable
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from app.core import clock
from app.core.db import Db
from app.core.errors import NOT_FOUND
from app.core.etag import etag, not_modified
from app.core.http import Lang, Language
from app.core.paging import Page
from app.orgunits import queries
from app.orgunits.queries import Directory, UnitInfo
from app.orgunits.schemas import BoundaryOut, CandidateOut, Kind, Level, PlaceOut, UnitOut

router = APIRouter(prefix="/v1", tags=["orgunits"])
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "What the caller holds (If-None-Match) is current."}
}
_NOTICE = {
    "vi": "Ranh giới đang dùng là ước lượng; cán bộ trung tâm điều hành sẽ xác nhận xã, phường trước khi chuyển xử lý.",
    "en": "The boundaries in use are estimates; the operations centre confirms the commune before passing a report on.",
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
    body = Page[UnitOut](items=[_unit(unit, directory, language) for unit in units])
    return _answer(request, body, language)


@router.get(
    "/units/at",
    operation_id="locate_unit",
    summary="Tìm xã, phường của một điểm",
)
def locate_unit(
    session: Db,
    language: Language,
    lat: Annotated[float, Query(description="Latitude, degrees in WGS 84.", examples=[21.5942])],
    lon: Annotated[float, Query(description="Longitude, degrees in WGS 84.", examples=[105.8482])],
    accuracy_m: Annotated[
        float | None, Query(description="Radius the device claims, metres; more than 1,000 counts as 1,000.")
    ] = None,
) -> PlaceOut:
    """Find the commune of a point, and the neighbours its accuracy circle reaches, by the boundaries in force now."""
    placement = queries.check_location(session, lat, lon, accuracy_m, clock.now(), pointer="/query")
    directory = queries.directory(session)
    communes = _known(directory, placement.candidate_ids)
    if not communes:
        raise NOT_FOUND.error()
    return PlaceOut(
        outcome=placement.outcome,
        commune=_unit(communes[0], directory, language),
        candidates=[
            CandidateOut(
                code=unit.code,
                name=_name(unit, language),
                distance_m=round(queries.distance_m(session, placement, lat, lon, unit.id)),
            )
            for unit in communes
        ],
        boundary=BoundaryOut(
            id=placement.boundary_version_id,
            source=placement.source,
            licence=placement.licence,
            accuracy=placement.accuracy,
            effective_from=placement.effective_from,
        ),
        approximate=placement.approximate,
        notice=_NOTICE[language] if placement.approximate else None,
    )


@router.get(
    "/units/{code}",
    operation_id="get_unit",
    summary="Xem đơn vị",
    response_model=UnitOut,
    responses=_NOT_MODIFIED,
)
def get_unit(request: Request, session: Db, language: Language, code: str) -> Response:
    """Read the unit that bears a code today."""
    directory = queries.directory(session)
    unit = directory.by_code(code, clock.local_day(clock.now()))
    if unit is None:
        raise NOT_FOUND.error()
    return _answer(request, _unit(unit, directory, language), language)


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


def _known(directory: Directory, ids: Iterable[UUID]) -> list[UnitInfo]:
    return [unit for unit_id in ids if (unit := directory.by_id(unit_id))]


def _name(unit: UnitInfo, language: Lang) -> str:
    return unit.name if language == "vi" else unit.name_en


def _unit(unit: UnitInfo, directory: Directory, language: Lang) -> UnitOut:
    above = directory.by_id(unit.parent_id) if unit.parent_id else None
    return UnitOut(
        id=unit.id,
        code=unit.code,
        name=_name(unit, language),
        name_vi=unit.name,
        name_en=unit.name_en,
        kind=unit.kind,
        level=unit.level,
        parent=above.code if above else None,
        valid_from=unit.valid_from,
        valid_to=unit.valid_to,
        phone=unit.phone,
        email=unit.email,
        address=unit.address,
        population=unit.population,
        belief=unit.belief,
    )
