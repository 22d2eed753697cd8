"""The shipped calendar and deadlines are right, and each way of damaging them is named."""

import re
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from app.catalog.schemas import CategoriesFile
from app.core.config import ROOT
from app.core.packfile import read_yaml
from app.deadlines.actions import check_pack
from app.deadlines.schemas import CalendarFile, PoliciesFile

PACK = ROOT / "packs" / "thai_nguyen"
CODES = frozenset(each.code for each in read_yaml(PACK / "categories.yaml", CategoriesFile).categories)

Edit = Callable[[str, str, str], Path]


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    def edit(file: str, old: str, new: str) -> Path:
        pack = tmp_path / "pack"
        if not pack.exists():
            shutil.copytree(PACK, pack)
        text = (pack / file).read_text()
        assert old in text
        (pack / file).write_text(text.replace(old, new, 1))
        return pack

    return edit


def test_the_shipped_files_have_no_mistake() -> None:
    assert check_pack(PACK, CODES) == []


def test_what_the_shipped_files_say() -> None:
    calendar = read_yaml(PACK / "calendar.yaml", CalendarFile)
    office = [(7 * 60 + 30, 11 * 60 + 30), (13 * 60, 17 * 60)]
    assert calendar.weeks() == {("*", date(2025, 7, 1)): dict.fromkeys(range(5), office)}
    minutes = {
        (policy.clock, code, policy.urgency): policy.duration().minutes
        for policy in read_yaml(PACK / "policies.yaml", PoliciesFile).policies
        for code in policy.codes()
    }
    assert minutes["verify", None, None] == minutes["accept", None, None] == 480
    assert minutes["answer", None, None] == 5 * 1440
    assert minutes["resolve", "o_ga", None] == 5 * 480
    assert minutes["resolve", "ho_ga_mat_nap", None] == minutes["resolve", None, "urgent"] == 240


DAMAGES = [
    ("calendar.yaml", 'start: "07:30"', 'start: "7:30"', "String should match pattern"),
    ("calendar.yaml", 'start: "07:30"', "start: 07:30", None),  # text without quotes as well, see core.packfile
    ("calendar.yaml", 'end: "11:30"', 'end: "07:30"', "ends before it starts"),
    ("calendar.yaml", 'start: "13:00"', 'start: "11:00"', "overlap"),
    ("calendar.yaml", "[mon, tue,", "[mon, mon,", "a weekday stands here twice"),
    ("calendar.yaml", "[mon, tue,", "[mon, tu,", "Input should be 'mon'"),
    ("calendar.yaml", 'unit_group: "*"\n    weekdays', "unit_group: police\n    weekdays", 'for the group "*"'),
    ("calendar.yaml", "{date: 2026-01-10", "{date: 2026-01-02", "stands here twice"),
    ("calendar.yaml", "state: off", "state: closed", "Input should be 'off'"),
    ("calendar.yaml", "overrides:", "overrides: []\nothers:", "nothing is removed by an empty list"),
    ("policies.yaml", "clock: verify, kind", "clock: verifying, kind", "Input should be 'verify'"),
    ("policies.yaml", "clock: verify, kind", "clock: accept, kind", "The clock verify has no default"),
    ("policies.yaml", "clock: verify, kind", "clock: accept, kind", "accept of the default from 2025-07-01"),
    ("policies.yaml", "hours: 8", "hours: 8, days: 1", "exactly one of days and hours"),
    ("policies.yaml", "hours: 8", "hours: 0", "greater than or equal to 1"),
    ("policies.yaml", "kind: calendar, days: 5", "kind: calendar, hours: 120", "given in days"),
    ("policies.yaml", "belief: true", "belief: false", "belief is true as long as no decision is named"),
    ("policies.yaml", "clock: verify, kind", "clock: directive, kind", "Input should be 'verify'"),
    ("policies.yaml", "days: 5, times: 3", "days: 5, times: 0", "greater than or equal to 1"),
    ("policies.yaml", "pauses:\n", "pauses: []\nothers:\n", "nothing is removed by an empty list"),
    ("policies.yaml", "pauses:\n  - {", "pauses:\n  - {reason: storm, ", "Pauses have no default"),
    ("policies.yaml", "- karaoke_tieng_on", "- karaoke", "There is no category 'karaoke'"),
    ("policies.yaml", "- karaoke_tieng_on", "- karaoke", "'karaoke_tieng_on' has no deadline for resolving"),
]


@pytest.mark.parametrize(("file", "old", "new", "message"), DAMAGES)
def test_each_damage_is_named(edited: Edit, file: str, old: str, new: str, message: str | None) -> None:
    findings = check_pack(edited(file, old, new), CODES)
    if message is None:
        assert findings == []
        return
    assert any(message.lower() in str(finding).lower() for finding in findings), findings
    assert all(finding.file == file and re.search(r"line \d+", finding.where) for finding in findings)


def test_both_files_are_reported_at_once(edited: Edit) -> None:
    edited("calendar.yaml", "state: off", "state: closed")
    findings = check_pack(edited("policies.yaml", "clock: verify, kind", "clock: nothing, kind"), CODES)
    assert {finding.file for finding in findings} == {"calendar.yaml", "policies.yaml"}
