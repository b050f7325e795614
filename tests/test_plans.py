"""Plans painted by real checkpoints, tiny ones: each variant by its own model and settings, scored as studies do."""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from command_line import velatura as command
from generation.test_fusion import make_ip_adapter
from tiny_networks import clip_folder, inception_file, noise, resnet_folder

from velatura import Velatura
from velatura.errors import InputError
from velatura.eval.crops import make_crops
from velatura.eval.evaluation import Scores
from velatura.eval.gathering import timings
from velatura.eval.grid import PLANS, Plan, Variant, read_plan
from velatura.eval.manifest import Manifest, manifest_of, prompt_id
from velatura.eval.opening import open_evaluation
from velatura.eval.records import Prompt
from velatura.experiment import Experiment, Report
from velatura.generation.known import KNOWN
from velatura.generation.sd import StableDiffusionBackend
from velatura.generation.story import read_story, request_of
from velatura.methods import Methods
from velatura.playground.sample import make_checkpoint
from velatura.protocols import Backend
from velatura.records import Enlargement, Filter, GenerationRequest, ImagePrompt
from velatura.settings import Settings, default_settings
from velatura.wiring import painter as open_painter

KINDS = {"dreamshaper": "sd", "sdxs-dreamshaper": "sdxs", "sdxl": "sdxl", "sdxl-turbo": "sdxl-turbo"}
CELLS = {"dreamshaper": 64, "sdxs-dreamshaper": 64, "sdxl": 128, "sdxl-turbo": 64}
"""The side of the latents that the real models were trained on."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint for each that the plans name, and an IP-Adapter for those of SD."""
    folder = tmp_path_factory.mktemp("models")
    for seed, (name, kind) in enumerate(KINDS.items()):
        make_checkpoint(folder / name, kind=kind, seed=seed)  # type: ignore[arg-type]
    painter = StableDiffusionBackend(str(folder / "dreamshaper"), device="cpu")
    make_ip_adapter(folder / "ip", painter._pipe.unet)
    return folder


@pytest.fixture
def hub(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache with all that the plans name, the models tiny inside and of the real ones' picture sizes."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name, cells in CELLS.items():
        snapshot = cached(tmp_path, KNOWN[name].hub)
        for path in (models / name).rglob("*"):
            if path.is_file():
                link(path, snapshot / path.relative_to(models / name))
        config = json.loads((models / name / "unet" / "config.json").read_text())
        (snapshot / "unet" / "config.json").unlink()
        (snapshot / "unet" / "config.json").write_text(json.dumps({**config, "sample_size": cells}))
    adapter = cached(tmp_path, "h94/IP-Adapter") / "models"
    link(models / "ip" / "ip.safetensors", adapter / "ip-adapter_sd15.safetensors")
    for path in (models / "ip" / "image_encoder").iterdir():
        link(path, adapter / "image_encoder" / path.name)
    return tmp_path


def cached(folder: Path, repository: str) -> Path:
    """Return the folder of a repository's one snapshot in the hub's cache."""
    own = folder / f"models--{repository.replace('/', '--')}"
    (own / "refs").mkdir(parents=True)
    (own / "refs" / "main").write_text("0" * 40)
    return own / "snapshots" / ("0" * 40)


def link(path: Path, name: Path) -> None:
    name.parent.mkdir(parents=True, exist_ok=True)
    name.symlink_to(path)


def run(plan: Plan, folder: Path, *, fields: dict[str, Any] | None = None, **settings: Any) -> Report:
    prompts = [Prompt(id=prompt_id(text), text=text) for text in plan.prompts or ("a red fox", "a house in snow")]
    own = default_settings(db=str(folder / "none.db"), device="cpu", offline=True, **settings)
    with Velatura(own) as opened:
        methods = Methods(opened, filter=Filter())
        return Experiment(opened, plan, prompts, folder, methods=methods, fields=fields).run()


def requests_of(plan: Plan, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Any, GenerationRequest]]:
    """Return each variant's backend and its first request as that completes it, without painting."""
    found: list[tuple[Any, GenerationRequest]] = []

    def completed(backend: Backend, requests: Any, *_: Any, **__: Any) -> Any:
        found.append((backend, backend.complete(requests[0])))
        return SimpleNamespace(painted=0, kept=0, of_requests=[SimpleNamespace(file=None, error="")] * len(requests))

    monkeypatch.setattr("velatura.generation.runs.run", completed)
    with pytest.raises(InputError, match="nothing could be painted"):
        run(replace(plan, samples=1), folder)
    return dict(zip([variant.name for variant in plan.variants], found, strict=True))


