"""Uploads and pictures over HTTP: what is accepted, what is refused, what is served."""

import asyncio
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from sqlmodel import select
from starlette.types import Message

from app.core import clock, db, storage
from app.core.config import settings
from app.core.db import Session
from app.core.limits import Limit
from app.embedded import Database
from app.identity.models import Account
from app.main import app
from app.media import actions, api, rules
from app.media.models import Media
from app.media.policy import LINK_LIFETIME
from app.pictures.rules import derive
from tests.media import pictures
from tests.media.conftest import Upload
from tests.media.test_rules import REFUSED, bare
from tests.support import make, places

Rows = Callable[..., list[Media]]


def problem(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


def objects() -> list[str]:
    root = Path(settings().var_dir) / "media"
    return [str(path) for path in root.rglob("*") if path.is_file()]


# --- the way a picture takes ---------------------------------------------------------------------------------------


def test_from_upload_to_picture(client: TestClient, session: Session, upload: Upload) -> None:
    citizen = make.citizen(session)
    data = pictures.jpeg(4000, 3000, exif=pictures.exif(orientation=6))
    answer = upload(citizen, data)
    assert answer.status_code == 201
    body = answer.json()
    assert (body["state"], body["detected_type"], body["bytes"]) == ("processing", "image/jpeg", len(data))
    assert (body["large"], body["small"]) == (None, None)
    headers, address = make.bearer(citizen), f"/v1/media/{body['id']}"
    assert client.get(address, headers=headers).json()["state"] == "processing"
    waiting = client.get(f"{address}/large", headers=headers)
    assert problem(waiting) == (404, "media_not_ready")
    assert waiting.headers["retry-after"]

    assert actions.process_owed(derive) == 1
    body = client.get(address, headers=headers).json()
    assert (body["state"], body["width"], body["height"]) == ("processed", 1200, 1600)
    for size, side in (("large", 1600), ("small", 320)):
        assert body[size] == f"{address}/{size}"
        redirect = client.get(body[size], headers=headers, follow_redirects=False)
        assert redirect.status_code == 307
        assert "no-store" in redirect.headers["cache-control"]
        served = client.get(redirect.headers["location"])
        assert served.status_code == 200
        assert served.headers["content-type"] == "image/webp"
        assert served.headers["x-content-type-options"] == "nosniff"
        assert served.headers["content-disposition"] == "inline"
        assert served.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert served.headers["cache-control"] == "private, no-store"
        assert bare(served.content)
        assert max(Image.open(io.BytesIO(served.content)).size) == side


def test_heic_from_a_phone_comes_out_as_webp_without_exif(
    client: TestClient, session: Session, upload: Upload, real_data: Path
) -> None:
    citizen = make.citizen(session)
    data = (real_data / "photos" / "IMG_5195.HEIC").read_bytes()
    assert b"Apple" in data
    answer = upload(citizen, data)
    assert answer.json()["detected_type"] == "image/heic"
    actions.process_owed(derive)
    served = client.get(f"/v1/media/{answer.json()['id']}/large", headers=make.bearer(citizen))
    assert (served.status_code, served.headers["content-type"]) == (200, "image/webp")
    assert bare(served.content)


def test_the_original_and_its_hints_are_nowhere_in_an_answer(
    client: TestClient, session: Session, upload: Upload, rows: Rows
) -> None:
    citizen = make.citizen(session)
    first = upload(citizen, pictures.jpeg(exif=pictures.exif()))
    actions.process_owed(derive)
    (media,) = rows(first.json()["id"])
    assert media.exif_lat == pytest.approx(21.594167, abs=1e-5)
    seen = client.get(f"/v1/media/{media.id}", headers=make.bearer(citizen)).text
    location = client.get(f"/v1/media/{media.id}/large", headers=make.bearer(citizen), follow_redirects=False).headers[
        "location"
    ]
    for secret in (media.original_key, media.large_key, "21.59", "105.84", "exif", "sha256"):
        assert secret not in first.text + seen + location
    names = {media.original_key, media.large_key, media.small_key}
    assert not any(name.split("/")[-1].split("-")[0] in media.original_key for name in names - {media.original_key})
    assert (media.sha256 or b"").hex() not in " ".join(names)


def test_two_accounts_share_nothing(session: Session, upload: Upload, rows: Rows) -> None:
    same = pictures.jpeg()
    ids = [upload(make.citizen(session), same).json()["id"] for _ in range(2)]
    one, other = rows(*ids)
    assert one.sha256 == other.sha256
    assert not {one.original_key, one.large_key, one.small_key} & {other.original_key, other.large_key, other.small_key}


def test_staff_upload_after_photos(session: Session, upload: Upload) -> None:
    assert upload(make.staff(session, "officer", places.codes()[0])).status_code == 201


# --- what is refused -----------------------------------------------------------------------------------------------

STATUS = {rules.UNSUPPORTED: 415}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_pictures_are_refused_and_nothing_is_kept(session: Session, upload: Upload, rows: Rows, name: str) -> None:
    data, code = REFUSED[name]
    before = objects()
    answer = upload(make.citizen(session), data)
    assert problem(answer) == (STATUS.get(code, 422), code)
    assert answer.json()["retry"] == "never"
    assert "…" not in answer.json()["detail"]
    assert rows() == []
    assert objects() == before


def test_bytes_are_limited(session: Session, upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    citizen, data = make.citizen(session), pictures.jpeg(800, 600)
    monkeypatch.setattr(rules, "MAX_BYTES", len(data))
    assert upload(citizen, data).status_code == 201
    assert problem(upload(citizen, data + b"\x00")) == (413, "media_too_large")
    assert problem(upload(citizen, data + bytes(api.ENVELOPE_BYTES * 2))) == (413, "media_too_large")


@pytest.mark.parametrize(
    "request_parts",
    [
        {},
        {"json": {}},
        {"content": b"\xff\xd8\xff"},
        {"content": b"nothing", "headers": {"Content-Type": "multipart/form-data"}},
        {"content": b"--x\r\nnothing", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        {"files": {"photo": ("a.jpg", b"x")}},
        {"files": [("file", ("a.jpg", b"x")), ("file", ("b.jpg", b"x"))]},
        {"files": {"file": ("a.jpg", b"x")}, "data": {"note": "x" * 2000}},
        {"files": {"other": ("", b"")}, "data": {"file": "not a file"}},
    ],
)
def test_other_forms_are_refused(client: TestClient, session: Session, request_parts: dict[str, Any]) -> None:
    headers = make.bearer(make.citizen(session)) | make.key() | request_parts.pop("headers", {})
    assert problem(client.post("/v1/media", headers=headers, **request_parts)) == (422, "media_form_invalid")


def test_only_somebody_signed_in_uploads(client: TestClient) -> None:
    answer = client.post("/v1/media", files={"file": ("a.jpg", pictures.jpeg())}, headers=make.key())
    assert problem(answer) == (401, "unauthenticated")


def test_a_key_is_required_and_repeats_the_answer(
    client: TestClient, session: Session, upload: Upload, rows: Rows
) -> None:
    citizen, key, data = make.citizen(session), make.key(), pictures.jpeg()
    files = {"file": ("a.jpg", data)}
    missing = client.post("/v1/media", files=files, headers=make.bearer(citizen))
    assert problem(missing) == (400, "idempotency_key_missing")
    first, again = upload(citizen, data, key), upload(citizen, data, key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert len(rows()) == 1
    assert problem(upload(citizen, pictures.jpeg(65, 48), key)) == (422, "idempotency_key_reused")
    assert upload(make.citizen(session), data, key).json()["id"] != first.json()["id"]


def test_a_blocked_account_with_a_valid_token_uploads_nothing(session: Session, upload: Upload, rows: Rows) -> None:
    citizen = make.citizen(session)
    session.get_one(Account, citizen.id).status = "blocked"
    session.commit()
    assert problem(upload(citizen)) == (401, "unauthenticated")
    assert rows() == []


def test_uploads_are_limited_by_account(
    session: Session, upload: Upload, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("PHANANH_LIMITS_SCALE", str(2.5 / api.UPLOADS_PER_HOUR.quota))
    settings.cache_clear()
    request.addfinalizer(settings.cache_clear)
    citizen = make.citizen(session)
    assert [upload(citizen).status_code for _ in range(3)] == [201, 201, 429]
    refused = upload(citizen)
    assert problem(refused) == (429, "too_many_requests")
    assert int(refused.headers["retry-after"]) > 0
    assert '"uploads"' in refused.headers["ratelimit"]
    assert upload(make.citizen(session)).status_code == 201


def test_bytes_are_limited_by_account(session: Session, upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pictures.jpeg(300, 200)
    monkeypatch.setattr(api, "BYTES_PER_DAY", Limit("upload-bytes", len(data) + 10, 86_400))
    citizen = make.citizen(session)
    assert upload(citizen, data).status_code == 201
    assert problem(upload(citizen, data)) == (429, "too_many_requests")


def test_storage_that_is_away_is_said_so_and_the_same_key_may_come_again(
    session: Session, upload: Upload, rows: Rows, storage_away: Callable[[bool], None]
) -> None:
    citizen, key, data = make.citizen(session), make.key(), pictures.jpeg()
    storage_away(True)
    answer = upload(citizen, data, key)
    assert problem(answer) == (503, "unavailable")
    assert answer.json()["retry"] == "same_key"
    assert rows() == []
    storage_away(False)
    assert upload(citizen, data, key).status_code == 201


# --- slow, cut and endless bodies, without a server in between -----------------------------------------------------


async def _asgi(headers: dict[str, str], receive: Any) -> tuple[int, bytes]:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/media",
        "raw_path": b"/v1/media",
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


FORM = {"Content-Type": "multipart/form-data; boundary=x"}
HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


def test_an_announced_body_that_is_too_large_is_never_read(connection: object, session: Session) -> None:
    async def receive() -> Message:
        raise AssertionError("the body was read")

    headers = make.bearer(make.citizen(session)) | make.key() | FORM | {"Content-Length": "16000000"}
    status, body = asyncio.run(_asgi(headers, receive))
    assert (status, b"media_too_large" in body) == (413, True)


def test_an_endless_body_is_cut_at_the_limit(connection: object, session: Session) -> None:
    read = 0

    async def receive() -> Message:
        nonlocal read
        chunk = HEAD if not read else bytes(1 << 20)
        read += len(chunk)
        return {"type": "http.request", "body": chunk, "more_body": True}

    headers = make.bearer(make.citizen(session)) | make.key() | FORM
    status, body = asyncio.run(_asgi(headers, receive))
    assert (status, b"media_too_large" in body) == (413, True)
    assert read < rules.MAX_BYTES + (2 << 20)


@pytest.mark.parametrize("ending", ["cut", "slow"])
def test_an_upload_that_never_ends_is_given_up(
    connection: object, session: Session, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(api, "UPLOAD_SECONDS", 0.2)
    parts = iter([HEAD, pictures.jpeg()[:100]])

    async def receive() -> Message:
        part = next(parts, None)
        if part is not None:
            return {"type": "http.request", "body": part, "more_body": True}
        if ending == "cut":
            return {"type": "http.disconnect"}
        await asyncio.Event().wait()
        raise AssertionError

    headers = make.bearer(make.citizen(session)) | make.key() | FORM
    status, body = asyncio.run(_asgi(headers, receive))
    assert (status, b"media_upload_too_slow" in body) == (408, True)


@pytest.mark.parametrize("kind", ["citizen", "staff"])
def test_a_slow_upload_holds_no_database_connection(committed: Database, kind: str) -> None:
    with db.transaction() as session:
        uploader = make.citizen(session) if kind == "citizen" else make.staff(session, "dispatcher")
    held: list[int] = []
    parts = iter([HEAD, pictures.jpeg(), b"\r\n--x--\r\n"])

    async def receive() -> Message:
        held.append(db.engine().pool.checkedout())  # type: ignore[attr-defined]
        part = next(parts)
        return {"type": "http.request", "body": part, "more_body": not part.startswith(b"\r\n--x--")}

    status, body = asyncio.run(_asgi(make.bearer(uploader) | make.key() | FORM, receive))
    assert status == 201, body
    assert held == [0, 0, 0]


# --- who sees what -------------------------------------------------------------------------------------------------


def test_somebody_elses_picture_does_not_exist(client: TestClient, session: Session, upload: Upload) -> None:
    media_id = upload(make.citizen(session)).json()["id"]
    actions.process_owed(derive)
    others = [make.bearer(make.citizen(session)), make.bearer(make.staff(session, "dispatcher"))]
    for headers in others:
        assert problem(client.get(f"/v1/media/{media_id}", headers=headers)) == (404, "not_found")
        assert problem(client.get(f"/v1/media/{media_id}/large", headers=headers)) == (404, "not_found")
    assert problem(client.get(f"/v1/media/{media_id}/large")) == (404, "not_found")
    assert problem(client.get(f"/v1/media/{media_id}")) == (401, "unauthenticated")
    assert problem(client.get(f"/v1/media/{uuid4()}/small", headers=others[0])) == (404, "not_found")
    assert problem(client.get(f"/v1/media/{media_id}/original", headers=others[0])) == (422, "invalid")


def link(client: TestClient, media_id: str, headers: dict[str, str], size: str = "large") -> str:
    answer = client.get(f"/v1/media/{media_id}/{size}", headers=headers, follow_redirects=False)
    assert answer.status_code == 307, answer.text
    return str(answer.headers["location"])


@pytest.fixture
def processed(session: Session, upload: Upload) -> tuple[dict[str, str], str]:
    """A citizen's headers and the id of their processed picture."""
    citizen = make.citizen(session)
    media_id = upload(citizen).json()["id"]
    actions.process_owed(derive)
    return make.bearer(citizen), media_id


def test_a_link_lasts_a_minute(client: TestClient, processed: tuple[dict[str, str], str]) -> None:
    address = link(client, processed[1], processed[0])
    now = clock.now()
    with clock.travelled(now + LINK_LIFETIME * 0.9):
        assert client.get(address).status_code == 200
    with clock.travelled(now + LINK_LIFETIME * 1.1):
        assert problem(client.get(address)) == (404, "media_link_expired")


def test_a_link_cannot_be_bent(client: TestClient, processed: tuple[dict[str, str], str]) -> None:
    small, large = (link(client, processed[1], processed[0], size) for size in ("small", "large"))
    token = large.rpartition("/")[2]
    body, _, signature = token.partition(".")
    bent = [
        f"{small.rpartition('/')[2].partition('.')[0]}.{signature}",
        f"{body}.{signature[:-1]}{'A' if signature[-1] != 'A' else 'B'}",
        body,
        f"{body}.",
        f".{signature}",
        "%00",
        "é.é",
        "=.=",
    ]
    for other in bent:
        assert problem(client.get(f"/v1/files/{other}")) == (404, "media_link_expired")


def test_deletion_stops_every_address_at_once(
    client: TestClient, session: Session, processed: tuple[dict[str, str], str], rows: Rows
) -> None:
    headers, media_id = processed
    address = link(client, media_id, headers)
    (media,) = rows(media_id)
    actions.request_deletion(session, media)
    session.commit()
    assert problem(client.get(address)) == (404, "not_found")
    assert problem(client.get(f"/v1/media/{media_id}", headers=headers)) == (404, "not_found")
    assert problem(client.get(f"/v1/media/{media_id}/large", headers=headers)) == (404, "not_found")
    assert (media.exif_lat, media.dhash, media.sha256) == (None, None, None)


def test_a_lost_derivative_is_absent_not_a_crash(
    client: TestClient, processed: tuple[dict[str, str], str], rows: Rows
) -> None:
    headers, media_id = processed
    storage.delete(rows(media_id)[0].large_key)
    assert problem(client.get(link(client, media_id, headers))) == (404, "not_found")


def test_a_failure_is_told_to_its_owner_and_never_served(client: TestClient, session: Session, upload: Upload) -> None:
    """A sound header over missing pixels: accepted, then found out by the decoder."""
    data = bytearray(pictures.saved(pictures.drawn(), "PNG"))
    data[60:90] = bytes(30)
    citizen = make.citizen(session)
    media_id = upload(citizen, bytes(data)).json()["id"]
    actions.process_owed(derive)
    headers = make.bearer(citizen)
    vietnamese = client.get(f"/v1/media/{media_id}", headers=headers).json()
    assert (vietnamese["state"], vietnamese["failure_code"]) == ("failed", "media_broken")
    assert "Không đọc được ảnh" in vietnamese["failure"]
    english = client.get(f"/v1/media/{media_id}", headers=headers | {"Accept-Language": "en"}).json()
    assert "cannot be read" in english["failure"]
    assert (vietnamese["large"], vietnamese["small"]) == (None, None)
    for size in ("large", "small"):
        assert problem(client.get(f"/v1/media/{media_id}/{size}", headers=headers)) == (404, "media_not_shown")


def test_no_picture_holds_up_a_report(client: TestClient, session: Session, upload: Upload) -> None:
    """Unprocessed and failed ones go along; somebody else's and unknown ones are named."""
    citizen = make.citizen(session)
    broken = bytearray(pictures.saved(pictures.drawn(), "PNG"))
    broken[60:90] = bytes(30)
    failed = upload(citizen, bytes(broken)).json()["id"]
    actions.process_owed(derive)
    waiting = upload(citizen).json()["id"]
    assert make.submit(client, citizen, make.report_body(media_ids=[failed, waiting]))
    stranger = upload(make.citizen(session)).json()["id"]
    mine = upload(citizen).json()["id"]
    for other in (stranger, str(uuid4())):
        headers = make.bearer(citizen) | make.key()
        answer = client.post("/v1/reports", json=make.report_body(media_ids=[mine, other]), headers=headers)
        assert problem(answer) == (422, "media_not_found")
        assert answer.json()["errors"][0]["pointer"] == "/media_ids/1"


def test_a_hidden_report_takes_its_pictures_along(client: TestClient, session: Session, upload: Upload) -> None:
    """The link of a minute ago dies with it, and lives again when it is shown again."""
    citizen, dispatcher = make.citizen(session), make.staff(session, "dispatcher")
    media_id = upload(citizen).json()["id"]
    actions.process_owed(derive)
    case_id = make.routed(session, client, citizen, media_ids=[media_id])
    assert client.get(f"/v1/media/{media_id}/large").status_code == 404  # not published yet
    assert make.move(client, dispatcher, case_id, "publish", {}).status_code == 200
    address = link(client, media_id, {})
    served = client.get(address)
    assert (served.status_code, served.headers["cache-control"]) == (200, "private, max-age=60")

    assert make.move(client, dispatcher, case_id, "hide", {"reason": "Lộ biển số xe"}).status_code == 200
    assert problem(client.get(address)) == (404, "not_found")
    for size in ("large", "small"):
        assert problem(client.get(f"/v1/media/{media_id}/{size}")) == (404, "not_found")
        stranger = make.bearer(make.citizen(session))
        assert problem(client.get(f"/v1/media/{media_id}/{size}", headers=stranger)) == (404, "not_found")
        assert client.get(f"/v1/media/{media_id}/{size}", headers=make.bearer(citizen)).status_code == 200
        assert client.get(f"/v1/media/{media_id}/{size}", headers=make.bearer(dispatcher)).status_code == 200

    assert make.move(client, dispatcher, case_id, "unhide", {"reason": "Đã che biển số"}).status_code == 200
    assert client.get(address).status_code == 200


def test_a_staff_link_ends_with_the_session(client: TestClient, session: Session, upload: Upload) -> None:
    citizen, dispatcher = make.citizen(session), make.staff(session, "dispatcher")
    media_id = upload(citizen).json()["id"]
    actions.process_owed(derive)
    make.routed(session, client, citizen, media_ids=[media_id])
    address = link(client, media_id, make.bearer(dispatcher))
    assert client.get(address).status_code == 200
    assert client.delete("/v1/auth/session", headers=make.bearer(dispatcher)).status_code == 204
    assert problem(client.get(address)) == (404, "not_found")


def test_ids_of_pictures_are_time_ordered_and_not_the_hash(session: Session, upload: Upload) -> None:
    citizen = make.citizen(session)
    ids = [UUID(upload(citizen).json()["id"]) for _ in range(3)]
    assert ids == sorted(ids)
    assert len(set(session.exec(select(Media.original_key)).all())) == 3
    assert os.sep not in str(ids[0])
