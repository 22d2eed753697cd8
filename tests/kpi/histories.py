"""Cases with histories made by hand, and staff who may read boards."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import count
from uuid import UUID
from zoneinfo import ZoneInfo

from app.cases.models import Case, CaseEvent
from app.core import clock
from app.core.db import Session
from app.core.ids import uuid7
from app.identity.models import Account, Membership, SignedInSession
from app.identity.policy import signing_key
from app.identity.rules import Claims, access_token
from app.orgunits.queries import UnitInfo, directory
from app.reports.models import Report

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
_numbers = count()


def at(text: str) -> datetime:
    """A local wall-clock moment."""
    return datetime.fromisoformat(text).replace(tzinfo=HANOI)


@dataclass(frozen=True)
class Step:
    """One event: minutes after receipt, and what it leaves behind."""

    minute: float
    verb: str
    state: str
    unit_id: UUID | None = None
    due: float | None = None
    cycle: int = 1
    code: str | None = None


def open_case(
    session: Session,
    received: datetime,
    steps: Sequence[Step] = (Step(0, "submit", "verifying"),),
    *,
    category: str = "o_ga",
    urgency: str = "normal",
    channel: str = "app",
) -> UUID:
    """Store a case with this history. Its own row stays as on the first day: measures must not read it."""
    citizen = Account(kind="citizen")
    report_id, case_id = uuid7(received), uuid7(received)
    session.add(citizen)
    session.flush()
    session.add(
        Report(
            id=report_id,
            account_id=citizen.id,
            category_code=category,
            channel=channel,
            visibility="private",
            hide_name=False,
            allow_call=False,
            received_at=received,
            request_hash=b"",
        )
    )
    session.flush()
    session.add(
        Case(
            id=case_id,
            report_id=report_id,
            reference=f"TEST-{next(_numbers)}",
            category_code=category,
            urgency=urgency,
            channel=channel,
            state="verifying",
            version=1,
            received_at=received,
            updated_at=received,
            act_by=received,
            head=b"",
        )
    )
    session.flush()
    for seq, step in enumerate(steps, start=1):
        session.add(
            CaseEvent(
                case_id=case_id,
                seq=seq,
                at=received + timedelta(minutes=step.minute),
                verb=step.verb,
                from_state=None,
                to_state=step.state,
                actor_kind="system",
                unit_id=step.unit_id,
                cycle=step.cycle,
                category_code=category,
                urgency=urgency,
                channel=channel,
                code=step.code,
                due_at=None if step.due is None else received + timedelta(minutes=step.due),
                body=b"",
                hash=b"",
            )
        )
    session.flush()
    return case_id


def communes(session: Session) -> tuple[UnitInfo, ...]:
    return directory(session).communes(date(2026, 3, 2))


def signed_in(session: Session, role: str, unit_id: UUID | None = None) -> dict[str, str]:
    """Headers of a staff member who holds one role, or of a citizen."""
    kind = "citizen" if role == "citizen" else "staff"
    account = Account(kind=kind)
    session.add(account)
    session.flush()
    held = SignedInSession(account_id=account.id)
    session.add(held)
    if kind == "staff":
        began = clock.now() - timedelta(days=1)
        session.add(Membership(account_id=account.id, role=role, unit_id=unit_id, valid_from=began))
    session.commit()
    token = access_token(
        Claims(account.id, held.id, "citizen" if role == "citizen" else "staff"), signing_key(), clock.now()
    )
    return {"Authorization": f"Bearer {token}"}
