"""How a flow runs: input that accumulates, actions and edges, retries, failures, waits, batches, sub-flows. Pure machine, virtual time."""

import json

import pytest
from flowplay import ACCOUNT, START, Fails, Hangs, JavaScript, play

from flowrunner.lang.moment import format_timestamp


def flow(nodes, **top):
    """The text of a flow: YAML takes JSON."""
    return json.dumps({"metadata": {"name": "test"}, "nodes": nodes, **top})


def transform(next_nodes=None, **more):
    return {"type": "transform", "params": {"script": "return 1"}, **({} if next_nodes is None else {"next": next_nodes}), **more}


def fail(error="FlowRunner.ScriptError", cause="it broke"):
    def task(parameters):
        raise Fails(error, cause)

    return task


def hang(parameters):
    raise Hangs


def gives(*outputs):
    """Gives these one after another, the last for ever; an exception is raised."""
    left = list(outputs)

    def task(parameters):
        made = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(made, Exception):
            raise made
        return {"output": made, "action": "success"}

    return task


# --- input and output


def test_the_input_accumulates():
    """Objects join the input, a later key wins; other values stand under their node's name."""
    text = flow({"a": transform("b"), "b": transform("c"), "c": transform()})
    played = play(text, {"x": 1, "y": 1}, {"a": gives({"y": 2, "z": 2}), "b": gives([7]), "c": gives({"z": 3})})
    assert [call["input"] for call in (played.called(name)[0] for name in "abc")] == [
        {"x": 1, "y": 1},
        {"x": 1, "y": 2, "z": 2},
        {"x": 1, "y": 2, "z": 2, "b": [7]},
    ]
    assert played.output == {"x": 1, "y": 2, "z": 3, "b": [7]}


def test_a_task_is_called_with_what_its_node_speaks_of():
    """`results`, `shared` and `variables` are passed on only to nodes whose texts mention them."""
    nodes = {
        "a": transform("b", hooks={"post": "return 'x'"}),
        "b": {"type": "transform", "params": {"script": "return results.a + shared.n + variables.v"}},
    }
    played = play(flow(nodes, shared={"n": 1}, variables={"v": 2}), {"i": 0}, {"a": gives(5)})
    [first], [second] = played.called("a"), played.called("b")
    assert first == {
        "params": {"script": "return 1"},
        "input": {"i": 0},
        "execution": {"id": "0123456789abcdef0123456789abcdef", "flow_id": "f-1", "name": "e-1", "started_at": format_timestamp(START)},
        "hooks": {"post": "return 'x'"},
        "language": "flow",
    }
    assert (second["results"], second["shared"], second["variables"]) == ({"a": 5}, {"n": 1}, {"v": 2})


def test_a_task_may_give_a_new_shared():
    """What a task gives as `shared` is what later nodes see."""
    nodes = {"a": transform("b"), "b": {"type": "transform", "params": {"script": "return shared"}}}
    played = play(flow(nodes), {}, {"a": lambda call: {"output": {}, "action": "success", "shared": {"n": 2}}})
    assert played.called("b")[0]["shared"] == {"n": 2}
    assert not played.notes("VariableChanged")


@pytest.mark.parametrize(("given", "first"), [(None, {}), ([1], {"input": [1]}), ("x", {"input": "x"})])
def test_an_input_that_is_no_object_becomes_one(given, first):
    """The first node sees an object."""
    played = play(flow({"a": transform()}), given) if given is not None else play(flow({"a": transform()}))
    assert played.called("a")[0]["input"] == first


# --- actions


@pytest.mark.parametrize(
    ("value", "reached"),
    [
        ("left", "l"),
        (True, "yes"),
        (False, "no"),
        ({"branch": "left", "k": 1}, "l"),
        ({"branch_decision": True}, "yes"),
        ({"other": 1}, "done"),
        (None, "done"),
        (7, "done"),
        ("nowhere", "rest"),
    ],
)
def test_a_condition_picks_the_edge(value, reached):
    """A text, a boolean's word, an object's branch; otherwise success; default for what has no edge."""
    ways = {"left": "l", "true": "yes", "false": "no", "success": "done", "default": "rest"}
    nodes = {"c": {"type": "condition", "params": {"condition_script": "return 1"}, "next": ways}, **{name: transform() for name in ways.values()}}
    assert play(flow(nodes), {}, {"c": gives(value)}).path == ["c", reached]


