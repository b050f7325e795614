"""Run by a test in a process of its own: the repository loaded as ComfyUI loads a folder of custom nodes, and used.

    python comfyui_clone.py FOLDER LORAS

ComfyUI names the module by its path, dots replaced, and reads the two mappings from it. That the names are such, and
that its own function does so, `benchmarks/comfyui_definitions.py` shows on ComfyUI's source.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

from comfyui_host import Host

ABSENT = ("velatura", "typer", "rich", "openai", "diffusers", "sentence_transformers", "requests", "huggingface_hub")
HEAVY = {"numpy", "sqlalchemy", "alembic", "faiss", "torch", "PIL", "pydantic"}


class Refuse:
    """What ComfyUI need not have, and what no clone may need: the installed package."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def main() -> None:
    folder, loras = sys.argv[1:]
    sys.meta_path.insert(0, Refuse())  # type: ignore[arg-type]
    Host(Path(loras)).install()
    before = set(sys.modules)
    name = folder.replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, str(Path(folder) / "__init__.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    told = {
        "web": hasattr(module, "WEB_DIRECTORY"),
        "names": module.NODE_DISPLAY_NAME_MAPPINGS,
        "heavy": sorted(HEAVY & (set(sys.modules) - before)),
    }
    nodes = {kind: node() for kind, node in module.NODE_CLASS_MAPPINGS.items()}
    told["inputs"] = {kind: sorted(node.INPUT_TYPES()) for kind, node in nodes.items()}
    catalogue, report = nodes["VelaturaIndexLoras"].index(False)
    prompt = "a rocket, glass style"
    stack, painted, reasons = nodes["VelaturaChooseLoras"].choose(prompt, "any", 3, "builtin", False, catalogue)
    model, clip = nodes["VelaturaLoadLoraStack"].load("model", "clip", stack)
    told |= {"report": report, "stack": stack, "prompt": painted, "reasons": reasons, "model": model, "clip": clip}
    told["ours"] = sorted({each.split(".")[0] for each in sys.modules} & set(ABSENT))
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
