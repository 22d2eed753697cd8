"""Reading cases: one at a time with everything about it, or lists by keyset; each through `policy`."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Literal, NamedTuple, TypeVar
from uuid import UUID

from geopy.distance import geodesic
from sqlalchemy import Boolean, ColumnElement, and_, func, literal_column, text, tuple_
from sqlmodel import col, select

from app.assets.models import Asset
from app.boundaries.models import BoundaryVersion
from app.cases import policy, rules
from app.cases.models import (
    Case,
    CaseDocument,
    CaseEvent,
    CaseHop,
    CaseNotePhoto,
    CasePhoto,
    CasePin,
    CaseText,
    quoted,
)
from app.cases.rules import AT_UNIT, OPEN, Pin, Standing, State, Terms, Who
from app.cases.schemas import (
    UNKNOWN_CATEGORY,
    UNKNOWN_COMMUNE,
    UNKNOWN_UNIT,
    VERSION_STALE,
    AskedOut,
    CaseOut,
    CaseRow,
    ClockOut,
    ColleagueOut,
    DepartureOut,
    DocumentOut,
    EventOut,
    HopOut,
    PhotoOut,
    RejectOut,
    ReportOut,
    StepOut,
    SupersededOut,
    SurvivorOut,
    UnitOut,
)
from app.catalog.queries import catalogue
from app.catalog.rules import Category
from app.core import clock
from app.core.db import Session
from app.core.errors import FORBIDDEN, NOT_FOUND
from app.core.http import Lang
from app.core.paging import cut, decode_cursor
from app.deadlines.models import SlaClock
from app.deadlines.queries import clocks_of, superseded
from app.identity.policy import Viewer
from app.identity.queries import staff_names
from app.identity.rules import pseudonym
from app.media.models import Media
from app.media.schemas import state as photo_state
from app.orgunits.queries import directory
from app.reports.models import PublicCopy, Report, ReportContent, ReportMedia
from app.reports.rules import far_hint
from app.reports.schemas import LocationOut, PublicReportOut

T = TypeVar("T")
SUMMARY_CHARS = 160
Queue = Literal["verification", "routing", "triage", "worklist", "waiting", "approval", "resolved", "ended"]
# Every state stands in one of them: there is no case that nobody in charge can find.
QUEUES: dict[Queue, tuple[State, ...]] = {
    "verification": (State.VERIFYING,),
    "routing": (State.ROUTING,),
    "triage": (State.TRIAGE,),
    "worklist": AT_UNIT,
    "waiting": (State.WAITING_CITIZEN,),
    "approval": (State.PENDING_APPROVAL,),
    "resolved": (State.RESOLVED, State.CLOSED),
    "ended": (State.REJECTED, State.MERGED, State.WITHDRAWN),
}


class Seen(NamedTuple):
    """A case somebody may see, with its report and the capacities in which that person may act."""

    case: Case
    report: Report
    capacities: frozenset[Who]


class BBox(NamedTuple):
    """A rectangle in WGS 84 degrees."""

    west: float
    south: float
    east: float
    north: float

    @property
    def is_sound(self) -> bool:
        """Whether it is a rectangle on the globe that does not cross the date line."""
        return -180 <= self.west < self.east <= 180 and -90 <= self.south < self.north <= 90  # noqa: PLR2004


def standing(session: Session, case: Case, report: Report) -> Standing:
    """What of a case decides on moves."""
    category = catalogue(session).category(case.category_code)
    return Standing(
        state=case.state,
        is_published=case.published_at is not None,
        is_hidden=case.hidden_at is not None,
        may_be_public=category is not None and category.may_be_public and report.visibility == "public",
        terms=terms(session),
        needs_approval=category is not None and category.approval == "lead",
        resolved_at=case.resolved_at,
        planned_until=case.planned_until,
        rejected_at=case.rejected_at,
        has_appealed=case.has_appealed,
        has_duplicates=case.supporters > 0 and duplicates_of(session, case.id) != [],
        open=frozenset(column for column in rules.OPENS.values() if getattr(case, column) is not None),
    )


def terms(session: Session) -> Terms:
    """How long people have."""
    known = catalogue(session)
    return Terms(
        close_after=timedelta(days=known.days("close_after")),
        reopen_within=timedelta(days=known.days("reopen_within")),
        appeal_within=timedelta(days=known.days("appeal_within")),
    )


def allowed_actions(session: Session, seen: Seen) -> list[str]:
    """The verbs this person may use on this case now."""
    return list(rules.allowed_verbs(standing(session, seen.case, seen.report), seen.capacities, clock.now()))


def case_for_staff(session: Session, viewer: Viewer, case_id: UUID, *, lock: bool = False) -> Seen:
    """A case by id for staff in charge; invisible is 404. With `lock` it is held for a move."""
    return _seen_by_staff(session, viewer, col(Case.id) == case_id, lock=lock)


def case_to_move(session: Session, viewer: Viewer, case_id: UUID) -> Seen:
    """A case locked for a move by staff who may do something with it; who only reads it is refused."""
    seen = case_for_staff(session, viewer, case_id, lock=True)
    if not seen.capacities:
        raise FORBIDDEN.error()
    return seen


def refuse_stale(session: Session, seen: Seen, version: int | None) -> None:
    """Refuse who decided on another version of a case than there is, with what may be done with the one there is."""
    if version != seen.case.version:
        allowed = allowed_actions(session, seen)
        raise VERSION_STALE.error(
            extra={"version": seen.case.version, "state": seen.case.state, "allowed_actions": allowed}
        )


def case_by_reference(session: Session, viewer: Viewer, reference: str) -> Seen:
    """The same by its short reference, for who is told it on the telephone."""
    return _seen_by_staff(session, viewer, col(Case.reference) == reference, lock=False)


def report_for_reader(session: Session, viewer: Viewer, report_id: UUID, *, lock: bool = False) -> Seen:
    """A report by id for its author, or for anybody once it is public; invisible is 404."""
    return _seen_by_reader(session, viewer, col(Report.id) == report_id, lock=lock)


def report_by_reference(session: Session, viewer: Viewer, reference: str, *, lock: bool = False) -> Seen:
    """The same by its short reference."""
    return _seen_by_reader(session, viewer, col(Case.reference) == reference, lock=lock)


def _seen_by_staff(session: Session, viewer: Viewer, where: ColumnElement[bool], *, lock: bool) -> Seen:
    case, report = _one(session, where, lock=lock)
    units = directory(session)
    if not policy.may_read_case(viewer, case, units):
        raise NOT_FOUND.error()
    return Seen(case, report, policy.capacities(viewer, case, report, units))


def _seen_by_reader(session: Session, viewer: Viewer, where: ColumnElement[bool], *, lock: bool) -> Seen:
    case, report = _one(session, where, lock=lock)
    if not policy.may_read_report(viewer, case, report):
        raise NOT_FOUND.error()
    return Seen(case, report, policy.capacities(viewer, case, report, directory(session)))


def _one(session: Session, where: ColumnElement[bool], *, lock: bool) -> tuple[Case, Report]:
    statement = select(Case, Report).join(Report, col(Report.id) == Case.report_id).where(where)
    if lock:
        # The case row alone decides on moves: reports do not change once received.
        statement = statement.with_for_update(of=Case)
    row = session.exec(statement).one_or_none()
    if row is None:
        raise NOT_FOUND.error()
    return row


def duplicates_of(session: Session, case_id: UUID) -> list[str]:
    """The references of the cases merged into this one, the oldest first."""
    merged = select(Case.reference).where(Case.merged_into == case_id)
    return list(session.exec(merged.order_by(col(Case.received_at), col(Case.id))))


def stopped_by_merge(session: Session, case: Case) -> set[str]:
    """The kinds of clocks that the latest merge of a case stopped."""
    merged = select(func.max(CaseEvent.at)).where(CaseEvent.case_id == case.id, CaseEvent.verb == "merge")
    at = session.exec(merged).one()
    return {each.kind for each in clocks_of(session, case.id) if each.stopped_at == at}


_FOLLOWERS = text("""
WITH joined AS (SELECT id, report_id FROM case_file WHERE merged_into = :case_id)
SELECT account_id FROM case_support WHERE case_id = :case_id OR case_id IN (SELECT id FROM joined)
UNION SELECT report.account_id FROM joined JOIN report ON report.id = joined.report_id
EXCEPT SELECT report.account_id FROM case_file JOIN report ON report.id = case_file.report_id
WHERE case_file.id = :case_id
""")


def followers(session: Session, case_id: UUID) -> list[UUID]:
    """The accounts beside the reporter's that have the same problem.

    Who supports the case, or one that was merged into it, and who reported such a one.
    """
    return list(session.execute(_FOLLOWERS, {"case_id": case_id}).scalars())


def unit_in_force(session: Session, code: str) -> UUID:
    """The id of a unit that can be given a case today."""
    unit = directory(session).by_code(code, clock.local_day(clock.now()))
    if unit is None or unit.level == "province":
        raise UNKNOWN_UNIT.error(unit=code, pointer="/unit")
    return unit.id


def unit_above(session: Session, unit_id: UUID) -> UUID | None:
    """The next unit above that can hold a case; None: there is only the province."""
    units = directory(session)
    unit = units.by_id(unit_id)
    above = units.by_id(unit.parent_id) if unit and unit.parent_id else None
    return None if above is None or above.level == "province" else above.id


# --- what a report may name ----------------------------------------------------------------------------------------


def offered_category(session: Session, code: str) -> Category:
    """A category that reports may be sent under today; another code is refused."""
    category = catalogue(session).category(code)
    if category is None or not category.active:
        raise UNKNOWN_CATEGORY.error(category=code, pointer="/category")
    return category


def commune_on(session: Session, code: str, day: date, pointer: str) -> UUID:
    """The commune that bears a code on a local day; another code is refused at `pointer`."""
    unit = directory(session).by_code(code, day)
    if unit is None or unit.level != "commune":
        raise UNKNOWN_COMMUNE.error(commune=code, pointer=pointer)
    return unit.id


# --- lists ---------------------------------------------------------------------------------------------------------

# Constants as literals: a parameter would hide the partial indexes from a generic plan.
_CALM: ColumnElement[bool] = literal_column("(case_file.urgency <> 'urgent')", Boolean)
_IN_QUEUE = {queue: text(f"case_file.state IN ({quoted(states)})") for queue, states in QUEUES.items()}


def queue_page(
    session: Session,
    viewer: Viewer,
    queue: Queue,
    *,
    unit_ids: Iterable[UUID] | None = None,
    category: str | None = None,
    assignee: UUID | Literal["none"] | None = None,
    helping: bool = False,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[tuple[Case, str]], str | None]:
    """Cases of one queue this person may see, with the reported text: urgent first, then by who must act soonest.

    Only those of one `assignee`, or of nobody; with `helping` those that other units hold and this person's help with.
    """
    units = directory(session)
    statement = (
        select(Case, ReportContent.description)
        .join(ReportContent, col(ReportContent.report_id) == Case.report_id)
        .where(_IN_QUEUE[queue], (policy.helped_by if helping else policy.visible_to)(viewer, units))
        .order_by(_CALM, col(Case.act_by), col(Case.id))
        .limit(limit + 1)
    )
    if unit_ids is not None:
        statement = statement.where(col(Case.unit_id).in_(list(unit_ids)))
    if category is not None:
        statement = statement.where(Case.category_code == category)
    if assignee is not None:
        nobody = col(Case.assignee_id).is_(None)
        statement = statement.where(nobody if assignee == "none" else Case.assignee_id == assignee)
    if cursor is not None:
        calm, act_by, case_id = decode_cursor(cursor, bool, datetime, UUID)
        statement = statement.where(tuple_(_CALM, col(Case.act_by), col(Case.id)) > tuple_(calm, act_by, case_id))
    rows = list(session.exec(statement).all())
    return cut(rows, limit, lambda row: (row[0].urgency != "urgent", row[0].act_by, row[0].id))


def departures(
    session: Session, viewer: Viewer, *, since: datetime, cursor: str | None, limit: int
) -> tuple[list[tuple[CaseHop, str, str | None]], str | None]:
    """Stays that ended since a moment at units of this person, with the case's reference and the ending event's code.

    The latest first. What has left a unit is told by its reference alone: its personal details went along.
    """
    statement = (
        select(CaseHop, Case.reference, CaseEvent.code)
        .join(Case, col(Case.id) == CaseHop.case_id)
        .outerjoin(
            CaseEvent,
            (col(CaseEvent.case_id) == CaseHop.case_id)
            & (col(CaseEvent.at) == CaseHop.ended_at)
            & (col(CaseEvent.verb) == "reroute"),
        )
        .where(policy.left(viewer, directory(session)), col(CaseHop.ended_at) >= since)
        .where(col(CaseHop.outcome).in_(rules.DEPARTURES))
        .order_by(col(CaseHop.ended_at).desc(), col(CaseHop.case_id).desc())
        .limit(limit + 1)
    )
    if cursor is not None:
        ended_at, case_id = decode_cursor(cursor, datetime, UUID)
        statement = statement.where(tuple_(col(CaseHop.ended_at), col(CaseHop.case_id)) < tuple_(ended_at, case_id))
    rows: list[tuple[CaseHop, str, str | None]] = [
        (hop, reference, code) for hop, reference, code in session.exec(statement)
    ]
    return cut(rows, limit, lambda row: (row[0].ended_at, row[0].case_id))


def my_reports(
    session: Session, account_id: UUID, *, cursor: str | None = None, limit: int = 50
) -> tuple[list[Seen], str | None]:
    """A citizen's own reports, newest first."""
    statement = (
        select(Case, Report)
        .join(Report, col(Report.id) == Case.report_id)
        .where(Report.account_id == account_id)
        .order_by(col(Report.received_at).desc(), col(Report.id).desc())
        .limit(limit + 1)
    )
    if cursor is not None:
        received_at, report_id = decode_cursor(cursor, datetime, UUID)
        statement = statement.where(tuple_(col(Report.received_at), col(Report.id)) < tuple_(received_at, report_id))
    rows = [Seen(case, report, frozenset({Who.CITIZEN})) for case, report in session.exec(statement)]
    return cut(rows, limit, lambda row: (row.report.received_at, row.report.id))


