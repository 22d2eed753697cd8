"""The plan of the demo: always the same, in order, in working hours, and as varied as life."""

import unicodedata
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import yaml
from shapely.geometry import box

from app.catalog.rules import Category
from app.core.clock import LOCAL
from app.core.config import ROOT
from app.deadlines.rules import Duration, WorkingCalendar
from tools.demo import dice
from tools.demo.drawing import SCENES as DRAWN
from tools.demo.lives import SCENES, Life, lives
from tools.demo.people import CITIZENS, PLACES
from tools.demo.texts import STYLES, as_keyed, filled, texts, typed
from tools.demo.world import Spot, World

PACK = ROOT / "packs" / "thai_nguyen"
UNTIL = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
SINCE = UNTIL - timedelta(days=182)
PRIVATE = frozenset({"an_ninh", "hanh_chinh_cong"})
BY_DISPATCHERS = ["verify", "place", "transfer", "reject", "publish", "hide", "unhide", "recategorise", "set_urgency"]
BY_UNITS = ["accept", "return", "start", "message", "resolve"]
BY_CITIZENS = ["move_pin", "withdraw", "add_information", "confirm", "rate", "reopen"]
WEEK = dict.fromkeys(range(5), ((450, 690), (780, 1020)))


def pack(file: str, section: str) -> dict[str, dict[str, Any]]:
    """A section of a pack's file, by code."""
    return {entry["code"]: entry for entry in yaml.safe_load((PACK / file).read_text())[section]}


def category(entry: dict[str, object]) -> Category:
    """A category of the pack with what the plan asks of it."""
    publication = entry.get("publication") or (
        "never" if entry["group"] in ("an_ninh", "hanh_chinh_cong") else "review"
    )
    values = {
        "group_code": entry["group"],
        "default_unit_code": entry.get("unit"),
        "urgency": entry.get("urgency", "normal"),
        "publication": publication,
        "concerns_staff": False,
        "emergency_numbers": (),
        "coarsen_m": 0,
        "photo_suggested": True,
        "active": True,
    }
    names = Category.__dataclass_fields__
    return Category(**{name: entry.get(name) for name in names} | values)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def world() -> World:
    categories = {code: category(entry) for code, entry in pack("categories.yaml", "categories").items()}
    urgent = Duration("continuous", 240)
    return World(
        calendar=WorkingCalendar.build(date(2025, 7, 1), date(2028, 1, 1), [(date(2025, 7, 1), WEEK)]),
        categories=categories,
        private_groups=PRIVATE,
        time_to_resolve={
            code: urgent if each.urgency == "urgent" else Duration("working", 1440) for code, each in categories.items()
        },
        spots=[Spot(place, box(105 + i, 21, 105.5 + i, 21.5)) for i, place in enumerate(PLACES)],
        approximate=True,
        close_after=timedelta(days=10),
    )


@pytest.fixture(scope="module")
def planned(world: World) -> list[Life]:
    return lives(world, 1, SINCE, UNTIL, 300)


def test_the_same_seed_plans_the_same_lives(world: World, planned: list[Life]) -> None:
    assert lives(world, 1, SINCE, UNTIL, 300) == planned
    other = lives(world, 2, SINCE, UNTIL, 300)
    assert {life.report_id for life in other}.isdisjoint(life.report_id for life in planned)


def test_time_only_moves_on_and_ends_now(planned: list[Life]) -> None:
    assert [life.received_at for life in planned] == sorted(life.received_at for life in planned)
    for life in planned:
        moments = [life.received_at, *(step.at for step in life.steps)]
        assert all(before < after for before, after in pairwise(moments)), life
        assert SINCE - timedelta(days=1) <= moments[0] <= moments[-1] <= UNTIL


def test_staff_work_in_working_hours_unless_it_is_urgent(world: World, planned: list[Life]) -> None:
    desk = {*BY_DISPATCHERS, *BY_UNITS}
    for life in planned:
        if world.categories[life.report.category].urgency == "urgent":
            continue
        for step in life.steps:
            local = step.at.astimezone(LOCAL)
            if step.verb in desk:
                assert local.weekday() < 5, (life.number, step)
                assert 450 <= local.hour * 60 + local.minute <= 1021, (life.number, step)
            elif step.verb != "close":
                assert 5 <= local.hour <= 22, (life.number, step)


