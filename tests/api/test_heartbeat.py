"""Pings and the end of clients that do not answer, on a clock that the test moves."""

import asyncio

import pytest
from liveworld import LiveWorld
from rawsocket import CLOSE, PING, PONG, frame, opened
from websockets.asyncio.client import connect

from flowrunner.cli.heartbeat import PING_SECONDS, PONG_SECONDS, Heartbeat
from flowrunner.config import Settings
from flowrunner.errors import ConfigurationError
from flowrunner.testing.clock import ManualClock


class Client:
    def __init__(self):
        self.said = []

    def ping(self):
        self.said.append("ping")

    def lapse(self):
        self.said.append("lapse")


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def jump(clock, seconds):
    clock.jump(seconds)
    await settle()


async def test_the_documented_times():
    """A ping each 54 s; who has not answered 60 s after it came, or after its last pong, is gone."""
    assert (PING_SECONDS, PONG_SECONDS) == (54.0, 60.0)
    clock = ManualClock()
    heartbeat = Heartbeat(clock)
    silent, lively = Client(), Client()
    heartbeat.enter(silent)
    heartbeat.enter(lively)
    await settle()
    await jump(clock, 53.9)
    assert silent.said == []
    await jump(clock, 0.1)
    assert silent.said == lively.said == ["ping"]
    heartbeat.pong(lively)
    await jump(clock, 5.9)
    assert silent.said == ["ping"]
    await jump(clock, 0.1)
    assert silent.said == ["ping", "lapse"]
    await jump(clock, 48)
    assert lively.said == ["ping", "ping"]
    await jump(clock, 6)
    assert lively.said == ["ping", "ping", "lapse"]
    assert heartbeat.sockets == 0


async def test_who_leaves_is_not_pinged():
    """Leaving twice is no error; the task ends with the last one and begins with the next."""
    clock = ManualClock()
    heartbeat = Heartbeat(clock, ping_seconds=1, pong_seconds=2)
    one, two = Client(), Client()
    heartbeat.enter(one)
    await settle()
    heartbeat.leave(one)
    heartbeat.leave(one)
    heartbeat.pong(one)
    heartbeat.enter(two)
    await settle()
    await jump(clock, 1)
    assert (one.said, two.said) == ([], ["ping"])


async def test_sockets_come_at_different_times():
    """Each has its own times."""
    clock = ManualClock()
    heartbeat = Heartbeat(clock, ping_seconds=10, pong_seconds=100)
    clients = [Client() for _ in range(5)]
    for client in clients:
        heartbeat.enter(client)
        await settle()
        await jump(clock, 2)
    assert [len(client.said) for client in clients] == [1, 0, 0, 0, 0]
    await jump(clock, 2)
    assert [len(client.said) for client in clients] == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("answers", [True, False])
async def test_a_real_socket(answers):
    """The server sends PING frames; a PONG keeps the socket open, silence closes it with 1011."""
    clock = ManualClock()
    world = LiveWorld(heartbeat=Heartbeat(clock))
    async with world.served(), opened(world.address, "/api/v1/ws") as raw:
        raw.send(frame(PING, b"there"))
        assert await raw.receive() == (PONG, True, b"there")
        clock.jump(54)
        opcode, _, payload = await raw.receive()
        assert (opcode, len(payload)) == (PING, 4)
        if answers:
            raw.send(frame(PONG, payload), frame(PING, b"still"))
            assert await raw.receive() == (PONG, True, b"still")
        clock.jump(6)
        if answers:
            raw.send(frame(PING, b"open"))
            assert await raw.receive() == (PONG, True, b"open")
        else:
            opcode, _, payload = await raw.receive()
            assert (opcode, payload) == (CLOSE, b"\x03\xf3no pong in time")
            assert await raw.receive() is None
            await world.observer.closed.get()
            assert world.heartbeat.sockets == 0
            assert world.observer.reasons == ["no_pong"]


async def test_a_library_answers_by_itself():
    """Clients written with a library stay as long as they like."""
    clock = ManualClock()
    world = LiveWorld(heartbeat=Heartbeat(clock))
    async with world.served(), connect(world.v1) as stream:
        await stream.send('{"type": "ping"}')
        await stream.recv()
        for _ in range(5):
            clock.jump(54)
            await stream.ping()
            await (await stream.ping())  # what the server sent before was read and answered
        await stream.send('{"type": "ping"}')
        assert "pong" in await stream.recv()


def test_times_that_cut_everybody_off_are_refused():
    """Who is given less time than a ping takes to come can never answer."""
    assert Heartbeat.of(Settings())._pong_seconds == 60.0
    with pytest.raises(ConfigurationError, match="socket_pong_seconds is 54"):
        Heartbeat.of(Settings(socket_pong_seconds=54))
