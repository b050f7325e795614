"""What an adapter is for, and which of them are tools."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from velatura.categories import category_of, is_person, tool_of
from velatura.records import CATEGORIES, AdapterRecord


def page(title: str, **fields: Any) -> AdapterRecord:
    return AdapterRecord(source="folder", key="k", title=title, **fields)


def category(title: str, **fields: Any) -> str | None:
    found = category_of(page(title, **fields))
    return found.name if found is not None else None


# ---------------------------------------------------------------- categories


@pytest.mark.parametrize(
    ("name", "title", "fields"),
    [
        ("character", "Ramona Vex (Star Harbour)", {"triggers": (("ramona vex (star harbour)",),), "tags": ("anime",)}),
        ("character", "rv_2", {"triggers": (("rvx", "red hair", "green eyes", "black gloves", "braid"),)}),
        ("character", "Ramona", {"training_tags": (("red hair", 90), ("green eyes", 88), ("choker", 60))}),
        ("celebrity", "Jane Doe", {"tags": ("actress", "woman")}),
        ("celebrity", "Jane Doe", {"description": "English actress, trained on 30 photos."}),
        ("style", "Inkwell Style LoRA", {}),
        ("style", "moebiuspunk", {}),
        ("style", "abc", {"description": "Imitates the painting style of an old illustrator."}),
        ("concept", "Heart-shaped pupils", {"tags": ("eyes",)}),
        ("concept", "Slime girl", {"tags": ("anime", "woman")}),
        ("pose", "Hand on own hip | Pose", {"tags": ("anime",)}),
        ("clothing", "Steampunk dress", {"tags": ("fashion",)}),
        ("background", "Flooded street", {"tags": ("scenery",)}),
        ("building", "Gothic cathedral", {"tags": ("architecture",)}),
        ("vehicle", "Nissan Skyline car", {}),
        ("animal", "Corgi", {"tags": ("dog",)}),
        ("action", "Pillow fighting", {"tags": ("fighting",)}),
        ("object", "Antique rifle", {"tags": ("weapon",)}),
        ("tool", "Detail Tweaker", {"tags": ("concept",)}),
    ],
)
def test_category_is_told_without_the_tags_of_a_site(name: str, title: str, fields: dict[str, Any]) -> None:
    assert category(title, **fields) == name


def test_every_category_can_be_told_by_the_tag_of_a_site_but_tool() -> None:
    told = {category("xyz", tags=(tag,)) for tag in (*CATEGORIES, "poses", "buildings", "objects")}
    assert told == {*CATEGORIES, None} - {"tool"}


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("style", "张三画风"),
        ("clothing", "汉服"),
        ("clothing", "着物"),
        ("character", "原神 香菱 角色"),
        ("background", "中国风景"),
        ("building", "室内建筑"),
        ("style", "田中の絵柄"),
        ("style", "수채화 화풍"),
    ],
)
def test_titles_of_other_scripts(name: str, title: str) -> None:
    assert category(title) == name


def test_flag_of_a_real_person_decides_alone() -> None:
    found = category_of(page("Detail slider style", real_person=True, tags=("style",)))
    assert found is not None
    assert (found.name, found.because) == ("celebrity", ("flagged as a real person",))


def test_character_in_an_outfit_is_a_character() -> None:
    tags = ("game character", "genshin impact", "clothing", "character")
    assert category("Mona (Genshin Impact) summer dress", tags=tags) == "character"
    assert category("Summer dress", tags=("clothing", "dress", "woman")) == "clothing"


def test_animal_within_a_name_is_none() -> None:
    assert category("Spider Gwenna (Webtown)", tags=("character", "girl")) == "character"


def test_style_of_a_series_is_a_style() -> None:
    assert category("Genshin Impact art style", tags=("genshin impact", "game")) == "style"


def test_nothing_is_told_where_nothing_tells() -> None:
    assert category("xyz_v2", file_name="xyz.safetensors") is None
    assert category("") is None


def test_reasons_are_in_words_with_the_surest_first() -> None:
    found = category_of(page("Plate armour", tags=("armour", "woman"), version_name="plate"))
    assert found is not None
    assert found.because[0] == "title “armour”"
    assert "tag “armour”" in found.because
    found = category_of(page("张三画风"))
    assert found is not None
    assert found.because == ("title “画风”",)


def test_same_record_gives_the_same_answer() -> None:
    record = page("Fox dress, ink style", tags=("dress", "style", "fox", "ink"), description="A fox in a dress.")
    assert len({category_of(record) for _ in range(20)}) == 1


def test_persons() -> None:
    assert [name for name in CATEGORIES if is_person(name)] == ["character", "celebrity"]
    assert not is_person(None)


def test_hostile_texts_cost_no_time() -> None:
    for text in (
        "a" * 50_000,
        "( " * 25_000,
        "fox, " * 10_000,
        "A̷̧̢" * 9_000,
        "негатив -1 " * 5_000,
        "negative weight" * 3_000,
    ):
        record = page(
            text, tags=(text,) * 50, triggers=((text,) * 60,) * 200, description=text, file_name=text, version_name=text
        )
        started = time.process_time()
        category_of(record)
        assert time.process_time() - started < 4


def test_lone_surrogates_and_null_characters_are_read() -> None:
    assert category("\ud800 armor \x00", tags=("\udfff",)) == "clothing"


# ---------------------------------------------------------------- tools


@pytest.mark.parametrize(
    ("kind", "steps", "names"),
    [
        ("speed", None, {"title": "LCM-LoRA SDXL"}),
        ("speed", 4, {"title": "sdxl_lightning_4step_lora"}),
        ("speed", 8, {"title": "Hyper-SDXL", "file_name": "Hyper-SDXL-8steps-lora.safetensors"}),
        ("speed", 8, {"title": "FLUX.1 Turbo Alpha", "version_name": "8 steps"}),
        ("speed", None, {"title": "mine", "file_name": "lcm_lora_weights.safetensors"}),
        ("slider", None, {"title": "Age Slider"}),
        ("slider", None, {"title": "thing", "file_name": "weight_slider_v2.safetensors"}),
        ("slider", None, {"title": "Anime <> Realism"}),
        ("detail", None, {"title": "Add More Details"}),
        ("detail", None, {"title": "x", "file_name": "add_detail.safetensors"}),
        ("detail", None, {"title": "细节调整"}),
        ("detail", None, {"title": "Enhancer XL"}),
        ("light", None, {"title": "Offset Noise"}),
        ("light", None, {"title": "LowRA"}),
        ("light", None, {"title": "Contrast fix"}),
        ("repair", None, {"title": "Hands Fix"}),
        ("repair", None, {"title": "Better hands"}),
        ("repair", None, {"title": "bad hands fixer"}),
        ("negative", None, {"title": "EasyNegative"}),
        ("negative", None, {"title": "bad-hands-5"}),
    ],
)
def test_tools(kind: str, steps: int | None, names: dict[str, str]) -> None:
    tool = tool_of(AdapterRecord(source="folder", key="k", **names))
    assert tool is not None
    assert (tool.kind, tool.steps) == (kind, steps)
    assert tool.because.split()[0] in ("title", "file", "version")
    found = category_of(AdapterRecord(source="folder", key="k", **names))
    assert found is not None
    assert found.name == "tool"
    assert found.because == (tool.because,)


@pytest.mark.parametrize(
    "title",
    [
        "Lightning Farron (Final Fantasy XIII)", "Twin Turbo | Uma Musume", "Hyperdimension Neptunia", "Badger",
        "Hand on hip", "A detailed city", "Porsche 911 Turbo", "Lightning in the sky", "Better swimwear",
        "Perfect Blue style", "Slide in the park", "Bright colours", "Badlands", "Fixed gear bicycle", "Sharpshooter",
    ],
)  # fmt: skip
def test_what_only_sounds_like_a_tool_is_none(title: str) -> None:
    assert tool_of(page(title)) is None


def test_file_name_of_something_repaired_is_no_tool() -> None:
    assert tool_of(page("Ramona Vex", file_name="ramona-HandsFix.safetensors")) is None
    assert tool_of(page("Ghibli style", file_name="ghibli_style_offset.safetensors")) is None


def test_icons_that_a_site_calls_a_tool_are_things() -> None:
    assert category("Minimalist icons", tags=("tool", "icon")) == "object"


def test_tag_tells_a_slider() -> None:
    tool = tool_of(page("Age changer", tags=("Slider",)))
    assert tool is not None
    assert tool.kind == "slider"


def test_slider_tells_both_directions() -> None:
    text = "Works from -2 to 2. A negative weight makes a bare room, positive values will add clutter."
    tool = tool_of(page("Clutter slider", description=text))
    assert tool is not None
    assert (tool.less, tool.more) == ("a bare room", "add clutter")
    silent = tool_of(page("Clutter slider", description="Have fun."))
    assert silent is not None
    assert (silent.less, silent.more) == (None, None)


# ---------------------------------------------------------------- real pages


@pytest.mark.real_data
def test_real_pages_are_told_quickly_and_mostly_as_their_authors_tag_them(real_data: Path) -> None:
    from dataclasses import replace

    from velatura.catalog import CivitaiDump
    from velatura.protocols import Entry

    site = {"character": "character", "style": "style", "clothing": "clothing", "buildings": "building"}
    pages: dict[object, AdapterRecord] = {}
    for entry in CivitaiDump(real_data / "civitai" / "models.jsonl.gz").entries():
        for record in entry.read() if isinstance(entry, Entry) else ():
            if isinstance(record, AdapterRecord):
                pages.setdefault(record.model_id, record)
    right, seconds = [], 0.0
    for record in pages.values():
        tagged = {site[tag] for tag in record.tags if tag in site}
        if len(tagged) == 1:
            hidden = replace(
                record, tags=tuple(tag for tag in record.tags if tag not in CATEGORIES and tag not in site)
            )
            started = time.process_time()
            found = category_of(hidden)
            seconds += time.process_time() - started
            right.append(found is not None and found.name in tagged)
    assert len(right) > 3000
    assert sum(right) / len(right) > 0.78
    assert seconds / len(right) < 0.0005
