"""Runs: a folder, a manifest, a contact sheet; what is there is not painted again, and a kill loses one picture."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from run_painter import Painter, asked

import velatura.generation.runs.manifest as manifests
from velatura.errors import BackendError, Cancelled, InputError
from velatura.generation import read_story, request_of, save_png
from velatura.generation.runs import Entry, read_manifest, run, write_sheets
from velatura.generation.runs.digest import request_digest, without_folders
from velatura.generation.runs.manifest import open_manifest
from velatura.protocols import Watch
from velatura.records import Composition, Control, Hashes, Picture, Start

SIX = [asked(prompt, seed=seed) for prompt in ("a fox", "an otter, swimming") for seed in (0, 1, 2)]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def content(folder: Path) -> dict[str, bytes]:
    """What a run wrote, but for how long it took."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.jsonl"}
    told = [{name: value for name, value in line.items() if name != "seconds"} for line in lines(folder)]
    return {**files, "manifest.jsonl": json.dumps(told).encode()}


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


# ---------------------------------------------------------------------------------- what a run leaves


def test_run_leaves_pictures_with_stories_a_manifest_and_a_sheet(tmp_path: Path) -> None:
    adapter = tmp_path / "loras" / "ink.safetensors"
    adapter.parent.mkdir()
    adapter.write_bytes(b"ink")
    request = asked("a fox, inked", (adapter, 0.7), seed=5)
    report = run(Painter(), [request, *SIX], tmp_path / "run")
    assert (report.painted, report.kept, report.failed, report.others) == (7, 0, (), 0)
    assert [path.name for path in report.sheets] == ["contact.png"]
    first = lines(tmp_path / "run")[0]
    picture = tmp_path / "run" / first["file"]
    assert picture == report.pictures[0]
    assert first["file"].startswith("a-fox-inked-5-")
    assert first["sha256"] == hashlib.sha256(picture.read_bytes()).hexdigest()
    assert (first["state"], first["prompt"], first["seed"]) == ("done", "a fox, inked", 5)
    assert first["adapters"] == [
        {"title": "ink", "weight": 0.7, "file": "ink.safetensors", "sha256": hashlib.sha256(b"ink").hexdigest()}
    ]
    assert request_of(read_story(picture)).seed == 5
    assert str(tmp_path) not in (tmp_path / "run" / "manifest.jsonl").read_text(encoding="utf-8")


def test_manifest_has_the_order_of_the_requests_whatever_that_of_painting(tmp_path: Path) -> None:
    run(Painter(), SIX, tmp_path)
    assert [(line["prompt"], line["seed"]) for line in lines(tmp_path)] == [
        (request.composition.prompt, request.seed) for request in SIX
    ]


def test_same_requests_give_the_same_bytes_in_another_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        run(Painter(), SIX, tmp_path / name)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_requests_that_are_the_same_are_painted_once(tmp_path: Path) -> None:
    painter = Painter()
    report = run(painter, [*SIX, *SIX[:2]], tmp_path)
    assert (len(painter.painted), len(report.entries)) == (6, 6)


def test_no_requests_leave_an_empty_manifest(tmp_path: Path) -> None:
    report = run(Painter(), [], tmp_path)
    assert (report.entries, report.sheets) == ((), ())
    assert read_manifest(tmp_path) == []


def test_hostile_prompts_stay_in_the_folder_and_in_their_line(tmp_path: Path) -> None:
    prompts = ["../../etc/passwd", "a\nb\u2028c", "half \ud83d", "", "<lora:x:1>", "狐" * 300]
    report = run(Painter(), [asked(prompt) for prompt in prompts], tmp_path / "run")
    assert {path.name for path in tmp_path.iterdir()} == {"run"}
    assert [entry.prompt for entry in read_manifest(tmp_path / "run")] == prompts
    assert run(Painter(), [asked(prompt) for prompt in prompts], tmp_path / "run").kept == len(prompts)
    assert report.painted == len(prompts)


def test_hub_names_are_told_whole_and_paths_bare(tmp_path: Path) -> None:
    models = ["owner/name", "owner/name/in it/model.safetensors", str(tmp_path / "mine"), "~/mine", ""]
    run(Painter(), [asked(model=model, seed=seed) for seed, model in enumerate(models)], tmp_path / "run")
    told = ["owner/name", "owner/name/in it/model.safetensors", "mine", "mine", None]
    assert [line.get("model") for line in lines(tmp_path / "run")] == told


# ---------------------------------------------------------------------------------- going on


