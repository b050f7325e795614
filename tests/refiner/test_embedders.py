"""Where the embedder's weights come from, and what is never opened."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from velatura.errors import InputError
from velatura.refiner.embedders import MINILM, SentenceEmbedder, locate


def test_packaged_model_gives_unit_rows_and_near_texts_are_near() -> None:
    embedder = SentenceEmbedder(MINILM, device="cpu")
    rows = embedder.embed(["a red fox in the snow", "a fox, winter, snow", "quarterly tax report", "\ud800"])
    assert rows.shape == (4, 384)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.3


def test_folder_with_only_a_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({}))
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match="pickles are never opened"):
        SentenceEmbedder(str(tmp_path))


def test_revision_follows_the_weights_and_not_the_place(tmp_path: Path) -> None:
    model = locate(MINILM)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for file in ("config.json", "model.safetensors"):
            shutil.copy(model / file, tmp_path / name / file)
    first = SentenceEmbedder(str(tmp_path / "a")).revision
    assert SentenceEmbedder(str(tmp_path / "b")).revision == first
    with (tmp_path / "b" / "model.safetensors").open("r+b") as file:
        file.seek(-100, 2)
        file.write(b"other weights")
    assert SentenceEmbedder(str(tmp_path / "b")).revision != first


def test_model_that_is_nowhere_says_what_to_do() -> None:
    with pytest.raises(InputError, match="name a folder that holds it"):
        SentenceEmbedder("nobody/nothing")


def test_resident_process_embeds_one_text_as_it_embeds_many() -> None:
    """By torch: the same direction to the fourth decimal, and the very same as among many."""
    texts = [f"a fox in the snow, number {n}" for n in range(40)]
    staying = SentenceEmbedder(device="cpu", resident=True)
    alone = np.concatenate([staying.embed([text]) for text in texts[:3]])
    exact = np.concatenate([SentenceEmbedder(device="cpu").embed([text]) for text in texts[:3]])
    assert (alone * exact).sum(axis=1).min() > 0.9999
    assert (alone * SentenceEmbedder(device="cpu").embed(texts)[:3]).sum(axis=1).min() > 0.9999
