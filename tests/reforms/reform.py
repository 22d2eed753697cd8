"""July 2025 as a place for tests: deadlines that reach back, areas of the old communes, people and cases in them."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from random import Random
from uuid import UUID, uuid4

import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import text
from sqlmodel import select

from app.boundaries.models import Boundary, BoundaryVersion
from app.cases import actions as cases
from app.cases.models import Case
from app.cases.rules import Who
from app.core import clock
from app.core.db import Session, transaction
from app.core.ids import uuid7
from app.core.versioned import bump
from app.intake.actions import submit as submit_report
from app.orgunits.queries import UnitInfo, directory
from app.reports.models import Report
from app.reports.schemas import LocationIn, ReportIn
from tests.support import make, places

BEFORE, DAY = date(2025, 6, 30), date(2025, 7, 1)
OLD_DAYS = date(2024, 12, 1)
JUNE = datetime(2025, 6, 20, 9, tzinfo=clock.LOCAL)
MIDNIGHT = datetime(2025, 7, 1, 0, 0, 30, tzinfo=clock.LOCAL)
TINY = 0.0004

Point = tuple[float, float]


def squares() -> dict[str, BaseGeometry]:
    """Today's communes as squares."""
    return {code: shapely.box(*places.square(code)) for code in places.codes()}


def deadlines_reach_back(session: Session) -> None:
    """The shipped deadlines begin on 1 July 2025; here they were in force before."""
    session.execute(text("UPDATE deadline_policy SET valid_from = :day"), {"day": OLD_DAYS})
    session.execute(text("UPDATE working_hours SET effective_from = :day"), {"day": OLD_DAYS})
    bump(session, "calendar")


def areas_of_before(session: Session, today: dict[str, BaseGeometry]) -> dict[UUID, dict[UUID, Point]]:
    """Store today's areas and, for June, a tiny area of each old commune within each of its heirs.

    Returns a point of each old commune in each of its heirs.
    """
    units, random = directory(session), Random(1683)
    points: dict[UUID, dict[UUID, Point]] = {}
    taken: list[Point] = []
    for unit in units.communes(BEFORE):
        heirs = [heir for each in units.heirs(unit.id, DAY).units if (heir := units.by_id(each))]
        points[unit.id] = {
            heir.id: _inside(today[heir.code], random, taken) for heir in sorted(heirs, key=lambda heir: heir.code)
        }
    old = {unit: shapely.union_all([_around(point) for point in spots.values()]) for unit, spots in points.items()}
    new = {unit.id: today[unit.code] for unit in units.communes(DAY)}
    for day, areas in ((OLD_DAYS, old), (DAY, new)):
        version = BoundaryVersion(
            id=uuid7(),
            source="rehearsal",
            accuracy="surveyed",
            effective_from=day,
            imported_at=datetime.now(UTC),  # not June: the last import of a day wins
            licence="none",
            sha256="0" * 64,
        )
        session.add(version)
        session.flush()
        session.add_all(
            Boundary(version_id=version.id, unit_id=unit, wkb=area.wkb, area_km2=1.0) for unit, area in areas.items()
        )
    bump(session, "boundaries")
    return points


def _inside(area: BaseGeometry, random: Random, taken: list[Point]) -> Point:
    """A point well inside, far enough from all others."""
    west, south, east, north = area.bounds
    while True:
        lat, lon = random.uniform(south, north), random.uniform(west, east)
        apart = all(abs(lat - one) + abs(lon - other) > 4 * TINY for one, other in taken)
        if apart and area.covers(_around((lat, lon))):
            taken.append((lat, lon))
            return lat, lon


def _around(point: Point) -> BaseGeometry:
    lat, lon = point
    return shapely.box(lon - TINY, lat - TINY, lon + TINY, lat + TINY)


@dataclass(frozen=True)
class Opened:
    """A case as it stood before the day."""

    id: UUID
    unit_id: UUID
    state: str


def submit(session: Session, point: Point | None, unit: UnitInfo, category: str = make.TRUSTED_COMMUNE) -> UUID:
    """A report of June, with its place or with the commune its sender named; the id of its case."""
    body = ReportIn(
        id=uuid4(),
        category=category,
        description="Hố ga mất nắp.",
        location=LocationIn(lat=point[0], lon=point[1], accuracy_m=5) if point else None,
        commune=None if point else unit.code,
        place_text=None if point else "Trước cổng trường",
    )
    submit_report(session, make.citizen(session), body, uuid4())
    return session.exec(select(Case.id).where(Case.report_id == body.id)).one()


def move(case_id: UUID, *verbs: str, unit_id: UUID | None = None) -> None:
    """Moves by whoever may make them."""
    actor = cases.Actor("staff", None, frozenset({Who.DISPATCHER, Who.LEAD}))
    with transaction() as session:
        case = session.get_one(Case, case_id)
        for verb in verbs:
            cases.advance(session, case, session.get_one(Report, case.report_id), verb, actor, unit_id=unit_id)
