"""Counts and times of what the server does, for Prometheus: by route, never by what a client wrote."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .studio import Studio

_BUCKETS: Final = (0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)
"""Seconds."""
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER: Final = "other"
"""The route of what no route is for, and of what the guard refused."""


class Metrics:
    """The counts and times of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("route", "method", "status")
        self.requests = Counter("velatura_requests", "Requests that were answered.", labels, registry=self.registry)
        self.seconds = Histogram(
            "velatura_request_seconds",
            "Seconds until an answer began.",
            ("route",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def watch(self, studio: Studio) -> None:
        """Also tell of the jobs and pictures of a studio, and of what its language model was asked."""
        self.registry.register(_Painted(studio))
        self.registry.register(_Asked(studio))


class _Painted(Collector):
    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def collect(self) -> Iterator[Metric]:
        """Yield what the jobs and the shelf tell now."""
        jobs, shelf = self._studio.jobs, self._studio.shelf
        ended = CounterMetricFamily("velatura_jobs", "Jobs that ended, by how.", labels=["state"])
        for state, count in jobs.counts.items():
            ended.add_metric([state], count)
        yield ended
        yield CounterMetricFamily("velatura_pictures", "Pictures that were painted.", value=jobs.pictures)
        yield CounterMetricFamily(
            "velatura_painting_seconds", "Seconds that painters were at work.", value=jobs.painting_seconds
        )
        for name, told, value in (
            ("velatura_jobs_waiting", "Jobs in line.", jobs.waiting),
            ("velatura_jobs_painting", "Jobs that are being painted.", len(jobs.at_work)),
            ("velatura_kept_pictures", "Pictures that can be fetched.", len(shelf)),
            ("velatura_kept_bytes", "Memory that these take.", shelf.size),
        ):
            yield GaugeMetricFamily(name, told, value=value)


class _Asked(Collector):
    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def collect(self) -> Iterator[Metric]:
        """Yield what the language model has taken so far; nothing while it was not asked."""
        model = vars(self._studio.velatura).get("language_model")
        if model is None:
            return
        usage = model.usage
        yield CounterMetricFamily("velatura_language_model_calls", "Calls that were answered.", value=usage.calls)
        tokens = CounterMetricFamily(
            "velatura_language_model_tokens", "Tokens, those that were cached among those read.", labels=["kind"]
        )
        for kind in ("read", "cached", "written"):
            tokens.add_metric([kind], getattr(usage, kind))
        yield tokens
        cost = self._studio.settings.cost(usage)
        if cost is not None:
            yield CounterMetricFamily("velatura_language_model_cost", "What these cost, as priced.", value=cost)


class Measured:
    """Counts and times requests.

    Args:
        app: The application.
        metrics: Where they are counted.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count it when its answer begins."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", _OTHER)
                method = scope["method"] if scope["method"] in _METHODS else _OTHER
                self._metrics.requests.labels(route, method, str(message["status"])).inc()
                self._metrics.seconds.labels(route).observe(time.perf_counter() - begun)
            await send(message)

        await self._app(scope, receive, noted)
