"""Reading planned changes, and what each will do."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import date
from typing import cast
from uuid import UUID

from sqlmodel import col, select

from app.boundaries.queries import boundaries_in_force, heir
from app.cases.models import Case, CasePin
from app.cases.queries import newest_pin, place_columns
from app.cases.rules import HELD
from app.catalog.queries import catalogue
from app.core import clock
from app.core.db import Session
from app.core.errors import NOT_FOUND, DomainError
from app.core.http import Lang
from app.identity.models import Membership
from app.identity.queries import held_in, lapsed_roles, staff_names
from app.orgunits.queries import Directory, directory, name_of
from app.orgunits.schemas import Kind
from app.reforms.models import UnitChange, UnitChangeStaff, UnitChangeUnit
from app.reforms.rules import ENDING, ChangeKind
from app.reforms.schemas import (
    AmendedOut,
    CasesGoOut,
    CategoryNamedOut,
    ChangedUnitOut,
    LapsedRoleOut,
    PreviewOut,
    RuleNamedOut,
    StaffGoOut,
    Status,
    UnitBriefOut,
    UnitChangeOut,
)
from app.reports.models import ReportContent
from app.routing.queries import rule_book

WARNINGS = {
    "no_boundaries": (
        "Chưa có ranh giới cho ngày hiệu lực; hồ sơ của đơn vị bị chia sẽ chuyển về điều phối.",
        "There are no surveyed boundaries with the new units yet: cases of split units will go to a dispatcher.",
    ),
}


def one(session: Session, change_id: UUID, *, lock: bool = False) -> UnitChange:
    """A change by id; NOT_FOUND where there is none."""
    statement = select(UnitChange).where(UnitChange.id == change_id)
    found = session.exec(statement.with_for_update() if lock else statement).one_or_none()
    if found is None:
        raise NOT_FOUND.error()
    return found


def listed(session: Session, *, status: Status | None, after: UUID | None, limit: int) -> Sequence[UnitChange]:
    """Changes in the order they were planned, the newest first; keyset by id."""
    statement = select(UnitChange).order_by(col(UnitChange.id).desc()).limit(limit)
    if after is not None:
        statement = statement.where(col(UnitChange.id) < after)
    match status:
        case "planned":
            statement = statement.where(col(UnitChange.applied_at).is_(None), col(UnitChange.cancelled_at).is_(None))
        case "applied":
            statement = statement.where(col(UnitChange.applied_at).is_not(None))
        case "cancelled":
            statement = statement.where(col(UnitChange.cancelled_at).is_not(None))
        case None:
            pass
    return session.exec(statement).all()


def due(session: Session, day: date) -> Sequence[UUID]:
    """The planned changes whose day has come, the earliest first."""
    return session.exec(
        select(UnitChange.id)
        .where(
            col(UnitChange.applied_at).is_(None),
            col(UnitChange.cancelled_at).is_(None),
            col(UnitChange.effective) <= day,
        )
        .order_by(col(UnitChange.effective), col(UnitChange.id))
    ).all()


def units_of(session: Session, change_id: UUID, part: str) -> tuple[UUID, ...]:
    """The units a change concerns in one part: source, begins or receives."""
    statement = select(UnitChangeUnit.unit_id).where(UnitChangeUnit.change_id == change_id, UnitChangeUnit.part == part)
    return tuple(session.exec(statement))


def planned_units(session: Session) -> frozenset[UUID]:
    """The units that planned changes end, change or begin."""
    statement = (
        select(UnitChangeUnit.unit_id)
        .join(UnitChange, col(UnitChange.id) == UnitChangeUnit.change_id)
        .where(
            UnitChangeUnit.part != "receives",
            col(UnitChange.applied_at).is_(None),
            col(UnitChange.cancelled_at).is_(None),
        )
    )
    return frozenset(session.exec(statement))


def mapped_staff(session: Session, unit_ids: Collection[UUID]) -> dict[UUID, UUID]:
    """To which unit each role held in these units was mapped by hand."""
    statement = (
        select(UnitChangeStaff.membership_id, UnitChangeStaff.unit_id)
        .join(Membership, col(Membership.id) == UnitChangeStaff.membership_id)
        .join(UnitChange, col(UnitChange.id) == UnitChangeStaff.change_id)
        .where(col(Membership.unit_id).in_(unit_ids), col(UnitChange.cancelled_at).is_(None))
    )
    return dict(session.exec(statement).all())


class Shown:
    """Changes as the API shows them."""

    def __init__(self, session: Session, lang: Lang) -> None:
        self.session, self.lang = session, lang
        self.units: Directory = directory(session)

    def change(self, row: UnitChange) -> UnitChangeOut:
        """One change."""
        links = self.session.exec(select(UnitChangeUnit).where(UnitChangeUnit.change_id == row.id)).all()
        above = self.units.by_id(row.parent_id) if row.parent_id else None
        sources = [link.unit_id for link in links if link.part == "source"]
        shown = [
            ChangedUnitOut.model_validate({"part": link.part, **self.brief(link.unit_id).model_dump()})
            for link in links
        ]
        return UnitChangeOut(
            id=row.id,
            kind=cast("ChangeKind", row.kind),
            status="applied" if row.applied_at else "cancelled" if row.cancelled_at else "planned",
            effective=row.effective,
            decision=row.decision,
            note=row.note,
            units=sorted(shown, key=lambda unit: (unit.part, unit.code)),
            name=row.name,
            name_en=row.name_en,
            new_kind=cast("Kind | None", row.new_kind),
            parent=above.code if above else None,
            actor_id=row.actor_id,
            created_at=row.created_at,
            applied_at=row.applied_at,
            cancelled_at=row.cancelled_at,
            cancelled_by=row.cancelled_by,
            open_cases=len(self._open_cases(sources)) if row.kind in ENDING and not row.cancelled_at else 0,
            stuck=self._stuck(sources) if row.kind in ENDING and row.applied_at else [],
            lapsed_roles=self._lapsed(sources) if row.kind in ENDING and row.applied_at else [],
        )

    def _stuck(self, unit_ids: Collection[UUID]) -> list[str]:
        failed = select(Case.reference).where(
            col(Case.unit_id).in_(unit_ids), col(Case.state).in_(HELD), col(Case.follow_attempts) > 0
        )
        return list(self.session.exec(failed.order_by(Case.reference)))

    def _lapsed(self, unit_ids: Collection[UUID]) -> list[LapsedRoleOut]:
        found = lapsed_roles(self.session, unit_ids)
        names = staff_names(self.session, {each.account_id for each in found})
        return [
            LapsedRoleOut(
                account_id=each.account_id,
                name=names.get(each.account_id, ""),
                role=each.role,
                unit=self.brief(each.unit_id).code,
            )
            for each in found
        ]

    def preview(self, row: UnitChange) -> PreviewOut:
        """What a planned change will do, as things stand now."""
        sources = units_of(self.session, row.id, "source")
        ends = sources if row.kind in ENDING else ()
        unsure = row.kind == "split" and self._without_areas(row)
        return PreviewOut(
            change=self.change(row),
            ends=[self.brief(each) for each in ends],
            begins=[self.brief(each) for each in units_of(self.session, row.id, "begins")],
            amended=list(self._amended(row, sources)),
            cases=self._cases(ends, row.effective),
            staff=list(self._staff(ends, row.effective)),
            rules=list(self._rules(ends, row.effective)),
            categories=list(self._categories(ends, row.effective)),
            warnings=[WARNINGS["no_boundaries"][self.lang == "en"]] if unsure else [],
        )

    def brief(self, unit_id: UUID) -> UnitBriefOut:
        """A unit by code and name."""
        unit = self.units.by_id(unit_id)
        return UnitBriefOut(id=unit_id, code=unit.code if unit else "?", name=name_of(unit, self.lang) if unit else "?")

    def _heir(self, unit_id: UUID, day: date, point: tuple[float, float] | None = None) -> UnitBriefOut | None:
        found = heir(self.session, unit_id, point, day)
        return self.brief(found) if found else None

    def _without_areas(self, row: UnitChange) -> bool:
        """Whether no surveyed boundaries took effect on the day that know the new order."""
        try:
            version = boundaries_in_force(self.session, clock.local_noon(row.effective))
        except DomainError:
            return True
        return version.accuracy == "approximate" or version.effective_from < row.effective

    def _amended(self, row: UnitChange, sources: Sequence[UUID]) -> Iterator[AmendedOut]:
        units = [unit for each in sources if (unit := self.units.by_id(each))]
        if row.kind in ENDING:
            heirs = [step.to_id for unit in units for step in self.units.successors(unit.id)]
            units = [child for unit in units for child in self.units.children(unit.id) if child.exists(row.effective)]
            parent_id = heirs[0] if heirs else None
        else:
            parent_id = row.parent_id
        for unit in units:
            above_id = parent_id or unit.parent_id
            above = self.units.by_id(above_id) if above_id else None
            own = row.kind not in ENDING
            yield AmendedOut(
                unit=self.brief(unit.id),
                name=(row.name if own else None) or unit.name,
                kind=cast("Kind", (row.new_kind if own else None) or unit.kind),
                parent=above.code if above else None,
            )

    def _open_cases(self, unit_ids: Collection[UUID]) -> Sequence[tuple[UUID | None, float | None, float | None]]:
        statement = (
            select(col(Case.unit_id), *place_columns())
            .join(ReportContent, col(ReportContent.report_id) == Case.report_id)
            .outerjoin(CasePin, newest_pin())
            .where(col(Case.unit_id).in_(unit_ids), col(Case.state).in_(HELD))
        )
        return self.session.exec(statement).all()

    def _cases(self, ends: Collection[UUID], day: date) -> list[CasesGoOut]:
        counted: Counter[tuple[UUID, UUID | None]] = Counter()
        for unit_id, lat, lon in self._open_cases(ends):
            assert unit_id is not None
            point = (lat, lon) if lat is not None and lon is not None else None
            counted[unit_id, heir(self.session, unit_id, point, day)] += 1
        found = [
            CasesGoOut(source=self.brief(source), to=self.brief(to) if to else None, number=number)
            for (source, to), number in counted.items()
        ]
        return sorted(found, key=lambda each: (each.source.code, each.to.code if each.to else ""))

    def _staff(self, ends: Collection[UUID], day: date) -> Iterator[StaffGoOut]:
        held = held_in(self.session, ends, clock.now())
        names = staff_names(self.session, {each.account_id for each in held})
        mapped = mapped_staff(self.session, ends)
        for each in held:
            assert each.unit_id is not None
            to = mapped.get(each.id)
            yield StaffGoOut(
                membership_id=each.id,
                account_id=each.account_id,
                name=names.get(each.account_id, ""),
                role=each.role,
                source=self.brief(each.unit_id),
                to=self.brief(to) if to else self._heir(each.unit_id, day),
            )

    def _rules(self, ends: Collection[UUID], day: date) -> Iterator[RuleNamedOut]:
        for rule in rule_book(self.session).rules:
            if rule.valid_to is not None and rule.valid_to <= day:
                continue
            named = {rule.unit_id, rule.commune_id, *rule.commune_ids, *rule.cooperating}
            for each in (unit_id for unit_id in ends if unit_id in named):
                yield RuleNamedOut(id=rule.id, unit=self.brief(each), heir=self._heir(each, day))

    def _categories(self, ends: Collection[UUID], day: date) -> Iterator[CategoryNamedOut]:
        for category in catalogue(self.session).categories:
            code = category.default_unit_code
            unit = self.units.latest(code, clock.local_day(clock.now())) if code else None
            if unit is not None and unit.id in ends:
                yield CategoryNamedOut(code=category.code, unit=self.brief(unit.id), heir=self._heir(unit.id, day))
