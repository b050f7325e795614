"""The checkpoint's own files serve as the unchanged weights, where the model is bit for bit what they hold."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from velatura.errors import InputError
from velatura.generation.adapters.bases import own_memory, stored_weights
from velatura.generation.adapters.file import AdapterFile
from velatura.generation.adapters.names import targets
from velatura.generation.adapters.patch import Layers
from velatura.generation.adapters.plan import AdapterPlan, plan
from velatura.generation.checkpoint import load_checkpoint, quiet

Modules = dict[str, nn.Module]
MAPS = Path("/proc/self/maps")
UNET_FILE, CLIP_FILE = "diffusion_pytorch_model.safetensors", "model.safetensors"


def loaded(folder: Path, dtype: torch.dtype = torch.float32) -> Modules:
    pipe = load_checkpoint(str(folder), dtype=dtype, local_files_only=True).pipe
    for part in (pipe.unet, pipe.text_encoder):
        own_memory(part)
    return some(targets(unet=pipe.unet, text_encoder=pipe.text_encoder))


def some(modules: Modules) -> Modules:
    """A part of the model that has modules of every sort."""
    return {name: module for name, module in modules.items() if "mid_block" in name or "text_encoder" in name}


def bits(modules: Modules) -> dict[str, bytes]:
    return {
        f"{name}.{kind}": values.detach().flatten().view(torch.uint8).numpy().tobytes()
        for name, module in modules.items()
        for kind, values in module.named_parameters(recurse=False)
    }


def sums(folder: Path) -> dict[str, str]:
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def plans(adapters: list[Path], pristine: dict[str, Any]) -> list[AdapterPlan]:
    modules = some(targets(**pristine))
    return [plan(AdapterFile(path), modules, force=True) for path in adapters]


def laid_and_restored(modules: Modules, plans: list[AdapterPlan], stored: dict[str, Tensor]) -> Layers:
    """Lay two sets after each other and take them off; the model must be what it was."""
    one, two, three = plans
    before, layers = bits(modules), Layers(modules, stored=stored)
    layers.lay({one: 0.8, two: -0.5})
    assert layers.verify() == ()
    layers.lay({three: 1.0})
    assert layers.verify() == ()
    assert bits(modules) != before
    layers.restore()
    assert bits(modules) == before
    return layers


def nbytes(modules: Modules, laid: AdapterPlan) -> int:
    return sum(modules[name.removesuffix(".weight")].weight.nbytes for name in laid.parts)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_a_folders_files_are_used_without_a_copy(
    dtype: torch.dtype, checkpoint: Path, plans: list[AdapterPlan]
) -> None:
    """They hold float16; a model of another precision is what they become when they are cast."""
    modules, before = loaded(checkpoint, dtype), sums(checkpoint)
    layers = laid_and_restored(modules, plans, stored_weights(checkpoint))
    assert layers.copied == 0
    assert sums(checkpoint) == before


def test_every_weight_of_the_model_is_found(checkpoint: Path) -> None:
    stored, modules = stored_weights(checkpoint), loaded(checkpoint)
    own = {f"{name}.{kind}" for name, module in modules.items() for kind, _ in module.named_parameters(recurse=False)}
    assert own <= stored.keys()


@pytest.mark.skipif(not MAPS.exists(), reason="only Linux tells what is mapped")
def test_stored_weights_lie_in_the_mapped_files(checkpoint: Path) -> None:
    mapped: list[tuple[int, int]] = []
    stored = stored_weights(checkpoint)
    for line in MAPS.read_text().splitlines():
        if line.endswith((UNET_FILE, CLIP_FILE)) and str(checkpoint) in line:
            start, end = (int(side, 16) for side in line.split()[0].split("-"))
            mapped.append((start, end))
    for name, values in stored.items():
        assert any(start <= values.data_ptr() < end for start, end in mapped), name


def test_without_files_what_is_touched_is_copied_once(checkpoint: Path, plans: list[AdapterPlan]) -> None:
    modules = loaded(checkpoint)
    layers = laid_and_restored(modules, plans, {})
    assert layers.copied == nbytes(modules, plans[0])


@pytest.fixture(scope="module")
def whole(checkpoint: Path, pristine: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in float32, whose values float16 cannot hold."""
    folder = tmp_path_factory.mktemp("whole") / "model"
    shutil.copytree(checkpoint, folder)
    generator = torch.Generator().manual_seed(1)
    for part, file in (("unet", UNET_FILE), ("text_encoder", CLIP_FILE)):
        path = folder / part / file
        values = {key: value.float() for key, value in load_file(path).items()}
        noisy = {key: value + 1e-5 * torch.randn(value.shape, generator=generator) for key, value in values.items()}
        save_file(noisy, path, metadata={"format": "pt"})
    config = folder / "text_encoder" / "config.json"  # transformers loads in the precision that stands there
    config.write_text(config.read_text().replace("float16", "float32"))
    return folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_a_model_is_restored_from_files_of_a_higher_precision(
    dtype: torch.dtype, whole: Path, plans: list[AdapterPlan]
) -> None:
    assert laid_and_restored(loaded(whole, dtype), plans, stored_weights(whole)).copied == 0


