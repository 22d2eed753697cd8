"""Uploads that arrive in pieces."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "upload",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("sent_metadata", sa.Text(), nullable=False),
        sa.Column("media_id", sa.Uuid(), nullable=True),
        sa.Column("failure_code", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('open', 'finished', 'refused')", name="upload_state_known"),
        sa.CheckConstraint("length > 0 AND received BETWEEN 0 AND length", name="upload_received_within_length"),
        sa.CheckConstraint("(state = 'open') = (received < length)", name="upload_open_lacks_bytes"),
        sa.CheckConstraint("(state = 'finished') = (media_id IS NOT NULL)", name="upload_finished_is_media"),
        sa.CheckConstraint("(state = 'refused') = (failure_code IS NOT NULL)", name="upload_refusal_says_why"),
        sa.CheckConstraint("media_id IS NULL OR media_id = id", name="upload_keeps_its_id"),
        sa.ForeignKeyConstraint(["media_id"], ["media.id"]),
        sa.ForeignKeyConstraint(["owner_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("upload_expiry", "upload", ["expires_at"], unique=False)
    op.create_index(
        "upload_unfinished", "upload", ["owner_id"], unique=False, postgresql_where=sa.text("state = 'open'")
    )


def downgrade() -> None:
    raise NotImplementedError("forward only: history is never taken back")
