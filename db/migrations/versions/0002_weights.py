"""What adapters do to weights, and how large the weights are that they lie on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "measure",
        sa.Column("adapter_id", sa.Integer, sa.ForeignKey("adapter.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text),
        sa.Column("stamp", sa.Text, nullable=False),
        sa.Column("json", sa.Text, nullable=False),
        sa.Column("sketch", sa.LargeBinary),
    )
    op.create_table(
        "base_norm",
        sa.Column("family", sa.Text, primary_key=True),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("json", sa.Text, nullable=False),
    )
