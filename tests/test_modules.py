"""Every module of the installed package can be imported."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import pytest

import velatura

NAMES = [found.name for found in pkgutil.walk_packages(velatura.__path__, "velatura.") if "__main__" not in found.name]


def test_all_parts_are_there() -> None:
    tops = {name.split(".")[1] for name in NAMES}
    assert {"catalog", "composer", "db", "eval", "generation", "playground", "refiner", "retriever", "cli"} <= tops


@pytest.mark.parametrize("name", [name for name in NAMES if ".migrations" not in name])
def test_module_can_be_imported(name: str) -> None:
    import_module(name)
