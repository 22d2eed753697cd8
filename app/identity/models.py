"""Accounts, the identity vault apart from them, sign-in, rights, and two logs: identity reads, config changes."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Index, LargeBinary, SmallInteger, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

import app.orgunits.models  # noqa: F401 - its unit table is referred to below
from app.core import clock
from app.core.ids import uuid7

_MOMENT = DateTime(timezone=True)


class Account(SQLModel, table=True):
    """Somebody who signs in. Holds no personal data: that is in `Identity`."""

    __tablename__ = "account"
    __table_args__ = (
        CheckConstraint("kind IN ('citizen', 'staff')", name="account_kind_known"),
        CheckConstraint("status IN ('active', 'blocked', 'erased')", name="account_status_known"),
        CheckConstraint("locale IN ('vi', 'en')", name="account_locale_known"),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    kind: str = Field(sa_type=Text)
    status: str = Field(default="active", sa_type=Text)
    locale: str = Field(default="vi", sa_type=Text)
    created_at: datetime = Field(default_factory=clock.now, sa_type=_MOMENT)


class Identity(SQLModel, table=True):
    """The vault: who an account is and agreed to; sealed with `identity:<account>:<column>`, found by blind index."""

    __tablename__ = "identity"
    __table_args__ = (
        UniqueConstraint("phone_index", name="identity_phone_once"),
        UniqueConstraint("email_index", name="identity_email_once"),
        CheckConstraint("(phone_sealed IS NULL) = (phone_index IS NULL)", name="identity_phone_whole"),
        CheckConstraint("(email_sealed IS NULL) = (email_index IS NULL)", name="identity_email_whole"),
        CheckConstraint("(consent_version IS NULL) = (consent_at IS NULL)", name="identity_consent_whole"),
        CheckConstraint(
            "channel IN ('app', 'web', 'assistant', 'integration', 'staff')", name="identity_channel_known"
        ),
    )

    account_id: UUID = Field(primary_key=True, foreign_key="account.id")
    phone_sealed: bytes | None = Field(default=None, sa_type=LargeBinary)
    phone_index: bytes | None = Field(default=None, sa_type=LargeBinary)
    name_sealed: bytes | None = Field(default=None, sa_type=LargeBinary)
    email_sealed: bytes | None = Field(default=None, sa_type=LargeBinary)
    email_index: bytes | None = Field(default=None, sa_type=LargeBinary)
    consent_version: str | None = Field(default=None, sa_type=Text)
    consent_at: datetime | None = Field(default=None, sa_type=_MOMENT)
    channel: str = Field(default="app", sa_type=Text)


class Credential(SQLModel, table=True):
    """A staff member's password as argon2id."""

    __tablename__ = "credential"

    account_id: UUID = Field(primary_key=True, foreign_key="account.id")
    password_hash: str = Field(sa_type=Text)
    changed_at: datetime = Field(default_factory=clock.now, sa_type=_MOMENT)


class Membership(SQLModel, table=True):
    """A role held in a unit, or in the whole province (unit_id null), for a time. Leave is delegated with dates."""

    __tablename__ = "membership"
    __table_args__ = (
        CheckConstraint(
            "role IN ('dispatcher', 'administrator', 'auditor', 'integration') AND unit_id IS NULL"
            " OR role IN ('assistant', 'officer', 'lead') AND unit_id IS NOT NULL OR role = 'leader'",
            name="membership_role_fits_scope",
        ),
        CheckConstraint("valid_to IS NULL OR valid_to >= valid_from", name="membership_time_runs_on"),
        Index("membership_of_account", "account_id"),
        Index("membership_of_unit", "unit_id", "role"),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    account_id: UUID = Field(foreign_key="account.id")
    role: str = Field(sa_type=Text)
    unit_id: UUID | None = Field(default=None, foreign_key="unit.id")
    valid_from: datetime = Field(default_factory=clock.now, sa_type=_MOMENT)
    valid_to: datetime | None = Field(default=None, sa_type=_MOMENT)


class SignInCode(SQLModel, table=True):
    """A phone's one live code, kept as an HMAC bound to this row's id; a new code replaces it."""

    __tablename__ = "sign_in_code"
    __table_args__ = (
        UniqueConstraint("phone_index", name="sign_in_code_one_a_phone"),
        CheckConstraint("attempts BETWEEN 0 AND 5", name="sign_in_code_attempts_bounded"),
        Index("sign_in_code_by_expiry", "expires_at"),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    phone_index: bytes = Field(sa_type=LargeBinary)
    code_mac: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(default_factory=clock.now, sa_type=_MOMENT)
    expires_at: datetime = Field(sa_type=_MOMENT)
    attempts: int = Field(default=0, sa_type=SmallInteger)
    used_at: datetime | None = Field(default=None, sa_type=_MOMENT)


class SignedInSession(SQLModel, table=True):
    """One phone or browser that is signed in, until it signs out, is blocked or one of its tokens was reused."""

    __tablename__ = "session"
    __table_args__ = (
        CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name="session_end_whole"),
        CheckConstraint("end_reason IN ('signed_out', 'reused', 'blocked')", name="session_end_reason_known"),
        Index("session_of_account", "account_id"),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    account_id: UUID = Field(foreign_key="account.id")
    device: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Field(default_factory=clock.now, sa_type=_MOMENT)
    ended_at: datetime | None = Field(default=None, sa_type=_MOMENT)
    end_reason: str | None = Field(default=None, sa_type=Text)


class RefreshToken(SQLModel, table=True):
    """One link in a session's chain of refresh tokens. The token itself derives from `id` and the token key."""

    __tablename__ = "refresh_token"
    __table_args__ = (
        UniqueConstraint("token_hash", name="refresh_token_hash_once"),
        UniqueConstraint("successor_id", name="refresh_token_successor_once"),
        Index("refresh_token_of_session", "session_id"),
        Index("refresh_token_by_expiry", "expires_at"),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    session_id: UUID = Field(foreign_key="session.id", ondelete="CASCADE")
    token_hash: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(default_factory=clock.now, sa_type=_MOMENT)
    expires_at: datetime = Field(sa_type=_MOMENT)
    successor_id: UUID | None = Field(default=None, foreign_key="refresh_token.id", ondelete="SET NULL")


class IdentityRead(SQLModel, table=True):
    """The access log: who read whose identity, why, and for which case. Append-only."""

    __tablename__ = "identity_read"
    __table_args__ = (
        CheckConstraint(
            "purpose IN ('verify', 'call', 'duplicate', 'data_request', 'law')", name="identity_read_purpose_known"
        ),
        Index("identity_read_of_subject", "subject_id", "at"),
        Index("identity_read_by_reader", "reader_id", "at"),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    reader_id: UUID = Field(foreign_key="account.id")
    subject_id: UUID = Field(foreign_key="account.id")
    purpose: str = Field(sa_type=Text)
    case_id: UUID | None = Field(default=None)
    at: datetime = Field(default_factory=clock.now, sa_type=_MOMENT)


class AuditEntry(SQLModel, table=True):
    """A change of configuration or accounts: what it was, what it is, who did it (null: an operator's command)."""

    __tablename__ = "audit_entry"
    __table_args__ = (
        Index("audit_entry_of_subject", "topic", "subject", "at"),
        Index("audit_entry_by_time", "at"),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    at: datetime = Field(default_factory=clock.now, sa_type=_MOMENT)
    actor_id: UUID | None = Field(default=None, foreign_key="account.id")
    topic: str = Field(sa_type=Text)
    subject: str = Field(sa_type=Text)
    before: dict[str, object] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    after: dict[str, object] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
