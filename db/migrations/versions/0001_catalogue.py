"""The first catalogue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSVECTOR

revision = "0001"
down_revision = None

_LONG_WORD = "([^ ]{255})[^ ]+"
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create every table."""
    _create_sources()
    _create_adapters()
    _create_vectors()
    create_words = _create_words_on_postgres if _is_postgres() else _create_words_on_sqlite
    for column in ("title", "triggers", "tags", "description", "prompts", "names"):
        create_words(f"words_{column}")
    if _is_postgres():
        _create_commits()
    else:
        op.execute("PRAGMA application_id = 1447382081")


def _is_postgres() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _create_words_on_sqlite(table: str) -> None:
    op.execute(f"CREATE VIRTUAL TABLE {table} USING fts5(text, tokenize='ascii')")


def _create_words_on_postgres(table: str) -> None:
    """Create the table with the words as they were cut, since a parser of PostgreSQL's would cut them anew.

    A lexeme takes 2,046 bytes, so that the few longer words are told by their beginning.
    """
    whole = f"CASE WHEN octet_length(text) < 2047 THEN text ELSE regexp_replace(text, '{_LONG_WORD}', '\\1', 'g') END"
    op.create_table(
        table,
        sa.Column("rowid", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("text", _TEXT, nullable=False),
        sa.Column(
            "lexemes", TSVECTOR, sa.Computed(f"array_to_tsvector(string_to_array({whole}, ' '))", persisted=True)
        ),
    )
    op.create_index(f"{table}_lexemes", table, ["lexemes"], postgresql_using="gin")


def _create_commits() -> None:
    """Create what tells that somebody has written, and the last number given in each table."""
    op.create_table("commit_stamp", sa.Column("stamp", _TEXT, nullable=False))
    op.execute("INSERT INTO commit_stamp VALUES ('')")
    op.create_table(
        "commit_number",
        sa.Column("sequence", _TEXT, primary_key=True),
        sa.Column("last", sa.BigInteger),
    )
    for table in ("scope", "entry", "rejection", "adapter", "passage", "encoder"):
        op.execute(f"INSERT INTO commit_number (sequence) VALUES ('{table}_id_seq')")  # noqa: S608


def _unique(first: str, second: str) -> list[sa.UniqueConstraint]:
    """Return what keeps two rows from having the same two texts; see `_index_long`."""
    return [] if _is_postgres() else [sa.UniqueConstraint(first, second)]


def _index_long(table: str, first: str, second: str) -> None:
    """Do the same on PostgreSQL, where the second text may be longer than an index takes."""
    if _is_postgres():
        digest = sa.text(f"md5({second})")
        op.create_index(f"{table}_{second}_digest", table, [first, digest], unique=True)


def _index_equal(table: str, column: str) -> None:
    """Have a text of any length looked up as a whole on PostgreSQL."""
    if _is_postgres():
        op.create_index(f"{table}_{column}", table, [column], postgresql_using="hash")


def _create_sources() -> None:
    op.create_table(
        "meta",
        sa.Column("name", _TEXT, primary_key=True),
        sa.Column("value", _TEXT, nullable=False),
    )
    op.create_table(
        "scope",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("source", _TEXT, nullable=False),
        sa.Column("scope", _TEXT, nullable=False),
        sa.Column("bookmark", _TEXT),
        sa.Column("unfinished", sa.Boolean, nullable=False),
        sa.Column("settled", _NUMBER, nullable=False),
        *_unique("source", "scope"),
    )
    _index_long("scope", "source", "scope")
    op.create_table(
        "entry",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("scope_id", _NUMBER, sa.ForeignKey("scope.id", ondelete="CASCADE"), nullable=False),
        sa.Column("locator", _TEXT, nullable=False),
        sa.Column("stamp", _TEXT),
        *_unique("scope_id", "locator"),
    )
    _index_long("entry", "scope_id", "locator")
    _index_equal("entry", "locator")
    op.create_table(
        "rejection",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("scope_id", _NUMBER, sa.ForeignKey("scope.id", ondelete="CASCADE"), nullable=False),
        sa.Column("entry_id", _NUMBER, sa.ForeignKey("entry.id", ondelete="CASCADE")),
        sa.Column("source", _TEXT, nullable=False),
        sa.Column("locator", _TEXT, nullable=False),
        sa.Column("reason", _TEXT, nullable=False),
    )
    op.create_index("rejection_scope", "rejection", ["scope_id"])
    op.create_index("rejection_entry", "rejection", ["entry_id"])


def _create_adapters() -> None:
    op.create_table(
        "adapter",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("source", _TEXT, nullable=False),
        sa.Column("key", _TEXT, nullable=False),
        sa.Column("digest", _TEXT, nullable=False),
        sa.Column("model_id", _TEXT),
        sa.Column("version_id", _TEXT),
        sa.Column("file_id", _TEXT),
        sa.Column("title", _TEXT, nullable=False),
        sa.Column("title_key", _TEXT, nullable=False),
        sa.Column("file_name", _TEXT),
        sa.Column("stem_key", _TEXT),
        sa.Column("path", _TEXT),
        sa.Column("sha256", _TEXT),
        sa.Column("autov2", _TEXT),
        sa.Column("autov3", _TEXT),
        sa.Column("fingerprint", _TEXT),
        sa.Column("family", _TEXT, nullable=False),
        sa.Column("kind", _TEXT, nullable=False),
        sa.Column("nsfw", sa.Integer),
        sa.Column("commercial", sa.Integer),
        sa.Column("real_person", sa.Boolean),
        sa.Column("minor", sa.Boolean),
        sa.Column("available", sa.Boolean),
        sa.Column("downloads", sa.BigInteger),
        sa.Column("missing_since", _TEXT),
        sa.Column("described", _TEXT),
        sa.Column("passages_from", _TEXT),
        *_unique("source", "key"),
        sqlite_autoincrement=True,
    )
    _index_long("adapter", "source", "key")
    _index_equal("adapter", "key")
    for name, column in {
        "model": "model_id",
        "version": "version_id",
        "title": "title_key",
        "stem": "stem_key",
        "path": "path",
        "fingerprint": "fingerprint",
    }.items():
        op.create_index(f"adapter_{name}", "adapter", [column], postgresql_using="hash")
    for name, column in {
        "sha256": "sha256",
        "autov2": "autov2",
        "autov3": "autov3",
        "missing": "missing_since",
    }.items():
        op.create_index(f"adapter_{name}", "adapter", [column])
    op.create_table(
        "record",
        sa.Column("adapter_id", _NUMBER, sa.ForeignKey("adapter.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("json", _TEXT, nullable=False),
        sa.Column("description", _TEXT),
        sa.Column("writer", _TEXT),
    )
    op.create_table(
        "offer",
        sa.Column("entry_id", _NUMBER, sa.ForeignKey("entry.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("adapter_id", _NUMBER, sa.ForeignKey("adapter.id", ondelete="CASCADE"), primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("offer_adapter", "offer", ["adapter_id"])
    op.create_table(
        "trigger_phrase",
        sa.Column("phrase", _TEXT, primary_key=True),
        sa.Column("adapter_id", _NUMBER, sa.ForeignKey("adapter.id", ondelete="CASCADE"), primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("trigger_adapter", "trigger_phrase", ["adapter_id"])


def _create_vectors() -> None:
    op.create_table(
        "passage",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("adapter_id", _NUMBER, sa.ForeignKey("adapter.id", ondelete="CASCADE"), nullable=False),
        sa.Column("field", _TEXT, nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("digest", _TEXT, nullable=False),
        sa.UniqueConstraint("adapter_id", "field", "ordinal"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "encoder",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("model", _TEXT, nullable=False),
        sa.Column("revision", _TEXT, nullable=False),
        sa.Column("dimension", sa.Integer, nullable=False),
        sa.Column("stamp", _TEXT, nullable=False),
        sa.UniqueConstraint("model", "revision"),
    )
    op.create_table(
        "embedding",
        sa.Column("encoder_id", _NUMBER, sa.ForeignKey("encoder.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("digest", _TEXT, primary_key=True),
        sa.Column("vector", sa.LargeBinary, nullable=False),
    )
