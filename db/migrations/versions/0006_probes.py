"""What adapters do to pictures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "probe",
        sa.Column("adapter_id", sa.Integer, sa.ForeignKey("adapter.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("family", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text),
        sa.Column("stamp", sa.Text, nullable=False),
        sa.Column("json", sa.Text, nullable=False),
        sa.Column("direction", sa.LargeBinary),
    )
