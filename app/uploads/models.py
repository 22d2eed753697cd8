"""Uploads under way: one row each, and one file beside the database that holds the bytes."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Index, Text, text
from sqlmodel import Field, SQLModel

from app.core import clock
from app.core.ids import uuid7


class Upload(SQLModel, table=True):
    """An upload from its first byte to the picture it becomes, under the same id.

    `received` counts the bytes that were acknowledged: they are on disk, whatever dies. The last byte is acknowledged
    together with the picture, so an upload that is open always lacks something, and none waits to be finished.

    `refused` says that all bytes came and are no picture; `failure_code` says why.
    """

    __tablename__ = "upload"
    __table_args__ = (
        CheckConstraint("state IN ('open', 'finished', 'refused')", name="upload_state_known"),
        CheckConstraint("length > 0 AND received BETWEEN 0 AND length", name="upload_received_within_length"),
        CheckConstraint("(state = 'open') = (received < length)", name="upload_open_lacks_bytes"),
        CheckConstraint("(state = 'finished') = (media_id IS NOT NULL)", name="upload_finished_is_media"),
        CheckConstraint("(state = 'refused') = (failure_code IS NOT NULL)", name="upload_refusal_says_why"),
        CheckConstraint("media_id IS NULL OR media_id = id", name="upload_keeps_its_id"),
        Index("upload_unfinished", "owner_id", postgresql_where=text("state = 'open'")),
        Index("upload_expiry", "expires_at"),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    owner_id: UUID = Field(foreign_key="account.id")
    state: str = Field(default="open", sa_type=Text)
    length: int = Field(sa_type=BigInteger)
    received: int = Field(default=0, sa_type=BigInteger)
    sent_metadata: str = Field(default="", sa_type=Text)  # Upload-Metadata as it came; gone with the row
    media_id: UUID | None = Field(default=None, foreign_key="media.id")
    failure_code: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Field(default_factory=clock.now, sa_type=DateTime(timezone=True))
    expires_at: datetime = Field(sa_type=DateTime(timezone=True))
