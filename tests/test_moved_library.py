"""A library whose folder gets another name keeps its numbers, descriptions and vectors."""

from __future__ import annotations

from pathlib import Path

from velatura import Filter, Velatura
from velatura.playground.sample import make_adapter, make_checkpoint
from velatura.records import Refinement


def test_renamed_root_keeps_numbers_and_leaves_no_ghosts(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint")
    old, new = tmp_path / "loras", tmp_path / "library" / "loras"
    old.mkdir()
    for seed, name in enumerate(("fox", "ink", "owl")):
        make_adapter(old / f"{name}.safetensors", checkpoint, seed=seed, metadata={})
    with Velatura.open(db=str(tmp_path / "c.db")) as velatura:
        velatura.index(old)
        before = {adapter.record.file_name: adapter.id for adapter in velatura.store.adapters([1, 2, 3])}
        told = Refinement(description="wet brush", writer="me")
        velatura.store.put_refinements([(before["ink.safetensors"], told, "o")])
        new.parent.mkdir()
        old.rename(new)
        report = velatura.index(new)
        assert (report.moved, report.added) == (3, 0)
        present = velatura.store.adapters(velatura.store.select(Filter()))
        assert {adapter.record.file_name: adapter.id for adapter in present} == before
        assert {Path(str(adapter.record.path)).parent for adapter in present} == {new.resolve()}
        assert velatura.store.adapter(before["ink.safetensors"]).refinement.description == "wet brush"
        assert velatura.store.stats().missing == 0
        assert velatura.index(new).unchanged == 3


def test_copy_of_a_library_is_no_move(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        make_adapter(tmp_path / folder / "fox.safetensors", checkpoint, seed=1, metadata={})
    with Velatura.open(db=str(tmp_path / "c.db")) as velatura:
        velatura.index(tmp_path / "a")
        report = velatura.index(tmp_path / "b")
        assert (report.moved, report.added) == (0, 1)
        assert len(velatura.store.select(Filter())) == 2
        [group] = velatura.store.duplicates()
        assert "tensors" in group.why
