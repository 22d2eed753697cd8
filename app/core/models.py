"""Tables that belong to no domain: stored answers of repeated requests, versions of cached configuration."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, LargeBinary, SmallInteger, Text
from sqlmodel import Field, SQLModel


class ConfigVersion(SQLModel, table=True):
    """A counter per topic; raising it makes every process load that topic again within seconds."""

    __tablename__ = "config_version"

    topic: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(default=1, sa_type=BigInteger)


class IdempotencyKey(SQLModel, table=True):
    """The answer given to a request that creates, kept 30 days so that a repeat gets the same answer."""

    __tablename__ = "idempotency_key"

    account_id: UUID = Field(primary_key=True)
    key: UUID = Field(primary_key=True)
    request_hash: bytes = Field(sa_type=LargeBinary)
    status: int = Field(sa_type=SmallInteger)
    body: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=DateTime(timezone=True), index=True)
