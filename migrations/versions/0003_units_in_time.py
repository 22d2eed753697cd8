"""Units change in time: succession, what a unit was before, and planned changes."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_constraint("ck_unit_kind", "unit")
    op.create_check_constraint(
        "ck_unit_kind",
        "unit",
        "kind IN ('province', 'thanh_pho', 'thi_xa', 'quan', 'huyen', 'xa', 'phuong', 'thi_tran',"
        " 'department', 'utility', 'police', 'office', 'centre')",
    )
    op.drop_constraint("ck_unit_level", "unit")
    op.create_check_constraint(
        "ck_unit_level", "unit", "level IN ('province', 'district', 'commune', 'department', 'utility', 'ioc')"
    )
    op.create_table(
        "unit_succession",
        sa.Column("from_id", sa.Uuid(), nullable=False),
        sa.Column("to_id", sa.Uuid(), nullable=False),
        sa.Column("effective", sa.Date(), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.CheckConstraint("from_id <> to_id", name="ck_unit_succession_onward"),
        sa.ForeignKeyConstraint(["from_id"], ["unit.id"]),
        sa.ForeignKeyConstraint(["to_id"], ["unit.id"]),
        sa.PrimaryKeyConstraint("from_id", "to_id"),
    )
    op.create_index("ix_unit_succession_to_id", "unit_succession", ["to_id"], unique=False)
    op.create_table(
        "unit_past",
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("until", sa.Date(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(["parent_id"], ["unit.id"]),
        sa.ForeignKeyConstraint(["unit_id"], ["unit.id"]),
        sa.PrimaryKeyConstraint("unit_id", "until"),
    )
    _planned_changes()


def _planned_changes() -> None:
    op.create_table(
        "unit_change",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("effective", sa.Date(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("name_en", sa.Text(), nullable=True),
        sa.Column("new_kind", sa.Text(), nullable=True),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("kind IN ('rename', 'change_kind', 'merge', 'split', 'move')", name="unit_change_kind"),
        sa.CheckConstraint("applied_at IS NULL OR cancelled_at IS NULL", name="unit_change_one_end"),
        sa.ForeignKeyConstraint(["actor_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["cancelled_by"], ["account.id"]),
        sa.ForeignKeyConstraint(["parent_id"], ["unit.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "unit_change_planned",
        "unit_change",
        ["effective"],
        unique=False,
        postgresql_where=sa.text("applied_at IS NULL AND cancelled_at IS NULL"),
    )
    op.create_table(
        "unit_change_unit",
        sa.Column("change_id", sa.Uuid(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.CheckConstraint("part IN ('source', 'begins', 'receives')", name="unit_change_unit_part"),
        sa.ForeignKeyConstraint(["change_id"], ["unit_change.id"]),
        sa.ForeignKeyConstraint(["unit_id"], ["unit.id"]),
        sa.PrimaryKeyConstraint("change_id", "unit_id"),
    )
    op.create_index("unit_change_of_unit", "unit_change_unit", ["unit_id"], unique=False)
    op.create_table(
        "unit_change_staff",
        sa.Column("change_id", sa.Uuid(), nullable=False),
        sa.Column("membership_id", sa.Uuid(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["change_id"], ["unit_change.id"]),
        sa.ForeignKeyConstraint(["membership_id"], ["membership.id"]),
        sa.ForeignKeyConstraint(["unit_id"], ["unit.id"]),
        sa.PrimaryKeyConstraint("change_id", "membership_id"),
    )


def downgrade() -> None:
    raise NotImplementedError("forward only: history is never taken back")
