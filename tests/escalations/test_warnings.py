"""Warnings, pages and digests as they come out of real cases: once each, at their hour, and never lost."""

from collections import Counter
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlmodel import col, select

from app.cases.models import Case
from app.core import clock
from app.core.db import Session, transaction
from app.duties.models import Duty
from app.embedded import Database
from app.escalations import actions, queries, rules
from app.escalations.models import Escalation
from app.identity.policy import Viewer
from app.notifications.actions import send_owed
from app.notifications.models import Message
from app.notifications.rules import Accepted, Delivery, Outgoing, RetryAfter
from tests.support import make, places

HOME, ELSEWHERE = places.codes()[0], places.codes()[50]
HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
URGENT = "ho_ga_mat_nap"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=HANOI)


MONDAY = at("2026-03-02 08:00")
NIGHT = at("2026-03-03 02:00")


@pytest.fixture
def team(session: Session) -> dict[str, Viewer]:
    with clock.travelled(MONDAY - timedelta(days=1)):
        people = {role: make.staff(session, role, HOME) for role in ("officer", "lead")}
        people |= {role: make.staff(session, role) for role in ("dispatcher", "leader")}
    session.commit()
    return people


def case(session: Session, client: TestClient, moment: datetime = MONDAY, category: str = make.TRUSTED_COMMUNE) -> UUID:
    with clock.travelled(moment):
        return make.routed(session, client, make.citizen(session), category=category, within=HOME)


def sweep(moment: datetime) -> int:
    with clock.travelled(moment):
        return actions.sweep()


def digest(moment: datetime) -> int:
    with clock.travelled(moment), transaction() as session:
        return actions.digest_if_owed(session)


def said(session: Session, people: dict[str, Viewer], template: str) -> Counter[str]:
    """Which of the team were sent this, how often."""
    session.expire_all()
    names = {viewer.account_id: role for role, viewer in people.items()}
    rows = session.exec(select(Message.account_id).where(Message.template == template)).all()
    return Counter(names[account_id] for account_id in rows if account_id in names)


def warnings(session: Session, case_id: UUID) -> dict[tuple[str, int], bool]:
    session.expire_all()
    rows = session.exec(select(Escalation).where(Escalation.case_id == case_id)).all()
    return {(row.kind, row.level): row.given_at is not None for row in rows}


def test_each_clock_warns_at_80_and_at_100_once_for_ever(
    client: TestClient, session: Session, team: dict[str, Viewer]
) -> None:
    case_id = case(session, client)  # accept within 8 working hours: Tuesday 8:00; 80 %: Monday 15:54
    sweep(at("2026-03-02 15:53"))
    assert not any(warnings(session, case_id).values())
    sweep(at("2026-03-02 15:54"))
    assert [each for each, given in warnings(session, case_id).items() if given] == [("accept", 80)]
    assert said(session, team, "case_due_soon") == {}, "80 % stands in the digest"
    for moment in ("2026-03-03 08:00", "2026-03-03 08:01", "2026-03-03 16:00", "2026-03-04 08:00"):
        sweep(at(moment))
    # Accepting and the first response (16 working hours) are overdue by now, five days for resolving are not.
    assert said(session, team, "case_overdue") == {"officer": 2, "lead": 2}
    assert warnings(session, case_id) == {
        ("accept", 80): True, ("accept", 100): True, ("first_response", 80): True, ("first_response", 100): True,
        ("resolve", 80): False, ("resolve", 100): False,
    }  # fmt: skip
    with clock.travelled(at("2026-03-04 08:02")):
        assert make.move(client, team["officer"], case_id, "accept").status_code == 200
    sweep(at("2026-03-20 08:00"))
    sweep(at("2026-03-20 08:00"))
    assert said(session, team, "case_overdue") == {"officer": 3, "lead": 3}


