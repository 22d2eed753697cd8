"""Asking the router without sending a report, and the administrator's rules."""

import csv
import io
from collections.abc import Callable, Iterable
from functools import cache
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response

from app.boundaries.queries import check_location
from app.cases.api import Held, Own
from app.cases.queries import Views, commune_on, offered_category
from app.cases.schemas import CaseOut, CategoryIn, MovePinIn, PlaceIn, RecategoriseIn, ReportOut, UnitOut
from app.catalog.queries import catalogue
from app.core import clock, idempotency
from app.core.db import Db, Session
from app.core.errors import NOT_FOUND
from app.core.http import Language
from app.core.idempotency import RequiredKey, Stored
from app.core.paging import CursorText, Limit, Page
from app.identity.policy import Staff, Viewer, require
from app.intake.actions import scanned_id
from app.orgunits.queries import directory
from app.reports.schemas import Text
from app.routing import actions, queries
from app.routing.models import RoutingRule
from app.routing.rules import REASONS
from app.routing.schemas import (
    BoundaryOut,
    ChangeOut,
    CoverageOut,
    CoverageRow,
    Day,
    DecisionOut,
    DryRunIn,
    EndIn,
    FindingsOut,
    RuleIn,
    RuleOut,
    RuleRef,
    StepOut,
    Words,
)

router = APIRouter(prefix="/v1", tags=["routing"])


@router.post("/routing/dry-run", operation_id="dry_run_routing", summary="Thử phân tuyến")
def dry_run_routing(body: DryRunIn, staff: Staff, session: Db, lang: Language) -> DecisionOut:
    """Where a report would go and why, step by step. Nothing is stored."""
    require(staff, "dispatcher", "administrator", "officer", "lead")
    at = body.at or clock.now()
    category = offered_category(session, body.category)
    stated = commune_on(session, body.commune, clock.local_day(at), "/commune") if body.commune else None
    point = None
    if body.location is not None:
        point = (body.location.lat, body.location.lon, body.location.accuracy_m)
        check_location(session, *point, at)
    asset_id = scanned_id(session, body.asset, at)
    considered = queries.consider(session, category, point, stated, at, asset_id=asset_id)
    decision, placement, views = considered.decision, considered.placement, Views(session, lang)
    return DecisionOut(
        unit=views.unit(decision.unit_id),
        suggested=views.unit(decision.suggested_id),
        reason=decision.reason,
        reason_text=REASONS[decision.reason][lang == "en"],
        commune=views.unit(decision.commune_id),
        candidates=[unit for each in decision.candidates if (unit := views.unit(each))],
        cooperating=[unit for each in decision.cooperating if (unit := views.unit(each))],
        replaced=views.unit(decision.replaced_id),
        rule_id=decision.rule_id,
        boundary=BoundaryOut(
            source=placement.source, accuracy=placement.accuracy, effective_from=placement.effective_from.isoformat()
        )
        if placement
        else None,
        steps=[StepOut(step=step, found=found) for step, found in decision.steps],
        explanation=queries.explanation(session, considered, point[2] if point else None),
    )


# What is corrected ----------------------------------------------------------------------------------------------


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


# Rules -------------------------------------------------------------------------------------------------------------

_READERS = ("administrator", "dispatcher", "auditor")
_DRY_RUN: dict[int | str, dict[str, Any]] = {
    200: {"model": ChangeOut, "description": "With `dry_run`: what would change. Nothing was stored."}
}


