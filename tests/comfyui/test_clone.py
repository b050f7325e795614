"""The repository cloned into ComfyUI's `custom_nodes` works as it lies there, with the few packages it asks for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from velatura.playground.library import find_weights

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the nodes of a clone said, in a process that cannot import the installed package."""
    folder = tmp_path_factory.mktemp("ComfyUI")
    clone = folder / "custom_nodes" / "velatura-main.1"  # a dot, as folders of releases have
    clone.parent.mkdir()
    clone.symlink_to(ROOT, target_is_directory=True)
    loras = folder / "models" / "loras"
    (loras / "glazes").mkdir(parents=True)
    for name in ("rocket", "glass_style", "ghost"):
        shutil.copy(find_weights() / "loras" / f"{name}.safetensors", loras / "glazes")
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "VELATURA_HOME": str(folder / "home")}
    done = subprocess.run(
        [sys.executable, str(TESTS / "comfyui_clone.py"), str(clone), str(loras)],
        capture_output=True, text=True, env=environment, cwd=folder, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_comfyui_finds_the_nodes(told: dict[str, Any]) -> None:
    assert told["names"] == {
        "VelaturaChooseLoras": "Velatura: Choose LoRAs",
        "VelaturaLoadLoraStack": "Velatura: Load LoRA Stack",
        "VelaturaIndexLoras": "Velatura: Index LoRA Folders",
    }
    assert told["inputs"]["VelaturaChooseLoras"] == ["optional", "required"]
    assert not told["web"]


def test_start_is_not_slowed(told: dict[str, Any]) -> None:
    assert told["heavy"] == []


def test_nodes_index_choose_and_load(told: dict[str, Any]) -> None:
    assert "3 new" in told["report"]
    names = [name for name, _, _ in told["stack"]]
    assert names
    assert all(name.startswith(f"glazes{os.sep}") for name in names)
    assert all(model == clip for _, model, clip in told["stack"])
    assert told["prompt"].startswith("a rocket, glass style")
    assert told["model"] == "+".join(["model", *(Path(name).name for name in names)])
    assert told["clip"].startswith("clip+")
    assert "rocket" in told["reasons"]


def test_nothing_else_is_needed(told: dict[str, Any]) -> None:
    assert told["ours"] == []


def test_requirements_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    known = {*project["dependencies"], *(item for extra in project["optional-dependencies"].values() for item in extra)}
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert set(wanted) <= known
    names = {re.split(r"[^\w-]", line)[0] for line in wanted}
    assert not names & {"torch", "numpy", "pillow", "safetensors", "transformers"}  # ComfyUI's own, in its versions
