"""Test cases as they are kept, listed and begun over REST: what is refused, what is doubtful, whose variables win."""

import re

import pytest
from shopworld import shop_world


@pytest.fixture
async def world(tmp_path):
    async with shop_world(tmp_path) as made:
        yield made


SHOWS = {"type": "steps", "steps": [{"id": "a", "type": "transform", "config": {"script": "return {z: variables.z}"}}], "variables": {"z": 5}}


async def test_variables_of_an_execution(world):
    """They win over those of the test case; a body may be left out."""
    await world.keep("t", **SHOWS, assertions=[{"type": "json_path", "path": "z", "equals": 9}])
    for body, status in ((None, "failed"), ({}, "failed"), ({"variables": {"z": 9}}, "passed")):
        assert (await world.executed("t", body))[0]["status"] == status, body
    assert [pointer for pointer, _ in await world.refused("POST", "/tests/t/execute", {"foo": 1})] == ["/foo"]
    assert [pointer for pointer, _ in await world.refused("POST", "/tests/t/execute", {"variables": 5})] == ["/variables"]
    await world.ask("POST", "/tests/t/execute", b"{nope", 400)
    operation = (await world.ask("GET", "http://localhost/openapi.json"))["paths"]["/api/v2/tests/{test}/execute"]["post"]
    assert (operation["requestBody"]["required"], operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]) == (
        False,
        "#/components/schemas/Variables",
    )


async def test_variables_of_a_group(world):
    """They win in all of its test cases."""
    await world.ask("POST", "/groups", {"groupId": "g", "name": "G"}, 201)
    await world.keep("t", **SHOWS, assertions=[{"type": "json_path", "path": "z", "equals": 9}])
    batch = await world.ask("POST", "/groups/g/execute", {"variables": {"z": 9}}, 202)
    await world.application.feed.ended(batch["results"][0]["runId"])
    assert (await world.ask("GET", f"/runs/{batch['runId']}"))["status"] == "passed"
    await world.ask("POST", "/groups/g/execute", {"foo": 1}, 400)


async def test_documented_members(world):
    """They are kept, shown, and do what they do in a file."""
    given = {
        "retry": {"maxAttempts": 3, "interval": 0}, "description": "d", "metadata": {"team": "a"}, "type": "http", "http": {"url": f"{world.url}/slow/3"},
    }  # fmt: skip
    kept = await world.keep("t", **given)
    assert {name: kept[name] for name in given} == given
    assert ((await world.executed("t"))[0]["status"], world.asked["/slow/3"]) == ("passed", 3)
    changed = await world.ask("PUT", "/tests/t", {"retry": None, "retryCount": 1, "retryDelay": "1ms", "http": {"url": f"{world.url}/slow/2"}})
    assert (changed["retry"], changed["retryCount"], changed["retryDelay"]) == ({}, 1, "1ms")
    assert ((await world.executed("t"))[0]["status"], world.asked["/slow/2"]) == ("passed", 2)
    await world.ask("PUT", "/tests/t", {"disabled": True})
    assert (await world.executed("t"))[0]["status"] == "skipped"
    assert [pointer for pointer, _ in await world.refused("PUT", "/tests/t", {"retryCount": None, "retry": {"maxAttempt": 3}})] == ["/retry/maxAttempt"]


async def test_exactly_one_thing(world):
    """As in files: when it is made, and when it is changed."""
    http, command = {"url": world.url}, {"command": "echo"}
    base = {"testId": "t", "groupId": "g", "name": "n"}
    for more, pointer, said in (
        ({"type": "http", "http": http, "workflowId": "nope"}, "/workflowId", "exclude each other"),
        ({"type": "workflow", "steps": SHOWS["steps"], "workflowDef": {"steps": {}}}, "/workflowDef", "exclude each other"),
        ({"type": "command", "http": http}, "/type", "needs 'command', but has 'http'"), ({"type": "foo", "http": http}, "/type", "no type of test cases 'foo'"),
        ({"type": "http"}, "", "There is nothing to test"), ({"type": "http", "http": http, "status": "Inactive"}, "/status", "must be one of active, inactive"),
    ):  # fmt: skip
        found = await world.refused("POST", "/tests", {**base, **more})
        assert [one[0] for one in found] == [pointer], found
        assert said in found[0][1]
    kept = await world.keep("t", type="http", http=http)
    assert [one[0] for one in await world.refused("PUT", "/tests/t", {"command": command})] == ["/command"]
    assert [one[0] for one in await world.refused("PUT", "/tests/t", {"type": "command"})] == ["/type"]
    changed = await world.ask("PUT", "/tests/t", {"type": "command", "command": command, "http": None})
    assert (changed["http"], changed["command"]) == ({}, command)
    back = {name: value for name, value in kept.items() if name not in ("createdAt", "updatedAt")}
    assert (await world.ask("PUT", "/tests/t", back))["http"] == http  # what was answered may be sent


DOUBTFUL = {"type": "transform", "config": {"script": "return '{{x}}'"}}  # nothing is put into a script


