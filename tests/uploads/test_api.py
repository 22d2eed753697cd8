"""tus over HTTP: what is taken, what is refused and changes nothing, and the picture at the end."""

import asyncio
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from starlette.types import Message

from app.core import clock, db, storage
from app.core.config import settings
from app.core.db import Session
from app.core.limits import Limit
from app.embedded import Database
from app.identity.models import Account
from app.media import actions as media_actions
from app.media import rules as media_rules
from app.media.models import Media
from app.pictures.rules import derive
from app.uploads import actions, api, rules
from app.uploads.models import Upload
from tests.media import pictures
from tests.media.conftest import storage_away  # noqa: F401 - a fixture
from tests.media.test_rules import REFUSED
from tests.support import make
from tests.uploads.conftest import files
from tests.uploads.phone import PIECE, TUS, Phone, asgi, broken_off, checksum

Uploads = Callable[[], list[Upload]]
Pictures = Callable[[], list[Media]]
DATA = pictures.jpeg(300, 200)
HALF = len(DATA) // 2


def problem(answer: Any) -> tuple[int, str]:
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert "…" not in answer.json()["detail"]
    return answer.status_code, answer.json()["code"]


# --- the way a picture takes ---------------------------------------------------------------------------------------


def test_what_the_server_can_do(client: TestClient) -> None:
    answer = client.options("/v1/uploads")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    told = set(answer.headers["tus-extension"].split(","))
    assert told == {"creation", "creation-with-upload", "checksum", "expiration", "termination"}
    assert answer.headers["tus-max-size"] == str(media_rules.MAX_BYTES)
    assert answer.headers["tus-checksum-algorithm"] == "sha1,sha256"


def test_from_pieces_to_a_report_with_its_photo(phone: Phone, pictures_kept: Pictures) -> None:
    created = phone.create(len(DATA), Upload_Metadata="filename YS5qcGc=")
    assert created.status_code == 201
    assert created.headers["location"].startswith("http://testserver/v1/uploads/")
    assert created.headers["upload-offset"] == "0"
    path = created.headers["location"].removeprefix("http://testserver")
    assert phone.append(path, 0, DATA[:HALF]).headers["upload-offset"] == str(HALF)

    found = phone.head(path)
    assert (found.status_code, found.headers["cache-control"]) == (200, "no-store")
    assert (found.headers["upload-offset"], found.headers["upload-length"]) == (str(HALF), str(len(DATA)))
    assert found.headers["upload-metadata"] == "filename YS5qcGc="
    assert "phananh-media-id" not in found.headers
    left = parsedate_to_datetime(found.headers["upload-expires"]) - clock.now()
    assert rules.PATIENCE - timedelta(minutes=1) < left < rules.PATIENCE

    last = phone.append(path, HALF, DATA[HALF:])
    assert (last.status_code, last.headers["upload-offset"]) == (204, str(len(DATA)))
    media_id = last.headers["phananh-media-id"]
    assert path.endswith(media_id)
    assert phone.head(path).headers["phananh-media-id"] == media_id
    assert phone.get(path).json()["media_id"] == media_id
    assert files() == []
    (kept,) = pictures_kept()
    assert (str(kept.id), kept.detected_type, kept.size_bytes) == (media_id, "image/jpeg", len(DATA))
    assert storage.get(kept.original_key) == DATA

    assert media_actions.process_owed(derive) == 1
    shown = phone.client.get(f"/v1/media/{media_id}", headers=phone.signed_in).json()
    assert (shown["state"], shown["width"], shown["height"]) == ("processed", 300, 200)
    body = make.report_body(media_ids=[media_id])
    answer = phone.client.post("/v1/reports", json=body, headers=phone.signed_in | make.key())
    assert answer.status_code == 201, answer.text


