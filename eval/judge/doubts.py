"""What speaks against believing a judge, computed from its own answers.

A judge that throws a coin names the same pictures in both orders half of the time; one that goes by the place never
does. Both look like a judge that finds many ties, unless somebody counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from ..stats import sign_test
from .records import HOST, Doubt, Verdict

_MOST_REFUSED: Final = 0.2
_LEANING: Final = 0.1
"""How far from one half the share of the first side is that is told, where it is no chance."""
_CLEAR: Final = 0.75
"""Order-consistency that is well above a coin's: an interval that reaches so far is too wide to call it one."""
_LEVEL: Final = 0.05
_KAPPA: Final = 0.2
"""Agreement up to which Landis and Koch (1977) call it slight."""

_MAKERS: Final = tuple(
    (maker, re.compile(pattern, re.IGNORECASE))
    for maker, pattern in (
        ("OpenAI", r"\b(?:chat)?gpt|\bo[134](?:-mini|-pro)?\b|dall[-_. ]?e|\bopenai"),
        ("Google", r"gemini|gemma|imagen\b|palm[-_ ]?2|paligemma|nano[-_ ]?banana|\bgoogle"),
        ("Anthropic", r"claude|anthropic"),
        ("Meta", r"\bllama|\bmeta-llama|\bemu\b|chameleon"),
        ("Alibaba", r"\bqwen|\bqwq|\bqvq|\bwan[-_ ]?2|z-image"),
        ("Mistral", r"mistral|mixtral|pixtral|ministral"),
        ("DeepSeek", r"deepseek|janus"),
        ("Microsoft", r"\bphi-?\d|florence|\bkosmos"),
        ("Shanghai AI Laboratory", r"internvl|internlm"),
        ("Zhipu", r"\bglm|cogv(?:lm|iew)|chatglm"),
        ("xAI", r"\bgrok|\baurora\b"),
    )
)


def doubts_of(verdict: Verdict, makers: Sequence[str] = ()) -> tuple[Doubt, ...]:
    """Return what speaks against a verdict.

    Args:
        verdict: Without doubts.
        makers: Names of the models that had a part in the pictures.
    """
    return (
        *_refusals(verdict),
        *_coin(verdict),
        *_position(verdict),
        *_size(verdict),
        *_kin(verdict, makers),
        *_people(verdict),
    )


def maker_of(model: str) -> str | None:
    """Return who makes a model, by its name; None where that does not tell.

    >>> [maker_of(name) for name in ("llm 1: gpt-4o", "models/gemini-2.0-flash", "Qwen/Qwen2-VL-7B", "my-own")]
    ['OpenAI', 'Google', 'Alibaba', None]
    """
    return next((maker for maker, pattern in _MAKERS if pattern.search(model)), None)


def _refusals(verdict: Verdict) -> Iterator[Doubt]:
    asked = verdict.pairs.asked - verdict.identical
    if not asked:
        return
    refused, unusable = verdict.pairs.refused, verdict.pairs.unusable
    if refused > _MOST_REFUSED * asked:
        told = f"{refused:,} of {asked:,} pairs ({refused / asked:.0%})"
        yield Doubt(code="refuses", text=f"it refuses to judge {told}: what is left is no fair sample")
    if unusable > _MOST_REFUSED * asked:
        told = f"{unusable:,} of {asked:,} pairs ({unusable / asked:.0%})"
        yield Doubt(code="unusable", text=f"it gives no answer of use to {told}: what is left is no fair sample")


def _coin(verdict: Verdict) -> Iterator[Doubt]:
    found = verdict.consistency
    if found is None or found.low > 0.5:
        return
    told = f"{found.value:.0%} of {found.n:,} pairs ({found.low:.0%} to {found.high:.0%}) when their order is swapped"
    once = verdict.once_first + verdict.once_second
    told += f" ({once:,} were decided in one order alone)" if once else ""
    if found.high < 0.5:
        yield Doubt(code="coin", text=f"it answers less consistently than a coin: it names the same pictures in {told}")
    elif found.high < _CLEAR:
        yield Doubt(
            code="coin", text=f"it answers as a coin would: it names the same pictures in {told}, and a coin in 50%"
        )
    else:
        yield Doubt(code="coin", text=f"it cannot be told from a coin: it names the same pictures in {told}")


def _position(verdict: Verdict) -> Iterator[Doubt]:
    first = verdict.first
    if first is None:
        return
    ahead, behind = verdict.both_first + verdict.once_first, verdict.both_second + verdict.once_second
    if sign_test(ahead, behind) < _LEVEL and abs(first.value - 0.5) >= _LEANING:
        place = "first" if first.value > 0.5 else "second"
        share = max(first.value, 1 - first.value)
        yield Doubt(
            code="position",
            text=f"it answers by position: it names the side that is shown {place} in {share:.0%} of the answers that "
            f"name one, and in {ahead + behind:,} of {first.n:,} pairs the place decided",
        )


def _size(verdict: Verdict) -> Iterator[Doubt]:
    decided = verdict.prompts.decided
    if verdict.p_holm is not None and verdict.p_holm < _LEVEL:
        return
    if not decided:
        yield Doubt(code="too few", text="not one prompt was decided: this says nothing of either method")
    elif verdict.detectable is None:
        yield Doubt(code="too few", text=f"{decided:,} decided prompts are too few to show any difference")
    else:
        yield Doubt(
            code="too few",
            text=f"no winner: {decided:,} decided prompts are too few to see a share of wins below "
            f"{verdict.detectable:.0%}",
        )


def _kin(verdict: Verdict, makers: Sequence[str]) -> Iterator[Doubt]:
    maker = maker_of(verdict.judge.partition(HOST)[0])
    kin = [name for name in makers if maker is not None and maker_of(name) == maker]
    if kin:
        yield Doubt(
            code="kin",
            text=f"it may prefer its own: judge and {', '.join(kin)} are both by {maker}; let another family judge",
        )


def _people(verdict: Verdict) -> Iterator[Doubt]:
    found = verdict.agreement
    if found is None:
        return
    if found.decided is not None and found.decided.high < 0.5:
        both = found.decided
        yield Doubt(
            code="against people",
            text=f"people say otherwise: of {both.n:,} prompts of which both name a method they name the same in "
            f"{both.value:.0%} ({both.low:.0%} to {both.high:.0%}), and chance in 50%",
        )
    # An interval without width is of too few answers to vary.
    elif found.low is not None and found.high is not None and found.low < found.high <= _KAPPA:
        yield Doubt(
            code="against people",
            text=f"people say otherwise: over {found.n:,} prompts that they judged too, Cohen's kappa is "
            f"{found.kappa:.2f} ({found.low:.2f} to {found.high:.2f}), slight at most",
        )
    elif found.kappa is not None and found.kappa <= _KAPPA:
        yield Doubt(
            code="people",
            text=f"people say otherwise: over {found.n:,} prompts that they judged too, Cohen's kappa is "
            f"{found.kappa:.2f}",
        )
