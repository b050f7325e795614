"""What files do to weights, against differences formed whole in float64."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from velatura.errors import UnreadableFile
from velatura.generation.adapters import sketch
from velatura.generation.adapters.measure import METHOD, base_norms, checkpoint_norms, measure, overlap
from velatura.generation.adapters.names import targets
from velatura.generation.checkpoint import load_checkpoint
from velatura.records import WeightMeasure

MODULES = {
    "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": (24, 16),
    "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0": (16, 24),
    "unet.down_blocks.1.resnets.0.conv1": (20, 12, 3, 3),
    "unet.mid_block.attentions.0.proj_in": (18, 18),
    "unet.up_blocks.2.attentions.1.transformer_blocks.0.attn2.to_k": (16, 30),
    "unet.up_blocks.2.resnets.2.time_emb_proj": (20, 10),
    "text_encoder.text_model.encoder.layers.3.self_attn.q_proj": (14, 14),
    "unet.time_embedding.linear_1": (12, 40),
}
BLOCKS = ["down.0", "down.0", "down.1", "mid", "up.2", "up.2", "text", "rest"]

Tensors = dict[str, Tensor]


@dataclass
class Adapter:
    """Factors by module, and the difference that they make, in float64."""

    factors: dict[str, tuple[Tensor, Tensor]]
    """(up, down) of the shapes that kohya writes."""
    scale: float = 1.0

    @property
    def whole(self) -> dict[str, Tensor]:
        return {
            name: self.scale * up.double().flatten(1) @ down.double().flatten(1)
            for name, (up, down) in self.factors.items()
        }


def adapter(seed: int, rank: int = 4, scale: float = 1.0, modules: Mapping[str, tuple[int, ...]] = MODULES) -> Adapter:
    chance = torch.Generator().manual_seed(seed)
    factors = {}
    for name, (outputs, inputs, *kernel) in modules.items():
        up = torch.randn(outputs, rank, *[1] * len(kernel), generator=chance)
        factors[name] = up, torch.randn(rank, inputs, *kernel, generator=chance)
    return Adapter(factors, scale)


def flat(name: str, *, unet: str = "lora_unet_", text: str = "lora_te_") -> str:
    return name.replace("unet.", unet).replace("text_encoder.", text).replace(".", "_")


def kohya(made: Adapter, unet: str = "lora_unet_", text: str = "lora_te_") -> Tensors:
    tensors = {}
    for name, (up, down) in made.factors.items():
        stem = flat(name, unet=unet, text=text)
        tensors[f"{stem}.lora_up.weight"], tensors[f"{stem}.lora_down.weight"] = up, down
        tensors[f"{stem}.alpha"] = torch.tensor(made.scale * down.shape[0])
    return tensors


def lycoris(made: Adapter) -> Tensors:
    return kohya(made, "lycoris_unet_", "lycoris_te_")


def dotted(made: Adapter, prefix: str = "", parts: tuple[str, str] = (".lora_B.weight", ".lora_A.weight")) -> Tensors:
    """PEFT and diffusers keep no alpha: the strength goes into the factor."""
    tensors = {}
    for name, (up, down) in made.factors.items():
        stem = f"{prefix}{name.removeprefix('unet.') if prefix else name}"
        tensors[stem + parts[0]], tensors[stem + parts[1]] = up * made.scale, down
    return tensors


def diffusers(made: Adapter) -> Tensors:
    return dotted(made, parts=(".lora.up.weight", ".lora.down.weight"))


def diffusers_old(made: Adapter) -> Tensors:
    tensors = {}
    for name, (up, down) in made.factors.items():
        head, _, leaf = name.removesuffix(".0").rpartition(".")
        if leaf.startswith("to_"):
            stem = f"{head}.processor.{leaf}_lora"
        elif leaf == "q_proj":
            stem = f"{head}.to_q_lora"
        else:
            stem = f"{name}.lora"
        tensors[f"{stem}.up.weight"], tensors[f"{stem}.down.weight"] = up * made.scale, down
    return tensors


def peft_raw(made: Adapter) -> Tensors:
    return dotted(made, prefix="base_model.model.")


def sgm(made: Adapter) -> Tensors:
    """The names of Stability's code, which kohya writes for SDXL."""
    names = {
        "unet.down_blocks.0.attentions.0": "unet.input_blocks.1.1",
        "unet.down_blocks.1.resnets.0.conv1": "unet.input_blocks.4.0.in_layers.2",
        "unet.mid_block.attentions.0": "unet.middle_block.1",
        "unet.up_blocks.2.attentions.1": "unet.output_blocks.7.1",
        "unet.up_blocks.2.resnets.2.time_emb_proj": "unet.output_blocks.8.0.emb_layers.1",
        "unet.time_embedding.linear_1": "unet.time_embed.0",
    }
    renamed = {}
    for name, factors in made.factors.items():
        start = next((start for start in names if name.startswith(start)), None)
        renamed[names[start] + name.removeprefix(start) if start else name] = factors
    return kohya(Adapter(renamed, made.scale), text="lora_te1_")


