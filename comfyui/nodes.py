"""The nodes: a prompt to a stack of LoRAs, a stack onto a model, and the catalogue brought into step with the folders.

ComfyUI calls a node by what its class says of it (`INPUT_TYPES`, `RETURN_TYPES`, `FUNCTION`), shows the sentence of an
error beside the node, and runs one again where its inputs, or what `IS_CHANGED` returns, are others than before.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from .stack import Stack

Inputs = dict[str, dict[str, Any]]

_CATEGORY = "velatura"
_ANY = "any"
_CATALOGUE = ("STRING", {"default": "", "tooltip": "The catalogue's file; empty takes that of the settings."})


class ChooseLoras:
    """Chooses LoRAs for a prompt among those in ComfyUI's folders."""

    DESCRIPTION = (
        "Chooses the LoRAs that serve a prompt, among those in ComfyUI's own folders, with their weights, the prompt "
        "with their triggers, and the reasons."
    )
    CATEGORY = _CATEGORY
    FUNCTION = "choose"
    RETURN_TYPES = ("LORA_STACK", "STRING", "STRING")
    RETURN_NAMES = ("lora_stack", "prompt", "reasons")
    OUTPUT_TOOLTIPS = (
        "The LoRAs with their weights, behind those that came in.",
        "The prompt with the triggers that were missing.",
        "What was chosen for which words, what was not, and why.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802 - ComfyUI's name
        """Return what ComfyUI shows and checks."""
        from ..families import TITLES

        return {
            "required": {
                "prompt": ("STRING", {"multiline": True, "default": "", "tooltip": "A prompt, as you would paint it."}),
                "family": (
                    [_ANY, *TITLES],
                    {"default": _ANY, "tooltip": "The base family of the model that will wear them."},
                ),
                "most": ("INT", {"default": 3, "min": 0, "max": 20, "tooltip": "The most LoRAs that are chosen."}),
                "composer": (
                    ["builtin", "llm", "stylus"],
                    {
                        "default": "builtin",
                        "tooltip": "Who chooses: rules, the language model that VELATURA_LLM names, or that model as "
                        "the Stylus paper asks it.",
                    },
                ),
                "safe": ("BOOLEAN", {"default": False, "tooltip": "Only rated PG or PG13; unrated is not safe."}),
            },
            "optional": {
                "catalogue": _CATALOGUE,
                "lora_stack": ("LORA_STACK", {"tooltip": "LoRAs that are handed on before the chosen ones."}),
            },
        }

    @classmethod
    def IS_CHANGED(  # noqa: N802 - ComfyUI's name
        cls, most: int | None = None, composer: str | None = None, catalogue: str | None = None, **_: Any
    ) -> str:
        """Return a text that changes with the catalogue, the settings and ComfyUI's list of LoRAs.

        Raises:
            VelaturaError: the catalogue cannot be read; ComfyUI then runs the node, which says so.
        """
        from .catalogue import KEPT, settings_of
        from .folders import lora_names

        settings = settings_of(catalogue, most=most, composer=composer)
        told = (KEPT.revision(settings), settings.model_dump_json(), *lora_names())
        return hashlib.sha256("\n".join(told).encode("utf-8", "surrogatepass")).hexdigest()

    def choose(
        self,
        prompt: str,
        family: str,
        most: int,
        composer: str,
        safe: bool,
        catalogue: str | None = None,
        lora_stack: object = None,
    ) -> tuple[Stack, str, str]:
        """Return the stack, the prompt with triggers, and the reasons.

        Raises:
            VelaturaError: one sentence: there is no catalogue yet, or what the composer needs is not there.
        """
        from .catalogue import KEPT, settings_of
        from .choosing import choose
        from .stack import entries

        handed = [(entry.name, entry.model, entry.clip) for entry in entries(lora_stack)]
        settings = settings_of(catalogue, most=most, composer=composer)
        with KEPT.opened(settings) as velatura:
            return choose(velatura, prompt, handed, family=None if family == _ANY else family, safe=safe)


class LoadLoraStack:
    """Lays a stack of LoRAs on a model and its text encoder, as ComfyUI's own loader does."""

    DESCRIPTION = "Lays the LoRAs of a stack, one after another, on the model and the text encoder."
    CATEGORY = _CATEGORY
    FUNCTION = "load"
    RETURN_TYPES = ("MODEL", "CLIP")

    def __init__(self) -> None:
        self._files: dict[tuple[str, int, int], Any] = {}

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802 - ComfyUI's name
        """Return what ComfyUI shows and checks."""
        return {
            "required": {
                "model": ("MODEL", {"tooltip": "The diffusion model that wears them."}),
                "clip": ("CLIP", {"tooltip": "Its text encoder."}),
                "lora_stack": ("LORA_STACK", {"tooltip": "From “Velatura: Choose LoRAs”, or any other stacker."}),
            }
        }

    def load(self, model: Any, clip: Any, lora_stack: object) -> tuple[Any, Any]:
        """Return the model and the text encoder with the LoRAs laid on; those that came in are left as they are.

        Raises:
            InputError: the stack is none, or names a file that ComfyUI does not list; nothing was loaded then.
        """
        from .folders import path_of
        from .stack import entries

        laid = [entry for entry in entries(lora_stack) if entry.model or entry.clip]
        files = [_stamped(path_of(entry.name)) for entry in laid]
        # Only this stack's files stay in memory, for the next prompt.
        self._files = {file: self._files[file] for file in files if file in self._files}
        for entry, file in zip(laid, files, strict=True):
            import comfy.sd  # type: ignore[import-not-found]
            import comfy.utils  # type: ignore[import-not-found]

            if file not in self._files:
                self._files[file] = comfy.utils.load_torch_file(file[0], safe_load=True)
            model, clip = comfy.sd.load_lora_for_models(model, clip, self._files[file], entry.model, entry.clip)
        return model, clip


class IndexLoras:
    """Brings the catalogue into step with ComfyUI's folders of LoRAs."""

    DESCRIPTION = "Reads what is new in ComfyUI's folders of LoRAs into the catalogue. Nothing is written into them."
    CATEGORY = _CATEGORY
    FUNCTION = "index"
    OUTPUT_NODE = True
    RETURN_TYPES = ("STRING", "STRING")
    RETURN_NAMES = ("catalogue", "report")
    OUTPUT_TOOLTIPS: ClassVar = (
        "The catalogue's file, nothing where a server keeps it; led to “Velatura: Choose LoRAs”, it has the choice "
        "wait for this.",
        "What was read.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802 - ComfyUI's name
        """Return what ComfyUI shows and checks."""
        tip = "Also embed the texts, so that LoRAs are found by meaning; fetches a model of 90 MB once."
        return {
            "required": {"embed": ("BOOLEAN", {"default": True, "tooltip": tip})},
            "optional": {"catalogue": _CATALOGUE},
        }

    @classmethod
    def IS_CHANGED(cls, **_: Any) -> float:  # noqa: N802 - ComfyUI's name
        """Return what is never the same: folders are looked into every time."""
        return float("nan")

    def index(self, embed: bool, catalogue: str | None = None) -> tuple[str, str]:
        """Return the catalogue's file and what was read. Can be stopped at any moment and goes on where it was.

        Raises:
            VelaturaError: one sentence: there is no folder of LoRAs, or the catalogue cannot be written.
        """
        from ..db import file_of
        from .catalogue import settings_of
        from .indexing import index

        settings = settings_of(catalogue)
        # A server's URL may hold a password, and what a node gives can be shown; nothing means that of the settings.
        told = settings.db if file_of(settings.db) else catalogue or ""
        return told, index(settings, embed=embed)


def _stamped(path: str) -> tuple[str, int, int]:
    """Return a file with its time and size, by which it is known whether it was changed."""
    found = os.stat(path)  # noqa: PTH116 - a path as ComfyUI spells it
    return path, found.st_mtime_ns, found.st_size
