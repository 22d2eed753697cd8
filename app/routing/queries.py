"""Facts for a decision, from memory: rules, categories, the place in the boundary of its day. And what rules amount to.

Shapely is loaded with the first polygon, not with this module.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, NoReturn
from uuid import UUID

from sqlalchemy import case, func, or_, text, tuple_
from sqlmodel import col, select

from app.assets.queries import ClassInfo, Near, asset_classes, near, scanned
from app.boundaries.models import Boundary
from app.boundaries.queries import Placement, boundaries_in_force, heir, locate
from app.cases.models import Case, CaseEvent, CasePin
from app.cases.queries import newest_pin, place_columns
from app.cases.rules import OPEN
from app.cases.schemas import UnitOut
from app.catalog.queries import catalogue
from app.catalog.rules import Category, Group
from app.core import clock
from app.core.db import Session
from app.core.geo import is_swapped
from app.core.http import Lang
from app.core.paging import cut, decode_cursor
from app.core.versioned import Versioned
from app.orgunits.queries import Directory, UnitInfo, directory, name_of
from app.reports.models import ReportContent
from app.routing.models import RoutingRule, RoutingRuleCommune, RoutingRuleHelper
from app.routing.rules import (
    Cell,
    Decision,
    Nearby,
    Place,
    RuleRow,
    Subject,
    World,
    base_rules,
    conflicts,
    decide,
    unreachable,
    verdicts,
)
from app.routing.schemas import (
    POLYGON_INVALID,
    AreaOut,
    ExplanationOut,
    FindingOut,
    Hours,
    PolygonIn,
    RuleOut,
    RuleRef,
    Step,
    Words,
)

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from app.boundaries.rules import PointIndex

TOPIC = "routing"
MAX_ATTEMPTS = 5
Point = tuple[float, float, float]


class RuleBook:
    """All rules of all times at one moment of the configuration, with the shapes of those that were drawn."""

    def __init__(self, rules: Iterable[RuleRow], shapes: "Mapping[UUID, BaseGeometry]") -> None:
        self.rules = tuple(sorted(rules, key=lambda rule: rule.id))
        self.shapes = dict(shapes)
        self._of_category: dict[str, list[RuleRow]] = defaultdict(list)
        self._of_group: dict[str, list[RuleRow]] = defaultdict(list)
        for rule in self.rules:
            if rule.category is not None:
                self._of_category[rule.category].append(rule)
            elif rule.group is not None:
                self._of_group[rule.group].append(rule)

    def about(self, category: str, group: str) -> list[RuleRow]:
        """The rules that may say something about a category."""
        return [*self._of_category.get(category, ()), *self._of_group.get(group, ())]

    def about_any(self, categories: Iterable[Category]) -> "RuleBook":
        """The rules that may say something about one of these categories."""
        kept = {rule.id: rule for each in categories for rule in self.about(each.code, each.group_code)}
        return RuleBook(kept.values(), self.shapes)

    def changed(
        self, *, add: RuleRow | None = None, shape: "BaseGeometry | None" = None, drop: UUID | None = None
    ) -> "RuleBook":
        """The book as it would be."""
        rules = [rule for rule in self.rules if rule.id != drop]
        if add is None:
            return RuleBook(rules, self.shapes)
        return RuleBook([*rules, add], self.shapes | ({add.id: shape} if shape is not None else {}))

    def holding(self, rules: Iterable[RuleRow], lat: float, lon: float) -> frozenset[UUID]:
        """Which of `rules` were drawn around a point; a point on the line is in neither."""
        drawn = [rule.id for rule in rules if rule.polygon]
        if not drawn:
            return frozenset()
        from shapely import contains_xy  # noqa: PLC0415 - only drawn rules load it

        return frozenset(each for each in drawn if contains_xy(self.shapes[each], lon, lat))


def row_of(rule: RoutingRule, communes: Iterable[UUID] = (), helpers: Iterable[UUID] = ()) -> RuleRow:
    """A stored rule as the decision sees it."""
    return RuleRow(
        id=rule.id,
        unit_id=rule.unit_id,
        priority=rule.priority,
        valid_from=rule.valid_from,
        valid_to=rule.valid_to,
        category=rule.category_code,
        group=rule.group_code,
        commune_id=rule.commune_id,
        commune_ids=frozenset(communes),
        polygon=rule.polygon is not None,
        asset_class=rule.asset_class,
        within_m=rule.within_m or 0.0,
        to_manager=rule.to_manager,
        weekdays=frozenset(rule.weekdays),
        starts=rule.starts,
        ends=rule.ends,
        cooperating=tuple(sorted(helpers)),
        area_name=rule.area_name,
    )


def read_rules(session: Session) -> RuleBook:
    """All rules, read now: for who checks a change, behind the lock that `actions` takes."""
    communes, helpers = defaultdict(list), defaultdict(list)
    for member in session.exec(select(RoutingRuleCommune)):
        communes[member.rule_id].append(member.commune_id)
    for helper in session.exec(select(RoutingRuleHelper)):
        helpers[helper.rule_id].append(helper.unit_id)
    stored = session.exec(select(RoutingRule)).all()
    return RuleBook(
        [row_of(rule, communes[rule.id], helpers[rule.id]) for rule in stored],
        {rule.id: read_shape(rule.polygon) for rule in stored if rule.polygon is not None},
    )


def read_shape(wkb: bytes) -> "BaseGeometry":
    """A stored shape, ready to be asked."""
    import shapely  # noqa: PLC0415 - only drawn rules load it

    shape = shapely.from_wkb(bytes(wkb))
    shapely.prepare(shape)
    return shape


_rules: Versioned[RuleBook] = Versioned(TOPIC, read_rules)


def rule_book(session: Session) -> RuleBook:
    """All rules, from memory, at most two seconds old."""
    return _rules.get(session)


# Deciding ----------------------------------------------------------------------------------------------------------


class Considered(NamedTuple):
    """A decision with everything it rests on."""

    subject: Subject
    place: Place
    rules: Sequence[RuleRow]
    at: datetime
    decision: Decision
    placement: Placement | None


def decision_for(
    session: Session,
    category: Category,
    point: Point | None,
    stated_id: UUID | None,
    received_at: datetime,
    *,
    confirmed_id: UUID | None = None,
    asset_id: UUID | None = None,
) -> tuple[Decision, Placement | None]:
    """Where a report goes, by the rules and boundaries in force when it was received.

    `point` is latitude, longitude (WGS 84 degrees) and accuracy in metres. A commune that a dispatcher confirmed for it
    is certain, whatever the boundaries are worth. The asset whose sticker was scanned is the nearest, whatever the
    phone believes of its place; its manager is suggested where nothing decides. A unit that has ended since is replaced
    by its successor; where that is not clear a person decides.
    """
    considered = consider(
        session, category, point, stated_id, received_at, confirmed_id=confirmed_id, asset_id=asset_id
    )
    return considered.decision, considered.placement


def consider(
    session: Session,
    category: Category,
    point: Point | None,
    stated_id: UUID | None,
    received_at: datetime,
    *,
    confirmed_id: UUID | None = None,
    asset_id: UUID | None = None,
    book: RuleBook | None = None,
) -> Considered:
    """`decision_for` with its reasons; with `book` by other rules than those stored."""
    book = book or rule_book(session)
    units, at = directory(session), received_at.astimezone(clock.LOCAL)
    rules = book.about(category.code, category.group_code)
    placement = locate(session, *point, received_at) if point else None
    place = Place("none", stated_id=stated_id)
    if placement is not None and point is not None:
        place = Place(
            outcome=placement.outcome,
            commune_id=placement.commune_id,
            candidates=tuple(placement.candidate_ids),
            approximate=placement.approximate,
            stated_id=stated_id,
            inside=book.holding(rules, point[0], point[1]),
            near=_near(session, rules, point, received_at),
        )
    if confirmed_id is not None:
        place = replace(place, commune_id=confirmed_id, approximate=False)
    subject, asset = subject_of(units, category, at.date()), scanned(session, asset_id) if asset_id else None
    if asset is not None:
        place = replace(place, near=(_nearby(asset), *place.near))
    decision = decide(subject, place, rules, at)
    if asset is not None and decision.unit_id is None and asset.manager_id is not None:
        decision = replace(decision, suggested_id=asset.manager_id)
    decision = _in_office(session, units, decision, point)
    return Considered(subject, place, rules, at, decision, placement)


def subject_of(units: Directory, category: Category, day: date) -> Subject:
    """What routing knows of a category on a local day; its own unit may have ended by then."""
    code, unit = category.default_unit_code, None
    if code is not None:
        unit = units.latest(code, day)
    return Subject(category.code, category.group_code, category.level, unit.id if unit else None)


def _in_office(session: Session, units: Directory, decision: Decision, point: Point | None) -> Decision:
    """The decision with successors in the place of units that have ended by now."""
    today = clock.local_day(clock.now())

    def now_there(unit_id: UUID | None) -> UUID | None:
        unit = units.by_id(unit_id) if unit_id else None
        if unit is None or unit.exists(today):
            return unit_id
        return heir(session, unit.id, point[:2] if point else None, today)

    if decision.cooperating:
        helpers = {each for helper in decision.cooperating if (each := now_there(helper))}
        decision = replace(decision, cooperating=tuple(sorted(helpers)))
    if decision.unit_id is None:
        suggested = now_there(decision.suggested_id) if decision.suggested_id else None
        return decision if suggested == decision.suggested_id else replace(decision, suggested_id=suggested)
    successor = now_there(decision.unit_id)
    if successor == decision.unit_id:
        return decision
    ended = units.by_id(decision.unit_id)
    reason = decision.reason if successor else "unit_ended"
    steps = (*decision.steps[:-1], ("successor", ended.code if ended else "?"), ("decision", reason))
    return replace(decision, unit_id=successor, reason=reason, replaced_id=decision.unit_id, steps=steps)


def _near(session: Session, rules: Iterable[RuleRow], point: Point, at: datetime) -> tuple[Nearby, ...]:
    """Assets near a point, asked for only where a rule in force wants to know."""
    day = clock.local_day(at)
    asking = [rule for rule in rules if rule.asset_class and _holds_about(rule, day)]
    if not asking:
        return ()
    classes = {rule.asset_class for rule in asking if rule.asset_class}
    found = near(session, point[0], point[1], max(rule.within_m for rule in asking), at, classes=classes)
    return tuple(map(_nearby, found))


def _nearby(asset: Near) -> Nearby:
    return Nearby(asset.asset_class, asset.distance_m, asset.manager_id, asset.name or asset.code)


def _holds_about(rule: RuleRow, day: date) -> bool:
    """Whether a rule is in force on a day; a span over midnight reaches into the day after its last."""
    return rule.valid_from <= day and (rule.valid_to is None or day <= rule.valid_to)


# What rules amount to ----------------------------------------------------------------------------------------------


def world(session: Session, book: RuleBook, day: date) -> World:
    """Every category offered, and every part of the province that some rule may treat differently, on a local day."""
    units = directory(session)
    return World(
        tuple(subject_of(units, category, day) for category in catalogue(session).categories),
        (*(Cell(unit.id) for unit in units.communes(day)), *_drawn_cells(session, book, day)),
    )


def _drawn_cells(session: Session, book: RuleBook, day: date) -> Iterator[Cell]:
    """The parts into which drawn areas cut the communes."""
    drawn = [rule for rule in book.rules if rule.polygon and (rule.valid_to is None or day < rule.valid_to)]
    if not drawn:
        return
    for commune_id, area in commune_areas(session, day).items():
        parts: list[tuple[BaseGeometry, frozenset[UUID]]] = [(area, frozenset())]
        for rule in drawn:
            shape = book.shapes[rule.id]
            if shape.intersects(area):
                parts = list(_cut(parts, rule.id, shape))
        yield from (Cell(commune_id, inside) for _, inside in parts if inside)


# A hundredth of a square metre, in square degrees: what is smaller came out of rounding.
_NOTHING = 1e-12


def _cut(
    parts: "Iterable[tuple[BaseGeometry, frozenset[UUID]]]", rule_id: UUID, shape: "BaseGeometry"
) -> "Iterator[tuple[BaseGeometry, frozenset[UUID]]]":
    for part, inside in parts:
        common = part.intersection(shape)
        if common.area > _NOTHING:
            yield common, inside | {rule_id}
            part = part.difference(shape)  # noqa: PLW2901 - what is left of it
        if part.area > _NOTHING:
            yield part, inside


def commune_areas(session: Session, day: date) -> "dict[UUID, BaseGeometry]":
    """The areas of the communes by the boundaries in force on a local day."""
    version = boundaries_in_force(session, noon(day))
    rows = session.execute(select(Boundary.unit_id, Boundary.wkb).where(Boundary.version_id == version.id))
    return {unit_id: read_shape(wkb) for unit_id, wkb in rows}


def noon(day: date) -> datetime:
    """The middle of a local day: any moment of it, for what holds all day."""
    return datetime.combine(day, time(12), clock.LOCAL)


class Covered(NamedTuple):
    """Who answers for a category in a commune, the rules that hold there in part, and the one that decides."""

    category: Category
    commune: UnitInfo
    decision: Decision
    exceptions: tuple[RuleRow, ...]
    rule: RuleRow | None


def coverage(
    session: Session, book: RuleBook, day: date, categories: Sequence[Category], communes: Sequence[UnitInfo]
) -> Iterator[Covered]:
    """Category × commune → decision on a local day, for a report from anywhere in the commune at any hour."""
    units = directory(session)
    drawn: dict[UUID | None, set[UUID]] = defaultdict(set)
    for cell in _drawn_cells(session, book, day):
        drawn[cell.commune_id] |= cell.inside
    for category in categories:
        subject = subject_of(units, category, day)
        whole, partial = base_rules(book.about(category.code, category.group_code), day)
        named: dict[UUID | None, RuleRow] = {rule.id: rule for rule in whole}
        for commune in communes:
            place = Place("inside", commune.id, (commune.id,))
            decision = _in_office(session, units, decide(subject, place, whole, noon(day)), None)
            here = tuple(rule for rule in partial if _reaches(rule, commune.id, drawn[commune.id]))
            yield Covered(category, commune, decision, here, named.get(decision.rule_id))


def _reaches(rule: RuleRow, commune_id: UUID, drawn: Collection[UUID]) -> bool:
    if rule.polygon:
        return rule.id in drawn
    return rule.commune_id in (None, commune_id) and (not rule.commune_ids or commune_id in rule.commune_ids)


# What a change would have done -------------------------------------------------------------------------------------

REPLAYED = timedelta(days=30)
MOST_REPLAYED = 5_000


@dataclass(frozen=True, slots=True)
class Replay:
    """Reports decided twice; `moved` holds (reference, unit before, unit after), the newest first."""

    since: datetime
    until: datetime
    received: int
    considered: int
    moved: tuple[tuple[str, UUID | None, UUID | None], ...]

    @property
    def pairs(self) -> list[tuple[tuple[UUID | None, UUID | None], int]]:
        """How many reports move from one unit to another, the most first."""
        return Counter((before, after) for _, before, after in self.moved).most_common()


def replay(session: Session, before: RuleBook, after: RuleBook, categories: Iterable[Category]) -> Replay:
    """Which of last month's reports of these categories go elsewhere by the rules `after`.

    Each is decided by what was in force when it was received, at the place it has by now; at most the newest
    MOST_REPLAYED.
    """
    until = clock.now()
    since = until - REPLAYED
    # Through event 1: its index is the one of receipt.
    chosen = (
        select(Case, ReportContent)
        .join(CaseEvent, col(CaseEvent.case_id) == Case.id)
        .join(ReportContent, col(ReportContent.report_id) == Case.report_id)
        .outerjoin(CasePin, newest_pin())
        .where(text("case_event.seq = 1"), col(CaseEvent.at) >= since, col(CaseEvent.at) < until)
        .where(col(Case.category_code).in_([category.code for category in categories]))
    )
    received = session.execute(chosen.with_only_columns(func.count())).scalar_one()
    columns = (
        col(Case.reference),
        col(Case.category_code),
        col(Case.received_at),
        *place_columns(),
        col(ReportContent.stated_unit_id),
        case((col(Case.commune_confirmed), col(Case.commune_id))),
        case((col(Case.pin_seq).is_(None), col(ReportContent.asset_id))),
    )
    newest = chosen.with_only_columns(*columns).order_by(col(CaseEvent.at).desc()).limit(MOST_REPLAYED)
    rows = session.execute(newest).all()
    moved = []
    for reference, code, received_at, lat, lon, stated_id, confirmed_id, asset_id in rows:
        category = catalogue(session).category(code)
        if category is None:
            continue
        point = None if lat is None or lon is None else (lat, lon, 0.0)
        one, other = (
            consider(
                session,
                category,
                point,
                stated_id,
                received_at,
                confirmed_id=confirmed_id,
                asset_id=asset_id,
                book=book,
            )
            for book in (before, after)
        )
        if one.decision.unit_id != other.decision.unit_id:
            moved.append((reference, one.decision.unit_id, other.decision.unit_id))
    return Replay(since, until, received, len(rows), tuple(moved))


def cases_that_move(
    session: Session, before: "PointIndex[UUID] | None", after: "PointIndex[UUID]"
) -> Mapping[tuple[UUID | None, UUID | None], list[str]]:
    """The references of open cases whose point lies in another commune, by the communes it leaves and comes to.

    None stands for no commune. Where no boundaries were in force before, the commune noted on the case counts.
    """
    moved: dict[tuple[UUID | None, UUID | None], list[str]] = defaultdict(list)
    lat_now, lon_now = place_columns()
    rows = session.execute(
        select(Case.reference, Case.commune_id, lat_now, lon_now)
        .join(ReportContent, col(ReportContent.report_id) == Case.report_id)
        .outerjoin(CasePin, newest_pin())
        .where(col(Case.state).in_(OPEN), lat_now.is_not(None))
        .order_by(col(Case.received_at), col(Case.reference))
    )
    for reference, noted, lat, lon in rows:
        was = before.locate(lat, lon).commune if before else noted
        becomes = after.locate(lat, lon).commune
        if was != becomes:
            moved[was, becomes].append(reference)
    return moved


def unit_for(session: Session, category: str, lat: float, lon: float, asset_id: UUID) -> UUID | None:
    """The unit that a report about an asset under a category (code) would go to now; None: a person decides."""
    known = catalogue(session).category(category)
    if known is None:
        return None
    return decision_for(session, known, (lat, lon, 0.0), None, clock.now(), asset_id=asset_id)[0].unit_id


# In words ----------------------------------------------------------------------------------------------------------


def words(session: Session, lang: Lang) -> Words:
    """Sentences with the names of this province's units and categories."""
    units, known, classes = directory(session), catalogue(session), asset_classes(session)
    english = lang == "en"

    @cache  # a matrix names the same units thousands of times
    def unit(unit_id: UUID | None) -> UnitOut | None:
        found = units.by_id(unit_id) if unit_id else None
        return UnitOut(code=found.code, name=name_of(found, lang)) if found else None

    def named(found: "Category | Group | ClassInfo | None", code: str) -> str:
        return (found.name_en if english else found.name_vi) if found else code

    return Words(
        english,
        unit,
        category=lambda code: named(known.category(code), code),
        group=lambda code: named(known.group(code), code),
        asset_class=lambda code: named(classes.get(code), code),
    )


