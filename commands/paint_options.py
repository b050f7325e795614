"""What commands that paint share: the options that become a request's fields, and those that open a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast, get_args

import typer

from ..records import Control, Enlargement, ImagePrompt, Mode, Picture, Start
from .completing import complete_backend, complete_checkpoint

Checkpoint = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="The checkpoint: a name of `velatura checkpoints`, a diffusers folder, a .safetensors file, or a hub id.",
        autocompletion=complete_checkpoint,
    ),
]
BackendName = Annotated[
    str | None,
    typer.Option(
        "--backend", help="Who paints; by default what paints with the checkpoint.", autocompletion=complete_backend
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, mps; the best there is by default.")]
Precision = Annotated[
    Literal["float32", "float16", "bfloat16"] | None,
    typer.Option("--dtype", help="The precision of the weights; else half on a GPU, and float32 on the CPU."),
]
Batch = Annotated[int | None, typer.Option("--batch", min=1, max=256, help="How many pictures are drawn at once.")]
Force = Annotated[bool, typer.Option("--force", help="Lay adapters even where only a part of them fits the model.")]

Fields = Callable[[], dict[str, Any]]
"""Makes the fields of a request out of a command's options; see `make_fields`."""
Flags = Callable[[], dict[str, Any]]
"""Makes the settings of a backend out of them; see `make_flags`."""

FREEU: Final = {"sd1": (0.9, 0.2, 1.5, 1.6), "sd2": (0.9, 0.2, 1.4, 1.6), "sdxl": (0.9, 0.2, 1.3, 1.4)}
"""FreeU's s1, s2, b1 and b2 as diffusers' documentation advises them for each family."""


_SAVING: Final = {"yes": True, "no": False}


def make_flags(
    *,
    model: Checkpoint = None,
    backend: BackendName = None,
    device: Device = None,
    dtype: Precision = None,
    batch: Batch = None,
    force: Force = False,
) -> dict[str, Any]:
    """Return the settings of a backend that a command's options name."""
    flags = {"model": model, "backend": backend, "device": device, "dtype": dtype, "batch": batch}
    return {**flags, "force": force or None}


def make_fields(
    *,
    negative: Annotated[
        str, typer.Option(help="What to keep out of the picture; `auto` takes what is known for the checkpoint.")
    ] = "",
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps; else the model's own.")] = None,
    guidance: Annotated[
        float | None, typer.Option(min=0, help="Classifier-free guidance, up to 1 is none; else the model's own.")
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Pixels; else the model's own.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="A scheduler's name; the model's own by default.")] = None,
    clip_skip: Annotated[int, typer.Option(min=0, help="Last text-encoder layers to leave out.")] = 0,
    image: Annotated[
        Path | None, typer.Option("--image", metavar="FILE", help="A picture to start from in place of noise.")
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="With --image: how far it is painted anew; else 0.75, DemoFusion 1."),
    ] = None,
    inpaint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --image: its mask; what is white is painted anew.")
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE,...",
            help="A ControlNet: model=, picture=, and reading=canny, weight=, begin=, end=. May be repeated.",
        ),
    ] = None,
    ip_adapter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE,...",
            help="An IP-Adapter: model=, picture= (several), and weight=, encoder=. May be repeated.",
        ),
    ] = None,
    embedding: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A textual inversion, called by its name. Repeatable.")
    ] = None,
    freeu: Annotated[
        str | None, typer.Option(metavar="S1,S2,B1,B2", help="FreeU with these numbers, or sd1, sd2, sdxl for theirs.")
    ] = None,
    large: Annotated[
        str | None,
        typer.Option(
            metavar="KEY=VALUE,...",
            help="How demofusion enlarges: mode=, stride=, views=, scales=2+4, later_steps=, skip=, cosine=3+1+1, "
            "sigma=, saving=yes, upscaler=.",
        ),
    ] = None,
) -> dict[str, Any]:
    """Return the fields of a request that a command's options name."""
    if image is None and (strength is not None or inpaint is not None):
        raise typer.BadParameter("it is for --image alone", param_hint="--inpaint" if inpaint else "--strength")
    width, height = read_size(size)
    start = None
    if image is not None:
        mask = Picture(path=str(inpaint)) if inpaint else None
        start = Start(picture=Picture(path=str(image)), mask=mask, strength=strength)
    return {
        "negative": negative,
        "steps": steps,
        "guidance": guidance,
        "width": width,
        "height": height,
        "scheduler": scheduler,
        "clip_skip": clip_skip,
        "start": start,
        "controls": tuple(read_control(text) for text in control or ()),
        "image_prompts": tuple(read_image_prompt(text) for text in ip_adapter or ()),
        "embeddings": tuple(str(path) for path in embedding or ()),
        "freeu": read_freeu(freeu),
        "enlargement": read_enlargement(large),
    }


