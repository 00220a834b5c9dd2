"""The load generator for machines without ``wrk``, and the one that observes a lone execution; a process of its own.

    python bench/client.py load PORT CONNECTIONS SECONDS < request.json
    python bench/client.py lone PORT SAMPLES < request.json

`request.json` is ``{"target": ..., "body": ..., "observe": bool}``; for `load` also ``"headers"`` to send along, ``"numbered"``: every request has
an input of its own, and ``"keys"``, an access key id and its secret: then each request is signed (Signature Version 4) right before it is sent.
It prints one JSON object; times are seconds. It writes prepared bytes and looks at no more of an answer than its status and length, about 15 µs a request.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import uvloop

JSON = "application/x-amz-json-1.0"
HEAD_END = b"\r\n\r\n"
PAUSE_SECONDS = 0.005  # between lone executions


def request_bytes(target: str, body: bytes, headers: Mapping[str, str] | None = None, *, host: str = "127.0.0.1") -> bytes:
    """One POST as it goes over the wire."""
    more = "".join(f"\r\n{name}: {value}" for name, value in (headers or {}).items())
    head = f"POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: {JSON}\r\nx-amz-target: AWSStepFunctions.{target}\r\ncontent-length: {len(body)}{more}"
    return head.encode() + HEAD_END + body


class Requests:
    """The requests of a load, each another one: its input has a number, so no bytes and no signature come twice."""

    def __init__(self, port: int, target: str, body: str, *, headers: Mapping[str, str] | None = None, keys: Sequence[str] | None = None) -> None:
        self._target, self._headers, self._keys = target, headers or {}, keys
        self._authority = f"127.0.0.1:{port}" if keys else "127.0.0.1"  # what botocore signs as the host
        self._given = json.loads(body)
        self._number = 0
        self._derived: tuple[str, bytes] = ("", b"")

    def __call__(self) -> bytes:
        """The next one, signed now if the caller has keys."""
        self._number += 1
        body = json.dumps({**self._given, "input": f'{{"n":{self._number}}}'}).encode()
        if self._keys is None:
            return request_bytes(self._target, body, self._headers)
        return request_bytes(self._target, body, self.signature(body, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())), host=self._authority)

    def signature(self, body: bytes, moment: str) -> dict[str, str]:
        """The headers of Signature Version 4 for one body: botocore's result in a tenth of its time, so that the client is not what is measured."""
        assert self._keys is not None
        day, scope = moment[:8], f"{moment[:8]}/us-east-1/states/aws4_request"
        if self._derived[0] != day:
            key = f"AWS4{self._keys[1]}".encode()
            for part in scope.split("/"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._derived = (day, key)
        names = "content-type;host;x-amz-date;x-amz-target"
        head = f"content-type:{JSON}\nhost:{self._authority}\nx-amz-date:{moment}\nx-amz-target:AWSStepFunctions.{self._target}\n"
        canonical = f"POST\n/\n\n{head}\n{names}\n{hashlib.sha256(body).hexdigest()}"
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._derived[1], text.encode(), "sha256").hex()
        return {"X-Amz-Date": moment, "Authorization": f"AWS4-HMAC-SHA256 Credential={self._keys[0]}/{scope}, SignedHeaders={names}, Signature={signature}"}


class Connection(asyncio.Protocol):
    """A kept-alive connection; `answered` is called with status and body of each answer. One request is on its way at a time."""

    def __init__(self, answered: Callable[[Connection, int, bytes], None], lost: Callable[[], None]) -> None:
        self._answered = answered
        self._lost = lost
        self._buffer = b""
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._lost()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(HEAD_END)
        if head_end < 0:
            return
        head = self._buffer[:head_end].lower()
        at = head.find(b"content-length:") + 15
        line_end = head.find(b"\r", at)
        length = int(head[at : line_end if line_end > 0 else None])
        start = head_end + 4
        if len(self._buffer) < start + length:
            return
        status, body, self._buffer = int(head[9:12]), self._buffer[start : start + length], b""
        self._answered(self, status, body)


