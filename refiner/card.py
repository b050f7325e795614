"""The card describer: what an adapter does, by rules alone, from its card, tags, triggers and example prompts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from statistics import median, quantiles

from ..categories import category_of
from ..protocols import Described
from ..records import AdapterRecord, RefinedAdapter, Refinement
from ..words import FUNCTION_WORDS, words
from .facets import facets_of
from .passages import digest
from .prose import LIMIT, condense

_PROMPTS = 6
_PROMPT = 600
_TAGS = 6
_TAG_LENGTH = 40
_GROUPS = 24
_WHOLE_PROMPT = 8
"""Phrases of a trigger group beyond which it is somebody's whole prompt."""
_SPREAD = 0.5
"""The distance between the quarters of the weights used beyond which their median tells nothing."""

_NOISE_PHRASES = """
masterpiece, best quality, high quality, ultra quality, highest quality, good quality,
ultra detailed, ultra-detailed, highly detailed, extremely detailed, detailed, very detailed, intricate,
intricate details, intricate detail, high detail, 8k, 4k, 16k, uhd, hdr, hd, highres, absurdres, high resolution,
ultra high res, ultra highres, wallpaper, extremely detailed cg unity 8k wallpaper, raw photo, official art,
sharp focus, sharp, 1girl, 1boy, 2girls, 1girls, girl, boy, woman, man, a girl, a woman, solo, solo focus,
looking at viewer, simple background, white background, upper body, full body, portrait, cowboy shot, close-up,
close up, standing, sitting, smile, smiling, blush, bangs, long hair, short hair, medium hair, breasts,
medium breasts, large breasts, small breasts, closed mouth, open mouth, beautiful, beautiful face, detailed face,
beautiful detailed eyes, detailed eyes, perfect face, perfect lighting, cinematic lighting, best lighting,
best shadow, soft lighting, depth of field, bokeh, realistic, photorealistic, photo realistic, photo, anime,
illustration, colorful, vibrant, dynamic pose, dynamic angle, nsfw, sfw, safe, rating safe, score 9, score 8 up,
score 7 up, source anime, no humans, female, male, girls, model, lora, best, quality, cg, unity,
trending on artstation, artstation, professional, film grain, masterpiece best quality, amazing, aesthetic, cute, day,
outdoors, from side, from above, from below, half body, style, eyes, hair, skirt, dress, shirt, none
"""
_NOISE = frozenset(" ".join(phrase.split()) for phrase in _NOISE_PHRASES.split(","))
"""Phrases that prompts hold whatever they show."""
_NOISE_WORDS = ("masterpiece", "quality", "resolution", "detailed", "8k", "4k", "uhd", "hdr", "highres", "absurdres")

_TAG = re.compile(r"<[^<>]*>|\b(?:BREAK|AND)\b|:\s*\d*\.?\d+|[()\[\]{}\\]")
_PARTS = re.compile(r"[,，、;|\n.。]+")
_JUNK_OF_TITLE = re.compile(
    r"\b(?:loras?|locon|lycoris|lyco|loha|lokr|dora|sdxl|sd ?1\.?5|pony|illustrious|flux|wip|beta|test|version|"
    r"extraction|v ?\d+(?:\.\d+)*|\d+ ?mb)\b|\bmodel$",
    re.IGNORECASE,
)
_ASIDE = re.compile(
    r"^\s*[\[【][^\]】]{0,30}[\]】]|[\[【(（][^\])）】]{0,40}\b(?:noise|versions?|\d*mb|experimental|wip|lora|beta|test)\b"
    r"[^\])）】]{0,20}[\])）】]|"
    "[|/]\\s*(?:pose|concept|style|character)(?: lora)?\\s*$|[\u2600-\u27bf\ufe0f\U0001f000-\U0001faff]",
    re.IGNORECASE,
)
_EMPTY = re.compile(r"[\[【(（「]\s*[\])）】」]")
_KINDS = {
    "character": "The character", "celebrity": "The person", "style": "A style:", "concept": "A concept:",
    "pose": "A pose:", "clothing": "Clothing:", "background": "A place:", "building": "Architecture:",
    "vehicle": "A vehicle:", "animal": "An animal:", "action": "An action:", "object": "A thing:",
    "tool": "A tool for the whole picture:",
}  # fmt: skip
_SAID = frozenset(
    words("""
character characters celebrity style styles concept clothing pose poses background building buildings vehicle animal
action object objects tool assets lora locon base model girl girls woman female anime cute beautiful
""")
)
"""Tags that say nothing beside the category, or nothing at all."""


class CardDescriber:
    """Describes adapters without any model (implements `protocols.Describer`)."""

    name = "card 1"

    def origin(self, adapter: RefinedAdapter) -> str:
        """Return the digest of the fields that it reads."""
        record = adapter.record
        read = (record.title, record.version_name, record.file_name, record.tags, record.triggers, record.training_tags)
        told = (record.description, record.notes, record.real_person, _prompts(record))
        return digest(repr((self.name, read, told, [(seen.weight, seen.source) for seen in record.weights])))

    def describe(self, adapter: RefinedAdapter) -> Described:
        """Return what the card says, its category and facets by rules, and a weight where enough people used one."""
        record = adapter.record
        category = category_of(record)
        kind = category.name if category is not None else None
        title = _title(record)
        about = set(words(" ".join((title, *record.tags[:20])))) - FUNCTION_WORDS
        text = "\n".join(part for part in (record.notes, record.description) if part)
        told = condense(text, about)
        shared = _shared(record, about)
        weight, evidence = _weight(record)
        named = title if kind != "style" and kind != "tool" else None
        sure = [title, *record.tags[:20], *_first_phrases(record), told.description or ""]
        return Described(
            refinement=Refinement(
                description=told.description or _plain(record, kind, title, shared),
                category=kind,
                facets=facets_of(named, title if kind == "style" else None, sure, shared),
                avoid=told.avoid,
                triggers=_triggers(record, about),
                weight=weight,
                evidence=evidence,
                writer=self.name,
            )
        )


