"""Records: the prompt that a composition comes to."""

from __future__ import annotations

from velatura.records import AdapterRecord, Choice, Composition, GenerationRequest, Usage


def serving(span: str, *triggers: str) -> Choice:
    return Choice(
        adapter=AdapterRecord(source="folder", key=span, title=span), weight=1.0, span=span, triggers=triggers
    )


def test_words_that_no_adapter_serves_are_stressed_as_whole_words_and_once() -> None:
    done = Composition(
        prompt="<lora:ink:1> a pink room, ink, snow, ink",
        choices=(serving("snow"),),
        tasks=("pink room", "ink", "snow"),
        emphasis=1.1,
    )
    assert done.painted_prompt == "<lora:ink:1> a (pink room:1.1), (ink:1.1), snow, ink"


def test_task_of_which_some_words_are_served_is_not_stressed() -> None:
    done = Composition(prompt="a red kimono", choices=(serving("kimono"),), tasks=("red kimono",), emphasis=1.1)
    assert done.painted_prompt == "a red kimono"


def test_prompt_with_weights_of_its_own_keeps_them() -> None:
    done = Composition(prompt="(ink:1.2), snow", tasks=("ink", "snow"), emphasis=1.1)
    assert done.painted_prompt == "(ink:1.2), snow"


def test_mask_that_leaves_a_task_without_its_adapter_has_it_stressed() -> None:
    done = Composition(
        prompt="ink, snow", choices=(serving("ink"), serving("snow")), tasks=("ink", "snow"), emphasis=1.1
    )
    request = GenerationRequest(composition=done, model="m", mask=(True, False))
    assert request.prompt == "ink, (snow:1.1)"


def test_suffix_closes_the_prompt_once() -> None:
    done = Composition(prompt="a fox", choices=(serving("fox", "foxy"),), suffix="realistic, high quality")
    assert done.painted_prompt == "a fox, foxy, realistic, high quality"
    assert (
        Composition(prompt="a fox, realistic, high quality", suffix="realistic").painted_prompt.count("realistic") == 1
    )


def test_usage_adds_up() -> None:
    one = Usage(calls=1, read=700, cached=512, written=20)
    assert one + one == Usage(calls=2, read=1400, cached=1024, written=40)
    assert sum([one, one], Usage()) == one + one
