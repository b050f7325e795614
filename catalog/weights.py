"""Evidence of weights: what people used in pictures, and what authors advise in prose."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from ..records import Hashes, WeightEvidence
from ..syntax import pinned

LIMIT = 20.0
"""Sliders go to 10; what lies beyond 20 is a mistake."""

_AUTOV2 = 10
_EXTENSIONS = (".safetensors", ".pt", ".ckpt", ".bin", ".pth")
_ADAPTERS = ("lora", "locon", "lycoris", "dora", "lyco", "loha", "lokr")
_ITEMS = 100
_PROMPT = 20_000
_MOST_IN_PROSE = 20

# A number as a weight is written, alone or as the end of a range. The sign or digit that it begins with stands before
# the look-behind, which is many times faster: the search then skips to the next of these characters.
_NUMBERS = re.compile(
    r"([-+\d](?:(?<![A-Za-z0-9_.].)|(?<=weight.)|(?<=strength.))(?:(?<=\d)|(?=\d))\d{0,2}(?:[.,]\d{1,3})?)"
    r"(?:\s{0,2}(?:[-–—~～〜]{1,2}|/|up\ to|to|and|or|到|至)\s{0,2}([-+]?\d{1,2}(?:[.,]\d{1,3})?))?"
    r"(?![A-Za-z0-9_%]|[.,]\d)"
)
_FRACTION = re.compile(r"[01][.,]\d+")
_CLAUSE = re.compile("[,;!?\n|。、\uff0c\uff1b\uff01\uff1f]|\\.(?!\\d)")
_KEY = r"(?:weigh(?:ts?|ting)?|stren(?:gth?|ght)s?|权重|権重|權重|強度|强度)"
_STEMS = ("weigh", "stren", "权", "権", "權", "強", "强")
_FILLER = (
    r"(?:[\s:：=~≈()\[\]{}*\"'“”’<>≤≥+-]|\b(?:is|are|of|at|between|from|around|about|in|on|the|a|an|to|it|should|be|"
    r"best|can|go|set|rec\w{3,12}|sugg?est\w*|settings?|use[ds]?|using|value|range|works?|well|great|good|fine|for|"
    r"txt2img|img2img|this|lora|locon|model|version|approx\w*|mostly|with|i|you|we|my|s|m|somewhere|usually|default|"
    r"optimal|ideal|sweet|spot|within|v\d(?:\.\d+)?)\b|[在为是用约大概的可以范围默认从は左右调节建议推荐请设置间到至])"
)
_KEY_BEFORE = re.compile(rf"{_KEY}{_FILLER}{{0,30}}$")
_KEY_AFTER = re.compile(rf"\s*(?:is\s|for\s|as\s|the\s|lora\s|of\s)*(?:的)?(?:{_KEY})(?!\W{{0,4}}\d)")
_TAG_BEFORE = re.compile(r"<(?:lora|lyco):([^<>:]{1,200}):\s*$")
_ADVICE_BEFORE = re.compile(
    rf"(?:\b(?:rec\w{{0,2}}om\w+|suggest\w*|use[ds]?|using|works?|best)\b|推荐|建议){_FILLER}{{0,16}}$"
)
_ADVICE_AFTER = re.compile(r"\s*(?:is|are|seems?)\s(?:the\s)?(?:rec\w{0,2}om\w+|suggested|optimal|best|ideal|good)")
_OTHER = re.compile(
    r"denois|control|hi-?res|upscal|cfg|noise|clip|sampl(?:er|ing)|steps?\b|emphasis|token|\btags?\b|trigger|word|prompt|average|"
    r"learning|rate\b|\beta\b|ratio|merg|epoch|seed|negative|vae\b|too\b|重绘|降噪|放大|提示|词|迭代|引导"
)


def read_weight(value: object) -> float | None:
    """Return a foreign value as a weight: a finite number within 20 of zero, also spelt as a string; else None.

    >>> [read_weight(value) for value in (0.8, "0,8", " 1 ", True, "nan", 900, None)]
    [0.8, 0.8, 1.0, None, None, None, None]
    """
    if isinstance(value, str):
        if len(value) > 40:
            return None
        value = value.strip().replace(",", ".")
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        weight = float(value)
    except (ValueError, OverflowError):
        return None
    return weight if math.isfinite(weight) and abs(weight) <= LIMIT else None


def weights_in_prose(text: str | None) -> tuple[WeightEvidence, ...]:
    """Return the weights that cleaned prose advises, in order, with source `prose`.

    A number counts when its own clause speaks of a weight or a strength (in English or Chinese), or advises a
    decimal fraction without naming what; denoising, ControlNet, CFG and the emphasis of words do not count. A range
    gives both of its ends, so the middle of the evidence is the middle of the range and its width stays known. A
    prompt tag counts when the text holds tags of one name only, which then is the adapter's own.

    >>> [seen.weight for seen in weights_in_prose("Weight: 0.6-0.8, denoising strength 0.4. Tested at 0.7 strength.")]
    [0.6, 0.8, 0.7]
    """
    if not text:
        return ()
    found: dict[tuple[float, ...], None] = {}
    tagged: dict[str, tuple[float, ...]] = {}
    for match in _NUMBERS.finditer(lowered := text.lower()):
        before = lowered[max(0, match.start() - 90) : match.start()]
        if "<l" in before and (tag := _TAG_BEFORE.search(before)):
            tagged.setdefault(tag.group(1), _ends(match))
        elif _advised(match, _CLAUSE.split(before)[-1], lowered[match.end() : match.end() + 24]):
            found.setdefault(_ends(match))
        if len(found) >= _MOST_IN_PROSE:
            break
    if len(tagged) == 1:
        found.update(dict.fromkeys(tagged.values()))
    return tuple(WeightEvidence(weight=weight, source="prose") for weights in found for weight in weights)


def hash_keys(hashes: Hashes) -> frozenset[str]:
    """Return every spelling by which a picture's metadata may name the file: full, 12, 10 and 8 digits."""
    keys = {hashes.autov1, hashes.autov2, hashes.autov3}
    for digest in (hashes.sha256, hashes.autov3):
        if digest:
            keys |= {digest, digest[:12], digest[:10], digest[:8]}
    return frozenset(key for key in keys if key)


