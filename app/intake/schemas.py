"""What a submission answers with, and what it is refused for."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from app.core.errors import Problem

ID_TAKEN = Problem(
    "id_taken",
    409,
    vi=("Mã phản ánh đã tồn tại", "Mã này đã dùng cho một phản ánh khác. Ứng dụng cần tạo mã mới."),
    en=("Identifier taken", "This id belongs to another report. The app must make a new one."),
)


class Receipt(BaseModel):
    """The answer to a submission: what the citizen keeps."""

    id: UUID
    reference: str
    status: str
    status_text: str
    received_at: datetime
    version: int
