"""Cases whose place or category changed."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import make_url

from app.core.config import settings

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("case_file", sa.Column("pin_seq", sa.Integer(), nullable=True))
    op.add_column(
        "case_file", sa.Column("commune_confirmed", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("case_file", sa.Column("suggested_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(op.f("case_file_suggested_id_fkey"), "case_file", "unit", ["suggested_id"], ["id"])
    op.create_table(
        "case_pin",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("lat", sa.Float(), nullable=False),
        sa.Column("lon", sa.Float(), nullable=False),
        sa.Column("accuracy_m", sa.Float(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("lat BETWEEN -90 AND 90 AND lon BETWEEN -180 AND 180", name="case_pin_range"),
        sa.ForeignKeyConstraint(["case_id"], ["case_file.id"]),
        sa.PrimaryKeyConstraint("case_id", "seq"),
    )
    op.add_column("deadline_policy", sa.Column("urgency", sa.Text(), nullable=True))
    op.create_check_constraint("ck_deadline_policy_urgency", "deadline_policy", "urgency IN ('normal', 'urgent')")
    op.drop_constraint("uq_deadline_policy_entry", "deadline_policy")
    op.create_unique_constraint(
        "uq_deadline_policy_entry",
        "deadline_policy",
        ["category_code", "urgency", "clock", "valid_from", "entered_at"],
        postgresql_nulls_not_distinct=True,
    )
    op.create_table(
        "superseded_deadline",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("started_seq", sa.Integer(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("policy_id", sa.Uuid(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id", "kind", "started_seq"],
            ["sla_clock.case_id", "sla_clock.kind", "sla_clock.started_seq"],
            name="superseded_deadline_clock",
        ),
        sa.ForeignKeyConstraint(["policy_id"], ["deadline_policy.id"]),
        sa.PrimaryKeyConstraint("case_id", "kind", "started_seq", "seq"),
    )
    _append_only("superseded_deadline")


def _append_only(table: str) -> None:
    """By trigger for everybody, by privilege for the application."""
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
        op.execute(f'REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM "{role}"')


def downgrade() -> None:
    raise NotImplementedError("forward only: history is never taken back")
