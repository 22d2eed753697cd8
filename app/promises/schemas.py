"""A promise slip on the wire."""

from datetime import datetime

from pydantic import BaseModel, Field

from app.cases.schemas import UnitOut
from app.core.errors import Problem

NO_PROMISE_YET = Problem(
    "no_promise_yet",
    409,
    vi=(
        "Chưa có phiếu hẹn",
        "Chưa có đơn vị nào tiếp nhận phản ánh này. Phiếu hẹn có ngay khi đơn vị tiếp nhận; vui lòng xem lại sau.",
    ),
    en=(
        "No promise yet",
        "No unit has accepted this report yet. The slip is there as soon as one does; look again later.",
    ),
    retry="after",
)


class SlipOut(BaseModel):
    """What was promised, readable, and `slip`, which proves it without us (`tools/verify_slip.py`)."""

    slip: str = Field(description="`PH1.` and base32: canonical JSON and its Ed25519 signature; also as a QR code.")
    number: int = Field(description="Of one report, a higher number was promised later.")
    reference: str
    category: str
    unit: UnitOut
    promise: str = Field(description="`resolve`: the problem is dealt with, and the citizen told how.")
    text: str = Field(description="The promise as a sentence.")
    due_at: datetime
    issued_at: datetime
    key_id: str = Field(description="SHA-256 of the public key; see `GET /v1/seals/keys`.")
    superseded_by: int | None = Field(description="The slip that followed, where there is one.")
    numbers: list[int] = Field(description="All slips of this report, oldest first.")
