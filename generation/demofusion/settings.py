"""How an enlargement is painted: what is left open filled in, and the numbers checked."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Final, get_args

from ...errors import InputError
from ...records import Enlargement, Mode

PUBLISHED: Final = Enlargement(views=16, cosine=(3.0, 1.0, 1.0), sigma=0.8)
"""DemoFusion as its authors paint; their stride is half of a window."""

_OPEN: Final = ("stride", "views", "cosine", "sigma")
"""What suits the model where it is left open."""
_MOST_VIEWS: Final = 1000
_MOST_STEPS: Final = 1000


def filled(wanted: Enlargement, native: int, own: Enlargement = PUBLISHED) -> Enlargement:
    """Return an enlargement with its stride, views, cosine exponents and sigma filled in.

    Args:
        wanted: What is asked for.
        native: The side of the latents that the model was trained on.
        own: What suits the model; what is open there, too, is as published.

    >>> filled(Enlargement(skip=0.05), 128, Enlargement(views=12)).views, filled(Enlargement(views=4), 128).stride
    (12, 64)
    """
    for suiting in (own, replace(PUBLISHED, stride=native // 2)):
        left = {name: getattr(suiting, name) for name in _OPEN if getattr(wanted, name) is None}
        wanted = replace(wanted, **left)
    return wanted


def check(wanted: Enlargement, native: int) -> None:
    """Check the numbers of an enlargement that is `filled`.

    Raises:
        InputError: one of them cannot be; one sentence.
    """
    stride, views, later = wanted.stride or 0, wanted.views or 0, wanted.later_steps
    cosine, sigma = wanted.cosine or (), math.nan if wanted.sigma is None else wanted.sigma
    modes, scales = get_args(Mode), wanted.scales
    for wrong, sentence in (
        (
            wanted.mode not in modes,
            f"there is no mode {wanted.mode!r} of painting large; take one of {', '.join(modes)}",
        ),
        (not 1 <= stride <= native, f"the stride must be between 1 and the window's {native} cells, not {stride}"),
        (not 1 <= views <= _MOST_VIEWS, f"the views must be between 1 and {_MOST_VIEWS}, not {views}"),
        (
            later is not None and not 1 <= later <= _MOST_STEPS,
            f"later_steps must be between 1 and {_MOST_STEPS}, not {later}",
        ),
        (not 0 <= wanted.skip <= 0.5, f"skip must be between 0 and 0.5, not {wanted.skip:g}"),
        (
            len(cosine) != 3 or not all(0 <= power <= 100 for power in cosine),
            "the cosine exponents must be three numbers between 0 and 100",
        ),
        (not 0 <= sigma <= 100, f"sigma must be between 0 and 100, not {sigma:g}"),
        (
            not all(1 <= scale < math.inf for scale in scales) or any(one >= other for one, other in pairwise(scales)),
            "the scales must be at least 1 and ascending",
        ),
    ):
        if wrong:
            raise InputError(sentence)
