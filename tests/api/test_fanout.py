"""Many followers of one run: everybody gets everything once and in order, and who does not read is bounded, left behind and cut."""

import asyncio
import contextlib
import json
import socket

import pytest
from liveworld import LiveWorld, event, note, run_id, started, told
from rawsocket import CLOSE, TEXT, opened
from websockets.asyncio.client import connect

from flowrunner.api import fanout
from flowrunner.api.sessions import TOO_SLOW
from flowrunner.testing.clock import ManualClock

BEGIN = event("ExecutionStarted", input="{}")
END = event("ExecutionSucceeded", output="7")
PATH = f"/api/v2/workflows/runs/{run_id(1)}/stream"


def said(number, size=10):
    return note("StepLogged", "a", level="info", message=f"{number} " + "x" * size)


async def everything(raw):
    """The seqs of all messages until the close, and its code."""
    seqs = []
    for opcode, _, payload in await raw.rest():
        if opcode == CLOSE:
            return seqs, int.from_bytes(payload[:2])
        assert opcode == TEXT
        seqs.append(json.loads(payload).get("seq"))
    return seqs, None


async def follow_with(count, steps):
    """So many sockets on one run of so many steps; a third of them come in the middle of it."""
    world = LiveWorld()
    await world.append(BEGIN)
    async with world.served(), contextlib.AsyncExitStack() as stack:
        early = [await stack.enter_async_context(opened(world.address, PATH)) for _ in range(count - count // 3)]
        reading = [asyncio.create_task(everything(raw)) for raw in early]
        for step in range(steps):
            if step == steps // 2:
                late = [await stack.enter_async_context(opened(world.address, PATH)) for _ in range(count // 3)]
                reading += [asyncio.create_task(everything(raw)) for raw in late]
            await world.append(said(step), said(step))
            await asyncio.sleep(0)
        await world.append(END, status="SUCCEEDED")
        for seqs, code in await asyncio.gather(*reading):
            assert code == 1000
            assert seqs == [*range(1, 2 * steps + 3), None]
        assert world.observer.errors == 0
    assert world.feed._topics == {}
    return world


async def test_a_hundred_sockets_get_every_message_in_order():
    """None is lost or doubled, for those who came early and those who came late."""
    world = await follow_with(100, 50)
    assert world.observer.messages == 100 * 103


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_thousand_sockets_get_every_message_in_order():
    """As above, ten times as many."""
    await follow_with(1000, 100)


def small_window():
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.setblocking(False)  # noqa: FBT003
    return plain


@contextlib.asynccontextmanager
async def stalled(world):
    """A follower that reads nothing."""
    plain = small_window()
    await asyncio.get_running_loop().sock_connect(plain, world.address)
    request = f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    await asyncio.get_running_loop().sock_sendall(
        plain, (request + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n").encode()
    )
    try:
        yield plain
    finally:
        plain.close()


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_stalled_reader_is_cut_after_ten_seconds_and_costs_the_others_nothing():
    """The clock is the test's: at 9.9 s it is still there, at 10 s it is closed with 4408; the others were never waited for."""
    clock = ManualClock()
    world = LiveWorld(clock=clock)
    await world.append(BEGIN)
    async with world.served(), stalled(world), opened(world.address, PATH, limit=2**24) as quick:
        reading = asyncio.create_task(everything(quick))
        await until(lambda: world.observer.opened == 2)
        for step in range(200):
            await world.append(said(step, 100_000))
            await asyncio.sleep(0)
        await until(lambda: bool(clock._sleepers))  # somebody has stalled
        clock.jump(9.9)
        for _ in range(20):
            await asyncio.sleep(0)
        assert world.observer.errors == 0
        await world.append(END, status="SUCCEEDED")
        seqs, code = await reading
        assert (seqs, code) == ([*range(1, 203), None], 1000)
        clock.jump(0.2)
        await until(lambda: world.observer.errors == 1)
    assert TOO_SLOW == 4408


async def test_who_reads_slowly_gets_everything(monkeypatch):
    """Left behind again and again, brought up from what is kept and from the store: no hole, no double, in order."""
    monkeypatch.setattr(fanout, "KEPT_BYTES", 300_000)
    monkeypatch.setattr(fanout, "SLICE_BYTES", 100_000)
    world = LiveWorld()
    await world.append(BEGIN)
    async with world.served(), connect(f"ws://127.0.0.1:{world.address[1]}{PATH}", sock=await _connected(world), max_queue=1, compression=None) as slow:
        seqs = []
        for step in range(300):
            await world.append(said(step, 20_000))
            if step % 10 == 0:
                seqs.append(json.loads(await slow.recv())["seq"])
        await world.append(END, status="SUCCEEDED")
        async for text in slow:
            seqs.append(json.loads(text).get("seq"))
            await asyncio.sleep(0)
        assert seqs == [*range(1, 303), None]
        assert slow.close_code == 1000


async def _connected(world):
    plain = small_window()
    await asyncio.get_running_loop().sock_connect(plain, world.address)
    return plain


async def test_what_is_kept_for_a_stalled_reader_is_bounded(monkeypatch):
    """However much happens, the server keeps no more than its limits for it."""
    world = LiveWorld(clock=ManualClock())
    await world.append(BEGIN)
    kept = []
    written = fanout.Channel._write

    def noting(channel, position, made):
        written(channel, position, made)
        kept.append((channel._kept_size, len(channel._level)))

    monkeypatch.setattr(fanout.Channel, "_write", noting)
    async with world.served(), stalled(world):
        await until(lambda: world.observer.opened == 1)
        for step in range(300):
            await world.append(said(step, 100_000))
            await asyncio.sleep(0)
        await until(lambda: world.observer.messages > 0)
        assert max(size for size, _ in kept) <= fanout.KEPT_BYTES
        assert world.observer.messages < 100  # of 300: the kernel's buffers, and about half a megabyte of ours


async def test_ahead_of_what_this_node_has_seen():
    """A client that comes back from another node may know more: it waits, and gets what is new to it."""
    world = LiveWorld()
    await world.append(BEGIN)
    async with world.served(), connect(world.stream(query="?after=3")) as stream, connect(world.stream()) as other:
        await world.append(said(1), said(2), said(3))
        await world.append(said(4), END, status="SUCCEEDED")
        assert [json.loads(text).get("seq") async for text in stream] == [4, 5, 6, None]
        assert [json.loads(text).get("seq") async for text in other] == [1, 2, 3, 4, 5, 6, None]


async def test_frames_are_made_once(monkeypatch):
    """Ten followers cost as much rendering as one."""
    made = []
    rendered = fanout.Channel._keep
    monkeypatch.setattr(fanout.Channel, "_keep", lambda channel, seq, frames: (made.append(seq), rendered(channel, seq, frames))[1])
    world = LiveWorld()
    await world.append(BEGIN)
    async with world.served(), contextlib.AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(connect(world.stream())) for _ in range(10)]
        for stream in streams:
            await stream.recv()
        await world.append(started())
        for stream in streams:
            await stream.recv()
    assert made == [1, 2]


async def test_a_store_that_fails_ends_the_stream_with_1011(monkeypatch):
    """Followers are told, and nothing stays behind."""
    world = LiveWorld()
    await world.append(BEGIN)

    async def fail(execution):
        raise RuntimeError("broken")

    async with world.served(), connect(world.stream()) as stream:
        await told(stream, 1)
        monkeypatch.setattr(world.store.executions, "head", fail)
        await world.append(END, status="SUCCEEDED")
        assert [json.loads(text)["seq"] async for text in _until_closed(stream)] == [2]
        assert stream.close_code == 1011
        await world.observer.closed.get()
        assert world.observer.errors == 1
    assert world.feed._topics == {}


async def _until_closed(stream):
    with contextlib.suppress(Exception):
        while True:
            yield await stream.recv()
