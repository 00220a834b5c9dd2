"""Status, progress and log entries of executions, folded from their records."""

import orjson
from notelog import Log, complex_log, head

from flowrunner.ports.executions import Chunk, StepWrite
from flowrunner.stores.memory.store import MemoryStore
from flowrunner.views.flow import StatusFold, log_entries, read_log_entries, read_status, status


def test_the_complex_flow_is_told_once_per_node_and_at_both_ends():
    """Eight updates: the start, six nodes with their progress, and 100 at the end with the last node still named."""
    fold = StatusFold(head())
    seen = []
    for seq, record in enumerate(complex_log().records, 1):
        if fold.take(seq, record):
            shown = fold.shown()
            seen.append((shown["status"], shown["progress"], shown["current_node"]))
    assert seen == [
        ("running", 0.0, ""),
        ("running", 10.0, "prepare_data"),
        ("running", 30.0, "parallel_processor"),
        ("running", 60.0, "analyze_results"),
        ("running", 60.0, "branch_on_success_rate"),
        ("running", 80.0, "high_success_handler"),
        ("running", 99.0, "final_summary"),
        ("completed", 100.0, "final_summary"),
    ]


def test_a_status_has_the_members_of_the_source():
    """All members are there, whatever the state; results are what nodes returned."""
    log = Log()
    log.event("ExecutionStarted", {"input": "{}"})
    log.step("a", 50)
    log.done("a", {"n": 1})
    assert status(head(), log.records) == {
        "id": "0" * 31 + "1",
        "flow_id": "orders",
        "status": "running",
        "start_time": "2023-11-14T22:13:20.000Z",
        "end_time": None,
        "error": None,
        "results": {"a": {"n": 1}},
        "progress": 50.0,
        "current_node": "a",
        "metadata": {"name": "one", "revision": "r1"},
    }


def test_progress_never_falls_and_failure_is_not_completion():
    """A node that says less than was reached changes nothing; a failed execution stays where it came to and tells why."""
    log = Log()
    log.event("ExecutionStarted", {"input": "{}"})
    log.step("a", 60)
    log.done("a")
    log.step("b", 30)
    log.failed("b", "FlowRunner.NodeFailed", "no")
    log.event("ExecutionFailed", {"error": "FlowRunner.NodeFailed", "cause": "no"})
    shown = status(head(), log.records)
    assert (shown["status"], shown["progress"], shown["current_node"], shown["error"]) == ("failed", 60.0, "b", "FlowRunner.NodeFailed: no")
    assert shown["end_time"] == "2023-11-14T22:13:29.000Z"


def test_other_ends():
    """Aborted is canceled, timed out is failed, redriven runs again."""
    for kind, expected, error in (("ExecutionAborted", "canceled", None), ("ExecutionTimedOut", "failed", "States.Timeout")):
        log = Log()
        log.event("ExecutionStarted", {"input": "{}"})
        log.event(kind)
        shown = status(head(), log.records)
        assert (shown["status"], shown["error"]) == (expected, error)
        log.event("ExecutionRedriven")
        shown = status(head(), log.records)
        assert (shown["status"], shown["end_time"], shown["error"]) == ("running", None, None)


def test_a_state_machine_has_a_status_too():
    """Without notes the states are the nodes."""
    log = Log()
    log.event("ExecutionStarted", {"input": "{}"})
    log.event("PassStateEntered", {"name": "A", "input": "{}"})
    log.event("PassStateExited", {"name": "A", "output": "[1]"})
    log.event("ExecutionSucceeded", {"output": "[1]"})
    shown = status(head("orders"), log.records)
    assert (shown["flow_id"], shown["status"], shown["progress"], shown["current_node"], shown["results"]) == ("orders", "completed", 100.0, "A", {"A": [1]})


def test_log_entries():
    """What steps say, retries, failures and the execution's own course, in the words of version 1."""
    log = Log()
    log.event("ExecutionStarted", {"input": "{}"})
    log.step("a", 1)
    log.note("StepLogged", stepId="a", stepName="A", level="warn", message="careful", data={"n": 1})
    log.note("StepRetried", stepId="a", stepName="A", attempt=1, delay=200, error="X", cause="no")
    log.failed("a", "X", "no")
    log.event("ExecutionFailed", {"error": "X", "cause": "no"})
    found = log_entries(log.records)
    assert [(entry["node_id"], entry["level"], entry["message"]) for entry in found] == [
        ("", "info", "Execution started"),
        ("a", "info", "Starting step: A"),
        ("a", "warning", "careful"),
        ("a", "warning", "Retry 1 in 200 ms: X: no"),
        ("a", "error", "Step failed: X: no"),
        ("", "error", "Execution failed: X: no"),
    ]
    assert found[2] == {"timestamp": "2023-11-14T22:13:24.000Z", "node_id": "a", "level": "warning", "message": "careful", "data": {"n": 1}}


async def test_a_stored_log_is_read_by_pages():
    """Thousands of records in many chunks give the same status as one list of them."""
    log = Log()
    log.event("ExecutionStarted", {"input": "{}"})
    for number in range(700):
        log.step(f"n{number}", number / 10)
        log.done(f"n{number}", number)
    store = MemoryStore()
    stored, last = None, 0
    for first in range(0, len(log.records), 100):
        part = log.records[first : first + 100]
        last += len(part)
        before = head(last_seq=last, epoch=stored.epoch if stored else 0)
        stored = await store.executions.commit(StepWrite(head=before, create=stored is None, chunk=Chunk(first + 1, len(part), orjson.dumps(part))))
    assert await read_status(store.executions, stored) == status(stored, log.records)
    assert await read_log_entries(store.executions, stored.id) == log_entries(log.records)
