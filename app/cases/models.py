"""Cases, their chained history, the texts that history commits to, hops between units, ratings."""

from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Date,
    DateTime,
    FetchedValue,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.types import UserDefinedType
from sqlmodel import Column, Field, SQLModel

from app.cases.rules import AT_UNIT, OWED_ROUTING, STATES, URGENT_OPEN

_AT = DateTime(timezone=True)


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id: the commit-safe order of rows that others follow."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The type's name in SQL."""
        return "xid8"

    def result_processor(self, *_: Any) -> Callable[[Any], Any]:
        """Psycopg knows no xid8 and hands over its text."""
        return lambda value: None if value is None else int(value)


def quoted(values: Iterable[str]) -> str:
    """Constants of ours as SQL literals, for conditions that an index must recognise."""
    return ", ".join(f"'{value}'" for value in values)


class Case(SQLModel, table=True):
    """A case as it stands now.

    `act_by` is the moment by which somebody must act next and orders every list; `due_at` is the deadline of the
    running resolve clock; `version` is the seq of the last event. `pin_seq` names the newest `CasePin`; None: the case
    lies where the report says. `state_before` is the state it came from, `planned_until` the local day on which a
    planned case returns; `extension_seq`, `rejection_seq` and `directive_seq` name the event that still waits for
    somebody's word. `suggested_id` is the machine's guess for the person who chooses the unit. `assignee_id` is who of
    the unit works on it, `helper_ids` the units whose `CaseCooperation` runs: with them the case row alone says who may
    see it (docs/adr/0117).
    """

    __tablename__ = "case_file"
    __table_args__ = (
        CheckConstraint(f"state IN ({quoted(STATES)})", name="case_file_state"),
        CheckConstraint("urgency IN ('normal', 'urgent')", name="case_file_urgency"),
        CheckConstraint("rating IN ('satisfied', 'acceptable', 'dissatisfied')", name="case_file_rating"),
        UniqueConstraint("reference", name="case_file_reference"),
        UniqueConstraint("report_id", name="case_file_report"),
        Index("case_file_owed_routing", "received_at", postgresql_where=text(OWED_ROUTING)),
        Index(
            "case_file_worklist",
            "unit_id",
            text("(urgency <> 'urgent')"),
            "act_by",
            "id",
            postgresql_where=text(f"state IN ({quoted(AT_UNIT)})"),
        ),
        Index(
            "case_file_queue",
            "state",
            text("(urgency <> 'urgent')"),
            "act_by",
            "id",
            postgresql_where=text("state IN ('verifying', 'triage')"),
        ),
        Index("case_file_urgent", "updated_at", postgresql_where=text(URGENT_OPEN)),
        Index(
            "case_file_held",
            "state",
            text("(urgency <> 'urgent')"),
            "act_by",
            "id",
            postgresql_where=text("state IN ('waiting_citizen', 'pending_approval')"),
        ),
        Index("case_file_planned", "planned_until", postgresql_where=text("planned_until IS NOT NULL")),
        Index(
            "case_file_of_person",
            "assignee_id",
            text("(urgency <> 'urgent')"),
            "act_by",
            "id",
            postgresql_where=text("assignee_id IS NOT NULL"),
        ),
        Index("case_file_resolved", "resolved_at", postgresql_where=text("state = 'resolved'")),
        CheckConstraint("(state = 'merged') = (merged_into IS NOT NULL)", name="case_file_merged"),
        Index("case_file_followers", "merged_into", postgresql_where=text("merged_into IS NOT NULL")),
    )

    id: UUID = Field(primary_key=True)
    report_id: UUID = Field(foreign_key="report.id")
    reference: str = Field(sa_type=Text)
    category_code: str = Field(foreign_key="category.code", sa_type=Text)
    urgency: str = Field(sa_type=Text)
    channel: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    state_before: str | None = Field(default=None, sa_type=Text)
    version: int = Field(sa_type=Integer)
    cycle: int = Field(default=1, sa_type=SmallInteger)
    unit_id: UUID | None = Field(default=None, foreign_key="unit.id")
    assignee_id: UUID | None = Field(default=None, foreign_key="account.id")
    helper_ids: list[UUID] = Field(
        default_factory=list, sa_column=Column(ARRAY(Uuid), nullable=False, server_default="{}")
    )
    commune_id: UUID | None = Field(default=None, foreign_key="unit.id")
    candidate_ids: list[UUID] = Field(
        default_factory=list, sa_column=Column(ARRAY(Uuid), nullable=False, server_default="{}")
    )
    boundary_version_id: UUID | None = Field(default=None, foreign_key="boundary_version.id")
    route_reason: str | None = Field(default=None, sa_type=Text)
    suggested_id: UUID | None = Field(default=None, foreign_key="unit.id")
    # Whether a dispatcher said that the place lies in `commune_id`.
    commune_confirmed: bool = Field(
        default=False, sa_column=Column(Boolean, nullable=False, server_default=text("false"))
    )
    pin_seq: int | None = Field(default=None, sa_type=Integer)
    routing_attempts: int = Field(default=0, sa_column=Column(SmallInteger, nullable=False, server_default="0"))
    # How often it could not be handed to the heir of its unit.
    follow_attempts: int = Field(default=0, sa_column=Column(SmallInteger, nullable=False, server_default="0"))
    received_at: datetime = Field(sa_type=_AT)
    updated_at: datetime = Field(sa_type=_AT)
    act_by: datetime = Field(sa_type=_AT)
    due_at: datetime | None = Field(default=None, sa_type=_AT)
    resolved_at: datetime | None = Field(default=None, sa_type=_AT)
    published_at: datetime | None = Field(default=None, sa_type=_AT)
    hidden_at: datetime | None = Field(default=None, sa_type=_AT)
    outcome: str | None = Field(default=None, sa_type=Text)
    planned_until: date | None = Field(default=None, sa_type=Date)
    rejected_at: datetime | None = Field(default=None, sa_type=_AT)
    has_appealed: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=text("false")))
    extension_seq: int | None = Field(default=None, sa_type=Integer)
    rejection_seq: int | None = Field(default=None, sa_type=Integer)
    directive_seq: int | None = Field(default=None, sa_type=Integer)
    reject_code: str | None = Field(default=None, sa_type=Text)
    rating: str | None = Field(default=None, sa_type=Text)
    # The surviving case of a duplicate; never itself a duplicate, so that there are no chains.
    merged_into: UUID | None = Field(default=None, foreign_key="case_file.id")
    # How many people beside the reporter have the same problem: see `queries.followers`.
    supporters: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    head: bytes = Field(sa_type=LargeBinary)


