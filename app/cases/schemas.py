"""Cases on the wire, for the citizen who reported and for the staff who work, and what is refused."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from app.cases.rules import Outcome
from app.catalog.rules import Urgency
from app.core.errors import Problem
from app.identity.rules import Purpose
from app.reports.schemas import MEDIA_MAX, LocationIn, LocationOut, Text, each_once

UNKNOWN_CATEGORY = Problem(
    "unknown_category",
    422,
    vi=(
        "Lĩnh vực không tồn tại",
        "Lĩnh vực {category} không có trong danh mục. Vui lòng tải lại danh mục rồi chọn lại.",
    ),
    en=("Unknown category", "There is no category {category}. Load the categories again and choose one."),
)
UNKNOWN_COMMUNE = Problem(
    "unknown_commune",
    422,
    vi=("Xã, phường không tồn tại", "Không có xã, phường mang mã {commune} trong tỉnh. Vui lòng chọn lại."),
    en=("Unknown commune", "No commune of the province has the code {commune}. Choose one again."),
)
UNKNOWN_UNIT = Problem(
    "unknown_unit",
    422,
    vi=("Đơn vị không tồn tại", "Không có đơn vị mang mã {unit} đang hoạt động."),
    en=("Unknown unit", "No unit in force has the code {unit}."),
)
MEDIA_IN_USE = Problem(
    "media_in_use",
    422,
    vi=("Ảnh đã được dùng", "Ảnh này đã gắn với một phản ánh khác. Vui lòng tải ảnh lên lại."),
    en=("Photo already used", "This photo belongs to another report. Upload it again."),
)
MOVE_NOT_ALLOWED = Problem(
    "move_not_allowed",
    409,
    vi=(
        "Thao tác không phù hợp",
        "Hồ sơ đang ở trạng thái không cho phép thao tác này. Vui lòng tải lại và chọn một thao tác đang được phép.",
    ),
    en=("Move not allowed", "The case stands where this move is not possible. Load it again and choose one allowed."),
)
VERSION_MISSING = Problem(
    "version_missing",
    428,
    vi=("Thiếu phiên bản hồ sơ", "Gửi kèm If-Match với ETag của hồ sơ đang xem."),
    en=("Version missing", "Send If-Match with the ETag of the case as you saw it."),
)
VERSION_STALE = Problem(
    "version_stale",
    412,
    vi=("Hồ sơ đã thay đổi", "Hồ sơ vừa được người khác cập nhật. Vui lòng tải lại rồi thực hiện."),
    en=("The case has changed", "Somebody updated the case meanwhile. Load it again, then act."),
)
UNKNOWN_REJECT_CODE = Problem(
    "unknown_reject_code",
    422,
    vi=("Lý do từ chối không hợp lệ", "Không có lý do từ chối mang mã {code}."),
    en=("Unknown reason", "There is no reject code {code}."),
)
NOT_PUBLISHABLE = Problem(
    "not_publishable",
    409,
    vi=("Không được công khai", "Phản ánh này là riêng tư hoặc thuộc lĩnh vực không công khai."),
    en=("Not publishable", "This report is private or of a category that is never public."),
)
BAD_BBOX = Problem(
    "bad_bbox",
    422,
    vi=("Khung bản đồ không hợp lệ", "Khung bản đồ cần bốn số: tây, nam, đông, bắc (độ)."),
    en=("Bad box", "The box needs four numbers: west, south, east, north (degrees)."),
)
NOT_IN_YOUR_TREE = Problem(
    "not_in_your_tree",
    409,
    vi=(
        "Ngoài phạm vi đơn vị",
        "Lãnh đạo đơn vị chỉ chuyển hồ sơ trong phạm vi đơn vị mình. Vui lòng trả lại để trung tâm điều phối chuyển.",
    ),
    en=(
        "Outside your unit",
        "A unit lead transfers within the own unit only. Return the case so that a dispatcher can pass it on.",
    ),
)
ALREADY_THERE = Problem(
    "already_there",
    409,
    vi=(
        "Hồ sơ đang ở đơn vị này",
        "Chuyển hồ sơ cho chính đơn vị đang giữ không có ý nghĩa. Vui lòng chọn đơn vị khác.",
    ),
    en=("Already with this unit", "The unit named holds the case. Choose another one."),
)
NOT_BELOW = Problem(
    "not_below",
    409,
    vi=(
        "Không phải đơn vị trực thuộc",
        "Chỉ giao hồ sơ xuống đơn vị trực thuộc đơn vị đang giữ. Với đơn vị khác, vui lòng dùng chuyển đơn vị.",
    ),
    en=(
        "Not a unit below",
        "A case is handed down to a unit below the one that holds it. To reach another unit, transfer it.",
    ),
)
NOT_ABOVE = Problem(
    "not_above",
    409,
    vi=(
        "Không phải đơn vị cấp trên",
        "Chỉ đơn vị cấp trên của đơn vị đang giữ mới rút được hồ sơ. Với đơn vị khác, vui lòng dùng chuyển đơn vị.",
    ),
    en=(
        "Not a unit above",
        "Only a unit above the one that holds the case takes it back. To reach another unit, transfer it.",
    ),
)
NOTHING_ADDED = Problem(
    "nothing_added",
    422,
    vi=("Chưa có nội dung bổ sung", "Vui lòng nhập nội dung hoặc chọn ảnh để bổ sung."),
    en=("Nothing to add", "Write something or choose photos to add."),
)

PLAN_NOT_AHEAD = Problem(
    "plan_not_ahead",
    422,
    vi=("Ngày dự kiến không hợp lệ", "Kế hoạch cần một ngày sau hôm nay. Vui lòng chọn lại ngày."),
    en=("Not a day ahead", "A plan needs a day after today. Choose another day."),
)

_STRICT = ConfigDict(extra="forbid")
Reason = Annotated[Text, Field(min_length=1, max_length=2000)]
Note = Annotated[Text, Field(min_length=1, max_length=5000)]
MediaIds = Annotated[list[UUID], Field(max_length=MEDIA_MAX), AfterValidator(each_once)]


class UnitOut(BaseModel):
    """A unit, named."""

    code: str
    name: str


class ColleagueOut(BaseModel):
    """Somebody of the staff, for colleagues."""

    id: UUID
    name: str


class StepOut(BaseModel):
    """One step of the history a citizen may read. `text` is what staff or the citizen wrote for the other."""

    at: datetime
    verb: str
    status: str
    status_text: str
    unit: UnitOut | None = None
    text: str | None = None


class RejectOut(BaseModel):
    """Why a report was refused, and the right door for it."""

    code: str
    name: str
    turn_to: str


class SurvivorOut(BaseModel):
    """The case that a duplicate is followed up with: its reference and where it stands, nothing of what it says."""

    reference: str
    status: str
    status_text: str


class ReportOut(BaseModel):
    """A report with the standing of its case. What only its author may read is null for everybody else."""

    id: UUID | None
    reference: str
    mine: bool
    category: str
    description: str
    location: LocationOut | None
    address: str | None = None
    place_text: str | None = None
    visibility: str
    published: bool
    status: str
    status_text: str
    supporters: int = Field(description="How many people beside the reporter have the same problem.")
    commune: UnitOut | None
    unit: UnitOut | None
    received_at: datetime
    due_at: datetime | None
    resolved_at: datetime | None
    outcome: str | None
    planned_until: date | None = Field(description="A planned result stays visible; on this local day it returns.")
    question: str | None = Field(description="What the unit needs to know, while the status is waiting_citizen.")
    rejection: RejectOut | None
    merged_into: SurvivorOut | None
    rating: str | None
    media: list[UUID]
    after_media: list[UUID]
    steps: list[StepOut]
    allowed_actions: list[str]
    version: int


class PhotoOut(BaseModel):
    """A photo for staff. `hint_distance_m`: how far its own GPS lies from the pin, where that is suspicious."""

    id: UUID
    kind: Literal["report", "after", "note"]
    state: str
    hint_distance_m: int | None = None
    taken_at: datetime | None = None


class SupersededOut(BaseModel):
    """A deadline that a clock had until event `seq`: by which version of which policy, and by which verb it ended."""

    due_at: datetime
    policy_id: UUID
    at: datetime
    seq: int
    reason: str


class ClockOut(BaseModel):
    """One deadline: by when, stopped when, met or not; `breached_at` is the moment it ran out first.

    `superseded`: the deadlines it had before a new category or urgency, oldest first.
    """

    kind: str
    cycle: int
    started_at: datetime
    due_at: datetime
    stopped_at: datetime | None
    met: bool | None
    breached_at: datetime | None
    superseded: list[SupersededOut]


class HopOut(BaseModel):
    """The case's stay with one unit."""

    unit: UnitOut
    cycle: int
    received_at: datetime
    due_at: datetime | None
    accepted_at: datetime | None
    ended_at: datetime | None
    outcome: str | None


