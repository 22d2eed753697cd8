"""However a file is cut into pieces, whatever breaks off or comes twice, the same bytes arrive."""

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core import storage
from app.core.db import Session
from app.core.limits import Limit
from app.media.models import Media
from app.uploads import api
from tests.media import pictures
from tests.uploads.conftest import files
from tests.uploads.phone import PIECE, Phone, asgi, broken_off, checksum

DATA = pictures.jpeg(120, 90)

# How one request goes: how many bytes it announces, where the line breaks (in tenths of it), how it is sent.
requests = st.tuples(
    st.integers(1, len(DATA)),
    st.integers(0, 10),
    st.sampled_from(["plain", "chunked", "checksum", "damaged", "again", "ahead"]),
)


def test_any_split_with_any_cuts_and_repeats_gives_the_same_bytes(
    phone: Phone, session: Session, monkeypatch: Any
) -> None:
    monkeypatch.setattr(api, "PIECES_PER_HOUR", Limit("upload-pieces", 10**9, 3600))
    monkeypatch.setattr(api, "UPLOADS_PER_HOUR", Limit("uploads", 10**9, 3600))

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(requests, max_size=8), st.sampled_from([1, 100, 1 << 20]))
    def check(sent: list[tuple[int, int, str]], step: int) -> None:
        monkeypatch.setattr("app.uploads.rules.STEP_BYTES", step)
        path = phone.opened(len(DATA))
        for size, tenths, how in sent:
            at = phone.offset(path)
            if at == len(DATA):
                break
            came = one(phone, path, at, DATA[at : at + size], tenths, how)
            now = phone.offset(path)
            expected = at if how in ("again", "ahead", "damaged") else at + came
            if now != len(DATA):
                expected = min(expected, len(DATA) - 1)
            if how == "checksum" and tenths < 10:
                expected = at
            assert now == expected
        at = phone.offset(path)
        if at < len(DATA):
            assert phone.append(path, at, DATA[at:]).status_code == 204
        media_id = phone.head(path).headers["phananh-media-id"]
        session.expire_all()
        assert storage.get(session.get_one(Media, media_id).original_key) == DATA
        assert files() == []

    check()


def one(phone: Phone, path: str, at: int, data: bytes, tenths: int, how: str) -> int:
    """One request; how many of its bytes came."""
    came = len(data) * tenths // 10
    cut = tenths < 10
    offset = {"again": at - 1 if at else at + 1, "ahead": at + 1}.get(how, at)
    headers = PIECE | phone.signed_in | {"Upload-Offset": str(offset)}
    headers |= {"Transfer-Encoding": "chunked"} if how == "chunked" else {"Content-Length": str(len(data))}
    if how in ("checksum", "damaged"):
        headers |= checksum(data if how == "checksum" else data + b"!")
    pieces = [data[: came // 3], data[came // 3 : came]]
    asyncio.run(asgi("PATCH", path, headers, broken_off(pieces, cut=cut)))
    return came
