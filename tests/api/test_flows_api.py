"""Flows by REST: versions, metadata, search, run."""

import asyncio
import json
import re

import pytest
from accountsworld import TWO
from flowsworld import EDITOR, OWNER, VIEWER, WORKER, flows_world

from flowrunner.errors import StoreUnavailable
from flowrunner.identity.permissions import Role

OTHER = (TWO, Role.OWNER)


def text(result=1):
    return json.dumps({"Comment": "Orders", "StartAt": "A", "States": {"A": {"Type": "Pass", "Result": result, "End": True}}})


WAIT = json.dumps({"Comment": "Waits", "StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 60, "End": True}}})


@pytest.fixture
async def world():
    async with flows_world() as made:
        yield made


@pytest.fixture
def ask(world):
    async def ask(method, path, body=None, status=200, *, token=EDITOR, headers=None):
        answer = await world(method, path, body, token=token, headers=headers)
        assert answer.status_code == status, answer.text
        if status >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
        return answer

    return ask


@pytest.fixture
async def flow(ask):
    return (await ask("POST", "/flows", {"name": "Orders", "content": text()}, 201)).json()["id"]


async def test_life_of_a_flow(ask, flow):
    """As the source's client does it: created, read as text, changed, deleted."""
    got = await ask("GET", f"/flows/{flow}")
    assert got.text == text()
    assert got.headers["content-type"].startswith("application/yaml")
    assert (await ask("PUT", f"/flows/{flow}", {"content": text(2)}, 204)).content == b""
    assert (await ask("GET", f"/flows/{flow}")).text == text(2)
    listed = (await ask("GET", "/flows")).json()
    assert [one["id"] for one in listed] == [flow]
    assert {"name": "Orders", "version": "1.0.0", "status": "draft", "tags": [], "custom": {}, "account_id": EDITOR[0]}.items() <= listed[0].items()
    await ask("DELETE", f"/flows/{flow}", status=204)
    assert (await ask("GET", f"/flows/{flow}", status=404)).json()["code"] == "not_found"
    assert (await ask("GET", "/flows")).json() == []


async def test_versions(ask, flow):
    """Every text stays readable under its number."""
    await ask("PUT", f"/flows/{flow}", {"content": text(2)}, 204, token=OWNER)
    versions = (await ask("GET", f"/flows/{flow}/versions")).json()
    assert [(one["version"], one["created_by"]) for one in versions] == [(1, versions[0]["created_by"]), (2, versions[1]["created_by"])]
    assert versions[0]["created_by"] != versions[1]["created_by"]
    assert (await ask("GET", f"/flows/{flow}/versions/1")).text == text(1)
    assert (await ask("GET", f"/flows/{flow}/versions/2")).text == text(2)
    for number in ("0", "3", "x", "1e3", "٣", "9" * 30):
        await ask("GET", f"/flows/{flow}/versions/{number}", status=404)


async def test_what_is_wrong_with_a_flow(ask, flow):
    """A text with errors is refused with the place of each, and a body that is none with its own."""
    body = (await ask("POST", "/flows", {"name": "x", "content": '{\n"StartAt": "B",\n"States": {"A": {"Type": "Pass", "End": true}}}'}, 400)).json()
    assert body["code"] == "invalid_definition"
    error = body["errors"][0]
    assert {"detail", "code", "severity", "pointer", "line", "column", "hint"} <= error.keys()
    assert error["line"] == 2
    for wrong, pointer in (({}, ""), ({"content": 1}, "/content"), ({"content": text(), "nope": 1}, ""), ({"content": text(), "name": ""}, "/name")):
        problem = (await ask("POST", "/flows", wrong, 400)).json()
        assert problem["code"] == "invalid_document"
        assert not pointer or problem["errors"][0]["pointer"] == pointer
    await ask("PUT", f"/flows/{flow}", {"content": "{}"}, 400)


async def test_etag(ask, flow):
    """A writer that names what it has read is refused once that has changed."""
    first = (await ask("GET", f"/flows/{flow}")).headers["etag"]
    after = (await ask("PUT", f"/flows/{flow}", {"content": text(2)}, 204, headers={"if-match": first})).headers["etag"]
    assert after != first
    assert (await ask("GET", f"/flows/{flow}/metadata")).headers["etag"] == after
    for method, path, body in (("PUT", "", {"content": text(3)}), ("PATCH", "/metadata", {"tags": []}), ("DELETE", "", None)):
        problem = await ask(method, f"/flows/{flow}{path}", body, 412, headers={"if-match": first})
        assert problem.json()["code"] == "precondition_failed"
    await ask("PUT", f"/flows/{flow}", {"content": text(3)}, 400, headers={"if-match": "x"})
    await ask("DELETE", f"/flows/{flow}", status=204, headers={"if-match": "*"})


async def test_an_earlier_version_has_no_etag(ask, flow):
    """Who has read it has not read what a write would replace; the same text again changes nothing."""
    await ask("PUT", f"/flows/{flow}", {"content": text(2)}, 204)
    now = (await ask("GET", f"/flows/{flow}")).headers["etag"]
    assert "etag" not in (await ask("GET", f"/flows/{flow}/versions/1")).headers
    assert (await ask("GET", f"/flows/{flow}/versions/2")).headers["etag"] == now
    before = (await ask("GET", f"/flows/{flow}/metadata")).json()
    assert (await ask("PUT", f"/flows/{flow}", {"content": text(2)}, 204)).headers["etag"] == now
    assert (await ask("PATCH", f"/flows/{flow}/metadata", {"category": ""}, 204)).headers["etag"] == now
    assert (await ask("GET", f"/flows/{flow}/metadata")).json() == before


async def test_a_body_that_is_not_utf8(world):
    """It is told where."""
    sent = {"authorization": f"Bearer {world.tokens[EDITOR]}", "content-type": "application/json"}
    answer = await world.client.post("/api/v1/flows", content='{"name": "ä",\n "content": "é'.encode() + b'\xff"}', headers=sent)
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["line"], error["column"]) == (400, 2, 15)
    assert "0xff is not UTF-8" in error["detail"]
    assert error["hint"] == "Send the text in UTF-8."


async def test_metadata_and_search(ask, flow):
    """Metadata is changed by parts and found again."""
    await ask("PATCH", f"/flows/{flow}/metadata", {"tags": ["a", "b"], "category": "etl", "status": "published", "custom": {"x": 1}}, 204)
    await ask("PATCH", f"/flows/{flow}/metadata", {"custom": {"y": [2]}}, 204)
    info = (await ask("GET", f"/flows/{flow}/metadata")).json()
    assert (info["tags"], info["category"], info["status"], info["custom"]) == (["a", "b"], "etl", "published", {"x": 1, "y": [2]})
    for search in ({}, {"name_contains": "ORD"}, {"tags": ["b", "c"]}, {"status": "published", "category": "etl"}, {"created_before": "2999-01-01T00:00:00Z"}):
        assert [one["id"] for one in (await ask("POST", "/flows/search", search)).json()] == [flow], search
    for search in ({"name_contains": "x"}, {"tags": ["c"]}, {"status": "draft"}, {"created_after": "2999-01-01T00:00:00Z"}):
        assert (await ask("POST", "/flows/search", search)).json() == []
    for wrong in ({"status": "done"}, {"created_after": "yesterday"}, {"page": 0}, {"page_size": 1001}, {"cursor": "x"}):
        await ask("POST", "/flows/search", wrong, 400)
    await ask("PATCH", f"/flows/{flow}/metadata", {"status": "done"}, 400)


async def test_pages(ask):
    """Pages by cursor, by offset and by number are the same list."""
    for number in range(5):
        await ask("POST", "/flows", {"name": f"flow {number}", "content": text()}, 201)
    everything = [one["id"] for one in (await ask("GET", "/flows")).json()]
    assert len(everything) == 5
    path, seen = "/flows?limit=2", []
    while path is not None:
        page = await ask("GET", path)
        assert page.headers["x-total-count"] == "5"
        seen += [one["id"] for one in page.json()]
        found = re.search(r'<(.*)>; rel="next"', page.headers.get("link", ""))
        path = found and found[1].removeprefix("/api/v1")
    assert seen == everything
    assert [one["id"] for one in (await ask("GET", "/flows?limit=2&offset=3")).json()] == everything[3:]
    by_number = [one["id"] for page in (1, 2, 3, 4) for one in (await ask("POST", "/flows/search", {"page": page, "page_size": 2})).json()]
    assert by_number == everything
    first = await ask("POST", "/flows/search", {"page_size": 3})
    second = await ask("POST", "/flows/search", {"page_size": 3, "cursor": first.headers["x-next-cursor"]})
    assert [one["id"] for one in (*first.json(), *second.json())] == everything
    for wrong in ("limit=0", "limit=x", "cursor=x", "offset=-1", "offset=99999"):
        await ask("GET", f"/flows?{wrong}", status=400)


async def test_run(world, ask, flow):
    """A run is answered at once with its id; its status follows the flow to its end."""
    started = await ask("POST", f"/flows/{flow}/run", {"input": {"n": 1}}, 201)
    execution = started.json()["execution_id"]
    assert started.json() == {"execution_id": execution, "status": "running"}
    await world.engine.feed.ended(execution)
    status = (await ask("GET", f"/executions/{execution}")).json()
    assert {"id": execution, "flow_id": flow, "status": "completed", "progress": 100.0, "error": None}.items() <= status.items()
    assert status.keys() >= {"start_time", "end_time", "results", "current_node", "metadata"}
    logs = (await ask("GET", f"/executions/{execution}/logs")).json()
    assert [entry["message"] for entry in logs] == ["Execution started", "Execution completed"]
    assert logs[0].keys() == {"timestamp", "node_id", "level", "message", "data"}
    assert (await ask("GET", f"/executions/{execution}/logs?level=error")).json() == []
    assert (await ask("GET", f"/executions/{execution}/logs?node_id=x")).json() == []
    await ask("GET", f"/executions/{execution}/logs?level=loud", status=400)
    await ask("POST", "/flows/none/run", {}, 404)
    await ask("POST", f"/flows/{flow}/run", {"input": 1}, 400)


async def test_list_of_executions(world, ask, flow):
    """Newest first, by flow and by status, in pages."""
    other = (await ask("POST", "/flows", {"name": "Waits", "content": WAIT}, 201)).json()["id"]
    ids = []
    for which in (flow, other, flow, other):
        ids.append((await ask("POST", f"/flows/{which}/run", {}, 201)).json()["execution_id"])
        world.clock.jump(1)
    ids.reverse()
    page = (await ask("GET", "/executions")).json()
    assert ([one["id"] for one in page["items"]], page["next_cursor"]) == (ids, None)
    assert [one["flow_id"] for one in page["items"]] == [other, flow, other, flow]
    assert [one["id"] for one in (await ask("GET", f"/executions?flow_id={flow}")).json()["items"]] == [ids[1], ids[3]]
    assert [one["id"] for one in (await ask("GET", "/executions?status=running")).json()["items"]] == [ids[0], ids[2]]
    assert (await ask("GET", f"/executions?status=completed&flow_id={other}")).json()["items"] == []
    first = (await ask("GET", "/executions?limit=3")).json()
    second = (await ask("GET", f"/executions?limit=3&cursor={first['next_cursor']}")).json()
    assert [one["id"] for one in (*first["items"], *second["items"])] == ids
    assert [one["id"] for one in (await ask("GET", "/executions?limit=2&offset=1")).json()["items"]] == ids[1:3]
    for wrong in ("status=done", "limit=0", f"cursor={first['next_cursor']}&status=failed", "offset=x"):
        await ask("GET", f"/executions?{wrong}", status=400)


async def test_cancel(ask):
    """A running execution is cancelled, once; one that has ended says so."""
    flow = (await ask("POST", "/flows", {"content": WAIT}, 201)).json()["id"]
    execution = (await ask("POST", f"/flows/{flow}/run", {}, 201)).json()["execution_id"]
    assert (await ask("GET", f"/executions/{execution}")).json()["status"] == "running"
    await ask("DELETE", f"/executions/{execution}", status=204)
    assert (await ask("GET", f"/executions/{execution}")).json()["status"] == "canceled"
    assert (await ask("DELETE", f"/executions/{execution}", status=409)).json()["code"] == "already_ended"


async def test_accounts_are_apart(ask, flow):
    """Nothing of another account's is there, whatever is asked about it."""
    execution = (await ask("POST", f"/flows/{flow}/run", {}, 201)).json()["execution_id"]
    for method, path, body in (
        ("GET", f"/flows/{flow}", None), ("PUT", f"/flows/{flow}", {"content": text(2)}), ("DELETE", f"/flows/{flow}", None),
        ("GET", f"/flows/{flow}/versions", None), ("GET", f"/flows/{flow}/versions/1", None), ("GET", f"/flows/{flow}/metadata", None),
        ("PATCH", f"/flows/{flow}/metadata", {}), ("POST", f"/flows/{flow}/run", {}), ("GET", f"/executions/{execution}", None),
        ("GET", f"/executions/{execution}/logs", None), ("DELETE", f"/executions/{execution}", None),
    ):  # fmt: skip
        await ask(method, path, body, 404, token=OTHER)
    assert (await ask("GET", "/flows", token=OTHER)).json() == []
    assert (await ask("POST", "/flows/search", {}, token=OTHER)).json() == []
    assert (await ask("GET", "/executions", token=OTHER)).json()["items"] == []
    assert (await ask("GET", f"/executions?flow_id={flow}", token=OTHER)).json()["items"] == []


async def test_roles(ask, flow):
    """A viewer reads, a worker does not even that."""
    await ask("GET", f"/flows/{flow}", token=VIEWER)
    for method, path, body in (("POST", "/flows", {"content": text()}), ("PUT", f"/flows/{flow}", {"content": text()}), ("POST", f"/flows/{flow}/run", {})):
        await ask(method, path, body, 403, token=VIEWER)
    await ask("GET", "/flows", status=403, token=WORKER)


async def test_plugins(ask):
    """Every kind of node is listed, and one says what it takes."""
    listed = (await ask("GET", "/plugins")).json()
    assert "http.request" in {kind["name"] for kind in listed}
    assert all(kind.keys() == {"name", "description", "version", "source"} for kind in listed)
    one = (await ask("GET", "/plugins/http.request")).json()
    assert "url" in one["parameters"]["properties"]
    await ask("GET", "/plugins/none", status=404)


async def test_idempotency_key(world, ask, flow):
    """A request that is sent again is answered as the first time; another one with its key is refused, also after the answer is forgotten."""
    key = {"idempotency-key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
    first = await ask("POST", f"/flows/{flow}/run", {"input": {"n": 1}}, 201, headers=key)
    again = await ask("POST", f"/flows/{flow}/run", {"input": {"n": 1}}, 201, headers=key)
    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert len((await ask("GET", "/executions")).json()["items"]) == 1
    assert (await ask("POST", f"/flows/{flow}/run", {"input": {"n": 2}}, 422, headers=key)).json()["code"] == "idempotency_key_reused"
    await ask("POST", "/flows", {"content": text()}, 422, headers=key)
    await ask("POST", "/flows", {"content": text()}, 201, headers=key, token=OTHER)  # keys are the account's own
    world.clock.jump(24 * 60 * 60)
    await ask("POST", "/flows", {"content": text()}, 201, headers=key)
    await ask("POST", "/flows", {"content": text()}, 400, headers={"idempotency-key": "x" * 256})


async def test_idempotency_key_of_what_was_refused(ask):
    """A refusal is not kept: the same key may be sent again, mended."""
    key = {"idempotency-key": "one"}
    await ask("POST", "/flows", {"content": "{}"}, 400, headers=key)
    await ask("POST", "/flows", {"content": text()}, 201, headers=key)


async def test_same_key_at_once(world, ask, flow, monkeypatch):
    """While the first request with a key is not answered, others with it are told to wait."""
    begun, go_on, start = asyncio.Event(), asyncio.Event(), world.engine.start_execution

    async def slow(*given, **named):
        begun.set()
        await go_on.wait()
        return await start(*given, **named)

    monkeypatch.setattr(world.engine, "start_execution", slow)
    key = {"idempotency-key": "k"}
    first = asyncio.create_task(ask("POST", f"/flows/{flow}/run", {}, 201, headers=key))
    await begun.wait()
    assert (await ask("POST", f"/flows/{flow}/run", {}, 409, headers=key)).json()["code"] == "request_in_progress"
    go_on.set()
    assert (await first).content == (await ask("POST", f"/flows/{flow}/run", {}, 201, headers=key)).content


async def test_key_of_a_server_that_died(world, ask, flow):
    """What a server began and never answered may be sent again after a minute, and does not begin twice."""
    from flowrunner.api.idempotency import KIND, Remove

    key = {"idempotency-key": "k"}
    first = await ask("POST", f"/flows/{flow}/run", {}, 201, headers=key)
    for document in await world.store.documents.page(EDITOR[0], KIND):
        await world.store.documents.write([Remove(account=EDITOR[0], kind=KIND, id=document.id, version=document.version)])
    second = await ask("POST", f"/flows/{flow}/run", {}, 201, headers=key)
    assert "idempotency-replayed" not in second.headers
    assert second.json() == first.json()


async def test_an_answer_that_could_not_be_kept(world, ask, flow, monkeypatch):
    """The execution was begun, but the store did not take the answer: sent again, the request is answered at once, with that execution."""
    write, writes = world.store.documents.write, []

    async def failing(changes):
        writes.append(changes)
        if len(writes) == 2:  # the first says that the request is being answered
            raise StoreUnavailable
        return await write(changes)

    monkeypatch.setattr(world.store.documents, "write", failing)
    key = {"idempotency-key": "k"}
    first = await ask("POST", f"/flows/{flow}/run", {}, 201, headers=key)
    second = await ask("POST", f"/flows/{flow}/run", {}, 201, headers=key)
    assert (second.json(), "idempotency-replayed" in second.headers) == (first.json(), False)
    assert (await ask("POST", f"/flows/{flow}/run", {}, 201, headers=key)).headers["idempotency-replayed"] == "true"
    assert len((await ask("GET", "/executions")).json()["items"]) == 1


async def test_a_start_that_the_store_refused(world, ask, flow, monkeypatch):
    """A 503 says nothing about whether something was begun: the same key may be sent again at once."""
    start, tries = world.engine.start_execution, []

    async def failing(*given, **named):
        tries.append(named["name"])
        if len(tries) < 3:
            raise StoreUnavailable
        return await start(*given, **named)

    monkeypatch.setattr(world.engine, "start_execution", failing)
    key = {"idempotency-key": "k"}
    assert [(await ask("POST", f"/flows/{flow}/run", {}, status, headers=key)).status_code for status in (503, 503, 201)] == [503, 503, 201]
    assert len(set(tries)) == 1
