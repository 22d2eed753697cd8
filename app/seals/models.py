"""Seals, the log of heads they speak of, and the debt of telling the world. All but the debt is append-only."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import Column, Field, SQLModel

_AT = DateTime(timezone=True)


class SealKey(SQLModel, table=True):
    """A public key that seals were signed with; rotation adds one and keeps the old. `id` is its SHA-256."""

    __tablename__ = "seal_key"

    id: str = Field(primary_key=True, sa_type=Text)
    public_key: bytes = Field(sa_type=LargeBinary)
    first_used_at: datetime = Field(sa_type=_AT)


class Seal(SQLModel, table=True):
    """One night's signed statement (`rules.Statement`), column by column, and its signature."""

    __tablename__ = "seal"
    __table_args__ = (
        UniqueConstraint("day", name="seal_day"),
        CheckConstraint("number > 0 AND size >= 0", name="seal_counts"),
    )

    number: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    day: date
    at: datetime = Field(sa_type=_AT)
    size: int = Field(sa_type=BigInteger)
    root: bytes = Field(sa_type=LargeBinary)
    previous: bytes = Field(sa_type=LargeBinary)
    below_xid: int = Field(sa_type=BigInteger)
    key_id: str = Field(foreign_key="seal_key.id", sa_type=Text)
    signature: bytes = Field(sa_type=LargeBinary)


class SealLeaf(SQLModel, table=True):
    """One head in the log: leaf `pos` says that the chain of this case had this head at this seq.

    A leaf belongs to the first seal whose size exceeds `pos`. No foreign key to the event: neither can be removed,
    and checking it would lock and rewrite 100,000 events a night.
    """

    __tablename__ = "seal_leaf"
    __table_args__ = (UniqueConstraint("case_id", "seq", name="seal_leaf_case"),)

    pos: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    case_id: UUID
    seq: int = Field(sa_type=Integer)
    head: bytes = Field(sa_type=LargeBinary)


class SealNode(SQLModel, table=True):
    """The hash of a complete subtree of 256, 65,536, … leaves, kept so that a proof need not read them."""

    __tablename__ = "seal_node"

    level: int = Field(sa_column=Column(SmallInteger, primary_key=True, autoincrement=False))
    place: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    hash: bytes = Field(sa_type=LargeBinary)


class SealDelivery(SQLModel, table=True):
    """A seal owed to the configured address until that has answered."""

    __tablename__ = "seal_delivery"
    __table_args__ = (
        Index("seal_delivery_owed", "next_attempt_at", "number", postgresql_where=text("delivered_at IS NULL")),
    )

    number: int = Field(sa_column=Column(ForeignKey("seal.number"), primary_key=True, autoincrement=False))
    attempts: int = Field(default=0, sa_type=Integer)
    next_attempt_at: datetime = Field(sa_type=_AT)
    delivered_at: datetime | None = Field(default=None, sa_type=_AT)
    failure: str | None = Field(default=None, sa_type=Text)