def public_reports(
    session: Session,
    *,
    bbox: BBox | None = None,
    category: str | None = None,
    states: Sequence[State] = (),
    since: datetime | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[tuple[Case, PublicCopy]], str | None]:
    """Published reports, newest publication first. Private and hidden ones do not exist here."""
    statement = (
        select(Case, PublicCopy)
        .join(Report, col(Report.id) == Case.report_id)
        .join(PublicCopy, col(PublicCopy.report_id) == Case.report_id)
        .where(policy.public_only())
        .order_by(col(PublicCopy.published_at).desc(), col(PublicCopy.report_id).desc())
        .limit(limit + 1)
    )
    if bbox is not None:
        box = "point(public_copy.lon, public_copy.lat) <@ box(point(:west, :south), point(:east, :north))"
        statement = statement.where(text(box).bindparams(**bbox._asdict()))
    if category is not None:
        statement = statement.where(Case.category_code == category)
    if states:
        statement = statement.where(col(Case.state).in_(states))
    if since is not None:
        statement = statement.where(col(PublicCopy.published_at) >= since)
    if cursor is not None:
        published_at, report_id = decode_cursor(cursor, datetime, UUID)
        statement = statement.where(
            tuple_(col(PublicCopy.published_at), col(PublicCopy.report_id)) < tuple_(published_at, report_id)
        )
    rows = list(session.exec(statement).all())
    return cut(rows, limit, lambda row: (row[1].published_at, row[1].report_id))


