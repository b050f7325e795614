"""A manifest: what can be told apart is measured, and what would mislead is refused or told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from velatura.errors import InputError
from velatura.eval.manifest import Manifest, manifest_of, prompt_id, read_manifest, write_manifest
from velatura.eval.records import CellName, Sample, Worn

FOX = Sample(prompt_id="fox", prompt="a fox", method="base", image="fox.png", guidance=2.0)


def written(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_two_fields_are_enough(tmp_path: Path) -> None:
    file = written(tmp_path / "m.jsonl", {"image": "a.png", "prompt": "a fox"}, {"image": "b.png", "prompt": "a fox"})
    manifest = read_manifest(file)
    assert [(sample.index, sample.method) for sample in manifest.samples] == [(0, "images"), (1, "images")]
    assert {sample.prompt_id for sample in manifest.samples} == {prompt_id("a fox")}
    assert manifest.path(manifest.samples[1]) == tmp_path / "b.png"


def test_the_names_of_other_tools_are_understood(tmp_path: Path) -> None:
    line = {"file_name": "a.png", "text": "a fox", "cfg_scale": 7, "width": 512}
    [sample] = read_manifest(written(tmp_path / "metadata.jsonl", line).parent).samples
    assert (sample.image, sample.prompt, sample.guidance) == ("a.png", "a fox", 7.0)


def test_a_run_of_ours_can_be_measured_and_what_failed_is_passed_over(tmp_path: Path) -> None:
    adapter = {"title": "Fox", "weight": 0.8, "file": "fox.safetensors"}
    done = {"state": "done", "prompt": "a fox", "seed": 3, "file": "a.png", "sha256": "0" * 64, "adapters": [adapter]}
    failed = {"state": "failed", "prompt": "an otter", "seed": 3, "error": "no"}
    [sample] = read_manifest(written(tmp_path / "manifest.jsonl", done, failed), method="ours").samples
    assert (sample.method, sample.seed, sample.adapters) == ("ours", 3, (Worn(title="Fox", weight=0.8),))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    rich = replace(
        FOX, index=1, seed=5, sha256="a" * 64, category="animals", mask=(True, False), timings=(("paint", 0.5),),
        adapters=(Worn(title='<b>"x"</b>\u2028', weight=-0.5),), image="pictures/ö.png",
    )  # fmt: skip
    file = write_manifest([rich, FOX], tmp_path / "deep" / "samples.jsonl")
    assert read_manifest(file).samples == (FOX, rich)
    assert [path.name for path in file.parent.iterdir()] == ["samples.jsonl"]


@pytest.mark.parametrize(
    "name", ["../x.png", "/etc/passwd", "a/../../x.png", "C:\\x.png", "\\\\host\\x.png", "a\0.png"]
)
def test_a_picture_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="outside"):
        read_manifest(written(tmp_path / "m.jsonl", {"image": name, "prompt": "a fox"}))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ({"prompt": "a fox"}, 'line 1: there is no "image"'),
        ({"image": "a.png"}, 'line 1: there is no "prompt"'),
        ({"image": "a.png", "prompt": "a fox", "guidance": "high"}, "guidance"),
        ({"image": "a.png", "prompt": "a fox", "adapters": [{"title": "x"}]}, "adapters"),
        (["a.png"], "not a JSON object"),
        *(
            ({"image": "a.png", "prompt": "a fox", **field}, f"line 1: {next(iter(field))} .*")
            for field in (
                {"method": ""},
                {"method": " "},
                {"method": "m" * 501},
                {"prompt_id": "p" * 501},
                {"guidance": -1},
                {"guidance": 1001},
                {"guidance": "inf"},
                {"guidance": "nan"},
                {"best_of": 0},
                {"index": -1},
                {"timings": {"paint": -0.5}},
                {"timings": [["paint", "inf"]]},
                {"sha256": ""},
                {"sha256": "0" * 63},
                {"sha256": "g" * 64},
            )
        ),
    ],
)
def test_a_line_that_is_no_sample_is_named(tmp_path: Path, line: Any, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        read_manifest(written(tmp_path / "m.jsonl", line))
    assert "\n" not in str(caught.value)


def test_the_longest_and_the_strongest_are_taken(tmp_path: Path) -> None:
    edge = {"prompt_id": "p" * 500, "method": "m" * 500, "sha256": "A" * 64, "timings": {"paint": 0}}
    lines = [{"image": "a.png", "prompt": "a fox", "guidance": guidance, **edge} for guidance in (0, 1000)]
    assert len(read_manifest(written(tmp_path / "m.jsonl", *lines)).samples) == 2


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"image": "a.png", "prompt": "x", "guidance": NaN}', "\xff"])
def test_no_text_at_all_breaks_the_reader(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.jsonl").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError):
        read_manifest(tmp_path / "m.jsonl")


def test_a_folder_without_a_manifest_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="write one line of JSON a picture"):
        read_manifest(tmp_path)


def test_samples_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two pictures of base @ 2 for sample 0"):
        manifest_of([FOX, replace(FOX, image="other.png")], tmp_path)


def test_one_id_of_two_prompts_is_refused_so_no_prompts_are_merged(tmp_path: Path) -> None:
    long = "a fox " * 40
    one, other = long + "by day", long + "by night"
    assert prompt_id(one) != prompt_id(other)
    with pytest.raises(InputError, match="two different prompts"):
        manifest_of([FOX, replace(FOX, index=1, prompt="an otter")], tmp_path)


def test_the_best_of_eight_is_never_compared_with_the_best_of_two(tmp_path: Path) -> None:
    of_two = replace(FOX, best_of=2, selector="clip")
    of_eight = replace(FOX, method="stylus", best_of=8, selector="clip")
    with pytest.raises(InputError, match="chosen from more"):
        manifest_of([of_two, of_eight], tmp_path)
    [warning] = manifest_of([of_two, replace(of_eight, best_of=2)], tmp_path).warnings()
    assert "best of 2 by clip" in warning


def test_unequal_cells_jpegs_and_unpaired_seeds_are_told(tmp_path: Path) -> None:
    samples = [replace(FOX, image="a.jpg", seed=1), replace(FOX, index=1, seed=2), replace(FOX, method="s", seed=9)]
    warnings = "\n".join(manifest_of(samples, tmp_path).warnings())
    for said in ("unequal size", "1 pictures are JPEG", "1 pairs have different seeds"):
        assert said in warnings
    assert manifest_of([FOX], tmp_path).warnings() == ()


def test_the_digest_changes_with_what_is_measured(tmp_path: Path) -> None:
    def digest(*samples: Sample) -> str:
        return Manifest(samples=samples, folder=tmp_path).digest

    assert digest(FOX) == digest(replace(FOX, seed=4))
    assert len({digest(FOX), digest(replace(FOX, sha256="b" * 64)), digest(FOX, replace(FOX, index=1))}) == 3


def test_cells_are_methods_at_guidances(tmp_path: Path) -> None:
    other = replace(FOX, guidance=None)
    cells = manifest_of([FOX, other], tmp_path).cells()
    assert set(cells) == {CellName(method="base", guidance=2.0), CellName(method="base")}
    assert [str(name) for name in cells] == ["base", "base @ 2"]
