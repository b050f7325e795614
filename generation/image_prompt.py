"""IP-Adapters (Ye and others, 2023): pictures that steer as words do, worn by a UNet while it paints, then taken off.

Each adapter brings a projection from what CLIP sees in a picture to a few tokens, and keys and values of its own for
every cross attention. The tokens of several pictures of one prompt stand after each other; several adapters add up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from ..errors import InputError
from ..records import ImagePrompt
from .checkpoint import quiet
from .clip_vision import ClipVision, Sight
from .control import model_of
from .hub import HUB_FILE, hub_file
from .weight_files import Shapes, json_of, local, shapes_of, stamp, tensors_of

if TYPE_CHECKING:
    from PIL.Image import Image

_KEPT: Final = 2
"""Sets of adapters that stay loaded."""
_BESIDE: Final = ("image_encoder", "../image_encoder", "../models/image_encoder", "../sdxl_models/image_encoder")
"""Where the authors' repository keeps an adapter's encoder, seen from the adapter."""
_COMFY: Final = ("clip_vision", "../clip_vision")
"""Where ComfyUI keeps all of them."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An image prompt with its pictures read, or painted just now."""

    prompt: ImagePrompt
    pictures: tuple[Image, ...]
    """In RGB."""


class ImagePrompts:
    """Puts image prompts on one UNet.

    Args:
        unet: The `diffusers.UNet2DConditionModel` that they steer.
        local_files_only: Never ask the hub.
    """

    def __init__(self, unet: Any, *, local_files_only: bool = False) -> None:
        self._unet = unet
        self._local_files_only = local_files_only
        self._clip = ClipVision(unet.device, unet.dtype, local_files_only=local_files_only)
        self._built: OrderedDict[Any, tuple[dict[str, Any], Any]] = OrderedDict()

    def check(self, prompt: ImagePrompt) -> None:
        """Say whether an image prompt can steer this model, from the headers of its files alone.

        Raises:
            InputError: the adapter or its encoder is not there, is none, or does not fit; one sentence.
            UnreadableFile: it is damaged.
        """
        shapes = shapes_of([self._file(prompt.model)])
        self._insist(shapes, prompt.model)
        self._encoder(prompt, shapes)

    def features(self, encoder: str, pictures: Sequence[Image], *, hidden: bool = False) -> Tensor:
        """Return what a CLIP vision model sees in pictures.

        Args:
            encoder: Its folder, `.safetensors` file or hub id.
            pictures: In RGB.
            hidden: Whether to return the last hidden layer but one, as the adapters named `plus` and `full` read it.

        Returns:
            (len(pictures), width), or with `hidden` (len(pictures), places, width).

        Raises:
            InputError: the encoder cannot be used; one sentence.
        """
        return self._clip.features(encoder, pictures, hidden=hidden)

    def embeddings(self, shown: Shown, *, guided: bool) -> Tensor:
        """Return what a pipeline of diffusers takes as the embeddings of one adapter (`ip_adapter_image_embeds`).

        Args:
            shown: One adapter's pictures.
            guided: Whether the picture of nothing goes before them, for classifier-free guidance.

        Returns:
            (2 or 1, pictures, width), or with places before the width.
        """
        shapes = shapes_of([self._file(shown.prompt.model)])
        encoder, hidden = self._encoder(shown.prompt, shapes), not _is_plain(shapes)
        seen = self.features(encoder, shown.pictures, hidden=hidden)[None]
        if not guided:
            return seen
        # As they were trained: without a picture the embedding is zero, the hidden layer that of a picture of zeros.
        nothing = (
            self._clip.features(encoder, [None], hidden=True).expand_as(seen) if hidden else torch.zeros_like(seen)
        )
        return torch.cat([nothing, seen])

    @contextmanager
    def worn(self, shown: Sequence[Shown], *, guided: bool) -> Iterator[list[Tensor]]:
        """Put image prompts on the UNet while the block runs; afterwards it is what it was, to the byte.

        Args:
            shown: The prompts with their pictures; several add up.
            guided: Whether the pipeline paints with classifier-free guidance.

        Yields:
            What the pipeline takes as `ip_adapter_image_embeds`.

        Raises:
            InputError: an adapter or its encoder cannot be used; one sentence.
            UnreadableFile: one is damaged.
        """
        unet = self._unet
        embeddings = [self.embeddings(one, guided=guided) for one in shown]
        processors, projections = self._adapters([one.prompt.model for one in shown])
        with _restored(unet):
            for processor in processors.values():
                processor.scale = [one.prompt.weight for one in shown]
            unet.set_attn_processor({**unet.attn_processors, **processors})
            unet.encoder_hid_proj, unet.config.encoder_hid_dim_type = projections, "ip_image_proj"
            yield embeddings

    def _adapters(self, names: Sequence[str]) -> tuple[dict[str, Any], Any]:
        """Return the cross attentions and the projections of a set of adapters; the last few stay loaded."""
        files = [self._file(name) for name in names]
        key = stamp(files)
        if key not in self._built:
            while len(self._built) >= _KEPT:
                self._built.popitem(last=False)
            self._built[key] = self._build(files, names)
        self._built.move_to_end(key)
        return self._built[key]

    def _build(self, files: Sequence[Path], names: Sequence[str]) -> tuple[dict[str, Any], Any]:
        unet = self._unet
        states = []
        for file, name in zip(files, names, strict=True):
            tensors = tensors_of([file])
            self._insist({key: tuple(value.shape) for key, value in tensors.items()}, name)
            states.append({part: _under(tensors, part) for part in ("image_proj", "ip_adapter")})
        with _restored(unet):
            try:
                with quiet(), torch.random.fork_rng(devices=[]):
                    unet._load_ip_adapter_weights(states)
            except Exception as error:  # the library raises of every kind, and an adapter is a stranger's input
                line = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise InputError(f"{' and '.join(names)} cannot be loaded as IP-Adapter: {line.rstrip('.')}") from error
            processors = {name: one for name, one in unet.attn_processors.items() if hasattr(one, "to_k_ip")}
            projections = unet.encoder_hid_proj
        device, dtype = unet.device, unet.dtype
        for module in (*processors.values(), projections):
            module.to(device, dtype).eval().requires_grad_(requires_grad=False)
        return processors, projections

    def _file(self, name: str) -> Path:
        path = local(name)
        if path is None and (found := HUB_FILE.fullmatch(name)):
            return hub_file(found["repository"], found["file"], local_files_only=self._local_files_only)
        if path is None or not path.is_file():
            raise InputError(
                f"there is no IP-Adapter {name!r}: give a .safetensors file, or owner/name/path/in/it.safetensors"
            )
        return path

    def _insist(self, shapes: Shapes, name: str) -> None:
        """Insist on an adapter for this very UNet, and of a sort that looks through CLIP."""
        projection, attention = _under(shapes, "image_proj"), _under(shapes, "ip_adapter")
        if not projection or not attention:
            raise InputError(f"{name} is no IP-Adapter: it lacks image_proj or ip_adapter")
        if _is_face(projection) or any("_lora." in key for key in attention):
            raise InputError(
                f"{name} is an IP-Adapter FaceID, which needs a face recogniser; take one that looks through CLIP"
            )
        wanted = _expected(self._unet)
        widths = {shape[-1] for key, shape in attention.items() if key.endswith("to_k_ip.weight") and shape}
        here = self._unet.config.cross_attention_dim
        if len(widths) == 1 and widths != {here}:
            raise InputError(
                f"{name} is an IP-Adapter for {model_of(*widths)}, and this checkpoint is {model_of(here)}"
            )
        if any(attention.get(key) != shape for key, shape in wanted.items()) or len(attention) != len(wanted):
            many = len(wanted) // 2
            raise InputError(
                f"{name} is an IP-Adapter for another model: it has {len(attention) // 2} cross attentions or "
                f"other widths, and this checkpoint has {many}"
            )

    def _encoder(self, prompt: ImagePrompt, shapes: Shapes) -> str:
        """Return the encoder of an adapter by a name that `ClipVision` takes."""
        plain, width = _is_plain(shapes), _wanted(shapes, prompt.model)

        def fits(sight: Sight) -> bool:
            return (sight.embedding if plain else sight.hidden) == width

        what = f"a CLIP vision model whose {'embedding' if plain else 'hidden layer'} is {width} wide"
        if prompt.encoder is not None:
            if not fits(self._clip.sight(prompt.encoder)):
                raise InputError(f"{prompt.model} looks through {what}, and {prompt.encoder} is another")
            return prompt.encoder
        path = local(prompt.model)
        places = self._hub_places(prompt.model, fits) if path is None else _local_places(path)
        for place in places:
            try:
                if fits(self._clip.sight(place)):
                    return place
            except InputError:  # something else lies there; the sentence below tells what is missing
                continue
        raise InputError(
            f"beside {prompt.model} there is not {what}, through which it looks; name its folder or hub id"
        )

    def _hub_places(self, model: str, fits: Any) -> Iterator[str]:
        """Yield the folders of the adapter's repository that hold a fitting encoder; only a fitting one is fetched."""
        found = HUB_FILE.fullmatch(model)
        if found is None:
            return
        repository, folder = found["repository"], found["file"].rpartition("/")[0]
        for place in dict.fromkeys(f"{part}/image_encoder" for part in (folder or ".", "models", "sdxl_models")):
            try:
                config = json_of(
                    hub_file(
                        repository, f"{place}/config.json".removeprefix("./"), local_files_only=self._local_files_only
                    )
                )
                if fits(Sight(config.get("projection_dim", 0), config.get("hidden_size", 0))):
                    file = f"{place}/model.safetensors".removeprefix("./")
                    yield str(hub_file(repository, file, local_files_only=self._local_files_only).parent)
            except InputError:
                continue


