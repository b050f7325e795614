"""A lock that one process has, and loses with its life."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import velatura

from velatura.errors import InputError
from velatura.only_one import only_one

HOLD = """
import sys, time
from pathlib import Path
from velatura.only_one import only_one
with only_one(Path(sys.argv[1]), "taken"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_what_another_process_has_is_refused_until_it_dies(tmp_path: Path):
    (tmp_path / "loras").mkdir()
    (tmp_path / "loras" / "fox.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    velatura("index", "loras", "--no-embed", home=tmp_path)
    lock = tmp_path / "catalogue.db.refine.lock"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(InputError, match="taken"), only_one(lock, "taken"):
        pass
    refused = velatura("refine", "--describer", "card", "--no-embed", home=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    process.kill()
    process.communicate()
    with only_one(lock, "taken"):
        pass
    assert "another process" not in velatura("refine", "--describer", "card", "--no-embed", home=tmp_path).stderr


def test_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be written to"), only_one(tmp_path / "none" / "lock", "taken"):
        pass
