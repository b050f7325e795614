"""What is a line of settings, and what is prose."""

from __future__ import annotations

from velatura.parameters import parse_parameters


def test_colons_and_commas_alone_are_prose() -> None:
    text = "the fox: red, style: ink, time: night"
    assert parse_parameters(text) == {"prompt": text, "negative": "", "adapters": [], "settings": {}}


def test_one_telling_field_makes_a_line_of_settings() -> None:
    read = parse_parameters("a fox\nSteps: 20, Mood: dark, Extra: yes")
    assert (read["prompt"], read["settings"]) == ("a fox", {"Steps": "20", "Mood": "dark", "Extra": "yes"})
