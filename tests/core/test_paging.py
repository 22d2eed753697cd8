"""Cursors are opaque, typed, and refused when somebody else made them."""

import base64
import json
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from app.core.errors import DomainError
from app.core.paging import cut, decode_cursor, encode_cursor


def test_a_cursor_carries_its_values() -> None:
    values = (True, datetime(2026, 3, 2, 1, 2, 3, 456789, tzinfo=UTC), uuid4())
    assert decode_cursor(encode_cursor(*values), bool, datetime, type(values[2])) == list(values)


@pytest.mark.parametrize("bad", ["", "zzz", "e30", "WzFd", "WzEsMl0", "é", "W251bGxd"])
def test_a_forged_cursor_is_a_clear_400(bad: str) -> None:
    with pytest.raises(DomainError) as refused:
        decode_cursor(bad, datetime)
    assert refused.value.problem.status == 400


@pytest.mark.parametrize(("kind", "values"), [(UUID, [5]), (bool, [1]), (int, [True]), (str, [{}]), (UUID, [[]])])
def test_values_of_another_type_are_the_same_400(kind: type[object], values: list[object]) -> None:
    text = base64.urlsafe_b64encode(json.dumps(values).encode()).decode()
    with pytest.raises(DomainError) as refused:
        decode_cursor(text, kind)
    assert refused.value.problem.status == 400


def test_the_last_page_has_no_cursor() -> None:
    assert cut([1, 2], 2, lambda row: (row,)) == ([1, 2], None)
    page, following = cut([1, 2, 3], 2, lambda row: (row,))
    assert page == [1, 2]
    assert following
    assert decode_cursor(following, int) == [2]
