"""The page's own code, run without a browser: what stands in its address or its storage cannot break it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from survey_raters import survey_of

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="Node.js is not installed")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    survey_of(folder, "pairs")
    return folder / "survey" / "survey.html"


def run(page: Path, *, address: str = "", stored: object = None) -> dict:
    """Open the page; return whether it begins anew, and the form that it proposes."""
    kept = "" if stored is None else json.dumps(stored)
    command = [str(NODE), str(Path(__file__).with_name("survey_page.js")), str(page), address, kept]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("address", "form"),
    [("", ""), ("#2", "2"), ("#%", ""), ("#%E0%A4%A", ""), ("#constructor", ""), ("#__proto__", "")],
)
def test_address_proposes_a_form_or_none(made: Path, address: str, form: str) -> None:
    assert run(made, address=address) == {"starts": True, "form": form}


KEPT = {"rater": "anna", "form": "1", "keys": True, "place": 2, "seen": 2, "answers": {}, "comment": ""}


def test_what_was_kept_is_gone_on_with(made: Path) -> None:
    assert not run(made, stored=KEPT)["starts"]


@pytest.mark.parametrize(
    "change",
    [
        {"form": "constructor"},
        {"form": "__proto__"},
        {"form": ["1"]},
        {"place": -1},
        {"place": 10_000},
        {"place": 1.5},
        {"seen": None},
        {"rater": 7},
        {"answers": None},
        {"answers": "all"},
    ],
)
def test_what_was_kept_and_cannot_be_is_begun_anew(made: Path, change: dict) -> None:
    assert run(made, stored=KEPT | change)["starts"]


def test_answers_that_were_kept_and_fit_no_task_are_begun_anew(made: Path) -> None:
    answers = {f"t{number}": {"value": 9, "seconds": None, "tags": 0} for number in range(1, 50)}
    assert run(made, stored=KEPT | {"answers": answers})["starts"]
