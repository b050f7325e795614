"""Decoding in tiles is decoding."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from velatura.generation.demofusion.tiles import decode, encode
from velatura.generation.demofusion.windows import tiles
from velatura.generation.latents import unscaled

CHANNELS, SIDE = 4, 64


@pytest.fixture(scope="module")
def tiny() -> Any:
    from diffusers import AutoencoderTiny

    torch.manual_seed(0)
    return AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
        latent_channels=CHANNELS,
    ).eval()


@pytest.fixture(scope="module")
def kl() -> Any:
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        latent_channels=CHANNELS,
        layers_per_block=1,
    ).eval()


def latents(height: int, width: int) -> Tensor:
    return torch.randn(1, CHANNELS, height, width, generator=torch.Generator().manual_seed(4))


def whole(vae: Any, given: Tensor) -> np.ndarray:
    with torch.no_grad():
        pixels = vae.decode(unscaled(vae, given), return_dict=False)[0][0]
    return ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()


@pytest.mark.parametrize("size", [(64, 64), (20, 50)])
def test_a_picture_of_one_tile_is_decoded_whole(size: tuple[int, int], tiny: Any, kl: Any) -> None:
    for vae in (tiny, kl):
        found = decode(vae, latents(*size), SIDE)
        assert found.finite
        assert found.pixels.dtype == np.uint8
        assert np.abs(found.pixels - whole(vae, latents(*size))).max() <= 1


def test_tiles_of_a_decoder_without_statistics_show_no_seams(tiny: Any) -> None:
    given = latents(130, 101)
    told: list[tuple[int, int]] = []
    found = decode(tiny, given, SIDE, lambda number, of: told.append((number, of)))
    assert found.pixels.shape == (260, 202, 3)
    assert told == [(number, 6) for number in range(1, 7)]
    off = np.abs(found.pixels.astype(float) - whole(tiny, given))
    assert off.max() <= 2
    assert off.mean() < 0.1


def test_tiles_of_a_decoder_with_statistics_are_near(kl: Any) -> None:
    given = latents(120, 96)
    off = np.abs(decode(kl, given, SIDE).pixels.astype(float) - whole(kl, given))
    spread = whole(kl, given).std()
    assert off.mean() < 0.1 * spread


def test_a_smooth_picture_stays_smooth_over_the_tiles() -> None:
    class Copy(nn.Module):
        """Decodes to its input, and differently bright in every tile."""

        config = SimpleNamespace(scaling_factor=1.0)
        device, dtype, calls = torch.device("cpu"), torch.float32, 0

        def decode(self, given: Tensor, *, return_dict: bool) -> tuple[Tensor]:
            self.calls += 1
            return (given[:, :3].repeat_interleave(2, -1).repeat_interleave(2, -2) + 0.1 * (self.calls % 2),)

    found = decode(Copy(), torch.zeros(1, CHANNELS, 64, 160), SIDE).pixels[..., 0].astype(int)
    assert set(np.unique(found[:, 0])) <= {140, 141}
    assert np.abs(np.diff(found, axis=1)).max() <= 2
    assert np.abs(np.diff(found, axis=0)).max() == 0


def test_what_is_held_is_one_row_of_tiles(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    zeros = torch.zeros

    def noted(*shape: Any, **options: Any) -> Tensor:
        made = zeros(*shape, **options)
        sizes.append(made.numel())
        return made

    monkeypatch.setattr(torch, "zeros", noted)
    decode(tiny, latents(400, 64), SIDE)
    assert max(sizes) == 3 * 128 * 128


def test_a_decoder_that_overflows_is_told_and_black(tiny: Any) -> None:
    given = latents(96, 64)
    given[..., :8, :8] = torch.nan
    found = decode(tiny, given, SIDE)
    assert not found.finite
    assert (found.pixels[2, 2] == 0).all()


def test_who_is_told_may_end_it(tiny: Any) -> None:
    def stop(number: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode(tiny, latents(64, 64), SIDE, stop)


def test_a_picture_is_encoded_as_the_denoiser_knows_it(tiny: Any, kl: Any) -> None:
    pixels = torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(5)) * 2 - 1
    with torch.no_grad():
        plain = tiny.encode(pixels).latents
        mode = kl.encode(pixels).latent_dist.mode()
    assert torch.allclose(unscaled(tiny, encode(tiny, pixels, 128)), plain, atol=1e-5)
    assert torch.allclose(unscaled(kl, encode(kl, pixels, 128)), mode, atol=1e-5)


def test_a_large_picture_is_encoded_in_tiles_and_the_autoencoder_stays_as_it_was(kl: Any) -> None:
    asked = []
    kl_encode = kl.encode
    kl.encode = lambda *given: (asked.append(kl.use_tiling), kl_encode(*given))[1]
    try:
        encode(kl, torch.zeros(1, 3, 64, 64), 32)
        encode(kl, torch.zeros(1, 3, 32, 32), 32)
    finally:
        del kl.encode
    assert asked == [True, False]
    assert not kl.use_tiling


def test_the_number_of_tiles_is_that_of_the_plan(tiny: Any) -> None:
    told: list[int] = []
    decode(tiny, latents(112, 113), 16, lambda number, of: told.append(of))
    assert len(told) == told[0] == len(tiles((112, 113), 16)) == 6
