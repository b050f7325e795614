"""What adapters do to pictures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "probe",
        sa.Column("adapter_id", _NUMBER, sa.ForeignKey("adapter.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("family", _TEXT, primary_key=True),
        sa.Column("fingerprint", _TEXT),
        sa.Column("stamp", _TEXT, nullable=False),
        sa.Column("json", _TEXT, nullable=False),
        sa.Column("direction", sa.LargeBinary),
    )
