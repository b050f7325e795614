"""Running commands in the tests' own process: as `main` runs them, and in a tenth of the time."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import typer.main

from velatura.cli import main

_BUILT: Final = cache(typer.main.get_command)
"""The commands, built once in a process and not for each run: that takes a tenth of a second, and most runs less."""


@dataclass(frozen=True)
class Done:
    """What a command printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The answer of a command that went well."""
        assert self.returncode == 0, self.stderr
        return json.loads(self.stdout)


def velatura(*arguments: object, home: Path, stdin: str = "", **environment: str) -> Done:
    """Run a command in a person's folder, which also holds the settings and the catalogue."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setattr(typer.main, "get_command", _BUILT)
        for name, value in {"VELATURA_HOME": str(home), "COLUMNS": "200", **environment}.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["velatura", *map(str, arguments)])
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        with pytest.raises(SystemExit) as ended:
            main()
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())
