"""A judge is asked in both orders, and exposed where it cannot be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from judges import Colours, StandIn, bright, coin, paint, position, refusing
from PIL import Image

from velatura.errors import InputError, LanguageModelError, LanguageModelUnavailable, UnreadableFile
from velatura.eval.judge import ClipJudge, Transcripts, hear, pair_up, reach_verdicts, read_people
from velatura.eval.judge.exhibits import as_png, exhibits
from velatura.eval.judge.records import Answer, Criterion, Hearing, Pairings, Trial, Verdict
from velatura.eval.records import Sample
from velatura.records import Usage

QUALITY: list[Criterion] = ["quality"]


def verdict(judge: StandIn, folder: Path, samples: Sequence[Sample], **options: Any) -> Verdict:
    """What a judge's answers by quality come to."""
    (found,) = reach_verdicts(hear(judge, pair_up(samples, "stylus", "base", criteria=QUALITY), folder), **options)
    return found


def codes(found: Verdict) -> set[str]:
    return {doubt.code for doubt in found.doubts}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Sample, ...]]:
    """A hundred prompts; `stylus` is brighter in seventy."""
    folder = tmp_path_factory.mktemp("many")
    return folder, paint(folder, 100, win=0.7)


# ---------------------------------------------------------- judges that are no good


def test_coin_is_exposed(many: tuple[Path, tuple[Sample, ...]]) -> None:
    found = verdict(coin(), *many)
    assert found.consistency is not None
    assert found.consistency.low < 0.5 < found.consistency.high
    assert found.first is not None
    assert found.first.low < 0.5 < found.first.high
    assert "coin" in codes(found)
    assert "position" not in codes(found)
    assert found.is_hollow
    assert found.wins is None


def test_judge_that_goes_by_position_ties_all_and_is_exposed(many: tuple[Path, tuple[Sample, ...]]) -> None:
    found = verdict(position(), *many)
    assert (found.pairs.win, found.pairs.tie, found.pairs.lose) == (0, 100, 0)
    assert found.consistency is not None
    assert found.consistency.value == 0
    assert found.first is not None
    assert found.first.value == 1
    assert found.both_first == 100
    assert {"position", "coin"} <= codes(found)
    assert "shown first in 100%" in " ".join(doubt.text for doubt in found.doubts)
    assert found.p is None
    assert found.wins is None


def test_judge_that_decides_in_one_order_and_ties_in_the_other_is_not_believed(
    many: tuple[Path, tuple[Sample, ...]],
) -> None:
    sees = bright()

    def answer(criterion: str, prompt: str, first: Any, second: Any) -> str:
        said = sees.answers(criterion, prompt, first, second)
        return "tie" if int(prompt.split()[-1]) >= 20 and said == "second" else said

    found = verdict(StandIn(answer), *many)
    assert (found.pairs.win, found.pairs.tie) == (20, 80)
    assert found.consistency is not None
    assert (found.consistency.value, found.consistency.n) == (0.2, 100)
    assert found.p_holm is not None
    assert found.p_holm < 0.001  # by its twenty decisions alone it would have a winner
    assert "80 were decided in one order alone" in " ".join(doubt.text for doubt in found.doubts)
    assert {"coin", "position"} <= codes(found)
    assert found.wins is None


@pytest.mark.parametrize(("said", "place"), [("first", "first"), ("second", "second")])
def test_judge_that_names_a_place_and_then_ties_goes_by_position(
    many: tuple[Path, tuple[Sample, ...]], said: str, place: str
) -> None:
    answers = cycle([said, "tie"])
    found = verdict(StandIn(lambda *_: next(answers)), *many)
    assert found.first is not None
    assert found.first.value == (place == "first")
    assert found.both_first + found.both_second == 0
    assert found.once_first + found.once_second == 100
    assert f"shown {place} in 100%" in " ".join(doubt.text for doubt in found.doubts)
    assert {"coin", "position"} <= codes(found)


