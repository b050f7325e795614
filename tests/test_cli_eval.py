"""`velatura eval`, from what a person types to what is printed and written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import Done, velatura
from judges import position
from PIL import Image
from run_painter import Painter
from survey_raters import attentive, file_of, survey_of
from survey_raters import write as write_answers
from tiny_networks import noise, resnet_folder

from velatura.eval.judge import Transcripts, hear, pair_up
from velatura.eval.manifest import read_manifest
from velatura.eval.survey import collect_answers
from velatura.painting import Painting
from velatura.playground.library import find_weights

CLIP = str(find_weights() / "evaluator")
PROMPTS = ("a red fox", "a blue cup in the snow", "an umbrella", "a green crown, pixel art style")
COMMANDS = {
    "score": (), "compare": ("--baseline", "base"), "ablate": ("--baseline", "base"),
    "pareto": ("-y", "dfid:clip"), "report": ("-o", "page"), "extract": (),
}  # fmt: skip
"""The commands that measure, with what they cannot do without."""


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's folder with pictures of two methods at two guidances, and reference pictures; `ours` is far off."""
    folder = tmp_path_factory.mktemp("person")
    write(folder / "pictures", [line(*one) for one in every()])
    (folder / "photos").mkdir()
    for seed in range(12):
        noise(32, 32, seed=500 + seed).save(folder / "photos" / f"{seed}.png")
    (folder / "prompts.txt").write_text("\n".join(PROMPTS), "utf-8")
    (folder / "file").write_text("no folder", "utf-8")
    return folder


def every(methods: tuple[str, ...] = ("base", "ours"), guidances: tuple[float, ...] = (2, 6)) -> list[Any]:
    return [(m, g, p, i) for m in methods for g in guidances for p in range(len(PROMPTS)) for i in range(2)]


def line(method: str, guidance: float, prompt: int, index: int, **more: Any) -> dict[str, Any]:
    known = {"method": method, "guidance": guidance, "prompt": PROMPTS[prompt], "index": index}
    return {"image": f"{method}-{guidance:g}-{prompt}-{index}.png", "prompt_id": str(prompt), **known, **more}


