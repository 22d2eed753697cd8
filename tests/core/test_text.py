"""Vietnamese text: kept, folded, sorted."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.text import clean, fold, sort_key


@pytest.mark.parametrize("bad", ["có\x00null", "lẻ \ud83d", "\udc00"])
def test_what_a_database_cannot_hold_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="the text holds"):
        clean(bad)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))
def test_clean_is_composed_and_stable(text: str) -> None:
    cleaned = clean(text)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize(
    ("typed", "folded"),
    [
        ("Đường Hoà Bình", "duong hoa binh"),
        ("HÒA  BÌNH", "hoa binh"),
        ("hoa\u0300 bi\u0300nh", "hoa binh"),
        ("ĐĐ", "dd"),
    ],
)
def test_folding_forgets_marks_and_knows_that_dyet_is_d(typed: str, folded: str) -> None:
    assert fold(typed) == folded


def test_vietnamese_order_puts_dyet_after_d_and_tones_last() -> None:
    words = ["Đa", "Da", "Dê", "De", "Ê", "E", "Êa", "Em", "Dã", "Dà", "Dạ", "Dá", "Dả", "Zơ"]
    ordered = ["Da", "Dà", "Dả", "Dã", "Dá", "Dạ", "De", "Dê", "Đa", "E", "Em", "Ê", "Êa", "Zơ"]
    assert sorted(words, key=sort_key) == ordered
