"""Finding what is alike: a bounded handful of cases near in place, by indexes, ranked by `rules.compare`."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, TextClause, and_, func, text
from sqlmodel import col, select

from app.cases import policy as case_policy
from app.cases import queries as cases
from app.cases.models import Case, CaseEvent, CaseHop, CasePhoto, CasePin, CaseSupport, CaseText, quoted
from app.cases.queries import Seen
from app.cases.rules import OPEN, Pin, State
from app.catalog.queries import catalogue
from app.core.db import Session
from app.duplicates import rules
from app.duplicates.rules import Match, Photo, Said, Suspicion
from app.identity.policy import Viewer
from app.media.models import Media
from app.orgunits.queries import directory
from app.reports.models import PublicCopy, Report, ReportContent, ReportMedia

T = TypeVar("T")
# The latest of those that are near: a problem that thirty people reported is the same one in the first five.
CANDIDATES = 200


class Likely(NamedTuple):
    """A case that is probably the same problem, and why. `text`: what it says, to whoever asked."""

    case: Case
    report: Report
    text: str
    match: Match


class _Near(NamedTuple):
    case: Case
    report: Report
    text: str
    place: tuple[float, float]


# --- for citizens: what is open and public -------------------------------------------------------------------------


def similar(session: Session, place: Pin, said: Said) -> list[tuple[Likely, PublicCopy]]:
    """At most five open, public cases that are probably the same, the likeliest first. Private and hidden: never.

    Compared by their public copies alone: what was redacted or coarsened cannot be probed for.
    """
    slack = {each.code: each.coarsen_m * _HALF_DIAGONAL for each in catalogue(session).categories}
    west, south, east, north = rules.around(place.lat, place.lon, rules.NEAR_M + max(slack.values(), default=0))
    box = text("point(public_copy.lon, public_copy.lat) <@ box(point(:west, :south), point(:east, :north))")
    statement = (
        select(Case, Report, PublicCopy)
        .join(Report, col(Report.id) == Case.report_id)
        .join(PublicCopy, col(PublicCopy.report_id) == Case.report_id)
        .where(box.bindparams(west=west, south=south, east=east, north=north))
        .where(case_policy.public_only(), col(Case.state).in_(OPEN))
        .order_by(col(Case.received_at).desc())
        .limit(CANDIDATES)
    )
    rows = session.exec(statement).all()
    hashes = _hashes(session, [report.id for _, report, _ in rows], public_only=True) if said.hashes else {}
    found: list[tuple[Likely, PublicCopy]] = []
    for case, report, copy in rows:
        assert copy.lat is not None
        assert copy.lon is not None
        metres = rules.metres_apart((place.lat, place.lon), (copy.lat, copy.lon))
        other = _said(session, case, copy.description, hashes.get(report.id, ()))
        match = rules.compare(said, other, max(0.0, metres - slack.get(case.category_code, 0)))
        found.append((Likely(case, report, copy.description, match), copy))
    return _best(found, key=lambda each: each[0])


# A coarsened place is the middle of a square: so far away, of its side, may the real one lie.
_HALF_DIAGONAL = 0.7072


def supported(session: Session, account_id: UUID, case_ids: Collection[UUID]) -> set[UUID]:
    """Which of these cases somebody supports."""
    rows = select(CaseSupport.case_id).where(
        CaseSupport.account_id == account_id, col(CaseSupport.case_id).in_(case_ids)
    )
    return set(session.exec(rows))


# --- for staff: what is in scope -----------------------------------------------------------------------------------

# By the exact place, of the report or of the newest pin; both read from an index on the latitude first.
_NEAR = """
case_file.id IN (
    SELECT here.id FROM report_content said JOIN case_file here ON here.report_id = said.report_id
    WHERE said.lat BETWEEN :south AND :north AND said.lon BETWEEN :west AND :east AND here.pin_seq IS NULL
    UNION ALL
    SELECT moved.id FROM case_pin pin JOIN case_file moved ON moved.id = pin.case_id AND moved.pin_seq = pin.seq
    WHERE pin.lat BETWEEN :south AND :north AND pin.lon BETWEEN :west AND :east)
