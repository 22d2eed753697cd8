"""Facts and measures, on histories written by hand and against an oracle that walks through the minutes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.deadlines.rules import WorkingCalendar
from app.kpi.rules import CaseFacts, Handling, Standing, facts, measures, percentile

# Works every day from 00:00 to 12:00 UTC, which is 07:00 to 19:00 local.
CALENDAR = WorkingCalendar.build(
    date(2026, 1, 1), date(2026, 12, 31), [(date(2026, 1, 1), {day: [(7 * 60, 19 * 60)] for day in range(7)})]
)
T0 = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)  # Monday 08:00 local
UNIT = uuid4()


@dataclass(frozen=True)
class Happened:
    at: datetime
    verb: str
    to_state: str
    cycle: int = 1
    due_at: datetime | None = None
    unit_id: UUID | None = None
    code: str | None = None
    category_code: str = "o_ga"
    urgency: str = "normal"
    channel: str = "app"


def minute(number: float) -> datetime:
    return T0 + timedelta(minutes=number)


def story(*steps: tuple[float, str, str] | tuple[float, str, str, int, float | None]) -> list[Happened]:
    """(minute, verb, state afterwards[, cycle, due minute]); the deadline stays in force until another is given."""
    events: list[Happened] = []
    for number, verb, state, *rest in steps:
        cycle = int(rest[0] or 1) if rest else (events[-1].cycle if events else 1)
        due = minute(rest[1]) if len(rest) > 1 and rest[1] is not None else (events[-1].due_at if events else None)
        unit = None if state in ("verifying", "routing", "triage") else UNIT
        events.append(Happened(minute(number), verb, state, cycle, due, unit))
    return events


OPENED = ((0, "submit", "verifying"), (10, "verify", "routing"), (11, "assign", "assigned", 1, 100))
WORKED = (*OPENED, (20, "accept", "accepted"), (30, "start", "in_progress"))


@pytest.mark.parametrize(
    ("steps", "at", "expected"),
    [
        pytest.param(OPENED[:1], 1000, Standing.VERIFYING, id="never verified"),
        pytest.param(OPENED[:2], 1000, Standing.IN_TIME, id="routed, no deadline yet"),
        pytest.param(OPENED, 100, Standing.IN_TIME, id="on the deadline"),
        pytest.param(OPENED, 100.01, Standing.OVERDUE, id="nobody touched it: overdue all the same"),
        pytest.param((*OPENED, (50, "return", "triage")), 101, Standing.OVERDUE, id="returned: resolve runs on"),
        pytest.param((*WORKED, (100, "resolve", "resolved")), 500, Standing.ON_TIME, id="resolved on the deadline"),
        pytest.param((*WORKED, (100.01, "resolve", "resolved")), 500, Standing.LATE, id="late but done is late"),
        pytest.param((*WORKED, (100, "resolve", "resolved")), 99, Standing.IN_TIME, id="the future is unknown"),
        pytest.param(
            (*WORKED, (90, "resolve", "resolved"), (300, "confirm", "closed")), 500, Standing.ON_TIME, id="closing late"
        ),
        pytest.param((*WORKED, (90, "reject", "rejected")), 500, Standing.REJECTED, id="rejected is not handled"),
        pytest.param((*OPENED, (90, "withdraw", "withdrawn")), 500, Standing.WITHDRAWN, id="withdrawn"),
        pytest.param((*OPENED, (90, "merge", "merged")), 500, Standing.MERGED, id="merged"),
        pytest.param(
            (*OPENED, (90, "reject", "rejected"), (95, "appeal", "verifying")), 500, Standing.VERIFYING, id="appealed"
        ),
        pytest.param(
            (*OPENED, (50, "merge", "merged"), (60, "unmerge", "assigned")), 500, Standing.OVERDUE, id="unmerged"
        ),
        pytest.param(
            (*WORKED, (90, "resolve", "resolved"), (200, "reopen", "assigned", 2, 300)), 250, Standing.IN_TIME,
            id="reopened is open again, and not instantly late",
        ),
        pytest.param(
            (*WORKED, (90, "resolve", "resolved"), (200, "reopen", "assigned", 2, 300)), 301, Standing.OVERDUE,
            id="reopened and past its new deadline",
        ),
        pytest.param(
            (*WORKED, (90, "resolve", "resolved"), (200, "reopen", "assigned", 2, 300), (250, "resolve", "resolved")),
            500, Standing.ON_TIME, id="both cycles in time",
        ),
        pytest.param(
            (*WORKED, (101, "resolve", "resolved"), (200, "reopen", "assigned", 2, 300), (250, "resolve", "resolved")),
            500, Standing.LATE, id="an earlier breach stays",
        ),
        pytest.param(
            (*WORKED, (110, "extend", "in_progress", 1, 200), (150, "resolve", "resolved")), 500, Standing.LATE,
            id="a deadline moved after it had passed",
        ),
        pytest.param(
            (*WORKED, (99, "extend", "in_progress", 1, 200), (150, "resolve", "resolved")), 500, Standing.ON_TIME,
            id="a deadline moved in time",
        ),
        pytest.param(((0, "submit", "routing"), (5, "resolve", "resolved")), 500, Standing.LATE, id="no deadline ever"),
    ],
)  # fmt: skip
def test_how_a_case_counts(steps: Sequence[tuple[float, str, str]], at: float, expected: Standing) -> None:
    found = facts(story(*steps), minute(at))
    assert found is not None
    assert found.standing == expected


def test_facts_of_a_whole_life() -> None:
    events = story(
        *WORKED,
        (40, "message", "in_progress"),
        (90, "resolve", "resolved"),
        (200, "reopen", "assigned", 2, 300),
        (210, "accept", "accepted"),
        (350, "resolve", "resolved"),
        (400, "confirm", "closed"),
        (401, "rate", "closed"),
    )
    found = facts(events, minute(500))
    assert found is not None
    assert (found.received_at, found.verified_at, found.accepted_at) == (minute(0), minute(10), minute(20))
    assert found.first_response_at == minute(40)
    assert [(each.number, each.due_at, each.resolved_at, each.breached) for each in found.cycles] == [
        (1, minute(100), minute(90), False),
        (2, minute(300), minute(350), True),
    ]
    assert (found.resolved_at, found.state, found.standing) == (minute(350), "closed", Standing.LATE)
    between = facts(events, minute(250))
    assert between is not None
    assert between.resolved_at is None
    assert facts(events, minute(-1)) is None


def test_accepting_is_no_response_and_a_trusted_category_is_never_verified() -> None:
    found = facts(
        story((0, "submit", "routing"), (1, "assign", "assigned", 1, 100), (5, "accept", "accepted")), minute(9)
    )
    assert found is not None
    assert (found.verified_at, found.first_response_at, found.without_deadline) == (None, None, False)


def test_a_machine_whose_clock_is_behind_breaks_nothing() -> None:
    found = facts(
        story((0, "submit", "routing"), (-0.01, "assign", "assigned", 1, 100), (5, "accept", "accepted")), minute(9)
    )
    assert found is not None
    assert measures([found], CALENDAR).times["accept"].median_elapsed == 5


def test_the_rates_of_a_small_cohort() -> None:
    resolved = (*WORKED, (90, "resolve", "resolved"))
    histories = [
        OPENED[:1],
        (*OPENED, (12, "withdraw", "withdrawn")),
        (*OPENED, (12, "merge", "merged")),
        (*OPENED, (12, "reject", "rejected")),
        resolved,
        resolved,
        (*WORKED, (150, "resolve", "resolved")),
        (*resolved, (399, "reopen", "assigned", 2, 900)),
        WORKED,
        OPENED[:2],
    ]
    found = measures([each for history in histories if (each := facts(story(*history), minute(400)))], CALENDAR)
    assert (found.received, found.within_competence, found.handled) == (10, 6, 3)
    assert found.standings == {
        Standing.VERIFYING: 1, Standing.WITHDRAWN: 1, Standing.MERGED: 1, Standing.REJECTED: 1,
        Standing.ON_TIME: 2, Standing.LATE: 1, Standing.IN_TIME: 2, Standing.OVERDUE: 1,
    }  # fmt: skip
    assert found.without_deadline == 1
    assert found.rejected_by == {"unstated": 1}
    assert (found.handling_rate.value, found.handled_of_received.value) == (0.5, 0.3)
    assert (found.on_time_rate.numerator, found.on_time_rate.denominator) == (2, 4)
    # 90, 90 and 150 minutes; the reopened case is not resolved.
    resolve = found.times["resolve"]
    assert (resolve.count, resolve.median_elapsed, resolve.p90_elapsed) == (3, 90, 150)


def test_without_cases_there_are_no_numbers_rather_than_zero_or_one() -> None:
    found = measures([], CALENDAR)
    assert [rate.value for rate in (found.handling_rate, found.handled_of_received, found.on_time_rate)] == [None] * 3
    assert {(each.count, each.median_elapsed, each.p90_working) for each in found.times.values()} == {(0, None, None)}


def test_a_cohort_that_does_not_add_up_is_an_error() -> None:
    standings = dict.fromkeys(Standing, 1)
    with pytest.raises(ValueError, match="received is not"):
        Handling(9, 4, standings, 0, {}, {})
    with pytest.raises(ValueError, match="four-way"):
        Handling(9, 5, standings, 0, {}, {})


def test_times_are_whole_minutes_rounded_down_elapsed_and_working() -> None:
    # Received at 08:00; accepted 11 h 30 min and 59 s later, at 19:30:59: 11 hours of working time.
    found = facts(story(*OPENED, (690.99, "accept", "accepted")), minute(2000))
    assert found is not None
    accept = measures([found], CALENDAR).times["accept"]
    assert (accept.median_elapsed, accept.median_working) == (690, 660)


@given(st.lists(st.integers(0, 50), min_size=1), st.sampled_from([50, 90]))
def test_a_percentile_is_the_smallest_value_that_covers_its_share(values: list[int], percent: int) -> None:
    covering = (
        value for value in sorted(values) if 100 * sum(each <= value for each in values) >= percent * len(values)
    )
    assert percentile(sorted(values), percent) == next(covering)


# --- the oracle ------------------------------------------------------------------------------------------------------

MOVES = {
    "verifying": [("verify", "routing"), ("reject", "rejected"), ("withdraw", "withdrawn"), ("merge", "merged")],
    "routing": [("assign", "assigned"), ("undecided", "triage"), ("reject", "rejected")],
    "triage": [("assign", "assigned"), ("reject", "rejected"), ("merge", "merged")],
    "assigned": [("accept", "accepted"), ("return", "triage"), ("transfer", "assigned"), ("withdraw", "withdrawn")],
    "accepted": [("start", "in_progress"), ("resolve", "resolved"), ("message", "accepted"), ("extend", "accepted")],
    "in_progress": [
        ("resolve", "resolved"),
        ("resolve", "resolved"),
        ("message", "in_progress"),
        ("reject", "rejected"),
    ],
    "resolved": [("confirm", "closed"), ("reopen", "assigned"), ("rate", "resolved")],
    "closed": [("reopen", "assigned"), ("rate", "closed")],
    "rejected": [("appeal", "verifying"), ("hide", "rejected")],
    "merged": [("unmerge", "routing")],
    "withdrawn": [],
}


@st.composite
def histories(draw: st.DrawFn) -> list[Happened]:
    at, state, cycle = draw(st.integers(0, 300)), draw(st.sampled_from(["verifying", "routing"])), 1
    due: int | None = None
    events = [Happened(minute(at), "submit", state)]
    for _ in range(draw(st.integers(0, 12))):
        if not MOVES[state]:
            break
        verb, state = draw(st.sampled_from(MOVES[state]))
        at += draw(st.integers(1, 90))
        cycle += verb == "reopen"
        if verb in ("reopen", "extend") or (verb == "assign" and due is None):
            due = at + draw(st.integers(1, 120))
        code = draw(st.sampled_from(["spam", "state_secret"])) if verb == "reject" else None
        events.append(Happened(minute(at), verb, state, cycle, None if due is None else minute(due), code=code))
    return events


@dataclass(frozen=True)
class Told:
    name: str
    received: datetime
    times: dict[str, datetime | None]


def oracle(events: list[Happened], at: datetime) -> Told | None:
    """The same facts, minute by minute and straight from the definitions."""
    past = [event for event in events if event.at <= at]
    if not past:
        return None
    closed = {"resolved", "closed", "rejected", "merged", "withdrawn", "verifying"}
    breached = False
    clock = past[0].at
    while clock <= at:
        standing_then = [event for event in past if event.at < clock]
        if standing_then and standing_then[-1].to_state not in closed:
            due = standing_then[-1].due_at
            breached = breached or (due is not None and clock > due)
        clock += timedelta(minutes=1)
    end = past[-1]
    name = end.to_state
    if name in ("resolved", "closed"):
        name = "handled_on_time" if end.due_at is not None and not breached else "handled_late"
    elif name not in closed:
        name = "open_overdue" if end.due_at is not None and at > end.due_at else "open_in_time"
    times: dict[str, datetime | None] = {}
    for step, verbs in {"verify": ["verify"], "accept": ["accept"], "first_response": ["message", "resolve"]}.items():
        times[step] = min((event.at for event in past if event.verb in verbs), default=None)
    resolutions = [event.at for event in past if event.verb == "resolve"]
    times["resolve"] = max(resolutions) if end.to_state in ("resolved", "closed") else None
    return Told(name, past[0].at, times)


def working(start: datetime, end: datetime) -> int:
    """Minutes between 00:00 and 12:00 UTC, counted one by one."""
    return sum((start + timedelta(minutes=number)).hour < 12 for number in range((end - start) // timedelta(minutes=1)))


@settings(max_examples=60, deadline=None)
@given(st.lists(histories(), max_size=12), st.integers(0, 1200))
def test_measures_agree_with_the_oracle(cohort: list[list[Happened]], number: int) -> None:
    at = minute(number)
    told = [one for events in cohort if (one := oracle(events, at))]
    found_facts: list[CaseFacts] = [each for events in cohort if (each := facts(events, at))]
    found = measures(found_facts, CALENDAR)

    assert [str(each.standing) for each in found_facts] == [each.name for each in told]
    counts = {str(name): sum(each.name == name for each in told) for name in Standing}
    assert {str(name): count for name, count in found.standings.items()} == counts
    dropped = counts["withdrawn"] + counts["rejected"] + counts["merged"]
    handled = counts["handled_on_time"] + counts["handled_late"]
    within = handled + counts["open_in_time"] + counts["open_overdue"]
    assert found.received == len(told) == counts["verifying"] + dropped + within
    assert found.within_competence == within
    assert sum(found.rejected_by.values()) == counts["rejected"]

    def share(part: int, whole: int) -> float | None:
        return float(Fraction(part, whole)) if whole else None

    assert found.handling_rate.value == share(handled, within)
    assert found.handled_of_received.value == share(handled, len(told))
    assert found.on_time_rate.value == share(counts["handled_on_time"], handled + counts["open_overdue"])

    for step in ("verify", "accept", "first_response", "resolve"):
        pairs = [(each.received, end) for each in told if (end := each.times[step])]
        elapsed = sorted((end - start) // timedelta(minutes=1) for start, end in pairs)
        worked = sorted(working(start, end) for start, end in pairs)
        spread = found.times[step]
        assert spread.count == len(pairs)
        if pairs:
            middle, ninth = math.ceil(len(pairs) * 0.5) - 1, math.ceil(Fraction(9, 10) * len(pairs)) - 1
            assert (spread.median_elapsed, spread.p90_elapsed) == (elapsed[middle], elapsed[ninth])
            assert (spread.median_working, spread.p90_working) == (worked[middle], worked[ninth])
