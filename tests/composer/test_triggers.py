"""The trigger words that an adapter needs beside a prompt."""

from __future__ import annotations

import pytest

from velatura.composer.triggers import ROOM, estimate_tokens, fitting, needs_trigger, share_room
from velatura.looks import debias
from velatura.records import AdapterRecord, RefinedAdapter, Refinement


def adapter(
    *groups: tuple[str, ...], category: str | None = "character", title: str = "A", about: str | None = None
) -> RefinedAdapter:
    record = AdapterRecord(source="folder", key="a", title=title, triggers=groups, description=about)
    return RefinedAdapter(id=1, record=record, refinement=Refinement(category=category))


# ---------------------------------------------------------------- which group


def test_group_that_shares_words_with_the_prompt_is_taken() -> None:
    page = adapter(("holo", "smile"), ("holo", "armor", "cape"))
    assert fitting(page, "a knight in armor") == ("holo", "cape")


def test_first_group_is_taken_when_none_shares_more() -> None:
    assert fitting(adapter(("first",), ("second",)), "a fox") == ("first",)


def test_group_of_the_sex_that_the_prompt_asks_for_is_taken() -> None:
    page = adapter(("lumine", "1girl"), ("aether", "1boy"), title="Travelers")
    assert fitting(page, "a boy on a bridge") == ("aether",)
    assert fitting(page, "she stands on a bridge") == ("lumine",)
    assert fitting(page, "a bridge") == ("lumine",)


def test_outfit_that_the_prompt_asks_for_is_taken_and_no_other() -> None:
    page = adapter(("roxanne", "blue dress", "shoes"), ("roxanne", "grey dress", "boots"), title="Roxanne (Pokemon)")
    assert fitting(page, "roxanne in a grey dress") == ("boots",)
    assert fitting(page, "roxanne in a bikini at the sea") == ()


def test_made_up_word_is_found_by_what_it_is_made_of() -> None:
    page = adapter(("wa2k",), ("wa2kdress",), ("wa2kswimsuit",), title="Wa2000")
    assert fitting(page, "girl in a swimsuit") == ("wa2kswimsuit",)


def test_colour_alone_chooses_no_group() -> None:
    page = adapter(("anna",), ("black ribbon",), title="Anna")
    assert fitting(page, "a black cat") == ("anna",)


def test_name_goes_before_an_outfit_of_another_group() -> None:
    page = adapter(("nodoka",), ("green sweater", "id card"), title="Harusaki Nodoka (Hololive)")
    assert fitting(page, "a woman in a sweater") == ("nodoka", "green sweater", "id card")


def test_groups_of_a_describer_come_before_the_pages() -> None:
    page = adapter(("page words",))
    refined = RefinedAdapter(
        id=1, record=page.record, refinement=Refinement(category="character", triggers=(("clean",),))
    )
    assert fitting(refined, "a fox") == ("clean",)


# ---------------------------------------------------------------- which phrases


def test_quality_and_anybody_are_never_added() -> None:
    page = adapter(("masterpiece", "best quality", "1girl", "solo", "nsfw", "firewatch", "antlers"))
    assert fitting(page, "in the snow") == ("firewatch", "antlers")


def test_person_with_nothing_but_generic_words_gets_the_sex_alone() -> None:
    page = adapter(("masterpiece", "1boy", "solo"))
    assert fitting(page, "in the snow") == ("1boy",)
    assert fitting(page, "a girl in the snow") == ()
    assert fitting(adapter(("1girl", "solo"), category="style"), "a castle") == ()


def test_what_the_prompt_has_is_not_added() -> None:
    page = adapter(("red fox", "bushy tail"))
    assert fitting(page, "a (Red_Fox:1.2) in snow") == ("bushy tail",)
    assert fitting(page, "a red foxglove in snow") == ("red fox", "bushy tail")


def test_what_contradicts_the_prompt_is_not_added() -> None:
    page = adapter(("anna", "blonde hair", "long hair", "blue eyes"), title="Anna")
    assert fitting(page, "a woman with short black hair") == ("anna", "blue eyes")


def test_name_comes_first() -> None:
    page = adapter(("long hair", "umbrella", "Yor Briar"), title="Yor Briar | Spy x Family")
    assert fitting(page, "in the snow") == ("Yor Briar", "long hair", "umbrella")


def test_whole_prompt_is_cut_to_the_name_and_what_belongs_to_it() -> None:
    page = adapter(("foxy", "snow", "forest", "1girl", "from behind", "blue eyes", "hat", "sitting"), title="Foxy")
    assert fitting(page, "in a forest of snow") == ("foxy", "blue eyes", "hat")


def test_style_adds_no_persons_looks_and_few_words() -> None:
    page = adapter(("kpart", "hat", "beard", "ink", "wash", "mural", "temple"), category="style", title="Mural")
    assert fitting(page, "a castle") == ("mural",)
    page = adapter(("ink", "wash", "drops", "splash"), category="style")
    assert fitting(page, "a castle") == ("ink", "wash", "drops")