def test_judge_that_ties_in_both_orders_is_no_coin_and_its_ties_are_told(
    many: tuple[Path, tuple[Sample, ...]],
) -> None:
    sees = bright()

    def answer(criterion: str, prompt: str, *sides: Any) -> Any:
        return "tie" if int(prompt.split()[-1]) >= 40 else sees.answers(criterion, prompt, *sides)

    found = verdict(StandIn(answer), *many)
    assert found.both_tied == 60
    assert found.consistency is not None
    assert (found.consistency.value, found.consistency.n) == (1, 40)
    assert found.same is not None
    assert (found.same.value, found.same.n) == (1, 100)
    assert found.wins == "of"


def test_judge_that_leans_to_the_second_side_is_told_so(many: tuple[Path, tuple[Sample, ...]]) -> None:
    found = verdict(StandIn(lambda *_: "second"), *many)
    assert "shown second in 100%" in " ".join(doubt.text for doubt in found.doubts)


def test_refusing_judge_is_counted_and_exposed(many: tuple[Path, tuple[Sample, ...]]) -> None:
    found = verdict(refusing(), *many)
    assert found.pairs.refused == 100
    assert found.pairs.asked == 100
    assert found.consistency is None
    assert found.share is None
    assert "refuses" in codes(found)
    assert found.is_hollow


def test_judge_that_refuses_a_fifth_is_not_exposed_and_one_that_refuses_more_is(
    many: tuple[Path, tuple[Sample, ...]],
) -> None:
    def shy(refused: int) -> StandIn:
        sees = bright()

        def answer(criterion: str, prompt: str, *sides: Any) -> Any:
            return "refused" if int(prompt.split()[-1]) < refused else sees.answers(criterion, prompt, *sides)

        return StandIn(answer)

    assert "refuses" not in codes(verdict(shy(20), *many))
    found = verdict(shy(21), *many)
    assert found.pairs.refused == 21
    assert "refuses" in codes(found)


def test_judge_that_sees_is_believed(many: tuple[Path, tuple[Sample, ...]]) -> None:
    found = verdict(bright(), *many)
    assert (found.prompts.win, found.prompts.tie, found.prompts.lose) == (70, 0, 30)
    assert found.wins == "of"
    assert found.doubts == ()
    assert found.share is not None
    assert (round(found.share.low, 3), round(found.share.high, 3)) == (0.604, 0.781)
    assert found.half_ties == 0.7
    assert found.net == pytest.approx(0.4)
    assert found.p == pytest.approx(7.85e-5, rel=1e-2)
    assert found.scores is None


def test_judge_that_raises_or_answers_nonsense_is_counted(many: tuple[Path, tuple[Sample, ...]]) -> None:
    folder, samples = many

    def answer(_: str, prompt: str, *__: Any) -> Any:
        if prompt.endswith("1"):
            raise LanguageModelError("no answer of use", usage=Usage(calls=2, read=9))
        return Answer(choice="both", usage=Usage(calls=1))  # type: ignore[arg-type]

    hearing = hear(StandIn(answer), pair_up(samples, "stylus", "base", criteria=QUALITY), folder)
    (found,) = reach_verdicts(hearing)
    assert found.pairs.unusable == 100
    assert "unusable" in codes(found)
    assert hearing.usage == Usage(calls=10 * 4 + 90 * 2, read=10 * 2 * 9)


def test_too_few_pairs_are_told_with_what_they_could_have_shown(tmp_path: Path) -> None:
    found = verdict(bright(), tmp_path, paint(tmp_path, 20, win=0.5))
    (doubt,) = found.doubts
    assert doubt.code == "too few"
    assert found.detectable is not None
    assert f"below {found.detectable:.0%}" in doubt.text
    assert 0.75 < found.detectable < 0.85
    assert found.wins is None
    few = verdict(bright(), tmp_path, paint(tmp_path, 3))
    assert [doubt.text.split(":")[0] for doubt in few.doubts] == [
        "it cannot be told from a coin",
        "3 decided prompts are too few to show any difference",
    ]


@pytest.mark.parametrize(
    ("name", "makers", "is_kin"),
    [
        ("llm 1: gpt-4o", ["gemini-1.5-pro", "gpt-4o-mini"], True),
        ("llm 1: gpt-4o", ["gemini-1.5-pro"], False),
        ("llm 1: Qwen2-VL-7B", ["Qwen-Image"], True),
        ("llm 1: my-own", ["my-own"], False),
    ],
)
def test_judge_of_the_makers_own_family_is_told(
    many: tuple[Path, tuple[Sample, ...]], name: str, makers: list[str], is_kin: bool
) -> None:
    found = verdict(replace(bright(), name=name), *many, makers=makers)
    assert ("kin" in codes(found)) is is_kin
    assert found.wins == "of"


