"""Metrics in the text format of Prometheus.

Imports prometheus-client, which takes 80 ms: whoever imports this wants metrics. They are in a
registry of their own, so nothing shows that others in the process count with the same library.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

import pymap
from pymap.http.metrics import Histogram, Lag, Metrics
from pymap.wire.parse import State

if TYPE_CHECKING:
    from pymap.imap.server import Server

__all__ = ["CONTENT_TYPE", "Exposition"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Exposition(Collector):
    def __init__(self, server: Server, metrics: Metrics, lag: Lag) -> None:
        self._server = server
        self._metrics = metrics
        self._lag = lag
        self._ours = CollectorRegistry()
        self._ours.register(self)
        self._process = CollectorRegistry()
        _Process(registry=self._process)

    async def text(self) -> bytes:
        """Holds the event loop for 2 to 4 ms, and 2 more for each 10,000 connections."""
        # It lists the open files, 7 ms for 10,000 of them.
        process = await asyncio.to_thread(generate_latest, self._process)
        return generate_latest(self._ours) + process

    def collect(self) -> Iterator[Metric]:
        m = self._metrics
        # Not `Server.sessions()`, which finds out ten times as much of each.
        clients = [(c.connection.state, c.received, c.sent) for c in self._server.clients]
        states = [state for state, _, _ in clients]
        by_state = {state.name.lower(): states.count(state) for state in State}
        received = m.received + sum(octets for _, octets, _ in clients)
        sent = m.sent + sum(octets for _, _, octets in clients)
        about = (
            pymap.__version__, platform.python_version(), type(self._server.backend).__name__
        )  # fmt: skip

        yield _gauge("build_info", "Always 1", {about: 1}, "version", "python", "backend")
        yield _gauge("connections_open", "Connections by state", by_state, "state")
        yield _counter("connections", "Connections made", m.connections, "tls")
        yield _counter("refused", "Connections turned away at once", m.refusals, "reason")
        yield _counter("tls_handshakes", "TLS handshakes that ended", m.handshakes, "result")
        yield _histogram("session_duration_seconds", "Connections that ended", {"": m.sessions})
        yield _counter("received_bytes", "Received, inside TLS", {"": received})
        yield _counter("sent_bytes", "Sent, inside TLS", {"": sent})
        yield _counter(
            "authentications", "Attempts to log in", m.authentications, "mechanism", "result"
        )
        yield _counter("commands", "Commands that ended", m.commands, "command", "result")
        yield _histogram("command_duration_seconds", "Commands that ended", m.durations, "command")
        yield _counter("messages_appended", "Messages added", m.messages, "source")
        yield _counter("appended_bytes", "Messages added", m.message_octets, "source")
        yield _counter("backend_errors", "Failures of the store, and bugs", m.errors, "code")
        yield _histogram(
            "event_loop_lag_seconds", "How late the event loop is", {"": self._lag.histogram}
        )
        yield _gauge(
            "event_loop_lag_max_seconds", "The most in the last minute", {"": self._lag.most}
        )


class _Process(ProcessCollector):
    """``process_*``, by the names that every dashboard knows."""

    def _boot_time(self) -> float:
        # The library reads /proc/stat, and says nothing at all where systemd's ProcSubset=pid
        # hides it.
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


# A key is the values of the labels; without labels there is one, which does not show.
_Counts = Mapping[Any, float]


def _values(key: str | tuple[str, ...]) -> tuple[str, ...]:
    return (key,) if isinstance(key, str) else key


def _counter(name: str, text: str, counts: _Counts, *labels: str) -> Metric:
    """Its samples are called ``pymap_<name>_total``."""
    family = CounterMetricFamily(f"pymap_{name}", text, labels=labels)
    for key, count in counts.items():
        family.add_metric(_values(key), count)
    return family


def _gauge(name: str, text: str, values: _Counts, *labels: str) -> Metric:
    family = GaugeMetricFamily(f"pymap_{name}", text, labels=labels)
    for key, value in values.items():
        family.add_metric(_values(key), value)
    return family


def _histogram(name: str, text: str, by_key: Mapping[str, Histogram], *labels: str) -> Metric:
    family = HistogramMetricFamily(f"pymap_{name}", text, labels=labels)
    for key, histogram in by_key.items():
        counts = list(accumulate(histogram.counts))
        if labels and not counts[-1]:
            continue  # a command that nobody uses need not take 20 lines
        bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
        family.add_metric(_values(key), list(zip(bounds, counts, strict=True)), histogram.total)
    return family
