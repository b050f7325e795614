"""A CLIP model: pictures and texts in, rows of one space out."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import InputError, MissingDependency
from ..syntax import encodable
from .clip_input import read_clip_input
from .embedders import folder_revision, locate

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..protocols import Vectors

_METHOD: Final = "1"
"""Changes when the same model would give other rows."""
_BATCH: Final = 32


class ClipEmbedder:
    """Any CLIP model in the form of transformers, in `.safetensors`. Weights are read when they are first needed.

    Args:
        model: a hub id or a folder.
        device: `cpu`, `cuda`, `mps`; None takes the best there is.

    Raises:
        MissingDependency: a package that the model needs is not installed.
        InputError: the model is neither on this machine nor on a hub that answers, or is no CLIP model.
    """

    def __init__(self, model: str, *, device: str | None = None) -> None:
        for package in ("torch", "transformers"):
            if importlib.util.find_spec(package) is None:
                raise MissingDependency(package, extra="generate")
        self._folder = locate(model, "picture model")
        config = _read_config(self._folder)
        if not any(self._folder.glob("*.safetensors")):
            raise InputError(f"{self._folder} holds no .safetensors weights, and pickles are never opened")
        self._input = read_clip_input(self._folder, _image_size(config, self._folder))
        self._device = device
        self.model = model
        self.revision = f"{folder_revision(self._folder)}-{_METHOD}"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row per text, shape (len(texts), dimension), float32, of length 1; its beginning counts."""
        import torch

        # A lone surrogate cannot be encoded; the tokenizer would raise in the middle of a batch.
        clean = [encodable(text) for text in texts]
        found = []
        with torch.inference_mode():
            for start in range(0, len(clean), _BATCH):
                given = self._tokenizer(
                    clean[start : start + _BATCH],
                    padding=True,
                    truncation=True,
                    max_length=self._network.config.text_config.max_position_embeddings,
                    return_tensors="pt",
                ).to(self._network.device)
                read = self._network.text_model(input_ids=given.input_ids, attention_mask=given.attention_mask)
                found.append(self._network.text_projection(read.pooler_output))
        return self._rows(found)

    def embed_images(self, images: Sequence[Image]) -> Vectors:
        """Return one row per picture, shape (len(images), dimension), float32, of length 1."""
        import torch

        found = []
        with torch.inference_mode():
            for start in range(0, len(images), _BATCH):
                pixels = torch.from_numpy(self._input.prepare(images[start : start + _BATCH]))
                seen = self._network.vision_model(pixel_values=pixels.to(self._network.device))
                found.append(self._network.visual_projection(seen.pooler_output))
        return self._rows(found)

    def _rows(self, found: Sequence[Any]) -> Vectors:
        if not found:
            return np.empty((0, self._network.config.projection_dim), dtype=np.float32)
        rows = np.concatenate([part.float().cpu().numpy() for part in found])
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.maximum(lengths, np.finfo(np.float32).tiny), dtype=np.float32)

    @cached_property
    def _network(self) -> Any:
        import torch
        from transformers import CLIPModel

        with _one_sentence(self._folder):
            network, told = CLIPModel.from_pretrained(
                self._folder, use_safetensors=True, local_files_only=True, output_loading_info=True
            )
        # What is lacking would be filled with noise.
        if lacking := sorted(name for name in told["missing_keys"] if not name.endswith("position_ids")):
            raise InputError(f"{self._folder} lacks {len(lacking)} of its weights, {lacking[0]} first")
        best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        with _one_sentence(self._folder):
            return network.float().eval().to(self._device or best)

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import CLIPTokenizer

        with _one_sentence(self._folder):
            return CLIPTokenizer.from_pretrained(self._folder, local_files_only=True)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise InputError(f"{folder} is no CLIP model: its config.json is not there, or damaged")
    if config.get("model_type") != "clip":
        raise InputError(f"{folder} is no CLIP model: its config.json says {str(config.get('model_type'))[:80]!r}")
    return config


def _image_size(config: dict[str, Any], folder: Path) -> int:
    vision = config.get("vision_config")
    size = vision.get("image_size", 224) if isinstance(vision, dict) else 224
    if not isinstance(size, int) or not 1 <= size <= 2048:
        raise InputError(f"{folder} is no CLIP model: it looks at pictures of {str(size)[:80]!r} pixels")
    return size


@contextmanager
def _one_sentence(folder: Path) -> Iterator[None]:
    """Keep loading bars off the screen, and turn whatever a damaged model raises into one sentence."""
    from transformers.utils import logging

    bar, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    except Exception as error:  # it depends on what is damaged
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{folder} is no CLIP model that transformers reads ({reason})") from error
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
