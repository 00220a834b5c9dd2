"""The server's door under TLS: connections count from the moment they are made, and a handshake has a time."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from pathlib import Path

import pytest
import uvloop
from test_door import HEALTHY, RUN, Connection, connected, served
from websockets.asyncio.client import connect

from flowrunner.cli.door import Door

sys.path.append(str(Path(__file__).parent.parent / "cli"))
from test_tls import written  # as the path is set


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    """Runs a coroutine on each loop that a server may have, for they do TLS each in its own way."""

    def ran(work):
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(work)

    return ran


@pytest.fixture
def contexts(tmp_path):
    """Of the server and of a client that trusts it."""
    certificate, key = written(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=str(certificate))


@contextlib.asynccontextmanager
async def secured(port, trust, first=b""):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname="localhost")
    writer.write(first)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


async def emptied(door):
    while door.open("127.0.0.1"):
        await asyncio.sleep(0.01)


def test_requests_and_sockets_are_served(run, contexts):
    """One after the other on one connection, a body, a WebSocket; each is counted once and let go."""

    async def proven():
        tls, trust = contexts
        door = Door(connections=2)
        async with served(door, tls=tls) as port:
            async with secured(port, trust, HEALTHY) as one:
                assert (await one.answer())[0] == 200
                body = b"{}" + b" " * 500_000
                one.writer.write(
                    b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AWSStepFunctions.ListStateMachines\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                )
                assert (await one.answer())[0] == 200
                async with connect(f"wss://localhost:{port}/api/v2/workflows/runs/{RUN}/stream", ssl=trust):
                    assert door.open("127.0.0.1") == 2
                    with pytest.raises((ConnectionError, ssl.SSLError)):
                        async with secured(port, trust, HEALTHY) as third:
                            await third.answer()
            await emptied(door)
            async with secured(port, trust, HEALTHY) as one:
                assert (await one.answer())[0] == 200

    run(proven())


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01", HEALTHY, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 507, b"x" * 100_000])
def test_who_never_agrees_is_dropped(run, contexts, said, caplog):
    """Silence, half a hello, plain HTTP and noise: counted while they last, gone within the time of headers, no word in the log."""

    async def proven():
        tls, trust = contexts
        door = Door(connections=3, header_seconds=0.3)
        async with served(door, tls=tls) as port, contextlib.AsyncExitStack() as stack:
            many = [await stack.enter_async_context(connected(port, said)) for _ in range(6)]
            for one in many:
                await one.closed()
            await emptied(door)
            async with secured(port, trust, HEALTHY) as healthy:
                assert (await healthy.answer())[0] == 200
        assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []

    run(proven())


def test_a_silent_connection_holds_a_place_and_no_more(run, contexts):
    """Those without a word count, too: one address cannot have more of them than its limit."""

    async def proven():
        tls, _ = contexts
        door = Door(connections=2)
        async with served(door, tls=tls) as port, connected(port), connected(port):
            while door.open("127.0.0.1") < 2:
                await asyncio.sleep(0.01)
            async with connected(port) as third:
                assert await third.closed() == b""
            assert door.open("127.0.0.1") == 2
        assert door.open("127.0.0.1") == 0

    run(proven())


def test_a_stop_does_not_wait_for_handshakes(run, contexts):
    """A server with connections that have said nothing stops at once."""

    async def proven():
        tls, _ = contexts
        async with contextlib.AsyncExitStack() as stack:
            async with asyncio.timeout(5), served(Door(), tls=tls) as port:
                silent = [await stack.enter_async_context(connected(port)) for _ in range(3)]
                await asyncio.sleep(0.05)
            for one in silent:
                assert await one.closed() == b""

    run(proven())
