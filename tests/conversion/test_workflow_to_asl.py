"""A workflow and the state machine it becomes do the same: the same tasks with the same inputs at the same moments, the same end."""

import pytest
from twice import START, Answer, converted, refusals, same

from flowrunner.conversion import convert
from flowrunner.jsonvalue import dumps
from flowrunner.kinds import BUILT_IN


def task(**more):
    return {"type": "http", "config": {"url": "http://x/{{n}}"}, **more}


CHAIN = {
    "name": "chain",
    "description": "Steps one after the other.",
    "timeout": "1h",
    "variables": {"n": 1, "list": [1, {"a": "b"}], "flag": False},
    "steps": {
        "fetch": task(name="Fetch", output={"user": "userId", "first": "items[0].name", "gone": "no.such", "all": "{{result}}", "old": "{{user}}"}),
        "check": {
            "type": "command",
            "dependsOn": ["fetch"],
            "when": "{{user}} == 1 && !{{flag}}",
            "config": {
                "command": "echo",
                "args": ["{{user}}", "user {{user}} of {{list}}", "{{fetch.items[0]}}", "{{$prev.userId}}", "{{nodes.fetch.status}}"],
            },
        },
        "last": {
            "type": "script",
            "dependsOn": ["check"],
            "input": {"who": "{{user}}", "n": "{{n}}2"},
            "config": {"script": "return variables.user + input.n", "args": ["{{who}}", "{{n}}"]},
            "output": {"n": "{{n + 1}}"},
        },
    },
}
FETCHED = {"status": 200, "response": {"body": {"userId": 1, "items": [{"name": "x"}]}}, "items": [{"name": "y"}]}


@pytest.mark.parametrize(
    "given", [{}, None, 5, [], {"variables": {"n": [], "a.b": 1, "$x": 1, "user-id": 3}}, {"variables": {"flag": "x"}, "environment": {"n": 5, "more": 6}}]
)
@pytest.mark.parametrize("fetched", [FETCHED, {"body": {"userId": "1"}}, "text", None, [[]], {"userId": 2}])
def test_a_chain(given, fetched):
    """Variables of three levels, paths, expressions, a condition, a script that sees everything."""
    same(CHAIN, "workflow", "asl", given, lambda state, called, attempt: fetched if state == "fetch" else [state])


RETRIED = {
    "variables": {"n": 1},
    "steps": {
        "a": task(retry={"maxAttempts": 3, "interval": 2000, "backoff": "exponential", "maxInterval": 3000}, timeout=5, onError="continue"),
        "b": task(dependsOn=["a"], when="{{nodes.a.status}} == 'failed'", config={"url": "{{nodes.a.error.error}} {{a}}"}),
        "c": task(dependsOn=["b"], onError="retry", retryDelay=1000),
        "d": task(dependsOn=["c"], disabled=True),
        "e": {"type": "delay", "dependsOn": ["d"], "config": {"duration": "2s"}, "output": {"w": "waited"}},
        "f": {"type": "wait", "dependsOn": ["e"], "config": {"until_time": "{{until}}"}},
        "g": {"type": "merge", "dependsOn": ["f", "a"]},
    },
}


@pytest.mark.parametrize("fails", [{}, {"a": 2}, {"a": 3}, {"c": 2}, {"c": 3}, {"a": 9, "c": 1}])
@pytest.mark.parametrize("error", ["X", "States.Timeout", "States.DataLimitExceeded", "States.Runtime"])
def test_failures(fails, error):
    """Retries with their delays, an error that the workflow goes on after, one that ends it, steps that are skipped."""

    def answers(state, called, attempt):
        return Answer(error=error) if attempt <= fails.get(state, 0) else {"ok": state}

    same(RETRIED, "workflow", "asl", {"variables": {"until": "2023-11-14T22:30:00Z"}}, answers)


def test_an_expression_that_fails_is_an_error_of_the_step():
    """And the workflow goes on where it should."""
    steps = {"a": task(config={"url": "{{n - 1}}"}, onError="continue"), "b": task(dependsOn=["a"])}
    ran = same({"variables": {"n": 1}, "steps": steps}, "workflow", "asl", {"variables": {"n": "x"}})
    assert ran.output["outputs"]["a"] is None


