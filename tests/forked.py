"""The command line in processes that can be killed, forked from one that has imported all: a run begins at once.

A forked process is a process of its own in every respect that counts here: it opens its own files and locks, loads its
own models, and SIGKILL ends it wherever it is.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

LIGHT = ("velatura.cli", "velatura.db.store", "velatura.catalog", "sqlalchemy.dialects.sqlite", "alembic.command")
"""What indexing takes."""
PAINTING = (
    *LIGHT,
    "velatura.retriever", "velatura.refiner.embedders", "velatura.refiner.refine", "velatura.refiner.vlm", "faiss",
    "openai", "openai.types.chat", "openai.resources.chat.completions", "rich.progress",
    "torch", "transformers.models.clip.modeling_clip", "transformers.models.clip.tokenization_clip",
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion", "diffusers.models.unets.unet_2d_condition",
    "diffusers.models.autoencoders.autoencoder_kl", "velatura.generation.sd", "velatura.generation.runs",
    "velatura.painting", "velatura.composing",
)  # fmt: skip
"""What describing, embedding and painting take, too."""
HEAVY = (
    *PAINTING,
    "velatura.eval.extract.run", "velatura.eval.extract.clip", "velatura.eval.gathering", "velatura.eval.report",
    "velatura.eval.stats", "velatura.experiment",
    "scipy.stats", "scipy.special", "scipy.linalg", "matplotlib.figure", "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
)  # fmt: skip
"""What all of it takes."""


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    """Its exit code; negative where a signal ended it."""
    seconds: float
    stdout: str
    stderr: str

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.code == -signal.SIGKILL


class Forge:
    """Runs commands in forked processes; made by `forge`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, *commands: Sequence[object], home: Path, kill: float | None = None, **environment: str) -> Ended:
        """Run commands one after the other in one process, until one fails; see `together`."""
        [ended] = self.together([commands], home=home, kill=kill, **environment)
        return ended

    def together(
        self,
        processes: Sequence[Sequence[Sequence[object]]],
        *,
        home: Path,
        kill: float | None = None,
        **environment: str,
    ) -> list[Ended]:
        """Run several processes at once, each of commands one after the other, and wait for all.

        Args:
            processes: The commands of each, as a person types them behind `velatura`.
            home: The current folder, which also holds settings and catalogue.
            kill: SIGKILL ends what runs after so many seconds.
            **environment: More variables.
        """
        asked = {
            "processes": [[[str(word) for word in command] for command in commands] for commands in processes],
            "home": str(home), "kill": kill, "environment": environment,
        }  # fmt: skip
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(asked) + "\n")
        stdin.flush()
        return [Ended(**told) for told in json.loads(stdout.readline())]


@contextmanager
def forge(modules: Sequence[str] = HEAVY, *, nice: int = 0) -> Iterator[Forge]:
    """Start the process that imports modules and is forked from then on."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-W", "ignore", __file__, str(nice), *modules]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    try:
        yield Forge(process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.kill()  # it has nothing to put in order, and much to take down
        process.wait()
        process.stdin.close()
        process.stdout.close()


# ---------------------------------------------------------------- in the process that is forked


def _serve(nice: int, modules: Sequence[str]) -> None:
    os.nice(nice)
    for name in modules:
        import_module(name)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_together(**json.loads(line))) + "\n")
        sys.stdout.flush()


def _together(
    processes: list[list[list[str]]], home: str, kill: float | None, environment: Mapping[str, str]
) -> list[dict[str, Any]]:
    began = time.perf_counter()
    running = {place: _Child(commands, home, environment) for place, commands in enumerate(processes)}
    told: dict[int, dict[str, Any]] = {}
    waiting = dict(running)
    while waiting:
        left = None if kill is None else max(0.0, began + kill - time.perf_counter())
        ready, _, _ = select.select([child.ends for child in waiting.values()], [], [], left)
        if not ready:
            for child in waiting.values():
                os.kill(child.pid, signal.SIGKILL)
            kill = None
        for place, child in [*waiting.items()]:
            if child.ends in ready:
                told[place] = child.ended(time.perf_counter() - began)
                del waiting[place]
    return [told[place] for place in running]


class _Child:
    def __init__(self, commands: list[list[str]], home: str, environment: Mapping[str, str]) -> None:
        self.files = [os.memfd_create(name) for name in ("stdout", "stderr")]
        self.ends, mine = os.pipe()  # readable at the end, which closes the other side, however it comes
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                os.close(self.ends)
                code = _run(commands, home, environment, *self.files)
            finally:
                os._exit(code)
        os.close(mine)

    def ended(self, seconds: float) -> dict[str, Any]:
        _, status = os.waitpid(self.pid, 0)
        os.close(self.ends)
        texts = []
        for file in self.files:
            os.lseek(file, 0, os.SEEK_SET)
            with os.fdopen(file, encoding="utf-8", errors="replace") as stream:
                texts.append(stream.read())
        code = os.waitstatus_to_exitcode(status)
        return {"code": code, "seconds": seconds, "stdout": texts[0], "stderr": texts[1]}


def _run(commands: list[list[str]], home: str, environment: Mapping[str, str], stdout: int, stderr: int) -> int:
    null = os.open(os.devnull, os.O_RDONLY)
    for given, taken in ((null, 0), (stdout, 1), (stderr, 2)):
        os.dup2(given, taken)
    sys.stdin, sys.stdout, sys.stderr = (open(number, mode) for number, mode in ((0, "r"), (1, "w"), (2, "w")))  # noqa: PTH123, SIM115
    os.chdir(home)
    os.environ.update({"VELATURA_HOME": home, **environment})
    from velatura.cli import main

    code: object = 0
    try:
        for command in commands:
            sys.argv = ["velatura", *command]
            try:
                main()
            except SystemExit as end:
                code = end.code
            if code:
                break
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
    return code if isinstance(code, int) else int(code is not None)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), sys.argv[2:])
