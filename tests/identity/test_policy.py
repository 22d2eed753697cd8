"""What a viewer may do, and where."""

from uuid import UUID, uuid4

import pytest

from app.core.errors import DomainError
from app.identity.policy import PUBLIC, Grant, Viewer, citizen_viewer, require
from app.identity.rules import Role

COMMUNE, OFFICE, DEPARTMENT = uuid4(), uuid4(), uuid4()
NOWHERE: frozenset[UUID] = frozenset()


class Units:
    """A commune with an office below it, and a department."""

    def descendants(self, unit_id: UUID, /) -> frozenset[UUID]:
        return frozenset({COMMUNE, OFFICE}) if unit_id == COMMUNE else frozenset({unit_id})


def staff(*grants: Grant) -> Viewer:
    return Viewer(uuid4(), uuid4(), "staff", grants)


def test_a_unit_right_reaches_down_and_not_up() -> None:
    viewer = staff(Grant(Role.OFFICER, COMMUNE), Grant(Role.LEAD, DEPARTMENT))
    assert viewer.units({"officer"}, Units()) == frozenset({COMMUNE, OFFICE})
    assert viewer.units({"officer", "lead"}, Units()) == frozenset({COMMUNE, OFFICE, DEPARTMENT})
    assert staff(Grant(Role.OFFICER, OFFICE)).units({"officer"}, Units()) == frozenset({OFFICE})


def test_a_province_right_reaches_everywhere_but_only_in_its_role() -> None:
    viewer = staff(Grant(Role.DISPATCHER), Grant(Role.OFFICER, OFFICE))
    assert viewer.units({"dispatcher"}, Units()) is None
    assert viewer.units({"dispatcher", "officer"}, Units()) is None
    assert viewer.units({"officer"}, Units()) == frozenset({OFFICE})
    assert viewer.units({"lead"}, Units()) == NOWHERE


def test_a_unit_role_without_its_unit_gives_nothing_rather_than_everything() -> None:
    assert staff(Grant(Role.OFFICER, None)).units({"officer"}, Units()) == NOWHERE
    assert citizen_viewer(uuid4()).units({"citizen"}, Units()) == NOWHERE


def test_require_says_sign_in_forbidden_or_nothing_at_all() -> None:
    def code(viewer: Viewer, *, invisible: bool = False) -> str:
        with pytest.raises(DomainError) as refused:
            require(viewer, Role.ADMINISTRATOR, invisible=invisible)
        return refused.value.problem.code

    assert code(PUBLIC) == "unauthenticated"
    assert code(citizen_viewer(uuid4())) == "forbidden"
    assert code(staff(Grant(Role.OFFICER, COMMUNE)), invisible=True) == "not_found"
    require(staff(Grant(Role.ADMINISTRATOR)), Role.ADMINISTRATOR, Role.AUDITOR)


def test_the_public_has_no_account() -> None:
    with pytest.raises(DomainError):
        _ = PUBLIC.id
