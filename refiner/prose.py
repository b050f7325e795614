"""A model card in one to three sentences: those that say what the adapter draws."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from ..words import words

LIMIT = 400
"""Characters of a condensed card."""
_READ = 6000
"""Characters that are looked at."""
_LINES = 80
_MOST = 3
_AVOID = 160
_ENOUGH, _MORE = 1.1, 1.5
"""The least score of a first sentence, and of each that is added to it; see `_score`."""

_SENTENCE = re.compile(
    r"(?<=[.!?])\s+(?=[\w\"'“(\[])|(?<=[。！？])|\s[|/•·—]{1,3}\s|(?<=[^\d\s]):\s+(?=[A-Z])|"
    "[\u2600-\u27bf\U0001f000-\U0001faff]+"
)
_LINK = re.compile(r"(?:https?://|www\.)\S+|\b[\w.-]{1,40}\.(?:com|net|org|gg|tv|io)\b(?:/\S*)?", re.IGNORECASE)
_CODE = re.compile(r"<[^<>]{0,200}>|\([^()]{0,40}:\s*\d(?:\.\d+)?\)")
_EDGE = re.compile(r"^[^\w(\[\"“<]+|[^\w.!?)\]\"”。！？]+$")
_MARKS = re.compile("[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u20d0-\u20ff]{3,}")
_RUN = re.compile(r"(\W)\1{2,}")
_EAST = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")

_USAGE = """
weight weights strength strengths sampler samplers sampling step steps cfg hires upscale upscaler upscaled denoise vae
denoising clip controlnet seed checkpoint checkpoints ckpt recommend recommended recommendation suggest suggested try
trigger triggers triggerword activate activated activation keyword keywords prompt prompts prompting token tokens epoch
epochs dim overfit overfitted overfitting overtrained undertrained tested testing download install extension folder
unzip webui comfyui colab kohya kohyaa safetensors works compatible settings setting tip tips usage negative negatives
embedding nai novelai anything chilloutmix tutorial merge merged merging dataset datasets learning rate gpu medvram
lowvram results value values tag tags tagged default optimal multires pyramid noise config parameters parameter
"""
_ASIDE = """
update updated updates updating version versions release released upload uploaded changelog fix fixed beta wip thank
thanks please enjoy hope feedback comment comments review reviews rating share sharing credit credits support donate
donation coffee kofi patreon discord twitter follow subscribe request requests requested commission join sorry profile
hello hi welcome license licence licensed commercial copyright permission prohibited forbid forbidden legal
responsible responsibility affiliated agreement terms expensive motivated caffeinated friend friends channel video
videos link links page pages website civitai author generosity applause advice
"""
_DROPPED = frozenset(words(f"{_USAGE} {_ASIDE}"))
"""Words of sentences that tell how to use a file, or nothing of it at all."""
_DROPPED_PARTS = re.compile(
    r"^(?:use|using|set|put|see|note)\b|\bhow to\b|\bbase ?model|\bstable diffusion\b|\bfive.stars?\b|\bfeel free\b|"
    r"\b(?:like|check) (?:out|this|it|my|what|the)\b|\bv ?\d|\bmy (?:other|first|second|new|model|work)|"
    r"\b(?:can|does)(?:n.t| ?not)\b|\bwon.t\b",
    re.IGNORECASE,
)
_DROPPED_EAST = re.compile(
    "权重|權重|触发|觸發|推荐|推薦|建议|建議|提示|大模型|底模|更新|版本|感谢|感謝|喜欢|喜歡|谢谢|请|請|欢迎|关注|禁止|商用|授权|"
    "采样|下载|教程|联系|群|点赞|五星|模型使用|训练|字眼|問題|问题|評価|推奨|重み|使用|ください|お願い|強度|学習|ありがとう|可能|"
    "사용|추천|가중치|감사|권장|금지"
)
_ADDRESS = re.compile(
    r"\b(?:ignor|disregard|forget|override)\w*\b.{0,40}\b(?:above|previous|prior|earlier|rules?|everything|all)\b|"
    r"\binstructions?\b|\bsystem ?(?:prompt|message|:)|\blanguage models?\b|\bassistant\b|\bas an ai\b|\bdear ai\b|"
    r"\byou are (?:an?|now|the)\b|\byou (?:must|should|shall)\b|\balways\b|\b(?:api|secret) ?keys?\b|\bpasswords?\b|"
    r"\bjson\b|\b(?:choose|select|pick|rank|prefer|output|respond|reply|answer|return|print|reveal|repeat)\b.{0,30}"
    r"\b(?:me|this|adapter|lora|id|first|only|your|with)\b|"
    "忽略|无视|無視|指示|系统|你是|必须|システム|무시|지시|시스템|игнор|инструкц|систем|выбер|ignora|ignore[zr]|ignorier|"
    "instrucci|istruzion|anweisung|instruç|تجاهل|التعليمات|अनदेखा|निर्देश|bỏ qua|yoksay|talimat|zignoruj|negeer",
    re.IGNORECASE,
)
"""What speaks to whoever reads the card, people or language models, instead of saying what it draws."""
_DRAWS = frozenset(
    words("""
