"""What the app loads at its start: what may be reported, and how to behave towards this server."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.catalog import queries, rules
from app.catalog.rules import Catalogue, Category, Group, Province
from app.catalog.schemas import (
    BoundsOut,
    CategoriesOut,
    CategoryOut,
    ConfigOut,
    ConsentOut,
    EmergencyNumberOut,
    GroupOut,
    LimitsOut,
    MinimumVersionsOut,
    ProvinceOut,
)
from app.core import clock
from app.core.db import Db
from app.core.errors import UNAVAILABLE
from app.core.etag import etag, not_modified
from app.core.http import Lang, Language

router = APIRouter(prefix="/v1", tags=["catalog"])
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "What the caller holds (If-None-Match) is current."}
}


@router.get(
    "/categories",
    operation_id="list_categories",
    summary="Danh mục phản ánh",
    response_model=CategoriesOut,
    responses=_NOT_MODIFIED,
)
def list_categories(request: Request, session: Db, language: Language) -> Response:
    """List the groups with their categories, in the order to show. Keep the ETag and ask with If-None-Match."""
    catalogue = queries.catalogue(session)
    groups = [_group(group, catalogue, language) for group in catalogue.groups if catalogue.members(group.code)]
    body = CategoriesOut(groups=groups)
    return _answer(request, body, etag(body.model_dump_json(), language), language)


@router.get(
    "/config",
    operation_id="get_config",
    summary="Cấu hình ứng dụng",
    response_model=ConfigOut,
    responses=_NOT_MODIFIED,
)
def get_config(request: Request, session: Db, language: Language) -> Response:
    """Read limits, consent notice, emergency numbers, feature switches and the server's time."""
    catalogue = queries.catalogue(session)
    if catalogue.province is None:
        raise UNAVAILABLE.error(headers={"Retry-After": "5"})
    body = _config(catalogue, catalogue.province, language)
    tag = etag(body.model_dump_json(exclude={"server_time"}), language)
    return _answer(request, body, tag, language)


def _answer(request: Request, body: BaseModel, tag: str, language: Lang) -> Response:
    """The body with its tag, or 304. Always asked again (no-cache), so that a change arrives at once."""
    headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Language", "Content-Language": language}
    unchanged = not_modified(request, tag)
    if unchanged is not None:
        unchanged.headers.update(headers)
        return unchanged
    return Response(body.model_dump_json(), media_type="application/json", headers=headers)


def _group(group: Group, catalogue: Catalogue, language: Lang) -> GroupOut:
    return GroupOut(
        code=group.code,
        number=group.number,
        name=group.name_vi if language == "vi" else group.name_en,
        name_vi=group.name_vi,
        name_en=group.name_en,
        public_default=group.public_default,
        categories=[_category(category, language) for category in catalogue.members(group.code)],
    )


def _category(category: Category, language: Lang) -> CategoryOut:
    return CategoryOut(
        code=category.code,
        number=category.number,
        name=category.name_vi if language == "vi" else category.name_en,
        name_vi=category.name_vi,
        name_en=category.name_en,
        hint=category.hint_vi if language == "vi" else category.hint_en,
        level=category.level,
        urgency=category.urgency,
        may_be_public=category.may_be_public,
        emergency_numbers=list(category.emergency_numbers),
        photo_suggested=category.photo_suggested,
    )


def _config(catalogue: Catalogue, province: Province, language: Lang) -> ConfigOut:
    now = clock.now()
    west, south, east, north = province.bounds
    consent = catalogue.consent(now.astimezone(clock.LOCAL).date())
    return ConfigOut(
        province=ProvinceOut(
            code=province.code,
            name=province.name_vi if language == "vi" else province.name_en,
            name_vi=province.name_vi,
            name_en=province.name_en,
            bounds=BoundsOut(west=west, south=south, east=east, north=north),
            hotline=province.hotline,
            time_zone=str(clock.LOCAL),
        ),
        minimum_app_versions=MinimumVersionsOut.model_validate(dict(catalogue.minimum_versions)),
        limits=LimitsOut(
            description_chars=rules.DESCRIPTION_MAX_CHARS,
            photos_per_report=rules.PHOTOS_PER_REPORT,
            photo_bytes=rules.PHOTO_MAX_BYTES,
            photo_types=list(rules.PHOTO_TYPES),
        ),
        consent=ConsentOut(
            version=consent.version,
            valid_from=consent.valid_from,
            text=consent.text_vi if language == "vi" else consent.text_en,
        )
        if consent
        else None,
        emergency_numbers=[
            EmergencyNumberOut(number=each.number, name=each.name_vi if language == "vi" else each.name_en)
            for each in catalogue.emergency_numbers
        ],
        features=dict(catalogue.features),
        server_time=now,
    )
