"""Quantiles of what is finished and what still waits."""

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.forecasts.rules import LEAST, Durations, Outlook, hours_until, outlook, sentence, told
from app.kpi.rules import percentile

HOURS = st.lists(st.integers(0, 60), max_size=40)
PERCENT = st.sampled_from([10, 50, 75, 90, 99, 100])


@given(HOURS, PERCENT)
def test_with_nobody_waiting_it_is_the_nearest_rank(finished: list[int], percent: int) -> None:
    assert hours_until(Counter(finished), {}, percent) == percentile(sorted(finished), percent)


@given(HOURS, HOURS, PERCENT)
def test_it_is_what_the_slow_exact_way_says(finished: list[int], waiting: list[int], percent: int) -> None:
    left, expected = Fraction(1), None
    for hours in sorted(set(finished)):
        at_risk = sum(each >= hours for each in finished + waiting)
        left *= 1 - Fraction(finished.count(hours), at_risk)
        if left <= 1 - Fraction(percent, 100):
            expected = hours
            break
    assert hours_until(Counter(finished), Counter(waiting), percent) == expected


@given(HOURS, HOURS, st.integers(0, 60), PERCENT)
def test_who_waits_longer_never_makes_it_look_quicker(
    finished: list[int], waiting: list[int], more: int, percent: int
) -> None:
    before = hours_until(Counter(finished), Counter(waiting), percent)
    after = hours_until(Counter(finished), Counter([*waiting, more]), percent)
    assert after is None or (before is not None and after >= before)


def durations(finished: list[int], waiting: list[int]) -> Durations:
    seen = Durations()
    for hours in finished:
        seen.add(hours, 1, finished=True)
    for hours in waiting:
        seen.add(hours, 1, finished=False)
    return seen


def test_too_few_say_nothing_at_all() -> None:
    assert outlook(durations([5] * (LEAST - 1), [9] * 100)) is None
    assert outlook(durations([5] * LEAST, [])) == Outlook(LEAST, 5, 5)


def test_what_most_still_wait_for_has_no_number() -> None:
    assert outlook(durations([5] * 10, [30] * 90)) == Outlook(10, None, None)
    assert outlook(durations([*range(1, 11)], [30] * 3)) == Outlook(10, 7, None)
    assert outlook(durations([5] * 10, [2] * 90)) == Outlook(10, 5, 5)  # they may yet be as quick


@pytest.mark.parametrize(
    ("hours", "vi", "en"),
    [(0, "1 giờ", "1 hour"), (1, "1 giờ", "1 hour"), (23, "23 giờ", "23 hours"), (24, "1 ngày", "1 day"),
     (25, "2 ngày", "2 days"), (72, "3 ngày", "3 days")],
)  # fmt: skip
def test_durations_as_people_say_them(hours: int, vi: str, en: str) -> None:
    assert (told(hours, english=False), told(hours, english=True)) == (vi, en)


def test_sentences() -> None:
    what = "Đèn đường, Phường Gia Sàng"
    assert sentence(Outlook(41, 72, 200), what, english=False) == (
        "Thường 3 ngày, chín trên mười trường hợp trong 9 ngày (n = 41, Đèn đường, Phường Gia Sàng)."
    )
    assert sentence(Outlook(41, 72, None), "x", english=True) == "Usually 3 days (n = 41, x)."
    assert sentence(Outlook(12, None, None), what, english=False).startswith("Chưa được một nửa")
    assert "Less than half" in sentence(Outlook(12, None, None), what, english=True)
    assert "số liệu" in sentence(None, "", english=False)
    assert "history" in sentence(None, "", english=True)
