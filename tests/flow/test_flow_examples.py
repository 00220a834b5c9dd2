"""The two named flows, their scripts run as JavaScript: the right branch for every share of batches that succeed."""

import json

import pytest
from flowplay import ROOT, Hangs, JavaScript, play

COMPLEX = (ROOT / "examples" / "complex_flow.yaml").read_text(encoding="utf-8")
SIMPLE = (ROOT / "examples" / "simple_branching.yaml").read_text(encoding="utf-8")
SECRETS = {"API_KEY": "k-123", "DB_PASSWORD": "p-456"}


@pytest.mark.parametrize(
    ("lost", "rate", "handler", "status"),
    [
        (0, 100.0, "high_success_handler", "COMPLETED_SUCCESSFULLY"),
        (1, 70.0, "partial_success_handler", "COMPLETED_WITH_WARNINGS"),
        (2, 40.0, "low_success_handler", "COMPLETED_WITH_ERRORS"),
    ],
)
def test_the_share_of_batches_that_succeed_picks_the_branch(lost, rate, handler, status):
    """0, 1 or 2 lost batches of four are 100, 70 and 40 % of the items: the high, the partial and the low branch."""
    played = play(COMPLEX, {"fail_batches": lost}, default=JavaScript(SECRETS))
    assert played.path == ["prepare_data", "parallel_processor", "analyze_results", "branch_on_success_rate", handler, "final_summary"]
    results = {note["stepId"]: json.loads(note["output"]) for note in played.notes("StepCompleted")}
    assert results["parallel_processor"]["success_rate"] == rate
    assert [item["id"] for item in results["parallel_processor"]["failed_items"]] == [[], [4, 5, 6], [4, 5, 6, 7, 8, 9]][lost]
    summary = played.output["execution_summary"]
    assert summary["final_status"] == status
    assert summary["items_processed"] == rate / 10
    assert summary["success_rate"] == rate / 100
    assert [note["progress"] for note in played.notes("StepStarted")] == [10, 30, 60, 70, 80, 95]


def test_a_failing_batch_is_tried_three_times_more_with_a_growing_wait():
    """Exponential back-off from 200 ms: the batch is begun at 0, 200, 600 and 1400 ms."""
    played = play(COMPLEX, {"fail_batches": 1}, default=JavaScript(SECRETS))
    second = [at for (state, parameters, at) in played.calls if state.startswith("parallel_processor") and parameters["input"]["batch_index"] == 1]
    assert second == [0, 200, 600, 1400]
    assert played.milliseconds == 1400


def test_batches_that_all_run_out_of_time_take_the_timeout_edge():
    """Each batch has five seconds, four times over, with the waits between them."""

    def hang(parameters):
        raise Hangs

    played = play(COMPLEX, {}, {"parallel_processor (batch)": hang}, default=JavaScript(SECRETS))
    assert played.path == ["prepare_data", "parallel_processor", "timeout_handler", "final_summary"]
    assert played.output["execution_summary"]["final_status"] == "TIMEOUT_OCCURRED"
    assert played.milliseconds == 2 * (4 * 5000 + 1400)  # three batches at once, then the fourth


def test_secrets_that_are_missing_lead_to_the_error_handler():
    """The first node is tried twice more; the error edge has what went wrong."""
    played = play(COMPLEX, {}, default=JavaScript())
    assert played.path == ["prepare_data", "error_handler", "final_summary"]
    assert played.times("prepare_data") == [0, 100, 200]
    assert "secrets are missing: API_KEY, DB_PASSWORD" in played.output["error_details"]["message"]
    assert played.output["error_details"]["node"] == "prepare_data"


def test_the_secrets_are_in_nothing_that_is_kept():
    """The scripts see them; what the flow writes does not have them."""
    played = play(COMPLEX, {"fail_batches": 0}, default=JavaScript(SECRETS))
    assert not [value for value in SECRETS.values() if value in json.dumps(played.records)]
    assert played.output["execution_summary"]["secrets"] == {"API_KEY": "********", "DB_PASSWORD": "********"}


@pytest.mark.parametrize(
    ("value", "path", "final", "message"),
    [
        (80, "high_value_processor", 120, "HIGH_VALUE_PROCESSED"),
        (50, "medium_value_processor", 60, "MEDIUM_VALUE_PROCESSED"),
        (10, "low_value_processor", 10, "LOW_VALUE_PROCESSED"),
    ],
)
def test_a_value_takes_the_branch_of_its_band(value, path, final, message):
    """Above 70, above 30, and the rest."""
    played = play(SIMPLE, {"value": value}, default=JavaScript())
    assert played.path == ["start", "evaluate_category", path, "finalize"]
    summary = played.output["execution_summary"]
    assert (summary["original_value"], summary["final_value"], summary["message"]) == (value, final, message)
    assert summary["bonus_applied"] == (value == 80)


def test_a_value_that_is_none_is_handled():
    """The start fails three times and leads to the error handler; the flow ends well."""
    played = play(SIMPLE, {"value": "many"}, default=JavaScript())
    assert played.path == ["start", "error_handler", "finalize"]
    assert played.ended[0] == ("start", "failed", None)
    assert played.output["execution_summary"]["message"] == "ERROR_HANDLED"
    assert played.output["execution_summary"]["final_value"] == 0
