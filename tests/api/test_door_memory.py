"""What connections hold together is bounded, whatever they begin and do not end; what is refused is counted."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import pytest
from test_door import AWS, HEALTHY, RUN, connected, healthy_beside, problem, served
from websockets.asyncio.client import connect

from flowrunner.cli.door import Door
from flowrunner.ports.observe import NullObserver

LARGE = 30_000_000


async def test_pipelined_headers_are_bounded():
    """Those of one request may end in the piece that begins the next; together they may not wait without end."""
    large = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 15_000 + b"\r\n\r\n"
    async with served() as port:
        async with connected(port, large + large[:9000]) as connection:
            assert (await connection.answer())[0] == 200
            connection.writer.write(large[9000:] + large[:12_000])
            assert (await connection.answer())[0] == 200
            connection.writer.write(large[12_000:])
            assert (await connection.answer())[0] == 200
        async with connected(port) as connection:
            await connection.pour(large * 60, 1)
            await connection.closed()


async def test_a_pipeline_that_never_runs_dry_is_served():
    """What was answered does not count: a client may always have some requests on their way."""
    permits = asyncio.Semaphore(0)

    async def answer(_scope, _receive, send):
        await permits.acquire()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    request = HEALTHY.replace(b"\r\n\r\n", b"\r\nA: " + b"a" * 900 + b"\r\n\r\n")
    async with served(application=answer) as port, connected(port, request * 5) as connection:
        for _ in range(60):
            permits.release()
            assert (await connection.answer())[0] == 200
            connection.writer.write(request)
        for _ in range(5):
            permits.release()


async def test_bodies_that_stop_give_way():
    """What all of them hold together is bounded: those that began first are told to come again, who is honest is not disturbed."""
    door = Door(held_bytes=1024 * 1024)
    size = 200_000
    async with served(door) as port, healthy_beside(port), contextlib.AsyncExitStack() as stack:
        stalled = [await stack.enter_async_context(connected(port, AWS + b"Content-Length: %d\r\n\r\n" % (size + 1))) for _ in range(20)]
        for one in stalled:
            await one.pour(b" " * size, 1)
        for one in stalled[:10]:
            answer = await one.answer()
            problem(answer, 503, "service_unavailable")
            assert int(answer[1]["retry-after"]) > 0
            assert await one.closed() == b""
        async with connected(port, AWS + b"Content-Length: %d\r\n\r\n" % size) as honest:
            await honest.pour(b"{}" + b" " * (size - 2), 1)
            assert (await honest.answer())[0] == 200
        assert 0 < door.held <= 1024 * 1024
        stalled[-1].writer.write(b" ")
        assert (await stalled[-1].answer())[0] == 400
    assert door.held == 0


async def test_a_large_piece_buys_no_silence():
    """What came fast is no credit for hours: a body that stops is cut after the time for bodies."""
    async with served(Door(body_seconds=0.3)) as port, connected(port, AWS + b"Content-Length: 900000\r\n\r\n" + b" " * 500_000) as connection:
        problem(await connection.answer(), 408, "request_timeout")


async def large_answer(_scope, _receive, send):
    """An application whose answer fits into no buffer of the system."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % LARGE)]})
    await send({"type": "http.response.body", "body": b"x" * LARGE})


@pytest.mark.parametrize("pause", [0.02, None])
async def test_who_does_not_read_is_cut(pause):
    """An answer that nobody reads is not kept; one that is read slowly is."""
    door = Door(body_seconds=0.5)
    async with served(door, application=large_answer) as port, connected(port, HEALTHY) as connection:
        headers = await connection.reader.readuntil(b"\r\n\r\n")
        assert headers.startswith(b"HTTP/1.1 200")
        if pause is None:
            async with asyncio.timeout(10):
                while door.open("127.0.0.1"):
                    await asyncio.sleep(0.01)
            return
        rest = LARGE
        while rest:
            rest -= len(await connection.reader.readexactly(min(rest, 500_000)))
            await asyncio.sleep(pause)


async def test_sockets_are_not_compressed():
    """Whatever a client offers: each would hold the memory of a compressor and its counterpart."""
    async with served() as port, connect(f"ws://127.0.0.1:{port}/api/v2/workflows/runs/{RUN}/stream", compression="deflate", proxy=None) as socket:
        assert socket.protocol.extensions == []


async def test_all_connections_together_are_limited():
    """So that the process keeps files to work with: the one too many is told to come again, whoever it is."""
    door = Door(all_connections=2, exempt=lambda _address: True)
    async with served(door) as port, connected(port, HEALTHY) as one, connected(port, HEALTHY) as other:
        assert [(await each.answer())[0] for each in (one, other)] == [200, 200]
        async with connected(port) as third:
            answer = await third.answer()
            problem(answer, 503, "service_unavailable")
            assert answer[1]["retry-after"] == "1"
        one.writer.close()
        while door.count == 2:
            await asyncio.sleep(0.01)
        async with connected(port, HEALTHY) as third:
            assert (await third.answer())[0] == 200
    assert door.count == 0


class Counting(NullObserver):
    """Counts refusals."""

    def __init__(self):
        self.refusals = Counter()

    def on_refused(self, code):
        self.refusals[code] += 1


REFUSED = {
    b"nonsense\r\n\r\n": "bad_request",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 200 + b"\r\n": "headers_too_large",
    b"GET / HTTP/1.1\r\nHost: ": "request_timeout",
    AWS + b"Content-Length: 9\r\n\r\n{": "request_timeout",
    AWS + b"Content-Length: 99999999\r\n\r\n": "too_large",
    AWS + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}": "unsupported_media_type",
    AWS.replace(b"localhost", b"evil.example") + b"Content-Length: 2\r\n\r\n{}": "access_denied",
    HEALTHY: None,
    b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n": None,
}


@pytest.mark.parametrize("sent", REFUSED, ids=lambda sent: str(REFUSED[sent]))
async def test_each_refusal_is_counted_once(sent):
    """Wherever it is refused, under the code of its problem; what is only wrong or not there is not counted."""
    observer = Counting()
    door = Door(header_seconds=0.2, body_seconds=0.2, refused=observer.on_refused)
    async with served(door, observer=observer, only_loopback_hosts=True) as port, connected(port, sent) as connection:
        await connection.answer()
    assert observer.refusals == ({} if REFUSED[sent] is None else {REFUSED[sent]: 1})
