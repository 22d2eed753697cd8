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
ASSET_NOT_IN_USE = Problem(
    "asset_not_in_use",
    422,
    vi=(
        "Mã trên nhãn không còn được dùng",
        "Không có tài sản nào đang dùng mang mã {code}. Vui lòng gửi lại mà không kèm mã, và chọn vị trí trên bản đồ.",
    ),
    en=(
        "The code on the label is not in use",
        "No asset in use bears the code {code}. Send the report without it, and choose the place on the map.",
    ),
)


class Receipt(BaseModel):
    """The answer to a submission: what the citizen keeps."""

    id: UUID
    reference: str
    status: str
    status_text: str
    received_at: datetime
    version: int
