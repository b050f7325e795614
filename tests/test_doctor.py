"""The doctor finds what is broken and says what to do."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

import velatura.doctor as module
from velatura.doctor import Finding, examine
from velatura.settings import load_settings


def finding(what: str, **settings: object) -> Finding:
    return next(found for found in examine(load_settings(**settings)) if found.what == what)


def test_torchvision_that_does_not_fit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    found = finding("torchvision")
    assert found.state == "broken"
    assert "pip uninstall torchvision" in found.detail


def test_every_extra_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise module.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(module.importlib.metadata, "version", absent)
    named = {found.detail for found in module._packages()}
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].keys() - {"all", "dev", "docs"}
    assert named == {f"pip install 'velatura[{extra}]'" for extra in extras}


def test_missing_catalogue_is_no_fault() -> None:
    found = finding("catalogue")
    assert found.state == "missing"
    assert "velatura index" in found.detail


def test_file_that_is_no_catalogue_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"not a database, and long enough to be looked at" * 100)
    assert finding("catalogue", db=str(path)).state == "broken"


def test_embedder_that_is_nowhere_limits_search() -> None:
    found = finding("embedder", embedder="nobody/no-such-model")
    assert found.state == "missing"
    assert "words alone" in found.detail


def test_this_installation_is_whole() -> None:
    assert {found.what: found.state for found in examine(load_settings()) if found.state == "broken"} == {}