def test_creation_with_the_first_bytes_or_all_of_them(phone: Phone) -> None:
    part = phone.create(len(DATA), DATA[:HALF], Content_Type=rules.CONTENT_TYPE)
    assert (part.status_code, part.headers["upload-offset"]) == (201, str(HALF))
    whole = phone.create(len(DATA), DATA, Content_Type=rules.CONTENT_TYPE)
    assert (whole.status_code, whole.headers["upload-offset"]) == (201, str(len(DATA)))
    assert whole.headers["location"].endswith(whole.headers["phananh-media-id"])


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        (DATA + b"\0", {}),
        (DATA, checksum(b"other")),
        (b"no picture".ljust(len(DATA)), {}),
    ],
)
def test_a_creation_whose_bytes_are_refused_leaves_nothing(
    phone: Phone, uploads: Uploads, data: bytes, headers: dict[str, str]
) -> None:
    answer = phone.create(len(DATA), data, Content_Type=rules.CONTENT_TYPE, **headers)
    assert answer.status_code in (413, 460, 415)
    assert uploads() == []
    assert files() == []


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_damaged_piece_changes_nothing(phone: Phone, algorithm: str) -> None:
    path = phone.opened(len(DATA))
    assert phone.append(path, 0, DATA[:HALF], checksum(DATA[:HALF], algorithm)).status_code == 204
    refused = phone.append(path, HALF, DATA[HALF:], checksum(DATA[:HALF], algorithm))
    assert problem(refused) == (460, "upload_checksum_mismatch")
    assert phone.offset(path) == HALF
    again = phone.append(path, HALF, DATA[HALF:], checksum(DATA[HALF:], algorithm))
    assert again.headers["phananh-media-id"]


def test_behind_a_trusted_proxy_the_address_is_the_callers(
    phone: Phone, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    forwarded = {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "phananh.example.vn"}
    assert phone.create(9, **forwarded).headers["location"].startswith("http://testserver/v1/uploads/")
    monkeypatch.setenv("PHANANH_TRUSTED_PROXIES", "127.0.0.1")
    settings.cache_clear()
    request.addfinalizer(settings.cache_clear)
    headers = TUS | phone.signed_in | {"Upload-Length": "9", "Host": "inside:8000"}
    headers |= {name.replace("_", "-"): value for name, value in forwarded.items()}
    status, told = asyncio.run(asgi("POST", "/v1/uploads", headers, broken_off([b""], cut=False)))
    assert status == 201
    assert told["location"].startswith("https://phananh.example.vn/v1/uploads/")
    headers |= {"X-Forwarded-Host": "evil/<script>", "Host": "also evil"}
    _, told = asyncio.run(asgi("POST", "/v1/uploads", headers, broken_off([b""], cut=False)))
    assert told["location"].startswith("/v1/uploads/")


# --- what is refused, and changes nothing --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Upload-Offset": "0"}, 409, "upload_offset"),
        ({"Upload-Offset": str(HALF + 1)}, 409, "upload_offset"),
        ({"Upload-Offset": "-1"}, 400, "upload_header_invalid"),
        ({"Upload-Offset": "half"}, 400, "upload_header_invalid"),
        ({"Content-Type": "application/octet-stream"}, 415, "upload_type"),
        ({"Content-Type": ""}, 415, "upload_type"),
        ({"Upload-Checksum": "md5 AAAA"}, 400, "upload_header_invalid"),
        ({"Tus-Resumable": "0.2.2"}, 412, "upload_version"),
        ({"Tus-Resumable": ""}, 412, "upload_version"),
    ],
)
def test_a_wrong_piece_changes_nothing(phone: Phone, headers: dict[str, str], status: int, code: str) -> None:
    path = phone.opened(len(DATA))
    phone.append(path, 0, DATA[:HALF])
    refused = phone.append(path, HALF, DATA[HALF:], headers)
    assert problem(refused) == (status, code)
    if status == 409:
        assert refused.headers["upload-offset"] == str(HALF)
    if status == 412:
        assert refused.headers["tus-version"] == "1.0.0"
    assert phone.offset(path) == HALF
    assert phone.append(path, HALF, DATA[HALF:]).headers["phananh-media-id"]


