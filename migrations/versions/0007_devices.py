"""Devices that receive push messages, and what was tried to deliver a message."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("installation_id", sa.Uuid(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=False),
        sa.Column("token_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("token_index", sa.LargeBinary(), nullable=True),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("app_version", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.CheckConstraint("platform IN ('android', 'ios', 'web')", name="device_platform_known"),
        sa.CheckConstraint("carrier IN ('fcm', 'apns', 'webpush')", name="device_carrier_known"),
        sa.CheckConstraint("locale IN ('vi', 'en')", name="device_locale_known"),
        sa.CheckConstraint(
            "end_reason IN ('signed_out', 'token_dead', 'taken_over', 'too_many')", name="device_end_reason_known"
        ),
        sa.CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name="device_end_whole"),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (token_sealed IS NOT NULL) AND (ended_at IS NULL) = (token_index IS NOT NULL)",
            name="device_token_while_it_lives",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["session_id"], ["session.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account_id", "installation_id", name="device_once_an_account"),
    )
    op.create_index("device_of_session", "device", ["session_id"], unique=False)
    op.create_index(
        "device_token_once", "device", ["token_index"], unique=True, postgresql_where=sa.text("ended_at IS NULL")
    )
    op.create_table(
        "message_attempt",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("channel IN ('push', 'zns', 'sms', 'email')", name="message_attempt_channel_known"),
        sa.CheckConstraint(
            "carrier IN ('console', 'fcm', 'apns', 'webpush', 'zns', 'esms', 'smtp')",
            name="message_attempt_carrier_known",
        ),
        sa.CheckConstraint(
            "outcome IN ('accepted', 'retry', 'permanent', 'token_dead', 'quota')",
            name="message_attempt_outcome_known",
        ),
        sa.CheckConstraint("(outcome = 'permanent') = (code IS NOT NULL)", name="message_attempt_refusal_has_code"),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("message_attempt_of_message", "message_attempt", ["message_id"], unique=False)


def downgrade() -> None:
    raise NotImplementedError("forward only: history is never taken back")
