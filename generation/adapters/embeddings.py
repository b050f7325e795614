"""Learned tokens: new words whose vectors a trainer keeps with an adapter, as textual inversion does.

What belongs to an adapter, and what a prompt calls it:

- Inside the file: `bundle_emb.NAME.*` (A1111, OneTrainer, HCP), called NAME; tokens of cloneofsimo's safeloras, called
  by their keys, `<s1>`; and keys as an embedding's own file has them, called by the file's name.
- Beside `X.safetensors`: `X_emb.safetensors` (pivotal tuning by diffusers), whose vectors are called `<s0>`, `<s1>` and
  so on, and all of them in a row `X_emb`, as A1111 and ComfyUI call an embedding by its file; and the files in the
  folder `X.safetensors_embeddings` (OneTrainer), called by their names.
- Beside `pytorch_lora_weights.safetensors`, which has its folder for itself: the folder's `*_emb.safetensors` or
  `embeddings.safetensors`. Beside that or `lora.safetensors`: `embeddings.pti` (cog-sdxl), which is safetensors, too.

The `embeddings` folders of other programs belong to no adapter and are not searched. Vectors are worn whole whatever
the adapter's weight, as A1111 does. What cannot be used is left out with a sentence, and the adapter is laid without.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from ...errors import UnreadableFile
from ...syntax import without_tags
from .file import PICKLES, AdapterFile
from .peft_config import brief

if TYPE_CHECKING:
    from torch import Tensor

LONGEST = 75
"""Vectors of one token at most: what a CLIP reads at a time."""

_MOST = 1000
"""Tokens of one file, and files of one folder, at most."""
_WIDEST = 8192
_TOLD = 3
"""Sentences about one adapter before the rest is only counted."""
_LARGEST = 65504.0
"""What half precision holds; learned values lie far below."""
_FLOATS = ("F64", "F32", "F16", "BF16")
_FLAG = "<embed>"
"""What a safelora's header says of its tokens."""

_PARTS = {
    "clip_l": "text_encoder",
    "text_encoders_0": "text_encoder",
    "clip_g": "text_encoder_2",
    "text_encoders_1": "text_encoder_2",
}
# A1111's, kohya's, and OneTrainer's, which spells it so.
_FIRST_PART = re.compile(r"string_to_param(?:\..*)?|emb_params|emp_params", re.DOTALL)
# Encoders other than CLIP, and what OneTrainer learns in place of an encoder's outputs.
_UNUSED = re.compile(r"t5|t5xxl|llama|gemma|.+_out", re.DOTALL)
_BUNDLED = re.compile(r"bundle_emb\.(?P<name>.+?)\.(?P<key>string_to_param\..*|[^.]+)", re.DOTALL)
_BRACKETED = re.compile(r"<[^<>]+>")

_OWN_FOLDER = "pytorch_lora_weights"
_COG = "lora"

Keys = Mapping[str, str]
"""{a tensor's key as an embedding file would have it: its key in this file}"""


@dataclass(frozen=True, slots=True, eq=False)
class LearnedToken:
    """A word that stands for learned vectors."""

    name: str
    """As prompts write it, in any case: `<s1>` with its brackets, or a plain name."""
    vectors: Mapping[str, Tensor]
    """By text encoder (`text_encoder`, `text_encoder_2`): float32 on the CPU, each of shape (n, width) with one n."""
    source: str
    """The file's name."""

    @property
    def length(self) -> int:
        """How many places of a prompt it takes."""
        return next(iter(self.vectors.values())).shape[0]


@dataclass(frozen=True, slots=True)
class Learned:
    """Learned tokens, and a sentence about each that cannot be used."""

    tokens: tuple[LearnedToken, ...] = ()
    left_out: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    """What is wrong with them, to be said of a file that is nothing but a token."""


def learned_tokens(file: AdapterFile) -> Learned:
    """Return the learned tokens inside an adapter and beside it. Most adapters have none; nothing is raised."""
    found: list[Learned] = []
    flagged = {key for key in file.ignored if file.header.get(key) == _FLAG}
    if inside := (*file.embeddings, *sorted(flagged)):
        found.append(_read(file.path, lambda _: _grouped(inside, flagged, file.name)))
    found += [_read_pivotal(path) for path in _pivotal_file(file.path)]
    found += [_read_alone(path) for path in _exported_files(file.path)]
    tokens = [token for part in found for token in part.tokens]
    left_out = [sentence for part in found for sentence in part.left_out]
    return Learned(tuple(tokens), _briefly(left_out, file.path.name))


