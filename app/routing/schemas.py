"""Routing on the wire, the rules of a pack, and what is refused."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from app.cases.schemas import UnitOut
from app.core.errors import Problem
from app.core.packfile import PackModel
from app.reports.schemas import LocationIn, Sticker, Text
from app.routing.rules import REASONS, WITHIN_M, Area, Example, Nearby, Place, RuleRow, Verdict

# Refusals ----------------------------------------------------------------------------------------------------------

RULE_CONFLICT = Problem(
    "rule_conflict",
    409,
    vi=(
        "Quy tắc mâu thuẫn",
        """\
Có quy tắc cùng độ mạnh nhưng chỉ đơn vị khác cho cùng một phản ánh (xem `findings`). Vui lòng đổi mức ưu tiên, thu \
hẹp khu vực hoặc thời gian, hoặc kết thúc quy tắc kia trước.""",
    ),
    en=(
        "Rules in conflict",
        """\
A rule of equal strength names another unit for the same report (see `findings`). Change the priority, narrow the \
area or the hours, or end the other rule first.""",
    ),
)
RULE_IN_THE_PAST = Problem(
    "rule_in_the_past",
    422,
    vi=(
        "Ngày đã qua",
        "Quy tắc chỉ bắt đầu hoặc kết thúc từ hôm nay ({today}) trở đi: phản ánh đã phân tuyến không bị đổi về sau.",
    ),
    en=(
        "A day in the past",
        "A rule begins or ends today ({today}) or later: what has been decided is not changed afterwards.",
    ),
)
RULE_ENDED = Problem(
    "rule_ended",
    409,
    vi=("Quy tắc đã kết thúc", "Quy tắc này đã kết thúc ngày {ended}; chỉ có thể kết thúc sớm hơn, không kéo dài."),
    en=("The rule has ended", "This rule ends on {ended}; it can end earlier, not later. Enter a new rule instead."),
)
RULE_NEVER_HOLDS = Problem(
    "rule_never_holds",
    422,
    vi=(
        "Quy tắc không có hiệu lực ngày nào",
        "Ngày kết thúc phải sau ngày bắt đầu. Vui lòng sửa lại khoảng thời gian.",
    ),
    en=("The rule would hold on no day", "Its last day must lie after its first. Correct the period."),
)
UNKNOWN_GROUP = Problem(
    "unknown_group",
    422,
    vi=("Nhóm lĩnh vực không tồn tại", "Không có nhóm lĩnh vực {group} đang dùng. Vui lòng tải lại danh mục."),
    en=("Unknown group", "No group {group} is in use. Load the categories again."),
)
UNIT_NOT_IN_FORCE = Problem(
    "unit_not_in_force",
    422,
    vi=(
        "Đơn vị không hoạt động",
        "Không có đơn vị mang mã {unit} vào ngày {day} (ngày quy tắc bắt đầu). Vui lòng chọn đơn vị đang hoạt động.",
    ),
    en=("Unit not in force", "No unit has the code {unit} on {day}, the first day of the rule. Choose one in force."),
)
UNKNOWN_ASSET_CLASS = Problem(
    "unknown_asset_class",
    422,
    vi=("Loại tài sản không tồn tại", "Không có loại tài sản {asset_class} đang dùng. Vui lòng chọn lại."),
    en=("Unknown asset class", "No asset class {asset_class} is in use. Choose one again."),
)
POLYGON_INVALID = Problem(
    "polygon_invalid",
    422,
    vi=("Vùng vẽ chưa hợp lệ", "{fault} Vui lòng vẽ lại rồi gửi."),
    en=("The polygon is not valid", "{fault_en} Draw it again, then send."),
)

# Asking the router -------------------------------------------------------------------------------------------------

_STRICT = ConfigDict(extra="forbid")
_EARLIEST, _LATEST = date(2000, 1, 1), date(2199, 12, 31)
Day = Annotated[date, Field(ge=_EARLIEST, le=_LATEST)]
Moment = Annotated[AwareDatetime, Field(ge=datetime(2000, 1, 2, tzinfo=UTC), le=datetime(2199, 12, 30, tzinfo=UTC))]


class DryRunIn(BaseModel):
    """A place and a category, as a report would carry them; `at` asks about another moment than now."""

    model_config = _STRICT

    category: Annotated[str, Field(min_length=1, max_length=60)]
    location: LocationIn | None = None
    commune: Annotated[str, Field(max_length=20)] | None = None
    asset: Sticker | None = None
    at: Moment | None = None


class StepOut(BaseModel):
    """One step of the explanation."""

    step: str
    found: str


Step = Literal["moment", "place", "boundary", "assets", "rule", "category", "successor", "decision", "cooperation"]


class ExplanationOut(BaseModel):
    """One step in a sentence, in Vietnamese and English."""

    step: Step
    vi: str
    en: str


class BoundaryOut(BaseModel):
    """Whose line was used, and how far it can be trusted."""

    source: str
    accuracy: str
    effective_from: str


class DecisionOut(BaseModel):
    """Where a report would go and why. `unit` null: a dispatcher would decide, `suggested` is the machine's guess."""

    unit: UnitOut | None
    suggested: UnitOut | None
    reason: str
    reason_text: str
    commune: UnitOut | None
    candidates: list[UnitOut]
    cooperating: list[UnitOut]
    replaced: UnitOut | None = Field(description="The unit that was named and has ended since; `unit` succeeds it.")
    rule_id: UUID | None
    boundary: BoundaryOut | None
    steps: list[StepOut]
    explanation: list[ExplanationOut]