def explanation(session: Session, considered: Considered, accuracy_m: float | None) -> list[ExplanationOut]:
    """Every step of a decision in Vietnamese and English, as a dispatcher would tell it."""
    told: list[ExplanationOut] = []

    def tell(step: Step, sentence: Callable[[Words], str]) -> None:
        told.append(ExplanationOut(step=step, vi=sentence(vietnamese), en=sentence(english)))

    vietnamese, english = words(session, "vi"), words(session, "en")
    subject, place, rules, at, decision, placement = considered
    tell("moment", lambda say: say.moment(at))
    tell("place", lambda say: say.place(place, accuracy_m))
    if placement is not None:
        line = placement
        tell(
            "boundary",
            lambda say: say.boundary(line.source, line.effective_from, approximate=line.approximate),
        )
    if any(rule.asset_class for rule in rules):
        tell("assets", lambda say: say.assets(place.near))
    found = verdicts(subject, place, rules, at)
    for rule, verdict, rival in found[:MOST_TOLD]:
        tell("rule", lambda say, r=rule, v=verdict, a=rival: say.verdict(r, v, a))  # type: ignore[misc]
    if len(found) > MOST_TOLD:
        tell("rule", lambda say: say.more_rules(len(found) - MOST_TOLD))
    if all(rival is None for _, _, rival in found):
        tell("category", lambda say: say.without_rule(subject.level, subject.default_unit_id, place.home_id))
    if (ended_id := decision.replaced_id) is not None:
        tell("successor", lambda say: say.successor(ended_id, decision.unit_id))
    tell("decision", lambda say: say.decision(decision.unit_id, decision.suggested_id, decision.reason))
    if decision.cooperating:
        tell("cooperation", lambda say: say.cooperation(decision.cooperating))
    return told


