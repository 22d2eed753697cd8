"""Idempotency keys: a request that creates, sent twice, gets one effect and the same answer (API.md)."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Response
from sqlalchemy import text

from app.core import clock
from app.core.db import Session
from app.core.errors import Problem

KEPT = timedelta(days=30)
KEY_MISSING = Problem(
    "idempotency_key_missing",
    400,
    vi=("Thiếu Idempotency-Key", "Mỗi yêu cầu tạo mới cần một Idempotency-Key dạng UUID do ứng dụng sinh ra."),
    en=("Idempotency-Key missing", "Every creating request carries an Idempotency-Key, a UUID made by the app."),
)
KEY_INVALID = Problem(
    "idempotency_key_invalid",
    400,
    vi=("Idempotency-Key không hợp lệ", "Idempotency-Key phải là một UUID."),
    en=("Idempotency-Key not valid", "Idempotency-Key must be a UUID."),
)
KEY_BUSY = Problem(
    "idempotency_key_busy",
    409,
    vi=("Đang xử lý yêu cầu này", "Yêu cầu cùng khóa đang được xử lý. Vui lòng gửi lại sau 1 giây với cùng khóa."),
    en=("In progress", "A request with this key is being handled. Send it again in a second with the same key."),
    retry="after",
)
KEY_REUSED = Problem(
    "idempotency_key_reused",
    422,
    vi=("Khóa đã dùng cho nội dung khác", "Idempotency-Key này đã được dùng cho một nội dung khác. Hãy tạo khóa mới."),
    en=("Key used for another body", "This Idempotency-Key was used with another body. Make a new key."),
)


# async without awaiting anything: a plain function would cost a hop to a thread on the hot path.
async def _required_key(idempotency_key: Annotated[str | None, Header()] = None) -> UUID:
    if idempotency_key is None:
        raise KEY_MISSING.error()
    try:
        return UUID(idempotency_key)
    except ValueError as error:
        raise KEY_INVALID.error() from error


RequiredKey = Annotated[UUID, Depends(_required_key)]


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer as it was given: HTTP status and body bytes."""

    status: int
    body: bytes

    def response(self, headers: dict[str, str] | None = None) -> Response:
        """The same answer on the wire, byte for byte, however often it is asked for."""
        return Response(self.body, self.status, headers, media_type="application/json")


def request_hash(operation: str, payload: bytes) -> bytes:
    """What a key stands for: the operation with its path, and the payload."""
    return hashlib.sha256(operation.encode() + b"\x00" + payload).digest()


def lock_number(account_id: UUID, key: UUID) -> int:
    """The advisory lock of one account's key, a signed 64-bit number."""
    return int.from_bytes(hashlib.sha256(account_id.bytes + key.bytes).digest()[:8], "big", signed=True)


def stored(session: Session, account_id: UUID, key: UUID, hashed: bytes) -> Stored | None:
    """The answer already given under this key; another payload under it is refused."""
    row = session.execute(
        text("SELECT request_hash, status, body FROM idempotency_key WHERE account_id = :account AND key = :key"),
        {"account": account_id, "key": key},
    ).one_or_none()
    if row is None:
        return None
    if bytes(row.request_hash) != hashed:
        raise KEY_REUSED.error()
    return Stored(row.status, bytes(row.body))


def keep(session: Session, account_id: UUID, key: UUID, hashed: bytes, answer: Stored) -> Stored:
    """Store the answer given under a key, unless one is stored already; returns `answer`."""
    session.execute(
        text(
            "INSERT INTO idempotency_key (account_id, key, request_hash, status, body, created_at)"
            " VALUES (:account, :key, :hash, :status, :body, :at) ON CONFLICT DO NOTHING"
        ),
        {
            "account": account_id,
            "key": key,
            "hash": hashed,
            "status": answer.status,
            "body": answer.body,
            "at": clock.now(),
        },
    )
    return answer


def forget(session: Session) -> None:
    """Drop answers that are older than a key is good for; from then on the report's own id decides (API.md)."""
    session.execute(text("DELETE FROM idempotency_key WHERE created_at < :at"), {"at": clock.now() - KEPT})


def once(session: Session, account_id: UUID, key: UUID, hashed: bytes, act: Callable[[], Stored]) -> Stored:
    """Do `act` at most once per account and key; a repeat gets the first answer, a concurrent twin 409."""
    got = session.execute(
        text("SELECT pg_try_advisory_xact_lock(:n)"), {"n": lock_number(account_id, key)}
    ).scalar_one()
    if not got:
        raise KEY_BUSY.error(headers={"Retry-After": "1"})
    before = stored(session, account_id, key, hashed)
    if before is not None:
        return before
    return keep(session, account_id, key, hashed, act())
