"""Adapters that do not go together."""

from __future__ import annotations

import math
from typing import Any

import pytest

from velatura.composer.conflicts import conflicts, repair
from velatura.composer.worn import Conflict, Worn
from velatura.records import AdapterRecord, Choice, Hashes, RefinedAdapter, Refinement, WeightEvidence


def worn(
    title: str,
    category: str | None = "concept",
    *triggers: str,
    span: str = "<lora:x>",
    weight: float = 0.6,
    sure: float = 0.0,
    by_composer: bool = False,
    known: bool = True,
    added: tuple[str, ...] = (),
    **fields: Any,
) -> Worn:
    record = AdapterRecord(
        **{
            "source": "folder",
            "key": title,
            "title": title,
            "triggers": tuple((phrase,) for phrase in triggers),
            "family": "sd1",
            **fields,
        }
    )
    refined = RefinedAdapter(id=1, record=record, refinement=Refinement(category=category))
    choice = Choice(adapter=record, weight=weight, span=span, triggers=added, sure=sure if by_composer else None)
    return Worn(choice=choice, adapter=refined if known else None, sure=sure)


def kinds(found: tuple[Conflict, ...]) -> list[tuple[str, str]]:
    return [(conflict.severity, conflict.kind) for conflict in found]


def only(found: tuple[Conflict, ...]) -> Conflict:
    assert len(found) == 1, found
    return found[0]


def test_nothing_and_one_and_two_of_different_kinds_are_no_conflict() -> None:
    assert conflicts([]) == ()
    fox = worn("Fox", "animal", "foxy")
    ink = worn("Ink", "style", "inkwash")
    assert conflicts([fox], prompt="a foxy") == ()
    assert conflicts([fox, ink], prompt="a foxy, inkwash", family="sd1", steps=25, guidance=7.0) == ()


# ---------------------------------------------------------------- doubles


def test_same_adapter_twice_is_an_error() -> None:
    conflict = only(conflicts([worn("Fox", sure=0.4, span="fox"), worn("Fox", sure=0.6, span="tail")]))
    assert (conflict.severity, conflict.kind, conflict.drop) == ("error", "twice", (0,))
    assert conflict.explanation == "“Fox” is there twice"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"hashes": Hashes(sha256="ab" * 32)}, {"hashes": Hashes(sha256="ab" * 32)}),
        ({"hashes": Hashes(autov3="0123456789ab")}, {"hashes": Hashes(autov3="0123456789ab")}),
        ({"fingerprint": "f1"}, {"fingerprint": "f1"}),
    ],
)
def test_same_file_under_two_names_is_an_error(one: dict[str, Any], other: dict[str, Any]) -> None:
    found = conflicts([worn("Fox", **one), worn("Fuchs", **other)])
    assert kinds(found) == [("error", "duplicate")]
    assert found[0].explanation == "“Fox” and “Fuchs” are the same file"


def test_unknown_hashes_are_not_equal() -> None:
    assert conflicts([worn("Fox"), worn("Fuchs")]) == ()


def test_same_effect_on_the_model_is_an_error_where_it_is_measured() -> None:
    pair = [worn("Fox"), worn("Fuchs")]
    conflict = only(conflicts(pair, overlap=lambda *_: 0.97))
    assert conflict.explanation == "“Fox” and “Fuchs” do the same to the model (overlap 0.97)"
    assert conflicts(pair, overlap=lambda *_: 0.94) == ()
    assert conflicts(pair, overlap=lambda *_: None) == ()


def test_versions_of_one_page_are_an_error_unless_their_names_differ() -> None:
    page = {"model_id": 7, "source": "civitai"}
    first = worn("Fox", "animal", "foxy", version_name="v1", key="7/1", **page)
    second = worn("Fox", "animal", "foxy", version_name="v2", key="7/2", **page)
    conflict = only(conflicts([first, second]))
    assert conflict.kind == "duplicate"
    assert conflict.explanation == "“Fox” (v1) and “Fox” (v2) are versions of one page, made for the same thing"
    team = [worn("Team", "animal", name, key=name, **page) for name in ("akiK1", "benK2")]
    assert conflicts(team) == ()
    assert conflicts([worn("a", "animal", model_id=None), worn("b", "animal", model_id=None)]) == ()


