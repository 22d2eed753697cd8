"""Changes of calendar and policies, each with how far its deadlines were moved."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, Column, DateTime, Index, Text, text
from sqlmodel import Field, SQLModel

from app.core.clock import now
from app.core.ids import uuid7


class TimeChange(SQLModel, table=True):
    """What was entered at once, a line each. The rows say what is in force; the audit log says the same.

    Until `done_at` running deadlines are still owed their move; `moved` counts those that did.
    """

    __tablename__ = "time_change"
    __table_args__ = (Index("time_change_owed", "entered_at", postgresql_where=text("done_at IS NULL")),)

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    entered_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))
    actor_id: UUID | None = Field(default=None, foreign_key="account.id")
    note: str = Field(sa_type=Text)
    entered: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    moved: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    done_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
