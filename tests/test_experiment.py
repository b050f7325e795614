"""Methods and experiments: every prompt by every method, from the same noise, composed and painted once."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chat_server import Answer, Script, chat_server, refused, said
from run_painter import Painter
from shelf import BagEmbedder, Given, adapter

from velatura import Velatura
from velatura.errors import InputError
from velatura.eval.former import METHODS as METHODS_FILE
from velatura.eval.former import read_methods
from velatura.eval.grid import PLANS, Plan, Variant, seed_of
from velatura.eval.manifest import prompt_id, read_manifest
from velatura.eval.records import Prompt
from velatura.experiment import COMPOSITIONS, Experiment
from velatura.methods import METHODS, Methods
from velatura.painting import Painting
from velatura.probe_rules import METHOD
from velatura.records import Example, Filter, Probe, ProbedWeight, Refinement, WeightEvidence
from velatura.refiner.embed import embed
from velatura.settings import default_settings

SHOWN = tuple(Example(image=f"{number}.png") for number in range(3))
"""Fewer pictures, and Stylus's composer is not shown an adapter."""

RECORDS = [
    adapter(
        name,
        title=title,
        path=f"/loras/{name}.safetensors",
        file_name=f"{name}.safetensors",
        triggers=((title.lower(),),),
        tags=tags,
        weights=(WeightEvidence(weight=weight, source="prompt"),),
        examples=SHOWN,
    )
    for name, title, tags, weight in (
        ("fox", "Red Fox", ("animal",), 0.9),
        ("otter", "Swimming Otter", ("animal",), 0.8),
        ("ink", "Ink Wash Style", ("style",), 0.7),
        ("neon", "Neon Style", ("style",), 1.0),
        ("snow", "Deep Snow", ("background",), 0.6),
        ("rain", "Heavy Rain", ("background",), 0.5),
    )
]
PROMPTS = [
    Prompt(id=prompt_id(text), text=text)
    for text in ("a red fox in ink wash style", "a swimming otter in heavy rain", "a bowl of soup")
]


SECOND = replace(
    RECORDS[0], key="fox2", title="Fox", path="/loras/fox2.safetensors", triggers=(("vxnbeast",),),
    weights=(WeightEvidence(weight=0.7, source="prompt"),),
)  # fmt: skip
"""Another fox, so that one task has two adapters."""


@contextmanager
def catalogued(folder: Path, *more: Any, **settings: Any) -> Iterator[Velatura]:
    """Open a catalogue of the records and more."""
    given = {"db": str(folder / "catalogue.db"), "model": "colours.safetensors", "output": str(folder), **settings}
    with Velatura(default_settings(**given)) as opened:
        opened.__dict__["embedder"] = BagEmbedder()
        opened.store.sync(Given([*RECORDS, *more]))
        embed(opened.store, opened.embedder)
        yield opened


@contextmanager
def asking(folder: Path, *answers: Answer, **settings: Any) -> Iterator[tuple[Velatura, Script]]:
    """Open a catalogue whose language model answers by a script."""
    with (
        chat_server(*answers) as server,
        catalogued(folder, SECOND, llm="stand-in", llm_url=server.url, **settings) as opened,
    ):
        yield opened, server


@pytest.fixture
def velatura(tmp_path: Path) -> Iterator[Velatura]:
    with catalogued(tmp_path) as opened:
        yield opened


def chosen(titles: Sequence[str], span: str) -> Answer:
    """Answer a composer's question, whichever of the two asks, with adapters for some words of the prompt."""

    def answer(body: dict[str, Any]) -> Any:
        text = body["messages"][1]["content"]
        cards = re.findall(r"<card ?(\d*)>\n(.*?)</card>", text, re.DOTALL)
        numbers = [
            int(number or place)
            for title in titles
            for place, (number, card) in enumerate(cards)
            if re.search(rf"^title: {title}$", card, re.MULTILINE | re.IGNORECASE)
        ]
        if "Index: 0" in text:
            return said(json.dumps({span: {str(number): "fits" for number in numbers}}))
        adapters = [{"number": number, "reason": "fits", "sure": 90} for number in numbers]
        return said(json.dumps({"tasks": [{"words": span, "adapters": adapters}], "refused": []}))

    return answer


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch) -> Painter:
    found = Painter()
    monkeypatch.setattr(Painting, "backend", found)
    return found


def methods(velatura: Velatura, **options: Any) -> Methods:
    return Methods(velatura, filter=Filter(), **options)


