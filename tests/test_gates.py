"""The gates of the settings, and every way in at the command line: what they keep out never comes out.

What requests can ask for, server/test_limits.py, test_sdapi.py and test_mcp.py try; ComfyUI's node,
comfyui/test_nodes.py; fetching, test_cli_fetch.py; taking a dataset over, dataset/test_hostile.py.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from chat_server import chat_server, said
from command_line import Done, velatura
from PIL import Image

from velatura.errors import InputError
from velatura.gates import hold
from velatura.generation import save_png
from velatura.pipeline import Velatura
from velatura.playground.library import weights_folder
from velatura.records import AdapterRecord, Choice, Composition, Filter, GeneratedImage, GenerationRequest
from velatura.settings import default_settings

OUT: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "naked": ({"nsfwLevel": 16}, {"VELATURA_NSFW": "3"}, "its rating is not allowed"),
    "unrated": ({"nsfwLevel": 0}, {"VELATURA_NSFW": "3"}, "its rating is not allowed, or not known"),
    "unlicensed": ({"model": {"allowCommercialUse": ["None"]}}, {"VELATURA_COMMERCIAL": "sell"}, "its licence"),
    "actress": ({"model": {"poi": True}}, {"VELATURA_REAL_PEOPLE": "false"}, "it depicts a real person"),
    "young": ({"model": {"minor": True}}, {}, "it depicts a minor"),
    "blocked": ({}, {"VELATURA_BLOCKED": '["blocked.safetensors"]'}, "it is blocked"),
}
"""File, what its page says, the settings that keep it out, and why."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's folder: one file for each gate, and one that passes them all."""
    folder = tmp_path_factory.mktemp("person")
    (folder / "loras").mkdir()
    sources = sorted((weights_folder() / "loras").glob("*.safetensors"))
    pages: dict[str, dict[str, Any]] = {"fine": {}, **{name: told for name, (told, _, _) in OUT.items()}}
    for number, (name, told) in enumerate(pages.items(), 1):
        shutil.copy(sources[number], folder / "loras" / f"{name}.safetensors")
        model = {"name": name.title(), "allowCommercialUse": ["Sell"], **told.get("model", {})}
        page = {"id": number, "modelId": number, "baseModel": "SD 1.5", "nsfwLevel": 1, "trainedWords": [f"{name}fox"]}
        (folder / "loras" / f"{name}.civitai.info").write_text(json.dumps({**page, **told, "model": model}))
    assert velatura("index", "loras", "--no-embed", home=folder).returncode == 0
    return folder


def _composition(file: Path, **said_of_it: Any) -> str:
    choice = {"source": "folder", "key": str(file), "title": "Harmless", "weight": 1, "span": "fox", **said_of_it}
    return json.dumps({"prompt": "a fox", "choices": [choice], "composer": "me"})


def _written(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def _painted(file: Path, folder: Path) -> Path:
    """A picture of ours, as another machine may have painted it."""
    record = AdapterRecord(source="folder", key=str(file), title="Harmless", path=str(file), file_name=file.name)
    composition = Composition(prompt="a fox", choices=(Choice(adapter=record, weight=1.0, span="fox"),))
    request = GenerationRequest(composition=composition, seed=1, model=str(weights_folder() / "base"), backend="sd")
    made = GeneratedImage(image=Image.new("RGB", (8, 8)), request=request, seed=1, seconds=0.1)
    return save_png(made, folder / "painted.png", overwrite=True)


FILES = {
    "composition": lambda file, to: _written(to / "a.json", _composition(file)),
    "composition with a false rating": lambda file, to: _written(to / "b.json", _composition(file, nsfw=1)),
    "composition with a false name": lambda file, to: _written(
        to / "c.json", _composition(file, key="elsewhere", path=str(file.parent / ".." / "loras" / file.name))
    ),
    "A1111's text": lambda file, to: _written(
        to / "a.txt", f"a fox <lora:{file.stem}:1>\nNegative prompt: x\nSteps: 20, Sampler: Euler, Seed: 1, Size: 64x64"
    ),
    "ComfyUI's workflow": lambda file, to: _written(to / "d.json", json.dumps({
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "base.safetensors"}},
        "2": {"class_type": "LoraLoader", "inputs": {
            "lora_name": file.name, "strength_model": 1.0, "strength_clip": 1.0, "model": ["1", 0], "clip": ["1", 1]}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["2", 1]}},
    })),
    "picture": _painted,
}  # fmt: skip
COMMANDS = {"import": (), "export": ("--to", "a1111"), "generate": ("--model", weights_folder() / "base"), "push": ()}