def test_criteria_are_corrected_together(tmp_path: Path) -> None:
    samples = paint(tmp_path, 12, each=2, win=0.9)
    hearing = hear(bright(), pair_up(samples, "stylus", "base"), tmp_path)
    found = {verdict.criterion: verdict for verdict in reach_verdicts(hearing)}
    assert set(found) == {"quality", "alignment", "diversity"}
    ps = [verdict.p for verdict in found.values()]
    assert all(verdict.p_holm == pytest.approx(3 * ps[0]) for verdict in found.values())  # all alike


# ---------------------------------------------------------- what is asked


def test_every_pair_is_asked_in_both_orders_and_names_no_method(tmp_path: Path) -> None:
    judge = bright()
    samples = paint(tmp_path, 6)
    hear(judge, pair_up(samples, "stylus", "base", criteria=QUALITY), tmp_path)
    orders = {(first, second) for _, _, first, second in judge.asked}
    assert len(orders) == len(judge.asked) == 12
    assert all((second, first) in orders for first, second in orders)
    assert "stylus" not in repr(judge.asked)
    assert {len(side) for _, _, *sides in judge.asked for side in sides} == {1}


def test_diversity_is_asked_of_groups_of_five(tmp_path: Path) -> None:
    judge = bright()
    samples = [*paint(tmp_path, 2, each=7)]
    pairings = pair_up(samples, "stylus", "base", criteria=["diversity"])
    hear(judge, pairings, tmp_path)
    assert [len(side) for _, _, *sides in judge.asked for side in sides] == [5] * 8
    lonely = pair_up([*samples, *paint(tmp_path, 3)[4:]], "stylus", "base", criteria=["diversity"])
    assert lonely.too_few == 1
    assert len(lonely.pairs) == 2


def test_order_is_by_the_seed_alone(tmp_path: Path) -> None:
    samples = paint(tmp_path, 30)

    def order(seed: int, known: Sequence[Sample] = samples) -> list[tuple[str, bool]]:
        pairs = pair_up(known, "stylus", "base", criteria=QUALITY, seed=seed).pairs
        return [(pairing.prompt_id, pairing.of_is_asked_first) for pairing in pairs]

    assert order(1) == order(1, samples[::-1]) != order(2)
    assert 5 < sum(first for _, first in order(1)) < 25
    judge = bright()
    hear(judge, pair_up(samples, "stylus", "base", criteria=QUALITY, seed=1), tmp_path)
    digests = {sample.sha256: sample.method for sample in samples}
    shown = [digests[first[0]] == "stylus" for _, _, first, _ in judge.asked]
    assert shown[::2] == [first for _, first in order(1)]


def test_limit_takes_prompts_that_a_larger_one_takes_too(tmp_path: Path) -> None:
    samples = paint(tmp_path, 30)
    few, more = (
        {pairing.prompt_id for pairing in pair_up(samples, "stylus", "base", limit=limit).pairs} for limit in (5, 9)
    )
    assert len(few) == 5
    assert few < more


def test_several_pairs_of_a_prompt_count_as_one(tmp_path: Path) -> None:
    samples = paint(tmp_path, 4, each=3, win=0.5)
    pairings = pair_up(samples, "stylus", "base", criteria=QUALITY, per_prompt=3)
    (found,) = reach_verdicts(hear(bright(), pairings, tmp_path))
    assert found.pairs.win == found.pairs.lose == 6
    assert found.prompts.win == found.prompts.lose == 2
    assert found.share is not None
    assert found.share.n == 4
    assert len(pair_up(samples, "stylus", "base", criteria=QUALITY).pairs) == 4


