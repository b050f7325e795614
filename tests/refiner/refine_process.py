"""Run by tests in a process of its own: has a made-up describer describe a catalogue, and logs what it is asked.

    python refine_process.py CATALOGUE LOG SECONDS WORKERS

SECONDS is how long an answer takes. The log has a line `asked` and a line `answered` for each question.
"""

from __future__ import annotations

import os
import sys
import time

from velatura.db import open_store
from velatura.protocols import Described
from velatura.records import RefinedAdapter, Refinement, Usage
from velatura.refiner.refine import refine


class Slow:
    """Takes its time, and writes down whatever it is asked."""

    name = "slow/1"

    def __init__(self, log: str, seconds: float) -> None:
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.seconds = seconds

    def origin(self, adapter: RefinedAdapter) -> str:
        return adapter.record.key

    def describe(self, adapter: RefinedAdapter) -> Described:
        os.write(self.log, f"asked {adapter.record.key} {time.time()}\n".encode())
        time.sleep(self.seconds)
        os.write(self.log, f"answered {adapter.record.key} {time.time()}\n".encode())
        return Described(refinement=Refinement(description="words"), usage=Usage(calls=1))


if __name__ == "__main__":
    catalogue, log, seconds, workers = sys.argv[1:]
    with open_store(catalogue) as store:
        sys.stdout.write(f"{refine(store, Slow(log, float(seconds)), workers=int(workers)).done}\n")
