"""Who owns this place and this category, and why. Pure: the same facts always give the same answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal
from uuid import UUID

Level = Literal["commune", "department", "utility"]

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
    "failed": ("Phân tuyến tự động gặp lỗi nhiều lần", "Automatic routing failed repeatedly"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of where: the commune that holds the point, all candidates, and how sure the boundary is."""

    outcome: Literal["inside", "border", "sliver", "outside", "none"]
    commune_id: UUID | None = None
    candidates: tuple[UUID, ...] = ()
    approximate: bool = False
    stated_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What is known of the category: its group, its level, and the unit that answers by default."""

    category: str
    group: str
    level: Level
    default_unit_id: UUID | None


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One routing rule: category or group × area × valid period × priority → unit."""

    id: UUID
    unit_id: UUID
    priority: int
    valid_from: date
    valid_to: date | None = None
    category: str | None = None
    group: str | None = None
    commune_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The unit, or None where a person decides; `suggested_id` is the machine's guess for that person."""

    unit_id: UUID | None
    reason: str
    commune_id: UUID | None
    candidates: tuple[UUID, ...]
    rule_id: UUID | None = None
    suggested_id: UUID | None = None
    steps: tuple[tuple[str, str], ...] = field(default=())


def decide(subject: Subject, place: Place, rules: Sequence[RuleRow], day: date) -> Decision:
    """Route by the first of: a rule that matches, the category's own unit, the commune of the place.

    Rules win by priority (the higher first), then by being specific (category before group, area before everywhere);
    rules that tie and disagree are never guessed between. Approximate boundaries never decide alone on a commune.
    """
    commune_id = place.commune_id or place.stated_id
    steps: list[tuple[str, str]] = [("place", _place_word(place))]

    def answer(unit_id: UUID | None, reason: str, rule_id: UUID | None = None, guess: UUID | None = None) -> Decision:
        steps.append(("decision", reason))
        return Decision(unit_id, reason, commune_id, place.candidates, rule_id, guess, tuple(steps))

    matching = [rule for rule in rules if _matches(rule, subject, commune_id, day)]
    best = [rule for rule in matching if _rank(rule) == max(map(_rank, matching))]
    steps.append(("rules", f"{len(matching)} match"))
    leans_on_place = any(rule.commune_id for rule in best) or (not best and subject.level == "commune")
    if leans_on_place and place.approximate:
        return answer(None, "boundary_approximate", guess=best[0].unit_id if best else commune_id)
    if len({rule.unit_id for rule in best}) > 1:
        return answer(None, "ambiguous_rules", guess=best[0].unit_id)
    if best:
        return answer(best[0].unit_id, "rule", rule_id=best[0].id)
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


def _matches(rule: RuleRow, subject: Subject, commune_id: UUID | None, day: date) -> bool:
    return (
        (rule.category == subject.category or (rule.category is None and rule.group == subject.group))
        and rule.commune_id in (None, commune_id)
        and rule.valid_from <= day
        and (rule.valid_to is None or day < rule.valid_to)
    )


def _rank(rule: RuleRow) -> tuple[int, bool, bool]:
    return rule.priority, rule.category is not None, rule.commune_id is not None


def _place_word(place: Place) -> str:
    return f"{place.outcome}{' (approximate boundary)' if place.approximate else ''}"
