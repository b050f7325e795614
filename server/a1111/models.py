"""What A1111's clients ask for: the fields that are kept to here, and those that are refused where they matter."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, Field

from ..failures import WrongField

_NOTHING: Final = (None, False, 0, "", "None", "none", "Automatic", "automatic")
"""Values by which clients say that they do not want a thing."""
_HARMLESS: Final = frozenset({"img2img_fix_steps", "samples_format", "grid_save", "save_images_add_number"})
"""A1111's settings that decide no pixel here, or are so already."""
MODEL: Final = "sd_model_checkpoint"
SKIP: Final = "CLIP_stop_at_last_layers"


class TextAsked(BaseModel):
    """The body of `txt2img`. What is not named here, and is no setting that decides pixels, is passed over."""

    prompt: str = ""
    negative_prompt: str | None = Field(default=None, max_length=10_000)
    seed: int | None = Field(default=-1, ge=-1, lt=1 << 62)
    """-1 draws it by lot."""
    subseed_strength: float | None = 0
    steps: int | None = Field(default=None, ge=1)
    cfg_scale: float | None = Field(default=None, ge=0, le=100)
    width: int | None = Field(default=None, ge=1)
    height: int | None = Field(default=None, ge=1)
    sampler_name: str | None = None
    sampler_index: str | None = None
    scheduler: str | None = None
    batch_size: int | None = Field(default=1, ge=1)
    n_iter: int | None = Field(default=1, ge=1)
    styles: list[str] | None = None
    restore_faces: bool | None = None
    tiling: bool | None = None
    enable_hr: bool | None = None
    refiner_checkpoint: str | None = None
    script_name: str | None = None
    override_settings: dict[str, Any] | None = None
    alwayson_scripts: dict[str, Any] | None = None
    send_images: bool | None = True

    @property
    def count(self) -> int:
        """How many pictures."""
        return (self.batch_size or 1) * (self.n_iter or 1)

    @property
    def clip_skip(self) -> int:
        """How many of CLIP's last layers are left out.

        Raises:
            WrongField: it is no number of a layer.
        """
        layers = (self.override_settings or {}).get(SKIP)
        if layers is None:
            return 0
        if not isinstance(layers, int) or isinstance(layers, bool) or not 1 <= layers <= 12:
            raise WrongField(f"{SKIP} must be between 1 and 12", f"override_settings.{SKIP}")
        return layers - 1

    @property
    def checkpoint(self) -> object:
        """The checkpoint that is wanted, None for any."""
        return (self.override_settings or {}).get(MODEL)

    def check(self) -> None:
        """Refuse what would decide pixels and is not offered here.

        Raises:
            WrongField: a field asks for it.
        """
        for field, sentence in (
            ("enable_hr", "hires fix is not offered here; ask for the width and height that you want"),
            ("subseed_strength", "variation seeds are not offered here"),
            ("restore_faces", "face restoration is not offered here"),
            ("tiling", "tiling is not offered here"),
            ("refiner_checkpoint", "a second checkpoint is not offered here"),
            ("script_name", "scripts are not offered here"),
            ("styles", "this server has no styles"),
        ):
            if getattr(self, field) and getattr(self, field) not in _NOTHING:
                raise WrongField(sentence, field)
        for name, value in (self.override_settings or {}).items():
            if name not in (MODEL, SKIP) and name not in _HARMLESS and value not in _NOTHING:
                raise WrongField(f"the setting {name[:60]!r} cannot be overridden here", "override_settings")
        for name, script in (self.alwayson_scripts or {}).items():
            if not _is_idle(script):
                raise WrongField(f"the script {name[:60]!r} is not offered here", "alwayson_scripts")


class PictureAsked(TextAsked):
    """The body of `img2img`."""

    init_images: list[str] | None = None
    """Base64 or data URLs; one."""
    denoising_strength: float | None = Field(default=0.75, ge=0, le=1)
    mask: str | None = None
    """White where the picture is painted anew."""
    inpainting_mask_invert: int | None = 0
    resize_mode: int | None = 0
    """0 stretches the picture to the size, 1 cuts it to it."""


class OptionsAsked(BaseModel, extra="allow"):
    """The body of `options`."""

    sd_model_checkpoint: str | None = None


class EnlargementAsked(BaseModel):
    """The body of `extra-single-image`, without the picture."""

    resize_mode: int = 0
    """0 takes the factor, 1 the size."""
    upscaling_resize: float = Field(default=2, gt=0, le=8)
    upscaling_resize_w: int = Field(default=512, ge=1)
    upscaling_resize_h: int = Field(default=512, ge=1)
    upscaling_crop: bool = True
    upscaler_1: str = "None"
    upscaler_2: str = "None"
    extras_upscaler_2_visibility: float = 0
    gfpgan_visibility: float = 0
    codeformer_visibility: float = 0


class OneEnlarged(EnlargementAsked):
    """The body of `extra-single-image`."""

    image: str


class Named(BaseModel):
    """A picture of several."""

    data: str
    name: str = ""


class SeveralEnlarged(EnlargementAsked):
    """The body of `extra-batch-images`."""

    imageList: list[Named]  # noqa: N815 - A1111's name


class Looked(BaseModel):
    """The body of `png-info` and `interrogate`."""

    image: str
    model: str = "clip"


def _is_idle(script: object) -> bool:
    """Whether a script that always runs is told to do nothing."""
    arguments = script.get("args", []) if isinstance(script, dict) else script
    if not isinstance(arguments, list):
        return False
    return all(
        argument in _NOTHING if not isinstance(argument, dict | list) else _is_off(argument) for argument in arguments
    )


def _is_off(argument: dict[str, Any] | list[Any]) -> bool:
    if isinstance(argument, list):
        return not argument
    return not argument or any(argument.get(key, True) in _NOTHING for key in ("enabled", "enable", "ad_model"))
