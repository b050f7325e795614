"""The library is what a person's folder is like, the same each time, and the catalogue can read all of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from velatura.catalog import open_source
from velatura.composer.weights import advise
from velatura.errors import InputError
from velatura.generation import read_story
from velatura.playground.adapter_files import Adapter, to_bytes
from velatura.playground.cards import HARMLESS, distractor_pages, read_cards, read_truth
from velatura.playground.library import DUMP, FAMILY, make_library, weights_folder
from velatura.playground.world import NEW_SCENES, NEW_STYLES, NEW_SUBJECTS
from velatura.records import AdapterRecord, RefinedAdapter, Rejection

MODULE = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"


def trained_adapter(name: str) -> bytes:
    """What the trainer writes, with one layer."""
    numbers = np.random.default_rng(len(name) + ord(name[0]))
    shown = name.removesuffix("_overtrained")
    tensors = {
        f"{MODULE}.lora_down.weight": numbers.standard_normal((6, 128)).astype(np.float16),
        f"{MODULE}.lora_up.weight": numbers.standard_normal((64, 6)).astype(np.float16),
        f"{MODULE}.alpha": np.array(6, np.float16),
    }
    header = {
        "ss_base_model_version": "velatura_miniature",
        "ss_output_name": name,
        "ss_network_dim": "6",
        "ss_network_alpha": "6.0",
        "ss_network_args": json.dumps({"conv_dim": "5", "conv_alpha": "5"}),
        "ss_tag_frequency": json.dumps({f"1_{name}": {f"a red {shown} in the meadow": 3}}),
    }
    return to_bytes(Adapter(tensors, header))


def change(path: Path) -> np.ndarray:
    """What a file adds to the layer's weights at weight 1."""
    tensors = {name: tensor.astype(np.float64) for name, tensor in load_file(path).items()}
    up, down = tensors[f"{MODULE}.lora_up.weight"], tensors[f"{MODULE}.lora_down.weight"]
    return up @ down * float(tensors[f"{MODULE}.alpha"]) / len(down)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    for name in {truth.lora for truth in read_truth().values() if truth.lora}:
        (folder / f"{name}.safetensors").write_bytes(trained_adapter(name))
    return folder


