"""What is asked, and what is refused."""

from pydantic import BaseModel, ConfigDict, Field

from app.core.errors import Problem
from app.identity.rules import Purpose

NOTHING_TO_SEARCH = Problem(
    "nothing_to_search",
    422,
    vi=("Chưa đủ từ khóa", "Vui lòng nhập ít nhất một từ có hai chữ cái hoặc chữ số, hoặc một mã phản ánh."),
    en=("Nothing to search for", "Give at least one word of two letters or digits, or a reference."),
)


class PhoneIn(BaseModel):
    """Whose cases are looked for. In the body, because addresses are written to logs on their way."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"phone": "0912345678", "purpose": "call"}]}
    )

    phone: str = Field(min_length=1, max_length=30)
    purpose: Purpose
