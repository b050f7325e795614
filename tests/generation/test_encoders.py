"""What models read of prompts: as diffusers' pipelines make it, weighed, kept, and in rows of a batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from velatura.errors import IncompatibleAdapter, InputError, UnreadableFile
from velatura.generation import PaintingWarning
from velatura.generation.adapters.embeddings import LearnedToken
from velatura.generation.encoders import Encoded, TextEncoders, encode_flux, tokens_of
from velatura.playground.sample import make_checkpoint

SD = {"text_encoder": 64}
XL = {"text_encoder": 64, "text_encoder_2": 128}


@pytest.fixture(scope="module")
def sd(checkpoint: Path) -> Any:
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline.from_pretrained(checkpoint, local_files_only=True).to(torch.float32)


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An SDXL pipeline whose first text encoder is deeper than the second."""
    from diffusers import StableDiffusionXLPipeline
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    folder = make_checkpoint(tmp_path_factory.mktemp("models") / "xl", kind="sdxl")
    pipe = StableDiffusionXLPipeline.from_pretrained(folder, local_files_only=True).to(torch.float32)
    torch.manual_seed(0)
    # Of five and four layers, so that there is something to skip.
    for name, depth, cls in (("text_encoder", 5, CLIPTextModel), ("text_encoder_2", 4, CLIPTextModelWithProjection)):
        config = CLIPTextConfig(**{**getattr(pipe, name).config.to_dict(), "num_hidden_layers": depth})
        setattr(pipe, name, cls(config).eval())
    return pipe


@pytest.fixture
def calls(sd: Any, xl: Any, monkeypatch: pytest.MonkeyPatch) -> list[list[list[int]]]:
    """The token rows of every call of a text encoder."""
    seen: list[list[list[int]]] = []
    for model in (sd.text_encoder, xl.text_encoder, xl.text_encoder_2):
        forward = model.forward

        def spy(ids: Tensor, *, _forward: Any = forward, **options: Any) -> Any:
            seen.append(ids.tolist())
            return _forward(ids, **options)

        monkeypatch.setattr(model, "forward", spy)
    return seen


def learnt(name: str, seed: int = 0, count: int = 1, **widths: int) -> LearnedToken:
    generator = torch.Generator().manual_seed(seed)
    vectors = {part: torch.randn(count, width, generator=generator) for part, width in (widths or XL).items()}
    return LearnedToken(name, vectors, f"{name}.safetensors")


def same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and torch.equal(one, other)


# ---------------------------------------------------------------- as diffusers


def test_sd_reads_what_its_pipeline_would(sd: Any) -> None:
    expected, unwanted = sd.encode_prompt("a red fox", "cpu", 1, True, "a cat")
    found = TextEncoders(sd).encode("a red fox", "a cat")
    assert same(found.prompt, expected)
    assert same(found.negative, unwanted)
    assert found.pooled is found.negative_pooled is None
    assert TextEncoders(sd).encode("a red fox", None).negative is None
    # SD takes the empty prompt for no words, not zeros.
    assert same(TextEncoders(sd).encode("a red fox", "").negative, sd.encode_prompt("", "cpu", 1, False)[0])