# --- everything about one case --------------------------------------------------------------------------------------


def place_of(session: Session, case: Case) -> Pin | None:
    """Where a case lies: its newest pin, else where the citizen said; None where there are only words."""
    if (moved := newest_pins(session, [case]).get(case.id)) is not None:
        return moved
    content = session.get(ReportContent, case.report_id)  # erased, perhaps
    return said_place(content) if content else None


def said_place(content: ReportContent | PublicCopy) -> Pin | None:
    """The place that a report, or its public copy, names."""
    if content.lat is None or content.lon is None:
        return None
    return Pin(content.lat, content.lon, (content.accuracy_m or 0) if isinstance(content, ReportContent) else 0)


def newest_pins(session: Session, cases: Iterable[Case]) -> dict[UUID, Pin]:
    """The newest pin of each case that was moved and whose pin was not erased."""
    moved = [(case.id, case.pin_seq) for case in cases if case.pin_seq is not None]
    if not moved:
        return {}
    rows = select(CasePin).where(tuple_(col(CasePin.case_id), col(CasePin.seq)).in_(moved))
    return {row.case_id: Pin(row.lat, row.lon, row.accuracy_m) for row in session.exec(rows)}


def newest_pin() -> ColumnElement[bool]:
    """What joins a Case with its newest CasePin; outer, for most have none."""
    return and_(col(CasePin.case_id) == Case.id, col(CasePin.seq) == Case.pin_seq)


