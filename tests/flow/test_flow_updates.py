"""What followers of the named flows are told, from the records that the machine itself writes."""

import json

import pytest
from flowplay import ACCOUNT, ROOT, Fails, JavaScript, play

from flowrunner.ports.executions import Head
from flowrunner.views.flow import StatusFold, log_entries
from flowrunner.views.run import steps
from flowrunner.views.stream import note_message

COMPLEX = (ROOT / "examples" / "complex_flow.yaml").read_text(encoding="utf-8")
SIMPLE = (ROOT / "examples" / "simple_branching.yaml").read_text(encoding="utf-8")
SECRETS = {"API_KEY": "k-123", "DB_PASSWORD": "p-456"}
HEAD = Head(
    id="0" * 32, account=ACCOUNT, machine="flow/f", name="n", revision="r", status="SUCCEEDED", input="{}", seed=b"s" * 16, started_at=1_700_000_000_000
)


def updates(records):
    fold = StatusFold(HEAD)
    return [fold.shown() for seq, record in enumerate(records, 1) if fold.take(seq, record)]


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_the_complex_flow_has_seven_to_nine_updates(lost):
    """One at the start, one for each node, one at the end; progress never falls and ends with 100 at the last node."""
    seen = updates(play(COMPLEX, {"fail_batches": lost}, default=JavaScript(SECRETS)).records)
    assert len(seen) == 8
    progress = [status["progress"] for status in seen]
    assert progress == sorted(progress)
    assert progress == [0.0, 10.0, 30.0, 60.0, 70.0, 80.0, 95.0, 100.0]
    assert (seen[-1]["status"], seen[-1]["current_node"]) == ("completed", "final_summary")
    assert set(seen[-1]["results"]) >= {"prepare_data", "parallel_processor", "final_summary"}


def test_the_simple_flow_is_followed_too():
    """Without stated progress it is by the longest way that remains, and still never falls."""
    records = play(SIMPLE, {}, default=JavaScript()).records
    seen = updates(records)
    assert [status["progress"] for status in seen] == sorted(status["progress"] for status in seen)
    assert seen[-1]["progress"] == 100.0
    assert log_entries(records)[0]["message"] == "Execution started"
    assert all(step["status"] == "success" and step["inputData"] is not None for step in steps(HEAD, records))
    kinds = [message.kind for record in records if (message := note_message(record)) is not None]
    assert kinds[:4] == ["status", "step_start", "step_log", "step_complete"]
    assert kinds[-1] == "status"


FAILING = """
metadata: {name: x}
nodes:
  c:
    type: parallel_batch
    params: {items: [1, 2], batch_size: 1, processor_script: "if (items[0] == 2) throw new Error('two'); return items"}
    retry: {max_retries: 2, wait: 10ms}
"""


def test_retries_of_a_batch_and_its_loss_are_told():
    """As those of any node: the log and the stream say which batch it was. A status has nothing new to say by them."""
    records = play(FAILING, {}, default=JavaScript()).records
    assert records == play(FAILING, {}, default=JavaScript(), restoring=False).records
    warned = [(entry["node_id"], entry["level"], entry["message"], entry["data"]) for entry in log_entries(records) if entry["level"] != "info"]
    why = {"error": "FlowRunner.ScriptError", "cause": "Error: two"}
    said = "FlowRunner.ScriptError: Error: two"
    assert warned == [
        ("c", "warning", f"Retry 1 of batch 1 in 10 ms: {said}", {"batch_index": 1, "attempt": 1, "delay": 10, **why}),
        ("c", "warning", f"Retry 2 of batch 1 in 10 ms: {said}", {"batch_index": 1, "attempt": 2, "delay": 10, **why}),
        ("c", "error", f"Batch 1 is lost: {said}", {"batch_index": 1, **why}),
    ]
    messages = [message for record in records if (message := note_message(record)) is not None and message.kind in ("retry_scheduled", "step_log")]
    assert [(one.kind, one.payload.get("batch_index"), one.payload["stepId"]) for one in messages[1:3]] == [("retry_scheduled", 1, "c")] * 2
    assert (messages[3].payload["level"], messages[3].detail["data"]["batch_index"]) == ("error", 1)
    assert len(updates(records)) == 3
    [step] = steps(HEAD, records)
    assert (step["attempts"], step["status"]) == (1, "success")


def test_what_is_told_of_thousands_of_batches_is_short():
    """A long cause is in the history and in the result once; the notes about a batch have its beginning."""

    def fails(call):
        raise Fails("X", "y" * 30_000)

    for record in play(FAILING, {}, default=fails).records:
        if record["type"] in ("StepRetried", "StepLogged"):
            assert len(str(record["note"])) < 3_000


def test_retries_of_a_look_are_told_for_its_node():
    """A wait asks its condition in a state of its own."""
    nodes = {"w": {"type": "wait", "params": {"condition": "throw new Error('no')"}, "retry": {"max_retries": 1, "wait": "10ms"}}}
    records = play(json.dumps({"metadata": {"name": "x"}, "nodes": nodes}), {}, default=JavaScript()).records
    [retried] = [record["note"] for record in records if record["type"] == "StepRetried"]
    assert (retried["stepId"], retried["attempt"], retried["error"]) == ("w", 1, "FlowRunner.ScriptError")
    assert "batch_index" not in retried
