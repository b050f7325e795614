"""A compiled model follows the sets that are laid on it, and is never compiled again for them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from velatura.generation.adapters.file import AdapterFile
from velatura.generation.adapters.names import targets
from velatura.generation.adapters.patch import Layers
from velatura.generation.adapters.plan import AdapterPlan, plan

Modules = dict[str, nn.Module]


class Frames:
    """A backend that counts the graphs that are captured, and the runs of them."""

    def __init__(self, inner: str | None) -> None:
        self._inner, self.captured, self.ran = inner, 0, 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        self.captured += 1
        if self._inner is None:
            compiled: Callable[..., Any] = graph.forward
        else:
            compiled = torch._dynamo.lookup_backend(self._inner)(graph, inputs)

        def run(*args: Any) -> Any:
            self.ran += 1
            return compiled(*args)

        return run


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


Run = Callable[[Any], Tensor]


@pytest.fixture
def run(models: dict[str, Any]) -> Run:
    """Runs the middle of the UNet, compiled or not: convolutions, norms, embeddings and both attentions."""
    generator = torch.Generator().manual_seed(3)
    width = models["unet"].config.block_out_channels[-1]
    hidden = torch.randn(2, width, 8, 8, generator=generator)
    time, text = torch.randn(2, 128, generator=generator), torch.randn(2, 7, 64, generator=generator)

    def forward(block: Any) -> Tensor:
        with torch.no_grad():
            out: Tensor = block(hidden, time, encoder_hidden_states=text)
        return out

    return forward


def painted(unet: Any) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    sample, text = torch.randn(2, 4, 16, 16, generator=generator), torch.randn(2, 7, 64, generator=generator)
    with torch.no_grad():
        out: Tensor = unet(sample, torch.tensor([500, 500]), text, return_dict=False)[0]
    return out


def sets(adapters: list[Path], modules: Modules) -> list[dict[AdapterPlan, float]]:
    one, two, three = (plan(AdapterFile(path), modules) for path in adapters)
    return [{one: 0.8}, {one: 0.8, two: -0.4}, {three: 1.0}, {two: 0.5, three: 0.5}, {}]


@pytest.mark.parametrize("inner", [None, "aot_eager"], ids=["dynamo", "aot_eager"])
def test_sets_change_without_compiling_again_and_the_output_follows(
    inner: str | None, models: dict[str, Any], modules: Modules, adapters: list[Path], run: Run
) -> None:
    frames, block = Frames(inner), models["unet"].mid_block
    compiled = torch.compile(block, backend=frames)
    bare = run(compiled)
    captured = frames.captured
    assert captured > 0
    layers, seen = Layers(modules), [bare]
    for wanted in sets(adapters, modules):
        layers.lay(wanted)
        seen.append(run(compiled))
        assert (seen[-1] - run(block)).abs().max() < 1e-5
    assert frames.captured == captured
    assert frames.ran == captured * len(seen)
    distinct = seen[:-1]
    assert all((one - other).abs().max() > 1e-3 for n, one in enumerate(distinct) for other in distinct[:n])
    assert torch.equal(seen[-1], bare)


def test_a_graph_holds_on_to_the_weights_that_are_written(
    models: dict[str, Any], modules: Modules, adapters: list[Path], run: Run
) -> None:
    """A graph that was captured with one set on it serves others, and bare weights."""
    frames, layers, block = Frames("aot_eager"), Layers(modules, grouped=True), models["unet"].mid_block
    first, second, *_ = sets(adapters, modules)
    bare = run(block)
    layers.lay(first)
    compiled = torch.compile(block, backend=frames)
    run(compiled)
    captured = frames.captured
    layers.lay(second)
    assert (run(compiled) - run(block)).abs().max() < 1e-5
    layers.restore()
    assert (run(compiled) - bare).abs().max() < 1e-5
    assert frames.captured == captured


def test_the_modules_of_a_compiled_model_have_the_same_names_and_wear_the_same(
    models: dict[str, Any], modules: Modules, adapters: list[Path]
) -> None:
    frames = Frames(None)
    compiled = torch.compile(models["text_encoder"], backend=frames)
    wrapped = targets(unet=torch.compile(models["unet"], backend=frames), text_encoder=compiled)
    assert wrapped == modules
    words = torch.arange(10).view(1, 10)

    def read() -> Tensor:
        with torch.no_grad():
            out: Tensor = compiled(words).last_hidden_state
        return out

    bare = read()
    captured = frames.captured
    with Layers(wrapped) as layers:
        layers.lay({plan(AdapterFile(adapters[0]), wrapped): 1.0})
        assert (read() - bare).abs().max() > 1e-3
    assert torch.equal(read(), bare)
    assert frames.captured == captured > 0


def test_blocks_that_are_compiled_in_place_follow_too(models: dict[str, Any], adapters: list[Path], run: Run) -> None:
    """As diffusers compiles repeated blocks: below the model, which stays as it is."""
    frames, block = Frames(None), models["unet"].mid_block
    bare = run(block)
    for module in block.modules():
        if type(module).__name__ in ("BasicTransformerBlock", "ResnetBlock2D"):
            module.compile(backend=frames)
    modules = targets(**models)
    assert (run(block) - bare).abs().max() < 1e-5
    captured, layers, seen = frames.captured, Layers(modules), []
    assert captured >= 2
    for wanted in sets(adapters, modules):
        layers.lay(wanted)
        seen.append(run(block))
    assert frames.captured == captured
    assert all((one - bare).abs().max() > 1e-3 for one in seen[:-1])
    assert (seen[-1] - bare).abs().max() < 1e-5


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler for inductor")
@pytest.mark.filterwarnings("ignore")
def test_inductors_own_kernels_follow(models: dict[str, Any], modules: Modules, adapters: list[Path]) -> None:
    """The whole UNet."""
    from torch._dynamo.utils import counters

    unet = models["unet"]
    compiled = torch.compile(unet, backend="inductor")
    bare = painted(compiled)
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    layers = Layers(modules)
    for wanted in sets(adapters, modules):
        layers.lay(wanted)
        got = painted(compiled)
        assert (got - painted(unet)).abs().max() < 1e-4
    assert torch.equal(got, bare)
    assert counters["stats"]["unique_graphs"] == graphs
