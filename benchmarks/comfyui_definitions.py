"""Whether what the tests believe of ComfyUI is so: its nodes' definitions, and how it loads a folder of custom nodes.

    python benchmarks/comfyui_definitions.py CHECKOUT [--write]

CHECKOUT is a checkout of ComfyUI (github.com/comfyanonymous/ComfyUI); of it nothing is installed, and neither its
models nor its server are started. Three things are done:

1. The `INPUT_TYPES` and `RETURN_TYPES` of the nodes in `tests/comfyui/definitions.json` are read out of its source, by
   running these classes with stand-ins for what they import, and compared with that file; `--write` writes it anew.
2. Workflows that are exported here are held against the definitions that were read.
3. The tracked and new files of this repository are copied to `custom_nodes/velatura-main` in a temporary folder, and
   ComfyUI's own `load_custom_node`, taken out of its source, loads them in a process that cannot import `velatura`.

Exits with 1 where anything is not as believed. To see it in a whole ComfyUI, clone the repository into its folder
`custom_nodes`, start it, and look for the nodes in `/object_info`.
"""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from comfyui_rules import DEFINITIONS, definitions, faults  # noqa: E402

from velatura.composer.formats import write  # noqa: E402
from velatura.records import AdapterRecord, Choice, Composition  # noqa: E402

SOURCES = ("nodes.py", "comfy_extras/nodes_freelunch.py", "comfy_extras/nodes_preview_any.py")
LOADER = "load_custom_node"


class Files(list):
    """The server's own files of a kind, whatever they are."""

    def __init__(self, kind: str) -> None:
        super().__init__([kind])
        self.kind = kind


def main() -> None:
    """Check the three, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--write", action="store_true", help="write what was read to the tests' file")
    arguments = parser.parse_args()
    checkout = arguments.checkout.resolve()
    version = ast.literal_eval((checkout / "comfyui_version.py").read_text().split("__version__ = ")[1])
    print(f"ComfyUI {version}")
    read = {name: facts(checkout, name) for name in definitions()}
    if arguments.write:
        DEFINITIONS.write_text(json.dumps(read, indent=1) + "\n", encoding="utf-8")
    wrong = [name for name, believed in definitions().items() if believed != read[name]]
    for name in wrong:
        print(f"{name} is {json.dumps(read[name])}\n  and is believed to be {json.dumps(definitions()[name])}")
    print(f"definitions: {len(read) - len(wrong)} of {len(read)} as believed")
    found = [fault for graph in exports() for fault in faults(graph, read)]
    print(f"exported workflows: {len(exports())}, faults: {found or 'none'}")
    loaded = load(checkout)
    print(f"loaded by ComfyUI's {LOADER}: {loaded}")
    sys.exit(1 if wrong or found or not loaded.get("loaded") else 0)


def facts(checkout: Path, name: str) -> dict[str, Any]:
    """Return the definition of a node, as the source has it."""
    for source in SOURCES:
        body = ast.parse((checkout / source).read_text(encoding="utf-8")).body
        classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
        if name not in classes:
            continue
        wanted = [classes[base.id] for base in classes[name].bases if isinstance(base, ast.Name) and base.id in classes]
        constants = [node for node in body if isinstance(node, ast.Assign) and node.targets[0].id == "MAX_RESOLUTION"]
        space = stand_ins(checkout)
        exec(compile(ast.Module([*constants, *wanted, classes[name]], []), source, "exec"), space)
        types = space[name].INPUT_TYPES()
        told = {part: {each: kind_of(kind) for each, kind in types.get(part, {}).items()} for part in PARTS}
        return {part: given for part, given in told.items() if given or part == "required"} | {
            "outputs": [str(each) for each in space[name].RETURN_TYPES]
        }
    raise SystemExit(f"{name} is in none of {', '.join(SOURCES)}")


PARTS = ("required", "optional")


def kind_of(told: Any) -> Any:
    """Return an input's kind as the tests have it."""
    kind, options = told[0], told[1] if len(told) > 1 else {}
    if isinstance(kind, Files) or kind == []:  # a folder without files has none to choose
        return {"files": getattr(kind, "kind", "input")}
    if isinstance(kind, list):
        return {"options": kind}
    if kind in ("INT", "FLOAT", "STRING", "BOOLEAN"):
        return {"type": str(kind), **{each: options[each] for each in ("min", "max") if each in options}}
    return str(kind)


