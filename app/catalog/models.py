"""Tables of the catalogue: what may be reported, what is refused and where to turn, what the phone must know.

All of it is data of the province pack. Rows are retired (`active = false`), never deleted: reports point at them.
"""

from datetime import date

from sqlalchemy import CheckConstraint, Date, Double, ForeignKey, Index, SmallInteger, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel

SLUG = "^[a-z][a-z0-9]*(_[a-z0-9]+)*$"


class CategoryGroupRow(SQLModel, table=True):
    """A field of public life, like `giao_thong`; `public_default` is false where reports stay private by default."""

    __tablename__ = "category_group"
    __table_args__ = (
        CheckConstraint(f"code ~ '{SLUG}'", name="category_group_code_check"),
        CheckConstraint("number BETWEEN 1 AND 99", name="category_group_number_check"),
        Index("category_group_number_key", "number", unique=True, postgresql_where="active"),
    )

    code: str = Field(primary_key=True, sa_type=Text)
    number: int = Field(sa_type=SmallInteger)
    name_vi: str = Field(sa_type=Text)
    name_en: str = Field(sa_type=Text)
    position: int = Field(sa_type=SmallInteger)
    public_default: bool
    active: bool = True


class CategoryRow(SQLModel, table=True):
    """One kind of report, like `o_ga`: who answers for it, how urgent it is, what the public may see."""

    __tablename__ = "category"
    __table_args__ = (
        CheckConstraint(f"code ~ '{SLUG}'", name="category_code_check"),
        CheckConstraint("number ~ '^[1-9][0-9]?[.][1-9][0-9]?$'", name="category_number_check"),
        CheckConstraint("level IN ('commune', 'department', 'utility')", name="category_level_check"),
        CheckConstraint("level = 'commune' OR default_unit_code IS NOT NULL", name="category_default_unit_check"),
        CheckConstraint("urgency IN ('normal', 'urgent')", name="category_urgency_check"),
        CheckConstraint("publication IN ('auto', 'review', 'never')", name="category_publication_check"),
        CheckConstraint("approval IN ('none', 'lead')", name="category_approval_check"),
        CheckConstraint("coarsen_m BETWEEN 0 AND 5000", name="category_coarsen_check"),
        Index("category_number_key", "number", unique=True, postgresql_where="active"),
        Index("category_group_code_idx", "group_code"),
    )

    code: str = Field(primary_key=True, sa_type=Text)
    number: str = Field(sa_type=Text)
    group_code: str = Field(
        sa_type=Text, sa_column_args=[ForeignKey("category_group.code", name="category_group_code_fkey")]
    )
    name_vi: str = Field(sa_type=Text)
    name_en: str = Field(sa_type=Text)
    hint_vi: str = Field(sa_type=Text)
    hint_en: str = Field(sa_type=Text)
    level: str = Field(sa_type=Text)
    # A unit's identity is (code, valid_from): this names the unit of that code in force when a report arrives.
    default_unit_code: str | None = Field(default=None, sa_type=Text)
    urgency: str = Field(default="normal", sa_type=Text)
    trusted: bool = False
    publication: str = Field(default="review", sa_type=Text)
    # About the behaviour of staff: goes one level up and stays invisible to the unit concerned.
    concerns_staff: bool = False
    # Whether a result counts at once, or when a lead of the unit approved it.
    approval: str = Field(default="none", sa_type=Text)
    emergency_numbers: list[str] = Field(default_factory=list, sa_type=ARRAY(Text))
    coarsen_m: int = Field(default=0, sa_type=SmallInteger)
    photo_suggested: bool = True
    position: int = Field(sa_type=SmallInteger)
    active: bool = True


class RejectCodeRow(SQLModel, table=True):
    """A reason to refuse a report, and the door the citizen is shown instead."""

    __tablename__ = "reject_code"
    __table_args__ = (CheckConstraint(f"code ~ '{SLUG}'", name="reject_code_code_check"),)

    code: str = Field(primary_key=True, sa_type=Text)
    name_vi: str = Field(sa_type=Text)
    name_en: str = Field(sa_type=Text)
    turn_to_vi: str = Field(sa_type=Text)
    turn_to_en: str = Field(sa_type=Text)
    position: int = Field(sa_type=SmallInteger)
    active: bool = True


class ProvinceRow(SQLModel, table=True):
    """The one province this installation serves, with its outer box in degrees (WGS 84)."""

    __tablename__ = "province"
    __table_args__ = (
        CheckConstraint("id = 1", name="province_single_check"),
        CheckConstraint("west < east AND south < north", name="province_bounds_check"),
    )

    id: int = Field(default=1, primary_key=True, sa_type=SmallInteger, sa_column_kwargs={"autoincrement": False})
    code: str = Field(sa_type=Text)
    name_vi: str = Field(sa_type=Text)
    name_en: str = Field(sa_type=Text)
    west: float = Field(sa_type=Double)
    south: float = Field(sa_type=Double)
    east: float = Field(sa_type=Double)
    north: float = Field(sa_type=Double)
    hotline: str = Field(sa_type=Text)


class ConsentTextRow(SQLModel, table=True):
    """The purpose notice as it was shown under one version; never changed, a new wording is a new version."""

    __tablename__ = "consent_text"

    version: str = Field(primary_key=True, sa_type=Text)
    valid_from: date = Field(sa_type=Date)
    text_vi: str = Field(sa_type=Text)
    text_en: str = Field(sa_type=Text)


class EmergencyNumberRow(SQLModel, table=True):
    """A number to call before anything is typed."""

    __tablename__ = "emergency_number"
    __table_args__ = (CheckConstraint("number ~ '^[0-9]{3,11}$'", name="emergency_number_number_check"),)

    number: str = Field(primary_key=True, sa_type=Text)
    name_vi: str = Field(sa_type=Text)
    name_en: str = Field(sa_type=Text)
    position: int = Field(sa_type=SmallInteger)
    active: bool = True


class AppVersionRow(SQLModel, table=True):
    """The oldest version of the mobile app that may still speak to this server."""

    __tablename__ = "app_version"
    __table_args__ = (
        CheckConstraint("platform IN ('android', 'ios')", name="app_version_platform_check"),
        CheckConstraint("minimum ~ '^[0-9]+([.][0-9]+){2}$'", name="app_version_minimum_check"),
    )

    platform: str = Field(primary_key=True, sa_type=Text)
    minimum: str = Field(sa_type=Text)


class TermRow(SQLModel, table=True):
    """How many days people have for something, like disputing a result; `belief` while no decision says so."""

    __tablename__ = "term"
    __table_args__ = (
        CheckConstraint(f"code ~ '{SLUG}'", name="term_code_check"),
        CheckConstraint("days BETWEEN 1 AND 3650", name="term_days_check"),
    )

    code: str = Field(primary_key=True, sa_type=Text)
    days: int = Field(sa_type=SmallInteger)
    decision: str | None = Field(default=None, sa_type=Text)
    belief: bool


class FeatureSwitchRow(SQLModel, table=True):
    """Whether the app offers a feature; switched off here, it disappears from every phone."""

    __tablename__ = "feature_switch"
    __table_args__ = (CheckConstraint(f"code ~ '{SLUG}'", name="feature_switch_code_check"),)

    code: str = Field(primary_key=True, sa_type=Text)
    enabled: bool
