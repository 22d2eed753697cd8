"""Asking the router without sending a report."""

from fastapi import APIRouter, Response

from app.boundaries.queries import check_location
from app.cases.api import Held, Own
from app.cases.queries import Views
from app.cases.schemas import (
    UNKNOWN_CATEGORY,
    UNKNOWN_COMMUNE,
    CaseOut,
    CategoryIn,
    MovePinIn,
    PlaceIn,
    RecategoriseIn,
    ReportOut,
)
from app.catalog.queries import catalogue
from app.core import clock
from app.core.db import Db
from app.core.http import Language
from app.identity.policy import Staff, require
from app.orgunits.queries import directory
from app.routing import actions
from app.routing.queries import decision_for
from app.routing.rules import REASONS
from app.routing.schemas import BoundaryOut, DecisionOut, DryRunIn, StepOut

router = APIRouter(prefix="/v1", tags=["routing"])


@router.post("/routing/dry-run", operation_id="dry_run_routing", summary="Thử phân tuyến")
def dry_run_routing(body: DryRunIn, staff: Staff, session: Db, lang: Language) -> DecisionOut:
    """Where a report would go now and why, step by step. Nothing is stored."""
    require(staff, "dispatcher", "administrator", "officer", "lead")
    now = clock.now()
    category = catalogue(session).category(body.category)
    if category is None:
        raise UNKNOWN_CATEGORY.error(category=body.category, pointer="/category")
    stated = directory(session).by_code(body.commune, clock.local_day(now)) if body.commune else None
    if body.commune and (stated is None or stated.level != "commune"):
        raise UNKNOWN_COMMUNE.error(commune=body.commune, pointer="/commune")
    point = None
    if body.location is not None:
        point = (body.location.lat, body.location.lon, body.location.accuracy_m)
        check_location(session, *point, now)
    decision, placement = decision_for(session, category, point, stated.id if stated else None, now)
    views = Views(session, lang)
    return DecisionOut(
        unit=views.unit(decision.unit_id),
        suggested=views.unit(decision.suggested_id),
        reason=decision.reason,
        reason_text=REASONS[decision.reason][lang == "en"],
        commune=views.unit(decision.commune_id),
        candidates=[unit for each in decision.candidates if (unit := views.unit(each))],
        rule_id=decision.rule_id,
        boundary=BoundaryOut(
            source=placement.source, accuracy=placement.accuracy, effective_from=placement.effective_from.isoformat()
        )
        if placement
        else None,
        steps=[StepOut(step=step, found=found) for step, found in decision.steps],
    )


@router.post("/cases/{case_id}/move-pin", operation_id="move_case_pin", summary="Đính chính vị trí", tags=["cases"])
def move_case_pin(held: Held, body: MovePinIn) -> CaseOut:
    """Put a case where it really lies. The report stands as received; over a border the case is routed anew."""
    actions.move_pin(held.session, held.staff, held.seen, body.location, body.reason)
    return held.shown()


@router.post(
    "/cases/{case_id}/recategorise", operation_id="recategorise_case", summary="Đính chính lĩnh vực", tags=["cases"]
)
def recategorise_case(held: Held, body: RecategoriseIn) -> CaseOut:
    """Say what a case is really about. Deadlines are measured anew; another unit may have to answer."""
    actions.recategorise(held.session, held.staff, held.seen, body.category, body.reason)
    return held.shown()


@router.post(
    "/reports/{report_id}/move-pin",
    response_model=ReportOut,
    operation_id="move_report_pin",
    summary="Sửa vị trí phản ánh",
    tags=["reports"],
)
def move_report_pin(own: Own, body: PlaceIn) -> Response:
    """Correct where an own report is, as long as nobody has accepted it."""
    return own.once(body, lambda seen: actions.move_pin(own.session, own.citizen, seen, body.location, body.reason))


@router.post(
    "/reports/{report_id}/recategorise",
    response_model=ReportOut,
    operation_id="recategorise_report",
    summary="Sửa lĩnh vực phản ánh",
    tags=["reports"],
)
def recategorise_report(own: Own, body: CategoryIn) -> Response:
    """Correct what an own report is about, as long as nobody has accepted it."""
    return own.once(body, lambda seen: actions.recategorise(own.session, own.citizen, seen, body.category, body.reason))
