"""The day a change takes effect: once, late, twice, and with a row in the way that cannot be moved."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete
from sqlmodel import Session, col, select
from typer.testing import CliRunner

from app.boundaries import queries as boundaries
from app.cases.models import Case, CaseHop
from app.cases.queries import case_for_staff
from app.cases.rules import Who
from app.cli import cli
from app.core import clock, versioned
from app.core.db import transaction
from app.embedded import Database
from app.identity.models import AuditEntry, Membership
from app.identity.policy import staff_viewer
from app.orgunits.actions import load_units
from app.orgunits.models import Unit
from app.orgunits.queries import Directory, directory
from app.orgunits.rules import unit_id
from app.reforms.actions import MAX_ATTEMPTS, happen, plan
from app.reforms.models import UnitChange
from app.reforms.queries import Shown, one
from app.reforms.rules import Change, ChangeKind, Target
from app.routing.actions import assign_owed
from tests.orgunits.packs import PACK
from tests.reforms.reform import submit
from tests.support import make, places
from tools.verify import problems

DAY = date(2027, 3, 1)
EVE = datetime(2027, 2, 28, 23, 59, 30, tzinfo=clock.LOCAL)
MORNING = datetime(2027, 3, 1, 0, 0, 30, tzinfo=clock.LOCAL)
DAYS_LATE = MORNING + timedelta(days=5)
A, B, C = "05908", "05941", "05917"
NEW = Target("90001", "Xã Mới", "Moi Commune", "xa")
OTHER = Target("90002", "Phường Khác", "Khac Ward", "phuong")


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    versioned.forget_all()
    yield
    versioned.forget_all()


def planned(session: Session, kind: ChangeKind, *sources: str, **more: Any) -> UnitChange:
    (row,) = plan(session, [Change(kind, sources, **more)], effective=DAY, decision="12/NQ-HĐND", actor_id=None)
    session.commit()
    return row


def units_now() -> Directory:
    """As another session sees them: the one of a test remembers what it changed itself."""
    with transaction() as other:
        return directory(other)


def at(moment: datetime) -> None:
    with clock.travelled(moment):
        happen()


@pytest.mark.parametrize("moment", [MORNING, DAYS_LATE])
def test_a_renamed_unit_is_the_same_unit_and_reads_as_it_was(
    client: TestClient, session: Session, moment: datetime
) -> None:
    before = client.get(f"/v1/units/{A}").json()
    row = planned(session, "change_kind", A, new_kind="phuong")
    at(EVE)
    assert client.get(f"/v1/units/{A}").json()["name"] == "Xã Phú Bình"
    at(moment)
    at(moment)
    with clock.travelled(moment):
        shown = client.get(f"/v1/units/{A}").json()
    assert client.get(f"/v1/units/{A}").json()["name"] == "Xã Phú Bình"  # today is long before
    assert (shown["id"], shown["name"], shown["name_en"], shown["kind"]) == (
        before["id"],
        "Phường Phú Bình",
        "Phu Binh Ward",
        "phuong",
    )
    assert shown["past"] == [{"name": "Xã Phú Bình", "kind": "xa", "until": str(DAY)}]
    as_was = client.get(f"/v1/units/{A}?on=2027-02-28").json()
    assert (as_was["name"], as_was["kind"]) == ("Xã Phú Bình", "xa")
    assert client.get(f"/v1/units/{A}?on={DAY}").json()["name"] == "Phường Phú Bình"
    listed = {unit["code"]: unit["name"] for unit in client.get("/v1/units?on=2027-02-28").json()["items"]}
    assert listed[A] == "Xã Phú Bình"
    session.expire_all()
    assert session.get_one(UnitChange, row.id).applied_at is not None
    entries = session.exec(select(AuditEntry.after).where(AuditEntry.subject == str(row.id))).all()
    assert [entry["status"] for entry in entries if entry and "status" in entry] == ["applied"]


def test_loading_the_pack_again_takes_no_change_back(session: Session) -> None:
    planned(session, "rename", A, name="Xã Tên Mới", name_en="New Name Commune")
    planned(session, "merge", B, targets=(NEW,))
    at(MORNING)
    session.expire_all()
    summary = load_units(session, PACK)
    assert (summary.changes, summary.absent) == ((), ("90001",))
    assert session.get_one(Unit, unit_id(A, date(2025, 7, 1))).name == "Xã Tên Mới"
    assert session.get_one(Unit, unit_id(B, date(2025, 7, 1))).valid_to == DAY


def test_what_stands_below_comes_along(session: Session) -> None:
    units = directory(session)
    child = units.by_code("vnpt", DAY)
    assert child is not None
    planned(session, "move", "vnpt", parent="so_xay_dung")
    at(MORNING)
    department = units_now().by_code("so_xay_dung", DAY)
    assert department is not None
    assert child.id in units_now().descendants(department.id)
    with clock.travelled(DAYS_LATE):
        (row,) = plan(
            session,
            [Change("merge", ("so_xay_dung",), (Target("so_moi", "Sở Mới", "New Department", "department"),))],
            effective=DAY + timedelta(days=10),
            decision="13",
            actor_id=None,
        )
        session.commit()
        foreseen = Shown(session, "en").preview(row)
        assert [(each.unit.code, each.parent) for each in foreseen.amended] == [("vnpt", "so_moi")]
    at(DAYS_LATE + timedelta(days=10))
    units = units_now()
    moved = units.by_id(child.id)
    assert moved is not None
    heir = units.by_code("so_moi", DAY + timedelta(days=10))
    assert heir is not None
    assert moved.parent_id == heir.id
    parents = [units.as_of(moved, day).parent_id for day in (DAY - timedelta(days=1), DAY)]
    assert parents == [units.province.id, department.id]


def test_roles_follow_by_the_mapping_or_lapse(session: Session) -> None:
    mapped, lapsing, merged, both = (make.staff(session, "officer", unit) for unit in (A, A, B, B))
    later = Membership(
        account_id=lapsing.id,
        role="lead",
        unit_id=make.unit_id(session, B),
        valid_from=MORNING + timedelta(days=30),
        valid_to=MORNING + timedelta(days=60),
    )
    session.add(later)
    session.add(Membership(account_id=both.id, role="officer", unit_id=make.unit_id(session, C)))
    session.flush()
    role = session.exec(select(Membership.id).where(Membership.account_id == mapped.account_id)).one()
    split = planned(session, "split", A, targets=(NEW, OTHER), staff=((role, "90002"),))
    merge = planned(session, "merge", B, targets=(Target(C),))
    at(EVE)
    assert [len(_units(session, each, EVE)) for each in (mapped, lapsing, merged, both)] == [1, 1, 1, 2]
    at(MORNING)
    at(MORNING)
    soon = MORNING + timedelta(minutes=1)
    c = unit_id(C, date(2025, 7, 1))
    assert _units(session, mapped, soon) == [unit_id("90002", DAY)]
    assert _units(session, lapsing, soon) == []
    assert _units(session, merged, soon) == [c]
    assert _units(session, both, soon) == [c]
    assert _units(session, lapsing, MORNING + timedelta(days=31)) == [c]
    assert _units(session, lapsing, MORNING + timedelta(days=61)) == []
    told = session.exec(select(AuditEntry.after).where(AuditEntry.subject == str(lapsing.account_id))).all()
    assert [entry for entry in told if entry and "lapsed" in entry] == [{"lapsed": "the unit ended"}]
    # Whoever looks at the change afterwards sees whose role it took.
    (lapsed,) = Shown(session, "vi").change(one(session, split.id)).lapsed_roles
    assert (lapsed.account_id, lapsed.role, lapsed.unit) == (lapsing.account_id, "officer", A)
    assert lapsed.name
    assert Shown(session, "vi").change(one(session, merge.id)).lapsed_roles == []


def _units(session: Session, viewer: Any, moment: datetime) -> list[UUID | None]:
    session.expire_all()
    with clock.travelled(moment):
        found = staff_viewer(session, viewer.id)
    assert found is not None
    return [grant.unit_id for grant in found.grants]


def test_cases_follow_once_however_late(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=A)
    row = planned(session, "merge", A, targets=(Target(B),))
    at(EVE)
    assert Shown(session, "vi").change(row).open_cases == 1
    from workers.reforms import units_change  # noqa: PLC0415 - reads the settings made by the fixtures

    at(DAYS_LATE)
    session.expire_all()
    case = session.get_one(Case, case_id)
    assert (case.unit_id, case.state, case.version) == (unit_id(B, date(2025, 7, 1)), "assigned", 3)
    units_change()  # as the scheduler rings it; today is long before
    at(DAYS_LATE)
    session.expire_all()
    assert session.get_one(Case, case_id).version == 3
    assert Shown(session, "vi").change(one(session, row.id)).open_cases == 0
    assert problems(session) == []


def test_a_unit_without_heir_hands_its_cases_to_a_person(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=A)
    unit = session.get_one(Unit, unit_id(A, date(2025, 7, 1)))
    unit.valid_to = DAY
    versioned.bump(session, "orgunits")
    session.commit()
    at(MORNING)
    session.expire_all()
    case = session.get_one(Case, case_id)
    assert (case.state, case.unit_id, case.route_reason) == ("triage", None, "unit_abolished")
    with clock.travelled(MORNING):
        dispatcher = make.staff(session, "dispatcher")
        session.commit()
        answer = make.move(client, dispatcher, case_id, "assign", {"unit": B})
    assert answer.status_code == 200, answer.text
    assert problems(session) == []


def test_a_row_that_cannot_be_moved_holds_up_nobody(committed: Database) -> None:
    with transaction() as session:
        unit = directory(session).by_code(A, DAY)
        assert unit is not None
        here = places.centre(A)
        opened = [submit(session, here, unit) for _ in range(7)]
    assign_owed()
    with transaction() as session:
        row = plan(session, [Change("merge", (A,), (Target(B),))], effective=DAY, decision="1", actor_id=None)[0]
        poison = sorted(opened)[2]
        session.execute(delete(CaseHop).where(col(CaseHop.case_id) == poison))
    for _ in range(MAX_ATTEMPTS + 2):
        at(MORNING)
    with transaction() as session:
        where = {case.id: case.unit_id for case in session.exec(select(Case))}
        assert {case_id for case_id, unit_id_ in where.items() if unit_id_ == unit.id} == {poison}
        assert set(where.values()) == {unit.id, unit_id(B, date(2025, 7, 1))}
        shown = Shown(session, "vi").change(one(session, row.id))
        stuck = session.get_one(Case, poison)
        assert (shown.open_cases, shown.stuck, stuck.follow_attempts) == (1, [stuck.reference], MAX_ATTEMPTS)
        # Until it is repaired the heir's people see it, and may act on it.
        with clock.travelled(MORNING):
            officer = make.staff(session, "officer", B)
            assert Who.OFFICER in case_for_staff(session, officer, poison).capacities
        session.add(
            CaseHop(case_id=poison, started_seq=2, cycle=1, unit_id=unit.id, received_at=MORNING - timedelta(days=1))
        )
    at(MORNING)
    with transaction() as session:
        assert session.get_one(Case, poison).unit_id == unit.id
    with clock.travelled(MORNING):
        assert CliRunner().invoke(cli, ["units", "happen", "--again"]).exit_code == 0
    with transaction() as session:
        assert session.get_one(Case, poison).unit_id == unit_id(B, date(2025, 7, 1))
        assert Shown(session, "vi").change(one(session, row.id)).stuck == []


def test_what_cannot_follow_though_it_could_move_goes_to_a_person(
    client: TestClient, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=A)
    planned(session, "merge", A, targets=(Target(B),))
    heir = boundaries.heir

    def no_answer(*given: Any) -> UUID | None:
        if given[1] == unit_id(A, date(2025, 7, 1)):
            raise RuntimeError("no answer")
        return heir(*given)

    monkeypatch.setattr("app.reforms.actions.heir", no_answer)
    for beat in range(MAX_ATTEMPTS):
        session.expire_all()
        assert session.get_one(Case, case_id).follow_attempts == beat
        at(MORNING)
    session.expire_all()
    case = session.get_one(Case, case_id)
    assert (case.state, case.unit_id, case.route_reason) == ("triage", None, "failed")
    assert problems(session) == []


# --- what was done already ------------------------------------------------------------------------------------------


def resolved(client: TestClient, session: Session, unit: str) -> UUID:
    """A case that the unit finished; its id."""
    case_id = make.routed(session, client, make.citizen(session), within=unit)
    officer = make.staff(session, "officer", unit)
    session.commit()
    for verb, body in (("accept", None), ("start", None), ("resolve", {"outcome": "fixed", "note": "Đã sửa xong."})):
        assert make.move(client, officer, case_id, verb, body).status_code == 200
    return case_id


def test_what_was_done_stays_where_it_was_and_its_heir_reads_it_and_gets_it_back(
    client: TestClient, session: Session
) -> None:
    case_id = resolved(client, session, A)
    planned(session, "merge", A, targets=(Target(B),))
    with clock.travelled(EVE):
        colleague, stranger = make.staff(session, "officer", B), make.staff(session, "officer", C)
        dispatcher = make.staff(session, "dispatcher")
        session.commit()
        assert client.get(f"/v1/cases/{case_id}", headers=make.bearer(colleague)).status_code == 404
    at(MORNING)
    with clock.travelled(MORNING):
        # As it was: the unit that did it is named. As it is: who followed reads it, nobody else.
        seen = client.get(f"/v1/cases/{case_id}", headers=make.bearer(colleague))
        assert (seen.status_code, seen.json()["unit"]["code"], seen.json()["state"]) == (200, A, "resolved")
        listed = client.get("/v1/cases?queue=resolved", headers=make.bearer(colleague)).json()["items"]
        assert [row["unit"]["code"] for row in listed] == [A]
        assert client.get(f"/v1/cases/{case_id}", headers=make.bearer(stranger)).status_code == 404
        reopened = make.move(client, dispatcher, case_id, "reopen", {"reason": "Vẫn còn hỏng."})
        assert (reopened.status_code, reopened.json()["unit"]["code"]) == (200, B)
        assert "accept" in client.get(f"/v1/cases/{case_id}", headers=make.bearer(colleague)).json()["allowed_actions"]
        assert [(hop["unit"]["code"], hop["outcome"]) for hop in reopened.json()["hops"]] == [
            (A, "resolved"),
            (B, None),
        ]
    with clock.travelled(DAYS_LATE):
        assert problems(session) == []


def test_reopened_after_a_split_the_place_decides_or_a_person(client: TestClient, session: Session) -> None:
    case_id = resolved(client, session, A)
    planned(session, "split", A, targets=(NEW, OTHER))
    at(MORNING)
    with clock.travelled(MORNING):
        dispatcher = make.staff(session, "dispatcher")
        session.commit()
        assert make.move(client, dispatcher, case_id, "reopen", {"reason": "Vẫn còn hỏng."}).status_code == 200
    at(MORNING)
    session.expire_all()
    case = session.get_one(Case, case_id)
    assert (case.state, case.unit_id, case.route_reason) == ("triage", None, "unit_split")
    with clock.travelled(DAYS_LATE):
        assert problems(session) == []


def test_a_fault_in_one_change_stops_no_other(session: Session) -> None:
    broken, sound = (
        planned(session, "move", "vnpt", parent="so_xay_dung"),
        planned(session, "rename", A, name="Xã Tên Mới", name_en="New Name Commune"),
    )
    session.get_one(UnitChange, broken.id).parent_id = None
    session.commit()
    at(MORNING)
    session.expire_all()
    assert session.get_one(UnitChange, broken.id).applied_at is None
    assert session.get_one(UnitChange, sound.id).applied_at is not None
