"""Boundaries: the areas of communes, in versions that stand beside each other."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, DateTime, Float, Index, LargeBinary, Text
from sqlmodel import Column, Field, SQLModel

import app.orgunits.models  # noqa: F401 - its unit table is referred to below


class BoundaryVersion(SQLModel, table=True):
    """One delivery of boundaries. Versions stand beside each other; a moment chooses among them.

    `fixes` names what was mended on its way in, `remarks` what was seen and left as it is. A version that was withdrawn
    before its first day never counts.
    """

    __tablename__ = "boundary_version"
    __table_args__ = (
        CheckConstraint("accuracy IN ('surveyed', 'approximate')", name="ck_boundary_version_accuracy"),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="ck_boundary_version_sha256"),
        Index("ix_boundary_version_effective_from", "effective_from"),
    )

    id: UUID = Field(primary_key=True)
    source: str = Field(sa_type=Text)
    accuracy: str = Field(sa_type=Text)
    effective_from: date
    imported_at: datetime = Field(sa_type=DateTime(timezone=True))
    licence: str = Field(sa_type=Text)
    sha256: str = Field(sa_type=Text)
    note: str = Field(default="", sa_type=Text)
    fixes: list[str] = Field(default_factory=list, sa_column=Column(ARRAY(Text), nullable=False, server_default="{}"))
    remarks: list[str] = Field(default_factory=list, sa_column=Column(ARRAY(Text), nullable=False, server_default="{}"))
    withdrawn_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


class Boundary(SQLModel, table=True):
    """The area of one commune in one version: WKB in WGS 84, x = longitude, y = latitude."""

    __tablename__ = "boundary"
    __table_args__ = (
        CheckConstraint("area_km2 > 0", name="ck_boundary_area"),
        Index("ix_boundary_unit_id", "unit_id"),
    )

    version_id: UUID = Field(primary_key=True, foreign_key="boundary_version.id")
    unit_id: UUID = Field(primary_key=True, foreign_key="unit.id")
    wkb: bytes = Field(sa_type=LargeBinary)
    area_km2: float = Field(sa_type=Float)
