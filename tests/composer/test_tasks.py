"""A prompt cut into tasks."""

from __future__ import annotations

import pytest

from velatura.composer.tasks import tasks
from velatura.syntax import plain_text


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("1girl, red jacket, city at night", ("1girl", "red jacket", "city", "night")),
        ("A cat sleeps on the old sofa, and a dog watches it.", ("cat sleeps", "old sofa", "dog watches")),
        ("a red fox in snow", ("red fox", "snow")),
        ("the Eiffel Tower", ("Eiffel Tower",)),
        ("<lora:fox:0.8>, ((deep snow)), [mist]", ("deep snow", "mist")),
        ("fox, Fox, fox", ("fox", "Fox")),
        ("masterpiece, best quality, 8k, highly detailed", ()),
        ("", ()),
        (", ,, . (((", ()),
        ("of the with a", ()),
    ],
)
def test_prompt_is_cut_at_commas_and_at_words_that_join(prompt: str, expected: tuple[str, ...]) -> None:
    assert tasks(prompt) == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("一幅水墨山水画，远山", ("一幅水墨山水画", "远山")),
        ("雪の中の狐、夜の街", ("雪の中の狐", "夜の街")),
        ("눈 속의 여우, 수묵화", ("눈 속의 여우", "수묵화")),
        ("Рыжая лиса, снег", ("Рыжая лиса", "снег")),
        ("Café, naïve Malerei", ("Café", "naïve Malerei")),
    ],
)
def test_tasks_of_other_languages_are_told_as_written(prompt: str, expected: tuple[str, ...]) -> None:
    assert tasks(prompt) == expected


def test_tasks_are_the_users_own_words() -> None:
    prompt = "A Red_Fox (in Deep   snow:1.3), {ink|oil} painting of it, \\(animal\\), 1.2::mist::"
    assert tasks(prompt)
    assert all(task in plain_text(prompt) for task in tasks(prompt))


def test_long_prompts_have_forty_tasks() -> None:
    assert tasks(", ".join(f"thing{number}" for number in range(5000))) == tuple(f"thing{n}" for n in range(40))