def test_clip_skip_of_sd_takes_the_layer_before_and_keeps_the_norm(sd: Any) -> None:
    ids = sd.tokenizer("a red fox", padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        states = sd.text_encoder(ids, output_hidden_states=True).hidden_states
        expected = sd.text_encoder.final_layer_norm(states[-2])
    assert same(TextEncoders(sd).encode("a red fox", None, clip_skip=1).prompt, expected)


@pytest.mark.parametrize("skip", [0, 1, 2, 3])
def test_sdxl_reads_what_its_pipeline_would(xl: Any, skip: int) -> None:
    expected = xl.encode_prompt("a red fox", device="cpu", negative_prompt="a cat", clip_skip=skip or None)
    found = TextEncoders(xl).encode("a red fox", "a cat", clip_skip=skip)
    assert found.prompt.shape == (1, 77, 192)
    assert same(found.prompt, expected[0])
    assert same(found.pooled, expected[2])
    assert same(found.negative_pooled, expected[3])
    # diffusers leaves the negative prompt at the last layer but one; we skip for both, so that guidance compares like
    # with like.
    skipped = xl.encode_prompt("a cat", device="cpu", do_classifier_free_guidance=False, clip_skip=skip or None)[0]
    assert same(found.negative, skipped)
    assert skip or same(found.negative, expected[1])


@pytest.mark.parametrize("negative", ["", "  ", "<lora:x:1>"])
def test_an_empty_negative_prompt_of_sdxl_is_zeros_where_the_model_says_so(
    xl: Any, negative: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert xl.config.force_zeros_for_empty_prompt
    expected = xl.encode_prompt("a fox", device="cpu")
    found = TextEncoders(xl).encode("a fox", negative)
    assert same(found.negative, expected[1])
    assert same(found.negative_pooled, expected[3])
    long = TextEncoders(xl).encode("fox " * 80, negative)
    assert long.negative is not None
    assert long.negative.shape == long.prompt.shape == (1, 154, 192)
    others = SimpleNamespace(
        **{part: getattr(xl, part) for part in ("tokenizer", "text_encoder", "tokenizer_2", "text_encoder_2")},
        config=SimpleNamespace(force_zeros_for_empty_prompt=False),
    )
    assert same(TextEncoders(others).encode("a fox", negative).negative, xl.encode_prompt("", device="cpu")[0])


def test_without_guidance_sdxl_reads_the_prompt_alone(xl: Any) -> None:
    found = TextEncoders(xl).encode("a fox", None)
    assert found.pooled is not None
    assert found.negative is found.negative_pooled is None


def test_a_learned_token_of_sdxl_is_what_diffusers_makes_of_a_textual_inversion(xl: Any, tmp_path: Path) -> None:
    from diffusers import StableDiffusionXLPipeline

    xl.save_pretrained(tmp_path)
    pipe = StableDiffusionXLPipeline.from_pretrained(tmp_path, local_files_only=True)
    token = learnt("zorp", count=3)
    for part, suffix in (("text_encoder", ""), ("text_encoder_2", "_2")):
        pipe.load_textual_inversion(
            token.vectors[part],
            token="zorp",
            text_encoder=getattr(pipe, part),
            tokenizer=getattr(pipe, f"tokenizer{suffix}"),
        )
    expected = pipe.encode_prompt("a red zorp fox", device="cpu", do_classifier_free_guidance=False)
    found = TextEncoders(xl).encode("a red zorp fox", None, learned=[token])
    assert (found.prompt - expected[0]).abs().max() < 1e-5
    assert found.pooled is not None
    assert (found.pooled - expected[2]).abs().max() < 1e-5


# ---------------------------------------------------------------- lengths and weights


def test_the_pooled_embedding_is_that_of_the_first_piece(xl: Any) -> None:
    encoders = TextEncoders(xl)
    long = encoders.encode("a fox BREAK a cat", "a cat BREAK a fox")
    assert long.prompt.shape == (1, 154, 192)
    assert long.pooled is not None
    assert torch.allclose(long.pooled, xl.encode_prompt("a fox", device="cpu")[2], atol=1e-6)
    assert not torch.allclose(long.pooled, xl.encode_prompt("a cat", device="cpu")[2], atol=1e-3)


def test_pieces_are_counted_by_the_encoder_that_takes_more(sd: Any, xl: Any) -> None:
    long = " ".join(["fox"] * 74 + ["glyph"])  # the name's letters are many tokens to whom it is not learned
    assert TextEncoders(sd).pieces("a fox", "cat " * 80) == 2
    assert TextEncoders(sd).pieces("a fox", None) == TextEncoders(sd).pieces("", "") == 1
    assert TextEncoders(sd).pieces(long, None, [learnt("glyph", text_encoder=64)]) == 1
    for part, width in XL.items():
        token = learnt("glyph", **{part: width})
        assert TextEncoders(xl).pieces(long, "", [token]) == 2
        assert TextEncoders(xl).encode(long, "", learned=[token]).prompt.shape == (1, 154, 192)
    assert TextEncoders(xl).pieces(long, "", [learnt("glyph")]) == 1


def test_weights_of_1_change_nothing(sd: Any, xl: Any) -> None:
    for pipe in (sd, xl):
        plain = TextEncoders(pipe).encode("a red fox in snow", "a cat")
        weighed = TextEncoders(pipe).encode("a (red:1.0) fox ([in]) snow", "(a cat:1)")
        assert same(weighed.prompt, plain.prompt)
        assert same(weighed.negative, plain.negative)


def test_words_of_sd_are_weighed_as_a1111_weighs_them(sd: Any) -> None:
    plain = TextEncoders(sd).encode("a red fox", None).prompt
    weights = torch.ones(77)
    weights[2] = 1.4
    expected = plain * weights[:, None]
    expected *= plain.mean() / expected.mean()
    assert torch.allclose(TextEncoders(sd).encode("a (red:1.4) fox", None).prompt, expected, atol=1e-6)


def test_words_of_sdxl_are_weighed_against_no_words(xl: Any) -> None:
    encoders = TextEncoders(xl)
    plain, empty = encoders.encode("a red fox", None), encoders.encode("", None).prompt
    found = encoders.encode("a (red:1.4) fox", None)
    weights = torch.ones(77)
    weights[2] = 1.4
    assert torch.allclose(found.prompt, empty + (plain.prompt - empty) * weights[:, None], atol=1e-5)
    assert same(found.prompt[:, :2], plain.prompt[:, :2])
    assert same(found.prompt[:, 3:], plain.prompt[:, 3:])
    assert same(found.pooled, plain.pooled)
    without = encoders.encode("a (red:0) fox", None).prompt
    assert torch.allclose(without[:, 2], empty[:, 2], atol=1e-5)


def test_a_weight_matters_in_its_own_piece_alone(sd: Any, xl: Any) -> None:
    for pipe in (sd, xl):
        plain = TextEncoders(pipe).encode("a fox BREAK a cat", None).prompt
        found = TextEncoders(pipe).encode("a fox BREAK a (cat:1.3)", None).prompt
        assert same(found[:, :77], plain[:, :77])
        assert not torch.allclose(found[:, 77:], plain[:, 77:])


@pytest.mark.parametrize("prompt", ["(" * 10_000 + "fox" + ")" * 10_000, "(fox:1e400)", "(fox:nan)", "[(fox:-99999)"])
def test_hostile_weights_give_finite_numbers(prompt: str, sd: Any, xl: Any) -> None:
    for pipe in (sd, xl):
        found = TextEncoders(pipe).encode(prompt, prompt)
        assert found.prompt.isfinite().all()
        assert found.prompt.abs().max() < 1e4


def test_clip_skip_must_leave_a_layer(sd: Any, xl: Any) -> None:
    assert (TextEncoders(sd).layers, TextEncoders(xl).layers) == (2, 4)
    for skip in (-1, 4, 10**9):
        with pytest.raises(InputError, match=f"clip_skip must be below 4, not {skip}"):
            TextEncoders(xl).encode("a fox", None, clip_skip=skip)


def test_widths_are_told_by_encoder(sd: Any, xl: Any) -> None:
    assert (TextEncoders(sd).widths, TextEncoders(xl).widths) == (SD, XL)


# ---------------------------------------------------------------- what is kept


def test_what_was_read_is_not_read_again(xl: Any, calls: list[Any]) -> None:
    encoders = TextEncoders(xl)
    first = encoders.encode("a fox", "a cat", state=("x", 0.8))
    assert len(calls) == 4
    again = encoders.encode("a fox, <lora:x:0.8>", "a cat", state=("x", 0.8))
    assert len(calls) == 5  # the comma
    again = encoders.encode("a fox <lora:x:0.8>", "a cat", state=("x", 0.8))
    assert len(calls) == 6 - 0 or len(calls) == 5
    for name in ("prompt", "negative", "pooled", "negative_pooled"):
        assert same(getattr(again, name), getattr(first, name))
