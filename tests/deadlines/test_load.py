"""Calendar and policies in the database: entered once, versioned, read from memory."""

import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlmodel import col, func, select

from app.core import clock
from app.core.config import ROOT
from app.core.db import Session, transaction
from app.core.packfile import PackError
from app.core.versioned import bump
from app.deadlines import queries
from app.deadlines.actions import load_calendar, load_policies
from app.deadlines.models import CalendarDay, DeadlinePolicy, WorkingHours
from app.deadlines.queries import NoPolicyError, calendar, deadline, is_provisional, policy_for
from app.deadlines.rules import Duration, due, worked_minutes
from app.embedded import Database
from app.identity.models import AuditEntry

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
PACK = ROOT / "packs" / "thai_nguyen"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=HANOI)


def works(session: Session, day: str) -> int:
    """Minutes worked on a local day."""
    return worked_minutes(calendar(session), at(f"{day} 00:00"), at(f"{day} 23:59"))


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PACK, tmp_path / "pack"))


def change(pack: Path, file: str, old: str, new: str) -> None:
    text = (pack / file).read_text()
    assert old in text
    (pack / file).write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("day", "minutes"),
    [
        pytest.param("2026-01-01", 0, id="New Year, from the library"),
        pytest.param("2026-01-02", 0, id="Friday swapped, the library does not know"),
        pytest.param("2026-01-10", 480, id="the Saturday it was swapped for"),
        pytest.param("2026-01-09", 480, id="an ordinary Friday"),
        pytest.param("2026-01-17", 0, id="an ordinary Saturday"),
        pytest.param("2026-02-17", 0, id="Tết"),
        pytest.param("2026-04-27", 0, id="Hùng Kings, in lieu of a Sunday"),
        pytest.param("2026-08-22", 480, id="make-up Saturday before National Day"),
        pytest.param("2026-08-31", 0, id="swapped Monday before National Day"),
        pytest.param("2026-11-24", 0, id="Culture Day, new in 2026"),
        pytest.param("2026-04-25", 0, id="the library's leaked make-up day of another year"),
        pytest.param("2027-02-08", 0, id="Tết 2027"),
        pytest.param("2028-11-24", 0, id="the last year seeded"),
    ],
)
def test_days_of_the_loaded_pack(session: Session, day: str, minutes: int) -> None:
    assert works(session, day) == minutes


def test_loading_again_changes_nothing(session: Session) -> None:
    def count() -> list[int]:
        tables = (CalendarDay, WorkingHours, DeadlinePolicy, AuditEntry)
        return [session.exec(select(func.count()).select_from(table)).one() for table in tables]

    before = count()
    assert all(before)
    assert load_calendar(session, PACK).entered == ()
    assert load_policies(session, PACK).entered == ()
    session.flush()
    assert count() == before


def test_a_corrected_day_wins_and_the_old_row_stays(session: Session, pack: Path) -> None:
    change(pack, "calendar.yaml", 'state: work, note: "Làm bù cho ngày 02/01/2026"', 'state: half_morning, note: "Bão"')
    assert load_calendar(session, pack).entered == ("override 2026-01-10 * half_morning",)
    assert works(session, "2026-01-10") == 240
    rows = select(CalendarDay.state).where(CalendarDay.date == date(2026, 1, 10)).order_by(col(CalendarDay.entered_at))
    assert list(session.exec(rows)) == ["work", "half_morning"]
    audit = session.exec(select(AuditEntry).where(AuditEntry.topic == "calendar").order_by(col(AuditEntry.at).desc()))
    newest = audit.first()
    assert newest is not None
    assert (newest.subject, newest.after) == ("calendar.yaml", {"entered": ["override 2026-01-10 * half_morning"]})


def test_the_pack_does_not_overturn_what_was_entered_after_it(session: Session) -> None:
    storm = CalendarDay(date=date(2026, 1, 10), state="off", source="override", note="Bão số 1", entered_at=clock.now())
    session.add(storm)
    session.flush()
    bump(session, queries.TOPIC)
    assert works(session, "2026-01-10") == 0
    assert load_calendar(session, PACK).entered == ()
    assert works(session, "2026-01-10") == 0


def test_an_override_that_is_taken_back_leaves_the_library_and_the_weekday(session: Session, pack: Path) -> None:
    change(
        pack,
        "calendar.yaml",
        '{date: 2026-01-02, unit_group: "*", state: off',
        '{date: 2026-01-02, unit_group: "*", state: normal',
    )
    change(
        pack,
        "calendar.yaml",
        '{date: 2026-08-31, unit_group: "*", state: off',
        '{date: 2026-08-31, unit_group: "*", state: normal',
    )
    load_calendar(session, pack)
    assert works(session, "2026-01-02") == 480
    assert works(session, "2026-08-31") == 0


def test_a_holiday_the_library_forgets_is_a_normal_day_again(session: Session) -> None:
    session.add(CalendarDay(date=date(2026, 3, 4), state="off", source="library", note="Nhầm"))
    session.flush()
    assert load_calendar(session, PACK).entered == ("library 2026-03-04 * normal",)
    assert works(session, "2026-03-04") == 480


