"""What assertions of test cases see and say, through the whole application and against a real server."""

import json

import pytest
from shopworld import shop_world


@pytest.fixture
async def world(tmp_path):
    async with shop_world(tmp_path) as made:
        yield made


def report(run):
    """The result of a test case that has not passed, which stands behind the first line of the cause."""
    return json.loads(run["cause"].partition("\n")[2])


HOLDS = [
    {"type": "exists", "actual": "{{$prev.total}}"},
    {"type": "equals", "actual": "{{$prev.response.body.items[0].id}}", "expected": 7},
    {"type": "equals", "actual": "{{nodes.test.output.status}}", "expected": 200},
    {"type": "json_path", "path": "$.sold", "equals": None},
    {"type": "json_path", "path": "$.sold", "operator": "equals", "expected": None},
    {"type": "notEquals", "path": "response.body.total", "expected": None},
]
FAILS = [
    {"type": "notExists", "actual": "{{$prev.response.body.total}}"},
    {"type": "json_path", "path": "$.total", "equals": None},
    {"type": "json_path", "path": "$.total", "expected": None},
    {"type": "status_code", "expected": 201},
]


@pytest.mark.parametrize("place", ["http", "case"])
async def test_assertions_see_the_answer(world, place):
    """Whether they stand in the request or in the test case."""
    for index, (assertion, status) in enumerate([*((one, "passed") for one in HOLDS), *((one, "failed") for one in FAILS)]):
        request = {"url": f"{world.url}/items"}
        more = {"http": {**request, "assertions": [assertion]}} if place == "http" else {"http": request, "assertions": [assertion]}
        await world.keep(f"t{index}", type="http", **more)
        result, run = await world.executed(f"t{index}")
        assert result["status"] == status, (assertion, result)
        if status == "failed":
            assert report(run)["error"]["stage"] == "assertions"


async def test_messages_see_the_answer(world):
    """And tell what was found."""
    asserted = [{"type": "json_path", "path": "$.total", "equals": 2, "message": "there are {{$prev.total}} items"}]
    await world.keep("told", type="http", http={"url": f"{world.url}/items"}, assertions=asserted)
    result, _ = await world.executed("told")
    assert result["error"] == "FlowRunner.AssertionFailed: there are 1 items"


@pytest.mark.parametrize("asserted", [[], [{"type": "status_code", "expected": 200}], [{"type": "status_code", "in": [200, 204]}]])
async def test_a_request_is_tried_again(world, asserted):
    """As long as its status is not the one that is asked for; after the last time that is what it is judged by."""
    more = {"type": "http", "assertions": asserted, "retryCount": 2, "retryDelay": 0}
    await world.keep("early", http={"url": f"{world.url}/slow/3"}, **more)
    assert (await world.executed("early"))[0]["status"] == "passed"
    await world.keep("late", http={"url": f"{world.url}/slow/9"}, **more)
    result, run = await world.executed("late")
    assert (result["status"], world.asked["/slow/9"]) == ("failed", 3)
    assert report(run)["error"]["stage"] == ("assertions" if asserted else "test")
    assert "503" in result["error"]


async def test_what_is_asserted_is_not_tried_again(world):
    """A body that is not as asserted stays so; the request has been answered."""
    asserted = [{"type": "json_path", "path": "$.total", "equals": 2}]
    await world.keep("body", type="http", http={"url": f"{world.url}/items"}, assertions=asserted, retryCount=2, retryDelay=0)
    assert ((await world.executed("body"))[0]["status"], world.asked["/items"]) == ("failed", 1)


WRONG = [
    {"type": "stdout_contains"}, {"type": "stdout_contains", "expected": None}, {"type": "stdout_contains", "expected": ""}, {"type": "stdout_contains", "expected": 5},
    {"type": "exit_code"}, {"type": "exit_code", "expected": None}, {"type": "exit_code", "expected": "none"}, {"type": "exit_code", "expected": True},
    {"type": "status_code"}, {"type": "status_code", "expected": None}, {"type": "json_path"}, {"type": "json_path", "path": "a", "operator": "contains"},
    {"type": "json_path", "path": "a", "operator": "gte"}, *({"type": name} for name in ("equals", "notEquals", "contains", "notContains", "regex", "type")),
    *({"type": name, "path": "a"} for name in ("greaterThan", "lessThan", "gte", "lte", "arrayLength")),
]  # fmt: skip


