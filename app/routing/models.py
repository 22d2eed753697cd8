"""Rules that override the category's own answer. A rule is never changed or removed; it is ended by a date."""

from datetime import date, datetime, time
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Column, Date, DateTime, Float, LargeBinary, SmallInteger, Text, Time
from sqlmodel import Field, SQLModel

import app.assets.models
import app.catalog.models
import app.orgunits.models  # noqa: F401 - the tables referred to below


class RoutingRule(SQLModel, table=True):
    """category or group × area × hours × valid period × priority → unit. `rules.strength` says which one wins.

    `area` names which of the area's columns are filled: `commune_id`; the rows of `routing_rule_commune` (a group with
    a name); `polygon` (WKB in WGS 84, x = longitude, with a name); `asset_class` and `within_m`. Weekdays are ISO.
    A rule that ends on its first day was withdrawn before it held.
    """

    __tablename__ = "routing_rule"
    __table_args__ = (
        CheckConstraint("num_nonnulls(category_code, group_code) = 1", name="routing_rule_subject"),
        CheckConstraint("valid_to IS NULL OR valid_to >= valid_from", name="routing_rule_period"),
        CheckConstraint(
            "area IN ('everywhere', 'communes', 'commune', 'polygon', 'asset')"
            " AND (area = 'commune') = (commune_id IS NOT NULL)"
            " AND (area = 'polygon') = (polygon IS NOT NULL)"
            " AND (area = 'asset') = (asset_class IS NOT NULL)"
            " AND (area = 'asset') = (within_m IS NOT NULL)"
            " AND (area IN ('communes', 'polygon')) = (area_name <> '')",
            name="routing_rule_area",
        ),
        CheckConstraint("within_m BETWEEN 1 AND 500", name="routing_rule_within"),
        CheckConstraint("unit_id IS NOT NULL OR to_manager", name="routing_rule_unit"),
        CheckConstraint("NOT to_manager OR area = 'asset'", name="routing_rule_manager"),
        CheckConstraint("(starts IS NULL) = (ends IS NULL) AND starts <> ends", name="routing_rule_hours"),
        CheckConstraint("weekdays <@ ARRAY[1, 2, 3, 4, 5, 6, 7]::smallint[]", name="routing_rule_weekdays"),
    )

    id: UUID = Field(primary_key=True)
    category_code: str | None = Field(default=None, foreign_key="category.code", sa_type=Text)
    group_code: str | None = Field(default=None, foreign_key="category_group.code", sa_type=Text)
    area: str = Field(default="everywhere", sa_column=Column(Text, nullable=False, server_default="everywhere"))
    area_name: str = Field(default="", sa_column=Column(Text, nullable=False, server_default=""))
    commune_id: UUID | None = Field(default=None, foreign_key="unit.id")
    polygon: bytes | None = Field(default=None, sa_type=LargeBinary)
    asset_class: str | None = Field(default=None, foreign_key="asset_class.code", sa_type=Text)
    within_m: float | None = Field(default=None, sa_type=Float)
    to_manager: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    weekdays: list[int] = Field(
        default_factory=list, sa_column=Column(ARRAY(SmallInteger), nullable=False, server_default="{}")
    )
    starts: time | None = Field(default=None, sa_type=Time)
    ends: time | None = Field(default=None, sa_type=Time)
    unit_id: UUID | None = Field(default=None, foreign_key="unit.id")
    priority: int = Field(default=100, sa_type=SmallInteger)
    valid_from: date = Field(sa_type=Date)
    valid_to: date | None = Field(default=None, sa_type=Date)
    note: str = Field(default="", sa_type=Text)
    decision: str = Field(default="", sa_column=Column(Text, nullable=False, server_default=""))
    created_at: datetime = Field(sa_type=DateTime(timezone=True))


class RoutingRuleCommune(SQLModel, table=True):
    """A commune of a rule's group of communes."""

    __tablename__ = "routing_rule_commune"

    rule_id: UUID = Field(primary_key=True, foreign_key="routing_rule.id")
    commune_id: UUID = Field(primary_key=True, foreign_key="unit.id")


class RoutingRuleHelper(SQLModel, table=True):
    """A unit that cooperates (phối hợp) with the one a rule names."""

    __tablename__ = "routing_rule_helper"

    rule_id: UUID = Field(primary_key=True, foreign_key="routing_rule.id")
    unit_id: UUID = Field(primary_key=True, foreign_key="unit.id")
