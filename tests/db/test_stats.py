"""What a catalogue holds, counted."""

from __future__ import annotations

import numpy as np

from velatura.db import Store
from velatura.errors import InputError
from velatura.records import Licence, Refinement


def test_everything_is_counted_once(store: Store, make):
    def page(model: int, version: int, file: int, **fields: object) -> object:
        key = f"{model}/{version}/{file}"
        fields = {"source": "civitai", "path": None, "family": "sd1"} | fields
        return make.entry(key, make.record(key, model_id=model, version_id=version, **fields))

    pages = [
        page(1, 1, 1, licence=Licence(commercial=("image", "sell"))),
        page(1, 1, 2, licence=Licence(commercial=())),
        page(1, 2, 3, kind="locon"),
        page(2, 3, 4, family="sdxl"),
    ]
    files = [
        make.file("a"),
        make.file("b"),
        make.file("c", model_id=1, version_id=1),
        make.entry("d", InputError("broken")),
        make.file("gone", licence=Licence(commercial=("rent",)), family="pony"),
    ]
    store.sync(make.source(pages, name="civitai"))
    store.sync(make.source(files))
    store.sync(make.source(files[:-1]))
    store.put_refinements([(1, Refinement(description="words", writer="me"), "o")])
    store.set_passages([(1, [("card", "x"), ("prompt", "y")]), (2, [("card", "x")]), (3, [("card", "z")])], "1")
    store.put_vectors("model", "r1", {"x": np.ones(2)})
    stats = store.stats()
    # The file `c` is of a page that the site tells of too.
    assert (stats.models, stats.versions, stats.files) == (2 + 2, 3 + 2, 4 + 3)
    assert (stats.installed, stats.described, stats.rejected, stats.missing) == (3, 1, 1, 1)
    assert stats.by_source == {"civitai": 4, "folder": 3}
    assert stats.by_family == {"sd1": 3, "unknown": 3, "sdxl": 1}
    assert stats.by_kind == {"lora": 6, "locon": 1}
    assert stats.by_licence == {"image": 1, "rentcivit": 0, "rent": 0, "sell": 1, "none": 1, "unknown": 5}
    assert stats.embedded == {"model@r1": 2}


def test_files_of_one_page_are_told_across_sources(store: Store, make):
    store.sync(make.source([make.file("a", model_id=5), make.file("b"), make.file("c", model_id="9" * 5000)]))
    page = make.entry("5", make.record("5/1/1", source="huggingface", model_id="me/repo", path=None))
    store.sync(make.source([page], name="huggingface"))
    assert store.pages() == {1: 5, 2: -2, 3: "9" * 5000, 4: "me/repo"}


def test_an_empty_catalogue_holds_nothing(store: Store):
    stats = store.stats()
    assert (stats.models, stats.versions, stats.files, stats.rejected, stats.embedded) == (0, 0, 0, 0, {})
    assert store.duplicates() == []
    assert store.rejections() == []
