"""A checkpoint by whatever name people give: a diffusers folder, a single file, or a hub id."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from ..errors import InputError, VelaturaError
from .checksums import digests
from .hub import HUB_FILE, HUB_ID, hub_file, unreachable
from .kinds import admit, kind_of, kind_of_file, kind_of_folder, missing, read_header, read_object, told
from .known import exists, resolve
from .schedulers import without_numpy_warning
from .shared_settings import FILTERS, Shared
from .single_file import first_line, load_parts
from .single_file_xl import load_xl_parts

__all__ = ["Checkpoint", "kind_of", "load_checkpoint", "quiet"]

T = TypeVar("T")

_TOKENIZERS = ("openai/clip-vit-large-patch14", "stable-diffusion-v1-5/stable-diffusion-v1-5")
"""Where CLIP's vocabulary is kept on the hub, and so in many people's caches."""
_SMALLEST = 512
"""Words of a byte-level vocabulary: every byte, alone and at a word's end."""
_ENDS, _ZEROS = "<|endoftext|>", "!"
"""What OpenAI's CLIP and OpenCLIP were trained to find behind the end of a text; the second is word number 0."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded model."""

    pipe: Any
    """A `diffusers.StableDiffusionPipeline` or, of SDXL, a `StableDiffusionXLPipeline`."""
    name: str
    hash: str | None
    """AutoV2, of a single file."""
    folder: Path | None
    """Where its parts lie as diffusers keeps them."""
    kind: str = "sd"
    """`sd` (SDXS too) or `sdxl` (SDXL-Turbo too)."""

    @property
    def fills_masks(self) -> bool:
        """Whether it paints only over a picture: its UNet takes the picture and a mask beside the noise."""
        return bool(self.pipe.unet.config.in_channels != self.pipe.vae.config.latent_channels)

    @property
    def upcast(self) -> bool:
        """Whether the autoencoder overflows in float16, so that it must decode in float32 there.

        That of SDXL does, unless its configuration says that it was mended. Those of SD do not, whatever theirs says:
        the library's own default is yes.
        """
        return self.kind == "sdxl" and bool(self.pipe.vae.config.get("force_upcast", True))


def load_checkpoint(
    model: str,
    *,
    dtype: torch.dtype,
    kinds: Collection[str] = ("sd",),
    local_files_only: bool = False,
    tokenizer: str | None = None,
    prediction: str | None = None,
) -> Checkpoint:
    """Load a checkpoint onto the CPU. Only safetensors are opened, and no code of the repository runs.

    Args:
        model: A name of `known`, a diffusers folder, a `.safetensors` file, a hub id, or a file on the hub as
            `owner/name/path/in/it.safetensors`.
        dtype: The precision of its weights.
        kinds: What it may be: `sd` (SDXS too), `sdxs`, `sdxl` (SDXL-Turbo too), `sd-inpaint`, `sdxl-inpaint`.
        local_files_only: Never ask the hub.
        tokenizer: For a single file: the folder or hub id of a CLIP tokenizer.
        prediction: For a single file: `epsilon` or `v_prediction`, where the file cannot tell (SD 2.x).

    Raises:
        InputError: it is not there, damaged, pickled, or of another kind; one sentence.
    """
    located, _ = resolve(model)
    with quiet():
        if exists(located):
            path = Path(located).expanduser()
            if path.is_dir():
                return _of_folder(path, path.resolve().name, dtype, kinds)
            return _of_file(path, dtype, kinds, tokenizer, prediction, local_files_only=local_files_only)
        if match := HUB_FILE.fullmatch(located):
            path = hub_file(match["repository"], match["file"], local_files_only=local_files_only)
            return _of_file(path, dtype, kinds, tokenizer, prediction, local_files_only=local_files_only)
        if HUB_ID.fullmatch(located):
            kind = told(located, local_files_only=local_files_only)
            admit(kind, kinds, located)
            folder = _download(located, kind, local_files_only=local_files_only)
            return _of_folder(folder, located, dtype, kinds)
    raise missing(model)