# Rules -------------------------------------------------------------------------------------------------------------


def _plain(value: time) -> time:
    if value.tzinfo is not None:
        raise ValueError("give the local time without a zone")
    return value


LocalTime = Annotated[time, AfterValidator(_plain)]
Weekday = Annotated[int, Field(ge=1, le=7)]
Code = Annotated[str, Field(min_length=1, max_length=64)]
AreaName = Annotated[Text, Field(min_length=1, max_length=120)]
Metres = Annotated[float, Field(ge=1, le=500)]


class Hours(PackModel):
    """Weekdays (ISO, 1 = Monday) and hours in Vietnam's time; `ends` is the first moment it no longer holds.

    Where `ends` is earlier than `starts` the span runs over midnight and belongs to the day it begins.
    """

    weekdays: Annotated[list[Weekday], Field(max_length=7)] = Field(default_factory=list)
    starts: LocalTime | None = None
    ends: LocalTime | None = None

    @model_validator(mode="after")
    def _is_sound(self) -> "Hours":
        if (self.starts is None) != (self.ends is None):
            raise ValueError("name both starts and ends, or neither")
        if self.starts is not None and self.starts == self.ends:
            raise ValueError("the span is empty; leave both out for the whole day")
        if not self.weekdays and self.starts is None:
            raise ValueError("name weekdays, or starts and ends; leave hours out where the rule always holds")
        return self


NO_HOURS = Hours.model_construct()


class EverywhereIn(BaseModel):
    """The whole province."""

    model_config = _STRICT
    kind: Literal["everywhere"]


class CommuneIn(BaseModel):
    """One commune."""

    model_config = _STRICT
    kind: Literal["commune"]
    code: Code


class CommunesIn(BaseModel):
    """A group of communes under a name."""

    model_config = _STRICT
    kind: Literal["communes"]
    name: AreaName
    codes: Annotated[list[Code], Field(min_length=2, max_length=300)]


class PolygonIn(BaseModel):
    """A polygon as in GeoJSON: rings of [longitude, latitude] in WGS 84, the outer one first."""

    model_config = _STRICT
    type: Literal["Polygon"]
    coordinates: Annotated[
        list[list[Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=2, max_length=3)]]],
        Field(min_length=1, max_length=50),
    ]