MOST_TOLD = 30


def findings(session: Session, book: RuleBook, day: date, say: Words, *, about: UUID | None = None) -> list[FindingOut]:
    """Everything to see to in the rules from a local day on; with `about` what concerns one rule."""
    everything, all_of_them = world(session, book, day), {rule.id: rule for rule in book.rules}

    def refs(*rule_ids: UUID) -> list[RuleRef]:
        return [RuleRef(id=each, text=say.rule(all_of_them[each])) for each in rule_ids]

    found = [
        FindingOut(
            kind="conflict",
            text=say.conflict(all_of_them[each.one], all_of_them[each.other], each.example),
            rules=refs(each.one, each.other),
            category=each.example.category,
            communes=[unit] if (unit := say.unit(each.example.commune_id)) else [],
        )
        for each in conflicts(book.rules, everything, day, about)
    ]
    in_conflict = {rule.id for finding in found for rule in finding.rules}
    for lost in unreachable(book.rules, everything, day):
        if lost.rule not in in_conflict and about in (None, lost.rule, *lost.beaten_by):
            winners = [all_of_them[each] for each in lost.beaten_by]
            text_ = say.unreachable(all_of_them[lost.rule], winners)
            found.append(FindingOut(kind="unreachable", text=text_, rules=refs(lost.rule, *lost.beaten_by)))
    for rule in book.rules:
        if about in (None, rule.id) and (rule.valid_to is None or day < rule.valid_to):
            found += [
                FindingOut(kind="ended", text=say.ended(rule, what), rules=refs(rule.id))
                for what in _ended(session, rule, day, say)
            ]
    return found