async def load(port: int, connections: int, seconds: float, request: Callable[[], bytes]) -> dict[str, Any]:
    """A closed loop: each connection sends as soon as it was answered, for so many seconds. No answer is abandoned."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    sent: dict[Connection, float] = {}
    over, finished = False, asyncio.Event()
    failures: list[str] = []

    def answered(connection: Connection, status: int, body: bytes) -> None:
        now = time.perf_counter()
        latencies.append(now - sent.pop(connection))
        if status != 200:
            failures.append(f"{status} {body[:200].decode(errors='replace')}")
        if not over and not failures:
            sent[connection] = now
            connection.transport.write(request())
        elif not sent:
            finished.set()

    def lost() -> None:
        if not finished.is_set():
            failures.append("the server closed a connection")
            finished.set()

    opened = [(await loop.create_connection(lambda: Connection(answered, lost), "127.0.0.1", port))[1] for _ in range(connections)]
    began = time.perf_counter()
    for connection in opened:
        sent[connection] = began
        connection.transport.write(request())
    try:
        await asyncio.wait_for(finished.wait(), seconds)
    except TimeoutError:
        over = True
    await asyncio.wait_for(finished.wait(), 30)
    took = time.perf_counter() - began
    for connection in opened:
        connection.transport.close()
    return {"answered": len(latencies) - len(failures), "failures": failures, "seconds": took, "latencies": sampled(latencies)}


async def lone(port: int, samples: int, request: bytes, *, observe: bool) -> dict[str, Any]:
    """One execution at a time: until StartExecution is answered, and (with `observe`) until DescribeExecution tells that it has ended."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[tuple[int, bytes]] = loop.create_future()
    _, connection = await loop.create_connection(lambda: Connection(lambda _, status, body: answer.set_result((status, body)), lambda: None), "127.0.0.1", port)
    started: list[float] = []
    ended: list[float] = []
    asked = 0

    async def call(message: bytes) -> dict[str, Any]:
        nonlocal answer
        answer = loop.create_future()
        connection.transport.write(message)
        status, body = await asyncio.wait_for(answer, 30)
        if status != 200:
            raise SystemExit(f"{status} {body[:500]!r}")
        told: dict[str, Any] = orjson.loads(body)
        return told

    for _ in range(samples):
        began = time.perf_counter()
        told = await call(request)
        started.append(time.perf_counter() - began)
        if observe:
            describe = request_bytes("DescribeExecution", orjson.dumps({"executionArn": told["executionArn"]}))
            while (status := (await call(describe))["status"]) == "RUNNING":
                asked += 1
            if status != "SUCCEEDED":
                raise SystemExit(f"a lone execution ended {status}")
            ended.append(time.perf_counter() - began)
        await asyncio.sleep(PAUSE_SECONDS)
    connection.transport.close()
    return {"started": started, "ended": ended, "asked_again": asked}


def sampled(values: list[float], most: int = 2_000) -> list[float]:
    """At most so many of the values, evenly taken: what is printed fits into a pipe at once (64 KiB); more than that arrived cut off now and then."""
    return values[:: max(1, -(-len(values) // most))]


def main() -> None:
    given = json.loads(sys.stdin.read())
    kind, port = sys.argv[1], int(sys.argv[2])
    request = request_bytes(given["target"], given["body"].encode(), given.get("headers"))
    current = Requests(port, given["target"], given["body"], headers=given.get("headers"), keys=given.get("keys")) if "numbered" in given else lambda: request
    work = load(port, int(sys.argv[3]), float(sys.argv[4]), current) if kind == "load" else lone(port, int(sys.argv[3]), request, observe=given["observe"])
    print(json.dumps(uvloop.run(work)))


if __name__ == "__main__":
    main()
