"""What Prometheus is told."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from talking_points.serving.engine import Engine


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = Counter("talking_points_requests", "Requests answered.", ["route", "status"], registry=registry)
        self.seconds = Histogram(
            "talking_points_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ["route"],
            registry=registry,
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
        )
        self.in_flight = Gauge("talking_points_in_flight", "Requests being read or answered.", registry=registry)
        prompts = Histogram(
            "talking_points_batch_prompts",
            "Points and texts that went through a model together.",
            ["model"],
            registry=registry,
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
        )
        took = Histogram("talking_points_batch_seconds", "How long a model took.", ["model"], registry=registry)
        waiting = Gauge("talking_points_waiting", "Points and texts that wait.", ["model"], registry=registry)
        for name, engine in engines.items():
            waiting.labels(name).set_function(lambda engine=engine: engine.waiting)
            engine.watch(partial(_observe, prompts.labels(name), took.labels(name)))

    def text(self) -> bytes:
        """In Prometheus' text form."""
        return generate_latest(self.registry)


def _observe(prompts: Histogram, took: Histogram, count: int, seconds: float) -> None:
    prompts.observe(count)
    took.observe(seconds)
