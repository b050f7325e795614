"""Pictures that A1111's clients send to be painted anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from ...generation.pictures import read_mask, read_picture
from ...records import Start
from ..failures import WrongField

if TYPE_CHECKING:
    from ..uploads import Uploads
    from .models import PictureAsked

_STRETCH, _CUT = 0, 1


def start_of(asked: PictureAsked, uploads: Uploads, *, largest: int) -> Start:
    """Return what a request begins with.

    Args:
        asked: The request.
        uploads: Where its pictures go.
        largest: The longest side that may be asked for.

    Raises:
        WrongField: it begins with no picture or several, or the way to fit it is not offered.
        InputError: what was sent is no picture.
    """
    images = asked.init_images or []
    if len(images) != 1:
        raise WrongField(f"img2img begins with one picture, not {len(images)}", "init_images")
    if asked.resize_mode not in (None, _STRETCH, _CUT):
        raise WrongField("a picture can be stretched to the size (0) or cut to it (1), no more", "resize_mode")
    size = None if asked.width is None or asked.height is None else (asked.width, asked.height)
    if size is not None and max(size) > largest:
        raise WrongField(f"{size[0]}x{size[1]} is asked for, and this server paints at most {largest} a side", "width")
    stretched = size if asked.resize_mode in (None, _STRETCH) else None
    picture = uploads.add_text(images[0], "picture")
    if stretched is not None:
        shown, _ = read_picture(picture)
        if shown.size != stretched:
            picture = uploads.draw(shown.resize(stretched, Image.Resampling.LANCZOS), "picture")
    mask = None
    if asked.mask:
        mask = uploads.add_text(asked.mask, "mask")
        drawn, _ = read_mask(mask)
        if asked.inpainting_mask_invert:
            drawn = ImageOps.invert(drawn)
        if stretched is not None and drawn.size != stretched:
            drawn = drawn.resize(stretched, Image.Resampling.LANCZOS)
        mask = uploads.draw(drawn, "mask")
    strength = 0.75 if asked.denoising_strength is None else asked.denoising_strength
    return Start(picture=picture, strength=strength, mask=mask)
