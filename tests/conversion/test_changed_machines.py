"""State machines that were flows or workflows, changed at random: each is converted to one that does the same, or refused, and nothing else happens."""

import copy

import pytest
import test_workflow_to_asl as there
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from twice import PARSERS, Endless, converted, run

from flowrunner.conversion import convert
from flowrunner.jsonvalue import dumps
from flowrunner.kinds import BUILT_IN

FLOW = {
    "metadata": {"name": "x"},
    "start": "a",
    "nodes": {
        "a": {"type": "condition", "params": {"script": "x"}, "next": {"true": "b", "default": "c", "error": "c"}, "retry": {"max_retries": 1}},
        "b": {"type": "delay", "params": {"duration": 2}, "next": "c"},
        "c": {"type": "http.request", "params": {"url": "http://u"}, "hooks": {"post": "x"}, "next": {"success": "d"}},
        "d": {"type": "merge"},
    },
}
MACHINES = {
    "flow": [converted(FLOW, "flow", "asl")],
    "workflow": [converted(workflow, "workflow", "asl") for workflow in (there.CHAIN, there.SIDE_BY_SIDE, there.RETRIED, there.WITHIN)],
}
VALUES = st.sampled_from([None, 0, 1, 2.5, "", "a", "b", "{% 1 %}", "{% $variables.n %}", "{% /* {{n}} */ $variables.n %}", [], {}, True, ["States.ALL"]])


def places(value, at=()):
    yield at
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from places(part, (*at, name))


def changed(draw, machine):
    made = copy.deepcopy(machine)
    for _ in range(draw(st.integers(1, 2))):
        where = [place for place in places(made) if place]
        at = draw(st.sampled_from(where))
        other = draw(st.sampled_from(where))
        holder, value = made, made
        for name in at[:-1]:
            holder = holder[name]
        for name in other:
            value = value[name]
        change = draw(st.sampled_from(["remove", "replace", "copy", "copy"]))
        if change == "remove":
            del holder[at[-1]]
        else:
            holder[at[-1]] = draw(VALUES) if change == "replace" else copy.deepcopy(value)
    return made


def answer(*_):
    return {"v": 1, "userId": 1}


@pytest.mark.parametrize("to", ["flow", "workflow"])
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_changed_machine(to, data):
    """What is still converted does what the changed machine does."""
    machine = changed(data.draw, data.draw(st.sampled_from(MACHINES[to])))
    text = dumps(machine)
    parsed = PARSERS["asl"](text)
    assume(parsed.program is not None)
    made = convert(text, "asl", to, BUILT_IN)
    if made.definition is None:
        assert any(found.code == "CANNOT_CONVERT" for found in made.diagnostics)
        return
    again = PARSERS[to](dumps(made.definition))
    for value in ({}, {"variables": {"flag": True}}):
        try:
            expected = run(parsed.program, value, answer, most=2000)
        except Endless:
            reject()  # a change has led an edge back
        ran = [expected, run(again.program, value, answer)]
        assert [sorted(map(dumps, (call[::2] for call in one.calls))) for one in ran[:1]] == [
            sorted(map(dumps, (call[::2] for call in one.calls))) for one in ran[1:]
        ]
        assert ran[0].story["output"] == ran[1].story["output"]
