"""`python -m velatura.playground.training FOLDER --stages base evaluator`: what `velatura playground train` does."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ...errors import VelaturaError
from ..cli import PLANS, run_training


def main() -> int:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="velatura.playground.training", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stages", nargs="+", metavar="STAGE")
    parser.add_argument("--plan", default="processor", choices=PLANS)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--machine", help="what training.json calls this machine")
    given = parser.parse_args()
    try:
        run_training(given.folder, given.stages, plan=given.plan, processes=given.processes, machine=given.machine)
    except VelaturaError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
