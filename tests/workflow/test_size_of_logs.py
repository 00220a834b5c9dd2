"""What a run writes down grows with what it does, not with what it was given times what it does."""

import json

import pytest
from workflowplay import Player

from flowrunner.core import records
from flowrunner.workflow.testcase import parse_testcase

ROWS = [{"id": number, "name": f"row number {number}"} for number in range(60)]
EACH = {"type": "loop", "loop": {"type": "forEach", "source": "rows", "children": [{"id": "k", "type": "merge", "output": {"last": "{{item.id}}"}}]}}
FORMS = {
    "workflow": ({"name": "w", "steps": {"l": EACH}}, {}),
    "test case": ({"testId": "t", "steps": [{"id": "l", **EACH}]}, {"parse": parse_testcase}),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_a_run_is_given_is_not_written_at_each_state(form):
    """A list of 60 that a loop goes over is in the log for the run and for its stages, not four times for each iteration."""
    definition, how = FORMS[form]
    played = Player(definition, {"rows": ROWS}, **how)
    assert played.machine.outcome.status == "SUCCEEDED"
    log, given = len(records.encode(played.records)), len(json.dumps(ROWS))
    assert log < 60 * 2_000 + 30 * given


def test_the_input_of_a_run_is_known_everywhere():
    """Also in a loop within a group, by the name that a machine made of the workflow has it by."""
    inner = {"id": "k", "type": "merge", "output": {"seen": "{{input.variables.n}}"}}
    loop = {"id": "l", "type": "loop", "loop": {"type": "count", "count": 1, "children": [inner]}}
    played = Player({"name": "w", "steps": {"g": {"type": "group", "children": [loop]}}}, {"n": 7})
    assert json.loads(played.machine.outcome.output)["variables"] == {"n": 7, "seen": 7}


@pytest.mark.parametrize("restored", [False, True])
def test_what_scripts_see_is_not_written_at_each_of_them(restored):
    """A script is given all variables and outputs each time; the log has them from when they came about."""
    text = "x" * 5_000
    script = {"type": "script", "config": {"script": "return variables.text.length"}, "input": {"n": "{{$loopIndex}}"}}
    steps = {"l": {"type": "loop", "loop": {"type": "count", "count": 20, "children": [{"id": "s", **script}]}}}
    played = Player({"name": "w", "steps": steps}, {"text": text}, restored=restored)
    for _ in range(20):
        assert played.called("s")["variables"]["text"] == text
        played.answer("s", 1)
    assert played.machine.outcome.status == "SUCCEEDED"
    assert str(played.records).count(text) <= 5
    scheduled = [json.loads(record["taskScheduledEventDetails"]["parameters"]) for record in played.records if record["type"] == "TaskScheduled"]
    assert [told["input"]["n"] for told in scheduled] == list(range(20))