LAYOUTS = [kohya, lycoris, dotted, diffusers, diffusers_old, peft_raw, sgm]


def save(path: Path, tensors: Tensors) -> Path:
    save_file({key: tensor.clone() for key, tensor in tensors.items()}, path)
    return path


def cosine(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    both = sum(float((one[name] * other[name]).sum()) for name in one.keys() & other.keys())
    return both / norm(one.values()) / norm(other.values())


def norm(parts: object) -> float:
    return math.sqrt(sum(float(part.detach().double().square().sum()) for part in parts))  # type: ignore[attr-defined]


def sketch_cosine(one: WeightMeasure, other: WeightMeasure) -> float:
    a, b = torch.tensor(one.sketch), torch.tensor(other.sketch)
    return float(a @ b / a.norm() / b.norm())


# ---------------------------------------------------------------------------------- strength


def test_strength_is_the_norm_of_the_difference_in_each_block(tmp_path: Path):
    made = adapter(1, scale=0.25)
    found = measure(save(tmp_path / "a.safetensors", kohya(made)))
    assert found.method == METHOD
    assert [block.block for block in found.blocks] == sorted(set(BLOCKS))
    for block in found.blocks:
        parts = [part for name, part in zip(BLOCKS, made.whole.values(), strict=True) if name == block.block]
        assert block.norm == pytest.approx(norm(parts), rel=1e-5)
        assert block.values == sum(part.numel() for part in parts)
        assert block.rms == pytest.approx(norm(parts) / math.sqrt(block.values), rel=1e-5)
    assert found.whole.norm == pytest.approx(norm(made.whole.values()), rel=1e-5)
    assert found.whole.values == sum(part.numel() for part in made.whole.values())
    assert found.unmeasured == ()


def test_a_core_between_the_factors_is_part_of_the_difference(tmp_path: Path):
    chance = torch.Generator().manual_seed(2)
    up, core, down = (torch.randn(*shape, generator=chance) for shape in ((9, 3, 1, 1), (3, 2, 3, 3), (2, 7, 1, 1)))
    stem = "lora_unet_down_blocks_1_resnets_0_conv1"
    parts = {"lora_up.weight": up, "lora_mid.weight": core, "lora_down.weight": down, "alpha": torch.tensor(6.0)}
    found = measure(save(tmp_path / "a.safetensors", {f"{stem}.{key}": part for key, part in parts.items()}))
    whole = 2 * torch.einsum("oa,abkl,bi->oikl", up.double()[..., 0, 0], core.double(), down.double()[..., 0, 0])
    assert found.whole.norm == pytest.approx(norm([whole]), rel=1e-5)
    assert found.whole.values == whole.numel()


@pytest.mark.parametrize("rank", [1, 16, 17, 40])
def test_a_rank_as_wide_as_the_weight_or_wider_costs_nothing_but_time(tmp_path: Path, rank: int):
    made = adapter(3, rank)
    found = measure(save(tmp_path / "a.safetensors", kohya(made)))
    assert found.whole.norm == pytest.approx(norm(made.whole.values()), rel=1e-5)
    assert overlap(tmp_path / "a.safetensors", tmp_path / "a.safetensors") == pytest.approx(1, abs=1e-9)


def test_factors_that_cancel_each_other_are_weak(tmp_path: Path):
    chance = torch.Generator().manual_seed(4)
    up, down = torch.randn(64, 4, generator=chance), torch.randn(4, 64, generator=chance)
    tiny = 1e-4 * torch.randn(64, 4, generator=chance)
    tensors = {
        "unet.conv_in.lora_B.weight": torch.cat([up, tiny - up], dim=1),
        "unet.conv_in.lora_A.weight": torch.cat([down, down]),
    }
    whole = tensors["unet.conv_in.lora_B.weight"].double() @ tensors["unet.conv_in.lora_A.weight"].double()
    found = measure(save(tmp_path / "a.safetensors", tensors))
    assert found.whole.norm == pytest.approx(norm([whole]), rel=1e-5)


def dense_kinds() -> tuple[Tensors, list[Tensor]]:
    """A file of every dense kind that needs no model, and the differences."""
    chance = torch.Generator().manual_seed(5)
    tensors: Tensors = {}

    def add(stem: str, **shapes: tuple[int, ...]) -> list[Tensor]:
        for part, shape in shapes.items():
            tensors[f"lora_unet_{stem}.{part}"] = torch.randn(*shape, generator=chance)
        return [tensors[f"lora_unet_{stem}.{part}"].double() for part in shapes]

    a, b, c, d = add("mid_block_a", hada_w1_a=(8, 2), hada_w1_b=(2, 6), hada_w2_a=(8, 2), hada_w2_b=(2, 6))
    tensors["lora_unet_mid_block_a.alpha"] = torch.tensor(1.0)
    e, f, g = add("mid_block_b", lokr_w1=(2, 3), lokr_w2_a=(4, 2), lokr_w2_b=(2, 5))
    tensors["lora_unet_mid_block_b.alpha"] = torch.tensor(4.0)
    (h,) = add("mid_block_c", diff=(7, 5, 3, 3))
    (i,) = add("mid_block_c", diff_b=(7,))
    j, k = add("mid_block_norm", w_norm=(11,), b_norm=(11,))
    return tensors, [(a @ b) * (c @ d) / 2, 2 * torch.kron(e, f @ g), h, i, j, k]


def test_dense_kinds_are_measured_too(tmp_path: Path):
    tensors, wholes = dense_kinds()
    found = measure(save(tmp_path / "a.safetensors", tensors))
    assert found.whole.norm == pytest.approx(norm(wholes), rel=1e-5)
    assert found.whole.values == sum(whole.numel() for whole in wholes)
    assert overlap(tmp_path / "a.safetensors", tmp_path / "a.safetensors") == pytest.approx(1, abs=1e-9)
    assert math.dist(found.sketch, [0] * sketch.WIDTH) == pytest.approx(found.whole.norm, rel=0.4)


def test_a_bias_beside_peft_factors_counts(tmp_path: Path):
    tensors = {
        "unet.mid_block.proj.lora_A.weight": torch.randn(2, 5),
        "unet.mid_block.proj.lora_B.weight": torch.randn(6, 2),
        "unet.mid_block.proj.lora_B.bias": torch.randn(6),
    }
    a, b, bias = (tensor.double() for tensor in tensors.values())
    found = measure(save(tmp_path / "a.safetensors", tensors))
    assert found.whole.norm == pytest.approx(norm([b @ a, bias]), rel=1e-5)
    assert found.whole.values == 36


def test_kinds_that_need_the_model_are_counted_and_not_guessed(tmp_path: Path):
    made = adapter(6)
    plain = measure(save(tmp_path / "plain.safetensors", kohya(made)))
    extra = {
        "lora_unet_conv_in.lora_up.weight": torch.randn(8, 2),
        "lora_unet_conv_in.lora_down.weight": torch.randn(2, 4),
        "lora_unet_conv_in.dora_scale": torch.rand(8, 1),
        "lora_unet_conv_out.oft_blocks": torch.zeros(2, 4, 4),
        "lora_unet_mid_block_b.oft_blocks": torch.zeros(2, 4, 4),
        "lora_unet_mid_block_c.weight": torch.zeros(4),
        "lora_unet_mid_block_c.on_input": torch.tensor(False),
        **{f"lora_unet_mid_block_d.{name}.weight": torch.randn(4, 4) for name in ("a1", "a2", "b1", "b2")},
    }
    mixed = measure(save(tmp_path / "mixed.safetensors", kohya(made) | extra))
    assert dict(mixed.unmeasured) == {"DoRA": 1, "OFT": 2, "IA3": 1, "GLoRA": 1}
    assert mixed.blocks == plain.blocks
    assert mixed.sketch == plain.sketch
    alone = measure(save(tmp_path / "alone.safetensors", extra))
    assert alone.blocks == ()
    assert alone.sketch == ()
    assert alone.whole.norm == 0
    assert overlap(tmp_path / "alone.safetensors", tmp_path / "plain.safetensors") == 0


# ---------------------------------------------------------------------------------- overlap


def test_overlap_is_the_cosine_of_the_whole_differences(tmp_path: Path):
    one = adapter(7, 4)
    other = adapter(8, 6, 0.5)
    for name, (up, _) in list(other.factors.items())[:5]:
        own_up, own_down = one.factors[name]
        other.factors[name] = torch.cat([own_up, up[:, :2]], 1), torch.cat([own_down, other.factors[name][1][:2]])
    del other.factors["unet.time_embedding.linear_1"]
    paths = [save(tmp_path / f"{n}.safetensors", kohya(made)) for n, made in enumerate((one, other))]
    expected = cosine(one.whole, other.whole)
    assert 0.5 < expected < 0.95
    assert overlap(*paths) == pytest.approx(expected, abs=1e-6)
    assert overlap(*reversed(paths)) == pytest.approx(expected, abs=1e-6)


def test_overlap_of_strangers_is_near_nothing(tmp_path: Path):
    paths = [save(tmp_path / f"{seed}.safetensors", kohya(adapter(seed))) for seed in (1, 2)]
    assert overlap(*paths) == pytest.approx(cosine(adapter(1).whole, adapter(2).whole), abs=1e-6)
    assert abs(overlap(*paths)) < 0.2


@pytest.mark.parametrize("strength", [0.01, 1, 5, -1])
def test_overlap_knows_direction_and_not_strength(tmp_path: Path, strength: float):
    one = save(tmp_path / "one.safetensors", kohya(adapter(1)))
    other = save(tmp_path / "other.safetensors", kohya(adapter(1, scale=strength)))
    assert overlap(one, other) == pytest.approx(math.copysign(1, strength), abs=1e-6)
    assert measure(other).whole.norm == pytest.approx(abs(strength) * measure(one).whole.norm, rel=1e-5)


def test_rewritten_rank_alpha_and_precision_are_the_same_adapter(tmp_path: Path):
    """Another basis, some ranks that do nothing, an alpha that makes up for the rank."""
    made = adapter(9, 4)
    chance = torch.Generator().manual_seed(1)
    rewritten = {}
    for name, (up, down) in made.factors.items():
        mixing = torch.linalg.qr(torch.randn(7, 7, generator=chance)).Q
        wide = torch.cat([up.flatten(1), torch.zeros(up.shape[0], 3)], 1) @ mixing
        tall = mixing.T @ torch.cat([down.flatten(1), torch.zeros(3, down[0].numel())])
        rewritten[name] = wide.view(-1, 7, *up.shape[2:]), tall.view(7, *down.shape[1:])
    one = save(tmp_path / "one.safetensors", kohya(made))
    other = save(tmp_path / "other.safetensors", kohya(Adapter(rewritten)))
    assert overlap(one, other) == pytest.approx(1, abs=1e-6)
    assert sketch_cosine(measure(one), measure(other)) == pytest.approx(1, abs=1e-5)
    halved = {key: tensor.bfloat16() for key, tensor in kohya(made).items()}
    assert overlap(one, save(tmp_path / "half.safetensors", halved)) > 0.9999


def test_the_same_difference_kept_whole_is_the_same_adapter(tmp_path: Path):
    made = adapter(10)
    shapes = {name: (up.shape[0], *down.shape[1:]) for name, (up, down) in made.factors.items()}
    whole = {f"{flat(name)}.diff": part.float().view(shapes[name]) for name, part in made.whole.items()}
    one = save(tmp_path / "one.safetensors", kohya(made))
    other = save(tmp_path / "other.safetensors", whole)
    assert overlap(one, other) == pytest.approx(1, abs=1e-6)
    assert measure(one).sketch == pytest.approx(measure(other).sketch, abs=1e-3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_the_same_adapter(tmp_path: Path, layout):
    made = adapter(11, scale=0.5)
    one = measure(save(tmp_path / "one.safetensors", kohya(made)))
    other = measure(save(tmp_path / "other.safetensors", layout(made)))
    assert overlap(tmp_path / "one.safetensors", tmp_path / "other.safetensors") == pytest.approx(1, abs=1e-6)
    assert [(block.block, block.values) for block in one.blocks] == [(b.block, b.values) for b in other.blocks]
    assert sketch_cosine(one, other) == pytest.approx(1, abs=1e-6)


def test_projections_of_flux_are_the_same_whole_and_apart(tmp_path: Path):
    chance = torch.Generator().manual_seed(12)
    whole, apart = {}, {}
    for theirs, ours, leaves, outputs in (
        ("double_blocks.3.img_attn.qkv", "transformer_blocks.3", ["attn.to_q", "attn.to_k", "attn.to_v"], (8, 8, 8)),
        ("single_blocks.9.linear1", "single_transformer_blocks.9",
         ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"], (8, 8, 8, 32)),
        ("single_blocks.9.linear2", "single_transformer_blocks.9", ["proj_out"], (8,)),
    ):  # fmt: skip
        up, down = torch.randn(sum(outputs), 3, generator=chance), torch.randn(3, 8, generator=chance)
        stem = "lora_unet_" + theirs.replace(".", "_")
        whole[f"{stem}.lora_up.weight"], whole[f"{stem}.lora_down.weight"] = up, down
        for leaf, rows in zip(leaves, up.split(outputs), strict=True):
            apart[f"transformer.{ours}.{leaf}.lora_B.weight"] = rows
            apart[f"transformer.{ours}.{leaf}.lora_A.weight"] = down
    one, other = save(tmp_path / "one.safetensors", whole), save(tmp_path / "other.safetensors", apart)
    assert overlap(one, other) == pytest.approx(1, abs=1e-6)
    assert [(block.block, block.values) for block in measure(one).blocks] == [("double", 192), ("single", 512)]
    assert sketch_cosine(measure(one), measure(other)) == pytest.approx(1, abs=1e-6)


def test_modules_of_another_shape_are_not_compared(tmp_path: Path):
    name = "unet.mid_block.attentions.0.proj_in"
    one = save(tmp_path / "one.safetensors", kohya(adapter(1, modules={name: (18, 18)})))
    other = save(tmp_path / "other.safetensors", kohya(adapter(1, modules={name: (18, 20)})))
    assert overlap(one, other) == 0


# ---------------------------------------------------------------------------------- sketches


def test_sketches_estimate_the_overlap_within_their_standard_error(tmp_path: Path):
    """Pairs of every overlap; the error of each is divided by what the theory says it should be."""
    first = adapter(0)
    base = measure(save(tmp_path / "base.safetensors", kohya(first)))
    errors = []
    for seed in range(1, 61):
        share = (seed % 20) / 20
        stranger = adapter(seed)
        blend = {
            name: (torch.cat([share * up, (1 - share) * stranger.factors[name][0]], 1),
                   torch.cat([down, stranger.factors[name][1]]))
            for name, (up, down) in first.factors.items()
        }  # fmt: skip
        blended = Adapter(blend)
        expected = cosine(first.whole, blended.whole)
        found = sketch_cosine(base, measure(save(tmp_path / "other.safetensors", kohya(blended))))
        errors.append((found - expected) / ((1 - expected**2) / math.sqrt(sketch.WIDTH)))
        assert found > sketch.least_cosine(expected)
    assert max(map(abs, errors)) < 5
    assert 0.5 < math.sqrt(sum(error**2 for error in errors) / len(errors)) < 1.6


def test_a_sketch_is_as_long_as_the_difference(tmp_path: Path):
    ratios = []
    for seed in range(20):
        found = measure(save(tmp_path / "a.safetensors", kohya(adapter(seed))))
        ratios.append(math.dist(found.sketch, [0] * sketch.WIDTH) / found.whole.norm)
    assert sum(ratios) / len(ratios) == pytest.approx(1, abs=0.08)


def test_signs_are_the_same_for_ever():
    """Kept sketches are compared with new ones: should this change, so must `METHOD`."""
    tables = [sketch._table(side, piece) for side in (0, 1) for piece in (0, 1)]
    digest = hashlib.sha256(b"".join((table > 0).numpy().tobytes() for table in tables)).hexdigest()
    assert digest[:16] == "3050bb6a6889a6f4"
    assert "".join("+-"[int(sign < 0)] for sign in sketch._module_signs("model.conv_in.weight")[:12]) == "--+---------"
    for table in tables:
        assert table.abs().eq(1).all()
        assert abs(float(table.mean())) < 0.01
    assert all(not torch.equal(one, other) for n, one in enumerate(tables) for other in tables[:n])


def test_weights_longer_than_a_table_are_projected_in_pieces():
    chance = torch.Generator().manual_seed(0)
    up, down = torch.randn(sketch._ROWS + 100, 2, generator=chance), torch.randn(2, 5, generator=chance)
    thin, whole = sketch.Sketch(), sketch.Sketch()
    thin.add_product("a", up, down)
    whole.add_matrix("a", up @ down)
    assert torch.allclose(thin.numbers(), whole.numbers(), atol=1e-2)
    assert float(thin.numbers().norm()) == pytest.approx(float((up @ down).norm()), rel=0.5)


# ---------------------------------------------------------------------------------- bases


def test_base_norms_are_those_of_the_weights(models):
    modules = targets(**models)
    found = base_norms(modules)
    assert set(found) >= {"down.0", "mid", "up.1", "text", "rest"}
    weights = [module.weight for name, module in modules.items() if name.startswith("unet.mid_block.")]
    assert found["mid"].norm == pytest.approx(norm(weights), rel=1e-9)
    assert found["mid"].values == sum(weight.numel() for weight in weights)
    assert sum(block.values for block in found.values()) == sum(module.weight.numel() for module in modules.values())


def test_a_checkpoint_is_measured_where_it_lies(checkpoint: Path, models):
    found = checkpoint_norms(str(checkpoint))
    assert (found.family, found.model) == ("sd1", str(checkpoint))
    expected = base_norms(targets(**models))
    assert {block.block: block.values for block in found.blocks} == {b.block: b.values for b in expected.values()}
    for block in found.blocks:
        assert block.norm == pytest.approx(expected[block.block].norm, rel=1e-5)


def test_half_precision_tells_the_same_norms(checkpoint: Path, models):
    pipe = load_checkpoint(str(checkpoint), dtype=torch.float16).pipe
    half = base_norms(targets(unet=pipe.unet, text_encoder=pipe.text_encoder))
    for name, block in base_norms(targets(**models)).items():
        assert half[name].norm == pytest.approx(block.norm, rel=1e-4)


# ---------------------------------------------------------------------------------- damage


def damaged(key: str, value: Tensor) -> Tensors:
    return kohya(adapter(1)) | {key: value}


STEM = "lora_unet_mid_block_attentions_0_proj_in"


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        (damaged(f"{STEM}.lora_up.weight", torch.full((18, 4), math.nan)), "NaN or infinity"),
        (damaged(f"{STEM}.lora_down.weight", torch.full((4, 18), math.inf)), "NaN or infinity"),
        (damaged(f"{STEM}.alpha", torch.tensor(math.nan)), "NaN or infinity"),
        (damaged(f"{STEM}.lora_down.weight", torch.randn(3, 18)), "do not fit each other"),
        (damaged(f"{STEM}.lora_up.weight", torch.zeros(0, 4)), "empty"),
        (damaged(f"{STEM}.alpha", torch.tensor(3e38)), "measure"),
        ({f"lora_unet_a.lokr_w{one}": torch.ones(150, 150) for one in (1, 2)}, "larger"),
        (
            {
                f"lora_unet_a.hada_{name}": torch.ones((30_000, 1) if name.endswith("a") else (1, 30_000))
                for name in ("w1_a", "w1_b", "w2_a", "w2_b")
            },
            "larger",
        ),
        (
            {
                "lora_unet_a.lora_up.weight": torch.ones(1, 10_000, 1, 1),
                "lora_unet_a.lora_mid.weight": torch.ones(10_000, 1, 10, 1),
                "lora_unet_a.lora_down.weight": torch.ones(1, 100_000, 1, 1),
            },
            "larger",
        ),
        (
            {f"lora_unet_a{n}.lokr_w{one}": torch.ones(128, 128) for n in range(140) for one in (1, 2)},
            "more weights than any model",
        ),
    ],
)
def test_damage_is_one_sentence(tmp_path: Path, tensors: Tensors, says: str):
    path = save(tmp_path / "bad.safetensors", tensors)
    with pytest.raises(UnreadableFile, match=says) as told:
        measure(path)
    assert "\n" not in str(told.value)
    assert "bad.safetensors" in str(told.value)
    good = save(tmp_path / "good.safetensors", kohya(adapter(1)))
    with pytest.raises(UnreadableFile):
        overlap(good, path)


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"\xff" * 100, b"PK\x03\x04"])
def test_what_is_no_file_of_tensors_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(UnreadableFile):
        measure(path)


