"""What models read of prompts: as diffusers' pipelines make it, weighed, kept, and in rows of a batch."""

from __future__ import annotations

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
        setattr(pipe, name, cls(config).float().eval())
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
    again = encoders.encode("a fox <lora:x:0.8>", "a cat", state=("x", 0.8))
    assert len(calls) == 4
    for name in ("prompt", "negative", "pooled", "negative_pooled"):
        assert same(getattr(again, name), getattr(first, name))
    swapped = encoders.encode("a cat", "a fox", state=("x", 0.8))
    assert len(calls) == 4
    assert same(swapped.prompt, first.negative)


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a cat"},
        {"prompt": "a (fox)"},
        {"prompt": "a fox BREAK"},
        {"clip_skip": 1},
        {"state": ("x", 0.9)},
        {"learned": [learnt("glyph", seed=1)]},
    ],
    ids=str,
)
def test_whatever_changes_the_numbers_is_read_anew(change: dict[str, Any], xl: Any, calls: list[Any]) -> None:
    asked: dict[str, Any] = {"prompt": "a fox", "negative": None, "state": ("x", 0.8)}
    if "learned" in change:
        asked |= {"prompt": "a glyph", "learned": [learnt("glyph")]}
    encoders = TextEncoders(xl)
    first = encoders.encode(**asked)
    changed = encoders.encode(**asked | change)
    assert len(calls) == 4
    fresh = TextEncoders(xl).encode(**asked | change)
    assert same(changed.prompt, fresh.prompt)
    assert same(encoders.encode(**asked).prompt, first.prompt)


def test_learned_tokens_are_told_apart_by_their_vectors_not_by_their_objects(xl: Any, calls: list[Any]) -> None:
    encoders = TextEncoders(xl)
    encoders.encode("a glyph", None, learned=[learnt("glyph")])
    encoders.encode("a glyph", None, learned=[learnt("glyph")])
    encoders.encode("a glyph", None, learned=[learnt("zorp", seed=1), learnt("glyph")])  # is not named
    assert len(calls) == 2


def test_the_precision_that_a_pipeline_is_cast_to_is_not_the_one_that_was_kept(sd: Any) -> None:
    encoders = TextEncoders(sd)
    assert encoders.encode("a fox", None).prompt.dtype == torch.float32
    try:
        sd.text_encoder.to(torch.bfloat16)
        assert encoders.encode("a fox", None).prompt.dtype == torch.bfloat16
    finally:
        sd.text_encoder.to(torch.float32)


def test_other_weights_of_the_same_words_are_not_read_anew(xl: Any, calls: list[Any]) -> None:
    encoders = TextEncoders(xl)
    found = [encoders.encode(prompt, None).prompt for prompt in ("a fox", "a (fox)", "a (fox:1.3)", "(a:0.9) fox")]
    assert len(calls) == 4  # the words, and no words, by two encoders
    for place, one in enumerate(found):
        assert not any(torch.allclose(one, other) for other in found[:place])
        assert same(encoders.encode("a fox", None).prompt, found[0])


def test_an_unknown_state_keeps_nothing(sd: Any, calls: list[Any]) -> None:
    encoders = TextEncoders(sd)
    for _ in range(2):
        encoders.encode("a fox", None, state=None)
    assert len(calls) == 2


def test_a_caller_may_change_what_it_got(xl: Any) -> None:
    encoders = TextEncoders(xl)
    first = encoders.encode("a fox", "a cat")
    kept = {name: getattr(first, name).clone() for name in ("prompt", "negative", "pooled", "negative_pooled")}
    for _ in range(2):
        found = encoders.encode("a fox", "a cat")
        for name, values in kept.items():
            assert same(getattr(found, name), values)
            getattr(found, name).zero_()


