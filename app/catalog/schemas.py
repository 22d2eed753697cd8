"""The pack's files as they must be, and the catalogue as it crosses the wire."""

from datetime import date, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from app.catalog.models import SLUG
from app.catalog.rules import Approval, Level, Publication, Urgency
from app.core.packfile import PackModel

FIRST_CALLS = {"113", "114", "115"}

# --- files of the province pack ------------------------------------------------------------------------------------

Slug = Annotated[str, Field(pattern=SLUG, max_length=60)]
Name = Annotated[str, Field(min_length=1, max_length=120)]
Sentence = Annotated[str, Field(min_length=1, max_length=600)]
EmergencyNumber = Annotated[str, Field(pattern=r"^[0-9]{3,11}$")]
Version = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+){2}$")]


class GroupEntry(PackModel):
    """One group of groups.yaml."""

    code: Slug
    number: int = Field(ge=1, le=99)
    name_vi: Name
    name_en: Name
    public_default: bool


class GroupsFile(PackModel):
    """groups.yaml."""

    groups: list[GroupEntry] = Field(min_length=1)


class CategoryEntry(PackModel):
    """One category of categories.yaml."""

    code: Slug
    number: str = Field(pattern=r"^[1-9][0-9]?\.[1-9][0-9]?$")
    group: Slug
    name_vi: Name
    name_en: Name
    hint_vi: Sentence
    hint_en: Sentence
    level: Level
    unit: str | None = Field(default=None, min_length=1)
    urgency: Urgency = "normal"
    trusted: bool
    publication: Publication | None = None
    concerns_staff: bool = False
    approval: Approval = "none"
    emergency_numbers: list[EmergencyNumber] = Field(default_factory=list)
    coarsen_m: int = Field(default=0, ge=0, le=5000)
    photo_suggested: bool = True

    @model_validator(mode="after")
    def _fits_together(self) -> "CategoryEntry":
        mistakes = [
            (self.unit is None and self.level != "commune", f"The level {self.level} needs a unit."),
            (self.unit is not None and self.level == "commune", "The level commune means the place's own; no unit."),
            (
                self.concerns_staff and self.level == "commune",
                "What concerns staff goes one level up from the commune.",
            ),
            (self.is_urgent and not self.trusted, "An urgent category goes straight to routing: it must be trusted."),
            (self.is_urgent and not set(self.emergency_numbers) >= FIRST_CALLS, "Urgent shows 113, 114 and 115."),
            (len(set(self.emergency_numbers)) < len(self.emergency_numbers), "An emergency number stands here twice."),
        ]
        if found := [sentence for is_wrong, sentence in mistakes if is_wrong]:
            raise ValueError(" ".join(found))
        return self

    @property
    def is_urgent(self) -> bool:
        """Whether it is khẩn."""
        return self.urgency == "urgent"


class CategoriesFile(PackModel):
    """categories.yaml."""

    categories: list[CategoryEntry] = Field(min_length=1)


class BoundsEntry(PackModel):
    """The province's outer box in degrees."""

    west: float = Field(ge=-180, le=180)
    south: float = Field(ge=-90, le=90)
    east: float = Field(ge=-180, le=180)
    north: float = Field(ge=-90, le=90)


class HotlineEntry(PackModel):
    """The province's own number; `belief` while nobody confirmed it."""

    number: str = Field(pattern=r"^[0-9]{3,11}$")
    belief: bool


class ProvinceEntry(PackModel):
    """The province itself."""

    code: str = Field(pattern=r"^[0-9]{2}$")
    name_vi: Name
    name_en: Name
    bounds: BoundsEntry
    hotline: HotlineEntry


class EmergencyNumberEntry(PackModel):
    """A number to call first."""

    number: EmergencyNumber
    name_vi: Name
    name_en: Name


class MinimumVersionsEntry(PackModel):
    """The oldest apps served."""

    android: Version
    ios: Version


class ConsentEntry(PackModel):
    """One version of the purpose notice."""

    version: str = Field(pattern=r"^[0-9]{4}-[0-9]{2}([.][0-9]+)?$")
    valid_from: date
    text_vi: str = Field(min_length=1, max_length=8000)
    text_en: str = Field(min_length=1, max_length=8000)


class TermEntry(PackModel):
    """How many days people have; `decision` names the document it rests on, `belief` is true until there is one."""

    days: int = Field(ge=1, le=3650)
    decision: str | None = Field(default=None, min_length=1, max_length=200)
    belief: bool


class TermsEntry(PackModel):
    """Every term there is: none has a default that nobody wrote down."""

    close_after: TermEntry
    reopen_within: TermEntry
    appeal_within: TermEntry
    extend_by_at_most: TermEntry


