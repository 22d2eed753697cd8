"""Changes of calendar and policies on the wire, and what is refused about them."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.catalog.rules import Urgency
from app.core.errors import Problem
from app.deadlines.rules import DayState, Duration, Interval, Kind, PolicyClock
from app.deadlines.schemas import WEEKDAYS, PauseReason, TimeOfDay, UnitGroup, Weekday
from app.timetables.rules import LONGEST_PAUSE_DAYS, length

TIME_CHANGE_REFUSED = Problem(
    "time_change_refused",
    422,
    vi=("Thay đổi thời hạn chưa thể ghi nhận", "Vui lòng sửa các mục được nêu rồi gửi lại; chưa có gì thay đổi."),
    en=("This change of time cannot be entered", "Correct what is listed and send it again; nothing was changed."),
)
NOTHING_ENTERED = Problem(
    "time_change_empty",
    422,
    vi=("Chưa có nội dung thay đổi", "Vui lòng nêu ít nhất một ngày, tuần làm việc, nhóm đơn vị hoặc thời hạn."),
    en=("Nothing to enter", "Name at least one day, working week, group of units or deadline."),
)
# Why something cannot be entered, in Vietnamese and English.
FINDINGS = {
    "weekday_twice": ("Một thứ trong tuần được nêu hai lần.", "A weekday stands here twice."),
    "hours_backward": ("Giờ kết thúc phải sau giờ bắt đầu.", "An interval ends before it starts."),
    "hours_overlap": ("Hai khoảng giờ làm việc chồng lên nhau.", "Two working intervals overlap."),
    "day_in_two_states": (
        "Ngày {day} được nêu hai lần cho cùng một nhóm đơn vị.",
        "{day} is given two states for one group of units.",
    ),
    "day_too_far": (
        "Ngày {day} cách nay hơn {years} năm. Vui lòng kiểm tra lại năm.",
        "{day} lies more than {years} years ahead. Check the year.",
    ),
    "unknown_group": (
        "Chưa có đơn vị hay giờ làm việc nào cho nhóm {group}.",
        "The group {group} has neither units nor hours.",
    ),
    "unknown_unit": ("Không có đơn vị đang hoạt động nào mang mã {unit}.", "No unit in force bears the code {unit}."),
    "unit_twice": ("Đơn vị {unit} được nêu hai lần.", "The unit {unit} stands here twice."),
    "unknown_category": ("Không có lĩnh vực {category}.", "There is no category {category}."),
    "length_unclear": (
        "Cần nêu hoặc số ngày hoặc số giờ; thời hạn theo ngày lịch chỉ tính bằng ngày.",
        "Exactly one of days and hours is needed; calendar time is given in days.",
    ),
    "policy_twice": (
        "Thời hạn này được nêu hai lần cho cùng ngày hiệu lực.",
        "The same deadline stands here twice for one day.",
    ),
    "policy_without_default": (
        "Đến ngày {day} chưa có thời hạn chung cho loại này. Vui lòng nhập thời hạn chung trước.",
        "There is no default for this clock on {day}. Enter the default first.",
    ),
    "pause_too_long": (
        f"Một lần tạm dừng không được quá {LONGEST_PAUSE_DAYS} ngày.",
        f"No pause may be longer than {LONGEST_PAUSE_DAYS} days.",
    ),
}
MOST = 200
MOST_LISTED = 500


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DayIn(_In):
    """What one date is, against its weekday and the public holidays; `normal` takes an earlier entry back."""

    date: date
    state: DayState
    unit_group: UnitGroup = "*"
    note: Annotated[str, StringConstraints(min_length=1, max_length=300)] = Field(examples=["Bão số 5, nghỉ làm"])


class IntervalIn(_In):
    """Working time between two times of day."""

    start: TimeOfDay
    end: TimeOfDay

    def minutes(self) -> Interval:
        """Minutes after midnight."""
        start, end = (int(text[:2]) * 60 + int(text[3:]) for text in (self.start, self.end))
        return start, end


class HoursIn(_In):
    """The same working intervals on some weekdays."""

    weekdays: Annotated[list[Weekday], Field(min_length=1)]
    intervals: Annotated[list[IntervalIn], Field(min_length=1, max_length=8)]

    def plain(self) -> tuple[list[int], list[Interval]]:
        """Weekdays as numbers (0 = Monday), intervals in minutes after midnight."""
        return [WEEKDAYS.index(each) for each in self.weekdays], [each.minutes() for each in self.intervals]


class WeekIn(_In):
    """The whole working week of a group of units from a local day on; a weekday that is not named is free."""

    unit_group: UnitGroup = "*"
    effective_from: date
    hours: Annotated[list[HoursIn], Field(min_length=1, max_length=7)]


class GroupIn(_In):
    """Units that keep the hours of a group from now on; `*`: everybody's again."""

    unit_group: UnitGroup
    units: Annotated[list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=MOST)]


