"""`velatura playground ...`: measure the playground, look at it, train it anew, or borrow its library of adapters."""

from __future__ import annotations

import json
import math
import shlex
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ..errors import InputError, MissingDependency

app = typer.Typer(
    help="A small painted world with models trained on it: measure what adapters do there, or train it anew.",
    no_args_is_help=True,
)

Weights = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="The trained playground; by default the one that comes with the package."),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        metavar="FOLDER",
        help="Where the library, its catalogue and every picture are kept; the next run paints only what is new.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

_MEASURED: Final = Path("velatura-measure")
_EXPERIMENT: Final = Path("velatura-experiment")


@app.command()
def measure(
    weights: Weights = None,
    output: Output = _MEASURED,
    quick: Annotated[
        bool, typer.Option("--quick", help="One prompt in five, three pictures of each; too few for FID.")
    ] = False,
    sheet: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Also write a sheet of pictures, as `playground sheet` does.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure what the right adapters bring, how much of that Velatura's own picks reach, and what wrong ones do."""
    from .library import find_weights

    trained = find_weights(weights)
    with _optional_packages():
        from .measure import measure, text_of, write_sheet
    if sheet is not None:
        _make_room(sheet)
    told = Left()
    figures = measure(trained, output, quick=quick, progress=told)
    if sheet is not None:
        write_sheet(trained, output, sheet, progress=told)
    if as_json:
        _print_json(figures)
        return
    typer.echo(text_of(figures))
    typer.echo(f"\n{output / 'figures.json'} holds every figure" + (f", {sheet} the pictures" if sheet else ""))


@app.command()
def sheet(
    png: Annotated[Path, typer.Argument(metavar="PNG", help="The picture to write.")],
    weights: Weights = None,
    output: Output = _MEASURED,
    as_json: Json = False,
) -> None:
    """Write one picture of prompts painted with no adapter, the right ones, Velatura's own picks, and wrong ones."""
    from .library import find_weights

    trained = find_weights(weights)
    with _optional_packages():
        from .measure import write_sheet
    _make_room(png)
    write_sheet(trained, output, png, progress=Left())
    if as_json:
        _print_json({"sheet": str(png)})
    else:
        typer.echo(png)


@app.command()
def experiment(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FOLDER", help="Where it all goes; a run that was stopped goes on."),
    ] = _EXPERIMENT,
    weights: Weights = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Seven prompts, to see that it works; proves nothing.")
    ] = False,
    samples: Annotated[int, typer.Option(min=2, max=100, help="Pictures of each prompt in each cell.")] = 4,
    guidances: Annotated[
        str | None, typer.Option(metavar="NUMBER,...", help="Other than the paper's 1,1.5,2,3,4,6,9,12.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run Stylus's experiment: eight methods over guidance, refiners, times and claims, on one page."""
    from .library import find_weights

    trained = find_weights(weights)
    with _optional_packages():
        from .experiment import paint_experiment
        from .experiment_report import report_experiment
        from .experiment_time import time_experiment
    told = Left()
    known = {} if guidances is None else {"guidances": _numbers(guidances)}
    started = time.monotonic()
    painted = paint_experiment(trained, output, quick=quick, samples=samples, told=told, **known)
    timings = time_experiment(trained, output, quick=quick, told=told)
    found = report_experiment(
        painted, trained, output, timings=timings, command=shlex.join(["velatura", *sys.argv[1:]]), told=told
    )
    minutes = (time.monotonic() - started) / 60
    claims = [asdict(claim) for claim in found.results.claims]
    if as_json:
        _print_json({
            "files": [str(path) for path in found.files], "claims": claims, "minutes": round(minutes, 2),
            "painted": painted.report.painted, "kept": painted.report.kept,
        })  # fmt: skip
        return
    for claim in found.results.claims:
        held = {True: "holds", False: "does not hold", None: "not measured"}[claim.holds]
        sure = "" if claim.sure or claim.holds is None else ", not surely"
        value = "-" if claim.value is None else f"{claim.value:.3g}"
        typer.echo(f"{held}{sure}: {claim.claim}: {value}, {claim.bound} ({claim.source})")
    for path in found.files:
        typer.echo(path)
    typer.echo(f"{minutes:.1f} minutes", err=True)


@app.command()
def library(
    folder: Annotated[Path, typer.Argument(help="Where the library is made.")],
    clean: Annotated[
        bool, typer.Option("--clean", help="Leave out the copies, the mislabelled, the over-trained and the broken.")
    ] = False,
    weights: Weights = None,
    as_json: Json = False,
) -> None:
    """Make a folder of adapters as people have them, good and bad, with pages and pictures: something to index."""
    from .library import DUMP, find_weights, make_library

    loras = make_library(find_weights(weights) / "loras", folder, clean=clean)
    dump, count = folder / DUMP, len(list(loras.glob("*.safetensors")))
    if as_json:
        _print_json({"loras": str(loras), "dump": str(dump), "adapters": count})
        return
    typer.echo(f"{loras}: {count} adapters")
    typer.echo(f"{dump}: pages of adapters that are not on this machine")
    typer.echo(f'index them: velatura index "{loras}" "{dump}" --db "{folder / "catalogue.db"}"')


@app.command()
def train(
    folder: Annotated[Path, typer.Argument(help="Where everything goes; what is finished there is not trained again.")],
    stages: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE,...",
            help="Only these, in that order: autoencoder, base, broad, evaluator, adapters, onestep, xl.",
        ),
    ] = None,
    plan: Annotated[
        str,
        typer.Option(
            help="processor: hours on two cores; gpu: more steps, on CUDA; trial: a few steps, learns nothing."
        ),
    ] = "processor",
    processes: Annotated[
        int, typer.Option(min=1, max=32, help="Processor cores to train on; a power of two gives the same batches.")
    ] = 2,
    machine: Annotated[str | None, typer.Option(help="What training.json calls this machine.")] = None,
    as_json: Json = False,
) -> None:
    """Train the playground's models from nothing, or go on where training was stopped."""
    if plan not in PLANS:
        raise typer.BadParameter(f"{plan!r} is none of {', '.join(PLANS)}", param_hint="--plan")
    chosen = None if stages is None else [name.strip() for name in stages.split(",")]
    run_training(folder, chosen, plan=plan, processes=processes, machine=machine)
    _print_stages(folder, as_json=as_json)


