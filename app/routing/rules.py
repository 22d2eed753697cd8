"""Who owns this place and this category, and why; and what is wrong with a set of rules before it decides anything.

Pure: the same facts always give the same answer. Moments are local (Asia/Ho_Chi_Minh).
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from typing import Literal
from uuid import NAMESPACE_OID, UUID, uuid5

from app.core.clock import LOCAL

Level = Literal["commune", "department", "utility"]
Area = Literal["everywhere", "communes", "commune", "polygon", "asset"]
WITHIN_M = 15.0

# Why a case went where it went, or why a person must decide.
REASONS: dict[str, tuple[str, str]] = {
    "rule": ("Theo quy tắc phân tuyến", "By a routing rule"),
    "category": ("Lĩnh vực này do đơn vị cấp tỉnh phụ trách", "This category belongs to a provincial unit"),
    "commune": ("Vị trí nằm trong địa bàn xã, phường", "The place lies inside the commune"),
    "border": ("Vị trí sát ranh giới; giao xã, phường chứa điểm", "Close to a border; given to the commune that holds the point"),
    "sliver": ("Vị trí nằm trong khe ranh giới; giao xã, phường gần nhất", "In a gap between borders; given to the nearest commune"),
    "stated": ("Theo xã, phường người gửi chọn", "The commune the citizen named"),
    "no_place": ("Không có vị trí và không rõ xã, phường", "No location and no commune named"),
    "outside": ("Vị trí nằm ngoài ranh giới tỉnh", "The place lies outside the province"),
    "boundary_approximate": (
        "Ranh giới đang dùng là gần đúng; cần điều phối viên xác nhận xã, phường",
        "The boundaries in force are approximate; a dispatcher confirms the commune",
    ),
    "ambiguous_rules": ("Nhiều quy tắc cùng mức ưu tiên chỉ các đơn vị khác nhau", "Rules of equal priority name different units"),
    "no_unit": ("Chưa có đơn vị phụ trách lĩnh vực này", "No unit is in charge of this category"),
    "unit_ended": ("Đơn vị phụ trách đã kết thúc hoạt động, chưa rõ đơn vị kế thừa", "The unit in charge has ended, and who follows it is not clear"),
    "unit_split": ("Đơn vị phụ trách đã được chia; vị trí không cho biết đơn vị kế thừa", "The unit was split, and the place does not tell which successor"),
    "unit_abolished": ("Đơn vị phụ trách đã kết thúc, không có đơn vị kế thừa", "The unit has ended without a successor"),
    "failed": ("Phân tuyến tự động gặp lỗi nhiều lần", "Automatic routing failed repeatedly"),
}  # fmt: skip

# Why a rule does not match, as far as it was looked at: the first of these in this order.
Mismatch = Literal["subject", "hours", "weekday", "period", "place", "asset", "no_manager"]


@dataclass(frozen=True, slots=True)
class Nearby:
    """An asset near the point, as a rule sees it."""

    asset_class: str
    distance_m: float
    manager_id: UUID | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of where: the commune that holds the point, all candidates, and how sure the boundary is.

    `inside`: the rules whose polygon holds the point. `near`: assets, nearest first.
    """

    outcome: Literal["inside", "border", "sliver", "outside", "none"]
    commune_id: UUID | None = None
    candidates: tuple[UUID, ...] = ()
    approximate: bool = False
    stated_id: UUID | None = None
    inside: frozenset[UUID] = frozenset()
    near: tuple[Nearby, ...] = ()

    @property
    def home_id(self) -> UUID | None:
        """The commune of the point; without a point the one the citizen named."""
        return self.commune_id or self.stated_id


