"""Planned changes of units."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Index, Text, text
from sqlmodel import Field, SQLModel

import app.identity.models  # noqa: F401 - its tables are referred to below
from app.core import clock
from app.core.ids import uuid7

_MOMENT = DateTime(timezone=True)


class UnitChange(SQLModel, table=True):
    """One change of units, planned by an administrator (null: an operator's command) for a local day.

    It is planned until it is applied or cancelled. What it does to which units stands in `UnitChangeUnit`.
    """

    __tablename__ = "unit_change"
    __table_args__ = (
        CheckConstraint("kind IN ('rename', 'change_kind', 'merge', 'split', 'move')", name="unit_change_kind"),
        CheckConstraint("applied_at IS NULL OR cancelled_at IS NULL", name="unit_change_one_end"),
        Index(
            "unit_change_planned",
            "effective",
            postgresql_where=text("applied_at IS NULL AND cancelled_at IS NULL"),
        ),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    kind: str = Field(sa_type=Text)
    effective: date
    decision: str = Field(sa_type=Text)
    note: str = Field(default="", sa_type=Text)
    name: str | None = Field(default=None, sa_type=Text)
    name_en: str | None = Field(default=None, sa_type=Text)
    new_kind: str | None = Field(default=None, sa_type=Text)
    parent_id: UUID | None = Field(default=None, foreign_key="unit.id")
    actor_id: UUID | None = Field(default=None, foreign_key="account.id")
    created_at: datetime = Field(default_factory=clock.now, sa_type=_MOMENT)
    applied_at: datetime | None = Field(default=None, sa_type=_MOMENT)
    cancelled_at: datetime | None = Field(default=None, sa_type=_MOMENT)
    cancelled_by: UUID | None = Field(default=None, foreign_key="account.id")


class UnitChangeUnit(SQLModel, table=True):
    """What a change does to a unit: it is the source, begins by it, or exists already and receives."""

    __tablename__ = "unit_change_unit"
    __table_args__ = (
        CheckConstraint("part IN ('source', 'begins', 'receives')", name="unit_change_unit_part"),
        Index("unit_change_of_unit", "unit_id"),
    )

    change_id: UUID = Field(primary_key=True, foreign_key="unit_change.id")
    unit_id: UUID = Field(primary_key=True, foreign_key="unit.id")
    part: str = Field(sa_type=Text)


class UnitChangeStaff(SQLModel, table=True):
    """To which successor a role held in a unit that ends is to follow, where that is not plain by itself."""

    __tablename__ = "unit_change_staff"

    change_id: UUID = Field(primary_key=True, foreign_key="unit_change.id")
    membership_id: UUID = Field(primary_key=True, foreign_key="membership.id")
    unit_id: UUID = Field(foreign_key="unit.id")
