"""Facts for a decision, from memory: rules, categories, the place in the boundary of its day."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from sqlmodel import col, select

from app.boundaries.queries import Placement, locate
from app.cases.models import Case, CasePin
from app.cases.queries import newest_pin, place_columns
from app.cases.rules import OPEN
from app.catalog.queries import catalogue
from app.catalog.rules import Category
from app.core import clock
from app.core.db import Session
from app.core.versioned import Versioned
from app.orgunits.queries import directory
from app.reports.models import ReportContent
from app.routing.models import RoutingRule
from app.routing.rules import Decision, Place, RuleRow, Subject, decide

if TYPE_CHECKING:
    from app.boundaries.rules import PointIndex

TOPIC = "routing"
MAX_ATTEMPTS = 5


def _load_rules(session: Session) -> tuple[RuleRow, ...]:
    return tuple(
        RuleRow(
            id=row.id,
            unit_id=row.unit_id,
            priority=row.priority,
            valid_from=row.valid_from,
            valid_to=row.valid_to,
            category=row.category_code,
            group=row.group_code,
            commune_id=row.commune_id,
        )
        for row in session.exec(select(RoutingRule).order_by(col(RoutingRule.id)))
    )


_rules: Versioned[tuple[RuleRow, ...]] = Versioned(TOPIC, _load_rules)


def decision_for(
    session: Session,
    category: Category,
    point: tuple[float, float, float] | None,
    stated_id: UUID | None,
    received_at: datetime,
    *,
    confirmed_id: UUID | None = None,
) -> tuple[Decision, Placement | None]:
    """Where a report goes, by the rules and boundaries in force when it was received.

    `point` is latitude, longitude (WGS 84 degrees) and accuracy in metres. A commune that a dispatcher confirmed for it
    is certain, whatever the boundaries are worth.
    """
    placement = locate(session, *point, received_at) if point else None
    place = Place("none", stated_id=stated_id)
    if placement is not None:
        place = Place(
            outcome=placement.outcome,
            commune_id=placement.commune_id,
            candidates=tuple(placement.candidate_ids),
            approximate=placement.approximate,
            stated_id=stated_id,
        )
    if confirmed_id is not None:
        place = replace(place, commune_id=confirmed_id, approximate=False)
    day = clock.local_day(received_at)
    unit = directory(session).by_code(category.default_unit_code, day) if category.default_unit_code else None
    subject = Subject(category.code, category.group_code, category.level, unit.id if unit else None)
    return decide(subject, place, _rules.get(session), day), placement


def cases_that_move(
    session: Session, before: "PointIndex[UUID] | None", after: "PointIndex[UUID]"
) -> Mapping[tuple[UUID | None, UUID | None], list[str]]:
    """The references of open cases whose point lies in another commune, by the communes it leaves and comes to.

    None stands for no commune. Where no boundaries were in force before, the commune noted on the case counts.
    """
    moved: dict[tuple[UUID | None, UUID | None], list[str]] = defaultdict(list)
    lat_now, lon_now = place_columns()
    rows = session.execute(
        select(Case.reference, Case.commune_id, lat_now, lon_now)
        .join(ReportContent, col(ReportContent.report_id) == Case.report_id)
        .outerjoin(CasePin, newest_pin())
        .where(col(Case.state).in_(OPEN), lat_now.is_not(None))
        .order_by(col(Case.received_at), col(Case.reference))
    )
    for reference, noted, lat, lon in rows:
        was = before.locate(lat, lon).commune if before else noted
        becomes = after.locate(lat, lon).commune
        if was != becomes:
            moved[was, becomes].append(reference)
    return moved


def unit_for(session: Session, category: str, lat: float, lon: float) -> UUID | None:
    """The unit that a report under a category (code) at a point (degrees) would go to now; None: a person decides."""
    known = catalogue(session).category(category)
    if known is None:
        return None
    return decision_for(session, known, (lat, lon, 0.0), None, clock.now())[0].unit_id
