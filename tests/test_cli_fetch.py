"""`velatura fetch`: what the gates let through, into the folder that is named, and then into the catalogue."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Done, velatura
from public_site import PUBLIC, Site, give, moved, running_site
from shelf import Given

from velatura.db import open_store
from velatura.fetching import run
from velatura.playground.library import weights_folder
from velatura.records import PG, XXX, AdapterRecord, Hashes, Licence

FILE = (weights_folder() / "loras" / "cat.safetensors").read_bytes()
SHA256 = hashlib.sha256(FILE).hexdigest()


def page(number: int, title: str, **fields: Any) -> AdapterRecord:
    told = {"file_name": f"{title.lower()}.safetensors", "hashes": Hashes(sha256=SHA256), "size": len(FILE), **fields}
    return AdapterRecord(
        source="civitai", key=f"{number}/1/1", title=title, model_id=number, version_id=100 + number, **told
    )


RECORDS = [
    page(1, "Cat", nsfw=PG, licence=Licence(commercial=("image", "sell"))),
    page(2, "Bare", nsfw=XXX, licence=Licence(commercial=("sell",))),
    page(3, "Unrated", licence=Licence(commercial=("sell",))),
    page(4, "Free", nsfw=PG, licence=Licence(commercial=())),
    page(5, "Actress", nsfw=PG, real_person=True, licence=Licence(commercial=("sell",))),
    page(6, "Child", nsfw=PG, minor=True, licence=Licence(commercial=("sell",))),
    page(7, "Old", nsfw=PG, licence=Licence(commercial=("sell",)), format="pickle", file_name="old.pt"),
    page(8, "\x1b[31mRed", nsfw=PG, licence=Licence(commercial=("sell",)), hashes=Hashes(), file_name="../../red"),
]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with running_site() as found:
        found.names = {"civitai.com": [PUBLIC], "storage.example": [PUBLIC]}
        found.routes = {
            f"/api/download/models/{100 + number}": moved("https://storage.example/cat?sesame")
            for number in range(1, 9)
        }
        found.routes["/cat"] = give(FILE, "application/octet-stream")
        monkeypatch.setattr(run, "open_session", found.safe_session)
        yield found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "loras").mkdir()
    with open_store(tmp_path / "catalogue.db") as store:
        source = Given(RECORDS)
        source.name = "civitai"
        store.sync(source)
    return tmp_path


def fetch(home: Path, *arguments: object, **environment: str) -> Done:
    done = velatura("fetch", *arguments, "--to", "loras", home=home, **environment)
    assert "sesame" not in done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    return done


def names(home: Path) -> set[str]:
    return {path.name for path in (home / "loras").iterdir()}


def test_fetched_file_is_told_and_where_to_index_it(site: Site, home: Path) -> None:
    done = fetch(home, "civitai:1@101")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "fetched  loras/cat.safetensors\n"
    assert "is not among the indexed folders" in done.stderr
    assert (home / "loras" / "cat.safetensors").read_bytes() == FILE


def test_fetched_into_an_indexed_folder_it_is_known_by_all_that_its_page_said(site: Site, home: Path) -> None:
    shutil.copy(weights_folder() / "loras" / "duck.safetensors", home / "loras")
    velatura("index", "loras", "--no-embed", home=home)
    told = fetch(home, "actress", "--json").json
    assert told["indexed"] == str(home / "loras")
    assert [each["state"] for each in told["adapters"]] == ["fetched"]
    with open_store(home / "catalogue.db", read_only=True) as store:
        record = store.adapter(store.find("actress.safetensors")[0]).record
    assert (record.source, record.title, record.real_person, record.nsfw) == ("folder", "Actress", True, PG)
    assert fetch(home, "actress.safetensors", "--json").json["adapters"][0]["state"] == "here"
    kept = velatura("fetch", "actress.safetensors", "--to", "loras", home=home, VELATURA_REAL_PEOPLE="false")
    assert "it depicts a real person" in kept.stderr


GATES = [
    ("2", {"VELATURA_NSFW": "3"}, "its rating is not allowed"),
    ("Unrated", {"VELATURA_NSFW": "3"}, "its rating is not allowed, or not known"),
    ("civitai:4@104", {"VELATURA_COMMERCIAL": "sell"}, "its licence does not allow that use"),
    ("actress.safetensors", {"VELATURA_REAL_PEOPLE": "false"}, "it depicts a real person"),
    ("6", {}, "depicts a minor"),
    ("urn:air:sd1:lora:civitai:1@101", {"VELATURA_BLOCKED": '["cat"]'}, "it is blocked"),
    ("7", {}, "only safetensors are fetched"),
    ("8", {}, "the catalogue knows no SHA-256"),
    ("nobody", {}, "nothing in the catalogue answers to 'nobody'"),
]


@pytest.mark.parametrize(("name", "settings", "reason"), GATES, ids=[each[0] for each in GATES])
def test_gate_keeps_it_out_and_costs_no_other(
    site: Site, home: Path, name: str, settings: dict[str, str], reason: str
) -> None:
    done = fetch(home, name, *([] if "BLOCKED" in str(settings) else ["1"]), "--json", **settings)
    assert done.returncode == 1
    assert reason in done.stdout
    assert names(home) == (set() if "BLOCKED" in str(settings) else {"cat.safetensors", "cat.civitai.info"})


def test_dry_run_tells_and_fetches_nothing(site: Site, home: Path) -> None:
    done = fetch(home, "1", "5", "8", "--dry-run", "--unverified")
    assert done.returncode == 0
    for told in ("cat.safetensors", "civitai.com", "image, sell", "PG", "red.safetensors"):
        assert told in done.stdout
    assert not site.asked
    assert not names(home)


def test_unverified_is_fetched_when_asked_for_and_noted(site: Site, home: Path) -> None:
    done = fetch(home, "8", "--unverified")
    assert done.returncode == 0, done.stderr
    assert "could not be checked" in done.stderr
    assert names(home) == {"red.safetensors", "red.civitai.info"}