@dataclass(frozen=True, slots=True)
class Subject:
    """What is known of the category: its group, its level, and the unit that answers by default."""

    category: str
    group: str
    level: Level
    default_unit_id: UUID | None


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One routing rule: category or group × area × hours × valid period × priority → unit.

    At most one kind of area; none is everywhere. `weekdays` are ISO (1 = Monday), none of them is every day; `starts`
    and `ends` stand together, and where `ends` is not later the span runs over midnight. `to_manager`: the unit is the
    manager of the asset that matched, or `unit_id` where that asset has none.
    """

    id: UUID
    unit_id: UUID | None
    priority: int
    valid_from: date
    valid_to: date | None = None
    category: str | None = None
    group: str | None = None
    commune_id: UUID | None = None
    commune_ids: frozenset[UUID] = frozenset()
    polygon: bool = False
    asset_class: str | None = None
    within_m: float = WITHIN_M
    to_manager: bool = False
    weekdays: frozenset[int] = frozenset()
    starts: time | None = None
    ends: time | None = None
    cooperating: tuple[UUID, ...] = ()
    area_name: str = ""

    @property
    def area(self) -> Area:
        """Which kind of area it has."""
        if self.asset_class is not None:
            return "asset"
        if self.polygon:
            return "polygon"
        if self.commune_id is not None:
            return "commune"
        return "communes" if self.commune_ids else "everywhere"

    @property
    def is_timed(self) -> bool:
        """Whether it holds at some hours or on some weekdays only."""
        return bool(self.weekdays) or self.starts is not None

    @property
    def leans_on_commune(self) -> bool:
        """Whether its match rests on knowing the commune."""
        return self.area in ("commune", "communes")


@dataclass(frozen=True, slots=True)
class Decision:
    """The unit, or None where a person decides; `suggested_id` is the machine's guess for that person.

    `replaced_id`: the unit that the answer named and that has ended since; `unit_id` is its successor.
    """

    unit_id: UUID | None
    reason: str
    commune_id: UUID | None
    candidates: tuple[UUID, ...]
    rule_id: UUID | None = None
    suggested_id: UUID | None = None
    steps: tuple[tuple[str, str], ...] = field(default=())
    cooperating: tuple[UUID, ...] = ()
    replaced_id: UUID | None = None


# From the weakest to the strongest.
AREAS: tuple[Area, ...] = ("everywhere", "communes", "commune", "polygon", "asset")
Strength = tuple[int, bool, int, bool]


def strength(rule: RuleRow) -> Strength:
    """What decides between rules that match, the higher first; this order stands nowhere else.

    1. the priority; 2. a category before a whole group; 3. an asset before a polygon before a commune before a group
    of communes before everywhere; 4. certain hours or weekdays before always.
    """
    return rule.priority, rule.category is not None, AREAS.index(rule.area), rule.is_timed


def decide(subject: Subject, place: Place, rules: Sequence[RuleRow], at: datetime) -> Decision:
    """Route by the first of: the strongest rule that matches, the category's own unit, the commune of the place.

    Rules of equal strength that name different units are never guessed between. Approximate boundaries never decide
    alone on a commune; polygons and assets do not lean on one. `at` is the local moment of receipt.
    """
    steps: list[tuple[str, str]] = [("place", _place_word(place))]
    commune_id = place.home_id

    def answer(unit_id: UUID | None, reason: str, guess: UUID | None = None) -> Decision:
        steps.append(("decision", reason))
        rule_id = best[0].id if reason == "rule" else None
        helpers = {each for rule in best for each in rule.cooperating} - {unit_id} if reason == "rule" else ()
        return Decision(
            unit_id, reason, commune_id, place.candidates, rule_id, guess, tuple(steps), tuple(sorted(helpers))
        )

    matching = [rule for rule in rules if mismatch(rule, subject, place, at) is None]
    best = strongest(matching)
    steps.append(("rules", f"{len(matching)} match"))
    units = {named_unit(rule, place) for rule in best}
    leans_on_place = best[0].leans_on_commune if best else subject.level == "commune"
    if leans_on_place and place.approximate:
        return answer(None, "boundary_approximate", guess=named_unit(best[0], place) if best else commune_id)
    if len(units) > 1:
        return answer(None, "ambiguous_rules", guess=named_unit(best[0], place))
    if best:
        return answer(units.pop(), "rule")
    if subject.level != "commune":
        reason = "category" if subject.default_unit_id else "no_unit"
        return answer(subject.default_unit_id, reason, guess=commune_id)
    if commune_id is None:
        return answer(None, "outside" if place.outcome == "outside" else "no_place")
    reason = {"inside": "commune", "border": "border", "sliver": "sliver"}.get(place.outcome, "stated")
    return answer(commune_id, reason)


def goes_elsewhere(holder_id: UUID | None, before: Decision, after: Decision) -> bool:
    """Whether a correction takes a case from who has it: the answer changed, and not to the unit that holds it already.

    What people decided against the machine (a transfer, a return) stands as long as the machine would say the same as
    before. A guess counts as an answer: approximate boundaries give no other. Without a holder a dispatcher waits to
    choose, and is asked anew where the facts to choose by have changed.
    """
    if holder_id is not None:
        old, new = (each.unit_id or each.suggested_id for each in (before, after))
        return new not in (old, holder_id)
    old_facts, new_facts = (
        each.unit_id or (each.suggested_id, each.reason, each.commune_id) for each in (before, after)
    )
    return old_facts != new_facts


def strongest(matching: Sequence[RuleRow]) -> list[RuleRow]:
    """The rules that nothing among them beats, in the order of their ids."""
    if not matching:
        return []
    top = max(map(strength, matching))
    return sorted((rule for rule in matching if strength(rule) == top), key=lambda rule: rule.id)


def mismatch(rule: RuleRow, subject: Subject, place: Place, at: datetime) -> Mismatch | None:
    """Why a rule says nothing about a report; None where it matches."""
    return "subject" if not _is_about(rule, subject) else _mistimed(rule, at) or _misplaced(rule, place)


def _is_about(rule: RuleRow, subject: Subject) -> bool:
    return rule.category == subject.category or (rule.category is None and rule.group == subject.group)


def _mistimed(rule: RuleRow, at: datetime) -> Mismatch | None:
    begun = _begun(rule, at)
    if begun is None:
        return "hours"
    if rule.weekdays and begun.isoweekday() not in rule.weekdays:
        return "weekday"
    return None if rule.valid_from <= begun and (rule.valid_to is None or begun < rule.valid_to) else "period"


def _misplaced(rule: RuleRow, place: Place) -> Mismatch | None:
    if rule.asset_class is not None:
        asset = matched_asset(rule, place)
        if asset is None:
            return "asset"
        return "no_manager" if rule.to_manager and not (asset.manager_id or rule.unit_id) else None
    if rule.polygon:
        here = rule.id in place.inside
    elif rule.commune_id is not None:
        here = rule.commune_id == place.home_id
    else:
        here = not rule.commune_ids or place.home_id in rule.commune_ids
    return None if here else "place"


def _begun(rule: RuleRow, at: datetime) -> date | None:
    """The local day on which the rule's span that holds `at` began: over midnight, the day before."""
    day, clock_time = at.date(), at.time()
    if rule.starts is None or rule.ends is None:
        return day
    if rule.starts < rule.ends:
        return day if rule.starts <= clock_time < rule.ends else None
    if clock_time >= rule.starts:
        return day
    return day - timedelta(days=1) if clock_time < rule.ends else None