def test_what_is_there_is_not_painted_again(tmp_path: Path) -> None:
    run(Painter(), SIX[:4], tmp_path)
    before = content(tmp_path)
    painter = Painter()
    report = run(painter, SIX[:4], tmp_path)
    assert (report.painted, report.kept, painter.calls) == (0, 4, [])
    assert content(tmp_path) == before


def test_requests_are_added_to_those_of_an_earlier_run(tmp_path: Path) -> None:
    run(Painter(), SIX[:2], tmp_path)
    report = run(Painter(), SIX[1:], tmp_path)
    assert (report.painted, report.kept, report.others) == (4, 1, 1)
    assert [line["seed"] for line in lines(tmp_path)] == [0, 1, 2, 0, 1, 2]


def test_deleted_and_changed_pictures_are_painted_again(tmp_path: Path) -> None:
    pictures = run(Painter(), SIX, tmp_path).pictures
    before = content(tmp_path)
    pictures[1].unlink()
    pictures[4].write_bytes(pictures[4].read_bytes()[:-9])
    painter = Painter()
    assert run(painter, SIX, tmp_path).painted == 2
    assert content(tmp_path) == before


def test_what_is_left_to_the_backend_and_the_same_by_name_are_one_picture(tmp_path: Path) -> None:
    open_, named = asked(steps=None), asked(steps=2)
    assert run(Painter(), [open_], tmp_path).painted == 1
    report = run(Painter(), [named, open_], tmp_path)
    assert (report.painted, report.kept, len(report.entries)) == (0, 1, 1)
    assert run(Painter(steps=3), [open_, named], tmp_path).painted == 1
    assert request_of(read_story(run(Painter(steps=3), [open_], tmp_path).pictures[0])).steps == 3


def test_what_only_the_backend_knows_makes_another_picture(tmp_path: Path) -> None:
    run(Painter(), SIX[:2], tmp_path)
    report = run(Painter(stamp="float16"), SIX[:2], tmp_path)
    assert (report.painted, report.kept, report.others) == (2, 0, 2)
    for stamp in ("", "float16"):
        assert run(Painter(stamp=stamp), SIX[:2], tmp_path).kept == 2


def test_each_request_is_completed_once(tmp_path: Path) -> None:
    requests = [*SIX, asked("wrong"), asked("broken")]
    run(Painter(), SIX[:2], tmp_path)
    painter = Painter()
    run(painter, requests, tmp_path)
    assert painter.completed == [request.composition.prompt for request in requests]


def test_overwrite_paints_all_again(tmp_path: Path) -> None:
    run(Painter(), SIX, tmp_path)
    assert run(Painter(), SIX, tmp_path, overwrite=True).painted == 6
    assert len(lines(tmp_path)) == 6


def test_manifest_that_is_cut_anywhere_goes_on_from_its_last_whole_line(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(Painter(), SIX[:3], folder)
    whole, before = (folder / "manifest.jsonl").read_bytes(), content(folder)
    ends = [place for place, byte in enumerate(whole, 1) if byte == 10]
    cuts = {0, 1, 5, *ends, *(end + 3 for end in ends[:2]), *range(ends[1] + 1, ends[2], 97), ends[2] - 1}
    for cut in sorted(cuts):
        (folder / "manifest.jsonl").write_bytes(whole[:cut])
        report = run(Painter(), SIX[:3], folder)
        assert report.kept == sum(end <= cut for end in ends), cut
        assert content(folder) == before, cut


def test_damaged_lines_cost_their_own_pictures_alone(tmp_path: Path) -> None:
    run(Painter(), SIX, tmp_path)
    kept = lines(tmp_path)
    path = tmp_path / "manifest.jsonl"
    hostile = [
        b"not json", b"[" * 100_000, b'{"state": "done"}', b"null", b"\xff\xfe",
        json.dumps({**kept[0], "file": "../../outside.png"}).encode(),
        json.dumps({**kept[0], "sha256": "short"}).encode(),
        json.dumps({**kept[1], "seconds": 0}).replace('"seconds": 0', '"seconds": NaN').encode(),
        json.dumps({**kept[2], "adapters": 7}).encode(),
    ]  # fmt: skip
    path.write_bytes(b"\n".join([*hostile, *(json.dumps(line).encode() for line in kept[3:]), b""]))
    report = run(Painter(), SIX, tmp_path)
    assert (report.painted, report.kept) == (3, 3)
    assert not (tmp_path.parent.parent / "outside.png").exists()
    assert len(lines(tmp_path)) == 6


@pytest.mark.parametrize("after", [1, 2, 5, 9, 14])
def test_killed_run_goes_on_and_is_what_it_would_have_been(tmp_path: Path, after: int) -> None:
    script = Path(__file__).parents[1] / "run_painter.py"
    command = [sys.executable, str(script), str(tmp_path / "killed"), "16", "0.004"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(script.parent)})
    path = tmp_path / "killed" / "manifest.jsonl"
    limit = time.monotonic() + 60
    while running.poll() is None and time.monotonic() < limit:
        if path.exists() and path.read_bytes().count(b"\n") >= after:
            break
        time.sleep(0.0005)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    requests = [asked(seed=seed) for seed in range(16)]
    report = run(Painter(side=64), requests, tmp_path / "killed")
    assert report.kept >= min(after, 16)
    assert report.kept + report.painted == 16
    run(Painter(side=64), requests, tmp_path / "whole")
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_what_a_kill_left_amid_a_picture_is_removed(tmp_path: Path) -> None:
    run(Painter(), SIX[:1], tmp_path)
    (tmp_path / ".0123456789abcdef0123456789abcdef.part").write_bytes(b"\x89PNG")
    (tmp_path / ".mine.part").write_bytes(b"mine")
    run(Painter(), SIX[:1], tmp_path)
    assert [path.name for path in tmp_path.glob("*.part")] == [".mine.part"]