@router.get("/routing/rules", operation_id="list_routing_rules", summary="Danh sách quy tắc phân tuyến")
def list_routing_rules(
    *,
    staff: Staff,
    session: Db,
    lang: Language,
    category: Annotated[Text | None, Query(max_length=64)] = None,
    group: Annotated[Text | None, Query(max_length=64)] = None,
    unit: Annotated[Text | None, Query(max_length=64, description="Code of the unit that rules name today.")] = None,
    on: Annotated[Day | None, Query(description="Only rules in force on this local day.")] = None,
    limit: Limit = 50,
    cursor: CursorText = None,
) -> Page[RuleOut]:
    """List rules, the newest first, ended ones as well unless `on` names a day."""
    require(staff, *_READERS)
    named = directory(session).by_code(unit, on or clock.local_day(clock.now())) if unit else None
    if unit and named is None:
        return Page(items=[])
    found, following = queries.rules_page(
        session,
        category=category,
        group=group,
        unit_id=named.id if named else None,
        on=on,
        cursor=cursor,
        limit=limit,
    )
    say = queries.words(session, lang)
    return Page(items=[queries.rule_out(rule, row, say) for rule, row in found], next_cursor=following)


@router.get("/routing/rules/{rule_id}", operation_id="get_routing_rule", summary="Một quy tắc phân tuyến")
def get_routing_rule(rule_id: UUID, staff: Staff, session: Db, lang: Language) -> RuleOut:
    """Read one rule."""
    require(staff, *_READERS)
    rule = session.get(RoutingRule, rule_id)
    if rule is None:
        raise NOT_FOUND.error()
    return queries.rule_out(rule, queries.with_members(session, rule), queries.words(session, lang))


@router.post(
    "/routing/rules",
    status_code=201,
    operation_id="enter_routing_rule",
    summary="Thêm quy tắc phân tuyến",
    response_model=ChangeOut,
    responses=_DRY_RUN,
)
def enter_routing_rule(body: RuleIn, key: RequiredKey, staff: Staff, session: Db, lang: Language) -> Response:
    """Enter a rule; with `dry_run` only say what it would do to last month's reports. Audited.

    One that conflicts with another is refused with both rules named; a rule is never edited, only ended.
    """
    require(staff, "administrator")

    def act() -> Stored:
        change = actions.enter_rule(session, staff.id, body, lang)
        return Stored(201 if change.stored else 200, change.model_dump_json().encode())

    return _once(session, staff, key, "POST /v1/routing/rules", body, act)


@router.post(
    "/routing/rules/{rule_id}/end",
    operation_id="end_routing_rule",
    summary="Kết thúc quy tắc phân tuyến",
    response_model=ChangeOut,
)
def end_routing_rule(
    rule_id: UUID, body: EndIn, key: RequiredKey, staff: Staff, session: Db, lang: Language
) -> Response:
    """Let a rule hold no longer from a local day on, today at the earliest; with `dry_run` only say what it changes."""
    require(staff, "administrator")

    def act() -> Stored:
        return Stored(200, actions.end_rule(session, staff.id, rule_id, body, lang).model_dump_json().encode())

    return _once(session, staff, key, f"POST /v1/routing/rules/{rule_id}/end", body, act)


def _once(
    session: Session, staff: Viewer, key: UUID, operation: str, body: RuleIn | EndIn, act: Callable[[], Stored]
) -> Response:
    hashed = idempotency.request_hash(operation, body.model_dump_json().encode())
    # A question has no effect that could happen twice, and its answer changes from hour to hour.
    answer = act() if body.dry_run else idempotency.once(session, staff.id, key, hashed, act)
    return answer.response()


@router.get("/routing/findings", operation_id="list_routing_findings", summary="Rà soát quy tắc phân tuyến")
def list_routing_findings(
    staff: Staff,
    session: Db,
    lang: Language,
    on: Annotated[Day | None, Query(description="Local day; today if left out.")] = None,
) -> FindingsOut:
    """Everything to see to in the rules in force on a day and later.

    Conflicts, rules that never decide, rules that name what has ended, categories without a unit.
    """
    require(staff, *_READERS)
    day, book, say = on or clock.local_day(clock.now()), queries.rule_book(session), queries.words(session, lang)
    found = queries.findings(session, book, day, say) + queries.uncovered(session, book, day, say)
    return FindingsOut(on=day, findings=found)


