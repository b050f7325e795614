"""The wheel holds every folder that is part of the package, and nothing else."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NOT_SHIPPED = {"tests", "benchmarks", "docs", "build", "dist", "demo"}


def test_every_folder_with_modules_is_listed() -> None:
    folders = {
        path.parent.relative_to(ROOT)
        for path in ROOT.rglob("*.py")
        if path.relative_to(ROOT).parts[0] not in NOT_SHIPPED
        and not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
    }
    expected = sorted(".".join(("velatura", *folder.parts)) for folder in folders)
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == expected


def test_every_folder_is_a_package() -> None:
    for name in PROJECT["tool"]["setuptools"]["packages"]:
        folder = ROOT.joinpath(*name.split(".")[1:])
        assert (folder / "__init__.py").is_file(), f"{name} has no __init__.py"


def test_no_module_hides_one_of_the_standard_library() -> None:
    own = {path.stem for path in ROOT.glob("*.py")} | {path.name for path in ROOT.iterdir() if path.is_dir()}
    assert not own & set(sys.stdlib_module_names)


def test_package_is_typed() -> None:
    assert (ROOT / "py.typed").is_file()


def test_constraints_pin_every_direct_dependency() -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    wanted = [*PROJECT["project"]["dependencies"]]
    for extra in PROJECT["project"]["optional-dependencies"].values():
        wanted += [item for item in extra if not item.startswith("velatura")]
    names = {item.split(">=")[0].split("[")[0].strip().lower().replace("_", "-") for item in wanted}
    pinned = {name.lower().replace("_", "-") for name in pins}
    assert names - {"setuptools"} <= pinned
    assert pins["torch"] == "2.13.0"
