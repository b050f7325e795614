"""The `parameters` text that A1111 writes into pictures and that Civitai and most galleries read."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from ..air import air_of
from ..parameters import finite, parse_parameters
from ..records import AdapterRecord, Choice, GeneratedImage
from ..syntax import without_tags
from .checksums import digests
from .schedulers import SAMPLERS

__all__ = ["finite", "parameters_text", "parse_parameters", "version"]

_EMPTY_HASH = "e3b0c44298fc"
"""AutoV3 of nothing, which broken tools write."""


def parameters_text(image: GeneratedImage) -> str:
    """Return the text: the prompt with a `<lora:name:weight>` tag for each adapter, the negative prompt, the settings.

    Names lose the characters that readers of this form trip over. `Lora hashes` holds AutoV3, `Hashes` AutoV2; they
    are computed from the file where the record does not tell them.
    """
    request = image.request
    names = _names(request.choices)
    tags = [f"<lora:{name}:{_number(choice.weight)}>" for name, choice in zip(names, request.choices, strict=True)]
    lines = [" ".join([_prose(without_tags(request.prompt)), *tags])]
    if request.negative:
        lines.append(f"Negative prompt: {_prose(without_tags(request.negative))}")
    sampler = SAMPLERS.get(request.scheduler or "")
    fields: dict[str, object] = {"Steps": request.steps}
    if sampler:
        fields["Sampler"] = sampler.title
        if sampler.schedule:
            fields["Schedule type"] = sampler.schedule
    fields |= {
        "CFG scale": _number(request.guidance or 0.0),
        "Seed": image.seed,
        "Size": f"{image.image.width}x{image.image.height}",
    }
    if image.model_hash:
        fields["Model hash"] = image.model_hash
    fields["Model"] = _quoted(_flat(_last(request.model).removesuffix(".safetensors")))
    if request.clip_skip:
        fields["Clip skip"] = request.clip_skip + 1  # A1111 counts the last layer as one
    if request.start:
        fields["Denoising strength"] = _number(request.start.share)
    fields |= _resources(image, names)
    fields["Version"] = version()
    lines.append(", ".join(f"{name}: {value}" for name, value in fields.items()))
    return "\n".join(lines)


@cache
def version() -> str:
    """Return the name and version of this program, as it signs its pictures."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return f"Velatura {installed('velatura')}"
    except PackageNotFoundError:
        return "Velatura"


def _names(choices: Sequence[Choice]) -> list[str]:
    """Name each adapter by its file, as A1111 does; two files of one name are told apart by a number."""
    names: list[str] = []
    for choice in choices:
        name = _safe(_stem(choice.adapter)) or "adapter"
        taken = names.count(name)
        names.append(name)
        while taken and names[-1] in names[:-1]:
            taken += 1
            names[-1] = f"{name}-{taken}"
    return names


def _stem(record: AdapterRecord) -> str:
    file = record.path or record.file_name
    return Path(_last(file)).stem if file else record.title


def _last(path: str) -> str:
    """The last part of a path, of this system's spelling or of another's."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _resources(image: GeneratedImage, names: Sequence[str]) -> dict[str, str]:
    whole = {"model": image.model_hash} if image.model_hash else {}
    tensors: dict[str, str] = {}
    resources = []
    for name, choice in zip(names, image.request.choices, strict=True):
        autov2, autov3 = _hashes(choice.adapter)
        if autov3:
            tensors[name] = autov3
        if autov2:
            whole[f"lora:{name}"] = autov2
        if resource := _resource(choice):
            resources.append(resource)
    fields = {}
    if tensors:
        fields["Lora hashes"] = '"' + ", ".join(f"{name}: {digest}" for name, digest in tensors.items()) + '"'
    if whole:
        fields["Hashes"] = json.dumps(whole, ensure_ascii=False)
    if resources:
        fields["Civitai resources"] = json.dumps(resources, ensure_ascii=False)
    return fields


def _hashes(record: AdapterRecord) -> tuple[str | None, str | None]:
    """Return (AutoV2, AutoV3): as recorded, else from the file where it is on this machine."""
    known = record.hashes
    autov2 = _digest(known.autov2 or known.sha256, 10)
    autov3 = _digest(known.autov3, 12)
    if record.path and not (autov2 and autov3):
        try:
            found = digests(Path(record.path))
        except OSError:
            return autov2, autov3
        return autov2 or found.whole[:10], autov3 or found.tensors[:12]
    return autov2, autov3


def _digest(text: str | None, length: int) -> str | None:
    found = (text or "").lower()[:length]
    whole = len(found) == length and re.fullmatch(r"[0-9a-f]+", found)
    return found if whole and not _EMPTY_HASH.startswith(found) else None


def _resource(choice: Choice) -> dict[str, object] | None:
    """Return the entry by which Civitai links the adapter's page; None where it has no number there."""
    record = choice.adapter
    if not isinstance(record.version_id, int):
        return None
    entry: dict[str, object] = {
        "type": "lora",
        "weight": choice.weight,
        "modelVersionId": record.version_id,
        "modelName": _safe(record.title),
    }
    if record.version_name:
        entry["versionName"] = _safe(record.version_name)
    if name := air_of(record):
        entry["air"] = name
    return entry


def _number(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _flat(text: str) -> str:
    """One line that can be encoded: no control characters, no lone surrogates."""
    flat = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text)
    return flat.encode("utf-8", "replace").decode("utf-8").strip()


def _safe(name: str) -> str:
    """A name that neither ends a tag nor a list nor a JSON object for the readers of this form."""
    return re.sub(r"\s+", " ", re.sub(r'[<>:,{}\[\]"\\]', "", _flat(name))).strip()


def _prose(text: str) -> str:
    """Prose that cannot pass for the lines behind it."""
    lines = (_flat(line) for line in text.split("\n"))
    return "\n".join(re.sub(r"^Negative prompt:", "Negative prompt :", line) for line in lines)


def _quoted(text: str) -> str:
    # A1111 quotes for the first three; a quote in front would be taken for quoting when it is read.
    return json.dumps(text, ensure_ascii=False) if re.search(r"[,:\n]|^\"", text) else text
