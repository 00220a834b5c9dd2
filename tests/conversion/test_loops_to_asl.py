"""Loops as circles of states: the same iterations with the same variables, the same reasons for their end."""

import pytest
from test_workflow_to_asl import task
from twice import Answer, refusals, same

ECHO = {
    "type": "command",
    "config": {"command": "echo", "args": ["{{item}}", "{{index}} {{$loopCount}}/{{$loopTotal}}", "{{$loopFirst}}", "{{$loopLast}}", "{{seen}}"]},
}
EACH = {
    "variables": {"list": [1, 2], "seen": 0},
    "steps": {
        "each": {
            "type": "loop",
            "loop": {"type": "forEach", "source": "list", "maxIterations": 4},
            "children": [{"id": "a", **ECHO, "output": {"seen": "v"}}, {"id": "b", "when": "{{item}} != 2", **ECHO}, {"id": "c", "type": "script", "config": {"script": "x"}}],
            "output": {"reason": "exitReason", "first": "results[0].a.v", "all": "{{result.results}}"},
        },
        "after": task(dependsOn=["each"], config={"url": "{{reason}} {{all}} {{each.totalIterations}} {{a.v}}"}),
    },
}  # fmt: skip


@pytest.mark.parametrize("items", [[], [1], [[1]], [1, 2, 3], [[], None, {"k": [1]}, "t", 5, 6], "text", None, 7])
@pytest.mark.parametrize("broken", [None, "b"])
def test_for_each(items, broken):
    """Of a list that is given to the run; what is no list fails the loop."""

    def answers(state, called, attempt):
        return Answer({"v": called["params"].get("args")}, error="X" if state == broken and attempt == 2 else None)

    same(EACH, "workflow", "asl", {"variables": {"list": items}}, answers)


@pytest.mark.parametrize("items", [[], [1, 2], "text", [[1], [2], [3]]])
@pytest.mark.parametrize("fails", [0, 1, 2, 9])
def test_iterations_that_fail(items, fails):
    """The loop goes on with the next one."""
    inner = {"type": "loop", "onError": "continue", "loop": {"source": "{{list}}", "itemVar": "x", "breakCondition": "{{result.a.v}} == 'stop'"}}
    steps = {"each": {**inner, "children": [task(id="a", config={"url": "{{x}}"}, retry={"maxAttempts": 2, "interval": 1000})]}, "z": task(dependsOn=["each"])}

    def answers(state, called, attempt):
        return Answer({"v": "stop" if attempt == 3 else attempt}, error="X" if attempt <= fails else None)

    same({"steps": steps}, "workflow", "asl", {"variables": {"list": items}}, answers)


@pytest.mark.parametrize("most", [1, 3, 100])
@pytest.mark.parametrize("stop", [1, 4])
def test_while(most, stop):
    """The page that an iteration sets is what the next one looks at."""
    loop = {"type": "while", "condition": "{{page}} <= 3", "maxIterations": most, "breakCondition": "{{page}} == {{stop}} && {{index}} > 0"}
    steps = {"pages": {"type": "loop", "loop": loop, "children": [task(id="get", config={"url": "{{page}}"}, output={"page": "{{page + 1}}"})]}}
    same({"variables": {"page": 1}, "steps": steps}, "workflow", "asl", {"variables": {"stop": stop}}, lambda *_: {})


@pytest.mark.parametrize("count", [0, 1, 3, 3.0, -1, "3", " 2.0", "two", "", True, 1.5])
def test_count_of_a_step_itself(count):
    """With its own retries, outputs and skipped iterations."""
    own = {
        "loop": {"type": "count", "count": "{{n}}", "continueCondition": "{{$loopIndex}} == 1"},
        "retryCount": 1,
        "retryDelay": 1000,
        "output": {"last": "v", "t": "{{result.v}}"},
    }
    steps = {"a": task(config={"url": "{{index}} {{a.v}} {{t}}"}, **own), "b": task(dependsOn=["a"], config={"url": "{{last}} {{t}} {{a}}"})}

    def answers(state, called, attempt):
        return Answer({"v": attempt}, error="X" if attempt == 1 else None)

    same({"steps": steps}, "workflow", "asl", {"variables": {"n": count}}, answers)


def test_loops_within_loops():
    """Inner ones see the variables of outer ones; an inner one that fails fails an iteration of the outer one."""
    inner = {
        "id": "inner",
        "type": "loop",
        "loop": {"source": "{{row}}", "itemVar": "cell"},
        "children": [task(id="a", config={"url": "{{row}} {{cell}}"}), {"id": "s", "type": "script", "config": {"script": "x"}}],
    }
    outer = {
        "type": "loop",
        "onError": "continue",
        "loop": {"source": "rows", "itemVar": "row"},
        "children": [inner, {"id": "d", "type": "delay", "config": {"duration": "1s"}}],
    }
    rows = [[1, 2], [], "text", [3]]
    ran = same(
        {"variables": {"rows": rows}, "steps": {"o": outer}},
        "workflow",
        "asl",
        {},
        lambda state, called, attempt: Answer(error="X" if attempt == 3 and state == "a" else None),
    )
    assert ran.output["outputs"]["o"]["failedIterations"] == 2


def test_the_older_spelling():
    """It means the same."""
    steps = {
        "a": {"type": "group", "loopOver": "{{list}}", "loopVar": "x", "children": {"p": task(config={"url": "{{x}}"}), "q": task(config={"url": "http://q"})}}
    }
    same({"steps": steps}, "workflow", "asl", {"variables": {"list": [1, 2]}}, lambda state, called, attempt: Answer({}, after=attempt * 20))


@pytest.mark.parametrize(
    ("loop", "more", "place", "why"),
    [
        ({"source": "n", "parallel": True}, {}, "/steps/a/loop", "iterations at once"),
        ({"source": "n"}, {"retryCount": 2}, "/steps/a", "would be lost"),
        ({"source": "n", "breakCondition": "{{n - 1}}"}, {"onError": "continue"}, "/steps/a/loop", "no Catch"),
        ({"source": "{{n[m]}}"}, {}, "/steps/a/loop/source", "index"),
        ({"source": "n"}, {"onError": "continue", "children": {"b": task(), "c": task()}}, "/steps/a/children/b", "side by side"),
    ],
)
def test_what_has_no_counterpart_is_told(loop, more, place, why):
    """With its place and why."""
    found = refusals({"steps": {"a": {"type": "loop", "loop": loop, "children": [task(id="b")], **more}}}, "workflow", "asl")
    assert [at for at, _ in found] == [place]
    assert why in found[0][1]
