"""Every way in which something goes wrong with a socket is counted, once, by its reason."""

import contextlib

import pytest
from liveworld import LiveWorld, event
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from flowrunner.api.openings import Openings


async def closing(url, *messages, **options):
    """The code that a socket is closed with after these messages."""
    async with connect(url, **options) as stream:
        for message in messages:
            await stream.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            await stream.recv()
    return closed.value.rcvd.code


async def test_closes():
    """What is asked for is not there, is no number, is too large."""
    world = LiveWorld()
    await world.append(event("ExecutionStarted", input="{}"))
    async with world.served():
        assert await closing(world.stream(run=9)) == 4404
        assert await closing(world.stream(query="?after=x")) == 4400
        assert await closing(world.v1, "x" * 200_000) == 1009
        await world.observer.closed.get()
    assert world.observer.reasons == ["unknown_run", "bad_request", "too_large"]


async def test_refusals():
    """A page of elsewhere, and one socket more than an address may have."""
    world = LiveWorld(openings=Openings(per_address=1))
    async with world.served():
        for options, status in (({"origin": "https://elsewhere.example"}, 403), ({}, 429)):
            async with contextlib.AsyncExitStack() as stack:
                if status == 429:
                    await stack.enter_async_context(connect(world.v1))
                with pytest.raises(InvalidStatus) as refused:
                    await connect(world.v1, **options)
                assert refused.value.response.status_code == status
    assert world.observer.reasons == ["refused", "refused"]


async def test_answers():
    """A message that cannot be read is answered with an error; who just comes and goes is none."""
    world = LiveWorld()
    async with world.served():
        async with connect(world.v1) as stream:
            await stream.send("{")
            await stream.recv()
        await world.observer.closed.get()
        async with connect(world.v1):
            pass
        await world.observer.closed.get()
    assert world.observer.reasons == ["message"]
