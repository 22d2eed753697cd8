"""Working hours, exceptional days, deadline policies (all versioned, never edited) and the clocks of cases."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    DateTime,
    ForeignKeyConstraint,
    Index,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from app.core.clock import now
from app.core.ids import uuid7

EVERYONE = "*"


class WorkingHours(SQLModel, table=True):
    """One working interval of a weekday. Rows of one group, effective date and entry moment are one whole week."""

    __tablename__ = "working_hours"
    __table_args__ = (
        CheckConstraint("weekday BETWEEN 0 AND 6", name="ck_working_hours_weekday"),
        CheckConstraint(
            "0 <= start_minute AND start_minute < end_minute AND end_minute <= 1440", name="ck_working_hours_minutes"
        ),
        UniqueConstraint(
            "unit_group", "effective_from", "entered_at", "weekday", "start_minute", name="uq_working_hours_interval"
        ),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    unit_group: str = Field(default=EVERYONE, sa_type=Text)
    weekday: int = Field(sa_type=SmallInteger, description="0 = Monday")
    start_minute: int = Field(sa_type=SmallInteger, description="minutes after local midnight")
    end_minute: int = Field(sa_type=SmallInteger)
    effective_from: date
    entered_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))


class CalendarDay(SQLModel, table=True):
    """What one local date is, against its weekday; `normal` takes an earlier row of the same source back."""

    __tablename__ = "calendar_day"
    __table_args__ = (
        CheckConstraint(
            "state IN ('off', 'work', 'half_morning', 'half_afternoon', 'normal')", name="ck_calendar_day_state"
        ),
        CheckConstraint("source IN ('library', 'override')", name="ck_calendar_day_source"),
        UniqueConstraint("date", "unit_group", "source", "entered_at", name="uq_calendar_day_entry"),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    date: date
    unit_group: str = Field(default=EVERYONE, sa_type=Text)
    state: str = Field(sa_type=Text)
    source: str = Field(sa_type=Text)
    note: str = Field(default="", sa_type=Text)
    entered_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))


class UnitGroupMember(SQLModel, table=True):
    """Whose working hours a unit keeps: those of the group entered last; a unit without a row keeps everybody's."""

    __tablename__ = "unit_group_member"
    __table_args__ = (UniqueConstraint("unit_id", "entered_at", name="uq_unit_group_member_entry"),)

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    unit_id: UUID = Field(foreign_key="unit.id")
    unit_group: str = Field(sa_type=Text)
    entered_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))


class DeadlinePolicy(SQLModel, table=True):
    """How long a clock may run for a category (null: every category without its own row), from a day on.

    With an urgency: for cases to which somebody gave it, against what their category has of itself.
    """

    __tablename__ = "deadline_policy"
    __table_args__ = (
        CheckConstraint(
            "clock IN ('verify', 'accept', 'first_response', 'resolve', 'approve', 'answer')",
            name="ck_deadline_policy_clock",
        ),
        CheckConstraint("kind IN ('working', 'calendar', 'continuous')", name="ck_deadline_policy_kind"),
        CheckConstraint("minutes > 0", name="ck_deadline_policy_minutes"),
        CheckConstraint("kind <> 'calendar' OR mod(minutes, 1440) = 0", name="ck_deadline_policy_whole_days"),
        CheckConstraint("urgency IN ('normal', 'urgent')", name="ck_deadline_policy_urgency"),
        UniqueConstraint(
            "category_code",
            "urgency",
            "clock",
            "valid_from",
            "entered_at",
            name="uq_deadline_policy_entry",
            postgresql_nulls_not_distinct=True,
        ),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    category_code: str | None = Field(default=None, foreign_key="category.code", sa_type=Text)
    urgency: str | None = Field(default=None, sa_type=Text)
    clock: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    minutes: int
    valid_from: date
    entered_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))
    decision: str | None = Field(default=None, sa_type=Text, description="the document it rests on; null: provisional")
    belief: bool = Field(default=False, description="nobody could confirm it")


class PausePolicy(SQLModel, table=True):
    """How long a pause for a reason (null: every reason without its own row) may hold a clock, and how many times."""

    __tablename__ = "pause_policy"
    __table_args__ = (
        CheckConstraint("kind IN ('working', 'calendar', 'continuous')", name="ck_pause_policy_kind"),
        CheckConstraint("minutes > 0", name="ck_pause_policy_minutes"),
        CheckConstraint("kind <> 'calendar' OR mod(minutes, 1440) = 0", name="ck_pause_policy_whole_days"),
        CheckConstraint("times > 0", name="ck_pause_policy_times"),
        UniqueConstraint(
            "reason", "valid_from", "entered_at", name="uq_pause_policy_entry", postgresql_nulls_not_distinct=True
        ),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    reason: str | None = Field(default=None, sa_type=Text)
    kind: str = Field(sa_type=Text)
    minutes: int
    times: int = Field(sa_type=SmallInteger, description="how many pauses of one clock for this reason")
    valid_from: date
    entered_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))
    decision: str | None = Field(default=None, sa_type=Text, description="the document it rests on; null: provisional")
    belief: bool = Field(default=False, description="nobody could confirm it")


