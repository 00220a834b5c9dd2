"""The server's door: what is too large, too slow, too much or ambiguous is refused, while others are served."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from flowrunner.api.app import create_app
from flowrunner.api.aws import AwsEndpoint, Development, Service
from flowrunner.api.identify import DevAuthenticator
from flowrunner.api.openings import Openings
from flowrunner.api.proxies import Proxies
from flowrunner.cli.door import Door
from flowrunner.cli.httpprotocol import MAX_HEADER_BYTES, MAX_HEADERS
from flowrunner.cli.protocol import Server, configuration
from flowrunner.clock import SystemClock
from flowrunner.engine.feed import Feed
from flowrunner.errors import ConfigurationError
from flowrunner.limits import PROFILES
from flowrunner.ports.executions import Head, StepWrite
from flowrunner.ports.observe import NullObserver
from flowrunner.stores.memory.store import MemoryStore

ACCOUNT = "000000000000"
RUN = "0" * 31 + "1"
HEALTHY = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
AWS = b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AWSStepFunctions.ListStateMachines\r\n"


@contextlib.asynccontextmanager
async def served(door=None, tls=None, application=None, **changes):
    """A server with this door; gives its port."""
    store, stopping, clock = MemoryStore(), asyncio.Event(), SystemClock()
    head = Head(id=RUN, account=ACCOUNT, machine="m", name="one", revision="r", status="RUNNING", input="{}", seed=b"s" * 16, started_at=1)
    await store.executions.commit(StepWrite(head=head, create=True))
    service = Service(has_test_case=lambda _name, _case: False, engine=None, store=store, clock=clock, region="us-east-1", limits=PROFILES["aws"])
    app = create_app(
        store=store,
        feed=Feed(store.executions, clock),
        aws=AwsEndpoint(service, Development(ACCOUNT), stopping=stopping),
        authenticator=DevAuthenticator(ACCOUNT),
        region="us-east-1",
        observer=changes.pop("observer", NullObserver()),
        stopping=stopping,
        clock=clock,
        **changes,
    )
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(configuration(application or app, drain_seconds=1, door=door, tls=tls))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        stopping.set()
        server.should_exit = True
        await serving


class Connection:
    """One raw connection."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def answer(self):
        """Status, headers and body of the next answer."""
        async with asyncio.timeout(10):
            top = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in top[1:] if line)
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(top[0].split()[1]), headers, body

    async def closed(self):
        """Whatever else comes until the server closes."""
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read()
        return b""

    async def pour(self, piece, most):
        """Send `piece` over and over until the server answers, closes, or `most` bytes are sent; return how many were."""
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < most and not self.reader._buffer and not self.reader.at_eof():
                self.writer.write(piece)
                await self.writer.drain()
                await asyncio.sleep(0)
                sent += len(piece)
        return sent


@contextlib.asynccontextmanager
async def connected(port, first=b""):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(first)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def healthy_beside(port):
    """A client that goes on asking on one connection, and is always answered."""
    answers, stop = [], asyncio.Event()

    async def ask():
        async with connected(port) as connection:
            while not stop.is_set() or not answers:
                connection.writer.write(HEALTHY)
                answers.append((await connection.answer())[0])
                await asyncio.sleep(0.005)

    task = asyncio.create_task(ask())
    try:
        yield answers
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)
    assert set(answers) == {200}


def problem(answer, status, code):
    assert answer[0] == status, answer
    assert answer[1]["content-type"] == "application/problem+json"
    body = json.loads(answer[2])
    assert (body["status"], body["code"]) == (status, code)
    assert body["trace_id"] == answer[1]["x-request-id"]


