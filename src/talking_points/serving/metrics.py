"""What Prometheus is told."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from talking_points.serving.engine import Engine


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "talking_points_requests", "Requests answered.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "talking_points_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ["route"],
            registry=self.registry,
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
        )
        self.refused = Counter(
            "talking_points_refused", "Requests refused before they were read.", ["reason"], registry=self.registry
        )
        self.in_flight = Gauge("talking_points_in_flight", "Requests being read or answered.", registry=self.registry)
        self.batch_prompts = Histogram(
            "talking_points_batch_prompts",
            "Points and texts that went through a model together.",
            ["model"],
            registry=self.registry,
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
        )
        self.batch_seconds = Histogram(
            "talking_points_batch_seconds", "How long a model took for them.", ["model"], registry=self.registry
        )
        self.waiting = Gauge(
            "talking_points_waiting", "Points and texts that wait for a model.", ["model"], registry=self.registry
        )

    def watch(self, engines: Mapping[str, Engine]) -> None:
        """Follow engines."""
        for name, engine in engines.items():
            self.waiting.labels(name).set_function(lambda engine=engine: engine.waiting)
            prompts, seconds = self.batch_prompts.labels(name), self.batch_seconds.labels(name)

            def on_batch(count: int, took_s: float, prompts: Histogram = prompts, seconds: Histogram = seconds) -> None:
                prompts.observe(count)
                seconds.observe(took_s)

            engine.on_batch = on_batch

    def text(self) -> bytes:
        """In Prometheus' text form."""
        return generate_latest(self.registry)