def read_embedding(path: str | Path) -> Learned:
    """Return the learned token of a textual inversion that is a file of its own, called by the file's name.

    diffusers' kind, a single tensor under the token's name, is called by that name, too.

    Raises:
        UnreadableFile: nothing of the file can be used; one sentence.
    """
    path = Path(path)
    if path.suffix.lower() in PICKLES:
        raise UnreadableFile(
            f"{path.name} is a pickle, which can run code when opened; only .safetensors files are read"
        )
    found = _read_alone(path)
    if not found.tokens:
        raise UnreadableFile(f"{path.name} {found.faults[0] if found.faults else 'is no textual inversion'}")
    return found


def worn(adapters: Iterable[Learned], widths: Mapping[str, int]) -> Learned:
    """Return the tokens that a model can read when it wears these adapters, in their order.

    Of two tokens with one name the first is worn; case makes no difference, since CLIP reads none.

    Args:
        adapters: The learned tokens of each adapter.
        widths: The width of the token vectors of each text encoder that the model has.
    """
    tokens: dict[str, LearnedToken] = {}
    left_out: list[str] = []
    for adapter in adapters:
        wrong: list[str] = []
        for token in adapter.tokens:
            reason = _misfit(token, widths)
            if reason is None and tokens.setdefault(token.name.lower(), token) is not token:
                reason = f"{tokens[token.name.lower()].source} brings one of the same name and comes first"
            if reason is not None:
                wrong.append(_omission(token.source, token.name, reason))
        left_out += [*adapter.left_out, *_briefly(wrong, adapter.tokens[0].source if wrong else "")]
    return Learned(tuple(tokens.values()), tuple(left_out))


def _misfit(token: LearnedToken, widths: Mapping[str, int]) -> str | None:
    for part, vectors in token.vectors.items():
        if part not in widths:
            return "it is made for a model with more text encoders"
        if vectors.shape[1] != widths[part]:
            return f"its vectors have {vectors.shape[1]} values and this model's text encoder reads {widths[part]}"
    return None


def _pivotal_file(path: Path) -> list[Path]:
    """Find the file whose vectors pivotal tuning learned together with this adapter: one or none."""
    folder = path.parent
    names = [f"{path.stem}_emb.safetensors"]
    if path.stem == _OWN_FOLDER:
        names += [f"{folder.absolute().name}_emb.safetensors", "embeddings.safetensors", "embeddings.pti"]
        # The folder may have been renamed, or be named by a revision in the hub's cache.
        others = _listed(folder, "*_emb.safetensors")
        names += [other.name for other in others if len(others) == 1]
    elif path.stem == _COG:
        names.append("embeddings.pti")
    return [path for name in names if _is_file(path := folder / name)][:1]


def _exported_files(path: Path) -> list[Path]:
    """Find what OneTrainer writes into a folder beside the adapter when it does not bundle."""
    return _listed(path.with_name(f"{path.name}_embeddings"), "*.safetensors")[:_MOST]


