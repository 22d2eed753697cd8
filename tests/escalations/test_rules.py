"""The ladder, the moments and the digest: pure rules."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import get_args
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.deadlines.rules import Duration, WorkingCalendar, due
from app.duties.rules import Held, OnDuty, People
from app.escalations import rules
from app.escalations.rules import DUE, LADDER, PAGE, SOON, Drop, Give, Late, Pending, Place, Wait
from app.notifications.rules import TEMPLATES

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
WEEK = dict.fromkeys(range(5), ((450, 690), (780, 1020)))  # 7:30–11:30, 13:00–17:00
CALENDAR = WorkingCalendar.build(date(2026, 1, 1), date(2027, 12, 31), [(date(2026, 1, 1), WEEK)])

PROVINCE, COMMUNE, OFFICE, OTHER = (UUID(int=number) for number in range(1, 5))
PARENTS = {OFFICE: COMMUNE, COMMUNE: PROVINCE, OTHER: PROVINCE}
OFFICER, LEAD, IOC, LEADER, CHIEF, DUTY, CENTRE, ASSIGNEE = (UUID(int=number) for number in range(11, 19))
HELD: list[Held] = [
    (OFFICER, "officer", COMMUNE),
    (LEAD, "lead", COMMUNE),
    (IOC, "dispatcher", None),
    (LEADER, "leader", COMMUNE),
    (CHIEF, "leader", None),
]
HAS_ASSIGNEE = [*HELD, (ASSIGNEE, "officer", OFFICE)]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=HANOI)


def people(held: Sequence[Held] = HELD, on_duty: Sequence[OnDuty] = ()) -> People:
    return People(held, on_duty, PARENTS.get)


def place(kind: str = "resolve", unit: UUID | None = COMMUNE, assignee: UUID | None = None) -> Place:
    return Place(kind, unit, assignee)


# Who


@pytest.mark.parametrize(
    ("level", "urgent", "where", "told"),
    [
        (SOON, False, place(), set()),
        (SOON, True, place(), {OFFICER, LEAD}),
        (DUE, False, place(), {OFFICER, LEAD}),
        (DUE, True, place(), {OFFICER, LEAD, IOC, LEADER}),
        (DUE, False, place(assignee=ASSIGNEE), {ASSIGNEE, LEAD}),
        (DUE, False, place(assignee=UUID(int=99)), {OFFICER, LEAD}),  # who was given it has left
        (DUE, False, place(unit=OFFICE), {OFFICER, LEAD}),  # nobody there: those of the unit above
        (DUE, False, place("approve"), {LEAD}),
        (DUE, True, place("approve"), {LEAD, IOC, LEADER}),
        (DUE, False, place("verify", None), {IOC}),  # unverified
        (DUE, False, place("triage", None), {IOC}),  # unassigned
        (DUE, False, place("resolve", None), {IOC}),  # returned: its clock runs on
        (DUE, True, place("verify", None), {IOC, CHIEF}),
        (DUE, False, place(unit=OTHER), {IOC}),  # a unit without anybody
        (PAGE, True, place("urgent", None), {IOC}),
        (PAGE, True, place("urgent"), {OFFICER, LEAD, IOC}),
    ],
)
def test_who_is_told_at_once(level: int, urgent: bool, where: Place, told: set[UUID]) -> None:
    assert rules.told(LADDER[level, urgent].told, where, people(HAS_ASSIGNEE if where.assignee_id else HELD)) == told


def test_the_digest_reaches_further_than_the_message() -> None:
    assert rules.told(LADDER[SOON, False].listed, place(), people()) == {OFFICER}
    assert rules.told(LADDER[DUE, False].listed, place(), people()) == {OFFICER, LEAD, IOC, LEADER}
    for step in LADDER.values():
        assert step.template in TEMPLATES
        assert set(step.told) | set(step.listed) <= set(get_args(rules.Audience))


ROLES: list[Held] = [(UUID(int=100 + n), role, unit) for n, (role, unit) in enumerate([
    ("officer", COMMUNE), ("officer", OFFICE), ("lead", COMMUNE), ("lead", OTHER), ("dispatcher", None),
    ("leader", OTHER), ("leader", None),
])]  # fmt: skip


@given(
    st.lists(st.sampled_from(ROLES), min_size=1, unique=True),
    st.sampled_from(sorted(LADDER)),
    st.sampled_from([None, PROVINCE, COMMUNE, OFFICE, OTHER]),
    st.sampled_from(["verify", "triage", "accept", "first_response", "resolve", "approve", "directive"]),
)
def test_wherever_somebody_is_higher_up_nothing_is_told_to_nobody(
    held: list[Held], step: tuple[int, bool], unit: UUID | None, kind: str
) -> None:
    held = [*held, (CHIEF, "leader", None)]
    for audience in (*LADDER[step].told, *LADDER[step].listed):
        if audience != "duty":
            assert rules.audience(audience, place(kind, unit), people(held))


def test_the_duty_officer_is_paged_and_else_whoever_is_there() -> None:
    assert people(on_duty=[(None, CENTRE)]).paged(None) == {CENTRE}
    assert people().paged(None) == {IOC}
    assert people(on_duty=[(COMMUNE, DUTY), (None, CENTRE)]).paged(COMMUNE) == {DUTY}
    assert people(on_duty=[(COMMUNE, DUTY)]).paged(OFFICE) == {DUTY}
    assert people(on_duty=[(None, CENTRE)]).paged(COMMUNE) == {OFFICER, LEAD, CENTRE}
    assert people(on_duty=[(OTHER, DUTY)]).paged(COMMUNE) == {OFFICER, LEAD, IOC}


def test_a_circle_of_units_ends() -> None:
    assert People([], [], {COMMUNE: OFFICE, OFFICE: COMMUNE}.get).nearest("lead", COMMUNE) == frozenset()


# When

MOMENTS = st.datetimes(datetime(2026, 2, 1), datetime(2026, 11, 1), timezones=st.just(UTC))  # noqa: DTZ001


def test_80_per_cent_of_a_working_clock_is_80_per_cent_of_its_working_time() -> None:
    friday = at("2026-03-06 15:00")
    eight_hours = Duration("working", 480)
    deadline = due(CALENDAR, friday, eight_hours)
    assert deadline == at("2026-03-09 15:00")
    # 6.4 hours: two on Friday, four on Monday morning, 24 minutes after lunch. By the wall it would be Sunday night.
    assert rules.soon_at(CALENDAR, friday, deadline, eight_hours) == at("2026-03-09 13:24")


@given(MOMENTS, st.integers(5, 4800), st.integers(0, 960))
def test_a_fifth_of_the_working_time_is_left(start: datetime, minutes: int, extended: int) -> None:
    allowance = Duration("working", minutes)
    deadline = due(CALENDAR, start, Duration("working", minutes + extended))
    soon = rules.soon_at(CALENDAR, start, deadline, allowance, extended)
    left = CALENDAR.worked_until(deadline) - CALENDAR.worked_until(soon)
    assert left == (minutes + extended) * 60_000_000 // 5
    assert start <= soon <= deadline


@given(MOMENTS, st.integers(1, 10_000), st.sampled_from(["continuous", "calendar"]))
def test_other_clocks_count_every_hour(start: datetime, amount: int, kind: str) -> None:
    allowance = (
        Duration("continuous", amount) if kind == "continuous" else Duration("calendar", (amount % 30 + 1) * 1440)
    )
    deadline = due(CALENDAR, start, allowance)
    soon = rules.soon_at(CALENDAR, start, deadline, allowance)
    assert soon == max(start, deadline - timedelta(minutes=allowance.minutes) * 0.2)


def test_a_deadline_somebody_named_is_80_per_cent_over_by_the_wall() -> None:
    start = at("2026-03-02 08:00")
    assert rules.soon_at(CALENDAR, start, start + timedelta(hours=10), None) == start + timedelta(hours=8)


@given(MOMENTS)
def test_working_hours_are_waited_for_and_no_longer(moment: datetime) -> None:
    there = rules.in_hours(CALENDAR, moment)
    assert there >= moment
    assert CALENDAR.worked_until(there) == CALENDAR.worked_until(moment), "no working time was let pass"
    assert rules.in_hours(CALENDAR, there) == there
    assert CALENDAR.worked_until(there + timedelta(seconds=1)) > CALENDAR.worked_until(there)


# What becomes of a row

MONDAY = at("2026-03-02 08:00")
FIVE_DAYS = Duration("working", 2400)


def pending(level: int = DUE, *, urgent: bool = False, ended: bool = False, kind: str = "resolve") -> Pending:
    deadline = due(CALENDAR, MONDAY, FIVE_DAYS)
    return Pending(level, place(kind), urgent, ended, MONDAY, deadline, FIVE_DAYS)


DEADLINE = due(CALENDAR, MONDAY, FIVE_DAYS)  # the Monday after, 8:00


@pytest.mark.parametrize(
    ("row", "now", "decision"),
    [
        (pending(), MONDAY, Wait(DEADLINE)),
        (pending(), DEADLINE, Give(LADDER[DUE, False])),
        (pending(ended=True), DEADLINE, Drop()),
        (pending(SOON), MONDAY, Wait(at("2026-03-09 08:00") - timedelta(days=3))),  # the Friday before, 8:00
        (pending(SOON), at("2026-03-06 08:00"), Give(LADDER[SOON, False])),
        # Found late, outside of hours: the next morning; khẩn at once.
        (pending(), at("2026-03-09 23:00"), Wait(at("2026-03-10 07:30"))),
        (pending(), at("2026-03-13 17:00"), Wait(at("2026-03-16 07:30"))),
        (pending(urgent=True), at("2026-03-09 23:00"), Give(LADDER[DUE, True])),
        (pending(PAGE, urgent=True, kind="urgent"), at("2026-03-08 03:00"), Give(LADDER[PAGE, True])),
        # What is overdue by now is not due soon any more: nobody is told twice in one breath.
        (pending(SOON), DEADLINE, Give(rules.Step("case_due_soon", listed=("holder",)))),
        # A stay in triage is asked again, because nothing says when its deadline moves.
        (pending(kind="triage"), MONDAY, Wait(MONDAY + timedelta(minutes=10))),
    ],
)
def test_what_becomes_of_a_warning(row: Pending, now: datetime, decision: object) -> None:
    assert rules.decide(row, CALENDAR, now) == decision


@given(MOMENTS, st.sampled_from([SOON, DUE]), st.booleans())
def test_ordinary_warnings_are_given_in_working_hours_only(now: datetime, level: int, urgent: bool) -> None:
    decided = rules.decide(pending(level, urgent=urgent), CALENDAR, now)
    if isinstance(decided, Give):
        assert urgent or rules.in_hours(CALENDAR, now) == now
    else:
        assert isinstance(decided, Wait)
        assert decided.until > now


# The digest


def late(number: int, due_at: datetime, *, unit: UUID | None = COMMUNE, kind: str = "resolve") -> Late:
    return Late(UUID(int=1000 + number), f"R-{number}", place(kind, unit), False, due_at)


NOW = at("2026-03-09 07:30")


def test_a_digest_names_the_oldest_first_and_a_case_once() -> None:
    lates = [
        late(1, NOW + timedelta(hours=3)),
        late(2, NOW - timedelta(days=1)),
        late(3, NOW - timedelta(days=9)),
        late(3, NOW - timedelta(days=2), kind="accept"),
    ]
    found = rules.digests(lates, people(), NOW)
    assert found[OFFICER] == {"overdue": "2", "soon": "1", "references": "R-3, R-2, R-1"}
    # Who is told only of what is overdue hears only of that.
    assert found[LEAD] == found[IOC] == found[LEADER] == {"overdue": "2", "soon": "0", "references": "R-3, R-2"}
    assert CHIEF not in found, "the unit has a leader of its own"


def test_nobody_gets_an_empty_digest_and_a_long_one_is_cut() -> None:
    assert rules.digests([], people(), NOW) == {}
    found = rules.digests([late(n, NOW - timedelta(days=n)) for n in range(1, 31)], people(), NOW)
    assert found[OFFICER]["overdue"] == "30"
    assert found[OFFICER]["references"].startswith("R-30, R-29")
    assert found[OFFICER]["references"].endswith(", …")
    assert found[OFFICER]["references"].count("R-") == rules.MOST_NAMED


@pytest.mark.parametrize(
    ("now", "goes"),
    [
        ("2026-03-09 07:29:59", False),
        ("2026-03-09 07:30", True),
        ("2026-03-09 23:59", True),
        ("2026-03-08 09:00", False),  # Sunday
    ],
)
def test_the_digest_goes_from_half_past_seven_on_working_days(now: str, goes: bool) -> None:
    assert rules.digest_due(CALENDAR, at(now)) is goes
