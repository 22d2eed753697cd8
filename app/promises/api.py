"""Promise slips over HTTP: for who reported, who may show them to anybody."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from app.core.db import Db
from app.core.etag import etag, not_modified
from app.core.http import Language
from app.identity.policy import Citizen
from app.promises import queries
from app.promises.rules import qr_code
from app.promises.schemas import SlipOut

router = APIRouter(prefix="/v1", tags=["reports"])
Form = Literal["json", "png", "svg"]
_PICTURES = {"png": "image/png", "svg": "image/svg+xml"}
_QR: dict[int | str, dict[str, Any]] = {
    200: {"content": {media: {"schema": {"type": "string", "format": "binary"}} for media in _PICTURES.values()}}
}


@router.get(
    "/reports/{report_id}/slip",
    response_model=SlipOut,
    operation_id="get_promise_slip",
    summary="Phiếu hẹn",
    responses=_QR,
)
def get_promise_slip(
    report_id: UUID,
    request: Request,
    response: Response,
    citizen: Citizen,
    session: Db,
    language: Language,
    form: Annotated[Form, Query(alias="format", description="As a QR code: `png` or `svg`.")] = "json",
    number: Annotated[int | None, Query(ge=1, lt=2**31, description="An earlier slip; the newest by default.")] = None,
) -> Any:
    """What the unit that accepted an own report promised, and by when, signed.

    Another deadline, unit or category makes another slip with a higher number; those before stay what was promised
    then. Anybody verifies a slip without us, with a key of `GET /v1/seals/keys`.
    """
    shown = queries.slip(session, citizen, report_id, number, language)
    tag = etag(shown.model_dump_json(), form)
    if unchanged := not_modified(request, tag):
        return unchanged
    if form != "json":
        return Response(qr_code(shown.slip, form), media_type=_PICTURES[form], headers={"ETag": tag})
    response.headers["ETag"] = tag
    return shown
