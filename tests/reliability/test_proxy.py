"""The fault proxy itself: each condition does what it says, and no more."""

import asyncio
import contextlib
import json

import pytest

from flowrunner.testing.proxy import PARTITION, Conditions, FaultProxy


@pytest.fixture
async def proxy(tmp_path):
    """A proxy before a server that says everything back."""

    async def echo(reader, writer):
        with contextlib.suppress(OSError), contextlib.closing(writer):
            while piece := await reader.read(4096):
                writer.write(piece)

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with FaultProxy("127.0.0.1", server.sockets[0].getsockname()[1], control=tmp_path / "control") as made:
        made.control, made.writers = tmp_path / "control", []
        yield made
        for writer in made.writers:
            writer.transport.abort()
    server.close()
    await asyncio.sleep(0)


async def connected(proxy):
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    proxy.writers.append(writer)
    return reader, writer


async def said(ends, text=b"hello"):
    reader, writer = ends
    writer.write(text)
    return await asyncio.wait_for(reader.readexactly(len(text)), 2)


async def silent(ends, text=b"hello"):
    reader, writer = ends
    writer.write(text)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.1)


async def test_it_passes(proxy):
    assert await said(await connected(proxy), b"x" * 100_000) == b"x" * 100_000
    assert proxy.carried == 200_000


async def test_latency(proxy):
    ends = await connected(proxy)
    proxy.set(Conditions(latency=0.05))
    began = asyncio.get_running_loop().time()
    await said(ends)
    assert asyncio.get_running_loop().time() - began >= 0.1


@pytest.mark.parametrize("way", ["up", "down"])
async def test_what_is_held_arrives_later(proxy, way):
    ends = await connected(proxy)
    await said(ends)
    proxy.set(Conditions(**{way: "hold"}))
    await silent(ends)
    proxy.set(Conditions())
    assert await asyncio.wait_for(ends[0].readexactly(5), 2) == b"hello"


@pytest.mark.parametrize("way", ["up", "down"])
async def test_what_is_swallowed_never_arrives(proxy, way):
    ends = await connected(proxy)
    proxy.set(Conditions(**{way: "swallow"}))
    await silent(ends, b"lost")
    proxy.set(Conditions())
    assert await said(ends) == b"hello"


async def test_reset_after_so_many_bytes(proxy):
    proxy.set(Conditions(reset_after=7))
    reader, writer = await connected(proxy)
    writer.write(b"hello")
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(reader.readexactly(5), 2)


async def test_refused(proxy):
    proxy.set(Conditions(refuse=True))
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await said(await connected(proxy))


async def test_half_open(proxy):
    """A connection that was taken and leads nowhere; it begins to work when the condition ends."""
    proxy.set(Conditions(accept_only=True))
    ends = await connected(proxy)
    await silent(ends)
    proxy.set(Conditions())
    assert await asyncio.wait_for(ends[0].readexactly(5), 2) == b"hello"


async def test_a_partition_and_its_end(proxy):
    old = await connected(proxy)
    await said(old)
    proxy.set(PARTITION)
    new = await connected(proxy)
    await asyncio.gather(silent(old), silent(new))
    proxy.set(Conditions())
    assert await asyncio.wait_for(asyncio.gather(old[0].readexactly(5), new[0].readexactly(5)), 2) == [b"hello"] * 2


async def test_cut(proxy):
    reader, _ = await connected(proxy)
    while not proxy.connections:
        await asyncio.sleep(0)
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(1), 2)


async def test_orders_from_outside(proxy):
    """The same over the control socket."""
    ends = await connected(proxy)
    await said(ends)
    reader, writer = await asyncio.open_unix_connection(proxy.control)

    async def order(**words):
        writer.write(json.dumps(words).encode() + b"\n")
        return json.loads(await asyncio.wait_for(reader.readline(), 2))

    assert await order(up="hold") == {"connections": 1}
    await silent(ends)
    await order(up="pass")
    assert await asyncio.wait_for(ends[0].readexactly(5), 2) == b"hello"
    await order(cut=True)
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(ends[0].read(1), 2)
    writer.close()
