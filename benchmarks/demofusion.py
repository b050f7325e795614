"""DemoFusion: this package against the published pipeline, in one run and on the same random weights.

    python benchmarks/demofusion.py PATH/TO/pipeline_demofusion_sdxl.py                      # reduced size, on the CPU
    python benchmarks/demofusion.py PATH/TO/pipeline_demofusion_sdxl.py --full [--compile]   # SDXL's size, on a GPU
    python benchmarks/demofusion.py --sheet sheet.png --model playground/weights/xl          # pictures, to be looked at

The pipeline is that of github.com/PRIS-CV/DemoFusion or diffusers' community file of the same. The cases are those of
DemoFusion-Turbo's table: SDXL at 50 steps as published, and at 10 steps, SDXL-Turbo at 10 and 20 steps with a stride
of 48, a guidance of 2.5 and 12 views. Each case is painted by the pipeline, by ours exactly (`skip` 0), and by ours
without what weighs less than 0.05; `--compile` adds both in batches of one size with a compiled UNet. The UNet's and
the autoencoder's seconds are told apart: the pipeline decodes every phase in tiles of which it keeps a sixteenth, and
ours the last one. One untimed step comes before each side, and the compiled ones are compiled in it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from demofusion_reference import load_reference
from torch import Tensor, nn

from velatura.generation.checkpoint import quiet
from velatura.generation.demofusion import Denoiser, Painter, Schedule, SeededDraws, decode, plan
from velatura.records import Composition, Enlargement, GenerationRequest

NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
MODES = ("native", "upscale", "multidiffusion", "scalecrafter", "demofusion")


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    native: int
    """Cells of the model's own side."""
    scale: int
    steps: int
    stride: int
    views: int
    guidance: float