@pytest.mark.parametrize("announced", [True, False])
def test_more_than_announced_changes_nothing(phone: Phone, announced: bool) -> None:
    path = phone.opened(len(DATA))
    phone.append(path, 0, DATA[:HALF])

    def chunks() -> Iterator[bytes]:
        yield DATA[HALF:]
        yield b"\0"

    body: Any = DATA[HALF:] + b"\0" if announced else chunks()
    assert problem(phone.append(path, HALF, body)) == (413, "upload_too_long")
    assert phone.offset(path) == HALF
    assert phone.append(path, HALF, DATA[HALF:]).headers["phananh-media-id"]


@pytest.mark.parametrize(
    ("length", "headers", "status", "code"),
    [
        (media_rules.MAX_BYTES + 1, {}, 413, "media_too_large"),
        (0, {}, 422, "media_empty"),
        (-1, {}, 400, "upload_header_invalid"),
        ("", {"Upload_Defer_Length": "1"}, 400, "upload_header_invalid"),
        (9, {"Upload_Concat": "partial"}, 400, "upload_header_invalid"),
        (9, {"Upload_Metadata": "a,,b"}, 400, "upload_header_invalid"),
        (9, {"Tus_Resumable": "2.0.0"}, 412, "upload_version"),
    ],
)
def test_creations_refused(
    phone: Phone, uploads: Uploads, length: object, headers: dict[str, str], status: int, code: str
) -> None:
    assert problem(phone.create(length, **headers)) == (status, code)
    assert uploads() == []


def test_a_first_body_of_another_type_is_refused(phone: Phone, uploads: Uploads) -> None:
    assert problem(phone.create(9, b"123", Content_Type="image/jpeg")) == (415, "upload_type")
    assert uploads() == []


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_as_it_is_in_one_piece(phone: Phone, pictures_kept: Pictures, name: str) -> None:
    """And stays refused: a phone that never heard the answer asks again and hears it then."""
    data, code = REFUSED[name]
    if not data:
        return
    path = phone.opened(len(data))
    refused = phone.append(path, 0, data, {"Accept-Language": "en"})
    status = 415 if code == media_rules.UNSUPPORTED else 422
    assert problem(refused) == (status, code)
    assert phone.head(path).status_code == status
    assert problem(phone.append(path, len(data), b"")) == (status, code)
    told = phone.get(path).json()
    assert (told["state"], told["failure_code"], told["media_id"]) == ("refused", code, None)
    assert told["failure"]
    assert pictures_kept() == []
    assert files() == []
    assert phone.delete(path).status_code == 204
    assert phone.head(path).status_code == 404


def test_somebody_elses_upload_does_not_exist(phone: Phone, other: Phone, session: Session) -> None:
    path = phone.opened(len(DATA))
    nobody = "/v1/uploads/00000000-0000-7000-8000-000000000000"
    for each in (other, Phone(phone.client, make.staff(session, "administrator"))):
        for where in (path, nobody, "/v1/uploads/none"):
            assert each.head(where).status_code == 404
            assert problem(each.get(where)) == (404, "not_found")
            assert problem(each.append(where, 0, DATA)) == (404, "not_found")
            assert problem(each.delete(where)) == (404, "not_found")
    assert phone.offset(path) == 0
    for answer in (phone.client.head(path, headers=TUS), phone.client.post("/v1/uploads", headers=TUS)):
        assert (answer.status_code, answer.headers["tus-resumable"]) == (401, "1.0.0")


def test_a_blocked_account_uploads_nothing(phone: Phone, session: Session, pictures_kept: Pictures) -> None:
    path = phone.opened(len(DATA))
    session.get_one(Account, phone.viewer.id).status = "blocked"
    session.commit()
    assert problem(phone.create(9)) == (401, "unauthenticated")
    assert problem(phone.append(path, 0, DATA)) == (401, "unauthenticated")
    assert pictures_kept() == []


