"""Prompts reach the text encoder whole, at the layer that was asked for, without tags and with learned tokens."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from velatura.errors import VelaturaError
from velatura.generation.adapters.embeddings import LearnedToken
from velatura.generation.encoders import TextEncoders
from velatura.generation.prompt import ambiguous

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


def encode(
    prompt: str, negative: str | None, *, tokenizer: Any, encoder: Any, **options: Any
) -> tuple[Tensor, Tensor | None]:
    found = TextEncoders(SimpleNamespace(tokenizer=tokenizer, text_encoder=encoder)).encode(prompt, negative, **options)
    return found.prompt, found.negative


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
        config, device, dtype, text_model = inner.config, inner.device, inner.dtype, inner

        def __call__(self, *call: Any, **options: Any) -> Any:
            return inner(*call, **options)

    old, _ = encode("a fox", None, tokenizer=tokenizer, encoder=Wrapped(), clip_skip=1)
    assert torch.equal(old, read("a fox", clip_skip=1)[0])


def learnt(name: str, *, count: int = 1, part: str = "text_encoder") -> LearnedToken:
    vectors = torch.randn(count, 64, generator=torch.Generator().manual_seed(sum(map(ord, name))))
    return LearnedToken(name, {part: vectors}, "foxy.safetensors")


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("name", ["<s0>", "zorp"])
def test_a_learned_token_is_what_diffusers_makes_of_a_textual_inversion(
    name: str, count: int, read: Encode, checkpoint: Path
) -> None:
    from diffusers import StableDiffusionPipeline

    token = learnt(name, count=count)
    pipe = StableDiffusionPipeline.from_pretrained(checkpoint).to(torch.float32)
    pipe.load_textual_inversion(token.vectors["text_encoder"], token=name)
    prompt, negative = f"a red {name}, {name} in the snow", f"{name} cat"
    expected, unwanted = pipe.encode_prompt(prompt, "cpu", 1, True, negative)
    positive, away = read(prompt, negative, learned=[token])
    assert (positive - expected).abs().max() < 1e-5
    assert away is not None
    assert (away - unwanted).abs().max() < 1e-5
    assert not torch.allclose(positive, read(prompt)[0])


def test_tokens_of_pivotal_tuning_stand_one_behind_the_other(read: Encode, checkpoint: Path) -> None:
    from diffusers import StableDiffusionPipeline

    tokens = [learnt("<s0>"), learnt("<s1>")]
    pipe = StableDiffusionPipeline.from_pretrained(checkpoint).to(torch.float32)
    vectors = torch.cat([token.vectors["text_encoder"] for token in tokens])
    pipe.load_textual_inversion(vectors, token=["<s0>", "<s1>"])
    expected, _ = pipe.encode_prompt("a photo of <s0><s1> fox", "cpu", 1, False)
    assert (read("a photo of <s0><s1> fox", learned=tokens)[0] - expected).abs().max() < 1e-5


def test_clip_skip_holds_for_learned_tokens(read: Encode, models: dict[str, Any]) -> None:
    encoder = models["text_encoder"]
    outputs: list[Tensor] = []
    hook = encoder.encoder.layers[0].register_forward_hook(lambda *call: outputs.append(call[2]))
    skipped, _ = read("a zorp fox", clip_skip=1, learned=[learnt("zorp")])
    hook.remove()
    first = outputs[0][0] if isinstance(outputs[0], tuple) else outputs[0]
    assert torch.equal(skipped, encoder.final_layer_norm(first))
    assert not torch.allclose(skipped, read("a zorp fox", clip_skip=1)[0])


@pytest.mark.parametrize(
    "prompt",
    ["a fox, zorp", "a fox, ZORP", "a fox, embedding:Zorp", "a fox, embedding:zorp.safetensors", "a fox, <zorp>"],
)
def test_a_token_is_named_in_every_way_that_the_field_has(prompt: str, read: Encode, seen: list[list[int]]) -> None:
    named, _ = read(prompt, learned=[learnt("zorp")])
    assert len([number for number in seen[0] if number != 576]) == 1 + 3 + 1  # start, three words, the vector's place
    assert torch.equal(named, read("a fox, zorp", learned=[learnt("zorp")])[0])


@pytest.mark.parametrize("prompt", ["a zorpy fox", "a fox called xzorp", "<lora:zorp:1> a fox", "zor p", "zorp_2"])
def test_a_part_of_a_word_and_a_tag_name_no_token(prompt: str, read: Encode) -> None:
    assert torch.equal(read(prompt, learned=[learnt("zorp")])[0], read(prompt)[0])


def test_a_name_is_found_however_its_accents_are_written(read: Encode) -> None:
    composed, decomposed = "zörp", "zo\u0308rp"
    token = learnt(composed)
    assert torch.equal(read(decomposed, learned=[token])[0], read(composed, learned=[token])[0])
    assert not torch.allclose(read(decomposed, learned=[token])[0], read(decomposed)[0])


def test_weights_stand_around_a_token_as_around_a_word(read: Encode, seen: list[list[int]]) -> None:
    token = learnt("zorp", count=2)
    weighed, _ = read("a (zorp:1.2) fox", learned=[token])
    plain, _ = read("a zorp fox", learned=[token])
    assert seen[0] == seen[1]
    changed = (weighed / plain)[0].mean(-1) / (weighed / plain)[0, 0].mean()  # the mean is restored over all
    assert torch.allclose(changed[2:4], torch.tensor(1.2), atol=1e-4)
    assert torch.allclose(changed[[0, 1, 4, 5, 76]], torch.tensor(1.0), atol=1e-4)


@pytest.mark.parametrize("written", ["a zorp (v1:2) fox", r"a zorp \(v1:2\) fox"])
def test_a_name_may_hold_the_brackets_of_weights(written: str, read: Encode) -> None:
    named, _ = read(written, learned=[learnt("zorp (v1:2)")])
    other = LearnedToken("glyph", learnt("zorp (v1:2)").vectors, "")
    assert torch.equal(named, read("a glyph fox", learned=[other])[0])


def test_weights_follow_their_words_into_the_next_piece(read: Encode) -> None:
    words = ["fox"] * 70 + [","]
    long, _ = read(" ".join([*words, "(", *["cat"] * 10, ":1.5)"]))
    assert torch.equal(long[:, :77], read(" ".join(words))[0])
    assert torch.equal(long[:, 77:], read("(" + " ".join(["cat"] * 10) + ":1.5)")[0])
    longer, _ = read(" ".join(["fox"] * 80 + ["(cat:1.5)"] + ["fox"] * 80))
    assert torch.equal(longer[:, 77:154], read(" ".join(["fox"] * 5 + ["(cat:1.5)"] + ["fox"] * 69))[0])
    assert torch.equal(longer[:, 154:], read(" ".join(["fox"] * 11))[0])
    apart, _ = read("(a fox BREAK a cat:1.5)")
    assert torch.equal(apart, torch.cat([read("(a fox:1.5)")[0], read("(a cat:1.5)")[0]], dim=1))


def test_the_longest_name_is_read(read: Encode) -> None:
    tokens = [learnt("zorp"), learnt("zorp-two words"), learnt("two words of it")]
    named, _ = read("a zorp-two\n words fox", learned=tokens)
    assert torch.equal(named, read("a glyph fox", learned=[LearnedToken("glyph", tokens[1].vectors, "")])[0])


def test_an_ordinary_word_keeps_its_meaning_unless_the_token_is_asked_for(
    read: Encode, tokenizer: Any, models: dict[str, Any]
) -> None:
    tokens = [learnt("fox"), learnt("the painting"), learnt(",")]
    prompt = "a fox, the painting of a fox"
    assert torch.equal(read(prompt, learned=tokens)[0], read(prompt)[0])
    assert not torch.allclose(read("a <fox>", learned=tokens)[0], read("a <fox>")[0])
    asked = read("a <fox>", learned=tokens)[0]
    assert torch.equal(asked, read("a embedding:fox", learned=tokens)[0])
    assert torch.equal(asked, read("a zorp", learned=[LearnedToken("zorp", tokens[0].vectors, "")])[0])
    told = ambiguous("a red Fox, <the painting>", tokens[:2], tokenizer)
    assert told == (
        "“fox” keeps its ordinary meaning, though foxy.safetensors brings a learned token of the same name; "
        "write <fox> to mean that",
    )
    assert ambiguous("a zorp <fox>", [learnt("zorp"), learnt("fox")], tokenizer) == ()


def test_a_cut_never_parts_the_vectors_of_a_token(read: Encode, seen: list[list[int]]) -> None:
    token = learnt("zorp", count=10)
    long, _ = read(" ".join(["fox"] * 70 + ["zorp"] + ["cat"] * 5), learned=[token])
    assert seen[0][71:] == [576] * 6
    assert torch.equal(long[:, 77:], read("zorp " + "cat " * 5, learned=[token])[0])
    assert read(" ".join(["zorp"] * 9), learned=[token])[0].shape == (1, 154, 64)
    whole = learnt("glyph", count=75)
    assert read("fox glyph fox", learned=[whole])[0].shape == (1, 3 * 77, 64)
    # A near comma is where the cut falls all the same.
    seen.clear()
    read(" ".join(["fox"] * 65 + [","] + ["fox"] * 4 + ["zorp"]), learned=[token])
    assert seen[0][67:] == [576] * 10


def test_nothing_is_left_behind(read: Encode, tokenizer: Any, models: dict[str, Any]) -> None:
    encoder = models["text_encoder"]
    before = {name: values.clone() for name, values in encoder.state_dict().items()}
    vocabulary, plain = dict(tokenizer.get_vocab()), read("a zorp fox")[0]
    with pytest.raises(RuntimeError):
        read("a zorp fox", learned=[LearnedToken("zorp", {"text_encoder": torch.zeros(1, 8)}, "")])  # too narrow
    read("a zorp fox", learned=[learnt("zorp")])
    assert tokenizer.get_vocab() == vocabulary
    assert encoder.state_dict().keys() == before.keys()
    assert all(torch.equal(values, before[name]) for name, values in encoder.state_dict().items())
    assert not any(module._forward_hooks for module in encoder.modules())
    assert torch.equal(read("a zorp fox")[0], plain)


def test_a_thread_that_wears_tokens_does_not_disturb_one_that_wears_none(read: Encode) -> None:
    token = learnt("zorp")
    worn, plain = read("a zorp fox", learned=[token])[0], read("a zorp fox")[0]
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(read, "a zorp fox", learned=[token] * (place % 2)) for place in range(60)]
        for place, run in enumerate(runs):
            assert torch.equal(run.result()[0], worn if place % 2 else plain)


def test_half_precision_takes_the_vectors_in_half_precision(
    read: Encode, models: dict[str, Any], tokenizer: Any
) -> None:
    whole = read("a zorp fox", learned=[learnt("zorp")])[0]
    half = models["text_encoder"].to(torch.bfloat16)
    found, _ = encode("a zorp fox", None, tokenizer=tokenizer, encoder=half, learned=[learnt("zorp")])
    assert found.dtype == torch.bfloat16
    assert (found.float() - whole).abs().mean() < 0.05


def test_a_compiled_encoder_reads_learned_tokens(read: Encode, models: dict[str, Any], tokenizer: Any) -> None:
    compiled = torch.compile(models["text_encoder"], backend="eager")
    found, _ = encode("a zorp fox", None, tokenizer=tokenizer, encoder=compiled, learned=[learnt("zorp")])
    assert torch.equal(found, read("a zorp fox", learned=[learnt("zorp")])[0])


def test_an_encoder_that_cannot_take_learned_tokens_is_told_of(models: dict[str, Any], tokenizer: Any) -> None:
    inner = models["text_encoder"]

    class Other:
        config, device, dtype = inner.config, inner.device, inner.dtype

        def __call__(self, ids: Tensor, **options: Any) -> Any:
            return inner(ids.flip(1), **options)

    with pytest.raises(VelaturaError, match="in which learned tokens cannot take part"):
        encode("a zorp fox", None, tokenizer=tokenizer, encoder=Other(), learned=[learnt("zorp")])
