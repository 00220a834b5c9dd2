"""State machines that become workflows: those that were one, whatever their author made of them since, as long as it means what a workflow can."""

import pytest
import test_workflow_to_asl as there
from twice import converted, program_of, refusals, run

INPUTS = [{}, {"variables": {"n": 4, "flag": True, "until": "2023-11-14T22:30:00Z"}}, 5]


@pytest.mark.parametrize("given", INPUTS)
@pytest.mark.parametrize("workflow", [there.CHAIN, there.RETRIED, there.SIDE_BY_SIDE, there.ONE_BY_ONE], ids=["chain", "retried", "side", "one"])
def test_there_and_back(workflow, given):
    """The workflow that comes back does the same, and becomes the same machine."""
    machine = converted(workflow, "workflow", "asl")
    again = converted(machine, "asl", "workflow")
    assert converted({**again, "name": "x"}, "workflow", "asl") == machine

    def answers(state, called, attempt):
        return {"v": 1, "userId": 1, "items": [{"name": "x"}]}

    assert run(program_of(again, "workflow"), given, answers).story == run(program_of(workflow, "workflow"), given, answers).story


def test_what_comes_back():
    """Steps with their own words."""
    steps = converted(converted(there.CHAIN, "workflow", "asl"), "asl", "workflow")["steps"]
    assert steps["fetch"] == {**there.CHAIN["steps"]["fetch"], "type": "http.request"}
    assert steps["check"] == there.CHAIN["steps"]["check"]
    assert steps["last"] == there.CHAIN["steps"]["last"]


def machine():
    return converted({"variables": {"n": 1}, "steps": {"a": there.task(), "b": there.task(dependsOn=["a"])}}, "workflow", "asl")


def test_names_and_comments_of_states_are_free():
    """The ids of steps are in the variables, not in the names of the states."""
    made = machine()
    made["States"]["First"] = {**made["States"].pop("a"), "Comment": "The first."}
    made["States"]["(start)"]["Next"] = "First"
    assert converted(made, "asl", "workflow")["steps"]["a"]["name"] == "The first."


def changed(change):
    made = machine()
    change(made["States"])
    return made


@pytest.mark.parametrize(
    ("change", "place", "why"),
    [
        (lambda states: states["a"].update(Resource="arn:aws:states:::lambda:invoke"), "/States/a/Resource", "no kind of step"),
        (lambda states: states["a"].update(HeartbeatSeconds=5), "/States/a/HeartbeatSeconds", "no step"),
        (lambda states: states["a"]["Assign"].update(x=1), "/States/a/Assign", "no step"),
        (lambda states: states["a"].update(Assign={"x": 1}), "/States/a", "variable 'nodes'"),
        (lambda states: states["a"].update(Output=1), "/States/a/Output", "no step"),
        (lambda states: states["a"]["Arguments"]["params"].update(url="{% $variables.n %}"), "/States/a/Arguments/params/url", "in JSONata"),
        (lambda states: states["a"]["Arguments"]["params"].update(url="{% /* {{n}} */ $variables.m %}"), "/States/a/Arguments", "no step"),
        (lambda states: states["a"]["Arguments"]["params"].update(url=5), "/States", "would not be sound"),
        (lambda states: states["a"].update(Retry=[{"ErrorEquals": ["X"]}]), "/States/a/Retry", "no step"),
        (lambda states: states["a"].update(Catch=[{"ErrorEquals": ["X"], "Next": "b"}]), "/States/a/Catch", "no step"),
        (lambda states: states.update(b={"Type": "Choice", "Choices": [{"Condition": "{% true %}", "Next": "(end)"}]}), "/States/b", "in JSONata"),
        (lambda states: states["b"].update(Next="a", Catch=[{"ErrorEquals": ["X"], "Next": "(end)"}]), "/States/a", "leads back"),
        (lambda states: states["(end)"].update(Output=1), "/States/(end)/Output", "no step"),
        (lambda states: states["(start)"]["Assign"].update(nodes=1), "/States/(start)/Assign", "no step"),
        (lambda states: states["(start)"]["Assign"].update(variables="{% 1 %}"), "/StartAt", "takes {'variables'}"),
        (lambda states: states["a"]["Assign"].update(variables="{% /* [1 */ 1 %}"), "/States/a/Assign", "no JSON"),
    ],
)
def test_what_has_no_counterpart_is_told(change, place, why):
    """With its place and why."""
    found = refusals(changed(change), "asl", "workflow")
    assert any(at.startswith(place) for at, _ in found), found
    assert why in found[0][1]


def test_other_machines_have_other_data():
    """A workflow takes and gives variables."""
    [(place, message)] = refusals({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}, "asl", "workflow")
    assert place == "/StartAt"
    assert "takes {'variables'}" in message