def place_columns() -> tuple[ColumnElement[float | None], ColumnElement[float | None]]:
    """Where a case lies, of Case joined with ReportContent and, by `newest_pin`, with CasePin: latitude, longitude."""
    return (
        func.coalesce(col(CasePin.lat), col(ReportContent.lat)),
        func.coalesce(col(CasePin.lon), col(ReportContent.lon)),
    )


def pins_of(session: Session, case: Case) -> dict[int, Pin]:
    """All pins of a case, by the event that moved it there."""
    if case.pin_seq is None:
        return {}
    rows = session.exec(select(CasePin).where(CasePin.case_id == case.id))
    return {row.seq: Pin(row.lat, row.lon, row.accuracy_m) for row in rows}


def is_approximate(session: Session, case: Case) -> bool:
    """Whether the boundaries that placed the case are estimates."""
    version = session.get(BoundaryVersion, case.boundary_version_id) if case.boundary_version_id else None
    return version is not None and version.accuracy == "approximate"


def clocks_of_cycle(session: Session, case: Case) -> set[str]:
    """The kinds of clocks that have run in the case's present cycle."""
    return set(
        session.exec(select(SlaClock.kind).where(SlaClock.case_id == case.id, SlaClock.cycle == case.cycle)).all()
    )


def history(session: Session, case_ids: Sequence[UUID]) -> dict[UUID, list[tuple[CaseEvent, str | None]]]:
    """Each case's events in order, each with its text where it has one that was not erased."""
    joined = and_(col(CaseText.case_id) == CaseEvent.case_id, col(CaseText.seq) == CaseEvent.seq)
    rows = (
        select(CaseEvent, CaseText.body)
        .join(CaseText, joined, isouter=True)
        .where(col(CaseEvent.case_id).in_(case_ids))
        .order_by(col(CaseEvent.seq))
    )
    return _grouped((event.case_id, (event, body)) for event, body in session.exec(rows))


