"""Graphs, switches, loops, routes and notes: what flows and workflows need of the machine, with templates written as functions."""

import json

import pytest
from play import START, identity_of

from flowrunner.core import facts
from flowrunner.core.commands import RunAttempt
from flowrunner.core.draw import as_dot, as_mermaid, graph_of
from flowrunner.core.machine import Machine
from flowrunner.core.program import (
    Branch,
    Case,
    Catcher,
    Field,
    GraphNode,
    GraphWork,
    Label,
    LoopWork,
    PassWork,
    Program,
    Retrier,
    Route,
    State,
    SwitchWork,
    TaskWork,
    WaitWork,
)
from flowrunner.limits import OPEN


class Fn:
    """A template that is a function of its environment."""

    def __init__(self, function, text=""):
        self.evaluate = function
        self.text = text


def label(name, **more):
    return Label(id=name, name=name.upper(), type="transform", **more)


def task(name, **more):
    more.setdefault("label", label(name))
    return State(name=name, kind="Task", language="JSONata", work=TaskWork(resource=f"arn:aws:states:::flowrunner:{name}.do"), **more)


def branch(*states):
    return Branch(start_at=states[0].name, states={state.name: state for state in states})


def kept(name):
    """Assigns the result to ``nodes.NAME``, or that it was skipped."""

    def evaluate(environment):
        skipped = environment.states.get("skipped", False)
        return {f"nodes.{name}": {"output": None if skipped else environment.states["result"], "status": "skipped" if skipped else "success"}}

    return Fn(evaluate)


class Player:
    """Feeds a machine; every step it also goes through a snapshot, so that what is played warm is played replayed too."""

    def __init__(self, program, given=None, *, restored=False):
        self.program, self.restored = program, restored
        self.identity = identity_of({} if given is None else given)
        self.machine = Machine(program, self.identity, OPEN)
        self.now, self.open, self.records = START, {}, []
        self.take(facts.Started(at=self.now))

    def take(self, fact):
        step = self.machine.apply(fact)
        self.records += step.records
        for command in step.commands:
            if isinstance(command, RunAttempt):
                self.open[command.attempt] = command
        if self.restored:
            seq = self.machine.last_seq
            if self.machine.outcome is None:
                self.machine = Machine.restore(self.program, self.identity, self.machine.snapshot(), OPEN)
            assert self.machine.last_seq == seq
        if step.more:
            self.take(facts.Continued(at=self.now))

    def running(self):
        return [command.state for command in self.open.values()]

    def attempt(self, state):
        return next(number for number, command in self.open.items() if command.state == state)

    def answer(self, state, output=None, *, error=None, after=10):
        number = self.attempt(state)
        del self.open[number]
        self.now += after
        self.take(facts.AttemptStarted(at=self.now, attempt=number))
        if error is None:
            self.take(facts.AttemptSucceeded(at=self.now, attempt=number, output=json.dumps(output)))
        else:
            self.take(facts.AttemptFailed(at=self.now, attempt=number, error=error, cause="because"))

    def wake(self):
        self.now = self.machine.wake_at
        self.take(facts.TimerFired(at=self.now))

    def notes(self, *kinds):
        return [{"is": record["type"], **record["note"]} for record in self.records if "note" in record and (not kinds or record["type"] in kinds)]

    @property
    def outcome(self):
        return self.machine.outcome


@pytest.fixture(params=[False, True], ids=["warm", "restored"])
def play(request):
    """Plays a program, warm and through a snapshot after every fact."""
    return lambda program, given=None: Player(program, given, restored=request.param)


def graph_program(*nodes, limit=None, **more):
    root = State(name="all", kind="Parallel", language="JSONata", work=GraphWork(nodes=tuple(nodes), max_concurrency=limit))
    return Program(root=branch(root), notes=True, shares_variables=True, **more)


DIAMOND = (
    GraphNode(branch=branch(task("a", assign=kept("a")))),
    GraphNode(branch=branch(task("b", assign=kept("b"))), needs=(0,)),
    GraphNode(branch=branch(task("c", assign=kept("c"))), needs=(0,)),
    GraphNode(branch=branch(task("d", assign=kept("d"))), needs=(1, 2)),
)