class EventOut(BaseModel):
    """One event of the case's chain."""

    seq: int
    at: datetime
    verb: str
    from_state: str | None
    to_state: str
    actor_kind: str
    unit: UnitOut | None
    code: str | None
    text: str | None
    erased: bool
    hash: str


class DocumentOut(BaseModel):
    """The paper a result rests on."""

    number: str
    issued_on: date


class AskedOut(BaseModel):
    """Something that waits for somebody's word, asked by event `seq`.

    `code`: the working days of an extension, the reject code proposed, or the moment by which a directive is due.
    """

    seq: int
    at: datetime
    code: str | None
    text: str | None


class CaseRow(BaseModel):
    """One line of a staff list."""

    id: UUID
    reference: str
    category: str
    urgency: str
    state: str
    summary: str
    supporters: int
    unit: UnitOut | None
    assignee: ColleagueOut | None = Field(description="Who of the unit works on it.")
    commune: UnitOut | None
    received_at: datetime
    act_by: datetime
    due_at: datetime | None
    route_reason: str | None
    version: int


class DepartureOut(BaseModel):
    """A case that left a unit: which, when and why. Nothing of what was reported: the unit no longer holds it."""

    reference: str
    unit: UnitOut | None = Field(description="The unit it left.")
    received_at: datetime = Field(description="When it came to that unit.")
    ended_at: datetime
    outcome: str
    outcome_text: str
    code: str | None = Field(description="What was corrected, where that is why: place or category.")