def test_what_is_reported_is_what_the_province_knows(world: World, planned: list[Life]) -> None:
    groups = Counter(world.categories[life.report.category].group_code for life in planned)
    assert abs(groups["giao_thong"] / 300 - 0.227) < 0.03
    assert groups.most_common(1)[0][0] == "giao_thong"
    assert len(groups) == 12
    months = Counter(life.received_at.month for life in planned)
    assert months.keys() >= {6, 7, 8, 9, 10, 11}
    assert months[10] > months[6]


def test_nobody_sends_more_than_the_limit_allows(planned: list[Life]) -> None:
    assert max(Counter(life.citizen for life in planned).values()) <= 10
    assert len({life.citizen for life in planned}) == CITIZENS


def test_every_turn_a_case_can_take_is_taken(planned: list[Life]) -> None:
    verbs = Counter(step.verb for life in planned for step in life.steps)
    assert verbs.keys() == {*BY_DISPATCHERS, *BY_UNITS, *BY_CITIZENS, "close"}
    recent = [life for life in planned if life.received_at > UNTIL - timedelta(days=21)]
    left = Counter(life.steps[-1].verb if life.steps else "submit" for life in recent)
    # Waiting to be verified or placed, handed back, placed, accepted, begun, resolved.
    assert left.keys() >= {"submit", "return", "accept", "start", "resolve"}
    with_photos = sum(bool(life.shots) for life in planned)
    assert 75 <= with_photos <= 125
    assert any(step.shots for life in planned for step in life.steps if step.verb == "resolve")


def test_a_private_report_is_not_published(planned: list[Life]) -> None:
    private = [life for life in planned if life.report.visibility == "private"]
    assert len(private) > 20
    assert not any(step.verb in ("publish", "hide") for life in private for step in life.steps)


def test_texts_fit_the_shipped_pack() -> None:
    known = texts()
    categories = pack("categories.yaml", "categories")
    agencies, communes = pack("units/agencies.yaml", "agencies"), pack("units/communes.yaml", "communes")
    assert known.weights.keys() == known.reports.keys() <= categories.keys()
    assert known.resolved.keys() == {entry["group"] for entry in categories.values()}
    assert known.rejected.keys() <= pack("texts.yaml", "reject_codes").keys()
    assert {each.unit for each in known.elsewhere.values()} <= agencies.keys()
    assert {place.code for place in PLACES} <= communes.keys()
    assert sum(len(each) for each in known.reports.values()) > 140
    assert SCENES.keys() <= categories.keys()
    assert set(SCENES.values()) <= DRAWN.keys()
    assert sum(known.weights.values()) == pytest.approx(100)


def test_everything_can_be_said_in_every_place() -> None:
    for template in [said for each in texts().reports.values() for said in each] + texts().information:
        for urban in (True, False):
            said = filled(template, dice(template), urban=urban)
            assert "{" not in said
            assert said[0].isupper()


def test_people_type_as_people_do() -> None:
    assert as_keyed("đường") == "dduwowngf"
    assert as_keyed("nghiêng") == "nghieeng"
    styles = {style.__name__: style("Hát karaoke cả ngày lẫn đêm, không ngủ được, tòa nhà nào cũng nghe rõ hòa âm.", dice(1)) for style, _ in STYLES}  # fmt: skip  # noqa: E501
    assert styles["without_marks"].startswith("hat karaoke ca ngay lan dem, khong ngu duoc")
    assert "ko ngủ dc" in styles["shortened"]
    assert styles["new_tones"].endswith("hoà âm.")
    assert unicodedata.is_normalized("NFD", styles["decomposed"])
    assert not unicodedata.is_normalized("NFC", styles["decomposed"])
    residue = styles["with_residue"]
    assert residue != styles["as_written"]
    assert residue.count(" ") == styles["as_written"].count(" ")
    assert len({typed("Đường hỏng rồi không ai sửa được", dice(n)) for n in range(60)}) >= 4
