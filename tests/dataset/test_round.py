"""A catalogue that goes out as a dataset and comes in again: the same adapters, words, vectors and answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import shelf
from dataset_records import HOME, MINOR, RECORDS, Given
from pyarrow import parquet

from velatura.dataset import export_dataset, import_dataset, read_manifest
from velatura.dataset.manifest import check_files
from velatura.db import Store, open_store
from velatura.errors import InputError
from velatura.records import PG, AdapterRecord, Filter, Refinement
from velatura.refiner.card import CardDescriber
from velatura.refiner.embed import embed
from velatura.refiner.passages import VERSION
from velatura.retriever import Retriever

PROMPTS = ("a red fox in the snow", "ink wash of an oak", "foxy fur", "something else entirely")


def found(store: Store, prompt: str) -> list[tuple[str, float, tuple[str, ...]]]:
    retriever = Retriever(store, shelf.BagEmbedder(), store.beside("faiss"))
    return [
        (one.adapter.record.title, one.score, one.because) for one in retriever.search(prompt, Filter(family="sd1"), 9)
    ]


def test_nothing_is_described_or_embedded_anew_and_search_answers_the_same(
    catalogue: Store, dataset: Path, tmp_path: Path
) -> None:
    with open_store(tmp_path / "new.db") as store:
        report = import_dataset(store, dataset)
        assert (report.sync.added, report.refined, report.refused_vectors, report.trouble) == (3, 3, 0, ())
        assert list(report.vectors.values()) == [5]
        embedder = shelf.BagEmbedder()
        assert embed(store, embedder).adapters == 0
        assert embedder.texts == 0
        assert store.stale_refinements(CardDescriber().name) == []
        for prompt in PROMPTS:
            assert found(store, prompt) == found(catalogue, prompt)
        before = store.revision()
        again = import_dataset(store, dataset)
        assert again.sync.unchanged == 3
        assert (again.refined, list(again.vectors.values())) == (0, [0])
        assert store.revision() == before


def test_a_record_comes_back_as_it_was_less_what_is_of_this_machine(dataset: Path, tmp_path: Path) -> None:
    with open_store(tmp_path / "new.db") as store:
        import_dataset(store, dataset)
        fox, _, ink = (one.record for one in store.adapters(store.of_source("dataset")))
        assert store.find("civitai:1@2") == store.find("1@2") == [1]
    was = RECORDS[0]
    assert fox == replace(
        was,
        source="dataset",
        key="civitai:1/2/3",
        url="https://civitai.com/api/download/models/2?type=Model",
        examples=(was.examples[0], replace(was.examples[1], image=None)),
        weights=(replace(was.weights[0], image=None),),
    )
    assert (ink.key, ink.path, ink.file_name) == (f"folder:{'cd' * 16}/ink.safetensors", None, "ink.safetensors")
    assert ink.base_model == "dreamshaper 8.safetensors"
    assert ink.notes == RECORDS[1].notes
    assert (ink.previews, ink.provenance) == ((), ())


def test_nothing_of_this_machine_is_in_any_file(tmp_path: Path) -> None:
    private = replace(
        RECORDS[1],
        key="p",
        title="p",
        description=f"Trained with {HOME}/sets/ink on C:\\Users\\Ada-Lovelace\\base.ckpt in one night.",
    )
    with open_store(tmp_path / "old.db") as store:
        store.sync(Given("civitai", [*RECORDS, MINOR]))
        store.sync(Given("folder", [RECORDS[1], private]))
        embed(store, shelf.BagEmbedder())
        report = export_dataset(store, tmp_path / "set")
    assert report.notes_left_out == 2
    rows = parquet.read_table(tmp_path / "set" / "adapters.parquet").to_pylist()
    told = repr(rows) + "".join(
        path.read_bytes().decode("latin-1") for path in (tmp_path / "set").iterdir() if path.suffix != ".parquet"
    )
    for secret in (HOME, "ovelace", "hunter2", "Charles", "127.0.0.1", str(tmp_path)):
        assert secret not in told
    assert "Trained with ink on base.ckpt in one night." in told
    assert "Child" not in told


def test_the_same_catalogue_gives_the_same_bytes_and_so_does_the_one_that_took_it_over(
    catalogue: Store, dataset: Path, tmp_path: Path
) -> None:
    export_dataset(catalogue, tmp_path / "again", notes=True)
    with open_store(tmp_path / "new.db") as store:
        import_dataset(store, dataset)
        export_dataset(store, tmp_path / "third", notes=True)
    files = sorted(path.name for path in dataset.iterdir())
    assert len(files) == 4
    for name in files:
        assert (tmp_path / "again" / name).read_bytes() == (dataset / name).read_bytes()
        assert (tmp_path / "third" / name).read_bytes() == (dataset / name).read_bytes(), name


def test_gates_decide_what_is_published_and_the_card_says_so(catalogue: Store, tmp_path: Path) -> None:
    report = export_dataset(catalogue, tmp_path / "set", Filter(nsfw=PG, commercial="sell"), sources=["civitai"])
    assert (report.adapters, report.kept_out) == (1, {"nsfw": 2})
    card = (tmp_path / "set" / "README.md").read_text()
    assert "| sell: sell the model | 1 |" in card
    assert "rated more explicit, or not rated" in card
    with pytest.raises(InputError, match="no adapter of the catalogue passes"):
        export_dataset(catalogue, tmp_path / "none", Filter(kinds=("dora",)))
    assert not (tmp_path / "none").exists()


def test_shards_are_one_dataset(
    catalogue: Store, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("velatura.dataset.exporting.SHARD_BYTES", 4 * (4 * 64 + 16))
    export_dataset(catalogue, tmp_path / "set", notes=True, shard_rows=2)
    assert (tmp_path / "set" / "adapters-00002-of-00002.parquet").is_file()
    assert len(list((tmp_path / "set").glob("embeddings-*-of-00002.safetensors"))) == 2
    with open_store(tmp_path / "new.db") as store:
        report = import_dataset(store, tmp_path / "set")
        assert (report.sync.added, report.refined, list(report.vectors.values())) == (3, 3, [5])


def test_a_folder_with_anything_else_is_left_alone(catalogue: Store, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    export_dataset(catalogue, folder)
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"a dataset is in .* already"):
        export_dataset(catalogue, folder)
    export_dataset(catalogue, folder, Filter(family="sdxl"), overwrite=True, shard_rows=1)
    assert (folder / "mine.txt").read_text() == "mine"
    assert parquet.read_table(folder / "adapters.parquet").num_rows == 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(InputError, match="holds something else than a dataset"):
        export_dataset(catalogue, tmp_path / "other", overwrite=True)


def test_two_exports_into_one_folder_do_not_mix_and_what_a_killed_one_left_is_written_over(
    catalogue: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "set"

    def meanwhile(what: str, done: int, whole: int) -> None:
        with pytest.raises(InputError, match=r"another process writes .*set now; wait for it"):
            export_dataset(catalogue, folder)

    export_dataset(catalogue, folder, progress=meanwhile)
    assert list(check_files(folder, read_manifest(folder)))
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    # Killed while the files were exchanged, and another time while they were written.
    (folder / "velatura.json").unlink()
    (tmp_path / ".set.part" / "set").mkdir(parents=True)
    (tmp_path / ".set.part" / "set" / "adapters.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"a dataset is in .* already"):
        export_dataset(catalogue, folder)
    export_dataset(catalogue, folder, overwrite=True)
    assert list(check_files(folder, read_manifest(folder)))
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_an_import_changes_nothing_that_is_the_catalogues_own(dataset: Path, tmp_path: Path) -> None:
    mine = AdapterRecord(source="civitai", key="1/2/3", title="My fox", nsfw=32, family="sd1")
    with open_store(tmp_path / "new.db") as store:
        store.sync(Given("civitai", [mine]))
        import_dataset(store, dataset)
        assert store.adapter(1).record == mine
        fox = int(store.of_source("dataset")[0])
        store.put_refinements([(fox, Refinement(description="as I see it", writer="me"), "my own reading")])
        import_dataset(store, dataset)
        assert store.adapter(fox).refinement.description == "as I see it"


def test_an_import_that_was_cut_short_is_made_whole_by_the_next(dataset: Path, tmp_path: Path) -> None:
    def stop(what: str, done: int, whole: int) -> None:
        if what == "texts":
            raise KeyboardInterrupt

    with open_store(tmp_path / "new.db") as store, open_store(tmp_path / "whole.db") as undisturbed:
        with pytest.raises(KeyboardInterrupt):
            import_dataset(store, dataset, progress=stop)
        import_dataset(store, dataset)
        import_dataset(undisturbed, dataset)
        assert store.stale_passages(VERSION) == []
        numbers = store.of_source("dataset")
        assert store.adapters(numbers) == undisturbed.adapters(numbers)
        assert store.unembedded(VERSION, "bag of words", "1") == []