def _of_folder(folder: Path, name: str, dtype: torch.dtype, kinds: Collection[str]) -> Checkpoint:
    kind = kind_of_folder(folder, name)
    admit(kind, kinds, name)
    return _checkpoint(_folder_parts(folder, kind, dtype), kind, name, None, folder)


def _of_file(
    path: Path,
    dtype: torch.dtype,
    kinds: Collection[str],
    tokenizer: str | None,
    prediction: str | None,
    *,
    local_files_only: bool,
) -> Checkpoint:
    header = read_header(path)
    kind = kind_of_file(header, path.stem)
    admit(kind, kinds, path.stem)
    if kind == "sdxs":
        raise InputError(f"{path.stem} is an SDXS checkpoint in a single file; take its diffusers folder")
    if kind.startswith("sdxl"):
        parts = load_xl_parts(path, header, dtype, prediction, turbo=kind == "sdxl-turbo")
    else:
        parts = load_parts(path, header, dtype, prediction)
    for number in ("", "_2"):
        if encoder := parts.get(f"text_encoder{number}"):
            padding = _ZEROS if encoder.config.hidden_act == "gelu" else _ENDS
            parts[f"tokenizer{number}"] = _tokenizer(path, tokenizer, padding, local_files_only=local_files_only)
    return _checkpoint(parts, kind, path.stem, digests(path).whole[:10], None)


def _checkpoint(parts: dict[str, Any], kind: str, name: str, digest: str | None, folder: Path | None) -> Checkpoint:
    """Make a pipeline of the parts, once they are known to belong together."""
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    for number in ("", "_2"):
        if f"tokenizer{number}" not in parts:
            continue
        words, rows = len(parts[f"tokenizer{number}"]), parts[f"text_encoder{number}"].config.vocab_size
        if words < _SMALLEST:  # what transformers gives, without a word, where the vocabulary is not there
            raise InputError(f"the tokenizer has {words} words, so its vocabulary is missing")
        if words > rows:
            raise InputError(
                f"the tokenizer has {words} words and the text encoder {rows}: they do not belong together"
            )
    xl = kind.startswith("sdxl")
    with FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of old configurations, which are put right all the same
        if xl:
            pipe = StableDiffusionXLPipeline(**parts, feature_extractor=None, add_watermarker=False)
        else:
            pipe = StableDiffusionPipeline(
                **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
            )
    pipe.set_progress_bar_config(disable=True)
    return Checkpoint(pipe, name, digest, folder, "sdxl" if xl else "sd")


def _folder_parts(folder: Path, kind: str, dtype: torch.dtype) -> dict[str, Any]:
    """Load the parts of a diffusers folder by their known classes, whatever classes its index names."""
    import diffusers
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    vae = str(read_object(folder / "vae" / "config.json", folder.name).get("_class_name"))
    if vae not in ("AutoencoderKL", "AutoencoderTiny"):
        raise InputError(f"{folder.name} has the autoencoder {vae}; AutoencoderKL and AutoencoderTiny are known")
    parts = {
        "unet": read_weights(diffusers.UNet2DConditionModel, folder / "unet", dtype),
        "vae": read_weights(getattr(diffusers, vae), folder / "vae", dtype),
        "text_encoder": read_weights(CLIPTextModel, folder / "text_encoder", dtype),
        "tokenizer": read_config(CLIPTokenizer, folder / "tokenizer"),
        "scheduler": read_config(_scheduler_class(folder), folder / "scheduler"),
    }
    if kind.startswith("sdxl"):
        index = read_object(folder / "model_index.json", folder.name)
        parts["text_encoder_2"] = read_weights(CLIPTextModelWithProjection, folder / "text_encoder_2", dtype)
        parts["tokenizer_2"] = read_config(CLIPTokenizer, folder / "tokenizer_2")
        parts["force_zeros_for_empty_prompt"] = index.get("force_zeros_for_empty_prompt", True) is not False
    return parts


