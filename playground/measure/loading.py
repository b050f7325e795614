"""Loads trained models for the measure: every weight, no pickle, and one sentence where that cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from ...errors import InputError
from ...generation.checkpoint import quiet


def load_model(kind: Any, folder: Path) -> Any:
    """Load a model of transformers or diffusers in float32, to evaluate with.

    Args:
        kind: Its class.
        folder: Where its configuration and its weights lie.

    Raises:
        InputError: it is not there, damaged, pickled, or lacks weights, which the libraries would fill with noise.
    """
    with quiet(), in_one_sentence(folder):
        model, info = kind.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    if lacking := sorted(info["missing_keys"]):
        raise InputError(f"{folder} lacks {len(lacking)} of its weights, {lacking[0]} first")
    return model.float().eval()


@contextmanager
def in_one_sentence(path: Path) -> Iterator[None]:
    """Turn what the libraries raise of a damaged or missing file into one sentence that names it.

    Raises:
        InputError: the block could not read what it wanted.
    """
    try:
        yield
    except (OSError, SafetensorError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} cannot be loaded: {line.rstrip('.')}") from error
