import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from velatura.errors import InputError
from velatura.eval.records import CellName, Sample, Worn
from velatura.eval.report import Gains, gallery_of, report_page, write_report
from velatura.eval.report import gallery as gallery_module
from velatura.eval.report.failures import (
    BLOCKING,
    POOR_ADAPTER,
    RETRIEVAL,
    SAMENESS,
    SATURATION,
    clipped,
    counted,
    saturated,
    suspected,
    worn,
)
from velatura.eval.report.results import Results

BASE, OURS = CellName(method="base", guidance=6.0), CellName(method="ours", guidance=6.0)


def gains(values, better="higher"):
    return Gains(metric="clip", cell=OURS, baseline=BASE, values=values, better=better)


def sample(name, method="ours", index=0, adapters=(), prompt="a red fox", **told):
    worn_ones = tuple(Worn(title=title, weight=weight) for title, weight in adapters)
    return Sample(prompt_id=name, prompt=prompt, method=method, guidance=6.0, image=f"{method}-{name}-{index}.png",
                  index=index, adapters=worn_ones, **told)  # fmt: skip


def both(names, **told):
    return [one for name in names for one in (sample(name, "base"), sample(name, **told))]


def grey(_sample):
    return Image.new("RGB", (128, 96), (90, 90, 90))


def test_the_best_come_first_and_the_worst_from_the_end_and_nobody_twice():
    values = {f"p{i:02}": float(i) for i in range(20)}
    found = gallery_of(gains(values), both(values), grey, entries=4)
    by_group = {
        group: [entry.prompt_id for entry in found.entries if entry.group == group]
        for group in ("best", "worst", "middle")
    }
    assert by_group["best"] == ["p19", "p18", "p17", "p16"]
    assert by_group["worst"] == ["p00", "p01", "p02", "p03"]
    assert by_group["middle"] == ["p10", "p09"]
    assert [entry.place for entry in found.entries][:5] == [1, 2, 3, 4, 20]


def test_less_is_more_where_lower_is_better():
    found = gallery_of(gains({"a": -2.0, "b": 3.0}, better="lower"), both("ab"), grey, entries=1)
    assert [(entry.group, entry.prompt_id) for entry in found.entries] == [("best", "a"), ("worst", "b")]


def test_few_prompts_are_shown_once_each():
    found = gallery_of(gains({"a": 1.0, "b": 0.0}), both("ab"), grey, entries=12)
    assert [entry.prompt_id for entry in found.entries] == ["a", "b"]


def test_a_prompt_without_a_pair_is_not_shown():
    samples = [*both("a"), sample("b"), sample("c", "base"), sample("a", "base", index=1)]
    found = gallery_of(gains({"a": 1.0, "b": 2.0, "c": 3.0}), samples, grey)
    assert [entry.prompt_id for entry in found.entries] == ["a"]
    assert [(base.sample.method, own.sample.method) for base, own in found.entries[0].pairs] == [("base", "ours")]


def test_thumbnails_are_encoded_anew_small_and_without_the_files_words():
    picture = Image.new("RGBA", (800, 400), (200, 10, 10, 255))
    picture.info["parameters"] = "a secret prompt"
    found = gallery_of(gains({"a": 1.0}), both("a"), lambda _: picture)
    thumbnail = found.entries[0].pairs[0][1].thumbnail
    data = base64.b64decode(thumbnail.uri.partition(",")[2])
    assert (thumbnail.width, thumbnail.height) == (224, 112) == Image.open(io.BytesIO(data)).size
    assert thumbnail.uri.startswith("data:image/webp;base64,")
    assert b"secret" not in data
    assert len(data) < 5_000


def test_small_pictures_are_kept_pixel_by_pixel():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    found = gallery_of(gains({"a": 1.0}), both("a"), lambda _: picture)
    thumbnail = found.entries[0].pairs[0][0].thumbnail
    again = Image.open(io.BytesIO(base64.b64decode(thumbnail.uri.partition(",")[2])))
    assert np.array_equal(np.asarray(again), np.asarray(picture))
    assert 'class="small"' in report_page(Results(name="x"), found)


@pytest.mark.parametrize(
    "error", [OSError("truncated"), ValueError("odd"), InputError("<b>gone</b>"), Image.DecompressionBombError("huge")]
)
def test_a_picture_that_cannot_be_read_is_told_and_loses_no_neighbour(error):
    def images(one):
        if one.image == "ours-a-0.png":
            raise error
        return grey(one)

    page = report_page(Results(name="x"), gallery_of(gains({"a": 1.0, "b": 0.5}), both("ab"), images))
    assert "The picture cannot be shown: " in page
    assert page.count("<img") == 3
    assert "<b>gone" not in page


def test_the_page_holds_no_more_pictures_than_its_limit(monkeypatch):
    monkeypatch.setattr(gallery_module, "LARGEST", 1)
    found = gallery_of(gains({"a": 1.0, "b": 0.5}), both("ab"), grey)
    assert sum(shown.thumbnail is not None for entry in found.entries for pair in entry.pairs for shown in pair) == 1
    assert found.notes[0].startswith("3 pictures are left out")