def test_only_conditions_decide_by_what_they_return():
    """A transform that hands on a branch of before goes on by success; a kind's own action is taken."""
    nodes = {"t": transform({"success": "ok", "left": "l"}), "ok": transform({"created": "l", "success": "n"}), "l": transform(), "n": transform()}
    played = play(flow(nodes), {}, {"t": gives({"branch": "left"}), "ok": lambda call: {"output": 1, "action": "created"}})
    assert played.ended == [("t", "success", "success"), ("ok", "success", "created"), ("l", "success", "success")]


def test_an_action_without_an_edge_ends_the_flow():
    """Without default, too."""
    played = play(flow({"c": {"type": "condition", "params": {"condition_script": "1"}, "next": {"a": "x"}}, "x": transform()}), {}, {"c": gives("b")})
    assert played.outcome.status == "SUCCEEDED"
    assert played.path == ["c"]


def test_a_flow_may_go_round():
    """Three times through the loop, from the start that is named."""
    nodes = {
        "count": transform("check"),
        "check": {"type": "condition", "params": {"condition_script": "1"}, "next": {"more": "count", "done": "end"}},
        "end": transform(),
    }
    played = play(flow(nodes, start="count"), {}, {"check": gives("more", "more", "done")})
    assert played.path == ["count", "check"] * 3 + ["end"]
    progress = [note["progress"] for note in played.notes("StepStarted")]
    assert progress == sorted(progress)


# --- failures


def test_a_failed_node_takes_its_error_edge():
    """The next node sees what went wrong; the flow is completed."""
    played = play(flow({"a": transform({"error": "e", "timeout": "t"}), "e": transform(), "t": transform()}), {"x": 1}, {"a": fail()})
    told = {"error": "FlowRunner.ScriptError", "cause": "it broke", "node": "a", "message": "it broke"}
    assert played.called("e")[0]["input"] == {"x": 1, "error": told}
    assert played.ended == [("a", "failed", None), ("e", "success", "success")]
    assert played.outcome.status == "SUCCEEDED"


@pytest.mark.parametrize("error", ["States.Timeout", "FlowRunner.ScriptTimeout"])
def test_a_node_that_timed_out_takes_its_timeout_edge(error):
    """Whether the machine, a script or a request was out of time; without that edge, error."""
    nodes = {"e": transform(), "t": transform()}
    assert play(flow({"a": transform({"error": "e", "timeout": "t"}), **nodes}), {}, {"a": fail(error)}).path == ["a", "t"]
    assert play(flow({"a": transform({"error": "e", "success": "t"}), **nodes}), {}, {"a": fail(error)}).path == ["a", "e"]


def test_the_last_failure_counts():
    """A node that failed at first and then timed out takes timeout."""
    text = flow({"a": transform({"error": "e", "timeout": "t"}, timeout="250ms", retry={"max_retries": 1, "wait": "0s"}), "e": transform(), "t": transform()})
    played = play(text, {}, {"a": _once_then_hangs()})
    assert played.path == ["a", "t"]
    assert played.milliseconds == 250


def _once_then_hangs():
    seen = []

    def task(parameters):
        seen.append(1)
        raise (Fails("X") if len(seen) == 1 else Hangs)

    return task


@pytest.mark.parametrize("edges", [{}, {"success": "z"}, {"timeout": "z"}])
def test_a_failure_without_an_edge_fails_the_flow(edges):
    """Default is for actions, not for failures."""
    played = play(flow({"a": transform({**edges, "default": "z"}), "z": transform()}), {}, {"a": fail("X", "why")})
    assert (played.outcome.status, played.outcome.error, played.outcome.cause) == ("FAILED", "X", "why")