SIDE_BY_SIDE = {
    "variables": {"n": 1},
    "steps": {
        "a": task(output={"x": "v"}),
        "b": task(config={"url": "http://b"}),
        "c": task(dependsOn=["a"], config={"url": "{{x}} {{a.v}}"}, output={"y": "v"}, when="{{x}} > 0"),
        "d": task(dependsOn=["a"], output={"z": "v", "n": "v"}, config={}, input={"url": "{{x}}"}),
        "e": task(dependsOn=["c", "d", "a"], config={"url": "{{y}}{{z}}{{nodes.c.status}}"}),
        "f": task(dependsOn=["e", "b"], config={"url": "{{n}} {{x}}{{y}}{{z}} {{b.v}}"}),
    },
}


@pytest.mark.parametrize("slow", ["a", "b", "c", "d"])
@pytest.mark.parametrize("value", [1, 0, None, [1]])
@pytest.mark.parametrize("broken", [None, "b", "d"])
def test_side_by_side(slow, value, broken):
    """Whichever is slower, and when one fails the others are ended."""

    def answers(state, called, attempt):
        return Answer({} if value is None else {"v": value}, error="X" if state == broken else None, after=500 if state == slow else 10)

    same(SIDE_BY_SIDE, "workflow", "asl", {}, answers)


WITHIN = {
    "variables": {"n": 1},
    "steps": [
        {
            "id": "g",
            "type": "group",
            "when": "{{n}} < 5",
            "children": [task(id="g1", output={"n": "v"}), task(id="g2")],
            "output": {"both": "g1.v", "g": "{{result}}"},
        },
        {
            "id": "br",
            "type": "branch",
            "dependsOn": ["g"],
            "output": {"way": "selectedBranch"},
            "branches": [
                {"condition": "default", "label": "else", "children": {"x1": task(), "x2": task()}},
                {"condition": "{{n}} >= 3", "priority": 2, "children": [task(id="y1"), task(id="y2", config={"url": "{{$prev.v}}"})]},
                {"condition": "{{n}} == 'seven'", "label": "seven", "priority": 1, "children": []},
            ],
        },
        {"id": "either", "dependsOn": ["br"], "type": "branch", "condition": "{{way}} == 'else'", "children": [task(id="e1")], "elseChildren": []},
        {"id": "maybe", "dependsOn": ["either"], "type": "branch", "branches": [{"condition": "{{n}} > 8", "children": [task(id="m1")]}]},
        task(id="end", dependsOn=["maybe"], config={"url": "{{way}} {{br.y2.v}} {{nodes}} {{g.g2}} {{maybe}}"}),
    ],
}


@pytest.mark.parametrize("n", [1, 3, 5, 9, "seven", "3"])
@pytest.mark.parametrize("broken", [None, "g2", "x2", "y1"])
def test_groups_and_branches(n, broken):
    """Steps within steps."""
    same(
        WITHIN,
        "workflow",
        "asl",
        {"variables": {"n": n}},
        lambda state, called, attempt: Answer({"v": n}, error="X" if state == broken else None, after=len(state) * 7 + ord(state[-1])),
    )


@pytest.mark.parametrize("n", [1, 2])
def test_an_empty_list_of_branches_beside_a_condition(n):
    """Counts as not there: the condition decides."""
    either = {"type": "branch", "branches": [], "condition": "{{n}} == 1", "children": [task(id="y")], "elseChildren": [task(id="e")]}
    ran = same({"steps": {"b": either}}, "workflow", "asl", {"variables": {"n": n}}, lambda state, called, attempt: {"v": state})
    assert [state for _, state, _ in ran.calls] == ["y" if n == 1 else "e"]


ONE_BY_ONE = {"maxConcurrency": 1, "steps": {"c": task(dependsOn=["b", "a"]), "b": task(output={"n": "v"}), "d": task(dependsOn=["b"]), "a": task()}}


def test_one_at_a_time():
    """Then any order can be said, and nothing is shared at once."""
    ran = same(ONE_BY_ONE, "workflow", "asl", {"variables": {"n": 0}}, lambda state, called, attempt: {"v": state})
    assert [state for _, state, _ in ran.calls] == ["b", "d", "a", "c"]


def test_what_looks_like_jsonata_stays_text():
    """In texts, scripts and ids."""
    steps = {"(end)": {"type": "script", "config": {"script": "{% 1 %}", "args": ["{% {{n}} %}", "%}", "{{secrets.KEY.a}} x"], "env": {"a": "*/ {{n}}"}}}}
    ran = same({"variables": {"n": 1}, "steps": steps}, "workflow", "asl")
    assert ran.calls[0][2]["params"]["args"] == ["{% 1 %}", "%}", "{{resolve:secretsmanager:KEY:SecretString:a}} x"]
    assert "(end) 2" in converted({"variables": {"n": 1}, "steps": steps}, "workflow", "asl")["States"]


