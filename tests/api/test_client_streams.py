"""The client of this project on a real stream whose connection breaks."""

import json

import httpx
from liveworld import LiveWorld, completed, event, run_id, started

from flowrunner.client import Client
from flowrunner.testing.clock import ManualClock

RECORDS = [event("ExecutionStarted", input="{}"), started("a"), completed("a"), started("b"), completed("b"), event("ExecutionSucceeded", output="7")]


class _Torn(httpx.AsyncByteStream):
    """A body that breaks off behind some bytes."""

    def __init__(self, body, end):
        self._body, self._end = body, end

    async def __aiter__(self):
        yield self._body[: self._end]
        raise httpx.ReadError("")

    async def aclose(self):
        pass


class Breaking(httpx.AsyncBaseTransport):
    """The real transport, whose first answer breaks off behind the event number `events`."""

    def __init__(self, events):
        self._transport = httpx.AsyncHTTPTransport()
        self._events = events
        self.asked = []

    async def handle_async_request(self, request):
        self.asked.append(dict(request.url.params))
        answer = await self._transport.handle_async_request(request)
        if len(self.asked) > 1:
            return answer
        body = await answer.aread()
        end = 0
        for _ in range(self._events):
            end = body.index(b"\n\n", end) + 2
        return httpx.Response(answer.status_code, headers=answer.headers, stream=_Torn(body, end))

    async def aclose(self):
        await self._transport.aclose()


class Now(ManualClock):
    """A clock on which nobody waits."""

    async def sleep(self, seconds):
        self.jump(seconds)


async def followed(world, events):
    transport = Breaking(events)
    host, port = world.address
    async with Client(f"http://{host}:{port}", transport=transport, clock=Now()) as client:
        return [message async for message in client.follow(run_id(1))], transport.asked


async def test_wherever_it_breaks_off_each_message_comes_once():
    """Also between the status of a node and its step, of which only the step has a place to go on from."""
    world = LiveWorld()
    await world.append(*RECORDS, machine="workflow/w", status="SUCCEEDED")
    async with world.served():
        whole, asked = await followed(world, 10)  # all but what EventSource wants first
        assert [message["type"] for message in whole] == [
            "status",
            "status",
            "step_start",
            "step_complete",
            "status",
            "step_start",
            "step_complete",
            "status",
            "end",
        ]
        assert len(asked) == 1
        for events in range(1, 10):
            again, asked = await followed(world, events)
            assert json.dumps(again) == json.dumps(whole)
            assert len(asked) == 2