def _ended(session: Session, rule: RuleRow, day: date, say: Words) -> Iterator[str]:
    """What a rule names that is no more on a local day."""
    units, known, classes = directory(session), catalogue(session), asset_classes(session)
    day = max(day, rule.valid_from)
    for unit_id in (rule.unit_id, rule.commune_id, *rule.commune_ids, *rule.cooperating):
        unit = units.by_id(unit_id) if unit_id else None
        if unit is not None and not unit.exists(day):
            yield f"{say.unit_name(unit_id)} ({unit.code})"
    category = known.category(rule.category) if rule.category else None
    group = known.group(rule.group) if rule.group else None
    if category is not None and not category.active:
        yield say.category(category.code)
    if group is not None and not group.active:
        yield say.group(group.code)
    kept = classes.get(rule.asset_class) if rule.asset_class else None
    if kept is not None and not kept.active:
        yield say.asset_class(kept.code)


def uncovered(session: Session, book: RuleBook, day: date, say: Words) -> list[FindingOut]:
    """Categories with the communes in which no unit is in charge of them on a local day."""
    missing: dict[tuple[str, str], list[UUID]] = defaultdict(list)
    communes = directory(session).communes(day)
    for category, commune, decision, *_ in coverage(session, book, day, catalogue(session).categories, communes):
        if decision.unit_id is None:
            missing[category.code, decision.reason].append(commune.id)
    return [
        FindingOut(
            kind="uncovered",
            text=say.uncovered(code, len(ids), reason),
            category=code,
            communes=[unit for each in ids if (unit := say.unit(each))],
        )
        for (code, reason), ids in missing.items()
    ]


