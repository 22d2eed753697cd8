"""tus 1.0 over HTTP, with the extensions of `rules.EXTENSIONS` (https://tus.io/protocols/resumable-upload).

Bodies are read as they come and written in threads: the event loop waits for networks, never for disk or database.
"""

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC
from email.utils import format_datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from app.core import limits
from app.core.db import Db
from app.core.errors import NOT_FOUND, DomainError
from app.core.http import Language
from app.core.limits import Limit
from app.identity.policy import SignedIn, Viewer, called_as
from app.media.api import BYTES_PER_DAY, UPLOADS_PER_HOUR
from app.media.rules import MAX_BYTES
from app.media.schemas import MEDIA_EMPTY, MEDIA_TOO_LARGE
from app.uploads import actions, queries, rules
from app.uploads.actions import Incoming
from app.uploads.models import Upload
from app.uploads.rules import Checksum, Unreadable
from app.uploads.schemas import (
    UPLOAD_HEADER_INVALID,
    UPLOAD_INTERRUPTED,
    UPLOAD_TYPE,
    UPLOAD_VERSION,
    UploadOut,
    upload_out,
)

# Besides those of every upload: a picture in pieces of 64 kB, and then some. A piece costs an fsync and a commit.
PIECES_PER_HOUR = Limit("upload-pieces", quota=6_000, window_s=3600)
# A line that fell silent without a word is given up after so long, a drip after so much longer; the bytes are kept.
SILENT_SECONDS, PIECE_SECONDS = 30.0, 300.0

# Writing is short and finishing is not: 15 MB are hashed, read and stored, in memory for that moment.
_WRITING = ThreadPoolExecutor(2, thread_name_prefix="upload-write")
_FINISHING = ThreadPoolExecutor(2, thread_name_prefix="upload-finish")

_TUS = {"Tus-Resumable": rules.VERSION}
_BODY = {
    "content": {rules.CONTENT_TYPE: {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}}
}

Result = TypeVar("Result")


