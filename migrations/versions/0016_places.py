"""Boundaries taken back, the asset a report is about, cases that could not follow their unit."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("boundary_version", sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("report_content", sa.Column("asset_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(op.f("report_content_asset_id_fkey"), "report_content", "asset", ["asset_id"], ["id"])
    op.add_column("case_file", sa.Column("follow_attempts", sa.SmallInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    raise NotImplementedError("forward only: history is never taken back")
