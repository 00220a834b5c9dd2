"""The machine on cases kept as data: status, output, error, events and virtual time."""

import json
from pathlib import Path

import pytest
from play import play

CASES = [
    pytest.param(case, id=f"{file.stem}/{case['name']}")
    for file in sorted((Path(__file__).parent.parent / "cases" / "machine").glob("*.json"))
    for case in json.loads(file.read_text())
]


@pytest.mark.parametrize("case", CASES)
def test_case(case):
    """A definition with an input and answers ends as the case says."""
    played = play(case["definition"], case.get("input"), case.get("answers"))
    expect = case["expect"]
    assert played.outcome is not None, played.types
    assert played.outcome.status == expect["status"], (played.outcome, played.types)
    if "output" in expect:
        assert played.output == expect["output"]
    for name in ("error", "cause"):
        if name in expect:
            assert getattr(played.outcome, name) == expect[name]
    if "types" in expect:
        assert played.types == expect["types"]
    if "seconds" in expect:
        assert played.seconds == pytest.approx(expect["seconds"], abs=0.002)
    if "previous" in expect:
        assert [record["previousEventId"] for record in played.records] == expect["previous"]


@pytest.mark.parametrize("case", CASES)
def test_ids_are_gap_free_and_causes_come_first(case):
    """History ids count 1, 2, 3 ...; each event's cause is an earlier event."""
    records = play(case["definition"], case.get("input"), case.get("answers")).records
    assert [record["id"] for record in records] == list(range(1, len(records) + 1))
    assert all(record["previousEventId"] < record["id"] for record in records)


@pytest.mark.parametrize(("language", "error"), [("JSONPath", "E" * 5000), ("JSONata", "{% $pad('', 300, 'E') %}")])
@pytest.mark.parametrize("caught", [False, True])
def test_the_texts_of_a_failure_are_bounded(language, error, caught):
    """A Fail state's Error and Cause are cut as a task's are, in the history, the outcome and what a catcher sees."""
    fail = {"Type": "Fail", "Error": error, "Cause": "C" * 200_000}
    inner = {"Type": "Parallel", "Branches": [{"StartAt": "F", "States": {"F": fail}}], "End": True}
    if caught:
        inner["Catch"] = [{"ErrorEquals": ["E" * 256], "Next": "Seen"}]
    seen = {"Type": "Pass", "End": True}
    states = {"P": inner, "Seen": seen} if caught else {"F": fail}
    played = play({"QueryLanguage": language, "StartAt": next(iter(states)), "States": states})
    if caught:
        assert json.loads(played.outcome.output) == {"Error": "E" * 256, "Cause": "C" * 32_768}
    else:
        assert (played.outcome.status, played.outcome.error, played.outcome.cause) == ("FAILED", "E" * 256, "C" * 32_768)
        assert len(json.dumps(played.records[-1])) < 40_000


def test_literal_items_that_are_no_array():
    """The failure names the field and the value, and quotes no expression where there is none."""
    inner = {"StartAt": "I", "States": {"I": {"Type": "Pass", "End": True}}}
    state = {"Type": "Map", "Items": {"a": 1}, "ItemProcessor": inner, "End": True}
    played = play({"QueryLanguage": "JSONata", "StartAt": "M", "States": {"M": state}})
    assert played.outcome.error == "States.QueryEvaluationError"
    assert played.outcome.cause.endswith("""The value of the field 'Items' has an unexpected type. Expected 'array', but was 'object' for value: {"a":1}""")


def test_a_failed_evaluation_of_a_catcher_names_its_state():
    """Not the state around it, which only hears of it."""
    task = {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:000000000000:function:f", "End": True}
    failing = {**task, "Catch": [{"ErrorEquals": ["States.ALL"], "Assign": {"v": "{% $none %}"}, "Next": "B"}]}
    branch = {"StartAt": "A", "States": {"A": failing, "B": {"Type": "Pass", "End": True}}}
    parallel = {"Type": "Parallel", "Branches": [branch], "End": True}
    played = play({"QueryLanguage": "JSONata", "StartAt": "P", "States": {"P": parallel}}, None, {"f": [{"fail": {"error": "Boom"}}]})
    (told,) = (record["evaluationFailedEventDetails"] for record in played.records if record["type"] == "EvaluationFailed")
    assert (told["state"], told["location"], told["error"]) == ("A", "Catch[0]/Assign/v", "States.QueryEvaluationError")
