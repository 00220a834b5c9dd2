"""Test cases and groups through the whole application: against a real server, judged by what their executions say."""

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from applications import asking, serving
from flowrunner.api import testcases


class Shop(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"items": [{"id": 7, "name": "pen"}], "total": 1}'
        self.send_response(200 if self.path == "/items" else 404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def shop():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
async def served(tmp_path):
    async with serving(tmp_path, "http://localhost/api/v2") as served:
        yield served


@pytest.fixture
def ask(served):
    return asking(served[1])


@pytest.fixture
def outcome(served, ask):
    async def outcome(test):
        result = await ask("POST", f"/tests/{test}/execute", status=202)
        assert result["status"] == "running" or result["endTime"]
        async with asyncio.timeout(30):
            await served[0].feed.ended(result["runId"])
        return await ask("GET", f"/results/{result['resultId']}")

    return outcome


def case(shop, name, assertions, **more):
    return {
        "testId": name, "groupId": "shop", "name": f"Items {name}", "type": "http", "http": {"url": f"{shop}/items"}, "assertions": assertions, **more
    }  # fmt: skip


RIGHT = [
    {"type": "status_code", "expected": 200}, {"type": "status_code", "operator": "in", "value": [200, 201]},
    {"type": "json_path", "path": "$.items[0].name", "operator": "equals", "expected": "pen"}, {"type": "json_path", "path": "$.total", "operator": "exists"},
    {"type": "greaterThan", "path": "response.body.total", "expected": 0},
]  # fmt: skip


async def test_an_http_test(ask, outcome, shop):
    """Assertions that hold pass; one that does not fails with what was found; a server that is not there is an error."""
    await ask("POST", "/groups", {"groupId": "shop", "name": "Shop"}, 201)
    await ask("POST", "/tests", case(shop, "right", RIGHT), 201)
    right = await outcome("right")
    assert (right["status"], right["error"]) == ("passed", None)
    await ask("POST", "/tests", case(shop, "wrong", [{"type": "json_path", "path": "$.total", "expected": 2}]), 201)
    wrong = await outcome("wrong")
    assert wrong["status"] == "failed"
    assert "FlowRunner.AssertionFailed" in wrong["error"]
    await ask("POST", "/tests", case(shop, "gone", [], http={"url": "http://127.0.0.1:9/"}), 201)
    assert (await outcome("gone"))["status"] == "error"
    await ask("POST", "/tests", case(shop, "absent", [{"type": "status_code", "expected": 404}], http={"url": f"{shop}/none"}), 201)
    assert (await outcome("absent"))["status"] == "passed"
    history = await ask("GET", "/tests/wrong/history")
    assert [one["status"] for one in history] == ["failed"]
    assert history[0]["duration"] >= 0


async def test_a_workflow_under_test(ask, outcome):
    """A test case runs a stored workflow, or one of its own; never both."""
    definition = {"name": "w", "steps": {"one": {"id": "one", "name": "One", "type": "delay", "config": {"duration": 1, "unit": "ms"}}}}
    await ask("POST", "/workflows", {"workflowId": "w", "definition": definition}, 201)
    base = {"groupId": "g", "name": "n", "type": "workflow"}
    await ask("POST", "/tests", {"testId": "by-id", **base, "workflowId": "w"}, 201)
    await ask("POST", "/tests", {"testId": "own", **base, "workflowDef": definition}, 201)
    await ask("POST", "/tests", {"testId": "steps", **base, "steps": definition["steps"]}, 201)
    for name in ("by-id", "own", "steps"):
        assert (await outcome(name))["status"] == "passed", name
    assert [one["testId"] for one in await ask("GET", "/workflows/w/test-cases")] == ["by-id"]
    assert (await ask("GET", "/workflows"))["total"] == 1  # test cases are none
    both = {"testId": "both", **base, "workflowId": "w", "workflowDef": definition}
    for wrong in (both, {"testId": "none", **base}, {"testId": "bad", **base, "workflowDef": {"steps": []}}, {"testId": "search", **base, "workflowId": "w"}):
        await ask("POST", "/tests", wrong, 400)


async def test_groups(served, ask, shop):
    """A group is run with the groups in it; a tree shows what is where."""
    await ask("POST", "/groups", {"groupId": "all", "name": "All"}, 201)
    await ask("POST", "/groups", {"groupId": "shop", "name": "Shop", "parentId": "all"}, 201)
    await ask("POST", "/tests", case(shop, "right", RIGHT), 201)
    await ask("POST", "/tests", case(shop, "wrong", [{"type": "status_code", "expected": 500}], groupId="all"), 201)
    (top,) = await ask("GET", "/groups/tree")
    assert (top["groupId"], top["tests"], [node["tests"] for node in top["children"]]) == ("all", ["wrong"], [["right"]])
    assert await ask("GET", "/test-tree") == [top]
    batch = await ask("POST", "/groups/all/execute", {}, 202)
    async with asyncio.timeout(30):
        for result in batch["results"]:
            await served[0].feed.ended(result["runId"])
    ended = await ask("GET", f"/runs/{batch['runId']}")
    assert (ended["status"], ended["total"], ended["passed"], ended["failed"]) == ("failed", 2, 1, 1)
    assert [one["runId"] for one in await ask("GET", "/runs")] == [batch["runId"]]
    await ask("DELETE", "/groups/all", status=409)
    await ask("PUT", "/groups/all", {"parentId": "shop"}, 400)
    await ask("PUT", "/groups/all", {"parentId": "none"}, 400)


async def test_statistics(ask, outcome, shop):
    """Rates, flaky scores and counts are those of the executions there were."""
    await ask("POST", "/tests", case(shop, "flips", RIGHT, priority="P0", tags=["smoke", "shop"], objective="Pens"), 201)
    await ask("POST", "/tests", case(shop, "calm", RIGHT, tags=["shop"]), 201)
    for number in range(4):
        await ask("PUT", "/tests/flips", {"assertions": RIGHT if number % 2 else [{"type": "status_code", "expected": 500}]})
        await outcome("flips")
    (worst,) = await ask("GET", "/tests/flaky")
    assert (worst["testId"], worst["runs"], worst["successRate"], worst["flakyScore"]) == ("flips", 4, 50, 100)
    told = await ask("GET", "/tests/statistics")
    assert (told["total"], told["p0"], told["flaky"], told["longRunning"], told["notRunRecently"]) == (2, 1, 1, 0, 1)
    assert told["tagCloud"] == {"smoke": 1, "shop": 2}
    assert (await ask("GET", "/tests/stats"))["by_priority"] == {"P0": 1, "P1": 1}

    async def found(**search):
        return [one["testId"] for one in (await ask("POST", "/tests/advanced-search", search))["data"]]

    assert await found(isFlaky=True) == ["flips"]
    assert await found(successRateMin=50) == ["flips"]
    assert await found(tags=["shop"], priorities=["P1"]) == ["calm"]
    assert await found(keywords="pens items") == ["flips"]
    assert await found(lastRunBefore="2000-01-01T00:00:00Z") == ["calm"]
    assert [one["testId"] for one in (await ask("GET", "/tests/search?q=calm"))["data"]] == ["calm"]
    assert (await ask("GET", "/tests?limit=1&offset=1"))["total"] == 2


async def test_hooks(ask, outcome, shop):
    """What a hook saves is there for the test itself; what comes after runs last."""
    hooks = {
        "setupHooks": [{"type": "http", "name": "Items", "config": {"url": f"{shop}/items"}, "saveResponse": "items"}],
        "teardownHooks": [{"type": "http", "name": "Bye", "config": {"url": f"{shop}/items"}, "continueOnError": True}],
    }
    await ask("POST", "/tests", case(shop, "hooked", [{"type": "equals", "actual": "{{items.total}}", "expected": 1}], **hooks), 201)
    result = await outcome("hooked")
    assert result["status"] == "passed", result
    steps = await ask("GET", f"/workflows/runs/{result['runId']}/steps")
    assert [step["stepId"] for step in steps] == ["setup-1", "test", "teardown-1"]
    await ask("PUT", "/tests/hooked", {"teardownHooks": [{"type": "http", "runOnFailure": True}]}, 400)  # it does not say what to do


async def test_hooks_after_a_failure(ask, outcome, shop):
    """Those that say so run, and the result is that of the test."""
    hooks = [{"type": "http", "http": {"url": f"{shop}/items"}, "runOnFailure": run} for run in (False, True)]
    await ask("POST", "/tests", case(shop, "fails", [{"type": "status_code", "expected": 404}], teardownHooks=hooks), 201)
    result = await outcome("fails")
    assert (result["status"], result["error"]) == ("failed", "FlowRunner.AssertionFailed: the status is 200; asserted: 404")
    steps = await ask("GET", f"/workflows/runs/{result['runId']}/steps")
    assert [(step["stepId"], step["status"]) for step in steps] == [("test", "success"), ("teardown-1", "skipped"), ("teardown-2", "success")]


async def test_a_test_that_is_switched_off(ask, outcome, shop):
    """It is skipped."""
    await ask("POST", "/tests", case(shop, "off", RIGHT, status="inactive"), 201)
    assert (await outcome("off"))["status"] == "skipped"


async def test_steps_of_a_list(ask, outcome, shop):
    """They run in order; assertions are about the last one."""
    steps = [
        {"id": "get", "type": "http", "config": {"url": f"{shop}/items"}},
        {"id": "name", "type": "transform", "config": {"script": "return results.get.items[0]"}},
    ]
    asserted = [{"type": "json_path", "path": "$.name", "equals": "pen"}, {"type": "equals", "actual": "{{$prev.id}}", "expected": 7}]
    await ask("POST", "/tests", {"testId": "listed", "groupId": "g", "name": "n", "type": "steps", "steps": steps, "assertions": asserted}, 201)
    assert (await outcome("listed"))["status"] == "passed"


async def test_a_workflow_runs_a_test_case(served, ask, shop):
    """As it is stored now; one that was deleted is not found."""
    step = {"type": "test-case", "config": {"testId": "inner"}}
    await ask("POST", "/workflows", {"workflowId": "around", "definition": {"name": "around", "steps": {"t": step}}}, 201)

    async def ran():
        run = (await ask("POST", "/workflows/around/execute", {}, 202))["runId"]
        async with asyncio.timeout(30):
            await served[0].feed.ended(run)
        return await ask("GET", f"/workflows/runs/{run}")

    await ask("POST", "/tests", case(shop, "inner", RIGHT), 201)
    assert (await ran())["status"] == "success"
    await ask("PUT", "/tests/inner", {"assertions": [{"type": "status_code", "expected": 404}]})
    failed = await ran()
    assert failed["status"] == "failed"
    assert "The test case 'inner' ended as failed: the status is 200; asserted: 404" in str(failed)
    await ask("DELETE", "/tests/inner")
    assert "There is no test case 'inner'." in str(await ran())


async def test_a_test_case_that_an_earlier_release_took_runs_on(served, shop, ask, outcome):
    """What would be refused now was kept: it is executed as far as it can be, and does not hold up its group."""
    application, _ = served
    await ask("POST", "/groups", {"groupId": "shop", "name": "Shop"}, status=201)
    await ask("POST", "/tests", case(shop, "old", [{"type": "status_code", "expected": 200}]), status=201)
    await ask("POST", "/tests", case(shop, "new", [{"type": "status_code", "expected": 200}]), status=201)
    tests = testcases.tests_of(application.store.documents)
    doubtful = {"type": "integration", "status": "active", "http": {"url": f"{shop}/items", "nobody": 1}}
    await tests.change("000000000000", "old", lambda test: msgspec.structs.replace(test, **doubtful))
    assert (await outcome("old"))["status"] == "passed"
    batch = await ask("POST", "/groups/shop/execute", {}, status=202)
    async with asyncio.timeout(30):
        for result in batch["results"]:
            await application.feed.ended(result["runId"])
    told = await ask("GET", f"/runs/{batch['runId']}")
    assert (told["passed"], told["failed"], told["notBegun"]) == (2, 0, {}), told
