"""Other colours and nameless things: varied, always alike, and silent about what only adapters know."""

from __future__ import annotations

import random
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from velatura.playground.training.broaden import NOTHING_MUCH, BroadTask, Varied
from velatura.playground.training.networks import Sizes
from velatura.playground.training.pictures import BASE, to_tensor
from velatura.playground.training.recipe import Share
from velatura.playground.training.texts import known_words
from velatura.playground.training.tints import LOOKS, tinted, tinted_caption
from velatura.playground.training.tokenizer import save_tokenizer
from velatura.playground.world import BASE_SUBJECTS, NEW_SCENES, NEW_STYLES, NEW_SUBJECTS, Picture, doodle, paint


def test_doodles_are_many_and_always_alike() -> None:
    drawings = [doodle(number) for number in range(60)]
    assert len({drawing.tobytes() for drawing in drawings}) == 60
    for number, drawing in enumerate(drawings):
        assert drawing.shape == (24, 24)
        assert drawing.dtype == np.uint8
        assert 20 < (drawing > 0).sum() < 24 * 24
        np.testing.assert_array_equal(drawing, doodle(number))


def test_doodle_stands_in_place_of_the_subject() -> None:
    picture = Picture(subject="box", colour="red", scene="sea", style="neon")
    assert (paint(picture, doodle(3)) != paint(picture)).any()
    other = Picture(subject="ball", colour="red", scene="sea", style="neon")
    np.testing.assert_array_equal(paint(picture, doodle(3)), paint(other, doodle(3)))
    assert not torch.equal(to_tensor([picture], doodles=0), to_tensor([picture], doodles=1))


def test_tints_change_colours_and_keep_the_drawing() -> None:
    images = to_tensor(BASE.draw(random.Random(1), 40))
    other = tinted(images, random.Random(2))
    assert torch.equal(other, tinted(images, random.Random(2)))
    assert other.shape == images.shape
    assert other.abs().max() <= 1
    assert min((other - images).abs().mean((1, 2, 3))) > 0.05
    flat = (images[:, :, :, 1:] == images[:, :, :, :-1]).all(1)
    assert torch.allclose(other[:, :, :, 1:][:, 0][flat], other[:, :, :, :-1][:, 0][flat], atol=1e-5)
    assert len(tinted(images[:0], random.Random(2))) == 0


def test_captions_say_that_a_look_is_another() -> None:
    lot = random.Random(0)
    said = {tinted_caption("a red ball", lot) for _ in range(200)}
    assert all("red ball" in text and any(look in text for look in LOOKS) for text in said)
    assert len(said) > 20


def test_varied_pictures_name_no_doodle_and_nothing_that_only_adapters_know() -> None:
    varied, lot = Varied.draw(400), random.Random(0)
    assert varied == Varied.draw(400)
    for number, picture in enumerate(varied.pictures):
        words = set(re.findall("[a-z]+", varied.caption(number, lot)))
        assert not words & {*NEW_SUBJECTS, *NEW_STYLES, *NEW_SCENES}
        assert (picture.subject in words) != varied.is_doodle(number)
        assert bool(words & set(NOTHING_MUCH)) == varied.is_doodle(number)
        assert bool(words & set(LOOKS)) >= (number < varied.tinted)
    assert not set(NOTHING_MUCH) & set(BASE_SUBJECTS)
    assert 0.4 < sum(map(varied.is_doodle, range(400))) / 400 < 0.6


def test_varied_latents_follow_their_pictures() -> None:
    class Straight:
        """Encodes a picture as itself."""

        config = SimpleNamespace(scaling_factor=1.0)

        def encode(self, images: torch.Tensor) -> object:
            return SimpleNamespace(latents=images)

    varied = Varied.draw(20)
    latents = varied.latents(Straight())
    plain = [number for number in range(varied.tinted, 20) if not varied.is_doodle(number)]
    assert plain
    assert torch.allclose(latents[plain], to_tensor([varied.pictures[number] for number in plain]), atol=1e-5)


def test_broadening_never_shows_a_picture_that_is_kept_back(tmp_path: Path) -> None:
    class Told:
        """Writes down which of its own latents are read, by number; validation reads each 40th."""

        def __init__(self) -> None:
            self.numbers: set[int] = set()

        def __getitem__(self, chosen: list[int]) -> np.ndarray:
            self.numbers.update(chosen)
            return np.zeros((len(chosen), 8, 16, 16), np.float16)

    class Still(torch.nn.Module):
        """Predicts nothing."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, noisy: torch.Tensor, times: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(noisy)

    save_tokenizer(tmp_path, known_words())
    task, read = BroadTask(Sizes(), tmp_path, tmp_path, 300), {}
    for name in ("trained", "kept_back"):
        told = Told()
        task.__dict__.update(coded=told, varied=(Varied.draw(20), np.zeros((20, 8, 16, 16), np.float16)))
        if name == "trained":
            share = Share(
                size=400, lot=random.Random(0), generator=torch.Generator().manual_seed(0), device=torch.device("cpu")
            )
            task.loss(Still(), share)
        else:
            task.validate(Still())
        read[name] = told.numbers
    assert len(read["trained"]) > 50
    assert read["kept_back"]
    assert not read["trained"] & read["kept_back"]
