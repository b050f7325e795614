"""What a file, a folder or a model is called where the folders of this machine are nobody's business."""

from __future__ import annotations

import re
from pathlib import Path

from .hub import HUB_FILE, HUB_ID


def bare(model: str) -> str:
    """Return what a model is called: a repository's name or file on the hub as it is, all else without its folders.

    >>> bare("/home/ada/models/fox.safetensors"), bare("~/models/fox"), bare("stabilityai/sdxl-turbo")
    ('fox.safetensors', 'fox', 'stabilityai/sdxl-turbo')
    >>> bare("h94/IP-Adapter/models/ip-adapter_sd15.safetensors")
    'h94/IP-Adapter/models/ip-adapter_sd15.safetensors'
    """
    is_hubs = HUB_ID.fullmatch(model) or HUB_FILE.fullmatch(model)
    return model if is_hubs and not is_path(model) else bare_file(model)


def bare_file(path: str) -> str:
    r"""Return the name of what is a file or a folder for certain, of either spelling, without its folders.

    >>> bare_file("loras/ink/fox.safetensors"), bare_file("C:\\loras\\fox.safetensors")
    ('fox.safetensors', 'fox.safetensors')
    """
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1] or path


def is_path(name: str) -> bool:
    """Whether a name is a path of this machine; what the machine cannot be asked for counts as one."""
    try:
        path = Path(name).expanduser()
        return path.is_absolute() or path.exists()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL in it, or the home of somebody unknown
        return True
