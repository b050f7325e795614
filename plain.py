"""Records as plain JSON that people read and edit, and back.

An adapter stands here in brief: what identifies it and what a person wants to see, flat beside what was decided
about it. The catalogue keeps the whole record.

    {"prompt": "a fox", "choices": [{"source": "folder", "key": "/loras/fox.safetensors", "title": "Fox",
     "weight": 0.8, "span": "fox", "triggers": ["foxy"], "reason": "..."}], "refused": [...], "composer": "..."}
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .errors import InputError
from .records import AdapterRecord, Candidate, Choice, Composition, GenerationRequest, Hashes, Refusal
from .syntax import without_tags

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

BRIEF = (
    "source", "key", "model_id", "version_id", "file_id", "title", "version_name", "file_name", "creator",
    "family", "base_model", "kind", "path", "url", "hashes", "nsfw",
)  # fmt: skip
"""The fields of an adapter that its brief form keeps."""

_ALWAYS = ("model_id", "version_id")
"""Those of them that are told also where they are not known."""
_DEFAULTS = {field.name: field.default for field in fields(AdapterRecord) if field.name in BRIEF}
_OWN = ("weight", "span", "triggers", "reason", "advised", "sure", "kept")
"""The fields of a choice beside its adapter's."""
_SOMETIMES = ("advised", "sure", "kept")
"""Those of a choice that are left out where they say nothing."""
_TOLD = ("tasks", "notes", "emphasis", "suffix", "usage")
"""The fields of a composition beside its prompt, composer, choices and refusals; left out where they say nothing."""
_CANDIDATE_ONLY = ("id", "score", "matched", "alternatives")
"""What a candidate tells and a choice does not: people copy one to make the other."""
_HEAVIEST = 100
"""The largest weight, of either sign, that a file may ask for."""
_MOST_STRESSED = 2
"""The largest emphasis that a file may ask for."""


def untagged(text: str) -> str:
    """Return a text less its `<kind:...>` tags, and without any that was in pieces around another.

    >>> untagged("foxy <lora:fox:1>"), untagged("<lora:ev<a:b>il:9>"), untagged("a fox <3")
    ('foxy', 'lora:evil:9', 'a fox <3')
    """
    bare = without_tags(text)
    return bare if without_tags(bare) == bare else bare.replace("<", "").replace(">", "")


def brief(adapter: AdapterRecord) -> dict[str, Any]:
    """Return the adapter's identity as a plain dictionary; what is not known is left out, ids excepted."""
    # By hand: a search tells many adapters, and a whole record is much to dump for these few fields.
    told: dict[str, Any] = {}
    for name in BRIEF:
        value = getattr(adapter, name)
        if name in _ALWAYS or (value is not None and value != _DEFAULTS.get(name)):
            told[name] = value
    if "hashes" in told:
        told["hashes"] = {
            kind: digest for kind in Hashes.__slots__ if (digest := getattr(adapter.hashes, kind)) is not None
        }
    return told


def to_plain(record: Any) -> dict[str, Any]:
    """Return a `Candidate`, `Choice`, `Refusal`, `Composition` or `GenerationRequest` as a plain dictionary."""
    match record:
        case Candidate(adapter=refined):
            matched = [{"by": match.by, "text": match.text, "score": match.score} for match in record.matched]
            alternatives = list(record.alternatives)
            return {
                "id": refined.id,
                **brief(refined.record),
                "score": round(record.score, 6),
                "matched": matched,
                "alternatives": alternatives,
            }
        case Choice(adapter=adapter):
            return {
                **brief(adapter),
                "weight": record.weight,
                "span": record.span,
                "triggers": list(record.triggers),
                "reason": record.reason,
                **{name: value for name in _SOMETIMES if (value := getattr(record, name)) not in (None, False)},
            }
        case Refusal(adapter=adapter):
            return {**brief(adapter), "reason": record.reason}
        case Composition():
            return {
                "prompt": record.prompt,
                "choices": [to_plain(choice) for choice in record.choices],
                "refused": [to_plain(refusal) for refusal in record.refused],
                "composer": record.composer,
                **_told(record),
            }
        case GenerationRequest():
            # Whole, so that a story means the same after a default has changed.
            whole = _adapter_for(GenerationRequest).dump_python(record, mode="json", exclude={"composition"})
            return {**whole, "composition": to_plain(record.composition)}
    raise TypeError(f"{type(record).__name__} has no plain form")


def _told(composition: Composition) -> dict[str, Any]:
    """Return what else a composition tells, where it tells anything."""
    plain = _dump(Composition, composition)
    nothing = _dump(Composition, Composition(prompt=""))
    return {name: plain[name] for name in _TOLD if plain.get(name) != nothing.get(name)}


def from_plain(cls: type[T], plain: object) -> T:
    """Read a record back from its plain form.

    Raises:
        InputError: one sentence that names the first field that is wrong.
    """
    what = _NAMES.get(cls, cls.__name__.lower())
    record = _READERS[cls](_mapping(plain, f"a {what}"), what)
    if (place := next(_infinite(record), None)) is not None:
        raise InputError(f"{what}: {place}: it must be a finite number")
    if isinstance(record, Composition):
        # Of what a person edits alone: a picture's story is told as it was.
        _refuse_repeats(record.choices)
    return cast(T, record)