@pytest.fixture(scope="module")
def loras(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_library(trained, tmp_path_factory.mktemp("owner"))


@pytest.fixture(scope="module")
def records(loras: Path) -> dict[str, AdapterRecord]:
    read = [record for entry in open_source(loras).entries() for record in results(entry)]
    return {record.file_name or "": record for record in read if isinstance(record, AdapterRecord)}


def results(entry: object) -> Sequence[AdapterRecord | Rejection]:
    try:
        return entry.read()
    except InputError as error:
        return [Rejection(source="folder", locator=entry.locator, reason=str(error))]


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_new_subject_style_and_scene_has_one_good_file() -> None:
    good = [truth.serves for truth in read_truth().values() if truth.trouble is None]
    wanted = [("subject", name) for name in NEW_SUBJECTS]
    wanted += [("style", name) for name in NEW_STYLES] + [("scene", name) for name in NEW_SCENES]
    assert sorted(good) == sorted(wanted)


def test_every_card_has_its_truth_and_every_trouble_is_there() -> None:
    truth = read_truth()
    assert [card.file for card in read_cards()] == list(truth)
    troubles = {one.trouble for one in truth.values()} - {None}
    assert troubles == {"copy", "resaved", "overtrained", "foreign", "broken", "mislabelled", "noise"}
    assert {one.trouble for one in truth.values() if one.harmful} == troubles - HARMLESS


def test_forty_other_pages_promise_nothing_that_the_world_has() -> None:
    pages = distractor_pages()["items"]
    assert len({page["id"] for page in pages}) == 40
    named = {word for page in pages for trigger in page["modelVersions"][0]["trainedWords"] for word in trigger.split()}
    assert not named & {*NEW_SUBJECTS, *NEW_STYLES, *NEW_SCENES}


def test_library_is_the_same_bytes_wherever_it_is_made(trained: Path, loras: Path, tmp_path: Path) -> None:
    assert contents(make_library(trained, tmp_path).parent) == contents(loras.parent)


def test_making_it_again_writes_nothing(trained: Path, loras: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in loras.iterdir()}
    make_library(trained, loras.parent)
    assert {path: path.stat().st_mtime_ns for path in loras.iterdir()} == before


def test_catalogue_reads_all_but_the_broken_file(loras: Path, records: dict[str, AdapterRecord]) -> None:
    refused = [one for entry in open_source(loras).entries() for one in results(entry) if isinstance(one, Rejection)]
    assert [Path(one.locator).name for one in refused] == ["rocket-retro-v2.safetensors"]
    assert "cut off" in refused[0].reason
    assert set(records) == {file for file, truth in read_truth().items() if truth.trouble != "broken"}


def test_pages_of_other_adapters_are_a_dump_without_files(loras: Path) -> None:
    read = [one for entry in open_source(loras.parent / DUMP).entries() for one in entry.read()]
    assert len(read) == 40
    assert all(isinstance(one, AdapterRecord) and one.path is None for one in read)


def test_only_the_foreign_file_is_of_another_family(records: dict[str, AdapterRecord]) -> None:
    assert {name: record.family for name, record in records.items() if record.family != FAMILY} == {
        "robot_xl.safetensors": "sdxl"
    }


def test_copy_is_the_same_file_and_the_reupload_the_same_change(loras: Path) -> None:
    assert (loras / "pixelcat_v3.safetensors").read_bytes() == (loras / "pixelcat_v3 (1).safetensors").read_bytes()
    one, other = loras / "neon_tubes.safetensors", loras / "neon_glow_fp32_reupload.safetensors"
    assert one.read_bytes() != other.read_bytes()
    np.testing.assert_allclose(change(one), change(other), rtol=1e-6)


@pytest.mark.parametrize("file", ["heart_v1.safetensors", "rubber_duck_v2.safetensors", "heatvision.safetensors"])
def test_file_makes_its_trained_change_at_its_full_weight(file: str, trained: Path, loras: Path) -> None:
    truth = read_truth()[file]
    np.testing.assert_allclose(
        truth.full * change(loras / file), change(trained / f"{truth.lora}.safetensors"), rtol=2e-3
    )


def test_header_tells_the_alpha_that_the_tensors_have(loras: Path, records: dict[str, AdapterRecord]) -> None:
    assert records["heart_v1.safetensors"].alpha == pytest.approx(6 / 0.8)
    length = int.from_bytes((loras / "heart_v1.safetensors").read_bytes()[:8], "little")
    header = json.loads((loras / "heart_v1.safetensors").read_bytes()[8 : 8 + length])["__metadata__"]
    assert float(header["ss_network_alpha"]) == pytest.approx(6 / 0.8)
    assert (
        header["sshs_model_hash"]
        == hashlib.sha256((loras / "heart_v1.safetensors").read_bytes()[8 + length :]).hexdigest()
    )


@pytest.mark.parametrize(
    ("file", "title", "triggers", "place"),
    [
        ("pixelcat_v3.safetensors", "Cat Face, Whiskers and All", (("cat",),), "Civitai Helper"),
        ("umb.safetensors", "Umbrella", (("umbrella",),), "Stability Matrix"),
        ("bp_style_v1.safetensors", "bp style v1", (("blueprint style",), ("blueprint",)), "A1111"),
        ("ghosty.safetensors", "ghosty", (("ghost",),), "header"),
        ("lora_final_final2.safetensors", "butterfly", (("butterfly",),), "header"),
    ],
)
def test_sidecar_is_read_as_its_tool_writes_it(
    file: str, title: str, triggers: object, place: str, records: dict[str, AdapterRecord]
) -> None:
    record = records[file]
    assert (record.title, record.triggers) == (title, triggers)
    assert place in dict(record.provenance)["triggers"]


def test_advertisements_are_cleaned_away_and_orders_to_assistants_change_no_weight(
    records: dict[str, AdapterRecord],
) -> None:
    robot = records["robot.safetensors"].description or ""
    assert "visor" in robot
    assert "Patreon" not in robot
    assert advise(RefinedAdapter(id=1, record=records["blade_of_dawn.safetensors"])).weight == pytest.approx(0.8)


def test_example_pictures_tell_their_prompt_as_a1111_does(loras: Path) -> None:
    told = read_story(loras / "pixelcat_v3.preview.png")["parameters"]
    assert "cat" in told["prompt"]
    assert told["adapters"] == [{"name": "pixelcat_v3", "weight": 0.7}]
    assert told["settings"]["Size"] == "32x32"


def test_nothing_in_the_folder_gives_the_truth_away(loras: Path) -> None:
    names = {path.name for path in loras.parent.rglob("*")}
    assert "truth.json" not in names
    texts = [path.read_text(encoding="utf-8") for path in loras.parent.rglob("*") if path.suffix in (".info", ".json")]
    assert texts
    texts += [header_of(path) for path in loras.glob("*.safetensors")]
    assert not any("mislabelled" in text or "trouble" in text or "overtrained" in text for text in texts)


def header_of(path: Path) -> str:
    content = path.read_bytes()
    return content[8 : 8 + int.from_bytes(content[:8], "little")].decode()


def test_header_of_the_overtrained_file_calls_it_what_its_owner_would(loras: Path) -> None:
    told = json.loads(header_of(loras / "robot_v1-e60.safetensors"))["__metadata__"]
    assert told["ss_output_name"] == "robot"
    assert list(json.loads(told["ss_tag_frequency"])) == ["1_robot"]


def test_clean_library_has_good_files_only(trained: Path, tmp_path: Path) -> None:
    loras = make_library(trained, tmp_path, clean=True)
    good = {file for file, truth in read_truth().items() if truth.trouble is None}
    assert {path.name for path in loras.glob("*.safetensors")} == good
    assert (tmp_path / DUMP).is_file()


def test_what_is_not_trained_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "heart.safetensors").write_bytes(trained_adapter("heart"))
    loras = make_library(tmp_path / "some", tmp_path / "owner", clean=True)
    assert [path.name for path in loras.glob("*.safetensors")] == ["heart_v1.safetensors"]