def test_a_report_does_not_wait_for_a_picture_that_never_came(phone: Phone, other: Phone) -> None:
    """It is refused with the reason; the report itself goes through once the picture is left out or finished."""
    path = phone.opened(len(DATA))
    upload_id = path.rpartition("/")[2]
    body = make.report_body(media_ids=[upload_id])

    def submitted(who: Phone) -> Any:
        return who.client.post("/v1/reports", json=body, headers=who.signed_in | make.key())

    refused = submitted(phone)
    assert (refused.status_code, refused.json()["code"]) == (409, "media_unfinished")
    assert refused.json()["errors"][0]["pointer"] == "/media_ids/0"
    assert refused.headers["retry-after"]
    assert submitted(other).json()["code"] == "media_not_found"
    phone.append(path, 0, DATA)
    assert submitted(phone).status_code == 201


# --- the end of an upload ------------------------------------------------------------------------------------------


def test_an_upload_is_cancelled_once_and_a_picture_never(phone: Phone, pictures_kept: Pictures) -> None:
    path = phone.opened(len(DATA))
    phone.append(path, 0, DATA[:HALF])
    assert len(files()) == 1
    assert phone.delete(path).status_code == 204
    assert files() == []
    assert (phone.delete(path).status_code, phone.head(path).status_code) == (404, 404)
    finished = phone.opened(len(DATA))
    phone.append(finished, 0, DATA)
    assert problem(phone.delete(finished)) == (409, "upload_finished")
    assert problem(phone.append(finished, len(DATA), b"")) == (409, "upload_finished")
    assert len(pictures_kept()) == 1


def test_uploads_expire_and_are_swept_with_their_files(phone: Phone, uploads: Uploads) -> None:
    paths = [phone.opened(len(DATA)) for _ in range(3)]
    phone.append(paths[0], 0, DATA[:HALF])
    phone.append(paths[1], 0, DATA)
    later = clock.now() + rules.PATIENCE + timedelta(minutes=1)
    with clock.travelled(later):
        assert phone.head(paths[0]).status_code == 410
        assert problem(phone.append(paths[0], HALF, DATA[HALF:])) == (410, "upload_expired")
        assert phone.head(paths[1]).status_code == 200
        assert actions.sweep_expired(1) == 1
        assert actions.sweep_expired(10) == 1
        assert actions.sweep_expired(10) == 0
    assert files() == []
    assert [str(upload.id) for upload in uploads()] == [paths[1].rpartition("/")[2]]
    with clock.travelled(clock.now() + rules.REMEMBERED + timedelta(minutes=1)):
        assert actions.sweep_expired(10) == 1


