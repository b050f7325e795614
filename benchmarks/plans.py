"""The plans `fusion` and `demofusion` at the playground's size, painted and scored from one command.

    python benchmarks/plans.py [--prompts 6] [--samples 4] [--large-prompts 3] [--only fusion] [--json]

The plans are TOML files, as a person writes them; they are left in `--output` with all that was painted, which a second
run does not paint again. Fusion: the one-step model stands for SDXS and the base for DreamShaper, four groups with the
study's steps, guidance, samplers and weights. Nobody has trained an IP-Adapter for the playground: the one here has
random weights and sees through the evaluator. It shows that everything runs and what it takes, not what fusion is
worth. DemoFusion: the XL sibling at three times its 32 pixels, by the study's steps, strides (in their ratio to SDXL's
window), guidance and views (there is no Turbo of it), and by the ways that DemoFusion's paper compares. Figures are the
playground's evaluator's. Those ending in `, crops` are of crops of the model's own size, beside crops of the painted
world enlarged bicubically, which favours `upscale`: the world has no detail beyond 32 pixels.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file

from velatura import Velatura
from velatura.eval.crops import make_crops
from velatura.eval.evaluation import Scores
from velatura.eval.gathering import timings
from velatura.eval.grid import Plan, read_plan
from velatura.eval.manifest import Manifest, manifest_of
from velatura.eval.opening import open_evaluation
from velatura.eval.records import Prompt
from velatura.experiment import Experiment
from velatura.methods import Methods
from velatura.playground.library import find_weights
from velatura.playground.measure.prompts import Ask, every_ask
from velatura.playground.measure.worlds import references
from velatura.playground.world import SIZE
from velatura.records import Filter
from velatura.settings import default_settings

SDE = "dpmpp_3m_sde_sgm_uniform"
TIMES = 3
"""SDXL's 3072 pixels are three times its own 1024."""
CROPS = 4


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="the playground's trained models; else those that come with it")
    parser.add_argument("--output", type=Path, help="where everything is kept; else it is thrown away")
    parser.add_argument("--only", choices=("fusion", "demofusion"), help="one of the two")
    parser.add_argument("--prompts", type=int, default=6, help="of what the base model knows")
    parser.add_argument("--samples", type=int, default=4, help="pictures of a prompt, of fusion")
    parser.add_argument("--large-prompts", type=int, default=3, help="prompts of demofusion, one picture of each")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    weights = arguments.weights or find_weights()
    known = [ask for ask in every_ask() if ask.kind == "none"]
    with tempfile.TemporaryDirectory() as thrown_away:
        folder = arguments.output or Path(thrown_away)
        found = {}
        for name in [arguments.only] if arguments.only else ["fusion", "demofusion"]:
            if name == "fusion":
                asks, path = known[: arguments.prompts], fusion_plan(weights, folder, arguments.samples)
            else:
                asks, path = known[: arguments.large_prompts], demofusion_plan(weights, folder)
            found[name] = measured(read_plan(str(path)), asks, weights, folder / name, crops=name == "demofusion")
            print_table(name, found[name])
    if arguments.json:
        print(json.dumps(found))


# ------------------------------------------------------------------------------------------- the plans


def fusion_plan(weights: Path, folder: Path, samples: int) -> Path:
    """Write the study's four groups."""
    adapter = make_ip_adapter(weights, folder / "ip-adapter")
    painter = {"model": str(weights / "base"), "steps": 30, "guidance": 6.0}
    sketcher = {"model": str(weights / "onestep"), "steps": 1, "guidance": 0.0}
    fused = {**painter, "backend": "fusion", "sketcher": str(weights / "onestep")}
    variants: list[dict[str, Any]] = [
        {"name": "one step", "settings": sketcher},
        {"name": "base", "settings": painter, "fields": {"scheduler": "euler"}},
    ]
    for version, weight in (("v1", 0.8), ("v2", 1.4)):
        seen = {"model": str(adapter), "pictures": [], "weight": weight}
        variants.append(
            {
                "name": f"fusion {version}",
                "settings": {**fused, "fusion": version},
                "fields": {"scheduler": SDE, "image_prompts": [seen]},
            }
        )
    metrics = ["diversity:clip", "ms-ssim", "fid:clip", "kid:clip", "clip"]
    return write_plan(folder / "fusion.toml", variants, samples, "one step", metrics)


def demofusion_plan(weights: Path, folder: Path) -> Path:
    """Write the study's rows of SDXL, and the paper's other ways."""
    model = weights / "xl"
    cells = int(json.loads((model / "unet" / "config.json").read_text(encoding="utf-8"))["sample_size"])
    size = {"width": SIZE * TIMES, "height": SIZE * TIMES}

    def variant(name: str, steps: int, guidance: float, **enlargement: Any) -> dict[str, Any]:
        settings = {"model": str(model), "backend": "demofusion", "steps": steps, "guidance": guidance}
        return {"name": name, "settings": settings, "fields": size, "enlargement": enlargement}

    half, three_eighths = cells // 2, cells * 3 // 8
    variants = [
        variant("demofusion, 50 steps", 50, 7.5, stride=half, views=16),
        variant("demofusion, 10 steps", 10, 2.5, stride=three_eighths, views=12),
        variant("demofusion, 20 steps", 20, 2.5, stride=three_eighths, views=12),
        variant("upscale, 50 steps", 50, 7.5, mode="upscale"),
        variant("multidiffusion, 50 steps", 50, 7.5, mode="multidiffusion", stride=half, views=16),
        variant("scalecrafter, 50 steps", 50, 7.5, mode="scalecrafter"),
    ]
    metrics = ["fid:clip", "kid:clip", "clip"]
    return write_plan(folder / "demofusion.toml", variants, 1, "demofusion, 50 steps", metrics)


