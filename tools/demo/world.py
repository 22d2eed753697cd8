"""What the demo's lives depend on, read once: the calendar, deadlines, categories, and where the communes lie."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

import shapely
from shapely.geometry import Point
from shapely.geometry.base import BaseGeometry
from sqlmodel import col, select

from app.boundaries.models import Boundary
from app.boundaries.queries import boundaries_in_force
from app.cases.queries import terms
from app.catalog.queries import catalogue
from app.catalog.rules import Category
from app.core import clock
from app.core.db import Session
from app.deadlines import queries as deadlines
from app.deadlines.rules import Duration, WorkingCalendar
from app.orgunits.queries import directory
from tools.demo import people
from tools.demo.people import Place

_DEGREES_PER_KM = 1 / 111.32
_SPREAD_KM = 1.2


@dataclass(frozen=True, slots=True)
class Spot:
    """A commune with its area."""

    place: Place
    area: BaseGeometry

    def point(self, rng: Random) -> tuple[float, float]:
        """Latitude and longitude somewhere inside, rather near the middle than far."""
        middle = self.area.representative_point()
        while True:
            lat = middle.y + rng.gauss(0, _SPREAD_KM * _DEGREES_PER_KM)
            lon = middle.x + rng.gauss(0, _SPREAD_KM * _DEGREES_PER_KM / math.cos(math.radians(middle.y)))
            found = Point(round(lon, 6), round(lat, 6))
            if shapely.contains(self.area, found):
                return found.y, found.x

    def beside(self, pin: tuple[float, float], rng: Random) -> tuple[float, float]:
        """Latitude and longitude some steps away, still inside."""
        while True:
            found = Point(round(pin[1] + rng.gauss(0, 0.0007), 6), round(pin[0] + rng.gauss(0, 0.0007), 6))
            if shapely.contains(self.area, found):
                return found.y, found.x


@dataclass(frozen=True, slots=True)
class World:
    """Everything a life is planned by. `approximate`: a person confirms the commune before a unit gets a case."""

    calendar: WorkingCalendar
    categories: Mapping[str, Category]
    private_groups: frozenset[str]
    time_to_resolve: Mapping[str, Duration]
    spots: Sequence[Spot]
    approximate: bool
    close_after: timedelta


def observed(session: Session, at: datetime) -> World:
    """The world as it is configured at `at`."""
    known = catalogue(session)
    version = boundaries_in_force(session, at)
    return World(
        calendar=deadlines.calendar(session),
        categories={category.code: category for category in known.categories},
        private_groups=frozenset(group.code for group in known.groups if not group.public_default),
        time_to_resolve={
            category.code: deadlines.policy_for(session, category.code, "resolve", at).duration
            for category in known.categories
        },
        spots=_spots(session, at),
        approximate=version.accuracy == "approximate",
        close_after=terms(session).close_after,
    )


def _spots(session: Session, at: datetime) -> list[Spot]:
    units, day = directory(session), clock.local_day(at)
    version = boundaries_in_force(session, at)
    found = {place.code: units.by_code(place.code, day) for place in people.PLACES}
    ids = {unit.id: code for code, unit in found.items() if unit is not None}
    rows = session.exec(
        select(Boundary.unit_id, Boundary.wkb).where(
            Boundary.version_id == version.id, col(Boundary.unit_id).in_(list(ids))
        )
    )
    areas = {ids[unit_id]: shapely.from_wkb(bytes(wkb)) for unit_id, wkb in rows}
    return [Spot(place, areas[place.code]) for place in people.PLACES if place.code in areas]
