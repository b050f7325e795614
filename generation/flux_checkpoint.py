"""A FLUX.1 checkpoint: a diffusers folder, a hub id, or one file for the transformer beside the parts of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import InputError, UnreadableFile
from .adapters.flux import SWAPPED, bfl_names
from .checkpoint import Checkpoint, quiet, read_config, read_weights
from .checksums import digests
from .hub import HUB_FILE, HUB_ID, hub_file, unreachable
from .kinds import (
    Shapes,
    admit,
    kind_of_file,
    kind_of_folder,
    missing,
    read_header,
    read_object,
    told,
)
from .known import exists, resolve
from .single_file import first_line

_PARTS = frozenset({"transformer", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"})
_PREFIX = "model.diffusion_model."
"""What stands before the transformer's names where a file has the other parts, too."""
_SCHEDULER = "FlowMatchEulerDiscreteScheduler"
_AXES = {128: (16, 56, 56)}
"""How the channels of a head are shared out to text, rows and columns: the only ones that there are."""
_PLAIN = "a diffusers folder or hub id of FLUX.1 schnell or dev"


def load_flux(
    model: str, *, dtype: torch.dtype, local_files_only: bool = False, parts: str | None = None
) -> Checkpoint:
    """Load a FLUX.1 checkpoint onto the CPU. Only safetensors are opened, and no code of the repository runs.

    Args:
        model: A diffusers folder, a hub id, or a `.safetensors` file that holds a transformer in Black Forest Labs'
            names, alone or with other parts, which are not read.
        dtype: The precision of its weights.
        local_files_only: Never ask the hub.
        parts: For a single file: the diffusers folder or hub id that has the text encoders, the autoencoder and the
            scheduler.

    Raises:
        InputError: it is not there, damaged, pickled, or of another architecture; one sentence.
    """
    located, _ = resolve(model)
    with quiet():
        match = HUB_FILE.fullmatch(located)
        if exists(located) and not (path := Path(located).expanduser()).is_dir():
            return _of_file(path, dtype, parts, local_files_only=local_files_only)
        if match and not exists(located):
            path = hub_file(match["repository"], match["file"], local_files_only=local_files_only)
            return _of_file(path, dtype, parts, local_files_only=local_files_only)
        folder, name = _folder(located, local_files_only=local_files_only)
        return Checkpoint(_pipeline(_folder_parts(folder, dtype), name), name, None, folder, "flux")


def _of_file(path: Path, dtype: torch.dtype, parts: str | None, *, local_files_only: bool) -> Checkpoint:
    header = read_header(path)
    admit(kind_of_file(header, path.stem), ("flux",), path.stem)
    if parts is None:
        raise InputError(
            f"{path.name} is read for FLUX's transformer alone: name as `parts` {_PLAIN}, whose text encoders and "
            "autoencoder are taken, or paint with that itself"
        )
    transformer = _transformer(path, header.shapes, dtype)
    folder, _ = _folder(parts, local_files_only=local_files_only)
    pipe = _pipeline(_folder_parts(folder, dtype, transformer), path.name)
    return Checkpoint(pipe, path.stem, digests(path).whole[:10], None, "flux")


def _folder(model: str, *, local_files_only: bool) -> tuple[Path, str]:
    """Return a diffusers folder of FLUX, and what it is called."""
    from diffusers import FluxPipeline

    if exists(model):
        path = Path(model).expanduser()
        admit(kind_of_folder(path, path.resolve().name), ("flux",), path.resolve().name)
        return path, path.resolve().name
    if not HUB_ID.fullmatch(model):
        raise missing(model)
    admit(told(model, local_files_only=local_files_only), ("flux",), model)
    try:
        return Path(FluxPipeline.download(model, use_safetensors=True, local_files_only=local_files_only)), model
    except Exception as error:  # every kind of network trouble, in each of the hub's own classes
        raise unreachable(model, error) from error


def _folder_parts(folder: Path, dtype: torch.dtype, transformer: nn.Module | None = None) -> dict[str, Any]:
    """Load the parts of a diffusers folder by their known classes, whatever classes its index names."""
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
    from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

    index = read_object(folder / "model_index.json", folder.name)
    kind = str(index.get("_class_name", "another pipeline"))
    if kind != "FluxPipeline" or not index.keys() >= _PARTS:
        raise InputError(f"{folder.name} is a {kind}; the backend flux paints with {_PLAIN}")
    named = str(read_object(folder / "scheduler" / "scheduler_config.json", folder.name).get("_class_name"))
    if named != _SCHEDULER:
        raise InputError(f"{folder.name} asks for the scheduler {named}; the backend flux knows {_SCHEDULER}")
    return {
        "transformer": transformer or read_weights(FluxTransformer2DModel, folder / "transformer", dtype),
        "vae": read_weights(AutoencoderKL, folder / "vae", dtype),
        "text_encoder": read_weights(CLIPTextModel, folder / "text_encoder", dtype),
        "text_encoder_2": read_weights(T5EncoderModel, folder / "text_encoder_2", dtype),
        "tokenizer": read_config(CLIPTokenizer, folder / "tokenizer"),
        "tokenizer_2": read_config(T5TokenizerFast, folder / "tokenizer_2"),
        "scheduler": read_config(FlowMatchEulerDiscreteScheduler, folder / "scheduler"),
    }