def test_a_node_starts_as_soon_as_its_needs_have_ended(play):
    """Not layer by layer: what needs b only does not wait for c."""
    extra = GraphNode(branch=branch(task("e")), needs=(1,))
    played = play(graph_program(*DIAMOND, extra))
    assert played.running() == ["a"]
    played.answer("a", 1)
    assert played.running() == ["b", "c"]
    played.answer("b", 2)
    assert played.running() == ["c", "e"]
    played.answer("c", 3)
    assert played.running() == ["e", "d"]
    played.answer("d", 4)
    played.answer("e", 5)
    assert played.outcome.status == "SUCCEEDED"
    assert json.loads(played.outcome.output) == [1, 2, 3, 4, 5]


def test_an_any_merge_takes_the_first(play):
    """A node with `any` starts by the first of its needs, and once only."""
    played = play(
        graph_program(GraphNode(branch=branch(task("a"))), GraphNode(branch=branch(task("b"))), GraphNode(branch=branch(task("m")), needs=(0, 1), any=True))
    )
    played.answer("b", 1)
    assert played.running() == ["a", "m"]
    played.answer("m", 2)
    played.answer("a", 3)
    assert played.outcome.status == "SUCCEEDED"
    assert sum(note["stepId"] == "m" for note in played.notes("StepStarted")) == 1


def test_places_of_a_graph(play):
    """At most so many run at once."""
    played = play(graph_program(*(GraphNode(branch=branch(task(name))) for name in "abc"), limit=2))
    assert played.running() == ["a", "b"]
    played.answer("a")
    assert played.running() == ["b", "c"]


def test_a_failed_node_ends_the_graph_and_cancels_the_others(play):
    """Unless something in its branch catches it."""
    played = play(graph_program(GraphNode(branch=branch(task("a"))), GraphNode(branch=branch(task("b")))))
    played.answer("a", error="Bad")
    assert (played.outcome.status, played.outcome.error) == ("FAILED", "Bad")
    ended = [(note["stepId"], note["status"]) for note in played.notes("StepCompleted")]
    assert ended == [("a", "failed"), ("b", "cancelled")]


def test_a_skipped_node_lets_those_after_it_go_on(play):
    """Its condition does not hold: it is noted so, keeps that, and its dependents start."""
    skipped = GraphNode(branch=branch(task("a", when=Fn(lambda _: False), assign=kept("a"))))
    looks = task("b", arguments=Fn(lambda environment: environment.variables["nodes.a"]))
    played = play(graph_program(skipped, GraphNode(branch=branch(looks), needs=(0,))))
    [command] = played.open.values()
    assert json.loads(command.parameters) == {"output": None, "status": "skipped"}
    assert [(note["is"], note["stepId"], note.get("status")) for note in played.notes("StepStarted", "StepCompleted")] == [
        ("StepCompleted", "a", "skipped"),
        ("StepStarted", "b", None),
    ]


def test_progress_of_a_graph_is_the_share_that_has_ended(play):
    """It never falls, and 100 is kept for the end."""
    played = play(graph_program(*DIAMOND, steps=4))
    for name in "abcd":
        played.answer(name)
    assert [note["progress"] for note in played.notes("StepStarted")] == [0, 25, 25, 75]


def test_variables_are_shared_and_noted(play):
    """What a branch assigns, others see; input variables come before those of the program; names with dots are the compilers' own."""
    sets = Fn(lambda environment: {"x": environment.states["result"], "nodes.a": {"output": 7, "status": "success"}, "y": 1, "$unset": ["z"]})
    sees = task("b", arguments=Fn(lambda environment: dict(environment.variables)))
    played = play(
        graph_program(GraphNode(branch=branch(task("a", assign=sets))), GraphNode(branch=branch(sees), needs=(0,)), variables={"y": 0, "z": 3}),
        {"variables": {"y": 1}},
    )
    played.answer("a", "new")
    [command] = played.open.values()
    assert json.loads(command.parameters) == {"x": "new", "y": 1, "nodes.a": {"output": 7, "status": "success"}}
    changes = [(note["name"], note["changeType"], note["oldValue"], note["newValue"], note["stepId"]) for note in played.notes("VariableChanged")]
    assert changes == [("x", "create", None, "new", "a"), ("z", "delete", 3, None, "a")]


def switch(*cases):
    return State(name="choose", kind="Parallel", language="JSONata", work=SwitchWork(cases=tuple(cases)), label=label("choose"))