async def test_assertions_without_what_they_need(world):
    """They are refused when they are kept, each at its place; a request's own ones, too."""
    common = {"testId": "t", "groupId": "g", "name": "n"}
    wrong = {**common, "type": "command", "command": {"command": "echo"}, "assertions": [{"type": "exit_code", "expected": 0}, *WRONG]}
    assert [pointer for pointer, _ in await world.refused("POST", "/tests", wrong)] == [f"/assertions/{index + 1}" for index in range(len(WRONG))]
    wrong = {**common, "type": "http", "http": {"url": f"{world.url}/items", "assertions": WRONG}}
    assert [pointer for pointer, _ in await world.refused("POST", "/tests", wrong)] == [f"/http/assertions/{index}" for index in range(len(WRONG))]


STEPS = {"a": {"type": "transform", "config": {"script": "return {v: 5, list: [1]}"}, "output": {"seen": "v"}}}
SAME = [
    [{"type": "json_path", "path": "$.v", "equals": 5}],
    [{"type": "equals", "actual": "{{a.v}}", "expected": 5}],
    [{"type": "equals", "actual": "{{nodes.a.output.v}}", "expected": 5}, {"type": "arrayLength", "path": "list", "expected": 1}],
    [{"type": "equals", "actual": "{{$prev.v}}", "expected": 5}, {"type": "equals", "actual": "{{seen}}", "expected": 5}],
]


@pytest.mark.parametrize("asserted", SAME)
async def test_a_workflow_is_judged_the_same_wherever_it_stands(world, asserted):
    """As a part of the test case, or stored."""
    definition = {"name": "w", "steps": STEPS}
    await world.ask("POST", "/workflows", {"workflowId": "w", "definition": definition}, 201)
    wrong = [{**one, "expected": 6} if "expected" in one else {**one, "equals": 6} for one in asserted]
    for name, more in (("own", {"workflowDef": definition}), ("stored", {"workflowId": "w"})):
        for how, assertions in (("passed", asserted), ("failed", wrong)):
            await world.keep(f"{name}-{how}", type="workflow", assertions=assertions, **more)
            assert (await world.executed(f"{name}-{how}"))[0]["status"] == how, name


async def test_a_stored_workflow_ends_with_an_answer(world):
    """Paths look into its body; and into what the whole run gave."""
    steps = {"get": {"type": "http", "config": {"url": f"{world.url}/items"}, "output": {"n": "total"}}}
    await world.ask("POST", "/workflows", {"workflowId": "w", "definition": {"name": "w", "steps": steps}}, 201)
    asserted = [
        {"type": "status_code", "expected": 200}, {"type": "json_path", "path": "$.items[0].name", "equals": "pen"},
        {"type": "json_path", "path": "$.variables.n", "equals": 1}, {"type": "equals", "path": "response.statusCode", "expected": 200},
    ]  # fmt: skip
    await world.keep("t", type="workflow", workflowId="w", assertions=asserted)
    result, run = await world.executed("t")
    assert result["status"] == "passed", (result, run)


async def test_all_steps_were_skipped(world):
    """Then there is nothing to assert of; where one has run, there is."""
    off = {"id": "off", "disabled": True, "type": "transform", "config": {"script": "return {v: 1}"}}
    on = {"id": "on", "type": "transform", "config": {"script": "return {v: 1}"}}
    asserted = [{"type": "json_path", "path": "v", "equals": 2}]
    for name, steps, status in (("skipped", [off], "skipped"), ("failed", [off, on], "failed")):
        await world.keep(name, type="steps", steps=steps, assertions=asserted)
        assert (await world.executed(name))[0]["status"] == status


async def test_a_skipped_test_has_not_passed(world):
    """Neither in its history, which a store lists without outputs, nor in what is made of that: off and on it would be flaky otherwise."""
    off = {"id": "off", "disabled": True, "type": "transform", "config": {"script": "return {v: 1}"}}
    await world.keep("t", type="steps", steps=[off], assertions=[])
    await world.keep("switched", type="http", http={"url": f"{world.url}/gone"}, assertions=[{"type": "json_path", "path": "a", "equals": 1}])
    came_out = []
    for status in ("inactive", "active", "inactive", "active"):
        await world.ask("PUT", "/tests/switched", {"status": status})
        came_out.insert(0, (await world.executed("switched"))[0]["status"])
    await world.executed("t")
    assert [result["status"] for result in await world.ask("GET", "/tests/t/history")] == ["skipped"]
    assert [result["status"] for result in await world.ask("GET", "/tests/switched/history")] == came_out
    assert came_out[1::2] == ["skipped", "skipped"]
    assert await world.ask("GET", "/tests/flaky") == []
    found = await world.ask("POST", "/tests/advanced-search", {"successRateMin": 1})
    assert found["data"] == []
