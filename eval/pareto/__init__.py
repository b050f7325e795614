"""Two metrics at once: fronts, hypervolumes, and whether one method's front lies before another's.

plane.py   points with their errors, the front among them, and whether one point is better than another
areas.py   hypervolume
gaps.py    the difference in one metric at equal values of the other
fronts.py  the verdict over two fronts

Sampling error is carried through all of it by the points' joint covariance: prompts that pull at two points alike, as
they do with paired seeds, make the two move together, so that differences are surer than either point.
"""

from __future__ import annotations

from .areas import Hypervolume, hypervolume
from .fronts import FrontVerdict, Verdict, compare_fronts
from .gaps import Gap, Gaps, gaps
from .plane import Plane, Point, dominance, front

__all__ = [
    "FrontVerdict",
    "Gap",
    "Gaps",
    "Hypervolume",
    "Plane",
    "Point",
    "Verdict",
    "compare_fronts",
    "dominance",
    "front",
    "gaps",
    "hypervolume",
]