class _TusRoute(APIRoute):
    """Every answer names the version, refusals too; an address with no id in it is an upload that does not exist."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                response = await handle(request)
            except DomainError as error:
                error.headers.update(_TUS)
                raise
            except RequestValidationError as error:
                raise NOT_FOUND.error(headers=dict(_TUS)) from error
            response.headers.update(_TUS)
            return response

        return handled


router = APIRouter(prefix="/v1", tags=["uploads"], route_class=_TusRoute)


def _sender(sender: SignedIn, session: Db, tus_resumable: Annotated[str | None, Header()] = None) -> Viewer:
    """Who uploads, with a client that speaks our version."""
    # Looking up staff opened a transaction; a slow phone must not keep it, nor its connection.
    session.close()
    if tus_resumable != rules.VERSION:
        raise UPLOAD_VERSION.error(headers={"Tus-Version": rules.VERSION})
    return sender


Sender = Annotated[Viewer, Depends(_sender)]


def _creator(sender: Sender) -> Viewer:
    limits.spend(UPLOADS_PER_HOUR, str(sender.id))
    limits.spend(BYTES_PER_DAY, str(sender.id), cost=0)
    return sender


def _appender(sender: Sender) -> Viewer:
    limits.spend(PIECES_PER_HOUR, str(sender.id))
    limits.spend(BYTES_PER_DAY, str(sender.id), cost=0)
    return sender


class _Body:
    """The headers that describe a body: how long it is (None when it does not say) and what it must hash to."""

    def __init__(
        self,
        request: Request,
        content_type: Annotated[str, Header(include_in_schema=False)] = "",
        upload_checksum: Annotated[str | None, Header(description="`sha1 …` hoặc `sha256 …`, base64")] = None,
    ) -> None:
        announced = request.headers.get("content-length")
        chunked = "transfer-encoding" in request.headers
        self.length = None if chunked else _read("Content-Length", rules.number, announced or "0")
        self.fits = content_type.partition(";")[0].strip().lower() == rules.CONTENT_TYPE
        self.checksum: Checksum | None = _read("Upload-Checksum", rules.checksum, upload_checksum)


Body = Annotated[_Body, Depends()]


def _read(header: str, read: Callable[[str | None], Result], value: str | None) -> Result:
    try:
        return read(value)
    except Unreadable as error:
        raise UPLOAD_HEADER_INVALID.error(header=header) from error


@router.options(
    "/uploads",
    status_code=204,
    response_class=Response,
    operation_id="get_upload_options",
    summary="Khả năng của máy chủ tus",
)
async def get_upload_options() -> Response:
    """The version, extensions, checksums and largest size that uploads take."""
    told = {
        "Tus-Version": rules.VERSION,
        "Tus-Extension": rules.EXTENSIONS,
        "Tus-Max-Size": str(MAX_BYTES),
        "Tus-Checksum-Algorithm": ",".join(rules.ALGORITHMS),
    }
    return Response(None, 204, told)


@router.post(
    "/uploads",
    status_code=201,
    response_class=Response,
    operation_id="create_upload",
    summary="Mở lượt gửi ảnh có thể gửi tiếp",
    openapi_extra={"requestBody": _BODY},
    responses={201: {"description": "Opened; Location is where the bytes go."}},
)
async def create_upload(
    request: Request,
    creator: Annotated[Viewer, Depends(_creator)],
    body: Body,
    upload_length: Annotated[str | None, Header(description="Số byte của cả ảnh")] = None,
    upload_metadata: Annotated[str | None, Header(description="Giữ nguyên văn, không bao giờ được tin")] = None,
) -> Response:
    """Open an upload, with its first bytes or none. The last part of Location is the future `media_id`."""
    length = _read("Upload-Length", rules.number, upload_length)
    metadata = _read("Upload-Metadata", rules.metadata, upload_metadata)
    if "upload-concat" in request.headers:  # one part of a picture would be taken for the picture
        raise UPLOAD_HEADER_INVALID.error(header="Upload-Concat")
    if length == 0:
        raise MEDIA_EMPTY.error()
    if length > MAX_BYTES:
        raise MEDIA_TOO_LARGE.error(limit_bytes=MAX_BYTES)
    if body.length != 0 and not body.fits:
        raise UPLOAD_TYPE.error()
    upload = await _in_thread(_WRITING, actions.create, creator.id, length, metadata)
    if body.length != 0:
        try:
            upload = await _take(request, body, creator, upload.id, 0)
        except BaseException:
            # Nobody was told where it is.
            await _in_thread(_WRITING, actions.terminate, creator.id, upload.id)
            raise
    location = f"{called_as(request)}/v1/uploads/{upload.id}"
    return Response(None, 201, {"Location": location, **_progress(upload)})


@router.patch(
    "/uploads/{upload_id}",
    status_code=204,
    response_class=Response,
    operation_id="append_to_upload",
    summary="Gửi tiếp phần còn lại",
    openapi_extra={"requestBody": _BODY | {"required": True}},
    responses={204: {"description": "Kept up to Upload-Offset; with the last byte comes Phananh-Media-Id."}},
)
async def append_to_upload(
    request: Request,
    upload_id: UUID,
    appender: Annotated[Viewer, Depends(_appender)],
    body: Body,
    upload_offset: Annotated[str | None, Header(description="Vị trí gửi tiếp, tính bằng byte")] = None,
) -> Response:
    """Continue an upload where it stands. Of a body that breaks off, what came is kept unless it has a checksum."""
    if not body.fits:
        raise UPLOAD_TYPE.error()
    offset = _read("Upload-Offset", rules.number, upload_offset)
    upload = await _take(request, body, appender, upload_id, offset)
    return Response(None, 204, _progress(upload))


@router.head(
    "/uploads/{upload_id}",
    response_class=Response,
    operation_id="find_upload_offset",
    summary="Đã nhận đến đâu",
    responses={200: {"description": "Upload-Offset says where to continue."}},
)
def find_upload_offset(upload_id: UUID, sender: Sender, session: Db) -> Response:
    """How many bytes were received: they are on disk, whatever dies. With all of them comes Phananh-Media-Id."""
    upload = queries.usable(session, sender.id, upload_id)
    told = {"Upload-Length": str(upload.length), "Cache-Control": "no-store", **_progress(upload)}
    if upload.sent_metadata:
        told["Upload-Metadata"] = upload.sent_metadata
    return Response(None, 200, told)


@router.get("/uploads/{upload_id}", operation_id="get_upload", summary="Trạng thái lượt gửi ảnh")
def get_upload(upload_id: UUID, viewer: SignedIn, session: Db, lang: Language, response: Response) -> UploadOut:
    """The same for apps, with the reason where the bytes turned out to be no picture. Somebody else's is 404."""
    response.headers["Cache-Control"] = "private, no-store"
    return upload_out(queries.owned(session, viewer.id, upload_id), lang)


