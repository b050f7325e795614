"""Opens extractors by what people write: `clip:FOLDER_OR_ID`, `inception:FILE`, `resnet50:...`, `dinov2:...`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from ...errors import InputError
from .resize import Crop, Resize, Squared

if TYPE_CHECKING:
    from ..protocols import FeatureExtractor
    from .inception import InceptionNetwork
    from .vision import VisionExtractor

_FOLDERS = {"clip": (".clip", "Clip"), "resnet50": (".vision", "ResNet"), "dinov2": (".vision", "Dinov2")}


def open_extractor(
    spec: str,
    *,
    device: str = "cpu",
    local_files_only: bool = False,
    trusted: bool = False,
    resize: Resize = "pil",
    crop: Crop = "squeeze",
) -> FeatureExtractor:
    """Return the extractor that a specification names.

    Args:
        spec: `clip:`, `resnet50:` or `dinov2:` before a folder or a hub id, or `inception:`, `inception-logits:`,
            `inception-64:`, `inception-192:` or `inception-768:` before the file `inception-2015-12-05.pt`.
        device: `cpu`, `cuda`, ...
        local_files_only: Never ask the hub.
        trusted: Open an Inception file that is not the published one.
        resize: Of the Inception network: `pil` is clean-fid's to the bit.
        crop: Of the Inception network: `squeeze` as clean-fid does, or `centre`.

    Raises:
        MissingDependency: a package that it needs is not installed.
        InputError: there is no such extractor, or it cannot be opened; one sentence.
    """
    (found,) = open_extractors(
        [spec], device=device, local_files_only=local_files_only, trusted=trusted, resize=resize, crop=crop
    )
    return found


def open_extractors(
    specs: Sequence[str],
    *,
    device: str = "cpu",
    local_files_only: bool = False,
    trusted: bool = False,
    resize: Resize = "pil",
    crop: Crop = "squeeze",
) -> tuple[FeatureExtractor, ...]:
    """Return the extractors that specifications name; outputs of one Inception file share its network.

    Args:
        specs: As `open_extractor` takes them.
        device: See `open_extractor`, as the others.
        local_files_only: See there.
        trusted: See there.
        resize: See there.
        crop: See there.

    Raises:
        MissingDependency: a package that one needs is not installed.
        InputError: there is no such extractor, or it cannot be opened; one sentence.
    """
    networks: dict[str, InceptionNetwork] = {}
    found: list[FeatureExtractor] = []
    for spec in specs:
        name, _, where = spec.partition(":")
        if name.startswith("inception") and where:
            from .inception import WIDTHS, Inception, InceptionNetwork

            if name in WIDTHS:
                if where not in networks:
                    squared = Squared(resize, crop, device=device)
                    networks[where] = InceptionNetwork(where, trusted=trusted, squared=squared, device=device)
                found.append(Inception(networks[where], name))
                continue
        if name not in _FOLDERS or not where:
            raise InputError(
                f"{spec!r} names no extractor; write clip:, resnet50: or dinov2: before a folder or a hub id, or "
                "inception: before the file inception-2015-12-05.pt"
            )
        module, kind = _FOLDERS[name]
        opened: VisionExtractor = getattr(importlib.import_module(module, __package__), kind)(
            where, device=device, local_files_only=local_files_only
        )
        found.append(cast("FeatureExtractor", opened))
    return tuple(found)
