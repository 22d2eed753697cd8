"""Units in time. A unit is (code, valid_from): codes and names are reused across eras."""

from datetime import date
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Integer, Text, UniqueConstraint
from sqlmodel import Field, SQLModel


class Unit(SQLModel, table=True):
    """The province, a commune, a department, a utility or the operations centre, in one period of its existence.

    Name, kind and parent are those of now; `UnitPast` has those of before.
    """

    __tablename__ = "unit"
    __table_args__ = (
        UniqueConstraint("code", "valid_from", name="uq_unit_code_valid_from"),
        CheckConstraint(
            "kind IN ('province', 'thanh_pho', 'thi_xa', 'quan', 'huyen', 'xa', 'phuong', 'thi_tran',"
            " 'department', 'utility', 'police', 'office', 'centre')",
            name="ck_unit_kind",
        ),
        CheckConstraint(
            "level IN ('province', 'district', 'commune', 'department', 'utility', 'ioc')", name="ck_unit_level"
        ),
        CheckConstraint("valid_to IS NULL OR valid_to > valid_from", name="ck_unit_period"),
        CheckConstraint("(level = 'province') = (parent_id IS NULL)", name="ck_unit_parent"),
        CheckConstraint("population IS NULL OR population > 0", name="ck_unit_population"),
        Index("ix_unit_parent_id", "parent_id"),
    )

    id: UUID = Field(primary_key=True)
    code: str = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    name_en: str = Field(sa_type=Text)
    sort_key: str = Field(sa_type=Text)
    folded: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    level: str = Field(sa_type=Text)
    parent_id: UUID | None = Field(default=None, foreign_key="unit.id")
    valid_from: date
    valid_to: date | None = None
    phone: str | None = Field(default=None, sa_type=Text)
    email: str | None = Field(default=None, sa_type=Text)
    address: str | None = Field(default=None, sa_type=Text)
    population: int | None = Field(default=None, sa_type=Integer)
    belief: bool = False


class UnitSuccession(SQLModel, table=True):
    """Which unit follows which: as a whole, or with a part of the area."""

    __tablename__ = "unit_succession"
    __table_args__ = (
        CheckConstraint("from_id <> to_id", name="ck_unit_succession_onward"),
        Index("ix_unit_succession_to_id", "to_id"),
    )

    from_id: UUID = Field(primary_key=True, foreign_key="unit.id")
    to_id: UUID = Field(primary_key=True, foreign_key="unit.id")
    effective: date
    whole: bool


class UnitPast(SQLModel, table=True):
    """What a unit was before a change that did not make it another unit; `until` is the first day it was no more."""

    __tablename__ = "unit_past"

    unit_id: UUID = Field(primary_key=True, foreign_key="unit.id")
    until: date = Field(primary_key=True)
    name: str = Field(sa_type=Text)
    name_en: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    parent_id: UUID | None = Field(default=None, foreign_key="unit.id")