class SlaClock(SQLModel, table=True):
    """One run of one clock on one case, begun by the event `started_seq`. A breach once recorded stays.

    `policy_id` is null for a directive, whose moment a leader gave. While the clock is paused (`paused_at`), `due_at`
    is the latest it can become.
    """

    __tablename__ = "sla_clock"
    __table_args__ = (
        CheckConstraint(
            "kind IN ('verify', 'accept', 'first_response', 'resolve', 'approve', 'answer', 'directive')",
            name="ck_sla_clock_kind",
        ),
        CheckConstraint("(kind = 'directive') = (policy_id IS NULL)", name="ck_sla_clock_policy"),
        CheckConstraint("(stopped_at IS NULL) = (met IS NULL)", name="ck_sla_clock_verdict"),
        CheckConstraint("met IS NOT TRUE OR stopped_at <= due_at", name="ck_sla_clock_met"),
        CheckConstraint("met IS NULL OR met = (breached_at IS NULL)", name="ck_sla_clock_breach"),
        CheckConstraint("paused_at IS NULL OR stopped_at IS NULL", name="ck_sla_clock_paused"),
        CheckConstraint("extended_minutes >= 0", name="ck_sla_clock_extended"),
        Index("ix_sla_clock_open_due", "due_at", postgresql_where=text("stopped_at IS NULL")),
    )

    case_id: UUID = Field(primary_key=True, foreign_key="case_file.id")
    kind: str = Field(primary_key=True, sa_type=Text)
    started_seq: int = Field(primary_key=True)
    cycle: int = Field(default=1, sa_type=SmallInteger)
    unit_id: UUID | None = Field(default=None, foreign_key="unit.id")
    policy_id: UUID | None = Field(default=None, foreign_key="deadline_policy.id")
    started_at: datetime = Field(sa_type=DateTime(timezone=True))
    due_at: datetime = Field(sa_type=DateTime(timezone=True))
    extended_minutes: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    paused_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    stopped_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    met: bool | None = None
    breached_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


class ClockPause(SQLModel, table=True):
    """A stretch in which a clock did not count, begun by the event `seq`; it counts until `capped_at` at the latest.

    Ended once and never changed again. `policy_id` is the version of the cap; null: the time between the stop of a
    clock and the event that took the stop back.
    """

    __tablename__ = "clock_pause"
    __table_args__ = (
        ForeignKeyConstraint(
            ["case_id", "kind", "started_seq"],
            ["sla_clock.case_id", "sla_clock.kind", "sla_clock.started_seq"],
            name="clock_pause_clock",
        ),
        CheckConstraint("began_at <= ended_at AND began_at <= capped_at", name="ck_clock_pause_forward"),
        Index(
            "clock_pause_open", "case_id", "kind", "started_seq", unique=True, postgresql_where=text("ended_at IS NULL")
        ),
    )

    case_id: UUID = Field(primary_key=True)
    kind: str = Field(primary_key=True, sa_type=Text)
    started_seq: int = Field(primary_key=True)
    seq: int = Field(primary_key=True)
    reason: str = Field(sa_type=Text)
    policy_id: UUID | None = Field(default=None, foreign_key="pause_policy.id")
    began_at: datetime = Field(sa_type=DateTime(timezone=True))
    capped_at: datetime = Field(sa_type=DateTime(timezone=True))
    ended_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    ended_seq: int | None = Field(default=None, description="null as well where the stop of the clock ended it")


class SupersededDeadline(SQLModel, table=True):
    """The deadline a running clock had until the event `seq` moved it. Append-only.

    `policy_id` is the version it was measured by; `reason` the verb of that event, whose text says more.
    """

    __tablename__ = "superseded_deadline"
    __table_args__ = (
        ForeignKeyConstraint(
            ["case_id", "kind", "started_seq"],
            ["sla_clock.case_id", "sla_clock.kind", "sla_clock.started_seq"],
            name="superseded_deadline_clock",
        ),
    )

    case_id: UUID = Field(primary_key=True)
    kind: str = Field(primary_key=True, sa_type=Text)
    started_seq: int = Field(primary_key=True)
    seq: int = Field(primary_key=True)
    policy_id: UUID = Field(foreign_key="deadline_policy.id")
    due_at: datetime = Field(sa_type=DateTime(timezone=True))
    at: datetime = Field(sa_type=DateTime(timezone=True), description="when it was superseded")
    actor_id: UUID | None = Field(default=None)
    reason: str = Field(sa_type=Text)