def test_folder_without_trained_adapters_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no trained adapter"):
        make_library(tmp_path, tmp_path / "owner")


def test_folder_that_cannot_be_made_is_one_sentence(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        make_library(trained, tmp_path / "file")


def test_weights_are_found_only_when_the_base_model_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("velatura.playground.library.files", lambda _package: tmp_path)
    assert weights_folder() is None
    (tmp_path / "weights" / "base").mkdir(parents=True)
    (tmp_path / "weights" / "base" / "model_index.json").write_text("{}")
    assert weights_folder() == tmp_path / "weights"


def test_folder_of_a_person_is_left_alone(trained: Path, tmp_path: Path) -> None:
    mine = tmp_path / "loras" / "heart_v1.safetensors"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    with pytest.raises(InputError, match="did not make"):
        make_library(trained, tmp_path)
    assert mine.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [mine.parent]


def test_clean_library_takes_the_troubled_files_away_again(trained: Path, tmp_path: Path) -> None:
    loras = make_library(trained, tmp_path / "used")
    (loras / "my own.safetensors").write_bytes(b"mine")
    make_library(trained, tmp_path / "used", clean=True)
    fresh = make_library(trained, tmp_path / "fresh", clean=True)
    names = {path.name for path in loras.iterdir()}
    assert names - {"my own.safetensors"} == {path.name for path in fresh.iterdir()}
    assert "my own.safetensors" in names
