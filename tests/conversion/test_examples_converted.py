"""Every example in every other format: it does the same there, or it is said here what keeps it from being converted."""

import json

import pytest
from twice import PARSERS, Answer, convert, same

from flowrunner.kinds import BUILT_IN

# (example, format) -> the format it is converted to -> the places that have no counterpart; none where it is converted.
EXPECTED = {
    ("approval/approval.asl.json", "asl"): {
        "flow": ["/States/AskForApproval/Resource", "/States/Expired"],
        "workflow": ["/StartAt"],
    },
    ("choice/choice.asl.json", "asl"): {
        "flow": ["/States/KindOfOrder", "/States/HighPriorityProcessing", "/States/BulkProcessing", "/States/StandardProcessing", "/States/UnknownKind"],
        "workflow": ["/StartAt"],
    },
    ("map/map.asl.json", "asl"): {"flow": ["/States/PriceItems"], "workflow": ["/StartAt"]},
    ("order_processing/order_processing.asl.json", "asl"): {
        "flow": [f"/States/{name}" for name in ("ValidateOrder/Resource", "FulfilOrder", "ConfirmOrder/Resource", "Rollback", "OrderRejected")],
        "workflow": ["/StartAt"],
    },
    ("wait/wait.asl.json", "asl"): {
        "flow": [
            f"/States/{name}" for name in ("Strategy", "WaitSeconds", "WaitSecondsPath", "WaitTimestamp", "WaitTimestampPath", "Waited", "UnknownStrategy")
        ],
        "workflow": ["/StartAt"],
    },
    ("complex_flow.yaml", "flow"): {
        "asl": ["/nodes/prepare_data/retry/wait", "/nodes/parallel_processor", "/nodes/partial_success_handler/retry/wait"],
        "workflow": ["/nodes"],
    },
    ("simple_branching.yaml", "flow"): {"asl": ["/nodes/start/retry/wait", "/nodes/high_value_processor/retry/wait"], "workflow": ["/nodes"]},
    ("two_step_workflow.json", "workflow"): {"asl": [], "flow": ["/steps"]},
}


@pytest.mark.parametrize(("example", "to"), [(example, to) for example, ways in EXPECTED.items() for to in ways])
def test_an_example(example, to, pytestconfig):
    """What has no counterpart is told with line and column."""
    file, form = example
    text = (pytestconfig.rootpath / "examples" / file).read_text(encoding="utf-8")
    assert PARSERS[form](text).program is not None
    made = convert(text, form, to, BUILT_IN)
    errors = [found for found in made.diagnostics if found.severity == "ERROR"]
    assert sorted(found.pointer for found in errors) == sorted(EXPECTED[example][to])
    assert all(found.line > 1 and found.column and found.code == "CANNOT_CONVERT" for found in errors)
    assert (made.definition is None) == bool(errors)


def test_no_example_is_forgotten(pytestconfig):
    """All but test cases and the inputs of machines."""
    folder = pytestconfig.rootpath / "examples"
    files = [*folder.glob("*/*.asl.json"), *folder.glob("*.yaml"), *folder.glob("*_workflow.json")]
    assert {str(file.relative_to(folder)) for file in files} == {file for file, _ in EXPECTED}


@pytest.mark.parametrize("fetched", [{"status": 200, "response": {"body": {"userId": 7, "title": "x"}}}, {}, Answer(error="States.Http.Socket")])
@pytest.mark.parametrize("given", [{}, {"variables": {"apiUrl": "https://example.org", "title": "old"}}])
def test_the_workflow_does_the_same_as_a_machine(fetched, given, pytestconfig):
    """Both steps, with the output of the one in the other."""
    workflow = json.loads((pytestconfig.rootpath / "examples" / "two_step_workflow.json").read_text(encoding="utf-8"))
    same(workflow, "workflow", "asl", given, lambda state, called, attempt: fetched if state == "step1" else {"exitCode": 0})


@pytest.mark.parametrize("value", [80, 50, 10])
def test_the_flow_does_the_same_with_whole_seconds(value, pytestconfig):
    """Which is all that its machine lacks."""
    text = (pytestconfig.rootpath / "examples" / "simple_branching.yaml").read_text(encoding="utf-8").replace("100ms", "1s").replace("50ms", "1s")
    bands = {80: "high", 50: "medium", 10: "low"}

    def answers(state, called, attempt):
        if attempt == 1 and state in ("start", "high_value_processor"):
            return Answer(error="X")
        return {"branch_decision": bands[value]} if state == "evaluate_category" else {state: attempt}

    ran = same(text, "flow", "asl", {"value": value}, answers)
    assert [state for _, state, _ in ran.calls if state.endswith("processor")][-1] == f"{bands[value]}_value_processor"
