"""Opening a catalogue: made where there is none, refused in one sentence where it cannot be used."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from velatura.db import open_store, sqlite
from velatura.errors import CatalogueError

pytestmark = pytest.mark.usefixtures("every_step")


def refusal(target: str | Path, **options: bool) -> str:
    with pytest.raises(CatalogueError) as caught:
        open_store(target, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_a_new_catalogue_is_made_with_its_folders(tmp_path: Path):
    path = tmp_path / "a" / "b%20 100%" / "ü?#&.db"
    with open_store(path) as store:
        assert store.stats().files == 0
        assert store.path == path
    assert path.is_file()


def test_a_catalogue_is_named_by_a_url_too(tmp_path: Path):
    open_store(f"sqlite:///{tmp_path}/catalogue.db").close()
    assert (tmp_path / "catalogue.db").is_file()


def test_other_databases_are_refused(tmp_path: Path):
    assert "postgresql" in refusal("postgresql://localhost/catalogue")
    assert "needs a file" in refusal("sqlite://")
    assert "neither a path nor" in refusal("://")


def test_reading_only_makes_nothing(tmp_path: Path):
    path = tmp_path / "none" / "catalogue.db"
    assert refusal(path, read_only=True) == (
        f"there is no catalogue at {path}; run `velatura index FOLDER --db {path}` first"
    )
    assert not path.parent.exists()


def test_an_empty_file_is_no_catalogue_to_read(tmp_path: Path):
    path = tmp_path / "catalogue.db"
    path.touch()
    assert "is empty; run `velatura index" in refusal(path, read_only=True)
    open_store(path).close()
    open_store(path, read_only=True).close()


def test_a_folder_is_refused(tmp_path: Path):
    assert "is a folder" in refusal(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    assert "cannot be made" in refusal(tmp_path / "file" / "catalogue.db")


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, read_only: bool):
    path = tmp_path / "catalogue.db"
    path.write_bytes(b"These are my notes. " * 100)
    assert "is not an SQLite database" in refusal(path, read_only=read_only)
    assert path.read_bytes() == b"These are my notes. " * 100
    assert list(tmp_path.iterdir()) == [path]


def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path):
    path = tmp_path / "photos.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
    connection.execute("INSERT INTO alembic_version VALUES ('0001')")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    assert "another program" in refusal(path)
    assert path.read_bytes() == before


def test_a_newer_catalogue_is_refused(path: Path):
    open_store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    for read_only in (False, True):
        sentence = refusal(path, read_only=read_only)
        assert "newer version" in sentence
        assert "9999" in sentence


def test_a_locked_catalogue_is_refused_after_a_while(path: Path, monkeypatch: pytest.MonkeyPatch, make):
    open_store(path).close()
    monkeypatch.setattr(sqlite, "WAIT", 0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with open_store(path) as store, pytest.raises(CatalogueError, match="locked by another program; try again"):
        store.sync(make.source([make.file("a")]))
    other.close()


def test_a_store_opened_for_reading_refuses_to_write(path: Path, make):
    open_store(path).close()
    with open_store(path, read_only=True) as store, pytest.raises(CatalogueError, match="for reading only"):
        store.sync(make.source([make.file("a")]))


def test_a_damaged_catalogue_is_told_in_one_sentence(path: Path, make):
    with open_store(path) as store:
        store.sync(make.source([make.file(f"{i}", tags=("tag",) * 50) for i in range(200)]))
    content = bytearray(path.read_bytes())
    content[4096 * 2 :] = os.urandom(len(content) - 4096 * 2)
    path.write_bytes(content)

    def read_everything() -> None:
        with open_store(path) as store:
            store.adapters(range(1, 201))

    with pytest.raises(CatalogueError, match="damaged"):
        read_everything()


def test_a_medium_that_cannot_be_written_is_read(path: Path, make, monkeypatch: pytest.MonkeyPatch):
    with open_store(path) as store:
        store.sync(make.source([make.file("a")]))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with open_store(path, read_only=True) as store:
        assert store.stats().files == 1
        assert list(path.parent.iterdir()) == [path]


def test_a_reader_follows_a_file_that_another_has_replaced(path: Path, make):
    other = path.with_name("other.db")
    for place, count in ((path, 1), (other, 2)):
        with open_store(place) as store:
            store.sync(make.source([make.file(str(number)) for number in range(count)]))
    with open_store(path, read_only=True) as store:
        assert store.stats().files == 1
        path.unlink()
        with pytest.raises(CatalogueError, match="cannot be opened"):
            store.stats()
        other.rename(path)
        assert store.stats().files == 2
        path.unlink()
        path.write_text("no catalogue")
        for _ in range(2):
            with pytest.raises(CatalogueError, match="is not a catalogue"):
                store.stats()


def test_many_may_make_the_same_catalogue_at_once(path: Path, make):
    barrier = threading.Barrier(8)

    def index(place: int) -> None:
        barrier.wait()
        with open_store(path) as store:
            store.sync(make.source([make.file(f"{place}.safetensors")], scope=f"/{place}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(index, range(8)))
    with open_store(path) as store:
        assert store.stats().files == 8


def test_an_up_to_date_catalogue_is_opened_without_alembic(path: Path):
    open_store(path).close()
    script = (
        "import sys, velatura.db\n"
        "assert 'sqlalchemy' not in sys.modules, 'the package is light'\n"
        f"velatura.db.open_store({str(path)!r}).close()\n"
        "assert 'alembic' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