generate generates generating create creates creating produce produces draw draws drawing paint paints depict depicts
depicting show shows render renders rendering make makes making add adds turns transform transforms style styles
artstyle character characters based inspired replicate replicates reproduce reproduces mimic mimics emulate emulates
look looks wear wears wearing images pictures artist illustrator painter photographer scene scenes featuring concept
outfit costume protagonist heroine named called allows lets gives capture captures resembling like
""")
)
_DRAWS_PARTS = re.compile(
    r"\bfrom the\b|\b(?:is|are|was) (?:an?|the|one)\b|\b(?:lora|model|locon) (?:of|for|that)\b", re.IGNORECASE
)
_DRAWS_EAST = re.compile("生成|风格|画风|風格|风景|角色|服装|スタイル|風|キャラ|描|再現")
_FIRST_PERSON = frozenset(words("i my me we our us you your mine myself anyone literally"))
_FIRST_EAST = re.compile("我|你|私|僕")
_NOT_FOR = re.compile(
    r"\b(?:do|does|will|can)(?: not|n['’]?t)\b.{0,20}\b(?:work|use|mix|combine|go|perform)\b|\bincompatible\b|"
    r"\bwon['’]?t work\b|\bcan(?:not|['’]?t) be used\b|\bnot for\b|\bnsfw only\b|\bonly (?:for|works? (?:with|on))\b|"
    r"\bnot (?:\w+ ){0,2}(?:compatible|suitable|suited|intended|meant|designed|made|recommended|trained) "
    r"(?:with|for|on|to)\b|不要(?:用|与|和|搭配)|不(?:建议|推荐|适合|兼容)|対応していません|非対応|不適",
    re.IGNORECASE,
)
_NOT_ABOUT = re.compile(
    r"commercial|sell|upload|re-?post|permission|licen|credit|agreement|service|merge|trigger|worry|need|know|matter|"
    r"download|host|prompt|weight|\btags?\b|\bname\b|\bwho\b|\bi\b|权重|商|许可|授权|搬运|二传|转载",
    re.IGNORECASE,
)


class Condensed(NamedTuple):
    """What a card says, shortly."""

    description: str | None
    """One to three of its sentences, at most `LIMIT` characters; None where none says what is drawn."""
    avoid: str | None
    """The sentence that says what it is not for."""


def condense(text: str, about: Collection[str]) -> Condensed:
    r"""Return the sentences of a card that say what the adapter draws, and the one that says what it is not for.

    Nothing but the card's own words comes back. Advertisements, thanks, changes, licences, settings, prompts, and
    sentences that speak to a language model are left out.

    Args:
        text: The card, without markup.
        about: Words of its title and tags: sentences with them are likelier to be the right ones.

    >>> card = "Thanks for 1k downloads!\nA grumpy red fox in a tweed jacket. Use weight 0.8. Not suitable for SDXL."
    >>> condense(card, {"fox"})
    Condensed(description='A grumpy red fox in a tweed jacket.', avoid='Not suitable for SDXL.')
    """
    scored: list[tuple[float, int, str]] = []
    avoid: str | None = None
    for place, sentence in enumerate(_sentences(text)):
        if _ADDRESS.search(sentence):
            continue
        if avoid is None and _NOT_FOR.search(sentence) and not _NOT_ABOUT.search(sentence):
            avoid = _cut(sentence, _AVOID)
        elif (score := _score(sentence, place, about)) >= _ENOUGH:
            scored.append((score, place, sentence))
    western = [found for found in scored if not _EAST.search(found[2])]
    ranked = sorted(western or scored, key=lambda found: (-found[0], found[1]))
    best = ranked[:1] + [found for found in ranked[1:_MOST] if found[0] >= _MORE]
    kept: dict[str, None] = {}
    for _, _, sentence in sorted(best, key=lambda found: found[1]):
        if not kept or sum(map(len, kept)) + len(kept) + len(sentence) <= LIMIT:
            kept.setdefault(_cut(_ended(sentence), LIMIT))
    return Condensed(" ".join(kept) or None, avoid)


def _ended(sentence: str) -> str:
    return sentence if sentence[-1] in '.!?。！？"”' else f"{sentence}."


def _sentences(text: str) -> list[str]:
    found: list[str] = []
    for line in text[:_READ].splitlines()[:_LINES]:
        if not line or _is_list(line):
            continue
        bare = _RUN.sub(r"\1", _CODE.sub(" ", _LINK.sub(" ", _MARKS.sub("", line))))
        for part in _SENTENCE.split(bare):
            sentence = " ".join(_EDGE.sub("", part).split())
            if len(sentence) >= (6 if _EAST.search(sentence) else 14):
                found.append(sentence)
    return found


def _is_list(line: str) -> bool:
    """Say whether a line is a prompt or a list of tags: many commas, few words between them."""
    commas = line.count(",") + line.count("，") + line.count("、")
    return (commas >= 4 and len(line) / (commas + 1) < 24) or "<lora" in line or "masterpiece" in line.lower()


def _score(sentence: str, place: int, about: Collection[str]) -> float:
    """Return how likely a sentence says what is drawn; below zero where it surely does not."""
    cut = words(sentence)
    held = set(cut)
    if not held.isdisjoint(_DROPPED) or sentence[-1] in "?？" or _DROPPED_PARTS.search(sentence):
        return -1.0
    if len(cut) < 4 or sum(map(str.isalpha, sentence)) < 0.6 * len(sentence):
        return -1.0
    east = not sentence.isascii()
    if east and _DROPPED_EAST.search(sentence):
        return -1.0
    draws = not held.isdisjoint(_DRAWS) or _DRAWS_PARTS.search(sentence) or (east and _DRAWS_EAST.search(sentence))
    speaks = not held.isdisjoint(_FIRST_PERSON) or (east and _FIRST_EAST.search(sentence))
    known = held.intersection(about)
    if not draws and len(known) + 2 >= len(held):
        return -1.0  # The title again.
    score = (0.5 if place < 3 else 0.0) + (1.0 if draws else 0.0) + min(0.6 * len(known), 1.2)
    return score - (0.8 if speaks else 0.0) - (0.5 if sentence[-1] in "!！" else 0.0)


def _cut(text: str, most: int) -> str:
    """Return a text of at most so many characters, cut between words."""
    if len(text) <= most:
        return text
    head = text[: most - 1]
    return f"{head.rpartition(' ')[0] if ' ' in head[most // 2 :] else head}…"
