"""Brackets become weights as A1111 reads them, and weights move embeddings."""

from __future__ import annotations

import re
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from velatura.generation.prompt_weights import STRONGEST, Run, interpolated, less_weights, scaled, weighed


def told(prompt: str) -> list[tuple[str, float]]:
    [part] = weighed(prompt)
    return [(run.text, round(run.weight, 6)) for run in part]


@pytest.mark.parametrize(
    ("prompt", "runs"),
    [
        ("normal text", [("normal text", 1)]),
        ("an (important) word", [("an ", 1), ("important", 1.1), (" word", 1)]),
        ("an [unimportant] word", [("an ", 1), ("unimportant", round(1 / 1.1, 6)), (" word", 1)]),
        ("(word:1.3)(other:0.5)", [("word", 1.3), ("other", 0.5)]),
        ("(word : 1.3 )", [("word ", 1.3)]),
        ("(word:-0.5), (word:+2), (word:.5), (word:2.)", None),
        ("(unbalanced", [("unbalanced", 1.1)]),
        ("[un(balanced", [("un", round(1 / 1.1, 6)), ("balanced", 1)]),
        ("un)balanced]:1.2) x", [("un)balanced]:1.2) x", 1)]),
        (r"\(literal\] \[x\)", [("(literal] [x)", 1)]),
        (r"\\(x) \o/", [("\\", 1), ("x", 1.1), (r" \o/", 1)]),
        ("((a) b:1.5)", [("a", 1.65), (" b", 1.5)]),
        ("([x])", [("x", 1)]),
        ("(x:1e400)", [("x:1e400", 1.1)]),
        ("(x:nan)", [("x:nan", 1.1)]),
        ("(x:1.2.3)", [("x:1.2.3", 1.1)]),
        ("(a:b:1.2)", [("a:b", 1.2)]),
        (f"(x:{'9' * 400})", [("x", STRONGEST)]),
        (f"(x:-{'9' * 400})", [("x", -STRONGEST)]),
        (f"((x:{'9' * 400}):0)", [("x", 0)]),
        ("", []),
        ("()[]", []),
    ],
)
def test_brackets_are_read_as_a1111_reads_them(prompt: str, runs: list[tuple[str, float]] | None) -> None:
    if runs is None:
        runs = [("word", -0.5), (", ", 1), ("word", 2), (", ", 1), ("word", 0.5), (", ", 1), ("word", 2)]
    assert told(prompt) == runs


def test_the_example_of_a1111s_own_documentation() -> None:
    assert told("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).") == [
        ("a ", 1),
        ("house", 1.573),
        (" ", 1.1),
        ("on", 1),
        (" a ", 1.1),
        ("hill", 0.55),
        (", sun, ", 1.1),
        ("sky", 1.4641),
        (".", 1.1),
    ]


def test_brackets_reach_across_breaks() -> None:
    assert weighed("a BREAK (b BREAK c:2) BREAKER BREAK") == [
        [Run("a ")],
        [Run(" "), Run("b ", 2.0)],
        [Run(" c", 2.0), Run(" BREAKER ")],
        [],
    ]


def test_what_is_a_name_keeps_its_brackets() -> None:
    names = re.compile(re.escape("glyph (v1:2)"))
    assert weighed("(a glyph (v1:2):1.5), glyph (v2:2)", names) == [
        [Run("a glyph (v1:2)", 1.5), Run(", glyph "), Run("v2", 2.0)]
    ]


@pytest.mark.parametrize(
    "prompt",
    ["(" * 10_000 + "x" + ")" * 10_000, "(" * 50_000, "(a" * 20_000, ")]" * 20_000, "(a:1.2" * 20_000, "[(a)" * 20_000,
     "(" * 40 + "(a)" * 20_000 + ")" * 40, ":" * 50_000, ":" + " " * 50_000, ":" + "1" * 50_000, "\\" * 50_001,
     "(x:9)" * 20_000 + "(" * 40 + "x:9)" * 40, "(" * 30 + "x" + ":0.0001)" * 30],
    ids=lambda prompt: prompt[:8],
)  # fmt: skip
def test_any_brackets_are_read_in_linear_time_to_sane_weights(prompt: str) -> None:
    started = time.process_time()
    weights = [run.weight for run in weighed(prompt)[0]]
    less_weights(prompt)
    assert time.process_time() - started < 5
    assert all(-STRONGEST <= weight <= STRONGEST for weight in weights)