class Views:
    """Turns rows into what goes over the wire, in one language, with names looked up once.

    A list costs as many statements as one row: what belongs to its rows is read for all of them together.
    """

    def __init__(self, session: Session, lang: Lang) -> None:
        self.session = session
        self.lang = lang
        self.units = directory(session)
        self.catalogue = catalogue(session)
        self._names: dict[UUID, str] = {}

    def unit(self, unit_id: UUID | None) -> UnitOut | None:
        """A unit, named."""
        unit = self.units.by_id(unit_id) if unit_id else None
        return UnitOut(code=unit.code, name=unit.name_en if self.lang == "en" else unit.name) if unit else None

    def rows(self, page: Sequence[tuple[Case, str]]) -> list[CaseRow]:
        """The lines of a staff list, each a case with its reported text."""
        self._learn_names(case for case, _ in page)
        return [CaseRow(**self._common(case, description)) for case, description in page]

    def _learn_names(self, cases: Iterable[Case]) -> None:
        unknown = {case.assignee_id for case in cases if case.assignee_id} - self._names.keys()
        if unknown:
            self._names |= staff_names(self.session, unknown)

    def _colleague(self, account_id: UUID | None) -> ColleagueOut | None:
        return None if account_id is None else ColleagueOut(id=account_id, name=self._names.get(account_id, ""))

    def departure(self, hop: CaseHop, reference: str, code: str | None) -> DepartureOut:
        """A stay that ended."""
        assert hop.ended_at is not None
        assert hop.outcome is not None
        return DepartureOut(
            reference=reference,
            unit=self.unit(hop.unit_id),
            received_at=hop.received_at,
            ended_at=hop.ended_at,
            outcome=hop.outcome,
            outcome_text=rules.DEPARTURES[hop.outcome][self.lang == "en"],
            code=code,
        )

    def case(self, seen: Seen) -> CaseOut:
        """A case as staff in charge see it."""
        case, report, session = seen.case, seen.report, self.session
        content = session.get_one(ReportContent, report.id)
        self._learn_names([case])
        said, pins = said_place(content), pins_of(session, case)
        place = pins.get(case.pin_seq or 0, said)
        events = history(session, [case.id])[case.id]
        return CaseOut(
            **self._common(case, content.description),
            helpers=[unit for each in case.helper_ids if (unit := self.unit(each))],
            citizen=pseudonym(report.account_id, case.id),
            channel=case.channel,
            call_allowed=report.allow_call,
            visibility=report.visibility,
            published=case.published_at is not None,
            hidden=case.hidden_at is not None,
            description=content.description,
            location=_place(place),
            reported_location=_place(said),
            moved_m=_metres(said, place),
            address=content.address,
            place_text=content.place_text,
            asset=session.get_one(Asset, content.asset_id).code if content.asset_id else None,
            merged_into=self._survivors([case]).get(case.id),
            suggested=self.unit(case.suggested_id),
            commune_confirmed=case.commune_confirmed,
            candidates=[unit for each in case.candidate_ids if (unit := self.unit(each))],
            boundary_approximate=is_approximate(session, case),
            cycle=case.cycle,
            outcome=case.outcome,
            planned_until=case.planned_until,
            document=self._document(case.id, _result_seq(events)),
            extension_asked=_asked(case.extension_seq, events),
            rejection_proposed=_asked(case.rejection_seq, events),
            directive=_asked(case.directive_seq, events),
            rating=case.rating,
            photos=self._photos(case, report, place, noted=any(event.verb == "note" for event, _ in events)),
            clocks=_clocks(session, case, replanned=any(rules.supersedes(event.verb) for event, _ in events)),
            hops=[self._hop(hop) for hop in _hops(session, case.id)],
            events=[self._event(event, body, pins) for event, body in events],
            allowed_actions=allowed_actions(session, seen),
        )

    def report(self, seen: Seen, *, mine: bool) -> ReportOut:
        """A report as its author sees it, or as the public does."""
        (shown,) = self.reports([seen], mine=mine)
        return shown

    def reports(self, page: Sequence[Seen], *, mine: bool) -> list[ReportOut]:
        """Several reports, all as their author sees them or all as the public does."""
        said = self._said(page, mine=mine)
        media = _report_media(self.session, [seen.report.id for seen in page], public_only=not mine)
        case_ids = [seen.case.id for seen in page]
        after_media = _after_media(self.session, case_ids, public_only=not mine)
        events = history(self.session, case_ids)
        pins = newest_pins(self.session, [seen.case for seen in page]) if mine else {}
        survivors = self._survivors([seen.case for seen in page])
        return [
            self._report(
                seen,
                said[seen.report.id],
                place=pins.get(seen.case.id) or said_place(said[seen.report.id]),
                media=media.get(seen.report.id, []),
                after_media=after_media.get(seen.case.id, []),
                events=events[seen.case.id],
                survivor=survivors.get(seen.case.id),
                mine=mine,
            )
            for seen in page
        ]

    def _said(self, page: Sequence[Seen], *, mine: bool) -> Mapping[UUID, ReportContent | PublicCopy]:
        """What was said, for its author; its public copy for everybody else."""
        ids = [seen.report.id for seen in page]
        found: Sequence[ReportContent | PublicCopy]
        if mine:
            found = self.session.exec(select(ReportContent).where(col(ReportContent.report_id).in_(ids))).all()
        else:
            found = self.session.exec(select(PublicCopy).where(col(PublicCopy.report_id).in_(ids))).all()
        return {row.report_id: row for row in found}

    def _report(
        self,
        seen: Seen,
        said: ReportContent | PublicCopy,
        *,
        place: Pin | None,
        media: list[UUID],
        after_media: list[UUID],
        events: Sequence[tuple[CaseEvent, str | None]],
        survivor: SurvivorOut | None,
        mine: bool,
    ) -> ReportOut:
        case, report = seen.case, seen.report
        content = said if isinstance(said, ReportContent) else None
        return ReportOut(
            id=report.id if mine else None,
            reference=case.reference,
            mine=mine,
            category=case.category_code,
            description=said.description,
            location=_place(place, exact=mine),
            address=content.address if content else None,
            place_text=content.place_text if content else None,
            visibility=report.visibility,
            published=policy.is_public(case, report),
            status=case.state,
            status_text=rules.citizen_word(case.state, self.lang),
            commune=self.unit(case.commune_id),
            unit=self.unit(case.unit_id),
            supporters=case.supporters,
            received_at=case.received_at,
            due_at=case.due_at if case.state in OPEN else None,
            resolved_at=case.resolved_at,
            outcome=case.outcome,
            planned_until=case.planned_until,
            question=_question(case, events) if mine else None,
            rejection=self._rejection(case.reject_code),
            merged_into=survivor,
            rating=case.rating if mine else None,
            media=media,
            after_media=after_media,
            steps=self._steps(events, mine=mine),
            allowed_actions=allowed_actions(self.session, seen) if mine else [],
            version=case.version,
        )

    def public(self, page: Sequence[tuple[Case, PublicCopy]]) -> list[PublicReportOut]:
        """Published reports in a public list."""
        media = _report_media(self.session, [case.report_id for case, _ in page], public_only=True)
        after_media = _after_media(self.session, [case.id for case, _ in page], public_only=True)
        return [
            self._public(case, copy, media.get(case.report_id, []), after_media.get(case.id, [])) for case, copy in page
        ]

    def _public(self, case: Case, copy: PublicCopy, media: list[UUID], after_media: list[UUID]) -> PublicReportOut:
        commune, unit = self.unit(case.commune_id), self.unit(case.unit_id)
        return PublicReportOut(
            reference=case.reference,
            category=case.category_code,
            description=copy.description,
            location=_place(said_place(copy), exact=False),
            commune=commune.name if commune else None,
            unit=unit.name if unit else None,
            status=case.state,
            status_text=rules.citizen_word(case.state, self.lang),
            supporters=case.supporters,
            received_at=case.received_at,
            published_at=copy.published_at,
            resolved_at=case.resolved_at,
            planned_until=case.planned_until,
            media=media,
            after_media=after_media,
        )

    def _document(self, case_id: UUID, seq: int | None) -> DocumentOut | None:
        """The paper that the result of an event rests on."""
        row = self.session.get(CaseDocument, (case_id, seq)) if seq else None
        return DocumentOut(number=row.number, issued_on=row.issued_on) if row else None

    def _common(self, case: Case, description: str) -> dict[str, Any]:
        return {
            "id": case.id,
            "reference": case.reference,
            "category": case.category_code,
            "urgency": case.urgency,
            "state": case.state,
            "summary": description[:SUMMARY_CHARS],
            "supporters": case.supporters,
            "unit": self.unit(case.unit_id),
            "assignee": self._colleague(case.assignee_id),
            "commune": self.unit(case.commune_id),
            "received_at": case.received_at,
            "act_by": case.act_by,
            "due_at": case.due_at,
            "route_reason": case.route_reason,
            "version": case.version,
        }

    def _survivors(self, page: Sequence[Case]) -> dict[UUID, SurvivorOut]:
        """Where the duplicates of a page are followed up, by their own ids."""
        wanted = {case.merged_into for case in page if case.merged_into is not None}
        if not wanted:
            return {}
        rows = self.session.exec(select(Case.id, Case.reference, Case.state).where(col(Case.id).in_(wanted)))
        found = {
            case_id: SurvivorOut(reference=reference, status=state, status_text=rules.citizen_word(state, self.lang))
            for case_id, reference, state in rows
        }
        return {case.id: found[case.merged_into] for case in page if case.merged_into is not None}

    def _rejection(self, code: str | None) -> RejectOut | None:
        known = self.catalogue.reject(code) if code else None
        if known is None:
            return None
        english = self.lang == "en"
        return RejectOut(
            code=known.code,
            name=known.name_en if english else known.name_vi,
            turn_to=known.turn_to_en if english else known.turn_to_vi,
        )

    def _photos(self, case: Case, report: Report, place: Pin | None, *, noted: bool) -> list[PhotoOut]:
        reported = select(Media).join(ReportMedia, col(ReportMedia.media_id) == Media.id)
        after = select(Media).join(CasePhoto, col(CasePhoto.media_id) == Media.id)
        before = self.session.exec(
            reported.where(ReportMedia.report_id == report.id).order_by(col(ReportMedia.position))
        )
        photos = [
            PhotoOut(
                id=media.id,
                kind="report",
                state=photo_state(media),
                hint_distance_m=_far(media, place),
                taken_at=media.exif_taken_at,
            )
            for media in before
        ]
        of_notes = select(Media).join(CaseNotePhoto, col(CaseNotePhoto.media_id) == Media.id)
        afterwards = self.session.exec(after.where(CasePhoto.case_id == case.id)).all()
        in_notes = self.session.exec(of_notes.where(CaseNotePhoto.case_id == case.id)).all() if noted else ()
        kinds: list[tuple[Literal["after", "note"], Sequence[Media]]] = [("after", afterwards), ("note", in_notes)]
        return photos + [
            PhotoOut(id=media.id, kind=kind, state=photo_state(media), taken_at=media.exif_taken_at)
            for kind, found in kinds
            for media in found
        ]

    def _hop(self, hop: CaseHop) -> HopOut:
        return HopOut(
            unit=self.unit(hop.unit_id) or UnitOut(code="?", name="?"),
            cycle=hop.cycle,
            received_at=hop.received_at,
            due_at=hop.due_at,
            accepted_at=hop.accepted_at,
            ended_at=hop.ended_at,
            outcome=hop.outcome,
        )

    def _event(self, event: CaseEvent, body: str | None, pins: Mapping[int, Pin]) -> EventOut:
        kept = event.seq in pins if event.verb == "move_pin" else body is not None
        return EventOut(
            seq=event.seq,
            at=event.at,
            verb=event.verb,
            from_state=event.from_state,
            to_state=event.to_state,
            actor_kind=event.actor_kind,
            unit=self.unit(event.unit_id),
            code=event.code,
            text=body,
            erased=event.seq > 1 and event.commitment is not None and not kept,
            hash=event.hash.hex(),
        )

    def _steps(self, events: Iterable[tuple[CaseEvent, str | None]], *, mine: bool) -> list[StepOut]:
        """What of the history a citizen may read: changes of state, and what staff wrote for them.

        The public reads only what a dispatcher had read before publishing.
        """
        readable = rules.CITIZEN_READS if mine else rules.PUBLIC_READS
        events = list(events)
        published = max((event.seq for event, _ in events if event.verb == "publish"), default=0)
        return [
            StepOut(
                at=event.at,
                verb=event.verb,
                status=event.to_state,
                status_text=rules.citizen_word(event.to_state, self.lang),
                unit=self.unit(event.unit_id),
                text=body if event.verb in readable and (mine or event.seq < published) else None,
            )
            for event, body in events
            if (event.from_state != event.to_state or (mine and event.verb in rules.CITIZEN_READS))
            and event.verb not in rules.INTERNAL
        ]


