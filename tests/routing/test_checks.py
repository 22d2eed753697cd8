"""What the checker says about rules is what `decide` then does, over small worlds looked through to the minute."""

import itertools
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.clock import LOCAL
from app.routing.rules import (
    Cell,
    Nearby,
    Place,
    RuleRow,
    Subject,
    World,
    conflicts,
    decide,
    mismatch,
    named_unit,
    strongest,
    unreachable,
)

UNITS = [UUID(int=n) for n in (101, 102, 103)]
COMMUNES = [UUID(int=n) for n in (201, 202, 203)]
SUBJECTS = (
    Subject("a", "g", "commune", None),
    Subject("b", "g", "commune", None),
    Subject("c", "h", "department", UNITS[0]),
)
SINCE = date(2026, 3, 2)
# Rules of the small world begin and end within nine days, on the hours of a coarse clock.
HOURS = [time(0), time(6), time(12), time(22)]
DAYS = [SINCE + timedelta(days=n) for n in range(-2, 10)]
DRAWN = 2


@st.composite
def rows(draw: st.DrawFn, number: int) -> RuleRow:
    """One of the rules of a small world, often close to another one."""
    area = draw(st.sampled_from(["everywhere", "commune", "communes", "polygon", "asset", "manager"]))
    values: dict[str, Any] = draw(st.sampled_from([{"category": "a"}, {"category": "b"}, {"group": "g"}]))
    begins = draw(st.sampled_from(DAYS[:6]))
    ends = draw(st.none() | st.sampled_from([SINCE, *DAYS[6:]]).filter(lambda day: day > begins))
    if draw(st.booleans()):
        starts, stops = draw(st.permutations(HOURS))[:2]
        values = values | {"starts": starts, "ends": stops}
    if draw(st.booleans()):
        values = values | {"weekdays": frozenset(draw(st.lists(st.integers(1, 7), min_size=1, max_size=4)))}
    unit: UUID | None = draw(st.sampled_from(UNITS))
    match area:
        case "commune":
            values = values | {"commune_id": draw(st.sampled_from(COMMUNES))}
        case "communes":
            values = values | {"commune_ids": frozenset(draw(st.permutations(COMMUNES))[:2])}
        case "polygon" if number < DRAWN:
            values = values | {"polygon": True}
        case "asset" | "manager":
            metres = draw(st.sampled_from([15.0, 30.0]))
            values = values | {"asset_class": draw(st.sampled_from(["road", "lamp"])), "within_m": metres}
    if area == "manager":
        values = values | {"to_manager": True}
        unit = draw(st.none() | st.just(unit))
    priority = draw(st.sampled_from([100, 100, 100, 200]))
    return RuleRow(UUID(int=number + 1), unit, priority, begins, ends, **values)


def small_world(cuts: list[tuple[int, frozenset[int]]]) -> World:
    """Three communes; `cuts` says which drawn areas hold which parts of which commune."""
    drawn = tuple(Cell(COMMUNES[n], frozenset(UUID(int=each + 1) for each in inside)) for n, inside in cuts)
    return World(SUBJECTS, (*(Cell(each) for each in COMMUNES), *drawn))


worlds = st.lists(
    st.tuples(st.integers(0, 2), st.sets(st.integers(0, DRAWN - 1), min_size=1).map(frozenset)), max_size=3
).map(small_world)
rule_sets = st.integers(2, 4).flatmap(lambda count: st.tuples(*(rows(number=n) for n in range(count))))


def everything_that_can_be_reported(rules: tuple[RuleRow, ...], world: World) -> Any:
    """By brute force: every hour of three weeks, every part of the province, every asset that may be near."""
    hours = [datetime.combine(SINCE, time(0), LOCAL) + timedelta(hours=n) for n in range(0, 21 * 24, 2)]
    somebody = [None, UUID(int=900), UUID(int=901), *UNITS]
    choices: list[list[Nearby | None]] = []
    for name in ("road", "lamp"):
        used = {rule.within_m for rule in rules if rule.asset_class == name}
        managers = somebody if any(rule.to_manager for rule in rules) else [None]
        near = [Nearby(name, metres - 1, each) for metres in used for each in managers]
        choices.append([None, *near])
    for cell, assets in itertools.product(world.cells, itertools.product(*choices)):
        near_by = tuple(sorted((each for each in assets if each), key=lambda each: each.distance_m))
        place = Place("inside", cell.commune_id, inside=cell.inside, near=near_by)
        yield from ((subject, place, hour) for subject in SUBJECTS for hour in hours)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rule_sets, worlds)