def test_warnings_keep_working_hours_and_urgent_ones_do_not(
    client: TestClient, session: Session, team: dict[str, Viewer]
) -> None:
    urgent = case(session, client, at("2026-03-06 16:00"), URGENT)  # Friday; accept: 17:00, resolve: 20:00
    ordinary = case(session, client, at("2026-03-05 17:00"))  # accept: Friday's close
    sweep(at("2026-03-06 16:48"))
    assert said(session, team, "case_urgent_due_soon") == {"officer": 1, "lead": 1}
    sweep(at("2026-03-06 20:00"))
    everybody = dict.fromkeys(team, 3)  # accept, first response, resolve
    assert said(session, team, "case_urgent_overdue") == everybody
    sweep(at("2026-03-08 10:00"))
    assert said(session, team, "case_overdue") == {}
    sweep(at("2026-03-09 07:30"))
    assert said(session, team, "case_overdue") == {"officer": 1, "lead": 1}
    assert set(warnings(session, urgent).values()) == {True}
    assert warnings(session, ordinary)["accept", 100]


def test_27_unverified_and_unassigned_cases_escalate_whatever_is_done_to_them(
    client: TestClient, session: Session, team: dict[str, Viewer]
) -> None:
    """Unassigned reports that never escalate; clocks that any touch resets (PITFALLS 27, 30)."""
    with clock.travelled(MONDAY):
        author = make.citizen(session)
        unverified = make.case_of(session, make.submit(client, author, make.report_body(make.UNVERIFIED))["id"])
    unassigned = case(session, client, MONDAY)
    with clock.travelled(MONDAY):
        make.move(client, team["officer"], unassigned, "return", {"reason": "Không thuộc địa bàn xã."})
    report = make.report_of(session, unassigned)
    with clock.travelled(at("2026-03-02 16:00")):  # a dispatcher looks, the router is asked again: still nobody's
        body = {"category": "khac", "reason": "Đúng hơn."}
        make.move(client, team["dispatcher"], unassigned, "recategorise", body)
        actions.watch(clock.now())
    assert report
    sweep(at("2026-03-03 07:59"))
    assert said(session, team, "case_overdue") == {}
    sweep(at("2026-03-03 08:01"))
    assert warnings(session, unverified) == {("verify", 80): True, ("verify", 100): True}
    assert warnings(session, unassigned)["triage", 100]
    assert said(session, team, "case_overdue")["dispatcher"] == 2
    assert said(session, team, "case_overdue")["officer"] == 0, "it is not theirs any more"


def test_29_what_nobody_touches_is_warned_of_however_late_somebody_looks(
    client: TestClient, session: Session, team: dict[str, Viewer]
) -> None:
    case_id = case(session, client)
    sweep(at("2026-06-01 08:00"))  # the scheduler was down for three months
    assert set(warnings(session, case_id).values()) == {True}
    assert said(session, team, "case_overdue") == {"officer": 3, "lead": 3}
    assert said(session, team, "case_due_soon") == {}


def test_a_deadline_that_moves_takes_its_warning_along(
    client: TestClient, session: Session, team: dict[str, Viewer]
) -> None:
    case_id = case(session, client)
    sweep(MONDAY)
    with clock.travelled(at("2026-03-02 09:00")):
        body = {"urgency": "urgent", "reason": "Nguy hiểm."}
        assert make.move(client, team["dispatcher"], case_id, "urgency", body).status_code == 200
    sweep(at("2026-03-02 12:00"))  # four hours from the start, at lunch
    assert warnings(session, case_id)["resolve", 100]
    assert said(session, team, "case_urgent_overdue")["leader"] == 3


def test_what_was_finished_in_time_is_not_warned_of(
    client: TestClient, session: Session, team: dict[str, Viewer]
) -> None:
    case_id = case(session, client)
    sweep(MONDAY)
    with clock.travelled(MONDAY):
        make.move(client, team["officer"], case_id, "accept")
        make.move(client, team["officer"], case_id, "resolve", {"outcome": "fixed", "note": "Xong."})
    sweep(at("2026-04-01 08:00"))
    assert warnings(session, case_id) == {}
    assert said(session, team, "case_overdue") == {}


