"""All executions of an account on one socket."""

import asyncio
import json

from liveworld import LiveWorld, event, run_id, started, told
from rawsocket import TEXT, frame, opened
from websockets.asyncio.client import connect

from described import Described
from flowrunner.api.asyncapi import document
from flowrunner.testing.clock import ManualClock

BEGIN = event("ExecutionStarted", input="{}")
END = event("ExecutionSucceeded", output="7")
EVERYTHING = '{"type": "subscribe", "execution_id": "*"}'


async def quiet(stream):
    await stream.send('{"type": "ping"}')
    assert [message["type"] for message in await told(stream, 1)] == ["pong"]


async def test_every_execution_of_the_account_and_no_other():
    """A status at the start, at nodes and at the end of each; nothing of other accounts."""
    world = LiveWorld()
    async with world.served(), connect(world.v1) as stream:
        await stream.send(EVERYTHING)
        await stream.send(EVERYTHING)
        await quiet(stream)
        await world.append(BEGIN, account="000000000009", run=9)
        await world.append(BEGIN, run=1)
        [first] = await told(stream, 1)
        assert first["status"] == {
            "id": run_id(1),
            "flow_id": "orders",
            "status": "running",
            "start_time": "2023-11-14T22:13:20.000Z",
            "end_time": None,
            "error": None,
        }
        await world.append(started("a", 40.0), run=1)
        [second] = await told(stream, 1)
        assert (second["execution_id"], second["status"]["progress"], second["status"]["current_node"]) == (run_id(1), 40.0, "a")
        await world.append(event("TaskScheduled", resource="x"), run=1)
        await quiet(stream)
        await world.append(END, run=1, status="SUCCEEDED")
        [last] = await told(stream, 1)
        assert (last["status"]["status"], last["status"]["progress"], last["status"]["current_node"]) == ("completed", 100.0, "a")
        await stream.send(json.dumps({"type": "unsubscribe", "execution_id": "*"}))
        await quiet(stream)
        await world.append(BEGIN, run=2)
        await quiet(stream)
    assert world.feed._taps == set()


async def test_what_happens_in_one_tick_is_told_once():
    """Of several commits of one execution the last counts, with the node reached before it."""
    world = LiveWorld()
    async with world.served(), connect(world.v1) as stream:
        await stream.send(EVERYTHING)
        await quiet(stream)
        await world.append(BEGIN, started("a", 40.0), END, run=1, status="SUCCEEDED")
        await world.append(BEGIN, run=2)
        seen = await told(stream, 2)
        assert [(message["execution_id"], message["status"]["status"]) for message in seen] == [(run_id(1), "completed"), (run_id(2), "running")]
        await quiet(stream)


async def test_a_slow_reader_learns_that_it_missed_something():
    """It is left out while it takes nothing, told of the gap when it reads again, and goes on from there."""
    world = LiveWorld(clock=ManualClock())
    async with world.served(), opened(world.address, "/api/v1/ws", limit=1024) as raw:
        raw.send(_text(EVERYTHING), _text('{"type": "ping"}'))
        await raw.receive()
        raw.writer.transport.pause_reading()
        number = 0
        while not world.clock._sleepers:  # until it has stalled
            for _ in range(100):
                number += 1
                await world.append(BEGIN, run=number, status="FAILED")
            await asyncio.sleep(0)
        await world.append(BEGIN, run=number + 1)
        raw.writer.transport.resume_reading()
        kinds, described = [], Described(document())
        while "gap" not in kinds:
            _, _, payload = await raw.receive()
            described.check("executions", json.loads(payload))
            kinds.append(json.loads(payload)["type"])
        assert set(kinds[:-1]) == {"status"}
        await world.append(BEGIN, run=number + 2)
        _, _, payload = await raw.receive()
        assert json.loads(payload)["execution_id"] == run_id(number + 2)


def _text(said):
    return frame(TEXT, said.encode())