@pytest.mark.parametrize(("given", "taken", "index"), [({"x": 2}, "big", 0), ({"x": 1}, "one", 1), ({"x": 0}, "other", 2)])
def test_a_switch_runs_one_branch(play, given, taken, index):
    """The first case that holds; the state's result is that branch's output."""
    cases = [
        Case(branch=branch(task("big")), label="big", condition=Fn(lambda environment: environment.states["input"]["x"] > 1, "x > 1")),
        Case(branch=branch(task("one")), label="one", condition=Fn(lambda environment: environment.states["input"]["x"] == 1, "x == 1")),
        Case(branch=branch(task("other")), label="other"),
    ]
    played = play(Program(root=branch(switch(*cases)), notes=True), given)
    assert played.running() == [taken]
    [decided] = played.notes("BranchDecided")
    assert (decided["selectedBranch"], decided["branchIndex"], decided["isDefault"]) == (taken, index, taken == "other")
    played.answer(taken, {"from": taken})
    assert json.loads(played.outcome.output) == {"from": taken}


def test_a_switch_without_a_case_that_holds(play):
    """It gives null."""
    played = play(Program(root=branch(switch(Case(branch=branch(task("a")), label="a", condition=Fn(lambda _: False)))), notes=True))
    assert (played.outcome.status, played.outcome.output) == ("SUCCEEDED", "null")


def loop_program(body=None, **fields):
    body = body or branch(task("body", arguments=Fn(lambda environment: dict(environment.variables))))
    state = State(name="loop", kind="Map", language="JSONata", work=LoopWork(body=body, **fields), label=label("loop"))
    return Program(root=branch(state), notes=True, shares_variables=True)


def test_a_loop_over_items(play):
    """One iteration after the other, each with its own variables."""
    played = play(loop_program(kind="forEach", items=Field(name="source", constant=["x", "y"]), item_variable="it", index_variable="at"))
    [first] = played.open.values()
    assert json.loads(first.parameters) == {
        "loopIndex": 0, "loopCount": 1, "loopTotal": 2, "loopFirst": True, "loopLast": False, "loopItem": "x", "it": "x", "at": 0,
    }  # fmt: skip
    played.answer("body", 1, after=15)
    [second] = played.open.values()
    assert json.loads(second.parameters)["it"] == "y"
    played.answer("body", 2)
    assert json.loads(played.outcome.output) == {"iterations": [1, 2], "total": 2, "completed": 2, "failed": 0, "exitReason": "completed"}
    kinds = [note["is"] for note in played.notes("LoopStarted", "IterationStarted", "IterationCompleted", "LoopCompleted")]
    assert kinds == ["LoopStarted", "IterationStarted", "IterationCompleted", "IterationStarted", "IterationCompleted", "LoopCompleted"]
    assert played.notes("IterationCompleted")[0] == {
        "is": "IterationCompleted",
        "stepId": "loop",
        "stepName": "LOOP",
        "index": 0,
        "status": "success",
        "duration": 15,
    }
    assert [note.get("iteration") for note in played.notes("StepStarted")] == [None, 0, 1]


@pytest.mark.parametrize(
    ("fields", "answers", "reason", "total"),
    [
        ({"kind": "count", "count": Field(name="count", constant=3)}, 3, "completed", 3),
        ({"kind": "count", "count": Field(name="count", constant=0)}, 0, "completed", 0),
        ({"kind": "count", "count": Field(name="count", constant=9), "max_iterations": 2}, 2, "maxIterations", 2),
        ({"kind": "while", "condition": Fn(lambda environment: environment.variables["loopIndex"] < 2)}, 2, "conditionFalse", 2),
        ({"kind": "while", "condition": Fn(lambda _: True), "max_iterations": 3}, 3, "maxIterations", 3),
        ({"kind": "while", "condition": Fn(lambda environment: environment.variables["loopIndex"] < 3), "max_iterations": 3}, 3, "conditionFalse", 3),
        ({"kind": "count", "count": Field(name="count", constant=5), "break_when": Fn(lambda environment: environment.variables["loopIndex"] == 1)}, 2, "break", 2),
        ({"kind": "count", "count": Field(name="count", constant=4), "skip_when": Fn(lambda environment: environment.variables["loopIndex"] % 2 == 0)}, 2, "completed", 4),
        ({"kind": "forEach", "items": Field(name="source", constant=[])}, 0, "completed", 0),
    ],
)  # fmt: skip
def test_how_loops_end(play, fields, answers, reason, total):
    """Counts, conditions, bounds, breaks and skipped iterations."""
    played = play(loop_program(**fields))
    for _ in range(answers):
        played.answer("body", "x")
    result = json.loads(played.outcome.output)
    assert (result["exitReason"], result["total"], result["completed"]) == (reason, total, total)
    assert played.notes("LoopCompleted")[0]["exitReason"] == reason