def test_clothes_are_added_whatever_else_is_worn() -> None:
    page = adapter(("wifs",), category="clothing", title="Saree")
    assert fitting(adapter(("blindmask", "mask"), category="clothing", title="BlindMask"), "a gothic dress") == (
        "blindmask",
        "mask",
    )
    assert fitting(page, "a gothic dress") == ("wifs",)


@pytest.mark.parametrize(
    "phrase",
    [
        "check my prompt for the details",
        "which can add some warmth and shine to the whole kitchen",
        "<lora:me:9>",
        "a" * 100,
        "123",
        "character (series)",
        "…",
        "",
    ],
)
def test_what_is_no_phrase_is_never_added(phrase: str) -> None:
    assert fitting(adapter((phrase,), ("foxy",)), "a castle") == ("foxy",)


def test_hostile_phrase_is_made_plain() -> None:
    page = adapter(("foxy\n\u202e<lora:x:9> \ud800fur",))
    assert fitting(page, "a castle") == ("foxy fur",)


def test_no_triggers_add_nothing() -> None:
    assert fitting(adapter(), "a fox") == ()


# ---------------------------------------------------------------- whether at all


@pytest.mark.parametrize(
    ("category", "about", "needed"),
    [
        ("tool", None, False),
        ("character", "No trigger words needed.", True),
        ("style", None, True),
        ("style", "Trigger words: inkwash", True),
        ("style", "There is no trigger word, but I recommend pixel art", False),
        ("style", "Works well without any trigger word.", False),
        ("style", "This version doesn't require any trigger words", False),
        ("background", "Trigger word isn't necessary", False),
        ("style", "trigger words are not required at all", False),
        ("style", "You don't need trigger words", False),
        ("style", "You need the trigger word, no exceptions", True),
    ],
)
def test_need_for_a_trigger(category: str, about: str | None, needed: bool) -> None:
    page = adapter(("inkwash",), category=category, about=about)
    assert needs_trigger(page) is needed
    assert fitting(page, "a castle") == (("inkwash",) if needed else ())


def test_category_is_told_from_the_record_where_no_describer_has() -> None:
    page = adapter(("more_details",), category=None, title="Add More Details - Detail Enhancer / Tweaker LoRA")
    assert not needs_trigger(page)


# ---------------------------------------------------------------- room


def words_of(text: str) -> int:
    return len(text.replace(",", " ").split())


def test_room_is_shared_by_need() -> None:
    one, other = adapter(("anna", "red", "crown")), adapter(("bob", "blue", "scarf"))
    prompt = "two of them"
    assert share_room(prompt, [one, other], room=3 + 6, count=words_of) == (("anna", "red"), ("bob",))
    assert share_room(prompt, [one, other], room=3 + 8, count=words_of) == (("anna", "red"), ("bob", "blue"))
    assert share_room(prompt, [one, other]) == (("anna", "red", "crown"), ("bob", "blue", "scarf"))


def test_suffix_takes_room() -> None:
    page = adapter(("anna", "red"))
    assert share_room("a b", [page], room=6, count=words_of) == (("anna", "red"),)
    assert share_room("a b", [page], room=6, count=words_of, suffix="realistic") == (("anna",),)


def test_prompt_longer_than_clip_reads_gets_the_names_alone() -> None:
    prompt = ", ".join(f"word{number}" for number in range(90))
    assert estimate_tokens(prompt) > ROOM
    assert share_room(prompt, [adapter(("anna", "red")), adapter(("bob",))]) == (("anna",), ("bob",))


def test_shared_phrase_is_given_to_both_and_takes_room_once() -> None:
    pages = [adapter(("ink", "wash")), adapter(("ink", "brush"))]
    assert share_room("a b", pages, room=2 + 2 + 2 + 2, count=words_of) == (("ink", "wash"), ("ink", "brush"))


def test_tags_of_adapters_take_no_room() -> None:
    page = adapter(("anna", "red"))
    assert share_room("a b <lora:very-long-name:0.8>", [page], room=6, count=words_of) == (("anna", "red"),)


@pytest.mark.parametrize(
    ("text", "tokens"),  # what CLIP's own tokenizer makes of them
    [
        ("a photo of a cat", 5),
        ("masterpiece, best quality, 1girl, solo, looking at viewer", 13),
        ("hatsune miku, twintails", 6),
        ("an astronaut riding a horse, digital art", 8),
        ("", 0),
        ("山水画", 7),
    ],
)
def test_estimate_of_tokens_errs_high(text: str, tokens: int) -> None:
    assert tokens <= estimate_tokens(text) <= 1.5 * tokens + 3


# ---------------------------------------------------------------- checkpoints


@pytest.mark.parametrize(
    ("model", "suffix"),
    [
        ("/models/realisticVisionV60B1_v51VAE.safetensors", "realistic, high quality"),
        ("SG161222/Realistic_Vision_V6.0_B1_noVAE", "realistic, high quality"),
        ("C:\\models\\counterfeitV30_v30.safetensors", "anime style, high quality"),
        ("gsdf/Counterfeit-V3.0/", "anime style, high quality"),
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", ""),
        ("/home/anime/sd15", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_checkpoint_is_held_to_its_own_look(model: str | None, suffix: str) -> None:
    assert debias(model) == suffix
