"""Every metric: its name, kind, unit, labels and meaning. Names follow https://prometheus.io/docs/practices/naming/.

No label holds anything a user chooses (an execution's id, a machine's name): the number of series stays bounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flowrunner.ports.observe import SOCKET_ERRORS

PREFIX = "flowrunner_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One row; `unit` is "" for plain counts. `buckets` are the upper bounds of a histogram, in its unit."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    unit: str = ""
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_FAST = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_LONG = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 3600.0, 86400.0, 604800.0)

METRICS = (
    Metric(name="executions_started_total", kind="counter", meaning="Executions started by this process."),
    Metric(name="executions_total", kind="counter", labels=("status",), meaning="Executions ended, by their final status."),
    Metric(name="executions_running", kind="gauge", meaning="Executions that this process has started, taken over or woken and that have not ended."),
    Metric(name="execution_duration_seconds", kind="histogram", unit="seconds", buckets=_LONG, meaning="Start to end of an execution."),
    Metric(name="steps_total", kind="counter", meaning="Steps stored."),
    Metric(name="records_total", kind="counter", meaning="History records stored."),
    Metric(name="step_seconds", kind="histogram", unit="seconds", buckets=_FAST, meaning="First fact to commit of a step."),
    Metric(name="retries_total", kind="counter", labels=("error",), meaning="Tries again, by States.* name of the error or other."),
    Metric(name="timer_lag_seconds", kind="histogram", unit="seconds", buckets=_FAST, meaning="How late timers fired."),
    Metric(name="lease_takeovers_total", kind="counter", meaning="Executions of dead owners taken over."),
    Metric(name="store_op_seconds", kind="histogram", unit="seconds", labels=("op",), buckets=_FAST, meaning="Duration of calls of the store."),
    Metric(name="ws_connections", kind="gauge", meaning="Open subscribers of streams, WebSocket and SSE."),
    Metric(name="ws_messages_total", kind="counter", meaning="Messages sent to subscribers."),
    Metric(name="ws_connection_seconds", kind="histogram", unit="seconds", buckets=_LONG, meaning="How long subscribers stayed."),
    Metric(
        name="ws_errors_total",
        kind="counter",
        labels=("reason",),
        meaning="What went wrong with subscribers: refused before they were let in, closed by the server or by the protocol, answered with an error. "
        f"Reasons: {', '.join(SOCKET_ERRORS)}.",
    ),
    Metric(
        name="refusals_total",
        kind="counter",
        labels=("code",),
        meaning="Requests and connections refused, by the code of the problem; dropped: without an answer.",
    ),
)
