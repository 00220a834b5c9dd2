"""An answer leaves the process whole: a server that is killed never leaves a 200 with half a body behind."""

from __future__ import annotations

import asyncio

import pytest
from test_door import AWS, HEALTHY, connected, served

from flowrunner.cli import httpprotocol, protocol


class Recording:
    """A transport that notes what each write holds."""

    def __init__(self, transport, writes):
        self._transport, self._writes = transport, writes

    def __getattr__(self, name):
        return getattr(self._transport, name)

    def write(self, data):
        self._writes.append(bytes(data))
        self._transport.write(data)


@pytest.fixture
def writes(monkeypatch):
    """What the server's connections write, call by call."""
    noted = []

    class Recorded(httpprotocol.HttpProtocol):
        def connection_made(self, transport):
            super().connection_made(Recording(transport, noted))

    monkeypatch.setattr(protocol, "HttpProtocol", Recorded)
    return noted


@pytest.mark.parametrize(
    "sent", [AWS + b"Content-Length: 2\r\n\r\n{}", HEALTHY, AWS + b"Content-Length: 1\r\n\r\n{", HEALTHY.replace(b"/healthz", b"/nowhere")]
)
@pytest.mark.parametrize("last", [b"", b"Connection: close\r\n"])
async def test_headers_and_body_are_one_write(writes, sent, last):
    """Of AWS, of a route, of a refusal; whether the connection stays open or not."""
    async with served() as port, connected(port, sent.replace(b"Host:", last + b"Host:")) as connection:
        _, _, body = await connection.answer()
        assert body
        (only,) = writes
        assert only.endswith(b"\r\n\r\n" + body)


async def test_requests_in_a_row_are_answered_in_theirs(writes):
    """Each answer of a pipeline is whole in one write, and the order is kept."""
    async with served() as port, connected(port, HEALTHY * 3 + AWS + b"Content-Length: 2\r\n\r\n{}") as connection:
        bodies = [(await connection.answer())[2] for _ in range(4)]
        assert b"stateMachines" in bodies[3]
        assert [write.partition(b"\r\n\r\n")[2] for write in writes] == bodies


async def test_what_comes_apart_is_sent_apart(writes):
    """A stream's headers do not wait for its first event; a large body is sent without a copy."""
    more, large = asyncio.Event(), b"x" * 100_000

    async def stream(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % (len(large) + 1))]})
        await more.wait()
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": large})

    async with served(application=stream) as port, connected(port, HEALTHY) as connection:
        async with asyncio.timeout(10):
            assert (await connection.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
            assert len(writes) == 1
            more.set()
            assert await connection.reader.readexactly(len(large) + 1) == b"a" + large
