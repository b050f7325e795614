"""A catalogue in another database: every row and number, or nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import shelf
from postgres_server import database, needs_postgres

from velatura.db import connect, full_text, open_store
from velatura.db.copy import copy_catalogue
from velatura.db.schema import metadata
from velatura.errors import CatalogueError
from velatura.records import Refinement, WeightMeasure

RECORDS = [shelf.adapter(name, triggers=((name, "red fox"),), tags=("a", name)) for name in ("ink", "fox", "oak")]


def rows_of(target: str | Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, the words, and the numbers that come next."""
    with closing(connect.open_database(target)) as opened, opened.reading() as connection:
        found = {
            table.name: sorted(
                tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
                for row in connection.execute(table.select())
            )
            for table in metadata.sorted_tables
        }
        found["words"] = list(full_text.texts(connection, None))
        found["numbers"] = sorted(opened.dialect.last_numbers(connection).items())
    return found


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three adapters, of which the last came and went before, so that the next number is none of the table's."""
    path = tmp_path_factory.mktemp("old") / "old.db"
    with open_store(path) as store:
        store.sync(shelf.Given([*RECORDS, shelf.adapter("late")]))
        numbers = store.of_source("given").tolist()
        store.put_refinements([(numbers[0], Refinement(description="Łódź, 狐", writer="w"), "o")])
        store.set_passages([(number, [("card", f"{number:032}")]) for number in numbers], "1")
        store.put_vectors("m", "1", {f"{number:032}": [0.6, 0.8] for number in numbers})
        store.put_measures([(numbers[1], "s", WeightMeasure(method="m", blocks=(), sketch=(1.0, 2.0)))])
    with closing(connect.open_database(path)) as opened, opened.writing() as connection:
        full_text.delete(connection, [numbers[-1]])
        connection.exec_driver_sql("DELETE FROM adapter WHERE key = 'late'")
        connection.exec_driver_sql("UPDATE adapter SET title = 'nul ' || char(0) || ' in it' WHERE key = 'fox'")
    return path


def normal(rows: dict[str, list[tuple[object, ...]]]) -> dict[str, list[tuple[object, ...]]]:
    """The one text that a database cannot hold, as it is kept instead; and no name, since a copy draws its own."""
    return {
        name: [
            tuple(one.replace("\0", "\\x00") if isinstance(one, str) else one for one in row)
            for row in table
            if name != "meta" or row[0] != "catalogue"
        ]
        for name, table in rows.items()
    }


def test_every_row_and_number_is_copied(catalogue: Path, tmp_path: Path) -> None:
    report = copy_catalogue(catalogue, tmp_path / "new.db")
    assert report.rows["adapter"] == report.rows["words"] == 3
    assert rows_of(tmp_path / "new.db") == normal(rows_of(catalogue))
    with open_store(tmp_path / "new.db") as store:
        assert store.mentions(["red fox"], 9) == {"red fox": {1, 2, 3}}
        store.sync(shelf.Given([shelf.adapter("next")]))
        assert store.of_source("given").tolist() == [1, 2, 3, 5]  # 4 was given once


@needs_postgres
def test_it_goes_to_postgresql_and_comes_back_the_same(catalogue: Path, tmp_path: Path) -> None:
    with database() as url:
        copy_catalogue(catalogue, url)
        assert rows_of(url) == normal(rows_of(catalogue))
        with pytest.raises(CatalogueError, match="is not empty"):
            copy_catalogue(catalogue, url)
        copy_catalogue(url, tmp_path / "back.db")
        with open_store(url) as store:
            assert store.mentions(["red fox"], 9) == {"red fox": {1, 2, 3}}
            store.sync(shelf.Given([shelf.adapter("next")]))
            assert store.of_source("given").tolist()[-1] == 5
    assert rows_of(tmp_path / "back.db") == normal(rows_of(catalogue))


def test_what_is_there_is_never_written_over(catalogue: Path, tmp_path: Path) -> None:
    with open_store(tmp_path / "other.db") as store:
        store.sync(shelf.Given([shelf.adapter("mine")]))
    before = rows_of(tmp_path / "other.db")
    with pytest.raises(CatalogueError, match=r"other\.db is not empty; name a database that is"):
        copy_catalogue(catalogue, tmp_path / "other.db")
    assert rows_of(tmp_path / "other.db") == before
    with pytest.raises(CatalogueError, match="are one catalogue"):
        copy_catalogue(catalogue, f"sqlite:///{catalogue.parent}/../{catalogue.parent.name}/old.db")
    with pytest.raises(CatalogueError, match="there is no catalogue at"):
        copy_catalogue(tmp_path / "none.db", tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


KILLED = """
import os, signal, sys
from velatura.db.copy import copy_catalogue
def die(what, done, whole):
    if what == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)
copy_catalogue(sys.argv[1], sys.argv[2], progress=die)
"""


def test_a_copy_that_is_killed_is_none_and_the_same_command_makes_it(catalogue: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.db"
    run = subprocess.run([sys.executable, "-c", KILLED, str(catalogue), str(new), "compared words"], check=False)
    assert run.returncode == -signal.SIGKILL
    assert not any(rows_of(new)[table.name] for table in metadata.sorted_tables)
    copy_catalogue(catalogue, new)
    assert rows_of(new) == normal(rows_of(catalogue))


def test_what_arrives_otherwise_is_not_kept(catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    insert = full_text.insert

    def lossy(connection: object, rows: list[tuple[int, tuple[str, ...]]]) -> None:
        insert(connection, [(number, ("", *texts[1:])) for number, texts in rows])  # type: ignore[arg-type]

    monkeypatch.setattr("velatura.db.copy.full_text.insert", lossy)
    with pytest.raises(CatalogueError, match="in words is not what was copied; nothing was kept"):
        copy_catalogue(catalogue, tmp_path / "new.db")
    assert not any(rows_of(tmp_path / "new.db")[table.name] for table in metadata.sorted_tables)