def matched_asset(rule: RuleRow, place: Place) -> Nearby | None:
    """The nearest asset of the rule's class, where it is near enough."""
    return next((a for a in place.near if a.asset_class == rule.asset_class and a.distance_m <= rule.within_m), None)


def named_unit(rule: RuleRow, place: Place) -> UUID | None:
    """The unit a matching rule gives the report to."""
    asset = matched_asset(rule, place) if rule.to_manager else None
    return (asset.manager_id if asset else None) or rule.unit_id


def _place_word(place: Place) -> str:
    return f"{place.outcome}{' (approximate boundary)' if place.approximate else ''}"


# Telling why --------------------------------------------------------------------------------------------------------

# `won`; `agrees`: as strong, the same unit; `tied`: as strong, another unit; or what made it the weaker one.
Verdict = Literal["won", "agrees", "tied", "priority", "category", "area", "hours_always"] | Mismatch
_ASPECTS: tuple[Verdict, ...] = ("priority", "category", "area", "hours_always")


def verdicts(
    subject: Subject, place: Place, rules: Sequence[RuleRow], at: datetime
) -> list[tuple[RuleRow, Verdict, RuleRow | None]]:
    """What became of every rule about this category, with the rule it lost to; those that matched first."""
    about = [rule for rule in rules if _is_about(rule, subject)]
    found = [(rule, mismatch(rule, subject, place, at)) for rule in about]
    best = strongest([rule for rule, why_not in found if why_not is None])
    told: list[tuple[RuleRow, Verdict, RuleRow | None]] = []
    for rule, why_not in found:
        if why_not is not None:
            told.append((rule, why_not, None))
        elif rule not in best:
            told.append((rule, _weaker_in(rule, best[0]), best[0]))
        elif len({named_unit(each, place) for each in best}) > 1:
            told.append((rule, "tied", next(each for each in best if each is not rule)))
        else:
            told.append((rule, "won" if rule is best[0] else "agrees", best[0]))
    return sorted(told, key=lambda each: (each[2] is None, [-int(part) for part in strength(each[0])], each[0].id))


def _weaker_in(rule: RuleRow, winner: RuleRow) -> Verdict:
    pairs = zip(_ASPECTS, strength(rule), strength(winner), strict=True)
    return next(aspect for aspect, mine, theirs in pairs if mine != theirs)


# What is wrong with a set of rules ---------------------------------------------------------------------------------
#
# Both questions ("do these two ever tie?", "does this one ever win?") are answered by asking `decide` itself about
# representative reports: one for each way in which the rules concerned can match or not. Periods, weekdays and hours
# change their answer only at their edges, distances only at theirs, so the edges are enough.