def write(folder: Path, lines: list[dict[str, Any]]) -> Path:
    """Write a manifest and its pictures: noise, and of `ours` all but black."""
    folder.mkdir()
    for number, one in enumerate(lines):
        picture = noise(32, 32, seed=number)
        if one["method"] == "ours":
            picture = Image.eval(picture, lambda value: value // 16)
        picture.save(folder / one["image"])
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def measure(home: Path, command: str, manifest: object = "pictures", *options: object, **more: str) -> Done:
    given = ("--clip", CLIP, "--cache", "kept", *COMMANDS[command])
    return velatura("eval", command, manifest, *given, *options, home=home, **more)


def sentence(done: Done, code: int = 1) -> str:
    """Return what a command said that failed: one line, or usage."""
    assert done.returncode == code, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    said = " ".join(done.stderr.replace("│", " ").split())
    if code == 1:
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
    return said


def one_line(done: Done) -> Any:
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    return done.json


# -------------------------------------------------------------------- what is told


def test_score_prints_every_cell_with_intervals_and_what_they_depend_on(home: Path) -> None:
    done = measure(home, "score", "pictures", "--metrics", "clip,fid:clip,ms-ssim", "--reference", "photos",
                   "--ms-ssim", "2,7", "--baseline", "base")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "CLIP score ↑" in done.stdout
    assert "MS-SSIM (2 scales, 7) ↓" in done.stdout
    for cell in ("base @ 2", "base @ 6", "ours @ 2", "ours @ 6"):
        assert cell in done.stdout
    assert "ref=photos:" in done.stdout
    assert "CLIP score, less base's" in done.stdout
    assert "FID (clip): not comparable at 8 pictures" in done.stderr


def test_score_tells_programs_the_same(home: Path) -> None:
    told = one_line(measure(home, "score", "pictures", "--baseline", "base", "--json"))
    assert len(told["figures"]) == 4
    assert {one["cell"]["method"] for one in told["differences"]} == {"ours"}
    assert {one["verdict"] for one in told["differences"]} <= {"better", "worse", "unclear"}
    assert told["rejected"] == {}


def test_compare_says_which_is_better_and_a_check_fails_on_what_is_worse(home: Path) -> None:
    plain = measure(home, "compare", "pictures", "--metrics", "dfid:clip")
    assert plain.returncode == 0
    assert "worse" in plain.stdout
    for command in ("score", "compare", "report"):
        options = ("--metrics", "dfid:clip", "--fail-if-worse")
        bad = measure(home, command, "pictures", *options, "--baseline", "base")
        assert bad.returncode == 1
        assert "worse than base, first ours @" in bad.stderr
        good = measure(home, command, "pictures", *options, "--baseline", "ours")
        assert good.returncode == 0, good.stderr
    told = measure(home, "compare", "pictures", "--metrics", "dfid:clip", "--fail-if-worse", "--json")
    assert told.returncode == 1
    assert json.loads(told.stdout)["differences"][0]["verdict"] == "worse"


def test_a_check_that_compares_nothing_does_not_go_well(home: Path) -> None:
    for command in ("score", "report"):
        assert "--baseline" in sentence(measure(home, command, "pictures", "--fail-if-worse"), 2)
    for command, options in (("score", ("--baseline", "base", "--fail-if-worse")), ("compare", ()), ("ablate", ())):
        said = sentence(measure(home, command, "pictures", "--methods", "base", *options))
        assert "nothing can be compared with 'base'" in said


def test_one_picture_of_each_prompt_is_measured_by_what_can_be(home: Path, tmp_path: Path) -> None:
    """The usual metrics that cannot be measured are told; those that were asked for end with 1, after the rest."""
    resnet = ("--resnet50", str(resnet_folder(tmp_path / "resnet")))
    write(home / "ones", [line(*one) for one in every(guidances=(2,)) if one[3] == 0])
    for command in ("score", "compare", "ablate", "report"):
        usual = measure(home, command, "ones", *resnet)
        assert usual.returncode == 0, usual.stderr
        assert "note: diversity is left out: " in usual.stderr
    asked = measure(home, "score", "ones", *resnet, "--metrics", "diversity,clip")
    assert asked.returncode == 1
    assert "CLIP score ↑" in asked.stdout
    assert "note: diversity is left out: " in asked.stderr
    told = measure(home, "score", "ones", *resnet, "--metrics", "diversity,clip", "--json")
    assert told.returncode == 1
    found = json.loads(told.stdout)
    assert {one["metric"] for one in found["figures"]} == {"clip"}
    assert any(one.startswith("diversity is left out") for one in found["warnings"])
    assert "pictures" in sentence(measure(home, "score", "ones", *resnet, "--metrics", "diversity"))
    assert "dfid:clip cannot be measured" in sentence(measure(home, "pareto", "ones"))


def test_a_check_fails_on_what_is_worse_with_all_comparisons_counted_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--metrics", "dfid:clip", "--fail-if-worse")
    assert measure(home, "compare", "pictures", *options).returncode == 1
    monkeypatch.setattr("velatura.eval.scores.holm", lambda differences: tuple(0.06 for _ in differences))
    unsure = measure(home, "compare", "pictures", *options)
    assert unsure.returncode == 0, unsure.stderr
    assert "maybe worse" in unsure.stdout
    few = ("--metrics", "fid:clip", "--reference", "photos", "--fail-if-worse")
    done = measure(home, "compare", "pictures", *few)
    assert done.returncode == 1
    assert "nothing is tested" in done.stderr


def test_compare_says_which_difference_it_could_have_seen(home: Path) -> None:
    said = measure(home, "compare").stdout
    assert "CLIP score: a difference of " in said
    assert "would have been seen four times out of five" in said


def test_with_all_what_cannot_be_compared_is_told_beside_what_can(home: Path) -> None:
    write(home / "uneven", [line(*one) for one in every(guidances=(2,)) if one[:1] != ("ours",) or one[3] == 0])
    options = ("--all", "--metrics", "clip,cmmd", "--reference", "photos", "--baseline", "base")
    done = measure(home, "score", "uneven", *options)
    assert done.returncode == 0, done.stderr
    assert "note: cmmd: ours @ 2 has 4 pictures and base @ 2 8: they cannot be compared" in done.stderr
    told = measure(home, "score", "uneven", *options, "--json").json
    assert {one["metric"] for one in told["differences"]} == {"clip"}
    assert any(one.startswith("cmmd: ours @ 2 has 4") for one in told["warnings"])
    only = ("--all", "--metrics", "cmmd", "--reference", "photos")
    assert "they cannot be compared" in sentence(measure(home, "compare", "uneven", *only))


def test_pareto_prints_fronts_and_draws_them(home: Path) -> None:
    for name in ("new/front.png", "front.svg"):
        done = measure(home, "pareto", "pictures", "--baseline", "base", "-o", name)
        assert done.returncode == 0, done.stderr
        assert "hypervolume" in done.stdout
        assert name in done.stdout
        assert (home / name).stat().st_size > 1000
    told = one_line(measure(home, "pareto", "pictures", "--json"))
    assert (told["x"], told["y"], told["figure"]) == ("clip", "dfid:clip", None)
    assert len(told["points"]) == 4
    few = measure(home, "pareto", "pictures", "-y", "fid:clip", "--reference", "photos")
    assert "too few pictures" in few.stderr


@pytest.mark.parametrize(("form", "begins"), [("markdown", "**Each"), ("latex", "\\begin{table}"), ("csv", "method,")])
def test_ablate_writes_the_table_in_every_form(home: Path, form: str, begins: str) -> None:
    done = measure(home, "ablate", "pictures", "--form", form)
    assert done.stdout.startswith(begins)
    assert "ours @ 6" in done.stdout
    assert "ours @ 6" in measure(home, "ablate").stdout
    assert one_line(measure(home, "ablate", "pictures", "--json")).keys() >= {"figures", "differences", "warnings"}


def test_report_writes_one_page_with_everything(home: Path) -> None:
    told = one_line(measure(home, "report", "pictures", "--baseline", "base", "--name", "Foxes", "--json"))
    assert {"report.html", "results.json", "tables.md", "tables.tex"} <= told.keys()
    assert "Foxes" in (home / told["report.html"]).read_text()
    results = json.loads((home / told["results.json"]).read_text())
    assert "velatura eval report pictures" in json.dumps(results)


def test_report_tells_methods_judges_and_people(home: Path, tmp_path: Path) -> None:
    manifest, answered = read_manifest(home / "pictures"), tmp_path / "judge.jsonl"
    pairings = pair_up(manifest.samples, "ours", "base", criteria=["quality"], guidance=6.0, per_prompt=2)
    hear(position(), pairings, manifest.folder, transcripts=Transcripts(answered))
    asked = survey_of(tmp_path, "pairs")
    files = [
        write_answers(tmp_path, f"{form}.json", file_of(asked, form, f"r{form}", attentive(asked, lambda _task: 0)))
        for form, _ in asked.plan.forms
    ]
    collect_answers(tmp_path / "survey", files)
    (home / "pictures" / "methods.json").write_text(json.dumps({"ours": "all but <b>black</b>"}))
    given = ("--judge-of", "ours", "--transcripts", answered, "--survey", tmp_path / "survey")
    done = measure(home, "report", "pictures", "--baseline", "base", *given)
    assert done.returncode == 0, done.stderr
    page = (home / "page" / "report.html").read_text()
    for said in ("it answers by position", f"{len(files)} raters", "ours: all but &lt;b&gt;black&lt;/b&gt;"):
        assert said in page
    (home / "pictures" / "methods.json").unlink()
    assert "--baseline" in sentence(measure(home, "report", "pictures", *given), 2)
    judged = ("--baseline", "base", "--judge-of", "ours", "--transcripts")
    assert "holds no transcripts of a judge" in sentence(measure(home, "report", "pictures", *judged, "none.jsonl"))
    wrong = ("--baseline", "base", "--survey", home / "photos")
    sentence(measure(home, "report", "pictures", *wrong))


def test_extract_keeps_what_models_see(home: Path) -> None:
    assert one_line(measure(home, "extract", "pictures", "--json")) == {
        "pictures": 32, "extractors": ["clip"], "rejected": {}
    }  # fmt: skip
    assert "32 pictures, seen by clip" in measure(home, "extract").stdout


def test_crops_can_be_measured_in_turn(home: Path) -> None:
    told = one_line(velatura("eval", "crop", "pictures", "-o", "cut", "--size", 16, "--each", 2, "--json", home=home))
    assert (told["crops"], told["rejected"]) == (64, {})
    done = measure(home, "score", "cut")
    assert done.returncode == 0, done.stderr
    assert "n=16|" in done.stdout
    whole = (home / "pictures" / "manifest.jsonl").read_bytes()
    again = velatura("eval", "crop", "pictures", "-o", "pictures", "--size", 16, home=home)
    assert "name another folder for the crops" in sentence(again)
    assert (home / "pictures" / "manifest.jsonl").read_bytes() == whole
    assert not (home / "pictures" / "samples.jsonl").exists()
    assert "too small for crops of 1024" in sentence(velatura("eval", "crop", "pictures", "-o", "x", home=home))


def test_metrics_are_listed(home: Path) -> None:
    assert "Fréchet distance" in velatura("eval", "metrics", home=home).stdout
    told = one_line(velatura("eval", "metrics", "--json", home=home))
    assert told["fid"] == {"told": "Fréchet distance to real pictures", "extractor": "inception", "reference": True}


# -------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize("command", COMMANDS)
def test_pictures_that_cannot_be_read_are_told_and_left_out(home: Path, command: str) -> None:
    folder = home / f"torn-{command}"
    shutil.copytree(home / "pictures", folder)
    (folder / "base-2-0-0.png").write_bytes((folder / "base-2-0-0.png").read_bytes()[:500])
    (folder / "ours-6-3-1.png").unlink()
    done = measure(home, command, folder.name)
    assert done.returncode == 0, done.stderr
    assert "left out: base-2-0-0.png: " in done.stderr
    assert "left out: ours-6-3-1.png: there is no picture" in done.stderr
    told = measure(home, command, folder.name, "--json").json
    assert command == "report" or told["rejected"].keys() == {"base-2-0-0.png", "ours-6-3-1.png"}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_manifest_is_one_sentence(home: Path, command: str) -> None:
    assert "nowhere cannot be read: No such file" in sentence(measure(home, command, "nowhere"))


def test_what_is_no_manifest_is_one_sentence(home: Path) -> None:
    assert "file, line 1: not a JSON object" in sentence(measure(home, "score", "file"))
    assert "holds no manifest.jsonl" in sentence(measure(home, "score", "photos"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--metrics", "best"), "there is no metric 'best'"),
        (("--metrics", "fid:clip"), "name a folder or statistics with --reference"),
        (("--metrics", "fid", "--reference", "photos"), "name it with --inception"),
        (("--metrics", "fid", "--inception", "file"), "file is not the published Inception network"),
        (("--metrics", "is:clip"), "clip has none"),
        (("--metrics", "cmmd", "--reference", "empty"), "there are no references at empty"),
        (("--metrics", "cmmd", "--reference", "file"), "file is no folder of pictures"),
        (("--metrics", "cmmd", "--reference", ""), "with --reference"),
        (("--metrics", "yes"), "name one with VELATURA_LLM"),
        (("--metrics", "ms-ssim"), "take fewer scales"),
        (("--metrics", "ms-ssim", "--ms-ssim", "9,7"), "MS-SSIM has 1 to 5 scales, not 9"),
        (("--methods", "best"), "there is no method 'best' in it; there are base, ours"),
        (("--baseline", "best"), "there is no method 'best' to compare with"),
        (("--clip", "file"), "name a folder that holds the model"),
        (("--clip", "photos"), "photos is no clip model"),
        (("--cache", "file"), "cannot be written"),
        (("--device", "mars"), "there is no device 'mars' here"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(home: Path, options: tuple[str, ...], told: str) -> None:
    assert told in sentence(measure(home, "score", "pictures", *options, VELATURA_OFFLINE="1"))


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("score", ("--ms-ssim", "x")),
        ("score", ("--ms-ssim", "2")),
        ("score", ("--limit", "0")),
        ("pareto", ("-x", "clip", "-y", "clip")),
        ("ablate", ("--form", "table")),
        ("report", ("--gallery", "1000")),
    ],
)
def test_wrong_usage_ends_with_2(home: Path, command: str, options: tuple[str, ...]) -> None:
    sentence(measure(home, command, "pictures", *options), 2)


@pytest.mark.parametrize(
    ("command", "where", "told"),
    [
        ("report", "file", "cannot be written"),
        ("report", "file/in", "cannot be written"),
        ("report", "/proc/page", "cannot be written"),
        ("pareto", "file/front.png", "cannot be written"),
        ("pareto", "/proc/front.svg", "cannot be written"),
        ("pareto", "front.gif", "saved as .png or .svg"),
    ],
)
def test_what_cannot_be_written_is_one_sentence(home: Path, command: str, where: str, told: str) -> None:
    assert told in sentence(measure(home, command, "pictures", "-o", where))


@pytest.mark.parametrize("command", COMMANDS)
def test_one_picture_alone_is_measured_or_refused_in_a_sentence(home: Path, command: str) -> None:
    folder = home / f"single-{command}"
    write(folder, [line("base", 2, 0, 0)])
    done = measure(home, command, folder.name)
    assert done.returncode == (0 if command in ("score", "report", "extract") else 1)
    assert done.returncode == 0 or sentence(done)


def test_names_from_a_manifest_stay_on_their_line_and_steer_no_terminal(home: Path) -> None:
    odd = "[red]o\u202edd\nm\x1b[2J</td><script>alert(1)</script>"
    prompts = ("\u202e[bold]gpj[/]", "new\nline\t\x1b[31m", "x" * 10_000, "<script>alert(2)</script>")
    lines = [line(method, guidance, prompt, index) for method, guidance, prompt, index in every(guidances=(2,))]
    write(home / "odd", lines)
    for one in lines:
        one["prompt"] = prompts[int(one["prompt_id"])]
        one["prompt_id"] += "\u202e[b]\n"
        one["method"] = odd if one["method"] == "ours" else "base"
    (home / "odd" / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for command, options in COMMANDS.items():
        done = measure(home, command, "odd", *(("--baseline", "base") if command in ("score", "pareto") else ()))
        assert done.returncode == 0, (command, options, done.stderr)
        for text in (done.stdout, done.stderr):
            assert not {"\u202e", "\x1b", "\t"} & set(text)
        if command in ("score", "compare", "ablate", "pareto"):
            assert "[red]o dd m" in done.stdout
        one_line(measure(home, command, "odd", "--json"))
    page = (home / "page" / "report.html").read_text()
    assert "<script>alert" not in page
    assert "\u202e" not in page


# -------------------------------------------------------------------- painting


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch) -> Painter:
    found = Painter(side=32)
    monkeypatch.setattr(Painting, "backend", found)
    return found


def run(home: Path, folder: str, *options: object) -> Done:
    given = ("--model", "colours.safetensors", "--methods", "base", "--guidances", "2,6,2.0", "--samples", 2)
    return velatura("eval", "run", "--prompts", "prompts.txt", "-o", folder, *given, *options, home=home)


def test_run_paints_what_can_be_scored_and_goes_on(home: Path, painter: Painter) -> None:
    told = one_line(run(home, "out", "--limit", 2, "--json"))
    assert (told["samples"], told["painted"], told["kept"], told["failed"]) == (8, 8, 0, [])
    assert told["methods"] == {"base": "nothing laid on"}
    assert one_line(run(home, "out", "--limit", 2, "--json"))["kept"] == 8
    assert "8 painted, 8 were there" in run(home, "out").stdout
    assert measure(home, "score", told["manifest"]).returncode == 0
    painted = len(painter.painted)
    dry = one_line(run(home, "out", "--dry-run", "--samples", 3, "--json"))
    assert (dry["cells"], dry["prompts"], dry["pictures"]) == (2, 4, 24)
    assert "24 pictures at most" in run(home, "none", "--dry-run", "--samples", 3).stdout
    assert len(painter.painted) == painted
    assert not (home / "none").exists()


@pytest.mark.parametrize("guidances", ["x", "", ",", "nan", "-1", "1e9", "inf"])
def test_guidances_are_numbers_that_models_take(home: Path, guidances: str) -> None:
    said = sentence(run(home, "none", "--dry-run", f"--guidances={guidances}"), 2)
    assert "numbers from 0 to 100 with commas between them" in said


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (("--methods", "best"), 1, "there is no method 'best'; there are base, random"),
        (("--methods", "base+debias+debias"), 1, "there is no method"),
        (("--methods", ","), 2, "names with commas between them"),
        (("--plan", "best"), 1, "there is no plan 'best'; there are stylus"),
        (("--plan", "none.toml"), 1, "none.toml cannot be read"),
        (("--plan", "fusion", "--prompts", "none.txt"), 1, "none.txt cannot be read"),
        (("--total-weight", "inf"), 2, "--total-weight"),
        (("--samples", "0"), 2, "--samples"),
    ],
)
def test_a_plan_that_cannot_be_is_told_before_anything_is_painted(
    home: Path, options: tuple[str, ...], code: int, told: str
) -> None:
    assert told in sentence(run(home, "none", *options, "--dry-run"), code)
    assert not (home / "none").exists()


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ("guidances = [2, 2.0]", "a method or a guidance is there twice"),
        ("guidances = [nan]", "guidances are numbers from 0 to 100"),
        ("methods = []", "there must be methods"),
        ("methods = ['best']", "there is no method 'best'"),
        ("what = 3", "there is no 'what' in a plan"),
        ("methods = ", "is not TOML"),
    ],
)
def test_a_plan_of_ones_own_is_looked_at_as_a_whole(home: Path, plan: str, told: str) -> None:
    (home / "own.toml").write_text(plan, "utf-8")
    done = velatura(
        "eval", "run", "--prompts", "prompts.txt", "-o", "none", "--plan", "own.toml", "--dry-run", home=home
    )
    assert told in sentence(done)