def _title(record: AdapterRecord) -> str:
    """Return the title less what it says of files, versions and kinds."""
    title = " ".join(record.title[:200].replace("_", " ").split())
    bare = _EMPTY.sub(" ", _JUNK_OF_TITLE.sub(" ", _ASIDE.sub(" ", title)))
    bare = " ".join(bare.split()).strip(" -–—|/:,.·")
    return (bare or title)[:120]


def _plain(record: AdapterRecord, kind: str | None, title: str, shared: Sequence[str]) -> str:
    """Return a sentence from what is known beside the card."""
    known = set(words(title)) | _SAID
    tags = [tag for tag in record.tags if _is_word(tag) and not set(words(tag)) <= known]
    training = [tag for tag, _ in record.training_tags[:20] if _is_word(tag) and not _is_noise(tag)]
    shown = list(dict.fromkeys((*training, *shared)))[:_TAGS]
    sentence = f"{_KINDS[kind]} {title}" if kind is not None else title
    if tags:
        sentence += f" ({', '.join(tags[:_TAGS])})"
    if shown:
        sentence += f", shown with {', '.join(shown)}"
    sentence = sentence[: LIMIT - 1].rstrip()
    return sentence if sentence.endswith(("!", "?", ".")) else f"{sentence}."


def _is_word(tag: str) -> bool:
    return len(tag) <= _TAG_LENGTH and "://" not in tag and "<" not in tag


def _prompts(record: AdapterRecord) -> list[str]:
    return [example.prompt[:_PROMPT] for example in record.examples if example.prompt][:_PROMPTS]


def _shared(record: AdapterRecord, about: set[str]) -> list[str]:
    """Return the phrases that at least half of the example prompts hold and other prompts mostly do not."""
    prompts = _prompts(record)
    if len(prompts) < 2:
        return []
    called = {phrase.casefold().replace("_", " ") for group in record.triggers for phrase in group}
    counts: Counter[str] = Counter()
    for prompt in prompts:
        parts = (" ".join(part.replace("_", " ").split()).lower() for part in _PARTS.split(_TAG.sub(" ", prompt)))
        counts.update({part for part in parts if 3 <= len(part) <= _TAG_LENGTH})
    least = max(2, (len(prompts) + 1) // 2)
    return [
        phrase
        for phrase, count in sorted(counts.items(), key=lambda found: (-found[1], found[0]))
        if count >= least and phrase not in called and not _is_noise(phrase) and not set(words(phrase)) <= about
    ][:_TAGS]


def _is_noise(phrase: str) -> bool:
    low = " ".join(phrase.lower().replace("_", " ").split())
    return low in _NOISE or any(word in low for word in _NOISE_WORDS)


def _first_phrases(record: AdapterRecord) -> list[str]:
    phrases = [phrase for group in record.triggers[:_TAGS] for phrase in group[:_TAGS]]
    return phrases + [tag for tag, _ in record.training_tags[:20]]


def _triggers(record: AdapterRecord, about: set[str]) -> tuple[tuple[str, ...], ...]:
    """Return the groups less what every prompt holds; of a whole prompt the phrases that name the adapter.

    Empty where nothing changes, and where nothing would be left.
    """
    cleaned: dict[tuple[str, ...], None] = {}
    for group in record.triggers[:_GROUPS]:
        phrases = tuple(phrase for phrase in group if not _is_noise(phrase))
        if len(phrases) > _WHOLE_PROMPT:
            naming = tuple(phrase for phrase in phrases if about.intersection(words(phrase)))
            phrases = naming[:2] or phrases[:1]
        if phrases:
            cleaned.setdefault(phrases)
    kept = tuple(cleaned)
    return () if kept == record.triggers else kept


def _weight(record: AdapterRecord) -> tuple[float | None, str | None]:
    """Return a weight and where it comes from: the owner's, else what people used, else what the author advises.

    None where people differ, where only one picture tells, and where a weight may be below zero, as a slider's.
    """
    for sources, phrase, least in (
        (("preferred", "tips"), "stored for this file", 1),
        (("civitaiResources", "resources", "prompt"), "", 2),
        (("header", "prose"), "advised by its author", 1),
    ):
        weights = [seen.weight for seen in record.weights if seen.source in sources]
        if len(weights) < least or min(weights) <= 0:
            continue
        if phrase:
            return round(median(weights), 2), phrase
        low, _, high = quantiles(weights, n=4, method="inclusive")
        if high - low <= _SPREAD:
            return round(median(weights), 2), f"median of {len(weights)} uses, mostly {low:.2g} to {high:.2g}"
    return None, None
