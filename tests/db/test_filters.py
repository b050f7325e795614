"""Filters let through exactly what they say."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from velatura.db import Store
from velatura.errors import InputError
from velatura.families import support
from velatura.records import AdapterRecord, Filter, Licence

FAMILIES = ("sd1", "sd2", "sdxl", "pony", "flux1", "other", "unknown")
KINDS = ("lora", "locon", "embedding")
USES = ("image", "rentcivit", "rent", "sell")
FLAGS = st.sampled_from([None, True, False])

records = st.builds(
    AdapterRecord,
    source=st.just("folder"),
    key=st.just("set later"),
    title=st.just("any"),
    path=st.sampled_from([None, "/a"]),
    family=st.sampled_from(FAMILIES),
    kind=st.sampled_from(KINDS),
    nsfw=st.sampled_from([None, 0, 1, 2, 3, 4, 28, 32, 2**31, 2**90, -1]),
    licence=st.builds(Licence, commercial=st.none() | st.lists(st.sampled_from(USES), unique=True).map(tuple)),
    real_person=FLAGS,
    minor=FLAGS,
)
filters = st.builds(
    Filter,
    family=st.none() | st.sampled_from(FAMILIES),
    partial=st.booleans(),
    unknown_family=st.booleans(),
    nsfw=st.sampled_from([None, 0, 1, 3, 7, 63, -1, 2**80]),
    commercial=st.none() | st.sampled_from(USES),
    kinds=st.lists(st.sampled_from(KINDS), max_size=2).map(tuple),
    installed=st.booleans(),
    real_people=st.booleans(),
    blocked=st.lists(st.sampled_from([1, 2, 3, 99, 0, -5, 2**80]), max_size=3).map(tuple),
)


def reason_against(number: int, record: AdapterRecord, wanted: Filter) -> str | None:
    """The same rules, said once more in Python."""
    if record.minor is True:
        return "minor"
    if wanted.installed and record.path is None:
        return "installed"
    if wanted.family is not None:
        level = support(record.family, wanted.family, kind=record.kind)
        levels = {"full", "partial"} if wanted.partial else {"full"}
        if level not in levels and not (record.family == "unknown" and wanted.unknown_family):
            return "family"
    if wanted.kinds and record.kind not in wanted.kinds:
        return "kinds"
    if wanted.nsfw is not None:
        rating = record.nsfw
        is_rated = rating is not None and 0 < rating < 2**31
        if not is_rated or rating & ~wanted.nsfw:
            return "nsfw"
    if wanted.commercial is not None and wanted.commercial not in (record.licence.commercial or ()):
        return "commercial"
    if not wanted.real_people and record.real_person is True:
        return "real_people"
    return "blocked" if number in wanted.blocked else None


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A catalogue whose content each example replaces."""
    from velatura.db import open_store

    with open_store(tmp_path_factory.mktemp("filters") / "catalogue.db") as store:
        yield store


@given(given_records=st.lists(records, min_size=1, max_size=25), wanted=st.lists(filters, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_passes_is_what_the_rules_say(shelf: Store, make, given_records, wanted):
    numbered = [replace(record, key=f"{n}") for n, record in enumerate(given_records)]
    shelf.sync(make.source([make.entry(record.key, record, stamp=repr(record)) for record in numbered]))
    known = {adapter.record.key: adapter for adapter in shelf.adapters(range(1, 100))}
    present = {known[record.key].id: record for record in numbered}
    hidden = len(known) - len(present)
    assert shelf.select(Filter()).tolist() == [n for n, record in present.items() if record.minor is not True]
    for one in wanted:
        reasons = {n: reason_against(n, record, one) for n, record in present.items()}
        assert shelf.select(one).tolist() == sorted(n for n, reason in reasons.items() if reason is None)
        counted = Counter(reason for reason in reasons.values() if reason)
        assert shelf.excluded(one) == counted + Counter({"missing": hidden})


def test_names_that_do_not_exist_are_refused(store: Store):
    with pytest.raises(InputError, match="'sd15' is no base family; the families are sd1, "):
        store.select(Filter(family="sd15"))
    with pytest.raises(InputError, match="'print' is no commercial use; the uses are image, "):
        store.excluded(Filter(commercial="print"))


def test_thousands_may_be_blocked(store: Store, make):
    store.sync(make.source([make.file("a"), make.file("b")]))
    assert store.select(Filter(blocked=(*range(2, 100_000), 2**70, -1))).tolist() == [1]