@pytest.mark.parametrize("length", [2 * 1024 * 1024, 100 * 1024 * 1024, 10**14, 10**18])
@pytest.mark.parametrize(
    ("start", "kind"), [(AWS, "application/x-amz-json-1.0"), (b"POST /api/v2/workflows/runs HTTP/1.1\r\nHost: a\r\n", "application/problem+json")]
)
async def test_a_large_body_is_refused_before_it_is_read(start, kind, length):
    """Its declared length is enough; the answer arrives although the client goes on sending."""
    async with served() as port, healthy_beside(port), connected(port, start + b"Content-Length: %d\r\n\r\n" % length) as connection:
        sent = await connection.pour(b"x" * 65536, min(length, 100 * 1024 * 1024))
        status, headers, body = await connection.answer()
        assert (status, headers["connection"], headers["content-type"]) == (413, "close", kind)
        assert b"larger than 1048576 bytes" in body
        assert sent < 16 * 1024 * 1024
        assert await connection.closed() == b""


@pytest.mark.parametrize("path", [b"/", b"/healthz", b"/api/v2/workflows/runs"])
async def test_an_endless_chunked_body_is_refused_as_it_grows(path):
    """Who never says how long it is gets its answer, and the connection closes."""
    start = b"POST %s HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AWSStepFunctions.ListStateMachines\r\nTransfer-Encoding: chunked\r\n\r\n" % path
    async with served() as port, healthy_beside(port), connected(port, start) as connection:
        await connection.pour(b"10000\r\n" + b"x" * 65536 + b"\r\n", 100 * 1024 * 1024)
        status, _, _ = await connection.answer()
        assert status in (405, 413)
        assert await connection.closed() == b""


@pytest.mark.parametrize("piece", [b"1;" + b"e" * 60_000 + b"\r\nx\r\n", b"1\r\nx\r\n" + b"0\r\n" + b"Trailer: x\r\n" * 10_000])
async def test_chunks_that_are_nearly_all_framing_are_refused(piece):
    """Extensions and trailers without end are no way around the limit of the body."""
    async with served() as port, connected(port, AWS + b"Transfer-Encoding: chunked\r\n\r\n") as connection:
        await connection.pour(piece, 10 * 1024 * 1024)
        assert (await connection.answer())[0] == 400
        await connection.closed()


@pytest.mark.parametrize(
    "headers",
    [
        b"A: b\r\n" * 1_000_000,
        b"A: b\r\n" * (MAX_HEADERS + 1),
        b"A: " + b"b" * MAX_HEADER_BYTES,
        b"A: " + b"b" * 10_000_000,
        b"A" * 10_000_000,
    ],
    ids=["a million", "one too many", "too long", "endless value", "endless name"],
)
async def test_too_many_headers_are_refused(headers):
    """A million of them cost no more than the first hundred."""
    async with served() as port, healthy_beside(port), connected(port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n") as connection:
        await connection.pour(headers + b"\r\n\r\n", 1)
        problem(await connection.answer(), 431, "headers_too_large")
        await connection.closed()


async def test_headers_are_counted_over_all_their_pieces():
    """Two pieces that are small enough are too large together, whether or not a line ends between them."""
    for first, second in ((b"A: " + b"b" * 15_000 + b"\r\n", b"B: " + b"c" * 5_000 + b"\r\n\r\n"), (b"A: " + b"b" * 15_000, b"b" * 5_000 + b"\r\n\r\n")):
        async with served() as port, connected(port, HEALTHY + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + first) as connection:
            assert (await connection.answer())[0] == 200
            connection.writer.write(second)
            problem(await connection.answer(), 431, "headers_too_large")
            await connection.closed()


async def test_headers_within_the_limits_are_taken():
    """A hundred of them, or nearly 16 KiB."""
    async with served() as port, connected(port) as connection:
        connection.writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * (MAX_HEADERS - 1) + b"\r\n")
        assert (await connection.answer())[0] == 200
        connection.writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nA: " + b"b" * (MAX_HEADER_BYTES - 100) + b"\r\n\r\n")
        assert (await connection.answer())[0] == 200