"""
_STILL_HERE = text(f"case_file.state IN ({quoted((*OPEN, State.RESOLVED))})")


def likely(session: Session, viewer: Viewer, seen: Seen) -> list[Likely]:
    """At most five other cases, open or just resolved, that are probably the same; of those this person may see."""
    place = cases.place_of(session, seen.case)
    if place is None:
        return []
    near = _near(session, viewer, seen.case, place, metres=rules.NEAR_M, wanted=_STILL_HERE)
    hashes = _hashes(session, [seen.report.id, *(each.report.id for each in near)])
    content = session.get_one(ReportContent, seen.report.id)
    said = _said(session, seen.case, content.description, hashes.get(seen.report.id, ()))
    found = [
        Likely(
            each.case,
            each.report,
            each.text,
            rules.compare(
                said,
                _said(session, each.case, each.text, hashes.get(each.report.id, ())),
                rules.metres_apart(place[:2], each.place),
            ),
        )
        for each in near
    ]
    return _best(found, key=lambda each: each)


def recurring(session: Session, viewer: Viewer, seen: Seen) -> list[Case]:
    """The earlier cases of the same category and spot that this one follows within 90 days, the latest first."""
    place = cases.place_of(session, seen.case)
    if place is None:
        return []
    wanted = text("case_file.category_code = :category AND case_file.resolved_at <= :received").bindparams(
        category=seen.case.category_code, received=seen.case.received_at
    )
    return [
        each.case
        for each in _near(session, viewer, seen.case, place, metres=rules.SPOT_M, wanted=wanted)
        if each.case.resolved_at is not None
        and rules.recurs(rules.metres_apart(place[:2], each.place), each.case.resolved_at, seen.case.received_at)
    ]


def _near(
    session: Session, viewer: Viewer, case: Case, place: Pin, *, metres: float, wanted: ColumnElement[bool] | TextClause
) -> list[_Near]:
    """Other cases around a place that this person may see, the latest first, never more than `CANDIDATES`."""
    west, south, east, north = rules.around(place.lat, place.lon, metres)
    statement = (
        select(Case, Report, ReportContent, CasePin)
        .join(Report, col(Report.id) == Case.report_id)
        .join(ReportContent, col(ReportContent.report_id) == Case.report_id)
        .outerjoin(CasePin, cases.newest_pin())
        .where(text(_NEAR).bindparams(west=west, south=south, east=east, north=north))
        .where(wanted, col(Case.id) != case.id, case_policy.visible_to(viewer, directory(session)))
        .order_by(col(Case.received_at).desc())
        .limit(CANDIDATES)
    )
    return [
        _Near(found, report, content.description, (at.lat, at.lon))
        for found, report, content, moved in session.exec(statement)
        if (at := moved or cases.said_place(content)) is not None
    ]


# --- duplicates ----------------------------------------------------------------------------------------------------


def came_along(session: Session, survivor_id: UUID, reference: str) -> set[UUID]:
    """The duplicates of a survivor that came to it with another one: they had been merged into that one before.

    Each merge names in its event what the case was judged the same as; that is kept whatever follows.
    """
    latest = (
        select(CaseEvent.case_id, func.max(CaseEvent.seq).label("seq"))
        .join(Case, col(Case.id) == CaseEvent.case_id)
        .where(Case.merged_into == survivor_id, CaseEvent.verb == "merge")
        .group_by(col(CaseEvent.case_id))
        .subquery()
    )
    judged = session.exec(
        select(Case.id, Case.reference, CaseEvent.code)
        .join(CaseEvent, col(CaseEvent.case_id) == Case.id)
        .join(latest, and_(latest.c.case_id == CaseEvent.case_id, latest.c.seq == CaseEvent.seq))
    ).all()
    found, named = set[UUID](), {reference}
    while fresh := [(each, own) for each, own, code in judged if code in named and each not in found]:
        found |= {each for each, _ in fresh}
        named |= {own for _, own in fresh}
    return found


# --- closures for show ---------------------------------------------------------------------------------------------

# So many of a unit's latest results are read for notes that repeat.
_NOTES_READ = 300
_RESULTS = ("resolve", "propose")


def result_warnings(session: Session, case: Case) -> list[Suspicion]:
    """What should make somebody look twice at the latest result of a case; nothing where there is none."""
    result = session.exec(
        select(CaseEvent, CaseText.body)
        .join(CaseText, _told_by_event(), isouter=True)
        .where(CaseEvent.case_id == case.id, col(CaseEvent.verb).in_(_RESULTS))
        .order_by(col(CaseEvent.seq).desc())
        .limit(1)
    ).first()
    if result is None:
        return []
    event, note = result
    before = select(Media).join(ReportMedia, col(ReportMedia.media_id) == Media.id)
    after = select(Media).join(CasePhoto, col(CasePhoto.media_id) == Media.id)
    return rules.suspicions(
        case.received_at,
        [Photo(each.dhash) for each in session.exec(before.where(ReportMedia.report_id == case.report_id))],
        [
            Photo(each.dhash, each.exif_taken_at)
            for each in session.exec(after.where(CasePhoto.case_id == case.id, CasePhoto.seq == event.seq))
        ],
        note or "",
        _other_notes(session, case, event.unit_id) if note and event.unit_id else [],
    )


def _other_notes(session: Session, case: Case, unit_id: UUID) -> Sequence[str]:
    """The notes under a unit's latest results of other cases."""
    latest = (
        select(CaseHop.case_id)
        .where(CaseHop.unit_id == unit_id, CaseHop.outcome == "resolved", CaseHop.case_id != case.id)
        .order_by(col(CaseHop.received_at).desc())
        .limit(_NOTES_READ)
    )
    return session.exec(
        select(CaseText.body)
        .join(CaseEvent, _told_by_event())
        .where(col(CaseEvent.case_id).in_(latest), CaseEvent.unit_id == unit_id, col(CaseEvent.verb).in_(_RESULTS))
    ).all()


