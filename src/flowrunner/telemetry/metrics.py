"""The observer that counts for Prometheus, and the text it shows."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric as PrometheusMetric
from prometheus_client.registry import Collector

from flowrunner.ports.executions import Head
from flowrunner.ports.observe import SOCKET_ERRORS
from flowrunner.telemetry.names import METRICS, PREFIX, Metric

_STATUSES = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
_OPERATIONS = ("create", "commit", "load")
_ERRORS = ("States.Timeout", "States.HeartbeatTimeout", "States.TaskFailed", "States.Permissions", "FlowRunner.OutcomeUnknown", "other")
_REFUSALS = (
    *("access_denied", "bad_request", "dropped", "headers_too_large", "request_timeout", "service_unavailable", "too_large", "too_many_requests"),
    *("unauthenticated", "unsupported_media_type", "other"),
)


class Metrics:
    """An Observer with a registry of its own; every labelled series is looked up once, here."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        made = {row.name: _make(row, self.registry) for row in METRICS}
        self._started = _counter(made["executions_started_total"])
        self._running = _gauge(made["executions_running"])
        self._known: set[str] = set()  # ids of the running executions that are counted: an end counts down only what was counted up
        ended = _counter(made["executions_total"])
        self._ended = {status: ended.labels(status) for status in _STATUSES}
        self._duration = _histogram(made["execution_duration_seconds"])
        self._steps = _counter(made["steps_total"])
        self._records = _counter(made["records_total"])
        self._step_seconds = _histogram(made["step_seconds"])
        retries = _counter(made["retries_total"])
        self._retries = {error: retries.labels(error) for error in _ERRORS}
        self._lag = _histogram(made["timer_lag_seconds"])
        self._takeovers = _counter(made["lease_takeovers_total"])
        operations = _histogram(made["store_op_seconds"])
        self._operations = {operation: operations.labels(operation) for operation in _OPERATIONS}
        self._sockets = _gauge(made["ws_connections"])
        self._messages = _counter(made["ws_messages_total"])
        self._socket_seconds = _histogram(made["ws_connection_seconds"])
        socket_errors = _counter(made["ws_errors_total"])
        self._socket_errors = {reason: socket_errors.labels(reason) for reason in SOCKET_ERRORS}
        refusals = _counter(made["refusals_total"])
        self._refusals = {code: refusals.labels(code) for code in _REFUSALS}

    def on_execution_started(self, head: Head) -> None:
        """Count a start; called before the end of the same execution."""
        self._started.inc()
        self._count(head)

    def on_execution_loaded(self, head: Head) -> None:
        """Count an execution that began before this process did, once."""
        self._count(head)

    def _count(self, head: Head) -> None:
        if head.status in _STATUSES:
            self._known.discard(head.id)
        else:
            self._known.add(head.id)
        self._running.set(len(self._known))

    def on_execution_ended(self, head: Head) -> None:
        """Count an end by its status."""
        ended = self._ended.get(head.status)
        if ended is None:
            return
        ended.inc()
        self._count(head)
        if head.stopped_at is not None:
            self._duration.observe((head.stopped_at - head.started_at) / 1000)

    def on_step(self, records: int, seconds: float) -> None:
        """Count a stored step."""
        self._steps.inc()
        self._records.inc(records)
        self._step_seconds.observe(seconds)

    def on_retry(self, error: str) -> None:
        """Count a retry; names of users' own errors are one series."""
        self._retries.get(error, self._retries["other"]).inc()

    def on_timer_lag(self, seconds: float) -> None:
        """Count how late a timer fired."""
        self._lag.observe(seconds)

    def on_takeover(self) -> None:
        """Count a takeover."""
        self._takeovers.inc()

    def on_store_operation(self, operation: str, seconds: float) -> None:
        """Count a call of the store."""
        series = self._operations.get(operation)
        if series is not None:
            series.observe(seconds)

    def on_socket_opened(self) -> None:
        """Count a subscriber."""
        self._sockets.inc()

    def on_socket_messages(self, count: int) -> None:
        """Count messages sent."""
        self._messages.inc(count)

    def on_socket_closed(self, seconds: float) -> None:
        """Count a subscriber's end."""
        self._sockets.dec()
        self._socket_seconds.observe(seconds)

    def on_socket_error(self, reason: str) -> None:
        """Count what went wrong with a subscriber."""
        self._socket_errors[reason].inc()

    def on_refused(self, code: str) -> None:
        """Count a refusal."""
        self._refusals.get(code, self._refusals["other"]).inc()

    def render(self) -> bytes:
        """All series in Prometheus's text format."""
        return generate_latest(_Plain(self.registry))


class _Plain(Collector):
    """The same series without ``_created``, one more for every counter and histogram that nobody reads.

    The library's own switch would change every other registry of the process too.
    """

    def __init__(self, inner: Collector) -> None:
        self._inner = inner

    def collect(self) -> Iterable[PrometheusMetric]:
        """All series; the library makes new ones for every call, so they may be changed."""
        for metric in self._inner.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


_Series = Counter | Gauge | Histogram


def _make(row: Metric, registry: CollectorRegistry) -> _Series:
    name = f"{PREFIX}{row.name}"
    match row.kind:
        case "counter":
            return Counter(name, row.meaning, row.labels, registry=registry)
        case "gauge":
            return Gauge(name, row.meaning, row.labels, registry=registry)
        case _:
            return Histogram(name, row.meaning, row.labels, registry=registry, buckets=row.buckets)


def _counter(series: _Series) -> Counter:
    if not isinstance(series, Counter):
        raise TypeError("not a counter")
    return series


def _gauge(series: _Series) -> Gauge:
    if not isinstance(series, Gauge):
        raise TypeError("not a gauge")
    return series


def _histogram(series: _Series) -> Histogram:
    if not isinstance(series, Histogram):
        raise TypeError("not a histogram")
    return series