@pytest.mark.parametrize("first", [b"GET /healthz HTTP/1.1\r\nHo", b"GET /heal", HEALTHY + b"GET /healthz HTTP/1.1\r\n"])
async def test_slow_headers_are_cut(first):
    """A request that is not whole in time is answered with 408; drips do not prolong it."""
    async with served(Door(header_seconds=0.3)) as port, healthy_beside(port), connected(port, first) as connection:
        if first.startswith(HEALTHY):
            assert (await connection.answer())[0] == 200
        started = asyncio.get_running_loop().time()
        while not connection.reader._buffer:
            connection.writer.write(b"s")
            await asyncio.sleep(0.02)
        problem(await connection.answer(), 408, "request_timeout")
        assert asyncio.get_running_loop().time() - started < 5


@pytest.mark.parametrize("first", [b"", b"\r\n", HEALTHY, HEALTHY + b"\r\n"])
async def test_a_connection_that_asks_nothing_is_closed(first):
    """Before the first request, and after one: without a word."""
    async with served(Door(header_seconds=0.5, idle_seconds=0.5)) as port, healthy_beside(port), connected(port, first) as connection:
        if first.startswith(HEALTHY):
            assert (await connection.answer())[0] == 200
        assert await connection.closed() == b""


@pytest.mark.parametrize("framing", [b"Content-Length: 1000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
@pytest.mark.parametrize("start", [AWS, b"POST /api/v2/auth/login HTTP/1.1\r\nHost: localhost\r\n"])
async def test_a_slow_body_is_cut(start, framing):
    """A byte now and then is not enough to hold a connection."""
    async with served(Door(body_seconds=0.3)) as port, healthy_beside(port), connected(port, start + framing) as connection:
        with contextlib.suppress(ConnectionError):
            while not connection.reader._buffer and not connection.reader.at_eof():
                connection.writer.write(b"1\r\nx\r\n" if b"chunked" in framing else b"x")
                await connection.writer.drain()
                await asyncio.sleep(0.05)
        status, _, _ = await connection.answer()
        assert status in (404, 405, 408)
        await connection.closed()


async def test_a_body_that_makes_progress_is_waited_for():
    """Time is given by what came: the limit is a pace, not a length."""
    body = b"{" + b" " * 2000 + b"}"
    async with served(Door(body_seconds=1.0)) as port, connected(port, AWS + b"Content-Length: %d\r\n\r\n" % len(body)) as connection:
        for at in range(0, len(body), 200):
            connection.writer.write(body[at : at + 200])
            await asyncio.sleep(0.2)
        assert (await connection.answer())[0] == 200


def _requests():
    get, body = b"POST / HTTP/1.1\r\nHost: localhost\r\n", b"5\r\nhello\r\n0\r\n\r\n"
    lengths = [b"Content-Length: 5", b"content-length:5", b"Content-Length: 0", b"Content-Length : 5", b"Content-Length:\t5"]
    codings = [b"Transfer-Encoding: chunked", b"transfer-encoding:chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked, identity"]
    codings += [b"Transfer-Encoding : chunked", b"Transfer-Encoding: xchunked", b"Transfer-Encoding:\x0bchunked", b"Transfer-Encoding: chunked\x00"]
    for length in lengths:
        for coding in codings:
            yield get + length + b"\r\n" + coding + b"\r\n\r\n" + body
            yield get + coding + b"\r\n" + length + b"\r\n\r\n" + body
    yield from (get + coding + b"\r\n\r\n" + body for coding in codings[2:])
    for value in (b"-1", b"+5", b"5, 6", b"5\r\nContent-Length: 6", b"0x5", b"5_0", b"1e1", b"", b" ", b"99999999999999999999999", b"5;", b"\xb2"):
        yield get + b"Content-Length: " + value + b"\r\n\r\nhello"
    for size in (b"g", b"-5", b"0x5", b" 5", b"", b"5_", b"fffffffffffffffff", b"5\n"):
        yield get + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\nhello\r\n0\r\n\r\n"
    yield b"POST / HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    yield b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    yield b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"
    yield b"GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n"
    yield b"GET / HTTP/1.1\r\nHost: a\r\nA\x00B: c\r\n\r\n"
    yield b"GET / HTTP/1.1\r\nHost: a\r\nA: b\x00c\r\n\r\n"
    yield b"GET / HTTP/1.1\r\nHost: a\r\nA: b\rc: d\r\n\r\n"
    yield b"GET / HTTP/1.1\nHost: a\n\n"
    yield b"GET / HTTP/9.9\r\nHost: a\r\n\r\n"
    yield b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n"
    yield b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"
    yield b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 32
    yield get + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize("request_bytes", [*_requests()], ids=lambda text: repr(text[16:90]))
async def test_what_can_be_read_in_two_ways_is_refused(request_bytes):
    """400 and close: whoever stands before us may have read it the other way."""
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with served(Door(header_seconds=0.5, body_seconds=0.5)) as port, connected(port, request_bytes + smuggled) as connection:
        problem(await connection.answer(), 400, "bad_request")
        assert await connection.closed() == b""


def test_there_are_sixty_ways():
    """The list above is not shortened by accident."""
    assert len(set(_requests())) >= 60


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"deflate", b"zstd", b"aws-chunked", b"GZIP", b"gzip, identity"])
@pytest.mark.parametrize("start", [AWS, b"POST /api/v2/auth/login HTTP/1.1\r\nHost: localhost\r\n"])
async def test_compressed_requests_are_refused(start, coding):
    """What a small body unfolds into is nothing we want to find out."""
    async with served() as port, connected(port, start + b"Content-Encoding: %s\r\nContent-Length: 2\r\n\r\n{}" % coding) as connection:
        problem(await connection.answer(), 415, "unsupported_media_type")