def laid(velatura: Velatura, method: str, **options: Any) -> list[dict[str, float]]:
    made = methods(velatura, **options).compose(method, [prompt.text for prompt in PROMPTS])
    return [{choice.adapter.key: choice.weight for choice in one.composition.choices} for one in made]


def test_the_baselines_merge_three_at_what_is_recommended_undivided(velatura: Velatura) -> None:
    weights = {record.key: record.weights[0].weight for record in RECORDS}
    for method in ("random", "retriever", "reranker"):
        for found in laid(velatura, method):
            assert len(found) == 3
            assert found == {key: weights[key] for key in found}


def test_the_reranker_without_a_model_orders_the_nearest_by_their_words(velatura: Velatura) -> None:
    fox, otter, _ = laid(velatura, "reranker")
    assert {"fox", "ink"} <= set(fox)
    assert {"otter", "rain"} <= set(otter)
    assert "BM25" in methods(velatura).described("reranker")


def test_random_draws_the_same_lots_again_and_others_for_other_prompts(velatura: Velatura) -> None:
    assert laid(velatura, "random") == laid(velatura, "random")
    assert len({tuple(found) for found in laid(velatura, "random")}) > 1


def test_ours_lays_on_what_is_asked_for_and_nothing_where_nothing_is(velatura: Velatura) -> None:
    fox, otter, soup = laid(velatura, "velatura")
    assert set(fox) == {"fox", "ink"}
    assert set(otter) == {"otter", "rain"}
    assert soup == {}
    assert laid(velatura, "base") == [{}, {}, {}]


def test_debias_words_can_go_with_every_method(velatura: Velatura) -> None:
    for method in ("base", "retriever", "velatura"):
        [one, *_] = methods(velatura, debias="flat style").compose(f"{method}+debias", ["a red fox"])
        assert one.composition.painted_prompt.endswith("flat style")
        [plain, *_] = methods(velatura, debias="flat style").compose(method, ["a red fox"])
        assert "flat style" not in plain.composition.painted_prompt


def test_every_method_can_be_given_the_same_weight_in_all(velatura: Velatura) -> None:
    for method in ("random", "retriever", "stylus-nomask", "velatura"):
        for found in laid(velatura, method, total=1.2):
            assert not found or sum(found.values()) == pytest.approx(1.2, abs=0.003)


def test_what_cannot_be_had_says_why(velatura: Velatura) -> None:
    for method, why in (
        ("best", "there is no method 'best'"),
        ("base+debias", "give them with --debias"),
        ("velatura-llm", "set VELATURA_LLM"),
    ):
        with pytest.raises(InputError, match=why):
            list(methods(velatura).compose(method, ["a fox"]))


def test_stylus_without_a_language_model_says_who_chooses(velatura: Velatura) -> None:
    assert "rules, since no language model is named" in methods(velatura).described("stylus")
    assert all(methods(velatura).described(name) for name in METHODS)


def masked(velatura: Velatura, **options: Any) -> dict[tuple[bool, ...], dict[str, float]]:
    """What each mask of a prompt whose one task has two adapters lays on."""
    own = methods(velatura, **options)
    [composed] = own.compose("stylus", ["a red fox"])
    assert {choice.span for choice in composed.composition.choices} == {"red fox"}
    drawn = own.masked(composed.composition, 12, seed=3)
    return {mask: {choice.adapter.key: choice.weight for choice in laid.choices} for laid, mask in drawn}


@pytest.fixture
def two_foxes(tmp_path: Path) -> Iterator[Velatura]:
    with asking(tmp_path, chosen(["Red Fox", "Fox"], "red fox")) as (opened, _):
        yield opened


def test_masks_divide_the_strength_of_a_task_among_what_is_on(two_foxes: Velatura) -> None:
    found = masked(two_foxes)
    assert {sum(mask) for mask in found} == {0, 1, 2}
    for mask, laid in found.items():
        whole = {"fox": 0.9, "fox2": 0.7}
        assert laid == {key: pytest.approx(whole[key] / sum(mask), abs=0.005) for key in laid}
        assert len(laid) == sum(mask)


def test_what_a_mask_leaves_on_is_divided_anew_before_it_is_brought_to_a_sum(two_foxes: Velatura) -> None:
    found = masked(two_foxes, total=1.2)
    assert {sum(mask) for mask in found} == {0, 1, 2}
    for mask, laid in found.items():
        assert sum(laid.values()) == pytest.approx(1.2 if any(mask) else 0.0, abs=0.003)
    [both] = [laid for laid in found.values() if len(laid) == 2]
    assert both["fox"] / both["fox2"] == pytest.approx(0.9 / 0.7, abs=0.02)


