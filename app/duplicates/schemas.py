"""Duplicates on the wire, and what is refused."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.cases.schemas import Reason
from app.core.errors import Problem
from app.reports.schemas import (
    DESCRIPTION_MAX,
    MEDIA_MAX,
    LocationIn,
    PublicReportOut,
    Text,
    each_once,
)

OWN_REPORT = Problem(
    "own_report",
    409,
    vi=("Phản ánh của chính bạn", "Bạn là người gửi phản ánh này nên đã được theo dõi, không cần bấm “tôi cũng gặp”."),
    en=("Your own report", "You sent this report and follow it anyway; nothing needs to be supported."),
)
NOT_OPEN = Problem(
    "not_open",
    409,
    vi=(
        "Phản ánh đã kết thúc",
        "Phản ánh này đã được xử lý hoặc đã kết thúc. Nếu sự việc vẫn còn, vui lòng gửi một phản ánh mới.",
    ),
    en=("No longer open", "This report has been dealt with. If the problem is still there, send a new report."),
)


MERGE_INTO_ITSELF = Problem(
    "merge_into_itself",
    409,
    vi=("Không thể gộp vào chính nó", "Hồ sơ này là hồ sơ chính của hồ sơ được chọn. Vui lòng chọn một hồ sơ khác."),
    en=("Merged into itself", "This case is the survivor of the one named. Choose another one."),
)
NOT_A_SURVIVOR = Problem(
    "not_a_survivor",
    409,
    vi=(
        "Không thể gộp vào hồ sơ này",
        "Hồ sơ được chọn đã kết thúc hoặc vừa được gộp đi nơi khác. Vui lòng tải lại rồi chọn một hồ sơ đang xử lý.",
    ),
    en=("No case to merge into", "The case named has ended or was just merged itself. Load it again, choose one open."),
)


class SimilarIn(BaseModel):
    """What somebody is about to report; `media_ids` are own uploads."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "location": {"lat": 21.5942, "lon": 105.8482, "accuracy_m": 12},
                    "category": "ho_ga_mat_nap",
                    "description": "ho ga mat nap truoc cong truong",
                }
            ]
        },
    )

    location: LocationIn
    category: Annotated[Text, Field(max_length=60)] | None = None
    description: Annotated[Text, Field(min_length=1, max_length=DESCRIPTION_MAX)]
    media_ids: Annotated[list[UUID], Field(max_length=MEDIA_MAX), AfterValidator(each_once)] = []


class ProposedOut(BaseModel):
    """An open, public report that is probably the same problem, and why. `distance_m` as far as the public may know."""

    report: PublicReportOut
    mine: bool
    supported: bool
    distance_m: int
    score: float = Field(description="0 to 1; what is proposed has at least 0.6.")
    reasons: list[str]


class SimilarOut(BaseModel):
    """At most five, the likeliest first."""

    items: list[ProposedOut]


class SupportOut(BaseModel):
    """A report one supports or not, and how many people beside its reporter have the same problem."""

    reference: str
    supported: bool
    supporters: int


class LikelyOut(BaseModel):
    """A case that is probably the same problem, and why. `parts`: what the score rests on, each 0 to 1."""

    id: UUID
    reference: str
    state: str
    category: str
    summary: str
    supporters: int
    distance_m: int
    score: float
    parts: dict[str, float]
    reasons: list[str]


class MergeIn(BaseModel):
    """The case that survives, and why the two are the same; the citizen does not read the reason.

    Where `into` is a duplicate itself, its survivor is meant.
    """

    model_config = ConfigDict(extra="forbid")

    into: UUID
    reason: Reason


class DuplicatesOut(BaseModel):
    """What belongs to a case: what is probably the same, and the earlier cases it follows within 90 days (tái phát)."""

    merged: list[str] = Field(description="References of the cases merged into this one, the oldest first.")
    likely: list[LikelyOut]
    recurs: list[str] = Field(description="References, the latest first.")


class WarningOut(BaseModel):
    """Something that should make somebody look twice at a result. It proves nothing and refuses nothing."""

    code: str
    text: str


class WarningsOut(BaseModel):
    """All of them; none where there is no result."""

    items: list[WarningOut]