def test_a_plan_without_prompts_asks_for_them(home: Path) -> None:
    assert "--prompts" in sentence(velatura("eval", "run", "-o", "none", "--dry-run", home=home), 2)
    fusion = one_line(velatura("eval", "run", "-o", "none", "--plan", "fusion", "--dry-run", "--json", home=home))
    assert fusion["variants"] == ["SDXS", "DreamShaper", "Fusion v1", "Fusion v2"]


def test_what_cannot_be_painted_ends_with_1_and_what_was_painted_is_kept(home: Path, painter: Painter) -> None:
    (home / "half.txt").write_text("a red fox\na wrong\x1b[2J fox\n", "utf-8")
    done = run(home, "half", "--prompts", "half.txt")
    assert done.returncode == 1
    assert done.stdout.startswith("4 painted")
    assert "multiple of 8" in done.stderr
    assert "\x1b" not in done.stderr
    assert len((home / "half" / "samples.jsonl").read_text().splitlines()) == 4


# -------------------------------------------------------------------- doctor


def test_doctor_says_what_can_be_measured_and_what_to_do_for_the_rest(home: Path) -> None:
    bare = velatura("eval", "doctor", home=home)
    assert bare.returncode == 0
    assert "VELATURA_PICTURE_MODEL" in bare.stdout
    assert "pip install lpips torchvision" in bare.stdout
    told = one_line(velatura("eval", "doctor", "--cache", "kept", "--json", home=home, VELATURA_PICTURE_MODEL=CLIP))
    found = {one["what"]: one for one in (*told["findings"], *told["metrics"])}
    assert {one["what"] for one in told["metrics"]} >= {"clip", "fid", "lpips", "yes"}
    metrics = {one["what"]: one["state"] for one in told["metrics"]}
    assert (metrics["clip"], metrics["cmmd"], metrics["ms-ssim"], metrics["fid"]) == ("good", "good", "good", "missing")
    assert "give --inception, or measure fid:clip" in found["fid"]["detail"]
    assert "or measure" not in found["is"]["detail"]
    assert {found[name]["state"] for name in ("scipy", "torch", "matplotlib", "transformers")} == {"good"}
    assert told["cache"]["bytes"] == sum(path.stat().st_size for path in (home / "kept").rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("options", "settings", "told"),
    [
        (("--inception", "none.pt"), {}, "broken inception: there is no file none.pt"),
        (("--clip", "photos"), {}, "broken clip: photos is no clip model"),
        ((), {"VELATURA_PICTURE_MODEL": "./nowhere"}, "broken clip: there is no folder"),
        (("--clip", CLIP, "--device", "mars"), {}, "does not run on mars"),
        (("--cache", "file"), {}, "broken cache: file cannot be written to"),
        ((), {"VELATURA_LLM": "sees", "VELATURA_LLM_URL": "ftp://x"}, "broken language model: the language model's"),
    ],
)
def test_doctor_ends_with_1_where_what_is_set_is_broken(
    home: Path, options: tuple[str, ...], settings: dict[str, str], told: str
) -> None:
    done = velatura("eval", "doctor", *options, home=home, VELATURA_OFFLINE="1", **settings)
    assert done.returncode == 1
    assert told in " ".join(done.stdout.split())


def test_doctor_knows_a_language_model_that_is_set(home: Path) -> None:
    settings = {"VELATURA_LLM": "sees", "VELATURA_LLM_URL": "http://127.0.0.1:9/v1"}
    told = one_line(velatura("eval", "doctor", "--json", home=home, **settings))
    assert [one["state"] for one in told["metrics"] if one["what"] == "yes"] == ["good"]


@pytest.mark.parametrize("verb", ["run", "doctor", "crop", "metrics", *COMMANDS])
def test_every_command_explains_itself(home: Path, verb: str) -> None:
    done = velatura("eval", verb, "--help", home=home)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "--json" in done.stdout
