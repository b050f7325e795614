"""The tables, as they are today. How they came to be is told by `velatura.db.migrations`; a test holds both together.

- `scope`: what one run of a source covers; `entry`: one readable thing of a scope, with its stamp.
- `adapter`: identity, and what filters ask for; `record`: the whole record as JSON.
- `refinement`: what a describer says of an adapter; `unrefined`: the adapters of which it could not say anything;
  `reply`: everything that any describer ever answered, so that nothing is asked twice.
- `offer`: which entries offer which adapters; `rejection`: what could not become a record, and why.
- `trigger_phrase`: the phrases that call an adapter.
- `word_change`: the adapters whose words or trigger phrases are others than before, in the order of the changes.
- `passage`: a text of an adapter to be embedded; `embedding`: the vector of a text, by the text's digest; `encoder`:
  the model that made it.
- `picture`: a file with a picture beside an adapter; what is in it is a passage too.
- `measure`: what an adapter's file does to weights; `base_norm`: how large the weights of a family's checkpoint are.
- `probe`: what an adapter does to pictures, one for each base family that it was tried on.
- `meta`: facts about the catalogue itself.

Beside these stand the tables of `velatura.db.full_text`, and on PostgreSQL those of `velatura.db.postgres`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy import Text as AnyText

metadata = MetaData()

Text = AnyText().with_variant(AnyText(collation="C"), "postgresql")
"""Text that is compared byte by byte on every database, so that it sorts alike on all of them."""
Number = BigInteger().with_variant(Integer(), "sqlite")
"""What numbers rows; SQLite counts to 2**63 by itself, and only in a column of this type."""


def _unique(name: str, first: str, second: str) -> tuple[UniqueConstraint, Index]:
    """Let no two rows have the same two texts, the second of any length: an index of PostgreSQL takes 2,700 bytes."""
    digest = Index(f"{name}_{second}_digest", first, text(f"md5({second})"), unique=True)
    return UniqueConstraint(first, second).ddl_if(dialect="sqlite"), digest.ddl_if(dialect="postgresql")


def _equal(name: str, column: str) -> Index:
    """Look a text of any length up as a whole."""
    return Index(f"{name}_{column}", column, postgresql_using="hash").ddl_if(dialect="postgresql")


meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

scope = Table(
    "scope",
    metadata,
    Column("id", Number, primary_key=True),
    Column("source", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("bookmark", Text),  # where a source read page by page goes on
    Column("unfinished", Boolean, nullable=False),  # a run wrote and has not come to its end
    Column("settled", Number, nullable=False),  # adapters above this number came after the last finished run
    *_unique("scope", "source", "scope"),
)

entry = Table(
    "entry",
    metadata,
    Column("id", Number, primary_key=True),
    Column("scope_id", ForeignKey("scope.id", ondelete="CASCADE"), nullable=False),
    Column("locator", Text, nullable=False),
    Column("stamp", Text),  # NULL: to be read again whatever its stamp
    *_unique("entry", "scope_id", "locator"),
    _equal("entry", "locator"),
)

adapter = Table(
    "adapter",
    metadata,
    Column("id", Number, primary_key=True),
    Column("source", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("digest", Text, nullable=False),  # of the record's JSON
    Column("model_id", Text),
    Column("version_id", Text),
    Column("file_id", Text),
    Column("title", Text, nullable=False),
    Column("title_key", Text, nullable=False),  # folded for comparison
    Column("file_name", Text),
    Column("stem_key", Text),  # the file's name without suffix, folded
    Column("path", Text),
    Column("sha256", Text),
    Column("autov2", Text),
    Column("autov3", Text),
    Column("fingerprint", Text),
    Column("family", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("nsfw", Integer),
    Column("commercial", Integer),  # a bit for each allowed use; NULL is unknown
    Column("real_person", Boolean),
    Column("minor", Boolean),
    Column("available", Boolean),
    Column("downloads", BigInteger),
    Column("missing_since", Text),  # ISO 8601; NULL while a source offers it
    Column("described", Text),  # digest of what a describer says of it; NULL where none says anything
    Column("passages_from", Text),  # what the passages were made from
    *_unique("adapter", "source", "key"),
    _equal("adapter", "key"),
    Index("adapter_model", "model_id", postgresql_using="hash"),
    Index("adapter_version", "version_id", postgresql_using="hash"),
    Index("adapter_title", "title_key", postgresql_using="hash"),
    Index("adapter_stem", "stem_key", postgresql_using="hash"),
    Index("adapter_path", "path", postgresql_using="hash"),
    Index("adapter_sha256", "sha256"),
    Index("adapter_autov2", "autov2"),
    Index("adapter_autov3", "autov3"),
    Index("adapter_fingerprint", "fingerprint", postgresql_using="hash"),
    Index("adapter_missing", "missing_since"),
    sqlite_autoincrement=True,  # a number is never given twice
)

record = Table(
    "record",
    metadata,
    Column("adapter_id", ForeignKey("adapter.id", ondelete="CASCADE"), primary_key=True),
    Column("json", Text, nullable=False),
)

refinement = Table(
    "refinement",
    metadata,
    Column("adapter_id", ForeignKey("adapter.id", ondelete="CASCADE"), primary_key=True),
    Column("json", Text, nullable=False),
    Column("writer", Text, nullable=False),
    Column("origin", Text),  # the address of all that the writer read; NULL: not known
    Column("digest", Text, nullable=False),  # the record's, when it was read
)

unrefined = Table(
    "unrefined",
    metadata,
    Column("adapter_id", ForeignKey("adapter.id", ondelete="CASCADE"), primary_key=True),
    Column("writer", Text, nullable=False),
    Column("origin", Text, nullable=False),  # with the writer, names the reply that says why
)

reply = Table(
    "reply",
    metadata,
    Column("writer", Text, primary_key=True),
    Column("origin", Text, primary_key=True),
    Column("json", Text),  # the refinement; NULL where there came none
    Column("failure", Text),
    Column("refused", Boolean, nullable=False),
    Column("calls", BigInteger, nullable=False),
    Column("read", BigInteger, nullable=False),
    Column("cached", BigInteger, nullable=False),
    Column("written", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

offer = Table(
    "offer",
    metadata,
    Column("entry_id", ForeignKey("entry.id", ondelete="CASCADE"), primary_key=True),
    Column("adapter_id", ForeignKey("adapter.id", ondelete="CASCADE"), primary_key=True),
    Index("offer_adapter", "adapter_id"),
    sqlite_with_rowid=False,
)

trigger = Table(
    "trigger_phrase",
    metadata,
    Column("phrase", Text, primary_key=True),  # its words, joined by spaces
    Column("adapter_id", ForeignKey("adapter.id", ondelete="CASCADE"), primary_key=True),
    Index("trigger_adapter", "adapter_id"),
    sqlite_with_rowid=False,
)

word_change = Table(
    "word_change",
    metadata,
    Column("id", Number, primary_key=True),
    Column("adapter_id", Number, nullable=False),  # it may be gone
    Column("stamp", BigInteger, nullable=False),  # drawn at random for each change
    sqlite_autoincrement=True,
)

rejection = Table(
    "rejection",
    metadata,
    Column("id", Number, primary_key=True),
    Column("scope_id", ForeignKey("scope.id", ondelete="CASCADE"), nullable=False),
    Column("entry_id", ForeignKey("entry.id", ondelete="CASCADE")),  # NULL: the source itself rejected it
    Column("source", Text, nullable=False),
    Column("locator", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Index("rejection_scope", "scope_id"),
    Index("rejection_entry", "entry_id"),
)

passage = Table(
    "passage",
    metadata,
    Column("id", Number, primary_key=True),
    Column("adapter_id", ForeignKey("adapter.id", ondelete="CASCADE"), nullable=False),
    Column("field", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    UniqueConstraint("adapter_id", "field", "ordinal"),
    sqlite_autoincrement=True,  # a number stands for one text for ever, so an index may be extended
)

encoder = Table(
    "encoder",
    metadata,
    Column("id", Number, primary_key=True),
    Column("model", Text, nullable=False),
    Column("revision", Text, nullable=False),
    Column("dimension", Integer, nullable=False),
    Column("stamp", Text, nullable=False),  # another one after each change of its vectors
    UniqueConstraint("model", "revision"),
)

embedding = Table(
    "embedding",
    metadata,
    Column("encoder_id", ForeignKey("encoder.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("vector", LargeBinary, nullable=False),  # float32, little-endian
)

picture = Table(
    "picture",
    metadata,
    Column("adapter_id", ForeignKey("adapter.id", ondelete="CASCADE"), primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("stamp", Text, nullable=False),  # another one when the file has changed or moved
    Column("digest", Text),  # of the bytes; NULL where no picture can be read
)

measure = Table(
    "measure",
    metadata,
    Column("adapter_id", ForeignKey("adapter.id", ondelete="CASCADE"), primary_key=True),
    Column("method", Text, nullable=False),  # the version of what measured it
    Column("fingerprint", Text),  # the adapter's when it was measured
    Column("stamp", Text, nullable=False),  # another one when the file has changed
    Column("json", Text, nullable=False),  # the norms by block, and what could not be measured
    Column("sketch", LargeBinary),  # float32, little-endian; NULL where nothing is changed or measured
)

base_norm = Table(
    "base_norm",
    metadata,
    Column("family", Text, primary_key=True),
    Column("model", Text, nullable=False),  # the checkpoint that was measured
    Column("json", Text, nullable=False),  # the norms by block
)

probe = Table(
    "probe",
    metadata,
    Column("adapter_id", ForeignKey("adapter.id", ondelete="CASCADE"), primary_key=True),
    Column("family", Text, primary_key=True),  # of the checkpoint
    Column("fingerprint", Text),  # the adapter's when it was probed
    Column("stamp", Text, nullable=False),  # another one when it would be probed another way
    Column("json", Text, nullable=False),
    Column("direction", LargeBinary),  # float32, little-endian; NULL where pictures stay as they are
)

COUNTED = frozenset(
    table.name for table in metadata.tables.values() if table.dialect_kwargs.get("sqlite_autoincrement")
)
"""The tables in which a number is never given twice, though its row be gone."""
