"""What a checkpoint is, told before anything of it is loaded: from a folder's configurations or a file's header."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, UnreadableFile
from .adapters.file import PICKLES
from .hub import HUB_FILE, HUB_ID, hub_file, hub_folder, json_object
from .known import KNOWN, exists, resolve

Shapes = Mapping[str, tuple[int, ...]]

TITLES = {
    "sd": "an SD 1.x or 2.x",
    "sd-inpaint": "an SD inpainting",
    "sdxs": "an SDXS",
    "sdxl": "an SDXL",
    "sdxl-inpaint": "an SDXL inpainting",
    "sdxl-turbo": "an SDXL-Turbo",
    "flux": "a FLUX.1",
}
"""Every kind of checkpoint, for people."""
_BASES = {"sdxs": "sd", "sdxl-turbo": "sdxl"}
"""Kinds that load as another does."""

_LATENT = 4
_PIX2PIX, _INPAINT = 8, 9
"""What the UNet takes where it takes a picture beside the noise."""

_TURBO = re.compile(r"(?:sd[-_ ]?|stable[-_ ]diffusion[-_ ])xl[-_ .\d]{0,5}turbo", re.IGNORECASE)
"""Stability's own: other models that are called turbo take guidance and more steps, as SDXL does."""
_TITLE_FIELDS = ("modelspec.title", "modelspec.architecture")

_STRANGERS: tuple[tuple[str, str], ...] = (
    ("joint_blocks.0.", "an SD 3"),
    ("distilled_guidance_layer.", "a Chroma"),
    ("double_stream_modulation_img.", "a FLUX.2"),
    ("double_layers.0.attn.", "an AuraFlow"),
    ("cap_embedder.0.", "a Lumina"),
    ("edm_mean", "a Playground v2.5"),
    ("edm_vpred.sigma_max", "a CosXL"),
    ("conditioner.embedders.0.model.", "an SDXL refiner's"),
)
"""Marks of checkpoints that no backend paints with."""
_ADAPTER = re.compile(r"lora_(?:down|up|A|B)\b|\.lora\.|hada_w|lokr_w|\.oft_|^(?:emb_params|string_to_param)")


@dataclass(frozen=True, slots=True)
class Header:
    """What stands at the head of a `.safetensors` file."""

    shapes: Shapes
    fields: Mapping[str, str]


