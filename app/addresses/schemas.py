"""Addresses as the API shows them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.assets.schemas import CodedOut


class SpotOut(BaseModel):
    """Something with a name near a point."""

    name: str
    distance_m: int


class AddressOut(BaseModel):
    """Where a point is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "text": "Đường Hoàng Văn Thụ, gần Tổ dân phố 5, Phường Phan Đình Phùng, Thái Nguyên",
                    "source": "own_data",
                    "commune": {"code": "05443", "name": "Phường Phan Đình Phùng"},
                    "commune_approximate": False,
                    "street": None,
                    "road": {"name": "Đường Hoàng Văn Thụ", "distance_m": 6},
                    "place": {"name": "Tổ dân phố 5", "distance_m": 240},
                }
            ]
        }
    )

    text: str = Field(description="From the small to the large, in the caller's language where names have one.")
    source: Literal["own_data", "geocoder"] = Field(description="Who named the street; the commune is always our own.")
    commune: CodedOut
    commune_approximate: bool = Field(description="The boundaries in force are estimates; a dispatcher confirms.")
    street: str | None = Field(description="House number and street, where a geocoder knows them.")
    road: SpotOut | None = Field(description="The nearest road with a name, within 100 m.")
    place: SpotOut | None = Field(description="The nearest hamlet or other landmark, within 1 km.")


class AddressOfferOut(BaseModel):
    """A commune of today that an address may mean."""

    commune: CodedOut
    certainty: Literal["certain", "likely", "possible"] = Field(
        description="certain: the only one, spelt with its diacritics. likely: ahead of the others, or the only one but"
        " spelt without diacritics. possible: as good as others; ask."
    )
    was: str | None = Field(description="The former unit it was found by.", examples=["Xã Bảo Cường, Huyện Định Hóa"])
    part: bool = Field(description="That unit was split: the place may lie in another one of the offers.")


class AddressOffersOut(BaseModel):
    """What an address may mean, the likeliest first; empty where it names no commune of the province."""

    items: list[AddressOfferOut]
