"""Lives the planned lives, through the actions of the product, under a simulated clock.

A life is one transaction: whoever looks, a worker that drains or a sweep that closes, sees a case as it stands now or
not at all, never one whose past is still being made up. That is what makes it safe to seed beside live workers, whose
clock is the real one, and what makes a killed seeding resume where it stopped.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from uuid import UUID

from pydantic import BaseModel
from sqlmodel import col, select

from app.cases import actions, queries
from app.cases.actions import SYSTEM
from app.cases.models import Case
from app.cases.queries import Seen
from app.cases.rules import State
from app.cases.schemas import AssignIn, InformationIn, PublishIn, RatingIn, RejectIn, ResolveIn
from app.core import clock, crypto
from app.core.db import Session, transaction
from app.identity.actions import audit
from app.identity.models import AuditEntry
from app.identity.policy import Viewer
from app.intake.actions import submit
from app.media.actions import process_owed, receive
from app.orgunits.queries import directory
from app.pictures.rules import derive
from app.proceedings import actions as proceedings
from app.reports.models import Report
from app.reports.schemas import LocationIn
from app.routing import actions as routing
from tools.demo import company, drawing, people
from tools.demo.drawing import Shot
from tools.demo.lives import Life, Step, lives
from tools.demo.people import Cast, own_id
from tools.demo.world import observed

TOPIC = "demo"
WINDOW = timedelta(days=182)
ROUTED_AFTER = timedelta(seconds=2)


class Seeded(BaseModel):
    """What there is once seeding is over; `until` is when it was begun, where every life stops being told."""

    seed: int
    reports: int
    photos: int = 0
    since: datetime
    until: datetime


def seed(reports: int, number: int = 1) -> Seeded:
    """Live `reports` lives unless that was done before; a seeding that was cut off is taken up again."""
    everybody = people.ensure()
    with people.alone():
        with transaction() as session:
            if done := _noted(session, "finished"):
                return done
            asked = _begun(session, number, reports)
            with clock.travelled(asked.since):
                cast = Cast.assembled(session, everybody)
            world = observed(session, asked.until)
            alone = asked.reports - company.echoes(asked.reports)
            plan = lives(world, asked.seed, asked.since, asked.until, alone)
            lived = set(session.exec(select(Report.id).where(col(Report.id).in_([life.report_id for life in plan]))))
        for life in plan:
            if life.report_id not in lived:
                _live(cast, life)
        company.live(cast, asked.seed, asked.reports)
        while process_owed(derive):
            pass
        asked.photos = sum(len(life.shots) + sum(len(step.shots) for step in life.steps) for life in plan)
        with transaction() as session:
            audit(session, None, TOPIC, "finished", None, asked.model_dump(mode="json"))
    return asked


def _noted(session: Session, subject: str) -> Seeded | None:
    """What the audit log says of an earlier seeding."""
    rows = select(AuditEntry.after).where(AuditEntry.topic == TOPIC, AuditEntry.subject == subject)
    found = session.exec(rows.order_by(col(AuditEntry.at)).limit(1)).one_or_none()
    return None if found is None else Seeded.model_validate(found)


def _begun(session: Session, number: int, reports: int) -> Seeded:
    """The seeding that was cut off, or a new one: what is told ends now, and begins when today's communes existed."""
    if cut_off := _noted(session, "begun"):
        return cut_off
    until = clock.now()
    formed = max(unit.valid_from for unit in directory(session).communes(clock.local_day(until)))
    earliest = datetime.combine(formed, time(), clock.LOCAL) + timedelta(days=1)
    asked = Seeded(seed=number, reports=reports, since=max(until - WINDOW, earliest), until=until)
    audit(session, None, TOPIC, "begun", None, asked.model_dump(mode="json"))
    return asked


# --- one life ------------------------------------------------------------------------------------------------------


def _live(cast: Cast, life: Life) -> None:
    """One life, whole or not at all. Photos are sent before, as phones do; a repeat gets the same ones."""
    citizen = cast.citizens[life.citizen]
    with clock.travelled(life.received_at - timedelta(seconds=20)):
        report = life.report.model_copy(update={"media_ids": _sent(citizen, life.shots)})
    after = _after_photos(cast, life)
    with transaction() as session:
        with clock.travelled(life.received_at):
            submit(session, citizen, report, own_id("key", report.id))
        with clock.travelled(life.received_at + ROUTED_AFTER):
            case = session.exec(select(Case).where(Case.report_id == report.id)).one()
            _route(session, case)
        for step in life.steps:
            with clock.travelled(step.at):
                _act(_Scene(session, cast, citizen, case), step, after.get(step, ()))


def _route(session: Session, case: Case) -> None:
    """Do the routing worker's work on a case that nobody else can see yet."""
    if case.state == State.ROUTING:
        session.flush()
        routing.assign(session, actions.claim_owed(session, 1, case.id))
        session.refresh(case)


