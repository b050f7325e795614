"""`index --weights`, `show` and `duplicates --weights`, from files to what is printed."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from command_line import Done, velatura
from safetensors.torch import save_file

from velatura.playground.sample import make_checkpoint

MODULES = {
    "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k": (32, 768),
    "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q": (64, 64),
    "text_encoder.text_model.encoder.layers.0.mlp.fc1": (40, 20),
}


def index(home: Path, *options: object, **environment: str) -> Done:
    return velatura("index", "loras", "--weights", "--no-embed", *options, home=home, **environment)


def factors(seed: int, rank: int = 4) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    chance = torch.Generator().manual_seed(seed)
    return {
        name: (torch.randn(outputs, rank, generator=chance), torch.randn(rank, inputs, generator=chance))
        for name, (outputs, inputs) in MODULES.items()
    }


def write_kohya(path: Path, seed: int, *, rank: int = 4, alpha: float = 2.0) -> Path:
    """Write an adapter as kohya does; a larger rank holds the same difference, mixed anew."""
    tensors = {}
    for name, (up, down) in factors(seed).items():
        more = rank - up.shape[1]
        mixing = torch.linalg.qr(torch.randn(rank, rank, generator=torch.Generator().manual_seed(rank))).Q
        stem = name.replace("unet.", "lora_unet_").replace("text_encoder.", "lora_te_").replace(".", "_")
        tensors[f"{stem}.lora_up.weight"] = torch.cat([up, torch.zeros(len(up), more)], 1) @ mixing
        tensors[f"{stem}.lora_down.weight"] = mixing.T @ torch.cat([down, torch.zeros(more, down.shape[1])])
        tensors[f"{stem}.alpha"] = torch.tensor(alpha * rank / 4)
    save_file(tensors, path, {"ss_network_dim": str(rank)})
    return path


def write_diffusers(path: Path, seed: int, strength: float = 0.5) -> Path:
    tensors = {}
    for name, (up, down) in factors(seed).items():
        tensors[f"{name}.lora.up.weight"], tensors[f"{name}.lora.down.weight"] = strength * up, down
    save_file(tensors, path)
    return path


def strength_of(seed: int) -> float:
    parts = [0.5 * up.double() @ down.double() for up, down in factors(seed).values()]
    return math.sqrt(sum(float(part.square().sum()) for part in parts))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A person's folder with two strangers, and three of one kind: another layout, another rank, half as strong."""
    loras = tmp_path / "loras"
    loras.mkdir()
    write_kohya(loras / "fox.safetensors", 1)
    write_kohya(loras / "owl.safetensors", 2)
    write_diffusers(loras / "fox_diffusers.safetensors", 1)
    write_kohya(loras / "fox_r8.safetensors", 1, rank=8)
    write_diffusers(loras / "fox_weak.safetensors", 1, 0.25)
    return tmp_path


def test_index_measures_what_is_new_and_nothing_twice(home: Path):
    report = index(home, "--json").json
    assert report["indexed"][0]["added"] == 5
    assert (report["measured"]["files"], report["measured"]["done"], report["measured"]["failed"]) == (5, 5, [])
    assert report["base"] is None
    assert index(home, "--json").json["measured"]["files"] == 0
    write_kohya(home / "loras" / "owl.safetensors", 3)
    assert index(home, "--json").json["measured"]["files"] == 1
    assert velatura("index", "loras", "--no-embed", "--json", home=home).json["measured"] is None


def test_index_tells_a_damaged_file_in_a_sentence_and_goes_on(home: Path):
    bad = torch.full((8, 4), math.nan)
    stem = "lora_unet_mid_block_x"
    tensors = {f"{stem}.lora_up.weight": bad, f"{stem}.lora_down.weight": torch.ones(4, 8)}
    save_file(tensors, home / "loras" / "bad.safetensors")
    (home / "loras" / "empty.safetensors").write_bytes(b"")
    done = index(home)
    assert done.returncode == 0
    assert "measured the weights of 5 files" in done.stdout
    assert "NaN or infinity" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "measured" not in index(home).stdout
    assert "could not be measured: bad.safetensors" in velatura("show", "bad.safetensors", home=home).stdout


def test_show_tells_the_strength(home: Path):
    before = velatura("show", "fox.safetensors", "--json", home=home)
    assert before.returncode == 1
    velatura("index", "loras", "--no-embed", home=home)
    assert velatura("show", "fox.safetensors", "--json", home=home).json["strength"] is None
    index(home)
    found = velatura("show", "fox.safetensors", "--json", home=home).json["strength"]
    assert found["norm"] == pytest.approx(strength_of(1), rel=1e-5)
    assert found["values"] == sum(outputs * inputs for outputs, inputs in MODULES.values())
    assert found["rms"] == pytest.approx(found["norm"] / math.sqrt(found["values"]))
    assert set(found["blocks"]) == {"down.0", "mid", "text"}
    assert found["relative"] is found["base"] is found["failure"] is None
    text = velatura("show", "fox.safetensors", home=home).stdout
    assert f"{strength_of(1):.4g} over" in text
    assert "no checkpoint of SD 1.x was measured" in text


