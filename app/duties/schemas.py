"""What the duty roster says on the wire, and what it refuses."""

from datetime import datetime
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from app.core.errors import Problem

DUTY_PERIOD = Problem(
    "duty_period",
    422,
    vi=(
        "Thời gian trực chưa hợp lệ",
        "Giờ kết thúc phải sau giờ bắt đầu, chưa qua, và một ca trực không dài quá 31 ngày.",
    ),
    en=("Duty period not valid", "A duty ends after it starts, not in the past, and lasts 31 days at most."),
)
DUTY_ACCOUNT = Problem(
    "duty_account",
    422,
    vi=(
        "Người này không trực được ở đây",
        "Hãy chọn cán bộ hoặc lãnh đạo của đơn vị; trực toàn tỉnh là điều phối viên (IOC).",
    ),
    en=(
        "This person cannot be on duty here",
        "Choose an officer or lead of the unit; for the whole province, a dispatcher.",
    ),
)


class DutyIn(BaseModel):
    """A duty to enter."""

    model_config = ConfigDict(extra="forbid")

    unit: str | None = Field(default=None, max_length=60, description="Code of the unit; null: the whole province.")
    account_id: UUID
    starts_at: AwareDatetime
    ends_at: AwareDatetime


class DutyOut(BaseModel):
    """A duty: who is paged for urgent cases, where and when."""

    id: UUID
    unit: str | None = Field(description="Code of the unit; null: the whole province.")
    unit_name: str | None
    account_id: UUID
    name: str = Field(description="The colleague's name.")
    starts_at: datetime
    ends_at: datetime
