"""Who owns a place and a category: each answer with its reason, and never a guess between equals."""

import itertools
from dataclasses import replace
from datetime import date, datetime, time
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.clock import LOCAL
from app.routing.rules import (
    AREAS,
    REASONS,
    Nearby,
    Place,
    RuleRow,
    Subject,
    decide,
    mismatch,
    strength,
    verdicts,
)

COMMUNE, NEIGHBOUR, DEPARTMENT, OTHER = (uuid4() for _ in range(4))
DAY = datetime(2026, 3, 2, 10, 0, tzinfo=LOCAL)  # a Monday
LOCAL_CATEGORY = Subject("o_ga", "giao_thong", "commune", None)
PROVINCIAL = Subject("khoi_bui_mui", "moi_truong", "department", DEPARTMENT)
INSIDE = Place("inside", COMMUNE, (COMMUNE,))


def rule(unit: UUID | None = OTHER, **changes: Any) -> RuleRow:
    values: dict[str, Any] = {"category": "o_ga", "priority": 100, "valid_from": date(2025, 7, 1)}
    return RuleRow(**({"id": uuid4()} | values | changes), unit_id=unit)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=LOCAL)


@pytest.mark.parametrize(
    ("subject", "place", "unit", "reason"),
    [
        (LOCAL_CATEGORY, INSIDE, COMMUNE, "commune"),
        (LOCAL_CATEGORY, Place("border", COMMUNE, (COMMUNE, NEIGHBOUR)), COMMUNE, "border"),
        (LOCAL_CATEGORY, Place("sliver", COMMUNE, (COMMUNE,)), COMMUNE, "sliver"),
        (LOCAL_CATEGORY, Place("none", stated_id=COMMUNE), COMMUNE, "stated"),
        (LOCAL_CATEGORY, Place("none"), None, "no_place"),
        (LOCAL_CATEGORY, Place("outside"), None, "outside"),
        (LOCAL_CATEGORY, Place("inside", COMMUNE, (COMMUNE,), approximate=True), None, "boundary_approximate"),
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
    decision = decide(LOCAL_CATEGORY, Place("inside", COMMUNE, (COMMUNE, NEIGHBOUR), approximate=True), (), DAY)
    assert (decision.suggested_id, decision.candidates) == (COMMUNE, (COMMUNE, NEIGHBOUR))


@pytest.mark.parametrize(
    ("rules", "unit", "reason"),
    [
        ([rule()], OTHER, "rule"),
        ([rule(valid_from=date(2026, 3, 3))], COMMUNE, "commune"),
        ([rule(valid_to=date(2026, 3, 2))], COMMUNE, "commune"),
        ([rule(valid_to=date(2026, 3, 3))], OTHER, "rule"),
        ([rule(commune_id=NEIGHBOUR)], COMMUNE, "commune"),
        ([rule(commune_ids=frozenset({COMMUNE, NEIGHBOUR}))], OTHER, "rule"),
        ([rule(commune_ids=frozenset({NEIGHBOUR}))], COMMUNE, "commune"),
        ([rule(category=None, group="giao_thong")], OTHER, "rule"),
        ([rule(category=None, group="moi_truong")], COMMUNE, "commune"),
        ([rule(), rule(DEPARTMENT, priority=200)], DEPARTMENT, "rule"),
        ([rule(), rule(DEPARTMENT)], None, "ambiguous_rules"),
        ([rule(), rule()], OTHER, "rule"),
    ],
)
def test_the_best_rule_wins_and_equals_are_not_guessed_between(
    rules: list[RuleRow], unit: UUID | None, reason: str
) -> None:
    decision = decide(LOCAL_CATEGORY, INSIDE, rules, DAY)
    assert (decision.unit_id, decision.reason) == (unit, reason)


NIGHT: dict[str, Any] = {"starts": time(22), "ends": time(6)}


def of_kind(area: str, unit: UUID, **changes: Any) -> tuple[RuleRow, Place]:
    """A rule with such an area, and what makes it match."""
    made = rule(unit, **changes)
    match area:
        case "communes":
            return replace(made, commune_ids=frozenset({COMMUNE, NEIGHBOUR})), INSIDE
        case "commune":
            return replace(made, commune_id=COMMUNE), INSIDE
        case "polygon":
            return replace(made, polygon=True), replace(INSIDE, inside=frozenset({made.id}))
        case "asset":
            return replace(made, asset_class="quoc_lo"), replace(INSIDE, near=(Nearby("quoc_lo", 3.0),))
    return made, INSIDE


def both(one: Place, other: Place) -> Place:
    return replace(INSIDE, inside=one.inside | other.inside, near=(*one.near, *other.near)[:1])


CHOICES = list(itertools.product((100, 200), ("category", "group"), AREAS, (False, True)))


def made_of(choice: tuple[int, str, str, bool], unit: UUID) -> tuple[RuleRow, Place]:
    priority, subject, area, timed = choice
    about = {"category": "o_ga"} if subject == "category" else {"category": None, "group": "giao_thong"}
    return of_kind(area, unit, priority=priority, **about, **({"weekdays": frozenset({1})} if timed else {}))


def as_documented(choice: tuple[int, str, str, bool]) -> tuple[int, int, int, int]:
    """The order of strength written out a second time."""
    priority, subject, area, timed = choice
    order = {"everywhere": 0, "communes": 1, "commune": 2, "polygon": 3, "asset": 4}
    return priority, subject == "category", order[area], timed


@pytest.mark.parametrize("one", CHOICES, ids=str)
def test_every_pair_of_kinds_is_decided_by_the_documented_order(one: tuple[int, str, str, bool]) -> None:
    for other in CHOICES:
        (first, here), (second, there) = made_of(one, OTHER), made_of(other, DEPARTMENT)
        decision = decide(LOCAL_CATEGORY, both(here, there), [first, second], DAY)
        if as_documented(one) == as_documented(other):
            assert (decision.unit_id, decision.reason) == (None, "ambiguous_rules")
        else:
            stronger = first if as_documented(one) > as_documented(other) else second
            assert (decision.unit_id, decision.rule_id) == (stronger.unit_id, stronger.id)


@pytest.mark.parametrize(
    ("area", "unit", "reason"),
    [
        ("everywhere", OTHER, "rule"),
        ("communes", None, "boundary_approximate"),
        ("commune", None, "boundary_approximate"),
        ("polygon", OTHER, "rule"),
        ("asset", OTHER, "rule"),
    ],
)
def test_only_what_leans_on_a_commune_waits_for_somebody_to_confirm_it(
    area: str, unit: UUID | None, reason: str
) -> None:
    made, place = of_kind(area, OTHER)
    decision = decide(LOCAL_CATEGORY, replace(place, approximate=True), [made], DAY)
    assert (decision.unit_id, decision.reason) == (unit, reason)
    assert decision.suggested_id == (OTHER if unit is None else None)


@pytest.mark.parametrize(
    ("hours", "moment", "why_not"),
    [
        (NIGHT, "2026-03-02T21:59", "hours"),
        (NIGHT, "2026-03-02T22:00", None),
        (NIGHT, "2026-03-03T05:59", None),
        (NIGHT, "2026-03-03T06:00", "hours"),
        # Friday night runs on into Saturday morning, and belongs to Friday.
        (NIGHT | {"weekdays": frozenset({5})}, "2026-03-06T23:00", None),
        (NIGHT | {"weekdays": frozenset({5})}, "2026-03-07T05:00", None),
        (NIGHT | {"weekdays": frozenset({5})}, "2026-03-07T23:00", "weekday"),
        (NIGHT | {"weekdays": frozenset({5})}, "2026-03-06T05:00", "weekday"),
        # Saturday 05:00 in Vietnam is Friday in UTC: both parts come from the local moment.
        ({"weekdays": frozenset({6})}, "2026-03-07T05:00", None),
        ({"weekdays": frozenset({5})}, "2026-03-07T05:00", "weekday"),
        ({"starts": time(7), "ends": time(17)}, "2026-03-02T17:00", "hours"),
        ({"starts": time(7), "ends": time(17)}, "2026-03-02T07:00", None),
        # The last span begins on the last day and is not cut off at midnight.
        (NIGHT | {"valid_to": date(2026, 3, 3)}, "2026-03-03T05:00", None),
        (NIGHT | {"valid_to": date(2026, 3, 3)}, "2026-03-03T22:00", "period"),
        (NIGHT | {"valid_from": date(2026, 3, 3)}, "2026-03-03T05:00", "period"),
    ],
)
def test_hours_and_weekdays_belong_to_the_local_day_on_which_the_span_begins(
    hours: dict[str, Any], moment: str, why_not: str | None
) -> None:
    assert mismatch(rule(**hours), LOCAL_CATEGORY, INSIDE, at(moment)) == why_not


MANAGER = uuid4()


@pytest.mark.parametrize(
    ("changes", "near", "unit", "why_not"),
    [
        ({}, (Nearby("quoc_lo", 15.0),), OTHER, None),
        ({}, (Nearby("quoc_lo", 15.01),), None, "asset"),
        ({}, (Nearby("den_duong", 2.0),), None, "asset"),
        ({"within_m": 30.0}, (Nearby("quoc_lo", 25.0),), OTHER, None),
        ({}, (Nearby("den_duong", 2.0), Nearby("quoc_lo", 9.0, MANAGER)), OTHER, None),
        ({"to_manager": True}, (Nearby("quoc_lo", 9.0, MANAGER), Nearby("quoc_lo", 12.0)), MANAGER, None),
        ({"to_manager": True}, (Nearby("quoc_lo", 9.0), Nearby("quoc_lo", 12.0, MANAGER)), OTHER, None),
        ({"to_manager": True, "unit": None}, (Nearby("quoc_lo", 9.0),), None, "no_manager"),
        ({"to_manager": True, "unit": None}, (Nearby("quoc_lo", 9.0, MANAGER),), MANAGER, None),
        ({}, (), None, "asset"),
    ],
)
def test_a_rule_matches_the_nearest_asset_of_its_class(
    changes: dict[str, Any], near: tuple[Nearby, ...], unit: UUID | None, why_not: str | None
) -> None:
    made = rule(**{"asset_class": "quoc_lo"} | changes)
    place = replace(INSIDE, near=near)
    assert mismatch(made, LOCAL_CATEGORY, place, DAY) == why_not
    assert decide(LOCAL_CATEGORY, place, [made], DAY).unit_id == (COMMUNE if why_not else unit)


def test_cooperating_units_come_with_the_rule_that_decides() -> None:
    winner = rule(cooperating=(NEIGHBOUR, DEPARTMENT))
    twin, loser = rule(cooperating=(COMMUNE, OTHER)), rule(cooperating=(uuid4(),), priority=5)
    decision = decide(LOCAL_CATEGORY, INSIDE, [loser, winner, twin], DAY)
    assert decision.cooperating == tuple(sorted((NEIGHBOUR, DEPARTMENT, COMMUNE)))
    assert decide(LOCAL_CATEGORY, INSIDE, (), DAY).cooperating == ()


@given(st.randoms(use_true_random=False))
def test_the_order_of_rules_does_not_matter(chance: Any) -> None:
    rules = [rule(), rule(DEPARTMENT, priority=200), rule(commune_id=COMMUNE), rule(category=None, group="giao_thong")]
    expected = decide(LOCAL_CATEGORY, INSIDE, rules, DAY)
    chance.shuffle(rules)
    assert decide(LOCAL_CATEGORY, INSIDE, rules, DAY) == expected


def test_what_became_of_each_rule_is_told_with_the_rule_it_lost_to() -> None:
    winner = rule(commune_id=COMMUNE)
    told = {
        "won": winner,
        "area": rule(DEPARTMENT),
        "category": rule(category=None, group="giao_thong", commune_id=COMMUNE),
        "priority": rule(priority=1),
        "place": rule(commune_id=NEIGHBOUR),
        "hours": rule(**NIGHT),
    }
    found = verdicts(LOCAL_CATEGORY, INSIDE, [*told.values(), rule(category="via_he")], DAY)
    assert {verdict: made for made, verdict, _ in found} == told
    assert {verdict: rival for _, verdict, rival in found} == {
        verdict: None if verdict in ("place", "hours") else winner for verdict in told
    }
    assert found[0] == (winner, "won", winner)


def test_rules_that_tie_are_told_to_tie() -> None:
    one, other = rule(), rule(DEPARTMENT)
    assert {(made.id, verdict) for made, verdict, _ in verdicts(LOCAL_CATEGORY, INSIDE, [one, other], DAY)} == {
        (one.id, "tied"),
        (other.id, "tied"),
    }
    agreeing = verdicts(LOCAL_CATEGORY, INSIDE, [one, replace(one, id=uuid4())], DAY)
    assert [verdict for _, verdict, _ in agreeing] == ["won", "agrees"]


def test_hours_count_only_between_rules_that_are_otherwise_as_strong() -> None:
    assert strength(rule(weekdays=frozenset({1}))) > strength(rule())
    assert strength(rule(weekdays=frozenset({1}))) < strength(rule(commune_id=COMMUNE))


def test_every_reason_has_words() -> None:
    for vi, en in REASONS.values():
        assert vi
        assert en