class CaseOut(CaseRow):
    """A case as staff in charge see it; the citizen is a pseudonym.

    `location` is where the case lies now, `reported_location` where the citizen said, `moved_m` metres between them.
    `suggested` is the machine's guess where a person chooses the unit, `commune_confirmed` whether a dispatcher said
    that the place lies in `commune`.
    """

    helpers: list[UnitOut] = Field(description="The units that cooperate (phối hợp) with the one that holds the case.")
    citizen: str
    channel: str
    call_allowed: bool
    visibility: str
    published: bool
    hidden: bool
    description: str
    location: LocationOut | None
    reported_location: LocationOut | None
    moved_m: int | None
    address: str | None
    place_text: str | None
    asset: str | None = Field(description="The code on the sticker that was scanned.")
    merged_into: SurvivorOut | None
    suggested: UnitOut | None
    commune_confirmed: bool
    candidates: list[UnitOut]
    boundary_approximate: bool
    cycle: int
    outcome: str | None
    planned_until: date | None
    document: DocumentOut | None
    extension_asked: AskedOut | None
    rejection_proposed: AskedOut | None
    directive: AskedOut | None
    rating: str | None
    photos: list[PhotoOut]
    clocks: list[ClockOut]
    hops: list[HopOut]
    events: list[EventOut]
    allowed_actions: list[str]


# --- what moves carry ----------------------------------------------------------------------------------------------


class ReasonIn(BaseModel):
    """A move that needs a reason."""

    model_config = _STRICT

    reason: Reason