def test_a_model_of_a_higher_precision_than_the_files_is_copied(
    whole: Path, checkpoint: Path, plans: list[AdapterPlan]
) -> None:
    """The float16 files hold almost the same model, and restoring from them would round it."""
    modules = loaded(whole)
    layers = laid_and_restored(modules, plans, stored_weights(checkpoint))
    assert layers.copied == nbytes(modules, plans[0])


def test_of_a_model_that_was_just_loaded_a_few_values_tell_its_file(
    checkpoint: Path, whole: Path, plans: list[AdapterPlan]
) -> None:
    for folder, copied in ((checkpoint, 0), (whole, nbytes(loaded(checkpoint), plans[0]))):
        modules = loaded(checkpoint)
        before, layers = bits(modules), Layers(modules, stored=stored_weights(folder), fresh=True)
        layers.lay({plans[0]: 1.0})
        assert layers.copied == copied
        layers.restore()
        assert bits(modules) == before


# Whatever differs is copied

QUERY = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.mark.parametrize("place", [0, 777, -1])
def test_one_other_value_anywhere_is_seen(place: int, checkpoint: Path, plans: list[AdapterPlan]) -> None:
    modules = loaded(checkpoint)
    weight = modules[QUERY].weight
    with torch.no_grad():
        weight.view(-1)[place] += 2.0**-20
    layers = laid_and_restored(modules, plans, stored_weights(checkpoint))
    assert layers.copied == weight.nbytes


@pytest.mark.parametrize("values", [(0.0, -0.0), (1.0, float("nan"))], ids=str)
def test_equal_numbers_are_not_enough_and_nan_is_not_too_much(
    values: tuple[float, float], checkpoint: Path, plans: list[AdapterPlan]
) -> None:
    stored, modules = stored_weights(checkpoint), loaded(checkpoint)
    there, here = (deepcopy(stored[f"{QUERY}.weight"]) for _ in range(2))
    there.view(-1)[5], here.view(-1)[5] = values
    with torch.no_grad():
        modules[QUERY].weight.copy_(here)
    found = plans[0]
    for held, copied in ((there, modules[QUERY].weight.nbytes), (here, 0)):
        before, layers = bits(modules), Layers(modules, stored={**stored, f"{QUERY}.weight": held})
        layers.lay({found: 1.0})
        assert layers.copied == copied
        layers.restore()
        assert bits(modules) == before


def test_weights_of_another_shape_or_model_are_copied(checkpoint: Path, plans: list[AdapterPlan]) -> None:
    modules = loaded(checkpoint)
    size = nbytes(modules, plans[0])
    stored = {name: values[:1] for name, values in stored_weights(checkpoint).items()}
    assert laid_and_restored(modules, plans, stored).copied == size
    stored = {name: values + 1 for name, values in stored_weights(checkpoint).items()}
    assert laid_and_restored(modules, plans, stored).copied == size


