"""What strangers wrote is shown as they wrote it, and steers no terminal."""

from __future__ import annotations

import json
import re

import pytest

from velatura.commands.screen import print_adapter, print_composition, print_rejections, print_story
from velatura.plain import to_plain
from velatura.records import (
    AdapterRecord,
    Choice,
    Composition,
    GenerationRequest,
    RefinedAdapter,
    Refinement,
    Rejection,
)

HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b1m:heart: [red]x[/] [/nothing] \ud800\r狐\ttab"
SHOWN = "]0;title[2J1m:heart: [red]x[/] [/nothing] \ufffd狐"


def record() -> AdapterRecord:
    return AdapterRecord(source="folder", key="k", title=HOSTILE, notes=HOSTILE, provenance=(("notes", HOSTILE),))


def request() -> GenerationRequest:
    choice = Choice(adapter=record(), weight=1.0, span=HOSTILE, triggers=(HOSTILE,), reason=HOSTILE)
    composition = Composition(prompt=HOSTILE, choices=(choice,))
    return GenerationRequest(composition=composition, model=HOSTILE, backend=HOSTILE, scheduler=HOSTILE)


def check(text: str, times: int) -> None:
    assert not set(text) & set("\x1b\x07\x9b\r")
    assert text.count(SHOWN) == times
    text.encode()


def test_adapters_of_strangers_are_shown_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    print_adapter(RefinedAdapter(id=1, record=record()), others=(), as_json=False)
    check(capsys.readouterr().out, 3)
    print_composition(request().composition)
    check(capsys.readouterr().out, 4)
    print_rejections([Rejection(source="s", locator=HOSTILE, reason=HOSTILE)], as_json=False)
    check(capsys.readouterr().out, 2)


def test_what_a_describer_said_is_shown_with_who_said_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    said = Refinement(
        description="paints red foxes",
        category="animal",
        facets=(("subject", "a red fox"), ("mood", HOSTILE)),
        avoid="wolves",
        triggers=(("foxy", "red fox"), ("vixen",)),
        weight=0.7,
        evidence="the page",
        writer="vlm 3: stand-in",
    )
    print_adapter(RefinedAdapter(id=1, record=record(), refinement=said), others=(), as_json=False)
    text = capsys.readouterr().out
    check(text, 4)
    for row in (
        "what it is +animal", "subject +a red fox", "what it does +paints red foxes", "not for +wolves",
        r"worth using +foxy, red fox \| vixen", r"lay it on at +0\.7 \(the page\)", "described by +vlm 3: stand-in",
    ):  # fmt: skip
        assert re.search(rf"^{row}\s*$", text, re.MULTILINE)
    print_adapter(RefinedAdapter(id=1, record=record()), others=(), as_json=False)
    assert "described by" not in capsys.readouterr().out


def test_stories_of_strangers_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    settings = {HOSTILE: HOSTILE}
    story = {"seed": HOSTILE, "request": to_plain(request()), "parameters": {"prompt": HOSTILE, "settings": settings}}
    print_story(story, as_json=False)
    check(capsys.readouterr().out, 12)


def test_programs_read_back_what_strangers_wrote(capsys: pytest.CaptureFixture[str]) -> None:
    print_story({"seed": HOSTILE}, as_json=True)
    text = capsys.readouterr().out
    text.encode()
    assert "狐" in text
    assert json.loads(text) == {"seed": HOSTILE}