def _result_seq(events: Sequence[tuple[CaseEvent, str | None]]) -> int | None:
    """The newest event that says what came of the case."""
    return next((event.seq for event, _ in reversed(events) if event.verb in rules.RESULTS), None)


def _asked(seq: int | None, events: Sequence[tuple[CaseEvent, str | None]]) -> AskedOut | None:
    """What the event `seq` asked for."""
    if seq is None:
        return None
    event, body = events[seq - 1]
    return AskedOut(seq=seq, at=event.at, code=event.code, text=body)


def _question(case: Case, events: Sequence[tuple[CaseEvent, str | None]]) -> str | None:
    """What the citizen is asked now."""
    if case.state != State.WAITING_CITIZEN:
        return None
    return next((body for event, body in reversed(events) if event.verb == "ask"), None)


def _place(place: Pin | None, *, exact: bool = True) -> LocationOut | None:
    """A place on the wire; how exact it is believed to be is nobody's business but its author's and the staff's."""
    if place is None:
        return None
    return LocationOut(lat=place.lat, lon=place.lon, accuracy_m=place.accuracy_m if exact else None)


def _metres(said: Pin | None, place: Pin | None) -> int | None:
    """How far a case was moved from where the citizen said, geodesic on WGS 84; None where it was not."""
    if said is None or place is None or said == place:
        return None
    metres: float = geodesic(said[:2], place[:2]).m
    return round(metres)


