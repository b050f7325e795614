"""Adapters that need few steps are told by the names that people meet, and get what their makers say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from velatura.categories import tool_of
from velatura.generation.few_steps import advised, departures, few_step_rule
from velatura.generation.schedulers import SAMPLERS
from velatura.records import AdapterRecord, Composition, GenerationRequest


def record(title: str, **fields: Any) -> AdapterRecord:
    return AdapterRecord(**{"source": "folder", "key": title, "title": title, **fields})


def asked(**fields: Any) -> GenerationRequest:
    return GenerationRequest(composition=Composition(prompt="a fox"), model="m", **fields)


FILES = [
    ("lcm-lora-sdv1-5", "LCM", 4, 1.0, "lcm"),
    ("lcm-lora-sdxl", "LCM", 4, 1.0, "lcm"),
    ("LCM_LoRA_Weights_SD15", "LCM", 4, 1.0, "lcm"),
    ("sdxl_lightning_2step_lora", "SDXL-Lightning", 2, 1.0, "euler_sgm_uniform"),
    ("sdxl_lightning_4step_lora", "SDXL-Lightning", 4, 1.0, "euler_sgm_uniform"),
    ("sdxl_lightning_8step_lora", "SDXL-Lightning", 8, 1.0, "euler_sgm_uniform"),
    ("Hyper-SDXL-1step-lora", "Hyper-SD", 1, 1.0, "tcd"),
    ("Hyper-SDXL-2steps-lora", "Hyper-SD", 2, 1.0, "ddim_trailing"),
    ("Hyper-SD15-8steps-lora", "Hyper-SD", 8, 1.0, "ddim_trailing"),
    ("Hyper-SD15-8steps-CFG-lora", "Hyper-SD", 8, 5.0, "ddim_trailing"),
    ("Hyper-SDXL-12steps-CFG-lora", "Hyper-SD", 12, 5.0, "ddim_trailing"),
    ("dmd2_sdxl_4step_lora", "DMD2", 4, 1.0, "lcm_sgm_uniform"),
    ("dmd2_sdxl_4step_lora_fp16", "DMD2", 4, 1.0, "lcm_sgm_uniform"),
    ("TCD-SDXL-LoRA", "TCD", 4, 1.0, "tcd"),
    ("TCD-SD21-base-LoRA", "TCD", 4, 1.0, "tcd"),
    ("pcm_sdxl_smallcfg_2step_converted", "PCM", 2, 1.0, "ddim_trailing"),
    ("pcm_sd15_smallcfg_16step_converted", "PCM", 16, 1.0, "ddim_trailing"),
    ("pcm_sd15_normalcfg_8step_converted", "PCM", 8, 7.5, "ddim_trailing"),
    ("pcm_sdxl_lcmlike_lora_converted", "PCM", 4, 1.0, "lcm"),
    ("sd_xl_turbo_lora_v1", "Turbo", 4, 1.0, "euler_a_sgm_uniform"),
    ("SDXL Turbo LoRA", "Turbo", 4, 1.0, "euler_a_sgm_uniform"),
]


@pytest.mark.parametrize(("name", "method", "steps", "guidance", "scheduler"), FILES)
def test_each_files_name_tells_what_it_needs(
    name: str, method: str, steps: int, guidance: float, scheduler: str
) -> None:
    by_title = few_step_rule(record(name))
    by_file = few_step_rule(record("fast", file_name=f"{name}.safetensors"))
    by_path = few_step_rule(record("fast", path=f"/loras/{name}.safetensors", family="sdxl"))
    for rule in (by_title, by_file, by_path):
        assert rule is not None
        assert (rule.method, rule.steps, rule.guidance, rule.scheduler) == (method, steps, guidance, scheduler)
        assert scheduler in SAMPLERS
        # Whoever follows the rule is not told off.
        assert departures(rule, asked(steps=rule.steps, guidance=rule.guidance, scheduler=rule.scheduler)) == ()


@pytest.mark.parametrize(
    "name",
    [
        "Lightning Farron", "Hyper Realistic Skin", "Turbo (Regular Show)", "Add More Details", "Lightning sword",
        "4 steps to heaven", "Hyperion", "Dragon", "Turbocharged car",
    ],
)  # fmt: skip
def test_what_draws_something_has_no_rule(name: str) -> None:
    assert few_step_rule(record(name)) is None
    assert tool_of(record(name)) is None or tool_of(record(name)).kind != "speed"


def test_a_tag_tells_where_the_name_is_silent() -> None:
    rule = few_step_rule(record("pytorch_lora_weights", tags=("lora", "lcm-lora")))
    assert rule is not None
    assert rule.method == "LCM"
    # What was trained on a fast checkpoint needs one, and is none.
    assert few_step_rule(record("Fox", base_model="SDXL Lightning", tags=("fox",))) is None


def test_flux_keeps_its_guidance_and_its_scheduler() -> None:
    hyper = "Hyper-FLUX.1-dev-{}steps-lora"
    for name, steps in ((hyper.format(8), 8), (hyper.format(16), 16), ("FLUX.1-Turbo-Alpha", 8)):
        rule = few_step_rule(record(name, family="flux1"))
        assert rule is not None
        assert (rule.steps, rule.guidance, rule.scheduler) == (steps, 3.5, None)
    assert few_step_rule(record("Qwen-Image-Lightning-8steps", family="qwen")) is None
    assert few_step_rule(record("Hyper-SD3-8steps-CFG-lora", family="sd3")) is None


def test_one_rule_among_many_adapters_is_advised() -> None:
    fox, fast = record("Fox"), record("lcm-lora-sdxl")
    assert advised([]) is None
    assert advised([fox]) is None
    assert advised([fox, fast]) == few_step_rule(fast)
    # Of one need twice nothing has to be said.
    assert advised([fast, record("LCM LoRA")]) == few_step_rule(fast)


def test_two_that_contradict_each_other_are_told() -> None:
    rule = advised([record("lcm-lora-sdxl"), record("Fox"), record("sdxl_lightning_8step_lora")])
    assert rule is not None
    assert (rule.steps, rule.scheduler) == (4, "lcm")
    assert rule.doubt == (
        "lcm-lora-sdxl needs 4 steps of lcm and sdxl_lightning_8step_lora 8 steps of euler_sgm_uniform; "
        "together they break the picture, so wear one of them"
    )
    assert departures(rule, asked(steps=4, guidance=1.0, scheduler="lcm")) == (rule.doubt,)


@pytest.mark.parametrize(
    ("name", "fields", "sentences"),
    [
        ("lcm-lora-sdxl", {"steps": 8, "guidance": 2.0}, []),
        ("lcm-lora-sdxl", {"steps": 25}, ["lcm-lora-sdxl paints in 2 to 12 steps, not in 25"]),
        ("lcm-lora-sdxl", {"guidance": 7.0}, ["lcm-lora-sdxl bears guidance up to 2, not 7"]),
        ("lcm-lora-sdxl", {"scheduler": "euler"}, ["lcm-lora-sdxl was made for the scheduler lcm, not euler"]),
        ("sdxl_lightning_4step_lora", {"steps": 8}, ["sdxl_lightning_4step_lora paints in 4 steps, not in 8"]),
        ("Hyper-SD15-8steps-CFG-lora", {"steps": 8, "guidance": 7.5}, []),
        ("pcm_sd15_normalcfg_8step_converted", {"guidance": 7.5}, []),
    ],
)
def test_what_a_person_gave_and_it_does_not_bear_is_told(
    name: str, fields: dict[str, Any], sentences: list[str]
) -> None:
    rule = few_step_rule(record(name))
    assert rule is not None
    assert list(departures(rule, asked(**fields))) == sentences


def test_hostile_names_are_borne() -> None:
    for name in ("lcm " * 100_000, "\ud800 lcm", "", "9" * 500 + " steps lcm", "lcm 0 steps", "lcm 99 steps"):
        rule = few_step_rule(record(name, version_name=name, file_name=name, tags=(name,)))
        assert rule is None or 1 <= rule.steps <= 50
    assert few_step_rule(replace(record("fox"), file_name=None, path=None)) is None
