"""Measures on the wire, with the words that explain each, and what is refused."""

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.core.errors import Problem
from app.kpi.rules import Handling, Rate, Spread, Standing

MAX_DAYS = 400

PERIOD_REVERSED = Problem(
    "period_reversed",
    400,
    vi=("Kỳ báo cáo không hợp lệ", "Ngày kết thúc phải sau ngày bắt đầu; ngày kết thúc không nằm trong kỳ."),
    en=("Period reversed", "The end must lie after the beginning; the end itself is not part of the period."),
)
PERIOD_TOO_LONG = Problem(
    "period_too_long",
    400,
    vi=("Kỳ báo cáo quá dài", "Vui lòng chọn kỳ không quá {days} ngày."),
    en=("Period too long", "Choose a period of at most {days} days."),
)
IN_THE_FUTURE = Problem(
    "in_the_future",
    400,
    vi=("Thời điểm ở tương lai", "Chưa có số liệu cho thời điểm này. Vui lòng chọn thời điểm đã qua."),
    en=("In the future", "There are no numbers for that moment yet. Choose one that has passed."),
)

GroupBy = Literal["unit", "category", "group", "urgency", "channel", "month"]

URGENCIES = {"normal": ("Bình thường", "Normal"), "urgent": ("Khẩn", "Urgent")}
CHANNELS = {
    "app": ("Ứng dụng", "App"),
    "assisted": ("Gửi hộ", "Filed by an assistant"),
    "open311": ("Open311", "Open311"),
}
NOBODY = ("Chưa giao đơn vị", "Not with any unit")
PROVISIONAL = (
    "Thời hạn tạm: chưa có quyết định quy định thời hạn.",
    "Provisional deadlines: no decision sets them yet.",
)


class DefinitionOut(BaseModel):
    """What a measure is called and how it is made."""

    code: str
    name_vi: str
    name_en: str
    text_vi: str
    text_en: str


def _defined(code: str, vi: tuple[str, str], en: tuple[str, str]) -> DefinitionOut:
    return DefinitionOut(code=code, name_vi=vi[0], text_vi=vi[1], name_en=en[0], text_en=en[1])


DEFINITIONS = [
    _defined(
        "received",
        ("Đã tiếp nhận", "Phản ánh gốc nhận trong kỳ, mỗi hồ sơ tính một lần. Ngày tính theo giờ Việt Nam."),
        ("Received", "Original reports received in the period, one case each. Days are local ones."),
    ),
    _defined(
        "verifying",
        ("Đang xác minh", "Chưa được xác minh tại thời điểm tính."),
        ("Verifying", "Not yet verified at the moment of counting."),
    ),
    _defined("withdrawn", ("Đã rút", "Người dân rút lại."), ("Withdrawn", "Taken back by the citizen.")),
    _defined("rejected", ("Từ chối", "Bị từ chối, có lý do."), ("Rejected", "Refused with a reason.")),
    _defined("merged", ("Trùng", "Gộp vào một hồ sơ khác."), ("Merged", "Joined to another case.")),
    _defined(
        "within_competence",
        ("Thuộc thẩm quyền", "Đã được chuyển xử lý và từ đó không bị từ chối, gộp hoặc rút."),
        ("Within competence", "Reached routing and was not rejected, merged or withdrawn since."),
    ),
    _defined(
        "handled_on_time",
        (
            "Đã xử lý đúng hạn",
            "Đã xử lý hoặc đã đóng tại thời điểm tính; kết quả cuối cùng đúng hạn và chưa lần nào quá hạn trước đó.",
        ),
        (
            "Handled on time",
            "Resolved or closed then; the final resolution met its deadline and none had passed before.",
        ),
    ),
    _defined(
        "handled_late",
        ("Đã xử lý trễ hạn", "Đã xử lý hoặc đã đóng, nhưng có lần quá hạn."),
        ("Handled late", "Resolved or closed, but a deadline had passed."),
    ),
    _defined(
        "open_in_time",
        ("Đang xử lý, còn hạn", "Chưa xong và chưa quá hạn; hồ sơ mở lại được tính là đang xử lý."),
        ("Open in time", "Not done and not past its deadline; a reopened case is open again."),
    ),
    _defined(
        "open_overdue",
        ("Đang xử lý, quá hạn", "Chưa xong và đã quá hạn tại thời điểm tính."),
        ("Open overdue", "Not done and past its deadline at the moment of counting."),
    ),
    _defined(
        "open_without_deadline",
        ("Chưa giao đơn vị", "Nằm trong số còn hạn: chưa giao đơn vị nào nên chưa có thời hạn xử lý."),
        ("Not assigned yet", "Part of open in time: no unit was assigned, so no deadline for resolving runs yet."),
    ),
    _defined(
        "handling_rate",
        ("Tỷ lệ xử lý", "Đã xử lý ÷ thuộc thẩm quyền."),
        ("Handling rate", "Handled ÷ within competence."),
    ),
    _defined(
        "handled_of_received",
        ("Tỷ lệ xử lý trên tổng tiếp nhận", "Đã xử lý ÷ đã tiếp nhận."),
        ("Handled of received", "Handled ÷ received."),
    ),
    _defined(
        "on_time_rate",
        ("Tỷ lệ đúng hạn", "Đúng hạn ÷ (đúng hạn + trễ hạn + đang xử lý quá hạn)."),
        ("On-time rate", "On time ÷ (on time + late + open overdue)."),
    ),
    _defined(
        "times",
        (
            "Thời gian đến từng bước",
            "Số phút từ khi tiếp nhận đến khi xác minh, đơn vị nhận việc, phản hồi đầu, xử lý xong; làm tròn xuống.",
        ),
        (
            "Time to each step",
            "Minutes from receipt to verification, acceptance by the unit, first response, resolution; rounded down.",
        ),
    ),
    _defined(
        "percentiles",
        ("Trung vị, p90", "Giá trị có thật đứng thứ ⌈50% · n⌉ và ⌈90% · n⌉ trong n hồ sơ đã đến bước đó."),
        ("Median, p90", "The values that stand ⌈50% · n⌉-th and ⌈90% · n⌉-th of the n cases that got so far."),
    ),
    _defined(
        "working_time",
        ("Giờ làm việc", "Chỉ tính giờ làm việc theo lịch của tỉnh; bên cạnh là thời gian thực tế."),
        ("Working time", "Counts the hours of the province's working calendar only; elapsed time stands beside it."),
    ),
    _defined(
        "unit",
        (
            "Theo đơn vị",
            "Đơn vị đang giữ hồ sơ tại thời điểm tính, hoặc giữ sau cùng; gồm cả đơn vị trực thuộc khi lọc.",
        ),
        ("By unit", "The unit holding the case at the moment of counting, or last; a filter includes units below."),
    ),
]