def rule_out(rule: RoutingRule, row: RuleRow, say: Words) -> RuleOut:
    """A stored rule as the API shows it."""
    communes = [unit for each in (row.commune_id, *sorted(row.commune_ids)) if (unit := say.unit(each))]
    return RuleOut(
        id=rule.id,
        text=say.rule(row),
        category=rule.category_code,
        group=rule.group_code,
        area=AreaOut(
            kind=row.area,
            name=rule.area_name or None,
            communes=communes,
            polygon=_geometry_out(rule.polygon) if rule.polygon is not None else None,
            asset_class=rule.asset_class,
            within_m=rule.within_m,
            to_manager=rule.to_manager,
        ),
        hours=Hours(weekdays=sorted(rule.weekdays), starts=rule.starts, ends=rule.ends) if row.is_timed else None,
        unit=say.unit(rule.unit_id),
        cooperating=[unit for each in row.cooperating if (unit := say.unit(each))],
        priority=rule.priority,
        valid_from=rule.valid_from,
        valid_to=rule.valid_to,
        note=rule.note,
        decision=rule.decision,
        created_at=rule.created_at,
    )


def _geometry_out(wkb: bytes) -> PolygonIn:
    from shapely.geometry import mapping  # noqa: PLC0415 - only drawn rules load it

    return PolygonIn.model_validate(mapping(read_shape(wkb)))