class _Term(_In):
    kind: Kind
    days: Annotated[int, Field(ge=1, le=400)] | None = None
    hours: Annotated[int, Field(ge=1, le=9600)] | None = None
    valid_from: date = Field(description="The local day from which clocks that start are measured by it.")
    decision: Annotated[str, Field(min_length=1, max_length=300)] | None = Field(
        default=None, description="Number and date of the decision it rests on; without one it is provisional."
    )

    def length(self) -> Duration | None:
        """The time it allows; None where that is not said in one way."""
        return length(self.kind, self.days, self.hours)


class PolicyIn(_Term):
    """The deadline of one clock: for a category, or the default; `urgency`: for cases that somebody gave it."""

    clock: PolicyClock
    category: Annotated[str, Field(max_length=64)] | None = None
    urgency: Urgency | None = None


class PauseIn(_Term):
    """How long a pause for a reason may last (without `reason`: the default) and how many a clock may have."""

    reason: PauseReason | None = None
    times: Annotated[int, Field(ge=1, le=20)]


class TimeChangeIn(_In):
    """Days, weeks, groups of units and policies that are entered at once; all or nothing."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "note": "Công điện 07/CĐ-UBND về bão số 5",
                    "days": [{"date": "2026-09-10", "state": "off", "note": "Bão số 5, nghỉ làm"}],
                    "dry_run": True,
                }
            ]
        }
    )

    note: Annotated[str, StringConstraints(min_length=1, max_length=300)] = Field(description="Why, for the audit log.")
    days: Annotated[list[DayIn], Field(max_length=MOST)] = []
    weeks: Annotated[list[WeekIn], Field(max_length=MOST)] = []
    groups: Annotated[list[GroupIn], Field(max_length=MOST)] = []
    policies: Annotated[list[PolicyIn], Field(max_length=MOST)] = []
    pauses: Annotated[list[PauseIn], Field(max_length=MOST)] = []
    dry_run: bool = Field(default=False, description="Only say which deadlines would move.")


class MoveOut(BaseModel):
    """A running deadline that moves."""

    reference: str
    clock: str
    due_at: datetime
    new_due_at: datetime


class TimeChangeOut(BaseModel):
    """What was or would be entered, and the running deadlines that move by it, the first due first.

    `moves` holds at most 500 of `would_move`. What is stored moves them within a minute or two.
    """

    id: UUID | None
    stored: bool
    entered: list[str]
    would_move: int
    moves: list[MoveOut]


class TimeChangeRow(BaseModel):
    """A change that was entered; `done_at`: since when every running deadline is measured by it."""

    id: UUID
    entered_at: datetime
    note: str
    entered: list[str]
    moved: int
    done_at: datetime | None


class PolicyOut(BaseModel):
    """A policy in force: of a clock, or (`clock` pause) the cap of pauses. No `decision`: provisional."""

    clock: Literal["verify", "accept", "first_response", "resolve", "approve", "answer", "pause"]
    category: str | None
    urgency: str | None
    reason: str | None
    kind: Kind
    minutes: int
    times: int | None
    valid_from: date
    entered_at: datetime
    decision: str | None


class DayOut(BaseModel):
    """The working intervals of one local day, `HH:MM`."""

    date: date
    hours: list[str]
    minutes: int


class TimetableOut(BaseModel):
    """What measures deadlines on a day: policies in force, and the working hours of a group for four weeks from it."""

    on: date
    unit_group: str
    groups: dict[str, list[str]]
    policies: list[PolicyOut]
    days: list[DayOut]
