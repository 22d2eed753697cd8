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


ALPHABET = "aăâbcdđeêghiklmnoôơpqrstuưvxy"  # as it is taught
TONES = ("", "\u0300", "\u0309", "\u0303", "\u0301", "\u0323")
VOWELS = set("aăâeêioôơuưy")
LETTER = st.sampled_from(ALPHABET).flatmap(
    lambda letter: st.tuples(st.just(letter), st.integers(0, 5 if letter in VOWELS else 0))
)
WORD = st.lists(LETTER, max_size=6)
Word = list[tuple[str, int]]


def spelled(word: Word) -> str:
    return unicodedata.normalize("NFC", "".join(letter + TONES[tone] for letter, tone in word))


@given(WORD, WORD, st.booleans())
def test_letters_decide_in_the_order_of_the_alphabet_and_tones_only_between_equal_letters(
    one: Word, other: Word, upper: bool
) -> None:
    def rank(word: Word) -> tuple[list[int], list[int]]:
        return [ALPHABET.index(letter) for letter, _ in word], [tone for _, tone in word]

    written = spelled(one).upper() if upper else unicodedata.normalize("NFD", spelled(one))
    key, key_of_other = sort_key(written), sort_key(spelled(other))
    assert (key < key_of_other, key == key_of_other) == (rank(one) < rank(other), rank(one) == rank(other))


def test_signs_digits_and_foreign_letters_have_their_places() -> None:
    ordered = ["Tổ", "Tổ 1", "Tổ 2", "Tổ 9", "Tổ an", "Tổ жук", "Tổ-2", "Tổ2", "Tôn"]
    shuffled = [ordered[place] for place in (4, 0, 8, 2, 6, 1, 7, 3, 5)]
    assert sorted(shuffled, key=sort_key) == ordered


@given(st.text())
def test_every_text_has_a_place(text: str) -> None:
    assert set(sort_key(text)) <= set("0123456789 ")
