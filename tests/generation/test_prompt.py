"""Prompts reach the text encoder whole, at the layer that was asked for, and without tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from velatura.generation.prompt import encode

Encode = Any


@pytest.fixture(scope="module")
def tokenizer(checkpoint: Path) -> Any:
    return CLIPTokenizer.from_pretrained(checkpoint / "tokenizer", local_files_only=True)


@pytest.fixture
def read(tokenizer: Any, models: dict[str, Any]) -> Encode:
    """Encode a prompt and a negative one."""

    def run(prompt: str, negative: str | None = None, **options: Any) -> tuple[Tensor, Tensor | None]:
        return encode(prompt, negative, tokenizer=tokenizer, encoder=models["text_encoder"], **options)

    return run


@pytest.fixture
def seen(models: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The token rows that reach the encoder."""
    rows: list[list[int]] = []
    forward = models["text_encoder"].forward

    def spy(ids: Tensor, **options: Any) -> Any:
        rows.extend(ids.tolist())
        return forward(ids, **options)

    monkeypatch.setattr(models["text_encoder"], "forward", spy)
    return rows


def test_a_short_prompt_is_what_the_pipeline_of_diffusers_makes_of_it(
    read: Encode, checkpoint: Path, models: dict[str, Any]
) -> None:
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(checkpoint).to(torch.float32)
    expected, unwanted = pipe.encode_prompt("a red fox", "cpu", 1, True, "a cat")
    positive, negative = read("a red fox", "a cat")
    assert torch.equal(positive, expected)
    assert torch.equal(negative, unwanted)


def test_clip_skip_leaves_out_the_last_layers_and_keeps_the_last_norm(read: Encode, models: dict[str, Any]) -> None:
    encoder = models["text_encoder"]
    outputs: list[Tensor] = []
    hooks = [layer.register_forward_hook(lambda *call: outputs.append(call[2])) for layer in encoder.encoder.layers]
    whole, _ = read("a red fox")
    for hook in hooks:
        hook.remove()
    first, last = (output[0] if isinstance(output, tuple) else output for output in outputs)
    assert torch.equal(whole, encoder.final_layer_norm(last))
    assert torch.equal(read("a red fox", clip_skip=1)[0], encoder.final_layer_norm(first))


def test_a_long_prompt_is_read_in_pieces_of_75_each_by_itself(read: Encode, seen: list[list[int]]) -> None:
    long, _ = read(" ".join(["fox"] * 75 + ["cat"] * 10))
    assert long.shape == (1, 154, 64)
    assert [len(row) for row in seen] == [77, 77]
    assert seen[1][11:] == [576] * 66  # ten cats behind the start, then ends
    assert torch.equal(long[:, :77], read(" ".join(["fox"] * 75))[0])
    assert torch.equal(long[:, 77:], read(" ".join(["cat"] * 10))[0])


def test_the_cut_falls_behind_a_near_comma(read: Encode, seen: list[list[int]], tokenizer: Any) -> None:
    read(" ".join(["fox"] * 70 + [","] + ["cat"] * 10))
    comma, cat = tokenizer.convert_tokens_to_ids([",</w>", "cat</w>"])
    assert seen[0][70:73] == [tokenizer.convert_tokens_to_ids("fox</w>"), comma, 576]
    assert seen[1][:11] == [575] + [cat] * 10


def test_a_far_comma_does_not_move_the_cut(read: Encode, seen: list[list[int]]) -> None:
    read(" ".join(["fox"] * 50 + [","] + ["cat"] * 40))
    assert 576 not in seen[0][:76]


def test_break_starts_a_new_piece(read: Encode) -> None:
    both, _ = read("a red fox BREAK a cat")
    assert torch.equal(both, torch.cat([read("a red fox")[0], read("a cat")[0]], dim=1))


def test_the_shorter_prompt_is_filled_up_with_empty_pieces(read: Encode) -> None:
    positive, negative = read("a fox", "cat " * 80)
    assert positive.shape == negative.shape == (1, 154, 64)
    assert torch.equal(positive[:, 77:], read("")[0])
    positive, negative = read("cat " * 160, "")
    assert positive.shape == negative.shape == (1, 231, 64)


@pytest.mark.parametrize("tag", ["<lora:style1:0.8>", "<lyco:x:te=1:unet=0.5>", "<hypernet:y:1>"])
def test_tags_never_reach_the_encoder(tag: str, read: Encode, seen: list[list[int]]) -> None:
    read(f"a red fox {tag}", f"a cat {tag}")
    tagged = list(seen)
    seen.clear()
    read("a red fox", "a cat")
    assert tagged == seen


def test_any_text_encodes(read: Encode) -> None:
    for text in ("", "   ", "狐 \U0001f98a", "\x00\n\t", "é" * 500, ",,,,,", "BREAK BREAK", "a \ud800 fox \udfff"):
        positive, _ = read(text)
        assert positive.isfinite().all()


def test_the_text_models_wrapper_of_older_transformers_is_known(
    read: Encode, models: dict[str, Any], tokenizer: Any
) -> None:
    inner = models["text_encoder"]

    class Wrapped:
        config, device, text_model = inner.config, inner.device, inner

        def __call__(self, *call: Any, **options: Any) -> Any:
            return inner(*call, **options)

    old, _ = encode("a fox", None, tokenizer=tokenizer, encoder=Wrapped(), clip_skip=1)
    assert torch.equal(old, read("a fox", clip_skip=1)[0])