@app.command()
def stages(
    folder: Annotated[Path, typer.Argument(help="The folder that `playground train` was given.")],
    as_json: Json = False,
) -> None:
    """List which stages of a training are finished, how long each took where, and what came of it."""
    _print_stages(folder, as_json=as_json)


# -------------------------------------------------------------------- training


PLANS: Final = ("processor", "gpu", "trial")
"""The names of the plans in `training.plan`."""


def run_training(
    folder: Path, stages: Sequence[str] | None, *, plan: str, processes: int, machine: str | None = None
) -> None:
    """Train by a plan's name, and tell on stderr how far it is.

    Args:
        folder: Where everything goes.
        stages: Their names; None trains all.
        plan: One of `PLANS`.
        processes: Processor cores to train on.
        machine: What `training.json` calls the machine.

    Raises:
        InputError: a stage cannot be trained here, or the folder cannot be made.
        MissingDependency: torch or diffusers is not installed.
    """
    with _optional_packages():
        import torch

        from .training import STAGES, gpu_plan, processor_plan, train, trial_plan
    if plan == "gpu" and not torch.cuda.is_available():
        raise InputError("the plan gpu needs a CUDA device, and there is none here; take the plan processor")
    plans = {"processor": processor_plan, "trial": lambda count: trial_plan(processes=count)}
    _make_folder(folder)
    train(
        folder,
        list(STAGES) if stages is None else stages,
        plan=gpu_plan() if plan == "gpu" else plans[plan](processes),
        machine=machine,
        progress=lambda report: typer.echo(str(report), err=True),
    )


