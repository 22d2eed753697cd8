"""What the API answers about places, and what it refuses."""

from datetime import date
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from app.core.errors import Problem
from app.orgunits.schemas import UnitOut

# Refusals ----------------------------------------------------------------------------------------------------------

LOCATION_OUT_OF_RANGE = Problem(
    "location_out_of_range",
    422,
    vi=("Tọa độ không hợp lệ", "Vĩ độ phải từ -90 đến 90, kinh độ từ -180 đến 180, sai số là số mét không âm."),
    en=("Coordinates out of range", "Latitude is -90 to 90, longitude -180 to 180, accuracy is in metres, 0 or more."),
)
LOCATION_SWAPPED = Problem(
    "location_swapped",
    422,
    vi=(
        "Vĩ độ và kinh độ bị đảo",
        "Hai giá trị có vẻ bị đảo cho nhau: lat là vĩ độ, lon là kinh độ. Vui lòng gửi lại.",
    ),
    en=(
        "Latitude and longitude swapped",
        "The two look exchanged: lat is the latitude, lon the longitude. Send again.",
    ),
)
LOCATION_OUTSIDE = Problem(
    "location_outside",
    422,
    vi=(
        "Ngoài địa bàn tỉnh",
        """\
Vị trí này nằm ngoài {province} nên chưa thể tiếp nhận tại đây. Vui lòng gửi tới kênh phản ánh của tỉnh, thành phố \
nơi có sự việc hoặc Cổng Dịch vụ công quốc gia (dichvucong.gov.vn). Trường hợp khẩn cấp, hãy gọi 113, 114 hoặc 115.""",
    ),
    en=(
        "Outside the province",
        """\
This place lies outside {province_en}, so it cannot be taken here. Please turn to the feedback channel of the province \
where it happened, or to the National Public Service Portal (dichvucong.gov.vn). In danger call 113, 114 or 115.""",
    ),
)
BOUNDARIES_MISSING = Problem(
    "boundaries_missing",
    503,
    vi=("Chưa có dữ liệu ranh giới", "Hệ thống đang nạp ranh giới hành chính. Vui lòng gửi lại sau ít phút."),
    en=("No boundaries yet", "The boundaries are being loaded. Send again in a few minutes."),
    retry="same_key",
)

# The wire ----------------------------------------------------------------------------------------------------------


class CandidateOut(BaseModel):
    """A commune that the accuracy circle reaches."""

    code: str = Field(examples=["05443"])
    name: str = Field(examples=["Phường Phan Đình Phùng"])
    distance_m: int = Field(description="Metres from the point to its area, 0 inside.")


class BoundaryOut(BaseModel):
    """Which boundaries the answer rests on."""

    id: UUID
    source: str
    licence: str
    accuracy: Literal["surveyed", "approximate"]
    effective_from: date


class PlaceOut(BaseModel):
    """Which commune a point lies in, and how sure that is."""

    outcome: Literal["inside", "border", "sliver"] = Field(
        description="inside: with its whole accuracy circle. border: the circle reaches other communes as well."
        " sliver: in a gap between communes, the nearest is named."
    )
    commune: UnitOut
    candidates: list[CandidateOut] = Field(description="All that the accuracy circle reaches, `commune` first.")
    boundary: BoundaryOut
    approximate: bool
    notice: str | None = Field(description="A sentence to show while boundaries are approximate.")