def test_prompts_adapters_and_gains_stand_beside_the_pictures_escaped():
    evil = '<script>alert(1)</script>"\u2066'
    samples = both("a", adapters=[(evil, 0.55)], prompt=evil, category=evil)
    page = report_page(Results(name="x"), gallery_of(gains({"a": 1.25}), samples, grey))
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;&quot;") >= 3
    assert "\u2066" not in page
    assert '<bdi dir="auto">' in page
    assert "0.55" in page
    assert re.search(r'class="mark better".*?\+1\.2', page)


def test_an_adapter_that_was_off_was_not_worn():
    one = sample("a", adapters=[("on", 0.5), ("masked", 0.5), ("zero", 0.0)], mask=(True, False, True))
    assert [adapter.title for adapter in worn(one)] == ["on"]


def test_black_and_white_are_no_saturation_and_colours_at_the_end_are():
    assert clipped(Image.new("RGB", (8, 8), (255, 255, 255))) == 0.0
    assert clipped(Image.new("RGB", (8, 8), (120, 90, 60))) == 0.0
    half = np.full((10, 10, 3), 128, np.uint8)
    half[:5] = (255, 30, 90)
    assert clipped(Image.fromarray(half)) == 0.5


def test_saturation_needs_adapters_a_large_share_and_more_than_the_baseline():
    on = sample("a", adapters=[("x", 1.0)])
    assert saturated(on, 0.3, 0.1).label == SATURATION
    assert saturated(on, 0.3, 0.2) is None
    assert saturated(on, 0.05, 0.0) is None
    assert saturated(sample("a"), 0.9, 0.0) is None


def prompts(count=30, **special):
    """Gains about 0 with a spread of about 1, but for the special ones."""
    values = {f"p{i:02}": (-1) ** i * (0.5 + i / 40) for i in range(count)}
    return values | special


def labels(found, name):
    return {suspicion.label for suspicion in found.get(name, ())}


def test_a_fall_with_a_strange_title_is_a_suspected_retrieval_error():
    values = prompts(lost=-9.0, known=-9.0)
    samples = [sample("lost", adapters=[("Giraffe", 0.8)], prompt="an okapi in the wood"),
               sample("known", adapters=[("Okapi v2", 0.8)], prompt="an okapi in the wood")]  # fmt: skip
    found = suspected(gains(values), samples)
    assert labels(found, "lost") == {RETRIEVAL}
    assert labels(found, "known") == set()


def test_a_fall_with_several_adapters_is_suspected_task_blocking():
    samples = [
        sample("lost", adapters=[("red", 0.8), ("fox", 0.8)]),
        sample("calm", adapters=[("red", 0.8), ("fox", 0.8)]),
    ]
    found = suspected(gains(prompts(lost=-9.0, calm=0.1)), samples)
    assert labels(found, "lost") == {BLOCKING}
    assert "calm" not in found


def test_without_adapters_on_a_fall_is_no_failure_of_theirs():
    samples = [sample("lost", adapters=[("x", 0.8)], mask=(False,)), sample("bare")]
    assert suspected(gains(prompts(lost=-9.0, bare=-9.0)), samples) == {}


def test_an_adapter_that_most_of_its_prompts_lost_with_is_suspected():
    values = prompts(one=-9.0, two=-1.0, three=-1.0, four=1.0)
    samples = [sample(name, adapters=[("red fox", 0.8)]) for name in ("one", "two", "three", "four")]
    found = suspected(gains(values), samples)
    assert labels(found, "one") == {POOR_ADAPTER}
    assert "is on for 4 prompts, of which 3 lost" in found["one"][0].why
    assert "two" not in found  # it did not fall far enough


def test_pictures_that_became_more_alike_are_a_suspected_loss_of_diversity():
    diversity = Gains(metric="diversity", cell=OURS, baseline=BASE, values=prompts(same=-9.0))
    found = suspected(gains(prompts(same=0.0)), [sample("same")], diversity)
    assert labels(found, "same") == {SAMENESS}


def test_failures_are_counted_by_prompts_and_called_suspected():
    values = prompts(lost=-9.0)
    samples = [*both(values, adapters=[("Giraffe", 0.8), ("Zebra", 0.8)])]
    found = gallery_of(gains(values), samples, grey, entries=2)
    assert counted(found.suspicions)[RETRIEVAL] == len(found.suspicions)
    page = report_page(Results(name="x"), found)
    assert "suspected: retrieval error" in page
    assert "no word in common with the prompt" in page
    assert "where to look, not" in page
    assert "not looked for" in page  # nothing is known of diversity
    calm = gallery_of(gains(values), samples, grey, entries=2, diversity=gains(values))
    assert "not looked for" not in report_page(Results(name="x"), calm)


def test_a_gallery_of_no_entries_is_left_out(tmp_path):
    write_report(Results(name="x"), tmp_path, samples=both("a"), images=grey, gains=gains({"a": 1.0}), entries=0)
    assert "<img" not in (tmp_path / "report.html").read_text()
    write_report(Results(name="x"), tmp_path, samples=both("a"), images=grey, gains=gains({"a": 1.0}), entries=1)
    assert "<img" in (tmp_path / "report.html").read_text()
