"""Pictures: one row per upload. The row is the queue for processing and for deletion."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Double, Index, LargeBinary, SmallInteger, Text, text
from sqlmodel import Field, SQLModel

from app.core import clock
from app.core.ids import uuid7


class Media(SQLModel, table=True):
    """One picture as it was received, and what was made of it.

    `stored` says that the original is durable and processing is owed; `processed` that both derivatives are durable;
    `failed` that there will never be any, and `failure_code` why. The original is never served in any state.

    The three storage keys are random, chosen once and unrelated to each other: whoever learns the address of a
    derivative cannot guess the original's, and an attempt that is repeated overwrites its own objects.

    `next_attempt_at` is when work on the row is owed: at once, after a pause, or when the lease in force expires.
    """

    __tablename__ = "media"
    __table_args__ = (
        CheckConstraint("state IN ('stored', 'processed', 'failed')", name="media_state_known"),
        CheckConstraint("(state = 'failed') = (failure_code IS NOT NULL)", name="media_failure_says_why"),
        CheckConstraint("state <> 'processed' OR (width > 0 AND height > 0)", name="media_processed_has_size"),
        CheckConstraint(
            "detected_type IN ('image/jpeg', 'image/png', 'image/webp', 'image/heic')", name="media_type_known"
        ),
        CheckConstraint("size_bytes > 0", name="media_not_empty"),
        CheckConstraint("(exif_lat IS NULL) = (exif_lon IS NULL)", name="media_hint_whole"),
        CheckConstraint("deleted_at IS NULL OR delete_requested_at IS NOT NULL", name="media_deletion_was_asked"),
        Index("media_owner", "owner_id", "created_at"),
        Index(
            "media_processing_owed",
            "next_attempt_at",
            postgresql_where=text("state = 'stored' AND delete_requested_at IS NULL"),
        ),
        Index(
            "media_deletion_owed",
            "next_attempt_at",
            postgresql_where=text("delete_requested_at IS NOT NULL AND deleted_at IS NULL"),
        ),
        # The orphan sweep asks whether an object it found belongs to a row.
        Index("media_original_key", "original_key", unique=True),
        Index("media_large_key", "large_key", unique=True),
        Index("media_small_key", "small_key", unique=True),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    owner_id: UUID = Field(foreign_key="account.id")
    state: str = Field(default="stored", sa_type=Text)
    detected_type: str = Field(sa_type=Text)
    size_bytes: int = Field(sa_type=BigInteger)
    sha256: bytes | None = Field(default=None, sa_type=LargeBinary)  # null once deleted

    original_key: str = Field(sa_type=Text)
    large_key: str = Field(sa_type=Text)
    small_key: str = Field(sa_type=Text)
    width: int | None = Field(default=None)  # of the large derivative
    height: int | None = Field(default=None)
    dhash: int | None = Field(default=None, sa_type=BigInteger)

    # Hints for staff, never served to the public.
    exif_taken_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    exif_lat: float | None = Field(default=None, sa_type=Double)
    exif_lon: float | None = Field(default=None, sa_type=Double)

    failure_code: str | None = Field(default=None, sa_type=Text)
    attempts: int = Field(default=0, sa_type=SmallInteger)
    lease_id: UUID | None = Field(default=None)
    next_attempt_at: datetime = Field(default_factory=clock.now, sa_type=DateTime(timezone=True))

    created_at: datetime = Field(default_factory=clock.now, sa_type=DateTime(timezone=True))
    finished_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    delete_requested_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    deleted_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
