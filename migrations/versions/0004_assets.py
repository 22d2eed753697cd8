"""Assets: roads, lamps, manholes and who looks after them; what a geocoder answered."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "asset_class",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name_vi", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("category_code", sa.Text(), nullable=True),
        sa.Column("landmark", sa.Boolean(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.CheckConstraint("code ~ '^[a-z][a-z0-9]*(_[a-z0-9]+)*$'", name="ck_asset_class_code"),
        sa.CheckConstraint("kind IN ('point', 'line')", name="ck_asset_class_kind"),
        sa.ForeignKeyConstraint(["category_code"], ["category.code"]),
        sa.PrimaryKeyConstraint("code"),
    )
    op.create_table(
        "asset_import",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("asset_class", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("effective_from", sa.Date(), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("delivered", sa.Integer(), nullable=False),
        sa.Column("added", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("ended", sa.Integer(), nullable=False),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="ck_asset_import_sha256"),
        sa.ForeignKeyConstraint(["asset_class"], ["asset_class.code"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_asset_import_of_source", "asset_import", ["asset_class", "source", "effective_from"])
    _asset()
    op.create_table(
        "address_answer",
        sa.Column("cell", sa.Text(), nullable=False),
        sa.Column("street", sa.Text(), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("cell"),
    )
    op.create_index(op.f("ix_address_answer_answered_at"), "address_answer", ["answered_at"])


def _asset() -> None:
    op.create_table(
        "asset",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("asset_class", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("manager_id", sa.Uuid(), nullable=True),
        sa.Column("category_code", sa.Text(), nullable=True),
        sa.Column("wkb", sa.LargeBinary(), nullable=False),
        sa.Column("lat", sa.Double(), nullable=False),
        sa.Column("lon", sa.Double(), nullable=False),
        sa.Column("west", sa.Double(), nullable=False),
        sa.Column("south", sa.Double(), nullable=False),
        sa.Column("east", sa.Double(), nullable=False),
        sa.Column("north", sa.Double(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("valid_to IS NULL OR valid_to >= valid_from", name="ck_asset_period"),
        sa.CheckConstraint("west <= east AND south <= north", name="ck_asset_box"),
        sa.ForeignKeyConstraint(["asset_class"], ["asset_class.code"]),
        sa.ForeignKeyConstraint(["manager_id"], ["unit.id"]),
        sa.ForeignKeyConstraint(["category_code"], ["category.code"]),
        sa.ForeignKeyConstraint(["import_id"], ["asset_import.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    open_only = sa.text("valid_to IS NULL")
    op.create_index("uq_asset_code", "asset", ["code"], unique=True, postgresql_where=open_only)
    op.create_index("uq_asset_ref", "asset", ["asset_class", "source", "ref"], unique=True, postgresql_where=open_only)
    op.create_index("ix_asset_code_valid_from", "asset", ["code", "valid_from"])
    op.create_index(
        "ix_asset_place",
        "asset",
        [sa.text("box(point(west, south), point(east, north))")],
        postgresql_using="gist",
    )


def downgrade() -> None:
    raise NotImplementedError("forward only: history is never taken back")