def _print_stages(folder: Path, *, as_json: bool) -> None:
    with _optional_packages():
        from .training import STAGES
    entries = _read_entries(folder)
    adapters = {name.removeprefix("adapter "): entries[name] for name in entries if name.startswith("adapter ")}
    whole = {stage: entries.get(stage) for stage in STAGES if stage != "adapters"}
    if as_json:
        _print_json({"stages": whole, "adapters": adapters})
        return
    named = {**whole, **{f"adapter {name}": entry for name, entry in adapters.items()}}
    typer.echo(f"{'':26}{'samples':>12}{'minutes':>10}{'processor minutes':>20}  machine")
    for name, entry in named.items():
        if entry is None:
            typer.echo(f"{name:26}   not finished")
            continue
        typer.echo(
            f"{name:26}{entry['samples']:12,}{entry['wall_seconds'] / 60:10.1f}"
            f"{entry['processor_seconds'] / 60:20.1f}  {entry['machine']}"
        )
        for line in _figures(entry.get("figures")):
            typer.echo(f"    {line}")
    if not adapters:
        typer.echo(f"{'adapters':26}   not finished")


def _figures(figures: object) -> Iterator[str]:
    """Yield the figures of a stage: the single ones in one line, then a line for each that has several parts."""
    known = figures if isinstance(figures, Mapping) else {}
    single = [f"{_named(name)} {value}" for name, value in known.items() if not isinstance(value, Mapping | list)]
    if single:
        yield ", ".join(single)
    for name, value in known.items():
        if isinstance(value, Mapping):
            yield f"{_named(name)}: " + ", ".join(f"{_named(key)} {part}" for key, part in value.items())
        elif isinstance(value, list):
            yield f"{_named(name)}: " + ", ".join(map(str, value))


def _named(name: object) -> str:
    return str(name).replace("_", " ")


def _read_entries(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "training.json"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"), parse_float=_finite, parse_constant=_finite)
    except FileNotFoundError:
        raise InputError(f"{folder} holds no training.json: no stage was finished there") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path} is not JSON") from None
    if not isinstance(entries, dict) or not all(map(_is_entry, entries.values())):
        raise InputError(f"{path} was not written by `velatura playground train`")
    return entries


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("machine"), str):
        return False
    numbers = [entry.get(name) for name in ("samples", "wall_seconds", "processor_seconds")]
    return all(isinstance(number, int | float) and 0 <= number < 1e15 for number in numbers)


def _finite(text: str) -> float | None:
    """Read a number; JSON that is written here has no other than finite ones."""
    number = float(text)
    return number if math.isfinite(number) else None


# -------------------------------------------------------------------- what several verbs need


class Left:
    """Tells on stderr how far a run is, and about how long the rest takes: a line every few seconds."""

    def __init__(self, every: float = 5.0) -> None:
        self._every = every
        self._what = ""
        self._told = 0.0
        self._marks: deque[tuple[float, int]] = deque()

    def __call__(self, what: str, done: int, of: int) -> None:
        """Hear that `done` of `of` parts of something are done."""
        now = time.monotonic()
        if what != self._what:
            self._what, self._told = what, -self._every
            self._marks.clear()
        self._marks.append((now, done))
        while now - self._marks[0][0] > _WINDOW:
            self._marks.popleft()
        if now - self._told < self._every and done != of:
            return
        self._told = now
        since, before = self._marks[0]
        left = (of - done) * (now - since) / (done - before) if before < done < of else None
        typer.echo(f"{what}: {done:,} of {of:,}" + ("" if left is None else f", {_span(left)} left"), err=True)


_WINDOW: Final = 60.0
"""Seconds that the pace is taken over: what an earlier run has painted goes by at once, and must not promise haste."""


def _span(seconds: float) -> str:
    """Say a time as people do.

    >>> _span(41.0), _span(400.0)
    ('about 41 s', 'about 7 min')
    """
    return f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"


@contextmanager
def _optional_packages() -> Iterator[None]:
    """Turn the import of a package that is not installed into the sentence that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingDependency(error.name or "torch", extra="generate") from None


def _numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(dict.fromkeys(float(part) for part in text.split(",") if part.strip()))
    except ValueError:
        numbers = ()
    if not numbers or not all(0 <= number <= 100 for number in numbers):
        raise typer.BadParameter("numbers from 0 to 100 with commas between them", param_hint="--guidances")
    return numbers


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be made: {error.strerror}") from None


def _make_room(picture: Path) -> None:
    """See that a picture can be written before an hour goes into it."""
    if picture.is_dir():
        raise InputError(f"{picture} is a folder; name the PNG file to write")
    _make_folder(picture.parent)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2))
