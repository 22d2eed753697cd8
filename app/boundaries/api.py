"""The commune a place belongs to. Open to everybody: nothing here is personal."""

from collections.abc import Iterable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from app.boundaries import queries
from app.boundaries.schemas import BoundaryOut, CandidateOut, PlaceOut
from app.core import clock
from app.core.db import Db
from app.core.errors import NOT_FOUND
from app.core.http import Language
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


def _known(directory: Directory, ids: Iterable[UUID]) -> list[UnitInfo]:
    return [unit for unit_id in ids if (unit := directory.by_id(unit_id))]