def test_a_weight_that_was_merged_into_before_is_kept_merged(checkpoint: Path, plans: list[AdapterPlan]) -> None:
    modules = loaded(checkpoint)
    first = Layers(modules)
    first.lay({plans[2]: 0.5})  # and never taken off
    layers = laid_and_restored(modules, plans, stored_weights(checkpoint))
    assert layers.copied == nbytes(modules, plans[0])


def test_channels_last_weights_are_compared_and_restored_as_numbers_in_order(
    checkpoint: Path, plans: list[AdapterPlan]
) -> None:
    modules = loaded(checkpoint)
    for module in modules.values():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
    assert laid_and_restored(modules, plans, stored_weights(checkpoint)).copied == 0


def test_an_odd_number_of_values_is_compared_too(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    linear = nn.Linear(7, 3).half()
    weight = linear.weight.detach()
    save_file({"a": torch.ones(1).half(), "linear.weight": weight}, tmp_path / "unet" / UNET_FILE)
    modules = targets(unet=nn.ModuleDict({"linear": linear}))
    factors = {
        "lora_unet_linear.lora_down.weight": torch.ones(1, 7),
        "lora_unet_linear.lora_up.weight": torch.ones(3, 1),
    }
    save_file(factors, tmp_path / "a.safetensors")
    for changed in (False, True):
        if changed:
            linear.weight.data[-1, -1] += 1
        before, layers = bits(modules), Layers(modules, stored=stored_weights(tmp_path))
        layers.lay({plan(AdapterFile(tmp_path / "a.safetensors"), modules): 1.0})
        assert layers.copied == (42 if changed else 0)
        layers.restore()
        assert bits(modules) == before


# Which files


def written(folder: Path, model: nn.Module, **options: Any) -> Path:
    with quiet():
        model.save_pretrained(folder / "unet", **options)  # type: ignore[operator]
    return folder


def unet_names(pristine: dict[str, Any]) -> set[str]:
    return {f"unet.{name}" for name in pristine["unet"].state_dict()}


@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize("size", ["1GB", "1MB"])
def test_files_in_shards_and_of_a_variant_are_found(
    size: str, variant: str | None, tmp_path: Path, pristine: dict[str, Any]
) -> None:
    folder = written(tmp_path, pristine["unet"], variant=variant, max_shard_size=size)
    files = list((folder / "unet").glob("*.safetensors"))
    assert (len(files) > 2) == (size == "1MB")
    stored = stored_weights(folder)
    assert stored.keys() == unet_names(pristine)
    for name, values in pristine["unet"].state_dict().items():
        assert torch.equal(stored[f"unet.{name}"], values)


@pytest.mark.parametrize("size", ["1GB", "1MB"])
def test_beside_the_whole_precision_a_variant_is_passed_over(
    size: str, tmp_path: Path, pristine: dict[str, Any]
) -> None:
    """As diffusers does, which loads a variant only when it is asked for."""
    written(tmp_path, deepcopy(pristine["unet"]).half(), variant="fp16")
    written(tmp_path, pristine["unet"], max_shard_size=size)
    assert {values.dtype for values in stored_weights(tmp_path).values()} == {torch.float32}
    assert stored_weights(tmp_path).keys() == unet_names(pristine)


def test_of_two_claims_neither_is_taken(tmp_path: Path, pristine: dict[str, Any]) -> None:
    written(tmp_path, pristine["unet"])
    written(tmp_path, pristine["unet"], variant="non_ema")
    assert stored_weights(tmp_path) == {}


def test_a_shard_that_is_not_there_leaves_its_part_out(
    tmp_path: Path, checkpoint: Path, pristine: dict[str, Any], plans: list[AdapterPlan]
) -> None:
    written(tmp_path, pristine["unet"], max_shard_size="1MB")
    next(iter((tmp_path / "unet").glob("*-00002-of-*.safetensors"))).unlink()
    assert stored_weights(tmp_path) == {}
    assert laid_and_restored(loaded(checkpoint), plans, stored_weights(tmp_path)).copied > 0


INDEXES = (
    "", "{", "[]", "null", "5", '"x"', "[" * 100_000, "{}", '{"weight_map": null}', '{"weight_map": []}',
    '{"weight_map": {"a": ["b"]}}', '{"weight_map": {"a": {"b": "c"}}}', '{"weight_map": {"a": null}}',
    '{"weight_map": {"a": "../outside.safetensors"}}', '{"weight_map": {"a": "/etc/passwd"}}',
    '{"weight_map": {"a": ".."}}', '{"weight_map": {"a": "."}}', '{"weight_map": {"a": ""}}',
    '{"weight_map": {"a": "nul\\u0000.safetensors"}}', '{"weight_map": {"a": "pickle.bin"}}',
    '{"weight_map": {"a": "\\ud800"}}', '{"weight_map": {"a": "gone.safetensors"}}',
)  # fmt: skip


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: index[:40])
def test_an_index_that_lies_leaves_its_part_out(index: str, tmp_path: Path) -> None:
    folder = tmp_path / "model" / "unet"
    folder.mkdir(parents=True)
    save_file({"conv_in.weight": torch.zeros(3)}, tmp_path / "model" / "outside.safetensors")
    (folder / "pickle.bin").write_bytes(b"\x80\x04N.")
    (folder / f"{UNET_FILE}.index.json").write_text(index)
    assert stored_weights(tmp_path / "model") == {}


