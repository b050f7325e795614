"""`velatura dataset` and `velatura db copy`, as a person types them."""

from __future__ import annotations

from pathlib import Path

import shelf
from command_line import velatura
from dataset_records import RECORDS, Given

from velatura.db import open_store


def test_a_catalogue_is_given_away_and_taken_over(tmp_path: Path) -> None:
    with open_store(tmp_path / "catalogue.db") as store:
        for name in ("civitai", "folder"):
            store.sync(Given(name, RECORDS))
    done = velatura("dataset", "export", "set", "--safe", home=tmp_path)
    assert "1 adapters, 0 described" in done.stdout
    assert "2 adapters kept out" in done.stdout
    assert velatura("dataset", "export", "all", "--json", home=tmp_path).json["adapters"] == 3
    assert velatura("dataset", "show", "all", "--json", home=tmp_path).json["adapters"] == 3
    assert "all is as it was written" in velatura("dataset", "show", "all", home=tmp_path).stdout
    done = velatura("dataset", "import", "all", "--db", "new.db", home=tmp_path)
    assert "dataset: 3 seen, 3 added" in done.stdout
    refused = velatura("dataset", "export", "all", home=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: a dataset is in ")
    refused = velatura("dataset", "import", "nowhere", "--db", "none.db", home=tmp_path)
    assert (refused.returncode, (tmp_path / "none.db").exists()) == (1, False)


def test_a_catalogue_is_copied(tmp_path: Path) -> None:
    with open_store(tmp_path / "old.db") as store:
        store.sync(shelf.Given([shelf.adapter("fox")]))
    assert velatura("db", "copy", "old.db", "new.db", "--json", home=tmp_path).json["rows"]["adapter"] == 1
    refused = velatura("db", "copy", "old.db", "new.db", home=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "new.db is not empty" in refused.stderr
    told = velatura("db", "copy", "old.db", "mysql://ada:hunter2@host/x", home=tmp_path)
    assert told.returncode == 1
    assert "hunter2" not in told.stderr
