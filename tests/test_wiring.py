"""The parts that settings name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, NoReturn

import pytest
from chat_server import chat_server, said
from offered import offered
from shelf import Given, adapter

from velatura.composer import BuiltinComposer, LlmComposer, Manner, StylusComposer
from velatura.db import Store, open_store
from velatura.errors import InputError
from velatura.llm import LanguageModel
from velatura.playground.library import find_weights
from velatura.records import Example
from velatura.refiner.card import CardDescriber
from velatura.refiner.picture_words import PictureDescriber
from velatura.refiner.vlm import VlmDescriber
from velatura.settings import Settings, default_settings, load_settings
from velatura.wiring import describer, manner, picker


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "c.db") as store:
        store.sync(Given([adapter("fox")]))
        yield store


def model() -> LanguageModel:
    return LanguageModel("stand-in", url="http://127.0.0.1:9/v1")


def none() -> NoReturn:
    raise InputError("no language model is named")


@pytest.mark.parametrize(
    ("name", "kind"), [("builtin", BuiltinComposer), ("llm", LlmComposer), ("stylus", StylusComposer)]
)
def test_composer_is_the_one_that_is_named(name: Any, kind: type) -> None:
    assert isinstance(picker(default_settings(composer=name), model, 100), kind)


def test_built_in_composer_needs_no_language_model_and_the_others_say_so() -> None:
    assert picker(default_settings(), none, 100).name == "builtin 2"
    for name in ("llm", "stylus"):
        with pytest.raises(InputError, match="no language model"):
            picker(default_settings(composer=name), none, 100)


@pytest.mark.parametrize(
    ("settings", "many", "laid"),
    [
        ({}, 5000, 3), ({"most": 1}, 5000, 1), ({"most": 0}, 5000, 0), ({"most": 9}, 5000, 4),
        ({"most": 9, "per_task": 1}, 5000, 3), ({"least": 0.5}, 5000, 1), ({}, 20, 2),
    ],
)  # fmt: skip
def test_settings_reach_the_built_in_composer(settings: dict[str, Any], many: int, laid: int) -> None:
    prompt = "a fox, ink on paper"
    offers = [
        offered(prompt, "Fox", key="a", score=0.6),
        offered(prompt, "Fox", key="b", score=0.4),
        offered(prompt, "Sumi", near=0.9, score=0.1, description="ink", tags=("style",)),
        offered(prompt, "Old Wash Texture", near=0.9, score=0.1, description="paper"),
    ]
    assert len(picker(default_settings(**settings), none, many).pick(prompt, offers).picks) == laid


def test_paper_limits_topics_alone_and_any_other_number_is_kept() -> None:
    shown = [
        replace(one, adapter=replace(one.adapter, record=replace(one.adapter.record, examples=(Example(),) * 3)))
        for one in (offered("a fox", f"Fox {key}", key=key, score=0.5) for key in "abcd")
    ]
    answer = json.dumps({"fox": {"0": "", "1": ""}, "a": {"2": "", "3": ""}})
    for settings, laid in (({}, 4), ({"most": 1}, 1), ({"most": 9}, 4)):
        with chat_server(said(answer)) as server:
            composer = picker(
                default_settings(composer="stylus", **settings),
                partial(LanguageModel, "stand-in", url=server.url, retries=0),
                100,
            )
            assert len(composer.pick("a fox", shown).picks) == laid


def test_manner_is_what_the_settings_say() -> None:
    assert manner(default_settings()) == Manner()
    wanted = {"weighing": "stylus", "budget": False, "emphasis": 1.1, "debias": "auto", "model": "m"}
    settings = default_settings(add_triggers=False, **wanted)
    assert manner(settings) == Manner(triggers=False, **wanted)  # type: ignore[arg-type]


def test_describer_is_the_one_that_is_named(store: Store, tmp_path: Path) -> None:
    settings = default_settings(describer_model=str(tmp_path))
    assert isinstance(describer(settings, none, store), CardDescriber)
    assert isinstance(describer(settings, model, store, name="vlm"), VlmDescriber)
    assert isinstance(describer(default_settings(describer="vlm"), model, store), VlmDescriber)
    seeing = default_settings(picture_model=str(find_weights() / "evaluator"))
    assert isinstance(describer(seeing, none, store, name="pictures"), PictureDescriber)
    with pytest.raises(InputError, match=r"holds no \.safetensors weights"):  # it was asked for
        describer(settings, none, store, name="local")


def test_describer_that_cannot_be_had_is_told(store: Store) -> None:
    settings = default_settings()
    with pytest.raises(InputError, match="there is no describer 'none'; take card, pictures, vlm or local"):
        describer(default_settings(describer="none"), none, store)
    with pytest.raises(InputError, match="there is no describer 'x'"):
        describer(settings, none, store, name="x")
    with pytest.raises(InputError, match="no language model"):
        describer(settings, none, store, name="vlm")
    with pytest.raises(InputError, match="VELATURA_PICTURE_MODEL"):
        describer(settings, none, store, name="pictures")
    with pytest.raises(InputError, match="VELATURA_DESCRIBER_MODEL"):
        describer(settings, none, store, name="local")


def test_default_composer_settings_are_the_composers_own() -> None:
    settings = load_settings()
    own = BuiltinComposer()
    assert vars(picker(settings, none, 10_000)) == vars(own)


def test_settings_have_the_composer_s_own_defaults() -> None:
    own = {name: parameter.default for name, parameter in signature(BuiltinComposer).parameters.items()}
    assert {name: Settings.model_fields[name].default for name in ("most", "least", "per_task")} == {
        name: own[name] for name in ("most", "least", "per_task")
    }
