"""The folders of trained models, in the forms that diffusers and transformers load."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..world import SIZE
from .checkpoint import load_tensors, save_json, save_tensors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import nn

SCHEDULE: Final = {
    "_class_name": "DDIMScheduler",
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "steps_offset": 1,
    "clip_sample": False,
    "set_alpha_to_one": True,
}
"""Noise that ends at nothing but noise, and sampling that begins there (Lin and others, 2024)."""

_WEIGHTS: Final = {"transformers": "model.safetensors", "diffusers": "diffusion_pytorch_model.safetensors"}


def save_model(model: Any, folder: Path, *, prefix: str = "") -> None:
    """Write a model's settings and its weights as fp16, each file whole or not at all.

    Args:
        model: Of diffusers or transformers.
        folder: Made when it is not there.
        prefix: Put before the names of all weights; `text_model.` for a CLIP text encoder, as every version of
            transformers reads it.

    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = json.loads(_settings_of(model))
    settings.pop("_name_or_path", None)
    if "encoder_block_out_channels" in settings:
        settings.pop("block_out_channels", None)  # worked out again on loading, with a warning if it stands here
    if _package(model) == "transformers":
        settings["dtype"] = "float32"  # else transformers 5 takes the file's fp16, which a processor's UNet is not
    save_json(folder / "config.json", settings)
    weights = {prefix + name: tensor.half() for name, tensor in model.state_dict().items()}
    save_tensors(folder / _WEIGHTS[_package(model)], weights, {"format": "pt"})


def _package(model: Any) -> str:
    return type(model).__module__.split(".")[0]


def _settings_of(model: Any) -> str:
    return str((model.config if _package(model) == "transformers" else model).to_json_string())


def load_weights(model: nn.Module, folder: Path, *, prefix: str = "") -> None:
    """Read a saved model's weights into one built alike."""
    tensors, _ = load_tensors(folder / _WEIGHTS[_package(model)])
    model.load_state_dict({name.removeprefix(prefix): tensor.float() for name, tensor in tensors.items()})


def digest_of(folders: Iterable[Path], count: int) -> str:
    """Return eight hexadecimal digits that stand for the weights of saved models and for a number."""
    digest = hashlib.sha256(str(count).encode())
    for folder in folders:
        for file in sorted(folder.glob("*.safetensors")):
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()[:8]


def save_pipeline_index(folder: Path, kind: str, parts: Mapping[str, tuple[str, str]]) -> None:
    """Write the page that says which class each part of a pipeline is.

    Args:
        folder: The pipeline's.
        kind: `StableDiffusionPipeline` or another.
        parts: Folder's name -> library and class.

    """
    save_json(folder / "scheduler" / "scheduler_config.json", SCHEDULE)
    named = {name: list(part) for name, part in parts.items()}
    named["scheduler"] = ["diffusers", "DDIMScheduler"]
    absent: dict[str, Any] = {"feature_extractor": [None, None], "image_encoder": [None, None]}
    if kind == "StableDiffusionPipeline":
        absent |= {"safety_checker": [None, None], "requires_safety_checker": False}
    else:
        absent["force_zeros_for_empty_prompt"] = False
    save_json(folder / "model_index.json", {"_class_name": kind, "_diffusers_version": "0.30.0", **named, **absent})


def save_image_settings(folder: Path) -> None:
    """Write how pictures are made ready for the evaluator: from bytes to -1 to 1, at their own size."""
    settings = {
        "image_processor_type": "CLIPImageProcessor",
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "crop_size": {"height": SIZE, "width": SIZE},
        "size": {"shortest_edge": SIZE},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 3,
        "rescale_factor": 1 / 255,
    }
    save_json(folder / "preprocessor_config.json", settings)


def copy_folder(source: Path, target: Path) -> None:
    """Copy a small folder's files over what is there."""
    shutil.copytree(source, target, dirs_exist_ok=True)


def load_pipeline(folder: Path) -> Any:
    """Load a pipeline as diffusers does, from safetensors alone, without its progress bar."""
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