def _scheduler_class(folder: Path) -> Any:
    import diffusers

    name = str(read_object(folder / "scheduler" / "scheduler_config.json", folder.name).get("_class_name"))
    cls = getattr(diffusers, name, None)
    if isinstance(cls, type) and issubclass(cls, diffusers.SchedulerMixin):
        return cls
    raise InputError(f"{folder.name} asks for the scheduler {name}, which diffusers does not have")


def read_weights(cls: Any, folder: Path, dtype: torch.dtype) -> Any:
    """Load a model and insist on every one of its weights: the libraries would fill gaps with noise."""
    import diffusers

    stems = {file.name.removesuffix(".safetensors") for file in folder.glob("*.safetensors")}
    if not stems:
        pickled = any(folder.glob("*.bin"))
        why = "only as pickles, which are not opened; save them as safetensors" if pickled else "not at all"
        raise InputError(f"{folder.parent.name} has the weights of its {folder.name} {why}")
    half = all(re.search(r"\.fp16(-\d+-of-\d+)?$", stem) for stem in stems)
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True}
    if issubclass(cls, diffusers.ModelMixin):  # these would be widened to float32 first, and take twice the memory
        options["torch_dtype"] = dtype
    model, info = _loaded(lambda: cls.from_pretrained(folder, variant="fp16" if half else None, **options), folder)
    if lacking := sorted(key for key in info["missing_keys"] if not key.endswith("position_ids")):
        raise InputError(f"{folder.parent.name}: the {folder.name} lacks {len(lacking)} weights, {lacking[0]} first")
    return model.to(dtype).eval()


def read_config(cls: Any, folder: Path) -> Any:
    return _loaded(lambda: cls.from_pretrained(folder, local_files_only=True), folder)


def _loaded(load: Callable[[], T], folder: Path) -> T:
    try:
        return load()
    except VelaturaError:
        raise
    except Exception as error:  # the libraries raise of every kind, and a checkpoint is a stranger's input
        raise InputError(f"{folder.parent.name}: the {folder.name} cannot be loaded: {first_line(error)}") from error


def _download(model: str, kind: str, *, local_files_only: bool) -> Path:
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    skipped = {"safety_checker": None, "feature_extractor": None, "image_encoder": None}
    cls = StableDiffusionXLPipeline if kind.startswith("sdxl") else StableDiffusionPipeline
    try:
        folder = cls.download(model, use_safetensors=True, local_files_only=local_files_only, **skipped)
    except Exception as error:  # every kind of network trouble, in each of the hub's own classes
        raise unreachable(model, error) from error
    return Path(folder)


def _tokenizer(path: Path, named: str | None, padding: str, *, local_files_only: bool) -> Any:
    """Find CLIP's tokenizer for a single file: where the caller says, beside the file, in the cache, on the hub."""
    from transformers import CLIPTokenizer

    beside = path.parent / "tokenizer"
    places = [named] if named else [*([str(beside)] if beside.is_dir() else []), *_TOKENIZERS]
    for local in (True,) if local_files_only else (True, False):
        for place in places:
            subfolder = "tokenizer" if place.startswith("stable-diffusion") else ""
            try:
                found = CLIPTokenizer.from_pretrained(
                    place, local_files_only=local, subfolder=subfolder, pad_token=padding
                )
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
    with _REPORTS.held(), without_numpy_warning():
        yield


def _silence() -> Callable[[], None]:
    """Silence the libraries, and return what lets them speak again."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    before = [(library, library.get_verbosity()) for library in (diffusers_logging, transformers_logging)]
    bar = transformers_logging.is_progress_bar_enabled()
    for library, _ in before:
        library.set_verbosity_error()
    transformers_logging.disable_progress_bar()

    def undo() -> None:
        for library, level in before:
            library.set_verbosity(level)
        if bar:
            transformers_logging.enable_progress_bar()

    return undo


_REPORTS = Shared(_silence)
