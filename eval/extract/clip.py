"""A CLIP model: pictures and texts in, features of one space out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...syntax import encodable
from .preparation import CLIP_MEAN, CLIP_SPREAD
from .vision import VisionExtractor
from .weights import digest_file, exact, one_sentence

if TYPE_CHECKING:
    from ..cells import Features

_BATCH: Final = 64
_TOKENIZER: Final = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")


class Clip(VisionExtractor):
    """Any CLIP model in the form of transformers, in safetensors: its projected features, not normalised.

    Only the model and its tokenizer are read; what else lies in the folder is not.

    Args:
        model: A folder, or a hub id.
        device: `cpu`, `cuda`, ...
        local_files_only: Never ask the hub.

    Raises:
        MissingDependency: torch or transformers is not installed.
        InputError: the model is neither on this machine nor on a hub that answers, is no CLIP model, or damaged.
    """

    name = "clip"
    kind = "clip"
    mean = CLIP_MEAN
    spread = CLIP_SPREAD
    fixed = True

    @cached_property
    def width(self) -> int:
        """Numbers of a feature vector."""
        return self._count("projection_dim") if "projection_dim" in self._config else 512

    def read(self, texts: Sequence[str]) -> Features:
        """Return the features of texts, not normalised, shape (texts, width).

        A text that is too long loses its end, and keeps the mark at which the model reads the features off.
        """
        import torch

        rows = [np.empty((0, self.width), np.float32)]
        for start in range(0, len(texts), _BATCH):
            tokens = self._tokenizer(
                [encodable(text) for text in texts[start : start + _BATCH]],
                padding="max_length",
                truncation=True,
                max_length=self._longest,
                return_tensors="pt",
            ).to(self._device)
            with exact():
                read = self._network.text_model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
                # Not `get_text_features`, which returns a tensor in transformers 4 and an object in 5.
                found: torch.Tensor = self._network.text_projection(read.pooler_output)
            rows.append(found.float().cpu().numpy())
        return np.concatenate(rows)

    def truncated(self, texts: Sequence[str]) -> int:
        """Return how many texts are longer than it can read; their ends are not read."""
        if not texts:
            return 0
        with one_sentence(self._folder):  # the tokenizer would warn of each
            tokens = self._tokenizer([encodable(text) for text in texts]).input_ids
        return sum(len(row) > self._longest for row in tokens)

    def _look(self, pixels: Any) -> Any:
        return self._network.visual_projection(self._network.vision_model(pixel_values=pixels).pooler_output)

    def _side(self) -> int:
        vision = self._config.get("vision_config")
        told = isinstance(vision, dict) and "image_size" in vision
        return self._count("vision_config", "image_size") if told else 224

    def _also(self) -> tuple[str, ...]:
        files = (self._folder / name for name in _TOKENIZER)
        return tuple(f"{path.name}:{digest_file(path)}" for path in files if path.is_file())

    @property
    def _longest(self) -> int:
        """Return the tokens of the longest text, with both its marks."""
        return int(self._network.config.text_config.max_position_embeddings)

    def _class(self) -> Any:
        from transformers import CLIPModel

        return CLIPModel

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import CLIPTokenizer

        with one_sentence(self._folder):
            return CLIPTokenizer.from_pretrained(self._folder, local_files_only=True)
