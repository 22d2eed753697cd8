"""Who of a unit has a case, units that help, notes with photos."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("case_file", sa.Column("assignee_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(op.f("case_file_assignee_id_fkey"), "case_file", "account", ["assignee_id"], ["id"])
    op.add_column("case_file", sa.Column("helper_ids", sa.ARRAY(sa.Uuid()), server_default="{}", nullable=False))
    op.create_index(
        "case_file_of_person",
        "case_file",
        ["assignee_id", sa.literal_column("(urgency <> 'urgent')"), "act_by", "id"],
        postgresql_where=sa.text("assignee_id IS NOT NULL"),
    )
    op.create_table(
        "case_cooperation",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("since_seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by_id", sa.Uuid(), nullable=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("until_seq", sa.Integer(), nullable=True),
        sa.CheckConstraint("until >= since", name="case_cooperation_order"),
        sa.CheckConstraint("(until IS NULL) = (until_seq IS NULL)", name="case_cooperation_end"),
        sa.ForeignKeyConstraint(["case_id"], ["case_file.id"]),
        sa.ForeignKeyConstraint(["unit_id"], ["unit.id"]),
        sa.ForeignKeyConstraint(["by_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("case_id", "since_seq"),
    )
    op.create_index(
        "case_cooperation_running",
        "case_cooperation",
        ["unit_id", "case_id"],
        unique=True,
        postgresql_where=sa.text("until IS NULL"),
    )
    op.create_table(
        "case_note_photo",
        sa.Column("media_id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["media_id"], ["media.id"]),
        sa.ForeignKeyConstraint(["case_id"], ["case_file.id"]),
        sa.PrimaryKeyConstraint("media_id"),
    )
    op.create_index(op.f("ix_case_note_photo_case_id"), "case_note_photo", ["case_id"])


def downgrade() -> None:
    raise NotImplementedError("forward only: history is never taken back")