async def test_trailers_say_nothing():
    """A header that comes after the body is not seen by anybody."""
    trailer = b"X-Amz-Target: AWSStepFunctions.ListStateMachines\r\n"
    start = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" + trailer + b"\r\n"
    async with served() as port, connected(port, start) as connection:
        status, _, body = await connection.answer()
        assert status == 400
        assert b"MissingAction" in body


async def test_pipelined_requests_are_answered_in_order_and_bounded(caplog, capsys):
    """A few may wait; thousands of them close the connection, and whatever was under way ends without a fault."""
    async with served() as port:
        async with connected(port, HEALTHY * 20) as connection:
            assert [(await connection.answer())[0] for _ in range(20)] == [200] * 20
        async with connected(port) as connection:
            await connection.pour(HEALTHY * 10_000, 1)
            await connection.closed()
        for broken in (b"GARBAGE\r\n\r\n", b"G" * 20_000, b"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"):
            async with connected(port, AWS + b"Content-Length: 2\r\n\r\n{}" + HEALTHY * 3 + broken) as connection:
                await connection.closed()
    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []
    assert "Traceback" not in "".join(capsys.readouterr())


async def test_connections_of_one_address_are_limited():
    """One more than it may have is refused at once; one that is closed makes room."""
    door = Door(connections=3)
    async with served(door) as port, contextlib.AsyncExitStack() as stack:
        many = [await stack.enter_async_context(connected(port, HEALTHY)) for _ in range(3)]
        assert [(await one.answer())[0] for one in many] == [200] * 3
        async with connected(port) as connection:
            problem(await connection.answer(), 429, "too_many_requests")
            assert await connection.closed() == b""
        many[0].writer.close()
        while door.open("127.0.0.1") == 3:
            await asyncio.sleep(0.01)
        async with connected(port, HEALTHY) as connection:
            assert (await connection.answer())[0] == 200
    assert door.open("127.0.0.1") == 0


