"""Flows drawn at random: those that become a state machine do the same as before; and the machine becomes a flow again that does so too."""

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from twice import PARSERS, Answer, assert_sound, program_of, refusals, run, same

from flowrunner.conversion import convert
from flowrunner.jsonvalue import dumps
from flowrunner.kinds import BUILT_IN

NAMES = ["a", "b", "c", "d"]
KINDS = st.sampled_from(
    [
        {"type": "transform", "params": {"script": "{% 1 %}"}},
        {"type": "http.request", "params": {"url": "${ input.u }"}},
        {"type": "condition", "params": {"script": "x"}},
        {"type": "store", "params": {"op": "get", "key": "k"}, "hooks": {"post": "return 'big'"}},
        {"type": "delay", "params": {"duration": 3}},
        {"type": "wait", "params": {"type": "until", "until_time": "2023-11-14T22:14:00Z"}},
        {"type": "merge"},
    ]
)
ACTIONS = ["success", "default", "error", "timeout", "client_error", "true", "big"]
RETRIES = st.sampled_from([{}, {}, {"retry": {"max_retries": 1, "wait": "2s"}}, {"retry": {"backoff": "exponential", "max_wait": "3s"}, "timeout": "1h"}])
OUTPUTS = st.sampled_from(
    [
        None,
        1,
        "big",
        "true",
        True,
        False,
        [],
        [1],
        {},
        {"k": [1]},
        {"branch": "big"},
        {"branch": 5, "branch_decision": "true"},
        {"branch_decision": False, "b": 1},
    ]
)
ANSWERS = st.builds(
    Answer,
    output=OUTPUTS,
    action=st.sampled_from(["success", "success", "client_error", "big", "odd"]),
    error=st.sampled_from([None] * 5 + ["X", "States.Timeout", "FlowRunner.ScriptTimeout", "States.DataLimitExceeded", "States.Runtime"]),
    cause=st.sampled_from(["because", None]),
)
INPUTS = st.sampled_from([{}, {"a": 1, "n": [1]}, None, 5, [1], "text"])


@st.composite
def flows(draw):
    nodes = {}
    for index, name in enumerate(NAMES):
        node = dict(draw(KINDS))
        if node["type"] not in ("delay", "wait", "merge"):
            node |= draw(RETRIES)
        later = NAMES[index + 1 :]
        if later:
            edges = draw(st.dictionaries(st.sampled_from(ACTIONS), st.sampled_from(later), max_size=4))
            node["next"] = draw(st.sampled_from([edges, edges, draw(st.sampled_from(later))]))
        nodes[name] = node
    return {"metadata": {"name": "drawn"}, "start": "a", "nodes": nodes}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(flows(), INPUTS, st.data())
def test_a_flow_and_its_state_machine_do_the_same(flow, value, data):
    """Compared are the attempts with their moments and parameters, and the end."""
    source = program_of(flow, "flow")
    machine = convert(dumps(flow), "flow", "asl", BUILT_IN)
    assume(machine.definition is not None)
    again = convert(dumps(machine.definition), "asl", "flow", BUILT_IN)
    assert again.definition is not None, again.diagnostics
    table = {}

    def answers(state, _called, attempt):
        if (state, attempt) not in table:
            answer = data.draw(ANSWERS, label=f"{state} {attempt}")
            node = flow["nodes"][state]
            if answer.action not in BUILT_IN[node["type"]].actions and "hooks" not in node:
                answer.action = "success"  # kinds keep to the actions that they name
            table[state, attempt] = answer
        return table[state, attempt]

    story = run(source, value, answers).story
    for definition, form in ((machine.definition, "asl"), (again.definition, "flow")):
        parsed = PARSERS[form](dumps(definition))
        assert_sound(parsed)
        assert run(parsed.program, value, answers).story == story


def test_actions_without_an_edge():
    """A request has other actions than success, and without an edge for them the flow ends."""
    nodes = {"a": {"type": "http.request", "params": {"url": "http://x"}, "next": {"success": "b"}}, "b": {"type": "transform"}}
    flow = {"metadata": {"name": "x"}, "nodes": nodes}
    ran = same(flow, "flow", "asl", {}, lambda *_: Answer({"n": 1}, action="client_error"))
    assert [state for _, state, _ in ran.calls] == ["a"]


def test_what_only_flows_have():
    """A flow without an end, the id of the execution, names."""
    circle = {"a": {"type": "transform", "next": "b"}, "b": {"type": "transform", "next": "a"}}
    told = {"a": {"type": "transform", "params": {"script": "return execution.id"}}}
    named = {"a (action)": {"type": "transform"}, "n" * 90: {"type": "transform", "next": "a (action)"}}
    flows_ = [{"metadata": {"name": "x"}, "start": next(iter(nodes)), "nodes": nodes} for nodes in (circle, told)]
    found = [refusals(flow, "flow", "asl") for flow in (*flows_, {"metadata": {"name": "x"}, "nodes": named})]
    assert [[place for place, _ in one] for one in found] == [["/nodes/a"], ["/nodes/a/params"], ["/nodes/" + "n" * 90, "/nodes/a (action)"]]
    assert "no end" in found[0][0][1]
    spoken = {"a": {"type": "webhook", "params": {"url": "http://x", "payload": {"text": "the execution has ended", "name": "${ execution.name }"}}}}
    same({"metadata": {"name": "x"}, "nodes": spoken}, "flow", "asl", {})
    spoken["a"]["params"]["payload"]["name"] = "${ execution.id }"
    assert [place for place, _ in refusals({"metadata": {"name": "x"}, "nodes": spoken}, "flow", "asl")] == ["/nodes/a/params"]
