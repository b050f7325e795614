"""ScaleCrafter dilates the deep convolutions while it predicts, and leaves them as they were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from generation.demofusion.golden import CHANNELS, NATIVE, WIDTH, drawn_by, tiny_unet
from torch import Tensor
from torch.nn.functional import conv2d

from velatura.generation.demofusion import Denoiser
from velatura.generation.demofusion.scalecrafter import ScaleCrafter, dilated


@pytest.fixture(scope="module")
def unet() -> Any:
    return tiny_unet()


def denoiser(unet: Any, guidance: float = 3.0) -> Denoiser:
    def words(name: str) -> tuple[Tensor, Tensor]:
        return drawn_by(name, (1, 5, WIDTH)), drawn_by(f"pooled {name}", (1, WIDTH))

    return Denoiser(unet, words("prompt"), words("negative"), guidance=guidance, size=(256, 256))


def views(side: int = 2 * NATIVE) -> Tensor:
    return drawn_by("views", (1, CHANNELS, side, side))


def said(model: Any, time: float) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(views(), torch.tensor(time), [(0, 0)])
    return found


def test_deep_convolutions_are_dilated_and_shallow_ones_are_not(unet: Any) -> None:
    deep, shallow = unet.mid_block.resnets[0].conv1, unet.down_blocks[0].resnets[0].conv1
    top = unet.up_blocks[-1].resnets[0].conv1
    features = {layer: drawn_by("features", (1, layer.in_channels, 12, 12)) for layer in (deep, shallow, top)}
    plain = {layer: layer(given) for layer, given in features.items()}
    with dilated(unet, 3.0):
        wide = conv2d(features[deep], deep.weight, deep.bias, padding=3, dilation=3)
        assert torch.equal(deep(features[deep]), wide)
        assert torch.equal(shallow(features[shallow]), plain[shallow])
        assert torch.equal(top(features[top]), plain[top])
        assert unet.up_blocks[0].upsamplers[0].conv(torch.zeros(1, 16, 8, 8)).shape == (1, 16, 8, 8)
    for layer, given in features.items():
        assert torch.equal(layer(given), plain[layer])
        assert "_conv_forward" not in vars(layer)


def test_a_scale_that_is_not_whole_stretches_the_features(unet: Any) -> None:
    layer = unet.mid_block.resnets[0].conv1
    given = drawn_by("features", (1, layer.in_channels, 16, 12))
    with dilated(unet, 1.5):
        found = layer(given)
    assert found.shape == (1, layer.out_channels, 16, 12)
    assert not torch.allclose(found, layer(given), atol=1e-3)
    with dilated(unet, 1.0):
        assert torch.equal(layer(given), layer.forward(given))


def test_weights_beside_a_convolution_are_dilated_with_it(unet: Any) -> None:
    layer = unet.mid_block.resnets[0].conv1
    given, beside = drawn_by("features", (1, layer.in_channels, 12, 12)), drawn_by("beside", layer.weight.shape)
    with dilated(unet, 2.0):
        found = layer._conv_forward(given, beside, None)
    assert torch.equal(found, conv2d(given, beside, padding=2, dilation=2))


def test_an_error_leaves_nothing_dilated(unet: Any) -> None:
    with pytest.raises(ZeroDivisionError), dilated(unet, 2.0):
        raise ZeroDivisionError
    assert not any("_conv_forward" in vars(module) for module in unet.modules())


def test_it_is_dilated_in_noise_and_plain_near_the_picture(unet: Any) -> None:
    plain = denoiser(unet)
    crafted = ScaleCrafter(plain, unet, 2.0)
    with dilated(unet, 2.0):
        wide = said(plain, 900.0)
    assert torch.equal(said(crafted, 900.0), wide)
    assert not torch.allclose(wide, said(plain, 900.0), atol=1e-2)
    assert torch.equal(said(crafted, 300.0), said(plain, 300.0))


def test_guidance_is_damped_by_the_plain_model_at_large_scales(unet: Any) -> None:
    plain = denoiser(unet, guidance=3.0)
    with torch.no_grad():
        negative, _ = plain.both(views(), torch.tensor(900.0), [(0, 0)]).chunk(2)
        with dilated(unet, 4.0):
            wide_negative, wide_positive = plain.both(views(), torch.tensor(900.0), [(0, 0)]).chunk(2)
    expected = negative + 3.0 * (wide_positive - wide_negative)
    assert torch.allclose(said(ScaleCrafter(plain, unet, 4.0), 900.0), expected, atol=1e-5)


def test_without_guidance_there_is_nothing_to_dampen(unet: Any) -> None:
    alone = Denoiser(unet, (drawn_by("prompt", (1, 5, WIDTH)), drawn_by("pooled", (1, WIDTH))), size=(256, 256))
    with dilated(unet, 4.0):
        wide = said(alone, 900.0)
    assert torch.equal(said(ScaleCrafter(alone, unet, 4.0), 900.0), wide)


def test_where_a_view_lies_and_image_prompts_reach_the_unet() -> None:
    seen: list[dict[str, Any]] = []

    def unet(latents: Tensor, timestep: Tensor, **given: Any) -> tuple[Tensor]:
        seen.append(given | {"rows": len(latents)})
        return (latents,)

    states = torch.ones(1, 5, WIDTH)
    corners: Sequence[tuple[int, int]] = [(0, 0), (3, 5)]
    image = torch.stack([torch.zeros(1, 6), torch.ones(1, 6)])
    model = Denoiser(
        unet,
        (states, states[:, 0]),
        (-states, -states[:, 0]),
        guidance=2.0,
        size=(48, 64),
        factor=4,
        images=[image],
    )
    model(torch.zeros(2, CHANNELS, 4, 4), torch.tensor(1), corners)
    model.negative(torch.zeros(2, CHANNELS, 4, 4), torch.tensor(1), corners)
    both, negative = seen
    assert both["rows"] == 4
    assert both["encoder_hidden_states"][:, 0, 0].tolist() == [-1, -1, 1, 1]
    added = both["added_cond_kwargs"]
    assert added["time_ids"].tolist() == [[48, 64, 0, 0, 48, 64], [48, 64, 12, 20, 48, 64]] * 2
    assert added["text_embeds"][:, 0].tolist() == [-1, -1, 1, 1]
    assert added["image_embeds"][0][:, 0, 0].tolist() == [0, 0, 1, 1]
    assert negative["rows"] == 2
    assert negative["added_cond_kwargs"]["image_embeds"][0][:, 0, 0].tolist() == [0, 0]