def _after_photos(cast: Cast, life: Life) -> dict[Step, Sequence[UUID]]:
    """What the unit expected to resolve the case sends from the spot."""
    found: dict[Step, Sequence[UUID]] = {}
    for step in life.steps:
        if step.shots and step.unit:
            with clock.travelled(step.at - timedelta(seconds=30)):
                found[step] = _sent(cast.officer(step.unit), step.shots)
    return found


def _sent(owner: Viewer, shots: Sequence[Shot]) -> list[UUID]:
    """Draw and upload; the ids."""
    ids = []
    for shot in shots:
        picture = drawing.photo(shot)
        with tempfile.TemporaryFile() as file:
            file.write(picture)
            answer = receive(owner.id, own_id("photo", owner.id, crypto.sha256(picture).hex()), file)
        ids.append(_Uploaded.model_validate_json(answer.body).id)
    return ids


class _Uploaded(BaseModel):
    """What is needed of the answer to an upload."""

    id: UUID


@dataclass(frozen=True, slots=True)
class _Scene:
    """A case that is being lived, and who may step in."""

    session: Session
    cast: Cast
    citizen: Viewer
    case: Case

    def seen_by(self, viewer: Viewer) -> Seen:
        """The case through the eyes of one of them, held for a move."""
        if viewer.kind == "citizen":
            return queries.report_for_reader(self.session, viewer, self.case.report_id, lock=True)
        return queries.case_for_staff(self.session, viewer, self.case.id, lock=True)

    def unit(self, step: Step) -> UUID:
        """The unit the step names."""
        assert step.unit is not None
        return queries.unit_in_force(self.session, step.unit)


def _act(scene: _Scene, step: Step, media_ids: Sequence[UUID]) -> None:
    """One step, by whoever takes it."""
    match step.verb:
        case (
            "verify" | "place" | "transfer" | "publish" | "hide" | "unhide" | "reject" | "recategorise" | "set_urgency"
        ):
            _dispatcher(scene, scene.cast.dispatchers[scene.case.id.int % len(scene.cast.dispatchers)], step)
        case "accept" | "return" | "start" | "message" | "resolve":
            _unit(scene, step, media_ids)
        case "close":
            report = scene.session.get_one(Report, scene.case.report_id)
            actions.advance(scene.session, scene.case, report, "close", SYSTEM)
        case _:
            _citizen(scene, step)


def _dispatcher(scene: _Scene, who: Viewer, step: Step) -> None:
    session, seen = scene.session, scene.seen_by(who)
    match step.verb:
        case "place" if scene.case.state == State.TRIAGE:
            actions.assign(session, who, seen, AssignIn(unit=step.unit or "", note=step.note))
        case "place":
            return  # the machine had already decided
        case "transfer":
            actions.act(session, who, seen, "transfer", unit_id=scene.unit(step), note=step.note)
        case "publish":
            actions.publish(session, who, seen, PublishIn())
        case "hide":
            actions.hide(session, who, seen, step.note)
        case "unhide":
            actions.unhide(session, who, seen, step.note)
        case "reject":
            actions.reject(session, who, seen, RejectIn(code=step.code or "", explanation=step.note))
        case "recategorise":
            routing.recategorise(session, who, seen, step.code or "", step.note)
            _route(session, scene.case)
        case "set_urgency":
            actions.set_urgency(session, who, seen, "urgent", step.note)
        case verb:
            actions.act(session, who, seen, verb)
            _route(session, scene.case)


def _unit(scene: _Scene, step: Step, media_ids: Sequence[UUID]) -> None:
    assert scene.case.unit_id is not None
    who = scene.cast.members["officer", scene.case.unit_id]
    seen = scene.seen_by(who)
    if step.verb != "resolve":
        actions.act(scene.session, who, seen, step.verb, note=step.note or None)
        return
    # Another unit than expected holds the case where a rule says so: the photos sent are not its own.
    own = list(media_ids) if scene.unit(step) == scene.case.unit_id else []
    result = ResolveIn.model_validate({"outcome": step.code, "note": step.note, "media_ids": own})
    if not queries.standing(scene.session, scene.case, seen.report).needs_approval:
        actions.resolve(scene.session, who, seen, result)
        return
    actions.resolve(scene.session, who, seen, result, "propose")
    lead = scene.cast.members["lead", scene.case.unit_id]
    proceedings.approve(scene.session, lead, scene.seen_by(lead))


def _citizen(scene: _Scene, step: Step) -> None:
    session, who = scene.session, scene.citizen
    seen = scene.seen_by(who)
    match step.verb:
        case "rate":
            actions.rate(session, who, seen, RatingIn.model_validate({"rating": step.code, "text": step.note}))
        case "add_information":
            actions.add_information(session, who, seen, InformationIn(text=step.note))
        case "move_pin":
            assert step.pin is not None
            lat, lon = step.pin
            routing.move_pin(session, who, seen, LocationIn(lat=lat, lon=lon), step.note)
            _route(session, scene.case)
        case verb:
            actions.act(session, who, seen, verb, note=step.note or None)
