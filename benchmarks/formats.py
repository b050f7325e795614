"""Which formats of adapters load, and whether they then do what they say: diffusers, LyCORIS, and this package.

    python benchmarks/formats.py [--json]

Every row is a file with random factors for a tiny Stable Diffusion 1.5 or XL, written as a trainer would write it and
laid at weight 1. What each side then has in the model's weights is compared with the formula in float64: a weight
whose effect is off by more than 1e-5 of it is wrong. Diffusers loads by `load_lora_weights` and fuses; LyCORIS, a
column where it can be imported, by `create_lycoris_from_weights` and `merge_to`, with the prefixes of kohya's trainer.
It takes a minute or two.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from diffusers.utils.logging import disable_progress_bar
from format_files import PARTS, Modules, Row, make_models, modules_of, rows
from torch import Tensor, nn

from velatura.errors import VelaturaError
from velatura.generation.adapters.file import AdapterFile
from velatura.generation.adapters.patch import Layers
from velatura.generation.adapters.plan import AdapterPlan, plan
from velatura.generation.adapters.side import SideBranch
from velatura.generation.checkpoint import quiet

RIGHT = "OK"
TOLERANCE = 1e-5


def main() -> None:
    """Load every file on every side, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    disable_progress_bar()
    warnings.simplefilter("ignore")
    sides: dict[str, Callable[[Row, Path, Any], str]] = {"diffusers": with_diffusers}
    if find_spec("lycoris"):
        sides["lycoris"] = with_lycoris
    sides["velatura"] = with_velatura
    results: dict[str, dict[str, str]] = {}
    with quiet(), tempfile.TemporaryDirectory() as folder:
        pipes = make_models(Path(folder) / "tiny")
        for row in rows({model: modules_of(pipe) for model, pipe in pipes.items()}):
            path = row.write(Path(folder) / "row.safetensors")
            results[row.name] = {side: load(row, path, pipes[row.model]) for side, load in sides.items()}
    show(results)
    if arguments.json:
        names = ("diffusers", "peft", "transformers", "torch") + ("lycoris-lora",) * ("lycoris" in sides)
        versions = {name: version(name) for name in names}
        print(json.dumps({"versions": versions, "rows": results}))


def show(results: Mapping[str, Mapping[str, str]]) -> None:
    """Print the table."""
    lines = [["file", *next(iter(results.values()))], *([name, *told.values()] for name, told in results.items())]
    short = [[cell if len(cell) <= 70 else f"{cell[:67]}..." for cell in line] for line in lines]
    widths = [max(len(line[column]) for line in short) for column in range(len(short[0]))]
    for line in short:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def with_diffusers(row: Row, path: Path, pipe: Any) -> str:
    """Load and fuse with diffusers and PEFT, on a copy of the model."""
    fresh, parts = copied(pipe)
    before = weights(modules_of(fresh))
    try:
        fresh.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name="one")
        if fresh.get_active_adapters():
            fresh.fuse_lora(components=list(parts))
    except Exception as error:  # whatever it raises is its answer
        return type(error).__name__
    return judge(row, before, weights(unwrapped(modules_of(fresh))))


def copied(pipe: Any) -> tuple[Any, dict[str, nn.Module]]:
    """A pipeline of its own denoiser and text encoders, and these."""
    parts = {part: deepcopy(getattr(pipe, part)) for part in PARTS if getattr(pipe, part, None) is not None}
    return type(pipe)(**{**pipe.components, **parts}), parts


def unwrapped(modules: Modules) -> dict[str, nn.Module]:
    """Modules by the names that they had before PEFT wrapped them."""
    return {name.removesuffix(".base_layer"): module for name, module in modules.items() if ".lora_" not in name}


def with_lycoris(row: Row, path: Path, pipe: Any) -> str:
    """Merge with LyCORIS into a copy of the model."""
    from lycoris.wrapper import LycorisNetwork, create_lycoris_from_weights

    fresh, parts = copied(pipe)
    before = weights(modules_of(fresh))
    count = "1" if "text_encoder_2" in parts else ""
    prefixes = {"unet": "lora_unet", "text_encoder": f"lora_te{count}", "text_encoder_2": "lora_te2"}
    try:
        for part, model in parts.items():
            wrapping = "" if part == "unet" or hasattr(model, "text_model") else "_text_model"
            LycorisNetwork.LORA_PREFIX = prefixes[part] + wrapping
            with torch.no_grad():
                create_lycoris_from_weights(1.0, str(path), model)[0].merge_to(1.0)
    except Exception as error:  # whatever it raises is its answer
        return type(error).__name__
    return judge(row, before, weights(modules_of(fresh)))


def with_velatura(row: Row, path: Path, pipe: Any) -> str:
    """Lay with this package, and take off again; what depends on the time step is worn beside the weights."""
    modules = modules_of(pipe)
    before = weights(modules)
    try:
        found = plan(AdapterFile(path), modules)
        if found.timed:
            return judge(row, before, worn(found, modules, before))
        with Layers(modules) as layers:
            layers.lay({found: 1.0})
            return judge(row, before, weights(modules))
    except VelaturaError as error:
        return f"refused: {error}"


def worn(found: AdapterPlan, modules: Modules, before: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that linear layers seem to have at the last step, seen from what they do to every unit vector."""
    after = dict(before)
    with torch.no_grad(), SideBranch(modules) as side:
        plain = {name: acting(modules[name.rpartition(".")[0]]) for name in found.parts}
        side.wear([{found: 1.0}])
        side.at(0.0)
        for name, old in plain.items():
            after[name] = before[name] + acting(modules[name.rpartition(".")[0]]) - old
    return after


def acting(module: nn.Module) -> Tensor:
    result: Tensor = module(torch.eye(module.weight.shape[1])).double().T
    return result


def weights(modules: Modules) -> dict[str, Tensor]:
    """Every parameter of the modules, in float64."""
    return {
        f"{name}.{parameter}": values.detach().double()
        for name, module in modules.items()
        for parameter, values in module.named_parameters(recurse=False)
    }


def judge(row: Row, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> str:
    """Say what became of a file that was loaded without an error."""
    if not row.effects:
        changed = any(not torch.equal(old, after[name]) for name, old in before.items())
        return "lays what is for another model" if changed else "loads nothing, no error"
    lost, wrong = 0, 0
    for name, effect in row.effects.items():
        expected, got = effect(before[name]).reshape(before[name].shape), after[name] - before[name]
        if not got.any():
            lost += 1
        elif float((got - expected).norm() / expected.norm()) > TOLERANCE:
            wrong += 1
    other = sum(not torch.equal(old, after[name]) for name, old in before.items() if name not in row.effects)
    if lost == len(row.effects):
        return "loads nothing, no error"
    faults = {"without effect": lost, "with a wrong effect": wrong, "touched that are not in the file": other}
    told = [f"{count} {fault}" for fault, count in faults.items() if count]
    return f"{', '.join(told)}, of {len(row.effects)}" if told else RIGHT


if __name__ == "__main__":
    main()