def load(cls: type[T], path: str | Path) -> T:
    """Read a record from a JSON file.

    Raises:
        InputError: the file cannot be read, is not JSON, or holds something else.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8") from None
    return loads(cls, text, str(path))


def loads(cls: type[T], text: str, name: str) -> T:
    """Read a record from JSON text.

    Raises:
        InputError: it is not JSON, or holds something else.
    """
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{name} is not JSON; write one with `velatura compose PROMPT --json`") from None
    return from_plain(cls, plain)


def _choice(plain: Mapping[str, object], what: str) -> Choice:
    known = {field.name for field in fields(AdapterRecord)}.union(_OWN, _CANDIDATE_ONLY)
    for name in plain:
        if name not in known:
            raise InputError(f"{what}: there is no field {name!r}")
    own = {name: plain[name] for name in _OWN if name in plain}
    choice = _load(Choice, own | {"adapter": _adapter(plain, _OWN, what)}, what)
    if not math.isfinite(choice.weight) or abs(choice.weight) > _HEAVIEST:
        raise InputError(f"{what}: weight: it must be between -{_HEAVIEST} and {_HEAVIEST}, not {choice.weight:g}")
    # A trigger is words: a tag in it would lay on what nobody chose.
    return replace(choice, triggers=tuple(bare for trigger in choice.triggers if (bare := untagged(trigger))))


def _refusal(plain: Mapping[str, object], what: str) -> Refusal:
    adapter = _adapter(plain, ("reason",), what)
    return _load(Refusal, {"adapter": adapter, "reason": plain.get("reason", "")}, what)


def _adapter(plain: Mapping[str, object], own: tuple[str, ...], what: str) -> AdapterRecord:
    known = {field.name for field in fields(AdapterRecord)}
    return _load(AdapterRecord, {name: plain[name] for name in plain if name in known and name not in own}, what)


def _composition(plain: Mapping[str, object], what: str) -> Composition:
    values = {name: plain[name] for name in ("prompt", "composer", *_TOLD) if name in plain}
    values["choices"] = tuple(
        _choice(_mapping(item, f"choice {place}"), f"choice {place}")
        for place, item in enumerate(_list(plain, "choices"), 1)
    )
    values["refused"] = tuple(
        _refusal(_mapping(item, f"refusal {place}"), f"refusal {place}")
        for place, item in enumerate(_list(plain, "refused"), 1)
    )
    composition = _load(Composition, values, what)
    stress = composition.emphasis
    if stress is not None and not 0 < stress <= _MOST_STRESSED:
        raise InputError(f"{what}: emphasis: it must be above 0 and at most {_MOST_STRESSED}, not {stress:g}")
    return replace(composition, suffix=untagged(composition.suffix))


def _request(plain: Mapping[str, object], what: str) -> GenerationRequest:
    composition = _composition(_mapping(plain.get("composition"), "a composition"), "composition")
    request = _load(GenerationRequest, {**plain, "composition": composition}, what)
    if request.mask is not None and len(request.mask) != len(composition.choices):
        raise InputError(f"the mask must be as long as the {len(composition.choices)} choices")
    return request


def _refuse_repeats(choices: tuple[Choice, ...]) -> None:
    places: dict[object, int] = {}
    for place, choice in enumerate(choices, 1):
        # Two files of one name are told apart by their hashes, where their folders were left out.
        identity = (choice.adapter.source, choice.adapter.key, choice.adapter.hashes)
        first = places.setdefault(identity, place)
        if first != place:
            raise InputError(f"choice {place}: {choice.adapter.title!r} is choice {first} already; keep one of them")


_READERS: dict[type, Any] = {
    Choice: _choice,
    Refusal: _refusal,
    Composition: _composition,
    GenerationRequest: _request,
}

_NAMES: dict[type, str] = {GenerationRequest: "request"}


def _mapping(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise InputError(f"{what} must be a JSON object, not {type(value).__name__}")
    return value


def _list(plain: Mapping[str, object], name: str) -> list[object]:
    value = plain.get(name, [])
    if not isinstance(value, list):
        raise InputError(f"{name} must be a JSON list, not {type(value).__name__}")
    return value


def _adapter_for(cls: type) -> TypeAdapter[Any]:
    if cls not in _ADAPTERS:
        from pydantic import TypeAdapter

        _ADAPTERS[cls] = TypeAdapter(cls)
    return _ADAPTERS[cls]


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}
"""Made when first needed: each costs milliseconds, and most commands need none."""


def _load(cls: type[T], values: Mapping[str, object], what: str) -> T:
    from pydantic import ValidationError

    try:
        return cast(T, _adapter_for(cls).validate_python(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "value"
        raise InputError(f"{what}: {where}: {first['msg']}") from None


def _infinite(record: Any) -> Iterator[str]:
    """Yield where a record, or one within it, holds a number that JSON cannot tell."""
    for field in fields(record):
        value = getattr(record, field.name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, float) and not math.isfinite(item):
                yield field.name
            elif is_dataclass(item):
                yield from (f"{field.name}.{inner}" for inner in _infinite(item))


def _dump(cls: type[T], record: T) -> dict[str, Any]:
    """Dump a record, leaving out the fields that hold their defaults."""
    exclude = {field.name for field in fields(cast(Any, cls)) if _is_default(field, record)}
    return cast(dict[str, Any], _adapter_for(cls).dump_python(record, mode="json", exclude=exclude, exclude_none=True))


def _is_default(field: Any, record: Any) -> bool:
    return field.default is not MISSING and getattr(record, field.name) == field.default
