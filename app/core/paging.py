"""Opaque keyset cursors: where the last page ended, not how many rows to skip."""

import base64
import json
from collections.abc import Callable, Sequence
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
CursorText = Annotated[
    str | None, Query(alias="cursor", max_length=400, description="`next_cursor` of the page before.")
]


class Page(BaseModel, Generic[T]):
    """One page of rows and the cursor of the next, None on the last."""

    items: list[T]
    next_cursor: str | None = None


def cut(rows: Sequence[T], limit: int, key: Callable[[T], tuple[object, ...]]) -> tuple[list[T], str | None]:
    """One page out of `limit` + 1 rows read, and the cursor of the next where the extra row came."""
    page = list(rows[:limit])
    return page, encode_cursor(*key(page[-1])) if len(rows) > limit else None


def encode_cursor(*values: object) -> str:
    """The sort values of a page's last row as one opaque word."""
    plain = [value if isinstance(value, bool | int) else _text(value) for value in values]
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).decode().rstrip("=")


def decode_cursor(text: str, *types: type[object]) -> list[Any]:
    """The values of `encode_cursor`, of the types given; a cursor this server did not make is a clear 400."""
    try:
        values = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return [_parsed(value, kind) for value, kind in zip(values, types, strict=True)]
    except (ValueError, TypeError) as error:
        raise BAD_CURSOR.error() from error


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _parsed(value: Any, kind: type[object]) -> Any:
    if kind is datetime:
        return datetime.fromisoformat(value)
    if kind in (bool, int):
        if type(value) is not kind:
            raise TypeError(value)
        return value
    if not isinstance(value, str):  # UUID(5) is no ValueError
        raise TypeError(value)
    return kind(value)  # type: ignore[call-arg]
