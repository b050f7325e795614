"""A folder tree becomes records; nothing in it is changed, and no file costs another."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from velatura.catalog.folder import HASHED, FolderSource
from velatura.catalog.listing import walk
from velatura.db import open_store
from velatura.errors import InputError
from velatura.protocols import Entry, Source
from velatura.records import AdapterRecord, Rejection


def entries_of(source: FolderSource) -> list[Entry]:
    return [entry for entry in source.entries() if isinstance(entry, Entry)]


def read_all(root: Path, *, hash_files: bool = False) -> tuple[dict[str, AdapterRecord], dict[str, str]]:
    """Return (records by file name, reasons by the name of what was rejected)."""
    records, reasons = {}, {}
    for offered in FolderSource(root, hash_files=hash_files).entries():
        results: list[AdapterRecord | Rejection] = [offered] if isinstance(offered, Rejection) else []
        if isinstance(offered, Entry):
            try:
                results = list(offered.read())
            except InputError as error:
                reasons[Path(offered.locator).name] = str(error)
        for result in results:
            if isinstance(result, Rejection):
                reasons[Path(result.locator).name] = result.reason
            else:
                records[result.file_name or ""] = result
    return records, reasons


def test_it_is_a_source(tmp_path):
    source: Source = FolderSource(str(tmp_path))
    assert (source.name, source.scope, source.complete) == ("folder", str(tmp_path.resolve()), True)
    assert list(source.entries()) == []


def test_a_record_names_its_file(write_adapter, tmp_path):
    path = write_adapter("red_fox", folder=tmp_path / "animals")
    records, reasons = read_all(tmp_path)
    record = records["red_fox.safetensors"]
    assert reasons == {}
    assert (record.source, record.key, record.path) == ("folder", str(path), str(path))
    assert (record.title, record.format, record.size) == ("red fox", "safetensors", path.stat().st_size)
    assert (record.kind, record.layout, record.rank, record.family) == ("lora", "diffusers", 4, "sd1")
    assert record.fingerprint


def test_the_alpha_is_read_from_its_tensor(write_adapter, sdxl, tmp_path):
    path = write_adapter(tensors=sdxl, metadata={"ss_network_alpha": "2"})
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    path.write_bytes(raw[:start] + b"\0\0\x80\x40" + raw[start + 4 :])
    record = read_all(tmp_path)[0]["fox.safetensors"]
    assert (record.alpha, record.rank, record.family) == (4.0, 8, "sdxl")


def test_the_header_s_rank_and_alpha_stand_in_where_the_tensors_have_none(write_adapter, tmp_path):
    write_adapter(tensors={"lora_unet_a.diff": [4, 4]}, metadata={"ss_network_dim": "16", "ss_network_alpha": "8"})
    record = read_all(tmp_path)[0]["fox.safetensors"]
    assert (record.kind, record.rank, record.alpha) == ("full", 16, 8.0)


@pytest.mark.parametrize("root", ["nowhere", "file.txt", "a\0b"])
def test_what_is_no_folder_is_one_sentence(tmp_path, root):
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(InputError, match=r"^The folder .+$"):
        FolderSource(tmp_path / root)


def test_entries_come_without_a_file_being_opened(write_adapter, tmp_path, monkeypatch):
    write_adapter()
    (tmp_path / "fox.json").write_text("{}")
    monkeypatch.setattr("builtins.open", lambda *_, **__: pytest.fail("a file was opened"))
    assert len(entries_of(FolderSource(tmp_path))) == 1


def test_nothing_is_written_into_the_folder(write_adapter, tmp_path):
    write_adapter(folder=tmp_path / "loras")
    (tmp_path / "loras" / "fox.json").write_text("{}")
    os.utime(tmp_path / "loras", ns=(1, 1))
    read_all(tmp_path / "loras", hash_files=True)
    assert sorted(path.name for path in (tmp_path / "loras").iterdir()) == ["fox.json", "fox.safetensors"]
    assert (tmp_path / "loras").stat().st_mtime_ns == 1


def test_the_stamp_changes_with_the_file_and_with_everything_beside_it(write_adapter, tmp_path):
    def stamp() -> str:
        (entry,) = entries_of(FolderSource(tmp_path))
        return entry.stamp

    path = write_adapter()
    seen = [stamp()]
    for suffix in (".json", ".preview.png", ".civitai.info", ".safetensors.rgthree-info.json"):
        (tmp_path / f"fox{suffix}").write_text("{}")
        seen.append(stamp())
    (tmp_path / "fox.json").write_text("{ }")
    seen.append(stamp())
    os.utime(tmp_path / "fox.json", ns=(5, 5))
    seen.append(stamp())
    (tmp_path / "fox.preview.png").unlink()
    seen.append(stamp())
    os.utime(path, ns=(5, 5))
    seen.append(stamp())
    assert len(set(seen)) == len(seen)


def test_the_stamp_does_not_change_with_its_neighbours(write_adapter, tmp_path):
    write_adapter()
    (before,) = entries_of(FolderSource(tmp_path))
    write_adapter("wolf")
    (tmp_path / "wolf.json").write_text("{}")
    (tmp_path / "foxes.png").write_text("x")
    after = {entry.locator: entry.stamp for entry in FolderSource(tmp_path).entries() if isinstance(entry, Entry)}
    assert after[before.locator] == before.stamp


def test_asking_for_hashes_lengthens_the_stamp_by_a_known_ending(write_adapter, tmp_path):
    write_adapter()
    (plain,) = entries_of(FolderSource(tmp_path))
    (hashed,) = entries_of(FolderSource(tmp_path, hash_files=True))
    assert hashed.stamp == plain.stamp + HASHED


def test_hashes_are_computed_on_request_and_beat_every_claim(write_adapter, tmp_path):
    path = write_adapter()
    real = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "fox.metadata.json").write_text(json.dumps({"file_name": "fox", "sha256": "ab" * 32, "civitai": {}}))
    cm_info = {"Hashes": {"SHA256": real.upper(), "CRC32": "89ABCDEF"}}
    (tmp_path / "fox.cm-info.json").write_text(json.dumps(cm_info))

    claimed = read_all(tmp_path)[0]["fox.safetensors"]
    computed = read_all(tmp_path, hash_files=True)[0]["fox.safetensors"]

    assert (claimed.hashes.sha256, claimed.hashes.autov3) == ("ab" * 32, None)
    assert (computed.hashes.sha256, computed.hashes.autov2) == (real, real[:10])
    assert computed.hashes.autov3 is not None
    assert computed.hashes.crc32 == "89abcdef"
    notes = [place for field, place in computed.provenance if field == "hashes"]
    assert notes[0].startswith("computed")
    assert notes[1] == f"fox.metadata.json (Lora Manager) says sha256 {'ab' * 32}, which the file contradicts"


def test_digests_from_a_place_that_was_contradicted_are_not_used(write_adapter, tmp_path):
    write_adapter()
    cm_info = {"Hashes": {"SHA256": "ab" * 32, "CRC32": "89ABCDEF"}}
    (tmp_path / "fox.cm-info.json").write_text(json.dumps(cm_info))
    assert read_all(tmp_path, hash_files=True)[0]["fox.safetensors"].hashes.crc32 is None


def test_one_bad_file_never_costs_the_others(write_adapter, tmp_path):
    write_adapter("good")
    (tmp_path / "good.json").write_text("{")
    cut = write_adapter("cut")
    cut.write_bytes(cut.read_bytes()[:-1])
    (tmp_path / "empty.safetensors").write_bytes(b"")
    (tmp_path / "page.safetensors").write_text("<!doctype html>")
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "nowhere")
    write_adapter("checkpoint", tensors={"model.diffusion_model.a.weight": [4, 4]})
    records, reasons = read_all(tmp_path)
    assert list(records) == ["good.safetensors"]
    assert {name: reason.split(";")[0] for name, reason in reasons.items()} == {
        "checkpoint.safetensors": "checkpoint.safetensors is a whole checkpoint, not an adapter",
        "cut.safetensors": reasons["cut.safetensors"].split(";")[0],
        "empty.safetensors": "empty.safetensors is empty",
        "link.safetensors": "link.safetensors: it is a link to nothing, or no file at all",
        "page.safetensors": "page.safetensors is a web page and not a model",
    }
    assert "is cut off" in reasons["cut.safetensors"]


def test_a_file_that_vanishes_after_the_walk_is_one_sentence(write_adapter, tmp_path):
    path = write_adapter()
    (entry,) = entries_of(FolderSource(tmp_path))
    path.unlink()
    with pytest.raises(InputError, match=r"^fox\.safetensors cannot be read: No such file or directory$"):
        entry.read()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("fox.pt", b"PK\x03\x04", "is a pickle, which can run code when it is opened; convert it to .safetensors"),
        ("fox.BIN", b"\x80\x02}", "is a pickle"),
        ("fox.ckpt", b"\x00\x00", "is no .safetensors file, and no other format is read"),
        ("fox.pth", b"\x10\0\0\0\0\0\0\0{}", "is a safetensors file under another name; rename it to .safetensors"),
        ("fox.bin", b"", "is no .safetensors file"),
    ],
)
def test_other_formats_are_refused_and_remembered_by_their_stamp(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    (entry,) = entries_of(FolderSource(tmp_path, hash_files=True))
    (rejection,) = entry.read()
    assert isinstance(rejection, Rejection)
    assert words in rejection.reason
    assert not entry.stamp.endswith(HASHED)


def test_what_has_nothing_to_do_with_adapters_is_passed_over(write_adapter, tmp_path):
    write_adapter()
    for name in (
        "readme.md",
        "other.json",
        "other.png",
        "._fox.safetensors",
        ".safetensors",
        "safetensors",
        "fox.yaml",
    ):
        (tmp_path / name).write_text("x")
    (tmp_path / "folder.safetensors").mkdir()
    records, reasons = read_all(tmp_path)
    assert (list(records), reasons) == (["fox.safetensors"], {})


def test_deep_trees(write_adapter, tmp_path):
    deep = tmp_path
    for _ in range(400):
        deep /= "d"
        deep.mkdir()
    write_adapter(folder=deep)
    assert [entry.locator for entry in entries_of(FolderSource(tmp_path))] == [str(deep / "fox.safetensors")]


def test_loops_of_links_end_and_no_folder_is_visited_twice(write_adapter, tmp_path):
    real = write_adapter(folder=tmp_path / "root" / "z")
    outside = write_adapter("wolf", folder=tmp_path / "outside")
    root = tmp_path / "root"
    (root / "z" / "up").symlink_to(root)
    (root / "z" / "self").symlink_to(root / "z")
    (root / "a_link_named_first").symlink_to(root / "z")
    (root / "b_link").symlink_to(outside.parent)
    (outside.parent / "back").symlink_to(root)
    (root / "itself").symlink_to(root / "itself")
    found = [entry.locator for entry in entries_of(FolderSource(root))]
    assert found == [str(real), str(root / "b_link" / "wolf.safetensors")]


def test_the_order_is_that_of_names(write_adapter, tmp_path):
    for name in ("b/x", "a/z", "a/y", "c", "B"):
        write_adapter(Path(name).name, folder=tmp_path / Path(name).parent)
    found = [str(Path(entry.locator).relative_to(tmp_path)) for entry in entries_of(FolderSource(tmp_path))]
    assert found == [f"{name}.safetensors" for name in ("B", "c", "a/y", "a/z", "b/x")]


def test_a_folder_that_cannot_be_listed_is_noted_and_the_source_is_not_complete(write_adapter, tmp_path, monkeypatch):
    write_adapter(folder=tmp_path / "open")
    write_adapter(folder=tmp_path / "closed")
    scandir = os.scandir

    def guarded(folder: str) -> object:
        if folder.endswith("closed"):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", guarded)
    source = FolderSource(tmp_path)
    offered = list(source.entries())
    assert [type(one) for one in offered] == [Rejection, Entry]
    assert isinstance(offered[0], Rejection)
    assert offered[0].reason == "closed: the folder cannot be listed (Permission denied); nothing in it is indexed"
    assert source.complete is False
    monkeypatch.undo()
    list(source.entries())
    assert source.complete is True


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such names")
def test_names_that_are_no_text_are_rejected_and_can_be_written_down(write_adapter, tmp_path):
    write_adapter("good")
    content = (tmp_path / "good.safetensors").read_bytes()
    (tmp_path / os.fsdecode(b"b\xffd.safetensors")).write_bytes(content)
    (tmp_path / os.fsdecode(b"d\xfe")).mkdir()
    records, reasons = read_all(tmp_path)
    assert list(records) == ["good.safetensors"]
    assert reasons == {
        r"b\xffd.safetensors": r"b\xffd.safetensors: the file's name is not valid text; rename it",
        r"d\xfe": r"d\xfe: the folder's name is not valid text; rename it",
    }
    json.dumps(reasons).encode()


def test_extensions_are_read_in_any_case(write_adapter, tmp_path):
    write_adapter().rename(tmp_path / "fox.SafeTensors")
    (tmp_path / "fox.JSON").write_text(json.dumps({"activation text": "foxy"}))
    (tmp_path / "fox.PNG").write_text("x")
    record = read_all(tmp_path)[0]["fox.SafeTensors"]
    assert (record.triggers, record.previews) == ((("foxy",),), (str(tmp_path / "fox.PNG"),))


def test_a_name_may_hold_anything_that_a_file_system_allows(write_adapter, tmp_path):
    name = "狐 'fox' <b>\n;--"
    write_adapter(name)
    (tmp_path / f"{name}.json").write_text("{")
    record = read_all(tmp_path)[0][f"{name}.safetensors"]
    assert record.title == "狐 'fox' <b> ;--"
    assert ("sidecar", f"{record.title}.json: not JSON") in record.provenance


def test_the_walk_groups_by_listing_alone(write_adapter, tmp_path):
    write_adapter("fox.v1")
    write_adapter("fox")
    for name in ("fox.v1.json", "fox.v1.preview.png", "fox.json", "fox.safetensors.rgthree-info.json", "stray.json"):
        (tmp_path / name).write_text("{}")
    grouped = {found.name: found.companions for found in walk(str(tmp_path))}
    assert grouped == {
        "fox.safetensors": ("fox.json", "fox.safetensors.rgthree-info.json"),
        "fox.v1.safetensors": ("fox.v1.json", "fox.v1.preview.png"),
    }


def test_a_catalogue_reads_only_what_changed(write_adapter, tmp_path):
    root = tmp_path / "loras"
    for number in range(5):
        write_adapter(f"fox{number}", folder=root, seed=number)
    with open_store(tmp_path / "catalogue.db") as store:
        first = store.sync(FolderSource(root))
        again = store.sync(FolderSource(root))
        hashed = store.sync(FolderSource(root, hash_files=True))
        unhashed = store.sync(FolderSource(root))
        (root / "fox1.json").write_text(json.dumps({"activation text": "foxy"}))
        write_adapter("fox9", folder=root, seed=9)
        (root / "fox2.safetensors").rename(root / "vixen.safetensors")
        (root / "fox3.safetensors").unlink()
        last = store.sync(FolderSource(root))
    assert (first.added, first.unchanged) == (5, 0)
    assert (again.unchanged, hashed.unchanged, unhashed.unchanged) == (5, 0, 5)
    assert (last.unchanged, last.updated, last.added, last.moved, last.missing) == (2, 1, 1, 1, 1)


@pytest.mark.real_data
def test_real_files(real_data):
    records, reasons = read_all(real_data / "lora_files")
    assert {name: record.family for name, record in records.items()} == {
        "catundchat_weapons_sd15.safetensors": "sd1",
        "cloneofsimo_analog_svd_rank4.safetensors": "sd1",
        "ivanby12_sd2x_processor.safetensors": "sd2",
        "jettooss_satellite_sd15.safetensors": "sd1",
        "vfph55_naruto_sd15_bf16.safetensors": "sd2",
    }
    assert reasons == {
        "catundchat_weapons_sd15.PICKLE.bin": "catundchat_weapons_sd15.PICKLE.bin is a pickle, which can run code when"
        " it is opened; convert it to .safetensors",
        "srikanth_sdxl_TRUNCATED.safetensors": "srikanth_sdxl_TRUNCATED.safetensors is cut off: its header promises"
        " 23401064 bytes and the file has 1310720; download it again",
    }
