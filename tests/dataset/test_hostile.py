"""Datasets that somebody made to do harm, or by mistake: each is refused, or costs one row, in a sentence."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from dataset_records import Given, rewrite, row
from pyarrow import parquet
from safetensors.numpy import save_file

from velatura.dataset import import_dataset, read_manifest
from velatura.dataset.card import plain
from velatura.dataset.columns import schema
from velatura.dataset.manifest import Embedded, Manifest, file_of, write_manifest
from velatura.dataset.parquet_rows import read_rows
from velatura.db import Store, open_store
from velatura.db.exchange import vectors_by_digest
from velatura.errors import InputError, UnreadableFile
from velatura.records import PG, XXX, AdapterRecord, Filter, Hashes, Licence, R
from velatura.refiner.passages import digest

Forged = Callable[..., Path]


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with open_store(tmp_path / "new.db") as opened:
        yield opened


def test_a_bad_row_is_a_rejection_and_costs_no_other(forged: Forged, store: Store) -> None:
    rows = [
        row(),
        row(key="2", title="  "),
        row(key="3", minor=True),
        row(key="4", description="x" * (9 << 20)),
        row(key=None),
        row(key="\x1b[2J"),
        row(key="5", title="Fox \x1b]0;gone\x07\u202e", nsfw=-1, size=-1, family="../..", licence_commercial=["all"],
            file_name="../../x.safetensors", url="http://169.254.169.254/token", alpha=float("nan"), kind="<b>",
            weights=[{"weight": float("inf"), "source": "prompt", "image": None}, None],
            published="yesterday", sha256="g" * 64, model_id="9" * 60, refined_writer="w", refined_weight=1e30),
    ]  # fmt: skip
    report = import_dataset(store, forged(rows))
    assert (report.sync.added, report.sync.rejected) == (2, 5)
    reasons = sorted(one.reason for one in store.rejections())
    assert [reason.split(",")[0] for reason in reasons] == [
        "civitai:2 has no title",
        "civitai:3 depicts a minor",
        "it has no source and key that it could be known by",
        "it has no source and key that it could be known by",
        "it is 9",
    ]
    good = store.adapter(int(store.of_source("dataset")[1])).record
    assert good.title == "Fox ]0;gone"
    assert (good.file_name, good.url, good.family, good.kind) == ("x.safetensors", None, "unknown", "lora")
    assert (good.nsfw, good.size, good.alpha, good.weights, good.published) == (None, None, None, (), None)
    assert (good.hashes.sha256, good.model_id, good.licence.commercial) == (None, "9" * 60, ())
    assert not len(store.select(Filter(nsfw=PG)))
    assert not len(store.select(Filter(commercial="sell")))


def test_files_that_are_none_are_refused(forged: Forged, store: Store) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("a pickle was read",))

    stream = io.BytesIO()
    np.save(stream, np.array([Evil()], object))
    for content in (stream.getvalue(), b"PAR1" + b"\xff" * 60 + b"PAR1"):
        with pytest.raises(UnreadableFile, match=r"adapters\.parquet is no file of adapters: [^\n]+$"):
            list(read_rows(forged(content=content) / "adapters.parquet"))
    report = import_dataset(store, forged(content=pickle.dumps(Evil())))
    assert (report.sync.added, report.sync.rejected) == (0, 1)
    assert store.rejections()[0].reason.startswith("adapters.parquet is no file of adapters: ")


def test_what_unpacks_to_more_than_a_dataset_may_hold_is_refused(tmp_path: Path) -> None:
    def written(name: str, table: pa.Table, **options: Any) -> Path:
        parquet.write_table(table, tmp_path / name, compression="zstd", store_schema=False, **options)
        assert (tmp_path / name).stat().st_size < 2 << 20
        return tmp_path / name

    named = {name: pa.array(["x"]) for name in ("source", "key", "title")}
    # One row with a list of twenty million texts, each the same.
    tags = pa.ListArray.from_arrays(
        pa.array([0, 20_000_000], pa.int32()),
        pa.DictionaryArray.from_arrays(pa.array(np.zeros(20_000_000, np.int8)), pa.array(["fox " * 5])),
    )
    bomb = written("list.parquet", pa.table({**named, "tags": tags}))
    with pytest.raises(UnreadableFile, match="memory"):
        list(read_rows(bomb, memory=500 << 20))
    many = pa.table({name: pa.DictionaryArray.from_arrays(np.zeros(30_000, np.int8), ["x"]) for name in named})
    with pytest.raises(UnreadableFile, match="claims 30,000 rows"):
        list(read_rows(written("rows.parquet", many)))
    # One long text, which every row has.
    names = pa.DictionaryArray.from_arrays(np.zeros(2000, np.int8), ["x" * (1 << 19)])
    short = {name: pa.DictionaryArray.from_arrays(np.zeros(2000, np.int8), ["x"]) for name in named}
    long = written("text.parquet", pa.table({**short, "description": names}), row_group_size=2000)
    rows = read_rows(long, memory=1 << 30)
    assert len(next(rows)["description"]) == 1 << 19
    rows.close()


def test_a_column_of_another_type_is_told(forged: Forged, store: Store) -> None:
    columns = schema()
    columns = columns.set(columns.get_field_index("tags"), pa.field("tags", pa.string()))
    import_dataset(store, forged([row(tags="fox")], columns=columns))
    assert "its column tags holds string and not list<element: string>" in store.rejections()[0].reason


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"files": [{"name": "../adapters.parquet", "bytes": 1, "sha256": "0" * 64}]}, "is no manifest"),
        ({"files": [{"name": "weights.pkl", "bytes": 1, "sha256": "0" * 64}]}, "is no manifest"),
        ({"files": [{"name": "adapters.parquet", "bytes": -1, "sha256": "0" * 64}]}, "is no manifest"),
        ({"files": [{"name": "adapters.parquet", "bytes": 1, "sha256": "0" * 64}]}, "bytes and not the 1"),
        ({"files": 7}, "is no manifest"),
        ({"adapters": 10**30}, "is no manifest"),
        ({"velatura_dataset": 2}, "is of version 2 of the format"),
        (
            {"embedded": [{"model": "\x1b[2J", "revision": "", "dimension": 1, "vectors": 1, "files": []}]},
            "no manifest",
        ),
    ],
)
def test_a_manifest_that_lies_is_refused_before_anything_is_read(
    forged: Forged, store: Store, values: dict[str, Any], sentence: str
) -> None:
    folder = forged([row()])
    rewrite(folder, **values)
    with pytest.raises(InputError, match=sentence):
        import_dataset(store, folder)
    assert store.stats().files == 0


def test_a_file_that_was_changed_is_refused(forged: Forged, store: Store, tmp_path: Path) -> None:
    folder = forged([row()])
    content = bytearray((folder / "adapters.parquet").read_bytes())
    content[10] ^= 1
    (folder / "adapters.parquet").write_bytes(content)
    with pytest.raises(InputError, match="its SHA-256 is another"):
        import_dataset(store, folder)
    (folder / "adapters.parquet").unlink()
    with pytest.raises(InputError, match="is missing; the dataset is not whole"):
        import_dataset(store, folder)
    (folder / "velatura.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="is no manifest"):
        read_manifest(folder)
    with pytest.raises(InputError, match="is no dataset"):
        read_manifest(tmp_path / "nowhere")


def test_vectors_count_only_for_the_datasets_own_texts_and_where_there_is_none(forged: Forged, store: Store) -> None:
    given = row()
    (own,) = (one["digest"] for one in given["passages"])
    strange, oaks = "00" * 16, digest("Oak")
    folder = forged([given, row(key="2", title="Oak")])
    store.put_vectors("m", "1", {oaks: np.array([1, 0], np.float32)})
    digests = np.array([list(bytes.fromhex(one)) for one in (own, strange, oaks)], np.uint8)
    vectors = np.array([[0, 1], [0, 1], [0, 1]], np.float32)

    def embedded(name: str, rows: Any, *, dimension: int = 2) -> None:
        save_file({"digests": digests, "vectors": rows}, folder / name)
        told = Embedded(model="m", revision="1", dimension=dimension, vectors=3, files=(name,))
        files = (file_of(folder / "adapters.parquet"), file_of(folder / name))
        write_manifest(folder, Manifest(adapters=2, passages="3", embedded=(told,), files=files))

    embedded("embeddings-m.safetensors", np.full((3, 2), np.nan, np.float32))
    assert import_dataset(store, folder).refused_vectors == 3
    embedded("embeddings-m.safetensors", vectors.astype(np.float64))
    assert "is no file of vectors of 2 numbers" in import_dataset(store, folder).trouble[0]
    embedded("embeddings-m.safetensors", np.ones((3, 1), np.float32), dimension=1)
    assert "where its vectors have 2 numbers" in import_dataset(store, folder).trouble[0]
    embedded("embeddings-m.safetensors", vectors)
    report = import_dataset(store, folder)
    assert (report.vectors, report.refused_vectors) == ({"m@1": 1}, 1)
    kept = dict(vectors_by_digest(store, "m", "1", [own, strange, oaks]))
    assert kept == {own: vectors[0].tobytes(), oaks: np.array([1, 0], "<f4").tobytes()}


def test_what_strangers_wrote_is_no_markdown_in_the_card() -> None:
    told = plain("<script>alert(1)</script> [x](javascript:y) | `z`\n# h\x1b[2J ![i](http://t/i.png)")
    assert "\n" not in told
    assert "\x1b" not in told
    for mark in "<>[]()|`#!:/":
        assert mark not in told.replace(f"\\{mark}", "")
    assert json.dumps(told)


def test_a_row_is_no_freer_than_what_the_catalogue_knows_of_the_same_file(forged: Forged, store: Store) -> None:
    strict = {"title": "Bare", "nsfw": R | XXX, "licence": Licence(commercial=("image",)), "real_person": True}
    soft = {"nsfw": PG, "licence_commercial": ["image", "sell"], "real_person": False, "minor": False}
    known = [{"version_id": 7}, *({"hashes": Hashes(**{name: digits})} for name, digits in (
        ("sha256", "ab" * 32), ("sha256", "cd" * 32), ("autov3", "1a2b3c4d5e6f")))]  # fmt: skip
    told = [{"version_id": "7"}, {"sha256": "AB" * 32}, {"autov2": "cd" * 5}, {"autov3": "1a2b3c4d5e6f"}]
    records = [AdapterRecord(source="civitai", key=f"{n}", **strict, **each) for n, each in enumerate(known)]
    folder = forged([row(key="other", **soft), *(row(key=f"{n}", **soft, **each) for n, each in enumerate(told))])
    # What is learned later holds from the next import on.
    assert import_dataset(store, folder).held == 0
    store.sync(Given("civitai", records))
    report = import_dataset(store, folder)
    assert (report.held, report.sync.updated) == (4, 4)
    other, *held = (one.record for one in store.adapters(store.of_source("dataset")))
    for each in held:
        assert (each.nsfw, each.licence.commercial, each.real_person) == (PG | R | XXX, ("image",), True)
    assert (other.nsfw, other.licence.commercial, other.real_person) == (PG, ("image", "sell"), False)
    for gate in (Filter(nsfw=PG), Filter(commercial="sell"), Filter(real_people=False)):
        assert [one.record.key for one in store.adapters(store.select(gate))] == ["civitai:other"]
    store.sync(Given("civitai", [replace(records[0], minor=True), *records[1:]]))
    again = import_dataset(store, folder)
    assert (again.held, again.sync.unchanged, again.sync.updated) == (4, 4, 1)
    assert [one.record.minor for one in store.adapters(store.of_source("dataset"))] == [False, True, *[False] * 3]


def test_what_is_not_known_elsewhere_is_believed_and_what_the_row_does_not_know_stays_so(
    forged: Forged, store: Store
) -> None:
    store.sync(Given("civitai", [
        AdapterRecord(source="civitai", key="1", title="Unrated", version_id=1),
        AdapterRecord(source="civitai", key="2", title="Rated", version_id=2, nsfw=PG, licence=Licence(commercial=())),
    ]))  # fmt: skip
    told = {"nsfw": PG, "licence_commercial": ["sell"]}
    import_dataset(store, forged([row(key="1", version_id="1", **told), row(key="2", version_id="2")]))
    believed, unknown = (one.record for one in store.adapters(store.of_source("dataset")))
    assert (believed.nsfw, believed.licence.commercial) == (PG, ("sell",))
    assert (unknown.nsfw, unknown.licence.commercial) == (None, None)


def test_a_second_dataset_does_not_soften_the_first(forged: Forged, store: Store, tmp_path: Path) -> None:
    first = forged([row(key="1", version_id="1", nsfw=XXX)]).rename(tmp_path / "first")
    import_dataset(store, first)
    import_dataset(
        store, forged([row(key="1", nsfw=PG), row(key="2", version_id="1", nsfw=PG), row(key="3", nsfw=XXX)])
    )
    ratings = [one.record.nsfw for one in store.adapters(store.of_source("dataset"))]
    assert ratings == [PG | XXX, PG | XXX, XXX]
    # What a dataset says of its own rows it may take back, where nobody else says it.
    import_dataset(store, forged([row(key="3", nsfw=PG)]))
    assert store.adapter(int(store.of_source("dataset")[2])).record.nsfw == PG