class CaseEvent(SQLModel, table=True):
    """One step of a case's history: append-only, chained, without personal data.

    `body` is the canonical JSON that was hashed, kept as it was hashed; hash = SHA-256(previous hash, body).
    `commitment` = SHA-256(nonce, text) of a text in `case_text` or `report_content`, which may be erased.
    The columns repeat the body for queries; `cases.rules.verify_chain` checks that they agree.
    """

    __tablename__ = "case_event"
    __table_args__ = (
        Index("case_event_order", "xid", "pos"),
        Index("case_event_received", "at", "case_id", postgresql_where=text("seq = 1")),
        {"postgresql_partition_by": "RANGE (case_id)"},
    )
    __mapper_args__ = {"eager_defaults": False}

    case_id: UUID = Field(primary_key=True, foreign_key="case_file.id")
    seq: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    at: datetime = Field(sa_type=_AT)
    verb: str = Field(sa_type=Text)
    from_state: str | None = Field(default=None, sa_type=Text)
    to_state: str = Field(sa_type=Text)
    actor_kind: str = Field(sa_type=Text)
    actor_id: UUID | None = Field(default=None)
    unit_id: UUID | None = Field(default=None)
    commune_id: UUID | None = Field(default=None)
    cycle: int = Field(sa_type=SmallInteger)
    category_code: str = Field(sa_type=Text)
    urgency: str = Field(sa_type=Text)
    channel: str = Field(sa_type=Text)
    code: str | None = Field(default=None, sa_type=Text)
    due_at: datetime | None = Field(default=None, sa_type=_AT)
    commitment: bytes | None = Field(default=None, sa_type=LargeBinary)
    body: bytes = Field(sa_type=LargeBinary)
    hash: bytes = Field(sa_type=LargeBinary)
    xid: int = Field(
        default=None,
        sa_column=Column(Xid8, FetchedValue(), nullable=False, server_default=text("pg_current_xact_id()")),
    )
    pos: int = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), nullable=False))


class CaseText(SQLModel, table=True):
    """A text that an event committed to (note, message, reason, added information); erasable."""

    __tablename__ = "case_text"

    case_id: UUID = Field(sa_column=Column(ForeignKey("case_file.id"), primary_key=True))
    seq: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    body: str = Field(sa_type=Text)
    nonce: bytes = Field(sa_type=LargeBinary)