# ---------------------------------------------------------------- the plans that come with it


def test_the_fusion_plan_asks_for_the_studys_four_groups(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = PLANS["fusion"]
    found = requests_of(plan, tmp_path / "out", monkeypatch)
    told = {
        name: (request.model, request.backend, request.steps, request.guidance, request.scheduler)
        for name, (_, request) in found.items()
    }
    sde = "dpmpp_3m_sde_sgm_uniform"
    assert told["SDXS"][:4] == ("sdxs-dreamshaper", "sdxs", 1, 0.0)
    assert told["DreamShaper"] == ("dreamshaper", "sd", 30, 6.0, "euler")
    assert told["Fusion v1"] == told["Fusion v2"] == ("dreamshaper", "fusion", 30, 6.0, sde)
    assert {(request.width, request.height) for _, request in found.values()} == {(512, 512)}
    assert [[prompt.weight for prompt in request.image_prompts] for _, request in found.values()] == [
        [],
        [],
        [0.8],
        [1.4],
    ]
    steering = found["Fusion v1"][1].image_prompts[0]
    assert steering.model == "h94/IP-Adapter/models/ip-adapter_sd15.safetensors"
    assert found["Fusion v2"][0].stamp.endswith("sketched by sdxs-dreamshaper at 1.4")
    assert (plan.samples, plan.metrics) == (20, ("diversity", "is", "ms-ssim", "fid"))


def test_the_demofusion_plan_asks_for_the_studys_five_rows(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = requests_of(PLANS["demofusion"], tmp_path / "out", monkeypatch)
    rows = [
        (request.model, request.steps, wanted.stride, request.guidance, wanted.views, request.width, request.height)
        for _, request in found.values()
        if (wanted := request.enlargement) is not None
    ]
    assert rows == [
        ("sdxl", 50, 64, 7.5, 16, 3072, 3072),
        ("sdxl", 10, 48, 2.5, 12, 3072, 3072),
        ("sdxl-turbo", 10, 48, 2.5, 12, 3072, 3072),
        ("sdxl-turbo", 20, 48, 2.5, 12, 3072, 3072),
        ("sdxl-turbo", 50, 64, 7.5, 16, 3072, 3072),
    ]
    # Variants of one checkpoint share it.
    backends = dict.fromkeys(backend for backend, _ in found.values())
    assert [backend.model for backend in backends] == ["sdxl", "sdxl-turbo"]
    phases = {name: len(backend.estimate(request).phases) for name, (backend, request) in found.items()}
    assert phases == {variant.name: 3 if "turbo" not in variant.name else 6 for variant in PLANS["demofusion"].variants}


def test_what_suits_the_experiments_checkpoint_is_not_asked_of_a_variants(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Settings] = []
    monkeypatch.setattr("velatura.wiring.painter", lambda settings: asked.append(settings) or pytest.fail("opened"))
    plan = Plan(variants=(Variant(name="own", settings=(("model", "sdxl-turbo"), ("steps", 4))),))
    with pytest.raises(pytest.fail.Exception):
        run(plan, tmp_path, model="sd-1.5", backend="sd", steps=50, guidance=9.0, scheduler="ddim", batch=4)
    [one] = asked
    assert (one.model, one.backend, one.guidance, one.scheduler, one.batch) == ("sdxl-turbo", None, None, None, 4)


# ---------------------------------------------------------------- painted, and scored


SMALL = {"width": 64, "height": 64}
FUSION = """
samples = 2
prompts = ["a painting of a man in the snow"]
baseline = "SDXS"
metrics = ["diversity", "is", "ms-ssim", "fid"]
[[variants]]
name = "SDXS"
settings = {{ model = "{models}/sdxs-dreamshaper", steps = 1 }}
[[variants]]
name = "DreamShaper"
settings = {{ model = "{models}/dreamshaper", steps = 4, guidance = 6.0 }}
fields = {{ scheduler = "euler" }}
"""
FUSED = """
[[variants]]
name = "Fusion {version}"
fields = {{ image_prompts = [{{ model = "{models}/ip/ip.safetensors", pictures = [], weight = {weight} }}] }}
[variants.settings]
model = "{models}/dreamshaper"
backend = "fusion"
sketcher = "{models}/sdxs-dreamshaper"
fusion = "{version}"
steps = 4
guidance = 6.0
"""
LARGE = """
metrics = ["clip", "fid", "is", "kid"]
baseline = "sdxl, 4 steps"
"""
ROW = """
[[variants]]
name = "{model}, {steps} steps"
settings = {{ model = "{models}/{model}", backend = "demofusion", steps = {steps}, guidance = {guidance} }}
fields = {{ width = 192, height = 128 }}
enlargement = {{ stride = {stride}, views = {views} }}
"""


def fusion_plan(models: Path, folder: Path) -> Plan:
    text = FUSION.format(models=models)
    text += "".join(FUSED.format(models=models, version=v, weight=w) for v, w in (("v1", 0.8), ("v2", 1.4)))
    return written(text, folder)


def large_plan(models: Path, folder: Path) -> Plan:
    rows = (("sdxl", 4, 8, 7.5, 16), ("sdxl", 2, 6, 2.5, 12), ("sdxl-turbo", 2, 12, 2.5, 12))
    names = ("model", "steps", "stride", "guidance", "views")
    return written(
        LARGE + "".join(ROW.format(models=models, **dict(zip(names, row, strict=True))) for row in rows), folder
    )


def written(text: str, folder: Path) -> Plan:
    (folder / "plan.toml").write_text(text)
    return read_plan(str(folder / "plan.toml"))


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("networks")
    (folder / "reference").mkdir()
    for seed in range(6):
        noise(128, 128, seed).save(folder / "reference" / f"{seed}.png")
    return {
        "clip": str(clip_folder(folder / "clip", longest=64)),
        "inception": str(inception_file(folder / "inception.pt")),
        "resnet50": str(resnet_folder(folder / "resnet")),
        "reference": str(folder / "reference"),
    }


@pytest.fixture
def trusted(networks: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The networks, the classifier being taken for the published one."""
    digest = hashlib.sha256(Path(networks["inception"]).read_bytes()).hexdigest()
    monkeypatch.setattr("velatura.eval.extract.inception.PUBLISHED", digest)
    return networks


def score(manifest: Manifest, plan: Plan, networks: dict[str, str], cache: Path) -> Scores:
    models = {name: place for name, place in networks.items() if name != "reference"}
    opened = open_evaluation(
        manifest, models=models, metrics=plan.metrics, reference=networks["reference"], cache=cache, ms_ssim=(3, 11)
    )
    assert opened.rejected == ()
    return opened.evaluation.score(opened.metrics)


def table(scores: Scores) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for figure in scores.figures():
        found.setdefault(figure.cell.method, {})[figure.metric] = figure.value
    return found


def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[Backend]]:
    """Have nothing opened while another checkpoint is open; returns what was."""
    opened: list[weakref.ref[Backend]] = []

    def painter(settings: Settings) -> Backend:
        assert all(other() is None for other in opened)
        backend = open_painter(settings)
        opened.append(weakref.ref(backend))
        return backend

    monkeypatch.setattr("velatura.wiring.painter", painter)
    return opened


def test_four_groups_are_painted_and_scored_as_the_study_did(
    models: Path, trusted: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = fusion_plan(models, tmp_path)
    opened = one_at_a_time(monkeypatch)
    report = run(plan, tmp_path / "out", fields=SMALL)
    assert (report.painted, report.failed) == (8, ())
    assert len(opened) == 4
    told = {}
    for sample in report.manifest.samples:
        request = request_of(read_story(report.manifest.path(sample)))
        told[sample.method] = (
            request.backend,
            request.steps,
            request.scheduler,
            *(p.weight for p in request.image_prompts),
        )
    sde = "dpmpp_3m_sde_sgm_uniform"
    assert told["DreamShaper"] == ("sd", 4, "euler")
    assert told["SDXS"][:2] == ("sdxs", 1)
    assert (told["Fusion v1"], told["Fusion v2"]) == (("fusion", 4, sde, 0.8), ("fusion", 4, sde, 1.4))
    assert len({sample.sha256 for sample in report.manifest.samples}) == 8
    again = run(replace(plan, variants=plan.variants[3:]), tmp_path / "out", fields=SMALL)
    assert (again.kept, again.painted) == (2, 0)
    scores = score(report.manifest, plan, trusted, tmp_path / "cache")
    rows = table(scores)
    assert list(rows) == sorted(variant.name for variant in plan.variants)
    for row in rows.values():
        assert set(row) == set(plan.metrics)
        assert row["diversity"] > 0
        assert 1 <= row["is"] <= 3
        assert 0 <= row["ms-ssim"] < 1
        assert row["fid"] > 0
    # One prompt tells nothing of others, and three pictures too little of a distribution.
    assert all(figure.low is None for figure in scores.figures())
    assert {one.metric for one in scores.differences("SDXS")} == {"diversity", "ms-ssim", "fid"}
    assert all(one.verdict == "unknown" or one.low is None for one in scores.differences("SDXS"))


def test_enlarged_pictures_are_timed_scored_and_cut_into_crops(
    models: Path, trusted: dict[str, str], tmp_path: Path
) -> None:
    plan = large_plan(models, tmp_path)
    report = run(plan, tmp_path / "out")
    assert (report.painted, report.failed) == (6, ())
    stories = {one.method: read_story(report.manifest.path(one)) for one in report.manifest.samples}
    wanted = {name: request_of(story).enlargement for name, story in stories.items()}
    assert {name: (one.stride, one.views) for name, one in wanted.items() if one is not None} == {
        "sdxl, 4 steps": (8, 16), "sdxl, 2 steps": (6, 12), "sdxl-turbo, 2 steps": (12, 12),
    }  # fmt: skip
    seconds = {one.method: one.median for one in timings(report.manifest.samples) if one.stage == "paint"}
    assert seconds["sdxl, 4 steps"] > seconds["sdxl, 2 steps"] > 0
    whole = table(score(report.manifest, plan, trusted, tmp_path / "cache"))
    crops = make_crops(report.manifest.samples, tmp_path / "crops", size=64, each=3, pictures=report.manifest.folder)
    assert (len(crops.samples), crops.rejections) == (18, ())
    cut = manifest_of([replace(one, image=Path(one.image).name) for one in crops.samples], tmp_path / "crops")
    details = table(score(cut, replace(plan, metrics=("fid", "is")), trusted, tmp_path / "cache"))
    for name, row in whole.items():
        assert set(row) == {"clip", "fid", "is", "kid"}
        assert set(details[name]) == {"fid", "is"}
        assert details[name]["fid"] != row["fid"]


def test_the_command_paints_a_plan_without_a_catalogue(models: Path, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(FUSION.format(models=models))
    options = ["--backend", "sd", "--size", "64x64", "--steps", "2", "--samples", "1"]
    done = command(
        "eval",
        "run",
        "--plan",
        "plan.toml",
        "-o",
        "out",
        "--json",
        "--model",
        models / "dreamshaper",
        *options,
        home=tmp_path,
    ).json
    assert (done["samples"], done["painted"], done["failed"]) == (2, 2, [])
    stories = [request_of(read_story(path)) for path in sorted((tmp_path / "out" / "pictures").glob("*.png"))]
    # What a variant says of its own goes before what is said for all.
    assert {(story.backend, story.steps) for story in stories} == {("sdxs", 1), ("sd", 4)}


# ---------------------------------------------------------------- files that are no plans


def test_a_file_names_image_prompts_and_enlargements(tmp_path: Path) -> None:
    plan = written(
        '[[variants]]\nname = "a"\nfields = { image_prompts = [{ model = "x.safetensors", pictures = [] }] }\n'
        '[[variants]]\nname = "b"\nenlargement = { scales = [2, 4], cosine = [3, 1, 1] }\n',
        tmp_path,
    )
    one, other = plan.variants
    assert one.fields == (("image_prompts", (ImagePrompt(model="x.safetensors", pictures=()),)),)
    assert Enlargement(**dict(other.enlargement)) == Enlargement(scales=(2, 4), cosine=(3.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("settings = { steps = 4, most = 2 }", "the variant a: there is no setting 'most' of painting"),
        ("setting = { steps = 4 }", "no 'setting' in a variant"),
        ("fields = { widht = 512 }", "no field 'widht'"),
        ('fields = { width = "wide" }', "the variant a: width: "),
        ("fields = { seed = 1 }", "its samples set it"),
        ('fields = { image_prompts = [{ model = "x", pictures = [], wieght = 1 }] }', "no field 'wieght'"),
        ("fields = { image_prompts = [3] }", "image_prompts.0"),
        ("enlargement = { strides = 3 }", "no field 'strides'"),
        ('enlargement = { stride = "far" }', "enlargement.stride"),
        ("enlargement = 3", "not a list of tables"),
    ],
)
def test_a_variant_that_cannot_be_says_why(text: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=why) as found:
        written(f'[[variants]]\nname = "a"\n{text}\n', tmp_path)
    assert str(found.value).startswith(str(tmp_path / "plan.toml"))


def test_a_setting_of_the_wrong_kind_is_one_sentence(tmp_path: Path) -> None:
    plan = Plan(variants=(Variant(name="odd", settings=(("steps", "many"),)),))
    with pytest.raises(InputError, match="the variant odd: setting steps: Input should be a valid integer"):
        run(plan, tmp_path)