@dataclass(frozen=True, slots=True)
class Cell:
    """A part of the province in which the same communes and polygons hold every point; `inside` are ids of rules."""

    commune_id: UUID | None
    inside: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True)
class World:
    """Everything a report can be about, and all the places where it can be."""

    subjects: tuple[Subject, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """A report that shows what was found."""

    category: str
    commune_id: UUID | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two rules of equal strength that name different units for `example`, and nothing stronger decides there."""

    one: UUID
    other: UUID
    example: Example


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A rule that never decides; `beaten_by` decides where it would match (some of them)."""

    rule: UUID
    beaten_by: tuple[UUID, ...]


# Bounds one question, which otherwise an odd set of rules could stretch without end; past it nothing is claimed.
MOST_REPORTS = 50_000
_ONE_DAY = timedelta(days=1)
_SAMPLE = tuple[Subject, Place, datetime]


def conflicts(rules: Sequence[RuleRow], world: World, since: date, about: UUID | None = None) -> list[Conflict]:
    """Every pair of rules that `decide` cannot choose between, for reports from local day `since` on.

    `about`: only pairs with this rule.
    """
    equals: dict[object, list[RuleRow]] = defaultdict(list)
    for rule in sorted(rules, key=lambda rule: rule.id):
        equals[strength(rule), rule.category, rule.group, rule.commune_id].append(rule)
    found, field_of = [], _fields(rules, world)
    for peers in equals.values():
        for one, other in itertools.combinations(peers, 2):
            if about in (None, one.id, other.id) and _may_disagree(one, other):
                example, _ = _first((one, other), field_of(one), world, since, _tie(one, other))
                if example is not None:
                    found.append(Conflict(one.id, other.id, example))
    return found


def unreachable(rules: Sequence[RuleRow], world: World, since: date) -> list[Unreachable]:
    """Every rule that could match a report from local day `since` on, and for which `decide` never answers with it."""
    found, field_of = [], _fields(rules, world)
    for rule in sorted(rules, key=lambda rule: rule.id):
        winners: set[UUID] = set()
        example, looked_everywhere = _first((rule,), field_of(rule), world, since, _wins(rule, winners))
        if example is None and looked_everywhere and winners:
            found.append(Unreachable(rule.id, tuple(sorted(winners)[:5])))
    return found


_Field = Sequence[tuple[Subject, Sequence[RuleRow]]]


def _fields(rules: Sequence[RuleRow], world: World) -> Callable[[RuleRow], _Field]:
    """What a rule stands in: each subject it is about, with the other rules about it that it does not beat."""
    about: dict[str, list[tuple[Strength, RuleRow]]] = defaultdict(list)
    of_group: dict[str, list[Subject]] = defaultdict(list)
    for subject in world.subjects:
        of_group[subject.group].append(subject)
        about[subject.category] = [(strength(rule), rule) for rule in rules if _is_about(rule, subject)]
    of_category = {subject.category: subject for subject in world.subjects}

    def field_of(rule: RuleRow) -> _Field:
        if rule.category is None:
            subjects = of_group[rule.group or ""]
        else:
            subjects = [of_category[rule.category]] if rule.category in of_category else []
        own = strength(rule)
        return [
            (subject, [each for power, each in about[subject.category] if power >= own and each is not rule])
            for subject in subjects
        ]

    return field_of


def _may_disagree(one: RuleRow, other: RuleRow) -> bool:
    same_unit = one.unit_id == other.unit_id and not (one.to_manager or other.to_manager)
    apart = one.commune_ids and other.commune_ids and not one.commune_ids & other.commune_ids
    return not same_unit and not apart


_Test = Callable[[_SAMPLE, Sequence[RuleRow]], bool]


def _tie(one: RuleRow, other: RuleRow) -> _Test:
    def test(sample: _SAMPLE, rules: Sequence[RuleRow]) -> bool:
        subject, place, at = sample
        best = strongest([rule for rule in rules if mismatch(rule, subject, place, at) is None])
        return one in best and named_unit(one, place) != named_unit(other, place)

    return test


def _wins(rule: RuleRow, winners: set[UUID]) -> _Test:
    def test(sample: _SAMPLE, rules: Sequence[RuleRow]) -> bool:
        subject, place, at = sample
        if decide(subject, place, rules, at).rule_id == rule.id:
            return True
        best = strongest([each for each in rules if mismatch(each, subject, place, at) is None])
        winners.update(each.id for each in best if each is not rule)
        return False

    return test


def _first(
    matching: Sequence[RuleRow], within: _Field, world: World, since: date, test: _Test
) -> tuple[Example | None, bool]:
    """The first representative report that all of `matching` match and that passes the test; whether all were seen."""
    rule, looked_at = matching[0], 0
    for subject, rivals in within:
        for place, at in _reports(rule, rivals, world, since):
            looked_at += 1
            if looked_at > MOST_REPORTS:
                return None, False
            if any(mismatch(each, subject, place, at) for each in matching):
                continue
            if test((subject, place, at), [rule, *rivals]):
                return Example(subject.category, place.home_id, at), True
    return None, True


def _reports(rule: RuleRow, rivals: Sequence[RuleRow], world: World, since: date) -> Iterator[tuple[Place, datetime]]:
    moments = list(_moments(rule, rivals, since))
    for place in _places((rule, *rivals), world.cells):
        for at in moments:
            yield place, at


def _moments(rule: RuleRow, rivals: Sequence[RuleRow], since: date) -> Iterator[datetime]:
    """Moments at which `rule` may hold, one for every way in which the others hold or do not."""
    # A night that began before `since` may still run on.
    first, last = max(rule.valid_from, since - _ONE_DAY), rule.valid_to
    steps = (-_ONE_DAY, timedelta(), _ONE_DAY)
    edges = {day + step for each in rivals for day in (each.valid_from, each.valid_to) if day for step in steps}
    days = 7 if any(each.weekdays for each in (rule, *rivals)) else 1
    times = {time(0)} | {t for each in (rule, *rivals) for t in (each.starts, each.ends) if t is not None}
    wraps = rule.starts is not None and rule.ends is not None and rule.ends <= rule.starts
    for edge in sorted({first} | {day for day in (since, *edges) if day > first}):
        for day in (edge + n * _ONE_DAY for n in range(days)):
            if last is not None and day >= last:
                break
            for each, clock_time in itertools.product((day, day + _ONE_DAY) if wraps else (day,), sorted(times)):
                if each >= since:
                    yield datetime.combine(each, clock_time, LOCAL)


def _places(rules: Sequence[RuleRow], cells: Iterable[Cell]) -> Iterator[Place]:
    """One place for every way in which these rules hold there or not."""
    named = {rule.commune_id for rule in rules} | {each for rule in rules for each in rule.commune_ids}
    drawn = {rule.id for rule in rules if rule.polygon}
    kinds = {(cell.commune_id if cell.commune_id in named else None, cell.inside & drawn): cell for cell in cells}
    assets = list(_assets([rule for rule in rules if rule.asset_class is not None]))
    for (_, inside), cell in kinds.items():
        for near in assets:
            yield Place("inside", cell.commune_id, inside=inside, near=near)


def _assets(rules: Sequence[RuleRow]) -> Iterator[tuple[Nearby, ...]]:
    """Nothing near, and every class near or not at every distance that makes a difference, with every manager."""
    choices: list[list[Nearby | None]] = []
    for name in sorted({rule.asset_class for rule in rules if rule.asset_class}):
        managers: list[UUID | None] = [None]
        if any(rule.to_manager for rule in rules):
            managers += [
                _somebody("shared"),
                _somebody(name),
                *sorted({rule.unit_id for rule in rules if rule.unit_id}),
            ]
        distances = sorted({rule.within_m for rule in rules if rule.asset_class == name})
        choices.append([None, *(Nearby(name, metres, each) for metres in distances for each in managers)])
    for chosen in itertools.product(*choices):
        yield tuple(asset for asset in chosen if asset is not None)


def _somebody(name: str) -> UUID:
    """A manager that no rule names."""
    return uuid5(NAMESPACE_OID, f"manager {name}")


# What holds whenever and wherever in a commune ----------------------------------------------------------------------


def base_rules(rules: Sequence[RuleRow], day: date) -> tuple[list[RuleRow], list[RuleRow]]:
    """The rules in force on a day: those that hold in whole communes at all hours, and those that hold in part."""
    here = [r for r in rules if r.valid_from <= day and (r.valid_to is None or day < r.valid_to)]
    return [rule for rule in here if not _is_partial(rule)], [rule for rule in here if _is_partial(rule)]


def _is_partial(rule: RuleRow) -> bool:
    return rule.is_timed or rule.area in ("polygon", "asset")


def as_though_always(rule: RuleRow, since: date) -> RuleRow:
    """The rule with its first day moved back to `since`: to ask what it would have done."""
    return replace(rule, valid_from=min(rule.valid_from, since))
