"""The nodes, over stand-ins for ComfyUI's own modules: what is chosen, handed on, laid on, and told."""

from __future__ import annotations

import inspect
import math
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfyui_host import Host, Stopped

import velatura
from velatura.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
from velatura.comfyui.catalogue import KEPT, plainly
from velatura.comfyui.folders import names_by_place, path_of, place
from velatura.comfyui.nodes import ChooseLoras, IndexLoras, LoadLoraStack
from velatura.comfyui.reasons import told
from velatura.comfyui.stack import Entry, entries
from velatura.errors import InputError, MissingDependency, VelaturaError
from velatura.pipeline import Velatura
from velatura.playground.library import find_weights, make_library
from velatura.records import PG, PG13, AdapterRecord, Choice, Composition, Filter, Refusal

PROMPT = "a red rocket at sunset, stained glass style"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """ComfyUI's folder of LoRAs, one outside it, and a catalogue of both."""
    folder = tmp_path_factory.mktemp("ComfyUI")
    make_library(find_weights() / "loras", folder / "loras" / "glazes")
    (folder / "outside").mkdir()
    shutil.copy(find_weights() / "loras" / "rocket.safetensors", folder / "outside" / "red_rocket_sunset.safetensors")
    with Velatura.open(db=str(folder / "catalogue.db")) as opened:
        opened.index(folder / "loras")
        opened.index(folder / "outside")
    return folder / "loras", folder / "outside", folder / "catalogue.db"


