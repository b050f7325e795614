"""What every test may ask for."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import velatura

ROOT = Path(__file__).resolve().parent.parent

# A shell has what it runs in the background ignore interrupts, and so would the commands that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

WHEEL = os.environ.get("VELATURA_WHEEL")
if WHEEL and not Path(velatura.__file__).resolve().is_relative_to(Path(WHEEL).resolve()):
    raise RuntimeError(f"the tests are to run against the wheel in {WHEEL}, and found {velatura.__file__}")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data beside the repository (or named by VELATURA_REAL_DATA)."""
    folder = Path(os.environ.get("VELATURA_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there")
    return folder


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from the person's own catalogue, settings and network."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith("VELATURA_") and name != "VELATURA_REAL_DATA":
            monkeypatch.delenv(name)
    monkeypatch.setenv("VELATURA_HOME", str(home))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for secret in ("CIVITAI_API_TOKEN", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(secret, raising=False)
