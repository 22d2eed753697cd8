"""What cases are found by, emptied by triggers with the texts it was made from; how long cases take."""

import sqlalchemy as sa
from alembic import op

from app.cases.models import Xid8

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# Of which texts, and how the case is found from the row that changed.
TEXTS = {
    "report_content": ("UPDATE OF description, place_text, address OR DELETE", "report_id = OLD.report_id"),
    "public_copy": ("UPDATE OF description OR DELETE", "report_id = OLD.report_id"),
    "case_text": ("UPDATE OF body OR DELETE", "id = OLD.case_id"),
}


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.create_table(
        "case_search",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("stale", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("staff_words", sa.Text(), nullable=False),
        sa.Column("public_words", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("case_id"),
    )
    for name, condition in (("staff", None), ("public", "public_words IS NOT NULL")):
        op.create_index(
            f"case_search_{name}",
            "case_search",
            [f"{name}_words"],
            postgresql_using="gin",
            postgresql_ops={f"{name}_words": "gin_trgm_ops"},
            postgresql_where=sa.text(condition) if condition else None,
        )
    op.create_index("case_search_stale", "case_search", ["case_id"], postgresql_where=sa.text("stale"))
    op.create_table(
        "search_cursor",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("xid", Xid8(), nullable=False),
        sa.Column("pos", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.execute("INSERT INTO search_cursor (id, xid, pos) VALUES (1, '0', 0)")
    _erased_together()
    op.create_table(
        "forecast",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("place_id", sa.Uuid(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("median_h", sa.Integer(), nullable=True),
        sa.Column("p90_h", sa.Integer(), nullable=True),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("n >= 10", name="forecast_not_of_a_few"),
        sa.ForeignKeyConstraint(["place_id"], ["unit.id"]),
        sa.PrimaryKeyConstraint("code", "place_id"),
    )


def _erased_together() -> None:
    """Who changes or deletes a text empties, in the same transaction, what it is found by."""
    for table, (change, found) in TEXTS.items():
        op.execute(
            f"""CREATE FUNCTION {table}_not_searched() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    INSERT INTO case_search (case_id, version, stale, staff_words)
                    SELECT id, 0, true, '' FROM case_file WHERE {found}
                    ON CONFLICT (case_id) DO UPDATE SET version = 0, stale = true, staff_words = '', public_words = NULL;
                    RETURN NULL;
                END $$"""
        )
        op.execute(
            f"CREATE TRIGGER {table}_not_searched AFTER {change} ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION {table}_not_searched()"
        )


def downgrade() -> None:
    raise NotImplementedError("forward only: history is never taken back")
