"""What the lives of the demo have to do with each other: the same thing told twice, told again later, and supported."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from sqlmodel import col, select

from app.cases import queries
from app.cases.actions import claim_owed
from app.cases.models import Case
from app.cases.rules import AT_UNIT, DONE, OPEN, State
from app.core import clock
from app.core.db import Session, transaction
from app.duplicates import actions
from app.intake.actions import submit
from app.reports.models import Report, ReportContent
from app.reports.schemas import LocationIn, ReportIn
from app.routing import actions as routing
from tools.demo import dice
from tools.demo.people import Cast, own_id
from tools.demo.texts import typed

# One report in so many tells what another one told: half of these are duplicates, half come after a resolution.
ECHO_SHARE = 20
SUPPORTED_SHARE = 12
SUPPORTERS_MAX = 5
REASON = "Cùng một sự việc, cùng một chỗ."


def echoes(reports: int) -> int:
    """How many of so many reports echo another one."""
    return reports // ECHO_SHARE


def live(cast: Cast, seed: int, reports: int) -> None:
    """Add the echoes and the supporters to the lives that were lived. Safe to repeat: what is there is left alone."""
    with transaction() as session:
        known = set(session.exec(select(Report.id)))
        own = [own_id("echo", seed, number) for number in range(echoes(reports))]
        open_ones = _placed(session, AT_UNIT, own)
        finished = _placed(session, DONE, own)
    for number, report_id in enumerate(own):
        bases = finished if number % 2 else open_ones
        if report_id not in known and bases:
            _echo(cast, dice(seed, "echo", number), report_id, bases[number // 2 % len(bases)])
    with transaction() as session:
        _support(session, cast, dice(seed, "support"), max(1, reports // SUPPORTED_SHARE))


def _placed(session: Session, states: Sequence[State], but: Sequence[UUID]) -> list[Case]:
    """Normal cases in one of these states whose place is known by a fix, the latest first."""
    rows = (
        select(Case)
        .join(ReportContent, col(ReportContent.report_id) == Case.report_id)
        .where(col(Case.state).in_(states), col(ReportContent.lat).is_not(None), Case.urgency == "normal")
        .where(col(Case.pin_seq).is_(None), col(Case.report_id).not_in(but))
    )
    return list(session.exec(rows.order_by(col(Case.received_at).desc(), col(Case.id))))


def _echo(cast: Cast, rng: Random, report_id: UUID, base: Case) -> None:
    """Somebody else tells the same in other words; a dispatcher merges what is still open."""
    now = clock.now()
    earliest = base.resolved_at or base.received_at
    at = max(earliest + timedelta(minutes=1), now - (now - earliest) * rng.uniform(0.1, 0.6))
    with transaction() as session:
        said = session.get_one(ReportContent, base.report_id)
        category = session.get_one(Report, base.report_id).category_code
        assert said.lat is not None
        assert said.lon is not None
        report = ReportIn(
            id=report_id,
            category=category,
            description=typed(said.description, rng),
            location=LocationIn(lat=said.lat + rng.uniform(-1, 1) * 1e-4, lon=said.lon, accuracy_m=12),
        )
        citizen = cast.citizens[rng.randrange(len(cast.citizens))]
        with clock.travelled(at):
            submit(session, citizen, report, own_id("key", report.id))
        with clock.travelled(at + timedelta(seconds=2)):
            session.flush()
            case = session.exec(select(Case).where(Case.report_id == report.id)).one()
            routing.assign(session, claim_owed(session, 1, case.id))
            session.refresh(case)
        if base.state in OPEN:
            _merge(session, cast, case, base, min(now, at + timedelta(minutes=rng.uniform(5, 60))))


def _merge(session: Session, cast: Cast, case: Case, base: Case, at: datetime) -> None:
    dispatcher = cast.dispatchers[case.id.int % len(cast.dispatchers)]
    with clock.travelled(at):
        into_id = actions.lock_together(session, case.id, base.id)
        seen = queries.case_for_staff(session, dispatcher, case.id, lock=True)
        actions.merge(session, dispatcher, seen, into_id, REASON)


def _support(session: Session, cast: Cast, rng: Random, number: int) -> None:
    """A few people support each of the latest cases that are open and public."""
    rows, _ = queries.public_reports(session, states=OPEN, limit=number)
    for case, _ in rows:
        for place in rng.sample(range(len(cast.citizens)), rng.randint(1, SUPPORTERS_MAX)):
            citizen = cast.citizens[place]
            seen = queries.report_for_reader(session, citizen, case.report_id, lock=True)
            if seen.report.account_id != citizen.account_id:
                actions.support(session, citizen, seen)
