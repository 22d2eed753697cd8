"""What waiting, approval, plans, appeals and directives need."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _cases()
    op.create_table(
        "case_document",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("issued_on", sa.Date(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["case_file.id"]),
        sa.PrimaryKeyConstraint("case_id", "seq"),
    )
    op.add_column("case_photo", sa.Column("is_withheld", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("category", sa.Column("approval", sa.Text(), server_default="none", nullable=False))
    op.alter_column("category", "approval", server_default=None)
    op.create_check_constraint("category_approval_check", "category", "approval IN ('none', 'lead')")
    op.create_table(
        "term",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("days", sa.SmallInteger(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("belief", sa.Boolean(), nullable=False),
        sa.CheckConstraint("code ~ '^[a-z][a-z0-9]*(_[a-z0-9]+)*$'", name="term_code_check"),
        sa.CheckConstraint("days BETWEEN 1 AND 3650", name="term_days_check"),
        sa.PrimaryKeyConstraint("code"),
    )


def _cases() -> None:
    op.drop_constraint("case_file_state", "case_file")
    op.create_check_constraint(
        "case_file_state",
        "case_file",
        "state IN ('verifying', 'routing', 'triage', 'assigned', 'accepted', 'in_progress', 'waiting_citizen', 'pending_approval', 'resolved', 'closed', 'rejected', 'merged', 'withdrawn')",
    )
    op.add_column("case_file", sa.Column("state_before", sa.Text(), nullable=True))
    op.add_column("case_file", sa.Column("planned_until", sa.Date(), nullable=True))
    op.add_column("case_file", sa.Column("rejected_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("case_file", sa.Column("has_appealed", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    for name in ("extension_seq", "rejection_seq", "directive_seq"):
        op.add_column("case_file", sa.Column(name, sa.Integer(), nullable=True))
    # What the history of older cases says of the two that follow from it.
    op.execute(
        "UPDATE case_file SET state_before = event.from_state FROM case_event event"
        " WHERE event.case_id = case_file.id AND event.seq ="
        " (SELECT max(seq) FROM case_event WHERE case_id = case_file.id AND from_state <> to_state)"
    )
    op.execute(
        "UPDATE case_file SET rejected_at = event.at FROM case_event event"
        " WHERE event.case_id = case_file.id AND event.verb = 'reject'"
    )
    op.create_index(
        "case_file_held",
        "case_file",
        ["state", sa.literal_column("(urgency <> 'urgent')"), "act_by", "id"],
        postgresql_where=sa.text("state IN ('waiting_citizen', 'pending_approval')"),
    )
    op.create_index(
        "case_file_planned", "case_file", ["planned_until"], postgresql_where=sa.text("planned_until IS NOT NULL")
    )


def downgrade() -> None:
    raise NotImplementedError("forward only: history is never taken back")
