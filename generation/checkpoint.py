"""A checkpoint by whatever name people give: a diffusers folder, a single file, or a hub id."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from ..errors import InputError, VelaturaError
from .adapters.file import PICKLES
from .checksums import digests
from .single_file import load_parts

T = TypeVar("T")

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_TOKENIZERS = ("openai/clip-vit-large-patch14", "stable-diffusion-v1-5/stable-diffusion-v1-5")
"""Where CLIP's vocabulary is kept on the hub, and so in many people's caches."""
_SMALLEST = 512
"""Words of a byte-level vocabulary: every byte, alone and at a word's end."""
_CHANNELS = {8: "an image-editing (InstructPix2Pix)", 9: "an inpainting"}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded model."""

    pipe: Any
    """A `diffusers.StableDiffusionPipeline`."""
    name: str
    hash: str | None
    """AutoV2, of a single file."""
    folder: Path | None
    """Where its parts lie as diffusers keeps them."""


def load_checkpoint(
    model: str,
    *,
    dtype: torch.dtype,
    local_files_only: bool = False,
    tokenizer: str | None = None,
    prediction: str | None = None,
) -> Checkpoint:
    """Load an SD 1.x or 2.x checkpoint onto the CPU. Only safetensors are opened, and no code of the repository runs.

    Args:
        model: A diffusers folder, a `.safetensors` file, or a hub id.
        dtype: The precision of its weights.
        local_files_only: Never ask the hub.
        tokenizer: For a single file: the folder or hub id of a CLIP tokenizer.
        prediction: For a single file: `epsilon` or `v_prediction`, where the file cannot tell (SD 2.x).

    Raises:
        InputError: it is not there, damaged, pickled, or of another architecture; one sentence.
    """
    path = Path(model).expanduser()
    with quiet():
        if path.is_dir():
            return Checkpoint(_pipeline(_folder_parts(path, dtype)), path.resolve().name, None, path)
        if path.is_file():
            if path.suffix.lower() in PICKLES:
                raise InputError(f"{path.name} is a pickle, which can run code when opened; take a .safetensors file")
            parts = load_parts(path, dtype, prediction)
            parts["tokenizer"] = _tokenizer(path, tokenizer, parts["unet"], local_files_only=local_files_only)
            return Checkpoint(_pipeline(parts), path.stem, digests(path).whole[:10], None)
        if _HUB_ID.fullmatch(model):
            folder = _download(model, local_files_only=local_files_only)
            return Checkpoint(_pipeline(_folder_parts(folder, dtype)), model, None, folder)
    raise InputError(f"there is no checkpoint {model!r}: give a diffusers folder, a .safetensors file, or a hub id")


def _folder_parts(folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """Load the parts of a diffusers folder by their known classes, whatever classes its index names."""
    import diffusers
    from transformers import CLIPTextModel, CLIPTokenizer

    index = _json(folder / "model_index.json", folder.name)
    if "text_encoder_2" in index or not {"unet", "vae", "text_encoder", "tokenizer", "scheduler"} <= index.keys():
        kind = str(index.get("_class_name", "another pipeline"))
        raise InputError(f"{folder.name} is a {kind}; the backend sd paints with SD 1.x and 2.x")
    vae = str(_json(folder / "vae" / "config.json", folder.name).get("_class_name"))
    if vae not in ("AutoencoderKL", "AutoencoderTiny"):
        raise InputError(
            f"{folder.name} has the autoencoder {vae}; the backend sd knows AutoencoderKL and AutoencoderTiny"
        )
    return {
        "unet": _weights(diffusers.UNet2DConditionModel, folder / "unet", dtype),
        "vae": _weights(getattr(diffusers, vae), folder / "vae", dtype),
        "text_encoder": _weights(CLIPTextModel, folder / "text_encoder", dtype),
        "tokenizer": _config(CLIPTokenizer, folder / "tokenizer"),
        "scheduler": _config(_scheduler_class(folder), folder / "scheduler"),
    }


def _scheduler_class(folder: Path) -> Any:
    import diffusers

    name = str(_json(folder / "scheduler" / "scheduler_config.json", folder.name).get("_class_name"))
    cls = getattr(diffusers, name, None)
    if isinstance(cls, type) and issubclass(cls, diffusers.SchedulerMixin):
        return cls
    raise InputError(f"{folder.name} asks for the scheduler {name}, which diffusers does not have")


def _pipeline(parts: dict[str, Any]) -> Any:
    from diffusers import StableDiffusionPipeline

    channels = parts["unet"].config.in_channels
    if channels in _CHANNELS and channels != parts["vae"].config.latent_channels:
        raise InputError(f"this is {_CHANNELS[channels]} checkpoint; the backend sd paints from text alone")
    words, rows = len(parts["tokenizer"]), parts["text_encoder"].config.vocab_size
    if words < _SMALLEST:  # what transformers gives, without a word, where the vocabulary is not there
        raise InputError(f"the tokenizer has {words} words, so its vocabulary is missing")
    if words > rows:
        raise InputError(f"the tokenizer has {words} words and the text encoder {rows}: they do not belong together")
    pipe = StableDiffusionPipeline(**parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _weights(cls: Any, folder: Path, dtype: torch.dtype) -> Any:
    """Load a model and insist on every one of its weights: the libraries would fill gaps with noise."""
    stems = {file.name.removesuffix(".safetensors") for file in folder.glob("*.safetensors")}
    if not stems:
        pickled = any(folder.glob("*.bin"))
        why = "only as pickles, which are not opened; save them as safetensors" if pickled else "not at all"
        raise InputError(f"{folder.parent.name} has the weights of its {folder.name} {why}")
    half = all(re.search(r"\.fp16(-\d+-of-\d+)?$", stem) for stem in stems)
    options = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True}
    model, info = _loaded(lambda: cls.from_pretrained(folder, variant="fp16" if half else None, **options), folder)
    if lacking := sorted(key for key in info["missing_keys"] if not key.endswith("position_ids")):
        raise InputError(f"{folder.parent.name}: the {folder.name} lacks {len(lacking)} weights, {lacking[0]} first")
    return model.to(dtype).eval()


def _config(cls: Any, folder: Path) -> Any:
    return _loaded(lambda: cls.from_pretrained(folder, local_files_only=True), folder)


def _loaded(load: Callable[[], T], folder: Path) -> T:
    try:
        return load()
    except VelaturaError:
        raise
    except Exception as error:  # the libraries raise of every kind, and a checkpoint is a stranger's input
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{folder.parent.name}: the {folder.name} cannot be loaded: {line.rstrip('.')}") from error


def _json(path: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        where = path.name if path.parent.name == name else f"{path.parent.name}/{path.name}"
        raise InputError(f"{name} is not a diffusers folder: it has no {where}") from None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{name}: {path.name} is not a JSON object")
    return content


def _download(model: str, *, local_files_only: bool) -> Path:
    from diffusers import StableDiffusionPipeline

    skipped = {"safety_checker": None, "feature_extractor": None, "image_encoder": None}
    try:
        folder = StableDiffusionPipeline.download(
            model, use_safetensors=True, local_files_only=local_files_only, **skipped
        )
    except Exception as error:  # every kind of network trouble, in each of the hub's own classes
        raise InputError(
            f"{model} is not on this machine and the hub does not give it ({type(error).__name__}); "
            "download it where there is a network, or name a folder or a .safetensors file"
        ) from error
    return Path(folder)


def _tokenizer(path: Path, named: str | None, unet: Any, *, local_files_only: bool) -> Any:
    """Find CLIP's tokenizer for a single file: where the caller says, beside the file, in the cache, on the hub."""
    from transformers import CLIPTokenizer

    # OpenCLIP, which SD 2.x reads with, was trained with zeros behind the end.
    padding = {"pad_token": "!"} if unet.config.use_linear_projection else {}
    beside = path.parent / "tokenizer"
    places = [named] if named else [*([str(beside)] if beside.is_dir() else []), *_TOKENIZERS]
    for local in (True,) if local_files_only else (True, False):
        for place in places:
            subfolder = "tokenizer" if place.startswith("stable-diffusion") else ""
            try:
                found = CLIPTokenizer.from_pretrained(place, local_files_only=local, subfolder=subfolder, **padding)
            except Exception:  # noqa: S112 - the next place may have it; the sentence below tells when none does
                continue
            if len(found) >= _SMALLEST:
                return found
    raise InputError(
        f"{path.name} brings no tokenizer and CLIP's is not on this machine: connect once, "
        "or name a folder that holds vocab.json and merges.txt as `tokenizer`"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' loading bars and reports off the screen; what matters in them is raised here."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    before = [(library, library.get_verbosity()) for library in (diffusers_logging, transformers_logging)]
    bar = transformers_logging.is_progress_bar_enabled()
    for library, _ in before:
        library.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        for library, level in before:
            library.set_verbosity(level)
        if bar:
            transformers_logging.enable_progress_bar()
