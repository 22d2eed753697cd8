"""Who works for a unit now."""

from collections.abc import Sequence
from uuid import UUID

from app.core.db import Session
from app.identity.queries import serving, staff_names
from app.identity.rules import Role
from app.orgunits.queries import directory
from app.teams.schemas import StaffMemberOut

WORKERS = (Role.OFFICER, Role.LEAD)


def works_for(session: Session, account_id: UUID, unit_id: UUID) -> bool:
    """Whether somebody is an active officer or lead of a unit, or of one above it, in their own name."""
    return any(held == account_id for held, _ in serving(session, _upwards(session, unit_id), WORKERS))


def staff_of(session: Session, unit_id: UUID) -> list[StaffMemberOut]:
    """The active officers and leads of a unit and of those above it, by name; who is both stands there as lead."""
    roles: dict[UUID, Role] = {}
    for account_id, role in serving(session, _upwards(session, unit_id), WORKERS):
        roles[account_id] = Role.LEAD if Role.LEAD in (role, roles.get(account_id)) else role
    names = staff_names(session, roles) if roles else {}
    members = [StaffMemberOut(id=each, name=names.get(each, ""), role=role) for each, role in roles.items()]
    return sorted(members, key=lambda member: (member.name, member.id))


def _upwards(session: Session, unit_id: UUID) -> Sequence[UUID]:
    """A unit and those above it."""
    units, found = directory(session), [unit_id]
    while (unit := units.by_id(found[-1])) is not None and unit.parent_id is not None:
        found.append(unit.parent_id)
    return found
