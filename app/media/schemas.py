"""Pictures on the wire, and every refusal of this slice."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from app.core.errors import CATALOGUE, Problem
from app.core.http import Lang
from app.media import rules
from app.media.models import Media

Size = Literal["large", "small"]
State = Literal["processing", "processed", "failed"]

MEDIA_EMPTY = Problem(
    rules.EMPTY,
    422,
    vi=("Tệp ảnh trống", "Tệp gửi lên không có nội dung. Vui lòng chọn lại ảnh."),
    en=("Empty picture", "The file holds nothing. Please choose the picture again."),
)
MEDIA_TYPE_UNSUPPORTED = Problem(
    rules.UNSUPPORTED,
    415,
    vi=(
        "Không phải ảnh được hỗ trợ",
        "Chỉ nhận ảnh JPEG, PNG, WebP hoặc HEIC, không kèm nội dung khác.",
    ),
    en=("Not a supported picture", "Only JPEG, PNG, WebP and HEIC pictures, with nothing else in the same file."),
)
MEDIA_BROKEN = Problem(
    rules.BROKEN,
    422,
    vi=("Ảnh bị hỏng", "Không đọc được ảnh này, có thể tệp bị thiếu dữ liệu. Vui lòng gửi lại hoặc chụp ảnh khác."),
    en=("Broken picture", "This picture cannot be read; part of it may be missing. Send it again or take another."),
)
MEDIA_ANIMATED = Problem(
    rules.ANIMATED,
    422,
    vi=("Không nhận ảnh động", "Ảnh này có nhiều khung hình. Vui lòng gửi ảnh tĩnh cho thấy rõ sự việc."),
    en=("Animated picture", "This picture has several frames. Send a still that shows the matter."),
)
MEDIA_TOO_MANY_PIXELS = Problem(
    rules.TOO_MANY_PIXELS,
    422,
    vi=("Ảnh quá lớn", "Ảnh JPEG tối đa 50 megapixel, ảnh loại khác tối đa 25. Vui lòng giảm kích thước rồi gửi lại."),
    en=("Too many pixels", "At most 50 megapixels for JPEG, 25 for other types. Make it smaller and send it again."),
)
MEDIA_TOO_LARGE = Problem(
    "media_too_large",
    413,
    vi=("Tệp ảnh quá lớn", "Mỗi ảnh tối đa {limit_bytes} byte. Vui lòng giảm kích thước rồi gửi lại."),
    en=("Picture file too large", "At most {limit_bytes} bytes a picture. Make it smaller and send it again."),
)
MEDIA_FORM_INVALID = Problem(
    "media_form_invalid",
    422,
    vi=("Thiếu tệp ảnh", "Gửi biểu mẫu multipart/form-data có đúng một tệp tên “file”."),
    en=("Picture missing", "Send multipart/form-data with exactly one file named “file”."),
)
MEDIA_UPLOAD_TOO_SLOW = Problem(
    "media_upload_too_slow",
    408,
    vi=("Gửi ảnh quá lâu", "Đường truyền quá chậm nên chưa nhận đủ ảnh. Vui lòng gửi lại khi mạng tốt hơn."),
    en=("Upload too slow", "The picture did not arrive in time. Send it again on a better connection."),
    retry="same_key",
)
MEDIA_PROCESSING_FAILED = Problem(
    "media_processing_failed",
    422,
    vi=("Không xử lý được ảnh", "Hệ thống đã thử nhiều lần nhưng không xử lý được ảnh này. Vui lòng gửi ảnh khác."),
    en=("Picture could not be processed", "Several attempts to process this picture failed. Please send another."),
)
MEDIA_NOT_FOUND = Problem(
    "media_not_found",
    422,
    vi=("Không tìm thấy ảnh", "Ảnh được nêu không tồn tại hoặc không phải do bạn gửi. Vui lòng gửi lại ảnh."),
    en=("No such picture", "The picture named does not exist or was not sent by you. Upload it again."),
)
# For resumable uploads: the picture is known but has not arrived whole.
MEDIA_UNFINISHED = Problem(
    "media_unfinished",
    409,
    vi=("Ảnh chưa gửi xong", "Ảnh được nêu chưa được gửi đầy đủ. Vui lòng gửi tiếp rồi thử lại."),
    en=("Picture not complete", "The picture named has not arrived completely. Finish it, then try again."),
    retry="after",
)
MEDIA_LINK_EXPIRED = Problem(
    "media_link_expired",
    404,
    vi=("Liên kết ảnh đã hết hạn", "Liên kết này chỉ dùng được trong thời gian ngắn. Vui lòng mở lại ảnh từ phản ánh."),
    en=("The link has expired", "This address works for a short time only. Open the picture from its report again."),
)
MEDIA_NOT_READY = Problem(
    "media_not_ready",
    404,
    vi=("Ảnh đang được xử lý", "Ảnh đã được nhận và đang được xử lý. Vui lòng xem lại sau ít giây."),
    en=("Picture in progress", "The picture was received and is being processed. Look again in a few seconds."),
    retry="after",
)
MEDIA_NOT_SHOWN = Problem(
    "media_not_shown",
    404,
    vi=("Ảnh không hiển thị được", "Ảnh này không xử lý được nên không hiển thị. Người gửi xem được lý do."),
    en=("Picture not shown", "This picture could not be processed and is never shown. Its sender can see why."),
)


class MediaOut(BaseModel):
    """A picture as its owner sees it. `large` and `small` are stable addresses, there once it is processed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "01933a2e-6a10-7cc3-9d2b-5a3f0c6d7e81",
                    "state": "processed",
                    "detected_type": "image/jpeg",
                    "bytes": 2190194,
                    "created_at": "2026-11-20T02:15:04Z",
                    "width": 1600,
                    "height": 686,
                    "large": "/v1/media/01933a2e-6a10-7cc3-9d2b-5a3f0c6d7e81/large",
                    "small": "/v1/media/01933a2e-6a10-7cc3-9d2b-5a3f0c6d7e81/small",
                    "failure_code": None,
                    "failure": None,
                }
            ]
        }
    )

    id: UUID
    state: State
    detected_type: str
    bytes: int
    created_at: datetime
    width: int | None = None
    height: int | None = None
    large: str | None = None
    small: str | None = None
    failure_code: str | None = None
    failure: str | None = None


def state(media: Media) -> State:
    """The state in words of the wire: a stored original is being processed."""
    return {"processed": "processed", "failed": "failed"}.get(media.state, "processing")  # type: ignore[return-value]


def address(media_id: UUID, size: Size) -> str:
    """The stable address of one size, for any body that shows a picture."""
    return f"/v1/media/{media_id}/{size}"


def media_out(media: Media, lang: Lang) -> MediaOut:
    """The owner's view; a failure is told in a sentence."""
    served = media.state == "processed"
    failure = CATALOGUE.get(media.failure_code or "")
    return MediaOut(
        id=media.id,
        state=state(media),
        detected_type=media.detected_type,
        bytes=media.size_bytes,
        created_at=media.created_at,
        width=media.width,
        height=media.height,
        large=address(media.id, "large") if served else None,
        small=address(media.id, "small") if served else None,
        failure_code=media.failure_code,
        failure=(failure.en if lang == "en" else failure.vi)[1] if failure else None,
    )
