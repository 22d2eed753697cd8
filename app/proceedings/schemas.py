"""What people send about one case beside the plain road, and what is refused."""

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from app.cases.schemas import MediaIds, Note, Reason, ReasonIn
from app.core.errors import Problem
from app.reports.schemas import Text

EXTENSION_CAPPED = Problem(
    "extension_capped",
    409,
    vi=(
        "Vượt mức gia hạn",
        "Trong một lượt xử lý được gia hạn tối đa {most} ngày làm việc, còn lại {left}. Vui lòng chọn số ngày nhỏ hơn.",
    ),
    en=(
        "More than can be granted",
        "One round of work is extended by at most {most} working days, of which {left} are left. Grant fewer days.",
    ),
)
DIRECTIVE_NOT_AHEAD = Problem(
    "directive_not_ahead",
    422,
    vi=("Thời hạn chỉ đạo không hợp lệ", "Thời hạn phải sau thời điểm hiện tại và trong vòng một năm."),
    en=("Not a moment ahead", "A directive is due later than now, and within a year."),
)

_STRICT = ConfigDict(extra="forbid")
DAYS_MAX = 60


class QuestionIn(BaseModel):
    """What the unit needs to know from the citizen."""

    model_config = _STRICT

    question: Note


class ExtensionIn(ReasonIn):
    """How many working days more a unit asks for, and why."""

    days: int = Field(ge=1, le=DAYS_MAX)


class GrantIn(BaseModel):
    """How many working days a lead gives (default: as asked), and why; the citizen reads the reason."""

    model_config = _STRICT

    days: int | None = Field(default=None, ge=1, le=DAYS_MAX)
    reason: Reason


class DirectiveIn(BaseModel):
    """What a leader wants done about a case, and by when."""

    model_config = _STRICT

    text: Note
    due_at: AwareDatetime


class ReportBackIn(BaseModel):
    """What was done about a directive."""

    model_config = _STRICT

    text: Note


class RedactIn(ReasonIn):
    """The public copy as it is to read from now on, and why."""

    description: Annotated[Text, Field(min_length=1, max_length=5000)] | None = Field(
        default=None, description="Left out: as it reads now."
    )
    media_ids: MediaIds | None = Field(default=None, description="The photos still shown. Left out: as they are.")
