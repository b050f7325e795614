"""The documentation as a site: every page is in the navigation, every link and anchor leads somewhere.

Nothing of mkdocs is needed here: `make docs` builds the site with it, strictly.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
import yaml

from velatura.cli import app
from velatura.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
NAMES = [str(page.relative_to(DOCS)) for page in PAGES]


def generator(name: str) -> ModuleType:
    """Load a script of docs/generate, which is no part of the package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / "generate" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def pages_of(nav: Any) -> Iterator[str]:
    """Yield the pages of the navigation."""
    for entry in nav:
        for what in entry.values():
            yield from [what] if isinstance(what, str) else pages_of(what)


def test_every_page_is_in_the_navigation_once() -> None:
    found = list(pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))
    assert sorted(found) == NAMES


def test_the_site_fetches_nothing() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert settings["theme"]["font"] is False
    assert not any("//" in str(settings.get(kind)) for kind in ("extra_javascript", "extra_css"))
    assert not any("http" in str(line) for line in settings["plugins"])


# -------------------------------------------------------------------- links


def slug(heading: str) -> str:
    """Return a heading's anchor, as GitHub and Python-Markdown both make it of plain words."""
    bare = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).replace("`", "")
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", bare).strip().lower())


@cache
def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


@cache
def anchors(page: Path) -> frozenset[str]:
    return frozenset(slug(heading) for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE))


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_pages_and_headings(name: str) -> None:
    page = DOCS / name
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.is_file(), f"{name} links to {target}, which is not there"
        assert other.is_relative_to(DOCS), f"{name} links to {target}, which the site does not hold"
        if anchor:
            assert anchor in anchors(other), f"{name} links to {target}; there are {sorted(anchors(other))}"


@pytest.mark.parametrize("name", NAMES)
def test_headings_of_a_page_have_different_anchors(name: str) -> None:
    headings = [slug(heading) for heading in re.findall(r"^#+ (.+)$", prose(DOCS / name), re.MULTILINE)]
    assert len(headings) == len(set(headings))


# -------------------------------------------------------------------- commands


def commands(group: Any, before: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return the commands by the words that call them."""
    found: dict[tuple[str, ...], Any] = {}
    for name, command in group.commands.items():
        words = (*before, name)
        found |= commands(command, words) if hasattr(command, "commands") else {words: command}
    return found


COMMANDS = commands(typer.main.get_command(app))


CALL = re.compile(r"(?:[A-Z_]+=\S+ )*velatura [a-z]")


def calls(page: Path) -> Iterator[list[str]]:
    """Yield the words of every line of code that calls the program, in blocks and between backticks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in typed(block.splitlines())]
    lines += re.findall(r"^    (.+)$", prose(page), re.MULTILINE)
    lines += re.findall(r"`([^`\n]+)`", prose(page))
    for line in lines:
        for part in re.split(r"\s(?:&&|\|)\s", line):
            if CALL.match(part):
                yield shlex.split(part, comments=True)


def typed(block: list[str]) -> list[str]:
    """Return what a person types of a block: what stands behind $, else all of it if it begins with a call."""
    if any(line.startswith("$ ") for line in block):
        return [line.removeprefix("$ ") for line in block if line.startswith("$ ")]
    return block if block and re.match(r"(?:[A-Z_]+=\S+ )*(?:velatura|export|python|pip|make) ", block[0]) else []


@pytest.mark.parametrize("name", NAMES)
def test_commands_that_are_shown_exist_with_their_options(name: str) -> None:
    for words in calls(DOCS / name):
        given = words[next(place for place, word in enumerate(words) if word == "velatura") + 1 :]
        length = next((n for n in (3, 2, 1) if tuple(given[:n]) in COMMANDS), 0)
        if (
            not length
            and all(word.isalpha() for word in given)
            and any(key[: len(given)] == tuple(given) for key in COMMANDS)
        ):
            continue  # a group of commands, named as a whole
        assert length, f"{name}: there is no command in {' '.join(words)}"
        known = {
            option
            for parameter in COMMANDS[tuple(given[:length])].params
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        asked = {word.partition("=")[0] for word in given[length:] if re.match(r"--?[a-zA-Z]", word)}
        assert asked <= known | {"--help"}, f"{name}: {' '.join(words)}"


# -------------------------------------------------------------------- what is generated


def test_settings_page_is_what_the_generator_writes() -> None:
    # After a change of settings.py: python docs/generate/settings.py
    settings = generator("settings")
    page = settings.PAGE.read_text(encoding="utf-8")
    assert settings.renewed(page) == page
    assert all(f"\n| `{name}` | " in page for name in Settings.model_fields)


def test_settings_page_holds_no_folder_of_whoever_made_it() -> None:
    assert str(Path.home()) not in generator("settings").tables()


def test_a_setting_without_a_docstring_is_told() -> None:
    with pytest.raises(ValueError, match="most has no docstring"):
        generator("settings").told(
            "class S:\n    # Group\n    most: int = 3\n    least: int = 1\n    '''The least.'''\n"
        )


OPENAPI = {
    "paths": {
        "/compose": {
            "post": {
                "tags": ["Velatura"],
                "description": "Choose adapters.",
                "parameters": [
                    {
                        "name": "seed",
                        "in": "query",
                        "schema": {"type": "integer", "minimum": 0, "exclusiveMaximum": 2**63, "default": 7},
                    }
                ],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Question"}}}},
                "responses": {
                    "200": {"description": "Chosen.", "content": {"application/json": {"schema": {"type": "object"}}}},
                    "422": {"description": "It is wrong."},
                },
            }
        },
        "/health": {"get": {"summary": "Is it there?", "responses": {"200": {"description": "It is."}}}},
    },
    "components": {
        "schemas": {
            "Question": {
                "description": "What is asked.",
                "required": ["prompt"],
                "properties": {
                    "prompt": {"type": "string", "description": "Words | and <b>marks</b>."},
                    "most": {"anyOf": [{"type": "integer", "maximum": 20}, {"type": "null"}]},
                },
            }
        }
    },
}


def test_page_of_the_http_api_tells_routes_and_schemas() -> None:
    text = generator("http_api").reference(OPENAPI)
    assert re.findall(r"^##+ .+$", text, re.MULTILINE) == [
        "## Velatura",
        "### POST /compose",
        "## Further",
        "### GET /health",
        "## Errors",
        "## What goes in and comes out",
        "### Question",
    ]
    assert "| `seed` | integer from 0, in the query | `7` |  |" in text
    assert "Takes [Question](#question) (`application/json`)." in text
    assert "Gives object (`application/json`): Chosen." in text
    assert "Errors: `422`." in text
    assert "| `422` | It is wrong. |" in text
    assert "| `prompt` | text | needed | Words \\| and &lt;b>marks&lt;/b>. |" in text
    assert "| `most` | integer to 20, or null |" in text


def test_page_of_the_http_api_is_filled_and_no_other() -> None:
    class Page:
        class file:  # noqa: N801 - as mkdocs has it
            src_uri = "cli.md"

    api = generator("http_api")
    assert api.on_page_markdown("as it is", page=Page()) == "as it is"
    assert api.MARK in (DOCS / api.PAGE).read_text(encoding="utf-8")
    Page.file.src_uri = api.PAGE
    with pytest.raises(ValueError, match="lacks the mark"):
        api.on_page_markdown("no mark", page=Page())
