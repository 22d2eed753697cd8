"""Uploads and pictures over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, BinaryIO
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Request, Response
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from app.core import clock, limits, storage
from app.core.db import Db, transaction
from app.core.errors import NOT_FOUND, UNAVAILABLE
from app.core.http import Language
from app.core.idempotency import RequiredKey
from app.core.limits import Limit
from app.identity.policy import CurrentViewer, SignedIn, Viewer
from app.media import actions, policy, queries, rules
from app.media.models import Media
from app.media.policy import Link, MaySee
from app.media.schemas import (
    MEDIA_FORM_INVALID,
    MEDIA_LINK_EXPIRED,
    MEDIA_NOT_READY,
    MEDIA_NOT_SHOWN,
    MEDIA_TOO_LARGE,
    MEDIA_UPLOAD_TOO_SLOW,
    MediaOut,
    Size,
    media_out,
)

log = structlog.get_logger("media")

# Ten photos for each of the twenty reports an hour, and some that go wrong; a day's worth of bytes.
UPLOADS_PER_HOUR = Limit("uploads", quota=240, window_s=3600)
BYTES_PER_DAY = Limit("upload-bytes", quota=1_000_000_000, window_s=86_400)
UPLOAD_SECONDS = 300
# Boundaries, headers and small fields around the file.
ENVELOPE_BYTES = 8_192

_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "string",
                            "contentMediaType": "application/octet-stream",
                            "description": "JPEG, PNG, WebP hoặc HEIC, tối đa 15 MB; tên và kiểu khai báo bị bỏ qua.",
                        }
                    },
                }
            }
        },
    }
}
_FILE_HEADERS = {
    "Content-Disposition": "inline",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Robots-Tag": "noindex",
}


def _admit(request: Request, uploader: SignedIn, session: Db) -> Viewer:
    """Who uploads, before a byte of the body is read: within the limits, and not announced as too large."""
    # Looking up staff opened a transaction; a slow phone must not keep it, nor its connection.
    session.close()
    limits.spend(UPLOADS_PER_HOUR, str(uploader.id))
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > rules.MAX_BYTES + ENVELOPE_BYTES:
        raise MEDIA_TOO_LARGE.error(limit_bytes=rules.MAX_BYTES)
    return uploader


Uploader = Annotated[Viewer, Depends(_admit)]


async def _uploaded(request: Request, _uploader: Uploader) -> AsyncIterator[BinaryIO]:
    """The one file of the form, streamed to disk beyond a megabyte, never past the limit, never for ever."""
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            form = await _form(request)
    except (TimeoutError, ClientDisconnect) as error:
        raise MEDIA_UPLOAD_TOO_SLOW.error() from error
    except (MultiPartException, KeyError) as error:
        raise MEDIA_FORM_INVALID.error() from error
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise MEDIA_FORM_INVALID.error()
        yield file.file
    finally:
        await form.close()


async def _form(request: Request) -> FormData:
    async def bounded() -> Any:
        seen = 0
        async for chunk in request.stream():
            seen += len(chunk)
            if seen > rules.MAX_BYTES + ENVELOPE_BYTES:
                raise MEDIA_TOO_LARGE.error(limit_bytes=rules.MAX_BYTES)
            yield chunk

    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise MEDIA_FORM_INVALID.error()
    return await MultiPartParser(request.headers, bounded(), max_files=1, max_fields=4, max_part_size=1024).parse()


def router(may_see: MaySee) -> APIRouter:
    """The routes of this slice. `may_see` says who, besides its owner, may see a picture; it is known above us."""
    routes = APIRouter(prefix="/v1", tags=["media"])

    @routes.post(
        "/media",
        status_code=201,
        response_model=MediaOut,
        operation_id="upload_media",
        summary="Gửi ảnh",
        openapi_extra=_FORM,
    )
    def upload_media(uploader: Uploader, key: RequiredKey, file: Annotated[BinaryIO, Depends(_uploaded)]) -> Response:
        """Send one picture. It is kept privately and processed soon; a report may name its id at once."""
        limits.spend(BYTES_PER_DAY, str(uploader.id), cost=max(1, file.seek(0, 2)))
        answer = actions.receive(uploader.id, key, file)
        return answer.response({"Cache-Control": "no-store"})

    @routes.get("/media/{media_id}", operation_id="get_media", summary="Trạng thái ảnh")
    def get_media(media_id: UUID, viewer: SignedIn, session: Db, lang: Language, response: Response) -> MediaOut:
        """How far one's own picture is, and why it failed where it did. Somebody else's is 404."""
        media = queries.visible(session, media_id)
        if not policy.owns(viewer, media):
            raise NOT_FOUND.error()
        response.headers["Cache-Control"] = "private, no-store"
        return media_out(media, lang)

    @routes.get(
        "/media/{media_id}/{size}",
        operation_id="get_media_size",
        summary="Xem ảnh",
        status_code=307,
        response_class=Response,
        responses={307: {"description": "The picture, at an address that works for a minute."}},
    )
    def get_picture(media_id: UUID, size: Size, viewer: CurrentViewer, session: Db) -> Response:
        """Redirect to the picture for whoever may see it now. The address here is stable, the one behind it expires."""
        media = queries.visible(session, media_id)
        if not policy.readable(session, viewer, media, may_see):
            raise NOT_FOUND.error()
        return _redirect(media, size, viewer)

    @routes.get(
        "/files/{token}",
        operation_id="get_file",
        summary="Tệp ảnh",
        response_class=Response,
        responses={200: {"description": "The picture.", "content": {rules.DERIVED_TYPE: {}}}},
    )
    def get_file(token: str) -> Response:
        """The picture behind a link, if the one it was made for may still see it.

        Always through this process, also from S3: an address signed by the store itself could not be taken back
        when a report is hidden.
        """
        return _file(token, may_see)

    return routes


def _redirect(media: Media, size: Size, viewer: Viewer) -> Response:
    if media.state == "stored":
        raise MEDIA_NOT_READY.error(headers={"Retry-After": "2"})
    if media.state != "processed":
        raise MEDIA_NOT_SHOWN.error()
    token = Link.of(media, size, viewer, clock.now()).token()
    return Response(None, 307, {"Location": f"/v1/files/{token}", "Cache-Control": "private, no-store"})


def _file(token: str, may_see: MaySee) -> Response:
    link = Link.read(token, clock.now())
    if link is None:
        raise MEDIA_LINK_EXPIRED.error()
    with transaction() as session:
        media = queries.visible(session, link.media_id)
        viewer = link.viewer(session)
        if viewer is None or media.state != "processed" or not policy.readable(session, viewer, media, may_see):
            raise NOT_FOUND.error()
    data = _derivative(media.large_key if link.size == "large" else media.small_key)
    # Shared caches never keep it: they could not be told that the report was hidden.
    keep = "private, max-age=60" if viewer.account_id is None else "private, no-store"
    return Response(data, 200, {**_FILE_HEADERS, "Cache-Control": keep}, media_type=rules.DERIVED_TYPE)


def _derivative(key: str) -> bytes:
    try:
        return storage.get(key)
    except FileNotFoundError as error:
        log.error("derivative_missing", key=key)  # noqa: TRY400 - the trace says nothing
        raise NOT_FOUND.error() from error
    except storage.Unavailable as error:
        log.warning("storage_unavailable", error=str(error))
        raise UNAVAILABLE.error(headers={"Retry-After": "30"}) from error
