"""Who may see a case, and in which capacity they act on it. Every scope check about cases lives here."""

from uuid import UUID

from sqlalchemy import ColumnElement, and_, false, true
from sqlmodel import col, select

from app.cases.models import Case, CaseCooperation, CaseHop
from app.cases.rules import HELD, SHOWABLE, STAFF, Who
from app.core import clock
from app.identity.policy import Viewer
from app.orgunits.queries import Directory
from app.reports.models import Report

# Roles that see every case of the province; only the dispatcher acts.
PROVINCE_READERS = ("dispatcher", "leader", "auditor")
UNIT_READERS = ("officer", "lead", "leader")


def capacities(viewer: Viewer, case: Case, report: Report, directory: Directory) -> frozenset[Who]:
    """In which capacities `viewer` may act on this case; empty when only reading, or nothing, is allowed."""
    who: set[Who] = set()
    if viewer.kind == "citizen" and viewer.account_id == report.account_id:
        who.add(Who.CITIZEN)
    if viewer.kind == "staff":
        if viewer.has("dispatcher"):
            who.add(Who.DISPATCHER)
        if _holds(viewer, ("officer",), case, directory):
            who.add(Who.OFFICER)
        if _holds(viewer, ("lead",), case, directory):
            who.add(Who.LEAD)
        led = viewer.units(("leader",), directory)
        if led is None or case.unit_id in led:
            who.add(Who.LEADER)
        if _helps(viewer, ("officer", "lead"), case, directory):
            who.add(Who.HELPER)
    return frozenset(who)


def may_read_case(viewer: Viewer, case: Case, directory: Directory) -> bool:
    """Whether staff may open this case: province roles any, unit roles those their unit holds, or helps with, now."""
    if viewer.kind != "staff":
        return False
    is_units = _holds(viewer, UNIT_READERS, case, directory) or _helps(viewer, UNIT_READERS, case, directory)
    return is_units or _reads_province(viewer)


def may_read_report(viewer: Viewer, case: Case, report: Report) -> bool:
    """Whether somebody may open a report through the citizens' side: its author, or anybody once it is public."""
    return viewer.account_id == report.account_id or is_public(case, report)


def is_public(case: Case, report: Report) -> bool:
    """Published, not hidden, meant for the public and neither refused nor taken back. `public_only` is the twin in SQL.

    What its author withdrew, or a dispatcher refused as abusive, does not stay on the map.
    """
    is_shown = case.published_at is not None and case.hidden_at is None
    return is_shown and report.visibility == "public" and case.state in SHOWABLE


def public_only() -> ColumnElement[bool]:
    """`is_public` as a condition on Case joined with Report."""
    return and_(
        col(Report.visibility) == "public",
        col(Case.published_at).is_not(None),
        col(Case.hidden_at).is_(None),
        col(Case.state).in_(SHOWABLE),
    )


def may_see_photo(viewer: Viewer, case: Case, report: Report, directory: Directory, *, is_shown: bool) -> bool:
    """Whether somebody may see a photo of a case: its reporter, staff who may read it, anybody once it is shown."""
    if viewer.kind == "citizen" and viewer.account_id == report.account_id:
        return True
    return (is_shown and is_public(case, report)) or may_read_case(viewer, case, directory)


def may_call(case: Case, report: Report, who: frozenset[Who]) -> bool:
    """Whether a unit may read the reporter's phone number: with the citizen's permission, while it has the case."""
    return report.allow_call and bool(who & STAFF) and case.state in HELD


def may_transfer_to(viewer: Viewer, who: frozenset[Who], target: UUID, directory: Directory) -> bool:
    """A dispatcher gives a case to any unit, a lead within the tree of the own unit."""
    if Who.DISPATCHER in who or Who.LEAD not in who:
        return True
    units = viewer.units(("lead",), directory)
    return units is None or target in units


def visible_to(viewer: Viewer, directory: Directory) -> ColumnElement[bool]:
    """The cases that are a person's own to read, as a condition on Case; those a unit helps with: `helped_by`."""
    if viewer.kind != "staff":
        return false()
    if _reads_province(viewer):
        return true()
    units = _units(viewer, UNIT_READERS, directory)
    return true() if units is None else col(Case.unit_id).in_(units)


def helped_by(viewer: Viewer, directory: Directory) -> ColumnElement[bool]:
    """Cases that other units hold and the units of this person help with, as a condition on Case."""
    running = select(CaseCooperation.case_id).where(col(CaseCooperation.until).is_(None))
    units = None if _reads_province(viewer) else viewer.units(UNIT_READERS, directory)
    if units is not None:
        running = running.where(col(CaseCooperation.unit_id).in_(units))
    return col(Case.id).in_(running)


def left(viewer: Viewer, directory: Directory) -> ColumnElement[bool]:
    """Stays, over or not, at the units whose cases somebody may read: that a case was there is no secret to them."""
    if viewer.kind != "staff":
        return false()
    units = None if _reads_province(viewer) else _units(viewer, UNIT_READERS, directory)
    return true() if units is None else col(CaseHop.unit_id).in_(units)


def _reads_province(viewer: Viewer) -> bool:
    return any(grant.role in PROVINCE_READERS and grant.unit_id is None for grant in viewer.grants)


def _helps(viewer: Viewer, roles: tuple[str, ...], case: Case, directory: Directory) -> bool:
    if not case.helper_ids:
        return False
    units = viewer.units(roles, directory)
    return units is None or not units.isdisjoint(case.helper_ids)


def _holds(viewer: Viewer, roles: tuple[str, ...], case: Case, directory: Directory) -> bool:
    if case.unit_id is None:
        return False
    units = _units(viewer, roles, directory)
    return units is None or case.unit_id in units


def _units(viewer: Viewer, roles: tuple[str, ...], directory: Directory) -> frozenset[UUID] | None:
    """The units in which a role counts, with those that ended and that they follow as a whole; None: the province.

    What was done stays at the unit that did it: its one heir reads it, and answers for it should it come back.
    """
    units = viewer.units(roles, directory)
    return None if units is None else directory.standing_for(units, clock.local_day(clock.now()))