def write_plan(
    path: Path, variants: Sequence[dict[str, Any]], samples: int, baseline: str, metrics: Sequence[str]
) -> Path:
    """Write a plan as TOML."""
    lines = [f"samples = {samples}", f"baseline = {toml(baseline)}", f"metrics = {toml(list(metrics))}"]
    for variant in variants:
        lines += ["", "[[variants]]", *(f"{name} = {toml(value)}" for name, value in variant.items())]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def toml(value: Any) -> str:
    """Return a value as TOML writes it: strings, numbers and lists as JSON does, tables with `=`."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {toml(item)}" for name, item in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def make_ip_adapter(weights: Path, folder: Path) -> Path:
    """Write an IP-Adapter with random weights for the base, and beside it the evaluator, through which it sees."""
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(weights / "base" / "unet")
    seen = int(json.loads((weights / "evaluator" / "config.json").read_text(encoding="utf-8"))["projection_dim"])
    context = unet.config.cross_attention_dim
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) / shape[-1] ** 0.5

    tensors = {
        "image_proj.proj.weight": drawn(4 * context, seen),
        "image_proj.proj.bias": torch.zeros(4 * context),
        "image_proj.norm.weight": torch.ones(context),
        "image_proj.norm.bias": torch.zeros(context),
    }
    for place, name in enumerate(name for name in unet.attn_processors if "attn2" in name):
        outputs = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
        for part in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{2 * place + 1}.{part}.weight"] = drawn(outputs, context)
    (folder / "image_encoder").mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(weights / "evaluator" / name, folder / "image_encoder" / name)
    save_file(tensors, folder / "ip-adapter.safetensors")
    return folder / "ip-adapter.safetensors"


# ------------------------------------------------------------------------------------------- painting and scoring


def paint_references(asks: Sequence[Ask], folder: Path, *, times: int = 1) -> Path:
    """Paint what the prompts mean, as the world's painter has it; of enlarged pictures a crop of the world's size."""
    lot = random.Random("crops")
    folder.mkdir(parents=True, exist_ok=True)
    for ask in asks:
        for place, pixels in enumerate(references(ask)):
            large = Image.fromarray(pixels).resize((SIZE * times, SIZE * times), Image.Resampling.BICUBIC)
            left, upper = (lot.randint(0, SIZE * (times - 1)) for _ in range(2))
            large.crop((left, upper, left + SIZE, upper + SIZE)).save(folder / f"{ask.number}-{place}.png")
    return folder


def measured(plan: Plan, asks: Sequence[Ask], weights: Path, folder: Path, *, crops: bool) -> dict[str, dict[str, Any]]:
    """Paint a plan, and return each variant's figures and seconds of a picture."""
    prompts = [Prompt(id=f"none-{ask.number}", text=ask.prompt) for ask in asks]
    settings = default_settings(db=str(folder / "none.db"), device="cpu", offline=True)
    with Velatura(settings) as velatura:
        report = Experiment(velatura, plan, prompts, folder, methods=Methods(velatura, filter=Filter())).run()
    for what, why in report.failed:
        print(f"failed: {what}: {why}")
    found: dict[str, dict[str, Any]] = {variant.name: {} for variant in plan.variants}
    for one in timings(report.manifest.samples):
        if one.stage == "paint":
            found[one.method]["seconds"] = one.median
    reference = paint_references(asks, folder / "reference")
    add_figures(found, scored(report.manifest, plan.metrics, weights, folder, reference), "")
    if crops:
        samples = report.manifest.samples
        cut = make_crops(samples, folder / "crops", size=SIZE, each=CROPS, pictures=report.manifest.folder).samples
        named = manifest_of([replace(one, image=Path(one.image).name) for one in cut], folder / "crops")
        reference = paint_references(asks, folder / "reference-crops", times=TIMES)
        add_figures(found, scored(named, ("fid:clip", "kid:clip"), weights, folder, reference), ", crops")
    return found


def scored(manifest: Manifest, metrics: Sequence[str], weights: Path, folder: Path, reference: Path) -> Scores:
    """Score pictures as the playground does."""
    opened = open_evaluation(
        manifest,
        models={"clip": str(weights / "evaluator")},
        metrics=metrics,
        reference=reference,
        cache=folder / "features",
        ms_ssim=(2, 7),
    )
    return opened.evaluation.score(opened.metrics)


def add_figures(found: dict[str, dict[str, Any]], scores: Scores, ending: str) -> None:
    """Put figures under their variants."""
    for figure in scores.figures():
        told = {name: value for name, value in asdict(figure).items() if name in ("value", "low", "high", "n", "notes")}
        found[figure.cell.method][figure.metric + ending] = told


def print_table(name: str, found: dict[str, dict[str, Any]]) -> None:
    """Print a table in Markdown."""
    columns = list(dict.fromkeys(column for row in found.values() for column in row))
    print(f"\n| {name} | {' | '.join(columns)} |\n| --- |{' ---: |' * len(columns)}")
    for variant, row in found.items():
        print(f"| {variant} | {' | '.join(shown(row.get(column)) for column in columns)} |", flush=True)


def shown(value: Any) -> str:
    """Return a figure with half of its 95 % interval."""
    if value is None:
        return ""
    if not isinstance(value, dict):
        return f"{value:.3g}"
    error = "" if value["low"] is None else f" ± {(value['high'] - value['low']) / 2:.2g}"
    return f"{value['value']:.3f}{error}"


if __name__ == "__main__":
    main()