def test_the_checker_and_the_router_agree(rules: tuple[RuleRow, ...], world: World) -> None:
    tied: set[frozenset[UUID]] = set()
    won: set[UUID] = set()
    matched: set[UUID] = set()
    kinds: set[Any] = set()
    for subject, place, hour in everything_that_can_be_reported(rules, world):
        matching = [rule for rule in rules if mismatch(rule, subject, place, hour) is None]
        # What decides is which rules match and whom they name; the same again teaches nothing.
        kind = tuple((rule.id, named_unit(rule, place)) for rule in matching)
        if kind in kinds or not matching:
            continue
        kinds.add(kind)
        matched |= {rule.id for rule in matching}
        decision = decide(subject, place, rules, hour)
        if decision.reason == "ambiguous_rules":
            best = strongest(matching)
            tied |= {
                frozenset({one.id, other.id})
                for one, other in itertools.combinations(best, 2)
                if named_unit(one, place) != named_unit(other, place)
            }
        elif decision.rule_id is not None:
            won.add(decision.rule_id)
    assert {frozenset({each.one, each.other}) for each in conflicts(rules, world, SINCE)} == tied
    assert {each.rule for each in unreachable(rules, world, SINCE)} == matched - won


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rule_sets, worlds)
def test_the_example_of_a_conflict_is_one(rules: tuple[RuleRow, ...], world: World) -> None:
    for found in conflicts(rules, world, SINCE):
        assert found.example.at.date() >= SINCE
        pair = [rule for rule in rules if rule.id in (found.one, found.other)]
        subject = next(each for each in SUBJECTS if each.category == found.example.category)
        near = (Nearby("road", 15.0, UUID(int=900)), Nearby("lamp", 15.0, UUID(int=901)))
        places = [
            Place("inside", cell.commune_id, inside=cell.inside, near=assets)
            for cell in world.cells
            for assets in ((), near[:1], near[1:], near, (Nearby("road", 15.0),), (Nearby("lamp", 15.0),))
            if cell.commune_id == found.example.commune_id
        ]
        assert any(
            mismatch(pair[0], subject, place, found.example.at) is None
            and mismatch(pair[1], subject, place, found.example.at) is None
            for place in places
        )


def row(number: int, unit: int = 0, **changes: Any) -> RuleRow:
    values: dict[str, Any] = {"category": "a", "priority": 100, "valid_from": SINCE}
    return RuleRow(id=UUID(int=number), unit_id=UNITS[unit], **(values | changes))


PLAIN = small_world([])


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        (row(1), row(2, 1), True),
        (row(1), row(2), False),
        (row(1), row(2, 1, category="b"), False),
        (row(1), row(2, 1, commune_id=COMMUNES[0]), False),
        (row(1, valid_to=date(2026, 4, 1)), row(2, 1, valid_from=date(2026, 4, 1)), False),
        (row(1, valid_to=date(2026, 4, 2)), row(2, 1, valid_from=date(2026, 4, 1)), True),
        # The last night runs into the morning on which the other begins.
        (
            row(1, valid_to=date(2026, 4, 1), starts=time(22), ends=time(6)),
            row(2, 1, valid_from=date(2026, 4, 1), starts=time(5), ends=time(9)),
            True,
        ),
        (
            row(1, valid_to=date(2026, 4, 1), starts=time(22), ends=time(6)),
            row(2, 1, valid_from=date(2026, 4, 1), starts=time(6), ends=time(9)),
            False,
        ),
        # Friday's night is Saturday's morning.
        (
            row(1, weekdays=frozenset({5}), starts=time(22), ends=time(6)),
            row(2, 1, weekdays=frozenset({6}), starts=time(5), ends=time(9)),
            True,
        ),
        (row(1, weekdays=frozenset({5})), row(2, 1, weekdays=frozenset({6, 7})), False),
        (row(1, asset_class="road"), row(2, 1, asset_class="lamp"), True),
        (row(1, asset_class="road", to_manager=True), row(2, 0, asset_class="road", within_m=30.0), True),
        (row(1, asset_class="road", to_manager=True), row(2, asset_class="road", to_manager=True), False),
    ],
)
def test_two_rules_conflict_where_one_report_meets_both(one: RuleRow, other: RuleRow, meet: bool) -> None:
    assert bool(conflicts([one, other], PLAIN, SINCE)) is meet


def test_what_a_stronger_rule_decides_is_no_conflict() -> None:
    pair = [row(1), row(2, 1)]
    above = row(3, 2, priority=200)
    assert conflicts([*pair, above], PLAIN, SINCE) == []
    partly = row(3, 2, priority=200, commune_ids=frozenset(COMMUNES[:2]))
    (found,) = conflicts([*pair, partly], PLAIN, SINCE)
    assert found.example.commune_id == COMMUNES[2]


def test_a_rule_is_lost_when_others_together_always_come_first() -> None:
    below = row(1)
    parts = [row(2 + n, 1, commune_id=each) for n, each in enumerate(COMMUNES)]
    (lost,) = unreachable([below, *parts], PLAIN, SINCE)
    assert (lost.rule, set(lost.beaten_by)) == (below.id, {each.id for each in parts})
    assert unreachable([below, *parts[1:]], PLAIN, SINCE) == []
    day = row(5, 1, starts=time(6), ends=time(22))
    night = row(6, 1, starts=time(22), ends=time(6))
    # The morning of the first day belongs to a night that was before.
    assert unreachable([below, day, night], PLAIN, SINCE) == []
    (lost,) = unreachable([below, day, night], PLAIN, SINCE + timedelta(days=1))
    assert lost.rule == below.id


def test_only_what_is_still_to_come_is_looked_at() -> None:
    over = date(2026, 3, 20)
    pair = [row(1, valid_to=over), row(2, 1, valid_to=over)]
    assert len(conflicts(pair, PLAIN, SINCE)) == 1
    assert conflicts(pair, PLAIN, over) == []
    assert len(conflicts([*pair, row(3, 2)], PLAIN, SINCE, about=UUID(int=3))) == 2
