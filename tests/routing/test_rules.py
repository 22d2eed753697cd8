"""Who owns a place and a category: each answer with its reason, and never a guess between equals."""

from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routing.rules import REASONS, Place, RuleRow, Subject, decide

COMMUNE, NEIGHBOUR, DEPARTMENT, OTHER = (uuid4() for _ in range(4))
DAY = date(2026, 3, 2)
LOCAL = Subject("o_ga", "giao_thong", "commune", None)
PROVINCIAL = Subject("khoi_bui_mui", "moi_truong", "department", DEPARTMENT)
INSIDE = Place("inside", COMMUNE, (COMMUNE,))


def rule(unit: UUID = OTHER, **changes: Any) -> RuleRow:
    values: dict[str, Any] = {"category": "o_ga", "priority": 100, "valid_from": date(2025, 7, 1)}
    return RuleRow(id=uuid4(), unit_id=unit, **(values | changes))


@pytest.mark.parametrize(
    ("subject", "place", "unit", "reason"),
    [
        (LOCAL, INSIDE, COMMUNE, "commune"),
        (LOCAL, Place("border", COMMUNE, (COMMUNE, NEIGHBOUR)), COMMUNE, "border"),
        (LOCAL, Place("sliver", COMMUNE, (COMMUNE,)), COMMUNE, "sliver"),
        (LOCAL, Place("none", stated_id=COMMUNE), COMMUNE, "stated"),
        (LOCAL, Place("none"), None, "no_place"),
        (LOCAL, Place("outside"), None, "outside"),
        (LOCAL, Place("inside", COMMUNE, (COMMUNE,), approximate=True), None, "boundary_approximate"),
        (PROVINCIAL, INSIDE, DEPARTMENT, "category"),
        (PROVINCIAL, Place("none"), DEPARTMENT, "category"),
        (PROVINCIAL, Place("inside", COMMUNE, (COMMUNE,), approximate=True), DEPARTMENT, "category"),
        (Subject("x", "y", "utility", None), INSIDE, None, "no_unit"),
    ],
)
def test_without_rules_the_category_decides(subject: Subject, place: Place, unit: UUID | None, reason: str) -> None:
    decision = decide(subject, place, (), DAY)
    assert (decision.unit_id, decision.reason) == (unit, reason)
    assert decision.steps[-1] == ("decision", reason)


def test_approximate_boundaries_leave_a_guess_for_the_dispatcher() -> None:
    decision = decide(LOCAL, Place("inside", COMMUNE, (COMMUNE, NEIGHBOUR), approximate=True), (), DAY)
    assert (decision.suggested_id, decision.candidates) == (COMMUNE, (COMMUNE, NEIGHBOUR))


@pytest.mark.parametrize(
    ("rules", "unit", "reason"),
    [
        ([rule()], OTHER, "rule"),
        ([rule(valid_from=date(2026, 3, 3))], COMMUNE, "commune"),
        ([rule(valid_to=DAY)], COMMUNE, "commune"),
        ([rule(commune_id=NEIGHBOUR)], COMMUNE, "commune"),
        ([rule(category=None, group="giao_thong")], OTHER, "rule"),
        ([rule(category=None, group="moi_truong")], COMMUNE, "commune"),
        ([rule(), rule(DEPARTMENT, priority=200)], DEPARTMENT, "rule"),
        ([rule(category=None, group="giao_thong"), rule(DEPARTMENT)], DEPARTMENT, "rule"),
        ([rule(), rule(DEPARTMENT, commune_id=COMMUNE)], DEPARTMENT, "rule"),
        ([rule(), rule(DEPARTMENT)], None, "ambiguous_rules"),
        ([rule(), rule()], OTHER, "rule"),
    ],
)
def test_the_best_rule_wins_and_equals_are_not_guessed_between(
    rules: list[RuleRow], unit: UUID | None, reason: str
) -> None:
    decision = decide(LOCAL, INSIDE, rules, DAY)
    assert (decision.unit_id, decision.reason) == (unit, reason)


@given(st.randoms(use_true_random=False))
def test_the_order_of_rules_does_not_matter(chance: Any) -> None:
    rules = [rule(), rule(DEPARTMENT, priority=200), rule(commune_id=COMMUNE), rule(category=None, group="giao_thong")]
    expected = decide(LOCAL, INSIDE, rules, DAY)
    chance.shuffle(rules)
    assert decide(LOCAL, INSIDE, rules, DAY) == expected


def test_every_reason_has_words() -> None:
    for vi, en in REASONS.values():
        assert vi
        assert en
