"""What a report looks like on the wire, and what is refused at the door."""

import json
from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.core import text
from app.core.ids import parse_reference

DESCRIPTION_MAX = 5000
MEDIA_MAX = 10


def _clean(value: str) -> str:
    try:
        return text.clean(value)
    except ValueError as error:
        raise PydanticCustomError("bad_text", "{reason}", {"reason": str(error)}) from error


Text = Annotated[str, AfterValidator(_clean)]


def _sticker(value: str) -> str:
    """The code on a sticker as it is stored, however it was typed."""
    if (code := parse_reference(value)) is None:
        raise PydanticCustomError("bad_asset_code", "this is no code of a sticker", {})
    return code


def each_once(ids: list[UUID]) -> list[UUID]:
    """`ids`, refused where one is named twice: a photo stands in one place."""
    if len(set(ids)) != len(ids):
        raise PydanticCustomError("media_repeated", "a media id is named twice", {})
    return ids


Sticker = Annotated[str, Field(max_length=20), AfterValidator(_sticker)]


class LocationIn(BaseModel):
    """A phone's fix: WGS 84 degrees and the radius, in metres, the phone believes in."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"lat": 21.5942, "lon": 105.8482, "accuracy_m": 12}]}
    )

    lat: float = Field(allow_inf_nan=False)
    lon: float = Field(allow_inf_nan=False)
    accuracy_m: float = Field(default=0, ge=0, le=100_000, allow_inf_nan=False)


class ReportIn(BaseModel):
    """A citizen's report. `id` is made by the phone before the first attempt, so that no retry makes a second one."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": "0199a0c2-7d1e-7c3a-9b1f-2f4d6a8c0e12",
                    "category": "ho_ga_mat_nap",
                    "description": "Hố ga trước số 12 đường Hoàng Văn Thụ mất nắp, rất nguy hiểm cho người đi xe máy.",
                    "location": {"lat": 21.5942, "lon": 105.8482, "accuracy_m": 12},
                    "visibility": "public",
                }
            ]
        },
    )

    id: UUID
    category: str = Field(min_length=1, max_length=60)
    description: Annotated[Text, Field(min_length=1, max_length=DESCRIPTION_MAX)]
    location: LocationIn | None = None
    commune: str | None = Field(default=None, max_length=20, description="Commune code, where there is no fix.")
    place_text: Annotated[Text, Field(max_length=300)] | None = None
    address: Annotated[Text, Field(max_length=300)] | None = None
    asset: Sticker | None = Field(
        default=None, description="The code on the scanned sticker, as in `get_asset`.", examples=["7KQ4-M2XT"]
    )
    occurred_at: AwareDatetime | None = None
    sent_at: AwareDatetime | None = None
    media_ids: Annotated[list[UUID], Field(max_length=MEDIA_MAX), AfterValidator(each_once)] = []
    visibility: Literal["public", "private"] = "public"
    hide_name: bool = True
    allow_call: bool = False

    @model_validator(mode="after")
    def _has_a_place(self) -> "ReportIn":
        if self.location is None and not (self.commune and self.place_text):
            raise PydanticCustomError(
                "place_missing", "a location, or a commune together with a place in words, is needed", {}
            )
        return self


def evidence_text(body: ReportIn) -> str:
    """What event 1 commits to: everything the citizen said about what and where, as canonical JSON."""
    said = body.model_dump(mode="json", include={"description", "location", "commune", "place_text", "address"})
    if body.asset is not None:  # reports without one commit to the same bytes as before there were assets
        said["asset"] = body.asset
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


class LocationOut(BaseModel):
    """Where a report is, in WGS 84 degrees."""

    lat: float
    lon: float
    accuracy_m: float | None = None


class PublicReportOut(BaseModel):
    """A published report as anybody may read it."""

    reference: str
    category: str
    description: str
    location: LocationOut | None
    commune: str | None
    unit: str | None
    status: str
    status_text: str
    supporters: int
    received_at: datetime
    published_at: datetime
    resolved_at: datetime | None
    planned_until: date | None = Field(description="A planned result stays visible; on this local day it returns.")
    media: list[UUID]
    after_media: list[UUID]
