"""Reading slips from the history of a case: nothing of them is stored."""

from base64 import b64decode
from uuid import UUID

from sqlmodel import col, select

from app.cases.models import CaseEvent
from app.cases.queries import report_for_reader
from app.cases.schemas import UnitOut
from app.core import clock
from app.core.config import settings
from app.core.db import Session
from app.core.errors import NOT_FOUND
from app.core.http import Lang
from app.identity.policy import Viewer
from app.orgunits.queries import UnitInfo, directory, name_of
from app.promises.rules import Slip, Step, promises
from app.promises.schemas import NO_PROMISE_YET, SlipOut
from app.seals.rules import key_id, public_key

_RETRY_S = 3600


def slip(session: Session, citizen: Viewer, report_id: UUID, number: int | None, language: Lang) -> SlipOut:
    """The newest slip of an own report, or an earlier one by its number; of somebody else's report there is none."""
    seen = report_for_reader(session, citizen, report_id)
    if seen.report.account_id != citizen.id:
        raise NOT_FOUND.error()
    promised = promises(_steps(session, seen.case.id))
    if not promised:
        raise NO_PROMISE_YET.error(headers={"Retry-After": str(_RETRY_S)})
    numbers = [step.seq for step in promised]
    if number is not None and number not in numbers:
        raise NOT_FOUND.error()
    place = numbers.index(number) if number is not None else -1
    return _shown(session, seen.case.reference, promised[place], numbers, language)


def _steps(session: Session, case_id: UUID) -> list[Step]:
    columns = (getattr(CaseEvent, name) for name in Step.__dataclass_fields__)
    rows = session.execute(select(*columns).where(CaseEvent.case_id == case_id).order_by(col(CaseEvent.seq)))
    return [Step(*row) for row in rows]


def _shown(session: Session, reference: str, promised: Step, numbers: list[int], language: Lang) -> SlipOut:
    unit, seed = _unit_then(session, promised), b64decode(settings().seal_key)
    assert promised.due_at is not None
    said = Slip(
        reference=reference,
        number=promised.seq,
        category=promised.category_code,
        unit_code=unit.code,
        unit_name=unit.name,
        by=promised.due_at,
        issued=promised.at,
    )
    named = name_of(unit, language)
    by = f"{promised.due_at.astimezone(clock.LOCAL):%H:%M, %d/%m/%Y}"
    return SlipOut(
        slip=said.text(seed),
        number=said.number,
        reference=reference,
        category=said.category,
        unit=UnitOut(code=unit.code, name=named),
        promise="resolve",
        text=f"{named} hẹn xử lý và trả lời phản ánh {reference} trước {by}."
        if language == "vi"
        else f"{named} promises to deal with report {reference}, and to tell how, before {by}.",
        due_at=promised.due_at,
        issued_at=promised.at,
        key_id=key_id(public_key(seed)),
        superseded_by=next((each for each in numbers if each > promised.seq), None),
        numbers=numbers,
    )


def _unit_then(session: Session, promised: Step) -> UnitInfo:
    """The unit under the name it had when it promised, so that the slip is the same for ever."""
    units = directory(session)
    unit = units.by_id(promised.unit_id) if promised.unit_id else None
    if unit is None:
        raise LookupError(f"event {promised.seq} names a unit that is not there: {promised.unit_id}")
    return units.as_of(unit, clock.local_day(promised.at))