def stand_ins(checkout: Path) -> dict[str, Any]:
    """Return what the classes of nodes name while they are read."""
    samplers = ast.parse((checkout / "comfy" / "samplers.py").read_text(encoding="utf-8"))
    named = {node.targets[0].id: node.value for node in samplers.body if isinstance(node, ast.Assign)}
    first = ast.literal_eval(named["KSAMPLER_NAMES"])
    more = ast.literal_eval(named["SAMPLER_NAMES"].right)
    schedules = [ast.literal_eval(key) for key in named["SCHEDULER_HANDLERS"].keys]
    sampler = SimpleNamespace(SAMPLERS=first + more, SCHEDULERS=schedules)
    folders = SimpleNamespace(
        get_filename_list=Files,
        get_input_directory=str,
        filter_files_content_types=lambda files, kinds: Files("input"),
    )
    strings = SimpleNamespace(STRING="STRING", CLIP="CLIP", CONDITIONING="CONDITIONING", ANY="*")
    return {
        "folder_paths": folders,
        "comfy": SimpleNamespace(samplers=SimpleNamespace(KSampler=sampler)),
        "os": SimpleNamespace(listdir=lambda folder: [], path=SimpleNamespace(isfile=bool, join=str)),
        "sorted": lambda files: files if isinstance(files, Files) else sorted(files),
        "torch": SimpleNamespace(),
        "IO": strings,
        "ComfyNodeABC": object,
        "InputTypeDict": dict,
        "__name__": "nodes",
    }


def exports() -> list[dict[str, Any]]:
    """Return workflows as they are exported: without adapters, with two, and laid into an earlier one."""
    records = [
        AdapterRecord(source="folder", key=name, title=name, path=f"/loras/art/{name}.safetensors", family="sdxl")
        for name in ("ink", "fox")
    ]
    chosen = tuple(
        Choice(adapter=record, weight=weight, span="") for record, weight in zip(records, (0.8, -1.5), strict=True)
    )
    none, two = (Composition(prompt="a fox", choices=choices) for choices in ((), chosen))
    given = {"checkpoint": "dream.safetensors", "negative": "blurry", "folder": "/loras"}
    made = [json.loads(write(each, "comfyui", **given).text) for each in (none, two)]
    return [*made, json.loads(write(two, "comfyui", base=made[1], **given).text)]


LOAD = """
import ast, asyncio, json, logging, sys, time
source, module, config = sys.argv[1:4]
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("velatura", "typer", "rich"):
            raise ImportError(f"{name} is not to be had here")
sys.meta_path.insert(0, Refuse())
sys.path.insert(0, config)
space = {"ComfyExtension": type("ComfyExtension", (), {}), "io": type("io", (), {"ComfyNode": object}),
         "LOADED_MODULE_DIRS": {}, "EXTENSION_WEB_DIRS": {},
         "NODE_CLASS_MAPPINGS": {}, "NODE_DISPLAY_NAME_MAPPINGS": {}}
import importlib.util, inspect, os, traceback
space |= {"importlib": importlib, "inspect": inspect, "os": os, "traceback": traceback, "sys": sys, "logging": logging}
wanted = ("get_module_name", "load_custom_node")
body = [node for node in ast.parse(open(source, encoding="utf-8").read()).body if getattr(node, "name", "") in wanted]
exec(compile(ast.Module(body, []), source, "exec"), space)
import pydantic_settings  # ComfyUI has it before any custom node is loaded
before = set(sys.modules)
begun = time.perf_counter()
done = asyncio.run(space["load_custom_node"](module))
seconds = time.perf_counter() - begun
heavy = sorted({"torch", "numpy", "sqlalchemy", "alembic", "faiss", "PIL"} & (set(sys.modules) - before))
print(json.dumps({"loaded": done, "seconds": round(seconds, 3), "heavy imports": heavy,
                  "nodes": space["NODE_DISPLAY_NAME_MAPPINGS"],
                  "module": [node.RELATIVE_PYTHON_MODULE for node in space["NODE_CLASS_MAPPINGS"].values()][0]}))
"""


def load(checkout: Path) -> dict[str, Any]:
    """Return what came of loading a copy of this repository as ComfyUI does."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "custom_nodes" / "velatura-main"
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/", "benchmarks/")):
                (clone / name).parent.mkdir(parents=True, exist_ok=True)
                (clone / name).write_bytes((ROOT / name).read_bytes())
        asked = [sys.executable, "-c", LOAD, str(checkout / "nodes.py"), str(clone), str(checkout)]
        for _ in range(2):  # the second time with compiled files, as ComfyUI starts every day
            done = subprocess.run(asked, capture_output=True, text=True, cwd=folder, check=False)
        if done.returncode:
            return {"loaded": False, "said": done.stderr[-2000:]}
        return {**json.loads(done.stdout.splitlines()[-1]), **({"said": done.stderr} if done.stderr else {})}


if __name__ == "__main__":
    main()