async def test_sockets_stay_counted():
    """A WebSocket is the same connection as before, and is let go as one."""
    door = Door(connections=1)
    async with served(door) as port:
        async with connect(f"ws://127.0.0.1:{port}/api/v2/workflows/runs/{RUN}/stream"), connected(port) as connection:
            assert (await connection.answer())[0] == 429
        while door.open("127.0.0.1"):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("openings", [{"per_address": 2}, {"per_account": 2}])
async def test_sockets_and_streams_are_limited(openings):
    """By address and by account; WebSockets and event streams count alike."""
    counted = Openings(**openings)
    async with served(openings=counted) as port:
        url = f"127.0.0.1:{port}/api/v2/workflows/runs/{RUN}/stream"
        stream = b"GET /api/v2/workflows/runs/%s/stream HTTP/1.1\r\nHost: localhost\r\n\r\n" % RUN.encode()
        async with connect(f"ws://{url}"), connected(port, stream) as first:
            assert (await first.reader.readline()).split()[1] == b"200"
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"ws://{url}")
            assert refused.value.response.status_code == 429
            async with connected(port, stream) as second:
                problem(await second.answer(), 429, "too_many_requests")
        while counted._open:
            await asyncio.sleep(0.01)


async def test_a_large_message_closes_the_socket():
    """128 KiB is the most that a client may say at once."""
    async with served() as port, connect(f"ws://127.0.0.1:{port}/api/v2/workflows/runs/{RUN}/stream") as socket_:
        await socket_.send("x" * (128 * 1024 + 1))
        await socket_.wait_closed()
        assert socket_.close_code == 1009


FORWARDED = [
    ((), "127.0.0.1", "6.6.6.6", "127.0.0.1"),
    (("10.0.0.0/8",), "127.0.0.1", "6.6.6.6", "127.0.0.1"),
    (("127.0.0.1",), "127.0.0.1", "6.6.6.6", "6.6.6.6"),
    (("127.0.0.1",), "127.0.0.1", "1.1.1.1, 6.6.6.6", "6.6.6.6"),
    (("127.0.0.1", "10.0.0.0/8"), "127.0.0.1", "1.1.1.1, 6.6.6.6, 10.1.2.3", "6.6.6.6"),
    (("127.0.0.1",), "127.0.0.1", "nonsense", "127.0.0.1"),
    (("127.0.0.1",), "127.0.0.1", "6.6.6.6, nonsense", "127.0.0.1"),
    (("127.0.0.1", "10.0.0.0/8"), "127.0.0.1", "nonsense, 10.1.2.3", "10.1.2.3"),
    (("127.0.0.1",), "127.0.0.1", "6.6.6.6:4711", "6.6.6.6"),
    (("127.0.0.1",), "127.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
    (("::1",), "::1", "::ffff:6.6.6.6", "6.6.6.6"),
    (("127.0.0.0/8",), "::ffff:127.0.0.1", "6.6.6.6", "6.6.6.6"),
    (("127.0.0.1",), "127.0.0.1", "", "127.0.0.1"),
]


@pytest.mark.parametrize(("trusted", "peer", "header", "caller"), FORWARDED)
def test_only_trusted_proxies_tell_who_calls(trusted, peer, header, caller):
    """Everybody else's X-Forwarded-For is a claim."""
    scope = {"type": "http", "scheme": "http", "client": (peer, 1), "headers": [(b"x-forwarded-for", header.encode()), (b"x-forwarded-proto", b"https")]}
    Proxies(trusted).resolve(scope)
    assert scope["client"][0] == caller
    assert scope["scheme"] == ("https" if Proxies(trusted).trusts(peer) else "http")


def test_a_proxy_is_an_address():
    """A name, or a network with bits beside its mask, is refused at the start."""
    for text in ("proxy.example.org", "10.0.0.1/8", "10.0.0.0/33"):
        with pytest.raises(ConfigurationError, match="trusted_proxies"):
            Proxies((text,))