def test_same_pictures_are_a_tie_that_nobody_is_asked_about(tmp_path: Path) -> None:
    samples = paint(tmp_path, 4)
    twin = (tmp_path / samples[0].image).read_bytes()
    (tmp_path / samples[1].image).write_bytes(twin)
    same = [samples[0], replace(samples[1], sha256=samples[0].sha256), *samples[2:]]
    judge = bright()
    found = verdict(judge, tmp_path, same)
    assert (found.pairs.tie, found.identical) == (1, 1)
    assert len(judge.asked) == 6
    assert found.consistency is not None
    assert found.consistency.n == 3


def test_pictures_that_cannot_be_read_are_counted_and_cost_no_neighbour(tmp_path: Path) -> None:
    samples = [replace(sample, sha256=None) for sample in paint(tmp_path, 4)]
    (tmp_path / samples[0].image).unlink()
    (tmp_path / samples[2].image).write_bytes((tmp_path / samples[3].image).read_bytes()[:50])
    hearing = hear(bright(), pair_up(samples, "stylus", "base", criteria=QUALITY), tmp_path)
    (found,) = reach_verdicts(hearing)
    assert (found.unread, found.unasked, found.pairs.win) == (2, 0, 2)
    assert sorted(skip.reason.split(str(tmp_path))[0] for skip in hearing.skipped) == ["", "there is no picture "]
    assert "damaged" in " ".join(skip.reason for skip in hearing.skipped)


def test_picture_that_is_not_the_manifests_is_left_out(tmp_path: Path) -> None:
    samples = paint(tmp_path, 2)
    Image.new("RGB", (8, 8), "red").save(tmp_path / samples[0].image)
    assert verdict(bright(), tmp_path, samples).unread == 1


def test_guidance_must_be_one_that_both_have(tmp_path: Path) -> None:
    samples = paint(tmp_path, 3)
    other = [replace(sample, guidance=3.0) for sample in samples]
    with pytest.raises(InputError, match="several guidances; name one with --guidance, of 3, 6"):
        pair_up([*samples, *other], "stylus", "base")
    assert pair_up([*samples, *other], "stylus", "base", guidance=3).of.guidance == 3
    with pytest.raises(InputError, match="no pictures at guidance 4"):
        pair_up([*samples, *other], "stylus", "base", guidance=4)
    bare = [replace(sample, guidance=None) for sample in samples if sample.method == "base"]
    styled = [sample for sample in [*samples, *other] if sample.method == "stylus"]
    assert pair_up([*bare, *styled], "stylus", "base", guidance=3).against.guidance is None


def test_methods_that_are_not_there_or_have_no_pair_are_told(tmp_path: Path) -> None:
    samples = paint(tmp_path, 3)
    with pytest.raises(InputError, match="no pictures of the method stylish; there are base, stylus"):
        pair_up(samples, "stylish", "base")
    with pytest.raises(InputError, match="against itself"):
        pair_up(samples, "base", "base")
    apart = [sample for sample in samples if (sample.method == "base") == (sample.prompt_id == "p0")]
    with pytest.raises(InputError, match="have no pair of equal prompt_id and index"):
        pair_up(apart, "stylus", "base")
    assert pair_up(samples[:-1], "stylus", "base").unpaired == 1


# ---------------------------------------------------------- what is shown


