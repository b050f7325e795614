"""Which adapters have other words than before, so that an index of words reads only those again."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table, and note every adapter."""
    op.create_table(
        "word_change",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("adapter_id", _NUMBER, nullable=False),
        sa.Column("stamp", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("INSERT INTO commit_number (sequence) VALUES ('word_change_id_seq')")
    note = sa.text("INSERT INTO word_change (adapter_id, stamp) SELECT id, :stamp FROM adapter ORDER BY id")
    op.execute(note.bindparams(stamp=secrets.randbits(62)))
