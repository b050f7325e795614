"""A tiny checkpoint, an adapter for it, and a backend that holds it; made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from velatura.generation.adapters.names import targets
from velatura.generation.sd import StableDiffusionBackend
from velatura.playground.sample import make_adapter, make_checkpoint
from velatura.records import AdapterRecord, Choice, Composition, GenerationRequest


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny layers gain nothing from threads, and on a busy machine they wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def adapters(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("loras")
    return [make_adapter(folder / f"style{seed}.safetensors", checkpoint, seed=seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="session")
def backend(checkpoint: Path) -> StableDiffusionBackend:
    return StableDiffusionBackend(str(checkpoint), device="cpu")


@pytest.fixture(scope="session")
def pristine(checkpoint: Path) -> dict[str, Any]:
    """The UNet and the text encoder; only to be read."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

    unet = UNet2DConditionModel.from_pretrained(checkpoint / "unet").float().eval()
    clip = CLIPTextModel.from_pretrained(checkpoint / "text_encoder").float().eval()
    return {"unet": unet, "text_encoder": clip}


@pytest.fixture
def models(pristine: dict[str, Any]) -> dict[str, Any]:
    """A fresh UNet and text encoder."""
    return {part: deepcopy(model) for part, model in pristine.items()}


@pytest.fixture
def modules(models: dict[str, Any]) -> dict[str, torch.nn.Module]:
    return targets(**models)


@pytest.fixture
def asked(checkpoint: Path) -> Callable[..., GenerationRequest]:
    """Make a request for a prompt and some (path, weight) pairs."""

    def make(prompt: str = "a red fox", *laid: tuple[Path, float], **fields: Any) -> GenerationRequest:
        choices = tuple(
            Choice(
                adapter=AdapterRecord(source="folder", key=str(path), title=path.stem, path=str(path)),
                weight=weight,
                span="fox",
            )
            for path, weight in laid
        )
        composition = Composition(prompt=prompt, choices=choices)
        small = {"model": str(checkpoint), "steps": 2, "width": 64, "height": 64}
        return GenerationRequest(composition=composition, **(small | fields))

    return make
