"""Calendar and deadlines are entered, previewed and applied to what runs (DOMAIN.md, deadline rules 1, 4 and 8)."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select
from typer.testing import CliRunner

from app.cases.models import Case, CaseEvent, CaseHop
from app.cli import cli
from app.core import clock
from app.core.db import Session
from app.deadlines import actions as clocks
from app.deadlines import queries as deadlines
from app.deadlines.models import SlaClock, SupersededDeadline
from app.identity.models import AuditEntry
from app.timetables.actions import SETTLED, recompute_owed
from app.timetables.models import TimeChange
from tests.kpi.histories import at
from tests.support import make, places
from tools.verify import problems

HOME = places.codes()[0]
JSON = dict[str, Any]
Enter = Callable[..., JSON]


@pytest.fixture
def enter(session: Session, client: TestClient) -> Enter:
    with clock.travelled(at("2026-01-05 08:00")):
        administrator = make.staff(session, "administrator")

    def enter(expected: int = 201, **body: object) -> JSON:
        headers = make.bearer(administrator) | make.key()
        answer = client.post("/v1/time-changes", json={"note": "Công điện về bão số 5", **body}, headers=headers)
        assert answer.status_code == expected, answer.text
        found: JSON = answer.json()
        return found

    return enter


@pytest.fixture
def case(session: Session, client: TestClient) -> Case:
    """At a unit since Monday 2 March 2026, 08:00, with five working days to resolve."""
    with clock.travelled(at("2026-03-02 08:00")):
        case_id = make.routed(session, client, make.citizen(session), within=HOME)
    return session.exec(select(Case).where(Case.id == case_id)).one()


def clock_of(session: Session, case: Case, kind: str = "resolve") -> SlaClock:
    session.expire_all()
    return session.exec(select(SlaClock).where(SlaClock.case_id == case.id, SlaClock.kind == kind)).one()


def applied(after: str) -> int:
    """How many deadlines move once every process knows what was entered then."""
    with clock.travelled(at(after) + SETTLED):
        return recompute_owed()


def refused(answer: JSON) -> list[tuple[str, str]]:
    assert answer["code"] == "time_change_refused"
    assert all(each["detail"] for each in answer["errors"])
    return [(each["code"], each["pointer"]) for each in answer["errors"]]


STORM = {"date": "2026-03-04", "state": "off", "note": "Bão số 5"}
TUESDAY = "2026-03-03 16:00"


def test_a_preview_names_what_would_move_and_stores_nothing(session: Session, case: Case, enter: Enter) -> None:
    with clock.travelled(at(TUESDAY)):
        asked = enter(200, days=[STORM], dry_run=True)
        assert deadlines.calendar(session).hours_of(date(2026, 3, 4))
        assert (asked["id"], asked["stored"], asked["would_move"]) == (None, False, 2)
        moves = {each["clock"]: (each["reference"], each["due_at"], each["new_due_at"]) for each in asked["moves"]}
        assert moves["resolve"] == (case.reference, "2026-03-09T01:00:00Z", "2026-03-10T01:00:00Z")
        assert set(moves) == {"resolve", "first_response"}
        assert session.exec(select(TimeChange)).all() == []
        assert enter(days=[STORM])["moves"] == asked["moves"]


def test_what_moved_says_so_in_the_history_and_nothing_is_forgotten(session: Session, case: Case, enter: Enter) -> None:
    version = case.version
    with clock.travelled(at(TUESDAY)):
        change = enter(days=[STORM])
        assert recompute_owed() == 0, "other processes may still measure by the old calendar"
    assert (applied(TUESDAY), applied("2026-03-03 16:30")) == (2, 0)
    resolve, accept = clock_of(session, case), clock_of(session, case, "accept")
    assert resolve.due_at == at("2026-03-10 08:00")
    # What fell due before the closure did not move, and is as missed as it was.
    assert (accept.due_at, accept.breached_at) == (at("2026-03-03 08:00"), None)
    event = session.exec(select(CaseEvent).where(CaseEvent.case_id == case.id, CaseEvent.verb == "reschedule")).one()
    assert (event.seq, event.code, event.due_at) == (version + 1, change["id"], resolve.due_at)
    hop = session.exec(select(CaseHop).where(CaseHop.case_id == case.id)).one()
    assert (case.due_at, hop.due_at, case.act_by) == (resolve.due_at, resolve.due_at, accept.due_at)
    before = session.exec(select(SupersededDeadline).where(SupersededDeadline.kind == "resolve")).one()
    assert (before.due_at, before.seq, before.reason) == (at("2026-03-09 08:00"), event.seq, "reschedule")
    entry = session.exec(select(AuditEntry).where(AuditEntry.subject == change["id"])).one()
    assert entry.after == {"entered": ["day 2026-03-04 * off: Bão số 5"], "note": "Công điện về bão số 5"}
    row = session.exec(select(TimeChange)).one()
    assert (row.moved, row.done_at is not None) == (2, True)
    assert problems(session) == []


def test_a_breach_survives_the_day_that_would_have_prevented_it(session: Session, case: Case, enter: Enter) -> None:
    with clock.travelled(at("2026-03-09 09:00")):
        enter(days=[STORM])
    applied("2026-03-09 09:00")
    resolve = clock_of(session, case)
    assert (resolve.due_at, resolve.breached_at) == (at("2026-03-10 08:00"), at("2026-03-09 08:00"))
    assert problems(session) == []


def test_a_retroactive_policy_moves_what_started_since_its_day(session: Session, case: Case, enter: Enter) -> None:
    policy = {"clock": "resolve", "category": case.category_code, "kind": "working", "days": 10}
    later = policy | {"valid_from": "2026-03-03", "decision": "12/2026/QĐ-UBND"}
    with clock.travelled(at("2026-03-03 09:00")):
        assert enter(200, policies=[later], dry_run=True)["would_move"] == 0
        told = enter(policies=[later | {"valid_from": "2026-03-01"}])
        assert [each["clock"] for each in told["moves"]] == ["resolve"]
    assert applied("2026-03-03 09:00") == 1
    resolve = clock_of(session, case)
    assert resolve.due_at == at("2026-03-16 08:00")
    assert resolve.policy_id is not None
    assert deadlines.policy(session, resolve.policy_id).decision == "12/2026/QĐ-UBND"
    assert problems(session) == []


def test_a_paused_and_extended_clock_keeps_both(session: Session, case: Case, enter: Enter) -> None:
    said: JSON = {"case_id": case.id, "kind": "resolve"}
    clocks.pause(session, **said, seq=3, reason="citizen", at=at("2026-03-02 10:00"))
    clocks.resume(session, **said, seq=4, at=at("2026-03-02 14:00"))
    clocks.extend(session, **said, minutes=480, seq=5, actor_id=None, reason="grant", at=at("2026-03-02 15:00"))
    session.flush()
    assert clock_of(session, case).due_at == at("2026-03-10 10:30")
    with clock.travelled(at(TUESDAY)):
        enter(days=[STORM])
    applied(TUESDAY)
    assert clock_of(session, case).due_at == at("2026-03-11 10:30")


def test_a_unit_keeps_the_hours_of_its_group(session: Session, client: TestClient, enter: Enter) -> None:
    intervals = [{"start": "00:00", "end": "24:00"}]
    week = {
        "unit_group": "truc_24_7",
        "effective_from": "2025-07-01",
        "hours": [{"weekdays": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "intervals": intervals}],
    }
    with clock.travelled(at("2026-03-02 07:00")):
        enter(weeks=[week], groups=[{"unit_group": "truc_24_7", "units": [HOME]}])
    with clock.travelled(at("2026-03-02 08:00")):
        own = make.routed(session, client, make.citizen(session), within=HOME)
        other = make.routed(session, client, make.citizen(session), within=places.codes()[1])
        officer = make.bearer(make.staff(session, "officer", HOME))
        shown = client.get("/v1/timetable?unit_group=truc_24_7", headers=officer).json()
    accept = select(SlaClock.due_at).where(SlaClock.kind == "accept")
    assert session.exec(accept.where(SlaClock.case_id == own)).one() == at("2026-03-02 16:00")
    assert session.exec(accept.where(SlaClock.case_id == other)).one() == at("2026-03-03 08:00")
    assert shown["groups"] == {"truc_24_7": [HOME]}
    assert shown["days"][0] == {"date": "2026-03-02", "hours": ["00:00–24:00"], "minutes": 1440}
    with clock.travelled(at("2026-03-02 09:00")):
        told = enter(groups=[{"unit_group": "*", "units": [HOME]}])
        assert {each["clock"] for each in told["moves"]} == {"accept", "first_response", "resolve"}


def test_bad_entries_are_refused_all_at_once(session: Session, enter: Enter) -> None:
    def hours(*intervals: tuple[str, str], weekdays: tuple[str, ...] = ("mon",)) -> JSON:
        return {
            "weekdays": weekdays,
            "intervals": [{"start": start, "end": end} for start, end in intervals],
        }

    policy = {"clock": "verify", "kind": "working", "hours": 4, "valid_from": "2026-04-01"}
    pause = {"kind": "calendar", "days": 5, "times": 1, "valid_from": "2026-04-01"}
    answer = enter(
        422,
        days=[STORM, STORM | {"state": "work"}, STORM | {"unit_group": "nobody"}, STORM | {"date": "2062-03-04"}],
        weeks=[
            {"effective_from": "2026-04-01", "hours": [hours(("07:00", "12:00"), ("11:59", "17:00"))]},
            {"effective_from": "2026-05-01", "hours": [hours(("12:00", "07:00")), hours(("07:00", "12:00"))]},
        ],
        groups=[{"unit_group": "typo", "units": [HOME, HOME, "00000"]}],
        policies=[
            policy,
            policy,
            policy | {"category": "nothing"},
            policy | {"category": "o_ga", "valid_from": "2020-01-01"},
            policy | {"kind": "calendar"},
        ],
        pauses=[pause | {"days": 61, "reason": "storm"}, pause | {"valid_from": "2020-01-01", "reason": "storm"}],
    )
    assert refused(answer) == [
        ("day_in_two_states", "/days/1/date"),
        ("day_too_far", "/days/3/date"),
        ("hours_overlap", "/weeks/0/hours/0/intervals"),
        ("hours_backward", "/weeks/1/hours/0/intervals"),
        ("weekday_twice", "/weeks/1/hours/1/weekdays"),
        ("unknown_group", "/days/2/unit_group"),
        ("unknown_group", "/groups/0/unit_group"),
        ("unit_twice", "/groups/0/units/1"),
        ("unknown_unit", "/groups/0/units/2"),
        ("policy_twice", "/policies/1"),
        ("unknown_category", "/policies/2/category"),
        ("policy_without_default", "/policies/3/valid_from"),
        ("length_unclear", "/policies/4/days"),
        ("policy_twice", "/policies/4"),
        ("pause_too_long", "/pauses/0"),
        ("policy_without_default", "/pauses/1/valid_from"),
    ]
    assert enter(422)["code"] == "time_change_empty"
    assert session.exec(select(TimeChange)).all() == []


def test_a_new_cap_of_pauses_holds_from_its_day(session: Session, case: Case, enter: Enter) -> None:
    cap = {"reason": "storm", "kind": "working", "hours": 2, "times": 1, "valid_from": "2026-03-02"}
    with clock.travelled(at("2026-03-02 09:00")):
        told = enter(pauses=[cap | {"decision": "3/2026/QĐ-UBND"}])
        assert told["entered"] == ["pause storm from 2026-03-02: 1 of 120 minutes working"]
    clocks.pause(session, case_id=case.id, kind="resolve", seq=3, reason="storm", at=at("2026-03-02 10:00"))
    session.flush()
    assert clock_of(session, case).due_at == at("2026-03-09 10:00")


def test_changes_are_listed_the_last_first(session: Session, client: TestClient, enter: Enter) -> None:
    first, second = enter(days=[STORM]), enter(days=[STORM | {"date": "2026-03-05"}])
    headers = make.bearer(make.staff(session, "auditor"))
    page = client.get("/v1/time-changes?limit=1", headers=headers).json()
    rest = client.get(f"/v1/time-changes?cursor={page['next_cursor']}", headers=headers).json()
    assert [each["id"] for each in (*page["items"], *rest["items"])] == [second["id"], first["id"]]


def test_the_same_over_the_command_line(session: Session, case: Case, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        with clock.travelled(at(TUESDAY)):
            told = CliRunner().invoke(cli, ["deadlines", *words])
        assert told.exit_code == 0, told.output
        return told.output

    day = ("day", "2026-03-04", "off", "--note", "Bão số 5")
    assert f"{case.reference} resolve: 2026-03-09 08:00 → 2026-03-10 08:00" in run(*day, "--dry-run")
    assert "2 running deadlines are to move" in run(*day)
    bad = tmp_path / "change.yaml"
    bad.write_text("note: Thử\ndays:\n- {date: 2026-03-05, state: 'off', note: Bão}\n")
    assert "day 2026-03-05 * off: Bão" in run("enter", str(bad), "--dry-run")
    assert applied(TUESDAY) == 2
    assert "0 running deadlines moved" in run("recompute")
    bad.write_text("note: Thử\ngroups:\n- {unit_group: '*', units: ['00000']}\n")
    told = CliRunner().invoke(cli, ["deadlines", "enter", str(bad)])
    assert (told.exit_code, "No unit in force bears the code 00000" in told.output) == (1, True)
