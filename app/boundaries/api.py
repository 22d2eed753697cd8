"""The commune a place belongs to. Open to everybody: nothing here is personal."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from app.boundaries import queries
from app.boundaries.schemas import (
    BoundaryOut,
    CandidateOut,
    FoundOut,
    PlaceOut,
    PlacesOut,
    PointIn,
    PointsIn,
    VersionsOut,
)
from app.core import clock
from app.core.db import Db
from app.core.errors import NOT_FOUND, DomainError
from app.core.http import Lang, Language
from app.orgunits.queries import Directory, UnitInfo, directory, name_of, unit_out

router = APIRouter(prefix="/v1", tags=["boundaries"])
_NOTICE = {
    "vi": "Ranh giới đang dùng là ước lượng; cán bộ trung tâm điều hành sẽ xác nhận xã, phường trước khi chuyển xử lý.",
    "en": "The boundaries in use are estimates; the operations centre confirms the commune before passing a report on.",
}


@router.get(
    "/units/at",
    operation_id="locate_unit",
    summary="Tìm xã, phường của một điểm",
)
def locateunit_out(
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
    units = directory(session)
    communes = _known(units, placement.candidate_ids)
    if not communes:
        raise NOT_FOUND.error()
    return PlaceOut(
        outcome=placement.outcome,
        commune=unit_out(communes[0], units, language),
        candidates=[
            CandidateOut(
                code=unit.code,
                name=name_of(unit, language),
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


@router.post("/units/at", operation_id="locate_units", summary="Tìm xã, phường của nhiều điểm")
def locate_units(body: PointsIn, session: Db, language: Language) -> PlacesOut:
    """Find the communes of up to 1,000 points by the boundaries in force now; nothing is stored.

    The answers keep the order of the points; a point that cannot be placed carries a problem and spoils no other.
    """
    now = clock.now()
    version, units = queries.boundaries_in_force(session, now), directory(session)
    return PlacesOut(
        items=[_found(session, units, point, now, language) for point in body.points],
        boundary=BoundaryOut.model_validate(version, from_attributes=True),
        approximate=version.accuracy == "approximate",
        notice=_NOTICE[language] if version.accuracy == "approximate" else None,
    )


@router.get("/boundaries", operation_id="list_boundaries", summary="Các bộ ranh giới hành chính")
def list_boundaries(session: Db, language: Language) -> VersionsOut:
    """List every version of the boundaries with its source, licence, accuracy and first day, and which is in force."""
    current = queries.boundaries_in_force(session, clock.now())
    return VersionsOut(
        items=queries.all_versions(session), notice=_NOTICE[language] if current.accuracy == "approximate" else None
    )


def _found(session: Db, units: Directory, point: PointIn, at: datetime, language: Lang) -> FoundOut:
    try:
        placement = queries.check_location(session, point.lat, point.lon, point.accuracy_m, at)
    except DomainError as refused:
        return FoundOut(outcome=None, commune=None, name=None, candidates=[], problem=refused.problem.code)
    communes = _known(units, placement.candidate_ids)
    if not communes or placement.outcome == "outside":
        return FoundOut(outcome=None, commune=None, name=None, candidates=[], problem=NOT_FOUND.code)
    return FoundOut(
        outcome=placement.outcome,
        commune=communes[0].code,
        name=name_of(communes[0], language),
        candidates=[unit.code for unit in communes],
        problem=None,
    )


def _known(directory: Directory, ids: Iterable[UUID]) -> list[UnitInfo]:
    return [unit for unit_id in ids if (unit := directory.by_id(unit_id))]
