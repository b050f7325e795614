"""What is written in a form is read back the same, whatever the files are called."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from velatura.composer.formats import FORMATS, Foreign, read, stem_of, write
from velatura.errors import InputError
from velatura.records import AdapterRecord, Choice, Composition, Hashes

WEIGHTS = st.one_of(
    st.sampled_from([0.0, 1e-9, -1e-9, -1.0, 0.8, 1, -0.35, 100.0, -100.0, 0.1 + 0.2]), st.floats(-100, 100)
)
PIECES = st.sampled_from(
    [
        "fox",
        "狐",
        "ünï",
        " ",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ":",
        ",",
        '"',
        "'",
        "\\",
        "/",
        "<",
        ">",
        "=",
        "|",
        ";te=",
        "\n",
        "\r",
        "\t",
        "\0",
        "\ud83d",
        "🦊",
        "-",
        "+",
        "@",
        "%",
        "#",
        "..",
        ".pt",
        "v1.5",
        "None",
        "urn:air:",
        "civitai:1@2",
    ]
)
NAMES = st.lists(PIECES, min_size=1, max_size=6).map("".join)
PROMPTS = st.one_of(st.just("a red fox"), NAMES, st.text(max_size=40))
NAMING = ["a1111", "comfyui", "rgthree", "lora-manager-text", "invokeai"]


def choice(place: int, file: str, weight: float, **fields: Any) -> Choice:
    record = AdapterRecord(source="folder", key=str(place), title=f"Adapter {place}", path=file, **fields)
    return Choice(adapter=record, weight=weight, span="fox", triggers=("foxy", "a|b\\"), reason=f"=because {file}")


def composed(prompt: str, laid: list[tuple[str, float]]) -> Composition:
    return Composition(
        prompt=prompt,
        choices=tuple(choice(n, f"{name}.safetensors", weight) for n, (name, weight) in enumerate(laid)),
    )


def bare(name: str) -> str:
    """A name without any model's extension: how many of several go is each format's own affair."""
    while (stem := stem_of(name)) != name:
        name = stem
    return name


def told(foreign: Foreign) -> list[tuple[str, float]]:
    return [(bare(one.name), one.weight) for one in foreign.adapters]


def expected(composition: Composition) -> dict[str, float]:
    """Stem and weight of each choice whose file has a name that survives being encoded."""
    pairs = ((one.adapter.path or "", one.weight) for one in composition.choices)
    named = ((bare(path.encode("utf-8", "replace").decode()), weight) for path, weight in pairs)
    first: dict[str, float] = {}
    for name, weight in named:
        if name.strip():
            first.setdefault(name, weight)
    return first


@settings(max_examples=60, deadline=None)
@given(prompt=PROMPTS, laid=st.lists(st.tuples(NAMES, WEIGHTS), max_size=4))
@example(prompt="the fox: red, style: ink, time: night", laid=[("fox", 1e-9)])
@example(prompt="{a|b} fox", laid=[("a/b\\c", -0.5), ("x/c", 0.5)])
@example(prompt="", laid=[("fox", 0.0)])
@example(prompt="a red fox", laid=[("\n.pt", 0.0)])
@example(prompt="a red fox", laid=[("fox.pt.pt", 1.0)])
@example(prompt="[[fox]]", laid=[])
@example(prompt='{"prompt": "x"', laid=[("fox", 1.0)])
@pytest.mark.parametrize("form", NAMING)
def test_names_and_weights_come_back(form: str, prompt: str, laid: list[tuple[str, float]]) -> None:
    composition = composed(prompt, laid)
    written = write(composition, form)
    written.text.encode()
    wanted = expected(composition)
    if written.text.strip() in ("", "{}"):
        assert written.notes or not laid
        return
    try:
        back = read(written.text)
    except InputError:
        # A prompt that looks like broken JSON; a person's own words may do so, tags alone never do.
        assert form == "a1111"
        assert prompt.lstrip().startswith(("{", "["))
        return
    got = dict(reversed(told(back)))
    got = {name: got[name] for name in dict(told(back))}
    assert got.items() <= wanted.items()
    for missing in wanted.keys() - got.keys():
        assert any("left out" in note for note in written.notes), missing
    assert list(got) == [name for name in wanted if name in got]
    if form in ("comfyui", "rgthree", "invokeai"):  # JSON can name everything that has a name
        assert wanted.keys() - got.keys() <= {"None"} | {
            name for name in wanted if name.startswith(("urn:", "civitai:"))
        }


@settings(max_examples=60, deadline=None)
@given(laid=st.lists(st.tuples(NAMES, WEIGHTS), max_size=4), span=st.text(max_size=20), reason=NAMES)
def test_a_table_comes_back_whole(laid: list[tuple[str, float]], span: str, reason: str) -> None:
    hashes = Hashes(sha256="ab" * 32, crc32="01234567", blake3="cd" * 32, autov1="89abcdef")
    choices = []
    for place, (name, weight) in enumerate(laid):
        record = AdapterRecord(
            source="civitai",
            key=str(place),
            title=f"-{name}",
            file_name=f"{name}.safetensors",
            hashes=hashes,
            model_id=place + 1,
            version_id=7,
            family="sd1",
        )
        choices.append(Choice(adapter=record, weight=weight, span=span, triggers=("a | b", "\\", "c,d"), reason=reason))
    text = write(Composition(prompt="a fox", choices=tuple(choices)), "csv").text
    for row in list(csv.reader(io.StringIO(text)))[1:]:
        for place, cell in enumerate(row):
            assert place == 2 or not cell.lstrip().startswith(("=", "+", "-", "@"))
    back = read(text).adapters
    assert [one.weight for one in back] == [one.weight for one in choices]
    for one, was in zip(back, choices, strict=True):
        assert one.hashes == hashes
        assert (one.model_id, one.version_id) == (was.adapter.model_id, 7)
        assert one.triggers == ("a | b", "\\", "c,d")


@settings(max_examples=60, deadline=None)
@given(prompt=PROMPTS, laid=st.lists(st.tuples(NAMES, WEIGHTS), max_size=4))
def test_our_own_json_comes_back_whole(prompt: str, laid: list[tuple[str, float]]) -> None:
    composition = Composition(
        prompt=prompt,
        choices=tuple(
            choice(n, name, weight, version_id=n, hashes=Hashes(autov3="ab" * 6))
            for n, (name, weight) in enumerate(laid)
        ),
    )
    back = read(write(composition, "json").text).composition
    assert back is not None
    assert [one.weight for one in back.choices] == [one.weight for one in composition.choices]
    clean = [one.adapter.path.encode("utf-8", "replace").decode() for one in composition.choices if one.adapter.path]
    assert [one.adapter.path for one in back.choices] == clean


@settings(max_examples=40, deadline=None)
@given(laid=st.lists(st.tuples(NAMES, WEIGHTS), max_size=4))
def test_a_recipe_names_by_hash_whatever_the_file_is_called(laid: list[tuple[str, float]]) -> None:
    choices = [
        choice(n, f"{name}.safetensors", weight, version_id=n + 1, hashes=Hashes(sha256=f"{n + 1:064x}"))
        for n, (name, weight) in enumerate(laid)
    ]
    composition = Composition(prompt="a fox", choices=tuple(choices))
    back = read(write(composition, "lora-manager").text)
    assert back.form == "lora-manager"
    assert [(one.hashes.sha256, one.version_id, one.weight) for one in back.adapters] == [
        (one.adapter.hashes.sha256, one.adapter.version_id, one.weight) for one in choices
    ]


def test_air_names_come_back() -> None:
    records = [
        AdapterRecord(source="civitai", key=str(n), title="x", model_id=n, version_id=n + 5, family=family)
        for n, family in enumerate(("sd1", "pony", "flux1"), 1)
    ]
    written = write(
        Composition(prompt="x", choices=tuple(Choice(adapter=r, weight=0.5, span="x") for r in records)), "air"
    )
    assert [(one.model_id, one.version_id) for one in read(written.text).adapters] == [(1, 6), (2, 7), (3, 8)]
    assert any("weights" in note for note in written.notes)


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_writes_nothing_chosen_and_the_same_twice(form: str) -> None:
    written = write(Composition(prompt="a fox"), form)
    assert written == write(Composition(prompt="a fox"), form)
    if written.text.strip() not in ("", "{}"):
        assert read(written.text).adapters == ()


@pytest.mark.parametrize("form", FORMATS)
def test_what_has_no_name_is_noted(form: str) -> None:
    nameless = Choice(adapter=AdapterRecord(source="civitai", key="1", title="Nameless"), weight=1, span="fox")
    written = write(Composition(prompt="a fox", choices=(nameless,)), form)
    assert form == "json" or any("'Nameless'" in note for note in written.notes)
    json.dumps(written.notes)


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(InputError, match="there is no form 'word'; there are a1111, "):
        write(Composition(prompt="x"), "word")
    with pytest.raises(InputError, match="only comfyui"):
        write(Composition(prompt="x"), "csv", base={})
    for weight in (float("nan"), float("inf")):
        with pytest.raises(InputError, match="must be a finite number"):
            write(composed("x", [("fox", weight)]), "json")