_ENTERED = col(RoutingRule.created_at)


def rules_page(
    session: Session,
    *,
    category: str | None,
    group: str | None,
    unit_id: UUID | None,
    on: date | None,
    cursor: str | None,
    limit: int,
) -> tuple[list[tuple[RoutingRule, RuleRow]], str | None]:
    """Rules, the newest first; with `on` those in force that day."""
    statement = select(RoutingRule).order_by(_ENTERED.desc(), col(RoutingRule.id).desc()).limit(limit + 1)
    if category is not None:
        statement = statement.where(RoutingRule.category_code == category)
    if group is not None:
        statement = statement.where(RoutingRule.group_code == group)
    if unit_id is not None:
        statement = statement.where(RoutingRule.unit_id == unit_id)
    if on is not None:
        statement = statement.where(
            col(RoutingRule.valid_from) <= on,
            or_(col(RoutingRule.valid_to).is_(None), col(RoutingRule.valid_to) > on),
        )
    if cursor is not None:
        before = decode_cursor(cursor, datetime, UUID)
        statement = statement.where(tuple_(_ENTERED, col(RoutingRule.id)) < tuple_(*before))
    rules, following = cut(session.exec(statement).all(), limit, lambda rule: (rule.created_at, rule.id))
    return [(rule, with_members(session, rule)) for rule in rules], following


