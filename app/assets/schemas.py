"""The pack's classes of assets, assets as the API shows them, and what it refuses."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.catalog.models import SLUG
from app.catalog.schemas import BoundsOut
from app.core.errors import Problem
from app.core.packfile import PackModel

ASSET_UNKNOWN = Problem(
    "asset_unknown",
    404,
    vi=(
        "Không tìm thấy tài sản",
        """\
Mã này không có, hoặc tài sản không còn được sử dụng. Vui lòng kiểm tra lại mã trên nhãn, hoặc gửi phản ánh bằng cách \
chọn vị trí trên bản đồ.""",
    ),
    en=(
        "Unknown asset",
        "No asset in use bears this code. Check the code on the label, or report by choosing the place on the map.",
    ),
)
BAD_ASSET_BOX = Problem(
    "bad_asset_box",
    422,
    vi=(
        "Khung bản đồ không phù hợp",
        "Khung bản đồ cần bốn số: tây, nam, đông, bắc, mỗi cạnh không quá {degrees} độ. Vui lòng phóng to bản đồ.",
    ),
    en=("Unusable box", "The box needs west, south, east, north, at most {degrees} degrees a side. Zoom in."),
)

# The pack's file -----------------------------------------------------------------------------------------------------

Slug = Annotated[str, StringConstraints(pattern=SLUG, max_length=60)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class AssetClassEntry(PackModel):
    """A class of assets; `category` is what reports made from its stickers are filed under."""

    code: Slug
    name_vi: Name
    name_en: Name
    kind: Literal["point", "line"]
    category: Slug | None = None
    landmark: bool = False


class AssetClassesFile(PackModel):
    """assets.yaml."""

    classes: Annotated[list[AssetClassEntry], Field(min_length=1)]


# The wire ------------------------------------------------------------------------------------------------------------


class CodedOut(BaseModel):
    """Something with a code and a name in the caller's language."""

    code: str
    name: str


class AssetPlaceOut(BaseModel):
    """A point in WGS 84 degrees."""

    lat: float
    lon: float


class AssetRowOut(BaseModel):
    """An asset on a map."""

    code: str = Field(description="The public code, as on the sticker.", examples=["7KQ4-M2XT"])
    name: str = Field(description="Its own name, or that of its class where it has none.")
    asset_class: CodedOut
    kind: Literal["point", "line"]
    location: AssetPlaceOut = Field(description="A place on the asset; of a line its middle.")
    bounds: BoundsOut
    manager: CodedOut | None = Field(description="Who looks after it, where that is known.")


class AssetOut(AssetRowOut):
    """An asset as its sticker opens it: everything a report about it begins with; `code` goes into its `asset`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "code": "7KQ4-M2XT",
                    "name": "Đèn số 12 đường Hoàng Văn Thụ",
                    "asset_class": {"code": "den_duong", "name": "Đèn đường"},
                    "kind": "point",
                    "location": {"lat": 21.5942, "lon": 105.8482},
                    "bounds": {"west": 105.8482, "south": 21.5942, "east": 105.8482, "north": 21.5942},
                    "manager": None,
                    "commune": {"code": "05443", "name": "Phường Phan Đình Phùng"},
                    "commune_approximate": False,
                    "category": {"code": "den_duong", "name": "Đèn đường hỏng"},
                    "unit": {"code": "05443", "name": "Phường Phan Đình Phùng"},
                    "source": "Phòng Quản lý đô thị",
                }
            ]
        }
    )

    commune: CodedOut | None = Field(description="The commune its place lies in.")
    commune_approximate: bool = Field(description="The boundaries in force are estimates; a dispatcher confirms.")
    category: CodedOut | None = Field(description="What a report about it is filed under; null: the citizen chooses.")
    unit: CodedOut | None = Field(
        description="Who would get the report now; where a dispatcher decides, the manager who is suggested to them."
    )
    source: str = Field(description="Who delivered the data.")
