"""Pauses and extensions of clocks, and directives, which no policy measures."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import make_url
from sqlalchemy.dialects import postgresql

from app.core.config import settings

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _clocks()
    _pauses()
    _changes()


def _clocks() -> None:
    op.alter_column("sla_clock", "policy_id", nullable=True)
    op.add_column("sla_clock", sa.Column("extended_minutes", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("sla_clock", sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True))
    op.drop_constraint("ck_sla_clock_kind", "sla_clock")
    op.create_check_constraint(
        "ck_sla_clock_kind",
        "sla_clock",
        "kind IN ('verify', 'accept', 'first_response', 'resolve', 'approve', 'answer', 'directive')",
    )
    op.create_check_constraint("ck_sla_clock_policy", "sla_clock", "(kind = 'directive') = (policy_id IS NULL)")
    # What was missed once is missed, although its deadline was moved afterwards: boards always counted it so.
    op.execute("UPDATE sla_clock SET met = false WHERE met AND breached_at IS NOT NULL")
    op.drop_constraint("ck_sla_clock_breach", "sla_clock")
    op.create_check_constraint("ck_sla_clock_breach", "sla_clock", "met IS NULL OR met = (breached_at IS NULL)")
    op.create_check_constraint("ck_sla_clock_paused", "sla_clock", "paused_at IS NULL OR stopped_at IS NULL")
    op.create_check_constraint("ck_sla_clock_extended", "sla_clock", "extended_minutes >= 0")


def _pauses() -> None:
    op.create_table(
        "pause_policy",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.Column("times", sa.SmallInteger(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("entered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("belief", sa.Boolean(), nullable=False),
        sa.CheckConstraint("kind IN ('working', 'calendar', 'continuous')", name="ck_pause_policy_kind"),
        sa.CheckConstraint("minutes > 0", name="ck_pause_policy_minutes"),
        sa.CheckConstraint("kind <> 'calendar' OR mod(minutes, 1440) = 0", name="ck_pause_policy_whole_days"),
        sa.CheckConstraint("times > 0", name="ck_pause_policy_times"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(
            "reason", "valid_from", "entered_at", name="uq_pause_policy_entry", postgresql_nulls_not_distinct=True
        ),
    )
    op.create_table(
        "clock_pause",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("started_seq", sa.Integer(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("policy_id", sa.Uuid(), nullable=True),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("capped_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_seq", sa.Integer(), nullable=True),
        sa.CheckConstraint("began_at <= ended_at AND began_at <= capped_at", name="ck_clock_pause_forward"),
        sa.ForeignKeyConstraint(
            ["case_id", "kind", "started_seq"],
            ["sla_clock.case_id", "sla_clock.kind", "sla_clock.started_seq"],
            name="clock_pause_clock",
        ),
        sa.ForeignKeyConstraint(["policy_id"], ["pause_policy.id"]),
        sa.PrimaryKeyConstraint("case_id", "kind", "started_seq", "seq"),
    )
    op.create_index(
        "clock_pause_open",
        "clock_pause",
        ["case_id", "kind", "started_seq"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    _ended_once("clock_pause")


def _changes() -> None:
    op.create_table(
        "unit_group_member",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("unit_group", sa.Text(), nullable=False),
        sa.Column("entered_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["unit_id"], ["unit.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("unit_id", "entered_at", name="uq_unit_group_member_entry"),
    )
    op.create_table(
        "time_change",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("entered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("entered", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("moved", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["actor_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("time_change_owed", "time_change", ["entered_at"], postgresql_where=sa.text("done_at IS NULL"))


def _ended_once(table: str) -> None:
    """A row may be ended, once; nothing else of it ever changes and none goes away."""
    op.execute(f"""
        CREATE FUNCTION {table}_ends_once() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE ending text[] := ARRAY['ended_at', 'ended_seq'];
        BEGIN
            IF OLD.ended_at IS NULL AND to_jsonb(NEW) - ending = to_jsonb(OLD) - ending THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION 'a row of % is ended once and never changed otherwise', TG_TABLE_NAME;
        END $$""")
    op.execute(
        f"CREATE TRIGGER {table}_ends_once BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_ends_once()"
    )
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    role = make_url(settings().database_url).username
    if role != make_url(settings().owner_database_url).username:
        op.execute(f'REVOKE DELETE, TRUNCATE ON {table} FROM "{role}"')


def downgrade() -> None:
    raise NotImplementedError("forward only: history is never taken back")