def with_members(session: Session, rule: RoutingRule) -> RuleRow:
    """A stored rule with the communes and units that stand in tables of their own."""
    communes = select(RoutingRuleCommune.commune_id).where(RoutingRuleCommune.rule_id == rule.id)
    helpers = select(RoutingRuleHelper.unit_id).where(RoutingRuleHelper.rule_id == rule.id)
    return row_of(rule, session.exec(communes) if rule.area == "communes" else (), session.exec(helpers))


# A drawn area ------------------------------------------------------------------------------------------------------

MOST_VERTICES = 2_000
# Drawn along the province's border by hand: so much of an area may lie beyond it.
OUTSIDE_SHARE = 0.001


def drawn(session: Session, geometry: PolygonIn, day: date) -> "BaseGeometry":
    """The shape of a polygon that may be used; refuses what is too fine, crosses itself or leaves the province."""
    import shapely  # noqa: PLC0415 - only drawn rules load it

    count = sum(map(len, geometry.coordinates))
    if count > MOST_VERTICES:
        _refuse(f"Có {count} đỉnh, tối đa {MOST_VERTICES}.", f"It has {count} vertices, at most {MOST_VERTICES}.")
    rings = [[point[:2] for point in ring] for ring in geometry.coordinates]
    if any(len(ring) < 4 or ring[0] != ring[-1] for ring in rings):  # noqa: PLR2004 - a triangle, closed
        _refuse(
            "Mỗi vòng cần ít nhất bốn điểm và điểm cuối trùng điểm đầu.",
            "Each ring needs four points or more, the last equal to the first.",
        )
    lon, lat = rings[0][0]
    if is_swapped(lat, lon):
        _refuse(
            "Vĩ độ và kinh độ bị đảo: GeoJSON ghi kinh độ trước.",
            "Latitude and longitude are swapped: GeoJSON has the longitude first.",
        )
    shape = shapely.Polygon(rings[0], rings[1:])
    if not shape.is_valid or shape.area <= _NOTHING:
        why = shapely.is_valid_reason(shape)
        _refuse(f"Các đường tự cắt nhau hoặc vùng rỗng ({why}).", f"Its lines cross, or it is empty ({why}).")
    shapely.prepare(shape)
    areas = [area for area in commune_areas(session, day).values() if shape.intersects(area)]
    outside = 1 - sum(shape.intersection(area).area for area in areas) / shape.area
    if outside > OUTSIDE_SHARE:
        _refuse(
            f"Có {outside:.1%} diện tích nằm ngoài ranh giới tỉnh.", f"{outside:.1%} of it lies outside the province."
        )
    return shape


def _refuse(vi: str, en: str) -> NoReturn:
    raise POLYGON_INVALID.error(pointer="/area/geometry", fault=vi, fault_en=en)