@pytest.mark.parametrize("content", [b"", b"\x00" * 8, b"x" * 100])
def test_a_damaged_file_leaves_its_part_out(content: bytes, tmp_path: Path, checkpoint: Path) -> None:
    for part, file in (("unet", UNET_FILE), ("text_encoder", CLIP_FILE)):
        (tmp_path / part).mkdir()
        (tmp_path / part / file).write_bytes((checkpoint / part / file).read_bytes())
    (tmp_path / "unet" / UNET_FILE).write_bytes(content)
    stored = stored_weights(tmp_path)
    assert stored
    assert all(name.startswith("text_encoder.") for name in stored)


def test_a_folder_without_parts_holds_nothing(tmp_path: Path) -> None:
    assert stored_weights(tmp_path) == {}
    assert stored_weights(tmp_path / "none") == {}


def test_names_are_those_of_the_text_encoder_in_every_release(tmp_path: Path) -> None:
    (tmp_path / "text_encoder").mkdir()
    values = {"text_model.encoder.layers.0.mlp.fc1.weight": torch.ones(2), "final_layer_norm.weight": torch.ones(3)}
    save_file(values, tmp_path / "text_encoder" / CLIP_FILE)
    assert set(stored_weights(tmp_path)) == {
        "text_encoder.encoder.layers.0.mlp.fc1.weight",
        "text_encoder.final_layer_norm.weight",
    }


def test_a_model_gets_memory_of_its_own_and_the_same_bits(checkpoint: Path) -> None:
    pipe = load_checkpoint(str(checkpoint), dtype=torch.float16, local_files_only=True).pipe
    wide = nn.Linear(1024, 2048)
    pipe.unet.wide = wide
    before = {name: values.detach().clone() for name, values in pipe.unet.named_parameters()}
    holders, place = dict(pipe.unet.named_parameters()), wide.weight.data_ptr()
    own_memory(pipe.unet)
    for name, values in pipe.unet.named_parameters():
        assert values is holders[name]
        assert torch.equal(values, before[name])
    assert wide.weight.data_ptr() != place
    assert json.dumps(list(holders)) == json.dumps(list(before))


def test_a_checkpoint_that_was_written_to_is_told(tmp_path: Path, checkpoint: Path, adapters: list[Path]) -> None:
    folder = tmp_path / "model"
    shutil.copytree(checkpoint, folder)
    from diffusers import UNet2DConditionModel

    modules = targets(unet=UNet2DConditionModel.from_pretrained(folder / "unet").float())
    layers = Layers(modules, stored=stored_weights(folder))
    layers.lay({plan(AdapterFile(adapters[0]), modules, force=True): 1.0})
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    os.utime(file, ns=(1, 1))
    with pytest.raises(InputError, match=r"model\.safetensors has changed since the model was loaded"):
        layers.restore()
