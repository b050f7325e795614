"""The playground's own CLIP model: how well a picture fits a text, and what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import InputError
from ...generation.checkpoint import quiet
from .loading import in_one_sentence, load_model

Pixels = NDArray[np.uint8]
"""RGB bytes, shape (pictures, height, width, 3)."""

_BATCH: Final = 256


class Evaluator:
    """A CLIP model in a folder as transformers keeps it, and classifiers on its image features in `heads.safetensors`.

    Args:
        folder: The trained evaluator.

    Raises:
        InputError: it is not there, or damaged.
    """

    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open
        from transformers import CLIPModel, CLIPTokenizer

        if not (folder / "heads.safetensors").is_file():
            raise InputError(f"{folder} is no evaluator of the playground: it has no heads.safetensors")
        self._clip = load_model(CLIPModel, folder)
        with quiet(), in_one_sentence(folder):
            self._tokenizer: Any = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        heads = folder / "heads.safetensors"
        with in_one_sentence(heads), safe_open(heads, framework="np") as file:
            self._names = {
                part: names.split(",") for part, names in (file.metadata() or {}).items() if part != "format"
            }
            self._heads = {
                part: (file.get_tensor(f"{part}.weight"), file.get_tensor(f"{part}.bias")) for part in self._names
            }

    def see(self, pictures: Pixels) -> NDArray[np.float32]:
        """Return the features of pictures, not normalised: shape (pictures, width)."""
        pixels = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float().div(127.5).sub(1)
        with torch.inference_mode():
            seen = [self._clip.vision_model(part).pooler_output for part in torch.split(pixels, _BATCH)]
            return np.asarray(self._clip.visual_projection(torch.cat(seen)).numpy())

    def read(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the features of texts, not normalised: shape (texts, width)."""
        tokens = self._tokenizer(list(texts), padding="max_length", truncation=True, return_tensors="pt").input_ids
        with torch.inference_mode():
            return np.asarray(self._clip.text_projection(self._clip.text_model(tokens).pooler_output).numpy())

    def name(self, features: NDArray[np.float32], part: str) -> list[str]:
        """Return which subject, colour, scene or style the classifier sees in each picture."""
        weight, bias = self._heads[part]
        scores = features.astype(np.float64) @ weight.astype(np.float64).T + bias
        return [self._names[part][place] for place in scores.argmax(1)]


def clip_scores(seen: NDArray[np.float32], read: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return 100 times the cosine of each picture's features with one text's: shape (pictures,)."""
    pictures, text = seen.astype(np.float64), read.astype(np.float64)
    scores: NDArray[np.float64] = 100 * (pictures @ text) / (np.linalg.norm(pictures, axis=1) * np.linalg.norm(text))
    return scores