def test_two_processes_do_not_paint_into_one_folder(tmp_path: Path) -> None:
    with open_manifest(tmp_path), pytest.raises(InputError, match="another process paints into"):
        run(Painter(), SIX, tmp_path)
    assert run(Painter(), SIX, tmp_path).painted == 6


# ---------------------------------------------------------------------------------- what goes wrong


def test_request_that_fails_is_noted_and_the_others_are_painted(tmp_path: Path) -> None:
    adapter = tmp_path / "ink.safetensors"
    adapter.write_bytes(b"ink")
    bad = [asked("unfit", (adapter, 1.0)), asked("wrong size"), asked("broken off"), asked("mask", mask=(True,))]
    report = run(Painter(), [SIX[0], bad[0], SIX[1], bad[1], bad[2], SIX[2], bad[3], *SIX[3:]], tmp_path / "run")
    assert (report.painted, len(report.failed)) == (6, 4)
    assert [entry.error for entry in report.failed] == [
        "ink.safetensors does not fit",
        "the size must be a multiple of 8",
        "it is broken",
        "the mask must be as long as the choices",
    ]
    failed = [line for line in lines(tmp_path / "run") if line["state"] == "failed"]
    assert [line["prompt"] for line in failed] == ["unfit", "wrong size", "broken off", "mask"]
    assert len(report.pictures) == 6


def test_request_that_failed_is_tried_again(tmp_path: Path) -> None:
    class Mended(Painter):
        def complete(self, request: Any) -> Any:
            return replace(super().complete(SIX[0]), composition=request.composition)

    assert len(run(Painter(), [SIX[0], asked("wrong")], tmp_path).failed) == 1
    report = run(Mended(), [SIX[0], asked("wrong")], tmp_path)
    assert (report.painted, report.kept, report.failed) == (1, 1, ())
    assert [line["state"] for line in lines(tmp_path)] == ["done", "done"]


def test_few_bad_requests_among_many_cost_few_calls(tmp_path: Path) -> None:
    painter = Painter()
    requests = [asked("unfit" if seed == 37 else "a fox", (tmp_path / "a", 1.0), seed=seed) for seed in range(64)]
    assert run(painter, requests, tmp_path / "run").painted == 63
    assert len(painter.calls) <= 14


def test_server_that_is_gone_ends_the_run(tmp_path: Path) -> None:
    painter = Painter()
    with pytest.raises(BackendError, match="it is gone"):
        run(painter, [asked("gone", seed=seed) for seed in range(64)], tmp_path)
    assert len(painter.calls) == 5
    assert not (tmp_path / "manifest.jsonl").exists()
    assert run(Painter(), [asked("gone"), *SIX], tmp_path).painted == 6


def test_server_that_does_not_answer_ends_the_run_before_anything_is_noted(tmp_path: Path) -> None:
    painter = Painter()
    with pytest.raises(BackendError, match="it is silent"):
        run(painter, [asked("silent", seed=seed) for seed in range(64)], tmp_path)
    assert (len(painter.completed), painter.calls) == (5, [])
    assert not (tmp_path / "manifest.jsonl").exists()
    report = run(Painter(), [asked("silent"), *SIX], tmp_path)
    assert (report.painted, [entry.error for entry in report.failed]) == (6, ["it is silent"])