FULL = (
    Case("sdxl-2048-50", 128, 2, 50, 64, 16, 7.5),
    Case("sdxl-2048-10", 128, 2, 10, 48, 12, 2.5),
    Case("sdxl-3072-50", 128, 3, 50, 64, 16, 7.5),
    Case("sdxl-3072-10", 128, 3, 10, 48, 12, 2.5),
    Case("turbo-3072-10", 64, 6, 10, 48, 12, 2.5),
    Case("turbo-3072-20", 64, 6, 20, 48, 12, 2.5),
)
REDUCED = (
    Case("2x-10", 32, 2, 10, 16, 16, 7.5),
    Case("3x-10", 32, 3, 10, 16, 16, 7.5),
    Case("turbo-4x-10", 16, 4, 10, 12, 12, 2.5),
)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path, nargs="?", help="pipeline_demofusion_sdxl.py")
    parser.add_argument("--full", action="store_true", help="SDXL's own size, in float16")
    parser.add_argument("--cases", nargs="+", help="some of the cases only")
    parser.add_argument("--compile", action="store_true", help="also with a compiled UNet")
    parser.add_argument("--device", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    parser.add_argument("--sheet", type=Path, help="paint one prompt in every way onto this PNG")
    parser.add_argument("--model", type=Path, help="with --sheet: a checkpoint")
    parser.add_argument("--prompt", default="a red house in a meadow", help="with --sheet")
    parser.add_argument("--seed", type=int, default=3, help="with --sheet")
    parser.add_argument("--times", type=int, default=4, help="with --sheet: how many times larger")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.sheet:
        paint_sheet(arguments)
        return
    if arguments.reference is None:
        parser.error("name the published pipeline's file")
    with quiet():
        found = [compare(case, arguments) for case in (FULL if arguments.full else REDUCED) if chosen(case, arguments)]
    if arguments.json:
        print(json.dumps(found))


def chosen(case: Case, arguments: argparse.Namespace) -> bool:
    """Whether a case is asked for."""
    return not arguments.cases or case.name in arguments.cases


# ------------------------------------------------------------------------------------------- timing


def compare(case: Case, arguments: argparse.Namespace) -> dict[str, Any]:
    """Time all sides of a case, and print them."""
    device = torch.device(arguments.device or ("cuda" if arguments.full else "cpu"))
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    unet, vae = models(case, full=arguments.full)
    unet.to(device, dtype)
    vae.to(device, dtype)
    words = conditions(unet, device, dtype)
    pipeline = load_reference(arguments.reference)
    sides: dict[str, Callable[[Case], dict[str, float]]] = {
        "published": lambda case: published(pipeline, case, unet, vae, words),
        "ours, exact": lambda case: ours(case, unet, vae, words),
        "ours, skip 0.05": lambda case: ours(case, unet, vae, words, skip=0.05),
    }
    if arguments.compile:
        compiled = torch.compile(unet, dynamic=False)
        for skip in (0.0, 0.05):
            sides[f"ours, compiled, {f'skip {skip}' if skip else 'exact'}"] = lambda case, skip=skip: ours(
                case, unet, vae, words, skip=skip, run=compiled
            )
    found: dict[str, Any] = {"case": case.name, "device": str(device), "samples": planned(case, 0.0)[0].samples}
    print(f"\n{case.name}: {found['samples']} samples, {case.native * case.scale} cells of a side")
    for name, run in sides.items():
        run(replace(case, steps=1))
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        found[name] = run(case)
        if device.type == "cuda":
            found[name]["gigabytes"] = torch.cuda.max_memory_allocated() / 2**30
        times = found["published"]["seconds"] / found[name]["seconds"]
        memory = f"  {found[name]['gigabytes']:.1f} GB" if "gigabytes" in found[name] else ""
        print(
            f"  {name:28} {found[name]['seconds']:8.2f} s, of it decoding {found[name]['decoding']:7.2f} s"
            f"  {times:5.2f}x{memory}",
            flush=True,
        )
    return found


def published(pipeline: Any, case: Case, unet: Any, vae: Any, words: dict[str, Tensor]) -> dict[str, float]:
    """Paint by the published pipeline."""
    reader = nn.Module()
    reader.config = SimpleNamespace(projection_dim=words["pooled_prompt_embeds"].shape[-1])
    reader.dtype, reader.device = unet.dtype, unet.device
    with clocked(vae) as decoding:
        pipe = pipeline(
            vae=vae,
            text_encoder=None,
            text_encoder_2=reader,
            tokenizer=None,
            tokenizer_2=None,
            unet=unet,
            scheduler=scheduler(case),
            add_watermarker=False,
        )
        pipe.set_progress_bar_config(disable=True)
        side = case.native * case.scale * 8
        started = clock(unet)
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipe(
                **words,
                height=side,
                width=side,
                num_inference_steps=case.steps,
                guidance_scale=case.guidance,
                stride=case.stride,
                view_batch_size=case.views,
                sigma=0.8,
                generator=torch.Generator().manual_seed(1),
            )
        return {"seconds": clock(unet) - started, "decoding": decoding[0]}


def ours(
    case: Case, unet: Any, vae: Any, words: dict[str, Tensor], *, skip: float = 0.0, run: Any = None
) -> dict[str, float]:
    """Paint by this package."""
    found, schedule = planned(case, skip, unet.device)
    side = case.native * case.scale * 8
    started = clock(unet)
    model = Denoiser(
        run or unet,
        (words["prompt_embeds"], words["pooled_prompt_embeds"]),
        (words["negative_prompt_embeds"], words["negative_pooled_prompt_embeds"]),
        guidance=case.guidance,
        size=(side, side),
        dtype=unet.dtype,
    )
    painter = Painter(found, model, schedule, device=unet.device, static=run is not None)
    latents = painter.paint(SeededDraws(torch.Generator().manual_seed(1)))
    with clocked(vae) as decoding:
        precision = vae.dtype
        vae.to(torch.float32)  # as the published pipeline does
        decode(vae, latents, case.native)
        vae.to(precision)
        return {"seconds": clock(unet) - started, "decoding": decoding[0]}


def planned(case: Case, skip: float, device: Any = "cpu") -> tuple[Any, Schedule]:
    """Return the plan of a case, and its steps."""
    schedule = Schedule(scheduler(case), case.steps, device=device)
    side = case.native * case.scale
    wanted = Enlargement(stride=case.stride, views=case.views, skip=skip)
    return plan((side, side), case.native, schedule.timesteps.tolist(), enlargement=wanted), schedule


@contextlib.contextmanager
def clocked(vae: Any) -> Any:
    """Add up the seconds that an autoencoder decodes."""
    total, decoding = [0.0], vae.decode

    def timed(*given: Any, **options: Any) -> Any:
        started = clock(vae)
        found = decoding(*given, **options)
        total[0] += clock(vae) - started
        return found

    vae.decode = timed
    try:
        yield total
    finally:
        del vae.decode


def clock(model: Any) -> float:
    """Return the seconds of a clock: on a CPU, which others may use too, those that it worked for us."""
    if model.device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


# ------------------------------------------------------------------------------------------- models


def models(case: Case, *, full: bool) -> tuple[Any, Any]:
    """Make SDXL's UNet and autoencoder with random weights, or narrow ones of the same architecture."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    torch.manual_seed(0)
    widths, text, pooled, time_width = ((320, 640, 1280), 2048, 1280, 256) if full else ((32, 64, 128), 64, 32, 32)
    unet = UNet2DConditionModel(
        sample_size=case.native,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=widths,
        attention_head_dim=(5, 10, 20) if full else (1, 2, 4),
        transformer_layers_per_block=(1, 2, 10) if full else (1, 1, 2),
        cross_attention_dim=text,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=time_width,
        projection_class_embeddings_input_dim=pooled + 6 * time_width,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512) if full else (16, 16, 32, 32),
        norm_num_groups=32 if full else 8,
        layers_per_block=2 if full else 1,
        scaling_factor=0.13025,
        sample_size=case.native * 8,
    )
    return unet.eval(), vae.eval()


def conditions(unet: Any, device: Any, dtype: torch.dtype) -> dict[str, Tensor]:
    """Make what a prompt and a negative prompt could have become."""
    generator = torch.Generator().manual_seed(2)
    pooled = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
    shapes = {"prompt_embeds": (1, 77, unet.config.cross_attention_dim), "pooled_prompt_embeds": (1, pooled)}
    return {
        f"{sign}{name}": torch.randn(shape, generator=generator).to(device, dtype)
        for sign in ("", "negative_")
        for name, shape in shapes.items()
    }


def scheduler(case: Case) -> Any:
    """Return the scheduler that the model comes with."""
    from diffusers import EulerAncestralDiscreteScheduler, EulerDiscreteScheduler

    if "turbo" in case.name:
        return EulerAncestralDiscreteScheduler(**NOISE, timestep_spacing="trailing")
    return EulerDiscreteScheduler(**NOISE, timestep_spacing="leading", steps_offset=1)


# ------------------------------------------------------------------------------------------- pictures


def paint_sheet(arguments: argparse.Namespace) -> None:
    """Paint one prompt at the model's own size and larger in every way, side by side."""
    from PIL import Image, ImageDraw

    from velatura.generation.demofusion import DemoFusionBackend

    backend = DemoFusionBackend(str(arguments.model), device=arguments.device or "cpu")
    side = backend.own_side * arguments.times
    request = GenerationRequest(
        composition=Composition(prompt=arguments.prompt),
        model="",
        seed=arguments.seed,
        steps=20,
        guidance=2.0,
        width=side,
        height=side,
    )
    own = backend.complete(request).enlargement or Enlargement()
    asked = {mode: replace(request, enlargement=replace(own, mode=mode)) for mode in MODES[1:]}
    asked["native"] = replace(request, width=backend.own_side, height=backend.own_side)
    shown = max(side, 384)
    sheet = Image.new("RGB", (len(MODES) * (shown + 8), shown + 24), "white")
    for place, mode in enumerate(MODES):
        [painted] = backend.generate(asked[mode])
        label = f"{mode}: {painted.image.width} pixels, {painted.seconds:.1f} s"
        print(label, flush=True)
        left = place * (shown + 8)
        ImageDraw.Draw(sheet).text((left + 4, 6), label, fill="black")
        sheet.paste(painted.image.resize((shown, shown), Image.Resampling.NEAREST), (left + 4, 20))
    sheet.save(arguments.sheet)


if __name__ == "__main__":
    main()
