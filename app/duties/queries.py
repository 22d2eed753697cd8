"""Reading the roster, and who is there to be told."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import or_, tuple_
from sqlmodel import col, select

from app.core import clock
from app.core.db import Session
from app.core.http import Lang
from app.duties.models import Duty
from app.duties.rules import TOLD_ROLES, People
from app.duties.schemas import DutyOut
from app.identity import queries as identity
from app.orgunits.queries import directory, name_of


def people(session: Session, at: datetime) -> People:
    """Everybody who may be told of cases at a moment. Two statements, whatever the number of cases."""
    units = directory(session)

    def parent_of(unit_id: UUID) -> UUID | None:
        unit = units.by_id(unit_id)
        return unit.parent_id if unit else None

    held = identity.holders(session, TOLD_ROLES, at)
    active = {account_id for account_id, _, _ in held}
    rows = select(Duty.unit_id, Duty.account_id).where(
        col(Duty.taken_back_at).is_(None), col(Duty.starts_at) <= at, col(Duty.ends_at) > at
    )
    # Who was blocked or lost the role meanwhile is on duty no more: somebody else must hear of it.
    on_duty = [(unit_id, account_id) for unit_id, account_id in session.exec(rows) if account_id in active]
    return People(held, on_duty, parent_of)


def may_be_on_duty(session: Session, account_id: UUID, roles: Collection[str], unit_id: UUID | None) -> bool:
    """Whether an account that may sign in holds one of `roles` for exactly this unit, or for the province (None)."""
    held = identity.holders(session, roles, clock.now())
    return any((who, where) == (account_id, unit_id) for who, _, where in held)


def roster(
    session: Session, unit_ids: frozenset[UUID] | None, *, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[Duty]:
    """List duties that are not over, the earliest first; of these units and the province, or all (None)."""
    place = tuple_(col(Duty.starts_at), col(Duty.id))
    statement = select(Duty).where(col(Duty.taken_back_at).is_(None), col(Duty.ends_at) > clock.now())
    if unit_ids is not None:
        statement = statement.where(or_(col(Duty.unit_id).is_(None), col(Duty.unit_id).in_(unit_ids)))
    if after is not None:
        statement = statement.where(place > after)
    return session.exec(statement.order_by(col(Duty.starts_at), col(Duty.id)).limit(limit)).all()


def shown(session: Session, duties: Sequence[Duty], lang: Lang) -> list[DutyOut]:
    """The duties as the API shows them."""
    names, units = identity.staff_names(session, {duty.account_id for duty in duties}), directory(session)
    found = []
    for duty in duties:
        unit = units.by_id(duty.unit_id) if duty.unit_id else None
        found.append(
            DutyOut(
                id=duty.id,
                unit=unit and unit.code,
                unit_name=unit and name_of(unit, lang),
                account_id=duty.account_id,
                name=names.get(duty.account_id, ""),
                starts_at=duty.starts_at,
                ends_at=duty.ends_at,
            )
        )
    return found
