"""Every worked example of docs/deadlines.md is computed with the shipped calendar."""

import re
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from app.core.config import ROOT
from app.core.db import Session
from app.deadlines.models import EVERYONE
from app.deadlines.queries import days_in_force, weeks_entered
from app.deadlines.rules import (
    DAY,
    WORKING_DAY,
    Duration,
    Pause,
    Week,
    WorkingCalendar,
    breach,
    due,
    is_met,
    replanned,
    week_in_force,
)
from app.escalations.rules import soon_at

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
PAGE = (ROOT / "docs" / "deadlines.md").read_text()
RULES = re.split(r"^## (?=\d\. )", PAGE, flags=re.MULTILINE)[1:]
Example = dict[str, Any]


class _Plain(yaml.SafeLoader):
    """Moments and days stay text."""


_Plain.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
EXAMPLES: dict[str, Example] = {
    f"rule {rule[0]} example {number}": example
    for rule in RULES
    for number, example in enumerate(
        each
        for block in re.findall(r"```yaml\n(.*?)```", rule, flags=re.DOTALL)
        for each in yaml.load(block, Loader=_Plain)
    )
}
KNOWN = {
    "kind", "days", "hours", "start", "due", "exceptions", "hours_of_group", "pauses", "extended", "now", "becomes",
    "breached", "stopped", "met", "warned", "closed_later", "was",
}  # fmt: skip


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=HANOI)


def length(said: Example) -> Duration:
    days = WORKING_DAY if said["kind"] == "working" else DAY
    return Duration(said["kind"], said["days"] * days if "days" in said else said["hours"] * 60)


def week_of(intervals: list[str]) -> Week:
    def minute(text: str) -> int:
        return int(text[:2]) * 60 + int(text[3:])

    hours = [(minute(each[:5]), minute(each[6:])) for each in intervals]
    return dict.fromkeys(range(7), hours)


def calendar(session: Session, example: Example, *also: str) -> WorkingCalendar:
    """The shipped calendar with what the example says is different."""
    weeks = week_in_force(weeks_entered(session)[EVERYONE])
    if "hours_of_group" in example:
        weeks = [(weeks[0][0], week_of(example["hours_of_group"]))]
    days = {day: state for (group, day), state in days_in_force(session).items() if group == EVERYONE}
    for name in ("exceptions", *also):
        days |= {date.fromisoformat(day): state for day, state in example.get(name, {}).items()}
    return WorkingCalendar.build(weeks[0][0], date(2027, 12, 31), weeks, days)


def test_every_rule_has_its_worked_examples() -> None:
    assert [rule[0] for rule in RULES] == list("12345678")
    assert all("```yaml" in rule for rule in RULES)
    assert not {name for each in EXAMPLES.values() for name in each} - KNOWN


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_a_worked_example(session: Session, example: Example) -> None:
    before, now = calendar(session, example), calendar(session, example, "closed_later")
    start, duration = at(example["start"]), length(example)
    pauses = [Pause(at(began), at(ended)) for began, ended in example.get("pauses", ())]
    extended = example.get("extended", 0)
    found = due(before, start, duration, extended=extended, pauses=pauses)
    breached = None
    if "was" in example:
        assert found == at(example["was"])
    if "now" in example:
        duration = length(example["becomes"]) if "becomes" in example else duration
        changed = replanned(
            now,
            start,
            duration,
            due_at=found,
            breached_at=None,
            now=at(example["now"]),
            extended=extended,
            pauses=pauses,
        )
        found, breached = changed.due_at, changed.breached_at
    assert found == at(example["due"])
    if "warned" in example:
        assert soon_at(before, start, found, duration, extended) == at(example["warned"])
    if "stopped" in example:
        breached = breached or breach(found, at(example["stopped"]))
        assert is_met(found, breached, at(example["stopped"])) is example["met"]
    if "breached" in example:
        assert breached == (at(example["breached"]) if example["breached"] else None)
