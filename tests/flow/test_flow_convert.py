"""A flow as a state machine: it does the same, or the command says what has no counterpart."""

import json

import pytest
from flowplay import ROOT, Fails, JavaScript, play

from flowrunner.asl.parse import parse_definition
from flowrunner.cli.main import run

SIMPLE = (ROOT / "examples" / "simple_branching.yaml").read_text(encoding="utf-8")
WHOLE_SECONDS = SIMPLE.replace("100ms", "1s").replace("50ms", "2s")
KINDS = """
metadata: {name: Kinds, description: All that can be converted.}
timeout: 1h
nodes:
  pause: {type: delay, params: {duration: 2, unit: m}, next: ask}
  ask: {type: condition, params: {condition_script: "return input.n"}, next: {"1": fetch, "true": rest, "false": last, default: rest}}
  fetch:
    type: http.request
    params: {url: "https://h/{%no-JSONata%}", body: "{% no JSONata %}"}
    timeout: 5s
    retry: {max_retries: 2, wait: 1s, backoff: exponential, jitter: true, max_wait: 60s}
    next: {success: rest, client_error: last, error: last, timeout: rest}
  rest: {type: wait, params: {until_time: "2023-11-14T22:30:00Z"}, next: {success: last}}
  last: {type: transform}
"""


def converted(text, tmp_path, capsys):
    file = tmp_path / "flow.yaml"
    file.write_text(text, encoding="utf-8")
    code = run(["convert", str(file), "--to", "asl"])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.mark.parametrize("value", [80, 50, 10, "many"])
def test_a_converted_flow_does_the_same(value, tmp_path, capsys):
    """Input, action, retry and error edge."""
    code, text, _ = converted(WHOLE_SECONDS, tmp_path, capsys)
    assert code == 0
    parsed = parse_definition(text)
    assert not parsed.diagnostics
    flow, machine = (play(program, {"value": value}, default=JavaScript()) for program in (WHOLE_SECONDS, parsed.program))
    assert machine.output["execution_summary"] == flow.output["execution_summary"]
    assert machine.milliseconds == flow.milliseconds
    assert [(name, call["input"].keys()) for name, call, _ in machine.calls] == [(name, call["input"].keys()) for name, call, _ in flow.calls]


@pytest.mark.parametrize("answer", [1, "1", True, False, {"branch": "1"}, {"branch_decision": False}, None])
@pytest.mark.parametrize("fetched", ["success", "client_error", "other", Fails("X", "x"), Fails("States.Timeout")])
def test_every_way_is_the_same(answer, fetched, tmp_path, capsys):
    """Whatever a condition returns, and however a request ends."""

    def fetch(call):
        if isinstance(fetched, Exception):
            raise fetched
        return {"output": {"status_code": 200}, "action": fetched}

    code, text, _ = converted(KINDS, tmp_path, capsys)
    assert code == 0
    parsed = parse_definition(text)
    assert not parsed.diagnostics
    flow, machine = (
        play(program, {"n": 0}, {"ask": lambda call: {"output": answer, "action": "success"}, "fetch": fetch}) for program in (KINDS, parsed.program)
    )
    assert machine.output == flow.output
    assert [call["input"] for call in machine.called("fetch")] == [call["input"] for call in flow.called("fetch")]
    assert all(call["params"] == {"url": "https://h/{%no-JSONata%}", "body": "{% no JSONata %}"} for call in machine.called("fetch"))


@pytest.mark.parametrize(
    ("node", "place", "why"),
    [
        ("{type: transform, retry: {wait: 100ms}}", "/nodes/a/retry/wait", "whole seconds"),
        ("{type: transform, retry: {backoff: linear}}", "/nodes/a/retry/backoff", "grows by the same"),
        ("{type: transform, timeout: 1500ms}", "/nodes/a/timeout", "whole seconds"),
        ("{type: transform, params: {script: return results.b}}", "/nodes/a/params", "'results'"),
        ("{type: transform, batch: {}}", "/nodes/a", "a batch"),
        ("{type: parallel_batch, params: {processor_script: '1'}}", "/nodes/a", "a batch"),
        ("{type: flow, params: {flow_id: x}}", "/nodes/a", "account"),
        ("{type: delay, params: {duration: '${ input.d }'}}", "/nodes/a/params", "constant"),
        ("{type: wait, params: {condition: '1'}}", "/nodes/a/params", "constant"),
    ],
)
def test_what_has_no_counterpart_is_told(node, place, why, tmp_path, capsys):
    """With its place, and nothing is printed."""
    code, out, err = converted(f"metadata: {{name: x}}\nnodes:\n  a: {node}\n", tmp_path, capsys)
    assert (code, out) == (3, "")
    assert ":3:" in err
    assert place in err
    assert why in err


def test_a_state_machine_is_one_already(tmp_path, capsys):
    """It is said how the command is meant to be used."""
    machine = {"StartAt": "a", "States": {"a": {"Type": "Succeed"}}}
    code, out, err = converted(json.dumps(machine), tmp_path, capsys)
    assert (code, out) == (2, "")
    assert "is a state machine already" in err
