"""A BERT computed here gives the rows of sentence-transformers, and what is not such a BERT is left to it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from velatura.errors import InputError, MissingDependency, UnreadableFile
from velatura.refiner import bert_numpy, bert_torch
from velatura.refiner.bert import Bert, read_bert
from velatura.refiner.bert_numpy import NumpyEncoder
from velatura.refiner.bert_torch import TorchEncoder
from velatura.refiner.embedders import MINILM, SentenceEmbedder, locate

LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *("##" + letter for letter in LETTERS)]
VOCABULARY += ["fox", "snow", ",", "墨", "水", "ink", "##ed", "(", ")", "!"]

TEXTS = [
    "a fox in the snow, ink painting",
    "",
    "   \n ",
    "Fóx INKED",
    "水墨 fox",
    "snow",
    "fox, fox, " * 40,
    "[SEP] snow [MASK]",
    "\ud800 fox",
    "a fox in the snow, ink painting!",
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random sentence model of two layers, in the files that all-MiniLM-L6-v2 has."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=32,
        initializer_range=0.3,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordPiece({word: at for at, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(VOCABULARY[:5])
    special = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    # What files on the hub come with: padding, and a shorter cut than the model's own.
    tokenizer.enable_padding(length=8)
    tokenizer.enable_truncation(8)
    tokenizer.save(str(folder / "tokenizer.json"))
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    write(
        folder / "modules.json",
        [
            {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for at, (path, kind) in enumerate(modules)
        ],
    )
    write(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "model_max_length": 512})
    write(folder / "sentence_bert_config.json", {"max_seq_length": 20, "do_lower_case": False})
    (folder / "1_Pooling").mkdir()
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True})
    return folder


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def recognised(folder: Path) -> Bert:
    bert = read_bert(folder)
    assert bert is not None
    return bert


def reference(folder: Path, texts: list[str]) -> np.ndarray:
    network = SentenceTransformer(str(folder), device="cpu", model_kwargs={"use_safetensors": True})
    clean = [text.encode("utf-8", "replace").decode() for text in texts]
    return network.encode(clean, normalize_embeddings=True, show_progress_bar=False)


@pytest.mark.parametrize("copies", [1, 5])
def test_rows_are_those_of_sentence_transformers(tiny: Path, copies: int) -> None:
    texts = [text + " x" * copy for copy in range(copies) for text in TEXTS]
    rows = SentenceEmbedder(str(tiny), device="cpu").embed(texts)
    expected = reference(tiny, texts)
    assert rows.dtype == np.float32
    # Many texts may be computed in bfloat16, where the processor has it.
    assert (rows * expected).sum(axis=1).min() > (0.999999 if copies == 1 else 0.999)


def test_torch_in_float32_gives_the_same_rows_whatever_is_beside_a_text(tiny: Path) -> None:
    bert = recognised(tiny)
    clean = [text.encode("utf-8", "replace").decode() for text in TEXTS]
    encoder = TorchEncoder(bert, torch.float32)
    assert bert.embed(clean, encoder) == pytest.approx(reference(tiny, TEXTS), abs=2e-6)
    encoder.tokens = 1
    assert bert.embed(clean, encoder) == pytest.approx(reference(tiny, TEXTS), abs=2e-6)


@pytest.mark.parametrize("packs", [True, False])
def test_torch_in_bfloat16_stays_near_on_real_weights(packs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not packs:
        monkeypatch.setattr(bert_torch, "_packed", lambda weight: None)
    bert = recognised(locate(MINILM))
    texts = ["ink wash fox", "cinematic lighting, volumetric fog, a harbour at night " * 6, "水墨 splash", ""]
    near = bert.embed(texts, TorchEncoder(bert, torch.bfloat16))
    assert (near * bert.embed(texts, NumpyEncoder(bert))).sum(axis=1).min() > 0.9998


def test_no_texts_give_no_rows(tiny: Path) -> None:
    assert SentenceEmbedder(str(tiny)).embed([]).shape == (0, 32)


def test_a_text_asked_again_is_not_computed_again(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[int] = []
    encode = bert_numpy.NumpyEncoder.encode

    def counting(self: NumpyEncoder, texts: Any) -> Any:
        computed.append(len(texts))
        return encode(self, texts)

    monkeypatch.setattr(bert_numpy.NumpyEncoder, "encode", counting)
    embedder = SentenceEmbedder(str(tiny))
    first = embedder.embed(["fox", "snow", "fox"])
    again = embedder.embed(["snow", "ink", "fox"])
    assert computed == [2, 1]
    assert np.array_equal(again[[2, 0]], first[:2])
    again[:] = 0
    assert np.array_equal(embedder.embed(["fox"]), first[:1])


def edit(name: str, **changes: Any) -> Callable[[Path], None]:
    """Return what changes keys of a JSON file; None removes one."""

    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text()) | changes
        write(folder / name, {key: value for key, value in content.items() if value is not None})

    return change


def insert_dense(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    write(folder / "modules.json", [*modules[:2], modules[2] | {"type": "sentence_transformers.models.Dense"}])


def halve(folder: Path) -> None:
    BertModel.from_pretrained(folder).half().save_pretrained(folder)


def nest(folder: Path) -> None:
    (folder / "modules.json").write_text("[" * 100_000)


@pytest.mark.parametrize(
    "change",
    [
        edit("config.json", model_type="roberta"),
        edit("config.json", hidden_act="gelu_new"),
        edit("config.json", num_hidden_layers=3),
        edit("config.json", num_attention_heads=5),
        edit("config.json", hidden_size="wide"),
        edit("config.json", position_embedding_type="relative_key"),
        edit("1_Pooling/config.json", pooling_mode_cls_token=True),
        edit("1_Pooling/config.json", pooling_mode="cls"),
        edit("sentence_bert_config.json", do_lower_case=True),
        edit("sentence_bert_config.json", max_seq_length=64),
        edit("tokenizer_config.json", do_lower_case=False),
        edit("tokenizer_config.json", truncation_side="left"),
        edit("tokenizer_config.json", tokenizer_class="MPNetTokenizer"),
        lambda folder: write(folder / "config_sentence_transformers.json", {"default_prompt_name": "query"}),
        lambda folder: (folder / "tokenizer.json").write_text("{}"),
        lambda folder: (folder / "modules.json").unlink(),
        lambda folder: shutil.copy(folder / "model.safetensors", folder / "other.safetensors"),
        insert_dense,
        halve,
        nest,
    ],
)
def test_anything_else_is_not_taken_for_such_a_bert(
    tiny: Path, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    folder = shutil.copytree(tiny, tmp_path / "model")
    recognised(folder)
    change(folder)
    assert read_bert(folder) is None


def test_any_other_model_is_left_to_sentence_transformers(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "model")
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 32, "pooling_mode_cls_token": True})
    assert SentenceEmbedder(str(folder), device="cpu").embed(TEXTS) == pytest.approx(reference(folder, TEXTS), abs=2e-6)


def test_model_that_nothing_reads_is_one_sentence(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "model")
    edit("config.json", model_type="no such network")(folder)
    with pytest.raises(InputError, match="is no model that sentence-transformers reads"):
        SentenceEmbedder(str(folder), device="cpu").embed(["fox"])


@pytest.mark.parametrize("size", [0, 7, 2000])
def test_weights_that_end_early_are_refused(tiny: Path, tmp_path: Path, size: int) -> None:
    folder = shutil.copytree(tiny, tmp_path / "model")
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(size)
    with pytest.raises(UnreadableFile, match="are damaged") as caught:
        SentenceEmbedder(str(folder))
    assert "\n" not in str(caught.value)


def test_other_weights_under_a_published_name_are_refused(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny, tmp_path / "all-MiniLM-L6-v2")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnreadableFile, match="is not what was published as all-MiniLM-L6-v2"):
        SentenceEmbedder("all-MiniLM-L6-v2")


def test_missing_packages_are_named(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import util

    find, missing = util.find_spec, {"torch", "sentence_transformers"}
    monkeypatch.setattr(util, "find_spec", lambda name, *rest: None if name in missing else find(name, *rest))
    assert len(SentenceEmbedder(str(tiny)).embed([f"fox {at}" for at in range(50)])) == 50
    folder = shutil.copytree(tiny, tmp_path / "model")
    edit("config.json", hidden_act="relu")(folder)
    with pytest.raises(MissingDependency, match="sentence_transformers is not installed"):
        SentenceEmbedder(str(folder))
    missing.add("tokenizers")
    with pytest.raises(MissingDependency, match=r"tokenizers is not installed; run: pip install 'velatura\[embed\]'"):
        SentenceEmbedder(str(tiny))


def test_one_prompt_needs_none_of_the_heavy_packages() -> None:
    program = (
        "import sys; from velatura.refiner.embedders import SentenceEmbedder;"
        "assert SentenceEmbedder().embed(['a fox']).shape == (1, 384);"
        "print([name for name in ('torch', 'transformers', 'sentence_transformers', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
