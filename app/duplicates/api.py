"""Duplicates over HTTP: citizens are shown what is known already and may support it, staff see what is alike."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from app.boundaries.queries import check_location
from app.cases import queries as cases
from app.cases.api import HeldCase, IfMatch, canonical
from app.cases.queries import Views
from app.cases.rules import Pin
from app.cases.schemas import CaseOut, ReasonIn
from app.core import clock, limits
from app.core.db import Db
from app.core.http import Language
from app.core.limits import Limit
from app.duplicates import actions, queries, rules
from app.duplicates.rules import Said
from app.duplicates.schemas import (
    DuplicatesOut,
    LikelyOut,
    MergeIn,
    ProposedOut,
    SimilarIn,
    SimilarOut,
    SupportOut,
    WarningOut,
    WarningsOut,
)
from app.identity.policy import Citizen, Staff, check_active
from app.media.queries import owned

router = APIRouter(prefix="/v1")

SIMILAR_PER_HOUR = Limit("similar", quota=120, window_s=3600)
SUPPORTS_PER_DAY = Limit("supports", quota=100, window_s=86_400)


@router.post("/reports/similar", operation_id="find_similar_reports", summary="Phản ánh tương tự", tags=["reports"])
def find_similar_reports(body: SimilarIn, citizen: Citizen, session: Db, lang: Language) -> SimilarOut:
    """Open, public reports that are probably the same as what is about to be sent: at most five, the likeliest first.

    A question, though it is a POST: it changes nothing. Private and hidden reports never appear.
    """
    limits.spend(SIMILAR_PER_HOUR, str(citizen.id))
    if body.category is not None:
        cases.offered_category(session, body.category)
    place, now = Pin(**body.location.model_dump()), clock.now()
    check_location(session, *place, now)
    hashes = [media.dhash for media in owned(session, citizen.id, body.media_ids) if media.dhash is not None]
    said = Said(now, body.description, body.category, queries.group_of(session, body.category), hashes)
    found = queries.similar(session, place, said)
    supported = queries.supported(session, citizen.id, [each.case.id for each, _ in found])
    shown = Views(session, lang).public([(each.case, copy) for each, copy in found])
    return SimilarOut(
        items=[
            ProposedOut(
                report=report,
                mine=each.report.account_id == citizen.account_id,
                supported=each.case.id in supported,
                distance_m=round(each.match.metres),
                score=round(each.match.score, 2),
                reasons=rules.reasons(each.match, lang),
            )
            for (each, _), report in zip(found, shown, strict=True)
        ]
    )


class PublicReport:
    """Somebody else's public report, locked, that a citizen wants to support or not."""

    def __init__(self, reference: str, citizen: Citizen, session: Db) -> None:
        limits.spend(SUPPORTS_PER_DAY, str(citizen.id))
        check_active(session, citizen)
        self.session, self.citizen = session, citizen
        self.seen = cases.report_by_reference(session, citizen, canonical(reference), lock=True)

    def shown(self, *, supported: bool) -> SupportOut:
        """How it stands now."""
        case = self.seen.case
        return SupportOut(reference=case.reference, supported=supported, supporters=case.supporters)


Supported = Annotated[PublicReport, Depends()]
_SUPPORT = "/reports/by-reference/{reference}/support"


@router.put(_SUPPORT, operation_id="support_report", summary="Tôi cũng gặp", tags=["reports"])
def support_report(report: Supported) -> SupportOut:
    """Say that one has the same problem; the supporter is told what becomes of it. Doing it again changes nothing."""
    actions.support(report.session, report.citizen, report.seen)
    return report.shown(supported=True)


@router.delete(_SUPPORT, operation_id="withdraw_support", summary="Thôi theo dõi", tags=["reports"])
def withdraw_support(report: Supported) -> SupportOut:
    """Take one's support back, and follow the report no longer."""
    actions.take_support_back(report.session, report.citizen, report.seen)
    return report.shown(supported=False)


@router.get("/cases/{case_id}/duplicates", operation_id="get_duplicates", summary="Hồ sơ trùng", tags=["cases"])
def get_duplicates(case_id: UUID, staff: Staff, session: Db, lang: Language) -> DuplicatesOut:
    """Cases in the caller's scope that are probably the same, with the reasons, and whether the problem is back."""
    seen = cases.case_for_staff(session, staff, case_id)
    return DuplicatesOut(
        likely=[
            LikelyOut(
                id=each.case.id,
                reference=each.case.reference,
                state=each.case.state,
                category=each.case.category_code,
                summary=each.text[: cases.SUMMARY_CHARS],
                supporters=each.case.supporters,
                distance_m=round(each.match.metres),
                score=round(each.match.score, 2),
                parts={part: round(value, 2) for part, value in each.match.parts.items()},
                reasons=rules.reasons(each.match, lang),
            )
            for each in queries.likely(session, staff, seen)
        ],
        merged=cases.duplicates_of(session, seen.case.id),
        recurs=[case.reference for case in queries.recurring(session, staff, seen)],
    )


class HeldForMerge(HeldCase):
    """A case about to be merged, locked with the one that is to survive."""

    def __init__(
        self,
        case_id: UUID,
        body: MergeIn,
        staff: Staff,
        session: Db,
        lang: Language,
        response: Response,
        if_match: IfMatch = None,
    ) -> None:
        self.body, self.into_id = body, actions.lock_together(session, case_id, body.into)
        super().__init__(case_id, staff, session, lang, response, if_match)


class HeldDuplicate(HeldCase):
    """A duplicate about to be told apart again, locked with its survivor."""

    def __init__(
        self, case_id: UUID, staff: Staff, session: Db, lang: Language, response: Response, if_match: IfMatch = None
    ) -> None:
        actions.lock_together(session, case_id, case_id)
        super().__init__(case_id, staff, session, lang, response, if_match)


@router.post("/cases/{case_id}/merge", operation_id="merge_case", summary="Gộp hồ sơ trùng", tags=["cases"])
def merge_case(held: Annotated[HeldForMerge, Depends()]) -> CaseOut:
    """Say that the case is the same problem as another one, which survives; its people follow that one from now on."""
    actions.merge(held.session, held.staff, held.seen, held.into_id, held.body.reason)
    return held.shown()


@router.post("/cases/{case_id}/unmerge", operation_id="unmerge_case", summary="Tách hồ sơ", tags=["cases"])
def unmerge_case(held: Annotated[HeldDuplicate, Depends()], body: ReasonIn) -> CaseOut:
    """Say that the case is no duplicate after all: it stands where it stood, and its clocks run on."""
    actions.unmerge(held.session, held.staff, held.seen, body.reason)
    return held.shown()


@router.get(
    "/cases/{case_id}/warnings", operation_id="get_result_warnings", summary="Dấu hiệu bất thường", tags=["cases"]
)
def get_result_warnings(case_id: UUID, staff: Staff, session: Db, lang: Language) -> WarningsOut:
    """What should make somebody look twice at the latest result: a photo that repeats or is old, a note used again.

    Warnings, never refusals. Photos count once they are processed, seconds after the result.
    """
    seen = cases.case_for_staff(session, staff, case_id)
    found = queries.result_warnings(session, seen.case)
    return WarningsOut(items=[WarningOut(code=code, text=rules.WARNINGS[code][lang == "en"]) for code in found])