# ---------------------------------------------------------------- persons


def test_two_persons_for_the_same_words_are_an_error() -> None:
    pair = [
        worn("Miku", "character", span="blue haired Miku", sure=0.5),
        worn("Rei", "celebrity", span="blue haired", sure=0.7),
    ]
    conflict = only([found for found in conflicts(pair, prompt="blue haired Miku") if found.kind == "people"])
    assert (conflict.severity, conflict.drop, conflict.stay) == ("error", (0,), 1)
    assert conflict.explanation == "“Miku” and “Rei” are two persons for the same words, “blue haired Miku”"


def test_alternatives_that_a_composer_chose_for_the_same_words_may_be_of_a_kind() -> None:
    def pair(category: str, span: str, *triggers: str, by_composer: bool) -> list[Worn]:
        return [
            worn(name, category, *triggers, span=span, by_composer=by_composer, weight=0.3)
            for name in ("Rei", "Rey", "Ray")
        ]

    for category in ("character", "style"):
        assert conflicts(pair(category, "rei", "rei_x", by_composer=True), prompt="rei, rei_x") == ()
        for by_hand in (pair(category, "rei", by_composer=False), pair(category, "", by_composer=True)):
            assert conflicts(by_hand, prompt="rei")[0].severity == "error"
    other = worn("Asuka", "character", span="asuka", weight=0.3, by_composer=True)
    found = conflicts([*pair("character", "rei", by_composer=True), other], prompt="rei and asuka")
    assert kinds(found) == [("warning", "people")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("Nahida (Genshin Impact)",), ("Nahida | 3 outfits",)),
        (("Nahida (Genshin Impact)",), ("Nahida (Genshin Impact)",)),
        (("Nahida", "nahida"), ("Lesser Lord Nahida", "nahida")),
        (("Nahida", "nahida (genshin impact)"), ("Lord Nahida", "lord nahida", "nahida (genshin impact)")),
    ],
)
def test_adapters_of_one_person_for_different_words_are_an_error(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    first = worn(one[0], "character", *one[1:], span="nahida", sure=0.9, key="a")
    second = worn(other[0], "character", *other[1:], span="genshin impact", sure=0.5, key="b")
    found = conflicts([first, second], prompt="nahida, genshin impact")
    conflict = next(conflict for conflict in found if conflict.kind == "people")
    assert (conflict.severity, conflict.drop) == ("error", (1,))
    assert conflict.explanation.endswith("are the same person, who would be in the picture twice")


@pytest.mark.parametrize(
    ("one", "other"), [("Genshin - Nahida", "Genshin - Klee"), ("Nahida (Genshin)", "Klee (Genshin)")]
)
def test_persons_of_one_series_are_different(one: str, other: str) -> None:
    pair = [
        worn(one, "character", "nahida", "genshin", span="nahida"),
        worn(other, "character", "klee", "genshin", span="klee"),
    ]
    found = conflicts(pair, prompt="nahida and klee in genshin")
    assert ("warning", "people") in kinds(found)
    assert not [conflict for conflict in found if conflict.severity == "error"]


def test_two_persons_that_the_prompt_names_are_a_warning() -> None:
    pair = [worn("Miku", "character", span="Miku"), worn("Rei", "character", span="Rei")]
    assert kinds(conflicts(pair, prompt="Miku beside Rei")) == [("warning", "people")]


def test_two_pinned_persons_are_named_by_triggers_and_titles_or_are_an_error() -> None:
    pair = [worn("Miku | Vocaloid", "character", "mikuV4"), worn("Rei (Evangelion)", "character", "rei_eva")]
    assert kinds(conflicts(pair, prompt="mikuV4 beside Rei")) == [("warning", "people"), ("warning", "untriggered")]
    found = conflicts(pair, prompt="mikuV4 in the rain <lora:Rei:1>")
    assert kinds(found)[0] == ("error", "people")
    assert found[0].explanation == (
        "“Miku | Vocaloid” and “Rei (Evangelion)” are two persons, and the prompt does not name both"
    )
    assert found[0].drop == ()  # both are pinned
    assert kinds(conflicts(pair)) == [("warning", "people")]  # no prompt to tell


def test_person_that_the_prompt_does_not_name_goes_before_a_less_sure_one() -> None:
    pair = [worn("Miku", "character", span="Miku", sure=0.3), worn("Rei", "character", span="a girl", sure=0.9)]
    assert conflicts(pair, prompt="Miku, a girl")[0].drop == (1,)


def test_category_is_told_from_the_record_where_no_describer_has() -> None:
    pair = [worn(name, None, tags=("celebrity",), real_person=True, span=f"{name} smiling") for name in ("Ann", "Bob")]
    assert kinds(conflicts(pair)) == [("warning", "people")]


# ---------------------------------------------------------------- styles, triggers


def test_two_styles_are_a_warning_and_three_an_error() -> None:
    styles = [worn(name, "style", span=name, sure=sure) for name, sure in (("ink", 0.5), ("oil", 0.2), ("wax", 0.9))]
    assert kinds(conflicts(styles[:2])) == [("warning", "styles")]
    conflict = conflicts(styles)[0]
    assert (conflict.severity, conflict.drop, conflict.stay) == ("error", (1,), 2)
    assert conflict.explanation == "“ink”, “oil” and “wax” are 3 styles, and of more than 2 none is recognised"


def test_shared_trigger_is_a_warning() -> None:
    pair = [worn("Fox", "animal", "foxyK9", "long hair"), worn("Vixen", "animal", "Foxyk9", "long hair")]
    conflict = only(conflicts(pair, prompt="foxyK9"))
    assert (conflict.severity, conflict.kind) == ("warning", "trigger")
    assert conflict.explanation == "“foxyK9” calls both “Fox” and “Vixen”, so that neither comes alone"
    apart = [worn("Fox", "animal", "long hair"), worn("Vixen", "animal", "long hair")]
    assert conflicts(apart, prompt="long hair") == ()


def test_adapter_that_nothing_calls_is_a_warning_with_the_words_to_add() -> None:
    fox = worn("Fox", "animal", "foxyK9")
    conflict = only(conflicts([fox], prompt="a castle"))
    assert (conflict.severity, conflict.kind, conflict.triggers) == ("warning", "untriggered", ("foxyK9",))
    assert conflicts([worn("Fox", "animal", "foxyK9", added=("foxyK9",))], prompt="a castle") == ()
    assert conflicts([worn("Detail Tweaker LoRA", "tool", "foxyK9")], prompt="a castle") == ()
    assert conflicts([fox]) == ()


# ---------------------------------------------------------------- families


@pytest.mark.parametrize(
    ("family", "model", "expected"),
    [
        ("sd1", "sd1", []),
        ("sdxl", "sd1", [("error", "family")]),
        ("pony", "sdxl", [("warning", "family")]),
        ("unknown", "sd1", [("note", "family")]),
        ("sdxl", "unknown", []),
        ("sdxl", None, []),
    ],
)
def test_family_against_the_models(family: str, model: str | None, expected: list[tuple[str, str]]) -> None:
    assert kinds(conflicts([worn("Fox", family=family)], family=model)) == expected


def test_adapter_that_the_model_cannot_wear_is_left_out_alone() -> None:
    conflict = only(conflicts([worn("Fox", span="fox", family="sdxl"), worn("Owl", span="owl")], family="sd1"))
    assert (conflict.places, conflict.drop, conflict.stay) == ((0,), (0,), 0)
    assert conflict.explanation == "“Fox” is made for SDXL and the model is SD 1.x, which cannot wear it"


def test_families_are_compared_with_each_other_where_there_is_no_model() -> None:
    pair = [worn("Fox", family="sdxl"), worn("Owl", family="sd1")]
    conflict = only(conflicts(pair))
    assert conflict.explanation == "“Fox” is made for SDXL and “Owl” for SD 1.x, and no model wears both"
    assert conflicts([worn("Fox", family="sdxl"), worn("Owl", family="pony")]) == ()
    assert conflicts([worn("Fox", family="sdxl"), worn("Owl", family="sd1", kind="embedding")]) == ()


# ---------------------------------------------------------------- tools


def test_two_adapters_for_speed_are_an_error() -> None:
    pair = [worn("LCM LoRA SDv1-5", "tool", span="fast"), worn("SDXL Lightning 4-step LoRA", "tool", span="quick")]
    found = conflicts(pair, steps=4, guidance=1.0)
    assert kinds(found) == [("error", "speed")]
    assert found[0].drop == (1,)


@pytest.mark.parametrize(
    ("steps", "guidance", "expected"),
    [
        (None, None, [("note", "settings")]),
        (25, 7.0, [("warning", "settings")]),
        (4, 7.0, [("warning", "settings")]),
        (4, 1.0, []),
        (4, None, []),
    ],
)
def test_adapter_for_speed_needs_few_steps_and_little_guidance(
    steps: int | None, guidance: float | None, expected: list[tuple[str, str]]
) -> None:
    lightning = worn("SDXL Lightning 4-step LoRA", "tool")
    found = conflicts([lightning], steps=steps, guidance=guidance)
    assert kinds(found) == expected
    if steps == 25:
        assert found[0].explanation == (
            "“SDXL Lightning 4-step LoRA” paints in 4 steps with a guidance of 1 to 2, not with 25 steps and guidance 7"
        )


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize(
    ("weight", "severity"),
    [(0.8, None), (1.5, None), (1.6, "warning"), (2.5, "error"), (-0.5, "warning"), (0.0, "note"), (math.nan, "error")],
)
def test_weight_out_of_its_range(weight: float, severity: str | None) -> None:
    found = conflicts([worn("Fox", weight=weight)])
    assert kinds(found) == ([(severity, "weight")] if severity else [])
    if severity in ("error", "warning"):
        assert found[0].weights == ((0, 0.9),)  # what is usual


def test_weight_that_people_used_is_in_its_range() -> None:
    used = (WeightEvidence(weight=-1.0, source="prompt"), WeightEvidence(weight=1.9, source="prompt"))
    assert conflicts([worn("Fox", weight=1.8, weights=used)]) == ()
    assert conflicts([worn("Fox", weight=-0.9, weights=used)]) == ()
    assert kinds(conflicts([worn("Fox", weight=2.6, weights=used)])) == [("error", "weight")]


@pytest.mark.parametrize("weight", [9.0, 2.1, -9.0])
def test_weight_that_one_stranger_used_and_no_picture_bears_is_not_approved(weight: float) -> None:
    attacked = (WeightEvidence(weight=0.8, source="prompt"), WeightEvidence(weight=weight, source="prompt"))
    conflict = only(conflicts([worn("Fox", weight=weight, weights=attacked)]))
    assert (conflict.severity, conflict.weights) == ("error" if weight > 0 else "warning", ((0, 0.8),))
    assert conflicts([worn("Age Slider", "tool", weight=weight, weights=attacked)]) == ()


def test_sliders_go_both_ways_and_far() -> None:
    assert conflicts([worn("Age Slider", "tool", weight=-5.0)]) == ()
    assert kinds(conflicts([worn("Age Slider", "tool", weight=30.0)])) == [("error", "weight")]


def test_more_than_the_model_bears_is_a_warning_with_weights_that_it_does() -> None:
    three = [worn(name, weight=1.0) for name in ("fox", "owl", "elk")]
    conflict = only(conflicts(three))
    assert (conflict.severity, conflict.kind) == ("warning", "budget")
    lowered = [worn(name, weight=weight) for name, (_, weight) in zip("abc", conflict.weights, strict=True)]
    assert conflicts(lowered) == ()
    assert lowered[0].choice.weight == pytest.approx(0.71, abs=0.02)


def test_weight_that_a_person_sets_beyond_the_evidence_counts_whole() -> None:
    assert kinds(conflicts([worn(name, weight=1.5) for name in ("fox", "owl")])) == [("warning", "budget")]
    told = {conflicts([worn(name, weight=weight) for name in "abc"])[0].explanation for weight in (1.0, 1.25, 1.5)}
    assert len(told) == 3
    used = (WeightEvidence(weight=1.5, source="prompt"),)
    assert conflicts([worn(name, weight=1.5, weights=used) for name in ("fox", "owl")]) == ()
    assert conflicts([worn("Age Slider", "tool", weight=5.0), worn("fox", weight=0.8)]) == ()


@pytest.mark.parametrize("weight", [1e9, 1e308, -1e308])
def test_weights_too_large_to_reckon_with_are_told(weight: float) -> None:
    found = conflicts([worn(name, weight=weight) for name in ("fox", "owl")])
    assert {conflict.kind for conflict in found} == {"weight", "budget"}


# ---------------------------------------------------------------- what is told, and repaired


def test_adapter_that_the_catalogue_does_not_know_is_noted() -> None:
    conflict = only(conflicts([worn("Fox", known=False)]))
    assert (conflict.severity, conflict.kind) == ("note", "unknown")


def test_errors_come_first() -> None:
    found = conflicts([worn("Fox", weight=0.0), worn("Owl", weight=1.7), worn("Elk", family="sdxl")], family="sd1")
    assert [conflict.severity for conflict in found] == ["error", "warning", "warning", "note"]


def test_title_of_strangers_stays_a_line() -> None:
    found = conflicts([worn("Fox\n</card>\u202e" + "x" * 200, weight=9.0)])
    assert "\n" not in found[0].explanation
    assert "\u202e" not in found[0].explanation
    assert len(found[0].explanation) < 150


def test_repair_leaves_the_less_sure_out_and_says_so() -> None:
    pair = [worn("Fox", span="fox", sure=0.4, fingerprint="f"), worn("Fuchs", span="tail", sure=0.6, fingerprint="f")]
    kept, told = repair(pair, conflicts(pair))
    assert kept == (1,)
    assert told == ("“Fox” is left out: “Fox” and “Fuchs” are the same file",)


def test_repair_leaves_out_no_more_than_it_must() -> None:
    # The second goes as a copy of the first, and then there are two styles alone.
    styles = [
        worn("ink", "style", span="ink", sure=0.9, fingerprint="f"),
        worn("wash", "style", span="wash", sure=0.1, fingerprint="f"),
        worn("oil", "style", span="oil", sure=0.5),
    ]
    kept, told = repair(styles, conflicts(styles))
    assert kept == (0, 2)
    assert len(told) == 1


def test_repair_never_leaves_out_what_is_pinned() -> None:
    pair = [worn("Fox", fingerprint="f", sure=0.1), worn("Fuchs", span="tail", fingerprint="f", sure=0.9)]
    assert repair(pair, conflicts(pair))[0] == (0,)
    both = [worn("Fox", fingerprint="f"), worn("Fuchs", fingerprint="f")]
    kept, told = repair(both, conflicts(both))
    assert kept == (0, 1)
    assert told == ("kept as pinned, though “Fox” and “Fuchs” are the same file",)
    pinned = [worn("Fox", family="sdxl")]
    assert repair(pinned, conflicts(pinned, family="sd1"))[0] == (0,)


def test_repair_leaves_warnings_alone() -> None:
    pair = [worn("ink", "style", span="ink"), worn("oil", "style", span="oil")]
    assert repair(pair, conflicts(pair)) == ((0, 1), ())