def test_iterations_at_once(play):
    """As many as may run at once; a break opens no more."""
    stops = Fn(lambda environment: environment.states["result"] == "stop")
    played = play(loop_program(kind="count", count=Field(name="count", constant=6), concurrency=2, break_when=stops))
    assert len(played.open) == 2
    played.answer("body", 1)
    assert len(played.open) == 2
    played.answer("body", "stop")
    assert len(played.open) == 1
    played.answer("body", 1)
    assert json.loads(played.outcome.output)["exitReason"] == "break"


def test_a_failed_iteration(play):
    """It fails the loop, or is counted and the loop goes on."""
    fields = {"kind": "count", "count": Field(name="count", constant=2)}
    played = play(loop_program(**fields))
    played.answer("body", error="Bad")
    assert played.outcome.error == "Bad"
    assert played.notes("LoopCompleted")[0]["exitReason"] == "error"
    played = play(loop_program(**fields, keeps_going=True))
    played.answer("body", error="Bad")
    played.answer("body", 1)
    result = json.loads(played.outcome.output)
    assert (result["completed"], result["failed"], result["iterations"]) == (1, 1, [{"error": "Bad", "cause": "because"}, 1])


def test_a_loop_needs_a_list(play):
    """Anything else fails it with a clear cause."""
    played = play(loop_program(kind="forEach", items=Field(name="source", constant={"a": 1})))
    assert (played.outcome.status, played.outcome.error) == ("FAILED", "FlowRunner.InvalidParameters")
    assert "needs a list" in played.outcome.cause


def test_a_long_loop_of_pure_states_is_cut(play):
    """Thousands of iterations that need nothing from outside go on in several steps."""
    body = branch(State(name="p", kind="Pass", language="JSONata", work=PassWork()))
    played = play(loop_program(body, kind="count", count=Field(name="count", constant=3000), max_iterations=5000))
    assert json.loads(played.outcome.output)["completed"] == 3000


def flow(*states):
    return Program(root=branch(*states), notes=True)


def action_of(environment):
    return environment.states["result"]["action"]


ACTION = Fn(action_of)
OUTPUT = Fn(lambda environment: {**environment.states["input"], **environment.states["result"]["output"]})


def node(name, edges, **more):
    returned = Fn(lambda environment: {f"results.{name}": environment.states["result"]["output"]})
    more.setdefault("label", label(name))
    return task(name, route=Route(action=ACTION, edges=edges), output=OUTPUT, assign=returned, **more)


@pytest.mark.parametrize(("action", "end"), [("left", "l"), ("right", "r"), ("unheard of", "d")])
def test_a_node_goes_on_by_its_action(play, action, end):
    """A missing edge falls to default; input accumulates."""
    played = play(flow(node("n", {"left": "l", "right": "r", "default": "d"}), *(node(name, {}) for name in "lrd")), {"given": 1})
    played.answer("n", {"action": action, "output": {"x": 2}})
    assert played.running() == [end]
    played.answer(end, {"action": "success", "output": {"y": 3}})
    assert json.loads(played.outcome.output) == {"given": 1, "x": 2, "y": 3}
    completed = played.notes("StepCompleted")
    assert (completed[0]["action"], json.loads(completed[0]["output"]), completed[0]["duration"]) == (action, {"x": 2}, 10)


def test_without_an_edge_the_flow_ends(play):
    """Even where others were possible."""
    played = play(flow(node("n", {"left": "l"}), node("l", {})))
    played.answer("n", {"action": "success", "output": {}})
    assert played.outcome.status == "SUCCEEDED"


