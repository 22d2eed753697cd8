"""Merges, supporters, and where cases lie."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("case_file", sa.Column("merged_into", sa.Uuid(), nullable=True))
    op.create_foreign_key(op.f("case_file_merged_into_fkey"), "case_file", "case_file", ["merged_into"], ["id"])
    op.create_check_constraint("case_file_merged", "case_file", "(state = 'merged') = (merged_into IS NOT NULL)")
    op.create_index(
        "case_file_followers", "case_file", ["merged_into"], postgresql_where=sa.text("merged_into IS NOT NULL")
    )
    op.add_column("case_file", sa.Column("supporters", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "case_support",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["case_file.id"]),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("case_id", "account_id"),
    )
    op.create_index("case_support_of_account", "case_support", ["account_id"])
    op.create_index(
        "report_content_place", "report_content", ["lat", "lon"], postgresql_where=sa.text("lat IS NOT NULL")
    )
    op.create_index("case_pin_place", "case_pin", ["lat", "lon"])


def downgrade() -> None:
    raise NotImplementedError("forward only: history is never taken back")
