"""What kohya's trainer, ModelSpec and cloneofsimo's write into a header."""

from __future__ import annotations

import json

import pytest

from velatura.catalog.header import Header, Tensors, TensorType
from velatura.catalog.told import Told
from velatura.catalog.training import read_training
from velatura.records import Hashes


def training_of(metadata: dict[str, str], *names: str, bundled: tuple[str, ...] = ()) -> dict[str, object]:
    """Return the fields as the header tells them, the more believed part first."""
    types = {name: TensorType("F16", (1, 768), 1536, "") for name in names}
    header = Header(0, 0, metadata, Tensors(types, dict.fromkeys(types, 0), 0))
    fields: dict[str, object] = {}
    told: list[Told] = read_training(header, bundled)
    for one in reversed(told):
        fields |= {field: value for field, value in one.fields.items() if value not in (None, (), Hashes(), "unknown")}
    return fields


def frequency(**buckets: dict[str, object]) -> dict[str, str]:
    return {"ss_tag_frequency": json.dumps({name.replace("__", " "): tags for name, tags in buckets.items()})}


def test_the_tags_of_all_folders_are_summed():
    found = training_of(frequency(one={"1girl": 10, "fox ": 3}, two={" fox": 9, "smile": 1}))
    assert found["training_tags"] == (("fox", 12), ("1girl", 10), ("smile", 1))


def test_captions_are_cut_into_their_words():
    found = training_of(frequency(one={"a red fox runs in the snow": 2, "the red fox sleeps under a tree": 1}))
    assert found["training_tags"][:3] == (("fox", 3), ("red", 3), ("the", 3))
    assert all(len(word) >= 3 for word, _ in found["training_tags"])


def test_strange_counts_are_left_out():
    tags = {"fox": 3, "a": None, "b": "x", "c": -4, "d": [1], "e": "7", "f": 1e400, "": 5, "g": True}
    assert training_of(frequency(one=tags))["training_tags"] == (("e", 7), ("fox", 3))


def test_only_the_commonest_tags_are_kept():
    found = training_of(frequency(one={f"tag {number}": number for number in range(1, 500)}))
    assert len(found["training_tags"]) == 64
    assert found["training_tags"][0] == ("tag 499", 499)


@pytest.mark.parametrize(
    ("folder", "triggers"),
    [
        ("10_mychar girl", (("mychar girl",),)),
        ("5 sks fox", (("sks fox",),)),
        ("1_img", None),
        ("10_dataset 512", None),
        ("20", None),
    ],
)
def test_a_training_folder_s_name_is_a_trigger_unless_it_is_a_mere_place(folder, triggers):
    metadata = {"ss_tag_frequency": json.dumps({folder: {"smile": 1}})}
    assert training_of(metadata).get("triggers") == triggers


def test_several_folders_are_alternatives_and_regularisation_is_none():
    metadata = frequency(**{"5_red__fox": {"a": 1}, "5_blue__fox": {"a": 1}, "1_animal": {"a": 1}})
    metadata["ss_reg_dataset_dirs"] = json.dumps({"1_animal": {"n_repeats": 1}})
    assert training_of(metadata)["triggers"] == (("red fox",), ("blue fox",))


def test_class_tokens_are_believed_before_folder_names():
    subsets = [
        {"class_tokens": "ohwx fox", "is_reg": False},
        {"class_tokens": "animal", "is_reg": True},
        {"class_tokens": None},
        {"class_tokens": 7},
        "no subset",
    ]
    metadata = {"ss_datasets": json.dumps([{"subsets": subsets}, {"subsets": None}, 3]), **frequency(x1_fox={"a": 1})}
    assert training_of(metadata)["triggers"] == (("ohwx fox",),)


def test_kohya_s_other_fields():
    found = training_of(
        {
            "ss_training_comment": "for the book",
            "ss_network_dim": "32",
            "ss_network_alpha": "16.0",
            "ss_base_model_version": "sd_v2_v",
            "sshs_model_hash": "0x" + "AB" * 32,
            "ss_sd_model_name": "None",
        }
    )
    assert (found["notes"], found["rank"], found["alpha"]) == ("for the book", 32, 16.0)
    assert (found["family"], found["base_model"]) == ("sd2", "sd_v2_v")
    assert found["hashes"] == Hashes(autov3="ab" * 6)


