"""The Inception Score (Salimans et al. 2016): told for completeness, never to be ranked by.

It asks how sure and how varied a classifier of ImageNet is about pictures, whatever the prompts were, and it rises with
things that nobody sees (Barratt and Sharma 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .cells import Cell
from .estimates import Estimate, sum_pulls
from .moments import check_features
from .records import Better


def inception_score(logits: NDArray[Any], prompts: Sequence[str], *, splits: int = 1, seed: int = 0) -> Estimate:
    """Return exp of the mean divergence of the pictures' classes from those of all, with the pull of each prompt.

    Args:
        logits: Of each picture the classifier's logits, shape (pictures, classes).
        prompts: Of each picture its prompt.
        splits: Into how many parts the shuffled pictures are dealt; the scores of all are averaged. The papers have 10,
            and the fewer pictures a part has, the lower it is.
        seed: Of the shuffling.

    Raises:
        InputError: there are fewer pictures than parts, or the logits are not finite.
    """
    rows = check_features(logits).astype(np.float64)
    if len(rows) != len(prompts):
        raise ValueError("each picture has logits and a prompt")
    if not 1 <= splits <= len(rows):
        raise InputError(f"{len(rows)} pictures cannot be dealt into {splits} parts")
    if not np.isfinite(rows).all():
        raise InputError("some logits are not finite numbers; extract them again")
    rows -= rows.max(axis=1, keepdims=True)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    order = np.random.default_rng(seed).permutation(len(rows)) if splits > 1 else np.arange(len(rows))
    scores: list[float] = []
    influences = np.empty(len(rows))
    for part in np.array_split(order, splits):
        logs = rows[part]
        chances = np.exp(logs)
        common = np.log(np.maximum(chances.mean(axis=0), np.finfo(np.float64).tiny))
        divergences = (chances * (logs - common)).sum(axis=1)
        score = float(np.exp(divergences.mean()))
        scores.append(score)
        # What a picture does to the common classes changes the mean divergence by nothing, to first order.
        influences[part] = score * (divergences - divergences.mean()) * (len(rows) / (splits * len(part)))
    names, pulls = sum_pulls(prompts, influences)
    return Estimate(value=float(np.mean(scores)), prompts=names, pulls=pulls, n=len(rows))


class InceptionScore:
    """The Inception Score.

    Args:
        name: As it is asked for.
        extractor_signature: The extractor's.
        extractor: Whose features, the logits of classes, it reads.
        splits: Into how many parts the pictures are dealt.
        seed: Of the dealing.
    """

    title = "Inception Score"
    unit = ""
    better: Better = "higher"
    ranking = False

    def __init__(
        self,
        name: str,
        extractor_signature: str,
        *,
        extractor: str = "inception-logits",
        splits: int = 1,
        seed: int = 0,
    ) -> None:
        self.name = name
        self.needs: tuple[str, ...] = (extractor,)
        dealt = f"|seed={seed}" if splits > 1 else ""
        self.signature = f"IS|{extractor_signature}|splits={splits}{dealt}"
        self._splits, self._seed = splits, seed

    def estimate(self, cell: Cell) -> Estimate:
        """Measure a cell.

        Raises:
            InputError: there are fewer pictures than parts, or the logits are not finite.
        """
        logits = cell.features[self.needs[0]]
        return inception_score(logits, cell.prompts, splits=self._splits, seed=self._seed)
