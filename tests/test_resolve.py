"""Names in prompts and in other tools' files, found in the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from offered import offered
from shelf import Given, adapter

from velatura.composer.formats.foreign import Foreign, Named
from velatura.db import Store, open_store
from velatura.records import Candidate, Choice, Composition, Hashes
from velatura.resolve import composition_of, number_of, pins, stands_for
from velatura.syntax import pinned

SHA = "ab" * 32
RECORDS = [
    adapter("loras/fox.safetensors", title="Red Fox", file_name="fox.safetensors", path="/loras/fox.safetensors"),
    adapter("a/ink.safetensors", title="Ink", file_name="ink.safetensors", path="/a/ink.safetensors"),
    adapter("b/ink.safetensors", title="Ink XL", file_name="ink.safetensors", path="/b/ink.safetensors", family="sdxl"),
    adapter("7.safetensors", title="Seven", file_name="7.safetensors", path="/loras/7.safetensors"),
    adapter("page", title="Snow", model_id=11, version_id=22, hashes=Hashes(sha256=SHA, autov2=SHA[:10])),
    adapter("second", title="Snow II", model_id=11, version_id=23),
]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "c.db") as store:
        store.sync(Given(RECORDS))
        yield store


def key_of(store: Store, number: int | None) -> str | None:
    return None if number is None else store.adapter(number).record.key


# ---------------------------------------------------------------- pins


def laid(store: Store, prompt: str, allowed: Any = range(1, 100)) -> tuple[dict[str, float], dict[str, str]]:
    choices, refused, _ = pins(store, pinned(prompt), allowed)
    assert all(store.adapter(number).record == choice.adapter for number, choice in choices.items())
    return (
        {choice.adapter.key: choice.weight for choice in choices.values()},
        {refusal.adapter.title: refusal.reason for refusal in refused},
    )


@pytest.mark.parametrize("name", ["fox", "sub/folder/fox", "loras\\fox", "FOX"])
def test_pin_is_a_files_name_whatever_its_folder(store: Store, name: str) -> None:
    assert laid(store, f"a fox <lora:{name}:0.7>") == ({"loras/fox.safetensors": 0.7}, {})


def test_pinned_number_is_a_files_name_and_never_a_catalogue_number(store: Store) -> None:
    assert laid(store, "<lora:7:1>")[0] == {"7.safetensors": 1.0}
    assert laid(store, "<lora:1:1>") == ({}, {"1": "pinned in the prompt, and no file in the catalogue is called so"})


def test_pin_keeps_its_own_words_for_a_span(store: Store) -> None:
    choices, _, notes = pins(store, pinned("<lora:sub/fox:0.7:1.2>"), range(1, 100))
    assert notes == ()
    [choice] = choices.values()
    assert (choice.span, choice.weight, choice.reason) == ("<lora:sub/fox>", 1.2, "pinned in the prompt")
    assert choice.triggers == ()


@pytest.mark.parametrize(("written", "weight"), [("1e9", 100.0), ("-1e300", -100.0), ("100", 100.0), ("-99.5", -99.5)])
def test_pin_has_no_weight_that_other_tools_do_not_take(store: Store, written: str, weight: float) -> None:
    choices, _, notes = pins(store, pinned(f"<lora:fox:{written}>"), range(1, 100))
    assert [choice.weight for choice in choices.values()] == [weight]
    told = f"“Red Fox” is pinned at {float(written):g} and laid on at {weight:g}: tools take no more"
    assert notes == ((told,) if float(written) != weight else ())


def test_of_files_of_one_name_the_allowed_one_is_taken(store: Store) -> None:
    numbers = {store.adapter(number).record.key: number for number in store.find("ink.safetensors")}
    for key, number in numbers.items():
        assert laid(store, "<lora:ink:1>", {number})[0] == {key: 1.0}


def test_pin_outside_the_filter_is_refused(store: Store) -> None:
    assert laid(store, "<lora:fox:1>", set()) == ({}, {"Red Fox": "pinned in the prompt, and kept out by the filter"})


def test_adapter_pinned_by_two_names_is_laid_on_once_with_the_first_weight(store: Store) -> None:
    assert laid(store, "<lora:fox:0.7> <lora:sub/fox:0.2> <lora:fox:0.1>")[0] == {"loras/fox.safetensors": 0.7}


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "x" * 10_000, "\ud800", "'; DROP TABLE adapter; --", "%", "…", "/"]
)
def test_hostile_name_is_refused(store: Store, name: str) -> None:
    choices, refused = laid(store, f"<lora:{name}:1>")
    assert choices == {}
    assert list(refused.values()) == ["pinned in the prompt, and no file in the catalogue is called so"]


def test_candidate_that_is_pinned_already_is_known_by_its_page_number_and_copies(store: Store) -> None:
    page, second = (store.find(title)[0] for title in ("Snow", "Snow II"))
    fixed = {page: Choice(adapter=store.adapter(page).record, weight=1.0, span="<lora:snow>")}

    def candidate(number: int, **fields: Any) -> Candidate:
        return Candidate(adapter=store.adapter(number), score=0.5, **fields)

    fox = store.find("fox.safetensors")[0]
    assert stands_for(candidate(page), fixed)
    assert stands_for(candidate(second), fixed)
    assert stands_for(candidate(fox, alternatives=(page,)), fixed)
    assert not stands_for(candidate(fox), fixed)
    # Files without a page are not all of one page.
    assert not stands_for(candidate(fox), {99: Choice(adapter=adapter("x"), weight=1.0, span="<lora:x>")})
    assert not stands_for(offered("a fox", "Fox"), {})


# ---------------------------------------------------------------- what other tools name


@pytest.mark.parametrize(
    ("named", "key"),
    [
        (Named(name="x", hashes=Hashes(sha256=SHA)), "page"),
        (Named(name="fox", hashes=Hashes(autov2=SHA[:10])), "page"),
        (Named(name="fox", hashes=Hashes(autov2="0123456789")), "loras/fox.safetensors"),
        (Named(name="x", model_id=11, version_id=23), "second"),
        (Named(name="x", version_id=22), "page"),
        (Named(name="x", version_id=2), None),
        (Named(name="x", version_id="x"), None),
        (Named(name="x", file="D:\\models\\fox.safetensors"), "loras/fox.safetensors"),
        (Named(name="fox"), "loras/fox.safetensors"),
        (Named(name="Red Fox"), "loras/fox.safetensors"),
        (Named(name="7"), "7.safetensors"),
        (Named(name="2"), None),
        (Named(name="nobody"), None),
        (Named(name=""), None),
        (Named(name="\ud800/x"), None),
    ],
)
def test_surest_name_is_followed(store: Store, named: Named, key: str | None) -> None:
    assert key_of(store, number_of(store, named)) == key


def test_composition_of_another_tool_is_of_the_catalogues_adapters(store: Store) -> None:
    named = (
        Named(name="fox", weight=0.7, clip_weight=0.5, triggers=("rfox",), span="a fox", reason="named there"),
        Named(name="nobody", weight=0.4, hashes=Hashes(autov2="0123456789"), version_id=5),
        Named(name="Red Fox", weight=0.1),
    )
    done = composition_of(
        store, Foreign(form="a1111", prompt="a fox", adapters=named, triggers=("old style",), notes=("told",))
    )
    assert done.prompt == "a fox, old style"
    assert done.composer == "imported from a1111"
    fox, nobody = done.choices
    assert fox == Choice(adapter=RECORDS[0], weight=0.7, span="a fox", triggers=("rfox",), reason="named there")
    assert (nobody.adapter.source, nobody.adapter.title, nobody.weight) == ("prompt", "nobody", 0.4)
    assert (nobody.adapter.version_id, nobody.adapter.hashes.autov2) == (5, "0123456789")
    assert done.notes == (
        "told",
        "Red Fox has 0.5 on the text encoder there; 0.7 is kept",
        "“nobody” is not in the catalogue",
        "“Red Fox” is Red Fox again, and was taken once",
    )


def test_our_own_composition_comes_back_with_what_was_told(store: Store) -> None:
    own = Composition(prompt="a fox", composer="builtin 2", notes=("first",))
    done = composition_of(store, Foreign(form="json", composition=own, notes=("second",)))
    assert done == Composition(prompt="a fox", composer="builtin 2", notes=("first", "second"))
