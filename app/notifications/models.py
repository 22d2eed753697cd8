"""Messages: what is owed to whom, and what became of it. One row per recipient; the row is the queue."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Index, LargeBinary, SmallInteger, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

import app.identity.models  # noqa: F401 - its account table is referred to below
from app.core import clock
from app.core.ids import uuid7

_MOMENT = DateTime(timezone=True)


class Device(SQLModel, table=True):
    """One installation that receives push messages: a phone or browser in which its account is signed in.

    A token is sealed with `device:<id>:token` (of a browser: its subscription as JSON), found by blind index, belongs
    to one account at a time and is wiped when the device ends. A device whose session has ended receives nothing.
    """

    __tablename__ = "device"
    __table_args__ = (
        UniqueConstraint("account_id", "installation_id", name="device_once_an_account"),
        CheckConstraint("platform IN ('android', 'ios', 'web')", name="device_platform_known"),
        CheckConstraint("carrier IN ('fcm', 'apns', 'webpush')", name="device_carrier_known"),
        CheckConstraint("locale IN ('vi', 'en')", name="device_locale_known"),
        CheckConstraint(
            "end_reason IN ('signed_out', 'token_dead', 'taken_over', 'too_many')", name="device_end_reason_known"
        ),
        CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name="device_end_whole"),
        CheckConstraint(
            "(ended_at IS NULL) = (token_sealed IS NOT NULL) AND (ended_at IS NULL) = (token_index IS NOT NULL)",
            name="device_token_while_it_lives",
        ),
        Index("device_token_once", "token_index", unique=True, postgresql_where=text("ended_at IS NULL")),
        Index("device_of_session", "session_id"),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    account_id: UUID = Field(foreign_key="account.id")
    # Gone with its session's row, which is kept until none of its tokens could be used.
    session_id: UUID | None = Field(default=None, foreign_key="session.id", ondelete="CASCADE")
    installation_id: UUID
    platform: str = Field(sa_type=Text)
    carrier: str = Field(sa_type=Text)
    token_sealed: bytes | None = Field(default=None, sa_type=LargeBinary)
    token_index: bytes | None = Field(default=None, sa_type=LargeBinary)
    locale: str = Field(sa_type=Text)
    app_version: str = Field(sa_type=Text)
    time_zone: str = Field(sa_type=Text)
    registered_at: datetime = Field(default_factory=clock.now, sa_type=_MOMENT)
    seen_at: datetime = Field(default_factory=clock.now, sa_type=_MOMENT)
    ended_at: datetime | None = Field(default=None, sa_type=_MOMENT)
    end_reason: str | None = Field(default=None, sa_type=Text)


class Message(SQLModel, table=True):
    """One message to one recipient: an account, or (a sign-in code) a sealed address.

    A bulk insert sets id, dedupe_key, account_id, case_id, template, params and created_at; the rest has defaults.
    `next_attempt_at` is when the row may be taken; while it is leased, the end of the lease.
    Nothing personal outlives the sending: address and secret are wiped when the row leaves `owed`.
    """

    __tablename__ = "message"
    __table_args__ = (
        UniqueConstraint("dedupe_key", name="message_once"),
        CheckConstraint("state IN ('owed', 'sent', 'failed')", name="message_state_known"),
        CheckConstraint("channel IN ('push', 'sms', 'email')", name="message_channel_known"),
        CheckConstraint("locale IN ('vi', 'en')", name="message_locale_known"),
        CheckConstraint(
            "account_id IS NOT NULL OR address_sealed IS NOT NULL OR state <> 'owed'", name="message_has_recipient"
        ),
        CheckConstraint(
            "state = 'owed' OR (address_sealed IS NULL AND secret_sealed IS NULL)", name="message_wiped_at_end"
        ),
        CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", name="message_sent_has_moment"),
        CheckConstraint("(state = 'failed') <= (failure_code IS NOT NULL)", name="message_failure_has_code"),
        Index("message_owed", "priority", "next_attempt_at", postgresql_where=text("state = 'owed'")),
        Index("message_failed", "created_at", postgresql_where=text("state = 'failed'")),
        Index("message_of_account", "account_id", "created_at"),
        Index("message_of_case", "case_id"),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    dedupe_key: str = Field(sa_type=Text)
    account_id: UUID | None = Field(default=None, foreign_key="account.id")
    case_id: UUID | None = Field(default=None)
    channel: str = Field(default="push", sa_type=Text, sa_column_kwargs={"server_default": "push"})
    # 0: a person is waiting for it on a screen. 1: everything else.
    priority: int = Field(default=1, sa_type=SmallInteger, sa_column_kwargs={"server_default": "1"})
    template: str = Field(sa_type=Text)
    params: dict[str, str] = Field(default_factory=dict, sa_type=JSONB, sa_column_kwargs={"server_default": "{}"})
    address_sealed: bytes | None = Field(default=None, sa_type=LargeBinary)
    secret_sealed: bytes | None = Field(default=None, sa_type=LargeBinary)
    # None: the account's own language at the moment of sending.
    locale: str | None = Field(default=None, sa_type=Text)
    state: str = Field(default="owed", sa_type=Text, sa_column_kwargs={"server_default": "owed"})
    attempts: int = Field(default=0, sa_type=SmallInteger, sa_column_kwargs={"server_default": "0"})
    lease_id: UUID | None = Field(default=None)
    next_attempt_at: datetime = Field(
        default_factory=clock.now, sa_type=_MOMENT, sa_column_kwargs={"server_default": text("CURRENT_TIMESTAMP")}
    )
    # Not sent after this moment; None: whenever.
    expires_at: datetime | None = Field(default=None, sa_type=_MOMENT)
    sent_at: datetime | None = Field(default=None, sa_type=_MOMENT)
    failure_code: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Field(default_factory=clock.now, sa_type=_MOMENT)


class MessageAttempt(SQLModel, table=True):
    """An answer of a provider to one delivery of a message. Several devices of an account are several deliveries."""

    __tablename__ = "message_attempt"
    __table_args__ = (
        CheckConstraint("channel IN ('push', 'zns', 'sms', 'email')", name="message_attempt_channel_known"),
        CheckConstraint(
            "carrier IN ('console', 'fcm', 'apns', 'webpush', 'zns', 'esms', 'smtp')",
            name="message_attempt_carrier_known",
        ),
        CheckConstraint(
            "outcome IN ('accepted', 'retry', 'permanent', 'token_dead', 'quota')", name="message_attempt_outcome_known"
        ),
        CheckConstraint("(outcome = 'permanent') = (code IS NOT NULL)", name="message_attempt_refusal_has_code"),
        Index("message_attempt_of_message", "message_id"),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    message_id: UUID = Field(foreign_key="message.id")
    channel: str = Field(sa_type=Text)
    carrier: str = Field(sa_type=Text)
    # No foreign key: what happened outlives the device it happened to.
    device_id: UUID | None = Field(default=None)
    outcome: str = Field(sa_type=Text)
    code: str | None = Field(default=None, sa_type=Text)
    at: datetime = Field(default_factory=clock.now, sa_type=_MOMENT)