class DrawnIn(BaseModel):
    """An area that an administrator drew. Its interior counts: two that only touch share no report."""

    model_config = _STRICT
    kind: Literal["polygon"]
    name: AreaName
    geometry: PolygonIn


class NearAssetIn(BaseModel):
    """Where the nearest asset of a class is at most so far; `to_manager`: the report goes to who manages it."""

    model_config = _STRICT
    kind: Literal["asset"]
    asset_class: Code
    within_m: Metres = WITHIN_M
    to_manager: bool = False


AreaIn = Annotated[EverywhereIn | CommuneIn | CommunesIn | DrawnIn | NearAssetIn, Field(discriminator="kind")]


class RuleIn(BaseModel):
    """A rule to enter, for a category or a whole group.

    Of the rules that match a report the strongest decides: by priority; then a category before a group; then an asset
    before a polygon before a commune before a group of communes before everywhere; then certain hours before always.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "category": "karaoke_tieng_on",
                    "area": {"kind": "commune", "code": "05443"},
                    "hours": {"weekdays": [5, 6], "starts": "22:00", "ends": "06:00"},
                    "unit": "cong_an_tinh",
                    "valid_from": "2026-12-01",
                    "decision": "Quyết định 12/QĐ-UBND",
                }
            ]
        },
    )

    category: Code | None = None
    group: Code | None = None
    area: AreaIn = EverywhereIn(kind="everywhere")
    hours: Hours | None = None
    unit: Code | None = None
    cooperating: Annotated[list[Code], Field(max_length=20)] = []
    priority: Annotated[int, Field(ge=0, le=1000)] = 100
    valid_from: Day
    valid_to: Day | None = None
    note: Annotated[Text, Field(max_length=2000)] = ""
    decision: Annotated[Text, Field(max_length=300)] = ""
    dry_run: bool = Field(default=False, description="Only say what the rule would change; nothing is stored.")

    @model_validator(mode="after")
    def _is_sound(self) -> "RuleIn":
        if (self.category is None) == (self.group is None):
            raise ValueError("name either a category or a group")
        if self.unit is None and not (isinstance(self.area, NearAssetIn) and self.area.to_manager):
            raise ValueError("name the unit; only a rule to an asset's manager may go without")
        return self


class EndIn(BaseModel):
    """From which local day on a rule no longer holds."""

    model_config = _STRICT

    on: Day
    reason: Annotated[Text, Field(min_length=1, max_length=2000)]
    dry_run: bool = Field(default=False, description="Only say what would change; nothing is stored.")


class AreaOut(BaseModel):
    """Where a rule holds; only what belongs to its kind is filled."""

    kind: Area
    name: str | None = None
    communes: list[UnitOut] = []
    polygon: PolygonIn | None = None
    asset_class: str | None = None
    within_m: float | None = None
    to_manager: bool = False


class RuleOut(BaseModel):
    """A rule as it stands. `text` says it in a sentence."""

    id: UUID
    text: str
    category: str | None
    group: str | None
    area: AreaOut
    hours: Hours | None
    unit: UnitOut | None
    cooperating: list[UnitOut]
    priority: int
    valid_from: date
    valid_to: date | None
    note: str
    decision: str
    created_at: datetime


class RuleRef(BaseModel):
    """A rule, named."""

    id: UUID
    text: str


FindingKind = Literal["conflict", "unreachable", "ended", "uncovered"]


class FindingOut(BaseModel):
    """Something to see to. A conflict is refused at entry; the other kinds are warnings.

    conflict: the rules of `rules` are equally strong and name different units. unreachable: the first never decides,
    because of the others. ended: it names a unit, category or commune that has ended. uncovered: a person must choose.
    """

    kind: FindingKind
    text: str
    rules: list[RuleRef] = []
    category: str | None = None
    communes: list[UnitOut] = []


class MovedOut(BaseModel):
    """A report that would have gone elsewhere; null: to a dispatcher."""

    reference: str
    from_unit: UnitOut | None
    to_unit: UnitOut | None


class PairOut(BaseModel):
    """How many reports would have gone from one unit to another."""

    from_unit: UnitOut | None
    to_unit: UnitOut | None
    reports: int


class ReplayOut(BaseModel):
    """What the change would have done to the reports received in a period, as though it had held all the while.

    Of `received` reports of the categories concerned the newest `considered` were decided twice, without the change
    and with it; all counts are of those. `pairs` counts every report that would move, `moved` names the newest 200.
    """

    received_from: datetime
    received_to: datetime
    received: int
    considered: int
    complete: bool
    would_move: int
    pairs: list[PairOut]
    moved: list[MovedOut]


class ChangeOut(BaseModel):
    """A rule entered or ended, or what that would do (`stored` false)."""

    stored: bool
    rule: RuleOut
    findings: list[FindingOut]
    replay: ReplayOut


class FindingsOut(BaseModel):
    """Everything to see to in the rules in force on a day and later."""

    on: date
    findings: list[FindingOut]


class CoverageRow(BaseModel):
    """Who answers for a category in a commune, at all hours and everywhere in it; `exceptions` hold only in part."""

    category: str
    commune: UnitOut
    unit: UnitOut | None
    reason: str
    reason_text: str
    rule: RuleRef | None
    exceptions: list[RuleRef]


class CoverageOut(BaseModel):
    """Category × commune → unit on a day. Rows without a unit need a person."""

    on: date
    covered: int
    uncovered: int
    rows: list[CoverageRow]


# The pack ----------------------------------------------------------------------------------------------------------


class AssetEntry(PackModel):
    """A class of assets and how near one must be."""

    asset_class: Code
    within_m: Metres = WITHIN_M
    to_manager: bool = False


class RuleEntry(PackModel):
    """One row of routing.yaml; without `communes` and `asset` it holds in the whole province.

    `communes` alone make a rule each; with `area_name` they are one rule for a group of communes.
    """

    category: str | None = None
    group: str | None = None
    communes: Annotated[list[str], Field(min_length=1)] | None = None
    area_name: Annotated[str, Field(min_length=1, max_length=120)] | None = None
    asset: AssetEntry | None = None
    hours: Hours | None = None
    unit: str | None = None
    cooperating: list[str] = Field(default_factory=list)
    valid_from: Day
    valid_to: Day | None = None
    priority: Annotated[int, Field(ge=0, le=1000)] = 100
    note: str = ""
    decision: str = ""
    belief: bool = False

    @model_validator(mode="after")
    def _is_sound(self) -> "RuleEntry":
        faults: Sequence[tuple[bool, str]] = (
            ((self.category is None) == (self.group is None), "name either a category or a group"),
            (self.valid_to is not None and self.valid_to <= self.valid_from, "the period is empty"),
            (self.communes is not None and self.asset is not None, "name either communes or an asset"),
            (self.area_name is not None and self.communes is None, "area_name is the name of a group of communes"),
            (
                self.unit is None and not (self.asset and self.asset.to_manager),
                "name the unit; only a rule to an asset's manager may go without",
            ),
        )
        for is_fault, message in faults:
            if is_fault:
                raise ValueError(message)
        return self


class RulesFile(PackModel):
    """routing.yaml."""

    rules: list[RuleEntry]


# In words ----------------------------------------------------------------------------------------------------------

_DAYS = (
    ("thứ Hai", "thứ Ba", "thứ Tư", "thứ Năm", "thứ Sáu", "thứ Bảy", "Chủ nhật"),
    ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
)
_VERDICTS: dict[Verdict, tuple[str, str]] = {
    "won": ("khớp và mạnh nhất nên được chọn", "matches, is the strongest and decides"),
    "agrees": ("khớp, cùng độ mạnh và chỉ cùng đơn vị", "matches, is as strong and names the same unit"),
    "tied": (
        "khớp, cùng độ mạnh với quy tắc khác nhưng chỉ đơn vị khác, nên phải có người quyết định",
        "matches and is as strong as another that names a different unit, so a person decides",
    ),
    "priority": ("khớp nhưng mức ưu tiên thấp hơn", "matches, but its priority is lower"),
    "category": ("khớp nhưng cho cả nhóm, quy tắc thắng nêu đúng lĩnh vực", "matches, but for the whole group only"),
    "area": ("khớp nhưng khu vực kém cụ thể hơn", "matches, but its area is less specific"),
    "hours_always": (
        "khớp nhưng không nêu giờ, quy tắc thắng có giờ",
        "matches, but at all hours; the winner names hours",
    ),
    "hours": ("không khớp: ngoài khung giờ", "does not match: outside its hours"),
    "weekday": ("không khớp: không phải ngày trong tuần của quy tắc", "does not match: not on this weekday"),
    "period": ("không khớp: ngoài thời gian hiệu lực", "does not match: not in force on that day"),
    "place": ("không khớp: vị trí ngoài khu vực", "does not match: the place lies outside its area"),
    "asset": ("không khớp: không có tài sản loại này đủ gần", "does not match: no such asset is near enough"),
    "no_manager": (
        "không khớp: tài sản gần nhất chưa có đơn vị quản lý",
        "does not match: the nearest asset has no manager",
    ),
    "subject": ("không khớp: lĩnh vực khác", "does not match: another category"),
}


@dataclass(frozen=True, slots=True)
class Words:
    """Sentences about rules in one language; the names come from who knows them."""

    english: bool
    unit: Callable[[UUID | None], UnitOut | None]
    category: Callable[[str], str]
    group: Callable[[str], str]
    asset_class: Callable[[str], str]

    def say(self, vi: str, en: str) -> str:
        """The sentence in this language."""
        return en if self.english else vi

    def unit_name(self, unit_id: UUID | None) -> str:
        """A unit's name; none is a person's work."""
        named = self.unit(unit_id)
        return named.name if named else self.say("điều phối viên", "a dispatcher")

    def rule(self, rule: RuleRow) -> str:
        """A rule in one line: what, where, when → who."""
        about = self.category(rule.category) if rule.category else self.group(rule.group or "")
        parts = [about, self._area(rule), self._hours(rule)]
        until = "" if rule.valid_to is None else self.say(" đến trước ", " until before ") + f"{rule.valid_to:%d/%m/%Y}"
        when = self.say("từ", "from") + f" {rule.valid_from:%d/%m/%Y}{until}"
        strength = self.say(f"ưu tiên {rule.priority}", f"priority {rule.priority}")
        return f"{', '.join(part for part in parts if part)} → {self._target(rule)} ({strength}, {when})"

    def verdict(self, rule: RuleRow, verdict: Verdict, rival: RuleRow | None) -> str:
        """What became of a rule."""
        told = _VERDICTS[verdict][self.english]
        against = ""
        if rival is not None and verdict not in ("won", "agrees"):
            against = self.say(f" (so với quy tắc: {self.rule(rival)})", f" (against the rule: {self.rule(rival)})")
        return self.say("Quy tắc", "The rule") + f" “{self.rule(rule)}” {told}{against}."

    def _area(self, rule: RuleRow) -> str:
        match rule.area:
            case "everywhere":
                return self.say("toàn tỉnh", "everywhere")
            case "commune":
                return self.unit_name(rule.commune_id)
            case "asset":
                named = self.asset_class(rule.asset_class or "")
                return self.say(f"cách {named} tối đa {rule.within_m:g} m", f"within {rule.within_m:g} m of {named}")
            case _:
                return self.say(f"khu vực {rule.area_name}", f"area {rule.area_name}")

    def _hours(self, rule: RuleRow) -> str:
        days = ", ".join(_DAYS[self.english][day - 1] for day in sorted(rule.weekdays))
        span = f"{rule.starts:%H:%M}–{rule.ends:%H:%M}" if rule.starts is not None and rule.ends is not None else ""
        return " ".join(part for part in (span, days) if part)

    def _target(self, rule: RuleRow) -> str:
        if not rule.to_manager:
            return self.unit_name(rule.unit_id)
        manager = self.say("đơn vị quản lý tài sản", "the asset's manager")
        fallback = self.say("nếu chưa có thì", "or where there is none")
        return f"{manager}, {fallback} {self.unit_name(rule.unit_id)}" if rule.unit_id else manager

    def more_rules(self, number: int) -> str:
        """What was not told."""
        return self.say(f"Còn {number} quy tắc khác không được liệt kê.", f"{number} more rules are not listed.")

    def moment(self, at: datetime) -> str:
        """The local moment that hours and weekdays are held against."""
        day = _DAYS[self.english][at.isoweekday() - 1]
        return self.say(
            f"Thời điểm xét: {day} {at:%d/%m/%Y %H:%M} (giờ Việt Nam).",
            f"The moment asked about: {day} {at:%d/%m/%Y %H:%M} (Vietnam time).",
        )

    def place(self, place: Place, accuracy_m: float | None) -> str:
        """Where the report is, and how sure that is."""
        home = self.unit_name(place.home_id)
        others = ", ".join(self.unit_name(each) for each in place.candidates if each != place.commune_id)
        exact = self.say(f"sai số {accuracy_m or 0:.0f} m", f"accuracy {accuracy_m or 0:.0f} m")
        match place.outcome:
            case "inside":
                return self.say(f"Điểm nằm trong {home} ({exact}).", f"The point lies inside {home} ({exact}).")
            case "border":
                return self.say(
                    f"Điểm nằm trong {home}, nhưng với {exact} có thể thuộc: {others}.",
                    f"The point lies inside {home}, but with {exact} it may belong to: {others}.",
                )
            case "sliver":
                return self.say(
                    f"Điểm nằm trong khe giữa các ranh giới; gần nhất là {home}.",
                    f"The point lies in a gap between borders; the nearest is {home}.",
                )
            case "outside":
                return self.say("Điểm nằm ngoài tỉnh.", "The point lies outside the province.")
        if place.stated_id is None:
            return self.say(
                "Không có vị trí và không rõ xã, phường.", "There is no location, and no commune was named."
            )
        return self.say(f"Không có vị trí; người gửi chọn {home}.", f"There is no location; the sender named {home}.")

    def boundary(self, source: str, effective_from: date, *, approximate: bool) -> str:
        """Whose line was used."""
        kind = self.say(
            "gần đúng (cần người xác nhận xã, phường)" if approximate else "đo đạc",
            "approximate (a person confirms the commune)" if approximate else "surveyed",
        )
        return self.say(
            f"Ranh giới dùng: {kind}, nguồn “{source}”, hiệu lực từ {effective_from:%d/%m/%Y}.",
            f"Boundaries used: {kind}, source “{source}”, in force since {effective_from:%d/%m/%Y}.",
        )

    def assets(self, near: Sequence[Nearby]) -> str:
        """What is near the point, as far as rules ask."""
        if not near:
            return self.say(
                "Không có tài sản nào mà quy tắc hỏi tới ở gần điểm này.", "No asset that a rule asks for is near."
            )
        listed = "; ".join(
            f"{self.asset_class(each.asset_class)} “{each.name}” {each.distance_m:.1f} m"
            + (f", {self.unit_name(each.manager_id)}" if each.manager_id else "")
            for each in near[:5]
        )
        return self.say(f"Tài sản ở gần: {listed}.", f"Assets near by: {listed}.")

    def without_rule(self, level: str, default_id: UUID | None, home_id: UUID | None) -> str:
        """What holds where no rule matches."""
        if level == "commune":
            to = self.unit_name(home_id)
            return self.say(
                f"Không có quy tắc nào khớp; lĩnh vực này do xã, phường giải quyết: {to}.",
                f"No rule matches; this category belongs to the commune: {to}.",
            )
        to = self.unit_name(default_id)
        return self.say(
            f"Không có quy tắc nào khớp; lĩnh vực này do đơn vị cấp tỉnh giải quyết: {to}.",
            f"No rule matches; this category belongs to a provincial unit: {to}.",
        )

    def successor(self, ended_id: UUID, unit_id: UUID | None) -> str:
        """What became of a unit that has ended."""
        ended = self.unit_name(ended_id)
        if unit_id is None:
            return self.say(
                f"{ended} đã kết thúc hoạt động và chưa rõ đơn vị kế thừa tại vị trí này.",
                f"{ended} has ended, and which unit follows it here is not clear.",
            )
        heir = self.unit_name(unit_id)
        return self.say(
            f"{ended} đã kết thúc hoạt động; đơn vị kế thừa là {heir}.", f"{ended} has ended; {heir} succeeds it."
        )

    def decision(self, unit_id: UUID | None, suggested_id: UUID | None, reason: str) -> str:
        """The end of it."""
        why = REASONS[reason][self.english]
        if unit_id is not None:
            to = self.unit_name(unit_id)
            return self.say(f"Kết quả: giao {to}. {why}.", f"Result: goes to {to}. {why}.")
        hint = ""
        if suggested_id is not None:
            hint = self.say(" Gợi ý: ", " Suggested: ") + f"{self.unit_name(suggested_id)}."
        return self.say(f"Kết quả: chuyển điều phối viên. {why}.{hint}", f"Result: a dispatcher decides. {why}.{hint}")

    def cooperation(self, helpers: Sequence[UUID]) -> str:
        """Who helps."""
        names = ", ".join(self.unit_name(each) for each in helpers)
        return self.say(f"Đơn vị phối hợp: {names}.", f"Cooperating units: {names}.")

    def conflict(self, one: RuleRow, other: RuleRow, example: Example) -> str:
        """Two rules that nobody can choose between."""
        where, at = self.unit_name(example.commune_id), f"{example.at:%d/%m/%Y %H:%M}"
        what = self.category(example.category)
        return self.say(
            f"Hai quy tắc cùng độ mạnh chỉ đơn vị khác nhau, ví dụ “{what}” tại {where} lúc {at}:"
            f" “{self.rule(one)}” và “{self.rule(other)}”.",
            f"Two rules of equal strength name different units, for example “{what}” in {where} at {at}:"
            f" “{self.rule(one)}” and “{self.rule(other)}”.",
        )

    def unreachable(self, rule: RuleRow, winners: Sequence[RuleRow]) -> str:
        """A rule that never decides."""
        listed = "; ".join(f"“{self.rule(each)}”" for each in winners)
        return self.say(
            f"Quy tắc “{self.rule(rule)}” không bao giờ được dùng vì luôn có quy tắc khác được chọn trước: {listed}.",
            f"The rule “{self.rule(rule)}” never decides, because others always come first: {listed}.",
        )

    def ended(self, rule: RuleRow, what: str) -> str:
        """A rule that names something which is no more."""
        return self.say(
            f"Quy tắc “{self.rule(rule)}” nêu {what}, nay không còn hoạt động.",
            f"The rule “{self.rule(rule)}” names {what}, which is no longer in force.",
        )

    def uncovered(self, category: str, communes: int, reason: str) -> str:
        """A category that a person must route."""
        why = REASONS[reason][self.english]
        return self.say(
            f"“{self.category(category)}” chưa có đơn vị tại {communes} xã, phường; cần điều phối viên. {why}.",
            f"“{self.category(category)}” has no unit in {communes} communes; a dispatcher decides. {why}.",
        )