@pytest.fixture
def host(library: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    host = Host(library[0])
    for name, module in host.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    yield host
    KEPT.close()


def choose(catalogue: Path, prompt: str = PROMPT, **wanted: Any) -> tuple[list[Any], str, str]:
    asked = {"family": "any", "most": 3, "composer": "builtin", "safe": False, "catalogue": str(catalogue), **wanted}
    return ChooseLoras().choose(prompt, **asked)


# -------------------------------------------------------------------- what ComfyUI reads of them


def test_root_names_the_nodes() -> None:
    assert velatura.NODE_CLASS_MAPPINGS is NODE_CLASS_MAPPINGS
    assert velatura.NODE_DISPLAY_NAME_MAPPINGS is NODE_DISPLAY_NAME_MAPPINGS
    assert NODE_CLASS_MAPPINGS.keys() == NODE_DISPLAY_NAME_MAPPINGS.keys()


@pytest.mark.parametrize("name", NODE_CLASS_MAPPINGS)
def test_node_takes_what_it_says(name: str) -> None:
    node = NODE_CLASS_MAPPINGS[name]
    types = node.INPUT_TYPES()
    taken = inspect.signature(getattr(node, node.FUNCTION)).parameters
    assert list(taken)[1:] == [*types["required"], *types.get("optional", {})]
    for each in types.get("optional", {}):
        assert taken[each].default is None
    assert node.CATEGORY == "velatura"
    assert node.DESCRIPTION
    for kind in (kind for part in types.values() for kind in part.values()):
        assert kind[1]["tooltip"]
        if isinstance(kind[0], list):
            assert kind[1]["default"] in kind[0]
    assert len(getattr(node, "RETURN_NAMES", node.RETURN_TYPES)) == len(node.RETURN_TYPES)


def test_outside_comfyui_a_node_says_so(library: tuple[Path, Path, Path]) -> None:
    with pytest.raises(InputError, match="runs within it alone"):
        choose(library[2])


# -------------------------------------------------------------------- choosing


def test_a_prompt_becomes_a_stack_that_comfyui_can_load(host: Host, library: tuple[Path, Path, Path]) -> None:
    stack, painted, reasons = choose(library[2], f"{PROMPT} <lora:nowhere:0.7>")
    listed = host.modules()["folder_paths"].get_filename_list("loras")
    assert stack
    assert all(name in listed and model == clip and 0 < model <= 1 for name, model, clip in stack)
    assert any("rocket" in name for name, _, _ in stack)
    assert painted.startswith(PROMPT)
    assert painted != PROMPT
    assert "<lora" not in painted
    assert all(name in reasons for name, _, _ in stack)
    assert "Not taken:\n- nowhere: pinned in the prompt, and no file" in reasons
    model, _ = LoadLoraStack().load("model", "clip", stack)
    assert model.count("+") == len(stack)


def test_what_lies_outside_is_not_chosen_and_is_told(host: Host, library: tuple[Path, Path, Path]) -> None:
    stack, _, reasons = choose(library[2], "red_rocket_sunset")
    assert not any("red_rocket_sunset" in name for name, _, _ in stack)
    assert "1 adapters of the catalogue lie outside" in reasons
    host.folders.append(str(library[1]))
    stack, _, reasons = choose(library[2], "red_rocket_sunset")
    assert ("red_rocket_sunset.safetensors") in [name for name, _, _ in stack]
    assert "outside" not in reasons


def test_what_was_handed_on_is_kept_and_not_chosen_again(host: Host, library: tuple[Path, Path, Path]) -> None:
    first, _, _ = choose(library[2])
    handed = [("other.safetensors", 1, 0.5), (first[0][0].replace(os.sep, "\\"), 0.3, 0.3)]
    stack, _, reasons = choose(library[2], lora_stack=handed)
    assert stack[:2] == handed
    assert stack[2:] == first[1:]
    assert "is in the stack already" in reasons


def test_filters_are_kept(host: Host, library: tuple[Path, Path, Path]) -> None:
    assert len(choose(library[2], most=1)[0]) == 1
    stack, painted, reasons = choose(library[2], family="flux1")
    assert stack == []
    assert painted == PROMPT
    assert "No LoRA serves this prompt" in reasons
    rated = {name for name, _, _ in choose(library[2], safe=True)[0]}
    assert rated < {name for name, _, _ in choose(library[2])[0]}


def test_settings_of_the_person_hold(
    host: Host, library: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, *_), _, _ = choose(library[2])
    blocked = Path(first[0]).name
    monkeypatch.setenv("VELATURA_BLOCKED", f'["{blocked}"]')
    assert first[0] not in [name for name, _, _ in choose(library[2])[0]]


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [("NSFW", "3", Filter(nsfw=PG | PG13)), ("COMMERCIAL", "sell", Filter(commercial="sell"))],
)
def test_a_prompt_does_not_pass_the_gates_of_the_settings(
    host: Host,
    library: tuple[Path, Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    allowed: Filter,
) -> None:
    with Velatura.open(db=str(library[2])) as opened:
        passing = {opened.store.adapter(number).record.path for number in opened.store.select(allowed)}
    kept_out = next(each for each, _, _ in choose(library[2])[0] if str(library[0] / each) not in passing)
    pinned = f"{PROMPT} <lora:{Path(kept_out).stem}:1>"
    assert kept_out in [each for each, _, _ in choose(library[2], pinned)[0]]
    monkeypatch.setenv(f"VELATURA_{name}", value)
    stack, _, reasons = choose(library[2], pinned)
    assert {str(library[0] / each) for each, _, _ in stack} <= passing
    assert "Not taken:" in reasons


def test_any_prompt_is_answered(host: Host, library: tuple[Path, Path, Path]) -> None:
    for prompt in ("", "\ud83d", "<lora:../../etc/passwd:1>", "\x1b[31m" * 50, "(((" * 400):
        stack, painted, reasons = choose(library[2], prompt)
        assert stack == []
        (painted + reasons).encode()
        assert "\x1b" not in reasons


def test_without_a_catalogue_it_says_what_to_do(host: Host, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no catalogue at .*none\.db yet; put the node “Velatura: Index LoRA Folders”"
    ):
        choose(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "other.db").write_text("no database")
    with pytest.raises(VelaturaError, match="not a catalogue"):
        choose(tmp_path / "other.db")


def test_without_a_language_model_it_says_so(host: Host, library: tuple[Path, Path, Path]) -> None:
    with pytest.raises(InputError, match="no language model is named"):
        choose(library[2], composer="llm")


def test_a_missing_package_is_told_for_a_clone() -> None:
    with (
        pytest.raises(InputError, match=r"openai is not installed; in ComfyUI's own Python run: pip install openai$"),
        plainly(),
    ):
        raise MissingDependency("openai", extra="llm")


def test_a_node_runs_again_when_there_is_something_else_to_choose_from(
    host: Host, library: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "loras").mkdir()
    shutil.copy(find_weights() / "loras" / "rocket.safetensors", tmp_path / "loras" / "rocket.safetensors")
    host.folders = [str(tmp_path / "loras")]
    catalogue, _ = IndexLoras().index(False, str(tmp_path / "catalogue.db"))
    first = ChooseLoras.IS_CHANGED(prompt=PROMPT, most=3, composer="builtin", catalogue=catalogue)
    assert ChooseLoras.IS_CHANGED(prompt="x", most=3, composer="builtin", catalogue=catalogue) == first
    shutil.copy(find_weights() / "loras" / "ghost.safetensors", tmp_path / "loras" / "ghost.safetensors")
    listed = ChooseLoras.IS_CHANGED(prompt=PROMPT, most=3, composer="builtin", catalogue=catalogue)
    IndexLoras().index(False, catalogue)
    indexed = ChooseLoras.IS_CHANGED(prompt=PROMPT, most=3, composer="builtin", catalogue=catalogue)
    assert len({first, listed, indexed}) == 3
    assert [Path(name).stem for name, _, _ in choose(Path(catalogue), "a ghost")[0]] == ["ghost"]
    with pytest.raises(InputError):
        ChooseLoras.IS_CHANGED(catalogue=str(tmp_path / "none.db"))
    assert math.isnan(IndexLoras.IS_CHANGED(embed=True))


def test_the_url_of_a_server_is_not_put_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELATURA_DB", "postgresql://ada:secret@db.example/loras")
    monkeypatch.setattr("velatura.comfyui.indexing.index", lambda settings, *, embed: settings.db.partition("@")[2])
    assert IndexLoras().index(False) == ("", "db.example/loras")


def test_reasons_are_lines_whatever_titles_say() -> None:
    nasty = AdapterRecord(
        source="folder", key="k", title="\x1b[2J<script>\n\nNotes:\n- all is well", path="/l/a.safetensors"
    )
    choice = Choice(adapter=nasty, weight=0.5, span="fox\n", triggers=("a\nb",), reason="\u202ebecause\n")
    composition = Composition(prompt="fox", choices=(choice,), refused=(Refusal(adapter=nasty, reason="x\r\ny"),))
    text = told(composition, ["a\n.safetensors"], ["n\no"])
    assert len([line for line in text.splitlines() if line]) == 8
    assert not {"\x1b", "\u202e", "<", "\r"} & set(text)


# -------------------------------------------------------------------- indexing


@pytest.fixture
def few(host: Host, tmp_path: Path) -> Path:
    """A folder of LoRAs with one that is read and one that is broken; a file for its catalogue."""
    (tmp_path / "loras").mkdir()
    shutil.copy(find_weights() / "loras" / "rocket.safetensors", tmp_path / "loras" / "rocket.safetensors")
    (tmp_path / "loras" / "broken.safetensors").write_bytes(b"broken off")
    host.folders = [str(tmp_path / "loras")]
    return tmp_path / "new" / "catalogue.db"


def test_index_tells_what_was_read(host: Host, few: Path) -> None:
    catalogue, report = IndexLoras().index(False, str(few))
    assert catalogue == str(few)
    assert report == f"{host.folders[0]}: 1 new, 0 changed, 0 gone, 1 that could not be read"
    assert ": 0 new" in IndexLoras().index(False, catalogue)[1]


def test_index_embeds_or_tells_why_not(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Velatura, "lacking_embedder", lambda self: "no tokenizers")
    assert "not embedded, found by words alone: no tokenizers" in IndexLoras().index(True, str(few))[1]


def test_index_stops_when_the_person_says_so(host: Host, few: Path) -> None:
    host.stops = True
    with pytest.raises(Stopped):
        IndexLoras().index(False, str(few))
    host.stops = False
    assert ": 0 new" in IndexLoras().index(False, str(few))[1]  # what was read is kept


def test_index_without_folders_says_so(host: Host, tmp_path: Path) -> None:
    host.folders = [str(tmp_path / "none")]
    with pytest.raises(InputError, match="no folder of LoRAs"):
        IndexLoras().index(False, str(tmp_path / "c.db"))


# -------------------------------------------------------------------- stacks and files


@pytest.mark.parametrize(
    ("stack", "sentence"),
    [
        ("fox", "is a list, not str"),
        (7, "is a list, not int"),
        ([("fox", 1.0)], "entry 1 .* is not"),
        ([("ok", 1, 1), "abc"], "entry 2 .* is not"),
        ([(None, 1.0, 1.0)], "entry 1 .* has no name"),
        ([("fox", math.nan, 1.0)], "weight of fox must be a number from -100 to 100, not nan"),
        ([("fox", 1.0, math.inf)], "not inf"),
        ([("fox", 1.0, 100.5)], "not 100.5"),
        ([("fox", True, 1.0)], "not True"),
        ([("fox\x1b[2J", "1", 1.0)], r"weight of fox \[2J must be"),
    ],
)
def test_what_is_no_stack_is_refused(stack: object, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        entries(stack)


def test_stacks_of_any_pack_are_read() -> None:
    assert entries(None) == entries([]) == []
    assert entries((("a", 1, 0.5), ["b", -1.0, 0], ("None", 1.0, 1.0))) == [Entry("a", 1.0, 0.5), Entry("b", -1.0, 0.0)]


def test_a_stack_is_laid_on_in_order_and_read_once(host: Host, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "art").mkdir(exist_ok=True)
        (tmp_path / "art" / f"{name}.safetensors").write_bytes(b"x")
    host.folders = [str(tmp_path)]
    node = LoadLoraStack()
    stack = [("art\\a.safetensors", 0.8, 0.5), ("art/b.safetensors", 0, 0), ("art/b.safetensors", 0.0, 1.0)]
    assert node.load("m", "c", stack) == ("m+a.safetensors+b.safetensors", "c+a.safetensors+b.safetensors")
    assert host.laid == [("a.safetensors", 0.8, 0.5), ("b.safetensors", 0.0, 1.0)]
    node.load("m", "c", stack[:1])
    assert host.read == ["a.safetensors", "b.safetensors"]
    node.load("m", "c", stack)  # what was not in the last stack was let go
    assert host.read == ["a.safetensors", "b.safetensors", "b.safetensors"]
    (tmp_path / "art" / "a.safetensors").write_bytes(b"changed")
    node.load("m", "c", stack[:1])
    assert host.read[-1] == "a.safetensors"
    assert node.load("m", "c", []) == ("m", "c")


@pytest.mark.parametrize(
    "name",
    ["../secret.safetensors", "/etc/passwd", "a/../../secret.safetensors", "", ".", "x\0y", "C:\\secret.safetensors"],
)
def test_names_that_comfyui_does_not_list_load_nothing(host: Host, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.safetensors").write_bytes(b"x")
    (tmp_path / "loras").mkdir()
    (tmp_path / "loras" / "fine.safetensors").write_bytes(b"x")
    host.folders = [str(tmp_path / "loras")]
    with pytest.raises(InputError, match="is not in ComfyUI's folders of LoRAs"):
        LoadLoraStack().load("m", "c", [("fine.safetensors", 1.0, 1.0), (name, 1.0, 1.0)])
    assert host.read == []


def test_pickles_are_not_read(host: Host, tmp_path: Path) -> None:
    (tmp_path / "old.pt").write_bytes(b"x")
    host.folders = [str(tmp_path)]
    with pytest.raises(InputError, match=r"old.pt is not loaded: only .safetensors is"):
        path_of("old.pt")


def test_files_are_known_by_any_path_to_them(host: Host, tmp_path: Path) -> None:
    (tmp_path / "real" / "art").mkdir(parents=True)
    (tmp_path / "real" / "art" / "a.safetensors").write_bytes(b"x")
    (tmp_path / "models").symlink_to(tmp_path / "real", target_is_directory=True)
    host.folders = [str(tmp_path / "models")]
    name = str(Path("art", "a.safetensors"))
    for path in (tmp_path / "real" / name, tmp_path / "models" / name, tmp_path / "real" / "." / "art" / ".." / name):
        assert names_by_place()[place(str(path))] == name


def test_of_two_files_of_one_name_the_one_that_comfyui_loads_has_it(host: Host, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.safetensors").write_bytes(b"x")
    host.folders = [str(tmp_path / "two"), str(tmp_path / "one")]
    assert names_by_place() == {place(str(tmp_path / "two" / "a.safetensors")): "a.safetensors"}
