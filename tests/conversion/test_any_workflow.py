"""Workflows drawn at random: those that become a state machine do the same as before, whatever their tasks answer and however long they take."""

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from twice import Answer, program_of, run

from flowrunner.asl.parse import parse_definition
from flowrunner.conversion import convert
from flowrunner.jsonvalue import dumps
from flowrunner.kinds import BUILT_IN

NAMES = ["a", "b", "c", "d", "e"]
VARIABLES = ["x", "y", "z"]
READS = st.sampled_from(
    [
        "{{x}}",
        "{{y}} and {{z}}",
        "{{a.v}}",
        "{{nodes.b.output.v}}",
        "{{nodes.c.status}}",
        "{{$prev.v}}",
        "{{x + 1}}",
        "http://plain",
        "{{x == y}}",
        "{{item}} {{$loopCount}} {{index}}",
    ]
)
CONDITIONS = st.sampled_from(["{{x}} == 1", "{{a}}", "{{nodes.b.status}} === 'success'", "!{{y}}", "{{z}} < 2 || {{x}}"])
SETS = st.dictionaries(st.sampled_from(VARIABLES), st.sampled_from(["v", "w.k", "{{result.v}}", "{{x}}", "no.where"]), max_size=1)
VALUES = st.sampled_from([0, 1, "1", "t", None, True, [], [1], {"k": 2}])
ANSWERS = st.builds(
    Answer,
    output=st.fixed_dictionaries({"v": VALUES}, optional={"w": VALUES}),
    error=st.sampled_from([None] * 6 + ["X", "States.Timeout"]),
    after=st.sampled_from([0, 10, 30, 1500]),
)


LOOPS = st.fixed_dictionaries(
    {},
    optional={
        "breakCondition": CONDITIONS,
        "continueCondition": st.sampled_from(["{{item}} == 1", "{{$loopFirst}}"]),
        "maxIterations": st.sampled_from([1, 2]),
    },
).flatmap(
    lambda more: st.sampled_from([{"source": "x"}, {"source": [1, "{{y}}", [2]]}, {"count": 2}, {"condition": "{{y}} != 1", "maxIterations": 3}]).map(
        lambda loop: loop | more
    )
)
LOOSE = st.sampled_from([{}, {"onError": "continue"}])


def list_of(children):
    """The same steps one after the other, unless they say what they wait for."""
    return [{"id": name, **step} for name, step in children.items()]


@st.composite
def steps(draw, names, level=0):
    made = {}
    for index, name in enumerate(names):
        step = {"type": "http", "config": {"url": draw(READS)}}
        if level == 0 and draw(st.integers(0, 5)) == 0:
            children = draw(steps([f"{name}1", f"{name}2"], level=1))
            arranged = [{"type": "group", "children": children}, {"type": "branch", "condition": draw(CONDITIONS), "children": children}]
            step = draw(st.sampled_from([*arranged, {"type": "loop", "loop": draw(LOOPS), "children": list_of(children), **draw(LOOSE)}]))
        else:
            step |= draw(
                st.sampled_from([{}, {}, {"onError": "continue"}, {"retry": {"maxAttempts": 2, "interval": 1000}}, {"retryCount": 1, "onError": "continue"}])
            )
        if draw(st.booleans()) and draw(st.booleans()):
            step["when"] = draw(CONDITIONS)
        if draw(st.booleans()):
            step["output"] = draw(SETS)
        if index and (needs := draw(st.lists(st.sampled_from(names[:index]), max_size=2, unique=True))):
            step["dependsOn"] = needs
        made[name] = step
    return made


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(steps(NAMES), st.dictionaries(st.sampled_from(VARIABLES), VALUES), st.dictionaries(st.sampled_from(VARIABLES), VALUES), st.data())
def test_a_workflow_and_its_state_machine_do_the_same(made, declared, given_, data):
    """Compared are the attempts with their moments and parameters, and the end."""
    workflow = dumps({"variables": declared, "steps": made, **({"maxConcurrency": 1} if data.draw(st.booleans()) else {})})
    source = program_of(workflow, "workflow")
    converted = convert(workflow, "workflow", "asl", BUILT_IN)
    assume(converted.definition is not None)
    parsed = parse_definition(dumps(converted.definition))
    assert not parsed.diagnostics
    table = {}

    def answers(state, _called, attempt):
        if (state, attempt) not in table:
            table[state, attempt] = data.draw(ANSWERS, label=f"{state} {attempt}")
        return table[state, attempt]

    one = run(source, {"variables": given_}, answers)
    other = run(parsed.program, {"variables": given_}, answers)
    assert other.story == one.story
