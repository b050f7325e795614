"""Statistics of comparisons: who wins, by how much, how sure that is, and how many pairs it would have taken.

wins.py       win rates: Wilson, exact sign test, McNemar, wins, ties and losses
power.py      how many pairs a difference needs, and which difference some pairs could have shown
means.py      means over prompts: bootstrap over prompts, errors clustered two ways, Wilcoxon
families.py   Holm, for many tests at once
strengths.py  Bradley-Terry and Plackett-Luce (logit.py: the fit of both)
ranks.py      mean ranks: Friedman, Nemenyi, Kendall's W
agreement.py  how far raters agree: Krippendorff's alpha, Cohen's kappa

Nothing here resamples pictures of a Fréchet distance: its bias grows with every repeated picture, so that the interval
would not hold the distance itself.
"""

from __future__ import annotations

from .agreement import Agreement, cohen_kappa, krippendorff_alpha
from .families import holm
from .means import Interval, Wilcoxon, bootstrap_mean, two_way_mean, wilcoxon
from .power import detectable_difference, detectable_rate, pairs_needed, sign_test_power
from .ranks import MeanRanks, kendall_w, mean_ranks
from .strengths import Comparison, Strengths, bradley_terry, plackett_luce
from .wins import Discordance, Proportion, WinTieLose, mcnemar, sign_test, wilson

__all__ = [
    "Agreement",
    "Comparison",
    "Discordance",
    "Interval",
    "MeanRanks",
    "Proportion",
    "Strengths",
    "Wilcoxon",
    "WinTieLose",
    "bootstrap_mean",
    "bradley_terry",
    "cohen_kappa",
    "detectable_difference",
    "detectable_rate",
    "holm",
    "kendall_w",
    "krippendorff_alpha",
    "mcnemar",
    "mean_ranks",
    "pairs_needed",
    "plackett_luce",
    "sign_test",
    "sign_test_power",
    "two_way_mean",
    "wilcoxon",
    "wilson",
]
