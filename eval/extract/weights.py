"""Folders of networks as transformers keeps them: found, digested and loaded; safetensors alone."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import InputError, MissingDependency, UnreadableFile, VelaturaError

_UNUSED = ["*.bin", "*.pt", "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "onnx/*", "openvino/*", "*.ot", "*.gguf"]
"""Pickles are never fetched, and other runtimes' weights are not needed."""


def require(*packages: str) -> None:
    """Raise `MissingDependency` for the first package that is not installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingDependency(package, extra="eval")


def locate(model: str, *, local_files_only: bool = False) -> Path:
    """Return the folder that holds a network: itself a folder, in the hub's cache, or on the hub.

    Args:
        model: A folder, or a hub id.
        local_files_only: Never ask the hub.

    Raises:
        InputError: it is nowhere; says what to do.
    """
    try:
        folder = Path(model).expanduser()
        if folder.is_dir():
            return folder
    except (OSError, ValueError, RuntimeError):  # a name with a NUL, ~ of a person that is not known
        raise InputError(f"{model!r} is no folder and no hub id") from None
    if folder.is_absolute() or model.startswith(".") or model.count("/") > 1 or not model:
        raise InputError(f"there is no folder {model}")
    from huggingface_hub import snapshot_download

    offline = local_files_only or os.environ.get("HF_HUB_OFFLINE") == "1"
    try:
        return Path(snapshot_download(model, local_files_only=offline, ignore_patterns=_UNUSED))
    except Exception as error:  # the hub's client raises a dozen unrelated classes
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{model} is no folder, and no hub gave it ({reason}); name a folder that holds the model"
        ) from None


def read_config(folder: Path, kind: str) -> dict[str, Any]:
    """Return a folder's `config.json`, which must be of that kind (`model_type`).

    Raises:
        InputError: it is not there, damaged, or of another kind; or the folder holds no safetensors.
    """
    config = read_object(folder / "config.json")
    if not config:
        raise InputError(f"{folder} is no {kind} model: it has no config.json")
    if config.get("model_type") != kind:
        raise InputError(f"{folder} is no {kind} model: its config.json says {str(config.get('model_type'))[:80]!r}")
    if not any(folder.glob("model*.safetensors")):
        raise InputError(f"{folder} holds no model.safetensors, and pickles are never opened")
    return config


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; an empty one where there is no file.

    Raises:
        UnreadableFile: it holds none.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableFile(f"{path} cannot be read ({type(error).__name__})") from None
    if not isinstance(found, dict):
        raise UnreadableFile(f"{path} holds no JSON object")
    return found


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits.

    Raises:
        UnreadableFile: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read ({error.strerror})") from None


def digest_weights(folder: Path) -> str:
    """Return the SHA-256 of `model.safetensors`, as hubs tell it; of weights in several files that of their digests."""
    digests = [digest_file(path) for path in sorted(folder.glob("model*.safetensors"))]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def fingerprint(*parts: str) -> str:
    """Return a digest of all that features depend on, 32 hexadecimal digits.

    >>> fingerprint("clip", "a") == fingerprint("clip", "a") != fingerprint("clipa", "")
    True
    """
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def load_network(kind: Any, folder: Path, device: str) -> Any:
    """Load a network of transformers in float32, to evaluate with; all of its weights must be there.

    Raises:
        InputError: it is damaged, or lacks weights, which the library would fill with noise.
    """
    with one_sentence(folder):
        network, told = kind.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
        if lacking := sorted(name for name in told["missing_keys"] if not name.endswith("position_ids")):
            raise InputError(f"{folder} lacks {len(lacking)} of its weights, {lacking[0]} first")
        return network.float().eval().to(device)


@contextmanager
def one_sentence(where: Path) -> Iterator[None]:
    """Keep loading bars off the screen, and turn whatever a damaged network raises into one sentence.

    Raises:
        InputError: the block could not read what it wanted.
    """
    from transformers.utils import logging

    bar, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    except VelaturaError:
        raise
    except Exception as error:  # it depends on what is damaged
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{where} cannot be loaded ({reason.rstrip('.')})") from error
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


@contextmanager
def exact() -> Iterator[None]:
    """Compute without gradients and, on a GPU, without rounding products to 19 bits (TF32)."""
    import torch

    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        yield