# Pages


def paged(session: Session, people: dict[str, Viewer]) -> Counter[str]:
    return said(session, people, "case_urgent")


def page(moment: datetime) -> int:
    with clock.travelled(moment):
        return actions.page()


def on_duty(session: Session, who: Viewer, unit: str | None = None) -> None:
    with clock.travelled(MONDAY):
        unit_id = make.unit_id(session, unit) if unit else None
    begins, ends = NIGHT - timedelta(hours=4), NIGHT + timedelta(hours=4)
    session.add(Duty(unit_id=unit_id, account_id=who.id, entered_by=who.id, starts_at=begins, ends_at=ends))
    session.flush()


def test_an_urgent_report_pages_at_night_once(client: TestClient, session: Session, team: dict[str, Viewer]) -> None:
    case(session, client, NIGHT, URGENT)
    assert page(NIGHT) == 2  # for the province and for the unit
    assert paged(session, team) == {"dispatcher": 1, "officer": 1, "lead": 1}
    assert page(NIGHT) == 0
    sweep(NIGHT)
    assert sum(paged(session, team).values()) == 3
    row = session.exec(select(Message).where(Message.template == "case_urgent")).first()
    assert row is not None
    assert (row.priority, set(row.params)) == (0, {"reference", "status"}), "it overtakes the crowd"


def test_who_is_on_duty_is_paged_and_the_others_sleep(
    client: TestClient, session: Session, team: dict[str, Viewer]
) -> None:
    with clock.travelled(MONDAY):
        watch = {"centre": make.staff(session, "dispatcher"), "night": make.staff(session, "officer", HOME)}
    on_duty(session, watch["centre"])
    on_duty(session, watch["night"], HOME)
    case(session, client, NIGHT, URGENT)
    page(NIGHT)
    assert paged(session, watch | team) == {"centre": 1, "night": 1}
    later = NIGHT + timedelta(hours=4)  # their duty has ended
    case(session, client, later, URGENT)
    page(later)
    assert paged(session, watch | team) == {
        "centre": 2, "night": 2, "dispatcher": 1, "officer": 1, "lead": 1,
    }  # fmt: skip


def test_a_case_made_urgent_and_one_passed_on_page_too(
    client: TestClient, session: Session, team: dict[str, Viewer]
) -> None:
    case_id = case(session, client)
    assert page(MONDAY) == 0
    with clock.travelled(MONDAY):
        other = {"other": make.staff(session, "officer", ELSEWHERE)}
        body = {"urgency": "urgent", "reason": "Nguy hiểm."}
        make.move(client, team["dispatcher"], case_id, "urgency", body)
    page(MONDAY)
    assert paged(session, team) == {"dispatcher": 1, "officer": 1, "lead": 1}
    with clock.travelled(MONDAY):
        make.move(client, team["dispatcher"], case_id, "transfer", {"unit": ELSEWHERE, "reason": "Đúng nơi."})
    page(MONDAY)
    assert paged(session, team | other) == {"dispatcher": 1, "officer": 1, "lead": 1, "other": 1}


def test_17_a_page_is_found_though_every_ring_was_lost(
    client: TestClient, session: Session, team: dict[str, Viewer]
) -> None:
    """After-commit callbacks swallowed errors, and nothing swept up behind them (PITFALLS 17)."""
    owed = text(rules.OWED_PAGES)
    case(session, client, clock.now())
    assert session.execute(owed).scalar_one() is False
    case(session, client, clock.now(), URGENT)
    assert session.execute(owed).scalar_one() is True
    page(clock.now())
    assert session.execute(owed).scalar_one() is False


# The digest


