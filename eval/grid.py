"""The grid of an experiment: methods x guidance x samples, each sample of a prompt from the same noise everywhere."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..errors import InputError
from ..plain import from_plain, to_plain
from ..records import GenerationRequest

_LARGEST: Final = 50_000
"""Bytes of a plan; a key of so many parts takes Python's reader two seconds."""
PAPER_GUIDANCES: Final = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0, 12.0)
"""Those of Stylus's figure 6."""

SETTINGS: Final = (
    "model", "backend", "device", "dtype", "batch", "offline", "steps", "guidance", "scheduler", "laying", "force",
    "parts", "tokenizer", "prediction", "server", "compiled", "sketcher", "fusion",
)  # fmt: skip
"""The settings that a variant may have of its own: those of painting."""
_EXPERIMENTS: Final = {
    "composition": "methods",
    "mask": "methods",
    "seed": "samples",
    "model": "settings",
    "backend": "settings",
}
"""Fields of a request that a variant does not set, and what of a plan sets them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A way to paint: settings and request fields that differ from the rest of the experiment."""

    name: str = ""
    """Stands for the method in tables; empty where there is one way alone."""
    settings: tuple[tuple[str, Any], ...] = ()
    """(setting, value), of `SETTINGS`. One that names its own `model` takes none of the experiment's backend, steps,
    guidance, scheduler and prediction."""
    fields: tuple[tuple[str, Any], ...] = ()
    """(field of a request, value): `width`, `scheduler`, `image_prompts`, ..."""
    enlargement: tuple[tuple[str, Any], ...] = ()
    """(field of an enlargement, value), where it paints large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is compared."""

    methods: tuple[str, ...] = ("base",)
    guidances: tuple[float | None, ...] = (None,)
    """None is the model's own."""
    samples: int = 1
    """Pictures of each prompt in each cell."""
    variants: tuple[Variant, ...] = field(default_factory=lambda: (Variant(),))
    prompts: tuple[str, ...] = ()
    """Those that belong to it; empty where any will do."""
    metrics: tuple[str, ...] = ()
    """Those that it is scored by; empty for the usual ones."""
    baseline: str | None = None

    def cells(self) -> int:
        """Return how many cells there are."""
        return len(self.variants) * len(self.methods) * len(self.guidances)


_KLIMT: Final = "a close up image of an old man standing in the rain in the style of Gustav Klimt"
_DREAMSHAPER: Final = (("model", "dreamshaper"), ("steps", 30), ("guidance", 6.0))
_FUSION: Final = (*_DREAMSHAPER, ("backend", "fusion"), ("sketcher", "sdxs-dreamshaper"))
_SDE: Final = (("scheduler", "dpmpp_3m_sde_sgm_uniform"),)
_LARGE: Final = (("width", 3072), ("height", 3072))


def _demofusion(model: str, steps: int, stride: int, guidance: float, views: int) -> Variant:
    settings = (("model", model), ("backend", "demofusion"), ("steps", steps), ("guidance", guidance))
    return Variant(
        name=f"{model}, {steps} steps",
        settings=settings,
        fields=_LARGE,
        enlargement=(("stride", stride), ("views", views)),
    )


_PAPERS: Final = (
    "base", "base+debias", "random", "retriever", "reranker", "stylus+debias", "stylus", "stylus-nomask", "velatura",
)  # fmt: skip

PLANS: Final = {
    "stylus": Plan(
        methods=_PAPERS,
        guidances=PAPER_GUIDANCES,
        samples=4,
        baseline="base",
        metrics=("clip", "fid", "kid", "cmmd", "dfid", "diversity"),
    ),
    "fusion": Plan(
        variants=(
            Variant(name="SDXS", settings=(("model", "sdxs-dreamshaper"), ("steps", 1), ("guidance", 0.0))),
            Variant(name="DreamShaper", settings=_DREAMSHAPER, fields=(("scheduler", "euler"),)),
            Variant(name="Fusion v1", settings=(*_FUSION, ("fusion", "v1")), fields=_SDE),
            Variant(name="Fusion v2", settings=(*_FUSION, ("fusion", "v2")), fields=_SDE),
        ),
        samples=20,
        prompts=(_KLIMT,),
        baseline="SDXS",
        metrics=("diversity", "is", "ms-ssim", "fid"),
    ),
    "demofusion": Plan(
        variants=(
            _demofusion("sdxl", 50, 64, 7.5, 16),
            _demofusion("sdxl", 10, 48, 2.5, 12),
            _demofusion("sdxl-turbo", 10, 48, 2.5, 12),
            _demofusion("sdxl-turbo", 20, 48, 2.5, 12),
            _demofusion("sdxl-turbo", 50, 64, 7.5, 16),
        ),
        baseline="sdxl, 50 steps",
        metrics=("clip", "fid", "is", "kid"),
    ),
}
"""Plans by name. `stylus` is the paper's experiment, whose own arm is `stylus+debias`, with arms that it lacks;
`fusion` compares SDXS, DreamShaper and the two together, in pictures of Gustav Klimt's manner; `demofusion` has the
five rows of a study of SDXL-Turbo under DemoFusion: steps, stride, guidance, views at once, 3072 pixels."""


