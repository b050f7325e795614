"""Records as JSON: nothing is lost, and other versions' records are read."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from velatura.db import codec
from velatura.errors import CatalogueError
from velatura.records import AdapterRecord, Example, Hashes, Licence, WeightEvidence

# The type hints say everything: a field of a new kind that the codec does not know fails here.
whole = st.builds(
    AdapterRecord,
    **{field.name: ... for field in fields(AdapterRecord) if field.name not in ("hashes", "licence")},
    hashes=st.builds(Hashes, sha256=..., autov3=...),
    licence=st.builds(Licence, commercial=..., name=...),
)


@given(record=whole)
@settings(max_examples=150, deadline=None)
def test_every_record_comes_back_as_it_was(record: AdapterRecord):
    text, digest = codec.dump(record)
    back = codec.load(text)
    assert repr(back) == repr(record)
    assert codec.dump(back) == (text, digest)
    text.encode()


def test_types_of_ids_and_tuples_survive():
    record = AdapterRecord(source="civitai", key="1", title="", model_id=1, version_id="1", triggers=((), ("a",)))
    back = codec.load(codec.dump(record)[0])
    assert (back.model_id, back.version_id, back.triggers) == (1, "1", ((), ("a",)))
    assert replace(back, licence=Licence(commercial=())) != replace(back, licence=Licence(commercial=None))


def test_a_surrogate_survives():
    record = AdapterRecord(source="folder", key="\udcff", title="細 \ud800", tags=("\udcff",))
    assert codec.load(codec.dump(record)[0]) == record
    assert codec.storable("a\udcffb") == "a\\udcffb"


def test_records_of_other_versions_are_read():
    text = json.dumps(
        {
            "source": "folder",
            "key": "a",
            "title": "A",
            "of_the_future": {"a": [1]},
            "hashes": {"sha256": "ab", "sha512": "cd"},
            "examples": [{"prompt": "a fox", "mood": "glad"}],
            "weights": [{"weight": 1, "source": "tips"}],
        }
    )
    assert codec.load(text) == AdapterRecord(
        source="folder",
        key="a",
        title="A",
        hashes=Hashes(sha256="ab"),
        examples=(Example(prompt="a fox"),),
        weights=(WeightEvidence(weight=1, source="tips"),),
    )


def test_only_what_differs_from_the_default_is_written():
    text, _ = codec.dump(AdapterRecord(source="folder", key="a", title="A", nsfw=0, minor=False))
    assert json.loads(text) == {"source": "folder", "key": "a", "title": "A", "nsfw": 0, "minor": False}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"key": "a"}', '{"hashes": [1]}', "null", '{"examples": [null]}'])
def test_a_damaged_record_is_told_in_one_sentence(text: str):
    with pytest.raises(CatalogueError, match="damaged"):
        codec.load(text)