class CasePin(SQLModel, table=True):
    """Where the event `seq` moved a case's place to; erasable, with the nonce of that event's commitment.

    The report stands as received: the newest pin is the place of the case, not what the citizen said.
    """

    __tablename__ = "case_pin"
    __table_args__ = (
        CheckConstraint("lat BETWEEN -90 AND 90 AND lon BETWEEN -180 AND 180", name="case_pin_range"),
        Index("case_pin_place", "lat", "lon"),
    )

    case_id: UUID = Field(sa_column=Column(ForeignKey("case_file.id"), primary_key=True))
    seq: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    lat: float = Field(sa_type=Float)
    lon: float = Field(sa_type=Float)
    accuracy_m: float = Field(sa_type=Float)
    nonce: bytes = Field(sa_type=LargeBinary)


class CaseDocument(SQLModel, table=True):
    """The paper that the result `seq` rests on; that event commits to it together with its note, by this nonce."""

    __tablename__ = "case_document"

    case_id: UUID = Field(sa_column=Column(ForeignKey("case_file.id"), primary_key=True))
    seq: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    number: str = Field(sa_type=Text)
    issued_on: date = Field(sa_type=Date)
    nonce: bytes = Field(sa_type=LargeBinary)


class CasePhoto(SQLModel, table=True):
    """A photo staff attached to a step of a case (after-photos of a result); public once a dispatcher saw it.

    `is_withheld`: its result is proposed and not approved; the citizen does not see it.
    """

    __tablename__ = "case_photo"

    media_id: UUID = Field(primary_key=True, foreign_key="media.id")
    case_id: UUID = Field(foreign_key="case_file.id", index=True)
    seq: int = Field(sa_type=Integer)
    is_public: bool = Field(default=False)
    is_withheld: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=text("false")))


class CaseNotePhoto(SQLModel, table=True):
    """A photo that belongs to an internal note: for staff alone, whatever is published."""

    __tablename__ = "case_note_photo"

    media_id: UUID = Field(primary_key=True, foreign_key="media.id")
    case_id: UUID = Field(foreign_key="case_file.id", index=True)
    seq: int = Field(sa_type=Integer)


class CaseCooperation(SQLModel, table=True):
    """A unit that helps (phối hợp) the one that holds a case, since the event `since_seq`, without a clock.

    `by_id`: who asked for it; None: a routing rule did.
    """

    __tablename__ = "case_cooperation"
    __table_args__ = (
        Index("case_cooperation_running", "unit_id", "case_id", unique=True, postgresql_where=text("until IS NULL")),
        CheckConstraint("until >= since", name="case_cooperation_order"),
        CheckConstraint("(until IS NULL) = (until_seq IS NULL)", name="case_cooperation_end"),
    )

    case_id: UUID = Field(primary_key=True, foreign_key="case_file.id")
    since_seq: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    unit_id: UUID = Field(foreign_key="unit.id")
    since: datetime = Field(sa_type=_AT)
    by_id: UUID | None = Field(default=None, foreign_key="account.id")
    until: datetime | None = Field(default=None, sa_type=_AT)
    until_seq: int | None = Field(default=None, sa_type=Integer)


class CaseHop(SQLModel, table=True):
    """A case's stay with one unit: when it came, by when it is due there, when and how it left."""

    __tablename__ = "case_hop"
    __table_args__ = (
        Index("case_hop_current", "case_id", unique=True, postgresql_where=text("ended_at IS NULL")),
        Index("case_hop_by_unit", "unit_id", "received_at"),
        CheckConstraint("ended_at >= received_at", name="case_hop_order"),
        CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name="case_hop_outcome"),
    )

    case_id: UUID = Field(primary_key=True, foreign_key="case_file.id")
    started_seq: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    cycle: int = Field(sa_type=SmallInteger)
    unit_id: UUID = Field(foreign_key="unit.id")
    received_at: datetime = Field(sa_type=_AT)
    due_at: datetime | None = Field(default=None, sa_type=_AT)
    accepted_at: datetime | None = Field(default=None, sa_type=_AT)
    ended_at: datetime | None = Field(default=None, sa_type=_AT)
    outcome: str | None = Field(default=None, sa_type=Text)


class CaseSupport(SQLModel, table=True):
    """Somebody beside the reporter who has the same problem (tôi cũng gặp), and follows the case for it."""

    __tablename__ = "case_support"
    __table_args__ = (Index("case_support_of_account", "account_id"),)

    case_id: UUID = Field(primary_key=True, foreign_key="case_file.id")
    account_id: UUID = Field(primary_key=True, foreign_key="account.id")
    created_at: datetime = Field(sa_type=_AT)
