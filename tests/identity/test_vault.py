"""The vault: who may open an identity, and what each opening leaves behind."""

from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from app.core.db import Session, transaction
from app.core.errors import DomainError
from app.identity import actions, queries
from app.identity.models import AuditEntry, IdentityRead
from app.identity.policy import Grant, Viewer, citizen_viewer
from app.identity.rules import Purpose, Role
from tests.identity.people import PHONE, open_staff, signed_in

UNIT, CASE = uuid4(), uuid4()


@pytest.fixture
def citizen(client: TestClient) -> UUID:
    return UUID(signed_in(client, name="Nguyễn Thị Hương")["account"]["id"])


def staff(*grants: Grant) -> Viewer:
    return Viewer(UUID(open_staff(f"{uuid4()}@tn.vn")), None, "staff", grants)


def reads(session: Session) -> list[IdentityRead]:
    return list(session.exec(select(IdentityRead)))


def test_a_dispatcher_reads_all_of_it_and_it_is_logged(session: Session, citizen: UUID) -> None:
    viewer = staff(Grant(Role.DISPATCHER))
    person = actions.read_identity(session, viewer, citizen, Purpose.VERIFY, CASE)
    assert (person.name, person.phone) == ("Nguyễn Thị Hương", PHONE)
    (row,) = reads(session)
    assert (row.reader_id, row.subject_id, row.purpose, row.case_id) == (viewer.id, citizen, "verify", CASE)


@pytest.mark.parametrize("role", [Role.OFFICER, Role.LEAD])
def test_a_unit_gets_the_phone_alone_and_only_where_a_call_was_allowed(
    session: Session, citizen: UUID, role: Role
) -> None:
    viewer = staff(Grant(role, UNIT))
    with pytest.raises(DomainError):
        actions.read_identity(session, viewer, citizen, Purpose.CALL, CASE)
    with pytest.raises(DomainError):  # a permission is for one case
        actions.read_identity(session, viewer, citizen, Purpose.CALL, None, allowed=True)
    assert reads(session) == []
    person = actions.read_identity(session, viewer, citizen, Purpose.CALL, CASE, allowed=True)
    assert (person.name, person.phone, person.email) == (None, PHONE, None)
    assert len(reads(session)) == 1


@pytest.mark.parametrize(
    "grants",
    [(), *((Grant(role),) for role in (Role.ADMINISTRATOR, Role.AUDITOR, Role.LEADER, Role.INTEGRATION))],
)
def test_others_never_do(session: Session, citizen: UUID, grants: tuple[Grant, ...]) -> None:
    for viewer in (staff(*grants), citizen_viewer(citizen)):
        with pytest.raises(DomainError):
            actions.read_identity(session, viewer, citizen, Purpose.LAW, CASE, allowed=True)
    assert reads(session) == []


def test_an_erased_identity_is_not_there(session: Session) -> None:
    with pytest.raises(DomainError) as refused:
        actions.read_identity(session, staff(Grant(Role.DISPATCHER)), uuid4(), Purpose.VERIFY, CASE)
    assert refused.value.problem.code == "not_found"


def test_a_read_that_is_taken_back_shows_nothing_and_logs_nothing(session: Session, citizen: UUID) -> None:
    viewer = staff(Grant(Role.DISPATCHER))

    def read_and_fail() -> None:
        with transaction() as own:
            actions.read_identity(own, viewer, citizen, Purpose.VERIFY, CASE)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        read_and_fail()
    assert reads(session) == []


def test_names_of_citizens_are_not_among_the_names_of_staff(session: Session, citizen: UUID) -> None:
    colleague = UUID(open_staff("a@tn.vn", name="Trần Văn Bình"))
    assert queries.staff_names(session, [citizen, colleague]) == {colleague: "Trần Văn Bình"}


def test_each_change_gets_its_own_audit_row(session: Session) -> None:
    before: dict[str, object] = {"days": 3}
    for days in (5, 7):
        after: dict[str, object] = {"days": days}
        actions.audit(session, None, "test", "giao-thong", before, after)
        before = after
    session.flush()
    session.expire_all()
    rows = session.exec(select(AuditEntry).where(AuditEntry.topic == "test")).all()
    assert sorted((str(row.before), str(row.after)) for row in rows) == [
        ("{'days': 3}", "{'days': 5}"),
        ("{'days': 5}", "{'days': 7}"),
    ]
