"""BERT sentence models read straight from their files: what `bert_numpy` and `bert_torch` compute with.

Importing sentence-transformers costs seconds, more than a search. Most sentence models are a BERT whose last layer is
averaged over a text's tokens; those that are exactly that are recognised here, and every other is left to
sentence-transformers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeVar

import numpy as np
from pydantic import BaseModel, Field, PositiveInt, StrictBool, TypeAdapter

from ..errors import UnreadableFile

if TYPE_CHECKING:
    from ..protocols import Ids, Vectors

    Tokens = Ids

WEIGHTS = "model.safetensors"
TABLE = "embeddings.word_embeddings.weight"

_TOKENIZED = 1024
"""Texts tokenized at once: what a tokenizer tells of a text takes a hundred times the room of its ids."""


class Encoder(Protocol):
    """Computes a BERT on packed texts: one after the other, without padding."""

    tokens: int
    """Tokens per batch: enough for the matrix products to be efficient, few enough for the caches."""

    def encode(self, texts: Sequence[Tokens]) -> Vectors:
        """Return the mean over each text's tokens, shape (len(texts), dimension), not normalised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bert:
    """A model on disk that was recognised; its weights are not read yet."""

    path: Path
    dimension: int
    layers: int
    heads: int
    epsilon: float
    tokenizer: Any

    def tokenize(self, texts: Sequence[str]) -> Iterator[Tokens]:
        """Yield the token ids of each text, with the special ones, cut to what the model reads."""
        for start in range(0, len(texts), _TOKENIZED):
            for encoding in self.tokenizer.encode_batch_fast(list(texts[start : start + _TOKENIZED])):
                yield np.array(encoding.ids)

    def embed(self, texts: Sequence[str], encoder: Encoder) -> Vectors:
        """Return one row per text, shape (len(texts), dimension), float32, of length 1."""
        tokens = list(self.tokenize(texts))
        rows = np.empty((len(tokens), self.dimension), dtype=np.float32)
        for batch in _batches(tokens, encoder.tokens):
            means = encoder.encode([tokens[place] for place in batch])
            rows[batch] = means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-12)
        return rows


def _batches(tokens: Sequence[Tokens], limit: int) -> Iterator[list[int]]:
    """Yield places, longest texts first so that equal lengths lie together, with at most `limit` tokens a batch."""
    batch: list[int] = []
    taken = 0
    for place in sorted(range(len(tokens)), key=lambda place: -len(tokens[place])):
        if batch and taken + len(tokens[place]) > limit:
            yield batch
            batch, taken = [], 0
        batch.append(place)
        taken += len(tokens[place])
    if batch:
        yield batch


# ---------------------------------------------------------------- recognition


class _Network(BaseModel):
    """config.json: the one architecture that is computed here."""

    model_type: Literal["bert"]
    hidden_act: Literal["gelu"]
    position_embedding_type: Literal["absolute"] = "absolute"
    is_decoder: Literal[False] = False
    add_cross_attention: Literal[False] = False
    quantization_config: None = None
    dtype: Literal["float32"] | None = None
    torch_dtype: Literal["float32"] | None = None
    vocab_size: PositiveInt
    hidden_size: PositiveInt
    intermediate_size: PositiveInt
    max_position_embeddings: PositiveInt
    type_vocab_size: PositiveInt
    num_hidden_layers: Annotated[int, Field(ge=1, le=1000)]
    num_attention_heads: PositiveInt
    layer_norm_eps: Annotated[float, Field(gt=0, le=1)]

    def shapes(self) -> dict[str, list[int]]:
        """Return the shape of every tensor that is computed with."""
        width, inner = self.hidden_size, self.intermediate_size
        shapes = {
            TABLE: [self.vocab_size, width],
            "embeddings.position_embeddings.weight": [self.max_position_embeddings, width],
            "embeddings.token_type_embeddings.weight": [self.type_vocab_size, width],
            "embeddings.LayerNorm.weight": [width],
            "embeddings.LayerNorm.bias": [width],
        }
        linears = {
            "attention.self.query": [width, width],
            "attention.self.key": [width, width],
            "attention.self.value": [width, width],
            "attention.output.dense": [width, width],
            "intermediate.dense": [inner, width],
            "output.dense": [width, inner],
        }
        for layer in range(self.num_hidden_layers):
            for part, shape in linears.items():
                shapes[f"encoder.layer.{layer}.{part}.weight"] = shape
                shapes[f"encoder.layer.{layer}.{part}.bias"] = shape[:1]
            for part in ("attention.output.LayerNorm", "output.LayerNorm"):
                shapes[f"encoder.layer.{layer}.{part}.weight"] = [width]
                shapes[f"encoder.layer.{layer}.{part}.bias"] = [width]
        return shapes


class _Module(BaseModel):
    """An entry of modules.json."""

    path: str
    type: str