def test_run_that_is_stopped_keeps_what_was_finished(tmp_path: Path) -> None:
    painter = Painter()
    with pytest.raises(Cancelled):
        run(painter, SIX, tmp_path, watch=Watch(stopped=lambda: len(painter.painted) >= 2))
    assert len(lines(tmp_path)) == 2
    assert run(Painter(), SIX, tmp_path).kept == 2


def test_full_disk_is_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    saved = []

    def save(image: Any, path: Path, *, overwrite: bool) -> None:
        if len(saved) == 3:
            raise InputError(f"{path} cannot be written: {os.strerror(errno.ENOSPC)}")
        saved.append(save_png(image, path, overwrite=overwrite))

    with pytest.raises(InputError, match="No space left on device"):
        run(Painter(), SIX, tmp_path, save=save)
    assert [line["state"] for line in lines(tmp_path)] == ["done"] * 3
    report = run(Painter(), SIX, tmp_path)
    assert (report.painted, report.kept) == (3, 3)


def test_disk_that_is_full_amid_a_line_leaves_the_manifest_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(Painter(), SIX[:2], tmp_path)
    before = (tmp_path / "manifest.jsonl").read_bytes()

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with open_manifest(tmp_path) as manifest, monkeypatch.context() as patch:
        patch.setattr(manifests.os, "fsync", fail)
        with pytest.raises(InputError, match="No space left on device"):
            manifest.append(Entry(request="0" * 64, prompt="a fox", seed=0))
        with pytest.raises(InputError, match="No space left on device"):
            manifest.settle([])
    assert (tmp_path / "manifest.jsonl").read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written to: Permission denied"):
        run(Painter(), SIX, tmp_path / "run")
    tmp_path.chmod(0o700)


