"""Compositions over a catalogue: made, weighed anew under a mask, judged, and tabulated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from offered import offered
from shelf import Given, adapter

from velatura.composer.budget import Load, bound_of, total_of
from velatura.composer.masks import masks
from velatura.composing import Composing
from velatura.db import Store, open_store
from velatura.errors import InputError
from velatura.plain import loads, to_plain
from velatura.records import (
    BlockNorm,
    Candidate,
    Choice,
    Composition,
    RefinedAdapter,
    WeightEvidence,
    WeightMeasure,
)
from velatura.settings import default_settings


def used(weight: float) -> dict[str, Any]:
    return {"weights": (WeightEvidence(weight=weight, source="prompt"),)}


def file(key: str, **fields: Any) -> dict[str, Any]:
    return {"file_name": f"{key}.safetensors", "path": f"/loras/{key}.safetensors", **fields}


RECORDS = [
    adapter("fox", title="Red Fox", **file("fox", triggers=(("rfox", "bushy tail"),), **used(0.8))),
    adapter("fox2", title="Fox", **file("fox2", **used(0.6))),
    adapter("ink", title="Ink", **file("ink", tags=("style",), **used(1.0))),
    adapter("snow", title="Snow", **file("snow", **used(0.9))),
    adapter("old", title="Harbour", **file("old", model_id=7, version_id=1)),
    adapter("new", title="Harbour", **file("new", model_id=7, version_id=2)),
    adapter("xl", title="Moon", family="sdxl", **file("xl")),
    *(adapter(f"other{number}", **file(f"other{number}")) for number in range(8)),
]
PROMPT = "a red fox in snow, ink"


def no_model() -> NoReturn:
    raise InputError("no language model is named")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "c.db") as store:
        store.sync(Given(RECORDS))
        yield store


def composing(store: Store, **settings: Any) -> Composing:
    return Composing(store, default_settings(**settings), no_model)


def number(store: Store, key: str) -> int:
    return store.find(f"{key}.safetensors")[0]


def found(store: Store, prompt: str, **scores: float) -> list[Candidate]:
    """Candidates for a prompt, as the catalogue knows them."""
    candidates = []
    for key, score in scores.items():
        known = store.adapter(number(store, key))
        record = known.record
        named = offered(prompt, record.title, key=key, triggers=record.triggers, tags=record.tags)
        candidates.append(Candidate(adapter=known, score=score, matched=named.matched))
    return candidates


def compose(store: Store, prompt: str = PROMPT, **scores: float) -> Composition:
    allowed = range(1, 100)
    return composing(store).compose(prompt, found(store, prompt, **scores), allowed)


def weights(composition: Composition) -> dict[str, float]:
    return {choice.adapter.key: choice.weight for choice in composition.choices}


# ---------------------------------------------------------------- composing


def test_composition_is_made_as_the_settings_want(store: Store) -> None:
    scores = {"fox": 0.8, "ink": 0.7, "snow": 0.6}
    done = compose(store, **scores)
    assert done.composer == "builtin 2"
    assert done.tasks == ("red fox", "snow", "ink")
    assert done.painted_prompt == f"{PROMPT}, rfox"
    candidates = found(store, PROMPT, **scores)
    plain = composing(store, most=2, add_triggers=False, weighing="constant", emphasis=1.2, debias="dim")
    other = plain.compose(PROMPT, candidates, range(1, 100))
    assert weights(other) == {"fox": 0.8, "ink": 0.8}
    assert other.painted_prompt == "a red fox in (snow:1.2), ink, dim"


def test_pinned_adapter_stays_is_not_doubled_and_counts(store: Store) -> None:
    prompt = f"{PROMPT} <lora:fox:1.7>"
    allowed = range(1, 100)
    candidates = found(store, prompt, fox=0.9, fox2=0.8, ink=0.7, snow=0.6)
    done = composing(store, most=3).compose(prompt, candidates, allowed)
    assert [choice.adapter.key for choice in done.choices] == ["fox", "ink", "snow"]
    assert done.choices[0].weight == 1.7
    assert done.choices[0].reason == "pinned in the prompt"
    for choice, before in zip(done.choices[1:], (1.0, 0.9), strict=True):
        assert choice.weight < before == choice.advised
        assert f"lowered from {before:g} since together they come to" in choice.reason
    assert len(composing(store, most=2).compose(prompt, candidates, allowed).choices) == 2
    assert composing(store, most=0).compose(prompt, candidates, allowed).choices[0].weight == 1.7


def test_other_version_of_a_pinned_adapter_is_no_candidate(store: Store) -> None:
    prompt = "a harbour <lora:old:0.5>"
    done = composing(store).compose(prompt, found(store, prompt, new=0.9), range(1, 100))
    assert weights(done) == {"old": 0.5}
    copy = replace(found(store, prompt, snow=0.9)[0], alternatives=(number(store, "old"),))
    assert weights(composing(store).compose(prompt, [copy], range(1, 100))) == {"old": 0.5}


def test_pin_that_is_kept_out_or_unknown_is_refused_and_the_rest_goes_on(store: Store) -> None:
    prompt = f"{PROMPT} <lora:xl:1> <lora:nobody:1>"
    allowed = set(range(1, 100)) - {number(store, "xl")}
    done = composing(store).compose(prompt, found(store, prompt, ink=0.9), allowed)
    assert weights(done) == {"ink": 1.0}
    assert {refusal.adapter.title: refusal.reason for refusal in done.refused} == {
        "Moon": "pinned in the prompt, and kept out by the filter",
        "nobody": "pinned in the prompt, and no file in the catalogue is called so",
    }


def test_family_of_the_model_counts(store: Store) -> None:
    candidates = found(store, "moon", xl=0.9)
    assert composing(store).compose("moon", candidates, range(1, 100), family="sd1").choices == ()
    assert len(composing(store).compose("moon", candidates, range(1, 100), family="pony").choices) == 1


def test_composer_reads_as_many_candidates_as_it_needs(store: Store) -> None:
    assert composing(store).reads == 50
    assert composing(store, candidates=7).reads == 7
    assert composing(store, composer="stylus").reads == 150
    assert composing(store, composer="stylus", candidates=200).reads == 200


def test_composer_without_its_language_model_is_told(store: Store) -> None:
    with pytest.raises(InputError, match="no language model"):
        composing(store, composer="llm").compose("a fox", [], ())


def test_in_a_small_catalogue_the_nearest_is_not_laid_on_for_that(store: Store) -> None:
    shown = replace(offered("a street", "Snow", score=0.3, near=0.7), adapter=store.adapter(number(store, "snow")))
    assert composing(store).compose("a street", [shown], range(1, 100)).choices == ()


# ---------------------------------------------------------------- masks


def test_alternative_that_a_mask_leaves_on_has_the_full_weight(store: Store) -> None:
    done = compose(store, fox=0.8, fox2=0.6)
    assert weights(done) == {"fox": 0.46, "fox2": 0.26}
    assert weights(composing(store).masked(done, (True, False))) == {"fox": 0.8, "fox2": 0.26}
    alone = composing(store).masked(done, (False, True))
    assert weights(alone) == {"fox": 0.46, "fox2": 0.6}
    assert alone.choices[1].advised is None
    assert alone.choices[1].reason == done.choices[1].reason
    assert composing(store).masked(done, (True, True)) == done
    assert composing(store).masked(done, (False, False)) == done


def test_what_was_lowered_for_others_is_not_where_a_mask_takes_them_off(store: Store) -> None:
    prompt = f"{PROMPT} <lora:other1:1>"
    done = composing(store).compose(prompt, found(store, prompt, ink=0.9, snow=0.8), range(1, 100))
    assert all(choice.advised is not None for choice in done.choices[1:])
    some = composing(store).masked(done, (True, True, False))
    assert some.choices[0] == done.choices[0]
    assert done.choices[1].weight < some.choices[1].weight == 1.0
    assert some.choices[1].advised is None


def test_weight_that_a_person_edits_in_what_was_composed_stays_under_every_mask(store: Store) -> None:
    done = compose(store, fox=0.8, fox2=0.6)
    mine = replace(done, choices=(replace(done.choices[0], weight=0.7), done.choices[1]))
    assert weights(composing(store).masked(mine, (True, False))) == {"fox": 0.7, "fox2": 0.26}
    assert weights(composing(store).masked(mine, (False, True))) == {"fox": 0.7, "fox2": 0.6}
    assert weights(composing(store).masked(mine, (True, True)))["fox"] == 0.7


@pytest.mark.parametrize("prompt", [PROMPT, f"{PROMPT} <lora:other1:1.4>"])
def test_masks_and_their_weights_are_the_same_for_what_was_kept_in_a_file(store: Store, prompt: str) -> None:
    candidates = found(store, prompt, fox=0.9, fox2=0.8, ink=0.7, snow=0.6)
    done = composing(store, most=5).compose(prompt, candidates, range(1, 100))
    kept = loads(Composition, json.dumps(to_plain(done)), "a file")
    assert kept.choices[-1].adapter != done.choices[-1].adapter  # it holds them in brief
    drawn = composing(store).masks(done, 12, 5)
    assert composing(store).masks(kept, 12, 5) == drawn
    assert all(drawn[0])
    for mask in drawn:
        assert weights(composing(store).masked(kept, mask)) == weights(composing(store).masked(done, mask))


def test_adapters_of_different_kinds_for_the_same_words_share_nothing(store: Store) -> None:
    choices = tuple(
        Choice(adapter=record, weight=0.7, span="fox", sure=sure)
        for record, sure in zip(RECORDS[:3], (0.6, 0.2, 0.1), strict=True)
    )
    kept = composing(store).masks(Composition(prompt="a fox", choices=choices), 8, 0)
    # None, one or both of the foxes, and the style on or off.
    assert len(set(kept)) == 8


def test_every_mask_gives_weights_that_the_model_bears(store: Store) -> None:
    prompt = f"{PROMPT} <lora:other1:0.9>"
    done = composing(store, most=5).compose(
        prompt, found(store, prompt, fox=0.9, fox2=0.8, ink=0.7, snow=0.6), range(1, 100)
    )
    drawn = masks(done.choices, 16, 0, all_first=True)
    assert len(set(drawn)) == 16
    for mask in drawn:
        laid = composing(store).masked(done, mask)
        on = replace(done, choices=tuple(choice for choice, is_on in zip(laid.choices, mask, strict=True) if is_on))
        assert on.choices[0].weight == 0.9
        # Weights have two places, so that together they may be a hair more.
        assert total_of(on.choices, [Load()] * len(on.choices)) <= bound_of(on.choices) + 0.02


def test_stylus_rule_divides_by_what_a_mask_leaves_on(store: Store) -> None:
    stylus = composing(store, weighing="stylus")
    done = stylus.compose(PROMPT, found(store, PROMPT, fox=0.8, fox2=0.6), range(1, 100))
    assert weights(done) == {"fox": 0.4, "fox2": 0.3}
    assert weights(stylus.masked(done, (True, False))) == {"fox": 0.8, "fox2": 0.3}


def test_mask_keeps_a_weight_that_a_person_set(store: Store) -> None:
    mine = Choice(adapter=adapter("stranger", **used(0.5)), weight=0.2, span="fox", sure=0.5)
    done = Composition(prompt="a fox", choices=(mine, replace(mine, adapter=adapter("another", **used(0.7)))))
    assert weights(composing(store).masked(done, (True, False))) == {"stranger": 0.2, "another": 0.2}


def test_weights_of_another_tool_stay_whatever_a_mask_takes_off(store: Store) -> None:
    taken = tuple(Choice(adapter=record, weight=0.3, span="") for record in RECORDS[:3])
    done = Composition(prompt="a fox", choices=taken, composer="imported from a1111")
    assert composing(store).masked(done, (True, False, True)) == done


# ---------------------------------------------------------------- what is measured


def measure(store: Store, **sketches: list[float]) -> None:
    """Keep measures of files: eight usual ones of norm 1, and these, as strong as their sketches are long."""
    rows = []
    for key, sketch in {**{f"other{n}": [0.0, 0.0, 0.0, 1.0] for n in range(8)}, **sketches}.items():
        norm = float(np.linalg.norm(sketch))
        blocks = (BlockNorm(block="mid", norm=norm, values=10),)
        known = WeightMeasure(method="1", blocks=blocks, sketch=tuple(sketch))
        rows.append((number(store, key), "1-1", known))
    store.put_measures(rows)


def test_files_that_do_the_same_are_laid_on_once(store: Store) -> None:
    measure(store, fox=[1.0, 0.0, 0.0, 0.0], fox2=[1.0, 0.02, 0.0, 0.0])
    done = compose(store, fox=0.8, fox2=0.6)
    assert weights(done) == {"fox": 0.8}
    assert "do the same to the model (overlap 1.00)" in done.refused[0].reason


def test_a_method_that_knows_nothing_of_conflicts_keeps_what_a_model_can_lay_on(store: Store) -> None:
    measure(store, fox=[1.0, 0.0, 0.0, 0.0], fox2=[1.0, 0.02, 0.0, 0.0])
    plain = Composing(store, default_settings(), no_model, repairs=False)
    done = plain.compose(PROMPT, found(store, PROMPT, fox=0.8, fox2=0.6), range(1, 100))
    assert set(weights(done)) == {"fox", "fox2"}
    assert done.notes == ()
    assert plain.compose("moon", found(store, "moon", xl=0.9), range(1, 100), family="sd1").choices == ()


def test_strong_files_are_lowered_more_than_weak_ones(store: Store) -> None:
    plain = weights(compose(store, ink=0.8, snow=0.6))
    assert plain == {"ink": 1.0, "snow": 0.9}
    measure(store, ink=[2.0, 0.0, 0.0, 0.0], snow=[0.0, 2.0, 0.0, 0.0])
    strong = weights(compose(store, ink=0.8, snow=0.6))
    assert strong["ink"] < 0.7


def test_table_tells_weights_before_and_after_and_shares(store: Store) -> None:
    measure(store, ink=[2.0, 0.0, 0.0, 0.0])
    done = compose(store, ink=0.8, snow=0.6)
    ink, snow = composing(store).weights(done)
    assert (ink.title, ink.advised, ink.is_measured, ink.strength) == ("Ink", 1.0, True, pytest.approx(2.0))
    assert (snow.title, snow.advised, snow.is_measured, snow.strength) == ("Snow", 0.9, False, 1.0)
    assert (ink.laid, snow.laid) == tuple(weights(done).values())
    assert ink.share + snow.share == pytest.approx(1.0)
    assert ink.share > snow.share
    assert composing(store).weights(Composition(prompt="a fox")) == ()


def test_sketches_of_two_methods_are_not_compared(store: Store) -> None:
    measure(store, fox=[1.0, 0.0, 0.0, 0.0])
    blocks = (BlockNorm(block="mid", norm=1.0, values=10),)
    other = WeightMeasure(method="2", blocks=blocks, sketch=(1.0, 0.0, 0.0, 0.0))
    store.put_measures([(number(store, "fox2"), "1-1", other)])
    assert len(compose(store, fox=0.8, fox2=0.6).choices) == 2


# ---------------------------------------------------------------- judging


def kinds(store: Store, composition: Composition, **more: Any) -> set[str]:
    return {conflict.kind for conflict in composing(store).validate(composition, **more)}


def test_sets_that_the_composer_makes_have_no_errors(store: Store) -> None:
    done = compose(store, fox=0.8, fox2=0.7, ink=0.6, snow=0.5)
    assert not [conflict for conflict in composing(store).validate(done) if conflict.severity == "error"]


def test_set_that_a_person_chose_is_judged(store: Store) -> None:
    chosen = [Choice(adapter=RECORDS[0], weight=3.0, span=""), Choice(adapter=RECORDS[6], weight=0.8, span="")]
    unknown = Choice(adapter=adapter("stranger"), weight=0.8, span="")
    done = Composition(prompt="a fox", choices=(*chosen, chosen[0], unknown))
    assert {"weight", "family", "twice", "unknown", "budget"} <= kinds(store, done)
    assert "family" in kinds(store, replace(done, choices=(chosen[1],)), family="sd1")
    assert "untriggered" not in kinds(store, replace(done, prompt="", choices=(chosen[0],)))
    assert kinds(store, Composition(prompt="a fox")) == set()


def test_overlap_that_was_measured_is_judged(store: Store) -> None:
    measure(store, fox=[1.0, 0.0, 0.0, 0.0], ink=[1.0, 0.0, 0.0, 0.0])
    both = tuple(Choice(adapter=record, weight=0.8, span="") for record in (RECORDS[0], RECORDS[2]))
    assert "duplicate" in kinds(store, Composition(prompt="a fox", choices=both))
    strangers = tuple(Choice(adapter=adapter(key), weight=0.8, span="") for key in ("x", "y"))
    assert "duplicate" not in kinds(store, Composition(prompt="a fox", choices=strangers))


def test_composition_in_brief_is_known_again(store: Store) -> None:
    """A composition read from a file holds what the file says; what the catalogue knows of it counts."""
    brief = adapter("fox", title="Red Fox")
    done = Composition(prompt="snow", choices=(Choice(adapter=brief, weight=0.8, span="snow"),))
    [conflict] = [one for one in composing(store).validate(done) if one.kind == "untriggered"]
    assert "rfox" in conflict.explanation
    assert isinstance(store.adapter(number(store, "fox")), RefinedAdapter)
