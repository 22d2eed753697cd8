"""Words: folded alike in what is stored and in what is asked."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.search.rules import document, patterns, words


def finds(asked: str, *parts: str) -> bool:
    """What LIKE does with the patterns, all of which must match."""
    held, wanted = document(parts), patterns(asked)
    assert all(re.fullmatch(r"% [\w ]+%", pattern) for pattern in wanted)
    return bool(wanted) and all(pattern.strip("%") in held for pattern in wanted)


SAID = "Hố ga mất nắp trước cổng trường Đồng Bẩm, rất nguy hiểm (gọi 0912 345 678)."


@pytest.mark.parametrize(
    "asked",
    [
        "hố ga",
        "ho ga",
        "HỐ GA MẤT NẮP",
        unicodedata.normalize("NFD", "mất nắp"),
        "dong bam",
        "đồng bẩm",
        "Đồng",
        "nguy hiểm cổng",  # in any order
        "nắp tru",  # the last word is still being typed
        '"truoc cong"',
        "truoc-cong",
        "0912 345",
        "0912.345.678",
        "nguy  hiểm!",
    ],
)
def test_found(asked: str) -> None:
    assert finds(asked, SAID)


@pytest.mark.parametrize("asked", ["h", "ga ho cong chua", "ruong", '"ga ho"', "ho-nap", "truo cong", '"truo"'])
def test_not_found(asked: str) -> None:
    assert not finds(asked, SAID)


@pytest.mark.parametrize("asked", ["", " ", "%", "_", "'", '"', "a", "đ ê", "\\", "…"])
def test_too_little_to_search_for(asked: str) -> None:
    assert patterns(asked) == []


def test_words_that_stand_together_stand_in_one_part() -> None:
    assert finds("gia sang", "đường gia", "sàng lọc")
    assert not finds('"gia sang"', "đường gia", "sàng lọc")
    assert document([None, "", "…", "Ổ gà"]) == " o ga "


@given(st.text(max_size=200), st.text(max_size=200))
def test_what_was_said_is_found_by_its_own_words(said: str, other: str) -> None:
    found = words(said)
    if any(len(word) >= 2 for word in found):
        assert finds(" ".join(found), said, other)
        assert finds(said.replace('"', " "), other, said)


@given(st.text())
def test_patterns_hold_nothing_a_database_would_read(asked: str) -> None:
    for pattern in patterns(asked):
        assert re.fullmatch(r"% [^\W_]+( [^\W_]+)* ?%", pattern)