@pytest.mark.parametrize(
    ("workflow", "place", "why"),
    [
        ({"a": task(), "b": task(), "c": task(dependsOn=["a", "b"]), "d": task(dependsOn=["b"])}, "/steps/c/dependsOn", "'d' for 'b' alone"),
        ({"a": task(output={"n": "v"}), "b": task()}, "/steps/b", "share 'n'"),
        ({"a": task(output={"x": "v"}), "b": task(output={"x": "v"})}, "/steps/b", "share 'x'"),
        ({"a": task(), "b": task(config={"url": "{{a.v}}"})}, "/steps/b", "share 'a'"),
        ({"a": task(), "b": task(config={"url": "{{nodes}}"})}, "/steps/b", "share 'results'"),
        ({"a": task(), "b": {"type": "script", "config": {"script": "return results.a"}}}, "/steps/b", "share 'a'"),
        ({"a": task(), "b": {"type": "script", "config": {"script": "return results['a']"}}}, "/steps/b", "share 'results'"),
        ({"a": task(output={"x": "v"}), "b": {"type": "script", "config": {"script": "return {...variables}"}}}, "/steps/b", "share 'results'"),
        ({"a": task(retry={"interval": 500})}, "/steps/a/retry/interval", "whole seconds"),
        ({"a": task(retry={"backoff": "linear"})}, "/steps/a/retry/backoff", "grows by the same"),
        ({"a": task(output={"n": None})}, "/steps/a/output/n", "a variable cannot be deleted"),
        ({"a": {"type": "script", "config": {"script": "1", "returns": ["n"]}}, "b": task()}, "/steps/b", "share 'n'"),
        ({"a": task(timeout="1500ms")}, "/steps/a/timeout", "whole seconds"),
        ({"a": {"type": "delay", "config": {"duration": 20, "unit": "ms"}}}, "/steps/a/config/duration", "whole seconds"),
        ({"a": {"type": "delay", "config": {"duration": "{{n}}"}}}, "/steps/a/config/duration", "constant"),
        (
            {"a": task(), "b": task(), "c": {"type": "merge", "dependsOn": ["a", "b"], "config": {"mode": "any"}}},
            "/steps/c/type",
            "the first of several has succeeded",
        ),
        ({"a": {"type": "group", "children": [task(id="b")], "onError": "continue"}}, "/steps/a", "would be lost"),
        ({"a": {"type": "workflow", "config": {"workflowId": "w"}}}, "/steps/a/type", "account"),
        ({"a": task(when="{{n - 1}}", onError="continue")}, "/steps/a/when", "no Retry and no Catch"),
        ({"a": task(config={"url": "{{n[m]}}"})}, "/steps/a/config", "index"),
        (
            {"a": task(), "b": task(dependsOn=["a"], dataMappers=[{"sourceStep": "a", "sourcePath": "v", "targetParam": "url"}])},
            "/steps/b/dataMappers",
            "data mappers",
        ),
        ({"a": {"type": "script", "config": {"script": "return execution.id"}}}, "/steps/a/config/script", "ARN"),
        ({"a": {"type": "branch", "input": {"q": 1}, "condition": "{{q}} == 1", "children": [task(id="b")]}}, "/steps/a/input", "arguments of its own"),
        ({"a": {"type": "wait", "inputs": {"q": "2030-01-01T00:00:00Z"}, "config": {"until": "{{q}}"}}}, "/steps/a/inputs", "arguments of its own"),
        ({"a" * 90: task()}, "/steps/" + "a" * 90, "80 characters"),
    ],
)
def test_what_has_no_counterpart_is_told(workflow, place, why):
    """With its place, why, and what would help."""
    found = refusals({"steps": workflow}, "workflow", "asl")
    assert [at for at, _ in found] == [place]
    assert why in found[0][1]


def test_the_most_at_once_cannot_be_said():
    """Nor a whole number that JSONata cannot hold."""
    workflow = {"maxConcurrency": 2, "variables": {"n": 2**60}, "steps": {"a": task(), "b": task(), "c": task()}}
    assert sorted(place for place, _ in refusals(workflow, "workflow", "asl")) == ["/maxConcurrency", "/variables"]
    [(place, why)] = refusals({"timeout": "1500ms", "steps": {"a": task()}}, "workflow", "asl")
    assert (place, "whole seconds" in why) == ("/timeout", True)
    assert same({**workflow, "variables": {}, "maxConcurrency": 3}, "workflow", "asl")


