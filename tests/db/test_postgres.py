"""A catalogue on PostgreSQL: how it is named, opened and refused, and that its schema is the one of SQLite."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import postgres_server
import pytest
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, make_url

from velatura.db import Store, connect, file_of, name_of, open_store, postgres
from velatura.db.schema import metadata
from velatura.errors import CatalogueError, MissingDependency
from velatura.records import Filter

URL = "postgresql://anna:hunter2@db.example:6432/art?sslmode=require&password=hunter3&passfile=/secret"
NAME = "postgresql://anna@db.example:6432/art?sslmode=require"


def refusal(target: str, **options: bool) -> str:
    with pytest.raises(CatalogueError) as caught:
        open_store(target, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- without a server


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgres"])
def test_a_name_holds_no_secret(scheme: str):
    assert name_of(URL.replace("postgresql", scheme)) == NAME
    assert file_of(URL) is None


def test_what_is_made_of_it_lies_in_a_folder_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VELATURA_HOME", str(tmp_path))
    places = {postgres.beside(connect.url_of(url), "faiss") for url in (URL, NAME)}
    [place] = places
    assert place.name == "catalogue.faiss"
    assert place.parent.parent == tmp_path / "catalogues"
    assert place.parent.is_dir()
    assert postgres.beside(connect.url_of(NAME.replace("art", "music")), "faiss").parent != place.parent


def test_another_driver_and_what_is_no_url_are_refused_without_their_password():
    assert "through psycopg, not psycopg2" in refusal("postgresql+psycopg2://u:hunter2@h/d")
    for odd in ("postgresql://u:hunter2@h:port/d", "mysql://u:hunter2@h/d", "postgresql://u:in@hunter2@h/d"):
        assert "hunter2" not in refusal(odd)
    assert "hunter2" not in refusal("postgres:/u:hunter2@h/d"), "and no folder is called so"


@pytest.mark.parametrize("odd", ["hunter2=1", "autocommit=1", "connect_timeout=soon", "port=1&port=2"])
def test_parameters_that_are_none_are_told_in_a_sentence(odd: str):
    told = refusal(f"postgresql://anna:hunter2@127.0.0.1:1/art?{odd}")
    assert "postgresql://anna@127.0.0.1:1/art" in told
    assert "hunter2" not in told


def test_a_server_that_is_not_there_is_told_in_a_sentence():
    told = refusal("postgresql://anna:hunter2@127.0.0.1:1/art?connect_timeout=2")
    assert told.startswith("postgresql://anna@127.0.0.1:1/art cannot be reached: ")
    assert "hunter2" not in told


def test_without_its_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingDependency, match="postgres"):
        open_store(NAME)


@pytest.mark.parametrize(
    ("state", "told"),
    [("40001", "took a step back: conflict with recovery; try again"), ("42P01", "could not be read or written: ")],
)
def test_what_others_do_to_the_database_is_told_in_a_sentence(state: str, told: str):
    from psycopg.errors import lookup

    assert told in str(postgres.explain(lookup(state)("conflict with recovery\nDETAIL: more"), NAME))
    assert postgres.explain(lookup("42601")("syntax error"), NAME) is None, "that is a fault of the program"


# ---------------------------------------------------------------- on a server


@pytest.fixture
def url(another_postgres) -> str:
    return another_postgres()


@pytest.fixture(scope="module")
def empty() -> Iterator[str]:
    """A database with nothing in it."""
    with postgres_server.database() as url:
        yield url


@postgres_server.needs_postgres
def test_the_steps_make_the_schema(empty: str):
    engine = create_engine(connect.url_of(empty))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA migrated; CREATE SCHEMA created")
    of = {name: f"{empty}?options=-csearch_path%3D{name}" for name in ("migrated", "created")}
    open_store(of["migrated"]).close()
    created = create_engine(connect.url_of(of["created"]))
    metadata.create_all(created)
    created.dispose()
    found = {}
    with engine.begin() as connection:
        for schema in of:
            rows = connection.exec_driver_sql(DEFINITIONS.replace("SCHEMA", schema)).all()
            found[schema] = sorted(
                tuple(str(value).replace(f"{schema}.", "") for value in row)
                for row in rows
                if not row[0].startswith(("words_", "commit_", "alembic_"))
            )
        assert MigrationContext.configure(connection).get_current_revision() is None, "nothing is written elsewhere"
    engine.dispose()
    assert found["migrated"] == found["created"]
    assert any("adapter_sha256" in str(row) for row in found["created"])


DEFINITIONS = """
SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull, collname, pg_get_expr(adbin, adrelid)
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
LEFT JOIN pg_collation ON pg_collation.oid = attcollation
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relnamespace = 'SCHEMA'::regnamespace AND relkind = 'r'
UNION ALL SELECT tablename, indexname, indexdef, false, '', '' FROM pg_indexes WHERE schemaname = 'SCHEMA'
UNION ALL SELECT relname, conname, pg_get_constraintdef(pg_constraint.oid), false, '', ''
FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid WHERE connamespace = 'SCHEMA'::regnamespace
"""


@postgres_server.needs_postgres
def test_reading_only_makes_nothing_and_other_tables_are_left_alone(empty: str):
    assert "is empty; run `velatura index" in refusal(empty, read_only=True)
    with closing(connect.Database(connect.url_of(empty))) as database, database.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE photos (id int)")
    for read_only in (False, True):
        told = refusal(empty, read_only=read_only)
        assert "of another program" in told
        assert str(make_url(empty).password) not in told


@postgres_server.needs_postgres
def test_a_database_that_is_not_there_or_keeps_other_texts_and_a_wrong_password_are_told(empty: str):
    url = make_url(empty)

    def named(**parts: str) -> str:
        return url.set(**parts).render_as_string(hide_password=False)

    assert "there is no such database" in refusal(named(database="nobodys"))
    assert "password authentication failed" in refusal(named(password="wrong"))
    with postgres_server.database("SQL_ASCII LOCALE 'C'") as ascii_only:
        assert "needs a database with the encoding UTF8" in refusal(ascii_only)
    assert "no schema to keep a catalogue in" in refusal(f"{empty}?options=-csearch_path%3Dnobodys")


@postgres_server.needs_postgres
def test_a_newer_catalogue_is_refused(damage):
    with postgres_server.database() as url:
        open_store(url).close()
        damage(url, "UPDATE alembic_version SET version_num = '9999'")
        assert "newer version" in refusal(url)


@postgres_server.needs_postgres
def test_a_writer_waits_for_another_and_is_refused_after_a_while(url: str, make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(postgres, "WAIT", 0.1)
    with open_store(url) as store, closing(connect.open_database(url)) as other:
        with other.writing(), pytest.raises(CatalogueError, match="locked by another program; try again"):
            store.sync(make.source([make.file("a")]))
        assert store.stats().files == 0, "reading waits for nobody"
        assert store.sync(make.source([make.file("a")])).added == 1


@postgres_server.needs_postgres
def test_the_mark_is_another_after_each_write_of_anybody(url: str, make):
    with open_store(url) as store, open_store(url, read_only=True) as reader:
        marks = [reader.mark()]
        assert reader.mark() == marks[0]
        for number in range(3):
            store.sync(make.source([make.file(f"{number}")], scope=f"/{number}"))
            marks.append(reader.mark())
        assert len(set(marks)) == 4


@postgres_server.needs_postgres
def test_a_server_that_ended_a_connection_is_asked_again(url: str, make):
    with open_store(url) as store:
        store.stats()
        with closing(connect.open_database(url)) as other, other.engine.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert store.stats().files == 0


@postgres_server.needs_postgres
def test_names_of_any_length_and_what_an_index_cannot_hold(url: str, make):
    chance = "".join(chr(0x4E00 + number * 7919 % 20000) for number in range(5000))
    calls = ((chance, "a " + "b" * 9000),)
    long = make.record(chance, title=chance, path=f"/{chance}", model_id=chance, triggers=calls)
    word = make.record("word", title="x" * 9000 + " end", hashes=type(long.hashes)(sha256="ab" * 5000))
    with open_store(url) as store:
        store.sync(make.source([make.entry(chance, long), make.entry("word", word)], scope=chance))
        assert store.rejections() == []
        assert store.find(chance) == store.find(f"/{chance}") == [1]
        assert store.mentions(["x" * 9000 + " end", "x" * 8999 + " end"], 9) == {
            "x" * 9000 + " end": {2}, "x" * 8999 + " end": set(),
        }  # fmt: skip
        again = make.source([make.entry(chance, long), make.entry("word", word)], scope=chance)
        assert store.sync(again, force=True).updated == 0


@postgres_server.needs_postgres
def test_texts_sort_as_they_do_in_a_file(url: str, tmp_path: Path, make):
    names = ["b", "B", "a", "_", "é", "z", "\U0001f98a", "10", "9", "a b", "aB"]
    offers = [make.file(name, triggers=((name, f"{name} x"),), family=name, kind=name) for name in names]

    def told(store: Store) -> list[object]:
        store.sync(make.source(offers))
        stats = store.stats()
        kinds = list(stats.by_kind), list(stats.by_family)
        return [kinds, store.trigger_phrases(), store.triggers_beginning("a"), store.select(Filter()).tolist()]

    with open_store(url) as server, open_store(tmp_path / "c.db") as file:
        assert told(server) == told(file)


@postgres_server.needs_postgres
def test_a_password_is_read_from_where_libpq_reads_it(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    parts = make_url(url)
    (tmp_path / "pass").write_text(f"*:*:*:*:{parts.password}\n")
    (tmp_path / "pass").chmod(0o600)
    for name, value in (("PGPASSWORD", str(parts.password)), ("PGPASSFILE", str(tmp_path / "pass"))):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            open_store(name_of(url), read_only=True).close()
    assert "password" in refusal(name_of(url))
