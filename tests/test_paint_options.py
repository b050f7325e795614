"""What people write behind the options of painting becomes the fields of a request, or one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from velatura.commands.paint_options import (
    FREEU,
    make_fields,
    read_control,
    read_enlargement,
    read_freeu,
    read_image_prompt,
)
from velatura.records import Control, Enlargement, ImagePrompt, Picture, Start


def test_nothing_asked_leaves_everything_to_the_model() -> None:
    fields = make_fields()
    assert {name for name, value in fields.items() if value not in (None, "", 0, ())} == set()


def test_a_start_with_its_mask() -> None:
    fields = make_fields(image=Path("a.png"), inpaint=Path("m.png"), strength=0.4, size="512x768")
    assert fields["start"] == Start(picture=Picture(path="a.png"), mask=Picture(path="m.png"), strength=0.4)
    assert (fields["width"], fields["height"]) == (512, 768)


def test_a_start_leaves_its_strength_to_who_paints() -> None:
    assert make_fields(image=Path("a.png"))["start"] == Start(picture=Picture(path="a.png"), strength=None)


@pytest.mark.parametrize("given", [{"strength": 0.5}, {"inpaint": Path("m.png")}])
def test_strength_and_mask_are_nothing_without_a_picture(given: dict[str, Any]) -> None:
    with pytest.raises(typer.BadParameter, match="it is for --image alone"):
        make_fields(**given)


def test_a_control_in_full_and_in_short() -> None:
    assert read_control("model=canny.safetensors,picture=p.png") == Control(
        model="canny.safetensors", picture=Picture(path="p.png")
    )
    text = "model=a/b, picture=my, odd,name.png, reading=canny, weight=0.7, begin=0.1, end=0.8"
    assert read_control(text) == Control(
        model="a/b", picture=Picture(path="my, odd,name.png"), reading="canny", weight=0.7, begin=0.1, end=0.8
    )


def test_an_image_prompt_has_several_pictures() -> None:
    found = read_image_prompt("model=ip.safetensors,picture=a.png,picture=b.png,weight=1.4,encoder=clip")
    pictures = (Picture(path="a.png"), Picture(path="b.png"))
    assert found == ImagePrompt(model="ip.safetensors", pictures=pictures, weight=1.4, encoder="clip")


def test_freeu_by_family_and_by_numbers() -> None:
    assert read_freeu(None) is None
    assert read_freeu("sdxl") == FREEU["sdxl"]
    assert read_freeu("0.9,0.2,1.2,1.4") == (0.9, 0.2, 1.2, 1.4)


def test_an_enlargement_in_full_and_in_short() -> None:
    assert read_enlargement(None) is None
    assert read_enlargement("skip=0.05") == Enlargement(
        skip=0.05, stride=None, views=None, later_steps=None, cosine=None, sigma=None
    )
    assert read_enlargement("mode=upscale,upscaler=x4.safetensors") == Enlargement(
        mode="upscale", upscaler="x4.safetensors"
    )
    text = "stride=48,views=12,scales=2+4,later_steps=10,skip=0.05,cosine=3+1+1.5,sigma=1,saving=yes"
    assert read_enlargement(text) == Enlargement(
        stride=48, views=12, scales=(2, 4), later_steps=10, skip=0.05, cosine=(3, 1, 1.5), sigma=1, saving=True
    )


@pytest.mark.parametrize(
    ("read", "text", "sentence"),
    [
        (read_control, "canny.safetensors", "'canny.safetensors' is none of model=, picture=, reading="),
        (read_control, "model=a", "it needs picture="),
        (read_control, "model=a,model=b,picture=c", "model= stands there twice"),
        (read_control, "model=a,picture=c,weight=much", "weight=much is not a number"),
        (read_control, "model=a,picture=c,reading=pose", "reading=pose: only canny is read from a picture"),
        (read_freeu, "1,2", "'1,2' is not four numbers, nor one of sd1, sd2, sdxl"),
        (read_enlargement, "mode=big", "mode=big is none of demofusion, multidiffusion, scalecrafter, upscale"),
        (read_enlargement, "scales=two", r"scales= takes numbers joined by \+"),
        (read_enlargement, "cosine=3+1", "cosine= takes three numbers"),
        (read_enlargement, "64", "'64' is none of mode="),
        (read_enlargement, "stride=nan", "stride=nan is not a whole number"),
        (read_enlargement, "saving=perhaps", "saving=perhaps: take yes or no"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(read: Any, text: str, sentence: str) -> None:
    with pytest.raises(typer.BadParameter, match=sentence):
        read(text)
