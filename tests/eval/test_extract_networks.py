"""Extractors: what they find, what they say of themselves, and folders and files that lie."""

from __future__ import annotations

import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image
from tiny_networks import clip_folder, dinov2_folder, inception_file, noise, resnet_folder

from velatura.errors import InputError, UnreadableFile
from velatura.eval.extract import open_extractor, open_extractors
from velatura.eval.extract.inception import PUBLISHED, InceptionNetwork
from velatura.eval.extract.preparation import CLIP_MEAN, CLIP_SPREAD, read_preparation
from velatura.eval.extract.weights import digest_file
from velatura.playground.library import find_weights

PICTURES = [noise(40, 30), noise(33, 61, seed=1), noise(24, 24, seed=2)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("networks")
    return {
        "clip": clip_folder(root / "clip"),
        "resnet50": resnet_folder(root / "resnet"),
        "dinov2": dinov2_folder(root / "dinov2"),
        "inception": inception_file(root / "inception.pt"),
    }


@pytest.fixture(scope="module")
def clip(folders):
    return open_extractor(f"clip:{folders['clip']}")


def shown(extractor, pictures=PICTURES):
    return np.stack([extractor.prepare(picture) for picture in pictures])


@pytest.mark.parametrize(("name", "width"), [("clip", 8), ("resnet50", 16), ("dinov2", 16), ("inception", 7)])
def test_an_extractor_gives_a_row_for_each_picture(folders, name, width):
    extractor = open_extractor(f"{name}:{folders[name]}", trusted=True)
    rows = extractor.extract(shown(extractor))
    assert (extractor.name, extractor.width) == (name, width)
    assert rows.shape == (3, width)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    assert extractor.extract(shown(extractor)[:0]).shape == (0, width)
    assert not np.allclose(rows[0], rows[1])


@pytest.mark.parametrize("name", ["clip", "resnet50", "dinov2", "inception"])
def test_a_picture_has_the_same_features_in_any_company(folders, name):
    extractor = open_extractor(f"{name}:{folders[name]}", trusted=True)
    together = extractor.extract(shown(extractor))
    alone = np.concatenate([extractor.extract(shown(extractor, [picture])) for picture in PICTURES])
    assert np.allclose(together, alone, atol=1e-5)


# ---------------------------------------------------------------------------------- what they say of themselves


@pytest.mark.parametrize("name", ["clip", "resnet50", "dinov2"])
def test_the_fingerprint_changes_with_the_weights_and_with_the_preparation(folders, tmp_path, name):
    before = open_extractor(f"{name}:{folders[name]}")
    copy = tmp_path / "copy"
    shutil.copytree(folders[name], copy)
    assert open_extractor(f"{name}:{copy}").fingerprint == before.fingerprint
    settings = copy / "preprocessor_config.json"
    told = json.loads(settings.read_text()) if settings.exists() else {}
    settings.write_text(json.dumps({**told, "resample": 2}))
    other = open_extractor(f"{name}:{copy}")
    assert other.fingerprint != before.fingerprint
    assert other.signature != before.signature
    settings.write_text(json.dumps(told))
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    other = open_extractor(f"{name}:{copy}")
    assert other.fingerprint != before.fingerprint
    assert other.signature.split("|")[0] != before.signature.split("|")[0]


def test_signatures_name_the_weights_and_the_preparation(folders):
    clip, inception = open_extractors([f"clip:{folders['clip']}", f"inception-64:{folders['inception']}"], trusted=True)
    weights = digest_file(folders["clip"] / "model.safetensors")
    assert clip.signature == f"clip={weights[:8]}:{clip.fingerprint[:8]}|prep=pil-bicubic-24"
    sha = inception.network.sha256
    assert inception.signature == f"inc=own:{sha[:8]}:{inception.fingerprint[:8]}:64|resize=clean"


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("preprocessor_config.json", {"image_mean": [0.5, 0.5, 0.5]}),
        ("preprocessor_config.json", {"image_std": [0.5, 0.5, 0.5]}),
        ("config.json", {"logit_scale_init_value": 1.0}),
        ("tokenizer_config.json", {"do_lower_case": False}),
        (None, "method"),
    ],
)
def test_the_signature_and_with_it_kept_scores_change_with_all_that_features_hang_on(
    folders, tmp_path, monkeypatch, name, changed
):
    copy = tmp_path / "copy"
    shutil.copytree(folders["clip"], copy)
    before = open_extractor(f"clip:{copy}").signature
    assert before == open_extractor(f"clip:{folders['clip']}").signature
    if name is None:
        monkeypatch.setattr("velatura.eval.extract.vision._METHOD", "other")
    else:
        told = json.loads((copy / name).read_text()) if (copy / name).exists() else {}
        (copy / name).write_text(json.dumps({**told, **changed}))
    after = open_extractor(f"clip:{copy}").signature
    assert after != before
    assert after.split(":")[0] == before.split(":")[0]
    assert after.split("|")[1] == before.split("|")[1]


