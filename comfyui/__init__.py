"""Velatura as nodes of ComfyUI, where the repository lies in its folder `custom_nodes`.

nodes.py      the three nodes, which ComfyUI finds by the names in `velatura.NODE_CLASS_MAPPINGS`
catalogue.py  the catalogue that they choose from, kept open from one prompt to the next
folders.py    ComfyUI's folders of LoRAs: what a file is called there, and where it lies
stack.py      what other packs hand on as LORA_STACK
reasons.py    a composition as a text for people

Nothing heavy is imported until a node runs, so that ComfyUI starts as fast as before.
"""

from __future__ import annotations

from .nodes import ChooseLoras, IndexLoras, LoadLoraStack

NODE_CLASS_MAPPINGS = {
    "VelaturaChooseLoras": ChooseLoras,
    "VelaturaLoadLoraStack": LoadLoraStack,
    "VelaturaIndexLoras": IndexLoras,
}
"""Every node by the name that workflows are saved with."""

NODE_DISPLAY_NAME_MAPPINGS = {
    "VelaturaChooseLoras": "Velatura: Choose LoRAs",
    "VelaturaLoadLoraStack": "Velatura: Load LoRA Stack",
    "VelaturaIndexLoras": "Velatura: Index LoRA Folders",
}
"""Every node's name for people."""
