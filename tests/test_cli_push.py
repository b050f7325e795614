"""`push`: what Lora Manager is sent, what is told of its answers, and the recipes that it finds."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import velatura
from paint_servers import PaintServer, Sent, serving
from PIL import Image

from velatura.playground.library import find_weights

PUSH = ("POST", "/api/lm/update-lora-code")
PROMPT = "a rocketish thing"
PICKS = "picks.json"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person's folder with a catalogue of two files; nothing is embedded."""
    folder = tmp_path_factory.mktemp("person")
    (folder / "loras" / "art").mkdir(parents=True)
    for name in ("rocket", "ghost"):
        path = folder / "loras" / "art" / f"{name}.safetensors"
        shutil.copy(find_weights() / "loras" / path.name, path)
        path.with_suffix(".json").write_text(json.dumps({"activation text": f"{name}ish", "preferred weight": 0.7}))
    done = velatura("index", "loras", "--no-embed", home=folder)
    assert done.returncode == 0, done.stderr
    (folder / PICKS).write_text(velatura("compose", PROMPT, "--json", home=folder).stdout)
    return folder


class LoraManagerServer(PaintServer):
    """A stand-in for Lora Manager's route: it answers as that does, and shows nothing to any page."""

    def __init__(self) -> None:
        super().__init__()
        self.routes[PUSH] = self._push

    def _push(self, asked: Any) -> tuple[int, Any]:
        if not asked.body.get("lora_code"):
            return 400, {"success": False, "error": "Missing lora_code parameter"}
        nodes = asked.body.get("node_ids")
        if nodes is None:
            return 200, {"success": True, "results": [{"node_id": "broadcast", "success": True}]}
        told = [{"node_id": int(n["node_id"]), "graph_id": n["graph_id"], "success": True} for n in nodes]
        return 200, {"success": True, "results": told}


@pytest.fixture
def server() -> Iterator[LoraManagerServer]:
    server = LoraManagerServer()
    with serving(server):
        yield server


def test_picks_are_sent_to_every_loader(home: Path, server: LoraManagerServer) -> None:
    done = velatura("push", PROMPT, "--server", server.url, home=home)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "<lora:rocket:0.7>\n"
    assert [asked.body for asked in server.to(PUSH[1])] == [{"lora_code": "<lora:rocket:0.7>", "mode": "append"}]


def test_loaders_are_named_and_what_they_hold_is_replaced(home: Path, server: LoraManagerServer) -> None:
    told = velatura(
        "push", PICKS, "--server", server.url, "--node", 12, "--node", "7f:3", "--mode", "replace", "--json", home=home
    ).json
    (asked,) = server.to(PUSH[1])
    nodes = [{"node_id": "12", "graph_id": None}, {"node_id": "3", "graph_id": "7f"}]
    assert asked.body == {"lora_code": "<lora:rocket:0.7>", "mode": "replace", "node_ids": nodes}
    assert told["sent"] == [{"node": "12", "failure": None}, {"node": "7f:3", "failure": None}]
    assert told["text"] == "<lora:rocket:0.7>"
    assert [choice["title"] for choice in told["composition"]["choices"]] == ["rocket"]


def test_a_composition_is_sent_as_it_stands(home: Path, server: LoraManagerServer) -> None:
    composition = json.loads((home / PICKS).read_text())
    composition["choices"][0]["weight"] = -1.25
    (home / "edited.json").write_text(json.dumps(composition))
    done = velatura("push", "edited.json", "--server", server.url, home=home)
    assert done.stdout == "<lora:rocket:-1.25>\n"


def test_the_settings_name_the_server_of_comfyui_alone(home: Path, server: LoraManagerServer) -> None:
    done = velatura("push", PICKS, home=home, VELATURA_SERVER=server.url, VELATURA_BACKEND="comfyui")
    assert done.returncode == 0, done.stderr
    with serving(other := PaintServer()):
        velatura("push", PICKS, "--server", server.url, home=home, VELATURA_SERVER=other.url, VELATURA_BACKEND="a1111")
    assert len(server.to(PUSH[1])) == 2
    assert other.asked == []


