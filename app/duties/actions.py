"""Entering duties and taking them back; each change is audited."""

from uuid import UUID

from sqlmodel import select

from app.cases.queries import unit_in_force
from app.core import clock
from app.core.db import Session
from app.core.errors import FORBIDDEN, NOT_FOUND
from app.duties import policy, queries, rules
from app.duties.models import Duty
from app.duties.schemas import DUTY_ACCOUNT, DUTY_PERIOD, DutyIn
from app.identity.actions import audit
from app.identity.policy import Viewer
from app.orgunits.queries import directory


def enter(session: Session, viewer: Viewer, wanted: DutyIn) -> Duty:
    """Put somebody on duty. Two at the same time are both paged."""
    unit_id = unit_in_force(session, wanted.unit) if wanted.unit is not None else None
    if not policy.manages(viewer, unit_id, directory(session)):
        raise FORBIDDEN.error()
    if not rules.period_fits(wanted.starts_at, wanted.ends_at, clock.now()):
        raise DUTY_PERIOD.error(pointer="/ends_at")
    roles = rules.UNIT_DUTY if unit_id else rules.PROVINCE_DUTY
    if not queries.may_be_on_duty(session, wanted.account_id, roles, unit_id):
        raise DUTY_ACCOUNT.error(pointer="/account_id")
    duty = Duty(
        unit_id=unit_id,
        account_id=wanted.account_id,
        starts_at=wanted.starts_at,
        ends_at=wanted.ends_at,
        entered_by=viewer.id,
    )
    session.add(duty)
    audit(session, viewer.id, "duty", str(duty.id), None, _said(duty))
    session.flush()
    return duty


def take_back(session: Session, viewer: Viewer, duty_id: UUID) -> None:
    """Take a duty back, whether it has begun or not; one that is over, taken back or not the viewer's is 404."""
    duty = session.exec(select(Duty).where(Duty.id == duty_id).with_for_update()).one_or_none()
    if duty is None or duty.taken_back_at is not None or duty.ends_at <= clock.now():
        raise NOT_FOUND.error()
    if not policy.manages(viewer, duty.unit_id, directory(session)):
        raise NOT_FOUND.error()
    duty.taken_back_at = clock.now()
    audit(session, viewer.id, "duty", str(duty.id), _said(duty), {"taken_back_at": duty.taken_back_at.isoformat()})


def _said(duty: Duty) -> dict[str, object]:
    return {
        "unit_id": str(duty.unit_id) if duty.unit_id else None,
        "account_id": str(duty.account_id),
        "starts_at": duty.starts_at.isoformat(),
        "ends_at": duty.ends_at.isoformat(),
    }
