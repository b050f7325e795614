"""What a trainer wrote into the header: kohya's `ss_*` fields, ModelSpec, embedded words. Thumbnails are never kept."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ..families import OTHER, UNKNOWN, family_of
from ..records import Hashes, WeightEvidence
from .architecture import related
from .header import Header
from .identity import good_hash, says_something
from .licence import named_licence
from .text import clean_html, clean_line, clean_text
from .told import Level, Told
from .triggers import trigger_groups
from .weights import read_weight, weights_in_prose

TRAINING_TAGS = 64
"""How many of the commonest tags of the training set are kept."""

_WORDS = 64
_JSON_LIMIT = 16_000_000
_UNSET = frozenset({"none", "null", "nan", "n/a", "unknown"})

# A training set's captions are sentences, not tags, from this mean length on: A1111's own rule.
_CAPTION_LENGTH = 16
_WORD = re.compile(r"[-_\w']{3,}")

# kohya fills an empty title with the network's name and the time.
_MADE_UP_TITLE = re.compile(r"(?:lora|locon|checkpoint|textualinversion|embedding|hypernetwork)@\d+", re.IGNORECASE)
_REPEATS = re.compile(r"^\d+[_ ]+")
_LETTERS = re.compile(r"[^\W\d_]+")

# A folder of nothing but these words says where the images lie, not what they show.
_PLACE = frozenset({
    "img", "imgs", "image", "images", "pic", "pics", "photo", "photos", "data", "dataset", "datasets", "train",
    "training", "trainset", "input", "inputs", "output", "src", "source", "raw", "crop", "cropped", "processed",
    "concept", "concepts", "lora", "reg", "class", "new", "folder", "temp", "tmp", "all", "main",
})  # fmt: skip


def read_training(header: Header, bundled: Sequence[str] = ()) -> list[Told]:
    """Return what the header tells, the most believed part first.

    Args:
        header: The header.
        bundled: The names of the embeddings that lie beside the network.
    """
    metadata = header.metadata
    told = [Told("header (embedded words)", Level.HEADER, {"triggers": _embedded_words(header, bundled)})]
    if any(key.startswith("modelspec.") for key in metadata):
        told.insert(0, Told("header (ModelSpec)", Level.HEADER, read_modelspec(metadata)))
    if any(key.startswith(("ss_", "sshs_")) for key in metadata):
        told.append(Told("header (kohya)", Level.HEADER, _read_kohya(metadata)))
    if "lora_adapter_metadata" in metadata:
        told.append(Told("header (PEFT)", Level.HEADER, _read_peft(metadata)))
    return told


def output_name(metadata: Mapping[str, str]) -> str | None:
    """Return the name that the trainer gave the file."""
    return _text(metadata, "ss_output_name", 200)


def read_modelspec(metadata: Mapping[str, object], *, weight_from: str = "header") -> dict[str, object]:
    """Return the record's fields from ModelSpec keys, with or without their prefix (SwarmUI writes both).

    Args:
        metadata: The keys and their values.
        weight_from: The source of evidence that a default weight is.
    """
    spec = {key.removeprefix("modelspec."): value for key, value in metadata.items()}
    title = clean_line(spec.get("title"), 200)
    prose = [clean_html(_string(spec.get(key))) for key in ("description", "usage_hint")]
    description = "\n".join(part for part in prose if part) or None
    weight = read_weight(spec.get("lora_default_weight"))
    weights = (WeightEvidence(weight=weight, source=weight_from),) if weight else ()
    architecture = clean_line(spec.get("architecture"), 100)
    return {
        "title": title if title and says_something(title) and not _MADE_UP_TITLE.match(title) else None,
        "creator": clean_line(spec.get("author"), 100),
        "description": description,
        "tags": read_tags(spec.get("tags")),
        "triggers": trigger_groups([spec.get("trigger_phrase")]),
        "licence": named_licence(spec.get("license")),
        "weights": weights + weights_in_prose(description),
        "base_model": architecture,
        "hashes": Hashes(autov3=good_hash(spec.get("hash_sha256"), 64, keep=12)),
    }


def read_tags(value: object) -> tuple[str, ...]:
    """Return the tags of a list or of one text with commas, each once."""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    tags = (clean_line(part, 100) for part in parts[:200])
    return tuple(dict.fromkeys(tag for tag in tags if tag))


def _read_kohya(metadata: Mapping[str, str]) -> dict[str, object]:
    family, base_model = _base(metadata)
    rank = positive_number(_text(metadata, "ss_network_dim", 20))
    return {
        "notes": _text(metadata, "ss_training_comment", 2000),
        "family": family,
        "base_model": base_model,
        "rank": int(rank) if rank and rank.is_integer() else None,
        "alpha": positive_number(_text(metadata, "ss_network_alpha", 20)),
        "triggers": _class_tokens(metadata) or _folder_triggers(metadata),
        "training_tags": _training_tags(metadata),
        "hashes": Hashes(autov3=good_hash(metadata.get("sshs_model_hash"), 64, keep=12)),
    }


def _read_peft(metadata: Mapping[str, str]) -> dict[str, object]:
    """Diffusers keeps PEFT's configuration as JSON, each key behind the part's name: `unet.lora_alpha`."""
    found = _json(metadata.get("lora_adapter_metadata"))
    if not isinstance(found, dict):
        return {}
    numbers = {key.rpartition(".")[2]: value for key, value in found.items() if type(value) in (int, float)}
    alpha = positive_number(numbers.get("lora_alpha"))
    return {"alpha": alpha}


def positive_number(value: object) -> float | None:
    """Return a positive finite number, such as a rank or a count; None for everything else."""
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else 0.0
    except (ValueError, OverflowError):
        return None
    return number if 0 < number < 1e9 else None


def _base(metadata: Mapping[str, str]) -> tuple[str, str | None]:
    """Return (family, the base as spelt); the model's name speaks of Pony where the version only says SDXL."""
    version = _text(metadata, "ss_base_model_version", 100)
    if version is None and _text(metadata, "ss_v2", 10) == "True":
        version = "sd_v2"
    name = _text(metadata, "ss_sd_model_name", 200)
    of_version, of_name = family_of(version), family_of(name)
    if of_name not in (UNKNOWN, OTHER) and (of_version in (UNKNOWN, OTHER) or related(of_name, of_version)):
        return of_name, name
    return of_version, version


