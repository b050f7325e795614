"""Arrows point down: no stage imports another, and only the pipeline knows them all."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

BASE = {
    "errors",
    "records",
    "families",
    "syntax",
    "words",
    "fenced",
    "probe_rules",
    "categories",
    "answers",
    "air",
    "looks",
    "parameters",
    "addresses",
    "whole_file",
    "only_one",
}
MIDDLE = BASE | {"protocols", "settings", "plain", "llm", "endpoint", "spending", "public_http"}
STAGES = {"catalog", "db", "composer", "generation", "eval"}

ALLOWED: dict[str, set[str]] = {
    **dict.fromkeys(BASE, BASE),
    "protocols": BASE,
    "settings": BASE,
    "plain": BASE,
    "throttle": BASE,
    "spending": BASE,
    "endpoint": BASE | {"throttle"},
    "fleet": BASE | {"endpoint", "spending"},
    "public_http": BASE,
    "llm": BASE | {"endpoint", "fleet", "spending"},
    **dict.fromkeys(STAGES, MIDDLE),
    "refiner": MIDDLE | {"db"},
    "dataset": MIDDLE | {"catalog", "db", "refiner"},
    "retriever": MIDDLE | {"db"},
    "resolve": MIDDLE | STAGES,
    "wiring": MIDDLE | STAGES | {"refiner"},
    "composing": MIDDLE | STAGES | {"resolve", "wiring"},
    "engines": MIDDLE | STAGES | {"refiner", "wiring"},
    "painting": MIDDLE | STAGES | {"engines", "wiring"},
    "probes": MIDDLE | STAGES | {"painting", "wiring"},
    "pipeline": MIDDLE
    | STAGES
    | {"refiner", "retriever", "resolve", "gates", "wiring", "composing", "engines", "painting", "probes"},
    "methods": MIDDLE | STAGES | {"pipeline", "composing"},
    "experiment": MIDDLE | STAGES | {"pipeline", "methods", "painting"},
    "gates": MIDDLE | STAGES,
    "fetching": MIDDLE | {"catalog", "db", "gates"},
    "server": MIDDLE | STAGES | {"refiner", "retriever", "pipeline", "painting", "comparison", "resolve", "gates"},
    "comparison": MIDDLE | STAGES | {"pipeline", "gates"},
    "comparison_sheet": MIDDLE | STAGES | {"comparison"},
    "timed_stages": MIDDLE | STAGES | {"pipeline"},
    "playground": MIDDLE | STAGES | {"refiner", "retriever", "pipeline", "methods", "experiment", "timed_stages"},
    "doctor": MIDDLE | STAGES | {"refiner", "retriever"},
    "comfyui": MIDDLE | STAGES | {"pipeline"},
    "settings_file": BASE,
    "watcher": MIDDLE | STAGES | {"refiner", "pipeline"},
    "commands": MIDDLE
    | STAGES
    | {
        "comparison",
        "comparison_sheet",
        "dataset",
        "doctor",
        "engines",
        "experiment",
        "fetching",
        "gates",
        "methods",
        "pipeline",
        "probes",
    }
    | {"refiner", "resolve", "retriever", "server", "settings_file", "timed_stages", "watcher", "wiring"},
    "cli": MIDDLE | STAGES | {"commands", "refiner", "retriever", "pipeline", "playground", "doctor"},
    "__main__": {"cli"},
    "__init__": MIDDLE | {"pipeline"},
}


def modules() -> list[Path]:
    folders = [ROOT / name for name in ALLOWED if (ROOT / name).is_dir()]
    return sorted([*ROOT.glob("*.py"), *(path for folder in folders for path in folder.rglob("*.py"))])


def part_of(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def imported_parts(path: Path) -> set[str]:
    """Return the parts of the package that a module imports, at the top or inside its functions."""
    depth = len(path.relative_to(ROOT).parts) - 1
    parts: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == depth + 1:
            parts |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
        else:
            named = [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            named += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            parts |= {"an absolute import of velatura" for name in named if name.split(".")[0] == "velatura"}
    return parts - {part_of(path), "__version__"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_module_imports_only_what_lies_below_it(path: Path) -> None:
    assert imported_parts(path) <= ALLOWED[part_of(path)]


def test_the_check_sees_arrows_that_point_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    bad = tmp_path / "catalog" / "bad.py"
    bad.parent.mkdir()
    bad.write_text("def read():\n    from ..db import Store\n    from .. import pipeline\n    import velatura.cli\n")
    assert imported_parts(bad) - ALLOWED["catalog"] == {"db", "pipeline", "an absolute import of velatura"}
