"""The duty roster, warnings given and owed, the days whose digest was made."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

URGENT_OPEN = "urgency = 'urgent' AND state NOT IN ('resolved', 'closed', 'rejected', 'merged', 'withdrawn')"


def upgrade() -> None:
    op.create_table(
        "duty",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=True),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("entered_by", sa.Uuid(), nullable=False),
        sa.Column("entered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("taken_back_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("ends_at > starts_at", name="duty_time_runs_on"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["entered_by"], ["account.id"]),
        sa.ForeignKeyConstraint(["unit_id"], ["unit.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("duty_by_end", "duty", ["ends_at"])
    op.create_table(
        "escalation",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("started_seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("told", sa.Integer(), nullable=True),
        sa.CheckConstraint("level IN (0, 80, 100)", name="escalation_level"),
        sa.CheckConstraint("(given_at IS NULL) = (told IS NULL)", name="escalation_given"),
        sa.ForeignKeyConstraint(["case_id"], ["case_file.id"]),
        sa.PrimaryKeyConstraint("case_id", "kind", "started_seq", "level"),
    )
    op.create_index(
        "escalation_owed",
        "escalation",
        [sa.text("(level > 0)"), "next_at"],
        postgresql_where=sa.text("given_at IS NULL AND attempts < 5"),
    )
    op.create_index(
        "escalation_stuck",
        "escalation",
        ["next_at"],
        postgresql_where=sa.text("given_at IS NULL AND attempts >= 5"),
    )
    op.create_table(
        "digest_day",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("people", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day"),
    )
    op.create_index("case_file_urgent", "case_file", ["updated_at"], postgresql_where=sa.text(URGENT_OPEN))


def downgrade() -> None:
    raise NotImplementedError("forward only: history is never taken back")