# Coverage ----------------------------------------------------------------------------------------------------------


@router.get(
    "/routing/coverage",
    operation_id="get_routing_coverage",
    summary="Bảng phủ phân tuyến",
    response_model=CoverageOut,
    responses={200: {"content": {"text/csv": {}}, "description": "With `format=csv` a table, UTF-8 with BOM."}},
)
def get_routing_coverage(
    *,
    staff: Staff,
    session: Db,
    lang: Language,
    on: Annotated[Day | None, Query(description="Local day; today if left out.")] = None,
    category: Annotated[Text | None, Query(max_length=64, description="Only this category.")] = None,
    commune: Annotated[Text | None, Query(max_length=64, description="Only this commune (code).")] = None,
    format_: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
) -> Response:
    """Category × commune → unit and why, on a day. Rules for certain hours, drawn areas or assets are `exceptions`."""
    require(staff, *_READERS)
    day = on or clock.local_day(clock.now())
    categories = [offered_category(session, category)] if category else catalogue(session).categories
    communes = directory(session).communes(day)
    if commune:
        home = commune_on(session, commune, day, "/query/commune")
        communes = tuple(unit for unit in communes if unit.id == home)
    covered = queries.coverage(session, queries.rule_book(session), day, categories, communes)
    say = queries.words(session, lang)
    if format_ == "csv":
        name = f"phan-tuyen-{day.isoformat()}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return Response(_table(covered, say), media_type="text/csv; charset=utf-8", headers=headers)
    rows = _rows(covered, say)
    without = sum(row.unit is None for row in rows)
    body = CoverageOut.model_construct(on=day, covered=len(rows) - without, uncovered=without, rows=rows)
    return Response(body.model_dump_json(), media_type="application/json", headers={"Cache-Control": "no-store"})


def _rows(covered: Iterable[queries.Covered], say: Words) -> list[CoverageRow]:
    ref = cache(lambda rule: RuleRef(id=rule.id, text=say.rule(rule)))  # the same rules in thousands of rows
    return [
        CoverageRow.model_construct(
            category=category.code,
            commune=say.unit(commune.id) or UnitOut(code=commune.code, name=commune.name),
            unit=say.unit(decision.unit_id),
            reason=decision.reason,
            reason_text=REASONS[decision.reason][say.english],
            rule=ref(rule) if rule else None,
            exceptions=[ref(each) for each in exceptions],
        )
        for category, commune, decision, exceptions, rule in covered
    ]


_COLUMNS = (
    ("Lĩnh vực", "Category"),
    ("Tên lĩnh vực", "Category name"),
    ("Mã xã, phường", "Commune code"),
    ("Xã, phường", "Commune"),
    ("Mã đơn vị", "Unit code"),
    ("Đơn vị phụ trách", "Unit"),
    ("Lý do", "Reason"),
    ("Quy tắc", "Rule"),
    ("Ngoại lệ", "Exceptions"),
)


def _table(covered: Iterable[queries.Covered], say: Words) -> str:
    """The matrix for a spreadsheet: a BOM, so that Vietnamese letters survive; nothing that could be a formula."""
    text, told = io.StringIO(), cache(say.rule)
    writer = csv.writer(text)
    writer.writerow([column[say.english] for column in _COLUMNS])
    for category, commune, decision, exceptions, rule in covered:
        unit = say.unit(decision.unit_id)
        row = (
            category.code,
            say.category(category.code),
            commune.code,
            say.unit_name(commune.id),
            unit.code if unit else "",
            unit.name if unit else "",
            REASONS[decision.reason][say.english],
            told(rule) if rule else "",
            "; ".join(told(each) for each in exceptions),
        )
        writer.writerow([harmless(cell) for cell in row])
    return "\ufeff" + text.getvalue()


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.lstrip().startswith(_FORMULA) or cell.startswith(("\t", "\r", "\n")) else cell


_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
