"""Learned tokens are found in every form that trainers write, inside an adapter and beside it, and never trusted."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from velatura.errors import UnreadableFile
from velatura.generation.adapters.embeddings import Learned, LearnedToken, learned_tokens, read_embedding, worn
from velatura.generation.adapters.file import AdapterFile

WIDTHS = {"text_encoder": 64}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def bundled(adapters: list[Path], tmp_path: Path) -> Callable[..., Path]:
    """Write an adapter with further tensors in it."""

    def make(tensors: dict[str, Tensor], header: dict[str, str] | None = None, name: str = "foxy") -> Path:
        path = tmp_path / f"{name}.safetensors"
        save_file(load_file(adapters[0]) | tensors, path, metadata=header)
        return path

    return make


@pytest.fixture
def beside(adapters: list[Path], tmp_path: Path) -> Callable[..., Path]:
    """Write an adapter, and files beside it."""

    def make(name: str, files: dict[str, dict[str, Tensor]]) -> Path:
        path = tmp_path / f"{name}.safetensors"
        shutil.copy(adapters[0], path)
        for other, tensors in files.items():
            (tmp_path / other).parent.mkdir(exist_ok=True)
            save_file(tensors, tmp_path / other)
        return path

    return make


def read(path: Path) -> Learned:
    return learned_tokens(AdapterFile(path))


def names(found: Learned) -> list[str]:
    return [token.name for token in found.tokens]


def test_most_adapters_bring_none(adapters: list[Path]) -> None:
    assert read(adapters[0]) == Learned()


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("bundle_emb.zorp.string_to_param.*", (3, 64)),  # A1111, HCP
        ("bundle_emb.zorp.clip_l", (2, 64)),  # OneTrainer
        ("bundle_emb.zorp.emb_params", (2, 64)),
        ("bundle_emb.zorp.<cat-toy>", (64,)),  # one of diffusers' own, bundled
    ],
)
def test_a_bundled_token_is_called_by_its_name(key: str, shape: tuple[int, ...], bundled: Callable[..., Path]) -> None:
    values = random(*shape).half()
    found = read(bundled({key: values}))
    assert names(found) == ["zorp"]
    assert found.left_out == ()
    vectors = found.tokens[0].vectors
    assert list(vectors) == ["text_encoder"]
    assert torch.equal(vectors["text_encoder"], values.float().reshape(-1, 64))
    assert found.tokens[0].length == vectors["text_encoder"].shape[0]


def test_tokens_of_sdxl_have_vectors_for_both_text_encoders(bundled: Callable[..., Path]) -> None:
    first, second = random(2, 64), random(2, 96)
    found = read(bundled({"bundle_emb.v1.5 fox.clip_l": first, "bundle_emb.v1.5 fox.clip_g": second}))
    (token,) = found.tokens
    assert token.name == "v1.5 fox"  # a dot ends no name
    assert torch.equal(token.vectors["text_encoder"], first)
    assert torch.equal(token.vectors["text_encoder_2"], second)
    (sentence,) = worn([found], WIDTHS).left_out
    assert sentence == (
        "foxy.safetensors: the learned token 'v1.5 fox' is left out: it is made for a model with more text encoders"
    )
    both = worn([found], {"text_encoder": 64, "text_encoder_2": 96})
    assert both.tokens == (token,)
    assert both.left_out == ()


def test_tokens_of_a_safelora_are_called_by_their_keys(bundled: Callable[..., Path]) -> None:
    tensors = {"<s1>": random(64, seed=1), "<s2>": random(64, seed=2), "krk": random(64, seed=3)}
    header = {"<s1>": "<embed>", "<s2>": "<embed>", "krk": "<embed>", "text_encoder": json.dumps(["CLIPAttention"])}
    found = read(bundled(tensors, header))
    assert names(found) == ["<s1>", "<s2>", "krk"]
    for token in found.tokens:
        assert torch.equal(token.vectors["text_encoder"], tensors[token.name][None])


def test_an_embedding_without_a_name_is_called_by_the_file(bundled: Callable[..., Path]) -> None:
    assert names(read(bundled({"emb_params": random(4, 64)}, name="inky"))) == ["inky"]


def test_vectors_that_no_encoder_of_ours_reads_are_told(bundled: Callable[..., Path]) -> None:
    tensors = {f"bundle_emb.zorp.{key}": random(1, 64) for key in ("clip_l", "t5", "clip_l_out")}
    found = read(bundled(tensors | {"bundle_emb.glyph.clip_l_out": random(1, 64)}))
    assert names(found) == ["zorp"]
    assert found.left_out == (
        "foxy.safetensors: the learned token 'glyph' is left out: none of its tensors is known to be vectors of a word",
        "foxy.safetensors: of the token 'zorp', 'clip_l_out, t5' is not used",
    )


@pytest.mark.parametrize(
    ("adapter", "embedding"),
    [
        ("teratera", "teratera_emb.safetensors"),
        ("pytorch_lora_weights", "anything_emb.safetensors"),
        ("pytorch_lora_weights", "embeddings.safetensors"),
        ("lora", "embeddings.pti"),
    ],
)
@pytest.mark.parametrize("keys", [("clip_l", "clip_g"), ("text_encoders_0", "text_encoders_1"), ("clip_l",)])
def test_pivotal_tuning_keeps_its_tokens_beside_the_adapter(
    adapter: str, embedding: str, keys: tuple[str, ...], beside: Callable[..., Path]
) -> None:
    values = dict(zip(keys, (random(2, 64), random(2, 96)), strict=False))
    found = read(beside(adapter, {embedding: values}))
    whole = [] if embedding.startswith("embeddings") else [embedding.removesuffix(".safetensors")]
    assert names(found) == ["<s0>", "<s1>", *whole]
    assert found.tokens[0].source == embedding
    for part, key in zip(("text_encoder", "text_encoder_2"), keys, strict=False):
        assert torch.equal(found.tokens[0].vectors[part], values[key][:1])
        assert torch.equal(found.tokens[1].vectors[part], values[key][1:])
        assert all(torch.equal(token.vectors[part], values[key]) for token in found.tokens[2:])


def test_what_belongs_to_another_adapter_is_not_taken(beside: Callable[..., Path]) -> None:
    vectors = {"clip_l": random(2, 64)}
    others = dict.fromkeys(("inky_emb.safetensors", "embeddings.safetensors", "embeddings.pti"), vectors)
    assert read(beside("foxy", {**others, "embeddings/foxy.safetensors": vectors})) == Learned()
    # Of several in one folder none is known to be the adapter's.
    two = {"one_emb.safetensors": vectors, "two_emb.safetensors": vectors}
    path = beside("pytorch_lora_weights", two)
    for name in ("inky_emb.safetensors", "embeddings.safetensors", "embeddings.pti"):
        (path.parent / name).unlink()
    assert read(path) == Learned()


def test_another_adapter_that_is_called_like_an_embedding_is_no_embedding(
    beside: Callable[..., Path], adapters: list[Path]
) -> None:
    assert read(beside("style", {"style_emb.safetensors": load_file(adapters[1])})) == Learned()


def test_the_folder_of_onetrainer_is_read(beside: Callable[..., Path]) -> None:
    files = {
        "foxy.safetensors_embeddings/zorp.safetensors": {"emp_params": random(2, 64), "emp_params_out": random(2, 64)},
        "foxy.safetensors_embeddings/glyph.safetensors": {"clip_l": random(1, 64)},
    }
    found = read(beside("foxy", files))
    assert names(found) == ["glyph", "zorp"]
    assert found.left_out == ("zorp.safetensors: of the token 'zorp', 'emp_params_out' is not used",)


def test_a_textual_inversion_of_its_own_is_called_by_its_file_and_its_key(tmp_path: Path) -> None:
    for key, expected in (
        ("emb_params", ["EasyNeg"]),
        ("<cat-toy>", ["<cat-toy>", "EasyNeg"]),
        ("clip_l", ["EasyNeg"]),
    ):
        save_file({key: random(2, 64)}, tmp_path / "EasyNeg.safetensors")
        assert names(read_embedding(tmp_path / "EasyNeg.safetensors")) == expected


def test_what_is_no_textual_inversion_is_refused(tmp_path: Path, adapters: list[Path]) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"\x80\x04nothing that is ever unpickled")
    save_file({"emb_params": torch.full((1, 64), torch.nan)}, tmp_path / "nan.safetensors")
    for path, sentence in (
        (adapters[0], r"^style1\.safetensors is no textual inversion$"),
        (tmp_path / "x.pt", r"^x\.pt is a pickle, which can run code when opened; only \.safetensors files are read$"),
        (tmp_path / "a.safetensors", r"^a\.safetensors cannot be read \(.+\); take another copy of it$"),
        (tmp_path / "nan.safetensors", r"^nan\.safetensors is no textual inversion that can be used: its vectors hold"),
        (tmp_path / "gone.safetensors", r"^gone\.safetensors cannot be read"),
    ):
        with pytest.raises(UnreadableFile, match=sentence):
            read_embedding(path)


HOSTILE: dict[str, tuple[Tensor, str]] = {
    "bundle_emb.bad.clip_l": (random(10_000, 8), "it has 10000 vectors, and a prompt has room for 1 to 75"),
    "bundle_emb.empty.clip_l": (torch.zeros(0, 64), "it has 0 vectors"),
    "bundle_emb.thin.clip_l": (torch.zeros(2, 0), r"a tensor of shape \(2, 0\)"),
    "bundle_emb.wide.clip_l": (torch.zeros(1, 9000), r"a tensor of shape \(1, 9000\) and type F32 is no vectors"),
    "bundle_emb.cube.clip_l": (torch.zeros(1, 2, 64), r"a tensor of shape \(1, 2, 64\)"),
    "bundle_emb.number.clip_l": (torch.tensor(1.0), r"a tensor of shape \(\)"),
    "bundle_emb.whole.clip_l": (torch.zeros(1, 64, dtype=torch.int64), "type I64 is no vectors"),
    "bundle_emb.nan.clip_l": (torch.full((1, 64), torch.nan), "its vectors hold NaN"),
    "bundle_emb.inf.clip_l": (torch.full((1, 64), torch.inf), "its vectors hold NaN"),
    "bundle_emb.huge.clip_l": (torch.full((1, 64), 1e30), "its vectors hold NaN"),
    "bundle_emb.\x1b[31mred\n.clip_l": (torch.zeros(1, 64), "a name must have 1 to 100 printable characters"),
    "bundle_emb. .clip_l": (torch.zeros(1, 64), "a name must have 1 to 100 printable characters"),
    f"bundle_emb.{'x' * 5000}.clip_l": (torch.zeros(1, 64), "a name must have 1 to 100 printable characters"),
    "bundle_emb.<lora:x:1>.clip_l": (torch.zeros(1, 64), "a prompt would take its name for a tag"),
}


@pytest.mark.parametrize("key", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_token_is_left_out_and_its_neighbour_is_not(key: str, bundled: Callable[..., Path]) -> None:
    tensor, reason = HOSTILE[key]
    found = read(bundled({key: tensor, "bundle_emb.zorp.clip_l": random(1, 64)}))
    assert names(found) == ["zorp"]
    (sentence,) = found.left_out
    assert sentence.isprintable()
    assert len(sentence) < 300
    assert re.search(reason, sentence)


def test_vectors_of_two_encoders_must_be_as_many(bundled: Callable[..., Path]) -> None:
    found = read(bundled({"bundle_emb.zorp.clip_l": random(2, 64), "bundle_emb.zorp.clip_g": random(3, 64)}))
    assert found.tokens == ()
    assert "not as many vectors" in found.left_out[0]


def test_a_flood_of_tokens_is_cut_off_and_told_in_few_sentences(bundled: Callable[..., Path]) -> None:
    tensors = {f"bundle_emb.n{number:04}.clip_l": torch.full((1, 4), torch.nan) for number in range(1500)}
    found = read(bundled(tensors))
    assert found.tokens == ()
    assert len(found.left_out) == 4
    assert found.left_out[0] == "foxy.safetensors brings 1500 learned tokens, of which the first 1000 are read"
    assert found.left_out[3] == "foxy.safetensors: 998 more of its learned tokens are left out"


def test_a_damaged_file_beside_the_adapter_costs_only_its_tokens(beside: Callable[..., Path]) -> None:
    path = beside("foxy", {"foxy_emb.safetensors": {"clip_l": random(2, 64)}})
    embedding = path.with_name("foxy_emb.safetensors")
    embedding.write_bytes(embedding.read_bytes()[:-7])
    found = read(path)
    assert found.tokens == ()
    (sentence,) = found.left_out
    assert sentence.startswith("foxy_emb.safetensors cannot be read, so its learned tokens are left out: ")


def test_a_file_with_a_very_long_name_is_no_obstacle(adapters: list[Path], tmp_path: Path) -> None:
    path = tmp_path / f"{'x' * 243}.safetensors"
    shutil.copy(adapters[0], path)
    assert read(path) == Learned()


def token(name: str, width: int, source: str) -> LearnedToken:
    return LearnedToken(name, {"text_encoder": torch.zeros(1, width)}, source)


def test_of_two_tokens_of_one_name_the_first_is_worn() -> None:
    first, second = token("<s0>", 64, "a.safetensors"), token("<S0>", 64, "b.safetensors")
    other = token("<s1>", 64, "b.safetensors")
    found = worn([Learned((first,)), Learned((second, other))], WIDTHS)
    assert found.tokens == (first, other)
    assert found.left_out == (
        "b.safetensors: the learned token '<S0>' is left out: "
        "a.safetensors brings one of the same name and comes first",
    )


def test_a_token_of_another_width_is_left_out_and_takes_no_name_away() -> None:
    wrong, right = token("zorp", 768, "a.safetensors"), token("zorp", 64, "b.safetensors")
    found = worn([Learned((wrong,), ("told before",)), Learned((right,))], WIDTHS)
    assert found.tokens == (right,)
    assert found.left_out == (
        "told before",
        "a.safetensors: the learned token 'zorp' is left out: "
        "its vectors have 768 values and this model's text encoder reads 64",
    )


@pytest.mark.real_data
def test_a_real_safelora_without_tokens_brings_none(real_data: Path) -> None:
    path = real_data / "lora_files" / "cloneofsimo_analog_svd_rank4.safetensors"
    assert read(path) == Learned()