def _far(media: Media, place: Pin | None) -> int | None:
    if place is None or media.exif_lat is None or media.exif_lon is None:
        return None
    metres = far_hint((media.exif_lat, media.exif_lon), place[:2])
    return None if metres is None else round(metres)


def _clocks(session: Session, case: Case, *, replanned: bool) -> list[ClockOut]:
    """The clocks of a case, each with the deadlines it had before."""
    before = superseded(session, case.id) if replanned else []
    return [
        ClockOut(
            kind=row.kind,
            cycle=row.cycle,
            started_at=row.started_at,
            due_at=row.due_at,
            stopped_at=row.stopped_at,
            met=row.met,
            breached_at=row.breached_at,
            superseded=[
                SupersededOut.model_validate(each, from_attributes=True)
                for each in before
                if (each.kind, each.started_seq) == (row.kind, row.started_seq)
            ],
        )
        for row in clocks_of(session, case.id)
    ]


def _hops(session: Session, case_id: UUID) -> Sequence[CaseHop]:
    return session.exec(select(CaseHop).where(CaseHop.case_id == case_id).order_by(col(CaseHop.started_seq))).all()


def _report_media(session: Session, report_ids: Sequence[UUID], *, public_only: bool) -> dict[UUID, list[UUID]]:
    """The photos of each report, in the order they were sent."""
    rows = (
        select(ReportMedia.report_id, ReportMedia.media_id)
        .where(col(ReportMedia.report_id).in_(report_ids))
        .order_by(col(ReportMedia.position))
    )
    return _grouped(session.exec(rows.where(col(ReportMedia.is_public)) if public_only else rows))