def test_what_is_kept_takes_bounded_memory(sd: Any, calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("velatura.generation.encoders._KEPT_BYTES", 2 * 77 * 64 * 4)
    encoders = TextEncoders(sd)
    for prompt in ("a fox", "a cat", "a fox", "a house", "a fox", "a cat"):
        encoders.encode(prompt, None)
    assert len(calls) == 4  # the cat was the one not used for longest
    encoders.encode("fox " * 200, None)
    encoders.encode("fox " * 200, None)  # too large to keep
    assert len(calls) == 6


# ---------------------------------------------------------------- rows of a batch


def test_rows_are_joined_in_order(xl: Any) -> None:
    encoders = TextEncoders(xl)
    rows = [encoders.encode("a fox", "a cat"), encoders.encode("a cat", "")]
    batch = Encoded.joined(rows)
    assert batch.prompt.shape == (2, 77, 192)
    for name in ("prompt", "negative", "pooled", "negative_pooled"):
        for place, row in enumerate(rows):
            assert same(getattr(batch, name)[place : place + 1], getattr(row, name))
    alone = Encoded.joined([TextEncoders(xl).encode("a fox", None)])
    assert alone.negative is None
    assert alone.negative_pooled is None


def test_unequal_rows_are_not_joined(sd: Any) -> None:
    encoders = TextEncoders(sd)
    short = encoders.encode("a fox", None)
    for other in (encoders.encode("fox " * 80, None), encoders.encode("a fox", "")):
        with pytest.raises(ValueError, match="equally long"):
            Encoded.joined([short, other])
    with pytest.raises(ValueError, match="must have rows"):
        Encoded.joined([])


# ---------------------------------------------------------------- textual inversions


@pytest.fixture
def inversion(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, **tensors: Tensor) -> Path:
        save_file(tensors, tmp_path / f"{name}.safetensors")
        return tmp_path / f"{name}.safetensors"

    return write


def test_textual_inversions_are_called_by_their_files(inversion: Callable[..., Path], sd: Any, xl: Any) -> None:
    one = inversion("zorp", emb_params=torch.ones(2, 64))
    [token] = tokens_of([one, str(one)], SD)
    assert (token.name, token.length) == ("zorp", 2)
    named = TextEncoders(sd).encode("a (zorp:1.0) fox", None, learned=[token])
    assert not torch.allclose(named.prompt, TextEncoders(sd).encode("a zorp fox", None).prompt)
    both = inversion("glyph", clip_l=torch.ones(2, 64), clip_g=torch.ones(2, 128))
    [token] = tokens_of([both], XL)
    assert {part: vectors.shape for part, vectors in token.vectors.items()} == {
        "text_encoder": (2, 64),
        "text_encoder_2": (2, 128),
    }
    assert tokens_of([], SD) == ()


def test_a_textual_inversion_of_the_first_encoder_alone_is_used_in_part(inversion: Callable[..., Path]) -> None:
    one = inversion("zorp", emb_params=torch.ones(2, 64))
    with pytest.warns(PaintingWarning, match=r"zorp\.safetensors has no vectors for text_encoder_2, which reads"):
        [token] = tokens_of([one], XL)
    assert list(token.vectors) == ["text_encoder"]


@pytest.mark.parametrize(("width", "widths"), [(96, SD), (96, XL), (128, XL)])
def test_a_textual_inversion_of_another_model_is_refused(
    width: int, widths: dict[str, int], inversion: Callable[..., Path]
) -> None:
    reads = " and ".join(map(str, widths.values()))
    with pytest.raises(
        IncompatibleAdapter,
        match=f"^zorp.safetensors was made for another model: its vectors have {width} values, "
        f"and this model reads {reads}$",
    ):
        tokens_of([inversion("zorp", emb_params=torch.ones(2, width))], widths)


def test_what_is_made_for_sdxl_is_refused_by_sd(inversion: Callable[..., Path]) -> None:
    one = inversion("zorp", clip_l=torch.ones(2, 64), clip_g=torch.ones(2, 128))
    with pytest.raises(IncompatibleAdapter, match=r"its vectors have 64 and 128 values, and this model reads 64$"):
        tokens_of([one], SD)


def test_files_that_cannot_be_read_are_told_in_one_sentence(inversion: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 100)
    (tmp_path / "bad.pt").write_bytes(b"PK")
    lora = inversion("lora", **{"lora_unet_x.lora_up.weight": torch.ones(2, 2), "y.lora_down.weight": torch.ones(1)})
    for path, error, sentence in (
        (tmp_path / "none.safetensors", InputError, "there is no textual inversion"),
        (tmp_path, InputError, "there is no textual inversion"),
        (tmp_path / ("x" * 5000), InputError, "there is no textual inversion"),
        ("a\0b", InputError, "there is no textual inversion"),
        (
            tmp_path / "bad.safetensors",
            UnreadableFile,
            r"^bad\.safetensors cannot be read \(.+\); take another copy of it$",
        ),
        (tmp_path / "bad.pt", UnreadableFile, "is a pickle"),
        (lora, UnreadableFile, "is no textual inversion"),
    ):
        with pytest.raises(error, match=sentence) as caught:
            tokens_of([path], SD)
        assert "\n" not in str(caught.value)


def test_two_files_of_one_name_are_refused(inversion: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one, other = inversion("zorp", emb_params=torch.ones(2, 64)), inversion("other/Zorp", emb_params=torch.ones(64))
    with pytest.raises(InputError, match="are both called 'Zorp' in prompts; rename one of them"):
        tokens_of([one, other], SD)


# ---------------------------------------------------------------- FLUX


@pytest.fixture(scope="module")
def flux(sd: Any) -> Any:
    from diffusers import FluxPipeline
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    words = Tokenizer(
        WordLevel({"<pad>": 0, "<unk>": 1, "a": 2, "fox": 3, "red": 4, "(": 5, ":": 6}, unk_token="<unk>")
    )
    words.pre_tokenizer = Whitespace()
    torch.manual_seed(0)
    t5 = T5EncoderModel(T5Config(vocab_size=8, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)).eval()
    return FluxPipeline(
        scheduler=None,
        vae=None,
        text_encoder=sd.text_encoder,
        tokenizer=sd.tokenizer,
        text_encoder_2=t5,
        tokenizer_2=PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>"),
        transformer=None,
    )


def test_flux_reads_the_words_as_its_pipeline_reads_them(flux: Any) -> None:
    with torch.no_grad():
        expected = flux.encode_prompt("a red fox", max_sequence_length=16)
    found = encode_flux(flux, "a (red:1.3) fox <lora:x:0.8>", length=16)
    assert [part.shape for part in found] == [(1, 16, 32), (1, 64), (16, 3)]
    assert all(same(one, other) for one, other in zip(found, expected, strict=True))


def test_flux_reads_once_and_its_callers_may_change_what_they_got(flux: Any, calls: list[Any]) -> None:
    first = encode_flux(flux, "a fox", state="x", length=16)
    kept = [part.clone() for part in first]
    for part in first:
        part.zero_()
    assert all(same(*pair) for pair in zip(encode_flux(flux, "a  (fox)", state="x", length=16), kept, strict=True))
    assert len(calls) == 1
    encode_flux(flux, "a fox", state="y", length=16)
    encode_flux(flux, "a fox", state="x", length=8)
    encode_flux(flux, "a fox", state=None, length=16)
    assert len(calls) == 4