@pytest.mark.parametrize("how", ["up", "alpha"])
def test_an_adapter_that_does_nothing_has_no_direction(tmp_path: Path, how: str):
    tensors = kohya(adapter(1))
    for key, tensor in tensors.items():
        if key.endswith("lora_up.weight" if how == "up" else "alpha"):
            tensors[key] = torch.zeros_like(tensor)
    path = save(tmp_path / "nothing.safetensors", tensors)
    found = measure(path)
    assert found.whole.norm == 0
    assert found.whole.values > 0
    assert found.sketch == ()
    assert overlap(path, path) == 0


def test_two_stems_of_one_spelling_both_count(tmp_path: Path):
    shape = {"unet.mid_block.attentions.0.proj_in": (18, 18)}
    one, other = adapter(1, modules=shape), adapter(2, modules=shape)
    path = save(tmp_path / "a.safetensors", kohya(one) | dotted(other))
    assert measure(path).whole.norm == pytest.approx(norm([*one.whole.values(), *other.whole.values()]), rel=1e-5)


@pytest.mark.real_data
def test_real_files_have_strengths_and_are_strangers(real_data: Path):
    paths = [path for path in sorted((real_data / "lora_files").glob("*.safetensors")) if "TRUNCATED" not in path.name]
    assert paths
    found = {path: measure(path) for path in paths}
    for path, told in found.items():
        assert math.isfinite(told.whole.norm)
        assert 1e-5 < told.whole.rms < 1e-1
        assert {"down.0", "mid", "up.3"} <= {block.block for block in told.blocks}
        assert overlap(path, path) == pytest.approx(1, abs=1e-9)
        for other, their in found.items():
            if other != path:
                assert abs(overlap(path, other)) < 0.05
                assert abs(sketch_cosine(told, their)) < 0.5
    for path in (real_data / "lora_files").glob("*TRUNCATED*"):
        with pytest.raises(UnreadableFile):
            measure(path)
