"""Seals: signed roots, the log of heads, kept hashes, public keys, and what is owed to the webhook."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.engine import make_url

from app.core.config import settings

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

APPEND_ONLY = ("seal_key", "seal", "seal_leaf", "seal_node")


def upgrade() -> None:
    op.create_table(
        "seal_key",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("first_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "seal",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("below_xid", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("number > 0 AND size >= 0", name="seal_counts"),
        sa.ForeignKeyConstraint(["key_id"], ["seal_key.id"]),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("day", name="seal_day"),
    )
    op.create_table(
        "seal_leaf",
        sa.Column("pos", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("pos"),
        sa.UniqueConstraint("case_id", "seq", name="seal_leaf_case"),
    )
    op.create_table(
        "seal_node",
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("place", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "place"),
    )
    op.create_table(
        "seal_delivery",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["number"], ["seal.number"]),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index(
        "seal_delivery_owed",
        "seal_delivery",
        ["next_attempt_at", "number"],
        postgresql_where=sa.text("delivered_at IS NULL"),
    )
    _append_only()


def _append_only() -> None:
    """As for history in 0001: triggers for everybody, and no right to try for the application's role."""
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    role = make_url(settings().database_url).username
    if role != make_url(settings().owner_database_url).username:
        op.execute(f'REVOKE UPDATE, DELETE, TRUNCATE ON {", ".join(APPEND_ONLY)} FROM "{role}"')


def downgrade() -> None:
    raise NotImplementedError("forward only: history is never taken back")