@pytest.mark.parametrize(
    ("version", "name", "family", "base_model"),
    [
        ("sdxl_base_v1-0", "ponyDiffusionV6XL_v6.safetensors", "pony", "ponyDiffusionV6XL_v6.safetensors"),
        ("sdxl_base_v1-0", "Illustrious-XL-v0.1.safetensors", "illustrious", "Illustrious-XL-v0.1.safetensors"),
        ("sdxl_base_v1-0", "sd_xl_base_1.0.safetensors", "sdxl", "sd_xl_base_1.0.safetensors"),
        ("sdxl_base_v1-0", "flux-killer.safetensors", "sdxl", "sdxl_base_v1-0"),
        ("sd_v1", "animefull-latest.ckpt", "sd1", "sd_v1"),
        ("None", "noobaiXL.safetensors", "noobai", "noobaiXL.safetensors"),
    ],
)
def test_the_base_s_name_speaks_within_its_version(version, name, family, base_model):
    found = training_of({"ss_base_model_version": version, "ss_sd_model_name": name})
    assert (found["family"], found["base_model"]) == (family, base_model)


def test_modelspec():
    found = training_of(
        {
            "modelspec.title": "Red Fox",
            "modelspec.author": "somebody",
            "modelspec.description": "<b>A fox</b>, best at weight 0.6.",
            "modelspec.usage_hint": "Say foxy.",
            "modelspec.tags": "fox, animal, fox,,",
            "modelspec.trigger_phrase": "foxy",
            "modelspec.license": "MIT",
            "modelspec.lora_default_weight": "0.7",
            "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
            "modelspec.hash_sha256": "0x" + "cd" * 32,
            "modelspec.thumbnail": "data:image/jpeg;base64,AAAABBBB",
            "ss_output_name": "fox",
        }
    )
    assert (found["title"], found["creator"], found["tags"]) == ("Red Fox", "somebody", ("fox", "animal"))
    assert found["description"] == "A fox, best at weight 0.6.\nSay foxy."
    assert found["triggers"] == (("foxy",),)
    assert found["licence"].name == "MIT"
    assert {(seen.weight, seen.source) for seen in found["weights"]} == {(0.7, "header"), (0.6, "prose")}
    assert found["base_model"] == "stable-diffusion-xl-v1-base/lora"
    assert found["hashes"] == Hashes(autov3="cd" * 6)
    assert "AAAABBBB" not in repr(found)


@pytest.mark.parametrize("title", ["LoRA@1677123456", "Checkpoint@1", "last-000010", "pytorch_lora_weights", "", "   "])
def test_a_title_that_the_trainer_made_up_is_none(title):
    assert "title" not in training_of({"modelspec.title": title, "modelspec.author": "x"})


def test_the_hash_of_nothing_is_no_hash():
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert "hashes" not in training_of({"sshs_model_hash": empty, "modelspec.hash_sha256": f"0x{empty}"})


def test_learned_words_are_triggers_meant_together():
    found = training_of({"<s1>": "<embed>", "<s2>": "<embed>", "<s3>": "<embed>"}, "<s1>", "<s2>", "unet:0:down")
    assert found["triggers"] == (("<s1>", "<s2>"),)


def test_bundled_embeddings_are_triggers():
    assert training_of({}, bundled=("foxy", "foxier"))["triggers"] == (("foxy",), ("foxier",))


def test_peft_s_configuration_tells_the_alpha():
    metadata = {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 8, "unet.r": 4, "unet.bias": "none"})}
    assert training_of(metadata)["alpha"] == 8.0


@pytest.mark.parametrize("text", ["", "null", "[]", "{", "[" * 100_000, '{"a": 1}', '{"a": {"b": {}}}', "NaN", '"x"'])
def test_damaged_json_inside_a_header_tells_nothing(text):
    keys = ("ss_tag_frequency", "ss_datasets", "ss_reg_dataset_dirs", "lora_adapter_metadata")
    assert training_of(dict.fromkeys(keys, text)) == {}


@pytest.mark.real_data
def test_a_real_header_of_kohya(real_data):
    found = training_of(json.loads((real_data / "lora_keys" / "kohya_boo_metadata.json").read_text()))
    assert (found["rank"], found["alpha"]) == (4, 4.0)
    assert str(found["notes"]).startswith("dimension is resized from 128 to 4")