def name_key(name: str) -> str:
    """Return a file's or tag's name as names are compared: no folder, no extension, no case, one kind of space.

    >>> name_key("styles/Ink Wash.safetensors")
    'ink_wash'
    """
    stem = name.replace("\\", "/").rpartition("/")[2].strip().lower().replace(" ", "_")
    return stem.rpartition(".")[0] if stem.endswith(_EXTENSIONS) else stem


def weights_of_image(
    meta: Mapping[str, object],
    *,
    names: Collection[str],
    hashes: Collection[str],
    version_id: int | str | None,
    image: str | None = None,
    shown_for: bool = False,
) -> tuple[WeightEvidence, ...]:
    """Return the weight at which one picture used the adapter, from the most certain place that tells it.

    These are tried in turn, and the first that knows the adapter gives the one weight: the site's own resources
    by version id, resources by hash, resources by name, then the tags of the prompt (by name, or by the hash that
    the metadata gives for that name). Authors mostly use another name than the one that the site gives to the
    file, so where the picture is `shown_for` the adapter and used one adapter only, that one is taken for it.

    Args:
        meta: A picture's generation data, as Civitai's `meta`.
        names: What the adapter's file is called, each through `name_key`.
        hashes: `hash_keys` of the file, lower-case.
        version_id: Civitai's id of the version.
        image: Where the picture is.
        shown_for: Whether the picture stands on the adapter's own page.
    """
    if version_id is not None:
        for item in _items(meta.get("civitaiResources")):
            if str(item.get("modelVersionId")) == str(version_id):
                # The site leaves the weight out where it is 1.
                weight = read_weight(item.get("weight", 1.0))
                if weight is not None:
                    return (WeightEvidence(weight=weight, source="civitaiResources", image=image),)
    used = [use for use in _uses(meta) if use.weight is not None]
    use = (
        next((use for use in used if use.digest in hashes and use.digest), None)
        or next((use for use in used if use.name in names), None)
        or (_sole(used, hashes) if shown_for else None)
    )
    if use is None or use.weight is None:
        return ()
    return (WeightEvidence(weight=use.weight, source=use.source, image=image),)


class _Use(NamedTuple):
    """One adapter of a picture."""

    name: str | None
    digest: str | None
    weight: float | None
    source: str


def _uses(meta: Mapping[str, object]) -> list[_Use]:
    """Return the adapters of a picture, those of the resources before those of the prompt."""
    used = []
    for field in ("resources", "additionalResources"):
        for item in _items(meta.get(field)):
            kind = item.get("type")
            if kind is None or (isinstance(kind, str) and kind.lower() in _ADAPTERS):
                weight = read_weight(item.get("strength", item.get("weight")))
                used.append(_Use(_name(item.get("name")), _digest(item.get("hash")), weight, "resources"))
    prompt = meta.get("prompt")
    if isinstance(prompt, str) and "<" in prompt:
        digests = meta.get("hashes")
        listed = digests if isinstance(digests, dict) else {}
        for tag in pinned(prompt[:_PROMPT]):
            digest = _digest(listed.get(f"lora:{tag.name}") or listed.get(f"LORA:{tag.name}"))
            used.append(_Use(name_key(tag.name), digest, read_weight(tag.weight), "prompt"))
    return used


def _sole(used: list[_Use], hashes: Collection[str]) -> _Use | None:
    """Return the only adapter of a picture, unless its AutoV2 says that it is another."""
    if len({use.name for use in used}) != 1 or used[0].name is None:
        return None
    ours = {key for key in hashes if len(key) == _AUTOV2}
    others = {use.digest for use in used if use.digest and len(use.digest) == _AUTOV2}
    return None if ours and others and ours.isdisjoint(others) else used[0]


def _advised(match: re.Match[str], clause: str, after: str) -> bool:
    """Say whether a number is advised as a weight by its own clause before it or the words after it."""
    if (any(stem in clause for stem in _STEMS) and _KEY_BEFORE.search(clause)) or _KEY_AFTER.match(after):
        return not _OTHER.search(clause)
    # Without the word itself, only a fraction can be a weight.
    if "version" in clause or not all(part is None or _FRACTION.fullmatch(part) for part in match.groups()):
        return False
    if _ADVICE_BEFORE.search(clause) or _ADVICE_AFTER.match(after):
        return not (_OTHER.search(clause) or _OTHER.search(after))
    return False


def _ends(match: re.Match[str]) -> tuple[float, ...]:
    """Return the number or both ends of the range; none when it cannot be a weight that is meant to be used."""
    ends = [read_weight(part) for part in match.groups() if part is not None]
    kept = tuple(end for end in ends if end)  # a zero is the end of a range, not a weight to use
    slider = len(kept) == 2 and min(kept) < 0 < max(kept)
    most = 10.0 if slider else 2.0
    return kept if all(0.05 <= abs(end) <= most for end in kept) else ()


def _items(value: object) -> list[dict[str, Any]]:
    return [item for item in value[:_ITEMS] if isinstance(item, dict)] if isinstance(value, list) else []


def _name(value: object) -> str | None:
    return name_key(value) if isinstance(value, str) and len(value) <= 500 else None


def _digest(value: object) -> str | None:
    return value.strip().lower() if isinstance(value, str) and 0 < len(value) <= 80 else None
