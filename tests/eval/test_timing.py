from __future__ import annotations

from itertools import count

import pytest

from velatura.eval.anchors import anchors
from velatura.eval.plots import stacked_figure
from velatura.eval.timing import Stopwatch, Times, overhead, overheads, stacks_of, timings_of

MEASURED = (
    Times(stage="retrieve", seconds=(1.0, 1.1, 5.0)),
    Times(stage="compose", seconds=(8.5,), tokens=20_000.0, cost=0.02),
    Times(stage="load", seconds=(2.4, 2.5), warm=False),
    Times(stage="load", seconds=(0.5, 0.5), warm=True),
    Times(stage="added", seconds=(12.0, 12.1, 99.0), warm=False),
    Times(stage="added", seconds=(10.0, 10.1, 10.2), warm=True),
    Times(stage="base", seconds=(16.0,), batch=1),
    Times(stage="base", seconds=(44.0, 44.0), batch=4),
    Times(stage="generate", seconds=(17.0,), batch=1),
    Times(stage="generate", seconds=(45.0,), batch=4),
)


def test_the_papers_overheads_come_out_of_its_seconds() -> None:
    table = anchors()["stylus-time"]
    told = []
    for row in table.rows:
        values = row.values
        added = values["retrieve"] + values["compose"] + values["load"]
        assert added == pytest.approx(12.1)
        assert round(overhead(added, values["generate"]), 1) == values["overhead"]
        told.append(values["overhead"])
    assert told == [75.6, 48.4, 27.5]


def test_medians_and_quartiles_are_not_moved_by_one_slow_time() -> None:
    one = Times(stage="retrieve", seconds=(1.0, 2.0, 3.0, 4.0, 900.0))
    assert (one.median, one.quartiles, one.n) == (3.0, (2.0, 4.0), 5)


def test_what_is_added_is_told_for_each_batch_cold_and_warm() -> None:
    found = {(one.batch, one.warm): round(one.percent, 1) for one in overheads(MEASURED)}
    assert found == {(1, False): 75.6, (1, True): 63.1, (4, False): 27.5, (4, True): 23.0}


def test_a_stopwatch_waits_for_the_device_before_and_after() -> None:
    clock, happened = count(10.0), []
    watch = Stopwatch(settle=lambda: happened.append("rest"), now=lambda: (happened.append("clock"), next(clock))[1])
    seconds, result = watch.time(lambda: happened.append("work") or "done")
    assert (seconds, result) == (1.0, "done")
    assert happened == ["rest", "clock", "work", "rest", "clock"]


def test_a_report_gets_rows_of_every_batch_with_tokens_and_the_base_apart() -> None:
    rows = timings_of(MEASURED, "velatura", baseline="bare")
    told = {(one.method, one.stage, one.batch, one.warm): one for one in rows}
    assert len(told) == len(rows) == 6 * 2 + 4
    assert told["bare", "generate", 4, None].median == 44.0
    assert told["velatura", "generate", 4, None].n == 1
    compose = told["velatura", "compose", 1, None]
    assert (compose.tokens, compose.cost, compose.low, compose.high) == (20_000.0, 0.02, 8.5, 8.5)
    assert told["velatura", "load adapters", 4, True].median == 0.5
    assert told["velatura", "retrieve", 1, None] != told["velatura", "retrieve", 4, None]


def test_a_figure_has_a_bar_without_and_one_cold_and_warm_for_each_batch() -> None:
    pytest.importorskip("matplotlib")
    stacks = stacks_of(MEASURED)
    assert [stack.label for stack in stacks] == [
        "batch 1, without", "batch 1, cold", "batch 1, warm", "batch 4, without", "batch 4, cold", "batch 4, warm",
    ]  # fmt: skip
    assert sum(seconds for _, seconds in stacks[0].parts) == 16.0
    assert dict(stacks[1].parts) == {"retrieve": 1.1, "compose": 8.5, "load adapters": 2.45, "generate": 17.0}
    assert "75.6 %" in stacks[1].text
    assert "75.6 %" in stacked_figure(stacks, title="time").svg()
