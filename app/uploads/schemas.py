"""Resumable uploads on the wire, and every refusal of this slice."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from app.core.errors import CATALOGUE, Problem
from app.core.http import Lang
from app.uploads.models import Upload

State = Literal["receiving", "finished", "refused"]

UPLOAD_VERSION = Problem(
    "upload_version",
    412,
    vi=("Phiên bản tus không được hỗ trợ", "Mỗi yêu cầu cần có Tus-Resumable: 1.0.0."),
    en=("Version of tus not supported", "Every request carries Tus-Resumable: 1.0.0."),
)
UPLOAD_HEADER_INVALID = Problem(
    "upload_header_invalid",
    400,
    vi=("Tiêu đề chưa hợp lệ", "Tiêu đề {header} thiếu hoặc không đúng tus 1.0. Vui lòng cập nhật ứng dụng."),
    en=("Header not valid", "The header {header} is missing or not as tus 1.0 wants it. Please update the app."),
)
UPLOAD_TYPE = Problem(
    "upload_type",
    415,
    vi=("Kiểu nội dung chưa đúng", "Dữ liệu ảnh được gửi với Content-Type: application/offset+octet-stream."),
    en=("Wrong content type", "The bytes are sent with Content-Type: application/offset+octet-stream."),
)
UPLOAD_OFFSET = Problem(
    "upload_offset",
    409,
    vi=("Vị trí gửi tiếp không khớp", "Hệ thống đã nhận {received} byte. Vui lòng gửi tiếp từ vị trí đó."),
    en=("Offset does not fit", "{received} bytes have been received. Continue from there."),
)
UPLOAD_TOO_LONG = Problem(
    "upload_too_long",
    413,
    vi=("Gửi quá dung lượng đã báo", "Ảnh này đã báo trước {length} byte. Không nhận phần dư."),
    en=("More than announced", "{length} bytes were announced for this picture. Nothing beyond them is taken."),
)
UPLOAD_CHECKSUM = Problem(
    "upload_checksum_mismatch",
    460,
    vi=(
        "Dữ liệu bị sai trên đường truyền",
        "Phần vừa gửi không khớp mã kiểm tra và đã bị bỏ. Vui lòng gửi lại phần đó.",
    ),
    en=("Damaged on the way", "This part does not match its checksum and was dropped. Send the same part again."),
)
UPLOAD_BUSY = Problem(
    "upload_busy",
    423,
    vi=("Ảnh này đang được gửi", "Một kết nối khác đang gửi ảnh này. Vui lòng thử lại sau vài giây."),
    en=("Upload in use", "Another connection is sending this picture. Try again in a few seconds."),
    retry="after",
)
UPLOAD_INTERRUPTED = Problem(
    "upload_interrupted",
    408,
    vi=("Đường truyền bị gián đoạn", "Phần đã nhận được giữ lại. Vui lòng gửi tiếp khi mạng tốt hơn."),
    en=("Interrupted", "What has been received is kept. Continue when the connection is better."),
    retry="after",
)
UPLOAD_EXPIRED = Problem(
    "upload_expired",
    410,
    vi=("Lượt gửi ảnh đã hết hạn", "Phần đã gửi không còn được giữ. Vui lòng gửi lại ảnh từ đầu."),
    en=("Upload expired", "What was sent is no longer kept. Send the picture again from the start."),
)
UPLOAD_FINISHED = Problem(
    "upload_finished",
    409,
    vi=("Ảnh đã được gửi xong", "Ảnh này đã được nhận đầy đủ; không cần gửi tiếp và không thể hủy."),
    en=("Upload finished", "This picture has been received completely; there is nothing to send or to cancel."),
)
UPLOAD_TOO_MANY = Problem(
    "upload_too_many_unfinished",
    429,
    vi=("Quá nhiều ảnh chưa gửi xong", "Bạn có {limit} ảnh đang gửi dở. Vui lòng gửi tiếp hoặc hủy bớt rồi thử lại."),
    en=("Too many unfinished uploads", "{limit} pictures are not complete. Finish or cancel some, then try again."),
    retry="after",
)


class UploadOut(BaseModel):
    """An upload as its owner sees it. Once `state` is `finished`, `media_id` names the picture."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "01933a2e-6a10-7cc3-9d2b-5a3f0c6d7e81",
                    "state": "receiving",
                    "length": 2190194,
                    "received": 1048576,
                    "expires_at": "2026-11-21T02:15:04Z",
                    "media_id": None,
                    "failure_code": None,
                    "failure": None,
                }
            ]
        }
    )

    id: UUID
    state: State
    length: int
    received: int
    expires_at: datetime
    media_id: UUID | None = None
    failure_code: str | None = None
    failure: str | None = None


def upload_out(upload: Upload, lang: Lang) -> UploadOut:
    """The owner's view; a refusal is told in a sentence."""
    failure = CATALOGUE.get(upload.failure_code or "")
    return UploadOut(
        id=upload.id,
        state="receiving" if upload.state == "open" else upload.state,
        length=upload.length,
        received=upload.received,
        expires_at=upload.expires_at,
        media_id=upload.media_id,
        failure_code=upload.failure_code,
        failure=(failure.en if lang == "en" else failure.vi)[1] if failure else None,
    )
