"""How alike two reports are: the labelled pairs as a whole, and each part of the ranking on its own."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.config import ROOT
from app.duplicates import rules
from app.duplicates.rules import Match, Photo, Said, compare, metres_apart, suspicions, text_likeness, words
from tests.duplicates.pairs import PAIRS, Pair

T0 = datetime(2026, 10, 1, 2, tzinfo=UTC)
OTHERS = {"same": ("o_ga", "giao_thong"), "group": ("bien_bao", "giao_thong"), "other": ("dot_rac", "moi_truong")}
PRECISION, RECALL = 0.85, 0.90


def match_of(pair: Pair) -> Match:
    one = Said(T0, pair.one, *OTHERS["same"], () if pair.bits is None else (0,))
    hashes = () if pair.bits is None else ((1 << pair.bits) - 1,)
    other = Said(T0 + timedelta(days=pair.days), pair.other, *OTHERS[pair.kind], hashes)
    return compare(one, other, pair.metres)


def measured() -> tuple[int, int, int]:
    """Pairs told to be the same and right, told to be the same and wrong, missed."""
    likely = [(match_of(pair).is_likely, pair.same) for pair in PAIRS]
    return likely.count((True, True)), likely.count((True, False)), likely.count((False, True))


def test_the_labelled_pairs_are_told_apart() -> None:
    hits, false_alarms, missed = measured()
    assert len(PAIRS) >= 60
    assert sum(pair.same for pair in PAIRS) >= 30
    assert sum(not pair.same for pair in PAIRS) >= 30
    assert hits / (hits + false_alarms) >= PRECISION
    assert hits / (hits + missed) >= RECALL


def test_the_document_prints_what_was_measured() -> None:
    hits, false_alarms, missed = measured()
    said = (ROOT / "docs" / "duplicates.md").read_text()
    precision, recall = hits / (hits + false_alarms), hits / (hits + missed)
    assert f"{len(PAIRS)} pairs, {sum(pair.same for pair in PAIRS)} of them the same problem" in said
    assert f"precision {precision:.2f} ({hits} of {hits + false_alarms})" in said
    assert f"recall {recall:.2f} ({hits} of {hits + missed})" in said
    for part, weight in rules.WEIGHTS.items():
        assert f"| {part} | {weight:.2f} |" in said


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("dduwowngf Beens Tuwowngj", "đường Bến Tượng"),
        ("nawps hoos ga bij maats", "nắp hố ga bị mất"),
        ("nasp hoos ga", "nắp hố ga"),
        ("ko có đèn đg", "không có đèn đường"),
        ("nc ngập wa", "nước ngập quá"),
        ("QL3", "Quốc lộ 3"),
        ("hoà bình", "hòa bình"),
        ("Đèn đường", "đèn đường"),
    ],
)
def test_what_is_typed_differently_is_the_same_words(typed: str, meant: str) -> None:
    assert words(typed) == words(meant)


@pytest.mark.parametrize("word", ["Thái", "xoong", "nghiêng", "khuỷu", "trách", "giếng", "kênh", "Quyết", "ngoặt"])
def test_a_word_that_was_typed_well_keeps_its_letters(word: str) -> None:
    assert words(word) == words(word + "!")
    assert len(words(word)[0]) >= len(word) - 1


TEXTS = st.text(alphabet="aăâbcdđeêghikloôơưu sfrxjw0123456789áàảãạ", max_size=60)


@given(TEXTS, TEXTS)
def test_likeness_of_words_is_a_symmetric_share(one: str, other: str) -> None:
    assert 0 <= text_likeness(one, other) <= 1 + 1e-9
    assert text_likeness(one, other) == pytest.approx(text_likeness(other, one))
    if words(one):
        assert text_likeness(one, one) == pytest.approx(1)


@given(TEXTS, TEXTS, st.floats(0, 240), st.floats(0, 9), st.floats(0, 300), st.booleans())
def test_nearer_sooner_or_the_same_photo_is_never_less_alike(
    one: str, other: str, metres: float, more: float, days: float, same_category: bool
) -> None:
    def score(*, metres: float = metres, days: float = days, hashes: tuple[int, ...] = ()) -> float:
        category = "o_ga" if same_category else "via_he"
        later = Said(T0 + timedelta(days=days), other, category, "g", hashes)
        return compare(Said(T0, one, "o_ga", "g", (0,)), later, metres).score

    assert 0 <= score() <= 1
    assert score() >= score(metres=metres + more) - 1e-12
    assert score() >= score(days=days + more) - 1e-12
    assert score(hashes=(0b111,)) >= score() - 1e-12
    assert score(hashes=(-1,)) == pytest.approx(score())  # another side of the same hole


def test_nothing_is_alike_from_afar() -> None:
    said = Said(T0, "Ổ gà to giữa đường", "o_ga", "giao_thong")
    assert compare(said, said, rules.NEAR_M).score > 0
    assert not compare(said, said, rules.NEAR_M + 1).is_likely


def test_a_category_not_chosen_yet_says_nothing() -> None:
    said = Said(T0, "Ổ gà to giữa đường", "o_ga", "giao_thong")
    match = compare(Said(T0, "o ga to giua duong", None, None), said, 5)
    assert "kind" not in match.parts
    assert match.is_likely


def test_hashes_are_compared_as_stored_with_their_sign() -> None:
    assert rules.bits_apart(-1, 0) == 64
    assert rules.bits_apart(-(2**63), 2**62) == 2
    assert rules.nearest_photos([], [1]) is None
    assert rules.nearest_photos([0, 7], [-1, 3]) == 1


def test_distances_are_those_of_the_map() -> None:
    assert metres_apart((21.5942, 105.8482), (21.5951, 105.8482)) == pytest.approx(100, abs=1)
    assert metres_apart((21.5942, 105.8482), (21.5942, 105.84917)) == pytest.approx(100, abs=1)
    west, south, east, north = rules.around(21.5942, 105.8482, 100)
    assert metres_apart((21.5942, 105.8482), (21.5942, west)) == pytest.approx(100, abs=1)
    assert metres_apart((21.5942, 105.8482), (north, 105.8482)) == pytest.approx(100, abs=1)
    assert (west + east) / 2 == pytest.approx(105.8482)
    assert (south + north) / 2 == pytest.approx(21.5942)


def test_reasons_are_words_and_only_what_speaks_for_it() -> None:
    said = Said(T0, "Hố ga mất nắp trước chợ", "ho_ga_mat_nap", "ha_tang")
    match = compare(said, Said(T0 + timedelta(days=2), "hố ga mất nắp trước chợ", "ho_ga_mat_nap", "ha_tang"), 12)
    assert rules.reasons(match, "vi") == [
        "Nội dung giống nhau 100%",
        "Cùng lĩnh vực",
        "Cách 12 m",
        "Gửi cách nhau 2 ngày",
    ]
    assert rules.reasons(match, "en")[0] == "Words 100% alike"
    elsewhere = compare(said, Said(T0, "khói", "dot_rac", "moi_truong"), 240)
    assert rules.reasons(elsewhere, "vi") == ["Gửi cách nhau 0 ngày"]


@pytest.mark.parametrize(
    ("metres", "days", "back"),
    [(0, 0, True), (30, 90, True), (31, 10, False), (5, 91, False), (5, -1, False)],
)
def test_a_problem_is_back_within_ninety_days_at_the_same_spot(metres: float, days: int, back: bool) -> None:
    assert rules.recurs(metres, T0, T0 + timedelta(days=days)) is back


NOTE = "Đã xử lý xong theo quy định."


@pytest.mark.parametrize(
    ("before", "after", "others", "found"),
    [
        ([], [], [], []),
        ([Photo(0)], [Photo(0b11)], [], ["photo_repeated"]),
        ([Photo(0)], [Photo(2**32 - 1)], [], []),
        ([Photo(None)], [Photo(None)], [], []),
        ([], [Photo(5, T0 - timedelta(seconds=1))], [], ["photo_older"]),
        ([], [Photo(5, T0)], [], []),
        ([], [], ["da xu ly xong theo quy dinh"] * 4, ["note_cloned"]),
        ([], [], ["da xu ly xong theo quy dinh"] * 3, []),
        ([], [], ["Đã vá ổ gà số 7."] * 9, []),
    ],
)
def test_what_looks_like_a_closure_for_show(
    before: list[Photo], after: list[Photo], others: list[str], found: list[str]
) -> None:
    assert suspicions(T0, before, after, NOTE, others) == found


def test_an_empty_note_is_nobodys_clone() -> None:
    assert suspicions(T0, [], [], "", [""] * 9) == []