def _listed(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(path for path in folder.glob(pattern) if _is_file(path))
    except OSError:
        return []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long
        return False


def _grouped(keys: Iterable[str], flagged: Collection[str], stem: str) -> dict[str, dict[str, str]]:
    """Sort the keys of embeddings inside an adapter by the names of their tokens."""
    found: dict[str, dict[str, str]] = {}
    for key in keys:
        if bundled := _BUNDLED.fullmatch(key):
            found.setdefault(bundled["name"], {})[bundled["key"]] = key
        elif _BRACKETED.fullmatch(key) or key in flagged:
            found.setdefault(key, {})[key] = key
        else:
            found.setdefault(stem, {})[key] = key
    return found


def _own_keys(keys: Collection[str]) -> dict[str, str]:
    """Return the keys of a file that may be one embedding; none where it is something else."""
    known = any(key in _PARTS or _FIRST_PART.fullmatch(key) for key in keys)
    return {key: key for key in keys} if known or len(keys) == 1 else {}


def _read_alone(path: Path) -> Learned:
    """Read a file that is one token: called by the file, and as diffusers has it, by the key of the only tensor."""

    def named(keys: list[str]) -> dict[str, Keys]:
        own = _own_keys(keys)
        names = [key for key in own if len(own) == 1 and key not in _PARTS and not _FIRST_PART.fullmatch(key)]
        return dict.fromkeys([*names, path.stem], own) if own else {}

    return _read(path, named)


def _read_pivotal(path: Path) -> Learned:
    """Read a file of pivotal tuning: its vectors one by one, and in a row under the file's name."""
    found = _read(path, lambda keys: {path.stem: own} if (own := _own_keys(keys)) else {})
    tokens: list[LearnedToken] = []
    for whole in found.tokens:
        for place in range(whole.length):
            vectors = {part: values[place : place + 1] for part, values in whole.vectors.items()}
            tokens.append(LearnedToken(f"<s{place}>", vectors, path.name))
        if path.stem != "embeddings":
            tokens.append(whole)
    return Learned(tuple(tokens), found.left_out)


def _read(path: Path, group: Callable[[list[str]], Mapping[str, Keys]]) -> Learned:
    """Read the tokens of one file.

    Args:
        path: The file.
        group: Turns the file's keys into {name of a token: the keys of its tensors}.
    """
    try:
        opened: Any = safe_open(path, framework="pt", device="cpu")
    except (SafetensorError, OSError, ValueError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        return Learned(
            left_out=(f"{path.name} cannot be read, so its learned tokens are left out: {line}",),
            faults=(f"cannot be read ({line}); take another copy of it",),
        )
    grouped = list(group(list(opened.keys())).items())
    tokens: list[LearnedToken] = []
    left_out: list[str] = []
    faults: list[str] = []
    if len(grouped) > _MOST:
        left_out.append(f"{path.name} brings {len(grouped)} learned tokens, of which the first {_MOST} are read")
    for written, keys in grouped[:_MOST]:
        name = unicodedata.normalize("NFC", written).strip()
        try:
            _check_name(name)
            tokens.append(LearnedToken(name, _vectors(opened, keys), path.name))
        except (ValueError, SafetensorError, OSError) as error:
            left_out.append(_omission(path.name, name, str(error)))
            faults.append(f"is no textual inversion that can be used: {error}")
        else:
            if unused := [key for key in keys if _UNUSED.fullmatch(key)]:
                left_out.append(f"{path.name}: of the token {brief(name)}, {brief(', '.join(unused))} is not used")
    return Learned(tuple(tokens), tuple(left_out), tuple(faults))


def _check_name(name: str) -> None:
    if not name or len(name) > 100 or not name.isprintable():
        raise ValueError("a name must have 1 to 100 printable characters")
    if without_tags(name) != name:
        raise ValueError("a prompt would take its name for a tag")


def _vectors(opened: Any, keys: Keys) -> dict[str, Tensor]:
    """Read a token's vectors by text encoder.

    Raises:
        ValueError: they cannot be used; the message says why.
    """
    found: dict[str, Tensor] = {}
    for key, stored in keys.items():
        alone = len(keys) == 1 and not _UNUSED.fullmatch(key)
        part = _PARTS.get(key) or ("text_encoder" if alone or _FIRST_PART.fullmatch(key) else None)
        if part is None:
            continue
        if part in found:
            raise ValueError("it has two sets of vectors for one text encoder")
        found[part] = _tensor(opened, stored)
    if not found:
        raise ValueError("none of its tensors is known to be vectors of a word")
    if len({values.shape[0] for values in found.values()}) > 1:
        raise ValueError("it has not as many vectors for one text encoder as for the other")
    return found


def _tensor(opened: Any, key: str) -> Tensor:
    stored = opened.get_slice(key)
    shape, dtype = tuple(stored.get_shape()), stored.get_dtype()
    if dtype not in _FLOATS or len(shape) not in (1, 2) or not 1 <= shape[-1] <= _WIDEST:
        raise ValueError(f"a tensor of shape {shape} and type {dtype} is no vectors of a word")
    rows = shape[0] if len(shape) == 2 else 1
    if not 1 <= rows <= LONGEST:
        raise ValueError(f"it has {rows} vectors, and a prompt has room for 1 to {LONGEST}")
    values: Tensor = opened.get_tensor(key).float().reshape(rows, -1).clone()  # of its own, not mapped
    if not bool((values.abs() <= _LARGEST).all()):
        raise ValueError("its vectors hold NaN, infinity or values beyond all measure")
    return values


def _omission(source: str, name: str, reason: str) -> str:
    return f"{source}: the learned token {brief(name)} is left out: {reason}"


def _briefly(sentences: list[str], source: str) -> tuple[str, ...]:
    rest = len(sentences) - _TOLD
    if rest <= 0:
        return tuple(sentences)
    return (*sentences[:_TOLD], f"{source}: {rest} more of its learned tokens are left out")