def test_what_is_lowered_for_the_sum_leaves_the_methods_own_weights_for_masks(two_foxes: Velatura) -> None:
    [composed] = methods(two_foxes, total=0.4).compose("stylus", ["a red fox"])
    assert {choice.advised for choice in composed.composition.choices} == {0.9, 0.7}
    assert [choice.weight for choice in composed.composition.choices] == [
        round(choice.advised / 2, 2) for choice in composed.composition.choices if choice.advised
    ]


@pytest.mark.parametrize("method", ["stylus-nomask", "velatura-llm"])
def test_a_language_model_chooses_for_the_methods_that_ask_one(tmp_path: Path, method: str) -> None:
    with asking(tmp_path, chosen(["Deep Snow"], "fox")) as (opened, server):
        [composed] = methods(opened).compose(method, ["a red fox"])
        assert [choice.adapter.key for choice in composed.composition.choices] == ["snow"]
        assert "stand-in" in composed.composition.composer
        assert composed.failed is None
        assert server.asked
        assert composed.composition.composer in methods(opened).address(method)


def test_our_probes_and_emphasis_do_not_reach_the_papers_methods(tmp_path: Path) -> None:
    titles = ["Fox", "Red Fox"]
    row = ProbedWeight(weight=1.0, change=0.0, consistency=0.0, gain=0.0, collapse=0.0)
    probe = Probe(
        method=METHOD, family="sd1", model="m", clip="c", told="a fox", prompts=4, seeds=2, weights=(row,),
        at=1.0, flags=("no effect",),
    )  # fmt: skip
    with asking(tmp_path, chosen(titles, "red fox"), emphasis=1.2, add_triggers=False) as (opened, _):
        [fox] = opened.store.find("fox.safetensors")[:1]
        opened.store.put_probes([(fox, "1", probe)])
        found = {}
        for method in ("retriever", "stylus-nomask", "velatura-llm"):
            [composed] = methods(opened).compose(method, ["a red fox on ice"])
            found[method] = composed.composition
        assert "fox" in {choice.adapter.key for choice in found["stylus-nomask"].choices}
        assert "fox" not in {choice.adapter.key for choice in found["velatura-llm"].choices}
        assert [found[method].emphasis for method in found] == [None, None, 1.2]
        for method in ("retriever", "stylus-nomask"):
            assert any(choice.triggers for choice in found[method].choices)
        assert not any(choice.triggers for choice in found["velatura-llm"].choices)


def test_prompts_that_are_found_together_share_the_seconds_and_words_are_searched_for_the_reranker_alone(
    velatura: Velatura, monkeypatch: pytest.MonkeyPatch
) -> None:
    retriever = velatura.retriever
    search, asked = retriever.search_all, []

    def slowly(prompts: Sequence[str], *arguments: Any) -> Iterator[Any]:
        asked.append(arguments[-1])
        time.sleep(0.06)
        yield from search(prompts, *arguments)

    monkeypatch.setattr(retriever, "search_all", slowly)
    for method, rankings in (("velatura", ["fused"]), ("reranker", ["dense", "bm25"])):
        made = list(methods(velatura).compose(method, [prompt.text for prompt in PROMPTS]))
        seconds = [one.retrieve for one in made]
        assert min(seconds) == max(seconds) >= 0.02
        assert asked == rankings
        asked.clear()


def test_the_address_changes_with_the_catalogue_and_with_the_language_models_server(
    velatura: Velatura, tmp_path: Path
) -> None:
    own = methods(velatura)
    before = {method: own.address(method) for method in ("base", "retriever", "velatura")}
    velatura.store.sync(Given(RECORDS))
    embed(velatura.store, velatura.embedder)
    assert {method: own.address(method) for method in before} == before
    velatura.store.put_refinements([(1, Refinement(description="otherwise", writer="w"), "a")])
    after = {method: own.address(method) for method in before}
    assert [method for method in before if after[method] == before[method]] == ["base"]
    addresses = []
    for url in ("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"):
        with Velatura(velatura.settings.model_copy(update={"llm": "stand-in", "llm_url": url})) as opened:
            addresses.append(methods(opened).address("velatura-llm"))
    assert addresses[0] != addresses[1]


PLAN = Plan(methods=("base", "retriever", "stylus", "velatura"), guidances=(2.0, 6.0), samples=2)