def test_nothing_is_sent_where_nothing_serves(home: Path, server: LoraManagerServer) -> None:
    done = velatura("push", "a plain red ball", "--server", server.url, home=home)
    assert (done.returncode, done.stdout) == (0, "")
    assert "no adapter serves this, so nothing was handed on" in done.stderr
    assert server.asked == []
    told = velatura("push", "a plain red ball", "--server", server.url, "--json", home=home).json
    assert (told["text"], told["sent"]) == ("", [])


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((404, {}), "has no /api/lm/update-lora-code; look whether ComfyUI-Lora-Manager is installed there"),
        ((500, {"success": False, "error": "no\x1b[2J page"}), "error: Lora Manager refuses: no [2J page"),
        ((200, {"success": False, "error": "busy"}), "error: Lora Manager fails: busy"),
        ((200, [1]), "error: Lora Manager fails: it does not say why"),
        ((200, b"<html>"), "is hardly ComfyUI: it sends a page for a browser"),
        (Sent(302, b"", {"Location": "http://10.0.0.1/"}), "sends on to http://10.0.0.1/, which is not followed"),
        (
            (200, {"success": True, "results": [{"node_id": 5, "success": False, "error": "no page"}, "?"]}),
            "error: Lora Manager did not hand it on to node 5: no page",
        ),
    ],
)
def test_what_goes_wrong_is_one_sentence(home: Path, server: LoraManagerServer, answer: Any, sentence: str) -> None:
    server.routes[PUSH] = answer
    done = velatura("push", PICKS, "--server", server.url, home=home)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_not_there_is_one_sentence(home: Path) -> None:
    done = velatura("push", PICKS, "--server", "http://127.0.0.1:9", home=home)
    assert done.returncode == 1
    assert done.stderr.endswith("error: ComfyUI does not answer at http://127.0.0.1:9; is it running?\n")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--server", "file:///etc"], "must be like http://"),
        (["--node", "7:"], "is no node"),
        (["--recipes", "."], "it goes with --to recipe"),
        (["--to", "recipe"], "it goes with --to recipe"),
        (["--to", "recipe", "--recipes", ".", "--node", "3"], "no server is asked"),
        (["--picture", "a.png"], "it goes with --to recipe"),
        (["--to", "recipe", "--recipes", "nowhere"], "there is no folder nowhere; Lora Manager keeps"),
        (["--to", "recipe", "--recipes", ".", "--picture", "none.png"], "there is no file none.png"),
    ],
)
def test_what_cannot_be_meant_is_told(home: Path, options: list[str], sentence: str) -> None:
    done = velatura("push", PICKS, *options, home=home)
    assert done.returncode in (1, 2)
    assert sentence in " ".join(done.stderr.replace("│", " ").split())


def test_a_recipe_is_what_lora_manager_looks_for(home: Path, tmp_path: Path) -> None:
    Image.new("RGB", (960, 600), (9, 120, 40)).save(home / "painted.png")
    asked = (
        "push",
        PROMPT,
        "--to",
        "recipe",
        "--recipes",
        tmp_path,
        "--picture",
        "painted.png",
        "--negative",
        "blurry",
    )
    told = velatura(*asked, "--json", home=home).json
    recipe = json.loads(Path(told["recipe"]).read_text(encoding="utf-8"))
    assert told["recipe"] == str(tmp_path / f"{recipe['id']}.recipe.json")
    assert recipe["file_path"] == told["picture"] == str(tmp_path / f"{recipe['id']}.webp")
    assert recipe["title"] == PROMPT
    assert recipe["modified"] == recipe["created_date"] > 1.7e9
    assert recipe["has_workflow"] is False
    assert recipe["gen_params"] == {"prompt": PROMPT, "negative_prompt": "blurry"}
    digest = hashlib.sha256((home / "loras" / "art" / "rocket.safetensors").read_bytes()).hexdigest()
    (entry,) = recipe["loras"]
    assert entry | {"modelName": "", "modelVersionName": ""} == {
        "file_name": "rocket", "hash": digest, "strength": 0.7, "modelVersionId": 0, "modelName": "",
        "modelVersionName": "", "isDeleted": False, "exclude": False,
    }  # fmt: skip
    assert recipe["fingerprint"] == f"{digest}:0.7"
    with Image.open(told["picture"]) as picture:
        assert (picture.format, picture.size) == ("WEBP", (480, 300))
    again = velatura(*asked, home=home)
    assert again.returncode == 1
    assert f"this recipe is there already: {told['recipe']}" in again.stderr
    back = velatura("import", told["recipe"], "--json", home=home).json
    assert [(choice["title"], choice["weight"]) for choice in back["choices"]] == [("rocket", 0.7)]


def test_a_recipe_without_a_picture_has_a_plain_one(home: Path, tmp_path: Path) -> None:
    done = velatura("push", PICKS, "--to", "recipe", "--recipes", tmp_path, home=home)
    assert done.returncode == 0, done.stderr
    assert "a plain picture stands for the recipe" in done.stderr
    with Image.open(next(tmp_path.glob("*.webp"))) as picture:
        assert picture.size == (480, 640)
    nothing = velatura("push", "a plain red ball", "--to", "recipe", "--recipes", tmp_path, "--json", home=home)
    assert nothing.json == {"recipe": None, "picture": None, "notes": []}
    assert len(list(tmp_path.iterdir())) == 2


def test_files_that_a_composition_only_names_are_not_read(home: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    (tmp_path / "recipes").mkdir()
    stranger = {
        "prompt": "x",
        "choices": [
            {"source": "folder", "key": str(secret), "title": "x", "path": str(secret), "weight": 1, "span": ""}
        ],
    }
    (tmp_path / "stranger.json").write_text(json.dumps(stranger))
    done = velatura("push", tmp_path / "stranger.json", "--to", "recipe", "--recipes", tmp_path / "recipes", home=home)
    assert done.returncode == 0, done.stderr
    (recipe,) = (tmp_path / "recipes").glob("*.json")
    assert hashlib.sha256(b"secret").hexdigest() not in recipe.read_text(encoding="utf-8")
