"""Steps of loops within a loop whose iterations run at once have the same name and iteration: each keeps what is its own."""

import orjson
import pytest
from workflowplay import START, Player

from flowrunner.ports.executions import Head
from flowrunner.views.run import steps
from flowrunner.views.standing import Standing

RUN = Head(
    id="0" * 31 + "3", account="000000000000", machine="workflow/w", name="e", revision="r", status="RUNNING", input="{}", seed=bytes(16), started_at=START
)
INNER = {"id": "k", "type": "http", "config": {"url": "http://x/{{item}}"}, "retry": {"maxAttempts": 2, "interval": 10}, "onError": "continue"}


def nested(inner, *, group=False):
    inner = {"id": "g", "type": "group", "children": [inner]} if group else inner
    loop = {"id": "inner", "type": "loop", "loop": {"type": "count", "count": 1, "itemVar": "n", "children": [inner]}}
    outer = {"type": "loop", "loop": {"type": "forEach", "source": ["a", "b", "c"], "parallel": True, "children": [loop]}}
    return {"name": "w", "steps": {"outer": outer}}


def attempt_for(played, item):
    """The number of the open attempt that asks for this item."""
    return next(number for number, command in played.open.items() if f'"http://x/{item}"' in command.parameters)


def answer(played, item, **more):
    """Answer the attempt for an item, whichever began first."""
    number = attempt_for(played, item)
    played.open = {number: played.open[number], **{other: command for other, command in played.open.items() if other != number}}
    played.answer("k", **more)


@pytest.mark.parametrize("group", [False, True])
def test_each_has_its_own_output(group):
    """Whichever ends first; the loops around them, too."""
    played = Player(nested(INNER, group=group))
    answer(played, "b", output={"of": "b"}, after=100)
    answer(played, "c", error="X", after=50)
    played.wake()
    answer(played, "c", output={"of": "c"}, after=50)
    answer(played, "a", error="X", after=50)
    played.wake()
    answer(played, "a", error="Y", after=50)
    shown = steps(RUN, played.records)
    told = [(step["inputData"]["url"][-1], step["outputData"], step["error"], step["attempts"]) for step in shown if step["stepId"] == "k"]
    assert told == [("a", None, "Y: because", 2), ("b", {"of": "b"}, None, 1), ("c", {"of": "c"}, None, 2)]
    found = [step["outputData"]["results"][0] for step in shown if step["stepId"] == "inner"]
    inner = [result["g"]["k"] if group else result["k"] for result in found]
    assert inner == [None, {"of": "b"}, {"of": "c"}]
    assert all(step["status"] != "running" for step in shown)


def test_one_that_is_skipped_ends_no_other():
    """In the steps, and in a snapshot."""
    played = Player(nested({**INNER, "when": "{{item}} != 'c'"}))
    assert [(step["status"], step["attempts"]) for step in steps(RUN, played.records) if step["stepId"] == "k"] == [("running", 1)] * 2 + [("skipped", 0)]
    standing = Standing(RUN)
    for seq, record in enumerate(played.records, 1):
        standing.take(seq, record)
    rows = {row["stepId"]: row for row in orjson.loads(orjson.dumps(standing.message(standing.pieces()).payload["steps"]))}
    assert (rows["k"]["status"], rows["k"]["entered"]) == ("running", 2)
    answer(played, "a", output=1)
    answer(played, "b", output=2)
    for seq, record in enumerate(played.records[standing.seq :], standing.seq + 1):
        standing.take(seq, record)
    rows = {row["stepId"]: row for row in orjson.loads(orjson.dumps(standing.message(standing.pieces()).payload["steps"]))}
    assert (rows["k"]["status"], rows["k"]["entered"]) == ("success", 2)
    told = [(step["status"], step["outputData"]) for step in steps(RUN, played.records) if step["stepId"] == "k"]
    assert told == [("success", 1), ("success", 2), ("skipped", None)]
