"""Assets by the code on their sticker, and on the map. Open to everybody: nothing here is personal."""

from collections.abc import Callable
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from app.assets import queries
from app.assets.models import Asset
from app.assets.queries import MAX_BOX_DEG, Box, ClassInfo
from app.assets.schemas import ASSET_UNKNOWN, BAD_ASSET_BOX, AssetOut, AssetPlaceOut, AssetRowOut, CodedOut
from app.boundaries.queries import heir, locate
from app.catalog.queries import catalogue
from app.catalog.schemas import BoundsOut
from app.core import clock
from app.core.db import Db, Session
from app.core.etag import etag, not_modified
from app.core.http import Lang, Language
from app.core.ids import parse_reference
from app.core.paging import CursorText, Limit, Page
from app.orgunits.queries import directory, name_of

# The unit a report under a category (code) at a place (lat, lon) on an asset would go to; None: a person decides.
AnswersFor = Callable[[Session, str, float, float, UUID], UUID | None]
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "What the caller holds (If-None-Match) is current."}
}


def router(answers_for: AnswersFor) -> APIRouter:
    """The routes of this slice. `answers_for` asks routing, which lies above us."""
    routes = APIRouter(prefix="/v1", tags=["assets"])

    @routes.get(
        "/assets/{code}",
        operation_id="get_asset",
        summary="Xem tài sản theo mã trên nhãn",
        response_model=AssetOut,
        responses=_NOT_MODIFIED,
    )
    def get_asset(request: Request, session: Db, language: Language, code: str) -> Response:
        """Read what a report about an asset begins with: place, category and who would answer."""
        canonical, today = parse_reference(code), clock.local_day(clock.now())
        asset = queries.asset_by_code(session, canonical, today) if canonical else None
        if asset is None:
            raise ASSET_UNKNOWN.error()
        return _answer(request, _shown(session, asset, answers_for, language), language)

    @routes.get(
        "/assets",
        operation_id="list_assets",
        summary="Tài sản trên bản đồ",
        response_model=Page[AssetRowOut],
        responses=_NOT_MODIFIED,
    )
    def list_assets(
        request: Request,
        session: Db,
        language: Language,
        bbox: Annotated[str, Query(max_length=100, description="west,south,east,north; at most 0.1 degrees a side.")],
        asset_class: Annotated[
            str | None, Query(alias="class", max_length=60, description="Only assets of this class.")
        ] = None,
        cursor: CursorText = None,
        limit: Limit = 100,
    ) -> Response:
        """List the assets of a small part of the map, by code."""
        today = clock.local_day(clock.now())
        found, following = queries.assets_in(
            session, _box(bbox), today, asset_class=asset_class, cursor=cursor, limit=limit
        )
        rows = [AssetRowOut.model_validate(_row(session, asset, language)) for asset in found]
        return _answer(request, Page[AssetRowOut](items=rows, next_cursor=following), language)

    return routes


def _box(words: str) -> Box:
    try:
        box = Box(*(float(word) for word in words.split(",")))
    except (ValueError, TypeError):
        box = Box(0, 0, 0, 0)
    wide, high = box.east - box.west, box.north - box.south
    if not (0 < wide <= MAX_BOX_DEG and 0 < high <= MAX_BOX_DEG):
        raise BAD_ASSET_BOX.error(pointer="/query/bbox", degrees=MAX_BOX_DEG)
    return box


def _row(session: Session, asset: Asset, language: Lang) -> dict[str, Any]:
    """The fields that an asset has on a map."""
    kind = queries.asset_classes(session)[asset.asset_class]
    manager_id = heir(session, asset.manager_id, (asset.lat, asset.lon), _today()) if asset.manager_id else None
    return {
        "code": asset.code,
        "name": asset.name or _class_name(kind, language),
        "asset_class": CodedOut(code=kind.code, name=_class_name(kind, language)),
        "kind": kind.kind,
        "location": AssetPlaceOut(lat=asset.lat, lon=asset.lon),
        "bounds": BoundsOut(west=asset.west, south=asset.south, east=asset.east, north=asset.north),
        "manager": _unit(session, manager_id, language),
    }


def _shown(session: Session, asset: Asset, answers_for: AnswersFor, language: Lang) -> AssetOut:
    """The asset with what a report about it begins with: who answers is asked of routing, else it is the manager."""
    placement = locate(session, asset.lat, asset.lon, None, clock.now())
    kind = queries.asset_classes(session)[asset.asset_class]
    category = catalogue(session).category(asset.category_code or kind.category_code or "")
    unit_id = answers_for(session, category.code, asset.lat, asset.lon, asset.id) if category else None
    row = _row(session, asset, language)
    return AssetOut(
        **row,
        commune=_unit(session, placement.commune_id, language),
        commune_approximate=placement.approximate,
        category=CodedOut(code=category.code, name=category.name_vi if language == "vi" else category.name_en)
        if category and category.active
        else None,
        unit=_unit(session, unit_id, language) or row["manager"],
        source=asset.source,
    )


def _class_name(kind: ClassInfo, language: Lang) -> str:
    return kind.name_vi if language == "vi" else kind.name_en


def _unit(session: Session, unit_id: UUID | None, language: Lang) -> CodedOut | None:
    """A unit that exists today."""
    unit = directory(session).by_id(unit_id) if unit_id else None
    if unit is None or not unit.exists(_today()):
        return None
    return CodedOut(code=unit.code, name=name_of(unit, language))


def _today() -> date:
    return clock.local_day(clock.now())


def _answer(request: Request, body: BaseModel, language: Lang) -> Response:
    """The body with its tag, or 304; the tag covers the body, so whatever it names changes it."""
    text = body.model_dump_json()
    tag = etag(text, language)
    headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Language", "Content-Language": language}
    unchanged = not_modified(request, tag)
    if unchanged is not None:
        unchanged.headers.update(headers)
        return unchanged
    return Response(text, media_type="application/json", headers=headers)
