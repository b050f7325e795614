"""What adapters do to weights, and how large the weights are that they lie on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "measure",
        sa.Column("adapter_id", _NUMBER, sa.ForeignKey("adapter.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("method", _TEXT, nullable=False),
        sa.Column("fingerprint", _TEXT),
        sa.Column("stamp", _TEXT, nullable=False),
        sa.Column("json", _TEXT, nullable=False),
        sa.Column("sketch", sa.LargeBinary),
    )
    op.create_table(
        "base_norm",
        sa.Column("family", _TEXT, primary_key=True),
        sa.Column("model", _TEXT, nullable=False),
        sa.Column("json", _TEXT, nullable=False),
    )