@contextmanager
def _restored(unet: Any) -> Iterator[None]:
    """Give a UNet back its very attention processors, and its projection, when the block ends."""
    processors, projections = dict(unet.attn_processors), unet.encoder_hid_proj
    sort = unet.config.encoder_hid_dim_type
    try:
        yield
    finally:
        # First the projection: some have attentions of their own, which would be counted among the UNet's.
        unet.encoder_hid_proj, unet.config.encoder_hid_dim_type = projections, sort
        unet.set_attn_processor(processors)


def _local_places(adapter: Path) -> Iterator[str]:
    for name in _BESIDE:
        if (folder := adapter.parent / name).is_dir():
            yield str(folder)
    for name in _COMFY:
        if (folder := adapter.parent / name).is_dir():
            yield from map(str, sorted(folder.glob("*.safetensors")))
            yield from (str(inner) for inner in sorted(folder.iterdir()) if inner.is_dir())


def _under(values: Mapping[str, Any], part: str) -> dict[str, Any]:
    return {key.removeprefix(f"{part}."): value for key, value in values.items() if key.startswith(f"{part}.")}


def _expected(unet: Any) -> dict[str, tuple[int, ...]]:
    """Return the keys and values that an adapter for this UNet has; its authors count all attentions."""
    wanted: dict[str, tuple[int, ...]] = {}
    names = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    names = [name for name in names if not name.startswith("encoder_hid_proj.")]  # of one that is worn just now
    for place, name in enumerate(names):
        shape = tuple(unet.get_submodule(name.removesuffix(".processor")).to_k.weight.shape)
        wanted |= {f"{2 * place + 1}.{part}.weight": shape for part in ("to_k_ip", "to_v_ip")}
    return wanted


def _is_plain(shapes: Shapes) -> bool:
    """Whether it reads the embedding of a picture, and not a hidden layer."""
    return "image_proj.proj.weight" in shapes


def _is_face(projection: Mapping[str, Any]) -> bool:
    plain = "proj.weight" in projection or "proj.3.weight" in projection or "latents" in projection
    return "perceiver_resampler.proj_in.weight" in projection or (not plain and "norm.weight" in projection)


def _wanted(shapes: Shapes, name: str) -> int:
    """Return how wide that must be which the encoder gives."""
    for key in ("proj.weight", "proj.0.weight", "proj_in.weight"):
        if len(shape := shapes.get(f"image_proj.{key}", ())) == 2:
            return shape[1]
    raise InputError(f"{name} is no IP-Adapter of a known sort")
