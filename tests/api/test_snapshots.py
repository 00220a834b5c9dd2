"""Streams that begin with a snapshot: by socket, by server-sent events and by long polling, of what runs and of what has ended."""

import asyncio
import json

import httpx
import pytest
from liveworld import LiveWorld, completed, event, note, run_id, started, told
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from flowrunner.api import snapshots
from flowrunner.errors import StoreUnavailable

WORKFLOW = "workflow/users"
BEGIN, END = event("ExecutionStarted", input="{}"), event("ExecutionSucceeded", output="7")
FIRST = [
    BEGIN,
    started("a", 0.0),
    note("VariableChanged", "a", name="x", oldValue=None, newValue={"n": 1}, changeType="create"),
    completed("a"),
    started("b", 50.0),
]
REST = [completed("b"), END]
STANDS = {
    "status": "running",
    "executionStatus": "RUNNING",
    "progress": 50.0,
    "nodes": [{"id": "b", "name": "B", "type": "transform"}],
    "steps": [
        {"stepId": "a", "stepName": "A", "stepType": "transform", "status": "success", "startTime": "2023-11-14T22:13:21.500Z", "duration": 12, "entered": 1},
        {"stepId": "b", "stepName": "B", "stepType": "transform", "status": "running", "startTime": "2023-11-14T22:13:21.500Z", "duration": None, "entered": 1},
    ],
    "variables": {"x": {"n": 1}},
    "lastSeq": 5,
}
SNAPSHOT = {"runId": run_id(1), "type": "snapshot", "payload": STANDS, "seq": 5, "ts": "2023-11-14T22:13:21.500Z", "v": 1}


async def running():
    world = LiveWorld()
    await world.append(*FIRST, machine=WORKFLOW)
    return world


def data_of(text):
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


async def test_by_socket():
    """One message for all that has happened; then what happens; then the end. The last `seq` is where to go on, as always."""
    world = await running()
    async with world.served(), connect(world.stream(query="?snapshot=1")) as stream:
        assert await told(stream, 1) == [SNAPSHOT]
        await world.append(*REST, machine=WORKFLOW, status="SUCCEEDED")
        rest = [json.loads(text) async for text in stream]
        assert [(message["type"], message.get("seq")) for message in rest] == [("step_complete", 6), ("status", 7), ("end", None)]
        async with connect(world.stream(query="?after=5")) as again:
            assert [json.loads(text) async for text in again] == rest
        assert world.observer.messages == 1 + 3 + 3
    assert world.feed._topics == {}


async def test_by_server_sent_events():
    """The snapshot's id is its sequence number, so an EventSource that returns goes on behind it and gets no other one."""
    world = await running()
    async with world.served(), httpx.AsyncClient() as http:
        url = world.stream(query="?snapshot=1", scheme="http")
        async with http.stream("GET", url) as answer:
            lines = answer.aiter_lines()
            assert [await anext(lines) for _ in range(3)] == ["retry: 1000", "", "id: 5"]
            assert json.loads((await anext(lines))[6:]) == SNAPSHOT
            await world.append(*REST, machine=WORKFLOW, status="SUCCEEDED")
            rest = data_of("\n".join([line async for line in lines]))
        assert [message["type"] for message in rest] == ["step_complete", "status", "end"]
        assert data_of((await http.get(url, headers={"last-event-id": "5"})).text) == rest
        assert [message.get("seq") for message in data_of((await http.get(url, headers={"last-event-id": "2"})).text)] == [3, 4, None, 5, 6, 7, None]
        assert (await http.get(url, headers={"last-event-id": "7"})).status_code == 204


async def test_by_long_polling():
    """It is there at once, and the answer tells where to go on."""
    world = await running()
    async with world.served(), httpx.AsyncClient() as http:
        url = world.stream(scheme="http")
        first = (await http.get(url, params={"wait": "60s", "snapshot": "true"})).json()
        assert first == {"runId": run_id(1), "messages": [SNAPSHOT], "lastSeq": 5, "ended": False}
        await world.append(*REST, machine=WORKFLOW, status="SUCCEEDED")
        rest = (await http.get(url, params={"wait": "60s", "snapshot": "1", "after": 7})).json()
        assert [message["type"] for message in rest["messages"]] == ["end"]
        whole = (await http.get(url, params={"wait": "60s", "snapshot": "1"})).json()
        assert ([message["type"] for message in whole["messages"]], whole["lastSeq"], whole["ended"]) == (["snapshot", "end"], 7, True)


