"""Comparisons: one prompt without adapters, with all, with each alone and over weights, and the sheet of it."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont
from run_painter import Painter
from shelf import Given, adapter

from velatura import Velatura, comparison_sheet
from velatura.comparison import MOST, Comparison, compare, named_adapters, panels_of, sheet_name
from velatura.comparison_sheet import draw_sheet, drawable, fitted, names_of
from velatura.errors import InputError
from velatura.generation.runs import read_manifest
from velatura.painting import Painting
from velatura.probe_rules import METHOD
from velatura.records import PG, Choice, Composition, Filter, Probe, ProbedWeight, R, WeightEvidence
from velatura.settings import default_settings

FOX = adapter(
    "fox.safetensors",
    title="Red Fox",
    path="/loras/fox.safetensors",
    file_name="fox.safetensors",
    triggers=(("foxish",),),
)
INK = adapter(
    "ink.safetensors",
    title="Ink Wash",
    path="/loras/ink.safetensors",
    weights=(WeightEvidence(weight=0.65, source="preferred"),),
)
HOSTILE = ("two\nlines\r\n", "🦊🦊", "\u202egnp.exe\u202c style", "赛博朋克" * 30, "W" * 4000, "\ud83d", "a b " * 1000)


def chosen(*weights: float) -> Composition:
    choices = tuple(
        Choice(adapter=record, weight=weight, span="fox", triggers=tuple(t for group in record.triggers for t in group))
        for record, weight in zip((FOX, INK), weights, strict=False)
    )
    return Composition(prompt="a fox", choices=choices, suffix="realistic")


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch) -> Painter:
    found = Painter(side=32)
    monkeypatch.setattr(Painting, "backend", found)
    return found


@pytest.fixture
def velatura(tmp_path: Path, painter: Painter) -> Iterator[Velatura]:
    with Velatura(default_settings(db=str(tmp_path / "catalogue.db"), model="models/colours.safetensors")) as opened:
        opened.store.sync(Given([FOX, INK]))
        yield opened


def weights_of(comparison: Comparison) -> list[list[list[float]]]:
    return [
        [[choice.weight for choice in column.composition.choices] for column in panel.columns]
        for panel in comparison.panels
    ]


def sheet_of(comparison: Comparison) -> Image.Image:
    return Image.open(io.BytesIO(draw_sheet(comparison))).convert("RGB")


def test_every_way_is_painted_once_from_each_seed(velatura: Velatura, painter: Painter, tmp_path: Path) -> None:
    made = compare(velatura, chosen(0.5, 0.8), tmp_path / "out", seeds=(3, 4), sweep=(0.5, 1, 2))
    assert weights_of(made) == [
        [[], [0.5, 0.8], [0.5], [0.8]],
        [[], [0.25, 0.4], [0.5, 0.8], [1.0, 1.6]],
        [[], [0.5], [1], [2]],
        [[], [0.5], [1], [2]],
    ]
    # Without is in every panel, times 1 is together, and the fox at 0.5 is the fox alone.
    assert len(painter.painted) == 2 * 11
    assert [[one.seed for one in column] for panel in made.pictures for column in panel] == [[3, 4]] * 16
    assert made.pictures[0][1] == made.pictures[1][2]
    assert made.pictures[0][2][0].path == made.pictures[2][1][0].path
    assert len({one.path for panel in made.pictures for column in panel for one in column}) == 22
    assert len(read_manifest(tmp_path / "out")) == 22


def test_what_closes_the_prompt_stays_and_triggers_go_with_their_adapter() -> None:
    [first, *_] = panels_of(replace(chosen(0.5, 0.8), emphasis=1.1, tasks=("fox", "a")))
    told = [column.composition.painted_prompt for column in first.columns]
    assert told[0] == "a fox, realistic"
    assert ["foxish" in text for text in told] == [False, True, True, False]
    assert all(text.endswith("realistic") for text in told)


def test_of_one_adapter_nothing_is_shown_twice_and_of_none_the_base_alone() -> None:
    one = panels_of(chosen(0.5), (1, 2))
    assert [[column.label for column in panel.columns] for panel in one] == [
        ["without adapters", "with"],
        ["without adapters", "alone at", "alone at"],
    ]
    [none] = panels_of(chosen())
    assert [column.label for column in none.columns] == ["without adapters"]
    assert len(panels_of(chosen(0.5, 0.8), ())) == 1


def test_a_comparison_goes_on_and_gives_the_same_sheet(velatura: Velatura, painter: Painter, tmp_path: Path) -> None:
    first = compare(velatura, chosen(0.5, 0.8), tmp_path, sweep=(1,))
    count = len(painter.painted)
    again = compare(velatura, chosen(0.5, 0.8), tmp_path, sweep=(1,))
    assert (again.run.painted, again.run.kept, len(painter.painted)) == (0, count, count)
    assert (sheet_name(again), draw_sheet(again)) == (sheet_name(first), draw_sheet(first))
    more = compare(velatura, chosen(0.5, 0.8), tmp_path, sweep=(1, 2))
    assert more.run.painted == 3
    assert sheet_name(more) != sheet_name(first)
    assert compare(velatura, chosen(0.5, 0.8), tmp_path, sweep=(1,), overwrite=True).run.painted == count


def test_what_cannot_be_painted_is_told_beside_what_can(
    velatura: Velatura, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Half(Painter):
        def _painted(self, requests, watch):
            for place, image in super()._painted(requests, watch):
                if image.request.choices:
                    raise InputError("this adapter is of another world")
                yield place, image

    monkeypatch.setattr(Painting, "backend", Half(side=32))
    made = compare(velatura, chosen(0.5), tmp_path, sweep=())
    [[without], [worn]] = made.pictures[0]
    assert (without.error, worn.path, worn.error) == (None, None, "this adapter is of another world")
    assert sheet_of(made).size[0] > 600


def test_named_adapters_come_with_triggers_and_the_weight_they_are_advised_at(velatura: Velatura) -> None:
    made = named_adapters(velatura, "a fox", [("fox.safetensors", 0.3), ("Ink Wash", None)])
    assert [(choice.adapter.title, choice.weight) for choice in made.choices] == [("Red Fox", 0.3), ("Ink Wash", 0.65)]
    assert made.choices[0].triggers == ("foxish",)
    with pytest.raises(InputError, match="was named before"):
        named_adapters(velatura, "a fox", [("Red Fox", 1.0), ("fox.safetensors", 0.5)])
    with pytest.raises(InputError, match="nothing in the catalogue"):
        named_adapters(velatura, "a fox", [("otter", 1.0)])


def test_named_adapter_without_a_weight_has_the_one_that_its_probe_advises(velatura: Velatura) -> None:
    row = ProbedWeight(weight=0.5, change=1, consistency=1, gain=1, collapse=0)
    found = Probe(method=METHOD, family="sd1", model="m", clip="c", told="", prompts=2, seeds=2, weights=(row,), at=0.5,
                  best=0.45)  # fmt: skip
    velatura.store.put_probes([(velatura.find("Red Fox")[0], "s", found)])
    [choice] = named_adapters(velatura, "a fox", [("Red Fox", None)]).choices
    assert choice.weight == 0.45
    assert choice.reason == "named; weight 0.45: its probe on m: does most of what it can there"
    velatura.store.put_probes([(velatura.find("Red Fox")[0], "s", replace(found, family="sdxl")),
                               (velatura.find("Red Fox")[0], "s", replace(found, method="0"))])  # fmt: skip
    assert named_adapters(velatura, "a fox", [("Red Fox", None)]).choices[0].weight == 0.9


@pytest.mark.parametrize(
    ("fields", "filter", "why"),
    [
        ({"nsfw": PG | R}, Filter(nsfw=PG), "its rating is not allowed, or not known"),
        ({}, Filter(nsfw=PG), "its rating is not allowed, or not known"),
        ({}, Filter(commercial="image"), "its licence does not allow that use, or is not known"),
        ({"real_person": True}, Filter(real_people=False), "it depicts a real person"),
        ({}, Filter(blocked=(1,)), "it is blocked"),
        ({"minor": True}, Filter(), "its file is gone, or it depicts a minor"),
    ],
)
def test_named_adapter_outside_the_filter_is_refused(
    velatura: Velatura, fields: dict[str, object], filter: Filter, why: str
) -> None:
    velatura.store.sync(Given([replace(FOX, **fields)]))
    with pytest.raises(InputError, match=f"“Red Fox” is kept out: {why}"):
        named_adapters(velatura, "a fox", [("1", 0.5)], filter=filter)


def test_file_and_family_keep_no_named_adapter_out(velatura: Velatura) -> None:
    wanted = Filter(family="flux1", installed=True, kinds=("dora",))
    assert len(named_adapters(velatura, "a fox", [("Red Fox", 0.5)], filter=wanted).choices) == 1


def test_too_many_pictures_are_refused_before_any_is_painted(
    velatura: Velatura, painter: Painter, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="fewer adapters, weights or seeds"):
        compare(velatura, chosen(0.5, 0.8), tmp_path, seeds=range(MOST))
    assert painter.painted == []


def test_scores_are_of_the_prompt_as_it_was_written(velatura: Velatura, tmp_path: Path) -> None:
    class Eye:
        model = "eyes/an-eye"
        revision = "1"
        read: list[str] = []  # noqa: RUF012

        def embed(self, texts: list[str]) -> np.ndarray:
            self.read += texts
            return np.array([[1.0, 0.0]], np.float32)

        def embed_images(self, images: list[Image.Image]) -> np.ndarray:
            means = np.array([np.asarray(image).mean() / 255 for image in images])
            return np.stack([means, np.sqrt(1 - means**2)], axis=1).astype(np.float32)

    velatura.settings = velatura.settings.model_copy(update={"picture_model": "eyes/an-eye"})
    velatura.__dict__["picture_embedder"] = Eye()
    made = compare(velatura, chosen(0.5), tmp_path, sweep=(1,))
    assert Eye.read == ["a fox"]
    for panel in made.pictures:
        for [one] in panel:
            assert one.path is not None
            assert one.score == pytest.approx(100 * np.asarray(Image.open(one.path)).mean() / 255, abs=0.01)
    bare = replace(made, clip=None, pictures=tuple(
        tuple(tuple(replace(one, score=None) for one in column) for column in panel) for panel in made.pictures
    ))  # fmt: skip
    assert sheet_of(made).height > sheet_of(bare).height


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_hostile_titles_neither_overlap_nor_are_cut(velatura: Velatura, tmp_path: Path, count: int) -> None:
    choices = tuple(
        Choice(
            adapter=replace(FOX, key=f"{n}.safetensors", title=title, path=f"/x/{n}.safetensors"), weight=-1, span=""
        )
        for n, title in enumerate(HOSTILE[-count:])
    )
    prompt = "first\n\u202eline\ud800 " + "very long " * 400
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = compare(
            velatura, Composition(prompt=prompt, choices=choices), tmp_path, seeds=(0, 2**63 - 1), sweep=(1,)
        )
        page = np.asarray(sheet_of(made)).astype(int)
    # Nothing reaches into the margins, where cut text would stand.
    assert (page[:, :20] == 255).all()
    assert (page[:, -20:] == 255).all()
    assert (page[:20] == 255).all()
    assert (page[-20:] == 255).all()


def test_small_pictures_are_enlarged_without_blur(velatura: Velatura, tmp_path: Path) -> None:
    made = compare(velatura, chosen(0.5), tmp_path, sweep=())
    colours = sheet_of(made).getcolors(1 << 16)
    assert colours is not None
    big = [colour for count, colour in colours if count > 192 * 192 - 1 and colour != (255, 255, 255)]
    painted = [Image.open(column[0].path).convert("RGB").getpixel((0, 0)) for column in made.pictures[0]]
    assert set(painted) <= set(big)


def test_text_is_wrapped_broken_and_cut_to_its_room() -> None:
    font = ImageFont.load_default(14)
    for text in ("a few words that need three rows at the least", "W" * 500, "a " + "i" * 300 + " b"):
        for rows in (1, 2, 50):
            found = fitted(text, font, 120, rows)
            assert len(found) <= rows
            assert all(font.getlength(row) <= 120 for row in found)
    whole = fitted("W" * 500, font, 120, 500)
    assert "".join(whole) == "W" * 500
    assert fitted("one two", font, 500, 1) == ["one two"]
    assert fitted("W" * 500, font, 120, 2)[-1].endswith("…")


@pytest.fixture(params=["DejaVu Sans", "Pillow's own"])
def lettering(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The font that sheets have."""
    if request.param == "DejaVu Sans":
        pytest.importorskip("matplotlib")
    else:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
    _forget_font()
    yield request.param
    _forget_font()


