"""Ray: on two nodes, with a worker killed and a node taken away in the middle, all is as it is on one machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from velatura.playground.library import weights_folder

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed"),
    pytest.mark.skipif(sys.platform != "linux", reason="the scenario reads /proc"),
    pytest.mark.skipif(weights_folder() is None, reason="the playground's models are not part of this installation"),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the scenario did, on this machine alone (`local`) and on the cluster (`ray`)."""
    # Short, since the paths of sockets are.
    folder = tmp_path_factory.mktemp("ray")
    script = Path(__file__).with_name("ray_scenario.py")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VELATURA_")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script, folder],
        capture_output=True, text=True, timeout=1200, cwd=folder, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_vectors_are_the_same_bytes(told: dict[str, Any]) -> None:
    here, there = told["local"]["embed"], told["ray"]["embed"]
    assert len(here["of"]) == 128
    assert here["of"] == there["of"]
    assert here["done"] == there["done"]


def test_a_worker_killed_in_the_middle_costs_its_own_batch(told: dict[str, Any]) -> None:
    here, there = told["local"]["vlm"], told["ray"]["vlm"]
    assert len(here["of"]) == 128
    assert here["of"] == there["of"]
    assert here["told"] == there["told"]
    assert there["lost"] == 1
    assert there["repeated"] <= 1
    assert here["asked"] == 64
    assert there["asked"] <= 64 + 2  # of a batch of two


def test_workers_read_the_key_of_their_own_node_and_ray_writes_it_down_nowhere(told: dict[str, Any]) -> None:
    assert told["ray"]["vlm"]["keys"] == [f"Bearer {told['secret']}"]
    assert told["ray"]["leaked"] == []


def test_a_node_taken_away_in_the_middle_costs_its_own_batch(told: dict[str, Any]) -> None:
    here, there = told["local"]["run"], told["ray"]["run"]
    assert here["of"]["files"] == there["of"]["files"]
    assert here["of"]["manifest"] == there["of"]["manifest"]
    assert here["painted"] == there["painted"] == len(there["of"]["manifest"]) == 12
    assert here["failed"] == there["failed"] == []
    assert all(line.startswith("note: no worker is open yet") for line in there["stderr"].splitlines())
    # Both workers had batches when it happened, and some were done.
    assert min(there["had"]) > 0
    assert there["lost"] >= 1
    assert there["repeated"] <= 1


def test_batches_of_the_same_adapters_go_to_the_same_worker(told: dict[str, Any]) -> None:
    # Three sets: the last may be shared in the end, and the lost worker's is laid once more, and perhaps the next.
    assert 3 <= told["ray"]["run"]["swaps"] <= 6


def test_features_are_the_same_bytes(told: dict[str, Any]) -> None:
    here, there = told["local"]["extract"], told["ray"]["extract"]
    assert here["features"]
    assert here["features"] == there["features"]
    assert here["told"] == there["told"]


def test_a_cluster_that_was_started_for_a_command_ends_with_it(told: dict[str, Any]) -> None:
    started = told["ray"]["started"]
    assert (started["told"], started["stderr"]) == (0, "")
    assert started["of"] == told["local"]["card"]["of"]
    assert started["left"] == []
    assert started["folders"] == []