def _pipeline(parts: dict[str, Any], name: str) -> Any:
    from diffusers import FluxPipeline

    transformer, vae = parts["transformer"].config, parts["vae"].config
    channels = 4 * vae.latent_channels
    for wrong, sentence in (
        (
            transformer.in_channels > channels,
            f"{name} is an editing FLUX (Fill, Canny, Depth); the backend flux paints with FLUX.1 schnell and dev",
        ),
        (transformer.in_channels != channels, f"{name}: the transformer and the autoencoder do not belong together"),
        (
            transformer.joint_attention_dim != parts["text_encoder_2"].config.d_model
            or transformer.pooled_projection_dim != parts["text_encoder"].config.hidden_size,
            f"{name}: the transformer and the text encoders do not belong together",
        ),
        *(
            (
                not 0 < len(parts[tokenizer]) <= parts[encoder].config.vocab_size,
                f"{name}: the {tokenizer} has {len(parts[tokenizer])} words and the {encoder} "
                f"{parts[encoder].config.vocab_size}: they do not belong together",
            )
            for tokenizer, encoder in (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))
        ),
    ):
        if wrong:
            raise InputError(sentence)
    pipe = FluxPipeline(**parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _transformer(path: Path, shapes: Shapes, dtype: torch.dtype) -> Any:
    """Load the transformer that a file holds in Black Forest Labs' names."""
    from diffusers import FluxTransformer2DModel

    keys = {key.removeprefix(_PREFIX): key for key in shapes}
    if any(name.endswith("scale_weight") for name in keys):
        raise InputError(f"{path.name} keeps its weights scaled to 8 bits; take one of 16 bits")
    try:
        with safe_open(path, framework="pt", device="cpu") as stream:
            with torch.device("meta"):
                model = FluxTransformer2DModel(**config_of({name: shapes[key] for name, key in keys.items()}))
            weights: dict[str, Tensor] = {}
            for theirs, ours in bfl_parameters(model).items():
                values = stream.get_tensor(keys[theirs]).to(dtype)
                weights |= zip(ours, _rows(model, theirs, ours, values), strict=True)
    except SafetensorError as error:
        raise UnreadableFile(f"{path.name} is truncated or damaged: {str(error).rstrip('.')}") from None
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        raise InputError(f"{path.name} is not a whole FLUX transformer: {first_line(error)}") from None
    model.load_state_dict(weights, assign=True)
    return model.eval()


def config_of(shapes: Shapes) -> dict[str, Any]:
    """Return the diffusers configuration of the transformer that these shapes belong to.

    Raises:
        KeyError: a part of it is not there.
    """
    width, channels = shapes["img_in.weight"]
    head = shapes["double_blocks.0.img_attn.norm.query_norm.scale"][0]
    return {
        "in_channels": channels,
        "out_channels": shapes["final_layer.linear.weight"][0],
        "num_layers": _count(shapes, "double_blocks."),
        "num_single_layers": _count(shapes, "single_blocks."),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": shapes["txt_in.weight"][1],
        "pooled_projection_dim": shapes["vector_in.in_layer.weight"][1],
        "guidance_embeds": "guidance_in.in_layer.weight" in shapes,
        "axes_dims_rope": _AXES[head],
    }


def bfl_parameters(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return {parameter at Black Forest Labs: parameters in diffusers, in the order of the rows}."""
    modules = dict(model.named_modules())
    found = {}
    for theirs, ours in bfl_names(modules).items():
        if theirs.endswith("_qkv"):  # a part of `linear1`, in adapters only
            continue
        for kind, _ in modules[ours[0]].named_parameters(recurse=False):
            spelt = "scale" if theirs.endswith("_norm") else kind
            found[f"{theirs}.{spelt}"] = tuple(f"{name}.{kind}" for name in ours)
    return found


def _rows(model: nn.Module, theirs: str, ours: tuple[str, ...], values: Tensor) -> tuple[Tensor, ...]:
    if theirs.rpartition(".")[0] in SWAPPED:
        values = torch.cat(values.chunk(2)[::-1])
    wanted = [model.get_parameter(name) for name in ours]
    parts = torch.split(values, [parameter.shape[0] for parameter in wanted])
    for part, parameter in zip(parts, wanted, strict=True):
        if part.shape != parameter.shape:
            raise ValueError(f"{theirs} is {tuple(values.shape)} large")
    # Copies, since the mapped file must not be what adapters are laid on.
    return tuple(part.clone() for part in parts)


def _count(shapes: Shapes, prefix: str) -> int:
    return len({name[len(prefix) :].split(".")[0] for name in shapes if name.startswith(prefix)})