@pytest.mark.parametrize(
    ("retry", "begun"),
    [
        ({"max_retries": 2, "wait": "100ms"}, [0, 100, 200]),
        ({"max_retries": 3, "wait": "100ms", "backoff": "linear"}, [0, 100, 300, 600]),
        ({"max_retries": 4, "wait": "1s", "backoff": "exponential", "max_wait": "3s"}, [0, 1000, 3000, 6000, 9000]),
        ({"max_retries": 0}, [0]),
        ({"max_retries": 1}, [0, 1000]),
        ({"wait": 0.05}, [0, 50, 100, 150]),
    ],
)
def test_retries(retry, begun):
    """`max_retries` counts what follows the first attempt; the waits are fixed, or grow."""
    assert play(flow({"a": transform(retry=retry)}), {}, {"a": fail()}).times("a") == begun


def test_jitter_makes_waits_shorter():
    """A random part of what it would be, the same in every replay."""
    text = flow({"a": transform(retry={"max_retries": 3, "wait": "10s", "jitter": True})})
    first, second = (play(text, {}, {"a": fail()}).times("a") for _ in range(2))
    assert first == second
    assert 0 < first[-1] < 30_000


def test_a_flow_has_a_time_limit():
    """After it the execution has timed out, whatever its nodes wait for."""
    played = play(flow({"a": transform({"timeout": "b"}), "b": transform()}, timeout="90s"), {}, {"a": hang})
    assert (played.outcome.status, played.milliseconds) == ("TIMED_OUT", 90_000)


# --- progress


def test_progress_follows_the_longest_way_left():
    """Four nodes: 0, 25, 50, 75; a shorter way jumps ahead; what a node states is what it is."""
    long = {"a": transform({"success": "b", "short": "d"}), "b": transform("c"), "c": transform("d"), "d": transform()}
    assert [note["progress"] for note in play(flow(long)).notes("StepStarted")] == [0, 25, 50, 75]
    played = play(flow(long), {}, {"a": lambda call: {"output": 1, "action": "short"}})
    assert [note["progress"] for note in played.notes("StepStarted")] == [0, 50]
    stated = {"a": transform("b", progress=10), "b": transform("c", progress=60), "c": transform(progress=30)}
    assert [note["progress"] for note in play(flow(stated)).notes("StepStarted")] == [10, 60, 60]


# --- waits


@pytest.mark.parametrize(
    ("node", "milliseconds"),
    [
        ({"type": "delay", "params": {"duration": "1m30s"}}, 90_000),
        ({"type": "delay", "params": {"duration": 250, "unit": "ms"}}, 250),
        ({"type": "delay", "params": {"duration": "${ input.pause }"}}, 2_000),
        ({"type": "delay", "params": {"duration": "${ input.seconds * 2 + 's' }"}}, 6_000),
        ({"type": "wait", "params": {"type": "duration", "duration": 3}}, 3_000),
        ({"type": "wait", "params": {"until_time": "2023-11-14T22:14:20Z"}}, 60_000),
        ({"type": "wait", "params": {"type": "until", "until_time": "${ input.at }"}}, 5_000),
    ],
)
def test_a_wait_takes_its_time_and_passes_its_input_on(node, milliseconds):
    """Constants, paths and scripts; nothing but the clock has to come about."""
    given = {"pause": "2s", "seconds": 3, "at": format_timestamp(START + 5_000)}
    played = play(flow({"w": {**node, "next": "z"}, "z": transform()}), given, {"z": gives({})}, default=JavaScript())
    assert (played.path, played.milliseconds, played.output) == (["w", "z"], milliseconds, given)


@pytest.mark.parametrize(
    "node",
    [
        {"type": "delay", "params": {"duration": 1}},
        {"type": "delay", "params": {"duration": "${ '1' + 's' }"}},
        {"type": "wait", "params": {"until_time": "${ new Date(0).toISOString() }"}},
        {"type": "merge"},
    ],
)
def test_what_only_waits_gives_its_input(node):
    """The result that scripts find is the one that is told, however the parameters were computed."""
    text = flow({"w": {**node, "next": {"success": "z"}}, "z": {"type": "transform", "params": {"script": "return results.w"}}})
    played = play(text, {"d": 1}, default=JavaScript())
    [told] = [json.loads(note["output"]) for note in played.notes("StepCompleted") if note["stepId"] == "w"]
    assert (told, played.called("z")[0]["results"]) == ({"d": 1}, {"w": {"d": 1}})


