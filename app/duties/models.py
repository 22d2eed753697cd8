"""The duty roster: who is on duty where, from when to when."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Index
from sqlmodel import Field, SQLModel

import app.identity.models  # noqa: F401 - its account table is referred to below
from app.core import clock
from app.core.ids import uuid7

_AT = DateTime(timezone=True)


class Duty(SQLModel, table=True):
    """One person's duty in a unit, or for the whole province (unit_id null). Never edited: taken back, entered anew."""

    __tablename__ = "duty"
    __table_args__ = (
        CheckConstraint("ends_at > starts_at", name="duty_time_runs_on"),
        Index("duty_by_end", "ends_at"),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    unit_id: UUID | None = Field(default=None, foreign_key="unit.id")
    account_id: UUID = Field(foreign_key="account.id")
    starts_at: datetime = Field(sa_type=_AT)
    ends_at: datetime = Field(sa_type=_AT)
    entered_by: UUID = Field(foreign_key="account.id")
    entered_at: datetime = Field(default_factory=clock.now, sa_type=_AT)
    taken_back_at: datetime | None = Field(default=None, sa_type=_AT)
