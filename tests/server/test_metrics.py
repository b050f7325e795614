"""What a collector is told: every request under its route's own name, jobs, pictures and memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from velatura.records import Usage

TOKEN = "a-token-that-nobody-guesses"
PATIENCE = 180
"""Seconds for what takes ten on a machine with nothing else to do: the first request has models opened."""


@pytest.fixture(scope="module")
def collected(serve: Any) -> Any:
    """A server of whose requests this file alone decides."""
    return serve(queue=7)


def told(server: Any) -> dict[str, Any]:
    """Return each metric's samples: value by labels."""
    answer = requests.get(f"{server.url}/metrics", timeout=PATIENCE)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    found: dict[str, Any] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def counted(metrics: dict[str, Any], route: str, method: str, status: int) -> float:
    labels = (("method", method), ("route", route), ("status", str(status)))
    return float(metrics.get("velatura_requests_total", {}).get(labels, 0))


def test_requests_are_counted_by_route_and_never_by_what_a_client_wrote(collected: Any) -> None:
    url = collected.url
    for path in ("/adapters/1", "/adapters/2", "/adapters/999", "/adapters/x", "/secret/path", "/jobs/secret"):
        requests.get(f"{url}{path}", timeout=PATIENCE)
    requests.request("BREW", f"{url}/health", timeout=PATIENCE)
    requests.get(f"{url}/health", headers={"Host": "evil.example"}, timeout=PATIENCE)
    metrics = told(collected)
    assert counted(metrics, "/adapters/{number}", "GET", 200) == 2
    assert counted(metrics, "/adapters/{number}", "GET", 404) == 1
    assert counted(metrics, "/adapters/{number}", "GET", 422) == 1
    assert counted(metrics, "/jobs/{number}", "GET", 404) == 1
    assert counted(metrics, "other", "GET", 404) == 1
    assert counted(metrics, "other", "GET", 403) == 1
    assert "secret" not in str(metrics)
    assert "BREW" not in str(metrics)
    seconds = metrics["velatura_request_seconds_count"]
    assert seconds[("route", "/adapters/{number}"),] == 4


def test_jobs_pictures_and_memory_are_told(collected: Any) -> None:
    body = {"prompt": "a red rocket", "count": 2, "steps": 1}
    before = told(collected)
    number = requests.post(f"{collected.url}/generate", json=body, timeout=PATIENCE).json()["job"]["id"]
    assert collected.studio.jobs.get(number).wait(PATIENCE)
    after = told(collected)

    def grown(name: str, *labels: tuple[str, str]) -> float:
        return float(after[name][labels] - before[name][labels])

    assert grown("velatura_jobs_total", ("state", "done")) == 1
    assert grown("velatura_jobs_total", ("state", "failed")) == 0
    assert grown("velatura_pictures_total") == 2
    assert grown("velatura_kept_pictures") == 2
    assert grown("velatura_kept_bytes") == collected.studio.shelf.size > 0
    assert grown("velatura_painting_seconds_total") > 0
    assert after["velatura_jobs_waiting"][()] == after["velatura_jobs_painting"][()] == 0
    assert after["process_resident_memory_bytes"][()] > 0


def test_what_a_language_model_took_is_told_once_it_was_asked(collected: Any) -> None:
    assert not [name for name in told(collected) if "language_model" in name]
    velatura = collected.studio.velatura
    vars(velatura)["language_model"] = SimpleNamespace(usage=Usage(calls=2, read=700, cached=512, written=20))
    try:
        metrics = told(collected)
    finally:
        del vars(velatura)["language_model"]
    assert metrics["velatura_language_model_calls_total"] == {(): 2}
    assert metrics["velatura_language_model_tokens_total"][("kind", "cached"),] == 512
    assert "velatura_language_model_cost_total" not in metrics


def test_a_collector_on_this_machine_needs_no_token(serve: Any) -> None:
    told(serve(token=TOKEN))


def test_elsewhere_it_needs_the_token(serve: Any) -> None:
    server = serve(token=TOKEN, host="0.0.0.0")
    assert requests.get(f"{server.url}/metrics", timeout=PATIENCE).status_code == 401
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert requests.get(f"{server.url}/metrics", headers=bearer, timeout=PATIENCE).status_code == 200


def test_health_needs_nothing(serve: Any) -> None:
    told_health = requests.get(f"{serve(token=TOKEN).url}/health", timeout=PATIENCE).json()
    assert told_health["status"] == "ok"
    assert told_health["adapters"] == 34
    assert told_health["model"] == "base"
