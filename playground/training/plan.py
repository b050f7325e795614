"""How long and how large everything is trained: on a few processor cores, on a GPU, or for a trial."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .lora import Ranks
from .networks import Sizes
from .recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that decides what comes out."""

    autoencoder: Recipe
    evaluator: Recipe
    base: Recipe
    broad: Recipe
    adapter: Recipe
    quick: Recipe
    """Of the one-step model."""
    xl: Recipe
    sizes: Sizes = field(default_factory=Sizes)
    ranks: Ranks = field(default_factory=Ranks)
    lesson: int = 800
    """Pictures that an adapter is trained on."""
    varied: int = 12_000
    """Pictures of other colours and of nothing in particular that the base is broadened on."""
    dreams: int = 6_000
    """Pictures that the base paints for the one-step model to learn from."""
    thinned: int = 1
    """One in how many of the base's pictures it is trained on."""
    looks: int = 8
    """How often a model is measured and shown while it is trained."""
    measured: int = 100
    """Pictures that a figure rests on: for each style, subject or scene."""
    adapters: tuple[str, ...] = ()
    """Names of the adapters to train; without any, all of them."""
    workers: int = 2
    """Adapters trained at the same time."""


def processor_plan(processes: int = 2) -> Plan:
    """Return the plan that the shipped weights were trained by: hours on two processor cores.

    The batch of each step is the same for any number of processes that divides it.
    """
    return Plan(
        autoencoder=Recipe(steps=2000, batch=32 // processes, rate=3e-3, decay=0.0, processes=processes),
        evaluator=Recipe(steps=1100, batch=128 // processes, rate=1.5e-3, processes=processes),
        base=Recipe(steps=4400, batch=64 // processes, rate=1.6e-3, processes=processes),
        broad=Recipe(steps=2000, batch=64 // processes, rate=1e-3, processes=processes),
        adapter=Recipe(steps=800, batch=16, rate=3e-3, held=0.4, decay=0.0, average=0.98),
        quick=Recipe(steps=2000, batch=64 // processes, rate=1e-3, processes=processes),
        xl=Recipe(steps=2000, batch=64 // processes, rate=1.6e-3, processes=processes),
        workers=processes,
    )


def gpu_plan() -> Plan:
    """Return a plan for one CUDA device: the same batches, several times as many of them, in bfloat16."""
    plan = processor_plan(1)
    return replace(
        plan,
        autoencoder=replace(plan.autoencoder, steps=8000, device="cuda"),
        evaluator=replace(plan.evaluator, steps=6000, device="cuda"),
        base=replace(plan.base, steps=30_000, device="cuda", bfloat16=True),
        broad=replace(plan.broad, steps=10_000, device="cuda", bfloat16=True),
        adapter=replace(plan.adapter, steps=1600, device="cuda", bfloat16=True),
        quick=replace(plan.quick, steps=10_000, device="cuda", bfloat16=True),
        xl=replace(plan.xl, steps=15_000, device="cuda", bfloat16=True),
    )


def trial_plan(steps: int = 3, processes: int = 1) -> Plan:
    """Return a plan that goes through everything in seconds and learns nothing."""
    recipe = Recipe(steps=steps, batch=4, rate=1e-3, warmup=1, processes=processes)
    alone = replace(recipe, processes=1)
    channels = (8, 8, 16)
    return Plan(
        autoencoder=recipe,
        evaluator=recipe,
        base=recipe,
        broad=recipe,
        adapter=alone,
        quick=recipe,
        xl=recipe,
        sizes=Sizes(
            autoencoder=8,
            channels=channels,
            quick_channels=channels,
            xl_channels=channels,
            text=16,
            eye=16,
            eye_layers=1,
            head=8,
        ),
        ranks=Ranks(attention=2, convolution=2, thorough=2),
        lesson=8,
        varied=20,
        dreams=8,
        thinned=500,
        looks=0,
        measured=2,
        workers=processes,
    )
