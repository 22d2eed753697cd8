"""Where a point lies, from memory.

Shapely is loaded with the first boundary that is looked up in, not with this module: the photo worker reads the
directory through other slices and must stay small.
"""

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from sqlmodel import col, func, select

from app.boundaries.models import Boundary, BoundaryVersion
from app.boundaries.schemas import (
    BOUNDARIES_MISSING,
    LOCATION_OUT_OF_RANGE,
    LOCATION_OUTSIDE,
    LOCATION_SWAPPED,
    VersionOut,
)
from app.core import clock
from app.core.db import Session
from app.core.errors import DomainError
from app.core.geo import is_swapped
from app.core.versioned import Versioned
from app.orgunits.models import Unit
from app.orgunits.queries import directory

if TYPE_CHECKING:
    from app.boundaries.rules import PointIndex

BOUNDARIES = "boundaries"
Accuracy = Literal["surveyed", "approximate"]


@dataclass(frozen=True, slots=True)
class Version:
    """A boundary version without its areas."""

    id: UUID
    source: str
    licence: str
    accuracy: Accuracy
    effective_from: date
    imported_at: datetime


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a point lies and what that rests on; see `rules.Found` for the outcomes. Candidates start with the commune.

    `approximate` boundaries misplace about a sixth of the area: a person confirms the commune while they are in force.
    """

    outcome: Literal["inside", "border", "sliver", "outside"]
    commune_id: UUID | None
    candidate_ids: tuple[UUID, ...]
    boundary_version_id: UUID
    source: str
    licence: str
    accuracy: Accuracy
    effective_from: date

    @property
    def approximate(self) -> bool:
        """Whether the boundaries are estimates."""
        return self.accuracy == "approximate"


def locate(session: Session, lat: float, lon: float, accuracy_m: float | None, at: datetime) -> Placement:
    """The commune of a point (degrees, finite) by the boundaries in force at a moment; `outside` is an outcome."""
    version = boundaries_in_force(session, at)
    found = _index(session, version.id).locate(lat, lon, accuracy_m)
    return Placement(
        outcome=found.outcome,
        commune_id=found.commune,
        candidate_ids=found.candidates,
        boundary_version_id=version.id,
        source=version.source,
        licence=version.licence,
        accuracy=version.accuracy,
        effective_from=version.effective_from,
    )


def check_location(
    session: Session,
    lat: float,
    lon: float,
    accuracy_m: float | None,
    at: datetime,
    *,
    pointer: str = "/location",
) -> Placement:
    """The placement of a point that may be used; refuses what is out of range, swapped or outside the province.

    `pointer` names the object that holds `lat`, `lon` and `accuracy_m` in the caller's request.
    """
    if is_swapped(lat, lon):
        raise LOCATION_SWAPPED.error(pointer=pointer)
    for name, value, low, high in (
        ("lat", lat, -90.0, 90.0),
        ("lon", lon, -180.0, 180.0),
        ("accuracy_m", accuracy_m or 0.0, 0.0, math.inf),
    ):
        if not (low <= value <= high):
            raise LOCATION_OUT_OF_RANGE.error(pointer=f"{pointer}/{name}")
    placement = locate(session, lat, lon, accuracy_m, at)
    if placement.outcome == "outside":
        province = directory(session).province
        name = province.name[:1].lower() + province.name[1:]
        raise LOCATION_OUTSIDE.error(pointer=pointer, province=name, province_en=province.name_en)
    return placement


def boundaries_in_force(session: Session, at: datetime) -> Version:
    """The latest version that took effect by the local day of `at`; of one day the surveyed, then the last imported."""
    day = clock.local_day(at)
    usable = [version for version in _versions.get(session) if version.effective_from <= day]
    if not usable:
        raise BOUNDARIES_MISSING.error(headers={"Retry-After": "30"})
    return max(usable, key=lambda v: (v.effective_from, v.accuracy == "surveyed", v.imported_at, v.id))


def all_versions(session: Session) -> list[VersionOut]:
    """Every version ever imported or drawn, withdrawn ones as well, those that took effect last first."""
    current = boundaries_in_force(session, clock.now())
    rows = session.execute(
        select(BoundaryVersion, func.count(col(Boundary.unit_id)), func.coalesce(func.sum(Boundary.area_km2), 0.0))
        .outerjoin(Boundary, col(Boundary.version_id) == BoundaryVersion.id)
        .group_by(col(BoundaryVersion.id))
        .order_by(col(BoundaryVersion.effective_from).desc(), col(BoundaryVersion.imported_at).desc())
    )
    return [
        VersionOut(
            **version.model_dump(include=set(VersionOut.model_fields)),
            communes=communes,
            area_km2=round(area_km2, 2),
            in_force=version.id == current.id,
        )
        for version, communes, area_km2 in rows
    ]


def heir(session: Session, unit_id: UUID, point: Sequence[float] | None, day: date) -> UUID | None:
    """The unit that stands in the place of another on a local day; None where only a person can tell.

    The unit itself while it exists; else its only successor, followed over every reform up to `day`; of several the one
    whose area in force on `day` holds `point` (latitude, longitude). Approximate areas do not decide.
    """
    heirs = directory(session).heirs(unit_id, day)
    if heirs.only is not None or point is None or not heirs.units:
        return heirs.only
    try:
        placement = locate(session, point[0], point[1], None, clock.local_noon(day))
    except DomainError:  # no boundaries are in force that day
        return None
    return placement.commune_id if placement.commune_id in heirs.units and not placement.approximate else None


def distance_m(session: Session, placement: Placement, lat: float, lon: float, commune_id: UUID) -> float:
    """Geodesic metres from a point to the area of a commune in the version that the placement rests on."""
    return _index(session, placement.boundary_version_id).distance_m(lat, lon, commune_id)


def warm(session: Session) -> None:
    """Load units and the boundaries in force now, so that the first report does not wait for them."""
    directory(session)
    _index(session, boundaries_in_force(session, clock.now()).id)


def _load_versions(session: Session) -> tuple[Version, ...]:
    names = Version.__dataclass_fields__
    counting = col(BoundaryVersion.withdrawn_at).is_(None)
    rows = session.execute(select(*(getattr(BoundaryVersion, name) for name in names)).where(counting))
    return tuple(Version(*row) for row in rows)


_versions: Versioned[tuple[Version, ...]] = Versioned(BOUNDARIES, _load_versions)

# A version never changes once stored, so its index is kept by id; old ones are loaded when a late question needs them.
_KEPT = 3
_indexes: "OrderedDict[UUID, PointIndex[UUID]]" = OrderedDict()
_loading = threading.Lock()


def _index(session: Session, version_id: UUID) -> "PointIndex[UUID]":
    index = _indexes.get(version_id)
    if index is not None:
        return index
    with _loading:
        if version_id not in _indexes:
            _indexes[version_id] = _load_index(session, version_id)
            while len(_indexes) > _KEPT:
                _indexes.popitem(last=False)
        return _indexes[version_id]


def _load_index(session: Session, version_id: UUID) -> "PointIndex[UUID]":
    from app.boundaries.rules import PointIndex  # noqa: PLC0415 - only who looks up a point loads shapely

    rows = session.execute(
        select(Boundary.unit_id, Unit.code, Boundary.wkb)
        .join(Unit, col(Unit.id) == col(Boundary.unit_id))
        .where(Boundary.version_id == version_id)
    ).all()
    return PointIndex.from_wkb(
        {unit_id: bytes(wkb) for unit_id, _, wkb in rows}, {unit_id: code for unit_id, code, _ in rows}
    )
