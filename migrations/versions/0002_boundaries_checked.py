"""What a delivery of boundaries left and mended."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("fixes", "remarks"):
        op.add_column("boundary_version", sa.Column(name, sa.ARRAY(sa.Text()), server_default="{}", nullable=False))


def downgrade() -> None:
    raise NotImplementedError("forward only: history is never taken back")