def test_one_digest_a_morning_for_who_has_something_late(
    client: TestClient, session: Session, team: dict[str, Viewer]
) -> None:
    references = []
    for number in range(3):
        case_id = case(session, client, MONDAY + timedelta(minutes=number))
        references.append(session.get_one(Case, case_id).reference)
    with clock.travelled(MONDAY):
        stranger = make.staff(session, "officer", ELSEWHERE)
    tuesday = at("2026-03-03 07:30")
    sweep(tuesday)
    assert digest(tuesday - timedelta(minutes=1)) == 0
    assert digest(tuesday) == 1  # the officer: due soon
    assert digest(tuesday) == 0
    assert digest(at("2026-03-07 08:00")) == 0, "Saturday"
    wednesday = at("2026-03-04 09:00")  # the scheduler slept until nine
    sweep(wednesday)
    assert digest(wednesday) == 4
    session.expire_all()
    letters = session.exec(
        select(Message).where(Message.template == "case_digest").order_by(col(Message.created_at))
    ).all()
    assert stranger.id not in {letter.account_id for letter in letters}
    assert letters[0].params == {"overdue": "0", "soon": "3", "references": ", ".join(references)}
    assert letters[-1].params["overdue"] == "3"
    assert letters[-1].params["references"] == ", ".join(references)
    assert {letter.case_id for letter in letters} == {None}


# Nothing starves, nothing is lost


_CROWD = """
WITH made AS (
    SELECT n, gen_random_uuid() AS report_id, gen_random_uuid() AS case_id FROM generate_series(1, :size) AS n
), reports AS (
    INSERT INTO report (id, account_id, category_code, channel, visibility, hide_name, allow_call, received_at,
                        request_hash, request_id)
    SELECT report_id, :author, 'o_ga', 'app', 'private', false, false, :at, '', '' FROM made RETURNING 1
), cases AS (
    INSERT INTO case_file (id, report_id, reference, category_code, urgency, channel, state, version, cycle,
                           received_at, updated_at, act_by, due_at, unit_id, head)
    SELECT case_id, report_id, 'C-' || n, 'o_ga', 'normal', 'app', 'assigned', 2, 1, :at, :at, :at, :at, :unit, ''
    FROM made RETURNING 1
)
INSERT INTO sla_clock (case_id, kind, started_seq, cycle, unit_id, policy_id, started_at, due_at)
SELECT case_id, 'resolve', 2, 1, :unit, p.id,
       :at, :at + n * interval '1 second'
FROM made, deadline_policy p WHERE p.clock = 'resolve' AND p.category_code IS NULL AND p.urgency IS NULL
"""


def crowd(session: Session, size: int, moment: datetime = MONDAY) -> None:
    """Overdue cases of one unit, the first the oldest."""
    author = make.citizen(session).id
    session.execute(text(_CROWD), {"size": size, "author": author, "at": moment, "unit": make.unit_id(session, HOME)})
    session.commit()


def outside_of_the_calendar(session: Session, reference: str) -> None:
    """Poison: a clock that no calendar reaches."""
    session.execute(
        text(
            "UPDATE sla_clock SET started_at = '1990-01-01', due_at = '1990-02-01'"
            " FROM case_file c WHERE c.id = case_id AND c.reference = :reference"
        ),
        {"reference": reference},
    )
    session.commit()


