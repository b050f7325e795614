"""The steps lead to exactly the tables that the code speaks of."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from velatura.db import COLUMNS, migrate, open_store
from velatura.db.schema import metadata

pytestmark = pytest.mark.usefixtures("every_step")


def definitions(path: Path) -> dict[str, str]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {
        name: re.sub(r"\s+", " ", sql)
        for name, sql in found
        if not name.startswith(("words_", "sqlite_")) and name != "alembic_version"
    }


def test_the_head_that_is_looked_for_is_the_last_step():
    assert ScriptDirectory.from_config(migrate._config()).get_current_head() == migrate.HEAD


def test_the_steps_make_the_schema(tmp_path: Path):
    open_store(tmp_path / "migrated.db").close()
    engine = create_engine(f"sqlite:///{tmp_path}/created.db")
    metadata.create_all(engine)
    engine.dispose()
    migrated = definitions(tmp_path / "migrated.db")
    assert migrated == definitions(tmp_path / "created.db")
    assert {"adapter", "record", "entry", "embedding", "adapter_sha256"} <= set(migrated)


def test_there_is_a_table_for_each_column_of_words(path: Path):
    open_store(path).close()
    connection = sqlite3.connect(path)
    tables = connection.execute("SELECT name FROM sqlite_master WHERE sql LIKE '%fts5%'").fetchall()
    connection.close()
    assert {name for (name,) in tables} == {f"words_{column}" for column in COLUMNS}


def test_a_step_that_fails_leaves_nothing_behind(path: Path, monkeypatch):
    def fail(connection):
        upgrade(connection)
        raise KeyboardInterrupt

    upgrade = migrate.upgrade
    monkeypatch.setattr(migrate, "upgrade", fail)
    with pytest.raises(KeyboardInterrupt):
        open_store(path)
    assert definitions(path) == {}
    monkeypatch.undo()
    open_store(path).close()
    assert "adapter" in definitions(path)
