from __future__ import annotations

import pytest

from velatura.catalog.nsfw import read_nsfw, worst


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (1, 1),
        (7, 7),
        (32, 32),
        (63, 63),
        (4.0, 4),
        ("4", 4),
        ("None", 1),
        ("soft", 2),
        ("Mature", 4),
        ("X", 24),
        ("Blocked", 32),
    ],
)
def test_levels_of_every_form_are_read(value: object, bits: int) -> None:
    assert read_nsfw(value) == bits


@pytest.mark.parametrize(
    "value", [0, None, "", "?", "0", "64", "²", 64, -1, 2**70, 4.5, float("nan"), float("inf"), [], {}]
)
def test_unrated_and_nonsense_are_unknown(value: object) -> None:
    assert read_nsfw(value) is None


def test_a_flag_is_no_fine_rating() -> None:
    # A filter for PG alone must not let "not NSFW" through, and one up to R must not let "NSFW" through.
    assert read_nsfw(False) & ~1
    assert read_nsfw(True) & ~(1 | 2 | 4)


def test_the_worst_ignores_what_is_unrated() -> None:
    assert worst([None, 1, 4]) == 5
    assert worst([]) is None
