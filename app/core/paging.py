"""Opaque keyset cursors: where the last page ended, not how many rows to skip."""

import base64
import json
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel

from app.core.errors import Problem

T = TypeVar("T")
MAX_LIMIT = 100

BAD_CURSOR = Problem(
    "bad_cursor",
    400,
    vi=("Con trỏ trang không hợp lệ", "Vui lòng tải lại danh sách từ đầu."),
    en=("Bad cursor", "Load the list again from its start."),
)

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows on one page.")]
CursorText = Annotated[str | None, Query(alias="cursor", max_length=400, description="`next_cursor` of the page before.")]


class Page(BaseModel, Generic[T]):
    """One page of rows and the cursor of the next, None on the last."""

    items: list[T]
    next_cursor: str | None = None


def encode_cursor(*values: Any) -> str:
    """The sort values of a page's last row as one opaque word."""
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return base64.urlsafe_b64encode(json.dumps(plain, default=str).encode()).decode().rstrip("=")


def decode_cursor(text: str, size: int) -> list[Any]:
    """The values of `encode_cursor`; a cursor this server did not make is a clear 400."""
    try:
        values = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError as error:
        raise BAD_CURSOR.error() from error
    if not isinstance(values, list) or len(values) != size:
        raise BAD_CURSOR.error()
    return values