def read_header(path: Path) -> Header:
    """Read the shapes and the fields of a file, and no tensor.

    Raises:
        UnreadableFile: it is a pickle, damaged, or no safetensors.
    """
    from safetensors import SafetensorError, safe_open

    if path.suffix.lower() in PICKLES:
        raise UnreadableFile(f"{path.name} is a pickle, which can run code when opened; take a .safetensors file")
    try:
        with safe_open(path, framework="np") as stream:
            shapes = {key: tuple(stream.get_slice(key).get_shape()) for key in stream.keys()}  # noqa: SIM118
            return Header(shapes, stream.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise UnreadableFile(
            f"{path.name} is truncated or damaged, or no safetensors: {str(error).rstrip('.')}"
        ) from None


def kind_of(model: str, *, local_files_only: bool = False) -> str:
    """Return the backend that paints with a checkpoint. No tensor is read; of a hub id only configurations are.

    Args:
        model: A name of `known`, a diffusers folder, a `.safetensors` file, or a hub id.
        local_files_only: Never ask the hub.

    Raises:
        InputError: it is not there, or no backend paints with it.
    """
    located, known = resolve(model)
    if known is not None:
        return known.backend
    return (told(located, local_files_only=local_files_only)).removesuffix("-inpaint")


def told(model: str, *, local_files_only: bool = False) -> str:
    """Return the kind of a checkpoint, one of `TITLES`; as `kind_of`."""
    path = Path(model).expanduser() if exists(model) else None
    if path is not None and path.is_dir():
        return kind_of_folder(path, path.resolve().name)
    if path is not None:
        return kind_of_file(read_header(path), path.stem)
    if match := HUB_FILE.fullmatch(model):
        file = hub_file(match["repository"], match["file"], local_files_only=local_files_only)
        return kind_of_file(read_header(file), file.stem)
    if HUB_ID.fullmatch(model):
        return kind_of_folder(_configurations(model, local_files_only=local_files_only), model)
    raise missing(model)


def missing(model: str) -> InputError:
    """Return the error that there is no such checkpoint."""
    import difflib

    near = difflib.get_close_matches(model.lower(), KNOWN, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return InputError(
        f"there is no checkpoint {model!r}{meant}: give a diffusers folder, a .safetensors file, or a hub id"
    )


def admit(kind: str, kinds: Collection[str], name: str) -> None:
    """Refuse a checkpoint that is none of the kinds that a backend loads, in a sentence that says what would.

    Args:
        kind: What it is, of `TITLES`.
        kinds: What is loaded; `sd` takes in SDXS, and `sdxl` SDXL-Turbo, but neither the inpainting ones.
        name: The checkpoint's, for people.

    Raises:
        InputError: it is none of them.
    """
    if kind in kinds or _BASES.get(kind) in kinds:
        return
    if kind.endswith("-inpaint"):
        raise InputError(
            f"{name} is {TITLES[kind]} checkpoint, which only paints over a picture: take --backend "
            f"{kind.removesuffix('-inpaint')}, and give it a picture and a mask (--image, --inpaint)"
        )
    raise InputError(f"{name} is {TITLES[kind]} checkpoint; take --backend {kind}")


# ------------------------------------------------------------------------------------------- folders


def kind_of_folder(folder: Path, name: str) -> str:
    """Return the kind of a diffusers folder, one of `TITLES`; its configurations are enough.

    Args:
        folder: The folder.
        name: What it is called: its hub id, where it has one.

    Raises:
        InputError: it is not whole, or no backend paints with it.
    """
    index = read_object(folder / "model_index.json", name)
    kind = str(index.get("_class_name", "another pipeline"))
    if _there(index, "transformer"):
        transformer = read_object(folder / "transformer" / "config.json", name)
        if transformer.get("_class_name") == "FluxTransformer2DModel":
            return "flux"
    if not _there(index, "unet") or not _there(index, "vae"):
        raise InputError(f"{name} is a {kind}, which no backend paints with")
    unet = read_object(folder / "unet" / "config.json", name)
    if unet.get("_class_name", "UNet2DConditionModel") != "UNet2DConditionModel":
        raise InputError(f"{name} is a {kind}, which no backend paints with")
    if unet.get("in_channels") == _PIX2PIX and _latent(folder, name) != _PIX2PIX:
        raise InputError(f"{name} is an image-editing (InstructPix2Pix) checkpoint, which no backend paints with")
    over = "-inpaint" if unet.get("in_channels") == _INPAINT and _latent(folder, name) != _INPAINT else ""
    if unet.get("addition_embed_type") == "text_time" or _there(index, "text_encoder_2"):
        if not (_there(index, "text_encoder") and _there(index, "text_encoder_2")):
            raise InputError(f"{name} is an SDXL refiner, which no backend paints with; take the base model")
        return f"sdxl{over}" if over or not _is_turbo(folder, index, name) else "sdxl-turbo"
    if not _there(index, "text_encoder"):
        raise InputError(f"{name} is a {kind}, which no backend paints with")
    if "mid_block_type" in unet and unet["mid_block_type"] is None and unet.get("layers_per_block") == 1:
        return "sdxs"
    return f"sd{over}"


def _there(index: Mapping[str, Any], part: str) -> bool:
    named = index.get(part)
    return isinstance(named, list) and len(named) == 2 and named[1] is not None


def _latent(folder: Path, name: str) -> Any:
    return read_object(folder / "vae" / "config.json", name).get("latent_channels", _LATENT)


def _is_turbo(folder: Path, index: Mapping[str, Any], name: str) -> bool:
    """Whether it was distilled to start from the last step: other models that do so predict velocity."""
    scheduler = read_object(folder / "scheduler" / "scheduler_config.json", name)
    if scheduler.get("timestep_spacing") != "trailing" or scheduler.get("prediction_type", "epsilon") != "epsilon":
        return False
    called = f"{name} {index.get('_name_or_path', '')}"
    return scheduler.get("_class_name") == "EulerAncestralDiscreteScheduler" or bool(_TURBO.search(called))


def read_object(path: Path, name: str) -> dict[str, Any]:
    """Read a JSON object of a diffusers folder.

    Args:
        path: The file.
        name: The folder's, for people.

    Raises:
        InputError: it is not there, or no object.
    """
    try:
        content = json_object(path)
    except OSError:
        where = path.name if path.name == "model_index.json" else f"{path.parent.name}/{path.name}"
        raise InputError(f"{name} is not a diffusers folder: it has no {where}") from None
    if content is None:
        raise InputError(f"{name}: {path.name} is not a JSON object")
    return content


# --------------------------------------------------------------------------------------------- files


def kind_of_file(header: Header, name: str) -> str:
    """Return the kind of a single-file checkpoint, one of `TITLES`.

    Args:
        header: The head of the file.
        name: What the file is called, without its ending: of a turbo model nothing else tells.

    Raises:
        InputError: no backend paints with it.
    """
    shapes = header.shapes
    for mark, family in _STRANGERS:
        if _has(shapes, mark):
            raise InputError(f"{name} is {family} checkpoint, which no backend paints with")
    if _has(shapes, "double_blocks.0."):
        return "flux"
    if not _has(shapes, "input_blocks.0.0."):
        raise InputError(f"{name} {_instead(shapes)}")
    xl = _has(shapes, "conditioner.embedders.1.") or _has(shapes, "label_emb.0.0.")
    shape = shapes.get("model.diffusion_model.input_blocks.0.0.weight", ())
    channels = shape[1] if len(shape) > 1 else _LATENT
    latent = shapes.get("first_stage_model.decoder.conv_in.weight", (0, _LATENT))
    if channels == _PIX2PIX and _PIX2PIX not in latent[1:2]:
        raise InputError(f"{name} is an image-editing (InstructPix2Pix) checkpoint, which no backend paints with")
    if channels == _INPAINT and _INPAINT not in latent[1:2]:
        return "sdxl-inpaint" if xl else "sd-inpaint"
    if xl:
        called = " ".join((name, *(header.fields.get(field, "") for field in _TITLE_FIELDS)))
        return "sdxl-turbo" if _TURBO.search(called[:500]) else "sdxl"
    return "sd" if _has(shapes, "middle_block.1.") else "sdxs"


def _has(shapes: Shapes, mark: str) -> bool:
    """Whether a key starts with the mark, itself or behind the prefix of the denoiser."""
    prefixes = (mark, f"model.diffusion_model.{mark}")
    return any(key.startswith(prefixes) for key in shapes)


def _instead(shapes: Shapes) -> str:
    if any(_ADAPTER.search(key) for key in shapes):
        return "is an adapter, not a checkpoint: name the checkpoint that shall wear it"
    if _has(shapes, "down_blocks.0.") or _has(shapes, "encoder.down_blocks.0."):
        return "is one part of a diffusers folder: name the folder"
    if any(key.startswith(("first_stage_model.", "cond_stage_model.", "conditioner.")) for key in shapes):
        return "is not a whole checkpoint: it has no UNet"
    return "is not a checkpoint that any backend paints with"


# ----------------------------------------------------------------------------------------------- hub


def _configurations(model: str, *, local_files_only: bool) -> Path:
    """Return a folder with the configurations of a hub's model, from the cache or downloaded."""
    wanted = ("model_index.json", "*/config.json", "scheduler/scheduler_config.json")
    folder = hub_folder(model, wanted, local_files_only=local_files_only)
    if not (folder / "model_index.json").is_file():
        raise InputError(
            f"{model} is not a diffusers folder on the hub; name one of its files: {model}/its-name.safetensors"
        )
    return folder
