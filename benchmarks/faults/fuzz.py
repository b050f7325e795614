"""Fuzzes every reader of `targets.py` with atheris, which looks for inputs that reach new code; tells what fell over.

    pip install atheris                                          # 3.0, for Linux; no part of the project
    python benchmarks/faults/fuzz.py                             # one round, 20 seconds a target
    python benchmarks/faults/fuzz.py --minutes 60 --work build/fuzz --json benchmarks/faults/fuzz.json
    python benchmarks/faults/fuzz.py --target prose --seconds 300

A finding is an error that is none of `velatura.errors`, a promise that is not kept, more than 2 seconds of CPU time or
more than 700 MB for one input. A third of each target's time goes into inputs of up to its largest size (200 KB for
most) in which a piece is repeated: what takes quadratic time shows there and nowhere else. Each finding is kept under
`findings/`, once for each place in the code that it came from; the smallest input counts. What was learned stays under
`corpus/`, and the next run goes on from there. Figures of several runs in one folder are added up.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

SECONDS = 6.0
"""CPU time of one input: 2 seconds, since instrumented code takes about three times as long."""
MEMORY = 700
"""Megabytes that one input may add to the process."""
ROOM = 6 << 30
"""Bytes of addresses that a process may take beyond what it has; what asks for more gets a MemoryError."""
SMALL = 16_384
"""Bytes of what atheris makes; larger inputs are made by repetition."""
SHARE = 1 / 3
"""Of the time, for repeated pieces."""

AFRESH = 0.2
"""Of what is made, how much begins with a seed: where no new code is reached, little else is kept."""

_DONE = re.compile(r"#(\d+)\s+\w+(?:\s+cov: (\d+) ft: (\d+))?")
_OURS = "velatura"


class Slow(BaseException):
    """An input takes too long; no reader catches this."""


class Watch:
    """Hands inputs to a target, and keeps those that it falls over."""

    def __init__(self, target: Any, errors: type[Exception], folder: Path) -> None:
        self.target = target
        self.errors = errors
        self.folder = folder
        self.told: dict[str, dict[str, Any]] = {}
        path = folder / "findings.json"
        if path.is_file():
            self.told = json.loads(path.read_text())
        self.peak = _peak()
        signal.signal(signal.SIGVTALRM, _too_slow)

    def __call__(self, data: bytes) -> None:
        """Hand over one input."""
        signal.setitimer(signal.ITIMER_VIRTUAL, 2 * SECONDS)
        began = time.process_time()
        try:
            self.target.read(data)
        except self.errors:
            pass
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # whatever it is, it is a finding
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            self.note(error, data)
            return
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        took, peak = time.process_time() - began, _peak()
        if took > SECONDS:
            self.keep("slow", f"{took:.1f} s for {len(data)} bytes", data)
        if peak - self.peak > MEMORY:
            self.keep("memory", f"{peak - self.peak} MB for {len(data)} bytes", data)
        self.peak = max(self.peak, peak)

    def note(self, error: BaseException, data: bytes) -> None:
        """Keep an input by the place in our code that its error came from."""
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "/benchmarks/" not in frame.filename and _is_ours(frame.filename)]
        frame = (ours or frames)[-1]
        place = f"{Path(frame.filename).name}:{frame.name}"
        words = str(error) or traceback.format_exc().strip().splitlines()[-1]
        self.keep(f"{type(error).__name__} in {place}", f"line {frame.lineno}: {words[:200]}", data)

    def keep(self, kind: str, words: str, data: bytes) -> None:
        """Keep the smallest input of a kind, and count them."""
        known = self.told.get(kind)
        name = hashlib.sha256(kind.encode()).hexdigest()[:12]
        self.folder.mkdir(parents=True, exist_ok=True)
        if known is None or len(data) < known["bytes"]:
            (self.folder / name).write_bytes(data)
            self.told[kind] = {
                "file": name, "bytes": len(data), "words": words, "times": (known or {"times": 0})["times"] + 1,
            }  # fmt: skip
        else:
            known["times"] += 1
            if known["times"] & (known["times"] - 1):  # written at powers of two: it may happen at every input
                return
        (self.folder / "findings.json").write_text(json.dumps(self.told, indent=1))


def _too_slow(_: int, __: FrameType | None) -> None:
    raise Slow(f"more than {2 * SECONDS:g} s")


def _is_ours(filename: str) -> bool:
    root = str(Path(sys.modules[_OURS].__file__ or "").resolve().parent)
    return str(Path(filename).resolve()).startswith(root)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def _limit() -> None:
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + ROOM, held + ROOM))


def explore(target: Any, targets: Any, work: Path, seconds: float) -> None:
    """Fuzz one target in this process, which ends with it."""
    import atheris

    corpus = work / "corpus" / target.name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds:
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    watch = Watch(target, targets.VelaturaError, work / "findings" / target.name)
    _limit()

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        draw = random.Random(seed)
        if draw.random() < AFRESH:
            data = draw.choice(target.seeds)
        if draw.random() < (0.6 if target.form == "json" else 0.2):
            return bytes(targets.varied(data, draw, target.form)[:most])
        return bytes(atheris.Mutate(data, most))

    arguments = [
        "fuzz", str(corpus), f"-max_total_time={max(1, round(seconds))}", f"-max_len={SMALL}", "-timeout=120",
        "-rss_limit_mb=6000", "-print_final_stats=0", f"-artifact_prefix={work}/crash-{target.name}-",
    ]  # fmt: skip
    atheris.Setup(arguments, watch, custom_mutator=mutate)
    atheris.Fuzz()


def pump(target: Any, targets: Any, work: Path, seconds: float, seed: int) -> int:
    """Repeat pieces of what is known of a target, and return how many inputs were made."""
    corpus = work / "corpus" / target.name
    known = [path.read_bytes() for path in sorted(corpus.iterdir())] if corpus.is_dir() else []
    known = [*target.seeds, *known]
    watch = Watch(target, targets.VelaturaError, work / "findings" / target.name)
    _limit()
    draw = random.Random(seed)
    ends, made = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        # What a stranger would write to harm begins like what is written in good faith.
        chosen = draw.choice(target.seeds if draw.random() < 0.5 else known)
        watch(targets.pumped(chosen, draw, draw.choice((2000, 20_000, target.largest))))
        made += 1
    return made


def in_child(log: Path, work: Callable[[], int | None]) -> tuple[int, float]:
    """Run something in a process of its own; return how it ended, and the CPU seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = os.fork()
    if child == 0:
        with log.open("ab", buffering=0) as file:
            os.dup2(file.fileno(), 2)
            os.dup2(file.fileno(), 1)
        status = 1
        with suppress(BaseException):
            try:
                made = work()
                os.write(2, f"#{made or 0} PUMPED\n".encode())
                status = 0
            except BaseException:
                os.write(2, traceback.format_exc().encode())
        os._exit(status)
    _, status = os.waitpid(child, 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return os.waitstatus_to_exitcode(status), spent


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seconds", type=float, default=20.0, help="of each target in a round")
    arguments.add_argument(
        "--minutes",
        type=float,
        default=0.0,
        help="rounds go on for so much CPU time, all runs in the folder taken together",
    )
    arguments.add_argument("--target", action="append", help="only this one; may be given again")
    arguments.add_argument("--work", type=Path, default=Path("build/fuzz"), help="the folder of corpus and findings")
    arguments.add_argument("--json", type=Path, help="where the figures go")
    asked = arguments.parse_args()

    import atheris

    with atheris.instrument_imports(include=[_OURS], enable_loader_override=False):
        import targets

    names = asked.target or list(targets.TARGETS)
    asked.work.mkdir(parents=True, exist_ok=True)
    kept = asked.work / "figures.json"
    figures: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    for number in count():
        if number and sum(one["seconds"] for one in figures.values()) >= 60 * asked.minutes:
            break
        # Those that had the least time come first, so that a run that is cut off is made up for by the next.
        for name in sorted(names, key=lambda name: figures.get(name, {}).get("seconds", 0.0)):
            target = targets.TARGETS[name]
            told = figures.setdefault(
                name, {"inputs": 0, "repeated": 0, "seconds": 0.0, "coverage": 0, "features": 0, "crashes": 0}
            )
            log = asked.work / f"{name}.log"
            log.write_bytes(b"")
            share = asked.seconds * (1 - SHARE)
            status, spent = in_child(log, lambda t=target, s=share: explore(t, targets, asked.work, s))
            lines = _DONE.findall(log.read_text("utf-8", "replace"))
            if lines:
                told["inputs"] += max(int(line[0]) for line in lines)
                told["coverage"] = max(told["coverage"], *(int(line[1] or 0) for line in lines))
                told["features"] = max(told["features"], *(int(line[2] or 0) for line in lines))
            told["crashes"] += status != 0
            seed = number + told["inputs"]
            log = asked.work / f"{name}.pump.log"
            log.write_bytes(b"")
            ended, more = in_child(
                log, lambda t=target, s=asked.seconds * SHARE, n=seed: pump(t, targets, asked.work, s, n)
            )
            if made := re.findall(r"#(\d+) PUMPED", log.read_text("utf-8", "replace")):
                told["repeated"] += int(made[-1])
            told["crashes"] += ended != 0
            told["seconds"] = round(told["seconds"] + spent + more, 1)
            found = asked.work / "findings" / name / "findings.json"
            told["findings"] = len(json.loads(found.read_text())) if found.is_file() else 0
            kept.write_text(json.dumps(figures, indent=1))
            print(name, json.dumps(told), "" if status == ended == 0 else f"ended with {status}, {ended}", flush=True)
    whole = {
        key: round(sum(one[key] for one in figures.values()), 1)
        for key in ("inputs", "repeated", "seconds", "crashes", "findings")
    }
    print(json.dumps({"targets": len(figures), **whole}))
    if asked.json:
        asked.json.write_text(json.dumps({"all": {"targets": len(figures), **whole}, **figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