@given(st.text(alphabet="ab ()[]\\:.12,BREAK\n<>é"))
def test_nothing_but_brackets_and_weights_is_lost(prompt: str) -> None:
    runs = [run for part in weighed(prompt) for run in part]
    letters = [letter for letter in prompt if letter in "abé,<>"]
    assert [letter for run in runs for letter in run.text if letter in "abé,<>"] == letters
    assert all(run.text and abs(run.weight) <= STRONGEST for run in runs)


@given(st.text(alphabet="ab :.12,BREAK\n<>é{}|"))
def test_a_prompt_without_brackets_is_one_run_of_weight_1(prompt: str) -> None:
    parts = weighed(prompt)
    assert [run.weight for part in parts for run in part] == [1.0] * sum(map(len, parts))
    assert re.split(r"\bBREAK\b", prompt) == ["".join(run.text for run in part) for part in parts]


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a (red:1.3) fox, [[snow]]", "a red fox, snow"),
        (r"mei(mha) \(person\)", "mei mha (person)"),
        ("a fox BREAK a cat", "a fox a cat"),
        ("(狐)狸", "狐 狸"),
        ("", ""),
    ],
)
def test_an_encoder_without_weights_gets_the_words(prompt: str, words: str) -> None:
    assert less_weights(prompt) == words


def test_scaling_restores_the_mean_of_each_piece() -> None:
    states = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)) - 0.5
    weights = torch.tensor([[1, 1.5, 0.8, 1, 1], [1, 1, 1, 1, 1]])
    moved = scaled(states, weights)
    assert torch.allclose(moved.mean((1, 2)), states.mean((1, 2)), atol=1e-6)
    times = states[0] * weights[0, :, None]
    assert torch.allclose(moved[0], times * (states[0].mean() / times.mean()), atol=1e-6)
    assert torch.equal(moved[1], states[1])


def test_a_mean_that_is_lost_is_not_restored() -> None:
    states = torch.tensor([[[1.0, 1.0], [2.0, 2.0]]])
    assert torch.equal(scaled(states, torch.tensor([[2.0, -1.0]]))[0, 1], torch.tensor([-2.0, -2.0]))  # none is left
    assert torch.equal(scaled(states, torch.tensor([[1.0, -2.0]]))[0, 0], torch.tensor([1.0, 1.0]))  # of other sign
    assert torch.equal(scaled(states * 0, torch.tensor([[2.0, 3.0]])), states * 0)


def test_interpolation_goes_from_no_word_over_the_word_and_beyond() -> None:
    states, empty = torch.randn(2, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    moved = interpolated(states, torch.tensor([[1.0, 0.0, 1.5]]), empty)
    assert torch.equal(moved[0, 0], states[0, 0])
    assert torch.allclose(moved[0, 1], empty[0, 1])
    assert torch.allclose(moved[0, 2] - empty[0, 2], 1.5 * (states[0, 2] - empty[0, 2]), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_half_precision(dtype: torch.dtype) -> None:
    states = (torch.randn(1, 77, 64, generator=torch.Generator().manual_seed(0)) - 0.2).to(dtype)
    weights = torch.ones(1, 77)
    assert torch.equal(scaled(states, weights), states)
    weights[0, 3] = 1.2
    for moved in (scaled(states, weights), interpolated(states, weights, states * 0)):
        assert moved.dtype == dtype
        assert abs((moved[0, 3] / states[0, 3]).float().median() - 1.2) < 0.02