async def test_warnings(world):
    """What is doubtful is told by the answer that keeps it, at its place; otherwise nothing is."""
    workflow = {"workflowId": "w", "definition": {"name": "w", "steps": {"a": DOUBTFUL}}}
    sound = {"name": "w", "steps": {"a": {"type": "delay", "config": {"duration": 1}}}}
    kept = await world.ask("POST", "/workflows", workflow, 201)
    assert [(one["pointer"], one["severity"]) for one in kept["warnings"]] == [("/definition/steps/a/config/script", "WARNING")]
    assert "warnings" not in await world.ask("GET", "/workflows/w")
    assert "warnings" not in await world.ask("PUT", "/workflows/w", {"definition": sound})
    assert "warnings" not in await world.ask("PUT", "/workflows/w", {"name": "other"})
    assert len((await world.ask("PUT", "/workflows/w", {"definition": workflow["definition"]}))["warnings"]) == 1
    kept = await world.keep("t", type="steps", steps={"a": DOUBTFUL})
    assert [(one["pointer"], one["line"]) for one in kept["warnings"]] == [("/steps/a/config/script", 1)]
    assert "warnings" not in await world.ask("PUT", "/tests/t", {"steps": SHOWS["steps"]})
    assert "warnings" not in await world.keep("sound", type="http", http={"url": "http://h"})
    kept = await world.ask("POST", "/action-templates", {"templateId": "a", "name": "n", **DOUBTFUL}, 201)
    assert [(one["pointer"], one["line"]) for one in kept["warnings"]] == [("/config/script", 1)]
    assert "warnings" not in await world.ask("PUT", "/action-templates/a", {"config": {"script": "return 1"}})
    assert len((await world.ask("PUT", "/action-templates/a", {"config": DOUBTFUL["config"]}))["warnings"]) == 1


async def pages(world, path):
    """All rows, of bare lists and of objects, and how many pages they took."""
    found, count, wanted = [], 0, f"/api/v2{path}"
    while wanted:
        answer = await world.client.get(f"http://localhost{wanted}")
        assert answer.status_code == 200, answer.text
        told = answer.json()
        link = re.fullmatch(r'<(.*)>; rel="next"', answer.headers.get("link", ""))
        if isinstance(told, dict):
            assert (told["next_cursor"] is None) == (link is None)
        found, count, wanted = [*found, *(told["data"] if isinstance(told, dict) else told)], count + 1, link and link[1]
    return found, count


async def test_pages(world):
    """Every list is read to its end by cursors, each row once, also when rows come and go between pages."""
    await world.ask("POST", "/groups", {"groupId": "g", "name": "G"}, 201)
    for name in "abcde":
        await world.keep(
            name, type="steps", steps=[{"id": f"s{step}", "type": "transform", "config": {"script": "console.log('x'); return 1"}} for step in range(5)]
        )
    assert ([one["testId"] for one in (await pages(world, "/tests?limit=2"))[0]], (await pages(world, "/tests?limit=2"))[1]) == (list("abcde"), 3)
    assert [one["testId"] for one in (await pages(world, "/tests/search?q=c&limit=1"))[0]] == ["c"]
    first = await world.ask("GET", "/tests?limit=2")
    await world.ask("DELETE", "/tests/a")
    second = await world.ask("GET", "/tests", params={"limit": "2", "cursor": first["next_cursor"]})
    assert [one["testId"] for one in second["data"]] == ["c", "d"]
    await world.ask("GET", "/tests/search", params={"q": "a", "cursor": first["next_cursor"]}, status=400)

    runs = [(await world.executed("b"))[1]["runId"] for _ in range(3)]
    assert ([one["runId"] for one in (await pages(world, "/tests/b/history?limit=2"))[0]], (await pages(world, "/tests/b/history?limit=2"))[1]) == (
        runs[::-1],
        2,
    )
    for part, count in (("steps", 3), ("logs", 3)):
        whole, _ = await pages(world, f"/workflows/runs/{runs[0]}/{part}")
        assert len(whole) >= 5
        assert (await pages(world, f"/workflows/runs/{runs[0]}/{part}?limit=2"))[0] == whole
        assert (await pages(world, f"/workflows/runs/{runs[0]}/{part}?limit=2"))[1] >= count
    await world.ask("GET", f"/workflows/runs/{runs[0]}/logs?limit=0", status=400)
    batches = [(await world.ask("POST", "/groups/g/execute", {}, 202))["runId"] for _ in range(3)]
    found, count = await pages(world, "/runs?limit=2")
    assert ([one["runId"] for one in found], count) == (sorted(batches, reverse=True), 2)


async def test_where_it_is_wrong(world):
    """The member that is meant, with its line."""
    answer = await world.client.post("/tests/advanced-search", content=b'{\n "pageSize": 200}')
    assert [(one["pointer"], one["line"]) for one in answer.json()["errors"]] == [("/pageSize", 2)]
    assert [pointer for pointer, _ in await world.refused("POST", "/tests/advanced-search", {"page": 0})] == ["/page"]
    await world.keep("t", type="http", http={"url": "http://h"})
    assert [pointer for pointer, _ in await world.refused("PUT", "/tests/t", {"groupId": ""})] == ["/groupId"]
    assert [pointer for pointer, _ in await world.refused("PUT", "/tests/t", {"name": ""})] == ["/name"]
    named = {"groupId": "g", "name": "n"}
    for path, body, pointer in (
        ("/tests", {"testId": "no/id", **named, "type": "http", "http": {"url": "http://h"}}, "/testId"), ("/tests", {"testId": "search", **named, "type": "http"}, "/testId"),
        ("/environments", {"envId": "no/id", "name": "n"}, "/envId"), ("/groups", {"groupId": "tree", "name": "n"}, "/groupId"),
        ("/action-templates", {"templateId": "accessible", "name": "n", "type": "http"}, "/templateId"),
    ):  # fmt: skip
        assert [one for one, _ in await world.refused("POST", path, body)] == [pointer]
