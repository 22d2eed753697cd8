"""The pack's list of boundary files, what the API answers about places, and what it refuses."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.core.errors import Problem
from app.core.packfile import Finding, PackError, PackModel, read_with_source
from app.orgunits.schemas import Code, Name, UnitOut

# boundaries.yaml ---------------------------------------------------------------------------------------------------

FILE = "boundaries.yaml"
# HTTPS, or a server on this very machine.
_ADDRESS = r"^(https://[^\s?#]+|http://(127\.0\.0\.1|localhost)(:[0-9]+)?(/[^\s?#]*)?)/$"
_PATH = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*\.(geojson|json)$"
_FILE_BYTES = 64 * 1024 * 1024


class SourceEntry(PackModel):
    """One GeoJSON file below the address; `code` of the unit it shows, used where its features have none."""

    path: Annotated[str, StringConstraints(pattern=_PATH, max_length=300)]
    bytes: Annotated[int, Field(gt=0, le=_FILE_BYTES)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    code: Code | None = None

    @property
    def name(self) -> str:
        """The file's own name, without folders."""
        return self.path.rpartition("/")[2]


class SourceFile(PackModel):
    """boundaries.yaml: where the surveyed boundaries can be downloaded; `address` null where nowhere."""

    address: Annotated[str, StringConstraints(pattern=_ADDRESS, max_length=300)] | None
    source: Name
    licence: Name
    effective: date
    files: list[SourceEntry]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.address is None) != (not self.files):
            raise ValueError("an address needs files, and files need an address")
        return self


def read_source(pack_dir: Path) -> SourceFile:
    """The pack's boundaries.yaml; PackError names every mistake in it."""
    file, source = read_with_source(pack_dir / FILE, SourceFile)
    findings = []
    for key in ("path", "name", "code"):
        times = Counter(value for entry in file.files if (value := getattr(entry, key)) is not None)
        findings += [
            source.finding(f"The {key} {value} stands in {count} entries.", "files")
            for value, count in times.items()
            if count > 1
        ]
    if findings:
        raise PackError(findings)
    return file


def check_source(pack_dir: Path, units: Mapping[str, str]) -> Iterator[Finding]:
    """Everything that is wrong in boundaries.yaml; `units` maps the codes of the province and its communes to names."""
    try:
        file, (_, source) = read_source(pack_dir), read_with_source(pack_dir / FILE, SourceFile)
    except PackError as error:
        yield from error.findings
        return
    for place, entry in enumerate(file.files):
        if entry.code is not None and entry.code not in units:
            yield source.finding(f"No commune of the pack has the code {entry.code}.", "files", place, "code")


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

MAX_POINTS = 1000


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


class PointIn(BaseModel):
    """A point in WGS 84; seven decimals are a centimetre."""

    model_config = ConfigDict(extra="forbid")

    lat: float = Field(description="Latitude, degrees.", examples=[21.5942])
    lon: float = Field(description="Longitude, degrees.", examples=[105.8482])
    accuracy_m: float | None = Field(default=None, description="Radius in metres; more than 1,000 counts as 1,000.")


class PointsIn(BaseModel):
    """Points to look up together. The whole body may have 64 KiB, which 1,000 points of seven decimals do not fill."""

    model_config = ConfigDict(extra="forbid")

    points: Annotated[list[PointIn], Field(min_length=1, max_length=MAX_POINTS)]


class FoundOut(BaseModel):
    """What one point of many lies in. Either a commune or a `problem`."""

    outcome: Literal["inside", "border", "sliver"] | None = Field(
        description="As in `locate_unit`; null with a problem."
    )
    commune: str | None = Field(description="Code of the commune.", examples=["05443"])
    name: str | None = Field(description="Its name in the caller's language.", examples=["Phường Phan Đình Phùng"])
    candidates: list[str] = Field(description="Codes of all communes that the circle reaches, `commune` first.")
    problem: str | None = Field(description="A code of `get_problem`: location_outside, location_swapped, …")


class PlacesOut(BaseModel):
    """The communes of many points, in the order asked, all by the same boundaries."""

    items: list[FoundOut]
    boundary: BoundaryOut
    approximate: bool
    notice: str | None = Field(description="A sentence to show while boundaries are approximate.")


class VersionOut(BoundaryOut):
    """A version of the boundaries as it was imported."""

    imported_at: datetime
    communes: int = Field(description="How many areas it has.")
    area_km2: float
    in_force: bool = Field(description="Whether a point is looked up in it today.")
    withdrawn_at: datetime | None = Field(description="When it was taken back, before its first day.")
    note: str
    fixes: list[str] = Field(description="What was mended on its way in.")
    remarks: list[str] = Field(description="What was seen and left as it is, such as hairline gaps.")


class VersionsOut(BaseModel):
    """All versions, those that took effect last first."""

    items: list[VersionOut]
    notice: str | None = Field(description="A sentence to show while the boundaries in force are approximate.")
