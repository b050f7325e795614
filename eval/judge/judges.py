"""Who judges: a language model that sees pictures, or a metric that needs neither a network nor a key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from ...errors import LanguageModelRefusal
from ..cells import Features
from .exhibits import as_png
from .records import HOST, Answer, Criterion, Exhibit, Said
from .templates import FORM, INSTRUCTIONS, VERSION, question, read_answer

if TYPE_CHECKING:
    from ...llm import LanguageModel
    from ..protocols import FeatureExtractor, TextExtractor

_CLIP_VERSION: Final = "1"
_KEPT: Final = 4096
"""Pictures whose features are kept."""


class Judge(Protocol):
    """Looks at two sides of pictures of one prompt, and says which is better under a criterion.

    It is told no methods, adapters or files. Diversity is asked of groups of equally many pictures; the other criteria
    of one picture each.
    """

    @property
    def name(self) -> str:
        """Kept with its answers; another one whenever it might answer otherwise."""

    def choose(self, criterion: Criterion, prompt: str, first: Sequence[Exhibit], second: Sequence[Exhibit]) -> Answer:
        """Return what it says; may be called by several threads at once.

        Raises:
            LanguageModelUnavailable: It cannot be asked now.
            LanguageModelError: It gives no answer of use.
            UnreadableFile: A picture is damaged.
            InputError: It can never be asked, such as for a wrong key.
        """


class LlmJudge:
    """Asks a language model that sees pictures, at temperature 0. A group is shown as one contact sheet a side.

    Args:
        model: Is asked.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    @property
    def name(self) -> str:
        """`llm`, the version of the question, the model's name, and its server's, where the model tells it."""
        return llm_judge_name(self._model.model, getattr(self._model, "host", None))

    def choose(self, criterion: Criterion, prompt: str, first: Sequence[Exhibit], second: Sequence[Exhibit]) -> Answer:
        """Return what the model says; see `Judge`."""
        try:
            answer, usage = self._model.ask_counted(
                INSTRUCTIONS[criterion],
                question(criterion, prompt),
                FORM,
                read_answer,
                pictures=[as_png(first), as_png(second)],
                temperature=0.0,
            )
        except LanguageModelRefusal as refusal:
            return Answer(choice="refused", reason=str(refusal), usage=refusal.usage)
        return replace(answer, usage=usage)


class ClipJudge:
    """A metric in a judge's place: what CLIP finds nearer to the prompt, or farther apart, wins.

    It sees no more than the metrics of the same features do, and agrees with them by construction. It cannot tell how
    well a picture is made, and refuses to.

    Args:
        clip: Reads prompts and pictures; alignment is their cosine.
        vision: Its features' mean pairwise distance is diversity; None takes `clip`.
    """

    def __init__(self, clip: TextExtractor, vision: FeatureExtractor | None = None) -> None:
        self._clip = clip
        self._vision = vision or clip
        self._features: dict[tuple[str, str, tuple[int, int]], Features] = {}

    @property
    def name(self) -> str:
        """`clip metric`, its version, and the fingerprints of what it looks with."""
        parts = dict.fromkeys((self._clip.fingerprint, self._vision.fingerprint))
        return f"clip metric {_CLIP_VERSION}: {' '.join(parts)}"

    def choose(self, criterion: Criterion, prompt: str, first: Sequence[Exhibit], second: Sequence[Exhibit]) -> Answer:
        """Return which side has more; equal numbers are a tie. See `Judge`."""
        if criterion == "quality":
            return Answer(choice="refused", reason="CLIP's features do not tell how well a picture is made")
        if criterion == "alignment":
            text = _unit(self._clip.read([prompt]))[0]
            told = [float((_unit(self._see(self._clip, side)) @ text).mean()) for side in (first, second)]
        else:
            told = [_mean_distance(_unit(self._see(self._vision, side))) for side in (first, second)]
        choice: Said = "tie" if told[0] == told[1] else "first" if told[0] > told[1] else "second"
        what = "cosine" if criterion == "alignment" else "mean distance"
        return Answer(choice=choice, reason=f"{what} {told[0]:.4f} of the first, {told[1]:.4f} of the second")

    def _see(self, extractor: FeatureExtractor, side: Sequence[Exhibit]) -> Features:
        return np.stack([self._features_of(extractor, exhibit) for exhibit in side])

    def _features_of(self, extractor: FeatureExtractor, exhibit: Exhibit) -> Features:
        """Return the features of a picture, which mostly is seen twice."""
        picture = exhibit.open()
        key = (extractor.fingerprint, exhibit.digest, picture.size)
        known = self._features.get(key)
        if known is None:
            known = extractor.extract(np.stack([extractor.prepare(picture)]))[0]
            if len(self._features) >= _KEPT:
                self._features.clear()
            self._features[key] = known
        return known


def llm_judge_name(model: str, host: str | None = None) -> str:
    """Return the name of the judge that asks a language model: two servers may have other models by one name."""
    return f"llm {VERSION}: {model}" + (f"{HOST}{host}" if host else "")


def _unit(rows: Features) -> Features:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)


def _mean_distance(rows: Features) -> float:
    above = np.triu_indices(len(rows), 1)
    distances = np.linalg.norm(rows[above[0]] - rows[above[1]], axis=1)
    return float(distances.mean())
