"""Run the published implementation of DemoFusion on a tiny SDXL, and keep what it paints for the golden test.

    python benchmarks/demofusion_reference.py PATH/TO/pipeline_demofusion_sdxl.py [--into golden.safetensors]

The file is that of github.com/PRIS-CV/DemoFusion, or diffusers' community pipeline of the same; nothing of it is in
this package. It imports matplotlib, which it does not need to paint: a missing one is stood in for.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "generation" / "demofusion" / "golden.py"


def main() -> None:
    """Run every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path, help="pipeline_demofusion_sdxl.py")
    parser.add_argument("--into", type=Path, default=GOLDEN.with_name("golden.safetensors"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    golden = runpy.run_path(str(GOLDEN), run_name="golden")
    pipeline = load_reference(arguments.reference)
    unet, found = golden["tiny_unet"](), {}
    for name, case in golden["CASES"].items():
        found[name] = painted(pipeline, unet, case, golden)
        print(f"{name}: {tuple(found[name].shape)}, deviation {found[name].std():.4f}")
    from safetensors.torch import save_file

    save_file(found, arguments.into)


def load_reference(path: Path) -> Any:
    """Return the pipeline class of a file."""
    import diffusers.image_processor  # noqa: F401 - it looks for a real matplotlib

    if "matplotlib" not in sys.modules and importlib.util.find_spec("matplotlib") is None:
        stub = ModuleType("matplotlib")
        stub.pyplot = sys.modules["matplotlib.pyplot"] = ModuleType("matplotlib.pyplot")  # type: ignore[attr-defined]
        sys.modules["matplotlib"] = stub
    spec = importlib.util.spec_from_file_location("demofusion_reference_pipeline", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    # It insists on multiples of 1024 pixels, whatever the model's own size is.
    pipeline = module.DemoFusionSDXLPipeline
    return type(pipeline.__name__, (pipeline,), {"check_inputs": lambda *_, **__: None})


def painted(pipeline: Any, unet: Any, case: Any, golden: dict[str, Any]) -> Tensor:
    """Return the latents of the last phase, as the reference gives them to the autoencoder."""
    vae = Recorder(golden["given"]())
    reader = nn.Module()
    reader.config = SimpleNamespace(projection_dim=golden["WIDTH"])
    reader.dtype, reader.device = torch.float32, torch.device("cpu")
    pipe = pipeline(
        vae=vae,
        text_encoder=None,
        text_encoder_2=reader,
        tokenizer=None,
        tokenizer_2=None,
        unet=unet,
        scheduler=scheduler(case.scheduler, golden["NOISE"]),
        add_watermarker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    random.seed(case.seed)
    torch.manual_seed(case.seed)
    pipe(
        **golden["conditions"](),
        height=case.size[0] * golden["FACTOR"],
        width=case.size[1] * golden["FACTOR"],
        num_inference_steps=case.steps,
        guidance_scale=case.guidance,
        stride=case.stride,
        view_batch_size=case.views,
        cosine_scale_1=case.cosine[0],
        cosine_scale_2=case.cosine[1],
        cosine_scale_3=case.cosine[2],
        sigma=case.sigma,
        image_lr=torch.zeros(1) if case.picture else None,
        multi_decoder=False,
        output_type="np",
    )
    return vae.seen.contiguous()


def scheduler(name: str, noise: dict[str, Any]) -> Any:
    """Return a scheduler that the reference can step."""
    from diffusers import DDIMScheduler, EulerDiscreteScheduler

    class DDIM(DDIMScheduler):
        """It keeps no count of steps, so there is none to set back."""

        def _init_step_index(self, timestep: Any) -> None:
            pass

    class Euler(EulerDiscreteScheduler):
        """It scales by the time that it is given, and not by its count of steps."""

        def scale_model_input(self, sample: Tensor, timestep: Any) -> Tensor:
            self._init_step_index(timestep)
            return super().scale_model_input(sample, timestep)

    if name == "ddim":
        return DDIM(**noise, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    return (Euler if name == "euler" else EulerDiscreteScheduler)(**noise, timestep_spacing="leading", steps_offset=1)


class Recorder(nn.Module):
    """Stands in for the autoencoder: it keeps what it is to decode, and encodes every picture as the same latents."""

    def __init__(self, latents: Tensor) -> None:
        super().__init__()
        self.config = SimpleNamespace(block_out_channels=(1,) * 4, scaling_factor=1.0, force_upcast=False)
        self.dtype, self.device = torch.float32, torch.device("cpu")
        self.seen = latents
        self._latents = latents

    def decode(self, latents: Tensor, *, return_dict: bool) -> tuple[Tensor]:
        """Keep latents in place of those before."""
        self.seen = latents.clone()
        return (latents[:, :3].clamp(-1, 1),)

    def encode(self, _: Tensor) -> Any:
        """Return the one picture's latents."""
        return SimpleNamespace(latent_dist=SimpleNamespace(sample=lambda: self._latents))


if __name__ == "__main__":
    main()
