"""Search by picture: what the playground's painted pictures find, and what is kept of pictures beside adapters."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from command_line import velatura as run
from PIL import Image
from shelf import BagEmbedder, Given, adapter

from velatura import Velatura
from velatura.db import Store, open_store
from velatura.errors import InputError, UnreadableFile
from velatura.playground.library import find_weights, make_library
from velatura.playground.world import BASE_SCENES, BASE_SUBJECTS, NEW_STYLES, NEW_SUBJECTS, draw, enlarge, paint
from velatura.records import AdapterRecord, Candidate, Example, Filter, Refinement
from velatura.refiner.embed import embed
from velatura.refiner.pictures import embed_pictures, local_pictures
from velatura.retriever.pictured import PictureIndex
from velatura.settings import default_settings

EVALUATOR = str(find_weights() / "evaluator")


class Colours(BagEmbedder):
    """A stand-in for CLIP: a picture is where its mean colour points, and a text is nowhere near."""

    model = "colours"

    def __init__(self) -> None:
        super().__init__()
        self.images = 0

    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        self.images += len(images)
        rows = np.zeros((len(images), 64), dtype=np.float32)
        rows[:, :3] = [np.asarray(image, dtype=np.float32).mean((0, 1)) + 1 for image in images]
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def plain(path: Path, colour: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path)
    return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "loras"


@pytest.fixture
def records(folder: Path) -> list[AdapterRecord]:
    """Three local adapters with pictures, one without, and one that is only known from a site."""
    shown = {
        "red": [plain(folder / "red.png", "red"), plain(folder / "red.example.0.png", "maroon")],
        "blue": [plain(folder / "blue.png", "blue")],
        "copy": [plain(folder / "copy.png", "blue")],
        "bare": [],
    }
    local = [adapter(key, path=str(folder / f"{key}.safetensors"), previews=tuple(p)) for key, p in shown.items()]
    return [*local, adapter("site", examples=(Example(image="https://example.invalid/a.png"),))]


@pytest.fixture
def store(tmp_path: Path, records: list[AdapterRecord]) -> Iterator[Store]:
    with open_store(tmp_path / "c.db") as store:
        store.sync(Given(records))
        yield store


def names(store: Store) -> dict[str, list[tuple[str, bool]]]:
    """Return, for each adapter with pictures, their names and whether each can be read."""
    kept = store.pictures(range(1, 20))
    return {
        store.adapter(number).record.key: [(seen.name, seen.digest is not None) for seen in pictures]
        for number, pictures in kept.items()
    }


# ---------------------------------------------------------------------------------- what is kept


def test_each_picture_is_embedded_once_by_what_is_in_it(store: Store) -> None:
    clip = Colours()
    report = embed_pictures(store, clip)
    assert (report.adapters, report.done, report.pictures, report.texts, report.failed) == (5, 5, 3, 5, ())
    assert (clip.images, clip.texts) == (3, 5)
    assert names(store) == {
        "red": [("red.png", True), ("red.example.0.png", True)], "blue": [("blue.png", True)],
        "copy": [("copy.png", True)],
    }  # fmt: skip
    again = embed_pictures(store, clip)
    assert (again.adapters, clip.images, clip.texts) == (0, 3, 5)


def test_changed_gone_and_moved_pictures(
    store: Store, folder: Path, tmp_path: Path, records: list[AdapterRecord]
) -> None:
    clip = Colours()
    embed_pictures(store, clip)
    plain(folder / "blue.png", "green")
    (folder / "red.png").unlink()
    assert embed_pictures(store, clip).adapters == 2
    assert (clip.images, names(store)["red"]) == (4, [("red.example.0.png", True)])
    shutil.move(folder, tmp_path / "elsewhere")
    moved = [
        adapter(old.key, path=str(old.path).replace("loras", "elsewhere"),
                previews=tuple(preview.replace("loras", "elsewhere") for preview in old.previews))
        for old in records[:3]
    ]  # fmt: skip
    store.sync(Given(moved))
    assert embed_pictures(store, clip).adapters == 3
    assert clip.images == 4
    assert names(store)["red"] == [("red.example.0.png", True)]


def test_a_run_that_is_killed_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(store: Store, rows: object) -> None:
        raise KeyboardInterrupt

    clip = Colours()
    with monkeypatch.context() as patch:
        patch.setattr(Store, "set_pictures", killed)
        with pytest.raises(KeyboardInterrupt):
            embed_pictures(store, clip)
    assert embed_pictures(store, clip).pictures == 0
    assert clip.images == 3
    assert embed_pictures(store, clip).adapters == 0


def test_another_model_embeds_the_pictures_that_are_known(store: Store) -> None:
    embed_pictures(store, Colours())
    other = Colours()
    other.revision = "2"
    assert embed_pictures(store, other).pictures == other.images == 3
    assert embed_pictures(store, Colours()).adapters == 0


def test_texts_and_pictures_do_not_disturb_each_other(store: Store) -> None:
    texts, clip = BagEmbedder(), Colours()
    embed_pictures(store, clip)
    assert embed(store, texts).adapters == 5
    assert (embed(store, texts).adapters, embed_pictures(store, clip).adapters) == (0, 0)
    store.put_refinements([(1, Refinement(description="a scarlet thing", writer="somebody"), "o")])
    assert embed(store, texts).adapters == 1
    assert len(names(store)["red"]) == 2
    done = embed_pictures(store, clip)
    assert (done.adapters, done.texts, done.pictures) == (1, 1, 0)
    assert set(store.vectors_of("bag of words", "1", [1])[1]) == {"card"}
    assert {field: len(rows) for field, rows in store.vectors_of("colours", "1", [1])[1].items()} == {
        "card": 1, "image": 2
    }  # fmt: skip


def test_bad_pictures_are_told_once_and_cost_no_other(store: Store, folder: Path) -> None:
    (folder / "red.png").write_bytes(b"no picture")
    (folder / "blue.png").write_bytes((folder / "blue.png").read_bytes()[:45])
    (folder / "copy.png").unlink()
    (folder / "copy.png").mkdir()
    clip = Colours()
    report = embed_pictures(store, clip)
    assert [failure.locator.rpartition("/")[2] for failure in report.failed] == ["red.png", "blue.png", "copy.png"]
    assert "no PNG, JPEG, WebP or GIF" in report.failed[0].reason
    assert names(store)["red"] == [("red.png", False), ("red.example.0.png", True)]
    assert embed_pictures(store, clip).adapters == 0


def test_a_picture_that_is_a_pipe_does_not_hold_up_the_run(store: Store, folder: Path) -> None:
    (folder / "blue.png").unlink()
    os.mkfifo(folder / "blue.png")
    assert len(embed_pictures(store, Colours()).failed) == 1


def test_only_pictures_beside_the_file_are_looked_at(folder: Path) -> None:
    previews = ["a.png", "below/b.JPG", "../c.png", "/etc/d.png", "film.mp4", "x/../../loras2/e.png"]
    record = adapter(
        "a", path=str(folder / "a.safetensors"), previews=tuple(str(folder / name) for name in previews[:2]),
        examples=tuple(Example(image=name) for name in [*previews, "https://example.invalid/f.png", "", None]),
    )  # fmt: skip
    assert local_pictures(record) == [folder / "a.png", folder / "below" / "b.JPG"]
    assert local_pictures(adapter("site", previews=("/a.png",))) == []
    many = adapter("m", path="/m/m.safetensors", previews=tuple(f"/m/m.example.{n}.png" for n in range(30)))
    assert len(local_pictures(many)) == 8


def test_names_that_are_no_text_and_paths_that_are_none(store: Store, folder: Path) -> None:
    odd = os.fsdecode(b"caf\xe9.png")
    shutil.copy(folder / "red.png", folder / odd)
    previews = (str(folder / odd), str(folder / "nul\0.png"), str(folder / f"{'long' * 99}.png"))
    store.sync(Given([adapter("red", path=str(folder / "red.safetensors"), previews=previews)]))
    clip = Colours()
    embed_pictures(store, clip)
    assert names(store)["red"] == [("caf\\udce9.png", True)]
    assert embed_pictures(store, clip).adapters == 0


# ---------------------------------------------------------------------------------- how it is ranked


def find(store: Store, clip: Colours, colour: str, filter: Filter | None = None) -> dict[str, tuple[float, list[str]]]:
    [vector] = clip.embed_images([Image.new("RGB", (4, 4), colour)])
    found = PictureIndex(store, clip).near(vector, store.select(filter or Filter()))
    numbers = sorted(found.scores, key=lambda number: -found.scores[number])
    reasons = found.explain(numbers)
    return {
        store.adapter(number).record.key: (
            found.scores[number], [f"{match.by}: {match.text} {match.score}" for match in reasons[number]]
        )
        for number in numbers
    }  # fmt: skip


def test_the_same_picture_is_sure_and_named(store: Store) -> None:
    clip = Colours()
    embed_pictures(store, clip)
    found = find(store, clip, "maroon")
    assert next(iter(found)) == "red"
    score, reasons = found["red"]
    assert score == pytest.approx(1, abs=1e-3)
    assert reasons == ["picture: its example picture red.example.0.png 1.0"]
    assert found["blue"][0] < 0.5


def test_one_picture_alone_is_found(tmp_path: Path, folder: Path) -> None:
    clip = Colours()
    with open_store(tmp_path / "one.db") as store:
        store.sync(
            Given([adapter("a", path=str(folder / "a.safetensors"), previews=(plain(folder / "a.png", "red"),))])
        )
        embed_pictures(store, clip)
        assert find(store, clip, "red")["a"][0] == pytest.approx(1, abs=1e-3)


def test_the_filter_is_kept_to(store: Store) -> None:
    clip = Colours()
    embed_pictures(store, clip)
    assert "site" in find(store, clip, "red")
    assert "site" not in find(store, clip, "red", Filter(installed=True))
    assert find(store, clip, "red", Filter(blocked=(1,))).keys() == {"blue", "copy", "bare", "site"}


def test_nothing_embedded_is_one_sentence(store: Store) -> None:
    with pytest.raises(InputError, match="nothing is embedded by the picture model colours"):
        find(store, Colours(), "red")


# ---------------------------------------------------------------------------------- the playground


def picture(part: str, name: str, lot: random.Random) -> Image.Image:
    """Paint a picture of a new subject, flat, or of a subject that everybody knows in a new style."""
    subjects, styles = ((name,), ("flat",)) if part == "subject" else (BASE_SUBJECTS, (name,))
    return enlarge(paint(draw(lot, subjects=subjects, scenes=BASE_SCENES, styles=styles)), 8)


CASES = [("subject", name) for name in NEW_SUBJECTS] + [("style", name) for name in NEW_STYLES]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Velatura]:
    """An adapter for each new subject and style, with three pictures each, and nothing that says what it is for."""
    home, lot, records = tmp_path_factory.mktemp("gallery"), random.Random(1), []
    for place, (part, name) in enumerate(CASES):
        previews = [home / f"{place}.example.{number}.png" for number in range(3)]
        for path in previews:
            picture(part, name, lot).save(path)
        shown = tuple(str(path) for path in previews)
        records.append(adapter(name, title=f"file {place}", path=str(home / f"{place}.safetensors"), previews=shown))
    with Velatura(default_settings(db=str(home / "c.db"), picture_model=EVALUATOR)) as velatura:
        velatura.store.sync(Given(records))
        assert velatura.embed_pictures().pictures == 3 * len(CASES)
        yield velatura


def first_of(found: Sequence[Candidate]) -> str:
    return found[0].adapter.record.key


def test_pictures_find_who_painted_such_pictures(gallery: Velatura) -> None:
    lot, places = random.Random(2), []
    for part, name in CASES * 2:
        keys = [candidate.adapter.record.key for candidate in gallery.by_image(picture(part, name, lot), limit=5)]
        places.append((part, keys.index(name) if name in keys else 99))
    first = {kind: np.mean([place == 0 for part, place in places if part == kind]) for kind in ("subject", "style")}
    assert first["subject"] >= 0.7
    assert first["style"] >= 0.7
    assert np.mean([place < 5 for _, place in places]) >= 0.9


def test_a_picture_from_the_library_finds_its_adapter(gallery: Velatura) -> None:
    for own in gallery.store.adapters(gallery.store.select(Filter()))[::5]:
        [best] = gallery.by_image(own.record.previews[1], limit=1)
        assert best.adapter.id == own.id
        assert best.score == pytest.approx(1, abs=1e-3)
        assert Path(own.record.previews[1]).name in best.matched[0].text


def test_a_card_is_found_by_a_picture(gallery: Velatura, tmp_path: Path) -> None:
    records = [adapter(name, title=f"a {name}") for name in NEW_SUBJECTS]
    with Velatura(default_settings(db=str(tmp_path / "c.db"), picture_model=EVALUATOR)) as velatura:
        velatura.store.sync(Given(records))
        velatura.embed_pictures()
        lot = random.Random(3)
        found = [velatura.by_image(picture("subject", name, lot)) for name in NEW_SUBJECTS]
    hits = [first_of(candidates) == name for name, candidates in zip(NEW_SUBJECTS, found, strict=True)]
    assert np.mean(hits) >= 0.9
    assert {match.text for candidates in found for match in candidates[0].matched} == {"the card"}


def test_new_pictures_are_found_without_opening_anew(gallery: Velatura, tmp_path: Path, folder: Path) -> None:
    with Velatura(default_settings(db=str(tmp_path / "c.db"), picture_model=EVALUATOR)) as velatura:
        velatura.store.sync(Given([adapter("a", path=str(folder / "a.safetensors"))]))
        velatura.embed_pictures()
        assert [item.score for item in velatura.by_image(Image.new("RGB", (9, 9), "red"))] != [pytest.approx(1)]
        shown = (plain(folder / "a.png", "red"),)
        velatura.store.sync(Given([adapter("a", path=str(folder / "a.safetensors"), previews=shown)]))
        velatura.embed_pictures()
        [found] = velatura.by_image(folder / "a.png")
        assert found.score == pytest.approx(1, abs=1e-3)


def test_without_a_model_or_a_picture_it_is_one_sentence(gallery: Velatura, tmp_path: Path) -> None:
    with (
        Velatura(default_settings(db=str(tmp_path / "c.db"))) as velatura,
        pytest.raises(InputError, match="no picture model is named; give --picture-model, or set VELATURA_PICTURE"),
    ):
        velatura.by_image("fox.png")
    with pytest.raises(InputError, match="there is no picture"):
        gallery.by_image(tmp_path / "gone.png")
    (tmp_path / "fox.png").write_bytes(b"fox")
    with pytest.raises(UnreadableFile, match="is no PNG"):
        gallery.by_image(str(tmp_path / "fox.png"))


# ---------------------------------------------------------------------------------- the commands


def test_the_commands(gallery: Velatura, tmp_path: Path) -> None:
    shown = gallery.store.adapter(1).record.previews[0]
    asked = {"home": tmp_path, "VELATURA_DB": gallery.settings.db}
    done = run("embed", "--picture-model", EVALUATOR, "--json", **asked)
    assert (done.json["pictures"]["adapters"], done.json["pictures"]["failed"]) == (0, [])
    answer = run("search", "--image", shown, "--picture-model", EVALUATOR, "--json", "-n", 2, **asked).json
    assert answer["image"] == shown
    assert answer["candidates"][0]["id"] == 1
    table = run("search", "--image", shown, VELATURA_PICTURE_MODEL=EVALUATOR, **asked)
    assert (table.returncode, "0.example.0.png" in table.stdout) == (0, True)
    for wrong in (("fox", "--image", shown), ("--trigger", "fox", "--image", shown)):
        assert run("search", *wrong, **asked).returncode == 2
    without = run("search", "--image", shown, **asked)
    assert (without.returncode, without.stderr.count("\n")) == (1, 1)
    assert "VELATURA_PICTURE_MODEL" in without.stderr


def test_index_embeds_pictures_where_the_setting_is_there(tmp_path: Path, folder: Path) -> None:
    make_library(find_weights() / "loras", tmp_path / "lib", clean=True)
    few = tmp_path / "few"
    few.mkdir()
    for path in (tmp_path / "lib" / "loras").glob("antique_key*"):
        shutil.copy(path, few)
    asked = {"home": tmp_path, "VELATURA_PICTURE_MODEL": EVALUATOR}
    report = run("index", few, "--json", **asked).json["pictures"]
    assert (report["adapters"], report["pictures"], report["texts"], report["failed"]) == (1, 2, 1, [])
    (few / "antique_key.preview.png").write_bytes(b"no picture")
    told = run("embed", **asked).stdout
    assert "embedded 0 pictures and 0 cards" in told
    assert "antique_key.preview.png is no PNG, JPEG, WebP or GIF picture" in told
    wrong = run("index", few, home=tmp_path, VELATURA_PICTURE_MODEL=str(folder.parent))
    assert (wrong.returncode, "note: no pictures are embedded" in wrong.stderr) == (0, True)
