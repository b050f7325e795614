"""What is silenced for all threads stays so while any needs it, and is as it was when none does."""

from __future__ import annotations

import threading
import warnings
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import pytest
from diffusers.utils import logging as diffusers_logging

from velatura.generation.checkpoint import quiet
from velatura.generation.schedulers import without_numpy_warning
from velatura.generation.shared_settings import Shared

SAID = "__array__ implementation doesn't accept a copy keyword"


def crossed(one: AbstractContextManager[Any], other: AbstractContextManager[Any], between: Any) -> None:
    """Enter the first, then the second in another thread, and leave the first before the second."""
    entered, left = threading.Event(), threading.Event()

    def second() -> None:
        with other:
            entered.set()
            left.wait(10)
            between()

    thread = threading.Thread(target=second)
    with one:
        thread.start()
        assert entered.wait(10)
    left.set()
    thread.join()


def test_the_last_to_leave_undoes_what_the_first_did() -> None:
    told: list[str] = []

    def change() -> Any:
        told.append("changed")
        return lambda: told.append("undone")

    shared = Shared(change)
    crossed(shared.held(), shared.held(), lambda: told.append("still"))
    assert told == ["changed", "still", "undone"]
    with pytest.raises(KeyError), shared.held():
        raise KeyError
    assert told[3:] == ["changed", "undone"]


def test_two_threads_leave_reports_and_filters_as_they_were() -> None:
    filters, level = list(warnings.filters), diffusers_logging.get_verbosity()
    found: list[int] = []
    crossed(quiet(), quiet(), lambda: found.append(diffusers_logging.get_verbosity()))
    assert found == [diffusers_logging.ERROR]
    assert diffusers_logging.get_verbosity() == level
    crossed(without_numpy_warning(), without_numpy_warning(), lambda: warnings.warn(SAID, DeprecationWarning, 1))
    assert warnings.filters == filters
    with pytest.warns(DeprecationWarning, match="__array__"):
        warnings.warn(SAID, DeprecationWarning, 1)


def test_filters_that_were_added_since_do_not_come_before_ours_nor_are_they_lost() -> None:
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        with without_numpy_warning():
            warnings.simplefilter("error")
            added = warnings.filters[0]
            with without_numpy_warning():
                warnings.warn(SAID, DeprecationWarning, 1)
        assert added in warnings.filters
        with pytest.raises(DeprecationWarning):
            warnings.warn(SAID, DeprecationWarning, 1)


def test_a_filter_of_the_callers_own_stays() -> None:
    with warnings.catch_warnings():
        said = r"__array__ implementation doesn't accept a copy|__array_wrap__ must accept context"
        warnings.filterwarnings("ignore", said, DeprecationWarning)
        own = list(warnings.filters)
        with without_numpy_warning():
            pass
        assert warnings.filters == own