def test_progress_of_a_flow(play):
    """By the longest way that remains, or as the author states it; a cycle does not take it back."""
    stated = [node(name, {"success": after}, label=label(name, progress=percent)) for name, after, percent in (("a", "b", 10), ("b", "c", 30))]
    played = play(flow(*stated, node("c", {"success": "d", "back": "a"}, label=label("c", remaining=2)), node("d", {})))
    for name, action in (("a", "success"), ("b", "success"), ("c", "back"), ("a", "success"), ("b", "success"), ("c", "success"), ("d", "success")):
        played.answer(name, {"action": action, "output": {}})
    told = [note["progress"] for note in played.notes("StepStarted")]
    assert told[:3] == [10, 30, 50]
    assert told == sorted(told)


def test_error_edges_and_linear_retries(play):
    """Retries wait 100, 200, 300 ms; then the catcher's way, with the error in the input."""
    failing = node(
        "n",
        {"success": "l"},
        retriers=(Retrier(error_equals=("States.ALL",), interval_seconds=0.1, max_attempts=3, linear=True),),
        catchers=(
            Catcher(
                error_equals=("States.ALL",),
                next="h",
                output=Fn(lambda environment: {**environment.states["input"], "error": environment.states["errorOutput"]}),
            ),
        ),
    )
    played = play(flow(failing, node("l", {}), node("h", {})), {"given": 1})
    for wait in (100, 200, 300):
        played.answer("n", error="Bad")
        assert played.machine.wake_at - played.now == wait
        played.wake()
    played.answer("n", error="Bad")
    [command] = played.open.values()
    assert command.state == "h"
    assert json.loads(command.parameters) == {"given": 1, "error": {"Error": "Bad", "Cause": "because"}}
    assert [note["delay"] for note in played.notes("StepRetried")] == [100, 200, 300]
    assert played.notes("StepCompleted")[0]["status"] == "failed"


def test_milliseconds(play):
    """Timeouts and waits of flows are finer than seconds."""
    slow = State(name="t", kind="Task", language="JSONata", next="w", label=label("t"), work=TaskWork(resource="arn:aws:states:::flowrunner:x", timeout_milliseconds=250),
                 catchers=(Catcher(error_equals=("States.Timeout",), next="w"),))  # fmt: skip
    waits = State(name="w", kind="Wait", language="JSONata", work=WaitWork(until=Field(name="Milliseconds", constant=120)), label=label("w"))
    played = play(flow(slow, waits))
    assert played.machine.wake_at - played.now == 250
    played.wake()
    assert played.machine.wake_at - played.now == 120
    played.wake()
    assert played.outcome.status == "SUCCEEDED"
    assert [note["status"] for note in played.notes("StepCompleted")] == ["failed", "success"]


def test_log_lines_of_an_attempt(play):
    """They become notes as long as the attempt runs; later ones are lost."""
    played = play(flow(node("n", {})))
    number = played.attempt("n")
    line = facts.LogLine(level="warn", message="half way", data='{"n": 1}')
    played.take(facts.AttemptLogged(at=played.now, attempt=number, lines=(line,)))
    played.answer("n", {"action": "success", "output": {}})
    played.take(facts.AttemptLogged(at=played.now, attempt=number, lines=(line,)))
    logged = played.notes("StepLogged")
    assert [note["message"] for note in logged] == ["Starting step: N", "half way"]
    assert logged[1] == {"is": "StepLogged", "stepId": "n", "stepName": "N", "level": "warn", "message": "half way", "data": {"n": 1}}


def test_a_stopped_execution_cancels_its_steps(play):
    """Whoever watches sees them end."""
    played = play(graph_program(*DIAMOND))
    played.take(facts.Stopped(at=played.now))
    assert [note["status"] for note in played.notes("StepCompleted")] == ["cancelled"]


def test_notes_are_no_events(play):
    """They have no id, and the ids of events have no holes."""
    played = play(graph_program(*DIAMOND))
    for name in "abcd":
        played.answer(name)
    ids = [record["id"] for record in played.records if "id" in record]
    assert ids == list(range(1, len(ids) + 1))
    assert played.machine.last_seq == len(played.records) > len(ids)


def test_pictures():
    """A workflow is drawn as its steps; the edges of a node carry their actions."""
    drawn = as_mermaid(graph_of(graph_program(*DIAMOND)))
    assert drawn.count("-->") == 6
    assert '["a"]' in drawn
    flowing = as_mermaid(graph_of(flow(node("n", {"left": "l", "success": "r"}), node("l", {}), node("r", {}))))
    assert '-->|"left"|' in flowing
    looping = as_dot(graph_of(loop_program(kind="count", count=Field(name="count", constant=1))))
    assert "cluster" in looping
