"""Where a point is, from our own data, and which communes an address means. Nobody else is asked here."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Literal
from uuid import UUID

from app.addresses.models import AddressAnswer
from app.addresses.rules import PLACE_WITHIN_M, ROAD_WITHIN_M, Gazetteer, Named, Offer, Spot
from app.assets.queries import Near, asset_classes, near
from app.boundaries.queries import Placement, locate
from app.core import clock
from app.core.db import Session
from app.orgunits.queries import Directory, UnitInfo, directory
from app.orgunits.rules import own_name

KEPT_FOR = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a point is. `source` says who knows: our own data, or an own geocoder (which only names the street)."""

    placement: Placement
    street: str | None
    road: Spot | None
    place: Spot | None
    source: Literal["own_data", "geocoder"]


def describe(session: Session, lat: float, lon: float, at: datetime) -> Address:
    """Where a point (degrees) was at a moment: commune, nearest named road and place, and a street known already.

    Reads our own data only, so it may stand in any transaction; `actions.describe` also asks the geocoder.
    """
    kinds = asset_classes(session)
    marks = {code for code, kind in kinds.items() if kind.landmark}
    roads = {code for code in marks if kinds[code].kind == "line"}
    street = known_street(session, lat, lon)
    return Address(
        placement=locate(session, lat, lon, None, at),
        street=street or None,
        road=_first_named(near(session, lat, lon, ROAD_WITHIN_M, at, classes=roads)),
        place=_first_named(near(session, lat, lon, PLACE_WITHIN_M, at, classes=marks - roads)),
        source="geocoder" if street else "own_data",
    )


def _first_named(found: Iterable[Near]) -> Spot | None:
    return next((Spot(each.name, each.distance_m) for each in found if each.name), None)


def cell_of(lat: float, lon: float) -> str:
    """The cell of about ten metres in which a geocoder's answer holds."""
    return f"{lat:.4f},{lon:.4f}"


def known_street(session: Session, lat: float, lon: float) -> str | None:
    """What the geocoder answered here within the last 30 days; empty: it knows no street. None: it was not asked."""
    answer = session.get(AddressAnswer, cell_of(lat, lon))
    return answer.street if answer is not None and answer.answered_at > clock.now() - KEPT_FOR else None


def search(session: Session, text: str) -> list[Offer[UUID]]:
    """Today's communes that an address means, old or new, with or without diacritics; the likeliest first."""
    return _gazetteer(directory(session), clock.local_day(clock.now()).toordinal()).search(text)


# A directory is immutable, and another one is made when units change.
@lru_cache(maxsize=2)
def _gazetteer(units: Directory, day: int) -> Gazetteer[UUID]:
    return Gazetteer(_names(units, date.fromordinal(day)))


def _names(units: Directory, today: date) -> Iterator[Named[UUID]]:
    """Every name that a commune bears today or bore before, with the communes of today that it means."""
    alive = frozenset(unit.id for unit in units.communes(today))
    for unit in units.units:
        if unit.level != "commune" or unit.valid_from > today:
            continue
        heirs = tuple(sorted(units.heirs(unit.id, today).units & alive, key=str))
        earlier = (replace(unit, name=was.name, kind=was.kind, parent_id=was.parent_id) for was in units.past(unit.id))
        before = [found for step in units.predecessors(unit.id) if (found := units.by_id(step.from_id))]
        for each in (unit, *earlier):
            above = [found for one in (each, *before) for found in _line(units, one)]
            yield Named(
                name=own_name(each.name, each.kind),
                kind=each.kind,
                districts=frozenset(own_name(one.name, one.kind) for one in above if one.level == "district"),
                provinces=frozenset(own_name(one.name, one.kind) for one in above if one.level == "province"),
                heirs=heirs,
                was=None
                if each is unit and unit.id in alive
                else ", ".join(one.name for one in (each, *_line(units, each))),
            )


def _line(units: Directory, unit: UnitInfo) -> Iterator[UnitInfo]:
    """What a unit lies in, the nearest first."""
    seen = {unit.id}
    while unit.parent_id is not None and unit.parent_id not in seen and (above := units.by_id(unit.parent_id)):
        seen.add(above.id)
        yield (unit := above)
