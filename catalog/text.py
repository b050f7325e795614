"""Foreign text made fit to keep: readable, bounded, and free of markup, junk characters and advertisements."""

from __future__ import annotations

import html
import re
import unicodedata

TEXT_LIMIT = 20_000
"""Characters kept of one description; the longest of 6,700 real ones has 16,163 with its markup."""
_MARKUP_LIMIT = 200_000
"""Characters of markup that are looked at at all."""

# Control characters, surrogates, and what is invisible or turns the direction of writing: zero-width joiners and
# spaces, bidirectional marks, interlinear marks, variation tags. New lines and tabs are dealt with before.
_JUNK = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_MARKS = re.compile("[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u1ab0-\u1aff\u20d0-\u20ff]{5,}")
_CONTROLS = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127])

_HIDDEN = ("script", "style", "iframe", "template", "svg", "noscript")
_HIDING = re.compile(r"<(?:!--|script|style|iframe|template|svg|noscript)", re.IGNORECASE)
_BLOCK = re.compile(
    r"</?(?:p|br|li|h[1-6]|div|ul|ol|pre|blockquote|table|tr|hr|section|article|header|footer|figure|dl|dt|dd)"
    r"(?:[\s/][^<>]*)?>",
    re.IGNORECASE,
)
# No character has so high a number, and Python refuses to read numbers of thousands of digits.
_NO_CHARACTER = re.compile(r"&#[0-9]{20,};?")
# A prompt's own `<lora:name:0.8>` is not markup.
_TAG = re.compile(r"<(?!lora:|lyco:|hypernet:)[a-zA-Z/!?][^<>]*>", re.IGNORECASE)

_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")
# What makes a sentence an advertisement: a word alone, or what it must stand in. All lower-case.
_ADVERTISEMENTS: dict[str, re.Pattern[str] | None] = {
    **dict.fromkeys((
        "patreon", "ko-fi", "boosty", "afdian", "爱发电", "fanbox", "gumroad", "fiverr", "onlyfans", "fantia", "paypal",
        "linktr.ee", "tip jar", "赞助", "打赏", "请我喝", "捐", "subscribestar", "early access", "twitter.com/",
        "instagram.com/", "facebook.com/", "tiktok.com/", "weibo.com/", "reddit.com/", "pixiv.net/", "space.bilibili",
    )),
    "kofi": re.compile(r"\bkofi\b"),
    "coff": re.compile(r"buy\W{0,3}(?:me\W{0,3})?(?:an?\W{0,3})?(?:cup\W{0,3}of\W{0,3})?coff"),
    "donat": re.compile(r"\bdonat(?:e|es|ing|ions?)\b"),
    "support": re.compile(r"\bsupport(?:ing|s)? (?:me|us|my|the creation)\b"),
    "commission": re.compile(
        r"\bcommissions?\b.{0,30}\bopen\b|\bcommission me\b|\b(?:my|for) commissions?\b|"
        r"\bcommissions? ?(?::|dm\b|here\b)|"
        r"\b(?:open|available|accept\w{0,3}|tak\w{1,3})\b.{0,20}\bcommissions?\b"
    ),
    "discord": re.compile(
        r"discord\.(?:gg|com|app)|\bdiscord (?:server|channel|group|community|link)|\bdiscord ?[:：@#]|_discord\b|"
        r"\b(?:my|our|on|via|the|join|in) (?:\w{1,20} ){0,2}discord\b"
    ),
    "follow": re.compile(r"\bfollow (?:me|us|my)\b"),
    "subscrib": re.compile(r"\bsubscrib(?:e|ing)\b"),
    "youtube": re.compile(r"youtube\.com/(?:@|c/|channel|user)"),
    "t.me/": re.compile(r"\bt\.me/"),
    "qq": re.compile(r"(?<![a-z])qq ?(?:群|group)"),
}  # fmt: skip
# A line of hardly more than a service's name is a button.
_BUTTONS = ("discord", "twitter", "instagram", "youtube", "telegram", "facebook", "tiktok", "reddit", "pixiv", "weibo",
            "bilibili", "support", "follow", "subscri", "social", "links")  # fmt: skip
_BUTTON = re.compile(
    r"\W*(?:my |our |official )?(?:discord|twitter|instagram|youtube|telegram|facebook|tiktok|reddit|pixiv|weibo|"
    r"bilibili|support me|follow me|subscribe|socials?|links)(?: channel| page| account)?\W*"
)
# A sentence that also tells how to use the adapter stays, less its links.
_USEFUL = re.compile(r"trigger|weight|strength|prompt|触发|权重")
_LINK = re.compile(r"(?:https?://|www\.)[^\s<>()（）,，、。]+")