def test_the_signature_of_inception_changes_with_its_method(folders, monkeypatch):
    extractor = open_extractor(f"inception:{folders['inception']}", trusted=True)
    before = extractor.signature
    monkeypatch.setattr("velatura.eval.extract.inception._METHOD", "other")
    assert extractor.signature != before


def test_the_tokenizer_is_not_digested_for_each_picture(folders, monkeypatch):
    extractor = open_extractor(f"clip:{folders['clip']}")
    known = extractor.fingerprint
    monkeypatch.setattr("velatura.eval.extract.clip.digest_file", lambda _path: pytest.fail("it was read again"))
    assert extractor.fingerprint == known


def test_the_inception_resize_is_part_of_the_fingerprint(folders):
    spec = f"inception:{folders['inception']}"
    found = {
        open_extractor(spec, trusted=True, resize=resize, crop=crop).fingerprint
        for resize in ("pil", "torch")
        for crop in ("squeeze", "centre")
    }
    assert len(found) == 4


# ---------------------------------------------------------------------------------- CLIP


def test_clip_features_are_those_of_transformers(folders, clip):
    import torch
    from transformers import CLIPModel, CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    model = CLIPModel.from_pretrained(folders["clip"]).eval()
    size = {"shortest_edge": 24}, {"height": 24, "width": 24}
    pixels = CLIPImageProcessorPil(size=size[0], crop_size=size[1])(PICTURES, return_tensors="pt").pixel_values
    assert np.allclose(shown(clip), pixels.numpy(), atol=1e-5)
    tokens = CLIPTokenizer.from_pretrained(folders["clip"])(["a fox", "a red cat"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        seen, read = model.get_image_features(pixel_values=pixels), model.get_text_features(**tokens)
    # A tensor in transformers 4, an object in 5.
    assert np.allclose(clip.extract(shown(clip)), getattr(seen, "pooler_output", seen).numpy(), atol=1e-5)
    assert np.allclose(clip.read(["a fox", "a red cat"]), getattr(read, "pooler_output", read).numpy(), atol=1e-5)


def test_clip_features_are_not_normalised(clip):
    assert not np.allclose(np.linalg.norm(clip.extract(shown(clip)), axis=1), 1, atol=0.01)
    assert clip.read([]).shape == (0, 8)


def test_a_long_text_loses_its_end_and_keeps_the_mark_it_is_read_at(clip):
    long = " ".join(["fox"] * 40)
    other = " ".join(["cat"] + ["fox"] * 39)
    alike = long + " cat"
    rows = clip.read([long, other, alike])
    assert not np.allclose(rows[0], rows[1], atol=1e-4)
    assert np.array_equal(rows[0], rows[2])
    assert clip.truncated([long, "a fox", other]) == 2
    assert clip.truncated([]) == 0
    tokens = clip._tokenizer([long], truncation=True, max_length=16).input_ids[0]
    assert tokens[-1] == 872


def test_a_lone_surrogate_is_read(clip):
    assert np.isfinite(clip.read(["a \ud83d fox"])).all()


def test_the_playgrounds_evaluator_finds_the_same():
    from velatura.playground.measure.evaluator import Evaluator

    folder = find_weights() / "evaluator"
    theirs, mine = Evaluator(folder), open_extractor(f"clip:{folder}")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    pictures = [Image.fromarray(picture) for picture in pixels]
    assert np.allclose(mine.extract(shown(mine, pictures)), theirs.see(pixels), atol=1e-5)
    texts = ["a red fox", "a blue house in the snow"]
    assert np.allclose(mine.read(texts), theirs.read(texts), atol=1e-5)


def test_a_picture_of_one_pixel_width_is_no_trouble(clip):
    assert clip.prepare(noise(9000, 1)).shape == (3, 24, 24)


# ---------------------------------------------------------------------------------- ResNet and DINOv2


def test_resnet_is_shown_what_its_processor_would_show(folders):
    from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil

    settings = {"size": {"shortest_edge": 28}, "crop_pct": 0.875, "resample": 3}
    theirs = ConvNextImageProcessorPil(**settings, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])
    pixels = theirs(PICTURES, return_tensors="pt").pixel_values.numpy()
    assert np.allclose(shown(open_extractor(f"resnet50:{folders['resnet50']}")), pixels, atol=1e-5)


def test_resnet_and_dinov2_features_are_those_of_transformers(folders):
    import torch
    from transformers import Dinov2Model, ResNetModel

    for name, kind, pick in (
        ("resnet50", ResNetModel, lambda seen: seen.pooler_output.flatten(1)),
        ("dinov2", Dinov2Model, lambda seen: seen.pooler_output),
    ):
        extractor = open_extractor(f"{name}:{folders[name]}")
        pixels = shown(extractor)
        with torch.inference_mode():
            theirs = pick(kind.from_pretrained(folders[name]).eval()(pixel_values=torch.tensor(pixels))).numpy()
        assert np.allclose(extractor.extract(pixels), theirs, atol=1e-5)


# ---------------------------------------------------------------------------------- Inception


def test_the_outputs_of_inception_share_one_look(folders, monkeypatch):
    import torch

    specs = [f"{name}:{folders['inception']}" for name in
             ("inception", "inception-logits", "inception-64", "inception-192", "inception-768")]  # fmt: skip
    extractors = open_extractors(specs, trusted=True)
    looked = []
    look = InceptionNetwork._look
    monkeypatch.setattr(InceptionNetwork, "_look", lambda self, batch: looked.append(len(batch)) or look(self, batch))
    batch = shown(extractors[0])
    batch.flags.writeable = False
    rows = [extractor.extract(batch) for extractor in extractors]
    assert looked == [3]
    assert [row.shape for row in rows] == [(3, 7), (3, 3), (3, 4), (3, 5), (3, 6)]
    network = extractors[0].network._network
    with torch.inference_mode():
        values = (torch.tensor(batch) - 128) / 128
        pooled = network.layers(values).flatten(1)  # as clean-fid takes them
        first = network.layers.pool0(network.layers.conv(values)).mean((2, 3))
    assert np.allclose(rows[0], pooled.numpy(), atol=1e-5)
    assert np.allclose(rows[1], (pooled @ network.output.weight.T).numpy(), atol=1e-5)
    assert np.allclose(rows[2], first.numpy(), atol=1e-5)


def test_a_batch_that_may_change_is_looked_at_anew(folders):
    extractor = open_extractor(f"inception:{folders['inception']}", trusted=True)
    batch = shown(extractor)
    before = extractor.extract(batch)
    batch[:] = batch[::-1].copy()
    assert np.allclose(extractor.extract(batch), before[::-1], atol=1e-5)


def test_a_torchscript_file_that_is_not_the_published_one_is_not_opened(folders, monkeypatch):
    import torch

    monkeypatch.setattr(torch.jit, "load", lambda *_args, **_options: pytest.fail("it was opened"))
    with pytest.raises(UnreadableFile, match="not the published Inception network"):
        open_extractor(f"inception:{folders['inception']}")
    assert len(PUBLISHED) == 64


def test_a_damaged_torchscript_file_is_told_in_one_sentence(folders, tmp_path):
    (tmp_path / "text.pt").write_text("no archive")
    with zipfile.ZipFile(tmp_path / "zip.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"cos\nsystem\n(S'touch x'\ntR.")
    for name in ("text.pt", "zip.pt"):
        extractor = open_extractor(f"inception:{tmp_path / name}", trusted=True)
        with pytest.raises(UnreadableFile, match="no TorchScript file") as caught:
            extractor.extract(shown(extractor, PICTURES[:1]))
        assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "clip",
        "clip:",
        "nothing:x",
        "inception:",
        "inception-3:x.pt",
        "inception:/nowhere.pt",
        "clip:/nowhere",
        "clip:a/b/c",
        "clip:nul\0",
        "clip:owner/nothing-of-that-name",
    ],
)
def test_a_specification_of_nothing_is_refused_in_one_sentence(spec):
    with pytest.raises(InputError) as caught:
        open_extractor(spec, local_files_only=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", None),
        ("config.json", "{"),
        ("config.json", "[" * 100_000),
        ("config.json", '{"model_type": "bert"}'),
        ("config.json", '{"model_type": "clip", "vision_config": {"image_size": "large"}}'),
        ("config.json", '{"model_type": "clip", "vision_config": {"image_size": 1e9}}'),
        ("model.safetensors", None),
        ("preprocessor_config.json", "no JSON"),
        ("preprocessor_config.json", '{"size": {"shortest_edge": 99999999}}'),
        ("preprocessor_config.json", '{"image_std": [0, 1, 1]}'),
        ("preprocessor_config.json", '{"image_mean": [NaN, 1, 1]}'),
        ("preprocessor_config.json", '{"crop_size": 12}'),
        ("preprocessor_config.json", '{"resample": 77}'),
        ("preprocessor_config.json", '{"crop_pct": 0.0}'),
    ],
)
def test_a_folder_that_lies_is_refused_when_it_is_opened(folders, tmp_path, name, text):
    copy = tmp_path / "copy"
    shutil.copytree(folders["clip"], copy)
    (copy / name).unlink(missing_ok=True)
    if text is not None:
        (copy / name).write_text(text)
    with pytest.raises(InputError) as caught:
        open_extractor(f"clip:{copy}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["garbage", "lacking"])
def test_weights_that_are_damaged_or_lacking_are_refused(folders, tmp_path, damage):
    from safetensors.numpy import load_file, save_file

    copy = tmp_path / "copy"
    shutil.copytree(folders["clip"], copy)
    weights = copy / "model.safetensors"
    if damage == "garbage":
        weights.write_bytes(bytes(100))
    else:
        tensors = load_file(weights)
        del tensors["visual_projection.weight"]
        save_file(tensors, weights, {"format": "pt"})
    extractor = open_extractor(f"clip:{copy}")
    with pytest.raises(InputError, match="cannot be loaded" if damage == "garbage" else "lacks 1 of its weights"):
        extractor.extract(shown(extractor, PICTURES[:1]))


def test_other_files_of_a_folder_change_nothing(folders, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folders["clip"], copy)
    (copy / "heads.safetensors").write_bytes(b"heads")
    assert open_extractor(f"clip:{copy}").fingerprint == open_extractor(f"clip:{folders['clip']}").fingerprint


def test_a_folder_without_settings_is_prepared_for_as_openai_did(tmp_path):
    found = read_preparation(tmp_path, 224, mean=CLIP_MEAN, spread=CLIP_SPREAD)
    assert (found.shown, found.edge, found.mean, found.whole) == (224, 224, CLIP_MEAN, False)
