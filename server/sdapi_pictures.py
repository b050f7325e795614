"""Pictures that A1111's clients send to be painted anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from ..generation.pictures import read_mask, read_picture
from ..records import Start
from .failures import WrongField

if TYPE_CHECKING:
    from .sdapi_models import PictureAsked
    from .uploads import Uploads

_STRETCH, _CUT = 0, 1


def start_of(asked: PictureAsked, uploads: Uploads) -> Start:
    """Return what a request begins with.

    Raises:
        WrongField: it begins with no picture or several, or the way to fit it is not offered.
        InputError: what was sent is no picture.
    """
    if len(asked.init_images or ()) != 1:
        raise WrongField(f"img2img begins with one picture, not {len(asked.init_images or ())}", "init_images")
    if asked.resize_mode not in (None, _STRETCH, _CUT):
        raise WrongField("a picture can be stretched to the size (0) or cut to it (1), no more", "resize_mode")
    [sent] = asked.init_images or ()
    picture = uploads.add_text(sent, "picture")
    size = None if asked.width is None or asked.height is None else (asked.width, asked.height)
    stretched = size if asked.resize_mode in (None, _STRETCH) else None
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