def clean_text(value: object, limit: int) -> str | None:
    r"""Return a foreign value as trimmed NFC text of at most `limit` characters, or None when nothing is left.

    Strings and numbers are text; truth values, lists and everything else are not. Lone surrogates, control and
    invisible characters go; every kind of line break becomes a new line.

    >>> clean_text(" Fo\u200bx\r\n\ud800 2 ", 10), clean_text(7, 10), clean_text(["fox"], 10)
    ('Fox\n 2', '7', None)
    """
    text = _text(value)
    if text is None:
        return None
    if len(text) > limit:
        # Junk in front must not push the text out of the bound, nor an endless one cost more than it can hold.
        text = text.lstrip()[: limit * 2 + 64]
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii():
        if not text.isprintable():
            text = text.translate(_CONTROLS)
    else:
        text = _JUNK.sub("", text.replace("\u2028", "\n").replace("\u2029", "\n").replace("\x85", "\n"))
        text = unicodedata.normalize("NFC", _MARKS.sub(lambda run: run.group()[:4], text))
    return text.strip()[:limit].rstrip() or None


def clean_line(value: object, limit: int) -> str | None:
    r"""Return a foreign value as `clean_text` does, on one line with single spaces: names, tags, titles.

    >>> clean_line("  Red\n  Fox ", 20)
    'Red Fox'
    """
    if isinstance(value, str) and len(value) <= limit and value.isascii() and value.isprintable():
        return " ".join(value.split()) or None
    text = clean_text(value, limit)
    return " ".join(text.split()) if text is not None else None


def clean_html(html: str | None) -> str | None:
    """Return the readable text of a description: a line for each block, links as their text, no advertisements.

    Plain text passes through, so a description that may be either can be given. At most `TEXT_LIMIT` characters.

    >>> clean_html('<p>Use <b>foxy</b> at 0.8 &amp; up.</p><p></p><p>Join my <a href="https://x">Discord</a>!</p>')
    'Use foxy at 0.8 & up.'
    """
    if not isinstance(html, str) or not html:
        return None
    text = html[:_MARKUP_LIMIT]
    if "<" in text:
        if _HIDING.search(text):
            text = _without_hidden(text)
        # Most of all tags are these two, and plain replacement is many times faster than a pattern.
        text = text.replace("</p>", "\n").replace("<p>", "")
        text = _TAG.sub("", _BLOCK.sub("\n", text))
    text = clean_text(_unescape(text), TEXT_LIMIT) or ""
    if not text:
        return None
    lines = (" ".join(line.split()) for line in text.split("\n"))
    lowered = text.lower()
    words = [word for word in _ADVERTISEMENTS if word in lowered]
    if words or any(word in lowered for word in _BUTTONS):
        lines = (_without_advertisements(line, words) for line in lines)
    # Sentences that stood without a space between them are now parted by one, so a text at the bound would pass it.
    return "\n".join(line for line in lines if line)[:TEXT_LIMIT].rstrip() or None


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        return str(value) if value.bit_length() < 64 else None
    return str(value) if value - value == 0 else None  # infinities and NaN are no text


def _unescape(text: str) -> str:
    return html.unescape(_NO_CHARACTER.sub("\ufffd", text)) if "&" in text else text


def _without_hidden(text: str) -> str:
    """Cut comments and the contents of elements that are not for reading, each in one pass over the text."""
    lowered = text.lower()
    if len(lowered) != len(text):
        lowered = text
    for opening, closing in (("<!--", "-->"), *((f"<{name}", f"</{name}") for name in _HIDDEN)):
        if opening not in lowered:
            continue
        kept, position = [], 0
        while (start := lowered.find(opening, position)) >= 0:
            kept.append(text[position:start])
            end = lowered.find(closing, start)
            if end < 0:
                # Never closed: only the tag itself goes, lest one stray mark cost the rest of the page.
                position = start + len(opening)
                kept.append(text[start:position])
                break
            position = end + len(closing) if closing == "-->" else end
        kept.append(text[position:])
        text = "".join(kept)
        lowered = text.lower() if len(text.lower()) == len(text) else text
    return text


def _without_advertisements(line: str, words: list[str]) -> str:
    """Drop what advertises; `words` are those of `_ADVERTISEMENTS` that the text holds."""
    lowered = line.lower()
    if len(line) <= 60 and _BUTTON.fullmatch(lowered):
        return ""
    if not _advertises(lowered, words):
        return line
    kept = []
    for sentence in _SENTENCE.split(line):
        lowered = sentence.lower()
        if not _advertises(lowered, words):
            kept.append(sentence)
        elif _USEFUL.search(lowered):
            kept.append(_LINK.sub("", sentence).strip())
    return " ".join(part for part in kept if part)


def _advertises(lowered: str, words: list[str]) -> bool:
    for word in words:
        if word in lowered:
            pattern = _ADVERTISEMENTS[word]
            if pattern is None or pattern.search(lowered):
                return True
    return False
