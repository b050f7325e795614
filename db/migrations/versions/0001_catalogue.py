"""The first catalogue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table."""
    _create_sources()
    _create_adapters()
    _create_vectors()
    if op.get_bind().dialect.name == "sqlite":
        for column in ("title", "triggers", "tags", "description", "prompts", "names"):
            op.execute(f"CREATE VIRTUAL TABLE words_{column} USING fts5(text, tokenize='ascii')")
        op.execute("PRAGMA application_id = 1447382081")


def _create_sources() -> None:
    op.create_table(
        "meta",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "scope",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("bookmark", sa.Text),
        sa.Column("unfinished", sa.Boolean, nullable=False),
        sa.Column("settled", sa.Integer, nullable=False),
        sa.UniqueConstraint("source", "scope"),
    )
    op.create_table(
        "entry",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("scope_id", sa.Integer, sa.ForeignKey("scope.id", ondelete="CASCADE"), nullable=False),
        sa.Column("locator", sa.Text, nullable=False),
        sa.Column("stamp", sa.Text),
        sa.UniqueConstraint("scope_id", "locator"),
    )
    op.create_table(
        "rejection",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("scope_id", sa.Integer, sa.ForeignKey("scope.id", ondelete="CASCADE"), nullable=False),
        sa.Column("entry_id", sa.Integer, sa.ForeignKey("entry.id", ondelete="CASCADE")),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("locator", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("rejection_scope", "rejection", ["scope_id"])
    op.create_index("rejection_entry", "rejection", ["entry_id"])


def _create_adapters() -> None:
    op.create_table(
        "adapter",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("model_id", sa.Text),
        sa.Column("version_id", sa.Text),
        sa.Column("file_id", sa.Text),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("title_key", sa.Text, nullable=False),
        sa.Column("file_name", sa.Text),
        sa.Column("stem_key", sa.Text),
        sa.Column("path", sa.Text),
        sa.Column("sha256", sa.Text),
        sa.Column("autov2", sa.Text),
        sa.Column("autov3", sa.Text),
        sa.Column("fingerprint", sa.Text),
        sa.Column("family", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("nsfw", sa.Integer),
        sa.Column("commercial", sa.Integer),
        sa.Column("real_person", sa.Boolean),
        sa.Column("minor", sa.Boolean),
        sa.Column("available", sa.Boolean),
        sa.Column("downloads", sa.BigInteger),
        sa.Column("missing_since", sa.Text),
        sa.Column("described", sa.Text),
        sa.Column("passages_from", sa.Text),
        sa.UniqueConstraint("source", "key"),
        sqlite_autoincrement=True,
    )
    for name, column in {
        "model": "model_id",
        "version": "version_id",
        "title": "title_key",
        "stem": "stem_key",
        "path": "path",
        "sha256": "sha256",
        "autov2": "autov2",
        "autov3": "autov3",
        "fingerprint": "fingerprint",
        "missing": "missing_since",
    }.items():
        op.create_index(f"adapter_{name}", "adapter", [column])
    op.create_table(
        "record",
        sa.Column("adapter_id", sa.Integer, sa.ForeignKey("adapter.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("json", sa.Text, nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("writer", sa.Text),
    )
    op.create_table(
        "offer",
        sa.Column("entry_id", sa.Integer, sa.ForeignKey("entry.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("adapter_id", sa.Integer, sa.ForeignKey("adapter.id", ondelete="CASCADE"), primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("offer_adapter", "offer", ["adapter_id"])
    op.create_table(
        "trigger_phrase",
        sa.Column("phrase", sa.Text, primary_key=True),
        sa.Column("adapter_id", sa.Integer, sa.ForeignKey("adapter.id", ondelete="CASCADE"), primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("trigger_adapter", "trigger_phrase", ["adapter_id"])


def _create_vectors() -> None:
    op.create_table(
        "passage",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("adapter_id", sa.Integer, sa.ForeignKey("adapter.id", ondelete="CASCADE"), nullable=False),
        sa.Column("field", sa.Text, nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.UniqueConstraint("adapter_id", "field", "ordinal"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "encoder",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("revision", sa.Text, nullable=False),
        sa.Column("dimension", sa.Integer, nullable=False),
        sa.Column("stamp", sa.Text, nullable=False),
        sa.UniqueConstraint("model", "revision"),
    )
    op.create_table(
        "embedding",
        sa.Column("encoder_id", sa.Integer, sa.ForeignKey("encoder.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("vector", sa.LargeBinary, nullable=False),
    )