class _Pooling(BaseModel):
    """1_Pooling/config.json, as versions before and since sentence-transformers 6 write it."""

    pooling_mode: Literal["mean"] | None = None
    pooling_mode_mean_tokens: StrictBool | None = None
    pooling_mode_cls_token: Literal[False] = False
    pooling_mode_max_tokens: Literal[False] = False
    pooling_mode_mean_sqrt_len_tokens: Literal[False] = False
    pooling_mode_weightedmean_tokens: Literal[False] = False
    pooling_mode_lasttoken: Literal[False] = False


class _Reading(BaseModel):
    """sentence_bert_config.json."""

    max_seq_length: PositiveInt | None = None
    do_lower_case: Literal[False] = False
    transformer_task: Literal["feature-extraction"] = "feature-extraction"
    module_output_name: Literal["token_embeddings"] = "token_embeddings"


class _Whole(BaseModel):
    """config_sentence_transformers.json."""

    default_prompt_name: None = None
    truncate_dim: None = None


class _Cutting(BaseModel):
    """tokenizer_config.json, with the defaults of transformers: where it differs from tokenizer.json it wins there."""

    tokenizer_class: Literal["BertTokenizer", "BertTokenizerFast"]
    do_lower_case: StrictBool = True
    strip_accents: StrictBool | None = None
    tokenize_chinese_chars: StrictBool = True
    truncation_side: Literal["right"] = "right"
    model_max_length: float = float("inf")


_PARTS = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])


def read_bert(folder: Path) -> Bert | None:
    """Return the sentence model in a folder, or None when it is any but a BERT with the mean over its tokens.

    Raises:
        UnreadableFile: the weights are damaged.
    """
    try:
        network = _read(folder / "config.json", _Network)
        modules = TypeAdapter(list[_Module]).validate_python(_json(folder / "modules.json"))
        pooling = _read(folder / "1_Pooling" / "config.json", _Pooling)
        reading = _read(folder / "sentence_bert_config.json", _Reading)
        cutting = _read(folder / "tokenizer_config.json", _Cutting)
        whole = folder / "config_sentence_transformers.json"
        if whole.exists():
            _read(whole, _Whole)
    except (OSError, ValueError, RecursionError):  # ValidationError is a ValueError
        return None
    longest = reading.max_seq_length or min(cutting.model_max_length, network.max_position_embeddings)
    if (
        [module.type.rpartition(".")[2] for module in modules] not in _PARTS
        or [module.path for module in modules][:2] != ["", "1_Pooling"]
        or not (pooling.pooling_mode or pooling.pooling_mode_mean_tokens)
        or network.hidden_size % network.num_attention_heads
        or not 2 < longest <= network.max_position_embeddings
        or not _holds(folder, network.shapes())
    ):
        return None
    tokenizer = _tokenizer(folder / "tokenizer.json", cutting, int(longest), network.vocab_size)
    return tokenizer and Bert(
        path=folder / WEIGHTS,
        dimension=network.hidden_size,
        layers=network.num_hidden_layers,
        heads=network.num_attention_heads,
        epsilon=network.layer_norm_eps,
        tokenizer=tokenizer,
    )


_Model = TypeVar("_Model", bound=BaseModel)


def _read(path: Path, model: type[_Model]) -> _Model:
    return model.model_validate(_json(path))


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _holds(folder: Path, shapes: dict[str, list[int]]) -> bool:
    """Return whether the folder's one file of weights holds these tensors in float32."""
    if [path.name for path in folder.glob("*.safetensors")] != [WEIGHTS]:
        return False
    with open_weights(folder / WEIGHTS) as file:
        if not shapes.keys() <= set(file.keys()):
            return False
        found = {name: file.get_slice(name) for name in shapes}
        return all(found[name].get_shape() == shapes[name] and found[name].get_dtype() == "F32" for name in shapes)


def open_weights(path: Path) -> Any:
    """Open a .safetensors file for numpy, mapped; nothing of it is read yet.

    Raises:
        UnreadableFile: it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(str(path), framework="numpy")
    except (SafetensorError, OSError) as error:
        raise UnreadableFile(f"the model's weights {path} are damaged ({error}); fetch the model again") from None


def _tokenizer(path: Path, cutting: _Cutting, longest: int, vocabulary: int) -> Any | None:
    """Return the tokenizer, cutting at `longest` tokens, or None when it is not the one that transformers builds."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    if not path.is_file():
        return None
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception:  # the library raises bare Exception
        return None
    normal = tokenizer.normalizer
    if (
        not isinstance(normal, normalizers.BertNormalizer)
        or not isinstance(tokenizer.pre_tokenizer, pre_tokenizers.BertPreTokenizer)
        or not isinstance(tokenizer.model, models.WordPiece)
        or not normal.clean_text
        or normal.lowercase != cutting.do_lower_case
        or normal.strip_accents != cutting.strip_accents
        or normal.handle_chinese_chars != cutting.tokenize_chinese_chars
        or tokenizer.get_vocab_size() > vocabulary
    ):
        return None
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest)
    return tokenizer if tokenizer.encode("").tokens == ["[CLS]", "[SEP]"] else None
