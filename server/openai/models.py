"""What OpenAI's clients ask for. Fields that mean nothing here, such as `quality` and `style`, are passed over."""

from __future__ import annotations

import re
from typing import Final, Literal

from pydantic import BaseModel, Field

from ..failures import WrongField

_SIZE: Final = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


class PicturesAsked(BaseModel):
    """The body of `/v1/images/generations`, and the fields beside the files of `/v1/images/edits`."""

    prompt: str
    model: str | None = None
    n: int | None = Field(default=None, ge=1)
    size: str | None = None
    """`WxH` in pixels, or `auto`: the model's own."""
    response_format: Literal["b64_json", "url"] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    output_compression: int | None = Field(default=None, ge=0, le=100)
    background: Literal["transparent", "opaque", "auto"] | None = None
    stream: bool | None = None
    partial_images: int | None = Field(default=None, ge=0, le=3)
    """With `stream`: pictures on the way."""
    # Beyond OpenAI's; its Python client sends them as `extra_body`.
    seed: int | None = Field(default=None, ge=0, lt=1 << 62)
    steps: int | None = Field(default=None, ge=1)
    guidance: float | None = Field(default=None, ge=0, le=100)
    negative: str | None = Field(default=None, max_length=10_000)
    strength: float | None = Field(default=None, gt=0, le=1)
    """Of edits: how far the picture is painted anew."""

    @property
    def form(self) -> Literal["png", "jpeg", "webp"]:
        """What the pictures are sent as."""
        return self.output_format or "png"

    def sides(self) -> tuple[int | None, int | None]:
        """Return the width and height in pixels; None leaves them to the model.

        Raises:
            WrongField: the size is written in no way that can be read.
        """
        if self.size in (None, "", "auto"):
            return None, None
        found = _SIZE.fullmatch(self.size or "")
        if found is None:
            raise WrongField("size must be `auto`, or as 512x512", "size")
        return int(found[1]), int(found[2])

    def check(self) -> None:
        """Refuse what is not painted here.

        Raises:
            WrongField: a field asks for it.
        """
        if self.background == "transparent":
            raise WrongField("this server paints no transparent background", "background")
        if self.response_format == "url" and (self.stream or self.form != "png"):
            raise WrongField("pictures at an address are PNG, and not streamed; take b64_json", "response_format")