def test_it_is_said_that_numbers_in_texts_may_look_otherwise():
    """Once, at the first such text."""
    workflow = {"variables": {"n": 1}, "steps": {"a": task(when="{{n}} < 2"), "b": task(dependsOn=["a"])}}
    found = convert(dumps(workflow), "workflow", "asl", BUILT_IN).diagnostics
    assert [(one.severity, one.code, one.pointer) for one in found] == [("WARNING", "NUMBERS_IN_TEXTS", "/steps/a/config/url")]


def test_scripts_side_by_side():
    """They name what they read."""
    scripts = {name: {"type": "script", "config": {"script": f"return variables.{name} + results.a"}, "output": {f"{name}1": "v"}} for name in ("b", "c")}
    steps = {"a": task(), **{name: {**step, "dependsOn": ["a"]} for name, step in scripts.items()}}
    same({"variables": {"b": 1, "c": 2}, "steps": steps}, "workflow", "asl", {}, lambda state, *_: Answer({"v": state}, after=ord(state)), without=("results",))


def test_forks_within_forks_have_an_end():
    """And so has the length of all expressions."""
    steps, last = {}, []
    for level in range(40):
        steps |= {f"s{level}": task(dependsOn=last), f"side{level}": task(dependsOn=last)}
        last = [f"s{level}"]
    [(place, message)] = refusals({"steps": steps}, "workflow", "asl")
    assert (place, "levels deep" in message) == ("/steps", True)
    long = {"a": task(config={"url": "{{n - 1}}" * 5000})}
    [(place, message)] = refusals({"steps": long}, "workflow", "asl")
    assert (place, "would not be sound" in message) == ("/", True)


@pytest.mark.parametrize("given", [{}, {"variables": {"no": {"id": 5}}}])
@pytest.mark.parametrize("member", ["config", "input"])
def test_what_assertions_check_is_null_where_it_leads_nowhere(given, member):
    """As in the workflow; what stands beside it stays as it was written."""
    assertions = [{"type": "exists", "actual": "{{no.id}}", "message": "{{no.id}}"}, {"type": "notExists", "actual": "{{$prev.body.no}} {{no}}"}]
    steps = {"a": task(), "b": {"type": "assert", "dependsOn": ["a"], member: {"assertions": assertions}}}
    ran = same({"steps": steps}, "workflow", "asl", given, lambda *_: {"body": {}})
    assert ran.calls[1][2]["params"]["assertions"][0]["actual"] == (5 if given else None)


@pytest.mark.parametrize("skipped", [True, False])
def test_the_first_that_succeeds_one_after_the_other(skipped):
    """Where the order of the steps is the same whichever succeeds, a merge of any can be said; else it is refused."""
    merge = {"type": "merge", "dependsOn": ["a", "b"], "config": {"mode": "any"}}
    steps = {"a": task(when="{{go}}"), "b": task(), "m": merge, "c": task(config={"url": "http://x/{{m}}"})}
    same({"maxConcurrency": 1, "steps": steps}, "workflow", "asl", {"variables": {"go": not skipped}}, lambda state, called, attempt: state)
    early = {name: steps[name] for name in ("a", "m", "b", "c")}
    assert [place for place, _ in refusals({"maxConcurrency": 1, "steps": early}, "workflow", "asl")] == ["/steps/m/type"]


@pytest.mark.parametrize("loop", [{}, {"loop": {"type": "count", "count": 2}}])
@pytest.mark.parametrize("result", [{"q": 1, "results": [2]}, {"body": {"q": 3}}, 5])
def test_what_a_script_returns(loop, result):
    """Its fields become variables, also of a step that is repeated."""
    script = {"type": "script", "config": {"script": "return x", "returns": ["q", "results"]}, **loop}
    same({"steps": {"a": script, "b": task(dependsOn=["a"], config={"url": "{{q}} {{results}}"})}}, "workflow", "asl", None, lambda *_: result)


@pytest.mark.parametrize(("config", "seconds"), [({"duration": 2}, 2), ({"duration": 2, "unit": "h"}, 7200), ({"duration": 9_000_000, "unit": "ms"}, 9000)])
def test_delays_there_and_back(config, seconds):
    """A number is seconds where no unit is named."""
    workflow = {"name": "d", "steps": {"a": {"type": "delay", "config": config}}}
    assert same(workflow, "workflow", "asl").outcome.at == START + 1000 * seconds
    back = converted(converted(workflow, "workflow", "asl"), "asl", "workflow")
    assert back["steps"] == {"a": {"type": "delay", "config": {"duration": seconds}}}
