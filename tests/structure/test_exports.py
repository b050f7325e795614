"""The public names exist, are sorted, and cost nothing until they are used."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import velatura

STAGES = ["catalog", "composer", "db", "generation", "refiner", "retriever"]


def test_public_names_are_sorted_and_true() -> None:
    names = [name for name in velatura.__all__ if name != "__version__"]
    assert names == sorted(names)
    for name in names:
        assert getattr(velatura, name).__name__ == name


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        velatura.Nothing  # noqa: B018


@pytest.mark.parametrize("stage", STAGES)
def test_stage_exports_what_it_names(stage: str) -> None:
    module = importlib.import_module(f"velatura.{stage}")
    assert module.__doc__
    for name in getattr(module, "__all__", []):
        assert hasattr(module, name)


@pytest.mark.parametrize("module", ["velatura", "velatura.records", "velatura.catalog", "velatura.cli"])
def test_import_is_light(module: str) -> None:
    heavy = "torch", "numpy", "faiss", "diffusers", "transformers", "alembic"
    code = f"import sys, {module}; print([n for n in {heavy!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