def test_strength_is_told_relative_to_a_measured_checkpoint(home: Path):
    checkpoint = make_checkpoint(home / "tiny")
    report = index(home, "--model", checkpoint, "--json").json
    assert report["base"]["family"] == "sd1"
    norms = {block["block"]: block["norm"] for block in report["base"]["blocks"]}
    found = velatura("show", "fox.safetensors", "--json", home=home).json["strength"]
    assert found["base"] == str(checkpoint)
    for name, block in found["blocks"].items():
        assert block["relative"] == pytest.approx(block["norm"] / norms[name])
    whole = math.sqrt(sum(norms[name] ** 2 for name in found["blocks"]))
    assert found["relative"] == pytest.approx(found["norm"] / whole)
    assert f"{found['relative']:.2%} of {checkpoint}" in velatura("show", "fox.safetensors", home=home).stdout


def test_the_checkpoint_of_the_settings_is_measured_once(home: Path):
    checkpoint = str(make_checkpoint(home / "tiny"))
    assert index(home, "--json", VELATURA_MODEL=checkpoint).json["base"]["model"] == checkpoint
    assert index(home, "--json", VELATURA_MODEL=checkpoint).json["base"] is None
    assert index(home, "--json", "--model", checkpoint).json["base"]["model"] == checkpoint


def test_a_checkpoint_that_is_not_there_stops_only_who_named_it(home: Path):
    done = index(home, "--json", VELATURA_MODEL="nowhere")
    assert done.json["measured"]["done"] == 5
    assert "note: the checkpoint of the settings is not measured" in done.stderr
    done = index(home, "--model", "nowhere")
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no")
    done = velatura("index", "loras", "--model", "nowhere", home=home)
    assert done.returncode == 2


def test_near_duplicates_are_found_whatever_the_layout_rank_and_strength(home: Path):
    index(home)
    pairs = velatura("duplicates", "--weights", "--json", home=home).json
    titles = {pair_of(home, number) for pair in pairs for number in pair["adapters"]}
    assert titles == {"fox.safetensors", "fox_diffusers.safetensors", "fox_r8.safetensors", "fox_weak.safetensors"}
    assert len(pairs) == 3
    for pair in pairs:
        assert pair["overlap"] == pytest.approx(1, abs=1e-5)
        weak = [pair_of(home, number) == "fox_weak.safetensors" for number in pair["adapters"]]
        assert pair["ratio"] == pytest.approx(2.0 if weak[0] else 0.5 if weak[1] else 1.0, rel=1e-4)
        assert pair["is_exact"]
    text = velatura("duplicates", "--weights", home=home).stdout
    assert "overlap 1.0000" in text
    assert "fox_r8.safetensors" in text
    assert "owl" not in text


def pair_of(home: Path, number: int) -> str:
    return str(velatura("show", number, "--json", home=home).json["file_name"])


def test_duplicates_of_weights_say_what_is_not_measured(home: Path):
    velatura("index", "loras", "--no-embed", home=home)
    done = velatura("duplicates", "--weights", home=home)
    assert done.returncode == 0
    assert "5 of 5 files are not measured" in done.stderr
    assert "no near-duplicates" in done.stdout


def test_the_least_overlap_can_be_chosen(home: Path):
    for path in (home / "loras").glob("fox_*"):
        path.unlink()
    mixed = {}
    for name, (up, down) in factors(1).items():
        stranger = factors(9)[name]
        mixed[f"{name}.lora.up.weight"] = torch.cat([up, 0.5 * stranger[0]], 1)
        mixed[f"{name}.lora.down.weight"] = torch.cat([down, stranger[1]])
    save_file(mixed, home / "loras" / "mixed.safetensors")
    index(home)
    assert velatura("duplicates", "--weights", "--json", home=home).json == []
    [pair] = velatura("duplicates", "--weights", "--overlap", "0.8", "--json", home=home).json
    assert 0.8 < pair["overlap"] < 0.95
    assert velatura("duplicates", "--weights", "--overlap", "0.5", home=home).returncode == 2


def test_plain_duplicates_are_as_before(home: Path):
    index(home)
    (home / "loras" / "copy.safetensors").write_bytes((home / "loras" / "fox.safetensors").read_bytes())
    index(home)
    [group] = velatura("duplicates", "--json", home=home).json
    assert len(group["adapters"]) == 2
    pairs = velatura("duplicates", "--weights", "--json", home=home).json
    assert len(pairs) == 3


def test_killed_while_measuring_it_goes_on(home: Path):
    for number in range(300):
        write_kohya(home / "loras" / f"x{number}.safetensors", 100 + number)
    environment = {**os.environ, "VELATURA_HOME": str(home)}
    code = "import velatura.refiner.weights as w; w._BATCH = 4; from velatura.cli import main; main()"
    command = [sys.executable, "-c", code, "index", "loras", "--weights", "--no-embed"]
    process = subprocess.Popen(command, cwd=home, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while left(home) > 280 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    remaining = left(home)
    assert 0 < remaining < 305
    report = index(home, "--json").json["measured"]
    assert report["done"] == remaining
    assert left(home) == 0


def left(home: Path) -> int:
    """How many files are not measured."""
    from velatura import Velatura
    from velatura.errors import CatalogueError

    try:
        with Velatura.open(db=str(home / "catalogue.db")) as opened:
            files, without = opened.unmeasured()
    except CatalogueError:
        return 1000
    return without if files == 305 else 1000
