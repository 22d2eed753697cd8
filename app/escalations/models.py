"""Warnings given and owed, and the days whose digest was made."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, Integer, SmallInteger, Text, text
from sqlmodel import Column, Field, SQLModel

from app.core import clock
from app.escalations.rules import OWED, STUCK

_AT = DateTime(timezone=True)


class Escalation(SQLModel, table=True):
    """One warning of one clock at one level: given once, and never again whatever the deadline does.

    `kind` and `started_seq` name a run of a clock (`sla_clock`); of kind `triage` a stay without a unit, by the event
    that began it; of kind `urgent` an urgent case, before a unit has it (0) or at one (the seq of its hop).
    `due_at` is the deadline that `next_at` was computed from; `told` how many people were told at once.
    """

    __tablename__ = "escalation"
    __table_args__ = (
        CheckConstraint("level IN (0, 80, 100)", name="escalation_level"),
        CheckConstraint("(given_at IS NULL) = (told IS NULL)", name="escalation_given"),
        Index("escalation_owed", text("(level > 0)"), "next_at", postgresql_where=text(OWED)),
        Index("escalation_stuck", "next_at", postgresql_where=text(STUCK)),
    )

    case_id: UUID = Field(sa_column=Column(ForeignKey("case_file.id"), primary_key=True))
    kind: str = Field(primary_key=True, sa_type=Text)
    started_seq: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    level: int = Field(sa_column=Column(SmallInteger, primary_key=True, autoincrement=False))
    due_at: datetime | None = Field(default=None, sa_type=_AT)
    next_at: datetime = Field(sa_type=_AT)
    attempts: int = Field(default=0, sa_column=Column(SmallInteger, nullable=False, server_default="0"))
    failure: str | None = Field(default=None, sa_type=Text)
    given_at: datetime | None = Field(default=None, sa_type=_AT)
    told: int | None = Field(default=None, sa_type=Integer)


class DigestDay(SQLModel, table=True):
    """A local day whose morning digest was made, and for how many people."""

    __tablename__ = "digest_day"

    day: date = Field(primary_key=True)
    made_at: datetime = Field(default_factory=clock.now, sa_type=_AT)
    people: int = Field(default=0, sa_type=Integer)