def test_a_delay_that_is_none_takes_the_error_edge():
    """An expression that gives no duration is a failure like others."""
    text = flow({"w": {"type": "delay", "params": {"duration": "${ input.pause }"}, "next": {"error": "e"}}, "e": transform()})
    played = play(text, {"pause": "soon"})
    assert played.path == ["w", "e"]
    assert "'duration' must be a number of seconds" in played.called("e")[0]["input"]["error"]["message"]


def poll(**params):
    return flow(
        {
            "w": {"type": "wait", "params": {"type": "condition", "condition": "return input.ready", **params}, "next": {"success": "s", "timeout": "t"}},
            "s": transform(),
            "t": transform(),
        }
    )


def test_a_condition_is_evaluated_until_it_holds():
    """Three looks, two intervals; the attempt is known to the script."""
    played = play(poll(interval="5s"), {"x": 1}, {"w (condition)": gives(*[False, 0, "yes"]), "s": gives({})})
    assert (played.path, played.times("w (condition)")) == (["w", "s"], [0, 5000, 10_000])
    assert [(call["input"], call["names"]) for call in played.called("w (condition)")] == [({"x": 1, "attempt": n}, ["attempt"]) for n in (1, 2, 3)]
    assert played.output == {"x": 1, "met": True, "attempts": 3}


@pytest.mark.parametrize(
    ("params", "times"),
    [
        ({"interval": "5s", "max_attempts": 3}, [0, 5000, 10_000]),
        ({"interval": "4s", "timeout": "10s"}, [0, 4000, 8000, 10_000]),
        ({"interval": "${ '4' + 's' }", "timeout": "${ input.most }"}, [0, 4000, 8000, 10_000]),
    ],
)
def test_a_condition_that_never_holds_takes_the_timeout_edge(params, times):
    """After so many looks, or when the time is up, with a last look then."""
    played = play(poll(**params), {"most": "10s"}, {"w (condition)": gives(0)}, default=JavaScript())
    assert (played.path, played.times("w (condition)")) == (["w", "t"], times)
    assert played.ended[0] == ("w", "success", "timeout")
    assert played.called("t")[0]["input"]["met"] is False


# --- sub-flows


def test_a_sub_flow_is_an_execution_of_its_own():
    """It is started by its id in the same account, with the input; what it gives joins the input."""
    text = flow({"sub": {"type": "flow", "params": {"flow_id": "child-1", "input": {"n": "${ input.n }"}}}})
    played = play(text, {"n": 4}, {"sub": lambda call: {"ExecutionArn": "arn:x:e-2", "Status": "SUCCEEDED", "Output": {"m": 5}}})
    assert played.called("sub") == [{"StateMachineArn": f"{ACCOUNT}:stateMachine:flow/child-1", "Input": {"n": 4}}]
    assert played.output == {"n": 4, "m": 5}


def test_a_sub_flow_may_be_computed_and_left_alone():
    """An id by a script; without waiting the node gives the execution's id."""
    text = flow({"sub": {"type": "sub-flow", "params": {"flow_id": "${ 'child-' + input.n }", "wait": False}}})
    played = play(
        text, {"n": 4}, {"sub (start)": lambda call: {"ExecutionArn": "arn:x:execution:flow/child-4:e-9", "ExecutionId": "c0ffee"}}, default=JavaScript()
    )
    assert played.called("sub (start)") == [{"StateMachineArn": f"{ACCOUNT}:stateMachine:flow/child-4", "Input": {"n": 4}}]
    assert played.output == {"n": 4, "execution_id": "c0ffee"}


def test_ways_meet_in_a_merge():
    """It passes the input on."""
    nodes = {
        "c": {"type": "condition", "params": {"script": "1"}, "next": {"a": "a", "b": "b"}},
        "a": transform("m"),
        "b": transform("m"),
        "m": {"type": "merge", "next": "z"},
        "z": transform(),
    }
    played = play(flow(nodes), {}, {"c": gives("b"), "b": gives({"y": 1})})
    assert played.path == ["c", "b", "m", "z"]
    assert played.called("z")[0]["input"] == {"c": "b", "y": 1}