def _embedded_words(header: Header, bundled: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the new words whose embeddings the file holds: cloneofsimo's tokens, bundled embeddings.

    They are kept as they are spelt, `<s1>` with its brackets: that is the word which the tokenizer learns.
    """
    groups: list[tuple[str, ...]] = []
    if "<embed>" in header.metadata.values():
        # One idea is often split over several words, which are meant together.
        together = [
            name for name, value in header.metadata.items() if value == "<embed>" and name in header.tensors.types
        ]
        groups.append(tuple(word for name in together[:_WORDS] if (word := clean_line(name, 100))))
    groups += [(word,) for name in bundled[:_WORDS] if (word := clean_line(name, 100))]
    return tuple(group for group in groups if group)


def _buckets(metadata: Mapping[str, str]) -> Iterator[tuple[str, Mapping[str, object]]]:
    found = _json(metadata.get("ss_tag_frequency"))
    for folder, tags in found.items() if isinstance(found, dict) else ():
        if isinstance(tags, dict):
            yield folder, tags


def _training_tags(metadata: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    """Sum the tags of all folders; captions are cut into their words first."""
    counts: Counter[str] = Counter()
    for _, tags in _buckets(metadata):
        for tag, count in tags.items():
            number = positive_number(count)
            if number is not None:
                counts[tag.strip()] += int(number)
    del counts[""]
    if counts and sum(map(len, counts)) / len(counts) >= _CAPTION_LENGTH:
        words: Counter[str] = Counter()
        for caption, count in counts.items():
            for word in _WORD.findall(caption):
                words[word] += count
        counts = words
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    cleaned = ((clean_line(tag, 100), count) for tag, count in ranked[: TRAINING_TAGS * 2])
    return tuple((tag, count) for tag, count in cleaned if tag and count > 0)[:TRAINING_TAGS]


def _class_tokens(metadata: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """Return the words that stand for the training set's subjects; regularisation images have none."""
    found = _json(metadata.get("ss_datasets"))
    tokens: list[str] = []
    for dataset in found if isinstance(found, list) else ():
        subsets = dataset.get("subsets") if isinstance(dataset, dict) else None
        for subset in subsets if isinstance(subsets, list) else ():
            if isinstance(subset, dict) and not subset.get("is_reg") and isinstance(subset.get("class_tokens"), str):
                tokens.append(subset["class_tokens"])
    return trigger_groups([token for token in tokens if _is_subject(token)])


def _folder_triggers(metadata: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """Return what the training folders are called: `10_mychar girl` is a trigger and a number of repeats."""
    regularisation = _json(metadata.get("ss_reg_dataset_dirs"))
    skipped = set(regularisation) if isinstance(regularisation, dict) else set()
    names = [_REPEATS.sub("", folder) for folder, _ in _buckets(metadata) if folder not in skipped]
    return trigger_groups([name for name in names if _is_subject(name)])


def _is_subject(name: str) -> bool:
    return not _PLACE.issuperset(_LETTERS.findall(name.lower()))


def _text(metadata: Mapping[str, str], key: str, limit: int) -> str | None:
    text = clean_text(metadata.get(key), limit)
    return None if text is None or text.lower() in _UNSET else text


def _string(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip().lower() not in _UNSET else None


def _json(text: str | None) -> object:
    """Parse JSON kept inside a header's text; what is damaged tells nothing."""
    if not text or len(text) > _JSON_LIMIT:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
