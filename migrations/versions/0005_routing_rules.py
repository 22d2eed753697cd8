"""Rules with areas, hours, assets and cooperating units."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import make_url

from app.core.config import settings

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

AREA = (
    "area IN ('everywhere', 'communes', 'commune', 'polygon', 'asset')"
    " AND (area = 'commune') = (commune_id IS NOT NULL)"
    " AND (area = 'polygon') = (polygon IS NOT NULL)"
    " AND (area = 'asset') = (asset_class IS NOT NULL)"
    " AND (area = 'asset') = (within_m IS NOT NULL)"
    " AND (area IN ('communes', 'polygon')) = (area_name <> '')"
)
CHECKS = {
    "routing_rule_period": "valid_to IS NULL OR valid_to >= valid_from",
    "routing_rule_area": AREA,
    "routing_rule_within": "within_m BETWEEN 1 AND 500",
    "routing_rule_unit": "unit_id IS NOT NULL OR to_manager",
    "routing_rule_manager": "NOT to_manager OR area = 'asset'",
    "routing_rule_hours": "(starts IS NULL) = (ends IS NULL) AND starts <> ends",
    "routing_rule_weekdays": "weekdays <@ ARRAY[1, 2, 3, 4, 5, 6, 7]::smallint[]",
}
MEMBERS = {"routing_rule_commune": "commune_id", "routing_rule_helper": "unit_id"}


def upgrade() -> None:
    for column in (
        sa.Column("area", sa.Text(), server_default="everywhere", nullable=False),
        sa.Column("area_name", sa.Text(), server_default="", nullable=False),
        sa.Column("polygon", sa.LargeBinary(), nullable=True),
        sa.Column("asset_class", sa.Text(), nullable=True),
        sa.Column("within_m", sa.Float(), nullable=True),
        sa.Column("to_manager", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("weekdays", postgresql.ARRAY(sa.SmallInteger()), server_default="{}", nullable=False),
        sa.Column("starts", sa.Time(), nullable=True),
        sa.Column("ends", sa.Time(), nullable=True),
        sa.Column("decision", sa.Text(), server_default="", nullable=False),
    ):
        op.add_column("routing_rule", column)
    op.create_foreign_key(None, "routing_rule", "asset_class", ["asset_class"], ["code"])
    op.alter_column("routing_rule", "unit_id", nullable=True)
    op.execute("UPDATE routing_rule SET area = 'commune' WHERE commune_id IS NOT NULL")
    op.drop_constraint("routing_rule_period", "routing_rule", type_="check")
    for name, condition in CHECKS.items():
        op.create_check_constraint(name, "routing_rule", condition)
    for table, column_name in MEMBERS.items():
        op.create_table(
            table,
            sa.Column("rule_id", sa.Uuid(), nullable=False),
            sa.Column(column_name, sa.Uuid(), nullable=False),
            sa.ForeignKeyConstraint(["rule_id"], ["routing_rule.id"]),
            sa.ForeignKeyConstraint([column_name], ["unit.id"]),
            sa.PrimaryKeyConstraint("rule_id", column_name),
        )
    _rules_stand()


def _rules_stand() -> None:
    """What decided a report can be read afterwards: a rule is ended by a date, never changed or removed."""
    op.execute(
        "CREATE FUNCTION routing_rule_stands() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF TG_OP = 'DELETE' OR to_jsonb(NEW) - 'valid_to' IS DISTINCT FROM to_jsonb(OLD) - 'valid_to' THEN"
        " RAISE EXCEPTION 'a routing rule is ended by a date, never changed or removed'; END IF;"
        " RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER routing_rule_stands BEFORE UPDATE OR DELETE ON routing_rule"
        " FOR EACH ROW EXECUTE FUNCTION routing_rule_stands()"
    )
    for table in MEMBERS:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
    for table in ("routing_rule", *MEMBERS):
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    role = make_url(settings().database_url).username
    if role != make_url(settings().owner_database_url).username:
        op.execute(f'REVOKE DELETE, TRUNCATE ON routing_rule FROM "{role}"')
        op.execute(f'REVOKE UPDATE, DELETE, TRUNCATE ON {", ".join(MEMBERS)} FROM "{role}"')


def downgrade() -> None:
    raise NotImplementedError("forward only: history is never taken back")
