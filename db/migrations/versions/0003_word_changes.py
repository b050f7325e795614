"""Which adapters have other words than before, so that an index of words reads only those again."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table, and note every adapter."""
    op.create_table(
        "word_change",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("adapter_id", sa.Integer, nullable=False),
        sa.Column("stamp", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    note = sa.text("INSERT INTO word_change (adapter_id, stamp) SELECT id, :stamp FROM adapter ORDER BY id")
    op.execute(note.bindparams(stamp=secrets.randbits(62)))
