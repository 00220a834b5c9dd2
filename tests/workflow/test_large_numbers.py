"""Whole numbers beyond 64 bits and halves of characters: a value like any other, or a finding; never an execution that cannot be written down."""

import json

import pytest
from workflowplay import Player

from flowrunner.api.messages import Renderer
from flowrunner.core import records
from flowrunner.kinds import BUILT_IN
from flowrunner.views.stream import note_message
from flowrunner.workflow.parse import parse_workflow

LARGE = 123456789012345678901234567890


@pytest.fixture(params=[False, True], ids=["warm", "restored"])
def play(request):
    return lambda steps, variables=None: Player({"name": "w", "steps": steps}, variables, restored=request.param)


def written(played):
    """The records, read back from the log."""
    return json.loads(records.encode(played.records))


def changes(played):
    told = [message.payload for record in written(played) if (message := note_message(record)) is not None and message.kind == "variable_change"]
    return {change["varName"]: change["newValue"] for change in told}


def test_a_variable(play):
    """As a constant, from the run, and as a part of what a task gave."""
    sets = {"constant": LARGE, "given": "{{n}}", "part": ["{{n}}"]}
    played = play({"a": {"type": "http", "config": {"url": "http://x"}, "output": {**sets, "id": "id"}}}, {"n": LARGE})
    played.answer("a", {"id": LARGE})
    assert played.machine.outcome.status == "SUCCEEDED"
    assert changes(played) == {"constant": LARGE, "given": LARGE, "part": [LARGE], "id": LARGE}


def test_an_item_of_a_loop(play):
    """It is told as what it is."""
    loop = {"type": "forEach", "source": [LARGE, -LARGE], "children": [{"id": "d", "type": "delay", "config": {"duration": 1}}]}
    played = play({"l": {"type": "loop", "loop": loop}})
    for _ in range(2):
        played.wake()
    assert played.machine.outcome.status == "SUCCEEDED"
    assert [record["note"]["item"] for record in written(played) if record["type"] == "IterationStarted"] == [LARGE, -LARGE]


@pytest.mark.parametrize("count", ["1e30", LARGE, 2**53])
def test_a_count_that_nobody_can_come_to(play, count):
    """Fails the step, whatever `maxIterations` is."""
    loop = {"type": "count", "count": "{{n}}", "maxIterations": 3, "children": [{"id": "d", "type": "merge"}]}
    played = play({"l": {"type": "loop", "loop": loop}}, {"n": count})
    assert (played.machine.outcome.status, played.machine.outcome.error) == ("FAILED", "FlowRunner.InvalidParameters")
    assert "at most 9007199254740991" in played.machine.outcome.cause
    assert written(played)


@pytest.mark.parametrize("member", ["count", "maxIterations", "concurrency"])
@pytest.mark.parametrize("kept", [False, True])
def test_a_bound_that_is_too_large(member, kept):
    """Is refused; what was accepted before has the largest that there is."""
    loop = {"type": "count", "count": 2, "parallel": True, "children": [{"id": "d", "type": "delay", "config": {"duration": 1}}], member: LARGE}
    text = json.dumps({"name": "w", "steps": {"l": {"type": "loop", "loop": loop}}})
    parsed = parse_workflow(text, BUILT_IN, kept=kept)
    assert [(found.severity, found.pointer) for found in parsed.diagnostics] == [("WARNING" if kept else "ERROR", f"/steps/l/loop/{member}")]
    if kept and member != "count":
        played = Player(text, restored=True, parse=lambda text, kinds, _: parse_workflow(text, kinds, kept=True))
        played.wake()
        assert played.machine.outcome.status == "SUCCEEDED"


def test_more_steps_at_once_than_there_are():
    """A limit beyond all numbers limits nothing."""
    played = Player({"name": "w", "maxConcurrency": LARGE, "steps": {"d": {"type": "delay", "config": {"duration": 1}}}}, restored=True)
    played.wake()
    assert played.machine.outcome.status == "SUCCEEDED"


def test_a_value_that_is_as_deep_as_can_be_written():
    """Is told in records and messages, which are deeper still."""
    inner = {"id": "k", "type": "merge", "output": {"v": {"a": ["{{v}}"]}}}
    last = {"type": "merge", "dependsOn": ["l"], "output": {"v": None}}
    loop = {"type": "loop", "loop": {"type": "count", "count": 127, "maxIterations": 127, "children": [inner]}}
    played = Player({"name": "w", "variables": {"v": 1}, "steps": {"l": loop, "end": last}})
    assert played.machine.outcome.status == "SUCCEEDED"
    renderer = Renderer("r", "notes")
    told = [json.loads(made.text) for seq, record in enumerate(written(played), 1) for made in renderer.messages(seq, record)]
    assert sum(message["type"] == "variable_change" for message in told) == 128


def test_escapes_of_characters(play):
    """Two halves are one character."""
    played = play({"a": {"type": "merge", "output": {"face": r"{{'\ud83d\ude00'}}", "length": r"{{'\ud83d\ude00'.length}}"}}})
    assert changes(played) == {"face": "😀", "length": 1}


@pytest.mark.parametrize("half", [r"\ud83d", r"\ude00", r"\ude00\ud83d"])
def test_half_of_a_character(half):
    """Is no text."""
    text = json.dumps({"name": "w", "steps": {"a": {"type": "merge", "output": {"x": "{{'" + half + "'}}"}}}})
    [found] = parse_workflow(text, BUILT_IN).diagnostics
    assert (found.severity, found.code, found.pointer) == ("ERROR", "INVALID_EXPRESSION", "/steps/a/output/x")
    assert "half of a character" in found.message