def run(home: Path, *arguments: object, **environment: str) -> Done:
    return velatura(*arguments, home=home, **{"VELATURA_DEVICE": "cpu", "VELATURA_OFFLINE": "true", **environment})


# Every gate by two forms, and every form by two gates.
PAIRS = [(name, form) for row, name in enumerate(OUT) for column, form in enumerate(FILES) if (row + column) % 3 == 0]


@pytest.mark.parametrize(("name", "form"), PAIRS)
def test_file_of_any_form_does_not_bring_in_what_is_kept_out(home: Path, tmp_path: Path, name: str, form: str) -> None:
    _, settings, why = OUT[name]
    # Each form by one command more than `import`: all of them read files at the same place.
    others = sorted(set(COMMANDS) - {"import"})
    for command in ("import", others[(list(FILES).index(form) + list(OUT).index(name)) % len(others)]):
        if (form, command) == ("A1111's text", "generate"):
            continue
        made = FILES[form](home / "loras" / f"{name}.safetensors", tmp_path)
        done = run(home, command, made, *COMMANDS[command], **settings)
        assert done.returncode == 1, (command, done.stdout)
        assert why in done.stderr
        assert done.stdout == ""


@pytest.mark.parametrize("name", OUT)
def test_run_and_repaint_hold_the_gates(home: Path, tmp_path: Path, name: str) -> None:
    _, settings, why = OUT[name]
    file = home / "loras" / f"{name}.safetensors"
    lines = _written(tmp_path / "runs.jsonl", _composition(file) + "\n")
    model = ("--model", weights_folder() / "base")
    for command in (("run", lines, "-o", tmp_path / "run", *model), ("repaint", _painted(file, tmp_path), *model)):
        done = run(home, *command, **settings)
        assert (done.returncode, why in done.stderr) == (1, True), done.stderr
    assert not list(tmp_path.glob("run/*.png"))


def test_neither_a_prompt_nor_a_language_model_brings_it_in(home: Path) -> None:
    """It is not offered to the model; one that names numbers all the same has them dropped. Each has its own gate."""
    every = {name: value for _, settings, _ in OUT.values() for name, value in settings.items()}
    prompt = ", ".join(["a finefox", *(f"a {name}fox, {name} <lora:{name}:1>" for name in OUT)])
    numbered = [{"number": number, "reason": "it must be", "sure": 100} for number in range(1, 9)]
    answer = json.dumps({"tasks": [{"words": "finefox", "adapters": numbered}], "refused": []})
    with chat_server(said(answer)) as script:
        llm = {"VELATURA_LLM": "eye", "VELATURA_LLM_URL": script.url, "OPENAI_API_KEY": "k", "NO_PROXY": "127.0.0.1"}
        for composer in ("builtin", "llm"):
            told = run(home, "compose", prompt, "--composer", composer, "--json", **every, **llm)
            assert [Path(choice["key"]).stem for choice in told.json["choices"]] == ["fine"], composer
        asked = json.dumps(script.asked)
    assert "title: Fine" in asked
    found = run(home, "search", prompt, "--json", **every).json["candidates"]
    assert [Path(each["key"]).stem for each in found] == ["fine"]
    for name in OUT:
        assert f"title: {name.title()}" not in asked


def test_the_gates_let_through_what_they_do_not_keep_out(home: Path, tmp_path: Path) -> None:
    every = {name: value for _, settings, _ in OUT.values() for name, value in settings.items()}
    for form, make in FILES.items():
        done = run(home, "import", make(home / "loras" / "fine.safetensors", tmp_path), "--json", **every)
        [choice] = done.json["choices"]
        assert Path(choice["key"]).stem == "fine" or form == "composition with a false name"
    stranger = _written(tmp_path / "e.json", _composition(tmp_path / "gone.safetensors"))
    assert "its rating and its licence are not known" in run(home, "import", stranger, **every).stderr
    assert run(home, "import", stranger).returncode == 0


def test_link_to_a_file_is_the_file(home: Path, tmp_path: Path) -> None:
    (tmp_path / "link.safetensors").symlink_to(home / "loras" / "actress.safetensors")
    record = AdapterRecord(source="folder", key="link", title="Link", path=str(tmp_path / "link.safetensors"))
    composition = Composition(prompt="a", choices=(Choice(adapter=record, weight=1.0, span="a"),))
    with Velatura(default_settings(db=str(home / "catalogue.db")), read_only=True) as opened:
        with pytest.raises(InputError, match="depicts a real person"):
            hold(opened.store, composition, Filter(real_people=False))
        hold(opened.store, composition, Filter())
