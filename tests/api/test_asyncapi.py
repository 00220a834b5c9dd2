"""The AsyncAPI document as it is served, and what sockets say on it: every message there is, and every one that a client may send."""

import json
import re

import httpx
import jsonschema_rs
from liveworld import LiveWorld, completed, event, note, run_id, started, told
from websockets.asyncio.client import connect

from described import Described
from flowrunner.api.historyshapes import event_types
from flowrunner.api.livemessages import ASKED, SAID
from flowrunner.api.messages import TYPES, type_of
from flowrunner.api.socket_v1 import SOCKET
from flowrunner.api.socket_v1 import TYPES as UNDERSTOOD
from flowrunner.api.streams import STREAM
from flowrunner.views.records import TURNS
from flowrunner.views.stream import NOTES, note_message

BEGIN, END = event("ExecutionStarted", input="{}"), event("ExecutionSucceeded", output="7")


async def served_document(world):
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"http://127.0.0.1:{world.address[1]}/asyncapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    return answer.json()


async def test_the_document():
    """Both sockets with their addresses; every reference resolves, every schema is one."""
    world = LiveWorld()
    async with world.served():
        document = await served_document(world)
    assert document["asyncapi"] == "3.0.0"
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses == {SOCKET, STREAM.replace(":str", "")}
    for path in re.findall(r'"\$ref":\s*"#/([^"]+)"', json.dumps(document)):
        found = document
        for part in path.split("/"):
            found = found[part]
    for message in document["components"]["messages"].values():
        jsonschema_rs.meta.validate(message["payload"])
        assert message["summary"]
    told_of = {reference["$ref"].rpartition("/")[2] for operation in document["operations"].values() for reference in operation["messages"]}
    assert told_of == {name for channel in document["channels"].values() for name in channel["messages"]}


async def test_every_type_there_is():
    """Of notes, of what becomes of a run as a whole, of history events, of what has no record; and of both sides of the older socket."""
    world = LiveWorld()
    async with world.served():
        keys = Described(await served_document(world)).keys
    turns = {note_message({"type": kind, "timestamp": 1.0}).kind for kind in TURNS}
    histories = {type_of(kind) for kind in event_types()}
    assert set(TYPES.values()) <= histories
    assert keys == (
        {f"run.{kind}" for kind in {*(kind.name for kind in NOTES.values()), *turns, *histories, "snapshot", "end"}}
        | {f"executions.{kind}" for kind in SAID}
        | {f"client.{kind}" for kind in ASKED}
    )
    assert set(ASKED) == set(UNDERSTOOD)


async def test_what_the_older_socket_says():
    """Statuses, log lines, the end, answers; of one execution, and of all."""
    world = LiveWorld()
    await world.append(BEGIN)
    async with world.served(), connect(world.v1) as stream:
        described = Described(await served_document(world))
        asked = [
            {"type": "subscribe", "execution_id": run_id(1)},
            {"type": "subscribe", "execution_id": run_id(2), "after": 1},
            {"type": "subscribe", "execution_id": "*", "past": False},
            {"type": "ping"},
            {"type": "ping", "execution_id": "mine"},
            {"type": "unsubscribe", "execution_id": run_id(2)},
        ]
        for message in asked:
            described.check("client", message)
            await stream.send(json.dumps(message))
        messages = await told(stream, 6)
        await world.append(started("a", 10.0), note("StepLogged", "a", level="warn", message="x", data={"n": 1}), completed("a"), END, status="SUCCEEDED")
        messages += await told(stream, 6)
        for message in messages:
            described.check("executions", message)
    assert described.seen == {*(f"client.{kind}" for kind in ASKED), *(f"executions.{kind}" for kind in SAID)} - {"executions.gap"}


async def test_what_a_stream_says():
    """By socket, with a snapshot."""
    world = LiveWorld()
    await world.append(BEGIN, started("a", 10.0), machine="workflow/w")
    async with world.served(), connect(world.stream(query="?snapshot=1&history=1")) as stream:
        described = Described(await served_document(world))
        records = [note("StepWaiting", "a", **{"for": "callback", "until": None}), completed("a"), END]
        await world.append(*records, machine="workflow/w", status="SUCCEEDED")
        seen = [json.loads(text) async for text in stream]
    assert [message["type"] for message in seen] == ["snapshot", "waiting", "step_complete", "execution_succeeded", "end"]
    for message in seen:
        if message["type"] != "execution_succeeded":  # a test's own, without all that a machine tells
            described.check("run", message)