def run(velatura: Velatura, folder: Path, plan: Plan = PLAN, prompts: list[Prompt] = PROMPTS) -> Any:
    return Experiment(velatura, plan, prompts, folder, methods=methods(velatura, debias="x")).run()


def test_an_experiment_is_a_manifest_of_pairs(velatura: Velatura, painter: Painter, tmp_path: Path) -> None:
    report = run(velatura, tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    assert manifest.samples == report.manifest.samples
    cells = manifest.cells()
    assert len(cells) == PLAN.cells() == 8
    pairs = {name: [sample.pair for sample in samples] for name, samples in cells.items()}
    assert all(own == next(iter(pairs.values())) for own in pairs.values())
    assert all(sample.seed == seed_of(sample.prompt_id, sample.index) for sample in manifest.samples)
    assert manifest.warnings() == ()
    for sample in manifest.samples:
        assert manifest.path(sample).is_file()
        assert dict(sample.timings).keys() == {"retrieve", "compose", "paint"}
        assert (sample.mask is not None) == (sample.method == "stylus")


def test_prompts_that_wear_nothing_are_painted_once_for_all_methods(
    velatura: Velatura, painter: Painter, tmp_path: Path
) -> None:
    report = run(velatura, tmp_path / "out", prompts=[PROMPTS[2]])
    own = {sample.method: sample.image for sample in report.manifest.samples if sample.index == 0}
    assert own["base"] == own["velatura"] == own["stylus"] != own["retriever"]
    assert report.painted == 2 * 2 * 2


def test_a_second_run_composes_and_paints_nothing_and_a_larger_one_what_it_lacks(
    velatura: Velatura, painter: Painter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(velatura, tmp_path / "out", prompts=PROMPTS[:2])
    lines = (tmp_path / "out" / COMPOSITIONS).read_bytes()
    painted = len(painter.painted)
    again = run(velatura, tmp_path / "out", prompts=PROMPTS[:2])
    assert again.manifest.samples == first.manifest.samples
    assert (again.painted, len(painter.painted)) == (0, painted)
    assert (tmp_path / "out" / COMPOSITIONS).read_bytes() == lines
    more = run(velatura, tmp_path / "out")
    assert set(first.manifest.samples) < set(more.manifest.samples)
    assert more.kept == first.painted


def test_a_torn_line_of_compositions_is_composed_again(velatura: Velatura, painter: Painter, tmp_path: Path) -> None:
    first = run(velatura, tmp_path / "out")
    path = tmp_path / "out" / COMPOSITIONS
    path.write_bytes(path.read_bytes()[:-40])
    again = run(velatura, tmp_path / "out")
    assert [replace(sample, timings=()) for sample in again.manifest.samples] == [
        replace(sample, timings=()) for sample in first.manifest.samples
    ]
    assert len([line for line in path.read_text().splitlines() if is_json(line)]) == 12


def is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def test_what_cannot_be_painted_is_told_and_costs_itself_alone(
    velatura: Velatura, painter: Painter, tmp_path: Path
) -> None:
    odd = Prompt(id="odd", text="a wrong fox")
    report = run(velatura, tmp_path / "out", replace(PLAN, methods=("base",)), [PROMPTS[0], odd])
    assert {sample.prompt_id for sample in report.manifest.samples} == {PROMPTS[0].id}
    assert len(report.failed) == 4
    assert "multiple of 8" in report.failed[0][1]


def test_variants_are_methods_of_their_own(velatura: Velatura, painter: Painter, tmp_path: Path) -> None:
    variants = (Variant(name="few", settings=(("steps", 4),)), Variant(name="many", fields=(("steps", 40),)))
    plan = Plan(methods=("base",), variants=variants, samples=1)
    report = run(velatura, tmp_path / "out", plan)
    assert {sample.method for sample in report.manifest.samples} == {"few", "many"}
    assert report.painted == 6
    with pytest.raises(InputError, match="the variant odd"):
        run(velatura, tmp_path / "out", Plan(variants=(Variant(name="odd", settings=(("steps", "x"),)),)))


def test_no_prompts_are_no_experiment(velatura: Velatura, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs prompts"):
        Experiment(velatura, PLAN, [], tmp_path, methods=methods(velatura))


# ---------------------------------------------------------------- what fails, and what former runs left


@pytest.mark.parametrize("method", ["stylus-nomask", "velatura-llm"])
def test_where_the_language_model_fails_nothing_is_kept_or_painted_and_it_is_asked_again(
    tmp_path: Path, painter: Painter, method: str
) -> None:
    down = [True]
    answer = chosen(["Red Fox"], "red fox")

    def only_otters(body: dict[str, Any]) -> Any:
        prompt = re.search(r"<prompt>\n(.*)\n</prompt>", body["messages"][1]["content"])
        return refused(400, "out of order") if down[0] and prompt and "otter" in prompt[1] else answer

    plan = Plan(methods=("base", method), samples=2)
    with asking(tmp_path, only_otters) as (opened, _):
        report = run(opened, tmp_path / "out", plan, PROMPTS[:2])
        [(what, why)] = report.failed
        assert what == f"{method}: {PROMPTS[1].text}"
        assert "out of order" in why
        painted = {(sample.method, sample.prompt_id) for sample in report.manifest.samples}
        assert painted == {("base", PROMPTS[0].id), ("base", PROMPTS[1].id), (method, PROMPTS[0].id)}
        down[0] = False
        again = run(opened, tmp_path / "out", plan, PROMPTS[:2])
        assert again.failed == ()
        assert len(again.manifest.samples) == 8


def test_prompts_of_the_same_words_are_composed_once_and_each_gets_its_own(
    velatura: Velatura, painter: Painter, tmp_path: Path
) -> None:
    twice = [Prompt(id="one", text=PROMPTS[0].text), Prompt(id="two", text=PROMPTS[0].text), PROMPTS[1]]
    report = run(velatura, tmp_path / "out", Plan(methods=("velatura",)), twice)
    worn = {sample.prompt_id: {one.title for one in sample.adapters} for sample in report.manifest.samples}
    assert worn["one"] == worn["two"] == {"Red Fox", "Ink Wash Style"}
    assert worn[PROMPTS[1].id] == {"Swimming Otter", "Heavy Rain"}


def test_another_method_adds_its_cells_to_the_manifest_and_to_what_methods_were(
    velatura: Velatura, painter: Painter, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    base = run(velatura, folder, Plan(methods=("base",), samples=2))
    ours = run(velatura, folder, Plan(methods=("velatura",), samples=2))
    assert {sample.method for sample in ours.manifest.samples} == {"velatura"}
    both = read_manifest(folder).samples
    assert set(both) == {*base.manifest.samples, *ours.manifest.samples}
    assert set(read_methods(folder)) == {"base", "velatura"}
    assert read_methods(folder)["base"] == "nothing laid on"
    gone = base.manifest.samples[0]
    for sample in base.manifest.samples:
        if sample.image == gone.image:
            (folder / sample.image).unlink()
    run(velatura, folder, Plan(methods=("velatura",), samples=2), PROMPTS[:1])
    left = read_manifest(folder).samples
    assert gone not in left
    assert {sample.prompt_id for sample in left if sample.method == "velatura"} == {prompt.id for prompt in PROMPTS}


def test_what_was_painted_another_way_does_not_stay_beside_what_is_painted_now(
    velatura: Velatura, painter: Painter, tmp_path: Path
) -> None:
    plan = Plan(methods=("base",))
    run(velatura, tmp_path / "out", plan)
    again = Experiment(
        velatura, plan, PROMPTS[:1], tmp_path / "out", methods=methods(velatura), fields={"steps": 9}
    ).run()
    assert read_manifest(tmp_path / "out").samples == again.manifest.samples


def test_a_folder_that_tells_nothing_of_methods_has_none(tmp_path: Path) -> None:
    assert read_methods(tmp_path) == {}
    for text in ("{", "[1]", '{"base": 1}', "[" * 5000):
        (tmp_path / METHODS_FILE).write_text(text)
        assert read_methods(tmp_path) == {}


def test_debias_arms_that_nobody_named_are_left_out_where_no_words_are_known(
    velatura: Velatura, painter: Painter, tmp_path: Path
) -> None:
    plan = replace(PLANS["stylus"], guidances=(2.0,), samples=1)
    report = Experiment(velatura, plan, PROMPTS[:1], tmp_path / "out", methods=methods(velatura)).run()
    assert {sample.method for sample in report.manifest.samples} == {
        method for method in plan.methods if not method.endswith("+debias")
    }
    said = dict(report.methods)
    assert said["base+debias"] == said["stylus+debias"]
    assert "give them with --debias" in said["stylus+debias"]
    with pytest.raises(InputError, match="give them with --debias"):
        Experiment(velatura, Plan(methods=("base", "base+debias")), PROMPTS, tmp_path, methods=methods(velatura))