def _forget_font() -> None:
    comparison_sheet._font.cache_clear()
    comparison_sheet._has.cache_clear()


def test_letters_that_the_font_has_are_drawn(lettering: str) -> None:
    told = drawable("Рыжая лиса, Cafe\u0301 Łódź ß")
    if lettering == "DejaVu Sans":
        assert told == "Рыжая лиса, Caf\u00e9 Łódź ß"
    else:
        assert told == "□□□□□ □□□□, Cafe Lodz s"
    # What goes to the left would be drawn backwards, and marks on marks climb out of their row.
    assert drawable("שלום a\u0489\u0489 x\u0336") == "□□□□ a x"


def test_what_the_font_lacks_is_replaced_and_names_stay_told_apart(lettering: str) -> None:
    plain = lettering != "DejaVu Sans"
    assert drawable("Ünïcode\u200b × 🦊\u202e“x”") == ("Unicode x “x”" if plain else "Ünïcode × “x”")
    titles = ("🦊", "Fox", "Fox", "Ink")
    choices = [
        Choice(adapter=replace(FOX, key=str(n), title=title, path=f"/x/{n}.safetensors"), weight=1, span="")
        for n, title in enumerate(titles)
    ]
    assert list(names_of(choices).values()) == ["0.safetensors", "1.safetensors Fox", "2.safetensors Fox", "Ink"]