def test_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="cannot be written to"):
        run(Painter(), SIX, tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("manifest.jsonl", '{"audio": "a.wav"}\n{"audio": "b.wav"}\n', "another program's"),
        ("manifest.jsonl", '{"audio": "a.wav"}', "another program's"),
        ("contact.png", "my own contacts", "no contact sheet of a run"),
    ],
)
def test_other_programs_files_are_left_alone(tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_text(text)
    painter = Painter()
    with pytest.raises(InputError, match=told):
        run(painter, SIX, tmp_path)
    assert (tmp_path / name).read_text() == text
    assert painter.calls == []


# ---------------------------------------------------------------------------------- who looks on


def test_progress_and_previews_are_of_the_whole_run(tmp_path: Path) -> None:
    run(Painter(), SIX[:2], tmp_path)
    shares: list[float] = []
    shown: list[int] = []
    counts: list[tuple[int, int]] = []
    requests = [SIX[0], asked("broken"), *SIX[2:]]
    watch = Watch(progress=shares.append, preview=lambda place, _: shown.append(place))
    run(Painter(), requests, tmp_path, watch=watch, told=lambda done, whole: counts.append((done, whole)))
    assert sorted(shown) == [2, 3, 4, 5]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0 or counts[-1] == (6, 6)
    assert counts[0] == (1, 6)
    assert counts[-1] == (6, 6)


# ---------------------------------------------------------------------------------- what makes requests the same


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return make


def test_digest_goes_by_what_decides_the_pixels(files: Callable[..., Path]) -> None:
    ink, wash = files("a/ink.safetensors", b"ink"), files("a/wash.safetensors", b"wash")
    base = asked("a fox", (ink, 0.7), (wash, 0.5))
    others = [
        asked("an otter", (ink, 0.7), (wash, 0.5)),
        asked("a fox", (ink, 0.8), (wash, 0.5)),
        asked("a fox", (ink, 0.7), (wash, 0.5), seed=1),
        asked("a fox", (ink, 0.7), (wash, 0.5), steps=3),
        asked("a fox", (ink, 0.7), (wash, 0.5), model="another/model"),
        asked("a fox", (ink, 0.7), (wash, 0.5), mask=(True, False)),
        asked("a fox", (ink, 0.7), (wash, 0.5), mask=(True,)),
        asked("a fox", (files("b/ink.safetensors", b"another ink"), 0.7), (wash, 0.5)),
    ]
    digests = [request_digest(request) for request in [base, *others]]
    assert len(set(digests)) == len(digests)
    same = [
        asked("a fox", (ink, 0.7), (wash, 0.5), mask=(True, True)),
        asked("a fox", (files("c/renamed.safetensors", b"ink"), 0.7), (wash, 0.5)),
    ]
    assert {request_digest(request) for request in same} == {digests[0]}
    assert request_digest(asked("a fox", (ink, 0.7))) == request_digest(others[5])


def test_digest_leaves_out_what_only_tells() -> None:
    plain = asked("a fox")
    told = replace(plain, composition=Composition(prompt="a fox", composer="llm 3", notes=("it was repaired",)))
    assert request_digest(plain) == request_digest(told)


def test_digest_goes_by_the_content_of_pictures_and_models(files: Callable[..., Path]) -> None:
    def request(picture: Path, model: Path) -> str:
        control = Control(model=str(model), picture=Picture(path=str(picture)))
        return request_digest(asked(start=Start(picture=Picture(path=str(picture))), controls=(control,)))

    one, model = files("one.png", b"one"), files("net/model.safetensors", b"weights").parent
    first = request(one, model)
    moved = shutil.copytree(model, model.with_name("moved"))
    assert request(files("copy.png", b"one"), moved) == first
    assert request(files("two.png", b"two"), model) != first
    files("net/model.safetensors", b"other weights")
    assert request(one, model) != first


def test_digest_goes_by_what_lies_at_home(files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    picture, model = files("home/one.png", b"one"), files("home/model.safetensors", b"weights")
    monkeypatch.setenv("HOME", str(picture.parent))
    monkeypatch.setenv("USERPROFILE", str(picture.parent))

    def request(picture: object, model: object) -> str:
        start = Start(picture=Picture(path=str(picture)))
        return request_digest(asked("a fox", (Path(str(model)), 1.0), model=str(model), start=start))

    assert request("~/one.png", "~/model.safetensors") == request(picture, model)
    told = request_digest(asked(start=Start(picture=Picture(path="gone", sha256=hashlib.sha256(b"one").hexdigest()))))
    assert told == request_digest(asked(start=Start(picture=Picture(path="~/one.png"))))
    assert request_digest(asked(model="~nobody-of-that-name/model"))


def test_why_it_failed_is_told_without_folders(files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    ink = files("home of anna/ink.safetensors", b"ink")
    monkeypatch.setenv("HOME", str(ink.parent))
    monkeypatch.setenv("USERPROFILE", str(ink.parent))
    request = asked("a fox", (Path("~/ink.safetensors"), 1.0), model="")
    for path in (ink, "~/ink.safetensors"):
        assert without_folders(f"{path} does not fit", request) == "ink.safetensors does not fit"


def test_digest_takes_the_recorded_digest_for_an_adapter_that_is_not_here() -> None:
    request = asked("a fox", (Path("/nowhere/ink.safetensors"), 0.7))
    choice = request.composition.choices[0]
    known = replace(choice, adapter=replace(choice.adapter, hashes=Hashes(sha256="a" * 64)))
    composition = replace(request.composition, choices=(known,))
    assert request_digest(replace(request, composition=composition)) != request_digest(request)


# ---------------------------------------------------------------------------------- contact sheets


def test_sheet_shows_every_picture_on_pages_of_bounded_size(tmp_path: Path) -> None:
    requests = [asked(f"a fox {seed} times, and a very long prompt that goes on", seed=seed) for seed in range(80)]
    report = run(Painter(), requests, tmp_path)
    assert [path.name for path in report.sheets] == ["contact.png", "contact-2.png", "contact-3.png"]
    pages = [opened(path) for path in report.sheets]
    assert all(max(page.size) < 2600 for page in pages)
    colours = {colour for page in pages for _, colour in page.getcolors(1 << 24)}
    painted = {opened(path).getpixel((0, 0)) for path in report.pictures}
    assert painted <= colours


def test_sheet_that_grew_shorter_loses_its_last_pages(tmp_path: Path) -> None:
    run(Painter(), [asked(seed=seed) for seed in range(40)], tmp_path)
    paths = write_sheets(read_manifest(tmp_path)[:3], tmp_path)
    assert [path.name for path in paths] == ["contact.png"]
    assert not (tmp_path / "contact-2.png").exists()


def test_sheet_has_a_field_for_a_picture_that_cannot_be_read(tmp_path: Path) -> None:
    pictures = run(Painter(), SIX, tmp_path).pictures
    pictures[0].unlink()
    pictures[1].write_bytes(b"no picture")
    bomb = io.BytesIO()
    Image.new("1", (11_000, 10_000)).save(bomb, "PNG")
    pictures[2].write_bytes(bomb.getvalue())
    [sheet] = write_sheets(read_manifest(tmp_path), tmp_path)
    assert {opened(sheet).getpixel((30 + 254 * column, 30)) for column in range(3)} == {(228, 229, 232)}


def test_folder_without_a_run_has_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        read_manifest(tmp_path)
