"""Metrics for operators, in the Prometheus text format at ``/metrics``.

No label carries an account, a device or anything a user typed: the page can be scraped without a
login and its size does not grow with the number of customers.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The instruments of one process. Each server has a registry of its own, tests too."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.connections = Gauge(
            "replica_connections", "Open device connections", registry=self.registry
        )
        self.connections_ended = Counter(
            "replica_connections_ended",
            "Device connections that ended, by reason",
            ["reason"],
            registry=self.registry,
        )
        self.events = Counter(
            "replica_events",
            "Events that came to the door, by outcome",
            ["outcome"],
            registry=self.registry,
        )
        self.append_seconds = Histogram(
            "replica_append_seconds",
            "From a batch at the door to its durable commit",
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self.sent_bytes = Counter(
            "replica_sent_bytes", "Bytes of frames sent to devices", registry=self.registry
        )
        self.projection_lag = Gauge(
            "replica_projection_lag_positions",
            "Largest distance of a projection from its log",
            registry=self.registry,
        )
        self.clock_skew_seconds = Histogram(
            "replica_clock_skew_seconds",
            "Absolute clock offset of devices when they connect",
            buckets=(0.1, 1, 10, 60, 300, 3_600, 86_400, 31_536_000),
            registry=self.registry,
        )
        self.sink_runs = Counter(
            "replica_sink_runs", "Runs of sinks, by result", ["result"], registry=self.registry
        )
        self.syncs = Counter(
            "replica_sync_now",
            "Finished Sync Now runs, by result",
            ["result"],
            registry=self.registry,
        )
        self.requests = Counter(
            "replica_http_requests", "HTTP answers, by status", ["status"], registry=self.registry
        )

    def render(self) -> bytes:
        """The current values in the text format."""
        return generate_latest(self.registry)