def test_bytes_that_come_keep_an_upload_but_not_for_ever(phone: Phone, uploads: Uploads) -> None:
    path, begun = phone.opened(len(DATA)), clock.now()
    for hours in range(0, 7 * 24, 20):
        with clock.travelled(begun + timedelta(hours=hours)):
            assert phone.append(path, hours // 20, DATA[hours // 20 :][:1]).status_code == 204
    assert uploads()[0].expires_at <= begun + rules.LONGEST
    with clock.travelled(begun + rules.LONGEST + timedelta(minutes=1)):
        assert phone.head(path).status_code == 410


def test_files_without_an_open_upload_are_swept_and_no_others(phone: Phone) -> None:
    path = phone.opened(len(DATA))
    phone.append(path, 0, DATA[:HALF])
    stray = files()[0].with_name(UUID(int=7).hex)
    stray.write_bytes(b"left behind")
    assert actions.sweep_files() == 1
    assert not stray.exists()
    assert phone.append(path, HALF, DATA[HALF:]).headers["phananh-media-id"]


def test_an_upload_whose_bytes_are_gone_says_so(phone: Phone) -> None:
    path = phone.opened(len(DATA))
    phone.append(path, 0, DATA[:HALF])
    os.truncate(files()[0], HALF - 1)
    assert problem(phone.append(path, HALF, DATA[HALF:])) == (410, "upload_expired")
    assert phone.head(path).status_code == 404


def test_bytes_behind_the_offset_never_count(phone: Phone, pictures_kept: Pictures) -> None:
    """A server that died between writing and acknowledging leaves them."""
    path = phone.opened(len(DATA))
    phone.append(path, 0, DATA[:HALF])
    with files()[0].open("ab") as file:
        file.write(b"never acknowledged" * 1000)
    assert phone.append(path, HALF, DATA[HALF:]).headers["phananh-media-id"]
    assert storage.get(pictures_kept()[0].original_key) == DATA


def test_storage_that_is_away_costs_one_byte(
    phone: Phone,
    pictures_kept: Pictures,
    storage_away: Callable[[bool], None],  # noqa: F811 - the fixture
) -> None:
    path = phone.opened(len(DATA))
    storage_away(True)
    assert problem(phone.append(path, 0, DATA)) == (503, "unavailable")
    assert phone.offset(path) == len(DATA) - 1
    storage_away(False)
    assert phone.append(path, len(DATA) - 1, DATA[-1:]).headers["phananh-media-id"]
    assert storage.get(pictures_kept()[0].original_key) == DATA


# --- limits (pitfall 8: a limit on reports but none on attachments) ------------------------------------------------


def test_uploads_and_pieces_are_limited_by_account(
    phone: Phone, other: Phone, monkeypatch: pytest.MonkeyPatch, uploads: Uploads
) -> None:
    monkeypatch.setattr(api, "UPLOADS_PER_HOUR", Limit("uploads", 2, 3600))
    monkeypatch.setattr(api, "PIECES_PER_HOUR", Limit("upload-pieces", 2, 3600))
    path = phone.opened(len(DATA))
    phone.opened(len(DATA))
    refused = phone.create(len(DATA))
    assert problem(refused) == (429, "too_many_requests")
    assert int(refused.headers["retry-after"]) > 0
    assert [phone.append(path, at, DATA[at : at + 1]).status_code for at in range(3)] == [204, 204, 429]
    assert other.append(other.opened(len(DATA)), 0, DATA).status_code == 204
    assert len(uploads()) == 3


def test_bytes_are_limited_by_account_in_pieces_and_in_one(phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "BYTES_PER_DAY", Limit("upload-bytes", len(DATA) - 1, 86_400))
    path = phone.opened(len(DATA))
    assert phone.append(path, 0, DATA[:HALF]).status_code == 204
    assert phone.append(path, HALF, DATA[HALF:]).status_code == 204  # what came is kept
    assert problem(phone.create(len(DATA))) == (429, "too_many_requests")


def test_a_long_piece_stops_where_the_bytes_of_the_day_are_used_up(
    phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "BYTES_PER_DAY", Limit("upload-bytes", HALF, 86_400))
    monkeypatch.setattr(rules, "STEP_BYTES", 1)
    path = phone.opened(len(DATA))
    headers = PIECE | phone.signed_in | {"Upload-Offset": "0", "Content-Length": str(len(DATA))}
    body = broken_off([DATA[:HALF], DATA[HALF:-1], DATA[-1:]], cut=False)
    status, _ = asyncio.run(asgi("PATCH", path, headers, body))
    assert status == 429
    assert phone.offset(path) == len(DATA) - 1


def test_unfinished_uploads_are_limited_until_one_is_finished(phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_UNFINISHED", 2)
    path, _ = phone.opened(len(DATA)), phone.opened(len(DATA))
    assert problem(phone.create(len(DATA))) == (429, "upload_too_many_unfinished")
    phone.append(path, 0, DATA)
    assert phone.create(len(DATA)).status_code == 201


# --- bodies that break off, crawl or come twice --------------------------------------------------------------------


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_breaks_off_is_kept_as_far_as_it_came(phone: Phone, announced: bool) -> None:
    path = phone.opened(len(DATA))
    headers = PIECE | phone.signed_in | {"Upload-Offset": "0"}
    headers |= {"Content-Length": str(len(DATA))} if announced else {"Transfer-Encoding": "chunked"}
    asyncio.run(asgi("PATCH", path, headers, broken_off([DATA[:100], DATA[100:HALF]], cut=True)))
    assert phone.offset(path) == HALF
    assert phone.append(path, HALF, DATA[HALF:]).headers["phananh-media-id"]


def test_a_body_with_a_checksum_that_breaks_off_is_not(phone: Phone) -> None:
    path = phone.opened(len(DATA))
    headers = PIECE | phone.signed_in | {"Upload-Offset": "0", "Content-Length": str(len(DATA))} | checksum(DATA)
    asyncio.run(asgi("PATCH", path, headers, broken_off([DATA[:HALF]], cut=True)))
    assert phone.offset(path) == 0
    assert phone.append(path, 0, DATA, checksum(DATA)).headers["phananh-media-id"]


@pytest.mark.parametrize("limit", ["SILENT_SECONDS", "PIECE_SECONDS"])
def test_a_silent_line_is_given_up_and_what_came_is_kept(
    phone: Phone, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(api, limit, 0.2)
    path = phone.opened(len(DATA))
    come = broken_off([DATA[:HALF]], cut=True)

    async def receive() -> Message:
        message: Message = await come()
        if message["type"] == "http.disconnect":
            await asyncio.Event().wait()
        return message

    headers = PIECE | phone.signed_in | {"Upload-Offset": "0", "Content-Length": str(len(DATA))}
    status, told = asyncio.run(asgi("PATCH", path, headers, receive))
    assert (status, told["tus-resumable"]) == (408, "1.0.0")
    assert phone.offset(path) == HALF


def test_a_body_that_is_too_long_or_unwanted_is_never_read(phone: Phone) -> None:
    path = phone.opened(len(DATA))

    async def receive() -> Message:
        raise AssertionError("the body was read")

    for headers in ({"Content-Length": "16000000"}, {"Content-Type": "image/jpeg"}, {"Upload-Offset": "7"}):
        sent = PIECE | phone.signed_in | {"Upload-Offset": "0", "Content-Length": "10"} | headers
        status, _ = asyncio.run(asgi("PATCH", path, sent, receive))
        assert status in (409, 413, 415)


@pytest.mark.parametrize("kind", ["citizen", "staff"])
def test_of_two_at_once_one_is_told_to_wait_and_a_slow_one_holds_no_connection(committed: Database, kind: str) -> None:
    with db.transaction() as session:
        viewer = make.citizen(session) if kind == "citizen" else make.staff(session, "dispatcher")
    upload = actions.create(viewer.id, len(DATA), "")
    path, held, twin = f"/v1/uploads/{upload.id}", [], []
    headers = PIECE | make.bearer(viewer) | {"Upload-Offset": "0", "Content-Length": str(len(DATA))}
    pieces = iter([DATA[:HALF], DATA[HALF:]])

    async def receive() -> Message:
        held.append(db.engine().pool.checkedout())  # type: ignore[attr-defined]
        piece = next(pieces)
        if not piece.endswith(DATA[-10:]):
            return {"type": "http.request", "body": piece, "more_body": True}
        twin.append(await asgi("PATCH", path, headers, broken_off([DATA], cut=False)))
        twin.append(await asgi("DELETE", path, headers, broken_off([b""], cut=False)))
        assert actions.sweep_expired(10) == 0
        return {"type": "http.request", "body": piece, "more_body": False}

    status, told = asyncio.run(asgi("PATCH", path, headers, receive))
    assert (status, told["phananh-media-id"]) == (204, str(upload.id))
    assert held == [0, 0]
    assert [status for status, _ in twin] == [423, 423]
    assert all(told["retry-after"] for _, told in twin)
