"""Every example in a docstring is true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import velatura

SKIPPED = ("velatura.tests", "velatura.benchmarks", "velatura.__main__", "velatura.build", "velatura.db.migrations")
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(velatura.__path__, "velatura.")
    if not module.name.startswith(SKIPPED)
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    count = sum(len(test.examples) for name in MODULES for test in finder.find(importlib.import_module(name)))
    assert count > 20