async def test_with_a_place_to_go_on_from():
    """A snapshot stands for what was stored behind that place; where nothing was, the stream goes on as without."""
    world = await running()
    async with world.served():
        async with connect(world.stream(query="?snapshot=1&after=4")) as stream:
            assert await told(stream, 1) == [SNAPSHOT]
        async with connect(world.stream(query="?snapshot=1&after=5")) as level, connect(world.stream(query="?snapshot=1&after=6")) as ahead:
            await world.append(*REST, machine=WORKFLOW, status="SUCCEEDED")
            assert [json.loads(text)["type"] async for text in level] == ["step_complete", "status", "end"]
            assert [json.loads(text)["type"] async for text in ahead] == ["status", "end"]
        async with connect(world.stream(query="?snapshot=1&after=6")) as stream:
            assert [json.loads(text)["type"] async for text in stream] == ["snapshot", "end"]
        async with httpx.AsyncClient() as http:
            assert (await http.get(world.stream(query="?snapshot=1&after=8", scheme="http"))).status_code == 400


async def test_a_state_machine():
    """Its states are the steps; there is no progress."""
    world = LiveWorld()
    entered = {**event("TaskStateEntered", name="Boil", input="{}"), "id": 2}
    await world.append(BEGIN, entered, machine="brew")
    async with world.served(), connect(world.stream(query="?snapshot=1")) as stream:
        (message,) = await told(stream, 1)
    assert message["payload"] == {
        "status": "running",
        "executionStatus": "RUNNING",
        "nodes": [{"id": "Boil", "name": "Boil", "type": "Task"}],
        "steps": [
            {
                "stepId": "Boil",
                "stepName": "Boil",
                "stepType": "Task",
                "status": "running",
                "startTime": "2023-11-14T22:13:20.000Z",
                "duration": None,
                "entered": 1,
            }
        ],
        "variables": {},
        "lastSeq": 2,
    }


async def test_what_a_run_has_failed_with():
    """It is told as the last status tells it."""
    world = LiveWorld()
    await world.append(BEGIN, event("ExecutionFailed", error="E", cause="why"), machine="brew", status="FAILED")
    async with world.served(), connect(world.stream(query="?snapshot=1")) as stream:
        snapshot, end = [json.loads(text) async for text in stream]
    assert {name: snapshot["payload"][name] for name in ("status", "executionStatus", "error", "cause")} == {
        "status": "failed",
        "executionStatus": "FAILED",
        "error": "E",
        "cause": "why",
    }
    assert end["type"] == "end"


async def test_whoever_comes_while_a_run_writes_misses_nothing():
    """Streams that begin while records are stored, some with a snapshot: behind it comes all that is not in it, once, beside what others get."""
    world = LiveWorld()
    await world.append(BEGIN, machine=WORKFLOW)

    async def follow(number):
        async with connect(world.stream(query="?snapshot=1" if number % 2 else "")) as stream:
            return [json.loads(text) async for text in stream]

    async with world.served():
        following = []
        for number in range(20):
            following.append(asyncio.create_task(follow(number)))
            await world.append(*(part for step in range(30) for part in (started(f"s{step}", 1.0), completed(f"s{step}"))), machine=WORKFLOW)
            await asyncio.sleep(0)
        await world.append(END, machine=WORKFLOW, status="SUCCEEDED")
        streams = await asyncio.gather(*following)
    whole = streams[0]
    assert [message["seq"] for message in whole if "seq" in message] == list(range(1, 20 * 60 + 3))
    begun = [messages[0] for messages in streams[1::2]]
    assert {message["type"] for message in begun} == {"snapshot"}
    assert len({message["seq"] for message in begun}) > 1
    for snapshot, *rest in streams[1::2]:
        place = next(place for place, message in enumerate(whole) if message.get("seq") == snapshot["payload"]["lastSeq"])
        assert rest == whole[place + 1 :]


async def test_a_store_that_does_not_answer(monkeypatch):
    """A socket is closed as for a server that failed, an HTTP client gets a problem."""
    world = await running()

    async def unavailable(*_, **__):
        raise StoreUnavailable("memory")

    async with world.served(), httpx.AsyncClient() as http:
        monkeypatch.setattr(world.store.executions, "log", unavailable)
        async with connect(world.stream(query="?snapshot=1")) as stream:
            with pytest.raises(ConnectionClosed) as closed:
                await stream.recv()
        assert closed.value.rcvd.code == 1011
        for query in ("?snapshot=1", "?snapshot=1&wait=1s"):
            answer = await http.get(world.stream(query=query, scheme="http"))
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")


async def test_others_have_their_turn_while_a_long_log_is_read(monkeypatch):
    """Whatever the length of a log, only so many records are taken at once."""
    monkeypatch.setattr(snapshots, "AT_ONCE", 10)
    world = LiveWorld()
    await world.append(BEGIN, *(part for step in range(500) for part in (started(f"s{step}", 1.0), completed(f"s{step}"))), machine=WORKFLOW)
    turns = []

    async def others():
        while True:
            turns.append(None)
            await asyncio.sleep(0)

    renderer = snapshots.Renderer(run_id(1), "notes")
    task = asyncio.create_task(others())
    begin = await snapshots.beginning(world.feed, world.heads[1], renderer, after=0, snapshot=True)
    task.cancel()
    assert begin.after == 1001
    assert len(turns) >= 100
    assert len(json.loads(begin.messages[0].text)["payload"]["steps"]) == 500