class ProvinceFile(PackModel):
    """province.yaml."""

    province: ProvinceEntry
    emergency_numbers: list[EmergencyNumberEntry] = Field(min_length=1)
    minimum_app_versions: MinimumVersionsEntry
    features: dict[Slug, bool] = Field(min_length=1)
    terms: TermsEntry
    consents: list[ConsentEntry] = Field(min_length=1)


class RejectCodeEntry(PackModel):
    """One reason to refuse, and the right door."""

    code: Slug
    name_vi: Name
    name_en: Name
    turn_to_vi: Sentence
    turn_to_en: Sentence


class TextsFile(PackModel):
    """texts.yaml."""

    reject_codes: list[RejectCodeEntry] = Field(min_length=1)


# --- answers -------------------------------------------------------------------------------------------------------

_POTHOLE: JsonValue = {
    "code": "o_ga",
    "number": "1.1",
    "name": "Ổ gà, mặt đường hư hỏng",
    "name_vi": "Ổ gà, mặt đường hư hỏng",
    "name_en": "Pothole or damaged road surface",
    "hint": "Chụp rõ chỗ hỏng và một ảnh toàn cảnh để nhận ra đoạn đường.",
    "level": "commune",
    "urgency": "normal",
    "may_be_public": True,
    "emergency_numbers": [],
    "photo_suggested": True,
}


class CategoryOut(BaseModel):
    """One kind of report. `name` and `hint` are in the caller's language."""

    model_config = ConfigDict(json_schema_extra={"examples": [_POTHOLE]})

    code: str
    number: str
    name: str
    name_vi: str
    name_en: str
    hint: str = Field(description="What belongs here and what to photograph.")
    level: str = Field(description="Who answers as a rule: commune, department or utility; more values may come.")
    urgency: str = Field(description="normal, or urgent: show the emergency numbers first; more values may come.")
    may_be_public: bool = Field(description="False: a report of this category is never published.")
    emergency_numbers: list[str] = Field(description="To be shown before the form, in this order.")
    photo_suggested: bool = Field(description="False: do not ask for a photo.")


class GroupOut(BaseModel):
    """A field of public life with its categories, in the order to show."""

    code: str
    number: int
    name: str
    name_vi: str
    name_en: str
    public_default: bool = Field(description="False: the form starts with the report being private.")
    categories: list[CategoryOut]


class CategoriesOut(BaseModel):
    """Everything that may be reported."""

    groups: list[GroupOut]


class BoundsOut(BaseModel):
    """A box in degrees, WGS 84."""

    west: float
    south: float
    east: float
    north: float


class ProvinceOut(BaseModel):
    """The province this server works for."""

    code: str
    name: str
    name_vi: str
    name_en: str
    bounds: BoundsOut
    hotline: str
    time_zone: str


class LimitsOut(BaseModel):
    """What a report may hold; the server refuses more."""

    description_chars: int
    photos_per_report: int
    photo_bytes: int
    photo_types: list[str]


class ConsentOut(BaseModel):
    """The purpose notice in force, in the caller's language; its version goes along with the consent given."""

    version: str
    valid_from: date
    text: str


class EmergencyNumberOut(BaseModel):
    """A number to call first."""

    number: str
    name: str


class MinimumVersionsOut(BaseModel):
    """The oldest versions of the app this server answers."""

    android: str
    ios: str


class ConfigOut(BaseModel):
    """What the app must know before the first report."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "province": {
                        "code": "19",
                        "name": "Thái Nguyên",
                        "name_vi": "Thái Nguyên",
                        "name_en": "Thai Nguyen",
                        "bounds": {"west": 105.42, "south": 21.32, "east": 106.25, "north": 22.75},
                        "hotline": "1022",
                        "time_zone": "Asia/Ho_Chi_Minh",
                    },
                    "minimum_app_versions": {"android": "1.0.0", "ios": "1.0.0"},
                    "limits": {
                        "description_chars": 5000,
                        "photos_per_report": 10,
                        "photo_bytes": 15000000,
                        "photo_types": ["image/jpeg", "image/png", "image/webp", "image/heic"],
                    },
                    "consent": {
                        "version": "2026-01",
                        "valid_from": "2026-01-01",
                        "text": "Thông báo về xử lý dữ liệu cá nhân…",
                    },
                    "emergency_numbers": [{"number": "113", "name": "Công an"}],
                    "features": {"public_map": True, "push": False},
                    "server_time": "2026-03-02T01:30:00Z",
                }
            ]
        }
    )

    province: ProvinceOut
    minimum_app_versions: MinimumVersionsOut
    limits: LimitsOut
    consent: ConsentOut | None = Field(description="Null only on a day before the first notice is in force.")
    emergency_numbers: list[EmergencyNumberOut]
    features: dict[str, bool] = Field(description="A feature that is absent or false is not offered.")
    server_time: datetime = Field(description="UTC; not part of the ETag.")
