"""What followers of the named flows are told, from the records that the machine itself writes."""

import pytest
from flowplay import ACCOUNT, ROOT, JavaScript, play

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