@router.delete(
    "/uploads/{upload_id}",
    status_code=204,
    response_class=Response,
    operation_id="terminate_upload",
    summary="Hủy lượt gửi ảnh",
)
def terminate_upload(upload_id: UUID, sender: Sender) -> Response:
    """Drop an unfinished upload with its bytes. A finished one has become a picture and stays (409)."""
    actions.terminate(sender.id, upload_id)
    return Response(None, 204)


def _progress(upload: Upload) -> dict[str, str]:
    told = {"Upload-Offset": str(upload.received)}
    if upload.media_id is not None:
        return told | {"Phananh-Media-Id": str(upload.media_id)}
    return told | {"Upload-Expires": format_datetime(upload.expires_at.astimezone(UTC), usegmt=True)}


# --- bodies --------------------------------------------------------------------------------------------------------


async def _take(request: Request, body: _Body, sender: Viewer, upload_id: UUID, offset: int) -> Upload:
    """Write the body of `request` at `offset`: the upload as it stands then."""
    incoming = await _in_thread(_WRITING, actions.opened, sender.id, upload_id, offset)
    try:
        incoming.begin(body.length, body.checksum)
        try:
            await _write(request, incoming, sender)
        except (ClientDisconnect, TimeoutError) as error:
            await _in_thread(_WRITING, incoming.keep_cut)
            raise UPLOAD_INTERRUPTED.error(headers={"Retry-After": "1"}) from error
        pool = _FINISHING if incoming.complete else _WRITING
        await _in_thread(pool, incoming.settle)
    finally:
        await _in_thread(_WRITING, incoming.close)
    return incoming.upload


async def _write(request: Request, incoming: Incoming, sender: Viewer) -> None:
    """Every piece as it comes, charged to its account; a quota used up stops it, and what came until then is kept."""
    charged = 0
    try:
        async for chunk in _chunks(request):
            charged += len(chunk)
            if await _in_thread(_WRITING, incoming.write, chunk):
                cost, charged = charged, 0
                await _in_thread(_WRITING, _charge, sender, cost)
    finally:
        with suppress(DomainError):  # the next request is told
            await _in_thread(_WRITING, _charge, sender, charged)


def _charge(sender: Viewer, cost: int) -> None:
    limits.spend(BYTES_PER_DAY, str(sender.id), cost=cost)


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes, at most 64 kB and a packet at a time; TimeoutError for who is silent or too slow."""
    ends, stream = time.monotonic() + PIECE_SECONDS, request.stream()
    while True:
        async with asyncio.timeout(min(SILENT_SECONDS, ends - time.monotonic())):
            chunk = await anext(stream)
        if not chunk:  # what it ends with
            return
        yield chunk


async def _in_thread(pool: ThreadPoolExecutor, act: Callable[..., Result], *args: Any) -> Result:
    """Do what blocks elsewhere, under the clock and the request id of this request."""
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(pool, lambda: context.run(act, *args))
