"""The grid of an experiment, and plans in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from velatura.errors import InputError
from velatura.eval.grid import PAPER_GUIDANCES, PLANS, Variant, read_plan, seed_of
from velatura.generation.known import KNOWN
from velatura.generation.schedulers import SAMPLERS
from velatura.methods import DEBIAS, METHODS
from velatura.records import Enlargement, GenerationRequest
from velatura.settings import Settings


def test_a_sample_has_one_seed_for_every_method_and_no_two_prompts_share_theirs() -> None:
    seeds = {seed_of(f"prompt {number}", index) for number in range(300) for index in range(4)}
    assert len(seeds) == 1200
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_the_plans_name_only_what_there_is() -> None:
    for plan in PLANS.values():
        assert all(method.removesuffix(DEBIAS) in METHODS for method in plan.methods)
        for variant in plan.variants:
            settings = Settings.model_validate(dict(variant.settings))
            assert settings.model is None or settings.model in KNOWN
            fields = dict(variant.fields)
            assert fields.keys() <= set(GenerationRequest.__dataclass_fields__)
            assert fields.get("scheduler") is None or fields["scheduler"] in SAMPLERS
            Enlargement(**dict(variant.enlargement))


def test_the_papers_plan_is_the_papers() -> None:
    plan = PLANS["stylus"]
    assert plan.guidances == PAPER_GUIDANCES == (1, 1.5, 2, 3, 4, 6, 9, 12)
    assert {"base", "random", "retriever", "reranker", "stylus+debias"} < set(plan.methods)
    assert {"base+debias", "stylus", "stylus-nomask"} < set(plan.methods)  # what the paper's own arm is taken apart by
    assert plan.cells() == 72


def test_a_plan_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(
        'methods = ["base"]\nguidances = [2, 4.5]\nsamples = 3\n'
        '[[variants]]\nname = "turbo"\nsettings = { model = "sdxl-turbo" }\nfields = { width = 512 }\n'
    )
    plan = read_plan(str(path))
    assert (plan.guidances, plan.samples, plan.cells()) == ((2.0, 4.5), 3, 2)
    assert plan.variants == (Variant(name="turbo", settings=(("model", "sdxl-turbo"),), fields=(("width", 512),)),)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("methods = 3", "methods"),
        ("colour = 1", "no 'colour' in a plan"),
        ("samples = 0", "one sample or more"),
        ("variants = 1", "variants"),
        ('[[variants]]\nname = "a"\n[[variants]]\nname = "a"', "two variants"),
        ("= 1", "is not TOML"),
    ],
)
def test_a_file_that_is_no_plan_says_why(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=why):
        read_plan(str(path))


def test_an_unknown_plan_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="stylus, fusion, demofusion"):
        read_plan("paper")
    with pytest.raises(InputError, match="cannot be read"):
        read_plan(str(tmp_path / "none.toml"))