class RateOut(BaseModel):
    """A share between 0 and 1 with what it was made of; null where there is nothing to divide by."""

    numerator: int
    denominator: int
    value: float | None = Field(examples=[0.92])

    @classmethod
    def of(cls, rate: Rate) -> "RateOut":
        """From a rate."""
        return cls(numerator=rate.numerator, denominator=rate.denominator, value=rate.value)


class MinutesOut(BaseModel):
    """Whole minutes; null without any case."""

    median: int | None
    p90: int | None


class SpreadOut(BaseModel):
    """How long a step took, over `count` cases, on the 24/7 clock and in working time."""

    count: int
    elapsed: MinutesOut
    working: MinutesOut

    @classmethod
    def of(cls, spread: Spread) -> "SpreadOut":
        """From a spread."""
        return cls(
            count=spread.count,
            elapsed=MinutesOut(median=spread.median_elapsed, p90=spread.p90_elapsed),
            working=MinutesOut(median=spread.median_working, p90=spread.p90_working),
        )


class TimesOut(BaseModel):
    """Minutes from receipt to each step."""

    verify: SpreadOut
    accept: SpreadOut
    first_response: SpreadOut
    resolve: SpreadOut


class MeasuresOut(BaseModel):
    """The measures of some cases.

    received = verifying + withdrawn + rejected + merged + within_competence;
    within_competence = handled_on_time + handled_late + open_in_time + open_overdue.
    """

    received: int
    verifying: int
    withdrawn: int
    rejected: int
    rejected_by: dict[str, int] = Field(description="Rejected cases by reject code.")
    merged: int
    within_competence: int
    handled_on_time: int
    handled_late: int
    open_in_time: int
    open_overdue: int
    open_without_deadline: int
    handling_rate: RateOut
    handled_of_received: RateOut
    on_time_rate: RateOut
    times: TimesOut

    @classmethod
    def of(cls, found: Handling) -> "MeasuresOut":
        """From the measures of a cohort."""
        return cls(
            received=found.received,
            within_competence=found.within_competence,
            **{str(each): found.standings[each] for each in Standing},
            open_without_deadline=found.without_deadline,
            rejected_by=dict(found.rejected_by),
            handling_rate=RateOut.of(found.handling_rate),
            handled_of_received=RateOut.of(found.handled_of_received),
            on_time_rate=RateOut.of(found.on_time_rate),
            times=TimesOut(**{step: SpreadOut.of(spread) for step, spread in found.times.items()}),
        )


class GroupOut(MeasuresOut):
    """The measures of one group; `key` is null for cases without a unit."""

    key: str | None
    name: str


class HandlingOut(BaseModel):
    """How the reports received in a period stood at a moment."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    from_: date = Field(alias="from", description="First local day of the period.")
    to: date = Field(description="The local day after the last.")
    as_of: datetime = Field(description="The moment at which every case is counted.")
    time_zone: str
    unit: str | None
    group_by: GroupBy | None
    basis: Literal["case"] = Field(default="case", description="Each case counts once, wherever it has been.")
    deadlines_note: str | None = Field(description="Set while some deadline rests on no decision.")
    total: MeasuresOut
    groups: list[GroupOut]
    definitions: list[DefinitionOut]
