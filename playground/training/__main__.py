"""`python -m velatura.playground.training FOLDER`: train the playground, or go on with it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ...errors import VelaturaError
from .plan import gpu_plan, processor_plan, trial_plan
from .recipe import Report
from .stages import STAGES, train


def main() -> int:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="velatura.playground.training", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stages", nargs="+", default=list(STAGES), choices=list(STAGES), metavar="STAGE")
    parser.add_argument("--plan", default="processor", choices=["processor", "gpu", "trial"])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--machine", help="what training.json calls this machine")
    given = parser.parse_args()
    plans = {"processor": processor_plan, "trial": lambda count: trial_plan(processes=count)}
    plan = gpu_plan() if given.plan == "gpu" else plans[given.plan](given.processes)

    def progress(report: Report) -> None:
        sys.stderr.write(f"{report}\n")

    try:
        train(given.folder, given.stages, plan=plan, machine=given.machine, progress=progress)
    except VelaturaError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
