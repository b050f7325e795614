"""What describers say of adapters, and everything that any of them ever answered."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables, and move there what was written beside the records."""
    kept = op.create_table(
        "refinement",
        sa.Column("adapter_id", _NUMBER, sa.ForeignKey("adapter.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("json", _TEXT, nullable=False),
        sa.Column("writer", _TEXT, nullable=False),
        sa.Column("origin", _TEXT),
        sa.Column("digest", _TEXT, nullable=False),
    )
    op.create_table(
        "unrefined",
        sa.Column("adapter_id", _NUMBER, sa.ForeignKey("adapter.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("writer", _TEXT, nullable=False),
        sa.Column("origin", _TEXT, nullable=False),
    )
    op.create_table(
        "reply",
        sa.Column("writer", _TEXT, primary_key=True),
        sa.Column("origin", _TEXT, primary_key=True),
        sa.Column("json", _TEXT),
        sa.Column("failure", _TEXT),
        sa.Column("refused", sa.Boolean, nullable=False),
        sa.Column("calls", sa.BigInteger, nullable=False),
        sa.Column("read", sa.BigInteger, nullable=False),
        sa.Column("cached", sa.BigInteger, nullable=False),
        sa.Column("written", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    _carry_over(kept)
    op.drop_column("record", "description")
    op.drop_column("record", "writer")


def _carry_over(kept: sa.Table) -> None:
    written = sa.text(
        "SELECT record.adapter_id, record.description, record.writer, adapter.digest FROM record "
        "JOIN adapter ON adapter.id = record.adapter_id WHERE record.description IS NOT NULL"
    )
    rows = [
        {
            "adapter_id": number,
            "json": json.dumps({"description": description}, ensure_ascii=False, separators=(",", ":")),
            "writer": writer or "",
            "origin": None,
            "digest": digest,
        }
        for number, description, writer, digest in op.get_bind().execute(written)
    ]
    if rows:
        op.bulk_insert(kept, rows)
