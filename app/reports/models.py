"""Reports as received, their erasable content, their photos, and the public copy."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Float, ForeignKey, Index, LargeBinary, SmallInteger, Text, text
from sqlmodel import Column, Field, SQLModel

import app.assets.models  # noqa: F401 - its table is referred to below

_AT = DateTime(timezone=True)


class Report(SQLModel, table=True):
    """One report. Holds no personal data and nothing the citizen wrote; `id` was made by the phone."""

    __tablename__ = "report"
    __table_args__ = (
        CheckConstraint("visibility IN ('public', 'private')", name="report_visibility"),
        Index("report_by_account", "account_id", text("received_at DESC"), "id"),
    )

    id: UUID = Field(primary_key=True)
    account_id: UUID = Field(foreign_key="account.id")
    category_code: str = Field(foreign_key="category.code", sa_type=Text)
    channel: str = Field(sa_type=Text)
    visibility: str = Field(sa_type=Text)
    hide_name: bool
    allow_call: bool
    received_at: datetime = Field(sa_type=_AT)
    occurred_at: datetime | None = Field(default=None, sa_type=_AT)
    sent_at: datetime | None = Field(default=None, sa_type=_AT)
    request_hash: bytes = Field(sa_type=LargeBinary)
    request_id: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})


class ReportContent(SQLModel, table=True):
    """What the citizen wrote and where; erasable. `nonce` opens the commitment in the case's first event."""

    __tablename__ = "report_content"
    __table_args__ = (
        CheckConstraint("(lat IS NULL) = (lon IS NULL)", name="report_content_location"),
        CheckConstraint("lat BETWEEN -90 AND 90 AND lon BETWEEN -180 AND 180", name="report_content_range"),
        CheckConstraint("length(description) <= 5000", name="report_content_description"),
        # A band of latitudes is read from the index alone: cheaper to keep, on the way in, than a tree of rectangles.
        Index("report_content_place", "lat", "lon", postgresql_where=text("lat IS NOT NULL")),
    )

    report_id: UUID = Field(
        sa_column=Column(ForeignKey("report.id", ondelete="CASCADE"), primary_key=True),
    )
    description: str = Field(sa_type=Text)
    lat: float | None = Field(default=None, sa_type=Float)
    lon: float | None = Field(default=None, sa_type=Float)
    accuracy_m: float | None = Field(default=None, sa_type=Float)
    stated_unit_id: UUID | None = Field(default=None, foreign_key="unit.id")
    place_text: str | None = Field(default=None, sa_type=Text)
    address: str | None = Field(default=None, sa_type=Text)
    # What the scanned sticker stands on, as it was that day.
    asset_id: UUID | None = Field(default=None, foreign_key="asset.id")
    nonce: bytes = Field(sa_type=LargeBinary)


class ReportMedia(SQLModel, table=True):
    """A photo the citizen sent with, or added to, a report. `is_public` is chosen when the report is published."""

    __tablename__ = "report_media"

    report_id: UUID = Field(primary_key=True, foreign_key="report.id")
    media_id: UUID = Field(primary_key=True, foreign_key="media.id", unique=True)
    position: int = Field(sa_type=SmallInteger)
    is_public: bool = Field(default=False)


class PublicCopy(SQLModel, table=True):
    """What the public may read of a report: text as redacted, place as coarsened. Absent until published."""

    __tablename__ = "public_copy"
    __table_args__ = (Index("public_copy_place", text("point(lon, lat)"), postgresql_using="gist"),)

    report_id: UUID = Field(primary_key=True, foreign_key="report.id")
    description: str = Field(sa_type=Text)
    lat: float | None = Field(default=None, sa_type=Float)
    lon: float | None = Field(default=None, sa_type=Float)
    published_at: datetime = Field(sa_type=_AT, index=True)
