"""The commands on a catalogue in PostgreSQL say what they say on one in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from command_line import Done, velatura
from postgres_server import needs_postgres
from sqlalchemy import make_url

from velatura.db import name_of

ASKED = (
    ("index", "dump.json", "--json"),
    ("refine", "--describer", "card", "--json"),
    ("search", "a red fox in the snow, ink", "--json"),
    ("search", '"red fox" in the snow', "--json", "--limit", 5),
    ("search", "--trigger", "red f", "--json"),
    ("similar", "Paper Cut", "--json"),
    ("compose", "a red fox in the snow, paper cut", "--json"),
    ("show", "Red Fox", "--json"),
    ("stats", "--json"),
    ("rejected", "--json"),
    ("duplicates", "--json"),
)


def plain(done: Done) -> object:
    """What was answered, without what takes another time or place on each run."""

    def strip(value: object) -> object:
        if isinstance(value, dict):
            return {name: strip(item) for name, item in value.items() if "seconds" not in name and name != "catalogue"}
        return [strip(item) for item in value] if isinstance(value, list) else value

    return strip(done.json)


@needs_postgres
def test_a_catalogue_on_a_server_answers_as_a_file_does(tmp_path: Path, another_postgres: Callable[[], str]) -> None:
    url = another_postgres()
    password = str(make_url(url).password)
    dump = Path(__file__).with_name("sample_catalogue.json").read_text(encoding="utf-8")
    (tmp_path / "dump.json").write_text(dump, encoding="utf-8")
    for command in ASKED:
        there, here = (velatura(*command, "--db", db, home=tmp_path) for db in (url, "file.db"))
        assert plain(there) == plain(here), command
        assert password not in there.stdout + there.stderr
    places = list((tmp_path / "catalogues").glob("*/catalogue.*"))
    assert {place.name for place in places} >= {"catalogue.words", "catalogue.faiss"}
    told = velatura("doctor", home=tmp_path, VELATURA_DB=url)
    assert f"at {name_of(url)}" in " ".join(told.stdout.split())
    assert password not in told.stdout + told.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and password.encode() in path.read_bytes()]