def _after_media(session: Session, case_ids: Sequence[UUID], *, public_only: bool) -> dict[UUID, list[UUID]]:
    """The photos of afterwards of each case, the first resolution's first."""
    rows = (
        select(CasePhoto.case_id, CasePhoto.media_id)
        .where(col(CasePhoto.case_id).in_(case_ids))
        .order_by(col(CasePhoto.seq), col(CasePhoto.media_id))
    )
    return _grouped(session.exec(rows.where(col(CasePhoto.is_public) if public_only else ~col(CasePhoto.is_withheld))))


def _grouped(pairs: Iterable[tuple[UUID, T]]) -> dict[UUID, list[T]]:
    found: dict[UUID, list[T]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def may_see_photo(session: Session, viewer: Viewer, media: Media) -> bool:
    """Whether somebody may see a photo: through the report or the case it belongs to, with that one's visibility."""
    statement = select(Case, Report, ReportMedia.is_public).join(Report, col(Report.id) == Case.report_id)
    through_report = statement.join(ReportMedia, col(ReportMedia.report_id) == Report.id)
    row = session.exec(through_report.where(ReportMedia.media_id == media.id)).one_or_none()
    if row is None:
        # Proposed and not approved: only who may read the case itself.
        shown = and_(col(CasePhoto.is_public), ~col(CasePhoto.is_withheld))
        after = select(Case, Report, shown).join(Report, col(Report.id) == Case.report_id)
        through_case = after.join(CasePhoto, col(CasePhoto.case_id) == Case.id)
        row = session.exec(through_case.where(CasePhoto.media_id == media.id)).one_or_none()
    if row is None:
        return _may_see_noted(session, viewer, media)
    case, report, is_shown = row
    return policy.may_see_photo(viewer, case, report, directory(session), is_shown=is_shown)


def _may_see_noted(session: Session, viewer: Viewer, media: Media) -> bool:
    """Whether somebody may see a photo of an internal note: staff who may read the case, nobody else."""
    of_note = select(Case).join(CaseNotePhoto, col(CaseNotePhoto.case_id) == Case.id)
    case = session.exec(of_note.where(CaseNotePhoto.media_id == media.id)).one_or_none()
    return case is not None and policy.may_read_case(viewer, case, directory(session))