def test_a_group_of_units_has_its_own_hours_and_days(session: Session) -> None:
    for weekday in range(7):
        session.add(
            WorkingHours(
                unit_group="police", weekday=weekday, start_minute=0, end_minute=1440, effective_from=date(2025, 7, 1)
            )
        )
    session.add(CalendarDay(date=date(2026, 1, 1), unit_group="police", state="work", source="override"))
    session.add(CalendarDay(date=date(2026, 3, 4), unit_group="ward", state="off", source="override"))
    session.flush()
    bump(session, queries.TOPIC)
    new_year = at("2026-01-01 00:00")
    assert worked_minutes(calendar(session, "police"), new_year, new_year + timedelta(days=1)) == 1440
    assert worked_minutes(calendar(session, "ward"), at("2026-03-04 00:00"), at("2026-03-05 23:00")) == 480
    assert calendar(session, "unheard_of") is calendar(session)


def test_new_hours_count_from_their_day(session: Session, pack: Path) -> None:
    text = (pack / "calendar.yaml").read_text()
    entry = text[text.index('  - unit_group: "*"\n    weekdays') : text.index("overrides:")]
    later = entry.replace("2025-07-01", "2026-04-01").replace('"17:00"', '"16:00"')
    (pack / "calendar.yaml").write_text(text.replace(entry, entry.rstrip() + "\n" + later))
    assert load_calendar(session, pack).entered == ("hours * from 2026-04-01",)
    assert (works(session, "2026-03-31"), works(session, "2026-04-01")) == (480, 420)


def test_a_policy_counts_from_its_day_and_the_category_before_the_default(session: Session, pack: Path) -> None:
    own = policy_for(session, "o_ga", "resolve", at("2026-03-02 08:00"))
    assert (own.category_code, own.duration) == ("o_ga", Duration("working", 5 * 480))
    fallback = policy_for(session, "o_ga", "verify", at("2026-03-02 08:00"))
    assert (fallback.category_code, fallback.duration) == (None, Duration("working", 480))

    row = "  - {clock: verify, kind: working, hours: 8, valid_from: 2025-07-01, decision: null, belief: true}\n"
    decided = row.replace("hours: 8", "hours: 4").replace("2025-07-01", "2026-03-03")
    change(pack, "policies.yaml", row, row + decided.replace("null, belief: true", '"12/2026/QĐ-UBND", belief: false'))
    assert load_policies(session, pack).entered == ("verify * from 2026-03-03: 240 minutes working",)
    # 2 March 23:30 here is still 2 March; in UTC it is 16:30.
    assert policy_for(session, "o_ga", "verify", at("2026-03-02 23:30")).duration.minutes == 480
    # 3 March 05:00 here is 2 March in UTC.
    changed = policy_for(session, "o_ga", "verify", at("2026-03-03 05:00"))
    assert (changed.duration.minutes, changed.decision, changed.belief) == (240, "12/2026/QĐ-UBND", False)


def test_a_correction_of_an_old_policy_does_not_overtake_a_newer_one(session: Session) -> None:
    first = policy_for(session, "o_ga", "verify", at("2026-03-02 08:00"))
    now = clock.now()
    for minutes, valid_from, entered_at in (
        (60, date(2026, 3, 1), now),
        (90, first.valid_from, now + timedelta(hours=1)),
    ):
        row = DeadlinePolicy(
            clock="verify", kind="working", minutes=minutes, valid_from=valid_from, entered_at=entered_at
        )
        session.add(row)
    session.flush()
    bump(session, queries.TOPIC)
    assert policy_for(session, "o_ga", "verify", at("2026-02-27 08:00")).duration.minutes == 90
    assert policy_for(session, "o_ga", "verify", at("2026-03-02 08:00")).duration.minutes == 60


def test_before_any_policy_there_is_a_clear_error(session: Session) -> None:
    with pytest.raises(NoPolicyError, match="no policy for the clock verify of o_ga on 2025-06-30"):
        policy_for(session, "o_ga", "verify", at("2025-06-30 08:00"))


def test_a_deadline_names_its_policy(session: Session) -> None:
    start = at("2026-01-09 16:00")
    planned = deadline(session, "o_ga", "verify", start)
    assert planned.due_at == at("2026-01-10 16:00")
    assert planned.policy_id == policy_for(session, "o_ga", "verify", start).id
    urgent = deadline(session, "ho_ga_mat_nap", "resolve", at("2026-02-17 23:00"))
    assert urgent.due_at == at("2026-02-18 03:00")


def test_deadlines_are_provisional_until_every_one_rests_on_a_decision(session: Session) -> None:
    assert is_provisional(session, date(2026, 3, 2))
    assert not is_provisional(session, date(2025, 6, 30))


def test_a_pack_with_a_mistake_enters_nothing(session: Session, pack: Path) -> None:
    change(pack, "policies.yaml", "clock: answer, kind", "clock: verify, kind")
    with pytest.raises(PackError, match="The clock answer has no default"):
        load_policies(session, pack)


def test_the_calendar_reaches_ten_years_ahead(session: Session) -> None:
    start = datetime.now(UTC) + timedelta(days=9 * 365)
    assert due(calendar(session), start, Duration("working", 7 * 480)) > start


def test_a_load_that_was_rolled_back_leaves_nothing_in_memory(committed: Database, pack: Path) -> None:
    change(pack, "calendar.yaml", "state: work, note", 'state: "off", note')

    def load_and_fail() -> None:
        with transaction() as session:
            load_calendar(session, pack)
            assert works(session, "2026-01-10") == 0
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        load_and_fail()
    with transaction() as session:
        assert works(session, "2026-01-10") == 480
