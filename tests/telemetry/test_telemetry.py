"""Metrics and logs."""

from __future__ import annotations

import io
import json
import logging
import timeit

import pytest
import structlog

from flowrunner.ports.executions import Head
from flowrunner.telemetry import logs
from flowrunner.telemetry.metrics import Metrics
from flowrunner.telemetry.names import METRICS, PREFIX


def head(status="SUCCEEDED", number=1):
    return Head(id=f"{number:032x}", account="0" * 12, machine="m", name="n", revision="r", status=status, input="", seed=b"", started_at=1000, stopped_at=3500)


@pytest.fixture
def restored():
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)
    structlog.reset_defaults()


def test_every_metric_of_the_table_is_shown():
    """The table and the exposition say the same."""
    metrics = Metrics()
    metrics.on_execution_started(head("RUNNING"))
    metrics.on_execution_started(head("RUNNING", 2))
    metrics.on_execution_ended(head("FAILED"))
    metrics.on_retry("My.Error")
    metrics.on_store_operation("commit", 0.001)
    metrics.on_socket_opened()
    metrics.on_socket_messages(3)
    metrics.on_socket_closed(1.0)
    metrics.on_socket_error("no_pong")
    metrics.on_refused("too_large")
    metrics.on_refused("something new")
    text = metrics.render().decode()
    for row in METRICS:
        assert f"# TYPE {PREFIX}{row.name} " in text
        assert row.meaning in text
    for line in (
        "flowrunner_executions_running 1.0",
        'flowrunner_executions_total{status="FAILED"} 1.0',
        "flowrunner_execution_duration_seconds_sum 2.5",
        'flowrunner_retries_total{error="other"} 1.0',
        "flowrunner_ws_messages_total 3.0",
        "flowrunner_ws_connections 0.0",
        'flowrunner_ws_errors_total{reason="no_pong"} 1.0',
        'flowrunner_refusals_total{code="too_large"} 1.0',
        'flowrunner_refusals_total{code="other"} 1.0',
    ):
        assert f"{line}\n" in text
    assert "_created" not in text


def test_running_executions_are_never_fewer_than_none():
    """An end that was not counted up counts nothing down; being loaded again counts nothing twice."""
    metrics = Metrics()
    metrics.on_execution_ended(head("FAILED"))
    assert "flowrunner_executions_running 0.0\n" in metrics.render().decode()
    for _ in range(2):
        metrics.on_execution_loaded(head("RUNNING", 2))
    metrics.on_execution_loaded(head("SUCCEEDED", 3))
    assert "flowrunner_executions_running 1.0\n" in metrics.render().decode()
    metrics.on_execution_ended(head("ABORTED", 2))
    assert "flowrunner_executions_running 0.0\n" in metrics.render().decode()


def test_two_registries_do_not_meet():
    """Two applications in one process count apart."""
    one, other = Metrics(), Metrics()
    one.on_takeover()
    assert "flowrunner_lease_takeovers_total 0.0" in other.render().decode()


def test_observing_is_cheap():
    """A step is observed in microseconds, so it may be done for every one."""
    metrics = Metrics()
    assert min(timeit.repeat(lambda: metrics.on_step(3, 0.001), number=2000, repeat=3)) / 2000 < 20e-6  # about 2e-6


def test_logs_are_json_lines_without_secrets(restored):
    """One object per line; what is called a secret is blanked out; libraries only warn."""
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    log = structlog.get_logger("x")
    log.debug("hidden")
    log.info("shown", run_id="r", task_token="abc", password="abc")
    logging.getLogger("library").info("chatter")
    logging.getLogger("library").warning("trouble")
    entries = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(entry["event"], entry["level"]) for entry in entries] == [("shown", "info"), ("trouble", "warning")]
    assert entries[0]["task_token"] == entries[0]["password"] == "***"
    assert "abc" not in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "text"])
def test_tracebacks_hold_no_values(restored, form):
    """A logged exception shows where it happened, not what was in variables."""
    stream = io.StringIO()
    logs.configure("info", form, stream)

    def broken():
        hidden = "user data " + "value"
        raise ValueError(len(hidden))

    try:
        broken()
    except ValueError:
        structlog.get_logger("x").exception("failed")
    assert "broken" in stream.getvalue()
    assert "user data value" not in stream.getvalue()


def test_lines_of_text_are_one_line_each(restored):
    """What others have put into an event, or a value, begins no line of its own and steers no terminal."""
    stream = io.StringIO()
    logs.configure("info", "text", stream)
    forged = "x\n2026-11-21 [error] forged \x1b]0;title\x07\x9b2J"
    structlog.get_logger("x").info("told", path=forged)
    logging.getLogger("library").warning("function %s said", forged)
    assert len(stream.getvalue().splitlines()) == 2
    assert not set("\x1b\x07\x9b") & set(stream.getvalue())