def test_both_sides_are_shown_in_one_size_and_format_without_what_files_tell(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    told = PngInfo()
    told.add_text("parameters", "<lora:fox:1> by stylus")
    Image.new("RGB", (900, 1200), "red").save(tmp_path / "a.png", pnginfo=told)
    Image.new("RGB", (1000, 800), "blue").save(tmp_path / "b.jpg", comment=b"by base")
    samples = [
        Sample(prompt_id="p", prompt="a fox", method=method, image=name)
        for method, name in (("stylus", "a.png"), ("base", "b.jpg"))
    ]
    (pairing,) = pair_up(samples, "stylus", "base", criteria=QUALITY).pairs
    files = [as_png(side) for side in exhibits(tmp_path, pairing)]
    assert all(file.startswith(b"\x89PNG") for file in files)
    pictures = []
    for name, file in zip("ab", files, strict=True):
        (tmp_path / f"shown-{name}.png").write_bytes(file)
        with Image.open(tmp_path / f"shown-{name}.png") as picture:
            pictures.append(picture.convert("RGB"))
            assert not picture.info
    assert pictures[0].size == pictures[1].size == (768, 683)
    assert [picture.getpixel((384, 341)) for picture in pictures] == [(255, 0, 0), (0, 0, 254)]
    assert all(word not in file for file in files for word in (b"lora", b"stylus", b"base"))


def test_groups_are_shown_as_sheets_of_one_size(tmp_path: Path) -> None:
    samples = paint(tmp_path, 1, each=5, size=400)
    (pairing,) = pair_up(samples, "stylus", "base", criteria=["diversity"]).pairs
    sheets = []
    for place, side in enumerate(exhibits(tmp_path, pairing)):
        (tmp_path / f"{place}.png").write_bytes(as_png(side))
        with Image.open(tmp_path / f"{place}.png") as sheet:
            sheets.append(sheet.convert("RGB"))
    assert sheets[0].size == sheets[1].size == (3 * 320 + 2 * 8, 2 * 320 + 8)
    assert sheets[0].getpixel((10, 10)) == (200, 0, 0)
    assert sheets[0].getpixel((340, 340)) == (200, 0, 4)
    assert sheets[0].getpixel((900, 600)) == (128, 128, 128)


# ---------------------------------------------------------- limits, outages, people


def test_no_pair_is_begun_beyond_the_limit(tmp_path: Path) -> None:
    samples = paint(tmp_path, 10)
    judge = bright()
    pairings = pair_up(samples, "stylus", "base", criteria=QUALITY)
    transcripts = Transcripts()
    hearing = hear(judge, pairings, tmp_path, most_calls=7, transcripts=transcripts)
    assert len(judge.asked) == hearing.asked == 6
    (found,) = reach_verdicts(hearing)
    assert (found.pairs.asked, found.unasked) == (3, 7)
    assert "limit of 7 calls" in hearing.skipped[0].reason
    again = hear(judge, pairings, tmp_path, most_calls=4, transcripts=transcripts)
    assert (again.kept, again.asked, len(again.trials)) == (6, 4, 5)


def test_several_at_once_come_to_the_same_and_keep_the_limit(tmp_path: Path) -> None:
    samples = paint(tmp_path, 20, win=0.6)
    pairings = pair_up(samples, "stylus", "base", criteria=QUALITY)
    told: list[tuple[int, int]] = []
    alone, together = (
        hear(bright(), pairings, tmp_path, workers=workers, told=lambda *done: told.append(done)) for workers in (1, 6)
    )
    assert [trial.outcome for trial in alone.trials] == [trial.outcome for trial in together.trials]
    assert alone.usage == together.usage
    assert told[-1] == (20, 20)
    assert hear(bright(), pairings, tmp_path, workers=6, most_calls=10).asked <= 10


def test_judge_that_is_gone_is_not_asked_on(tmp_path: Path) -> None:
    def answer(*_: Any) -> Any:
        raise LanguageModelUnavailable("the server does not answer")

    judge = StandIn(answer)
    hearing = hear(judge, pair_up(paint(tmp_path, 10), "stylus", "base", criteria=QUALITY), tmp_path)
    assert len(judge.asked) == 3
    assert len(hearing.skipped) == 10
    assert hearing.skipped[0].reason == "the server does not answer"
    (found,) = reach_verdicts(hearing)
    assert found.unasked == 10
    assert found.pairs.asked == 0


def test_pictures_that_the_judge_cannot_read_cost_no_calls(tmp_path: Path) -> None:
    sees = bright()

    def answer(criterion: str, prompt: str, *sides: Any) -> Any:
        if int(prompt.split()[-1]) < 5:
            raise UnreadableFile("damaged")
        return sees.answers(criterion, prompt, *sides)

    pairings = pair_up(paint(tmp_path, 10), "stylus", "base", criteria=QUALITY)
    hearing = hear(StandIn(answer), pairings, tmp_path, most_calls=10)
    assert (len(hearing.trials), hearing.asked) == (5, 10)
    assert {skip.is_unasked for skip in hearing.skipped} == {False}


def test_judge_that_can_never_be_asked_is_an_error(tmp_path: Path) -> None:
    def answer(*_: Any) -> Any:
        raise InputError("the key is refused")

    for workers in (1, 4):
        with pytest.raises(InputError, match="key is refused"):
            hear(StandIn(answer), pair_up(paint(tmp_path, 3), "stylus", "base"), tmp_path, workers=workers)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_agreement_with_people_is_told(many: tuple[Path, tuple[Sample, ...]], tmp_path: Path, form: str) -> None:
    rows = [(f"p{number}", "quality", "stylus" if number < 60 else "base") for number in range(0, 100, 2)]
    rows += [("p0", "alignment", "base"), ("elsewhere", "quality", "base")]
    file = tmp_path / f"people.{form}"
    if form == "csv":
        lines = ["prompt_id,criterion,winner", *(",".join(row) for row in rows)]
    else:
        names = ("prompt_id", "criterion", "winner")
        lines = ["{" + ", ".join(f'"{n}": "{v}"' for n, v in zip(names, row, strict=True)) + "}" for row in rows]
    file.write_text("\n".join(lines), encoding="utf-8")
    found = verdict(bright(), *many, people=read_people(file)).agreement
    assert found is not None
    assert found.n == 50
    assert found.same == pytest.approx(0.9)
    assert found.kappa == pytest.approx((0.9 - 0.54) / (1 - 0.54))  # 35 and 30 of 50 for stylus: chance is 0.54
    assert found.low is not None
    assert found.low < found.kappa


def test_people_who_say_otherwise_are_a_doubt(many: tuple[Path, tuple[Sample, ...]]) -> None:
    people = {(f"p{number}", "quality"): "base" if number < 70 else "stylus" for number in range(100)}
    found = verdict(bright(), *many, people=people)
    assert found.agreement is not None
    assert found.agreement.kappa is not None
    assert found.agreement.kappa < -0.5
    assert codes(found) == {"against people"}
    assert found.hollow_for == ("people say otherwise",)
    assert found.p_holm is not None
    assert found.p_holm < 0.001
    assert found.wins is None


def test_people_who_hardly_agree_leave_no_winner_and_few_of_them_a_doubt(
    many: tuple[Path, tuple[Sample, ...]],
) -> None:
    said = {(f"p{number}", "quality"): ("base", "stylus")[number % 2] for number in range(100)}
    many_said = verdict(bright(), *many, people=said)
    assert many_said.agreement is not None
    assert many_said.agreement.high is not None
    assert many_said.agreement.high <= 0.2
    assert many_said.hollow_for == ("people say otherwise",)
    assert verdict(bright(), *many, people={("p0", "quality"): "base"}).wins == "of"
    few = {(f"p{number}", "quality"): "base" if number < 71 else "stylus" for number in range(68, 72)}
    found = verdict(bright(), *many, people=few)
    assert (codes(found), found.wins) == ({"people"}, "of")


def test_judge_that_always_names_one_method_is_held_against_people_by_shares(tmp_path: Path) -> None:
    samples = paint(tmp_path, 30)
    alike = {(f"p{number}", "quality"): "base" if number < 3 else "stylus" for number in range(30)}
    found = verdict(bright(), tmp_path, samples, people=alike)
    assert found.agreement is not None
    assert found.agreement.kappa is None  # it could only be 0
    assert (found.agreement.same, found.doubts, found.wins) == (0.9, (), "of")
    opposite = verdict(bright(), tmp_path, samples, people=dict.fromkeys(alike, "base"))
    assert codes(opposite) == {"against people"}
    assert opposite.wins is None


def test_majority_of_people_counts_and_an_even_vote_is_a_tie(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    votes = "\n".join(f"p,quality,{winner}" for winner in ("base", "base", "stylus"))
    file.write_text(f"prompt_id,criterion,winner\n{votes}\nq,quality,base\nq,quality,stylus\n", encoding="utf-8")
    assert read_people(file) == {("p", "quality"): "base", ("q", "quality"): "tie"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [("", "holds no answers"), ("[]", "line 1: not a JSON object"), ('{"prompt_id": "p"}', "it must have prompt_id"),
     ('{"prompt_id": "p", "criterion": "taste", "winner": "x"}', "one of quality, alignment, diversity")],
)  # fmt: skip
def test_broken_answers_of_people_are_told(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "people.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=fault):
        read_people(tmp_path / "people.jsonl")
    with pytest.raises(InputError, match="cannot be read"):
        read_people(tmp_path / "nowhere.jsonl")


# ---------------------------------------------------------- a metric in a judge's place


def _colour(folder: Path, method: str, index: int, colour: tuple[int, int, int]) -> Sample:
    name = f"{method}{index}.png"
    Image.new("RGB", (8, 8), colour).save(folder / name)
    return Sample(prompt_id="p", prompt="red", method=method, image=name, index=index)


def test_metric_judges_alignment_and_diversity_and_refuses_quality(tmp_path: Path) -> None:
    samples = [
        _colour(tmp_path, "a", 0, (255, 0, 0)),
        _colour(tmp_path, "a", 1, (250, 0, 0)),
        _colour(tmp_path, "b", 0, (100, 200, 0)),
        _colour(tmp_path, "b", 1, (0, 0, 200)),
    ]
    eyes = Colours()
    judge = ClipJudge(eyes)
    hearing = hear(judge, pair_up(samples, "a", "b"), tmp_path)
    outcomes = {trial.pairing.criterion: trial.outcome for trial in hearing.trials}
    assert outcomes == {"quality": "refused", "alignment": "win", "diversity": "lose"}
    assert "metric" in judge.name
    assert "colours" in judge.name
    assert eyes.seen == 4  # each picture once, for both orders and both criteria
    found = {verdict.criterion: verdict for verdict in reach_verdicts(hearing)}
    assert "refuses" in codes(found["quality"])


def test_equal_numbers_of_a_metric_are_a_tie(tmp_path: Path) -> None:
    samples = [_colour(tmp_path, "a", 0, (200, 0, 0)), _colour(tmp_path, "b", 0, (100, 0, 0))]
    hearing = hear(ClipJudge(Colours()), pair_up(samples, "a", "b", criteria=["alignment"]), tmp_path)
    assert hearing.trials[0].outcome == "tie"
    assert hearing.trials[0].is_consistent is None


# ---------------------------------------------------------- the paper's own judge


@pytest.mark.parametrize(
    ("criterion", "wins", "ties", "losses", "share", "low", "high", "p", "consistency"),
    [
        ("quality", 24, 44, 16, 0.600, 0.446, 0.737, 0.27, 0.476),
        ("alignment", 20, 58, 22, 0.476, 0.333, 0.623, 0.88, 0.420),
        ("diversity", 72, 83, 52, 0.581, 0.493, 0.664, 0.088, 0.599),
    ],
)
def test_counts_of_the_stylus_paper_come_to_its_shares_and_to_no_winner(
    criterion: Criterion, wins: int, ties: int, losses: int, share: float, low: float, high: float, p: float,
    consistency: float,
) -> None:  # fmt: skip
    samples = [
        Sample(prompt_id=f"{number}", prompt="", method=method, image="", index=index)
        for number in range(wins + ties + losses)
        for method in ("stylus", "sd")
        for index in range(2)
    ]
    pairings = pair_up(samples, "stylus", "sd", criteria=[criterion])
    first, second = Answer(choice="first"), Answer(choice="second")
    told = [("win", (first, second))] * wins + [("tie", (first, first))] * ties + [("lose", (second, first))] * losses
    trials = tuple(
        Trial(pairing=pairing, outcome=outcome, answers=answers)  # type: ignore[arg-type]
        for pairing, (outcome, answers) in zip(pairings.pairs, told, strict=True)
    )
    (found,) = reach_verdicts(_heard(pairings, trials))
    assert found.share is not None
    assert found.consistency is not None
    assert [found.share.value, found.share.low, found.share.high] == pytest.approx([share, low, high], abs=6e-4)
    assert found.p == pytest.approx(p, abs=6e-3)
    assert found.same is not None
    assert found.consistency.value == pytest.approx(consistency, abs=6e-4)
    assert found.same.value == pytest.approx(consistency, abs=6e-4)
    assert found.wins is None


def _heard(pairings: Pairings, trials: tuple[Trial, ...]) -> Hearing:
    return Hearing(judge="gpt-4v", pairings=pairings, trials=trials, skipped=(), usage=Usage(), asked=0, kept=0)