def read_size(size: str | None) -> tuple[int | None, int | None]:
    """Return width and height of `512x768`."""
    if size is None:
        return None, None
    width, _, height = size.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise typer.BadParameter(f"{size!r} is not WIDTHxHEIGHT, such as 512x768", param_hint="--size")
    return int(width), int(height)


def read_control(text: str) -> Control:
    """Return the control that `model=...,picture=...` names."""
    found = _pairs(text, "--control", ("model", "picture", "reading", "weight", "begin", "end"))
    one = _single(found, "--control", needed=("model", "picture"))
    if one.get("reading") not in (None, "canny"):
        raise typer.BadParameter(f"reading={one['reading']}: only canny is read from a picture", param_hint="--control")
    return Control(
        model=one["model"],
        picture=Picture(path=one["picture"]),
        reading="canny" if "reading" in one else None,
        **_numbers(one, "--control", ("weight", "begin", "end")),
    )


def read_image_prompt(text: str) -> ImagePrompt:
    """Return the image prompt that `model=...,picture=...,picture=...` names."""
    found = _pairs(text, "--ip-adapter", ("model", "picture", "weight", "encoder"))
    pictures = tuple(Picture(path=path) for path in found.pop("picture", ()))
    one = _single(found, "--ip-adapter", needed=("model",))
    return ImagePrompt(
        model=one["model"],
        pictures=pictures,
        encoder=one.get("encoder"),
        **_numbers(one, "--ip-adapter", ("weight",)),
    )


def read_freeu(text: str | None) -> tuple[float, float, float, float] | None:
    """Return FreeU's numbers."""
    if text is None or text in FREEU:
        return None if text is None else FREEU[text]
    try:
        s1, s2, b1, b2 = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not four numbers, nor one of {', '.join(FREEU)}", param_hint="--freeu"
        ) from None
    return s1, s2, b1, b2


def read_enlargement(text: str | None) -> Enlargement | None:
    """Return how a picture is enlarged, of `mode=demofusion,stride=64`."""
    if text is None:
        return None
    known = ("mode", "stride", "views", "scales", "later_steps", "skip", "cosine", "sigma", "saving", "upscaler")
    one = _single(_pairs(text, "--large", known), "--large")
    mode, saving = one.get("mode", "demofusion"), one.get("saving", "no").lower()
    if saving not in _SAVING:
        raise typer.BadParameter(f"saving={saving}: take yes or no", param_hint="--large")
    if mode not in get_args(Mode):
        raise typer.BadParameter(f"mode={mode} is none of {', '.join(get_args(Mode))}", param_hint="--large")
    several = {name: one[name].split("+") for name in ("scales", "cosine") if name in one}
    fields: dict[str, Any] = _numbers(one, "--large", ("skip", "sigma"))
    fields |= {name: _whole(one[name], name) for name in ("stride", "views", "later_steps") if name in one}
    if "scales" in several:
        _floats(several["scales"], "scales")
        fields["scales"] = tuple(_whole(number, "scales") for number in several["scales"])
    if "cosine" in several:
        fields["cosine"] = tuple(_floats(several["cosine"], "cosine"))
        if len(fields["cosine"]) != 3:
            raise typer.BadParameter("cosine= takes three numbers, such as 3+1+1", param_hint="--large")
    return Enlargement(
        mode=cast("Mode", mode),
        saving=_SAVING[saving],
        upscaler=one.get("upscaler"),
        **fields,
    )


def _pairs(text: str, option: str, known: Sequence[str]) -> dict[str, list[str]]:
    """Part `a=1,b=2`; a comma that no known key follows belongs to the value before it."""
    found: dict[str, list[str]] = {}
    last = ""
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if equals and key.strip() in known:
            last = key.strip()
            found.setdefault(last, []).append(value.strip())
        elif last:
            found[last][-1] += f",{part}"
        else:
            raise typer.BadParameter(f"{part!r} is none of {'=, '.join(known)}=", param_hint=option)
    return found


def _single(found: Mapping[str, Sequence[str]], option: str, needed: Sequence[str] = ()) -> dict[str, str]:
    for key, values in found.items():
        if len(values) > 1:
            raise typer.BadParameter(f"{key}= stands there twice", param_hint=option)
    for key in needed:
        if not found.get(key, [""])[0]:
            raise typer.BadParameter(f"it needs {key}=", param_hint=option)
    return {key: values[0] for key, values in found.items()}


def _numbers(found: Mapping[str, str], option: str, keys: Sequence[str]) -> dict[str, float]:
    numbers = {}
    for key in keys:
        if key in found:
            try:
                numbers[key] = float(found[key])
            except ValueError:
                raise typer.BadParameter(f"{key}={found[key]} is not a number", param_hint=option) from None
    return numbers


def _whole(text: str, key: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{key}={text} is not a whole number", param_hint="--large") from None


def _floats(parts: Sequence[str], key: str) -> list[float]:
    try:
        return [float(part) for part in parts]
    except ValueError:
        raise typer.BadParameter(f"{key}= takes numbers joined by +", param_hint="--large") from None