@pytest.mark.slow
def test_13_ten_thousand_overdue_cases_and_one_poison_row(client: TestClient, session: Session) -> None:
    """Failing rows at the head of the queue starved the rest; a scan read the first hundred for ever (PITFALLS 13)."""
    with clock.travelled(MONDAY):
        team = {"officer": make.staff(session, "officer", HOME)}
    crowd(session, 10_000)
    outside_of_the_calendar(session, "C-5000")
    moment = at("2026-03-04 09:00")
    sweep(moment)
    given = session.execute(
        text("SELECT level, count(*) FROM escalation WHERE given_at IS NOT NULL GROUP BY level ORDER BY level")
    ).all()
    assert [tuple(row) for row in given] == [(80, 9_999), (100, 10_000)], "the poison row cannot count its 80 %"
    assert said(session, team, "case_overdue") == {"officer": 10_000}
    for _ in range(6):
        moment += timedelta(hours=2)
        sweep(moment)
    assert said(session, team, "case_overdue") == {"officer": 10_000}
    (row,) = session.exec(select(Escalation).where(col(Escalation.given_at).is_(None))).all()
    assert (row.attempts, row.failure, row.level) == (5, "OutsideCalendarError", 80)
    with clock.travelled(moment):
        seen = client.get("/v1/escalations/stuck", headers=make.bearer(make.staff(session, "administrator"))).json()
    assert [(item["reference"], item["failure"]) for item in seen["items"]] == [("C-5000", "OutsideCalendarError")]


def test_a_crash_between_due_and_recorded_loses_and_doubles_nothing(
    committed: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler is killed after the messages were written and before the warnings were: both or neither."""

    class Killed(BaseException):
        """Ends the process as a signal would."""

    def die(*_: object, **__: object) -> None:
        raise Killed

    with transaction() as session:
        people = {"officer": make.staff(session, "officer", HOME)}
        crowd(session, 20)
    moment = at("2030-03-04 09:00")
    monkeypatch.setattr(queries, "settle", die)
    with pytest.raises(Killed):
        sweep(moment)
    monkeypatch.undo()
    with transaction() as session:
        assert said(session, people, "case_overdue") == {}
    sweep(moment)
    with transaction() as session:
        assert said(session, people, "case_overdue") == {"officer": 20}
        assert {row.told for row in session.exec(select(Escalation).where(Escalation.level == 100))} == {1}
    # The digest likewise: the day is owed until its letters are.
    monkeypatch.setattr(actions, "owe_many", die)
    with pytest.raises(Killed):
        digest(moment)
    monkeypatch.undo()
    assert digest(moment) == 1


def test_two_sweeps_at_once_tell_nobody_twice(committed: Database) -> None:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    with transaction() as session:
        people = {"officer": make.staff(session, "officer", HOME)}
        crowd(session, 300)
    moment = at("2030-03-04 09:00")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: sweep(moment), range(4)))
    with transaction() as session:
        assert said(session, people, "case_overdue") == {"officer": 300}
        assert digest(moment) == 1


def test_16_a_warning_is_not_sent_before_its_letter_left(session: Session, team: dict[str, Viewer]) -> None:
    """Alerts were marked sent before the mail left; a failed mail was lost (PITFALLS 16)."""
    crowd(session, 1)
    moment = at("2026-03-04 09:00")
    sweep(moment)
    seen: list[str] = []

    class Mail:
        """A mail server that fails first, and looks at the row while the letter is with it."""

        def send(self, outgoing: Outgoing) -> Delivery:
            with transaction() as own:
                seen.append(own.exec(select(Message.state).where(Message.id == outgoing.id)).one())
            return RetryAfter() if len(seen) <= 2 else Accepted()

    for minutes in (0, 1):
        with clock.travelled(moment + timedelta(minutes=minutes)):
            send_owed(fleet={"smtp": Mail()})
        session.expire_all()
        states = set(session.exec(select(Message.state)).all())
        assert states == ({"owed"} if minutes == 0 else {"sent"})
    assert seen == ["owed"] * 4, "two letters, two tries each"


def test_an_extended_deadline_is_not_warned_of_a_second_time(
    client: TestClient, session: Session, team: dict[str, Viewer]
) -> None:
    crowd(session, 1)
    sweep(at("2026-03-04 09:00"))
    session.execute(text("UPDATE sla_clock SET due_at = '2026-03-05 09:00+07'"))
    session.commit()
    sweep(at("2026-03-06 09:00"))
    assert said(session, team, "case_overdue") == {"officer": 1, "lead": 1}