def _told_by_event() -> ColumnElement[bool]:
    return and_(col(CaseText.case_id) == CaseEvent.case_id, col(CaseText.seq) == CaseEvent.seq)


# --- shared --------------------------------------------------------------------------------------------------------


def _said(session: Session, case: Case, description: str, hashes: Sequence[int]) -> Said:
    return Said(case.received_at, description, case.category_code, group_of(session, case.category_code), hashes)


def group_of(session: Session, category: str | None) -> str | None:
    """The group a category belongs to."""
    known = catalogue(session).category(category) if category else None
    return known.group_code if known else None


def _hashes(session: Session, report_ids: Collection[UUID], *, public_only: bool = False) -> Mapping[UUID, list[int]]:
    """The difference hashes of the photos of each report, as far as they are processed."""
    rows = (
        select(ReportMedia.report_id, Media.dhash)
        .join(Media, col(Media.id) == ReportMedia.media_id)
        .where(col(ReportMedia.report_id).in_(report_ids), col(Media.dhash).is_not(None))
    )
    found: dict[UUID, list[int]] = defaultdict(list)
    for report_id, dhash in session.exec(rows.where(col(ReportMedia.is_public)) if public_only else rows):
        if dhash is not None:
            found[report_id].append(dhash)
    return found


def _best(found: Iterable[T], key: Callable[[T], Likely]) -> list[T]:
    """What is likely, the likeliest first, never more than may be proposed."""
    ranked = sorted((each for each in found if key(each).match.is_likely), key=lambda each: -key(each).match.score)
    return ranked[: rules.PROPOSED_MAX]