def seed_of(prompt_id: str, index: int) -> int:
    """Return the seed of a prompt's sample: the same for every method, so that they begin with the same noise.

    >>> seed_of("a fox", 0) == seed_of("a fox", 0) != seed_of("a fox", 1)
    True
    """
    told = hashlib.sha256(f"{prompt_id}\n{index}".encode("utf-8", "backslashreplace")).digest()
    return int.from_bytes(told[:4], "big") >> 1


def read_plan(what: str) -> Plan:
    """Return a plan: one of `PLANS`, or a TOML file.

        methods = ["base", "velatura"]
        guidances = [2, 4]
        samples = 4
        [[variants]]
        name = "turbo"
        settings = { model = "sdxl-turbo", steps = 4 }
        fields = { width = 512 }
        [[variants]]
        name = "fused"
        settings = { model = "dreamshaper", backend = "fusion", sketcher = "sdxs-dreamshaper" }
        fields = { image_prompts = [{ model = "ip-adapter.safetensors", pictures = [], weight = 0.8 }] }

    Raises:
        InputError: there is none of the name, or the file cannot be read.
    """
    if what in PLANS:
        return PLANS[what]
    path = Path(what)
    if path.suffix.lower() != ".toml":
        raise InputError(f"there is no plan {what!r}; there are {', '.join(PLANS)}, or name a .toml file")
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > _LARGEST:
        raise InputError(f"{path} is larger than {_LARGEST // 1000} KB, which no plan is")
    try:
        plain = tomllib.loads(content.decode())
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8") from None
    except (ValueError, RecursionError) as error:  # a whole number of thousands of digits is a ValueError
        raise InputError(f"{path} is not TOML: {error}") from None
    return _plan(plain, path)


def _plan(plain: dict[str, Any], path: Path) -> Plan:
    from pydantic import TypeAdapter, ValidationError

    given = dict(plain)
    try:
        if "variants" in given:
            given["variants"] = [_variant(item) for item in given["variants"]]
        _refuse_unknown(given, Plan, "a plan")
        plan: Plan = TypeAdapter(Plan).validate_python(given)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (ValidationError, TypeError, AttributeError) as error:
        first = error.errors(include_url=False)[0] if isinstance(error, ValidationError) else None
        where = ".".join(map(str, first["loc"])) if first else "variants"
        raise InputError(f"{path}: {where}: {first['msg'] if first else 'not a list of tables'}") from None
    if plan.samples < 1 or not plan.methods or not plan.guidances or not plan.variants:
        raise InputError(f"{path}: there must be methods, guidances, variants and one sample or more")
    if not all(one is None or 0 <= one <= 100 for one in plan.guidances):
        raise InputError(f"{path}: guidances are numbers from 0 to 100")
    if len(set(plan.methods)) < len(plan.methods) or len(set(plan.guidances)) < len(plan.guidances):
        raise InputError(f"{path}: a method or a guidance is there twice")
    names = [variant.name for variant in plan.variants]
    if len(set(names)) < len(names):
        raise InputError(f"{path}: two variants have one name")
    return plan


def _variant(item: dict[str, Any]) -> dict[str, Any]:
    """Return a variant's table with each part as pairs, what it asks of requests read as a request's fields.

    Raises:
        InputError: something in it is not known, or of the wrong kind.
    """
    _refuse_unknown(item, Variant, "a variant")
    found = dict(item)
    for part in ("settings", "fields", "enlargement"):
        found[part] = list(item.get(part, {}).items())
    what = f"the variant {item.get('name', '')}".strip()
    if other := [name for name in item.get("settings", {}) if name not in SETTINGS]:
        raise InputError(f"{what}: there is no setting {other[0]!r} of painting; there are {', '.join(SETTINGS)}")
    if own := [name for name in item.get("fields", {}) if name in _EXPERIMENTS]:
        raise InputError(f"{what}: {own[0]!r} is no field of a variant; its {_EXPERIMENTS[own[0]]} set it")
    asked = dict(item.get("fields", {}))
    if "enlargement" in item:
        asked["enlargement"] = item["enlargement"]
    try:
        request = from_plain(GenerationRequest, {"composition": {"prompt": ""}, "model": "", **asked})
    except InputError as error:
        raise InputError(f"{what}: {str(error).removeprefix('request: ')}") from None
    if unknown := next(_unread(asked, to_plain(request)), None):
        raise InputError(f"{what}: there is no field {unknown!r}")
    found["fields"] = [(name, getattr(request, name)) for name in item.get("fields", {})]
    found["enlargement"] = [(name, getattr(request.enlargement, name)) for name in item.get("enlargement", {})]
    return found


def _refuse_unknown(given: dict[str, Any], record: Any, what: str) -> None:
    known = set(record.__dataclass_fields__)
    if unknown := sorted(given.keys() - known):
        raise InputError(f"there is no {unknown[0]!r} in {what}; there are {', '.join(sorted(known))}")


def _unread(given: Any, read: Any) -> Iterator[str]:
    """Yield the names in a table that what was read from it does not have."""
    if isinstance(given, dict) and isinstance(read, dict):
        for name, value in given.items():
            if name not in read:
                yield name
            else:
                yield from _unread(value, read[name])
    elif isinstance(given, list) and isinstance(read, list):
        for one, other in zip(given, read, strict=True):
            yield from _unread(one, other)