class WithdrawIn(BaseModel):
    """A withdrawal; the reason is the citizen's choice."""

    model_config = _STRICT

    reason: Annotated[Text, Field(max_length=2000)] = ""


class InformationIn(BaseModel):
    """More from the citizen: words, photos, or both."""

    model_config = _STRICT

    text: Annotated[Text, Field(max_length=5000)] = ""
    media_ids: MediaIds = []


class RatingIn(BaseModel):
    """The citizen's verdict on the result."""

    model_config = _STRICT

    rating: Literal["satisfied", "acceptable", "dissatisfied"]
    reason: Literal["not_fixed", "too_slow", "other"] | None = None
    text: Annotated[Text, Field(max_length=2000)] = ""


class AssignIn(BaseModel):
    """The unit that gets the case, by code; `commune` confirms in which commune the place lies.

    Giving a commune's case to a commune confirms that commune where the boundaries leave it open.
    """

    model_config = _STRICT

    unit: str = Field(min_length=1, max_length=60)
    commune: Annotated[str, Field(min_length=1, max_length=20)] | None = None
    note: Annotated[Text, Field(max_length=2000)] = ""


class TransferIn(ReasonIn):
    """The unit that gets the case, and why."""

    unit: str = Field(min_length=1, max_length=60)


class TakeBackIn(ReasonIn):
    """Why a unit above takes the case back, and which one: by default the next above the unit that holds it."""

    unit: Annotated[str, Field(min_length=1, max_length=60)] | None = None


class PlaceIn(BaseModel):
    """Where an own report really is; the reason is the citizen's choice."""

    model_config = _STRICT

    location: LocationIn
    reason: Annotated[Text, Field(max_length=2000)] = ""


class MovePinIn(ReasonIn):
    """Where the case really lies, and why; the citizen reads the reason."""

    location: LocationIn


class CategoryIn(BaseModel):
    """What an own report is really about; the reason is the citizen's choice."""

    model_config = _STRICT

    category: str = Field(min_length=1, max_length=60)
    reason: Annotated[Text, Field(max_length=2000)] = ""


class RecategoriseIn(ReasonIn):
    """What the case is really about, and why; the citizen reads the reason."""

    category: str = Field(min_length=1, max_length=60)


class UrgencyIn(ReasonIn):
    """How urgent the case is, and why; the citizen reads the reason."""

    urgency: Urgency


class PublishIn(BaseModel):
    """The public copy: the text as redacted (default: as written) and the photos to show (default: all)."""

    model_config = _STRICT

    description: Annotated[Text, Field(min_length=1, max_length=5000)] | None = None
    media_ids: MediaIds | None = None


class RejectIn(BaseModel):
    """A refusal: a code that names the right door, and words for the citizen."""

    model_config = _STRICT

    code: str = Field(min_length=1, max_length=40)
    explanation: Annotated[Text, Field(max_length=2000)] = ""


class MessageIn(BaseModel):
    """Words the citizen will read."""

    model_config = _STRICT

    text: Note


class DocumentIn(BaseModel):
    """The paper a result rests on (văn bản trả lời)."""

    model_config = _STRICT

    number: Annotated[Text, Field(min_length=1, max_length=100)]
    issued_on: date


class ResolveIn(BaseModel):
    """The result: what came of it, a note the citizen will read, photos of afterwards."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"outcome": "fixed", "note": "Đã thay nắp hố ga mới lúc 15 giờ cùng ngày.", "media_ids": []}]
        },
    )

    outcome: Outcome
    until: date | None = Field(default=None, description="Of a plan: the local day on which the case returns.")
    note: Note = Field(description="What the citizen reads: what was done, or why it cannot be.")
    document: DocumentIn | None = None
    media_ids: MediaIds = []

    @model_validator(mode="after")
    def _plans_have_a_day(self) -> "ResolveIn":
        if (self.outcome == "planned") != (self.until is not None):
            raise ValueError("a planned outcome, and no other, has a day until which it is planned")
        return self


class PurposeIn(BaseModel):
    """Why somebody's identity is read."""

    model_config = _STRICT

    purpose: Purpose
